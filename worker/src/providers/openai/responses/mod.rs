//! The lane to an upstream that speaks Responses (`OPENAI_COMPAT_n_KIND=responses`): the question (`body`) and the
//! answer ([`stream`]). Source: OpenAI's public API reference, Responses; doors.md sections 4 to 8, seen from the other
//! side.

pub(super) mod body;
pub mod stream;
