//! Events of one answer are alike but for their order number and what the answer has grown by. Once one was parsed, the
//! next ones are recognised by all the rest, and only what is new is read; as [`crate::chat::template`] does it for
//! events in which one thing differs. It never guesses: anything else is for the parser.
//!
//! ```text
//! {"communication":{"resid":12},"data":{"messages":[{"content":"Hello world","status":"processing"}]},"error_code":0}
//! └──────── head ─────────┘no.└─────────────── middle ─────────────┘ new  └─────────────── tail ──────────────────┘
//! ```

const ORDER: &[u8] = b"\"resid\":";

/// What surrounds the two. Empty (as at first) it recognises nothing.
#[derive(Debug, Default)]
pub(super) struct Alike {
    head: Vec<u8>,
    /// From behind the number to the end of the answer so far.
    middle: Vec<u8>,
    tail: Vec<u8>,
}

impl Alike {
    /// Takes an event as the pattern of those to come. `raw` is the answer so far as it is written in `event`, quotes
    /// included: a slice of `event` itself, else nothing is learnt.
    pub(super) fn learn(&mut self, event: &[u8], raw: &[u8]) {
        // First, so that what cannot be learnt is not recognised by the pattern before it.
        self.forget();
        // By address: the decoder hands us a slice of the event, and looking for the text would find it in the thoughts
        // too.
        let Some(start) = (raw.as_ptr() as usize).checked_sub(event.as_ptr() as usize) else {
            return;
        };
        // Without the closing quote: what is new stands before it.
        let Some((before, tail)) = event.split_at_checked(start + raw.len().saturating_sub(1))
        else {
            return;
        };
        // The first one: the answer comes behind it, and may hold these very words.
        let Some(at) = memchr::memmem::find(before, ORDER).map(|at| at + ORDER.len()) else {
            return;
        };
        let (head, rest) = before.split_at(at);
        // The number must stand before the answer, as it is cut out of what surrounds it.
        if at < start && tail.first() == Some(&b'"') {
            self.head.extend_from_slice(head);
            self.middle.extend_from_slice(number(rest).1);
            self.tail.extend_from_slice(tail);
        }
    }

    /// Recognises nothing from now on.
    pub(super) fn forget(&mut self) {
        self.head.clear();
        self.middle.clear();
        self.tail.clear();
    }

    /// The order number of an event, and what its answer has grown by as it is written, if it differs in nothing else.
    pub(super) fn recognise<'a>(&self, event: &'a [u8]) -> Option<(u64, &'a str)> {
        if self.tail.is_empty() {
            return None;
        }
        // The end first: it differs in nearly every event that is another one.
        let rest = event.strip_suffix(self.tail.as_slice())?;
        let (digits, rest) = number(rest.strip_prefix(self.head.as_slice())?);
        // A number beyond 64 bits is no order of ours, and goes the long way.
        let order = str::from_utf8(digits).ok()?.parse().ok()?;
        let new = rest.strip_prefix(self.middle.as_slice())?;
        Some((order, str::from_utf8(new).ok()?))
    }

    /// The answer has grown by what was recognised.
    pub(super) fn grow(&mut self, new: &str) {
        self.middle.extend_from_slice(new.as_bytes());
    }
}

/// The digits at the start, and what follows.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(order: u64, text: &str) -> String {
        format!(
            r#"{{"communication":{{"resid":{order}}},"data":{{"content":"{text}","s":1}},"error_code":0}}"#
        )
    }

    #[test]
    fn recognises_what_has_grown_and_nothing_else() {
        let mut alike = Alike::default();
        let first = event(7, "one");
        let at = first.find(r#""one""#).unwrap();
        alike.learn(first.as_bytes(), &first.as_bytes()[at..at + 5]);
        let new = |alike: &Alike, event: &str| {
            let (order, new) = alike.recognise(event.as_bytes())?;
            Some((order, new.to_owned()))
        };
        assert_eq!(
            new(&alike, &event(8, "one two")),
            Some((8, " two".to_owned()))
        );
        alike.grow(" two");
        assert_eq!(
            new(&alike, &event(10, "one two")),
            Some((10, String::new()))
        );
        for other in [
            event(10, "one"),
            event(11, "other two"),
            event(12, "one two").replace("\"s\":1", "\"s\":2"),
            event(12, "one two").replace("12", "-12"),
            event(12, "one two").replace("12", "\"12\""),
            event(12, "one two").replace(":12", ":"),
            String::new(),
        ] {
            assert_eq!(new(&alike, &other), None, "{other}");
        }
        alike.learn(first.as_bytes(), b"elsewhere");
        assert_eq!(new(&alike, &event(8, "one two")), None);
    }
}
