//! Bodies that JSON allows and that readers differ over: a member that stands twice in an object, and half of a UTF-16
//! pair. They are put right once, in the body itself, so that this gateway and an upstream that gets the body read the
//! same: the last of several members counts, as with most readers, and a half becomes U+FFFD.
//!
//! Both are done in place, because the body keeps its length: `\ud83d` and `\ufffd` are six bytes each, and blanks instead
//! of a member change nothing.

use std::{borrow::Cow, collections::HashMap};

use memchr::{memchr2, memmem};
use serde_json::value::RawValue;

/// Deeper ones are not looked through; no reader of ours goes deeper either.
const MOST_DEPTH: usize = 128;
/// Objects with more members are left as they are: each one is remembered while its object is read.
const MOST_MEMBERS: usize = 10_000;

/// Whether a body might hold half of a UTF-16 pair. Nearly all of them do not; one pass, and a look at each `\ud…`.
pub(super) fn has_half(body: &str) -> bool {
    let bytes = body.as_bytes();
    let mut from = 0;
    while let Some(found) = bytes
        .get(from..)
        .and_then(|rest| memmem::find(rest, br"\u"))
    {
        let at = from + found;
        match half(bytes, at) {
            Some(Half::First) if matches!(half(bytes, at + 6), Some(Half::Second)) => {
                from = at + 12;
            }
            Some(_) => return true,
            None => from = at + 2,
        }
    }
    false
}

enum Half {
    First,
    Second,
}

/// Which half the escape at `at` is, if any.
fn half(bytes: &[u8], at: usize) -> Option<Half> {
    match bytes.get(at..at + 4)? {
        [
            b'\\',
            b'u',
            b'd' | b'D',
            b'8' | b'9' | b'a' | b'A' | b'b' | b'B',
        ] => Some(Half::First),
        [b'\\', b'u', b'd' | b'D', b'c'..=b'f' | b'C'..=b'F'] => Some(Half::Second),
        _ => None,
    }
}

/// The body put right; `None` when there is nothing to put right, or the body is no JSON.
pub(in crate::http) fn tidied(body: &str) -> Option<String> {
    // From here on brackets match and strings end.
    serde_json::from_str::<&RawValue>(body).ok()?;
    let mut tidy = Tidy {
        bytes: body.as_bytes().to_vec(),
        has_changed: false,
    };
    tidy.walk()?;
    if !tidy.has_changed {
        return None;
    }
    // Only ASCII took the place of whole strings and escapes.
    String::from_utf8(tidy.bytes).ok()
}

struct Tidy {
    bytes: Vec<u8>,
    has_changed: bool,
}

/// What is open while it is read.
enum Open {
    Array,
    Object(Members),
}

#[derive(Default)]
struct Members {
    /// Where each member that is complete begins and ends, its comma included.
    known: HashMap<Vec<u8>, (usize, usize)>,
    /// The one that is being read: its name and where it begins.
    current: Option<(Vec<u8>, usize)>,
}

impl Tidy {
    fn walk(&mut self) -> Option<()> {
        let mut open: Vec<Open> = Vec::new();
        let mut at = 0;
        while let Some(&byte) = self.bytes.get(at) {
            match byte {
                b'"' => {
                    let end = self.string(at)?;
                    // The first string of a member is its name; what ends its value is a comma or the brace.
                    if let Some(Open::Object(members)) = open.last_mut()
                        && members.current.is_none()
                    {
                        members.current = Some((self.name(at, end), at));
                    }
                    at = end;
                    continue;
                }
                b'{' => open.push(Open::Object(Members::default())),
                b'[' => open.push(Open::Array),
                b'}' => {
                    if let Some(Open::Object(mut members)) = open.pop() {
                        self.complete(&mut members, at)?;
                    }
                }
                b']' => {
                    open.pop();
                }
                b',' => {
                    if let Some(Open::Object(members)) = open.last_mut() {
                        self.complete(members, at + 1)?;
                    }
                }
                _ => {}
            }
            if open.len() > MOST_DEPTH {
                return None;
            }
            at += 1;
        }
        Some(())
    }

    /// The current member ends before `end`: one of the same name before it goes.
    fn complete(&mut self, members: &mut Members, end: usize) -> Option<()> {
        let Some((name, start)) = members.current.take() else {
            return Some(());
        };
        if let Some((start, end)) = members.known.insert(name, (start, end))
            && let Some(before) = self.bytes.get_mut(start..end)
        {
            before.fill(b' ');
            self.has_changed = true;
        }
        (members.known.len() <= MOST_MEMBERS).then_some(())
    }

