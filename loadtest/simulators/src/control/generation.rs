//! Which generations of its service a simulator speaks.
//!
//! A service that changed its protocol has a name for each form of it. All of them are spoken at once unless one is asked
//! for; then the others are refused as the service of that time would. It can change in mid-run, as the real ones do.

use super::{Control, Unknown};

/// All generations at once: what a simulator speaks unless it is told otherwise.
pub const BOTH: &str = "both";
const OLDEST: &str = "oldest";
const NEWEST: &str = "newest";

/// The generation that a name means among those of a simulator, oldest first; `None`: all of them.
pub(super) fn choose(
    known: &'static [&'static str],
    name: &str,
) -> Result<Option<&'static str>, Unknown> {
    match name {
        BOTH => Ok(None),
        OLDEST => Ok(known.first().copied()),
        NEWEST => Ok(known.last().copied()),
        own => match known.iter().find(|known| **known == own) {
            Some(known) => Ok(Some(known)),
            None => Err(Unknown {
                name: own.to_owned(),
                known: [known, &[BOTH, OLDEST, NEWEST]].concat(),
            }),
        },
    }
}

impl Control {
    /// The generations of this service, oldest first; empty for one that has only one. [`Control::set_generation`] takes
    /// `both`, `oldest` and `newest` as well.
    pub fn known_generations(&self) -> &'static [&'static str] {
        self.generations
    }

    /// The generation that is spoken alone, or [`BOTH`].
    pub fn generation(&self) -> &'static str {
        self.inner().generation.unwrap_or(BOTH)
    }

    /// Speaks one generation from the next call on, or all of them (`both`). A reset goes back to that of the start.
    pub fn set_generation(&self, name: &str) -> Result<(), Unknown> {
        let generation = choose(self.generations, name)?;
        self.inner().generation = generation;
        Ok(())
    }

    /// Whether this generation is spoken, alone or with the others.
    pub(crate) fn speaks(&self, generation: &str) -> bool {
        self.inner()
            .generation
            .is_none_or(|only| only == generation)
    }

    /// Whether this generation is spoken and no other: then its rules may be enforced to the letter.
    pub(crate) fn only(&self, generation: &str) -> bool {
        self.inner().generation == Some(generation)
    }
}
