//! What an event does to the answer: patches, snapshots, notices and chunks, in three generations. Source:
//! `wire/deepseek.md` sections 6, 7 and 8.

use serde_json::value::RawValue;

use super::{
    frame::{
        Choice, Notice, Root, Snapshot, Status, is_content, is_fragment_state, is_state,
        is_status_word, segments,
    },
    marker::Watch,
    message::{Message, Write},
    patch::{self, Cursor, Op, Patch},
    refusal,
};
use crate::{
    chat::{ChatEvent, FinishReason, Kind, ProviderError, Unknowns, Usage},
    upstream::json::{self, Halves},
};

/// Batches within batches; captures show one level.
const MOST_DEPTH: usize = 8;

/// The answer as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Reader {
    message: Message,
    pub(super) cursor: Cursor,
    pub(super) status: Status,
    pub(super) auto_continue: bool,
    pub(super) response_id: Option<i64>,
    completion_tokens: u64,
    pub(super) has_output: bool,
    has_text: bool,
    /// `generation_err` after INCOMPLETE: worth one continuation (section 7).
    pub(super) failure: Option<ProviderError>,
    pub(super) is_closed: bool,
    pub(super) watch: Watch,
    /// Half characters at the end of text and of thinking.
    has_halves: bool,
    text_halves: Halves,
    thought_halves: Halves,
    /// The choices generation, which `[DONE]` may end.
    pub(super) is_choices: bool,
    unknown: Unknowns,
}

