//! Pictures and documents (wire/qwen.md §4.4).

use super::*;

fn upload_form<'a>(token: &'a Value, key: &'a str) -> Vec<(&'a str, &'a str)> {
    let field = |name: &str| token[name].as_str().unwrap();
    vec![
        ("OSSAccessKeyId", field("accessId")),
        ("policy", field("policy")),
        ("signature", field("signature")),
        ("key", key),
        ("dir", field("dir")),
        ("success_action_status", "200"),
        (
            "file|; filename=\"a.png\"\r\nContent-Type: image/png",
            "PNG",
        ),
    ]
}

#[test]
fn takes_pictures_and_documents() {
    let qwen = start("qwen");
    let token = call(&qwen, 1, "/dialog/uploadToken", &json!({}))
        .ask(&qwen)
        .value()["data"]
        .clone();
    let dir = token["dir"].as_str().unwrap();
    let key = format!("{dir}a.png");
    let good = Request::new("POST", "/").form(&upload_form(&token, &key));
    assert_eq!(good.ask(&qwen).status, 200);
    let mut swapped = upload_form(&token, &key);
    swapped.swap(5, 6);
    refused(
        &qwen,
        &Request::new("POST", "/").form(&swapped),
        400,
        "MalformedPOSTRequest",
    );
    refused(
        &qwen,
        &Request::new("POST", "/").form(&upload_form(&token, "a.png")),
        403,
        "AccessDenied",
    );
    refused(
        &qwen,
        &good.header("Content-Type", "application/x-www-form-urlencoded"),
        400,
        "Malformed",
    );

    let link = json!({"fileKey": "a.png", "fileType": "image", "dir": dir});
    let url = call(&qwen, 1, "/dialog/downloadLink", &link)
        .ask(&qwen)
        .value()["data"]["url"]
        .clone();
    let with_key = json!({"fileKey": key, "fileType": "image", "dir": dir});
    refused(
        &qwen,
        &call(&qwen, 1, "/dialog/downloadLink", &with_key),
        200,
        "FILE_NOT_EXIST",
    );
    let mut body = question("echo:seen");
    let text = body["contents"][0].clone();
    body["contents"] = json!([text, {"role": "user", "contentType": "image", "content": url}]);
    assert!(asking(&qwen, &body).ask(&qwen).text().contains("seen"));
    body["requestId"] = json!(uuid());
    body["contents"][1]["content"] = json!("https://elsewhere/a.png");
    assert!(
        asking(&qwen, &body)
            .ask(&qwen)
            .text()
            .contains("FILE_NOT_EXIST")
    );

    let links = json!({"fileKeys": ["a.png"], "fileType": "file", "dir": dir});
    let document = call(&qwen, 1, "/dialog/downloadLink/batch", &links)
        .ask(&qwen)
        .value()["data"]["results"][0]
        .clone();
    let ext = json!({"fileSize": 3, "docId": document["docId"]});
    body["contents"][1] =
        json!({"role": "user", "contentType": "file", "content": document["url"], "ext": ext});
    let mut ask = || {
        body["requestId"] = json!(uuid());
        asking(&qwen, &body).ask(&qwen).text()
    };
    assert!(ask().contains("FILE_SEC_CHECKING"));
    let poll = || {
        call(
            &qwen,
            1,
            "/dialog/secResult/batch",
            &json!({"urls": [document["url"]]}),
        )
        .ask(&qwen)
        .value()
    };
    assert_eq!(poll()["data"]["pollEndFlag"], false);
    assert_eq!(poll()["data"]["pollEndFlag"], true);
    assert!(ask().contains("seen"));
}
