//! The answer as patches of one message: the generation of today. Source: wire/deepseek.md §6.

use std::sync::Arc;

use super::{
    message::{Message, Telling},
    older,
    patches::Patches,
    refusal::{close, error, event},
};
use crate::reply::{Act, Acts};

/// Oddities of the stream that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "legacy",           // the generation of 2025-07 to 2025-09
    "choices",          // the generation before it
    "batches",          // text comes in BATCH patches
    "bare_text",        // pieces that come as bare strings while the kept path is a state
    "crlf",             // lines end in CRLF
    "done",             // `[DONE]` at the end
    "empty_snapshot",   // no fragment in the first patch
    "finish_event",     // an event `finish` before the end
    "late_patches",     // state patches after the final status
    "no_close",         // no event `close`
    "no_space",         // no space after `data:`
    "noise",            // comments, empty and broken data, and notices between the patches
    "odd_fragments",    // fragments of types that carry no text
    "positive_indexes", // fragments counted from the start
    "runs_on",          // the model goes on with the next turn
    "think_rounds",     // two rounds of thoughts, with the search in between
    "verbose",          // every patch has its path and op
];

/// How the answer ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    Finished,
    /// Half way, to be continued.
    Incomplete,
    AutoContinue,
    /// The content filter stops it after this many pieces.
    Filtered(usize),
    /// A hint or toast in place of the answer: event, content, reason.
    Refused(&'static str, &'static str, &'static str),
    /// The same after this many pieces.
    Error(usize, &'static str, &'static str, &'static str),
    /// The generator breaks after this many pieces; the answer can be continued.
    Generation(usize, &'static str),
    Empty,
    /// The body ends without a status.
    NoStatus,
    Garbage,
}

impl End {
    /// How many pieces are told when `from` of `total` have been.
    pub(super) fn upto(self, from: usize, total: usize) -> usize {
        match self {
            Self::Finished => total,
            Self::Incomplete | Self::AutoContinue | Self::NoStatus => {
                let left = total.saturating_sub(from);
                from + left.min((left / 2).max(1))
            }
            Self::Filtered(pieces) | Self::Error(pieces, ..) | Self::Generation(pieces, _) => {
                (from + pieces).min(total)
            }
            Self::Refused(..) | Self::Empty | Self::Garbage => from,
        }
    }

    fn status(self) -> &'static str {
        match self {
            Self::Finished | Self::Empty => "FINISHED",
            Self::Incomplete | Self::Generation(..) => "INCOMPLETE",
            Self::AutoContinue => "AUTO_CONTINUE",
            Self::Filtered(_) => "CONTENT_FILTER",
            Self::Refused(..) | Self::Error(..) | Self::NoStatus | Self::Garbage => "WIP",
        }
    }
}

/// The acts of an answer of which `from` pieces are known to the client.
pub(super) fn acts(message: &Arc<Message>, from: usize, end: End) -> Acts {
    let answer = &message.answer;
    let acts = match end {
        End::Garbage => garbage(),
        End::Refused(name, content, reason) => refused(message, name, content, reason),
        _ if answer.quirk("legacy") => older::legacy(message, end),
        _ if answer.quirk("choices") => older::choices(message, end),
        _ => patches(message, from, end),
    };
    let status = end.status();
    let telling = Telling::new(Box::new(acts.into_iter()), Arc::clone(message), status);
    answer.travel(dressed(message, Box::new(telling)))
}

/// The end of an answer that was stopped.
pub(super) fn stopped(message: &Arc<Message>) -> Acts {
    let mut patches = Patches::new(message);
    patches.acts.push(Act::Done);
    if message.said() == 0 {
        let hint = event("hint", &error("", "manual_abort"));
        patches.acts.push(hint);
    } else {
        patches.status("INCOMPLETE", message.said());
    }
    patches.acts.extend([updated(2), close("none")]);
    Box::new(patches.acts.into_iter())
}

fn dressed(message: &Message, acts: Acts) -> Acts {
    let (crlf, bare) = (
        message.answer.quirk("crlf"),
        message.answer.quirk("no_space"),
    );
    if !crlf && !bare {
        return acts;
    }
    // No line holds a raw line feed, and no line starts with `data: ` but those of data.
    let dress = move |bytes: &[u8]| {
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        if bare {
            text = text.replace("data: {", "data:{");
        }
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        text.into()
    };
    Box::new(acts.map(move |act| match act {
        Act::Send(bytes) => Act::Send(dress(&bytes)),
        Act::Say(bytes) => Act::Say(dress(&bytes)),
        other => other,
    }))
}

fn garbage() -> Vec<Act> {
    let mut acts: Vec<_> = [
        "data: {\"p\":\"response\n\n",
        "data: <!DOCTYPE html>\n\n",
        "\u{fffd}\u{0}not an event\n\n",
    ]
    .map(Act::send)
    .into();
    acts.push(Act::Done);
    acts
}

pub(super) fn ready(message: &Message) -> Act {
    let (request, response) = (message.request_id, message.response_id);
    let model = message.ask.model;
    Act::send(format!(
        "event: ready\ndata: {{\"request_message_id\":{request},\"response_message_id\":{response},\"model_type\":\"{model}\"}}\n\n"
    ))
}

pub(super) fn updated(at: usize) -> Act {
    // The two times of sample A.
    let time = ["1775278995.716773", "1775278998.1978939"];
    let time = time.get(at.saturating_sub(1)).unwrap_or(&time[0]);
    Act::send(format!(
        "event: update_session\ndata: {{\"updated_at\":{time}}}\n\n"
    ))
}

fn refused(message: &Message, name: &str, content: &str, reason: &str) -> Vec<Act> {
    let hint = event(name, &error(content, reason));
    vec![ready(message), updated(1), Act::Done, hint, close("retry")]
}

fn patches(message: &Message, from: usize, end: End) -> Vec<Act> {
    let mut patches = Patches::new(message);
    patches.acts.extend([ready(message), updated(1)]);
    let upto = end.upto(from, message.pieces());
    patches.tell(from, upto);
    patches.acts.push(Act::Done);
    patches.finish(end, upto);
    patches.acts
}
