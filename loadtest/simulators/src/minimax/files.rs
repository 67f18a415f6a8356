//! Uploads in three steps. Source: wire/minimax.md §11. Where the storage's endpoint leads is this simulator: the page only
//! knows the real one.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use serde_json::{Value, json};
use sha1::Sha1;
use uuid::Uuid;

use super::refusal::{self, Refusal};
use crate::{Call, Reply, Request, request::percent_decode};

pub(super) const BUCKET: &str = "matrix-sim";

/// Permissions by access key, objects by path.
#[derive(Debug, Default)]
pub(super) struct Files {
    policies: HashMap<String, Policy>,
    objects: HashMap<String, Object>,
}

#[derive(Debug)]
struct Policy {
    account: usize,
    secret: String,
    token: String,
    dir: String,
}

#[derive(Debug)]
struct Object {
    account: usize,
    size: usize,
    md5: String,
    /// Set by the third step: where a question finds it, and under which name.
    path: Option<(String, String)>,
}

impl Files {
    /// `GET /v1/api/files/request_policy`.
    pub(super) fn policy(&mut self, account: usize, base: &str) -> Reply {
        let id = || Uuid::new_v4().simple().to_string();
        let key = format!("STS.{}", id());
        let policy = Policy {
            account,
            secret: id(),
            token: format!("CAIS{}/+=", id()),
            dir: format!("cn/sim/{account}"),
        };
        let reply = refusal::account(&json!({
            "endpoint": base, "accessKeyId": key, "accessKeySecret": policy.secret, "securityToken": policy.token,
            "bucketName": BUCKET, "dir": policy.dir,
        }));
        self.policies.insert(key, policy);
        reply
    }

    /// `PUT` of an object, signed as the storage's first form has it.
    pub(super) fn put(&mut self, request: &Request, call: &mut Call) -> Result<Reply, Refusal> {
        let path = percent_decode(request.path.trim_start_matches('/'));
        let key = path
            .strip_prefix(&format!("{BUCKET}/"))
            .unwrap_or(&path)
            .to_owned();
        let stored = self.signed(request, &key).map_err(|what| {
            call.violate(what);
            Reply::new(
                403,
                "application/xml",
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n  <Code>SignatureDoesNotMatch</Code>\n</Error>\n",
            )
        })?;
        call.account = Some(stored);
        for name in ["token", "yy", "x-signature", "cookie"] {
            if request.header_bytes(name).is_some() {
                call.violate(format!("the object storage got the header {name}"));
            }
        }
        call.note("bytes", request.body.len());
        let md5 = Md5::digest(&request.body);
        let object = Object {
            account: stored,
            size: request.body.len(),
            md5: md5.iter().map(|byte| format!("{byte:02x}")).collect(),
            path: None,
        };
        self.objects.insert(key, object);
        Ok(Reply::new(200, "application/xml", ""))
    }

    /// Whose object it is, by the storage's signature.
    fn signed(&self, request: &Request, key: &str) -> Result<usize, String> {
        let authorization = request.header("authorization");
        let (id, sign) = authorization
            .strip_prefix("OSS ")
            .and_then(|rest| rest.split_once(':'))
            .ok_or("Authorization is not OSS, a key and a signature")?;
        let policy = self
            .policies
            .get(id)
            .ok_or("the access key is of no policy")?;
        if request.header("x-oss-security-token") != policy.token {
            return Err("x-oss-security-token is not that of the policy".to_owned());
        }
        let name = key
            .strip_prefix(&format!("{}/", policy.dir))
            .ok_or("the object is not in the policy's dir")?;
        let (stem, extension) = name.split_once('.').ok_or("the object has no extension")?;
        if stem.len() != 32 || Uuid::try_parse(stem).is_err() || extension.is_empty() {
            return Err(format!("the object is called {name:?}"));
        }
        let headers: BTreeMap<_, _> = request
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("x-oss-"))
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
            .collect();
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let date = match request.header("x-oss-date") {
            date if !date.is_empty() => date,
            _ => request.header("date"),
        };
        let text = format!(
            "PUT\n{}\n{}\n{date}\n{headers}/{BUCKET}/{key}",
            request.header("content-md5"),
            request.header("content-type"),
        );
        let mac = Hmac::<Sha1>::new_from_slice(policy.secret.as_bytes());
        let right = mac.map(|mac| STANDARD.encode(mac.chain_update(&text).finalize().into_bytes()));
        match right {
            Ok(right) if right == sign => Ok(policy.account),
            _ => Err("the storage's signature is wrong".to_owned()),
        }
    }

    /// `POST /v1/api/files/policy_callback`.
    pub(super) fn callback(
        &mut self,
        body: &Value,
        account: usize,
        base: &str,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        match self.called_back(body, account, base) {
            Ok(data) => Ok(refusal::account(&data)),
            Err(what) => {
                call.violate(what);
                Err(refusal::malformed())
            }
        }
    }

    fn called_back(&mut self, body: &Value, account: usize, base: &str) -> Result<Value, String> {
        let text = |name: &str| {
            let text = body.get(name).and_then(Value::as_str);
            text.filter(|text| !text.is_empty())
                .ok_or_else(|| format!("{name} is missing or no text"))
        };
        let (name, dir) = (text("fileName")?, text("dir")?);
        let origin = text("originFileName")?;
        text("mimeType")?;
        let key = format!("{dir}/{name}");
        let object = self.objects.get_mut(&key);
        let object = object
            .filter(|object| object.account == account)
            .ok_or("fileName is of no object in dir")?;
        for (name, right) in [
            ("endpoint", base),
            ("bucketName", BUCKET),
            ("size", &object.size.to_string()),
            ("fileMd5", &object.md5),
        ] {
            if text(name)? != right {
                return Err(format!("{name} is not that of the object"));
            }
        }
        let path = format!("{base}/__sim/picture.png?oss={key}");
        object.path = Some((path.clone(), origin.to_owned()));
        Ok(json!({"fileID": Uuid::new_v4().simple().to_string(), "ossPath": path}))
    }

    /// Whether a question may use what it refers to, in the words of its generation.
    pub(super) fn allow(
        &self,
        attachments: &[Value],
        cloud: bool,
        account: usize,
        call: &mut Call,
    ) -> Result<(), Refusal> {
        for attachment in attachments {
            if let Err(what) = self.given(attachment, cloud, account) {
                call.violate(what);
                return Err(refusal::malformed());
            }
        }
        Ok(())
    }

    fn given(&self, attachment: &Value, cloud: bool, account: usize) -> Result<(), String> {
        let text = |pointer: &str| {
            let text = attachment.pointer(pointer).and_then(Value::as_str);
            text.ok_or_else(|| format!("{pointer} of an attachment is missing"))
        };
        let (path, name) = if cloud {
            if !matches!(text("/type")?, "image" | "file") {
                return Err("an attachment's type is neither image nor file".to_owned());
            }
            text("/mime_type")?;
            if text("/data_url")? != text("/file_path")? {
                return Err("an attachment's data_url is not its file_path".to_owned());
            }
            (text("/file_path")?, text("/file_name")?)
        } else {
            if attachment.get("attachment_type") != Some(&json!(1)) {
                return Err("attachment_type is not 1".to_owned());
            }
            (text("/file/file_url")?, text("/file/file_name")?)
        };
        let known = self.objects.values().any(|object| {
            object.account == account
                && object
                    .path
                    .as_ref()
                    .is_some_and(|(own, origin)| own == path && origin == name)
        });
        match known {
            true => Ok(()),
            false => Err("an attachment is none that the account has uploaded".to_owned()),
        }
    }
}
