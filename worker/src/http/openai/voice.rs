//! The voice of chat completions: chunks of a stream, and the `chat.completion` of an answer in one piece
//! ([`super::voice_whole`]). The parts of a chunk that never change are rendered once a stream; text is escaped straight
//! into the buffer. Source: conformance section 2.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::{BufMut as _, BytesMut};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{usage::UsageMember, voice_calls::Calls, voice_whole};
use crate::{
    chat::{ChatRequest, FinishReason, Usage},
    http::{
        answering::{Piece, Source, Voice, Whole},
        dialect::Dialect,
        error::ApiError,
    },
    impossible::OrImpossible as _,
};

/// Ends in a blank line, which is safe because no event of ours has an id (conformance S9).
const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// About how long a chunk is without its constant head and its text.
const USUAL_PIECE_BYTES: usize = 128;

/// Says an answer as a chat completion.
#[derive(Debug)]
pub(in crate::http) struct ChatVoice {
    request: Arc<ChatRequest>,
    id: String,
    created: u64,
    /// The beginning of each chunk; rendered when a stream begins.
    head: String,
    /// The end of each chunk.
    tail: &'static str,
    calls: Calls,
    /// One bit a choice whose role has been told; there are at most [`crate::chat::request::MAX_CHOICES`].
    told_roles: u32,
}

impl ChatVoice {
    pub(in crate::http) fn new(request: Arc<ChatRequest>) -> Self {
        let created = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .or_impossible("the clock is past 1970");
        Self {
            // With usage asked for, every chunk has the member, null but for the last (the API's reference).
            tail: if request.include_usage {
                "],\"usage\":null}\n\n"
            } else {
                "]}\n\n"
            },
            calls: Calls::new(Arc::clone(&request)),
            request,
            id: format!("chatcmpl-{}", Uuid::new_v4().simple()),
            created: created.as_secs(),
            head: String::new(),
            told_roles: 0,
        }
    }

    /// The first delta of a choice names the role, with `content` beside it (conformance S4).
    fn tell_role(&mut self, out: &mut BytesMut, choice: usize, is_call: bool) {
        let bit = 1 << choice;
        if self.told_roles & bit == 0 {
            self.told_roles |= bit;
            // Null beside a call, as the API has it: SDKs join texts, and an empty one would become an empty message.
            let content = if is_call { json!(null) } else { json!("") };
            self.chunk(out, choice, |out| {
                put_json(out, &json!({"role": "assistant", "content": content}));
            });
        }
    }

    fn chunk(&self, out: &mut BytesMut, choice: usize, delta: impl FnOnce(&mut BytesMut)) {
        self.begin_chunk(out, choice);
        delta(out);
        out.put_slice(b",\"logprobs\":null,\"finish_reason\":null}");
        out.put_slice(self.tail.as_bytes());
    }

    /// A chunk whose delta is empty.
    fn bare_chunk(
        &self,
        out: &mut BytesMut,
        choice: usize,
        finish: Option<FinishReason>,
        logprobs: &Value,
    ) {
        self.begin_chunk(out, choice);
        out.put_slice(b"{},\"logprobs\":");
        put_json(out, logprobs);
        out.put_slice(b",\"finish_reason\":");
        put_json(out, &finish.map(|reason| self.calls.finish(reason)));
        out.put_u8(b'}');
        out.put_slice(self.tail.as_bytes());
    }

    fn begin_chunk(&self, out: &mut BytesMut, choice: usize) {
        out.put_slice(self.head.as_bytes());
        out.put_slice(b"{\"index\":");
        put_json(out, &choice);
        out.put_slice(b",\"delta\":");
    }
}

impl Voice for ChatVoice {
    const NAME: &'static str = "chat completion";

    fn piece_bytes(&self) -> usize {
        self.head.len() + USUAL_PIECE_BYTES
    }

    fn begin(&mut self, _: &mut BytesMut) {
        let (id, created) = (&self.id, self.created);
        let model = Value::from(self.request.model.as_str());
        // Rendered here and not in `new`, as an answer in one piece never needs it.
        self.head = format!(
            r#"data: {{"id":"{id}","object":"chat.completion.chunk","created":{created},"model":{model},"choices":["#
        );
    }

