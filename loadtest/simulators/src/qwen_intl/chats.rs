//! The chats of the accounts, and which of them are at work. Source: wire/qwen_intl.md §3, §4.2, §7.4, §9.

use std::collections::HashMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ask::{Ask, KINDS},
    refusal::{self, Refusal},
};
use crate::{Call, Control, Reply, fields::exactly};

/// A model that the service does not have.
const NO_MODEL: &str = "qwen-nowhere";

/// Chats by id.
#[derive(Debug, Default)]
pub(super) struct Chats(HashMap<String, Chat>);

#[derive(Debug)]
struct Chat {
    account: usize,
    model: String,
    kind: String,
    /// The answer that it is at work on, or that nobody has stopped.
    busy: Option<String>,
    /// A video's task that is not known to be over.
    task: Option<String>,
    messages: Vec<Value>,
}

impl Chats {
    /// `POST /api/v2/chats/new` (§4.2).
    pub(super) fn create(
        &mut self,
        body: &Value,
        account: usize,
        now_ms: u64,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let (model, kind) = read(body, now_ms, call).map_err(|what| {
            call.violate(what);
            refusal::internal()
        })?;
        call.model = Some(model.clone());
        call.note("kind", kind.clone());
        let id = Uuid::new_v4().to_string();
        call.conversation = Some(id.clone());
        control.created();
        let chat = Chat {
            account,
            model,
            kind,
            busy: None,
            task: None,
            messages: Vec::new(),
        };
        self.0.insert(id.clone(), chat);
        Ok(refusal::success(&json!({"id": id})))
    }

    fn own(&mut self, id: &str, account: usize) -> Option<&mut Chat> {
        self.0.get_mut(id).filter(|chat| chat.account == account)
    }

    /// Whether the question may be asked here.
    pub(super) fn allow(
        &mut self,
        ask: &Ask,
        account: usize,
        call: &mut Call,
    ) -> Result<(), Refusal> {
        let Some(chat) = self.own(&ask.chat, account) else {
            call.violate("chat_id is no chat of this account");
            return Err(refusal::no_chat());
        };
        if chat.kind != ask.kind || chat.model != ask.model {
            call.violate("the chat was made for another kind or model");
        }
        if chat.busy.is_some() {
            call.violate("the chat is at work");
            return Err(refusal::busy());
        }
        // §4.3: null in a new chat, else the previous response's id.
        let last = chat.messages.last().and_then(|it| it.get("id")?.as_str());
        if ask.parent.as_deref() != last {
            call.violate("parent_id is not the id of the chat's last answer");
            return Err(refusal::refused(400, "Bad_Request", "parent_id"));
        }
        if ask.model == NO_MODEL {
            return Err(refusal::no_model());
        }
        Ok(())
    }

    /// The chat is at work on this answer.
    pub(super) fn begin(&mut self, id: &str, response: &str) {
        if let Some(chat) = self.0.get_mut(id) {
            chat.busy = Some(response.to_owned());
        }
    }

    /// The answer is complete: this is what the chat has of it.
    pub(super) fn end(&mut self, id: &str, response: &str, content: &str, extra: &Value) {
        let Some(chat) = self.0.get_mut(id) else {
            return;
        };
        if chat.busy.as_deref() == Some(response) {
            chat.busy = None;
        }
        chat.messages.push(
            json!({"id": response, "role": "assistant", "content": content, "chat_type": chat.kind, "extra": extra}),
        );
    }

    /// The chat waits for this task.
    pub(super) fn films(&mut self, id: &str, task: &str) {
        if let Some(chat) = self.0.get_mut(id) {
            chat.task = Some(task.to_owned());
        }
    }

    /// The task was told to be over.
    pub(super) fn filmed(&mut self, task: &str) {
        for chat in self.0.values_mut() {
            if chat.task.as_deref() == Some(task) {
                chat.task = None;
            }
        }
    }

