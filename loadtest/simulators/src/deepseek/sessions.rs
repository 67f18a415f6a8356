//! The conversations of the accounts. Source: wire/deepseek.md §3, §7, §8.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ask::Ask,
    message::{Kind, Message},
    refusal::{self, Refusal},
};
use crate::{Call, Control, Reply};

/// Sessions a page.
const PAGE: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: HashMap<String, Session>,
    /// Grows with every session: the order in which they were opened.
    count: u32,
}

#[derive(Debug)]
struct Session {
    account: usize,
    number: u32,
    rounds: Vec<Arc<Message>>,
}

impl Sessions {
    /// `POST /api/v0/chat_session/create`.
    pub(super) fn create(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let known = [
            json!({}),
            json!({"character_id": null}),
            json!({"agent": "chat"}),
        ];
        if !known.contains(body) {
            call.violate("the body is none of those that open a session");
            return Err(refusal::missing("character_id"));
        }
        let id = Uuid::new_v4().to_string();
        call.conversation = Some(id.clone());
        control.created();
        self.count += 1;
        let session = Session {
            account,
            number: self.count,
            rounds: Vec::new(),
        };
        self.by_id.insert(id.clone(), session);
        let row = json!({
            "id": id, "seq_id": 1, "agent": "chat", "character_id": null, "title": null, "title_type": "SYSTEM", "version": 0,
            "current_message_id": null, "inserted_at": 1_775_278_990.5, "updated_at": 1_775_278_990.5,
        });
        let data = if call.fault == Some("create_older_form") {
            row
        } else {
            json!({"chat_session": row, "ttl_seconds": 259_200})
        };
        Ok(refusal::success(&data))
    }

    fn own(&self, id: &str, account: usize, call: &mut Call) -> Result<&Session, Refusal> {
        call.conversation = Some(id.to_owned());
        let session = self.by_id.get(id).filter(|own| own.account == account);
        session.ok_or_else(|| {
            call.violate(format!(
                "{id:?} is no session of this account, or deleted already"
            ));
            refusal::illegal_session()
        })
    }

    /// `POST /api/v0/chat_session/delete`.
    pub(super) fn delete(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let id = session_id(body, call)?;
        let session = self.own(id, account, call)?;
        if session.rounds.iter().any(|round| round.is_running()) {
            call.violate("the session is deleted while it answers, which ends the stream");
        }
        self.by_id.remove(id);
        control.deleted();
        Ok(refusal::success(&Value::Null))
    }

    /// Whether the question may be asked where it wants to; the id that it gets.
    pub(super) fn allow(&self, ask: &Ask, account: usize, call: &mut Call) -> Result<u64, Refusal> {
        let session = self.own(&ask.session, account, call)?;
        let last = session.rounds.last();
        if last.is_some_and(|last| last.is_running()) {
            call.violate("the session is asked while it still answers");
            return Err(refusal::biz(26, "invalid message id"));
        }
        if ask.parent != last.map(|last| last.response_id) {
            call.violate("parent_message_id is not the id of the session's last answer");
            return Err(refusal::biz(26, "invalid message id"));
        }
        Ok(ask.parent.unwrap_or_default() + 1)
    }

    pub(super) fn begin(&mut self, message: &Arc<Message>) {
        if let Some(session) = self.by_id.get_mut(&message.ask.session) {
            session.rounds.push(Arc::clone(message));
        }
    }

    /// The answer that a `continue` or `stop_stream` names.
    pub(super) fn named(
        &self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Arc<Message>, Refusal> {
        let session = self.own(session_id(body, call)?, account, call)?;
        let id = body.get("message_id").and_then(Value::as_u64);
        let Some(id) = id else {
            call.violate("message_id is missing or no number");
            return Err(refusal::missing("message_id"));
        };
        let message = session.rounds.iter().find(|round| round.response_id == id);
        message.cloned().ok_or_else(|| {
            call.violate(format!("message_id {id} is no answer of the session"));
            refusal::biz(26, "invalid message id")
        })
    }

    /// `GET /api/v0/chat_session/fetch_page`: 100 a page, the newest first; the cursor is the time of the last one.
    pub(super) fn page(
        &self,
        query: &str,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let value = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .into_iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        let cursor = value("lte_cursor.updated_at").map(str::parse::<f64>);
        let (Some("false"), None | Some(Ok(_))) = (value("lte_cursor.pinned"), &cursor) else {
            call.violate("the query is no cursor over sessions");
            return Err(refusal::biz(2, "INVALID_PARAM"));
        };
        let cursor = cursor.and_then(Result::ok).unwrap_or(f64::INFINITY);
        let updated_at = |session: &Session| 1_775_278_990.5 + f64::from(session.number);
        let mut own: Vec<_> = self
            .by_id
            .iter()
            .filter(|(_, session)| session.account == account && updated_at(session) < cursor)
            .collect();
        own.sort_by_key(|(_, session)| std::cmp::Reverse(session.number));
        let rows: Vec<_> = own
            .iter()
            .take(PAGE)
            .map(|(id, session)| {
                json!({
                    "id": id, "title": null, "title_type": "SYSTEM", "pinned": false, "model_type": "default",
                    "updated_at": updated_at(session),
                })
            })
            .collect();
        let has_more = own.len() > PAGE;
        Ok(refusal::success(
            &json!({"chat_sessions": rows, "has_more": has_more}),
        ))
    }

    /// `GET /api/v0/chat/history_messages`.
    pub(super) fn history(
        &self,
        query: &str,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let id = query.strip_prefix("chat_session_id=").unwrap_or_default();
        let session = self.own(id, account, call)?;
        let mut rows = Vec::new();
        for round in &session.rounds {
            let answer = round.text(Kind::Response, round.said());
            rows.push(json!({
                "message_id": round.request_id, "parent_id": round.ask.parent, "role": "USER", "status": "FINISHED",
                "fragments": [{"id": 1, "type": "REQUEST", "content": round.ask.prompt}],
            }));
            rows.push(json!({
                "message_id": round.response_id, "parent_id": round.request_id, "role": "ASSISTANT", "status": round.status(),
                "fragments": [{"id": 2, "type": "RESPONSE", "content": answer}],
            }));
        }
        Ok(refusal::success(
            &json!({"chat_session": {"id": id}, "chat_messages": rows}),
        ))
    }
}

fn session_id<'a>(body: &'a Value, call: &mut Call) -> Result<&'a str, Refusal> {
    let id = body.get("chat_session_id").and_then(Value::as_str);
    id.ok_or_else(|| {
        call.violate("chat_session_id is missing or no string");
        refusal::missing("chat_session_id")
    })
}
