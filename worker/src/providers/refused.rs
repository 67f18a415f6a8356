//! A refusal together with what may be done about it before it is passed on.

use std::time::Duration;

use crate::chat::{Kind, ProviderError};

/// `R` is the provider's own list of remedies; its default is that nothing helps.
#[derive(Clone, Debug)]
pub(super) struct Refusal<R> {
    /// For the dispatcher and the caller.
    pub(super) error: ProviderError,
    /// For the provider's flow, which may try it first.
    pub(super) remedy: R,
}

impl<R: Default> Refusal<R> {
    /// One that nothing helps against.
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        ProviderError::new(kind, message).into()
    }
}

impl<R> Refusal<R> {
    /// The same with a remedy.
    pub(super) fn with(self, remedy: R) -> Self {
        Self { remedy, ..self }
    }

    /// See [`ProviderError::with_code`].
    pub(super) fn code(mut self, code: &str) -> Self {
        self.error = self.error.with_code(code);
        self
    }

    /// See [`ProviderError::saying`].
    pub(super) fn saying(mut self, words: &str) -> Self {
        self.error = self.error.saying(words);
        self
    }

    /// See [`ProviderError::lasting`].
    pub(super) fn lasting(mut self) -> Self {
        self.error = self.error.lasting();
        self
    }

    /// The same with the time that the service names; where it names none, with what is known already.
    pub(super) fn resting(mut self, rest: Option<Duration>) -> Self {
        self.error.retry_after = rest.or(self.error.retry_after);
        self
    }
}

impl<R: Default, E: Into<ProviderError>> From<E> for Refusal<R> {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            remedy: R::default(),
        }
    }
}
