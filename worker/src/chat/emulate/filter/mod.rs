//! Between the events of a provider without tools and the limits: takes calls out of the answer, holds an answer that must be
//! JSON until it is judged, and says when the model must be asked once more. What is found in the words is the decoder's
//! ([`super::turn`]). Source: tools.md sections 6, 8, 12 and 13.
//!
//! ```text
//!   Text, Reasoning ──► decoder ──► Found ──► Text, Reasoning, ToolCall ──► limits
//!                                     └──► Again: a second question, on the same account, in the same chain
//! ```

mod second;

use std::sync::Arc;

use serde_json::{Map, Value};

use self::second::failed;
use super::{
    decoder::MOST_CALL,
    fact::Fact,
    found::{Call, End, Failure, Found},
    plan::{self, Asked, Means},
    schema::Offered,
    turn::{Round, Settings, Turn},
    verify::{self, Judgement},
};
use crate::{
    chat::{
        ChatEvent, ChatRequest, FinishReason, Invalid, Kind, ProviderError, ToolCallDelta, Usage,
        filter::{Ending, Filter},
    },
    metrics::METRICS,
};

/// The member of a delta that says that the model does not want to.
const REFUSAL: &str = "refusal";
/// Longest piece of a call's arguments. Source: tools.md section 6, rule 10.
const MOST_PIECE: usize = 16 << 10;
/// Pieces of an answer that was held: both kinds of clients see what they expect. Source: tools.md section 13.
const ANSWER_PIECE: usize = 256;
/// Most of an answer that a second question can quote: as much as a call may have. Of a longer one there is none.
const MOST_RAW: usize = MOST_CALL;
/// Most of an answer that must be JSON.
const MOST_HELD: usize = MOST_CALL;
/// Most that a service may say while the client is told nothing of it: a call, and room for what may stand around it. Nothing
/// else ends a stream of blanks behind a call, or of words that do not count, before the request's time is up.
const MOST_SILENT: usize = 2 * MOST_CALL;

/// What the providers' prompts write before a turn. All of them for all: a model that writes one plays the other side,
/// whichever service it lives at.
const TURN_MARKS: &[&str] = &[
    "<|im_start|>",
    "<|user|>",
    "<|system|>",
    "<|assistant|>",
    "<｜User｜>",
    "<｜Assistant｜>",
];

/// The filter of one turn, both of its rounds.
#[derive(Debug)]
pub struct Emulation {
    original: Arc<ChatRequest>,
    means: Means,
    asked: Asked,
    /// Of this round; `None` where nothing but a form is asked for.
    decoder: Option<Turn>,
    /// What the decoder says; empty between calls.
    found: Vec<Found>,
    /// This round's answer as the service wrote it, at most [`MOST_RAW`] of it: a second question quotes it.
    raw: String,
    /// The answer goes on behind `raw`: it cannot be quoted.
    is_too_long: bool,
    /// Bytes of this round that are not in `raw`: thoughts, and what was too long.
    unquoted: usize,
    /// Bytes since the client was last told anything.
    silent: usize,
    /// The service says in its own way that the model does not want to: there is nothing to judge.
    has_refused: bool,
    /// The text that waits for its judgement, where a form is asked for.
    held: String,
    /// Delivered so far.
    calls: u32,
    /// Why there was a second question, until it is known what became of it.
    reasked: Option<&'static str>,
    round: Round,
    /// What the service has counted, and what it cost besides.
    usage: Option<Usage>,
    spent: Usage,
    decided: Decided,
    /// The service need not go on.
    is_cut: bool,
}

/// What is known of this round.
#[derive(Debug, Default)]
enum Decided {
    #[default]
    Open,
    /// The end was passed on.
    Over,
    Again(Fact),
    Failed(Failure),
}

