//! Tools and formats for models that have none. Source: tools.md.
//!
//! ```text
//! request ──► plan: contract, signature, history, format ──► plain messages ──► provider
//! answer  ──► filter ──► turn ──► decoder ──► ladder ──► calls, words
//!               └── verify: the answer as JSON
//! ```

pub mod contract;
mod decoder;
mod dialects;
pub mod fact;
pub mod filter;
pub mod format;
pub mod found;
pub mod history;
pub mod json;
pub mod ladder;
pub mod nonce;
pub mod plan;
pub mod schema;
pub mod signature;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod turn;
pub mod verdict;
pub mod verify;

use std::sync::Arc;

use self::{
    found::{End, Found},
    nonce::Nonce,
    schema::{Must, Offered},
    turn::{Round, Settings, Turn},
};
use crate::chat::message::FunctionCall;

/// The calls at the end of an assistant's text that another gateway, or an older one, has let through as words, and the
/// text before them. Without this a model would learn the leak from itself. Source: tools.md section 11.
pub fn leaked(offered: &Offered, nonce: &Nonce, text: &str) -> Option<(String, Vec<FunctionCall>)> {
    // Nearly all texts are told by a look: calls in any dialect end in one of these.
    if offered.tools.is_empty() || !text.trim_end().ends_with(['>', ']', '}', '`']) {
        return None;
    }
    // Everything may have been called then: the choice of this turn says nothing about earlier ones.
    let mut offered = offered.clone();
    offered.must = Must::Maybe;
    offered.is_parallel = true;
    let mut turn = Turn::new(Settings {
        nonce: *nonce,
        offered: Arc::new(offered),
        // A text that is JSON may well be what was asked for.
        bare_json: false,
        turn_marks: &[],
        taken: None,
        round: Round::First,
    });
    let mut found = Vec::new();
    // At once, as it is whole; the decoder makes no difference.
    turn.text(text.to_owned(), &mut found);
    turn.finish(End::Clean, &mut found);
    let (mut words, mut calls) = (String::new(), Vec::new());
    for found in found {
        match found {
            Found::Text(text) => words.push_str(&text),
            Found::Call(call) => calls.push(FunctionCall {
                name: call.name.to_string(),
                arguments: call.arguments.into(),
            }),
            // What had to be left out, or asked for again, is better left as it is.
            Found::Left(_) | Found::Over | Found::Again(_) | Found::Failed(_) => return None,
            Found::Reasoning(_) => {}
        }
    }
    (!calls.is_empty()).then_some((words, calls))
}
