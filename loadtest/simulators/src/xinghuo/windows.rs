//! Conversation windows and attached documents. Source: wire/xinghuo.md §3, §4.2, §4.6, §8, §9.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::{self, Refusal};
use crate::{
    Call, Control, Reply, Request, form,
    request::{is_uuid, percent_decode},
};

/// The authorization of upload vector A (§5).
const AUTHORIZATION: &str =
    r#"api_key="k", algorithm="hmac-sha256", headers="host date request-line", signature="c2ln""#;
const AUTHORIZATION_BASE64: &str = "YXBpX2tleT0iayIsIGFsZ29yaXRobT0iaG1hYy1zaGEyNTYiLCBoZWFkZXJzPSJob3N0IGRhdGUgcmVxdWVzdC1saW5lIiwgc2lnbmF0dXJlPSJjMmxuIg==";
const DATE: &str = "Sun, 07 Jan 2026 03:57:14 GMT";
const HOST: &str = "sgw-dx.xf-yun.invalid";

/// Where the simulator takes uploads: a path that only its own signed answers name.
pub(super) const UPLOAD_PATH: &str = "/sim-oss/upload";

#[derive(Debug)]
pub(super) struct Window {
    pub(super) account: usize,
    bot_id: Option<u64>,
    name: String,
    pub(super) asked: bool,
    pub(super) running: bool,
    pub(super) documents: usize,
    /// Question and sid of each round.
    pub(super) rounds: Vec<(String, String)>,
}

/// All windows and uploads of all accounts.
#[derive(Debug, Default)]
pub(super) struct Windows {
    pub(super) by_id: BTreeMap<u64, Window>,
    /// Grows with every window and upload: ids are never given twice.
    count: u64,
    /// Link -> bytes behind it.
    links: HashMap<String, u64>,
}

impl Windows {
    /// `create-chat-list`: while a window has not been asked anything, the same one again (§4.2).
    pub(super) fn create(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let bot = body.get("botId").and_then(Value::as_u64);
        // One client of 2026 has the second of the classic ones.
        let classic = [json!({}), json!({"title": "新对话", "chatType": 1})].contains(body);
        let bot_id = match bot {
            Some(bot) if *body == json!({"botId": bot}) => Some(bot),
            None if classic && control.speaks(super::CLASSIC) => None,
            None if *body == json!({"showType": "2"}) && control.speaks(super::SPARK) => None,
            // No violation: a client has to find out what is spoken.
            None if classic || *body == json!({"showType": "2"}) => {
                return Err(refusal::bad_form());
            }
            _ => {
                call.violate(format!("{body} is no body that opens a window"));
                return Err(refusal::bad_form());
            }
        };
        let blank =
            |window: &Window| window.account == account && !window.asked && window.bot_id == bot_id;
        let old = self
            .by_id
            .iter()
            .find(|(_, window)| blank(window))
            .map(|(id, _)| *id);
        let id = old.unwrap_or_else(|| {
            control.created();
            self.count += 1;
            158_313_206 + self.count * 7
        });
        self.by_id.entry(id).or_insert_with(|| Window {
            account,
            bot_id,
            name: "新对话窗口".to_owned(),
            asked: false,
            running: false,
            documents: 0,
            rounds: Vec::new(),
        });
        call.conversation = Some(id.to_string());
        call.note("old_blank", old.is_some());
        Ok(refusal::success(&json!({
            "id": id, "title": "新对话窗口", "enable": null, "createTime": "2026-01-07 11:57:14", "fileId": null,
            "botId": bot_id, "personalityId": null, "oldBlankList": old.is_some(),
        })))
    }

    /// `del-chat-list`: takes the id as number or text (§9).
    pub(super) fn delete(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let id = self.own(body, account, call)?;
        self.by_id.remove(&id);
        control.deleted();
        Ok(refusal::success(&Value::Null))
    }

    /// `batch-delete-chat-list`: ids as numbers (§3); all of them or none.
    pub(super) fn delete_batch(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let ids = body.get("chatListIds").and_then(Value::as_array);
        let numbers = ids.filter(|ids| !ids.is_empty() && ids.iter().all(Value::is_u64));
        let Some(ids) = numbers.filter(|_| body.as_object().is_some_and(|body| body.len() == 1))
        else {
            call.violate("the body is not chatListIds with numbers");
            return Err(refusal::bad_form());
        };
        let mut windows = Vec::new();
        for id in ids {
            windows.push(self.own(&json!({"chatListId": id}), account, call)?);
        }
        for id in windows {
            if self.by_id.remove(&id).is_some() {
                control.deleted();
            }
        }
        Ok(refusal::success(&Value::Null))
    }

    pub(super) fn rename(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let id = self.own(body, account, call)?;
        let name = body
            .get("chatListName")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if name.is_empty() || name.chars().count() > 15 {
            call.violate("chatListName is missing or longer than 15 characters");
            return Err(refusal::bad_form());
        }
        if let Some(window) = self.by_id.get_mut(&id) {
            name.clone_into(&mut window.name);
        }
        Ok(refusal::success(&Value::Null))
    }

