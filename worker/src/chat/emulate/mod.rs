//! Tools and formats for models that have none. Source: tools.md.

pub mod contract;
pub mod history;
pub mod json;
pub mod nonce;
pub mod schema;
pub mod signature;
pub mod tree;
pub mod verdict;
