//! Files on their way into a question. Source: wire/kimi.md §4.4.

use std::collections::HashMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::{self, INVALID, NOT_FOUND, Refusal};
use crate::{Call, Reply, Request, form};

/// How often a file is asked about before it is parsed.
const POLLS: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Files {
    by_id: HashMap<String, File>,
}

#[derive(Debug)]
struct File {
    account: usize,
    polls_left: u32,
    failed: bool,
}

impl Files {
    /// `POST /apiv2-files/file/upload`: one part named `file`.
    pub(super) fn upload(
        &mut self,
        request: &Request,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let bad = |call: &mut Call, what: String| {
            call.violate(what);
            INVALID.plain()
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
        call.note("filename", name.clone());
        call.note("contentType", kind.clone());
        call.note("bytes", part.data.len());
        let id = Uuid::new_v4().to_string();
        call.note("file", id.clone());
        let reply = refusal::success(&json!({"file": {
            "id": id, "blob": {"signUrl": format!("https://sim.invalid/{id}?sign=x")},
            "parseResult": {"thumbnail": {"previewUrl": ""}},
        }}));
        let file = File {
            account,
            polls_left: POLLS,
            failed: false,
        };
        self.by_id.insert(id, file);
        Ok(reply)
    }

    /// `POST …/FileService/GetFileParseProgress`.
    pub(super) fn progress(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let Some(ids) = body.get("file_ids").and_then(Value::as_array) else {
            call.violate("file_ids is missing or no array");
            return Err(INVALID.plain());
        };
        let mut rows = Vec::new();
        for id in ids {
            let id = id.as_str().unwrap_or_default();
            let file = self.by_id.get_mut(id);
            let Some(file) = file.filter(|file| file.account == account) else {
                call.violate(format!("{id:?} is no file of this account"));
                return Err(NOT_FOUND.plain());
            };
            file.failed |= call.fault == Some("parse_failed");
            if call.fault != Some("parse_pending") {
                file.polls_left = file.polls_left.saturating_sub(1);
            }
            let status = match (file.failed, file.polls_left) {
                (true, _) => "PROCESS_STATUS_FAIL",
                (false, 0) => "PROCESS_STATUS_SUCCESS",
                (false, _) => "PROCESS_STATUS_PROCESSING",
            };
            rows.push(json!({"fileId": id, "status": status}));
        }
        Ok(refusal::success(&json!({"progresses": rows})))
    }

    /// What is wrong with the files of a question, if anything is.
    pub(super) fn wrong(&self, ids: &[String], account: usize, call: &mut Call) -> bool {
        for id in ids {
            let file = self.by_id.get(id).filter(|file| file.account == account);
            let Some(file) = file else {
                call.violate(format!("{id:?} is no file of this account"));
                return true;
            };
            // The service takes the id all the same (§4.4: attempts used up, go on).
            if file.polls_left == POLLS {
                call.violate("a file is used and its progress was never asked for");
            }
        }
        false
    }
}
