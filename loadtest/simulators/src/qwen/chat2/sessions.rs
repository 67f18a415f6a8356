//! The conversations of the accounts: their ids are the client's. Source: wire/qwen.md §11.2, §11.6, §11.10.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::{ask::Ask, refusal};
use crate::{Call, Control, Reply};

#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: HashMap<String, Session>,
    req_ids: HashSet<String>,
    /// Sessions of questions that were refused: their ids may be deleted all the same, once.
    refused: HashMap<String, usize>,
}

#[derive(Debug)]
struct Session {
    account: usize,
    topic_id: String,
    /// `req_id`, question and answer.
    rounds: Vec<(String, String, String)>,
}

impl Sessions {
    /// A request id is good for one attempt, also when that attempt fails.
    pub(super) fn is_fresh(&mut self, req_id: &str) -> bool {
        self.req_ids.insert(req_id.to_owned())
    }

    /// Whether the question may be asked where it wants to; `Err` says why not.
    pub(super) fn allow(&mut self, ask: &Ask, account: usize) -> Result<(), &'static str> {
        let Some(session) = self.by_id.get(&ask.session_id) else {
            self.refused.insert(ask.session_id.clone(), account);
            return match ask.parent_req_id.as_str() {
                "0" => Ok(()),
                _ => Err("session_id"),
            };
        };
        let last = session.rounds.last().map(|(req_id, ..)| req_id);
        match () {
            () if session.account != account => Err("session_id"),
            () if last != Some(&ask.parent_req_id) => Err("parent_req_id"),
            () if session.topic_id != ask.topic_id => Err("topic_id"),
            () => Ok(()),
        }
    }

    /// Writes the round down.
    pub(super) fn begin(&mut self, ask: &Ask, account: usize, answer: &str, control: &Control) {
        self.refused.remove(&ask.session_id);
        let session = self.by_id.entry(ask.session_id.clone()).or_insert_with(|| {
            control.created();
            Session {
                account,
                topic_id: ask.topic_id.clone(),
                rounds: Vec::new(),
            }
        });
        let round = (ask.req_id.clone(), ask.prompt.clone(), answer.to_owned());
        session.rounds.push(round);
    }

    /// `POST /api/v1/session/delete`, and `/batch`.
    pub(super) fn delete(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Reply> {
        let one = body.get("session_id").and_then(Value::as_str);
        let many = body.pointer("/session_ids/0").and_then(Value::as_str);
        let expected = match (one, many) {
            (Some(id), None) => json!({"session_id": id, "biz_id": "ai_qwen"}),
            (None, Some(_)) => json!({"session_ids": body.get("session_ids")}),
            _ => Value::Null,
        };
        if *body != expected {
            call.violate("the body is not a session's id and biz_id, nor session_ids");
            return Err(refusal::bad("session_id"));
        }
        let ids: Vec<&str> = match (one, body.get("session_ids").and_then(Value::as_array)) {
            (Some(id), _) => vec![id],
            (None, Some(ids)) => ids.iter().filter_map(Value::as_str).collect(),
            (None, None) => Vec::new(),
        };
        call.conversation = ids.first().map(|id| (*id).to_owned());
        for id in ids {
            let own = self
                .by_id
                .get(id)
                .is_some_and(|session| session.account == account);
            if own && self.by_id.remove(id).is_some() {
                control.deleted();
            } else if self.refused.remove(id) != Some(account) {
                call.violate(format!(
                    "{id:?} is no session of this account, or deleted already"
                ));
                return Err(refusal::code(404, "session not found"));
            }
        }
        Ok(refusal::success(&json!(true)))
    }

    /// `POST /api/v2/session/page/list`.
    pub(super) fn list(&self, account: usize) -> Reply {
        let own = self
            .by_id
            .iter()
            .filter(|(_, session)| session.account == account);
        let rows = own.map(|(id, session)| {
            let title: String = session
                .rounds
                .first()
                .map(|(_, asked, _)| asked.chars().take(20).collect())
                .unwrap_or_default();
            json!({"session_id": id, "title": title, "created_at": 1_790_000_000_123_u64, "updated_at": 1_790_000_000_123_u64})
        });
        let list: Vec<_> = rows.collect();
        refusal::success(&json!({"have_next_page": false, "next_token": "", "list": list}))
    }

    /// `GET /api/v1/session/msg/list?session_id=`.
    pub(super) fn history(
        &self,
        id: &str,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Reply> {
        call.conversation = Some(id.to_owned());
        let session = self
            .by_id
            .get(id)
            .filter(|session| session.account == account);
        let Some(session) = session else {
            call.violate(format!("{id:?} is no session of this account"));
            return Err(refusal::code(404, "session not found"));
        };
        let item = |text: &str| json!([{"mime_type": "text/plain", "content": text, "status": "complete"}]);
        let rows: Vec<_> = session
            .rounds
            .iter()
            .map(|(req_id, asked, answer)| {
                json!({
                    "session_id": id, "req_id": req_id, "request_messages": item(asked), "response_messages": item(answer),
                    "created_at": 1_790_000_000_123_u64,
                })
            })
            .collect();
        Ok(refusal::success(&json!({"list": rows})))
    }
}
