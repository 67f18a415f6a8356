//! Events of one stream are alike but for one string: the newest piece, or everything said so far and a little more.
//! Once one of them was parsed, the next ones are recognised by what surrounds that string, and only what is new is
//! read. Parsing a text that grows as a whole each time would make a stream's cost grow with its square
//! (performance.md, "What costs").
//!
//! ```text
//! {"choices":[{"delta":{"content":" world"},"finish_reason":null}]}
//! └──────────── head ────────────┘ new  └───────── tail ──────────┘
//! ```
//!
//! It never guesses: whatever differs outside the string, or is no string, is for the decoder's own parser.

use std::borrow::Cow;

/// What surrounds the string. Empty (as at first) it recognises nothing.
#[derive(Debug, Default)]
pub struct Template {
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// What an event that was recognised says.
#[derive(Debug, PartialEq, Eq)]
pub struct New<'a> {
    /// The new text.
    pub text: Cow<'a, str>,
    /// The same as it is written, for [`Template::grow`].
    raw: &'a [u8],
}

impl Template {
    /// Takes an event as the pattern of those to come. `raw` is the value as it is written in `event`, without its
    /// quotes: a slice of `event` itself, else nothing is learnt. With `Repeats::Nothing` the next event has another
    /// text in its place; with `Repeats::Everything` it has the same text and more.
    pub fn learn(&mut self, event: &[u8], raw: &[u8], repeats: Repeats) {
        self.forget();
        // By address, and not by a search: the same text may stand in the event more than once. A slice of something else
        // lies outside the event, or has no quotes around it.
        let Some(start) = (raw.as_ptr() as usize).checked_sub(event.as_ptr() as usize) else {
            return;
        };
        let end = start + raw.len();
        if let (Some((head, _)), Some((grown, tail))) =
            (event.split_at_checked(start), event.split_at_checked(end))
            && head.ends_with(b"\"")
            && tail.starts_with(b"\"")
        {
            // Of a repeating text all of it belongs to the head, so only what is new is ever read.
            self.head.extend_from_slice(match repeats {
                Repeats::Nothing => head,
                Repeats::Everything => grown,
            });
            self.tail.extend_from_slice(tail);
        }
    }

    /// Recognises nothing from now on.
    pub fn forget(&mut self) {
        self.head.clear();
        self.tail.clear();
    }

    /// The new part of the string, if the event differs from the pattern in nothing else.
    pub fn recognise<'a>(&self, event: &'a [u8]) -> Option<New<'a>> {
        if self.tail.is_empty() {
            return None;
        }
        // The tail first: an event that differs mostly differs there, and it is the shorter one.
        let raw = event
            .strip_suffix(self.tail.as_slice())?
            .strip_prefix(self.head.as_slice())?;
        Some(New {
            text: unescape(raw)?,
            raw,
        })
    }

    /// The string has grown by what was recognised: from now on that is known as well.
    pub fn grow(&mut self, new: &New<'_>) {
        self.head.extend_from_slice(new.raw);
    }
}

/// What of an event's string the next event has again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// Each event has a piece of its own.
    Nothing,
    /// Each event has the whole text so far.
    Everything,
}

/// The inside of a JSON string; `None` if it is none (a quote that is not escaped, a control character, …).
fn unescape(raw: &[u8]) -> Option<Cow<'_, str>> {
    let is_plain = |&byte: &u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    // The usual case: nothing is escaped, and the event itself is lent.
    if raw.iter().all(is_plain) {
        return str::from_utf8(raw).ok().map(Cow::Borrowed);
    }
    // With its quotes, as the parser wants a whole string; it also refuses what is none.
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice(&quoted).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// The plain way: parse the whole event.
    fn content(event: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Event {
            a: String,
        }
        serde_json::from_str::<Event>(event)
            .ok()
            .map(|event| event.a)
    }

    fn event(text: &str) -> String {
        format!(r#"{{"x":1,"a":{},"y":"z"}}"#, serde_json::json!(text))
    }

    fn learnt(first: &str, repeats: Repeats) -> Template {
        let event = event(first);
        let raw = event
            .strip_prefix(r#"{"x":1,"a":""#)
            .and_then(|rest| rest.strip_suffix(r#"","y":"z"}"#))
            .unwrap();
        let mut template = Template::default();
        template.learn(event.as_bytes(), raw.as_bytes(), repeats);
        template
    }

    #[test]
    fn recognises_the_next_piece_and_nothing_else() {
        let template = learnt("one", Repeats::Nothing);
        let text = |event: &str| {
            template
                .recognise(event.as_bytes())
                .map(|new| new.text.into_owned())
        };
        assert_eq!(text(&event("two\n\"你")).as_deref(), Some("two\n\"你"));
        assert_eq!(text(&event("")).as_deref(), Some(""));
        for other in [
            r#"{"x":2,"a":"two","y":"z"}"#,
            r#"{"x":1,"a":"two","y":"w"}"#,
            r#"{"x":1,"a":"two","a":"three","y":"z"}"#,
            r#"{"x":1,"a":"tw\","y":"z"}"#,
            "{\"x\":1,\"a\":\"t\nw\",\"y\":\"z\"}",
            r#"{"x":1,"a":"","#,
            "",
        ] {
            assert_eq!(text(other), None, "{other}");
        }
        assert_eq!(Template::default().recognise(b""), None);
    }

    #[test]
    fn learns_only_from_a_string_of_the_event_itself() {
        let mut template = Template::default();
        for (event, raw) in [
            (r#"{"a":5}"#, "5"),
            (r#"{"a":"x"}"#, r#"{"a":"x"}"#),
            (r#"{"a":"x"}"#, ""),
        ] {
            let at = event.find(raw).unwrap();
            template.learn(
                event.as_bytes(),
                event.get(at..at + raw.len()).unwrap().as_bytes(),
                Repeats::Nothing,
            );
            assert!(template.tail.is_empty(), "{event}");
        }
        template.learn(br#"{"a":"x"}"#, b"elsewhere", Repeats::Nothing);
        assert!(template.tail.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn what_is_recognised_is_what_the_parser_reads(texts in proptest::collection::vec("[a-c\"\\\\\n你👋\u{FFFD}]{0,4}", 1..8)) {
            let mut template = learnt(&texts[0], Repeats::Everything);
            let mut whole = texts[0].clone();
            for text in &texts[1..] {
                whole.push_str(text);
                let event = event(&whole);
                let new = template.recognise(event.as_bytes());
                proptest::prop_assert_eq!(new.as_ref().map(|new| &*new.text), Some(text.as_str()));
                template.grow(&new.unwrap());
            }
        }

        #[test]
        fn bytes_that_are_recognised_parse_to_the_same(inside in "[a-c\"\\\\nu0,:]{0,12}") {
            let event = format!(r#"{{"x":1,"a":"{inside}","y":"z"}}"#);
            let template = learnt("first", Repeats::Nothing);
            let new = template.recognise(event.as_bytes()).map(|new| new.text.into_owned());
            // An event may be sound and yet not be alike (a member in the text's place); never the other way round.
            if new.is_some() {
                proptest::prop_assert_eq!(new, content(&event));
            }
        }
    }
}
