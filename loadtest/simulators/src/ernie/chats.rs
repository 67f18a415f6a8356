//! Sessions and the messages in them. Source: wire/ernie.md §3, §8.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Refusal, ask::Ask, bad, fault};
use crate::{Call, Control, Reply, fields::exactly};

#[derive(Debug, Default)]
pub(super) struct Chats {
    sessions: BTreeMap<String, Session>,
    made: u64,
}

#[derive(Debug)]
struct Session {
    account: usize,
    /// Id, role, text; the last one is the parent of the next question.
    messages: Vec<(String, &'static str, String)>,
}

/// The ids of a question.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) session: String,
    pub(super) question: String,
    pub(super) answer: String,
}

impl Chats {
    /// Puts a question into its session; `None`: there is no such session, or the parent is not its last message.
    pub(super) fn begin(&mut self, ask: &Ask, account: usize, control: &Control) -> Option<Ids> {
        let session = match ask.session.as_str() {
            "" if ask.parent == "0" => {
                control.created();
                self.id()
            }
            "" => return None,
            known => {
                let session = self.sessions.get(known)?;
                let last = session.messages.last().map(|(id, ..)| id.as_str());
                if session.account != account || last != Some(ask.parent.as_str()) {
                    return None;
                }
                known.to_owned()
            }
        };
        let (question, answer) = (self.id(), self.id());
        let entry = self
            .sessions
            .entry(session.clone())
            .or_insert_with(|| Session {
                account,
                messages: Vec::new(),
            });
        entry
            .messages
            .push((question.clone(), "user", ask.text.clone()));
        entry
            .messages
            .push((answer.clone(), "robot", String::new()));
        Some(Ids {
            session,
            question,
            answer,
        })
    }

    /// `/eb/session/delete`.
    pub(super) fn delete(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let wanted = |name: &str| json!({"deviceType": "pc", "timestamp": body.get("timestamp"), name: body.get(name)});
        let object = body.as_object().cloned().unwrap_or_default();
        let several = object.get("sessionIds").and_then(Value::as_array);
        let ids: Vec<Value> = match (several, object.get("sessionId")) {
            (Some(ids), _) => ids.clone(),
            (None, Some(id)) => vec![id.clone()],
            (None, None) => Vec::new(),
        };
        let name = if several.is_some() {
            "sessionIds"
        } else {
            "sessionId"
        };
        exactly(&object, "the body", wanted(name), call).map_err(|what| bad(call, what))?;
        if ids.is_empty() {
            return Err(bad(call, "there is no sessionId".to_owned()));
        }
        for id in ids {
            let id = id.as_str().unwrap_or_default();
            call.conversation = Some(id.to_owned());
            let is_own = self
                .sessions
                .get(id)
                .is_some_and(|it| it.account == account);
            if !is_own {
                call.violate("the session is not there, or another account's");
                return Err(fault::coded(40002, "会话不存在"));
            }
            self.sessions.remove(id);
            control.deleted();
        }
        Ok(success(&Value::Null))
    }

    pub(super) fn list(&self, account: usize) -> Reply {
        let own = self.sessions.iter().filter(|(_, it)| it.account == account);
        let list: Vec<Value> = own.map(|(id, _)| json!({"sessionId": id})).collect();
        success(&json!({"sessions": list}))
    }

    pub(super) fn history(
        &self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let id = body.get("sessionId").and_then(Value::as_str);
        let session = id.and_then(|id| self.sessions.get(id));
        let Some(session) = session.filter(|it| it.account == account) else {
            return Err(fault::coded(40002, "会话不存在"));
        };
        if body.get("pageSize").and_then(Value::as_u64).is_none() {
            return Err(bad(call, "pageSize is missing".to_owned()));
        }
        let chats: Map<String, Value> = session
            .messages
            .iter()
            .map(|(id, role, text)| {
                let message = json!([{"contentType": "text", "content": text}]);
                (
                    id.clone(),
                    json!({"id": id, "role": role, "message": message}),
                )
            })
            .collect();
        Ok(success(&json!({"chats": chats})))
    }

    fn id(&mut self) -> String {
        self.made += 1;
        (6_600_000_000 + self.made).to_string()
    }
}

fn success(data: &Value) -> Reply {
    Reply::json(
        200,
        &json!({"code": 0, "msg": "success", "data": data, "logId": "1"}),
    )
}
