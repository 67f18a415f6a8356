//! Pictures that are made, and pictures that are sent (wire/doubao.md §4.5, §4.6, §5.3, §6.5).

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::*;

fn drawing(text: &str, ratio: &str) -> Value {
    let mut body = question(text);
    let param =
        json!({"ability_param": {"model": "Seedream 4.5", "ratio": ratio}, "ability_type": 1});
    body["chat_ability"] = json!({"ability_type": 3, "ability_param": param.to_string()});
    body["user_context"] = json!([]);
    body
}

#[test]
fn draws_in_the_stream() {
    let doubao = start("doubao");
    let answer = call(&doubao, 1, CHAT, &drawing("生成图片：一只猫", "16:9")).ask(&doubao);
    assert_eq!(said(&answer).0, "正在为你生成图片");
    assert_eq!(answer.text().matches("\"block_type\":2074").count(), 2);
    assert!(answer.text().contains("image_ori_raw"));
    assert!(
        doubao.control().state().violations.is_empty(),
        "{:?}",
        doubao.control().state()
    );
    let wrong = call(&doubao, 1, CHAT, &drawing("生成图片：一只猫", "2:1"));
    refused(&doubao, &wrong, 200, "ability_param", "ability_param");
    let bare = call(&doubao, 1, CHAT, &drawing("cat", "auto")).ask(&doubao);
    assert_eq!(bare.status, 200);
    assert!(
        doubao
            .control()
            .log()
            .pop()
            .unwrap()
            .violation
            .unwrap()
            .contains("生成图片")
    );
}

#[test]
fn pictures_may_have_to_be_polled() {
    let doubao = start("doubao");
    for quirks in [vec![], vec!["creation_ext".to_owned()]] {
        let as_ext = !quirks.is_empty();
        let script = Script {
            quirks,
            ..Script::default()
        };
        doubao.control().script(script).unwrap();
        doubao.control().fault("pictures_later", 1).unwrap();
        let answer = call(&doubao, 1, CHAT, &drawing("生成图片：一只猫", "1:1")).ask(&doubao);
        assert!(!answer.text().contains("2074"));
        let poll = || {
            let body = json!({
                "cmd": 3100,
                "uplink_body": {"pull_singe_chain_uplink_body": {
                    "conversation_id": conversation(&answer), "anchor_index": 9_007_199_254_740_991_u64,
                    "conversation_type": 3, "direction": 1, "limit": 20, "ext": {}, "filter": {"index_list": []},
                }},
                "sequence_id": uuid(), "channel": 2, "version": "1",
            });
            let found = call(&doubao, 1, "/im/chain/single", &body)
                .ask(&doubao)
                .value();
            found["downlink_body"]["pull_singe_chain_downlink_body"]["messages"][0].clone()
        };
        assert_eq!(
            (poll()["content_block"].clone(), poll()["ext"].clone()),
            (json!([]), json!({}))
        );
        let found = poll();
        assert_eq!(found["ext"].get("creation_full_content").is_some(), as_ext);
        assert!(found.to_string().contains("picture.png"));
    }
    let wrong = call(
        &doubao,
        1,
        "/im/chain/single",
        &json!({"cmd": 3100, "sequence_id": uuid()}),
    );
    refused(&doubao, &wrong, 200, "710011001", "page");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.chain_update(text).finalize().into_bytes().to_vec()
}

/// §5.3, for a query that is sorted already.
fn signed(keys: &Value, method: &'static str, query: &str, body: &str) -> Request {
    let text = |name: &str| keys["upload_auth_token"][name].as_str().unwrap();
    let (date, token) = ("20261128T200000Z", text("session_token"));
    let canonical = format!(
        "{method}\n/top/v1\n{query}\nx-amz-date:{date}\nx-amz-security-token:{token}\n\nx-amz-date;x-amz-security-token\n{}",
        hex(&Sha256::digest(body))
    );
    let scope = "20261128/cn-north-1/imagex/aws4_request";
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex(&Sha256::digest(canonical))
    );
    let mut key = format!("AWS4{}", text("secret_key")).into_bytes();
    for part in scope.split('/') {
        key = mac(&key, part);
    }
    let sign = hex(&mac(&key, &to_sign));
    let mut request = Request::new(method, &format!("/top/v1?{query}"))
        .header("x-amz-date", date)
        .header("x-amz-security-token", token)
        .header(
            "Authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders=x-amz-date;x-amz-security-token, Signature={sign}",
                text("access_key")
            ),
        );
    request.body = body.as_bytes().to_vec();
    request
}

fn prepared(running: &Running) -> Value {
    let body = json!({"tenant_id": "5", "scene_id": "5", "resource_type": 2});
    call(running, 1, "/alice/resource/prepare_upload", &body)
        .ask(running)
        .value()["data"]
        .clone()
}

fn applying(keys: &Value) -> Request {
    let query = "Action=ApplyImageUpload&FileExtension=.png&FileSize=9&NeedFallback=true&ServiceId=a9rns2rl98&Version=2018-08-01";
    signed(keys, "GET", query, "")
}

