//! JSON as strangers write it. Nearly all of it is read by serde_json alone; what that refuses comes here.
//!
//! Servers that write JSON in ASCII and cut texts by UTF-16 units send half a surrogate pair at the end of one event and
//! the other half in the next. Such a half becomes a [`mended`] text's private character, which [`Halves`] joins again.

use serde_json::{Map, Value};

/// The private characters that stand for the 2,048 halves: nobody else's are found at this end of Unicode.
const FIRST_HALF: u32 = 0x10_F800;
const SURROGATES: std::ops::RangeInclusive<u32> = 0xD800..=0xDFFF;
const FIRST_LOW: u32 = 0xDC00;

/// The same JSON as serde_json takes it: bytes that are no UTF-8 as U+FFFD, halves of surrogate pairs as private
/// characters, control characters in strings escaped, `NaN` and `Infinity` as null. One pass.
pub fn mended(bytes: &[u8]) -> Vec<u8> {
    // First, so that from here on every index is at a character of ASCII or within valid UTF-8.
    let text = String::from_utf8_lossy(bytes);
    let mut rest = text.trim_start_matches('\u{FEFF}').as_bytes();
    // Rarely too small: only escapes of control characters make it longer.
    let mut out = Vec::with_capacity(rest.len());
    let mut is_string = false;
    while let Some(&byte) = rest.first() {
        let (taken, said) = match byte {
            b'"' => {
                is_string = !is_string;
                (1, None)
            }
            // Before anything else can see them: an escaped quote ends no string.
            b'\\' if is_string => escape(rest),
            0..=0x1F if is_string => (1, Some(format!("\\u{byte:04x}").into_bytes())),
            b'N' | b'I' | b'-' if !is_string => {
                let word = [&b"NaN"[..], b"Infinity", b"-Infinity"]
                    .into_iter()
                    .find(|word| rest.starts_with(word));
                word.map_or((1, None), |word| (word.len(), Some(b"null".to_vec())))
            }
            _ => (1, None),
        };
        match said {
            Some(said) => out.extend_from_slice(&said),
            None => out.extend_from_slice(rest.get(..taken).unwrap_or(rest)),
        }
        // An escape may be torn by the end, and then takes more than there is.
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

/// How long the escape at the start is, and what to write in its place, if anything.
fn escape(text: &[u8]) -> (usize, Option<Vec<u8>>) {
    let Some(code) = unit(text) else {
        // A `\"` or another short escape; the second byte is passed over, whatever it is.
        return (2, None);
    };
    if !SURROGATES.contains(&code) {
        return (6, None);
    }
    let is_low = |code: &u32| SURROGATES.contains(code) && *code >= FIRST_LOW;
    if code < FIRST_LOW
        && text
            .get(6..)
            .and_then(unit)
            .is_some_and(|next| is_low(&next))
    {
        // Both halves are here: serde_json joins them.
        return (12, None);
    }
    let half = char::from_u32(FIRST_HALF + code - SURROGATES.start());
    (6, half.map(|half| half.to_string().into_bytes()))
}

/// The code of a `\uXXXX`.
fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |code, &digit| {
        Some(code * 16 + char::from(digit).to_digit(16)?)
    })
}

/// The value of bytes that may need mending, and whether they did; `None` when they are no JSON at all. Of members that
/// come twice the last one counts.
pub fn value(bytes: &[u8]) -> Option<(Value, bool)> {
    // Nearly always the end of it: the second pass costs a copy.
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Some((value, false));
    }
    let value = serde_json::from_slice(&mended(bytes)).ok()?;
    Some((value, true))
}

/// The same JSON as derived types read it, each member once, and whether it was [`mended`] and so may hold halves. `None`
/// when it is no JSON at all.
pub fn normal(bytes: &[u8]) -> Option<(Vec<u8>, bool)> {
    let (value, is_mended) = value(bytes)?;
    Some((serde_json::to_vec(&value).ok()?, is_mended))
}