    fn own(&self, body: &Value, account: usize, call: &mut Call) -> Result<u64, Refusal> {
        let sent = body.get("chatListId").unwrap_or(&Value::Null);
        let id = sent
            .as_u64()
            .or_else(|| sent.as_str().and_then(|id| id.parse().ok()));
        call.conversation = id.map(|id| id.to_string());
        let own = |id: &u64| {
            self.by_id
                .get(id)
                .is_some_and(|window| window.account == account)
        };
        id.filter(own).ok_or_else(|| {
            call.violate(format!(
                "chatListId {sent} is no window of this account, or deleted already"
            ));
            refusal::unknown_window()
        })
    }

    pub(super) fn list(&self, account: usize) -> Reply {
        let own = self
            .by_id
            .iter()
            .filter(|(_, window)| window.account == account);
        refusal::success(
            &own.map(|(id, window)| json!({"id": id, "title": window.name}))
                .collect(),
        )
    }

    pub(super) fn history(
        &self,
        id: &str,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let window = id.parse().ok().and_then(|id: u64| self.by_id.get(&id));
        let Some(window) = window.filter(|window| window.account == account) else {
            call.violate(format!("{id:?} is no window of this account"));
            return Err(refusal::unknown_window());
        };
        let rounds = window
            .rounds
            .iter()
            .map(|(text, sid)| json!({"message": text, "sid": sid}));
        Ok(refusal::success(
            &json!([{"historyList": rounds.collect::<Vec<_>>()}]),
        ))
    }

    /// `oss/sign`: one file part named `file` (§4.6).
    pub(super) fn sign(
        &mut self,
        request: &Request,
        base: &str,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let mut bad = |what: String| {
            call.violate(what);
            refusal::bad_form()
        };
        let parts = form::read(&request.header("content-type"), &request.body).map_err(&mut bad)?;
        let [file] = parts.as_slice() else {
            return Err(bad(format!("the form has {} parts, not one", parts.len())));
        };
        let (Some(name), Some(kind)) = (&file.filename, &file.content_type) else {
            return Err(bad(
                "the part is no file: it has no filename or no Content-Type".to_owned(),
            ));
        };
        if file.name != "file" {
            return Err(bad(format!(
                "the part is named {:?}, not \"file\"",
                file.name
            )));
        }
        call.note("filename", name.clone());
        call.note("contentType", kind.clone());
        self.count += 1;
        let url = format!("{base}{UPLOAD_PATH}?key={}", self.count);
        Ok(refusal::success(
            &json!({"url": url, "authorization": AUTHORIZATION, "date": DATE, "host": HOST}),
        ))
    }

    /// The signed upload. It has no cookie, so whoever was given the address may use it.
    pub(super) fn upload(
        &mut self,
        request: &Request,
        base: &str,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let pairs: Vec<_> = request
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        // `+` would turn into a space at the real storage, and a bare `=` or `,` is not percent-encoded either.
        let encoded = |value: &str| {
            value
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "%-_.~".contains(c))
        };
        let value = |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| *value)
                .unwrap_or_default()
        };
        for (name, expected) in [
            ("authorization", AUTHORIZATION_BASE64),
            ("date", DATE),
            ("host", HOST),
        ] {
            if !encoded(value(name)) || percent_decode(value(name)) != expected {
                call.violate(format!(
                    "the query's {name} is not the signed one, percent-encoded"
                ));
                return Err(Reply::json(
                    403,
                    &json!({"message": "HMAC signature does not match"}),
                ));
            }
        }
        if request.header("authorization") != AUTHORIZATION {
            call.violate("the Authorization header is not the signed one");
            return Err(Reply::json(401, &json!({"message": "Unauthorized"})));
        }
        if request.body.is_empty() {
            call.violate("the upload is empty");
            return Err(refusal::bad_form());
        }
        let link = format!(
            "{base}/sim-oss/{}-{}?authorization=c2ln&x_location=sim",
            value("key"),
            Uuid::new_v4().simple()
        );
        self.links.insert(link.clone(), request.body.len() as u64);
        call.note("bytes", request.body.len());
        Ok(refusal::success(&json!({"link": link})))
    }

    /// `saveFile`: attaches a document to a window.
    pub(super) fn save(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let link = self.links.get(text("fileUrl")).copied();
        let wrong = match () {
            () if body.get("businessType") != Some(&json!(0)) => "businessType is not 0",
            () if !is_uuid(text("fileBusinessKey")) => "fileBusinessKey is no UUID",
            () if text("fileName").is_empty() => "fileName is missing",
            () if link.is_none() => "fileUrl is no link that was given",
            () if body.get("fileSize").and_then(Value::as_u64) != link => {
                "fileSize is not the number of bytes uploaded"
            }
            () => "",
        };
        if !wrong.is_empty() {
            call.violate(wrong);
            return Err(refusal::bad_form());
        }
        call.conversation = Some(text("chatId").to_owned());
        let window = text("chatId")
            .parse()
            .ok()
            .and_then(|id: u64| self.by_id.get_mut(&id));
        let Some(window) = window.filter(|window| window.account == account) else {
            call.violate("chatId is no window of this account");
            return Err(refusal::unknown_window());
        };
        window.documents += 1;
        Ok(refusal::success(
            &json!({"fileId": text("fileBusinessKey")}),
        ))
    }

    pub(super) fn is_link(&self, link: &str) -> bool {
        self.links.contains_key(link)
    }
}
