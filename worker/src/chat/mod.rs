//! The language spoken between the doors (`http`) and the providers: the request as a client means it, the
//! events an answer is made of, and what the gateway itself does to both. It knows neither HTTP nor any provider.

pub mod aside;
pub mod delta;
pub mod digest;
pub mod emulate;
pub mod error;
pub mod event;
pub mod fields;
pub mod filter;
#[cfg(test)]
pub(crate) mod growth;
pub mod json;
pub mod limits;
pub mod media;
pub mod message;
pub mod normal;
mod part;
pub mod reasoning;
pub mod refusals;
pub mod request;
pub mod responses;
pub mod template;
pub mod text;
pub mod tokens;
pub mod tools;
pub mod verbatim;

pub use error::{Kind, ProviderError};
pub use event::{ChatEvent, FinishReason, ToolCallDelta, Unknowns, Usage};
pub use fields::{Asked, Field, Support};
pub use json::Json;
pub use message::{Content, Detail, File, Message, Part, Role, Url};
pub use request::{ChatRequest, Effort, Invalid};
pub use text::Text;
pub use tools::{Format, Tool, ToolChoice};
pub use verbatim::{Dialect, Verbatim};