fn committing(keys: &Value, session: &str) -> Request {
    let query = "Action=CommitImageUpload&ServiceId=a9rns2rl98&Version=2018-08-01";
    signed(
        keys,
        "POST",
        query,
        &json!({"SessionKey": session}).to_string(),
    )
}

fn storing(uri: &str, auth: &str) -> Request {
    let mut request = Request::new("POST", &format!("/upload/v1/{uri}"))
        .header("Authorization", auth)
        .header("Content-CRC32", "cbf43926")
        .header("Content-Type", "application/octet-stream")
        .header("Content-Disposition", "attachment; filename=\"a.png\"");
    request.body = b"123456789".to_vec();
    request
}

fn place(address: &Value) -> [String; 3] {
    [
        "/StoreInfos/0/StoreUri",
        "/StoreInfos/0/Auth",
        "/SessionKey",
    ]
    .map(|pointer| {
        address
            .pointer(pointer)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    })
}

#[test]
fn a_picture_goes_the_five_steps() {
    let doubao = start("doubao");
    let keys = prepared(&doubao);
    let applied = applying(&keys).ask(&doubao).value();
    let [uri, auth, session] = place(&applied["Result"]["UploadAddress"]);
    assert_eq!(storing(&uri, &auth).ask(&doubao).value()["code"], 2000);
    let committed = committing(&keys, &session).ask(&doubao).value();
    let result = &committed["Result"];
    assert_eq!(result["Results"][0]["UriStatus"], 2000);
    let (width, height) = (
        &result["PluginResult"][0]["ImageWidth"],
        &result["PluginResult"][0]["ImageHeight"],
    );
    let (identifier, local) = (uuid(), uuid());
    let handled = json!({
        "uplink_entity": {"entity_type": 2, "entity_content": {"image": {"key": uri}}, "identifier": identifier},
        "bot_id": BOT, "local_message_id": local,
    });
    let route = "/alice/message/pre_handle_v2_without_conv";
    assert_eq!(
        call(&doubao, 1, route, &handled).ask(&doubao).value()["code"],
        0
    );
    let with = |identifier: &str, local: &str| {
        let item = json!({
            "type": 1, "identifier": identifier,
            "image": {
                "name": "a.png", "uri": uri,
                "image_ori": {"url": "", "width": width, "height": height, "format": "", "url_formats": {}},
            },
            "parse_state": 0, "review_state": 1, "upload_status": 1, "progress": 100, "src": "",
        });
        let block =
            json!({"block_type": 10052, "content": {"attachment_block": {"attachments": [item]}}});
        let mut body = question("echo:hi");
        let last = body["messages"][0].clone();
        body["messages"] = json!([message(block, local), last]);
        call(&doubao, 1, CHAT, &body)
    };
    assert_eq!(said(&with(&identifier, &local).ask(&doubao)).0, "hi");
    assert!(
        doubao.control().state().violations.is_empty(),
        "{:?}",
        doubao.control().state()
    );
    refused(
        &doubao,
        &with(&identifier, &uuid()),
        200,
        "attachments",
        "pre-handled",
    );
    refused(
        &doubao,
        &with(&uuid(), &uuid()),
        200,
        "attachments",
        "pre-handled",
    );
}

#[test]
fn the_steps_are_checked() {
    let doubao = start("doubao");
    let keys = prepared(&doubao);
    let denied =
        |request: Request, why: &str| refused(&doubao, &request, 403, "SignatureDoesNotMatch", why);
    let mut other = applying(&keys);
    other.path = other.path.replace("FileSize=9", "FileSize=8");
    denied(other, "signature is wrong");
    denied(
        applying(&keys).header("x-amz-security-token", "x"),
        "x-amz-security-token",
    );
    denied(applying(&keys).without("Authorization"), "Authorization");
    let applied = applying(&keys).ask(&doubao).value();
    let [uri, auth, session] = place(&applied["Result"]["UploadAddress"]);
    refused(
        &doubao,
        &committing(&keys, &session),
        400,
        "InvalidSessionKey",
        "stored",
    );
    refused(&doubao, &storing(&uri, "x"), 403, "4001", "Authorization");
    let wrong = storing(&uri, &auth).header("Content-CRC32", "CBF43926");
    refused(&doubao, &wrong, 400, "4005", "CRC32");
    let mut short = storing(&uri, &auth).header("Content-CRC32", "00000000");
    short.body.clear();
    refused(&doubao, &short, 400, "4005", "size");
    assert_eq!(storing(&uri, &auth).ask(&doubao).status, 200);
    let mut tampered = committing(&keys, &session);
    tampered.body = b"{}".to_vec();
    denied(tampered, "signature is wrong");
    doubao.control().fault("commit_refused", 1).unwrap();
    let refused_commit = committing(&keys, &session).ask(&doubao).value();
    assert_eq!(refused_commit["Result"]["Results"][0]["UriStatus"], 2004);
    let body = json!({"tenant_id": "5", "scene_id": "5", "resource_type": 3});
    let wrong = call(&doubao, 1, "/alice/resource/prepare_upload", &body);
    refused(&doubao, &wrong, 200, "resource_type", "resource_type");
}
