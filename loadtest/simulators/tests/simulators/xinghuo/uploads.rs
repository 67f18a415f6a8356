//! Pictures and documents (wire/xinghuo.md §4.6).

use super::*;

fn encode(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Signs and uploads some bytes; answers the link.
fn upload(xinghuo: &Running, file: &str) -> String {
    let sign = call(xinghuo, 1, "POST", "/iflygpt/oss/sign")
        .form(&[(file, "")])
        .ask(xinghuo)
        .value()["data"]
        .clone();
    let field = |name: &str| sign[name].as_str().unwrap();
    let path = field("url").strip_prefix(&xinghuo.url).unwrap();
    // Upload vector A of the page.
    let authorization = "YXBpX2tleT0iayIsIGFsZ29yaXRobT0iaG1hYy1zaGEyNTYiLCBoZWFkZXJzPSJob3N0IGRhdGUgcmVxdWVzdC1saW5lIiwgc2lnbmF0dXJlPSJjMmxuIg==";
    let query = |authorization: &str| {
        format!(
            "{path}&authorization={authorization}&date={}&host={}",
            encode(field("date")),
            encode(field("host"))
        )
    };
    let send = |path: &str| {
        let mut request =
            Request::new("POST", path).header("Authorization", field("authorization"));
        request.body = b"bytes".to_vec();
        request
    };
    refused(xinghuo, &send(&query(authorization)), 403, "HMAC");
    let link = send(&query(&encode(authorization))).ask(xinghuo).value()["data"]["link"].clone();
    link.as_str().unwrap().to_owned()
}

#[test]
fn takes_pictures_and_documents() {
    let xinghuo = start("xinghuo");
    let id = window(&xinghuo, 1);
    let sign = |name: &str| call(&xinghuo, 1, "POST", "/iflygpt/oss/sign").form(&[(name, "")]);
    refused(&xinghuo, &sign("file"), 200, "40000");
    refused(
        &xinghuo,
        &sign("blob|; filename=\"a.png\"\r\nContent-Type: image/png"),
        200,
        "40000",
    );
    let link = upload(
        &xinghuo,
        "file|; filename=\"a.png\"\r\nContent-Type: image/png",
    );
    refused(
        &xinghuo,
        &form(&xinghuo, &[("chatId", &id), ("fileUrl", "https://x/y.png")]),
        200,
        "40000",
    );
    assert!(
        form(&xinghuo, &[("chatId", &id), ("fileUrl", &link)])
            .ask(&xinghuo)
            .text()
            .contains("<end>")
    );

    let id = window(&xinghuo, 1);
    let link = upload(
        &xinghuo,
        "file|; filename=\"a.pdf\"\r\nContent-Type: application/pdf",
    );
    let mut save = json!({
        "businessType": 0, "chatId": id, "fileBusinessKey": "48b9ee49-a184-45e2-9f67-fa87213edcdc", "fileName": "a.pdf",
        "fileSize": 4, "fileUrl": link,
    });
    let path = "/iflygpt-longcontext/chat/enhance/saveFile";
    assert_eq!(post(&xinghuo, 1, path, &save)["code"], 40000);
    save["fileSize"] = json!(5);
    assert_eq!(post(&xinghuo, 1, path, &save)["flag"], true);
    let mut ask = asking(&xinghuo, &id, "what is in it?");
    refused(&xinghuo, &ask, 200, "40000");
    ask.path = LONG_CHAT.to_owned();
    assert!(ask.ask(&xinghuo).text().contains("<end>"));
}
