//! Uploads in three steps (wire/minimax.md §11).

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::*;

/// Puts an object as the policy allows it; gives the name back.
fn put(policy: &Value, name: &str) -> (Request, String) {
    let text = |name: &str| policy[name].as_str().unwrap();
    let key = format!("{}/{name}", text("dir"));
    let (date, token) = ("Sat, 28 Nov 2026 20:00:00 GMT", text("securityToken"));
    let bucket = text("bucketName");
    let signed = format!("PUT\n\nimage/png\n{date}\nx-oss-security-token:{token}\n/{bucket}/{key}");
    let mac = Hmac::<Sha1>::new_from_slice(text("accessKeySecret").as_bytes()).unwrap();
    let sign = STANDARD.encode(mac.chain_update(signed).finalize().into_bytes());
    let mut request = Request::new("PUT", &format!("/{bucket}/{key}"))
        .header("Date", date)
        .header("Content-Type", "image/png")
        .header("x-oss-security-token", token)
        .header(
            "Authorization",
            format!("OSS {}:{sign}", text("accessKeyId")),
        );
    request.body = b"png".to_vec();
    (request, key)
}

fn policy(running: &Running) -> Value {
    get(running, 1, "/v1/api/files/request_policy").value()["data"].clone()
}

fn name() -> String {
    format!("{}.png", uuid::Uuid::new_v4().simple())
}

fn call_back(running: &Running, policy: &Value, name: &str, size: &str) -> Value {
    let body = json!({
        "fileName": name, "originFileName": "a.png", "dir": policy["dir"], "endpoint": policy["endpoint"],
        "bucketName": policy["bucketName"], "size": size, "mimeType": "image/png", "fileMd5": md5("png"),
    });
    post(
        running,
        1,
        "/v1/api/files/policy_callback",
        &body.to_string(),
    )
    .value()
}

#[test]
fn a_picture_goes_the_three_steps() {
    let minimax = start("minimax");
    prepare(&minimax, 1);
    let (policy, name) = (policy(&minimax), name());
    assert_eq!(put(&policy, &name).0.ask(&minimax).status, 200);
    let uploaded = call_back(&minimax, &policy, &name, "3");
    let path = uploaded["data"]["ossPath"].as_str().unwrap();
    let attachment = json!([{
        "type": "image", "file_path": path, "file_name": "a.png", "mime_type": "image/png", "data_url": path,
    }]);
    let body = |attachments: &Value| {
        message_body("echo:hi", "").replace(
            ",\"turn_id\"",
            &format!(",\"attachments\":{attachments},\"turn_id\""),
        )
    };
    let session = open(&minimax, 1);
    let answer = asked(&minimax, &session, &body(&attachment));
    assert_eq!(increments(&answer, "msg_content"), "hi");
    assert!(
        minimax.control().state().violations.is_empty(),
        "{:?}",
        minimax.control().state()
    );
    let mut other = attachment;
    other[0]["file_path"] = json!("x");
    other[0]["data_url"] = json!("x");
    let wrong = message(&minimax, &session, &body(&other)).signed(&minimax);
    refused(&minimax, &wrong, 200, "2013", "attachment");
}

#[test]
fn the_steps_are_checked() {
    let minimax = start("minimax");
    let (policy, name) = (policy(&minimax), name());
    let (good, _) = put(&policy, &name);
    let denied = |request: Request, why: &str| {
        refused(&minimax, &request, 403, "SignatureDoesNotMatch", why)
    };
    denied(
        good.clone().header("Content-Type", "image/gif"),
        "signature is wrong",
    );
    denied(
        good.clone().header("x-oss-security-token", "x"),
        "x-oss-security-token",
    );
    denied(good.clone().without("Authorization"), "Authorization");
    denied(put(&policy, "a.png").0, "called");
    assert_eq!(
        call_back(&minimax, &policy, &name, "3")["base_resp"]["status_code"],
        2013
    );
    good.ask(&minimax);
    assert_eq!(
        call_back(&minimax, &policy, &name, "4")["base_resp"]["status_code"],
        2013
    );
    assert!(call_back(&minimax, &policy, &name, "3")["data"]["fileID"].is_string());
}
