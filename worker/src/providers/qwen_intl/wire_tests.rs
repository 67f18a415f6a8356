use super::*;
use crate::settings::{Problems, Vars};

const MOMENT: Moment = Moment {
    unix_ms: 1_795_169_700_123,
    request_id: Uuid::from_u128(0x1111_2222_3333_4444_8555_6666_7777_8888),
};

fn site() -> Site {
    let mut problems = Problems::default();
    let site = Site::read(&Vars::default(), &mut problems);
    assert!(problems.errors.is_empty(), "{problems:?}");
    site
}

fn with_caller<T>(site: &Site, call: impl FnOnce(Caller<'_>) -> T) -> T {
    let [token, cookie, bx_ua] = ["jwt", "a=b; token=jwt", "231!x"].map(Secret::new);
    call(Caller {
        site,
        token: Some(&token),
        cookie: Some(&cookie),
        device: None,
        bx_ua: Some(&bx_ua),
    })
}

fn value<'a>(request: &'a Request, name: &str) -> &'a str {
    let found = request.headers.iter().filter(|(known, _)| known == name);
    let found: Vec<&str> = found.map(|(_, value)| value.to_str().unwrap()).collect();
    let [only] = found.as_slice() else {
        panic!("{name}: {found:?}");
    };
    only
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body.concat()).unwrap()
}

/// Section 4.1: what is required of all calls, and what of questions alone.
#[test]
fn the_set_of_headers_is_complete() {
    let site = site();
    let question = question(Kind::Text, &[]);
    for request in with_caller(&site, |caller| {
        [
            create_chat(caller.clone(), "m", Kind::Text, MOMENT),
            ask(caller.clone(), &question, MOMENT),
            stop(caller.clone(), "c/1", "r1", MOMENT),
            delete(caller.clone(), "c1", MOMENT),
            detail(caller.clone(), "c1", MOMENT),
            models(caller.clone(), Api::V1, MOMENT),
            task(caller, Api::V2, "t1", MOMENT),
        ]
    }) {
        for (name, expected) in [
            ("authorization", "Bearer jwt"),
            ("cookie", "a=b; token=jwt"),
            ("bx-ua", "231!x"),
            ("bx-v", "2.5.36"),
            ("source", "web"),
            ("version", "0.2.63"),
            ("x-request-id", "11112222-3333-4444-8555-666677778888"),
            ("origin", "https://chat.qwen.ai"),
            ("timezone", "Fri Nov 20 2026 18:15:00 GMT+0800"),
            ("sec-fetch-dest", "empty"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-site", "same-origin"),
        ] {
            assert_eq!(value(&request, name), expected, "{request:?}");
        }
        assert!(value(&request, "user-agent").contains("Chrome/"));
        let accept = match request.step {
            "conversation" => "text/event-stream",
            _ => SHORT,
        };
        assert_eq!(value(&request, "accept"), accept);
        if request.method == Method::POST {
            assert_eq!(value(&request, "content-type"), "application/json");
        }
        if request.step == "conversation" {
            assert_eq!(value(&request, "x-accel-buffering"), "no");
            assert_eq!(value(&request, "referer"), "https://chat.qwen.ai/c/c1");
        }
    }
}

fn question<'a>(kind: Kind, files: &'a [Value]) -> Question<'a> {
    Question {
        parent: None,
        chat_id: "c1",
        model: "qwen3.7-plus",
        kind,
        prompt: "PROMPT",
        files,
        thinking: false,
        thinking_budget: Some(4096),
        size: None,
        fid: Uuid::from_u128(1),
    }
}

/// Section 4.3, member by member.
#[test]
fn a_question_is_the_wire_pages() {
    let site = site();
    let request = with_caller(&site, |caller| {
        ask(caller, &question(Kind::Text, &[]), MOMENT)
    });
    assert_eq!(
        request.url,
        "https://chat.qwen.ai/api/v2/chat/completions?chat_id=c1"
    );
    assert!(request.once);
    let expected = serde_json::json!({
        "stream": true, "version": "2.1", "incremental_output": true, "chat_id": "c1", "chat_mode": "normal",
        "model": "qwen3.7-plus", "parent_id": null,
        "messages": [{
            "fid": Uuid::from_u128(1).to_string(), "parentId": null, "childrenIds": [], "role": "user", "content": "PROMPT",
            "user_action": "chat", "files": [], "timestamp": 1_795_169_700, "models": ["qwen3.7-plus"],
            "chat_type": "t2t", "sub_chat_type": "t2t", "extra": {"meta": {"subChatType": "t2t"}},
            "feature_config": {
                "thinking_enabled": false, "output_schema": "phase", "research_mode": "normal", "auto_thinking": false,
                "thinking_mode": "Fast", "auto_search": false,
            },
        }],
        "timestamp": 1_795_169_700,
    });
    assert_eq!(body(&request), expected);
}

