//! The OpenAI dialect: chat completions and models.

mod answer;
pub mod body;
pub mod chat;
pub mod fields;
mod gather;
pub mod models;
mod stream;
mod trace;
