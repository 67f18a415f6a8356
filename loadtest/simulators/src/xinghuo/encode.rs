//! Answer text as the payloads of data lines. Source: wire/xinghuo.md §5 (vectors V1 to V4), §6.3.
//!
//! Normally each payload is whole characters in padded base64. Old clients had to cope with less, and so must ours:
//! missing padding, characters and base64 torn over two payloads. A tear always leaves something that the reader can
//! see is unfinished: half a character, or one character of base64 too many.

use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};

/// How pieces become payloads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wire {
    /// V1: every piece whole and padded.
    Clean,
    /// V4: every piece whole and without padding.
    Unpadded,
    /// V2: characters torn apart.
    TornCharacters,
    /// V3: base64 torn apart.
    TornBase64,
    /// All of them in turn.
    Mixed,
}

/// The payloads that say the pieces.
pub(super) fn payloads(pieces: &[String], wire: Wire) -> Vec<String> {
    let turn = |at: usize| match wire {
        Wire::Mixed => [
            Wire::Clean,
            Wire::TornCharacters,
            Wire::Unpadded,
            Wire::TornBase64,
        ][at % 4],
        one => one,
    };
    let mut payloads = Vec::new();
    let mut rest = pieces;
    let mut at = 0;
    while let Some((first, tail)) = rest.split_first() {
        let wire = turn(at);
        at += 1;
        match (wire, tail.split_first()) {
            (Wire::TornCharacters, Some((second, tail))) => {
                payloads.extend(torn_characters(first, second));
                rest = tail;
            }
            (Wire::TornBase64, Some((second, tail))) => {
                payloads.extend(torn_base64(&STANDARD.encode(format!("{first}{second}"))));
                rest = tail;
            }
            (Wire::Unpadded, _) => {
                payloads.push(STANDARD_NO_PAD.encode(first));
                rest = tail;
            }
            (Wire::Clean | Wire::Mixed | Wire::TornCharacters | Wire::TornBase64, _) => {
                payloads.push(STANDARD.encode(first));
                rest = tail;
            }
        }
    }
    payloads.retain(|payload| !payload.is_empty());
    payloads
}

/// Two pieces, cut inside the last long character of the first one, or of the second.
fn torn_characters(first: &str, second: &str) -> [String; 2] {
    let both = format!("{first}{second}");
    let inside = |at: &usize| !both.is_char_boundary(*at);
    let cut = (1..=first.len())
        .rev()
        .find(inside)
        .or_else(|| (first.len()..both.len()).find(inside));
    let (head, tail) = both.as_bytes().split_at(cut.unwrap_or(first.len()));
    [STANDARD_NO_PAD.encode(head), STANDARD.encode(tail)]
}

/// Base64 cut where one character is left over, so that it cannot be taken for missing padding.
fn torn_base64(whole: &str) -> Vec<String> {
    let middle = whole.len() / 2 / 4 * 4 + 1;
    match whole.split_at_checked(middle) {
        Some((head, tail)) if middle > 1 => vec![head.to_owned(), tail.to_owned()],
        _ => vec![whole.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn vector_v1_clean() {
        let payloads = payloads(&pieces(&["你好", "，世界", "👋🏽", "!\n"]), Wire::Clean);
        assert_eq!(
            payloads,
            ["5L2g5aW9", "77yM5LiW55WM", "8J+Ri/Cfj70=", "IQo="]
        );
    }

    #[test]
    fn vector_v2_split_characters() {
        // The vector has three payloads, cut at two places; each cut is made by one pair here.
        assert_eq!(torn_characters("你好，世", "界")[0], "5L2g5aW977yM5Lg");
        let whole = ["5L2g5aW977yM5A==", "uJbnlYzwnw", "kYvwn4+9IQo="]
            .map(lenient)
            .concat();
        assert_eq!(String::from_utf8(whole).unwrap(), "你好，世界👋🏽!\n");
    }

    #[test]
    fn vector_v3_split_base64() {
        let whole = STANDARD.encode("你好，世界👋🏽!\n");
        assert_eq!(
            ["5L2g5", "aW977yM5L", "iW55WM8J+Ri/Cfj70hCg=="].concat(),
            whole
        );
        let torn = torn_base64(&whole);
        assert_eq!(torn.concat(), whole);
        assert_eq!(torn[0].len() % 4, 1);
        assert_eq!(torn_base64("5L2g"), ["5L2g"]);
    }

    #[test]
    fn vector_v4_missing_padding() {
        assert_eq!(
            payloads(&pieces(&["a", "b", "c"]), Wire::Unpadded),
            ["YQ", "Yg", "Yw"]
        );
        assert_eq!(payloads(&pieces(&["b"]), Wire::Clean), ["Yg=="]);
    }

    #[test]
    fn a_torn_character_is_really_torn() {
        let torn = torn_characters("ab", "你");
        assert!(std::str::from_utf8(&lenient(&torn[0])).is_err());
        let torn = torn_characters("a👋b", "c");
        assert!(std::str::from_utf8(&lenient(&torn[0])).is_err());
        assert_eq!(torn_characters("ab", "cd"), ["YWI", "Y2Q="]);
    }

    #[test]
    fn every_wire_can_be_put_together_again() {
        let text = "你好，世界👋🏽! ascii only here ünd 中文\n".repeat(7);
        let cut = crate::pieces::cut(&text, None);
        for wire in [
            Wire::Clean,
            Wire::Unpadded,
            Wire::TornCharacters,
            Wire::TornBase64,
            Wire::Mixed,
        ] {
            assert_eq!(reader(&payloads(&cut, wire)), text, "{wire:?}");
        }
    }

    fn lenient(payload: &str) -> Vec<u8> {
        STANDARD_NO_PAD
            .decode(payload.trim_end_matches('='))
            .unwrap()
    }

    /// The rules of §6.3, in the page's own words: what any reader must be able to do.
    fn reader(payloads: &[String]) -> String {
        let (mut held, mut bytes) = (String::new(), Vec::new());
        for payload in payloads {
            let all = format!("{held}{payload}");
            let left = all.len() % 4;
            let low_bits = |bits: u32| {
                let last = *all.as_bytes().last().unwrap();
                let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
                alphabet.iter().position(|c| *c == last).unwrap() & ((1 << bits) - 1) != 0
            };
            let hold = match left {
                _ if all.ends_with('=') => 0,
                0 => 0,
                1 => 1,
                2 if low_bits(4) => 2,
                3 if low_bits(2) => 3,
                _ => 0,
            };
            let (now, later) = all.split_at(all.len() - hold);
            bytes.extend(lenient(now));
            held = later.to_owned();
        }
        assert_eq!(held, "");
        String::from_utf8(bytes).unwrap()
    }
}
