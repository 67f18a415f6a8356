//! The generation without a stream: chats that grow while they are polled. Source: wire/minimax.md §3, §4, §6, §8.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    ask::{self, Ask},
    refusal::{self, Refusal},
    stream::End,
};
use crate::{
    Call, Control, Reply, Request,
    prompt::Answer,
    reply::{Act, Body},
};

/// In how many polls an answer without a pace is whole.
const POLLS: usize = 5;
/// How long a chat that nobody polls goes on running.
const ALONE: Duration = Duration::from_millis(1500);
/// Beyond 2^53, so that ids that were ever a float are found out (§3).
const FIRST_CHAT: u64 = 9_337_867_554_939_466;
const FIRST_MESSAGE: u64 = 9_337_867_385_770_195;
const TIME: u64 = 1_767_225_600_000;

/// The chats by id.
#[derive(Debug, Default)]
pub(super) struct Chats {
    by_id: HashMap<u64, Chat>,
    made: u64,
}

#[derive(Debug)]
struct Chat {
    account: usize,
    title: String,
    rounds: Vec<Round>,
}

#[derive(Debug)]
struct Round {
    message: u64,
    prompt: String,
    answer: Answer,
    end: End,
    started: Instant,
    polled: Instant,
    polls: usize,
    /// A recorded answer: one poll a line.
    recorded: Vec<String>,
}

impl Round {
    fn total(&self) -> usize {
        self.answer.reasoning.len() + self.answer.text.len()
    }

    /// How many pieces are there by now.
    fn visible(&self) -> usize {
        let total = self.total();
        let visible = if self.answer.pace.is_zero() {
            // The first poll sees the question alone, as in sample A.
            self.polls.saturating_sub(1) * total.div_ceil(POLLS).max(1)
        } else {
            let pieces = self.started.elapsed().as_millis() / self.answer.pace.as_millis().max(1);
            usize::try_from(pieces).unwrap_or(usize::MAX)
        };
        visible.min(total)
    }

    fn is_finished(&self) -> bool {
        match self.end {
            End::CutOff(_) => self.polled.elapsed() > ALONE,
            _ if !self.recorded.is_empty() => self.polls >= self.recorded.len(),
            _ => {
                (self.polls > 1 && self.visible() == self.total()) || self.polled.elapsed() > ALONE
            }
        }
    }
}

impl Chats {
    /// Whether the question may be asked where it wants to.
    pub(super) fn allow(&self, ask: &Ask, account: usize, call: &mut Call) -> Result<(), Refusal> {
        let Some(id) = ask.chat else {
            return Ok(());
        };
        call.conversation = Some(id.to_string());
        let Some(chat) = self.by_id.get(&id).filter(|chat| chat.account == account) else {
            call.violate("chat_id is of no chat of this account");
            return Err(refusal::malformed());
        };
        if chat.rounds.last().is_some_and(|round| !round.is_finished()) {
            return Err(refusal::running());
        }
        if !chat.rounds.is_empty() && ask::tells_a_history(&call.turns) {
            call.violate("the chat has heard all that was said in it already");
        }
        Ok(())
    }

    /// Begins to answer: `send_msg`.
    pub(super) fn begin(
        &mut self,
        ask: Ask,
        account: usize,
        mut answer: Answer,
        end: End,
        call: &mut Call,
        control: &Control,
    ) -> Reply {
        self.made += 2;
        let id = ask.chat.unwrap_or(FIRST_CHAT + self.made);
        let message = FIRST_MESSAGE + self.made;
        call.conversation = Some(id.to_string());
        if let Some(pieces) = end.pieces() {
            answer.text.truncate(pieces);
        }
        if end == End::Empty {
            answer.reasoning.clear();
        }
        let recorded = answer.raw.take();
        let recorded = recorded.map(|raw| raw.lines().map(str::to_owned).collect());
        let now = Instant::now();
        let round = Round {
            message,
            prompt: ask.prompt.clone(),
            answer,
            end,
            started: now,
            polled: now,
            polls: 0,
            recorded: recorded.unwrap_or_default(),
        };
        let chat = self.by_id.entry(id).or_insert_with(|| {
            control.created();
            Chat {
                account,
                title: ask.prompt.chars().take(20).collect(),
                rounds: Vec::new(),
            }
        });
        chat.rounds.push(round);
        refusal::success(json!({
            "chat_id": id, "msg_id": message, "agent_pod_ip": "172.18.131.237", "chat_language": 2,
        }))
    }

