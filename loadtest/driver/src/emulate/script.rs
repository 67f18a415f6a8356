//! What an answer of the emulator is like: from the command line, or from a directive in the question.

use std::time::Duration;

use memchr::memmem;

/// Bounds of a script: nothing that a question says may take the machine down.
const MOST_PIECES: u64 = 1_000_000;
const LARGEST_PIECE: u64 = 1 << 20;
const LONGEST_PAUSE: u64 = 600_000;

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// How many pieces.
    pub pieces: u32,
    /// The time between two pieces; none: one write after the other.
    pub every: Duration,
    /// Bytes of text a piece, its marker included.
    pub size: usize,
    /// The silence before the first piece, or before an answer in one piece.
    pub wait: Duration,
    /// Write the pieces when the machine's clock shows a multiple of `every`: those of all streams at once.
    pub aligned: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            pieces: 16,
            every: Duration::ZERO,
            size: 32,
            wait: Duration::ZERO,
            aligned: false,
        }
    }
}

impl Script {
    /// This script, changed by the last `load:pieces=64,every=20ms,size=16,wait=5ms,aligned=1` of a request's body.
    ///
    /// The body is searched and not parsed: that is the same for every protocol, and costs next to nothing. What is not
    /// understood is left as it was.
    pub(super) fn directed_by(mut self, body: &[u8]) -> Self {
        let Some(at) = memmem::rfind(body, b"load:") else {
            return self;
        };
        let directive = body.get(at + 5..).unwrap_or_default();
        let end = directive
            .iter()
            .position(|byte| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'=' | b','));
        let directive = directive
            .get(..end.unwrap_or(directive.len()))
            .unwrap_or_default();
        for pair in std::str::from_utf8(directive)
            .unwrap_or_default()
            .split(',')
        {
            if let Some((name, value)) = pair.split_once('=') {
                self.set(name, value.strip_suffix("ms").unwrap_or(value));
            }
        }
        self
    }

    fn set(&mut self, name: &str, value: &str) {
        let Ok(value) = value.parse::<u64>() else {
            return;
        };
        match name {
            "pieces" => self.pieces = value.min(MOST_PIECES) as u32,
            "every" => self.every = Duration::from_millis(value.min(LONGEST_PAUSE)),
            "size" => self.size = value.min(LARGEST_PIECE) as usize,
            "wait" => self.wait = Duration::from_millis(value.min(LONGEST_PAUSE)),
            "aligned" => self.aligned = value > 0,
            _ => {}
        }
    }
}

/// Whether a chat completion is to be streamed; searched like the directive.
pub(super) fn wants_stream(body: &[u8]) -> bool {
    // A quotation mark inside a text is escaped, so that this finds the member only.
    let Some(at) = memmem::find(body, b"\"stream\"") else {
        return false;
    };
    let rest = body.get(at + 8..).unwrap_or_default();
    let value = rest
        .iter()
        .position(|byte| !matches!(byte, b' ' | b':' | b'\n' | b'\r' | b'\t'));
    value.is_some_and(|at| rest.get(at..).unwrap_or_default().starts_with(b"true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_directive_counts() {
        let body = br#"{"messages":[{"content":"load:pieces=1"},{"content":"x load:pieces=64,every=20ms,size=16 y"}]}"#;
        let expected = Script {
            pieces: 64,
            every: Duration::from_millis(20),
            size: 16,
            ..Script::default()
        };
        assert_eq!(Script::default().directed_by(body), expected);
    }

    #[test]
    fn what_is_not_understood_changes_nothing() {
        for body in [
            "",
            "load:",
            "load:pieces=many",
            "load:pieces",
            "load:colour=3,",
            "payload: 3",
        ] {
            assert_eq!(
                Script::default().directed_by(body.as_bytes()),
                Script::default(),
                "{body}"
            );
        }
    }

    #[test]
    fn a_directive_has_bounds() {
        let script = Script::default().directed_by(b"load:pieces=99999999999,size=99999999999");
        assert_eq!((script.pieces, script.size), (1_000_000, 1 << 20));
    }

    #[test]
    fn the_member_stream_is_found_and_no_text() {
        assert!(wants_stream(br#"{"stream": true}"#));
        assert!(wants_stream(
            br#"{"messages":[{"content":"\"stream\":false"}],"stream":true,"stream_options":{}}"#
        ));
        assert!(!wants_stream(br#"{"stream":false}"#));
        assert!(!wants_stream(
            br#"{"stream_options":{"include_usage":true}}"#
        ));
        assert!(!wants_stream(
            br#"{"messages":[{"content":"\"stream\":true"}]}"#
        ));
    }
}
