//! An item of text: a message with parts of text and of refusal. Source: doors.md sections 7 and 8.
//!
//! ```text
//! open ── say ── say ── … ── cite ── close        each part: content_part.added, deltas, .done, content_part.done
//! ```

use bytes::BytesMut;
use serde_json::{Value, json};

use super::{
    events::{Delta, Events},
    outputs::{Outputs, Seat, Status, quoted},
};
use crate::http::answering::Source;

/// A message that is being said.
#[derive(Debug)]
pub(super) struct Message {
    seat: Seat,
    part: Part,
    /// The parts before, as JSON with a comma behind each.
    parts: String,
    count: usize,
}

/// What a part is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// An answer.
    Text,
    /// The model's own no.
    Refusal,
}

/// A part that is being said.
#[derive(Debug)]
struct Part {
    words: Words,
    text: String,
    annotations: Vec<Value>,
    delta: Delta,
    place: String,
    /// Characters of the answer's text before it.
    start: usize,
}

impl Message {
    /// Begins a message, and its first part with it. `start`: characters of text that the answer has so far.
    pub(super) fn open(
        outputs: &mut Outputs,
        events: &mut Events,
        out: &mut BytesMut,
        words: Words,
        start: usize,
    ) -> Self {
        let seat = outputs.seat("msg");
        events.put(out, "response.output_item.added", |it| {
            it.put("output_index", &seat.index)
                .put_raw("item", &[&item(&seat.id, "in_progress", "")]);
        });
        let part = Part::open(&seat, 0, words, start, events, out);
        Self {
            seat,
            part,
            parts: String::new(),
            count: 0,
        }
    }

    /// Says something; in another part, where it is of another kind.
    pub(super) fn say(
        &mut self,
        events: &mut Events,
        out: &mut BytesMut,
        words: Words,
        text: &str,
        start: usize,
    ) {
        if self.part.words != words {
            // A refusal in the middle of an answer is a part of the same message, as the API has it.
            self.count += 1;
            let next = Part::after(
                &mut self.part,
                &self.seat,
                self.count,
                words,
                start,
                events,
                out,
            );
            self.parts.push_str(&next);
            self.parts.push(',');
        }
        self.part.text.push_str(text);
        events.put_delta(out, &self.part.delta, text);
    }

    /// Says which sources the text rests on; a refusal rests on none.
    pub(super) fn cite(&mut self, events: &mut Events, out: &mut BytesMut, sources: &[Source]) {
        let part = &mut self.part;
        if part.words != Words::Text {
            return;
        }
        // Characters, as clients cut texts by them; not bytes.
        let length = part.text.chars().count();
        for source in sources {
            // Relative to the part, and never beyond it: a source may belong to a message before this one.
            let at = source.at.saturating_sub(part.start).min(length);
            let annotation = json!({"type": "url_citation", "start_index": at, "end_index": at, "url": source.url, "title": source.title});
            events.put(out, "response.output_text.annotation.added", |it| {
                it.put_all(&part.place)
                    .put("annotation_index", &part.annotations.len())
                    .put("annotation", &annotation);
            });
            part.annotations.push(annotation);
        }
    }

    /// Ends the message.
    pub(super) fn close(
        mut self,
        outputs: &mut Outputs,
        events: &mut Events,
        out: &mut BytesMut,
        status: Status,
    ) {
        // Its parts are kept as JSON, as they are told three times: as a part, in the item and in the last event.
        self.parts.push_str(&self.part.close(events, out));
        let item = item(&self.seat.id, status.word(), &self.parts);
        events.put(out, "response.output_item.done", |it| {
            it.put("output_index", &self.seat.index)
                .put_raw("item", &[&item]);
        });
        outputs.keep(&item);
    }
}

impl Part {
    fn open(
        seat: &Seat,
        index: usize,
        words: Words,
        start: usize,
        events: &mut Events,
        out: &mut BytesMut,
    ) -> Self {
        let place = format!("{},\"content_index\":{index}", seat.members());
        events.put(out, "response.content_part.added", |it| {
            it.put_all(&place).put_raw("part", &[&part(words, "", &[])]);
        });
        let delta = match words {
            Words::Text => Delta::new(
                "response.output_text.delta",
                &place,
                // Always there, and empty: SDKs have it as a member that is never absent.
                ",\"logprobs\":[]}\n\n",
            ),
            Words::Refusal => Delta::new("response.refusal.delta", &place, "}\n\n"),
        };
        Self {
            words,
            text: String::new(),
            annotations: Vec::new(),
            delta,
            place,
            start,
        }
    }

    /// Puts a new part in the place of this one, which ends; gives the one that has ended.
    fn after(
        part: &mut Self,
        seat: &Seat,
        index: usize,
        words: Words,
        start: usize,
        events: &mut Events,
        out: &mut BytesMut,
    ) -> String {
        let ended = part.close(events, out);
        *part = Self::open(seat, index, words, start, events, out);
        ended
    }

    /// Ends the part; gives it as JSON.
    fn close(&self, events: &mut Events, out: &mut BytesMut) -> String {
        let (kind, name) = match self.words {
            Words::Text => ("response.output_text.done", "text"),
            Words::Refusal => ("response.refusal.done", "refusal"),
        };
        events.put(out, kind, |it| {
            it.put_all(&self.place).put(name, &self.text);
            if self.words == Words::Text {
                it.put_raw("logprobs", &["[]"]);
            }
        });
        let part = part(self.words, &self.text, &self.annotations);
        events.put(out, "response.content_part.done", |it| {
            it.put_all(&self.place).put_raw("part", &[&part]);
        });
        part
    }
}

fn part(words: Words, text: &str, annotations: &[Value]) -> String {
    let text = quoted(text);
    match words {
        Words::Text => format!(
            r#"{{"type":"output_text","text":{text},"annotations":{},"logprobs":[]}}"#,
            Value::from(annotations)
        ),
        Words::Refusal => format!(r#"{{"type":"refusal","refusal":{text}}}"#),
    }
}

fn item(id: &str, status: &str, content: &str) -> String {
    format!(
        r#"{{"type":"message","id":"{id}","status":"{status}","role":"assistant","content":[{content}]}}"#
    )
}
