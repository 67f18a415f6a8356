//! The conversations of the accounts. Source: wire/qwen.md §4.1, §4.3, §9.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ask::Ask,
    refusal::{self, Refusal},
    stream::Ids,
};
use crate::{Call, Control, Reply};

/// Conversations by id, and the request ids that were used up.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: HashMap<String, Session>,
    request_ids: HashSet<String>,
}

#[derive(Debug)]
struct Session {
    account: usize,
    /// Question, answer and the answer's id.
    rounds: Vec<(String, String, String)>,
    moderated: bool,
}

impl Sessions {
    /// A request id is good for one request, also when that request fails.
    pub(super) fn is_fresh(&mut self, request_id: &str) -> bool {
        self.request_ids
            .insert(request_id.replace('-', "").to_ascii_lowercase())
    }

    /// Whether the question may go on where it wants to.
    pub(super) fn allow(&self, ask: &Ask, account: usize, call: &mut Call) -> Result<(), Refusal> {
        if ask.session_id.is_empty() {
            return Ok(());
        }
        let Some(session) = self.of(&ask.session_id, account) else {
            call.violate("sessionId is of no session of this account");
            return Err(refusal::frame("SESSION_NO_EXIST", "SESSION_NO_EXIST"));
        };
        if session
            .rounds
            .last()
            .is_none_or(|(_, _, msg)| *msg != ask.parent_msg_id)
        {
            call.violate("parentMsgId is not the id of the session's last answer");
            return Err(refusal::json("PARAM_ERROR", "参数错误"));
        }
        Ok(())
    }

    fn of(&self, id: &str, account: usize) -> Option<&Session> {
        self.by_id
            .get(id)
            .filter(|session| session.account == account)
    }

    /// Writes the round down, in a new session if the question opens one.
    pub(super) fn begin(
        &mut self,
        ask: &Ask,
        account: usize,
        answer: &str,
        moderated: bool,
        control: &Control,
    ) -> Ids {
        let id = || Uuid::new_v4().simple().to_string();
        let session_id = if ask.session_id.is_empty() {
            id()
        } else {
            ask.session_id.clone()
        };
        let session = self.by_id.entry(session_id.clone()).or_insert_with(|| {
            control.created();
            Session {
                account,
                rounds: Vec::new(),
                moderated: false,
            }
        });
        let ids = Ids {
            session: session_id,
            msg: id(),
            parent: id(),
        };
        session
            .rounds
            .push((ask.prompt.clone(), answer.to_owned(), ids.msg.clone()));
        session.moderated |= moderated;
        ids
    }

    /// `POST /dialog/session/delete`.
    pub(super) fn delete(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let id = body
            .get("sessionId")
            .and_then(Value::as_str)
            .unwrap_or_default();
        call.conversation = Some(id.to_owned());
        if self.of(id, account).is_none() {
            call.violate(format!(
                "{id:?} is of no session of this account, or deleted already"
            ));
            return Err(refusal::session_not_exist());
        }
        let Some(session) = self.by_id.remove(id) else {
            return Err(refusal::session_not_exist());
        };
        control.deleted();
        if session.moderated {
            // §9: after moderation the service answers with an internal error. It counts as deleted here, so that a
            // client that leaves nothing behind is told from one that does.
            return Err(refusal::with_status(
                500,
                "INTERNAL_ERROR",
                "internal error",
            ));
        }
        Ok(refusal::success(&json!(true)))
    }

    /// `POST /dialog/session/list`.
    pub(super) fn list(&self, account: usize) -> Reply {
        let own = self
            .by_id
            .iter()
            .filter(|(_, session)| session.account == account);
        let row = |(id, session): (&String, &Session)| {
            let summary: String = session
                .rounds
                .first()
                .map(|(asked, _, _)| asked.chars().take(20).collect())
                .unwrap_or_default();
            json!({
                "userId": format!("sim-{account}"), "sessionId": id, "createTime": 1_767_780_000_000_u64,
                "modifiedTime": 1_767_780_000_000_u64, "summary": summary, "sessionType": "text_chat", "errorMsg": null,
                "status": 1, "canShare": true,
            })
        };
        refusal::success(&own.map(row).collect())
    }

    /// `POST /dialog/chat/list`.
    pub(super) fn history(
        &self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let id = body
            .get("sessionId")
            .and_then(Value::as_str)
            .unwrap_or_default();
        call.conversation = Some(id.to_owned());
        let Some(session) = self.of(id, account) else {
            call.violate(format!("{id:?} is of no session of this account"));
            return Err(refusal::session_not_exist());
        };
        let mut rows = Vec::new();
        for (asked, answer, msg) in &session.rounds {
            for (sender, text) in [("USER", asked), ("BOT", answer)] {
                rows.push(json!({
                    "senderType": sender, "createTime": 1_767_780_000_000_u64, "contentType": "text", "sessionId": id,
                    "msgId": msg, "parentMsgId": "0", "msgStatus": "finished", "interrupted": false,
                    "contents": [{"contentType": "text", "content": text, "role": if sender == "USER" { "user" } else { "assistant" }}],
                }));
            }
        }
        Ok(refusal::success(&Value::Array(rows)))
    }
}