impl Reader {
    pub(super) fn event(
        &mut self,
        name: &[u8],
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        if self.is_closed {
            return Ok(());
        }
        match name {
            b"" | b"message" => self.message(data, events),
            b"hint" | b"toast" => self.notice(data, events),
            b"ready" => {
                if let Ok(notice) = serde_json::from_slice::<Notice<'_>>(data) {
                    self.named(notice.response_message_id);
                }
                Ok(())
            }
            b"close" => {
                self.is_closed = true;
                Ok(())
            }
            // The last is never text, whatever it contains.
            b"update_session" | b"finish" | b"title" => Ok(()),
            _ => {
                events.push(ChatEvent::Unknown("event"));
                Ok(())
            }
        }
    }

    fn message(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if matches!(data.trim_ascii(), b"[DONE]" | b"\"[DONE]\"") {
            // Ends the choices generation alone; in the others only the status counts (section 6).
            if self.is_choices && self.status == Status::Wip {
                self.status = Status::Finished;
            }
            return Ok(());
        }
        // A half is mended before anything of the event is read.
        if json::may_have_half(data) {
            return self.odd_message(data, events);
        }
        match serde_json::from_slice::<Patch<'_>>(data) {
            // An object without any of the three is a notice: an error frame, or a chunk of the oldest generation.
            Ok(patch) if patch.v.is_some() || patch.p.is_some() || patch.o.is_some() => {
                self.patch(&patch, events)
            }
            Ok(_) => self.notice(data, events),
            Err(_) => self.odd_message(data, events),
        }
    }

    /// Members that come twice, halves of characters: text must not be lost with them. What is no object of a known form
    /// is a no-op (section 6).
    fn odd_message(
        &mut self,
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        let Some((normal, is_mended)) = json::normal(data) else {
            // No JSON at all is a no-op (section 6), but one to be seen.
            if data.trim_ascii_start().starts_with(b"{") {
                events.push(ChatEvent::Unknown("event"));
            }
            return Ok(());
        };
        // Remembered for the whole answer: until the first half, nothing is looked for.
        self.has_halves |= is_mended;
        match serde_json::from_slice::<Patch<'_>>(&normal) {
            Ok(patch) if patch.v.is_some() || patch.p.is_some() || patch.o.is_some() => {
                self.patch(&patch, events)
            }
            _ => self.notice(&normal, events),
        }
    }

    fn patch(
        &mut self,
        patch: &Patch<'_>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        // Taken out and put back: the reader is borrowed while the patch is applied.
        let mut cursor = std::mem::take(&mut self.cursor);
        cursor.advance(patch);
        // A patch without a value only moves the cursor (section 6).
        let Some(value) = patch.v else {
            self.cursor = cursor;
            return Ok(());
        };
        // Neither path nor op: only then may the string be stray text.
        let is_bare = patch.p.is_none() && patch.o.is_none();
        let applied = match patch::string(value).filter(|_| is_bare) {
            Some(text) if !is_content(&cursor.path) && !is_status_word(&text) => {
                // The official reader would write it there; no capture shows it (section 6, tolerance).
                self.message.stray_text(&text, events);
                Ok(())
            }
            _ => {
                // A kept SET does not take a text back: content is incremental everywhere (section 6, sample C).
                let is_kept_set = patch.o.is_none() && cursor.op == Op::Set;
                let op = if is_kept_set && is_content(&cursor.path) {
                    Op::Append
                } else {
                    cursor.op
                };
                self.apply(&cursor.path, op, value, events, 0)
            }
        };
        self.cursor = cursor;
        applied
    }

    fn apply(
        &mut self,
        path: &str,
        op: Op,
        value: &RawValue,
        events: &mut Vec<ChatEvent>,
        depth: usize,
    ) -> Result<(), ProviderError> {
        if op == Op::Batch
            && depth < MOST_DEPTH
            && let Some(items) = patch::batch(value)
        {
            let mut cursor = Cursor::default();
            for item in items {
                cursor.advance(&item);
                // An item without a value moves the batch's own cursor, like an outer patch.
                if let Some(value) = item.v {
                    let inner = format!("{path}/{}", cursor.path);
                    let is_legacy = matches!(
                        segments(&inner),
                        ["response", "content" | "thinking_content", "", ..]
                    );
                    // The legacy content path is append without saying so (section 6, sample C).
                    let op = if is_legacy && item.o.is_none() && cursor.op == Op::Set {
                        Op::Append
                    } else {
                        cursor.op
                    };
                    self.apply(&inner, op, value, events, depth + 1)?;
                }
            }
            return Ok(());
        }
        if op == Op::Other {
            events.push(ChatEvent::Unknown("op"));
        }
        let write = if op == Op::Append {
            Write::Append
        } else {
            Write::Set
        };
        match segments(path) {
            // An empty path is the root: the first patch of a stream, or of a continuation.
            ["", ..] => {
                let root = serde_json::from_str::<Root<'_>>(value.get());
                match root.ok().and_then(|root| root.response) {
                    Some(response) => self.snapshot(response, events),
                    None => Ok(()),
                }
            }
            ["response", "", ..] => self.snapshot(value, events),
            ["response", "status", "", ..] => {
                self.enter(serde_json::from_str(value.get()).ok(), events);
                Ok(())
            }
            ["response", "auto_continue", "", ..] => {
                // Anything but the word `true` is no.
                self.auto_continue = value.get() == "true";
                Ok(())
            }
            ["response", "accumulated_token_usage", "", ..] => {
                self.completion_tokens = value.get().parse().unwrap_or(self.completion_tokens);
                Ok(())
            }
            ["response", word @ ("content" | "thinking_content"), "", ..] => {
                if let Some(text) = patch::string(value) {
                    self.message
                        .legacy_text(word != "content", write, &text, events);
                }
                Ok(())
            }
            ["response", "fragments", "", ..] => match write {
                Write::Append => self.message.push(value, events),
                Write::Set => self.message.replace(value, events),
            },
            ["response", "fragments", at, member] => {
                // An index beyond the list is of a fragment that never came: nothing is said.
                let Some(at) = self.message.index(at) else {
                    return Ok(());
                };
                match member {
                    "" => self.message.replace_one(at, value, events),
                    "content" => {
                        if let Some(text) = patch::string(value) {
                            self.message.text(at, write, &text, events);
                        }
                    }
                    "results" => self.message.results(at, write, value),
                    // Known and of no text (section 6).
                    _ if is_fragment_state(member) => {}
                    _ => events.push(ChatEvent::Unknown("path")),
                }
                Ok(())
            }
            ["response", word, "", ..] if is_state(word) => Ok(()),
            _ => {
                events.push(ChatEvent::Unknown("path"));
                Ok(())
            }
        }
    }

    pub(super) fn snapshot(
        &mut self,
        response: &RawValue,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        // A snapshot that is no object is a no-op.
        let Ok(snapshot) = serde_json::from_str::<Snapshot<'_>>(response.get()) else {
            return Ok(());
        };
        self.named(snapshot.message_id);
        self.enter(snapshot.status, events);
        // What is missing keeps what was known: a snapshot need not name everything.
        self.auto_continue = snapshot.auto_continue.unwrap_or(self.auto_continue);
        self.completion_tokens = snapshot
            .accumulated_token_usage
            .unwrap_or(self.completion_tokens);
        if let Some(thinking) = snapshot.thinking_content {
            self.message
                .legacy_text(true, Write::Set, &thinking, events);
        }
        if let Some(content) = snapshot.content {
            self.message
                .legacy_text(false, Write::Set, &content, events);
        }
        match snapshot.fragments {
            Some(fragments) => self.message.replace(fragments, events),
            None => Ok(()),
        }
    }

    /// A hint, a toast, an error frame, or a chunk of the choices generation.
    fn notice(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let Ok(notice) = serde_json::from_slice::<Notice<'_>>(data) else {
            return Ok(());
        };
        // Their own shape, so they are told apart before anything else of it is read.
        if let Some(choices) = notice.choices {
            self.named(notice.message_id);
            self.is_choices = true;
            for choice in choices {
                self.choice(choice, events);
            }
            return Ok(());
        }
        // Other kinds are of the page's own: a hint that is no error is none (section 6).
        if notice.kind.as_deref() != Some("error") {
            return Ok(());
        }
        let reason = notice.finish_reason.unwrap_or_default();
        let error = refusal::hint(&reason, &notice.content.unwrap_or_default());
        // One continuation is worth it (section 7).
        if reason == "generation_err" && self.status == Status::Incomplete {
            self.failure = Some(error);
            return Ok(());
        }
        Err(error)
    }

    fn choice(&mut self, choice: Choice<'_>, events: &mut Vec<ChatEvent>) {
        if let Some(delta) = choice.delta {
            if let Some(results) = delta.search_results {
                self.message.choice_results(results);
            }
            let text = delta.content.unwrap_or_default();
            match delta.kind.as_deref() {
                Some("thinking") => self.message.legacy_text(true, Write::Append, &text, events),
                Some("text") | None => {
                    self.message
                        .legacy_text(false, Write::Append, &text, events)
                }
                Some("search_result") => {}
                Some(_) => events.push(ChatEvent::Unknown("delta")),
            }
        }
        // `finish_reason` is the oldest generation's status.
        match choice.finish_reason.as_deref() {
            None => {}
            Some("content_filter") => self.status = Status::ContentFilter,
            Some("length") => self.status = Status::Incomplete,
            Some(_) => self.status = Status::Finished,
        }
    }

    /// Unknown words change nothing.
    fn enter(&mut self, status: Option<Status>, events: &mut Vec<ChatEvent>) {
        if status == Some(Status::Other) {
            events.push(ChatEvent::Unknown("status"));
        }
        self.status = status
            .filter(|status| *status != Status::Other)
            .unwrap_or(self.status);
    }

    fn named(&mut self, id: Option<i64>) {
        self.response_id = id.or(self.response_id);
    }

    /// Passes on what was read, up to where the model begins the next turn.
    pub(super) fn pass(&mut self, said: &mut Vec<ChatEvent>, events: &mut Vec<ChatEvent>) {
        for event in said.drain(..) {
            match event {
                // What the model says after a marker is of the next turn, which is not asked.
                _ if self.watch.is_cut() => {}
                ChatEvent::Text(text) => {
                    let text = joined(&mut self.text_halves, self.has_halves, text);
                    let text = self.watch.pass(text);
                    self.text(text, events);
                }
                ChatEvent::Reasoning(text) => {
                    let text = joined(&mut self.thought_halves, self.has_halves, text);
                    if !text.is_empty() {
                        self.has_output = true;
                        events.push(ChatEvent::Reasoning(text));
                    }
                }
                ChatEvent::Unknown(place) => self.unknown.tell(place, events),
                // Sources and the like count as an answer.
                other => {
                    self.has_output = true;
                    events.push(other);
                }
            }
        }
    }

    fn text(&mut self, text: String, events: &mut Vec<ChatEvent>) {
        if !text.is_empty() {
            (self.has_output, self.has_text) = (true, true);
            events.push(ChatEvent::Text(text));
        }
    }

    pub(super) fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let half = self.thought_halves.finish().map(String::from);
        events.extend(half.map(ChatEvent::Reasoning));
        // What may still have become a marker is part of the answer after all.
        let mut rest = self.watch.release();
        rest.extend(self.text_halves.finish());
        self.text(rest, events);
        // After the text: the answer stands even where the generator broke after it.
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let reason = match self.status {
            // We stopped it, so the status does not matter.
            _ if self.watch.is_cut() => FinishReason::Stop,
            Status::Finished if self.auto_continue => FinishReason::Length,
            Status::Finished => FinishReason::Stop,
            Status::Incomplete => FinishReason::Length,
            Status::ContentFilter => FinishReason::ContentFilter,
            // Section 6: without a final status it is a broken answer, however much of it came.
            Status::Wip | Status::Other => return Err(ProviderError::broken_stream()),
        };
        if reason == FinishReason::ContentFilter && !self.has_text {
            // Only where nothing had been said does the filter's own sentence count (section 6).
            let template = self.message.take_template();
            self.text(template, events);
        }
        if !self.has_output {
            return Err(if reason == FinishReason::ContentFilter {
                ProviderError::new(Kind::Moderated, "the service's filter stopped the answer")
            } else {
                ProviderError::empty_answer().with_code("upstream_empty")
            });
        }
        events.extend(self.message.citations());
        if self.completion_tokens > 0 {
            events.push(ChatEvent::Usage(Usage {
                completion_tokens: self.completion_tokens,
                ..Usage::default()
            }));
        }
        events.push(ChatEvent::Finish(reason));
        Ok(())
    }
}

fn joined(halves: &mut Halves, has_halves: bool, text: String) -> String {
    if has_halves && (halves.is_waiting() || json::has_half(&text)) {
        halves.join(&text)
    } else {
        text
    }
}
