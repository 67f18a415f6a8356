//! The two generations of the site, which of them is asked, and what tells that one is gone. Source: `wire/qwen.md`
//! section 1.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::{chat::ProviderError, settings::Problems, upstream::TransportError};

/// One generation of the private protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Generation {
    /// Signed requests of today's site (section 11).
    Chat2 = 1,
    /// The older `/dialog/*` calls (sections 4 to 9).
    Dialog = 2,
}

/// `QWEN_PROTOCOL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The newer one first; what has answered is asked first from then on.
    Auto,
    /// This one and no other.
    Only(Generation),
}

impl Generation {
    /// What a conversation is remembered by ([`crate::conversations::Thread::more`]).
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Chat2 => "chat2",
            Self::Dialog => "dialog",
        }
    }
}

impl Protocol {
    /// Reads `QWEN_PROTOCOL`.
    pub(super) fn read(text: Option<&str>, problems: &mut Problems) -> Self {
        match text {
            None | Some("auto") => Self::Auto,
            Some("chat2") => Self::Only(Generation::Chat2),
            Some("dialog") => Self::Only(Generation::Dialog),
            Some(_) => {
                problems.push("QWEN_PROTOCOL must be auto, chat2 or dialog".to_owned());
                Self::Auto
            }
        }
    }
}

/// Which generation has answered last. One for the process: all accounts are on the same site.
#[derive(Debug)]
pub(super) struct Memory {
    protocol: Protocol,
    answered: AtomicU8,
}

impl Memory {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            answered: AtomicU8::new(Generation::Chat2 as u8),
        }
    }

    /// Whom to ask, and whom to ask next when the first one is not there.
    pub(super) fn order(&self) -> (Generation, Option<Generation>) {
        use Generation::{Chat2, Dialog};
        match self.protocol {
            Protocol::Only(generation) => (generation, None),
            // Whoever answered last is asked first; the other one is a fallback in both directions.
            Protocol::Auto if self.answered.load(Ordering::Relaxed) == Dialog as u8 => {
                (Dialog, Some(Chat2))
            }
            Protocol::Auto => (Chat2, Some(Dialog)),
        }
    }

    /// A generation is there: it has answered, be it with a refusal.
    pub(super) fn has_answered(&self, generation: Generation) {
        self.answered.store(generation as u8, Ordering::Relaxed);
    }
}

/// Why a generation gave no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is not there: no such name, no connection, HTTP 404 or 410, or a web page with HTTP 200.
    Absent(ProviderError),
    /// Anything else, which is no reason to ask the other one.
    Told(ProviderError),
}

impl Failure {
    /// The error, whatever it says of the generation.
    pub(super) fn into_error(self) -> ProviderError {
        match self {
            Self::Absent(error) | Self::Told(error) => error,
        }
    }

    /// An answer that means `error`: absent by its status, or by being a web page.
    pub(super) fn judged(status: u16, is_page: bool, error: ProviderError) -> Self {
        // 404 and 410 also with JSON: the site answers so for calls that are gone.
        if matches!(status, 404 | 410) || (status == 200 && is_page) {
            Self::Absent(error)
        } else {
            Self::Told(error)
        }
    }
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Self::Told(error)
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Connect => Self::Absent(error.into()),
            _ => Self::Told(error.into()),
        }
    }
}

/// Whether an answer is a web page: by its type, or by how its body begins.
pub(super) fn is_page(content_type: &str, body: &[u8]) -> bool {
    content_type == "text/html" || body.trim_ascii_start().starts_with(b"<")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Kind;

    #[test]
    fn what_answered_last_is_asked_first() {
        use Generation::{Chat2, Dialog};
        let memory = Memory::new(Protocol::Auto);
        assert_eq!(memory.order(), (Chat2, Some(Dialog)));
        memory.has_answered(Dialog);
        assert_eq!(memory.order(), (Dialog, Some(Chat2)));
        memory.has_answered(Chat2);
        assert_eq!(memory.order(), (Chat2, Some(Dialog)));
        let memory = Memory::new(Protocol::Only(Chat2));
        memory.has_answered(Dialog);
        assert_eq!(memory.order(), (Chat2, None));
    }

    #[test]
    fn only_what_is_not_there_is_absent() {
        let error = || ProviderError::new(Kind::Protocol, "x");
        for (status, is_page, is_absent) in [
            (404, false, true),
            (410, true, true),
            (200, true, true),
            (200, false, false),
            (403, true, false),
            (500, true, false),
        ] {
            let failure = Failure::judged(status, is_page, error());
            let was_absent = matches!(failure, Failure::Absent(_));
            assert_eq!(was_absent, is_absent, "{status} {is_page}");
        }
        for (error, is_absent) in [
            (TransportError::Connect, true),
            (TransportError::Timeout, false),
            (TransportError::Broken, false),
        ] {
            assert_eq!(matches!(error.into(), Failure::Absent(_)), is_absent);
        }
    }

    #[test]
    fn a_page_is_known_by_type_or_beginning() {
        assert!(is_page("text/html", b"") && is_page("", b"\n <!doctype html>"));
        assert!(!is_page("application/json", b"{}"));
    }
}
