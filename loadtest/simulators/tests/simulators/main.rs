//! The simulators from outside: what they accept, what they refuse, and how they notice things. The client is a
//! `TcpStream` and no HTTP library, so that every byte of a request can be got wrong on purpose.

#![allow(
    clippy::unwrap_used,
    reason = "test code: the lint only excuses functions that are tests themselves"
)]

mod client;
mod control;
mod deepseek;
mod doubao;
mod ernie;
mod flowgpt;
mod kimi;
mod langfast;
mod metaso;
mod minimax;
mod openai;
mod qwen;
mod socket;
mod xinghuo;
mod zhipu;