    /// `get_chat_detail`.
    pub(super) fn poll(
        &mut self,
        body: &Value,
        bytes: &[u8],
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let id = body.get("chat_id").and_then(Value::as_u64);
        let id = id.unwrap_or_default();
        call.conversation = Some(id.to_string());
        if bytes != format!(r#"{{"chat_id":{id},"size":500,"desc":true}}"#).as_bytes() {
            call.violate(
                "the body is not chat_id, size 500 and desc true, compact and in this order",
            );
            return Err(refusal::malformed());
        }
        let own = self.by_id.get_mut(&id);
        let Some(chat) = own.filter(|chat| chat.account == account) else {
            call.violate(format!(
                "{id} is no chat of this account, or deleted already"
            ));
            return Err(refusal::malformed());
        };
        let stalls = call.fault == Some("poll_stalls");
        let last = chat.rounds.len().saturating_sub(1);
        let mut messages = Vec::new();
        let mut finished = true;
        let mut oldest_first = false;
        let mut no_chat = false;
        for (at, round) in chat.rounds.iter_mut().enumerate() {
            if at == last && !stalls {
                round.polls += 1;
            }
            if at == last
                && let Some(line) = round.recorded.get(round.polls.saturating_sub(1))
            {
                round.polled = Instant::now();
                return Ok(torn(&round.answer, recorded(line)));
            }
            finished = round.is_finished() && !(at == last && stalls);
            oldest_first = round.answer.quirk("oldest_first");
            no_chat = round.answer.quirk("no_chat");
            let time = TIME + 10 * at as u64;
            messages.push(json!({
                "msg_id": round.message, "msg_type": 1, "msg_content": round.prompt, "timestamp": time,
            }));
            // Finished for want of polls, it is whole.
            let shown = if finished {
                round.total()
            } else {
                round.visible()
            };
            messages.extend(said(round, shown, finished, time));
            round.polled = Instant::now();
        }
        if !oldest_first {
            messages.reverse();
        }
        let status = if finished { 2 } else { 1 };
        let mut body = json!({"messages": messages});
        if !no_chat {
            body["chat"] = json!({"chat_id": id, "chat_status": status});
        }
        call.note("status", status);
        let reply = refusal::success(body);
        Ok(match chat.rounds.last() {
            Some(round) => torn(&round.answer, reply),
            None => reply,
        })
    }

    /// `delete_chat`.
    pub(super) fn delete(
        &mut self,
        body: &Value,
        bytes: &[u8],
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let id = body.get("chat_id").and_then(Value::as_u64);
        let id = id.unwrap_or_default();
        call.conversation = Some(id.to_string());
        if bytes != format!(r#"{{"chat_id":{id}}}"#).as_bytes() {
            call.violate("the body is not chat_id, a number, alone");
            return Err(refusal::malformed());
        }
        let own = self.by_id.get(&id).filter(|chat| chat.account == account);
        let Some(chat) = own else {
            call.violate(format!(
                "{id} is no chat of this account, or deleted already"
            ));
            return Err(refusal::malformed());
        };
        if chat.rounds.last().is_some_and(|round| !round.is_finished()) {
            // No violation: a client cannot know.
            return Err(refusal::running());
        }
        self.by_id.remove(&id);
        control.deleted();
        Ok(refusal::success(json!({})))
    }

