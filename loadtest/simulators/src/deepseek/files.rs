//! Files on their way into a question. Source: wire/deepseek.md §3, §4 (files and images).

use std::collections::HashMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ask::Ask,
    refusal::{self, Refusal},
};
use crate::{Call, Reply, Request, form, request::percent_decode};

/// What a file is at each poll.
const STATES: [&str; 3] = ["PENDING", "PARSING", "SUCCESS"];
const READY: &str = "SUCCESS";

#[derive(Debug, Default)]
pub(super) struct Files {
    by_id: HashMap<String, File>,
}

#[derive(Clone, Debug)]
struct File {
    account: usize,
    name: String,
    size: usize,
    is_image: bool,
    model_kind: &'static str,
    /// How often it was polled.
    polls: usize,
    failed: Option<&'static str>,
}

impl File {
    fn status(&self) -> &'static str {
        let state = STATES.get(self.polls).copied().unwrap_or(READY);
        self.failed.unwrap_or(state)
    }

    fn shown(&self, id: &str) -> Value {
        let token_usage = (self.status() == READY).then_some(self.size / 4 + 1);
        json!({
            "id": id, "status": self.status(), "file_name": self.name, "file_size": self.size, "from_share": false,
            "model_kind": self.model_kind, "token_usage": token_usage, "error_code": null,
            "inserted_at": 1_775_278_990.5, "updated_at": 1_775_278_990.5, "is_image": self.is_image, "audit_result": null,
        })
    }
}

impl Files {
    /// `POST /api/v0/file/upload_file`: one part named `file`.
    pub(super) fn upload(
        &mut self,
        request: &Request,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let bad = |call: &mut Call, what: String| {
            call.violate(what);
            refusal::missing("file")
        };
        let parts = form::read(&request.header("content-type"), &request.body)
            .map_err(|what| bad(call, what))?;
        let [part] = parts.as_slice() else {
            let what = format!("the form has {} parts, not one", parts.len());
            return Err(bad(call, what));
        };
        let (Some(name), Some(kind)) = (&part.filename, &part.content_type) else {
            let what = "the part is no file: it has no filename or no Content-Type";
            return Err(bad(call, what.to_owned()));
        };
        if part.name != "file" {
            let what = format!("the part is named {:?}, not \"file\"", part.name);
            return Err(bad(call, what));
        }
        let size = request.header("x-file-size");
        if !size.is_empty() && size != part.data.len().to_string() {
            call.violate(format!("x-file-size is {size}, not the file's size"));
        }
        if part.data.is_empty() {
            call.violate("the file is empty");
        }
        call.note("filename", name.clone());
        call.note("contentType", kind.clone());
        call.note("bytes", part.data.len());
        let is_image = kind.starts_with("image/");
        let is_vision = is_image && call.fault != Some("upload_normal");
        let file = File {
            account,
            name: name.clone(),
            size: part.data.len(),
            is_image,
            model_kind: if is_vision { "VISION" } else { "NORMAL" },
            polls: 0,
            failed: None,
        };
        Ok(self.keep(file, call))
    }

    fn keep(&mut self, file: File, call: &mut Call) -> Reply {
        let id = format!("file-{}", Uuid::new_v4());
        call.note("file", id.clone());
        let reply = refusal::success(&file.shown(&id));
        self.by_id.insert(id, file);
        reply
    }

    /// `GET /api/v0/file/fetch_files?file_ids=a,b`.
    pub(super) fn fetch(
        &mut self,
        query: &str,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let failed = match call.fault {
            Some("file_failed") => Some("FAILED"),
            Some("file_content_empty") => Some("CONTENT_EMPTY"),
            Some("file_error") => Some("ERROR"),
            Some("file_parse_failed") => Some("PARSE_FAILED"),
            _ => None,
        };
        let ids = percent_decode(query.strip_prefix("file_ids=").unwrap_or_default());
        let mut rows = Vec::new();
        for id in ids.split(',') {
            let file = self.by_id.get_mut(id);
            let Some(file) = file.filter(|file| file.account == account) else {
                call.violate(format!("{id:?} is no file of this account"));
                return Err(refusal::biz(9, "invalid ref file id"));
            };
            if call.fault != Some("file_pending") {
                file.polls += 1;
            }
            file.failed = file.failed.or(failed);
            rows.push(file.shown(id));
        }
        Ok(refusal::success(&json!({"files": rows})))
    }

    /// `POST /api/v0/file/fork_file_task`: the same picture for vision.
    pub(super) fn fork(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        if body.get("to_model_type") != Some(&json!("vision")) {
            call.violate("to_model_type is not \"vision\"");
            return Err(refusal::missing("to_model_type"));
        }
        let id = body
            .get("file_id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let file = self.by_id.get(id).filter(|file| file.account == account);
        let Some(file) = file.filter(|file| file.is_image && file.status() == READY) else {
            call.violate(format!("{id:?} is no picture that is ready"));
            return Err(refusal::biz(9, "invalid ref file id"));
        };
        let fork = File {
            model_kind: "VISION",
            polls: 0,
            ..file.clone()
        };
        Ok(self.keep(fork, call))
    }

    /// Whether a question may use what it refers to.
    pub(super) fn allow(&self, ask: &Ask, account: usize, call: &mut Call) -> Result<(), Refusal> {
        for id in &ask.files {
            let file = self.by_id.get(id).filter(|file| file.account == account);
            let Some(file) = file else {
                call.violate(format!("{id:?} is no file of this account"));
                return Err(refusal::biz(9, "invalid ref file id"));
            };
            if file.status() != READY {
                call.violate("a file is used before it is ready");
                return Err(refusal::biz(9, "invalid ref file id"));
            }
            if ask.model == "vision" && file.model_kind != "VISION" {
                // No violation: the client learns of it here, and forks the file.
                return Err(refusal::biz(9, "invalid ref file id"));
            }
        }
        Ok(())
    }
}
