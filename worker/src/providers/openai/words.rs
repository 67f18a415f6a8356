//! Words that stand in a stream beside the answer: its end, signs of life, why it finished; as servers spell them.

use crate::chat::FinishReason;

/// Data that is no JSON object.
pub(super) enum Control {
    /// `[DONE]`, quoted or not.
    Done,
    /// What keeps a connection alive.
    Beat,
}

/// Events that only keep the connection alive, whatever they hold.
pub(super) fn is_heartbeat(name: &[u8]) -> bool {
    [
        &b"ping"[..],
        b"heartbeat",
        b"keepalive",
        b"keep-alive",
        b"keep_alive",
    ]
    .iter()
    .any(|known| name.eq_ignore_ascii_case(known))
}

/// What data says that is no JSON object; `None` where it may be one.
pub(super) fn control(data: &[u8]) -> Option<Control> {
    let word = data.trim_ascii();
    match word {
        [b'{', ..] => None,
        b"" | b"null" => Some(Control::Beat),
        _ => {
            // Quoted by some, and in another case by others.
            let word = word.strip_prefix(b"\"").unwrap_or(word);
            let word = word.strip_suffix(b"\"").unwrap_or(word).trim_ascii();
            let is = |known: &[u8]| word.eq_ignore_ascii_case(known);
            if is(b"[DONE]") || is(b"DONE") {
                Some(Control::Done)
            } else if is(b"") || is(b"ping") || is(b"keep-alive") || is(b"heartbeat") {
                Some(Control::Beat)
            } else {
                None
            }
        }
    }
}

/// What a finish reason means.
pub(super) enum Reason {
    Finished(FinishReason),
    /// The answer is not whole.
    Broken,
    /// A word that nobody knows: it ends the answer like any other.
    Unknown,
}

/// What a finish reason means, in whichever words; `None`: it is none yet.
pub(super) fn reason(word: &str) -> Option<Reason> {
    match word {
        // Nearly all of them.
        "stop" => return Some(Reason::Finished(FinishReason::Stop)),
        "" => return None,
        _ => {}
    }
    let word = word.trim().to_ascii_lowercase();
    Some(match word.as_str() {
        "" | "null" | "none" | "in_progress" | "finish_reason_unspecified" => return None,
        "length"
        | "max_tokens"
        | "max_output_tokens"
        | "max_length"
        | "model_length"
        | "token_limit"
        | "model_context_window_exceeded" => Reason::Finished(FinishReason::Length),
        "content_filter" | "content_filtered" | "safety" | "recitation" | "sensitive"
        | "prohibited_content" | "blocklist" | "refusal" => {
            Reason::Finished(FinishReason::ContentFilter)
        }
        "tool_calls" | "tool_call" | "function_call" | "tool_use" => {
            Reason::Finished(FinishReason::ToolCalls)
        }
        "error"
        | "failed"
        | "abort"
        | "aborted"
        | "cancelled"
        | "canceled"
        | "network_error"
        | "insufficient_system_resource"
        | "malformed_function_call" => Reason::Broken,
        "stop" | "stop_sequence" | "stop_token" | "end_turn" | "eos" | "eos_token"
        | "eos_found" | "end" | "ended" | "complete" | "completed" | "finish" | "finished"
        | "done" | "normal" | "success" => Reason::Finished(FinishReason::Stop),
        _ => Reason::Unknown,
    })
}