    /// `create_chat`.
    pub(super) fn create(&mut self, account: usize, control: &Control) -> Reply {
        self.made += 2;
        let id = FIRST_CHAT + self.made;
        control.created();
        let chat = Chat {
            account,
            title: String::new(),
            rounds: Vec::new(),
        };
        self.by_id.insert(id, chat);
        refusal::success(json!({"chat_id": id}))
    }

    /// `list_chat`.
    pub(super) fn list(&self, account: usize) -> Reply {
        let own = self
            .by_id
            .iter()
            .filter(|(_, chat)| chat.account == account);
        let rows = own.map(|(id, chat)| {
            json!({"chat_id": id, "chat_title": chat.title, "chat_type": 2, "create_timestamp": TIME})
        });
        refusal::success(json!({"chats": rows.collect::<Vec<_>>()}))
    }
}

/// A poll's answer in the writes that were ordered.
fn torn(answer: &Answer, reply: Reply) -> Reply {
    match reply.body {
        Body::Whole(bytes) if answer.is_torn() && reply.status == 200 => {
            let acts = [Act::Send(bytes), Act::Done].into_iter();
            Reply::stream("application/json", answer.travel(Box::new(acts)))
        }
        _ => reply,
    }
}

/// A line of a recorded answer: a body, or a status and a body.
fn recorded(line: &str) -> Reply {
    let status = line
        .split_once(' ')
        .and_then(|(status, body)| Some((status.parse::<u16>().ok()?, body)));
    let (status, body) = status.unwrap_or((200, line));
    Reply::new(status, "application/json", body.to_owned())
}

/// The agent's messages with the first pieces of an answer.
fn said(round: &Round, visible: usize, finished: bool, time: u64) -> Vec<Value> {
    let answer = &round.answer;
    let message = |number: u64, text: &str, thoughts: &str, tool: Value| {
        json!({
            "msg_id": round.message + 10 + number, "msg_type": 2, "msg_content": text, "timestamp": time + number,
            "extra_info": {"thinking_content": thoughts}, "tool_call": tool,
        })
    };
    if visible == 0 && !finished {
        return Vec::new();
    }
    let thinking = visible.min(answer.reasoning.len());
    let mut text = visible - thinking;
    let thoughts = answer
        .reasoning
        .get(..thinking)
        .unwrap_or_default()
        .concat();
    let mut messages = vec![message(1, "", "", json!({"tool_call_name": "web_search"}))];
    let half = match answer.quirk("two_messages") {
        true => answer.text.len() / 2,
        false => answer.text.len(),
    };
    let mut halves = answer.text.split_at(half);
    if halves.0.is_empty() {
        halves = (halves.1, &[]);
    }
    for (number, pieces) in [(2, halves.0), (3, halves.1)] {
        if number == 3 && (pieces.is_empty() || text == 0) {
            break;
        }
        let shown = text.min(pieces.len());
        text -= shown;
        let mut said = pieces.get(..shown).unwrap_or_default().concat();
        let next = pieces.get(shown);
        if !finished {
            // A character cut in half by the service (§6).
            let half = next.is_some_and(|next| !next.starts_with(|first: char| first.is_ascii()));
            if half && shown > 0 && !answer.quirk("clean") {
                said.push('\u{fffd}');
            }
            if answer.quirk("rewritten") && next.is_some() && shown > 1 {
                let tail: String = said.chars().skip(1).collect();
                said = format!("？{tail}");
            }
        }
        let thoughts = if number == 2 { thoughts.as_str() } else { "" };
        messages.push(message(number, &said, thoughts, Value::Null));
    }
    messages
}

/// `POST /matrix/api/v1/commerce/get_membership_info`, for all generations.
pub(super) fn membership(request: &Request, call: &mut Call) -> Reply {
    if request.body != b"{}".as_slice() {
        call.violate("the body is not {}");
    }
    refusal::success(json!({
        "plan_name": "free", "total_remains_credit": 1200, "op_credit_summary": {"total_remaining_amount": "1200"},
    }))
}
