//! The bytes of the answers. Sources: OpenAI's public API reference; `wire/qwen.md` sections 4.1 and 7.

use uuid::Uuid;

use super::script::Script;
use crate::marker::{self, Marker};

const CHUNK_HEAD: &[u8] = br#"data: {"id":"chatcmpl-load","object":"chat.completion.chunk","created":1767780000,"model":"load","system_fingerprint":"fp_load","choices":[{"index":0,"delta":{"content":""#;
const CHUNK_TAIL: &[u8] = b"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
const CHUNK_OPENING: &[u8] = b"data: {\"id\":\"chatcmpl-load\",\"object\":\"chat.completion.chunk\",\"created\":1767780000,\"model\":\"load\",\"system_fingerprint\":\"fp_load\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
const CHUNK_CLOSING: &[u8] = b"data: {\"id\":\"chatcmpl-load\",\"object\":\"chat.completion.chunk\",\"created\":1767780000,\"model\":\"load\",\"system_fingerprint\":\"fp_load\",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
const WHOLE_HEAD: &[u8] = br#"{"id":"chatcmpl-load","object":"chat.completion","created":1767780000,"model":"load","system_fingerprint":"fp_load","choices":[{"index":0,"message":{"role":"assistant","content":""#;
const WHOLE_TAIL: &[u8] = br#"","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":10,"total_tokens":20}}"#;

/// `GET /v1/models`.
pub(super) const MODELS: &[u8] =
    br#"{"object":"list","data":[{"id":"load","object":"model","created":1767780000,"owned_by":"load"}]}"#;
/// Qwen's envelope of every short answer (section 4.1).
pub(super) const QWEN_SUCCESS: &[u8] =
    br#"{"success":true,"data":true,"errorCode":null,"errorMsg":null}"#;

/// Renders the events of one streamed answer.
pub(super) trait Events {
    /// What comes before the first piece.
    fn opening(&mut self, out: &mut Vec<u8>);
    /// The event of one piece, with the time in it.
    fn piece(&mut self, number: u32, script: &Script, out: &mut Vec<u8>);
    /// What comes after the last piece.
    fn closing(&mut self, out: &mut Vec<u8>);
}

fn mark(number: u32, script: &Script, out: &mut Vec<u8>) {
    let marker = Marker {
        number,
        total: script.pieces,
        written_ns: marker::now(),
    };
    marker.write(script.size, out);
}

/// Each event has what is new.
pub(super) struct OpenAi;

impl Events for OpenAi {
    fn opening(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(CHUNK_OPENING);
    }

    fn piece(&mut self, number: u32, script: &Script, out: &mut Vec<u8>) {
        out.extend_from_slice(CHUNK_HEAD);
        mark(number, script, out);
        out.extend_from_slice(CHUNK_TAIL);
    }

    fn closing(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(CHUNK_CLOSING);
    }
}

/// `POST /v1/chat/completions` in one piece.
pub(super) fn whole(script: &Script) -> Vec<u8> {
    let pieces = usize::try_from(script.pieces).unwrap_or(0);
    let mut out =
        Vec::with_capacity(WHOLE_HEAD.len() + pieces * script.size.max(32) + WHOLE_TAIL.len());
    out.extend_from_slice(WHOLE_HEAD);
    for number in 0..script.pieces {
        mark(number, script, &mut out);
    }
    out.extend_from_slice(WHOLE_TAIL);
    out
}

/// Each event repeats the whole text so far (section 7.2).
pub(super) struct Qwen {
    text: Vec<u8>,
    session: String,
    message: String,
}

impl Qwen {
    pub(super) fn new() -> Self {
        let id = || Uuid::new_v4().simple().to_string();
        Self {
            text: Vec::new(),
            session: id(),
            message: id(),
        }
    }

    fn frame(&self, status: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(
            br#"data: {"contentFrom":"text","contentType":"text","contents":[{"content":""#,
        );
        out.extend_from_slice(&self.text);
        let (message, session) = (&self.message, &self.session);
        let stop = if status == "finished" {
            r#","stopReason":"stop""#
        } else {
            ""
        };
        out.extend_from_slice(
            format!(
                "\",\"contentType\":\"text\",\"id\":\"{message}_0\",\"role\":\"assistant\",\"status\":\"{status}\"}}],\
                 \"incremental\":false,\"msgId\":\"{message}\",\"msgStatus\":\"{status}\",\"sessionId\":\"{session}\"{stop},\
                 \"canShare\":true}}\n\n"
            )
            .as_bytes(),
        );
    }
}

impl Events for Qwen {
    fn opening(&mut self, out: &mut Vec<u8>) {
        let (message, session) = (&self.message, &self.session);
        let parent = Uuid::new_v4().simple();
        out.extend_from_slice(
            format!(
                "data: {{\"contentFrom\":\"text\",\"contentType\":\"text\",\"contents\":null,\"incremental\":false,\
                 \"msgId\":\"{message}\",\"msgStatus\":\"generating\",\"parentMsgId\":\"{parent}\",\
                 \"sessionId\":\"{session}\",\"stopReason\":\"null\",\"canShare\":true}}\n\n"
            )
            .as_bytes(),
        );
    }

    fn piece(&mut self, number: u32, script: &Script, out: &mut Vec<u8>) {
        mark(number, script, &mut self.text);
        self.frame("generating", out);
    }

    fn closing(&mut self, out: &mut Vec<u8>) {
        self.frame("finished", out);
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}