/// As [`normal`], for events whose texts repeat all that was said: half a character at a text's end is left out, as the
/// next event has all of it.
pub fn visible(bytes: &[u8]) -> Option<Vec<u8>> {
    fn trim(value: &mut Value) {
        match value {
            Value::String(text) if has_half(text) => {
                *text = whole(text.trim_end_matches(is_half));
            }
            Value::Array(list) => list.iter_mut().for_each(trim),
            Value::Object(members) => {
                make_names_whole(members);
                members.values_mut().for_each(trim);
            }
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let (mut value, is_mended) = value(bytes)?;
    if is_mended {
        trim(&mut value);
    }
    serde_json::to_vec(&value).ok()
}

/// Whether half a character may be escaped in it: derived types that keep a part of it unread would find that late.
pub fn may_have_half(bytes: &[u8]) -> bool {
    // One search for a byte that is rare, before two for texts.
    memchr::memchr(b'\\', bytes).is_some()
        && [b"\\ud", b"\\uD"]
            .iter()
            .any(|start| memchr::memmem::find(bytes, *start).is_some())
}

/// Whether there is half a character in a text; nearly no text has a byte that could begin one.
pub fn has_half(text: &str) -> bool {
    memchr::memchr(0xF4, text.as_bytes()).is_some() && text.contains(is_half)
}

/// Joins the halves in a text that is still growing: one at its end may yet be joined and stays.
pub fn settle(text: &mut String) {
    let last = text.chars().last();
    let mut halves = Halves::default();
    // Alone at the end it was taken into `halves`, and is what `last` still has.
    let mut settled = halves.join(text);
    if halves.is_waiting() {
        settled.extend(last);
    }
    *text = settled;
}

/// The half that a private character stands for.
fn half(c: char) -> Option<u32> {
    let code = u32::from(c).checked_sub(FIRST_HALF)? + SURROGATES.start();
    SURROGATES.contains(&code).then_some(code)
}

/// Whether a character of a [`mended`] text stands for half of one.
pub fn is_half(c: char) -> bool {
    half(c).is_some()
}

/// A mended text whose halves, joined where both are there, are U+FFFD otherwise.
pub fn whole(text: &str) -> String {
    let mut halves = Halves::default();
    let mut whole = halves.join(text);
    whole.extend(halves.finish());
    whole
}

/// As [`whole`] for every text and every name in a value.
pub fn make_whole(value: &mut Value) {
    match value {
        Value::String(text) => {
            if text.contains(is_half) {
                *text = whole(text);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(make_whole),
        Value::Object(members) => {
            make_names_whole(members);
            members.values_mut().for_each(make_whole);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn make_names_whole(members: &mut Map<String, Value>) {
    if members.keys().any(|name| has_half(name)) {
        let odd = std::mem::take(members).into_iter();
        *members = odd.map(|(name, value)| (whole(&name), value)).collect();
    }
}

/// Joins the halves of a text that comes in pieces. The first half waits for the piece with the second; one that stays
/// alone is U+FFFD.
#[derive(Debug, Default)]
pub struct Halves {
    high: Option<u32>,
}

impl Halves {
    /// What of a [`mended`] piece is complete.
    pub fn join(&mut self, piece: &str) -> String {
        let mut text = String::with_capacity(piece.len());
        for c in piece.chars() {
            let high = self.high.take();
            match (high, half(c)) {
                // U+10000 and up by the standard's formula: ten bits of each half.
                (Some(high), Some(low)) if low >= FIRST_LOW => {
                    let code = 0x1_0000 + ((high - SURROGATES.start()) << 10) + (low - FIRST_LOW);
                    text.extend(char::from_u32(code));
                    continue;
                }
                (Some(_), _) => text.push(char::REPLACEMENT_CHARACTER),
                (None, _) => {}
            }
            match half(c) {
                None => text.push(c),
                Some(code) if code < FIRST_LOW => self.high = Some(code),
                Some(_) => text.push(char::REPLACEMENT_CHARACTER),
            }
        }
        text
    }

    /// Whether a half waits: the next piece must be joined, though it needed no mending.
    pub fn is_waiting(&self) -> bool {
        self.high.is_some()
    }

    /// No piece follows: a half that is left.
    pub fn finish(&mut self) -> Option<char> {
        self.high.take().map(|_| char::REPLACEMENT_CHARACTER)
    }
}

/// Finds the end of an object or array that comes in pieces.
#[derive(Debug, Default)]
pub struct Scan {
    depth: u64,
    is_string: bool,
    is_escaped: bool,
    has_begun: bool,
}

impl Scan {
    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_string => self.is_escaped = true,
                b'"' => self.is_string = !self.is_string,
                _ if self.is_string => {}
                b'{' | b'[' => {
                    self.depth += 1;
                    self.has_begun = true;
                }
                // Saturating, as what precedes the object may be anybody's text.
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Whether it has come to its end.
    pub fn is_whole(&self) -> bool {
        self.has_begun && self.depth == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &[u8]) -> Option<String> {
        serde_json::from_slice::<String>(&mended(json)).ok()
    }

    /// Names of members are texts as well.
    #[test]
    fn halves_in_names_are_made_whole() {
        let json = br#"[{"a\ud83d":{"\udc4b":"\ud83d"}}]"#;
        let (mut value, is_mended) = value(json).unwrap();
        make_whole(&mut value);
        let named = |text: &str| serde_json::json!([{"a\u{FFFD}": {"\u{FFFD}": text}}]);
        assert_eq!((value, is_mended), (named("\u{FFFD}"), true));
        let visible: Value = serde_json::from_slice(&visible(json).unwrap()).unwrap();
        assert_eq!(visible, named(""));
    }

    #[test]
    fn halves_are_joined_across_pieces() {
        for (pieces, expected) in [
            (&[r#""Hi \ud83d""#, r#""\udc4b!""#][..], "Hi 👋!"),
            (&[r#""\uD83D\uDC4B""#], "👋"),
            (&[r#""a\ud83d""#], "a\u{FFFD}"),
            (&[r#""a\ud83d""#, r#""b""#], "a\u{FFFD}b"),
            (&[r#""\udc4b""#], "\u{FFFD}"),
            (&[r#""\ud83d\ud83d\udc4b""#], "\u{FFFD}👋"),
            (&[r#""\ud83d""#, r#""""#, r#""\udc4b""#], "👋"),
            (&[r#""\\ud83d""#], "\\ud83d"),
            (&[r#""\ud83d\n""#], "\u{FFFD}\n"),
        ] {
            let mut halves = Halves::default();
            let mut text: String = pieces
                .iter()
                .map(|piece| halves.join(&read(piece.as_bytes()).unwrap()))
                .collect();
            text.extend(halves.finish());
            assert_eq!(text, expected, "{pieces:?}");
        }
    }

    #[test]
    fn mends_what_is_nearly_json() {
        assert_eq!(read(b"\"a\xff\nb\"").as_deref(), Some("a\u{FFFD}\nb"));
        let (value, is_mended) =
            value(br#"{"a":NaN,"b":[-Infinity,Infinity,-1],"c":"NaN","a":2}"#).unwrap();
        assert_eq!(
            (value, is_mended),
            (
                serde_json::json!({"a": 2, "b": [null, null, -1], "c": "NaN"}),
                true
            )
        );
        assert_eq!(super::value(b"{\"a\":"), None);
        assert_eq!(super::value(b"pong"), None);
    }

    #[test]
    fn knows_where_an_object_ends() {
        let text = br#" {"a":["}",{"b":"\"}"}]}"#;
        for at in 0..=text.len() {
            let mut scan = Scan::default();
            scan.feed(text.get(..at).unwrap());
            assert_eq!(scan.is_whole(), at == text.len(), "{at}");
        }
    }

    #[test]
    fn a_growing_text_keeps_the_half_at_its_end() {
        for (text, settled) in [
            ("a\u{10F83D}", "a\u{10F83D}"),
            ("a\u{10F83D}\u{10FC4B}b", "a👋b"),
            ("\u{10F83D}b", "\u{FFFD}b"),
            ("\u{10FC4B}", "\u{FFFD}"),
        ] {
            let mut grown = text.to_owned();
            settle(&mut grown);
            assert_eq!(grown, settled, "{text:?}");
        }
        assert_eq!(
            normal(br#"{"a":1,"b":"\ud83d","a":2}"#),
            Some(("{\"a\":2,\"b\":\"\u{10F83D}\"}".into(), true))
        );
    }

    proptest::proptest! {
        #[test]
        fn sound_json_stays_what_it_is(text in ".*", number in proptest::num::i64::ANY) {
            let json = serde_json::json!({"a": text, "b": [number, null, true], "c": {"d": text}});
            let mended = mended(json.to_string().as_bytes());
            proptest::prop_assert_eq!(serde_json::from_slice::<Value>(&mended).ok(), Some(json));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = value(&bytes);
        }

        /// However a text is cut into UTF-16 units.
        #[test]
        fn a_cut_text_comes_back(text in "[ab👋🏽你\"\\\\]{0,12}", cut in 0_usize..24) {
            let units: Vec<u16> = text.encode_utf16().collect();
            let (head, tail) = units.split_at(cut.min(units.len()));
            let json = |units: &[u16]| {
                let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
                format!("\"{escaped}\"")
            };
            let mut halves = Halves::default();
            let mut joined = halves.join(&read(json(head).as_bytes()).unwrap());
            joined.push_str(&halves.join(&read(json(tail).as_bytes()).unwrap()));
            joined.extend(halves.finish());
            proptest::prop_assert_eq!(joined, text);
        }
    }
}
