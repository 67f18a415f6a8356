//! The OpenAI dialect: chat completions and models.

pub mod body;
pub mod chat;
pub mod completions;
pub mod fields;
pub mod images;
pub mod models;
pub mod relay;
pub mod responses;
mod usage;
pub mod videos;
pub(super) mod voice;
mod voice_calls;
mod voice_whole;
