//! The events of a run: everything so far, again and again. Source: wire/langfast.md §6.

use serde_json::{Value, json};

use crate::{
    prompt::Answer,
    reply::{Act, Acts},
};

/// Oddities of the events that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "clean",             // no events of other executions
    "done_status",       // the last chunk says `done` instead of `completed`
    "finished_only",     // no last chunk, only `completion_finished`
    "finished_nameless", // `completion_finished` names no execution
    "late_answer",       // the run's own answer comes 150 ms after the first event
    "length",            // the run ends for its length
    "missing_content",   // a chunk without content in the middle
    "no_finished",       // no `completion_finished`
    "no_jobs",           // the run's answer lists no jobs
    "odd_statuses",      // statuses that nobody lists
    "ok_answer",         // the run's answer is `{"ok":true}`, and no event names an execution
    "rewrite",           // one chunk in the middle says something else
    "shorter",           // one chunk in the middle is shorter than the one before
    "strings",           // every other payload is a string that holds JSON
    "unknown_events",    // events of other names
];

/// Why a run stops before its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stop {
    /// Code and message.
    Failed(&'static str, &'static str),
    FailedString(&'static str),
    FailedStatus,
    Filtered,
    Empty,
    Garbage,
    Disconnect,
}

/// Stands for a `41` of the server.
pub(super) const DISCONNECT: &[u8] = b"41";

const CHUNK: &str = "execution:chunk";
const FINISHED: &str = "completion_finished";

/// The events of the run `job`, each as `["name",payload]`.
pub(super) fn acts(answer: &Answer, job: &str, other: &str, stop: Option<(usize, Stop)>) -> Acts {
    if let Some(raw) = &answer.raw {
        let lines = raw.lines().filter_map(|line| line.strip_prefix("42"));
        let events: Vec<_> = lines.map(Act::say).chain([Act::Done]).collect();
        return Box::new(events.into_iter());
    }
    let mut run = Run {
        answer: answer.clone(),
        job: job.to_owned(),
        other: other.to_owned(),
        acts: Vec::new(),
        chunks: 0,
    };
    run.tell(stop.map_or(usize::MAX, |(pieces, _)| pieces));
    run.acts.push(Act::Done);
    match stop {
        None => run.finish("stop"),
        Some((_, stop)) => run.stop(stop),
    }
    if answer.quirk("ok_answer") {
        return Box::new(run.acts.into_iter().map(move |act| nameless(act, &run.job)));
    }
    Box::new(run.acts.into_iter())
}

/// An event without the id of its execution.
fn nameless(act: Act, job: &str) -> Act {
    let member = format!(r#""executionId":"{job}""#);
    let strip = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.replace(&format!("{member},"), "").replace(&member, "")
    };
    match act {
        Act::Send(bytes) => Act::send(strip(&bytes)),
        Act::Say(bytes) => Act::say(strip(&bytes)),
        other => other,
    }
}

struct Run {
    answer: Answer,
    job: String,
    /// An execution that is not ours.
    other: String,
    acts: Vec<Act>,
    chunks: usize,
}

