//! The body of a request for a response: what becomes of its members, and what its voice must remember to answer it.
//! Unknown members, items and tools never hurt; a wrong type is a 400 that names the member. Source: doors.md sections 4
//! to 6.

mod choice;
mod forms;
mod item;
mod kit;
mod members;
mod said;
mod tool;

use bytes::Bytes;

use self::members::Body;
use super::{echo::Echo, toolbox::Toolbox};
use crate::{
    chat::{ChatRequest, Invalid},
    http::{openai::body as chat, reading},
};

/// A request, and what only its answer's form depends on.
#[derive(Debug)]
pub(in crate::http) struct Asked {
    /// What is asked.
    pub(in crate::http) request: ChatRequest,
    pub(super) echo: Echo,
    pub(super) toolbox: Toolbox,
}

/// Reads and checks a body that has at most so many messages, parts and tool calls. Also one of a chat completion, which
/// some editors send here (doors.md section 4).
///
/// # Errors
/// [`Invalid`] for text that is no JSON object in UTF-8, a wrong type, or what needs a memory that the gateway has not.
pub(in crate::http) fn read(body: Bytes, most_pieces: usize) -> Result<Asked, Invalid> {
    match reading::read::<Body<'_>>(body.clone(), most_pieces)? {
        Some(asked) => Ok(asked),
        None => {
            let mut request = chat::read_within(body, most_pieces)?;
            // What its own door would not do: an answer has one choice here, and tells its usage always.
            (request.n, request.include_usage) = (1, true);
            let echo = Echo {
                model: request.model.clone(),
                max_output_tokens: request.max_tokens,
                parallel_tool_calls: request.parallel_tool_calls,
                // Its caller has no way to ask for it, and expects what it is used to.
                summary: Some("auto".into()),
                ..Echo::default()
            };
            Ok(Asked {
                request,
                echo,
                toolbox: Toolbox::default(),
            })
        }
    }
}

/// As [`read`], of this dialect alone: `None` for a body without `input`.
pub(super) fn read_own(body: Bytes, most_pieces: usize) -> Option<Result<Asked, Invalid>> {
    match reading::read::<Body<'_>>(body, most_pieces) {
        Ok(Some(asked)) => Some(Ok(asked)),
        Ok(None) => None,
        // Without any `input` it is no body of this dialect, whatever else is wrong.
        Err(invalid) if invalid.param.as_deref() == Some("input") => None,
        Err(invalid) => Some(Err(invalid)),
    }
}

/// A name that the client has written, as it may stand in a header, and no longer than any that there is.
fn plain(name: &str) -> String {
    const MOST: usize = 64;
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    name.chars().filter(is_plain).take(MOST).collect()
}

#[cfg(test)]
mod tests;
