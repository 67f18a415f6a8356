//! An item of thinking: one summary. Source: doors.md sections 7 and 8.

use bytes::BytesMut;

use super::{
    events::{Delta, Events},
    outputs::{Outputs, Seat, quoted},
};

/// Thinking that is being said.
#[derive(Debug)]
pub(super) struct Thought {
    seat: Seat,
    text: String,
    delta: Delta,
    place: String,
}

impl Thought {
    /// Begins a round of thinking.
    pub(super) fn open(outputs: &mut Outputs, events: &mut Events, out: &mut BytesMut) -> Self {
        let seat = outputs.seat("rs");
        events.put(out, "response.output_item.added", |it| {
            it.put("output_index", &seat.index)
                .put_raw("item", &[&item(&seat.id, "")]);
        });
        // One summary an item: the model's thinking has no parts.
        let place = format!("{},\"summary_index\":0", seat.members());
        events.put(out, "response.reasoning_summary_part.added", |it| {
            it.put_all(&place).put_raw("part", &[&part("")]);
        });
        Self {
            delta: Delta::new("response.reasoning_summary_text.delta", &place, "}\n\n"),
            seat,
            text: String::new(),
            place,
        }
    }

    /// Says more of it.
    pub(super) fn say(&mut self, events: &mut Events, out: &mut BytesMut, text: &str) {
        self.text.push_str(text);
        events.put_delta(out, &self.delta, text);
    }

    /// Ends it.
    pub(super) fn close(self, outputs: &mut Outputs, events: &mut Events, out: &mut BytesMut) {
        events.put(out, "response.reasoning_summary_text.done", |it| {
            it.put_all(&self.place).put("text", &self.text);
        });
        let part = part(&self.text);
        events.put(out, "response.reasoning_summary_part.done", |it| {
            it.put_all(&self.place).put_raw("part", &[&part]);
        });
        let item = item(&self.seat.id, &part);
        events.put(out, "response.output_item.done", |it| {
            it.put("output_index", &self.seat.index)
                .put_raw("item", &[&item]);
        });
        outputs.keep(&item);
    }
}

fn part(text: &str) -> String {
    format!(r#"{{"type":"summary_text","text":{}}}"#, quoted(text))
}

fn item(id: &str, summary: &str) -> String {
    format!(r#"{{"type":"reasoning","id":"{id}","summary":[{summary}],"encrypted_content":null}}"#)
}
