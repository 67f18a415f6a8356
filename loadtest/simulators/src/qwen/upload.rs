//! Pictures and documents on their way into a question. Source: wire/qwen.md §4.4.

use std::collections::HashMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ask::Attachment,
    refusal::{self, Refusal},
};
use crate::{
    Call, Reply, Request,
    form::{self, Part},
};

/// The bucket that the answers name. It leads nowhere: a client that does not honour `QWEN_UPLOAD_BASE_URL` fails
/// instead of reaching the real one.
const BUCKET_HOST: &str = "https://broadscope-dialogue-new.oss-cn-beijing.invalid";
const ACCESS_ID: &str = "LTAI5tSimulatedAccessId00";
/// How often a document is polled before its check is over.
const CHECKS: u32 = 2;
/// The fields of the form, in the order that object storage insists on: what stands after the file is not read.
const ORDER: [&str; 7] = [
    "OSSAccessKeyId",
    "policy",
    "signature",
    "key",
    "dir",
    "success_action_status",
    "file",
];

/// Upload permissions and uploaded objects.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    tokens: Vec<Token>,
    objects: HashMap<String, Object>,
}

#[derive(Debug)]
struct Token {
    account: usize,
    dir: String,
    policy: String,
    signature: String,
}

#[derive(Debug)]
struct Object {
    account: usize,
    size: u64,
    url: String,
    doc_id: String,
    checks_left: u32,
    refused: bool,
}

impl Uploads {
    /// `POST /dialog/uploadToken`.
    pub(super) fn token(&mut self, account: usize) -> Reply {
        let id = Uuid::new_v4().simple().to_string();
        let token = Token {
            account,
            dir: format!("data/sim/{account}/{id}/"),
            policy: format!("eyJleHBpcmF0aW9uIjoi{id}In0="),
            signature: format!("sim+{id}/="),
        };
        let reply = refusal::success(&json!({
            "accessId": ACCESS_ID, "policy": token.policy, "signature": token.signature, "dir": token.dir,
            "host": BUCKET_HOST, "bucketName": "broadscope-dialogue-new", "expire": "1893456000",
        }));
        self.tokens.push(token);
        reply
    }

    /// `POST /` of the bucket: the form, strictly in order and the file last.
    pub(super) fn store(&mut self, request: &Request, call: &mut Call) -> Result<Reply, Refusal> {
        let malformed = |call: &mut Call, what: String| {
            call.violate(what);
            refusal::oss(
                400,
                "MalformedPOSTRequest",
                "The body of your POST request is not well-formed multipart/form-data.",
            )
        };
        if request.header_bytes("cookie").is_some() {
            call.violate("the object storage got the account's cookie");
        }
        let parts = form::read(&request.header("content-type"), &request.body)
            .map_err(|what| malformed(call, what))?;
        let names: Vec<_> = parts.iter().map(|part| part.name.as_str()).collect();
        if names != ORDER {
            return Err(malformed(
                call,
                format!("the form's fields are {names:?}, not {ORDER:?}"),
            ));
        }
        let [access, policy, signature, key, dir, status, file] = parts.as_slice() else {
            return Err(malformed(
                call,
                "the form has another number of fields".to_owned(),
            ));
        };
        let denied = |call: &mut Call, what: &str| {
            call.violate(what);
            refusal::oss(
                403,
                "AccessDenied",
                "Invalid according to Policy: Policy Condition failed",
            )
        };
        let token = self
            .tokens
            .iter()
            .find(|token| token.signature == signature.text());
        let token = token.ok_or_else(|| denied(call, "the signature is of no upload token"))?;
        call.account = Some(token.account);
        if access.text() != ACCESS_ID || policy.text() != token.policy || dir.text() != token.dir {
            return Err(denied(
                call,
                "OSSAccessKeyId, policy or dir are not those of the upload token",
            ));
        }
        let key = key.text();
        if key.strip_prefix(&token.dir).is_none_or(str::is_empty) {
            return Err(denied(call, "the key is not the token's dir and a name"));
        }
        if status.text() != "200" {
            return Err(denied(call, "success_action_status is not 200"));
        }
        if file.filename.is_none() || file.content_type.is_none() {
            return Err(malformed(
                call,
                "the file has no filename or no content type".to_owned(),
            ));
        }
        call.note("key", key.clone());
        call.note("contentType", file.content_type.clone());
        call.note("bytes", file.data.len());
        let object = stored(token.account, &key, file);
        self.objects.insert(key, object);
        Ok(Reply::new(200, "text/plain", ""))
    }

