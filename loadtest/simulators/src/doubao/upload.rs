//! Pictures and documents on their way into a question. Source: wire/doubao.md §4.6, §5.3, §7.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ask::Attachment,
    refusal::{self, Refusal},
    signature::{self, Signed},
};
use crate::{Call, Reply, Request, request::percent_decode};

/// It leads nowhere: a client that does not honour `DOUBAO_UPLOAD_BASE_URL` fails instead of reaching the real one.
const HOST: &str = "tos-sim.invalid";
const SERVICE: &str = "a9rns2rl98";
const SIZE: [u64; 2] = [1024, 768];

/// Keys by access key, objects by their place.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    keys: HashMap<String, Key>,
    objects: HashMap<String, Object>,
    /// What was registered: identifier, local message, place.
    handled: Vec<(String, String, String)>,
}

#[derive(Clone, Debug)]
struct Key {
    account: usize,
    secret: String,
    token: String,
    is_image: bool,
}

#[derive(Debug)]
struct Object {
    account: usize,
    size: usize,
    auth: String,
    session: String,
    is_image: bool,
    stored: bool,
    committed: bool,
}

impl Uploads {
    /// `POST /alice/resource/prepare_upload`.
    pub(super) fn prepare(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let kind = body.get("resource_type").and_then(Value::as_u64);
        let wanted = json!({"tenant_id": "5", "scene_id": "5", "resource_type": kind});
        if *body != wanted || !matches!(kind, Some(1 | 2)) {
            call.violate("the body is not tenant_id 5, scene_id 5 and resource_type 1 or 2");
            return Err(refusal::parameter("resource_type"));
        }
        let id = || Uuid::new_v4().simple().to_string();
        let access = format!("AKTP{}", id());
        let key = Key {
            account,
            secret: id(),
            token: format!("STS2{}/+=", id()),
            is_image: kind == Some(2),
        };
        let reply = refusal::success(&json!({
            "service_id": SERVICE, "upload_host": HOST,
            "upload_auth_token": {
                "access_key": access, "secret_key": key.secret, "session_token": key.token,
            },
        }));
        self.keys.insert(access, key);
        Ok(reply)
    }

    /// Whose signed call it is.
    fn signed(&self, request: &Request, call: &mut Call) -> Result<Key, Refusal> {
        let key = self.key(request).map_err(|what| {
            call.violate(what);
            refusal::imagex(403, "SignatureDoesNotMatch")
        })?;
        call.account = Some(key.account);
        Ok(key.clone())
    }

    fn key(&self, request: &Request) -> Result<&Key, String> {
        let authorization = request.header("authorization");
        let rest = authorization
            .strip_prefix("AWS4-HMAC-SHA256 Credential=")
            .ok_or("Authorization is not AWS4-HMAC-SHA256")?;
        let (credential, rest) = rest
            .split_once(", SignedHeaders=")
            .ok_or("Authorization has no SignedHeaders")?;
        let (names, sign) = rest
            .split_once(", Signature=")
            .ok_or("Authorization has no Signature")?;
        let (access, scope) = credential
            .split_once('/')
            .ok_or("Credential has no scope")?;
        let key = self
            .keys
            .get(access)
            .ok_or("the access key was not given")?;
        let date = request.header("x-amz-date");
        let token = request.header("x-amz-security-token");
        if token != key.token {
            return Err("x-amz-security-token is not that of the access key".to_owned());
        }
        let day: String = date.chars().take(8).collect();
        if date.len() != 16 || !date.ends_with('Z') || scope != signature::scope(&day) {
            return Err("x-amz-date or the credential's scope is wrong".to_owned());
        }
        let headers = [
            ("x-amz-date", date.as_str()),
            ("x-amz-security-token", token.as_str()),
        ];
        let signed = Signed {
            method: &request.method,
            path: &request.path,
            query: &request.query,
            headers: &headers,
            body: &request.body,
        };
        if names != signed.names() {
            return Err(format!("SignedHeaders is {names:?}"));
        }
        if signed.sign(&key.secret, &date) != sign {
            return Err("the signature is wrong".to_owned());
        }
        Ok(key)
    }

    /// `GET /top/v1?Action=ApplyImageUpload`.
    pub(super) fn apply(&mut self, request: &Request, call: &mut Call) -> Result<Reply, Refusal> {
        let key = self.signed(request, call)?;
        let query = pairs(&request.query);
        let member = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let size = member("FileSize").parse::<usize>().unwrap_or_default();
        let extension = member("FileExtension");
        let right = query.len() == 6
            && member("Version") == "2018-08-01"
            && member("ServiceId") == SERVICE
            && member("NeedFallback") == "true"
            && size > 0
            && extension.len() > 1
            && extension.starts_with('.');
        if !right {
            call.violate("the query is not that of the page");
            return Err(refusal::imagex(400, "InvalidParameter"));
        }
        let id = Uuid::new_v4().simple().to_string();
        let uri = format!("tos-cn-i-{SERVICE}/{id}{extension}");
        let object = Object {
            account: key.account,
            size,
            auth: format!("SpaceKey/{SERVICE}/1/:version:v2:{id}"),
            session: format!("c2Vzc2lvbi{id}=="),
            is_image: key.is_image,
            stored: false,
            committed: false,
        };
        let body = json!({
            "ResponseMetadata": {"RequestId": id, "Action": "ApplyImageUpload"},
            "Result": {"UploadAddress": {
                "StoreInfos": [{"StoreUri": uri, "Auth": object.auth}], "UploadHosts": [HOST],
                "SessionKey": object.session,
            }},
        });
        self.objects.insert(uri, object);
        Ok(Reply::new(200, "application/json", body.to_string()))
    }

