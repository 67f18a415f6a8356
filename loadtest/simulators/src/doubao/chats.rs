//! The conversations of the accounts, and what is deleted. Source: wire/doubao.md §6.5, §8.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::{
    ask::Ask,
    refusal::{self, Refusal},
};
use crate::{Call, Control, Reply};

/// How often a conversation is polled before its pictures are there.
const POLLS: u32 = 2;
/// Beyond 2^53, as the service's ids are.
const FIRST: u64 = 38_300_000_000_000_000;

/// Conversations by id, and what was used up.
#[derive(Debug, Default)]
pub(super) struct Chats {
    by_id: HashMap<String, Chat>,
    used: HashSet<String>,
    made: u64,
}

#[derive(Debug)]
struct Chat {
    account: usize,
    section: String,
    index: u64,
    pictures: Vec<String>,
    polls_left: u32,
    as_ext: bool,
}

/// The ids of one answer.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) conversation: String,
    pub(super) section: String,
    pub(super) question: String,
    pub(super) answer: String,
    /// `index_in_conv` of the question.
    pub(super) index: u64,
}

impl Chats {
    /// Whether the question may be asked where it wants to.
    pub(super) fn allow(
        &mut self,
        ask: &Ask,
        account: usize,
        call: &mut Call,
    ) -> Result<(), Refusal> {
        for key in &ask.keys {
            if !self.used.insert(key.clone()) {
                call.violate("a local id was used before");
                return Err(refusal::parameter("unique_key"));
            }
        }
        if ask.conversation.is_empty() {
            return Ok(());
        }
        let own = self.by_id.get(&ask.conversation);
        let Some(chat) = own.filter(|chat| chat.account == account) else {
            call.violate("conversation_id is of no conversation of this account");
            return Err(refusal::parameter("conversation_id"));
        };
        let section = ask.section.is_empty() || ask.section == chat.section;
        if !section || ask.last_index.is_some_and(|index| index != chat.index) {
            call.violate("last_section_id or last_message_index is not that of the conversation");
            return Err(refusal::parameter("last_section_id"));
        }
        Ok(())
    }

    /// Writes the round down, in a new conversation if the question opens one.
    pub(super) fn begin(&mut self, ask: &Ask, account: usize, control: &Control) -> Ids {
        let mut id = || {
            self.made += 1;
            format!("{}", FIRST + self.made)
        };
        let (fresh, section, question, answer) = (id(), id(), id(), id());
        let conversation = match ask.conversation.as_str() {
            "" => fresh,
            known => known.to_owned(),
        };
        let chat = self.by_id.entry(conversation.clone()).or_insert_with(|| {
            control.created();
            Chat {
                account,
                section,
                index: 0,
                pictures: Vec::new(),
                polls_left: 0,
                as_ext: false,
            }
        });
        chat.index += 2;
        Ids {
            conversation,
            section: chat.section.clone(),
            question,
            answer,
            index: chat.index - 1,
        }
    }

    /// The pictures of an answer are there for who polls.
    pub(super) fn later(&mut self, conversation: &str, pictures: Vec<String>, as_ext: bool) {
        if let Some(chat) = self.by_id.get_mut(conversation) {
            chat.pictures = pictures;
            chat.polls_left = POLLS;
            chat.as_ext = as_ext;
        }
    }

