//! From base64 payloads to text, however they are torn. Source: `wire/xinghuo.md` section 6.3.

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::impossible::OrImpossible as _;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What is left over between payloads: at most three characters of base64 and three bytes of a character.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    chars: Vec<u8>,
    bytes: Vec<u8>,
}

impl Pieces {
    /// The text that is complete with this payload (section 6.3, rules 1 to 3).
    pub(super) fn next(&mut self, payload: &[u8]) -> String {
        // Taken out, so that a payload can be joined to it without a copy where there is none.
        let mut joined = std::mem::take(&mut self.chars);
        let whole = if joined.is_empty() {
            payload
        } else {
            joined.extend_from_slice(payload);
            &joined
        };
        // What is held may be a whole group: a payload may lie within one.
        let (now, later) = whole.split_at(whole.len() - held_back(whole));
        self.chars = later.to_vec();
        self.text(decode(now))
    }

    /// Whether the next payload begins with a whole byte: no character of base64 is held.
    pub(super) fn is_whole(&self) -> bool {
        self.chars.is_empty()
    }

    /// The stream is over: what is held, with U+FFFD for half a character.
    pub(super) fn finish(&mut self) -> String {
        let last = std::mem::take(&mut self.chars);
        let mut text = self.text(decode(&last));
        if !std::mem::take(&mut self.bytes).is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        text
    }

    /// Rule 2: the bytes of an unfinished character wait for the next piece.
    fn text(&mut self, decoded: Vec<u8>) -> String {
        let mut bytes = std::mem::take(&mut self.bytes);
        // A character that began before stays whole.
        if bytes.is_empty() {
            // Nearly every piece is whole characters, and needs no copy.
            match String::from_utf8(decoded) {
                Ok(text) => return text,
                Err(error) => bytes = error.into_bytes(),
            }
        } else {
            bytes.extend_from_slice(&decoded);
        }
        let unfinished = unfinished(&bytes);
        let (now, later) = bytes.split_at(bytes.len() - unfinished);
        self.bytes = later.to_vec();
        // Broken in the middle: U+FFFD stands for it, as the service shows it too.
        String::from_utf8_lossy(now).into_owned()
    }
}

/// Whether a payload is base64, padded or not.
pub(super) fn is_base64(payload: &[u8]) -> bool {
    let chars = unpadded(payload);
    // Three of them would be no base64 at all.
    payload.len() - chars.len() <= 2 && chars.iter().all(|&char| value(char).is_some())
}

/// Decodes a payload alone, with or without padding; a single last character, which holds no byte, is dropped.
pub(super) fn decode(chars: &[u8]) -> Vec<u8> {
    let chars = unpadded(chars);
    let whole = if chars.len() % 4 == 1 {
        // A single last character holds six bits, and no byte.
        chars.len() - 1
    } else {
        chars.len()
    };
    BASE64
        .decode(
            chars
                .get(..whole)
                .or_impossible("the whole groups are a part of all characters"),
        )
        .or_impossible("only what `is_base64` has seen comes here")
}

/// Rule 3: how many characters at the end wait for the next payload.
fn held_back(chars: &[u8]) -> usize {
    let rest = chars.len() % 4;
    // An empty payload holds nothing back.
    let last = chars.last().copied().unwrap_or_default();
    let unused_bits = match rest {
        2 => 0b1111,
        3 => 0b11,
        _ => 0,
    };
    // Bits that must be zero and are not: the payload was cut within a group (rule 3).
    let is_torn = rest == 1 || value(last).unwrap_or_default() & unused_bits != 0;
    if last != b'=' && is_torn { rest } else { 0 }
}

/// How many bytes at the end are the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    // Of the last chunk of broken text: what is broken in the middle stays as it is.
    let last = bytes.utf8_chunks().last();
    let tail = last.map(|chunk| chunk.invalid()).unwrap_or_default();
    // An invalid tail may also be bytes that no continuation would mend.
    match std::str::from_utf8(tail) {
        Err(error) if error.error_len().is_none() => tail.len(),
        _ => 0,
    }
}

