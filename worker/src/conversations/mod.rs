//! Conversations that continue (`CONVERSATIONS=reuse`): which upstream conversation a request goes on with, so that only what
//! is new is sent there. Never needed for an answer: whoever finds nothing sends the whole conversation, as ever.
//!
//! [`chain`] says where in which conversation a request stands, from what was said alone; [`heard`] gathers what the client
//! hears of an answer, which is what it will send back; [`index`] keeps in the store which upstream conversation stands at a
//! point, and gives each to one turn at a time. Source: design.md section 2 step 4, issue "what a cluster must know together".

pub mod chain;
pub mod heard;
pub mod index;

pub use chain::{Asker, Point};
pub use heard::Heard;
pub use index::{Claim, Conversations, Found, Idle, Kept, Owner};

use serde::{Deserialize, Serialize};

/// An upstream conversation and where in it an answer stands, for whoever continues it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// The upstream conversation's id.
    pub id: String,
    /// The upstream id of the answer, the parent of the next question; as soon as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What else the provider must know to go on or to delete it; in its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<String>,
}

impl Thread {
    /// One that was just opened.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            message: None,
            more: None,
        }
    }
}

/// Whether and how a provider's conversations can be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continues {
    /// Not at all.
    No,
    /// From their end, by one turn at a time.
    Linear,
    /// From any answer in them: the service knows which question follows which answer.
    Branches,
}
