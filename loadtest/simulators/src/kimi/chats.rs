//! The chats of the accounts. Source: wire/kimi.md §3, §8.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{
    ask::Ask,
    refusal::{self, Error, INVALID, NOT_FOUND, Refusal},
};
use crate::{Call, Control, Reply};

#[derive(Debug, Default)]
pub(super) struct Chats {
    by_id: HashMap<String, Chat>,
    /// Grows with every id: none is given twice.
    count: u64,
}

#[derive(Debug)]
struct Chat {
    account: usize,
    rounds: Vec<Round>,
}

#[derive(Debug)]
struct Round {
    question: (String, String),
    answer: (String, String),
}

/// The ids of one question and its answer.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) chat: String,
    pub(super) user: String,
    pub(super) assistant: String,
}

const TIME: &str = "2026-01-01T00:00:00Z";

impl Chats {
    /// Whether the question may go on where it wants to.
    pub(super) fn allow(&self, ask: &Ask, account: usize, call: &mut Call) -> Result<(), Error> {
        let Some((chat, parent)) = &ask.goes_on else {
            return Ok(());
        };
        call.conversation = Some(chat.clone());
        let Some(chat) = self.by_id.get(chat).filter(|own| own.account == account) else {
            call.violate("chat_id is no chat of this account, or deleted already");
            return Err(NOT_FOUND);
        };
        let right = match chat.rounds.last() {
            Some(last) => last.answer.0 == *parent,
            // Opened by itself: the client makes the first parent up, 20 characters too (§3).
            None => parent.len() == 20,
        };
        if !right {
            call.violate("parent_id is not the id of the chat's last answer");
            return Err(INVALID);
        }
        Ok(())
    }

    /// `POST /api/chat`: a chat before its first question.
    pub(super) fn open(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        if *body != json!({"name": " "}) {
            call.violate("the body is not a name of one space");
            return Err(refusal::rest(400, "chat.invalid", "bad request"));
        }
        self.count += 1;
        let id = format!("sim{:017}", self.count);
        control.created();
        let chat = Chat {
            account,
            rounds: Vec::new(),
        };
        self.by_id.insert(id.clone(), chat);
        call.conversation = Some(id.clone());
        Ok(refusal::success(&json!({"id": id})))
    }

    /// Writes the round down, in a new chat unless the question goes on.
    pub(super) fn begin(
        &mut self,
        ask: &Ask,
        account: usize,
        answer: String,
        control: &Control,
    ) -> Ids {
        let mut id = || {
            self.count += 1;
            format!("19c00000-0000-8000-8000-{:012x}", self.count)
        };
        let chat = ask.goes_on.as_ref().map(|(chat, _)| chat.clone());
        let ids = Ids {
            chat: chat.unwrap_or_else(&mut id),
            user: id(),
            assistant: id(),
        };
        let chat = self.by_id.entry(ids.chat.clone()).or_insert_with(|| {
            control.created();
            Chat {
                account,
                rounds: Vec::new(),
            }
        });
        chat.rounds.push(Round {
            question: (ids.user.clone(), ask.prompt.clone()),
            answer: (ids.assistant.clone(), answer),
        });
        ids
    }

    /// `DeleteChat` and `BatchDeleteChats`.
    pub(super) fn delete(
        &mut self,
        ids: &[Value],
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        for id in ids {
            let id = id.as_str().unwrap_or_default();
            call.conversation = Some(id.to_owned());
            let own = self.by_id.get(id).is_some_and(|own| own.account == account);
            if !own {
                call.violate(format!(
                    "{id:?} is no chat of this account, or deleted already"
                ));
                return Err(NOT_FOUND.plain());
            }
            self.by_id.remove(id);
            control.deleted();
        }
        Ok(refusal::success(&json!({})))
    }

    /// `ListChats`.
    pub(super) fn list(&self, account: usize) -> Reply {
        let own = self.by_id.iter().filter(|(_, own)| own.account == account);
        let row = |(id, chat): (&String, &Chat)| {
            let content = chat.rounds.last().map(|round| round.question.1.clone());
            json!({"id": id, "name": "未命名会话", "messageContent": content, "createTime": TIME, "updateTime": TIME})
        };
        let rows: Vec<_> = own.map(row).collect();
        refusal::success(&json!({"chats": rows, "nextPageToken": ""}))
    }

    /// `ListMessages`, newest first.
    pub(super) fn messages(
        &self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let id = body.get("chat_id").and_then(Value::as_str);
        let id = id.unwrap_or_default();
        call.conversation = Some(id.to_owned());
        let Some(chat) = self.by_id.get(id).filter(|own| own.account == account) else {
            call.violate(format!("{id:?} is no chat of this account"));
            return Err(NOT_FOUND.plain());
        };
        let row = |(id, text): &(String, String), role: &str| {
            json!({
                "id": id, "role": role, "status": "MESSAGE_STATUS_COMPLETED", "createTime": TIME,
                "blocks": [{"id": "text_0_0", "text": {"content": text}}],
            })
        };
        let rounds = chat.rounds.iter().rev();
        let rows: Vec<_> = rounds
            .flat_map(|round| {
                [
                    row(&round.answer, "assistant"),
                    row(&round.question, "user"),
                ]
            })
            .collect();
        Ok(refusal::success(&json!({"messages": rows})))
    }
}