fn unpadded(chars: &[u8]) -> &[u8] {
    let padding = chars.iter().rev().take_while(|&&char| char == b'=').count();
    chars
        .get(..chars.len() - padding)
        .or_impossible("the padding is a part of all characters")
}

/// The six bits of a character.
fn value(char: u8) -> Option<u8> {
    match char {
        b'A'..=b'Z' => Some(char - b'A'),
        b'a'..=b'z' => Some(char - b'a' + 26),
        b'0'..=b'9' => Some(char - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(payloads: &[&str]) -> Vec<String> {
        let mut pieces = Pieces::default();
        let mut texts: Vec<String> = payloads
            .iter()
            .map(|payload| pieces.next(payload.as_bytes()))
            .collect();
        texts.push(pieces.finish());
        texts
    }

    /// V1 to V5 of section 5.
    #[test]
    fn follows_the_vectors_of_the_wire_page() {
        let v1 = texts(&["5L2g5aW9", "77yM5LiW55WM", "8J+Ri/Cfj70=", "IQo="]);
        assert_eq!(v1, ["你好", "，世界", "👋🏽", "!\n", ""]);
        let v2 = texts(&["5L2g5aW977yM5A==", "uJbnlYzwnw", "kYvwn4+9IQo="]);
        assert_eq!(v2, ["你好，", "世界", "👋🏽!\n", ""]);
        let v3 = texts(&["5L2g5", "aW977yM5L", "iW55WM8J+Ri/Cfj70hCg=="]);
        assert_eq!(v3, ["你", "好，", "世界👋🏽!\n", ""]);
        assert_eq!(texts(&["YQ", "Yg==", "Yw"]), ["a", "b", "c", ""]);
        assert_eq!(texts(&["5L2g5Q=="]), ["你", "\u{FFFD}"]);
    }

    #[test]
    fn padding_that_comes_late_is_harmless() {
        assert_eq!(texts(&["YQ", "=="]), ["a", "", ""]);
        assert_eq!(texts(&["YQ=", "="]), ["a", "", ""]);
    }

    #[test]
    fn what_is_held_at_the_end_is_decoded() {
        assert_eq!(texts(&["YWJj", "YR"]), ["abc", "", "a"]);
        assert_eq!(texts(&["YWJjY"]), ["abc", ""]);
        assert_eq!(texts(&["/w==", "YQ=="]), ["\u{FFFD}", "a", ""]);
    }

    #[test]
    fn knows_base64() {
        for yes in ["YQ", "YQ==", "+/8=", "=", "A"] {
            assert!(is_base64(yes.as_bytes()), "{yes}");
        }
        for no in ["Y Q", "你", "a=b", "YQ===", "a-b_", "<end>"] {
            assert!(!is_base64(no.as_bytes()), "{no}");
        }
    }

    proptest::proptest! {
        /// The service's own way: every piece whole bytes in padded base64, characters torn anywhere.
        #[test]
        fn padded_pieces_give_the_text_back(text in ".*", cuts in proptest::collection::vec(0_usize..64, 0..8)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut pieces = Pieces::default();
            let mut said: String = cuts
                .windows(2)
                .map(|cut| pieces.next(BASE64.encode(&text.as_bytes()[cut[0]..cut[1]]).as_bytes()))
                .collect();
            said.push_str(&pieces.finish());
            proptest::prop_assert_eq!(said, text);
        }

        #[test]
        fn little_is_held_whatever_comes(payloads in proptest::collection::vec("[A-Za-z0-9+/]{0,9}={0,2}", 0..20)) {
            let mut pieces = Pieces::default();
            for payload in payloads {
                pieces.next(payload.as_bytes());
                proptest::prop_assert!(pieces.chars.len() <= 3 && pieces.bytes.len() <= 3);
            }
        }
    }
}