    /// `POST {upload host}/upload/v1/{StoreUri}`.
    pub(super) fn store(&mut self, request: &Request, call: &mut Call) -> Result<Reply, Refusal> {
        let path = percent_decode(&request.path);
        let uri = path.strip_prefix("/upload/v1/").unwrap_or_default();
        if request.header_bytes("cookie").is_some() {
            call.violate("the upload host got the account's cookie");
        }
        let object = self.objects.get_mut(uri);
        let Some(object) = object.filter(|object| request.header("authorization") == object.auth)
        else {
            call.violate("Authorization is not that of the place");
            return Err(refusal::storage(403, 4001, "auth failed"));
        };
        call.account = Some(object.account);
        let right = request.header("content-crc32") == signature::crc32(&request.body)
            && request.body.len() == object.size;
        if !right {
            call.violate("Content-CRC32 or the size is wrong");
            return Err(refusal::storage(400, 4005, "crc32 mismatch"));
        }
        if !request
            .header("content-disposition")
            .starts_with("attachment; filename=\"")
        {
            call.violate("Content-Disposition is not an attachment with a filename");
        }
        if request.header_bytes("content-type").is_none() {
            call.violate("there is no Content-Type");
        }
        object.stored = true;
        call.note("bytes", object.size);
        let body = json!({"code": 2000, "message": "Success", "data": {"crc32": signature::crc32(&request.body)}});
        Ok(Reply::new(200, "application/json", body.to_string()))
    }

    /// `POST /top/v1?Action=CommitImageUpload`.
    pub(super) fn commit(&mut self, request: &Request, call: &mut Call) -> Result<Reply, Refusal> {
        let key = self.signed(request, call)?;
        let query = pairs(&request.query);
        let member = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        if query.len() != 3 || member("Version") != "2018-08-01" || member("ServiceId") != SERVICE {
            call.violate("the query is not that of the page");
            return Err(refusal::imagex(400, "InvalidParameter"));
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let session = body.get("SessionKey").and_then(Value::as_str);
        let found = self.objects.iter_mut().find(|(_, object)| {
            Some(object.session.as_str()) == session && object.account == key.account
        });
        let Some((uri, object)) = found.filter(|(_, object)| object.stored) else {
            call.violate("SessionKey is of no object that was stored");
            return Err(refusal::imagex(400, "InvalidSessionKey"));
        };
        let fails = call.fault == Some("commit_refused");
        object.committed = !fails;
        let [width, height] = SIZE;
        let body = json!({
            "ResponseMetadata": {"Action": "CommitImageUpload"},
            "Result": {
                "Results": [{"Uri": uri, "UriStatus": if fails { 2004 } else { 2000 }}],
                "PluginResult": [{
                    "ImageUri": uri, "ImageWidth": width, "ImageHeight": height, "ImageMd5": "sim",
                    "ImageSize": object.size,
                }],
            },
        });
        Ok(Reply::new(200, "application/json", body.to_string()))
    }

    /// `POST /alice/message/pre_handle_v2_without_conv`.
    pub(super) fn pre_handle(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let text = |pointer: &str| {
            let text = body.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let uri = text("/uplink_entity/entity_content/image/key");
        let identifier = text("/uplink_entity/identifier");
        let local = text("/local_message_id");
        let wanted = json!({
            "uplink_entity": {
                "entity_type": 2, "entity_content": {"image": {"key": uri}}, "identifier": identifier,
            },
            "bot_id": body.get("bot_id"), "local_message_id": local,
        });
        let own = self
            .objects
            .get(&uri)
            .is_some_and(|object| object.account == account && object.committed && object.is_image);
        if *body != wanted || !own || identifier.is_empty() || local.is_empty() {
            call.violate("the body is not that of the page, or of no committed picture");
            return Err(refusal::parameter("uplink_entity"));
        }
        self.handled.push((identifier, local, uri));
        Ok(refusal::success(&json!({})))
    }

    /// Whether a question may use what it refers to.
    pub(super) fn allow(
        &self,
        attachments: &[Attachment],
        samantha: bool,
        account: usize,
        call: &mut Call,
    ) -> Result<(), Refusal> {
        for Attachment {
            uri,
            identifier,
            image,
        } in attachments
        {
            let own = self.objects.get(uri);
            let wrong = match (own, image) {
                (Some(object), _) if object.account != account || !object.committed => {
                    Some("an attachment is another account's, or was not committed")
                }
                (None, _) => Some("an attachment was never uploaded"),
                (Some(object), Some(_)) if !object.is_image => {
                    Some("a document is sent as an image")
                }
                (Some(_), Some((_, size))) if *size != SIZE => Some("width or height is wrong"),
                (Some(_), Some((local, _))) => {
                    let this = (identifier.clone(), local.clone(), uri.clone());
                    let handled = self.handled.contains(&this);
                    (!handled).then_some("an image was not pre-handled under these ids")
                }
                (Some(object), None) => (object.is_image != samantha)
                    .then_some("an image is sent as a document, or the other way round"),
            };
            if let Some(wrong) = wrong {
                call.violate(wrong);
                return Err(refusal::parameter("attachments"));
            }
        }
        Ok(())
    }
}

fn pairs(query: &str) -> BTreeMap<String, String> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), percent_decode(value)))
        .collect()
}
