//! Tools and formats for models that have none. Source: tools.md.

pub mod contract;
mod decoder;
mod dialects;
pub mod fact;
pub mod found;
pub mod history;
pub mod json;
pub mod ladder;
pub mod nonce;
pub mod schema;
pub mod signature;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod turn;
pub mod verdict;
pub mod verify;