impl Emulation {
    /// The filter of a turn, and what the provider is asked.
    ///
    /// # Errors
    /// Tools or formats that cannot be offered.
    pub fn new(
        original: &Arc<ChatRequest>,
        means: Means,
    ) -> Result<(Arc<ChatRequest>, Self), Invalid> {
        // Rendered before anything is sent, so that a bad schema is a 400 and costs no account.
        let asked = plan::render(original, &means, false)?;
        let request = Arc::clone(&asked.request);
        let emulation = Self {
            decoder: decoder(&asked, &means, Round::First),
            original: Arc::clone(original),
            means,
            asked,
            found: Vec::new(),
            raw: String::new(),
            is_too_long: false,
            unquoted: 0,
            silent: 0,
            has_refused: false,
            held: String::new(),
            calls: 0,
            reasked: None,
            round: Round::First,
            usage: None,
            spent: Usage::default(),
            decided: Decided::Open,
            is_cut: false,
        };
        Ok((request, emulation))
    }

    fn text(&mut self, text: String, passed: &mut Vec<ChatEvent>) {
        // All of it, calls and blanks included: a second question must show the model what it really wrote.
        if self.is_too_long || self.raw.len() + text.len() > MOST_RAW {
            self.is_too_long = true;
            self.unquoted += text.len();
        } else {
            self.raw.push_str(&text);
        }
        match &mut self.decoder {
            Some(decoder) => {
                decoder.text(text, &mut self.found);
                self.take_found(passed);
            }
            None => self.say(text, passed),
        }
    }

    fn say(&mut self, text: String, passed: &mut Vec<ChatEvent>) {
        // Judged as a whole, so nothing of it may be told before.
        if self.asked.wanted.is_some() {
            self.held.push_str(&text);
        } else {
            passed.push(ChatEvent::Text(text));
        }
    }

    /// What the decoder has found; the last of it may decide the round.
    fn take_found(&mut self, passed: &mut Vec<ChatEvent>) {
        // Taken for the loop, as `say` and `call` need all of `self`.
        let mut found = std::mem::take(&mut self.found);
        for found in found.drain(..) {
            match found {
                // Behind a decision nothing counts.
                _ if !matches!(self.decided, Decided::Open) => {}
                Found::Text(text) => self.say(text, passed),
                Found::Reasoning(text) => passed.push(ChatEvent::Reasoning(text)),
                Found::Call(call) => self.call(call, passed),
                Found::Left(left) => self.count_call("none", left.label()),
                Found::Over => self.is_cut = true,
                Found::Again(fact) => self.decide(self.again(fact)),
                Found::Failed(failure) => self.decide(Decided::Failed(failure)),
            }
        }
        // Keeps its room from call to call.
        self.found = found;
        if self.is_cut && matches!(self.decided, Decided::Open) {
            // The rest is not waited for: whatever the service still says would be left out.
            self.conclude(FinishReason::Stop, passed);
        }
    }

    /// The model is asked once more, where what it wrote can be quoted.
    fn again(&self, fact: Fact) -> Decided {
        if self.is_too_long {
            Decided::Failed(fact.kind.failure())
        } else {
            Decided::Again(fact)
        }
    }

    /// After each piece that the service has said: counts those of which the client is told nothing, and ends the round when
    /// they are too many.
    fn listen(&mut self, bytes: usize, is_told: bool, passed: &mut Vec<ChatEvent>) {
        self.silent = if is_told { 0 } else { self.silent + bytes };
        let is_endless = self.silent > MOST_SILENT || self.held.len() > MOST_HELD;
        if !is_endless || !matches!(self.decided, Decided::Open) {
            return;
        }
        if self.calls > 0 {
            // What was delivered is the answer.
            self.conclude(FinishReason::Stop, passed);
            self.is_cut = true;
        } else if self.held.is_empty() {
            self.decide(Decided::Failed(Failure::CallInvalid));
        } else {
            self.decide(Decided::Failed(Failure::OutputInvalid));
        }
    }

    fn decide(&mut self, decided: Decided) {
        self.decided = decided;
        self.is_cut = true;
    }

