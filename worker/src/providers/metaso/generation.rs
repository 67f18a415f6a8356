//! The two generations of the site's calls, and which of them is asked. Source: `wire/metaso.md` section 1.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::settings::Problems;

/// One generation of the private protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Generation {
    /// `POST /api/search/chat`: what the site's own page uses (section 10).
    Chat = 1,
    /// `POST /api/session`, then `GET /api/searchV2` (sections 4.3, 4.4).
    SearchV2 = 2,
}

/// `METASO_PROTOCOL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The newer one first; what has answered is asked first from then on.
    Auto,
    /// This one and no other.
    Only(Generation),
}

impl Protocol {
    /// Reads `METASO_PROTOCOL`.
    pub(super) fn read(text: Option<&str>, problems: &mut Problems) -> Self {
        match text.map(str::to_ascii_lowercase).as_deref() {
            None | Some("auto") => Self::Auto,
            Some("chat") => Self::Only(Generation::Chat),
            Some("searchv2") => Self::Only(Generation::SearchV2),
            Some(_) => {
                problems.push("METASO_PROTOCOL must be auto, chat or searchv2".to_owned());
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
        let first = match protocol {
            Protocol::Auto => Generation::Chat,
            Protocol::Only(generation) => generation,
        };
        Self {
            protocol,
            // A number, since all threads share it: which generation is no matter of a lock.
            answered: AtomicU8::new(first as u8),
        }
    }

    /// Whom to ask, and whom to ask next when the first one is not there.
    pub(super) fn order(&self) -> (Generation, Option<Generation>) {
        use Generation::{Chat, SearchV2};
        match self.protocol {
            Protocol::Only(generation) => (generation, None),
            Protocol::Auto if self.answered.load(Ordering::Relaxed) == SearchV2 as u8 => {
                (SearchV2, Some(Chat))
            }
            Protocol::Auto => (Chat, Some(SearchV2)),
        }
    }

    /// A generation is there; whether that is news.
    pub(super) fn has_answered(&self, generation: Generation) -> bool {
        let new = generation as u8;
        self.answered.swap(new, Ordering::Relaxed) != new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answered_last_is_asked_first() {
        use Generation::{Chat, SearchV2};
        let read = |text| {
            let mut problems = Problems::default();
            (Protocol::read(text, &mut problems), problems.errors.len())
        };
        for text in [None, Some("auto")] {
            assert_eq!(read(text), (Protocol::Auto, 0));
        }
        assert_eq!(read(Some("searchV2")), (Protocol::Only(SearchV2), 0));
        assert_eq!(read(Some("v3")), (Protocol::Auto, 1));
        let memory = Memory::new(Protocol::Auto);
        assert_eq!(memory.order(), (Chat, Some(SearchV2)));
        assert!(memory.has_answered(SearchV2) && !memory.has_answered(SearchV2));
        assert_eq!(memory.order(), (SearchV2, Some(Chat)));
        let memory = Memory::new(Protocol::Only(Chat));
        memory.has_answered(SearchV2);
        assert_eq!(memory.order(), (Chat, None));
    }
}
