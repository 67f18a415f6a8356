//! Client-side transports: HTTP ([`Client`]), server-sent events ([`sse`]), Connect envelopes ([`connect`]),
//! multipart forms ([`multipart`]), WebSocket ([`websocket`]), Socket.IO ([`socketio`]), and
//! fetching what a caller links to ([`fetch`]). Knows no provider.

mod answer;
mod attachment;
mod client;
pub mod connect;
pub mod fetch;
#[cfg(fuzzing)]
pub mod fuzz;
mod http1;
pub mod json;
pub mod linger;
pub mod multipart;
mod pace;
mod proxy;
mod rest;
mod retry_after;
mod socket;
pub mod socketio;
pub mod sse;
pub mod websocket;

pub use answer::Answer;
pub use client::{Client, Request, Timeouts, TransportError};
pub use proxy::{BadProxy, Proxies};
pub use rest::{Rest, Torn};
