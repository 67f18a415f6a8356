//! Client-side transports: HTTP over awc ([`Client`]), server-sent events ([`sse`]), multipart forms
//! ([`multipart`]), WebSocket ([`websocket`]), and fetching what a caller links to ([`fetch`]). Knows no provider.

mod client;
pub mod fetch;
pub mod multipart;
mod proxy;
mod socket;
pub mod sse;
pub mod websocket;

pub use client::{Answer, Client, Request, Timeouts, TransportError};
pub use proxy::{BadProxy, Proxies};
