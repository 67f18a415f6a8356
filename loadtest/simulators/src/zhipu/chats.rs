//! The conversations of the accounts, and who is busy. Source: wire/zhipu.md §3, §7, §8.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ask::Ask,
    refusal::{self, Refusal},
    stream::Ids,
};
use crate::{Call, Control, Reply};

/// How long an account stays busy under `lingers`.
const LINGERS: Duration = Duration::from_millis(1500);

/// Conversations by id, and the answer that each account is busy with.
#[derive(Debug, Default)]
pub(super) struct Chats {
    by_id: HashMap<String, Chat>,
    busy: HashMap<usize, Busy>,
}

#[derive(Debug)]
struct Chat {
    account: usize,
    assistant: String,
    title: String,
    moderated: bool,
}

#[derive(Debug)]
struct Busy {
    message: String,
    /// `None`: the answer is under way.
    until: Option<Instant>,
}

/// 24 hex digits, as the service's ids have.
fn id() -> String {
    Uuid::new_v4()
        .simple()
        .to_string()
        .chars()
        .take(24)
        .collect()
}

impl Chats {
    /// Whether the question may be asked now, and where it wants to.
    pub(super) fn allow(&self, ask: &Ask, account: usize, call: &mut Call) -> Result<(), Refusal> {
        let busy = self.busy.get(&account);
        if busy.is_some_and(|busy| busy.until.is_none_or(|until| until > Instant::now())) {
            // No violation: another worker, or the answer to somebody who has just left.
            call.note("busy", true);
            return Err(refusal::busy());
        }
        if ask.conversation.is_empty() {
            return Ok(());
        }
        let own = self.by_id.get(&ask.conversation);
        if own.is_some_and(|own| own.account == account && own.assistant == ask.assistant) {
            return Ok(());
        }
        call.violate("conversation_id is of no conversation of this account and assistant");
        Err(refusal::nothing())
    }

    /// Writes the round down, in a new conversation if the question opens one. The account is busy until [`Chats::free`].
    pub(super) fn begin(
        &mut self,
        ask: &Ask,
        account: usize,
        moderated: bool,
        control: &Control,
    ) -> Ids {
        let conversation = match ask.conversation.as_str() {
            "" => id(),
            known => known.to_owned(),
        };
        let chat = self.by_id.entry(conversation.clone()).or_insert_with(|| {
            control.created();
            Chat {
                account,
                assistant: ask.assistant.clone(),
                title: ask.prompt.chars().take(20).collect(),
                moderated: false,
            }
        });
        chat.moderated |= moderated;
        let ids = Ids {
            conversation,
            message: id(),
            assistant: ask.assistant.clone(),
        };
        let busy = Busy {
            message: ids.message.clone(),
            until: None,
        };
        self.busy.insert(account, busy);
        ids
    }

    /// The answer is over, complete or not.
    pub(super) fn free(&mut self, account: usize, message: &str, lingers: bool) {
        let Some(busy) = self.busy.get_mut(&account) else {
            return;
        };
        if busy.message != message {
            return;
        }
        if lingers {
            busy.until = Some(Instant::now() + LINGERS);
        } else {
            self.busy.remove(&account);
        }
    }

    /// `POST …/conversation/delete`: by the assistant that it was opened with.
    pub(super) fn delete(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let [id, assistant] = ["conversation_id", "assistant_id"]
            .map(|key| body.get(key).and_then(Value::as_str).unwrap_or_default());
        call.conversation = Some(id.to_owned());
        if body.as_object().is_none_or(|fields| fields.len() != 2) {
            call.violate("the body is not assistant_id and conversation_id");
            return Err(refusal::bad_request());
        }
        let own = self.by_id.get(id).filter(|own| own.account == account);
        match own {
            None => call.violate(format!(
                "{id:?} is no conversation of this account, or deleted already"
            )),
            Some(own) if own.assistant != assistant => {
                call.violate("assistant_id is not the one that opened the conversation");
            }
            Some(_) => {
                let moderated = self.by_id.remove(id).is_some_and(|own| own.moderated);
                control.deleted();
                if !moderated {
                    return Ok(refusal::success(&json!({})));
                }
                // §8: normal after moderation. It counts as deleted, so that a client that leaves nothing behind is told
                // from one that does.
            }
        }
        Err(refusal::database())
    }

    /// `POST …/recent_list`. The page does not have its answer; this shape is ours.
    pub(super) fn list(&self, account: usize) -> Reply {
        let own = self.by_id.iter().filter(|(_, own)| own.account == account);
        let rows: Vec<_> = own
            .map(|(id, own)| {
                json!({"conversation_id": id, "assistant_id": own.assistant, "title": own.title})
            })
            .collect();
        refusal::success(&json!({"conversation_list": rows}))
    }

    /// `POST …/bulk_delete`.
    pub(super) fn bulk_delete(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let ids = body.get("conversation_ids").and_then(Value::as_array);
        let Some(ids) = ids else {
            call.violate("conversation_ids is missing or no array");
            return Err(refusal::bad_request());
        };
        for id in ids.iter().map(|id| id.as_str().unwrap_or_default()) {
            call.conversation = Some(id.to_owned());
            if self.by_id.get(id).is_none_or(|own| own.account != account) {
                call.violate(format!("{id:?} is no conversation of this account"));
                return Err(refusal::database());
            }
            self.by_id.remove(id);
            control.deleted();
        }
        Ok(refusal::success(&json!({})))
    }
}