#[test]
fn switches_and_kinds_are_in_the_question() {
    let site = site();
    let thinking = with_caller(&site, |caller| {
        let question = Question {
            thinking: true,
            ..question(Kind::Search, &[])
        };
        body(&ask(caller, &question, MOMENT))
    });
    let features = &thinking["messages"][0]["feature_config"];
    assert_eq!(features["thinking_enabled"], true);
    assert_eq!(features["thinking_mode"], "Thinking");
    assert_eq!(features["thinking_budget"], 4096);
    assert_eq!(thinking["messages"][0]["chat_type"], "search");
    for (kind, word, in_meta) in [
        (Kind::Video, "t2v", false),
        (Kind::VideoOfImage, "i2v", true),
    ] {
        let request = with_caller(&site, |caller| {
            let question = Question {
                size: Some("16:9"),
                ..question(kind, &[])
            };
            ask(caller, &question, MOMENT)
        });
        assert_eq!(value(&request, "accept"), "application/json");
        let body = body(&request);
        assert_eq!(body["stream"], false);
        assert_eq!(body["incremental_output"], true);
        assert_eq!(body["size"], "16:9");
        let meta = &body["messages"][0]["extra"]["meta"];
        assert_eq!(meta["subChatType"], word);
        assert_eq!(meta.get("size").is_some(), in_meta);
    }
}

/// The time of a new chat is in milliseconds (section 4.2).
#[test]
fn a_new_chat_is_the_wire_pages() {
    let site = site();
    let request = with_caller(&site, |caller| {
        create_chat(caller, "qwen3.7-plus", Kind::Image, MOMENT)
    });
    let expected = serde_json::json!({
        "title": "New Chat", "models": ["qwen3.7-plus"], "chat_mode": "normal", "chat_type": "t2i",
        "timestamp": 1_795_169_700_123_u64, "project_id": "",
    });
    assert_eq!(body(&request), expected);
    assert_eq!(
        chat_id(br#"{"success":true,"request_id":"r","data":{"id":"c1"}}"#).as_deref(),
        Some("c1")
    );
    assert_eq!(chat_id(br#"{"success":true,"data":{"id":""}}"#), None);
}

/// Section 6.3.
#[test]
fn a_login_sends_the_passwords_hash() {
    let site = site();
    let account = Login {
        email: Secret::new("x@example.com"),
        password: Secret::new("test-password"),
    };
    let request = with_caller(&site, |caller| login(caller, Api::V2, &account, MOMENT));
    assert_eq!(request.url, "https://chat.qwen.ai/api/v2/auths/signin");
    assert_eq!(
        body(&request),
        serde_json::json!({
            "email": "x@example.com",
            "password": "c638833f69bbfb3c267afa0a74434812436b8f08a81fd263c6be6871de4f1265",
        })
    );
    for body in [
        r#"{"success":true,"data":{"token":"t"}}"#,
        r#"{"data":{"access_token":"t"}}"#,
        r#"{"token":"t"}"#,
    ] {
        assert_eq!(token_in(body.as_bytes()).as_deref(), Some("t"), "{body}");
    }
    assert_eq!(token_in(br#"{"token":""}"#), None);
}

/// Section 4.4, the element of `files`.
#[test]
fn an_upload_becomes_an_element() {
    let grant = oss::Grant::read(
        br#"{"access_key_id":"i","access_key_secret":"s","security_token":"t","file_url":"https://h/o?q=1","file_path":"o","file_id":"f1","bucketname":"b","region":"r"}"#,
    )
    .unwrap();
    for (mime, kind, filetype, file_class) in [
        ("image/png", "image", "image", "vision"),
        ("video/mp4", "video", "video", "video"),
        ("audio/wav", "audio", "audio", "audio"),
        ("application/pdf", "file", "document", "document"),
        ("text/plain", "file", "document", "document"),
        ("application/octet-stream", "file", "file", "document"),
    ] {
        let attachment = Attachment {
            name: "a.b".to_owned(),
            content_type: mime.to_owned(),
            bytes: bytes::Bytes::from_static(b"abc"),
        };
        let (item, task) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let element = file(&grant, &attachment, item, task, 7);
        let expected = serde_json::json!({
            "type": kind,
            "file": {"created_at": 7, "data": {}, "filename": "a.b", "hash": null, "id": "f1",
                "meta": {"name": "a.b", "size": 3, "content_type": mime}, "update_at": 7},
            "id": "f1", "url": "https://h/o?q=1", "name": "a.b", "collection_name": "", "progress": 0, "status": "uploaded",
            "greenNet": "success", "size": 3, "error": "", "itemId": item.to_string(), "file_type": mime, "showType": kind,
            "file_class": file_class, "uploadTaskId": task.to_string(),
        });
        assert_eq!(element, expected);
        let site = site();
        let request = with_caller(&site, |caller| {
            super::grant(caller, Api::V2, &attachment, MOMENT)
        });
        assert_eq!(
            body(&request),
            serde_json::json!({"filename": "a.b", "filesize": 3, "filetype": filetype})
        );
    }
}

/// Section 6.4: behind the cookies that there are, in one header.
#[test]
fn the_device_is_told_in_cookies_of_its_own() {
    let site = site();
    for (has_cookie, expected) in [(true, "a=b; token=jwt; d=1; e=2"), (false, "d=1; e=2")] {
        let request = with_caller(&site, |caller| {
            let caller = Caller {
                cookie: caller.cookie.filter(|_| has_cookie),
                device: Some("d=1; e=2".into()),
                ..caller
            };
            delete(caller, "c1", MOMENT)
        });
        assert_eq!(value(&request, "cookie"), expected);
    }
}
