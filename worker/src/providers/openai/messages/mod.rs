//! The lane to an upstream that speaks Anthropic's messages (`OPENAI_COMPAT_n_KIND=anthropic`): the question (`body`) and
//! the answer ([`stream`]). Source: Anthropic's public API reference, Messages.

pub(super) mod body;
pub mod stream;