    /// `POST /dialog/downloadLink`: the address of a picture.
    pub(super) fn link(
        &self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let object = self.named(body, body.get("fileKey"), "image", account, call)?;
        Ok(refusal::success(&json!({"url": object.url})))
    }

    /// `POST /dialog/downloadLink/batch`: the address and id of a document.
    pub(super) fn links(
        &self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let object = self.named(body, body.pointer("/fileKeys/0"), "file", account, call)?;
        Ok(refusal::success(
            &json!({"results": [{"url": object.url, "docId": object.doc_id, "errorMsg": null}]}),
        ))
    }

    fn named(
        &self,
        body: &Value,
        name: Option<&Value>,
        kind: &str,
        account: usize,
        call: &mut Call,
    ) -> Result<&Object, Refusal> {
        let text =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, dir) = (text(name), text(body.get("dir")));
        if text(body.get("fileType")) != kind {
            call.violate(format!("fileType is not {kind:?}"));
            return Err(refusal::json("PARAM_ERROR", "参数错误"));
        }
        let object = self
            .objects
            .get(&format!("{dir}{name}"))
            .filter(|object| object.account == account);
        object.ok_or_else(|| {
            call.violate(format!(
                "no object {name:?} in {dir:?}; fileKey is the bare name"
            ));
            refusal::json("FILE_NOT_EXIST", "文件不存在")
        })
    }

    /// `POST /dialog/secResult/batch`: over after [`CHECKS`] polls.
    pub(super) fn checked(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
        fault: Option<&str>,
    ) -> Result<Reply, Refusal> {
        let url = body
            .pointer("/urls/0")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let object = self
            .objects
            .values_mut()
            .find(|object| object.url == url && object.account == account);
        let Some(object) = object else {
            call.violate("urls[0] is not the address of an uploaded document");
            return Err(refusal::json("FILE_NOT_EXIST", "文件不存在"));
        };
        if fault != Some("sec_pending") {
            object.checks_left = object.checks_left.saturating_sub(1);
        }
        object.refused |= fault == Some("sec_refused");
        let over = object.checks_left == 0 || object.refused;
        let (status, message) = if object.refused {
            (0, "文件内容不合规")
        } else {
            (1, "")
        };
        let list = if over {
            json!([{"url": url, "status": status, "errorMsg": message}])
        } else {
            json!([])
        };
        Ok(refusal::success(
            &json!({"pollEndFlag": over, "statusList": list}),
        ))
    }

    /// Whether a question may use what it refers to.
    pub(super) fn allow(
        &self,
        attachment: &Attachment,
        account: usize,
        call: &mut Call,
    ) -> Result<(), Refusal> {
        let (Attachment::Image { url } | Attachment::File { url, .. }) = attachment;
        let object = self
            .objects
            .values()
            .find(|object| object.url == *url && object.account == account);
        let Some(object) = object else {
            call.violate(format!(
                "{url:?} is not, letter for letter, an address that the account was given"
            ));
            return Err(refusal::frame("FILE_NOT_EXIST", "文件不存在"));
        };
        let Attachment::File { size, doc_id, .. } = attachment else {
            return Ok(());
        };
        if (*size, doc_id) != (object.size, &object.doc_id) {
            call.violate("ext.fileSize or ext.docId are not those of the document");
            return Err(refusal::frame("PARAM_ERROR", "参数错误"));
        }
        if object.checks_left > 0 {
            call.violate("the document's check was not waited for");
            return Err(refusal::frame("FILE_SEC_CHECKING", "文件安全检测中"));
        }
        Ok(())
    }
}

fn stored(account: usize, key: &str, file: &Part) -> Object {
    let id = Uuid::new_v4().simple().to_string();
    Object {
        account,
        size: file.data.len() as u64,
        url: format!(
            "{BUCKET_HOST}/{key}?Expires=1893456000&OSSAccessKeyId={ACCESS_ID}&Signature=s%2Bm%3D{id}"
        ),
        doc_id: id,
        checks_left: CHECKS,
        refused: false,
    }
}
