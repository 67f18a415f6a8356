use uuid::Uuid;

use super::*;

const MOMENT: Moment = Moment {
    unix_ms: 1_763_718_867_253,
    nonce: Uuid::max(),
    request_id: Uuid::from_u128(0x1234),
};

fn site() -> Site {
    Site {
        base_url: "http://127.0.0.1:1".to_owned(),
        sign_secret: sign::SECRET.to_owned(),
    }
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let mut found = request.headers.iter().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| value.to_str().unwrap());
    assert!(found.next().is_none(), "{name} twice");
    value
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body.concat()).unwrap()
}

fn asked(id: &str, thinking: bool, search: bool, items: &[Value]) -> (Request, Value) {
    let (site, token) = (site(), Secret::new("access"));
    let model = models::find(id).unwrap();
    let question = Question {
        conversation_id: "",
        ratio: "1:1",
        route: models::route(&model.upstream, thinking),
        search,
        prompt: "你好",
        items,
    };
    let caller = Caller {
        site: &site,
        token: &token,
        device: "dev",
    };
    let request = ask(caller, &question, MOMENT);
    let body = body(&request);
    (request, body)
}

/// The body of section 4.2, and the headers of 4.1.
#[test]
fn a_question_has_the_pages_form() {
    let (request, body) = asked("zhipu", true, false, &[]);
    assert_eq!(
        body,
        json!({
            "assistant_id": "65940acff94777010aa6b796", "conversation_id": "", "project_id": "", "chat_type": "user_chat",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "你好"}]}],
            "meta_data": {"cogview": {"rm_label_watermark": false}, "is_test": false, "input_question_type": "xxxx", "channel": "",
                "draft_id": "", "chat_mode": "zero", "is_networking": false, "quote_log_id": "", "platform": "pc"},
        })
    );
    assert_eq!(
        request.url,
        "http://127.0.0.1:1/chatglm/backend-api/assistant/stream"
    );
    for (name, value) in [
        ("authorization", "Bearer access"),
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
        ("x-device-id", "dev"),
        ("x-app-platform", "pc"),
        ("x-app-version", "0.0.1"),
        ("x-timestamp", "1763718867293"),
        ("x-nonce", "ffffffffffffffffffffffffffffffff"),
        ("x-sign", "d612a6aaffa7b248cba57df249cf3ddf"),
        ("x-request-id", "00000000000000000000000000001234"),
        ("app-name", "chatglm"),
        ("origin", "https://chatglm.cn"),
        ("referer", "https://chatglm.cn/main/alltoolsdetail"),
        ("x-lang", "zh"),
        ("x-app-fr", "default"),
        ("x-exp-groups", ""),
        ("x-device-model", ""),
        ("x-device-brand", ""),
        ("accept-language", "zh-CN,zh;q=0.9"),
    ] {
        assert_eq!(header(&request, name), Some(value), "{name}");
    }
    assert!(
        header(&request, "user-agent").is_some_and(|it| it.starts_with("Mozilla/5.0 (Windows"))
    );
    assert!(request.once);
}

#[test]
fn switches_and_agents_are_told() {
    let (_, body) = asked("glm-5.1", false, true, &[]);
    let meta = &body["meta_data"];
    assert_eq!(
        (
            &meta["chat_mode"],
            &meta["is_networking"],
            &meta["selected_model"]
        ),
        (&json!(""), &json!(true), &json!("glm-5.1"))
    );
    let agent = "676411c38945bbc58a905d31";
    let (request, body) = asked(agent, true, false, &[]);
    assert_eq!(body["assistant_id"], agent);
    assert_eq!(
        header(&request, "referer"),
        Some("https://chatglm.cn/main/gdetail/676411c38945bbc58a905d31")
    );
    let (_, body) = asked("cogview-3-plus", false, false, &[]);
    assert_eq!(body["assistant_id"], "65a232c082ff90a2ad2f15e2");
    assert_eq!(
        body["meta_data"]["cogview"],
        json!({"aspect_ratio": "1:1", "style": "none", "scene": "none", "chat_model": "", "rm_label_watermark": false})
    );
}

#[test]
fn uploads_become_items() {
    let read = |json: Value| Uploaded::read(json.to_string().as_bytes());
    let picture = read(json!({"status": 0, "message": "success", "result": {"file_id": "f", "source_id": "s", "file_name": "a.png",
        "file_url": "https://e/a.png", "file_size": 9, "width": 1, "height": 2}}))
    .unwrap();
    assert!(picture.is_picture());
    assert_eq!(
        picture.item(3),
        json!({"type": "image", "image": [{"file_id": "f", "source_id": "s", "file_name": "a.png", "file_url": "https://e/a.png",
            "file_size": 9, "width": 1, "height": 2, "image_url": "https://e/a.png", "order": 3}]})
    );
    let document =
        read(json!({"result": [{"file_id": "f", "file_name": "a.txt", "width": null}]})).unwrap();
    assert!(!document.is_picture());
    let item = document.item(0);
    assert_eq!(
        item,
        json!({"type": "file", "file": [{"file_id": "f", "file_name": "a.txt", "width": null}]})
    );
    for odd in [
        json!({"result": null}),
        json!({"result": {}}),
        json!({"result": [5]}),
        json!([]),
    ] {
        assert!(read(odd).is_none());
    }
    let (_, body) = asked("zhipu", true, false, std::slice::from_ref(&item));
    assert_eq!(body["messages"][0]["content"][1], item);
}

#[test]
fn an_upload_is_not_signed_and_a_refresh_is() {
    let (site, token) = (site(), Secret::new("refresh"));
    let caller = Caller {
        site: &site,
        token: &token,
        device: "dev",
    };
    let file = Attachment {
        name: "a.txt".to_owned(),
        content_type: "text/plain".to_owned(),
        bytes: "x".into(),
    };
    let upload = upload(caller, &file, "B".to_owned());
    assert_eq!(header(&upload, "authorization"), Some("Bearer refresh"));
    assert_eq!(header(&upload, "x-sign"), None);
    assert!(
        upload.body.concat().starts_with(
            b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\""
        )
    );
    let refresh = refresh(caller, MOMENT);
    assert_eq!(refresh.body.concat(), b"{}");
    assert_eq!(
        header(&refresh, "content-type"),
        Some("application/json;charset=utf-8")
    );
    assert!(header(&refresh, "x-sign").is_some() && refresh.once);
    let delete = delete(caller, "a", "c", MOMENT);
    assert_eq!(
        header(&delete, "referer"),
        Some("https://chatglm.cn/main/gdetail/a")
    );
    assert_eq!(
        body(&delete),
        json!({"assistant_id": "a", "conversation_id": "c"})
    );
}

#[test]
fn tokens_are_read_in_both_spellings() {
    for body in [
        r#"{"status":0,"message":"success","result":{"access_token":"a1","refresh_token":"r1"}}"#,
        r#"{"result":{"accessToken":"a1","refreshToken":"r1"}}"#,
    ] {
        let (access, refresh) = tokens(body.as_bytes()).unwrap();
        assert_eq!(
            (access.expose(), refresh.unwrap().expose().to_owned()),
            ("a1", "r1".to_owned())
        );
    }
    for odd in [
        "",
        "{}",
        r#"{"result":null}"#,
        r#"{"result":{"access_token":""}}"#,
    ] {
        assert!(tokens(odd.as_bytes()).is_none(), "{odd}");
    }
}