    /// Puts a string right; gives the place after its closing quote.
    fn string(&mut self, quote: usize) -> Option<usize> {
        let mut at = quote + 1;
        loop {
            // Every other escape is passed over as two bytes: the digits of `\uXXXX` hold neither a quote nor a backslash.
            at += memchr2(b'"', b'\\', self.bytes.get(at..)?)?;
            if self.bytes.get(at) == Some(&b'"') {
                return Some(at + 1);
            }
            match half(&self.bytes, at) {
                Some(Half::First) if matches!(half(&self.bytes, at + 6), Some(Half::Second)) => {
                    at += 12;
                }
                Some(_) => {
                    self.bytes.get_mut(at..at + 6)?.copy_from_slice(br"\ufffd");
                    self.has_changed = true;
                    at += 6;
                }
                None => at += 2,
            }
        }
    }

    /// A member's name without escapes.
    fn name(&self, start: usize, end: usize) -> Vec<u8> {
        let quoted = self.bytes.get(start..end).unwrap_or_default();
        let name: Option<Cow<'_, str>> = if quoted.contains(&b'\\') {
            serde_json::from_slice::<String>(quoted)
                .ok()
                .map(Cow::Owned)
        } else {
            None
        };
        name.map_or_else(
            || {
                quoted
                    .get(1..quoted.len().saturating_sub(1))
                    .unwrap_or_default()
                    .to_vec()
            },
            |name| name.into_owned().into_bytes(),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tidy(body: &str) -> Value {
        serde_json::from_str(&tidied(body).unwrap()).unwrap()
    }

    #[test]
    fn the_last_of_several_members_stays_wherever_it_is() {
        for (body, expected) in [
            (r#"{"a":1,"a":2}"#, json!({"a": 2})),
            (
                r#"{"a":1 , "b":[{"c":"}","c":{},"c":"x"}],"a":{"a":1}}"#,
                json!({"b": [{"c": "x"}], "a": {"a": 1}}),
            ),
            (r#"{"stream":1,"str\u0065am":2}"#, json!({"stream": 2})),
            (
                r#"{"a":{"b":1,"b":2},"a":{"b":3,"b":4}}"#,
                json!({"a": {"b": 4}}),
            ),
            (r#"{"a,\"":[1,2],"a,\"":"\\"}"#, json!({"a,\"": "\\"})),
        ] {
            assert_eq!(tidy(body), expected, "{body}");
        }
        for body in [
            r#"{"a":[{"b":1},{"b":2}],"b":{"a":1}}"#,
            "[",
            "{\"a\":1,\"a\"",
            "5",
        ] {
            assert_eq!(tidied(body), None, "{body}");
        }
    }

    #[test]
    fn a_half_becomes_a_replacement_character() {
        for (body, expected) in [
            (r#"["a \ud83d"]"#, "a \u{FFFD}"),
            (r#"["\uDE00\ud83d\ude00\ud83d!"]"#, "\u{FFFD}😀\u{FFFD}!"),
            (r#"["\\\ud83d\\ud83d"]"#, "\\\u{FFFD}\\ud83d"),
        ] {
            assert!(has_half(body), "{body}");
            assert_eq!(tidy(body), json!([expected]), "{body}");
        }
        for body in [
            r#"["\u4f60\ud83d\ude00 \n\u00e9"]"#,
            "[]",
            r#""\u"#,
            r#""\ud"#,
        ] {
            assert!(!has_half(body), "{body}");
        }
        // A backslash that is escaped itself: looked at, and nothing found.
        assert!(has_half(r#"["\\ud83d"]"#));
        assert_eq!(tidied(r#"["\\ud83d"]"#), None);
    }

    proptest::proptest! {
        /// serde_json's own map takes the last of several members as well.
        #[test]
        fn reads_as_the_last_members_alone(body in r#"\{("[ab]":(1|"x"|\{"a":1,"a":2\}|\[\{"b":0,"b":3\}\]),){0,6}"a":null\}"#) {
            let expected: Value = serde_json::from_str(&body).unwrap();
            let tidy = tidied(&body).unwrap_or(body);
            let read: Value = serde_json::from_str(&tidy).unwrap();
            proptest::prop_assert_eq!(read, expected);
            proptest::prop_assert_eq!(tidied(&tidy), None);
        }

        #[test]
        fn no_text_panics(body in r#"[\[\]{}:,"\\ud8a0 ]{0,40}"#) {
            has_half(&body);
            tidied(&body);
        }
    }
}
