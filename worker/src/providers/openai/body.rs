//! The body of the question. A caller who speaks this dialect has written it already: it goes on as it came, but for
//! what must be said anew. Everybody else's request is put into words by [`super::dialect`].

use bytes::Bytes;

use super::dialect;
use crate::chat::{ChatRequest, Dialect, Verbatim, verbatim::Anew};

/// What an upstream turned out to want, beyond what all of them understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// It knows `stream_options`, which the caller need not have written.
    pub(super) has_options: bool,
    /// It wants `max_completion_tokens` instead of `max_tokens`, as OpenAI's own models that think do.
    pub(super) says_completion_tokens: bool,
    /// It wants no `reasoning_effort` where the caller has only said not to think.
    pub(super) is_thoughtless: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            has_options: true,
            says_completion_tokens: false,
            is_thoughtless: false,
        }
    }
}

impl Manner {
    /// Learns from a refusal of `chat`; whether to ask again. Nothing that the caller wrote itself is given up.
    pub(super) fn learn(&mut self, chat: &ChatRequest, refusal: &[u8]) -> bool {
        // A copy: what is learnt of one question is not given up by another.
        let before = *self;
        // By its name alone: every server words the refusal in another way.
        let is_named = |member: &str| memchr::memmem::find(refusal, member.as_bytes()).is_some();
        // Only where we have added it: what the caller wrote is its own to take back.
        if chat.stream && is_named("stream_options") {
            self.has_options = false;
        }
        if verbatim(chat).is_none() {
            // Each only where it was sent: a word about a member that is not there means something else.
            let has_limit = chat.max_tokens.is_some();
            self.says_completion_tokens |= has_limit && is_named("max_completion_tokens");
            let has_switch = chat.effort.is_none() && chat.thinking == Some(false);
            self.is_thoughtless |= has_switch && is_named("reasoning_effort");
        }
        *self != before
    }
}

/// The question for `model`: one choice a turn, streamed where the caller wants a stream, and then with usage. In pieces
/// that belong one after the other.
pub(super) fn body(chat: &ChatRequest, model: &str, manner: Manner) -> Vec<Bytes> {
    match verbatim(chat) {
        Some(verbatim) => spliced(verbatim, chat.stream, model, manner.has_options),
        None => vec![dialect::body(chat, model, manner).into()],
    }
}

fn verbatim(chat: &ChatRequest) -> Option<&Verbatim> {
    let is_ours = |verbatim: &&Verbatim| verbatim.dialect == Dialect::ChatCompletions;
    // Another dialect's body would be sent to an API that does not speak it.
    chat.verbatim.as_ref().filter(is_ours)
}

/// The caller's own body. Where the upstream knows no `stream_options`, there is no such member, whoever wrote it.
fn spliced(verbatim: &Verbatim, is_stream: bool, model: &str, has_options: bool) -> Vec<Bytes> {
    // As JSON, since a name may hold what must be escaped.
    let model = serde_json::Value::from(model).to_string();
    let stream = if is_stream { "true" } else { "false" };
    let options = match (has_options, is_stream) {
        (true, true) => Anew::Set(r#"{"include_usage":true}"#),
        // Not null, which means none, only where there is a stream: APIs refuse it elsewhere.
        (true, false) => Anew::Replace("null"),
        (false, _) => Anew::Remove,
    };
    verbatim.splice(&[
        ("model", Anew::Set(&model)),
        ("stream", Anew::Set(stream)),
        ("stream_options", options),
        // One choice a turn: several are asked for in turns of their own.
        ("n", Anew::Replace("1")),
    ])
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
