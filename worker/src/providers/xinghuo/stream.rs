//! The answer of `POST …/chat`: server-sent lines whose payloads are base64 pieces of text, or control words.
//! Source: `wire/xinghuo.md` section 6.
//!
//! ```text
//!            base64, control                    <sid>
//!            ┌──────┐                          ┌─────┐
//!            ▼      │   <end>, <kx>            ▼     │
//!          answering ──────────────────────► finished
//!            │                                  ▲
//!            │ [error], {                       │ moderation after text
//!            └────────► report ─────────────────┤
//!                    (collects JSON)            └────► Err
//! ```

use super::{
    blocks::{self, Block, Source},
    memory::Memory,
    pieces::{self, Pieces},
    refusal::{self, Head, Refusal, Said},
};
use crate::{
    chat::{ChatEvent, FinishReason, Kind, ProviderError, Unknowns},
    impossible::OrImpossible as _,
};

/// Most bytes of one line; more is no answer but an attack or a fault.
const MOST_LINE_BYTES: usize = 16 << 20;
/// Most bytes of an error's JSON; what lies beyond is left out.
const MOST_REPORT_BYTES: usize = 64 << 10;
/// Most bytes of a message id.
const MOST_ID_BYTES: usize = 256;

/// Bytes in, events out.
#[derive(Debug)]
pub struct Decoder {
    line: Vec<u8>,
    answer: Transcript,
}

#[derive(Debug, Default)]
struct Transcript {
    /// Which variable to renew when the service says that the login has ended.
    variable: String,
    pieces: Pieces,
    memory: Memory,
    sources: Vec<Source>,
    message_id: Option<String>,
    report: Option<Report>,
    unreadable: u32,
    unknown: Unknowns,
    has_output: bool,
    is_finished: bool,
}

/// An error that is being told.
#[derive(Debug)]
struct Report {
    head: Head,
    json: Vec<u8>,
}

impl Decoder {
    /// A decoder for one answer to the account whose credential is in `variable`.
    pub fn new(variable: &str) -> Self {
        Self {
            line: Vec::new(),
            answer: Transcript {
                variable: variable.to_owned(),
                ..Transcript::default()
            },
        }
    }

    /// Takes the next bytes, torn anywhere. Lines count, not events: the end of an answer needs no blank line, and a
    /// line may end in CR, LF or both, as blank ones say nothing.
    ///
    /// # Errors
    /// An error that the stream itself reports (section 7), or a stream that is none.
    pub fn feed(&mut self, mut bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        while let Some(at) = memchr::memchr2(b'\n', b'\r', bytes) {
            // Either end: the service writes LF, a proxy may have written CR.
            let (line, rest) = bytes.split_at(at);
            bytes = rest.get(1..).or_impossible("the line's end stands there");
            if self.line.is_empty() {
                // The usual line needs no copy.
                self.answer.line(line, events)?;
            } else {
                self.line.extend_from_slice(line);
                let result = self.answer.line(&self.line, events);
                self.line.clear();
                result?;
            }
        }
        // Of the open line alone: whole lines are read above.
        if self.line.len() + bytes.len() > MOST_LINE_BYTES {
            return Err(ProviderError::malformed("stream").into());
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// The body has ended regularly.
    ///
    /// # Errors
    /// An answer without its end, or without anything in it.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        let line = std::mem::take(&mut self.line);
        // Without its line end a control word is still one; base64 may be torn and is not to be guessed at.
        if payload(&line).is_some_and(|payload| !pieces::is_base64(payload)) {
            // A last line without an end may be `<end>`.
            self.answer.line(&line, events)?;
        }
        self.answer.over(events)
    }

    /// Whether the answer is complete; all that may still come is the message id.
    pub fn is_finished(&self) -> bool {
        self.answer.is_finished
    }

    /// The upstream id of the answer, which comes after its end or not at all.
    pub fn message_id(&self) -> Option<&str> {
        self.answer.message_id.as_deref()
    }

    /// How many payloads were skipped because nothing could be made of them.
    pub fn unreadable(&self) -> u32 {
        self.answer.unreadable
    }

    /// The error that the service was telling when its stream broke.
    pub(super) fn interrupted_report(&self) -> Option<Refusal> {
        let report = self.answer.report.as_ref()?;
        Some(report.refusal(&self.answer.variable))
    }
}

/// What a line carries; `None` for blank lines, comments and other fields (section 6.1).
fn payload(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let payload = line.strip_prefix(b"data:")?.trim_ascii();
    // A blank line ends an event and says nothing (section 6.1).
    Some(payload).filter(|payload| !payload.is_empty())
}

impl Transcript {
    fn line(&mut self, line: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        match payload(line) {
            Some(payload) => self.payload(payload, events),
            None => Ok(()),
        }
    }