    fn call(&mut self, call: Call, passed: &mut Vec<ChatEvent>) {
        self.count_call(call.dialect.label(), call.outcome.label());
        // Over both rounds, so that a second answer's calls do not repeat an index.
        let index = self.calls;
        self.calls += 1;
        let piece = |name: Option<String>, arguments: &str| {
            ChatEvent::ToolCall(ToolCallDelta {
                index,
                // Given where all calls without an id are.
                id: None,
                name,
                arguments: arguments.to_owned(),
            })
        };
        passed.push(piece(Some(call.name.to_string()), ""));
        // Small enough for clients that show arguments as they come, large enough to be few.
        let pieces = pieces(&call.arguments, MOST_PIECE);
        passed.extend(pieces.map(|arguments| piece(None, arguments)));
    }

    fn count_call(&self, dialect: &str, outcome: &str) {
        METRICS
            .tool_calls_total
            .with_label_values(&[&*self.means.provider, dialect, outcome])
            .inc();
    }

    fn count_reask(&mut self, result: &str) {
        // `take`: each second question is counted once, with the first outcome.
        if let Some(reason) = self.reasked.take() {
            METRICS
                .reasks_total
                .with_label_values(&[&*self.means.provider, reason, result])
                .inc();
        }
    }

    /// The service has ended the round, or need not go on with it.
    fn conclude(&mut self, reason: FinishReason, passed: &mut Vec<ChatEvent>) {
        let end = match reason {
            FinishReason::Stop | FinishReason::StopText(_) | FinishReason::ToolCalls => End::Clean,
            FinishReason::Length | FinishReason::ContentFilter => End::Cut,
        };
        // Gone from here on: a second end finds nothing to finish.
        if let Some(mut decoder) = self.decoder.take() {
            decoder.finish(end, &mut self.found);
            let was_cut = std::mem::replace(&mut self.is_cut, false);
            self.take_found(passed);
            // The end that has come by itself needs no stopping.
            self.is_cut = was_cut;
        }
        if !matches!(self.decided, Decided::Open) {
            return;
        }
        // A turn of calls need not be JSON as well, nor what a model says that does not want to answer.
        if self.has_refused && !self.held.is_empty() {
            passed.push(ChatEvent::Text(std::mem::take(&mut self.held)));
        } else if self.calls == 0
            && !self.has_refused
            && let Some(wanted) = &self.asked.wanted
        {
            let held = std::mem::take(&mut self.held);
            match verify::judge(held, wanted, end, self.round) {
                Judgement::Send(answer) => {
                    let pieces = pieces(&answer, ANSWER_PIECE);
                    passed.extend(pieces.map(|piece| ChatEvent::Text(piece.to_owned())));
                }
                Judgement::Refused(words) => passed.push(refusal(words)),
                Judgement::Again(fact) => return self.decide_quietly(self.again(fact)),
                Judgement::Failed(failure) => return self.decide_quietly(Decided::Failed(failure)),
            }
        }
        self.decided = Decided::Over;
        self.count_reask("ok");
        passed.push(ChatEvent::Finish(match reason {
            FinishReason::Stop | FinishReason::StopText(_) | FinishReason::Length
                if self.calls > 0 =>
            // Also where the length ended it: the calls that were found are whole (conformance T5).
            {
                FinishReason::ToolCalls
            }
            FinishReason::ToolCalls if self.calls == 0 => FinishReason::Stop,
            reason => reason,
        }));
    }

    /// At the end of an answer there is nothing to stop.
    fn decide_quietly(&mut self, decided: Decided) {
        self.decided = decided;
    }

    /// The whole text as the service finally has it: what a client sees of it.
    fn rewritten(&mut self, whole: String, passed: &mut Vec<ChatEvent>) {
        // With a decoder of its own, since the turn's has seen the text already.
        let seen = match decoder(&self.asked, &self.means, Round::First) {
            Some(mut anew) if self.decoder.is_some() => {
                let mut found = Vec::new();
                anew.text(whole.clone(), &mut found);
                anew.finish(End::Clean, &mut found);
                let text = |found: Found| match found {
                    Found::Text(text) => Some(text),
                    _ => None,
                };
                found.into_iter().filter_map(text).collect()
            }
            _ => whole.clone(),
        };
        self.is_too_long = whole.len() > MOST_RAW;
        if self.is_too_long {
            self.unquoted += whole.len();
            self.raw.clear();
        } else {
            self.raw = whole;
        }
        if self.asked.wanted.is_some() {
            self.held = seen;
        } else if self.round == Round::First {
            // In the second round words are not the client's, so there is nothing to put in their place.
            passed.push(ChatEvent::Rewritten(seen));
        }
    }
}

