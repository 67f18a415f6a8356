//! Anthropic's dialect: messages, and the counting of their tokens. Its listing of models stands beside OpenAI's
//! ([`super::openai::models`]). Source: Anthropic's public API reference.

pub mod body;
pub mod messages;
mod usage;
pub(super) mod voice;
mod voice_whole;