    /// `POST …/completions/stop` (§9).
    pub(super) fn stop(
        &mut self,
        body: &Value,
        id: &str,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        call.conversation = Some(id.to_owned());
        let response = body.get("response_id").and_then(Value::as_str);
        if body.get("chat_id").and_then(Value::as_str) != Some(id) || response.is_none() {
            call.violate("the body is not chat_id, as in the query, and response_id");
            return Err(refusal::internal());
        }
        let response = response.unwrap_or_default();
        let Some(chat) = self.own(id, account) else {
            call.violate("chat_id is no chat of this account");
            return Err(refusal::no_chat());
        };
        // Empty: the client has left before the first event.
        if !response.is_empty() && chat.busy.as_deref().is_some_and(|busy| busy != response) {
            call.violate("response_id is not that of the answer");
        }
        chat.busy = None;
        Ok(refusal::success(&json!({"status": true})))
    }

    /// `GET /api/v2/chats/ID` (§7.4).
    pub(super) fn detail(
        &mut self,
        id: &str,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        call.conversation = Some(id.to_owned());
        let Some(chat) = self.own(id, account) else {
            return Err(refusal::no_chat());
        };
        let history: serde_json::Map<String, Value> = chat
            .messages
            .iter()
            .map(|message| {
                let id = message.get("id").and_then(Value::as_str);
                (id.unwrap_or_default().to_owned(), message.clone())
            })
            .collect();
        Ok(refusal::success(
            &json!({"id": id, "chat": {"history": {"messages": history}, "messages": chat.messages}}),
        ))
    }

    /// `GET /api/v2/chats/?page=1`.
    pub(super) fn list(&self, account: usize) -> Reply {
        let own = self.0.iter().filter(|(_, chat)| chat.account == account);
        let rows: Vec<Value> = own
            .map(|(id, chat)| {
                json!({"id": id, "title": "New Chat", "updated_at": 0, "created_at": 0, "chat_type": chat.kind})
            })
            .collect();
        refusal::success(&json!(rows))
    }

    /// `DELETE /api/v2/chats/ID` (§9).
    pub(super) fn delete(
        &mut self,
        id: &str,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        call.conversation = Some(id.to_owned());
        let Some(chat) = self.own(id, account) else {
            call.violate(format!(
                "{id:?} is no chat of this account, or deleted already"
            ));
            return Err(refusal::no_chat());
        };
        if chat.busy.is_some() {
            call.violate("the chat is at work, and nobody has stopped it");
            return Err(refusal::busy());
        }
        if chat.task.is_some() {
            call.violate("the chat's video is not over");
        }
        self.0.remove(id);
        control.deleted();
        Ok(refusal::success(&json!({"status": true})))
    }

    /// The chat is lost, as `CHAT_NOT_FOUND` says.
    pub(super) fn lose(&mut self, id: &str, control: &Control) {
        if self.0.remove(id).is_some() {
            control.deleted();
        }
    }
}

fn read(body: &Value, now_ms: u64, call: &mut Call) -> Result<(String, String), String> {
    let body = body.as_object().ok_or("the body is no JSON object")?;
    let kind = body.get("chat_type").and_then(Value::as_str);
    let kind = kind
        .filter(|kind| KINDS.contains(kind))
        .ok_or("chat_type is missing or unknown")?;
    let models = body.get("models").and_then(Value::as_array);
    let model = match models.map(Vec::as_slice) {
        Some([Value::String(model)]) if !model.is_empty() => model,
        _ => return Err("models is not one model".to_owned()),
    };
    let sent = body.get("timestamp").and_then(Value::as_u64);
    let sent = sent.ok_or("timestamp is missing or no number")?;
    if sent.abs_diff(now_ms) > 60_000 {
        return Err(format!("timestamp {sent} is not now, in milliseconds"));
    }
    exactly(
        body,
        "the body",
        json!({"title": "New Chat", "models": [model], "chat_mode": "normal", "chat_type": kind, "timestamp": sent, "project_id": ""}),
        call,
    )?;
    Ok((model.clone(), kind.to_owned()))
}