impl Filter for Emulation {
    fn apply(&mut self, event: ChatEvent, passed: &mut Vec<ChatEvent>) {
        match event {
            ChatEvent::Usage(usage) => {
                // Cumulative services say it again and again.
                self.usage = Some(usage.bounded());
            }
            // Behind the decision nothing of this round counts but what it has cost.
            _ if !matches!(self.decided, Decided::Open) => {}
            ChatEvent::Text(text) => {
                let (bytes, told) = (text.len(), passed.len());
                self.text(text, passed);
                self.listen(bytes, passed.len() > told, passed);
            }
            ChatEvent::Reasoning(text) => {
                let (bytes, told) = (text.len(), passed.len());
                // Thoughts are no part of `raw`: the second question must not quote them.
                self.unquoted += bytes;
                match &mut self.decoder {
                    Some(decoder) => {
                        decoder.reasoning(text, &mut self.found);
                        self.take_found(passed);
                    }
                    None => passed.push(ChatEvent::Reasoning(text)),
                }
                self.listen(bytes, passed.len() > told, passed);
            }
            ChatEvent::Rewritten(whole) => self.rewritten(whole, passed),
            ChatEvent::Finish(reason) => self.conclude(reason, passed),
            other => {
                if let ChatEvent::Extra(members) = &other {
                    let words = members.get(REFUSAL).and_then(Value::as_str);
                    self.has_refused |= words.is_some_and(|words| !words.is_empty());
                }
                passed.push(other);
            }
        }
    }

    fn finish(&mut self, passed: &mut Vec<ChatEvent>) {
        // The service has gone without an end of its own.
        if matches!(self.decided, Decided::Open) {
            self.conclude(FinishReason::Stop, passed);
        }
        if matches!(self.decided, Decided::Over) {
            self.tell_usage(passed);
        }
    }

    fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn offered(&self) -> Option<&Arc<Offered>> {
        self.asked.offered.as_ref()
    }

    fn ending(&mut self) -> Ending {
        // Taken, as the fact moves into the question; put back where the answer is over.
        match std::mem::take(&mut self.decided) {
            Decided::Over | Decided::Open => {
                self.decided = Decided::Over;
                Ending::Done
            }
            Decided::Again(fact) => match self.begin_again(&fact) {
                Ok(request) => Ending::Again(request),
                // The same was rendered once before.
                Err(invalid) => Ending::Failed(ProviderError::new(Kind::Protocol, invalid.message)),
            },
            Decided::Failed(failure) => {
                self.count_reask("failed");
                Ending::Failed(failed(failure, self.round))
            }
        }
    }
}

impl Drop for Emulation {
    /// The second answer has not come, whoever is to blame.
    fn drop(&mut self) {
        // Nothing where it was counted before: `reasked` is empty then.
        self.count_reask("broken");
    }
}

fn decoder(asked: &Asked, means: &Means, round: Round) -> Option<Turn> {
    Some(Turn::new(Settings {
        nonce: asked.nonce,
        offered: Arc::clone(asked.offered.as_ref()?),
        // Where a form is wanted bare JSON is the answer itself.
        bare_json: asked.wanted.is_none(),
        turn_marks: TURN_MARKS,
        taken: means.own_tools.and_then(|own| own.taken),
        round,
    }))
}

/// What a model says that does not want to answer in the form that was asked for. Doors have a place of their own for it.
fn refusal(words: String) -> ChatEvent {
    ChatEvent::Extra(Map::from_iter([(REFUSAL.to_owned(), Value::from(words))]))
}

/// Pieces of at most so many bytes, of whole characters.
fn pieces(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = most.min(rest.len());
        // Forwards, so that a piece is never empty.
        while !rest.is_char_boundary(end) {
            end += 1;
        }
        let (piece, behind) = rest.split_at(end);
        rest = behind;
        Some(piece)
    })
}

#[cfg(test)]
mod tests;
