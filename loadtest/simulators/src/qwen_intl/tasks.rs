//! Videos: tasks that take a few looks. Source: wire/qwen_intl.md §4.6, §7.5.

use std::collections::HashMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::{self, Refusal};
use crate::{Call, Reply};

/// Looks before a video is there, unless the prompt says `looks:N`.
const LOOKS: u32 = 2;
/// Videos of one account in a day.
const A_DAY: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Tasks {
    by_id: HashMap<String, Task>,
    /// Of each account, since the start or the last reset.
    made: HashMap<usize, u32>,
}

#[derive(Debug)]
struct Task {
    account: usize,
    kind: String,
    looks_left: u32,
    failed: Option<&'static str>,
}

impl Tasks {
    /// A new task; at most three a day and account.
    pub(super) fn begin(
        &mut self,
        account: usize,
        kind: &str,
        prompt: &str,
    ) -> Result<String, Refusal> {
        let made = self.made.entry(account).or_default();
        if *made >= A_DAY {
            return Err(refusal::spent(5));
        }
        *made += 1;
        let looks = prompt.split_once("looks:").and_then(|(_, rest)| {
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        });
        let id = Uuid::new_v4().to_string();
        let task = Task {
            account,
            kind: kind.to_owned(),
            looks_left: looks.unwrap_or(LOOKS),
            failed: None,
        };
        self.by_id.insert(id.clone(), task);
        Ok(id)
    }

    /// One look, by the newer call or the older one. `true`: the task is over.
    pub(super) fn look(
        &mut self,
        id: &str,
        account: usize,
        is_newer: bool,
        fault: Option<&str>,
        call: &mut Call,
    ) -> Result<(Reply, bool), Refusal> {
        let own = self.by_id.get_mut(id);
        let Some(task) = own.filter(|task| task.account == account) else {
            call.violate("there is no such task of this account");
            return Err(refusal::not_found());
        };
        match fault {
            Some("task_failed") => task.failed = Some("The server failed to make the video"),
            Some("task_moderated") => task.failed = Some("Input may contain inappropriate content"),
            _ => {}
        }
        let (status, message, left, content) = match task.failed {
            Some(message) => ("failed", message, String::new(), String::new()),
            None if task.looks_left > 0 => {
                let left = (task.looks_left * 30).to_string();
                task.looks_left -= 1;
                ("running", "", left, String::new())
            }
            None => ("success", "", String::new(), video(id)),
        };
        let data = json!({"chat_type": task.kind, "task_status": status, "message": message, "remaining_time": left, "content": content});
        let reply = if is_newer {
            refusal::success(&data)
        } else {
            Reply::json(200, &data)
        };
        Ok((reply, status != "running"))
    }
}

/// The answer to a question for a video (§7.5).
pub(super) fn submitted(chat: &str, message: &str, kind: &str, extra: &Value) -> Reply {
    refusal::success(&json!({
        "chat_id": chat, "parent_id": "", "message_id": message, "chat_type": kind,
        "messages": [{"role": "assistant", "content": "", "chat_type": kind, "extra": extra}],
    }))
}

fn video(task: &str) -> String {
    format!("https://cdn.qwenlm.ai/output/sim/t2v/{task}.mp4?key=sim-key-{task}")
}
