//! Tools and formats for models that have none. Source: tools.md.

pub mod json;
pub mod nonce;
pub mod schema;
pub mod tree;
pub mod verdict;