    /// Section 6.2: told apart by first and last characters, which base64 never has.
    fn payload(&mut self, payload: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        if self.is_finished {
            self.message_id(payload);
            return Ok(());
        }
        // From a report on, nothing is text until it ends (section 6.2).
        if self.report.is_some() {
            return self.tell(payload, events);
        }
        match payload {
            b"<end>" => self.finish(FinishReason::Stop, events),
            b"<kx>" => self.moderated(refusal::moderated().into(), events),
            [b'<', .., b'>'] => {
                self.unknown.tell("control", events);
                Ok(())
            }
            // What servers and proxies send to keep a connection alive. As base64, the second is no text of its own.
            b"{}" | b"[]" => Ok(()),
            b"null" if self.pieces.is_whole() => Ok(()),
            [b'[', ..] if payload.starts_with(b"[belongerr]") => Err(refusal::lost()),
            [b'[', ..] => {
                let (head, json) = head(payload);
                self.report = Some(Report {
                    head,
                    json: Vec::new(),
                });
                self.tell(json, events)
            }
            [b'{', ..] => {
                self.report = Some(Report {
                    head: Head::Error,
                    json: Vec::new(),
                });
                self.tell(payload, events)
            }
            [b'`', b'`', b'`', ..] => {
                // Only an unknown one is worth telling: the others are skipped by name (section 6.3).
                if !blocks::is_named(payload) {
                    self.unknown.tell("block", events);
                }
                Ok(())
            }
            _ if pieces::is_base64(payload) => {
                self.piece(payload, events);
                Ok(())
            }
            _ => {
                if !payload.ends_with(b"<sid>") {
                    self.unknown.tell("payload", events);
                }
                self.message_id(payload);
                Ok(())
            }
        }
    }

    /// `<sid>` is expected after the end; anything else that comes to this is garbage, unless the end has passed.
    fn message_id(&mut self, payload: &[u8]) {
        match payload.strip_suffix(b"<sid>") {
            Some(id) if id.len() <= MOST_ID_BYTES => {
                self.message_id = Some(String::from_utf8_lossy(id).into_owned());
            }
            Some(_) => {}
            None if self.is_finished => {}
            None => self.unreadable = self.unreadable.saturating_add(1),
        }
    }

    /// Section 6.3.
    fn piece(&mut self, payload: &[u8], events: &mut Vec<ChatEvent>) {
        // Nearly every piece is text, which is decoded once.
        let block = if blocks::may_be_block(payload) {
            blocks::block(&pieces::decode(payload))
        } else {
            None
        };
        match block {
            None => {
                let text = self.pieces.next(payload);
                // Behind the memory's own marker nothing is text any more.
                let text = self.memory.pass(text);
                self.say(ChatEvent::Text(text), events);
            }
            Some(Block::Thought(text)) => self.say(ChatEvent::Reasoning(text), events),
            Some(Block::Picture(url)) => {
                // The picture stands where the text has come to.
                let text = self.memory.release();
                self.say(ChatEvent::Text(text), events);
                self.say(ChatEvent::Image { url }, events);
            }
            // The same sources may come twice, at the beginning and at the end of a search: the last count.
            Some(Block::Sources(sources)) => self.sources = sources,
            Some(Block::Notice) => {}
            Some(Block::Unknown) => self.unknown.tell("block", events),
            Some(Block::Unreadable) => {
                self.unknown.tell("block", events);
                self.unreadable = self.unreadable.saturating_add(1);
            }
        }
    }

