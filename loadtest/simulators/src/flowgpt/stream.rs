//! The answers: lines of JSON. Source: wire/flowgpt.md §6.

use serde_json::json;

use crate::{
    prompt::Answer,
    reply::{Act, Acts},
};

/// Oddities of the stream that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "crlf",        // lines end in CRLF
    "no_end",      // the last line has no end
    "no_event",    // lines with data alone
    "no_preamble", // of a prompt that has one
    "preamble",    // of a prompt that has none
    "unknown",     // events that mean nothing, whatever their data is
    "unreadable",  // a line that is no JSON
];

/// How the answer ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    Finished,
    /// These lines, after so many pieces, and nothing more.
    Lines(usize, Vec<String>),
}

/// Sample B's, which is made up but for its end; cut within the separator, and with the white space in two lines.
const PREAMBLE: [&str; 3] = ["**Question understood**\n\n**Resp", "onse:** ", "\n "];
/// A text that has no preamble is known for one when it is longer.
const MOST_HELD: usize = 161;

pub(super) fn acts(answer: &Answer, has_preamble: bool, end: &End) -> Acts {
    let line_end = if answer.quirk("crlf") { "\r\n" } else { "\n" };
    let line = |line: &str| format!("{line}{line_end}");
    let text = |piece: &str| match answer.quirk("no_event") {
        true => json!({"data": piece}).to_string(),
        false => json!({"event": "text", "data": piece}).to_string(),
    };
    let has_preamble = (has_preamble || answer.quirk("preamble")) && !answer.quirk("no_preamble");
    let (most, last) = match end {
        End::Finished => (usize::MAX, &Vec::new()),
        End::Lines(most, last) => (*most, last),
    };
    let mut acts = Vec::new();
    if most > 0 {
        let metadata = json!({"event": "metadata", "data": {"messageId": "m1"}});
        acts.push(Act::send(line(&metadata.to_string())));
        if answer.quirk("unknown") {
            acts.push(Act::send(line(
                r#"{"event":"title","data":"none of yours"}"#,
            )));
            acts.push(Act::send(line(r#"{"event":"done","data":null}"#)));
        }
        if has_preamble {
            acts.extend(PREAMBLE.iter().map(|piece| Act::send(line(&text(piece)))));
        }
    }
    let mut chars = 0;
    for (at, piece) in answer.text.iter().take(most).enumerate() {
        if at == 1 && answer.quirk("unreadable") {
            acts.push(Act::send(line("{\"event\":\"te")));
        }
        let mut whole = line(&text(piece));
        // A blank line here and there.
        if at % 7 == 3 {
            whole.push_str(line_end);
        }
        chars += piece.chars().count();
        // Until then nobody can know that it is no preamble, so nobody has seen anything of it.
        let is_seen = has_preamble || chars > MOST_HELD;
        acts.push(if is_seen {
            Act::say(whole)
        } else {
            Act::send(whole)
        });
    }
    if answer.quirk("no_end") && last.is_empty() {
        without_end(&mut acts);
    }
    let pace = answer.pace;
    let paced = acts
        .into_iter()
        .flat_map(move |act| Answer::paced(pace, act));
    let closing: Vec<Act> = last.iter().map(|it| Act::send(line(it))).collect();
    Box::new(paced.chain([Act::Done]).chain(closing))
}

fn without_end(acts: &mut [Act]) {
    if let Some(Act::Send(bytes) | Act::Say(bytes)) = acts.last_mut() {
        *bytes = bytes.slice_ref(bytes.trim_ascii_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(text: &[&str], has_preamble: bool) -> String {
        let mut answer = Answer::saying("");
        answer.text = text.iter().map(|piece| (*piece).to_owned()).collect();
        let bytes = acts(&answer, has_preamble, &End::Finished).filter_map(|act| match act {
            Act::Send(bytes) | Act::Say(bytes) => Some(bytes),
            _ => None,
        });
        let bytes: Vec<u8> = bytes.flatten().collect();
        String::from_utf8(bytes).unwrap()
    }

    /// Sample B, but for where the white space ends.
    #[test]
    fn a_preamble_is_as_in_the_sample() {
        let sample = concat!(
            "{\"event\":\"metadata\",\"data\":{\"messageId\":\"m1\"}}\n",
            "{\"event\":\"text\",\"data\":\"**Question understood**\\n\\n**Resp\"}\n",
            "{\"event\":\"text\",\"data\":\"onse:** \"}\n",
            "{\"event\":\"text\",\"data\":\"\\n \"}\n",
            "{\"event\":\"text\",\"data\":\"Par\"}\n",
            "{\"event\":\"text\",\"data\":\"is.\"}\n",
        );
        // Members in the order of the alphabet: JSON does not mind.
        let lines = |text: &str| -> Vec<serde_json::Value> {
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        };
        assert_eq!(lines(&played(&["Par", "is."], true)), lines(sample));
    }
}
