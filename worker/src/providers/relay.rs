//! Passing requests on that an API understands as they are: what its dialect has beside chat (embeddings, transcriptions,
//! moderations, pictures, videos). The door says where a request goes and what the caller has written; the provider, with
//! which account and under which name of the model. Answers are passed on as they come, unless they are refusals.

use std::fmt;

use actix_web::http::Method;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use super::{Held, Turn};
use crate::{
    chat::ProviderError,
    upstream::{Answer, Rest},
};

/// A provider that passes requests on.
pub trait Relay: Send + Sync {
    /// Leases an account, sends the request, and judges the answer's head as a chat's.
    ///
    /// # Errors
    /// As [`super::Provider::chat`].
    fn pass<'a>(
        &'a self,
        call: &'a Call,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<Passed, ProviderError>>;
}

/// A request to be passed on.
#[derive(Debug)]
pub struct Call {
    /// Names it in metrics.
    pub step: &'static str,
    /// GET, POST, DELETE.
    pub method: Method,
    /// Behind the API's base URL: `/embeddings`, `/videos/ID/content?variant=thumbnail`. Whatever a caller wrote in it is
    /// encoded.
    pub path: String,
    /// What goes along of the caller's headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
    /// The account that has what this is about, by its fingerprint; any account where it is about nothing yet.
    pub account: Option<String>,
    /// Whether it may have been taken, and cost something, where no answer comes: then it is not sent again.
    pub once: bool,
    /// Statuses that mean something to the door; others that are no success are errors.
    pub told: &'static [u16],
}

/// How a model's name is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// As a JSON string; null where there is none.
    Json,
    /// As it is.
    Plain,
}

/// A body, apart from the model's name in it: each candidate has its own for the model.
#[derive(Debug, Default)]
pub struct Body {
    before: Bytes,
    model: Option<Spelling>,
    after: Bytes,
    rest: Option<Rest>,
}

impl Body {
    /// A body without a model, or none at all.
    pub fn fixed(whole: Bytes) -> Self {
        Self {
            before: whole,
            ..Self::default()
        }
    }

    /// A body with the model's name between two parts.
    pub fn around(before: Bytes, model: Spelling, after: Bytes) -> Self {
        Self {
            before,
            model: Some(model),
            after,
            rest: None,
        }
    }

    /// Followed by what comes while it is sent.
    #[must_use]
    pub fn followed_by(mut self, rest: Option<Rest>) -> Self {
        self.rest = rest;
        self
    }

    /// Whether there is a place for the model's name in it.
    pub fn names_model(&self) -> bool {
        self.model.is_some()
    }

    /// All of it, with this name of the model: what is there, and what is still to come.
    pub fn into_pieces(self, model: &str) -> (Vec<Bytes>, Option<Rest>) {
        (self.pieces(model), self.rest)
    }

    /// What is there, in pieces that belong one after the other.
    pub(super) fn pieces(&self, model: &str) -> Vec<Bytes> {
        let name = match self.model {
            Some(Spelling::Json) if model.is_empty() => Bytes::from_static(b"null"),
            Some(Spelling::Json) => serde_json::Value::from(model).to_string().into(),
            Some(Spelling::Plain) => Bytes::copy_from_slice(model.as_bytes()),
            None => Bytes::new(),
        };
        // `Bytes` are shared: every candidate and every try sends the same memory.
        vec![self.before.clone(), name, self.after.clone()]
    }

    /// What is still to come.
    pub(super) fn rest(&self) -> Option<Rest> {
        self.rest.clone()
    }
}

/// An answer that is passed on, its body still to be read.
pub struct Passed {
    /// Its status is a success, or one of [`Call::told`].
    pub answer: Answer,
    /// The account, for the id of a job; empty where nobody asked for one.
    pub account: String,
    /// What must be held until the body has been read: the account's lease.
    pub lease: Held,
}

impl fmt::Debug for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passed")
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}