    fn piece(&mut self, out: &mut BytesMut, choice: usize, piece: Piece) {
        self.tell_role(out, choice, matches!(piece, Piece::ToolCall(_)));
        match piece {
            Piece::Text(text) => {
                self.chunk(out, choice, |out| put_member(out, "content", &text));
            }
            Piece::Reasoning(text) => self.chunk(out, choice, |out| {
                put_member(out, "reasoning_content", &text);
            }),
            // The dialect has no word for it.
            Piece::Signature(_) | Piece::Sealed(_) => {}
            Piece::ToolCall(call) => {
                if let Some(delta) = self.calls.delta(choice, &call) {
                    self.chunk(out, choice, |out| put_json(out, &delta));
                }
            }
            Piece::Sources(sources) => {
                self.begin_chunk(out, choice);
                put_json(out, &json!({"annotations": annotations(&sources)}));
                out.put_slice(b",\"logprobs\":null,\"finish_reason\":null}],\"citations\":");
                put_json(out, &citations(sources.iter()));
                // All tails begin with the end of the list of choices.
                let rest = self.tail.strip_prefix(']').unwrap_or(self.tail);
                out.put_slice(rest.as_bytes());
            }
            Piece::Extra(members) => self.chunk(out, choice, |out| put_json(out, &members)),
            // In a chunk with an empty delta: clients add its lists up, wherever the text was cut.
            Piece::Logprobs(logprobs) => self.bare_chunk(out, choice, None, &logprobs),
            Piece::Finish(reason) => self.bare_chunk(out, choice, Some(reason), &Value::Null),
        }
    }

    fn finish(&mut self, out: &mut BytesMut, usage: Usage) {
        if self.request.include_usage {
            // A chunk without choices, which is why clients that index the first one must ask for it (`include_usage`).
            out.put_slice(self.head.as_bytes());
            out.put_slice(b"],\"usage\":");
            put_json(out, &UsageMember::from(usage));
            out.put_slice(b"}\n\n");
        }
        out.put_slice(b"data: [DONE]\n\n");
    }

    fn fail(&mut self, out: &mut BytesMut, error: &ApiError) {
        out.put_slice(b"data: ");
        put_json(out, &Dialect::OpenAi.error_in_stream(error, ""));
        out.put_slice(b"\n\n");
    }

    fn ping(&mut self, out: &mut BytesMut) {
        out.put_slice(KEEP_ALIVE);
    }

    fn whole(self, choices: Vec<Whole>, usage: Usage) -> Vec<u8> {
        let model = &self.request.model;
        voice_whole::render(&self.id, self.created, model, &self.calls, choices, usage)
    }
}

/// The `annotations` member: a source stands at a place, not over a stretch.
pub(super) fn annotations(sources: &[Source]) -> Vec<Value> {
    let annotation = |Source { url, title, at, .. }: &Source| json!({"type": "url_citation", "url_citation": {"url": url, "title": title, "start_index": at, "end_index": at}});
    sources.iter().map(annotation).collect()
}

/// The `citations` member beside the choices: the sources' addresses by their numbers, each once. Search APIs have it, and
/// chat clients show it as footnotes (wire/metaso.md section 6).
pub(super) fn citations<'a>(sources: impl Iterator<Item = &'a Source>) -> Vec<&'a str> {
    let mut sources: Vec<&Source> = sources.collect();
    sources.sort_by_key(|source| source.number);
    let mut seen = HashSet::new();
    let urls = sources.into_iter().map(|source| source.url.as_str());
    // In the order of their numbers, by which the text cites them.
    urls.filter(|url| seen.insert(*url)).collect()
}

fn put_member(out: &mut BytesMut, name: &str, text: &str) {
    out.put_slice(b"{\"");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\":");
    put_json(out, text);
    out.put_u8(b'}');
}

pub(super) fn put_json<T: Serialize + ?Sized>(out: &mut BytesMut, value: &T) {
    let written = serde_json::to_writer(out.writer(), value);
    // Strings, numbers and our own types cannot fail to serialise, and memory cannot fail to be written.
    debug_assert!(written.is_ok(), "{written:?}");
}