fn event(name: &str, payload: &str) -> String {
    format!(r#"["{name}",{payload}]"#)
}

/// The member order is that of sample A.
fn chunk(job: &str, status: &str, finish_reason: Option<&str>, content: &str) -> String {
    let (reason, content) = (json!(finish_reason), json!(content));
    format!(
        r#"{{"executionId":"{job}","status":"{status}","finish_reason":{reason},"content":{content}}}"#
    )
}

impl Run {
    fn quirk(&self, name: &str) -> bool {
        self.answer.quirk(name)
    }

    fn is_alone(&self) -> bool {
        // Without jobs every event counts as ours.
        self.quirk("clean") || self.quirk("no_jobs") || self.quirk("ok_answer")
    }

    fn send(&mut self, name: &str, payload: &str) {
        self.acts.push(Act::send(event(name, payload)));
    }

    fn say(&mut self, status: &str, content: &str) {
        let mut payload = chunk(&self.job, status, None, content);
        self.chunks += 1;
        if self.quirk("strings") && self.chunks.is_multiple_of(2) {
            payload = Value::from(payload).to_string();
        }
        let act = Act::say(event(CHUNK, &payload));
        let pace = self.answer.pace;
        self.acts.extend(Answer::paced(pace, act));
    }

    fn tell(&mut self, pieces: usize) {
        let mut so_far = String::new();
        let text = self.answer.text.clone();
        for (at, piece) in text.iter().take(pieces).enumerate() {
            let middle = at > 0 && at == text.len() / 2;
            if at == 0 || middle {
                self.others(middle);
            }
            if middle {
                self.odd(&so_far);
            }
            so_far.push_str(piece);
            let status = if self.quirk("odd_statuses") && at % 2 == 0 {
                "sim_thinking"
            } else {
                "in_progress"
            };
            self.say(status, &so_far);
        }
    }

    /// Another run of the same user, seen on the same socket (sample B).
    fn others(&mut self, is_over: bool) {
        if self.is_alone() {
            return;
        }
        let other = self.other.clone();
        if is_over {
            let done = chunk(&other, "completed", Some("stop"), "not ours at all");
            self.send(CHUNK, &done);
            let finished = json!({"executionId": other}).to_string();
            self.send(FINISHED, &finished);
        } else {
            self.send(CHUNK, &chunk(&other, "in_progress", None, "not ours"));
        }
    }

    fn odd(&mut self, so_far: &str) {
        if self.quirk("shorter") {
            let mut shorter = so_far.to_owned();
            shorter.pop();
            self.say("in_progress", &shorter);
        }
        if self.quirk("rewrite") {
            let tail: String = so_far.chars().skip(1).collect();
            self.say("in_progress", &format!("？{tail}"));
        }
        if self.quirk("missing_content") {
            let payload = json!({"executionId": self.job, "status": "in_progress"});
            self.send(CHUNK, &payload.to_string());
        }
        if self.quirk("unknown_events") {
            let payload = json!({"executionId": self.job, "content": "not a chunk"});
            self.send("execution:progress", &payload.to_string());
        }
    }

    fn finish(&mut self, reason: &str) {
        let reason = if self.quirk("length") {
            "length"
        } else {
            reason
        };
        let status = if self.quirk("done_status") {
            "done"
        } else {
            "completed"
        };
        let text = self.answer.text.concat();
        if !self.quirk("finished_only") {
            self.send(CHUNK, &chunk(&self.job, status, Some(reason), &text));
        }
        if !self.quirk("no_finished") || self.quirk("finished_only") {
            let payload = if self.quirk("finished_nameless") {
                json!({})
            } else {
                json!({"executionId": self.job})
            };
            self.send(FINISHED, &payload.to_string());
        }
    }

    fn stop(&mut self, stop: Stop) {
        let failed = |error: Value| {
            let payload =
                json!({"executionId": self.job, "status": "failed", "error": error, "content": ""});
            payload.to_string()
        };
        let payload = match stop {
            Stop::Failed(code, message) => failed(json!({"message": message, "code": code})),
            Stop::FailedString(message) => {
                json!({"executionId": self.job, "status": "in_progress", "error": message})
                    .to_string()
            }
            Stop::FailedStatus => {
                json!({"executionId": self.job, "status": "error", "finish_reason": null})
                    .to_string()
            }
            Stop::Filtered => {
                let told = self.chunks.min(self.answer.text.len());
                self.answer.text.truncate(told);
                return self.finish("content_filter");
            }
            Stop::Empty => {
                self.answer.text.clear();
                return self.finish("stop");
            }
            Stop::Garbage => {
                self.acts
                    .extend(["17", "null", "true"].map(|odd| Act::send(event(CHUNK, odd))));
                return;
            }
            Stop::Disconnect => return self.acts.push(Act::Send(DISCONNECT.into())),
        };
        self.send(CHUNK, &payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&str], stop: Option<(usize, Stop)>) -> Vec<String> {
        let mut answer = Answer::default();
        answer.text = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        let text = |act| match act {
            Act::Send(bytes) | Act::Say(bytes) => String::from_utf8(bytes.to_vec()).ok(),
            _ => None,
        };
        acts(&answer, "job-A", "job-B", stop)
            .filter_map(text)
            .collect()
    }

    #[test]
    fn content_is_cumulative_and_others_are_mixed_in() {
        let events = events(&["Hel", "lo, ", "世界👋"], None);
        assert_eq!(
            events[1],
            r#"["execution:chunk",{"executionId":"job-A","status":"in_progress","finish_reason":null,"content":"Hel"}]"#
        );
        assert!(events[0].contains("job-B") && events[2].contains("not ours at all"));
        assert_eq!(
            events.last().unwrap(),
            r#"["completion_finished",{"executionId":"job-A"}]"#
        );
    }

    #[test]
    fn a_filtered_run_ends_with_what_was_said() {
        let events = events(&["a", "b", "c", "d"], Some((2, Stop::Filtered)));
        let last = &events[events.len() - 2];
        assert!(
            last.contains(r#""finish_reason":"content_filter","content":"ab""#),
            "{last}"
        );
    }
}