    fn say(&mut self, event: ChatEvent, events: &mut Vec<ChatEvent>) {
        if event.is_output() {
            self.has_output = true;
            events.push(event);
        }
    }

    /// A further piece of an error. It ends with `<end>`, or as soon as its JSON is whole: some heads are seen
    /// without an end (section 6.2).
    fn tell(&mut self, payload: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        let Some(report) = &mut self.report else {
            return Ok(());
        };
        let is_end = payload == b"<end>";
        if !is_end {
            let room = MOST_REPORT_BYTES.saturating_sub(report.json.len());
            // Bounded: a report is no answer, and a service that goes on would fill memory.
            let taken = payload.get(..room).unwrap_or(payload);
            report.json.extend_from_slice(taken);
        }
        // Ends where its JSON does: some heads have no `<end>` (section 6.2).
        let is_whole = report.json.ends_with(b"}") && report.said().is_some();
        if is_end || is_whole {
            let refusal = report.refusal(&self.variable);
            return self.moderated(refusal, events);
        }
        Ok(())
    }

    /// After output, moderation ends an answer instead of failing it (section 7).
    fn moderated(&mut self, refusal: Refusal, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        if refusal.error.kind == Kind::Moderated && self.has_output {
            return self.finish(FinishReason::ContentFilter, events);
        }
        Err(refusal)
    }

    fn finish(&mut self, reason: FinishReason, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        self.is_finished = true;
        // With the memory's beginning, should the text end within it.
        let rest = self.pieces.finish();
        let rest = self.memory.pass(rest) + &self.memory.release();
        self.say(ChatEvent::Text(rest), events);
        // Also of an answer that was moderated before a word.
        if !self.has_output {
            return Err(self.nothing("upstream_empty"));
        }
        for source in self.sources.drain(..) {
            events.push(ChatEvent::Citation {
                index: source.index,
                url: source.url,
                title: source.title,
            });
        }
        events.push(ChatEvent::Finish(reason));
        Ok(())
    }

    /// The body is over, with or without an end.
    fn over(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        if self.is_finished {
            return Ok(());
        }
        // A report without an end is what the answer was.
        if let Some(report) = &self.report {
            let refusal = report.refusal(&self.variable);
            return self.moderated(refusal, events);
        }
        // Nothing came that could be read: the stream is at fault, not its end.
        if !self.has_output && self.unreadable > 0 {
            return Err(self.nothing(""));
        }
        Err(ProviderError::broken_stream().into())
    }

    /// Nothing came, or nothing that could be read.
    fn nothing(&self, code: &str) -> Refusal {
        if self.unreadable > 0 {
            ProviderError::malformed("stream").into()
        } else {
            ProviderError::empty_answer().with_code(code).into()
        }
    }
}

impl Report {
    fn said(&self) -> Option<Said> {
        serde_json::from_slice(&self.json).ok()
    }

    fn refusal(&self, variable: &str) -> Refusal {
        refusal::reported(self.head, self.said().as_ref(), variable)
    }
}

/// The head of an error, and what follows it in the same payload.
fn head(payload: &[u8]) -> (Head, &[u8]) {
    for (start, head) in [
        ("[error]", Head::Error),
        ("[geeError]", Head::Verification),
        ("[pluginError]", Head::Part),
        ("[needAuthError]", Head::Part),
    ] {
        if let Some(json) = payload.strip_prefix(start.as_bytes()) {
            return (head, json);
        }
    }
    (Head::Unknown, &[])
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