    /// `POST /im/chain/single`.
    pub(super) fn chain(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let path = "/uplink_body/pull_singe_chain_uplink_body/conversation_id";
        let id = body.pointer(path).and_then(Value::as_str);
        let id = id.unwrap_or_default().to_owned();
        let sequence = sequence(body, call)?;
        let wanted = json!({
            "cmd": 3100,
            "uplink_body": {"pull_singe_chain_uplink_body": {
                "conversation_id": id, "anchor_index": 9_007_199_254_740_991_u64, "conversation_type": 3,
                "direction": 1, "limit": 20, "ext": {}, "filter": {"index_list": []},
            }},
            "sequence_id": sequence, "channel": 2, "version": "1",
        });
        if *body != wanted {
            call.violate("the body is not that of the page");
            return Err(im_error(710_011_001));
        }
        let own = self.by_id.get_mut(&id);
        let Some(chat) = own.filter(|chat| chat.account == account) else {
            call.violate(format!("{id:?} is no conversation of this account"));
            return Err(im_error(710_011_002));
        };
        let mut answer = json!({
            "user_type": 2, "message_id": "1", "conversation_id": id, "content_block": [], "ext": {},
        });
        match chat.polls_left.checked_sub(1) {
            Some(left) => chat.polls_left = left,
            None if chat.pictures.is_empty() => {}
            None => {
                let block = super::stream::creation(&chat.pictures, true);
                if chat.as_ext {
                    let full = json!([{"BlockInfo": {
                        "BlockType": 2074, "BlockContent": {"content": {"creation_block": block}},
                        "BlockMeta": {"is_finish": true},
                    }}]);
                    answer["ext"] = json!({"creation_full_content": full.to_string()});
                } else {
                    answer["content_block"] = json!([{
                        "block_type": 2074, "block_id": "950", "content": {"creation_block": block}, "is_finish": true,
                    }]);
                }
            }
        }
        let question = json!({"user_type": 1, "message_id": "0", "content_block": []});
        let body = json!({
            "status_code": 0, "status_desc": "",
            "downlink_body": {"pull_singe_chain_downlink_body": {"messages": [answer, question]}},
        });
        Ok(Reply::new(200, "application/json", body.to_string()))
    }

    /// `POST /im/conversation/batch_del_user_conv`.
    pub(super) fn delete(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let path = "/uplink_body/batch_delete_user_conversation_uplink_body/conversation_id";
        let ids = body.pointer(path).cloned().unwrap_or_default();
        let sequence = sequence(body, call)?;
        let wanted = json!({
            "cmd": 4171,
            "uplink_body": {"batch_delete_user_conversation_uplink_body": {
                "conversation_id": ids, "delete_all": false, "conversation_type": 3,
            }},
            "sequence_id": sequence, "channel": 2, "version": "1",
        });
        let ids = ids.as_array().cloned().unwrap_or_default();
        if *body != wanted || ids.is_empty() {
            call.violate("the body is not that of the page");
            return Err(im_error(710_011_001));
        }
        let fails = call.fault == Some("delete_false");
        let mut result = serde_json::Map::new();
        for id in ids {
            let id = id.as_str().unwrap_or_default().to_owned();
            let gone = !fails && self.remove(&id, account, call, control);
            result.insert(id, json!(gone));
        }
        let body = json!({
            "status_code": 0, "status_desc": "",
            "downlink_body": {"batch_delete_user_conversation_downlink_body": {"result": result}},
        });
        Ok(Reply::new(200, "application/json", body.to_string()))
    }

    /// `POST /samantha/thread/delete`: the older way.
    pub(super) fn delete_thread(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let id = body.get("conversation_id").and_then(Value::as_str);
        let id = id.unwrap_or_default().to_owned();
        if *body != json!({"conversation_id": id}) || !self.remove(&id, account, call, control) {
            call.violate("the body is not a conversation_id of this account");
            return Err(refusal::json(200, 710_010_500, "系统错误"));
        }
        Ok(refusal::success(&Value::Null))
    }

    fn remove(&mut self, id: &str, account: usize, call: &mut Call, control: &Control) -> bool {
        call.conversation = Some(id.to_owned());
        let own = self
            .by_id
            .get(id)
            .is_some_and(|chat| chat.account == account);
        if !own {
            call.violate(format!(
                "{id:?} is no conversation of this account, or deleted already"
            ));
            return false;
        }
        self.by_id.remove(id);
        control.deleted();
        true
    }
}

/// A hex number or a UUID.
fn sequence(body: &Value, call: &mut Call) -> Result<Value, Refusal> {
    let sequence = body.get("sequence_id").and_then(Value::as_str);
    let hex = |text: &str| {
        (8..=36).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
    };
    match sequence {
        Some(sequence) if hex(sequence) => Ok(json!(sequence)),
        _ => {
            call.violate("sequence_id is missing or no hex number");
            Err(im_error(710_011_001))
        }
    }
}

fn im_error(code: u64) -> Refusal {
    let body = json!({"status_code": code, "status_desc": "invalid param"});
    Reply::new(200, "application/json", body.to_string())
}
