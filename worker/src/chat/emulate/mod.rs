//! Tools and formats for models that have none. Source: tools.md.

pub mod nonce;
