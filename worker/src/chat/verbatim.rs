//! The caller's body as it came, for an upstream that speaks the caller's dialect: some members are said anew, the rest
//! goes on byte for byte, and a long history is neither taken apart a second time nor put together again. No member's
//! name is known here: the door says where members stand, the provider which of them it says anew.

use std::{fmt::Write as _, ops::Range};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use crate::impossible::OrImpossible as _;

/// What the members that are said anew take, or hardly more.
const ROOM_FOR_NEW: usize = 128;
/// Shorter stretches of a body are copied, longer ones shared: a copy of so much costs less than one more piece.
const WORTH_SHARING: usize = 16 << 10;

/// Which dialect a caller's body is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's chat completions.
    ChatCompletions,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's messages.
    Messages,
}

/// A body that was read, and found to be right.
#[derive(Clone, Debug)]
pub struct Verbatim {
    /// Whoever speaks another one has no use for it.
    pub dialect: Dialect,
    /// A JSON object with at least one member, each of its members once.
    body: ByteString,
    /// Where the values of members stand in `body`, apart from one another.
    places: Vec<(&'static str, Range<usize>)>,
    /// The request's headers that say how its body is meant, as far as the dialect has such.
    pub headers: Vec<(&'static str, String)>,
}

/// What becomes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anew<'a> {
    /// It has this value (JSON), whether it was there or not.
    Set(&'a str),
    /// It has this value (JSON) if it was there.
    Replace(&'a str),
    /// It is not there, whoever wrote it.
    Remove,
}

impl Verbatim {
    /// `body` is a JSON object with at least one member. `places` has the name and the place of the value of each member
    /// that may be said anew, as far as the body has it.
    pub fn new(
        dialect: Dialect,
        body: ByteString,
        places: impl IntoIterator<Item = (&'static str, Option<Range<usize>>)>,
    ) -> Self {
        let found = |(name, place): (_, Option<_>)| Some((name, place?));
        Self {
            dialect,
            body,
            places: places.into_iter().filter_map(found).collect(),
            headers: Vec::new(),
        }
    }

    /// The body with some members said anew, in pieces that belong one after the other: a long history is shared, not
    /// copied. Each name may be one that [`Verbatim::new`] was told of; any other one the body must not have.
    pub fn splice(&self, members: &[(&str, Anew<'_>)]) -> Vec<Bytes> {
        let (mut replaced, mut added) = (Vec::with_capacity(members.len()), String::new());
        for &(name, anew) in members {
            let place = self.places.iter().find(|(known, _)| *known == name);
            match (place.map(|(_, place)| place.clone()), anew) {
                (Some(place), Anew::Set(value) | Anew::Replace(value)) => {
                    replaced.push((place, value));
                }
                (Some(place), Anew::Remove) => {
                    replaced.push((member_around(&self.body, place), ""));
                }
                // A comma, as some member is there. Memory cannot fail to be written.
                (None, Anew::Set(value)) => {
                    let _ = write!(added, ",\"{name}\":{value}");
                }
                (None, Anew::Replace(_) | Anew::Remove) => {}
            }
        }
        // Places are apart from one another, so their starts alone order them.
        replaced.sort_unstable_by_key(|(place, _)| place.start);
        let body = self.body.trim_ascii_end();
        debug_assert!(body.ends_with('}'), "the door took what is no object");
        let end = body.strip_suffix('}').unwrap_or(body).len();
        let mut whole = Pieces::of(self.body.as_bytes());
        let mut copied = 0;
        for (place, value) in replaced {
            whole.share(copied..place.start);
            whole.add(value);
            copied = place.end;
        }
        whole.share(copied..end);
        whole.add(&added);
        whole.add("}");
        whole.finish()
    }
}

/// The member whose value stands at `value`, with the comma that goes with it.
fn member_around(body: &str, value: Range<usize>) -> Range<usize> {
    let before = body
        .get(..value.start)
        .or_impossible("the value was found in this body");
    // Blanks, a colon, blanks, the closing quote of the name; a name has no quote in it that is not escaped.
    let before = before.trim_end().trim_end_matches(':').trim_end();
    let name = before.strip_suffix('"').unwrap_or(before);
    let start = name.rfind('"').unwrap_or(name.len());
    let earlier = name
        .get(..start)
        .or_impossible("a quote was found there, or it is the end")
        .trim_end();
    // With the comma before it; the first member takes the one behind, and a lone one none.
    if let Some(earlier) = earlier.strip_suffix(',') {
        return earlier.len()..value.end;
    }
    let after = body
        .get(value.end..)
        .or_impossible("the value was found in this body");
    let rest = after.trim_start();
    let comma = usize::from(rest.starts_with(','));
    start..value.end + (after.len() - rest.len()) + comma
}

/// A text that is put together of stretches of another one and of new ones.
struct Pieces<'a> {
    source: &'a Bytes,
    /// Those that are said already, in order.
    finished: Vec<Bytes>,
    /// What short stretches and new texts are copied to, until a long one comes between.
    open: BytesMut,
}

impl<'a> Pieces<'a> {
    fn of(source: &'a Bytes) -> Self {
        Self {
            source,
            finished: Vec::new(),
            open: BytesMut::with_capacity(source.len().min(WORTH_SHARING) + ROOM_FOR_NEW),
        }
    }

    fn add(&mut self, text: &str) {
        self.open.extend_from_slice(text.as_bytes());
    }

    fn share(&mut self, stretch: Range<usize>) {
        if stretch.len() < WORTH_SHARING {
            let text = self
                .source
                .get(stretch)
                .or_impossible("the stretches lie between values that were found in it");
            self.open.extend_from_slice(text);
        } else {
            self.finished.push(self.open.split().freeze());
            self.finished.push(self.source.slice(stretch));
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.finished.push(self.open.freeze());
        self.finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spliced(
        body: &'static str,
        places: &[&'static str],
        members: &[(&str, Anew<'_>)],
    ) -> String {
        let place = |name: &&'static str| {
            let start = body.find(&format!("\"{name}\":"))? + name.len() + 3;
            let length = body.get(start..)?.find([',', '}'])?;
            Some((*name, Some(start..start + length)))
        };
        let places = places.iter().filter_map(place);
        let verbatim = Verbatim::new(Dialect::ChatCompletions, body.into(), places);
        String::from_utf8(verbatim.splice(members).concat()).unwrap()
    }

    #[test]
    fn members_are_said_anew_and_the_rest_stays() {
        let members = [
            ("b", Anew::Set("5")),
            ("a", Anew::Remove),
            ("c", Anew::Replace("[]")),
            ("d", Anew::Replace("6")),
            ("e", Anew::Set("7")),
        ];
        for (body, expected) in [
            (
                r#"{"a":1,"x" : [ 1 ],"b":2,"c":3} "#,
                r#"{"x" : [ 1 ],"b":5,"c":[],"e":7}"#,
            ),
            (r#"{"c":3,"a":1}"#, r#"{"c":[],"b":5,"e":7}"#),
            (r#"{"x":1.0}"#, r#"{"x":1.0,"b":5,"e":7}"#),
        ] {
            assert_eq!(
                spliced(body, &["a", "b", "c", "d", "e"], &members),
                expected
            );
        }
    }
}
