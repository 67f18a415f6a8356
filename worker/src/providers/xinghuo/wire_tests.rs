use bytes::Bytes;

use super::*;
use crate::accounts::Secret;

fn account() -> Account {
    Account {
        cookie: Secret::new("ssoSessionId=s; x=ü"),
        gt_token: Some(Secret::new("R0+/==")),
        variable: "XINGHUO_COOKIE".to_owned(),
        answered: Default::default(),
    }
}

fn chat(messages: &Value) -> ChatRequest {
    let body = json!({"model": "spark", "messages": messages}).to_string();
    crate::http::openai::body::read(Bytes::from(body)).unwrap()
}

fn question() -> Question {
    Question {
        sid: None,
        text: "你好\r\n--B".to_owned(),
        thinking: false,
        bot: None,
        pictures: Vec::new(),
        documents: Vec::new(),
    }
}

fn in_form<T>(form: Form, use_caller: impl FnOnce(Caller<'_>) -> T) -> T {
    let account = account();
    use_caller(Caller {
        base_url: "https://x",
        account: &account,
        form,
    })
}

fn with<T>(use_caller: impl FnOnce(Caller<'_>) -> T) -> T {
    in_form(Form::Classic, use_caller)
}

fn asked(question: &Question) -> Request {
    with(|caller| ask(caller, question, "158", "401123", "B".to_owned()))
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a [u8]> {
    let mut found = request.headers.iter().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| value.as_bytes());
    assert!(found.next().is_none(), "{name} twice");
    value
}

/// Name and value of each part, in order.
fn parts(request: &Request) -> Vec<(String, String)> {
    let body = String::from_utf8(request.body.concat()).unwrap();
    let body = body.strip_suffix("--B--\r\n").unwrap();
    body.split("--B\r\nContent-Disposition: form-data; name=\"")
        .skip(1)
        .map(|part| {
            let (name, value) = part.split_once("\"\r\n\r\n").unwrap();
            (
                name.to_owned(),
                value.strip_suffix("\r\n").unwrap().to_owned(),
            )
        })
        .collect()
}

fn named(parts: &[(&str, &str)]) -> Vec<(String, String)> {
    parts
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn the_form_has_the_fields_of_the_page_in_its_order() {
    let request = asked(&question());
    assert_eq!(request.url, "https://x/iflygpt-chat/u/chat_message/chat");
    assert_eq!(
        parts(&request),
        named(&[
            ("fd", "401123"),
            ("isBot", "0"),
            ("clientType", "1"),
            ("text", "你好\r\n--B"),
            ("capabilities", ""),
            ("chatId", "158"),
            ("GtToken", "R0+/=="),
        ])
    );
    assert_eq!(
        header(&request, "accept"),
        Some(b"text/event-stream".as_slice())
    );
    assert_eq!(
        header(&request, "cookie"),
        Some("ssoSessionId=s; x=ü".as_bytes())
    );
    assert_eq!(
        header(&request, "content-type"),
        Some(b"multipart/form-data; boundary=B".as_slice())
    );
    assert_eq!(header(&request, "botweb"), Some(b"0".as_slice()));
    assert_eq!(header(&request, "accept-encoding"), None);
    assert_eq!(request.timeout, None);
}

#[test]
fn bots_pictures_and_thinking_have_their_fields() {
    let request = asked(&Question {
        thinking: true,
        bot: Some(1662),
        pictures: vec!["https://a".to_owned(), "https://b".to_owned()],
        ..question()
    });
    assert_eq!(
        parts(&request),
        named(&[
            ("fd", "401123"),
            ("isBot", "1"),
            ("botId", "1662"),
            ("clientType", "1"),
            ("text", "你好\r\n--B"),
            ("capabilities", "deep_think"),
            ("chatId", "158"),
            ("fileUrl", "https://a,https://b"),
            ("GtToken", "R0+/=="),
        ])
    );
    assert_eq!(header(&request, "botweb"), Some(b"1".as_slice()));
}

#[test]
fn todays_form_has_the_fields_of_the_page_in_its_order() {
    let asked = |question: &Question| {
        in_form(Form::Spark, |caller| {
            ask(caller, question, "158", "401123", "B".to_owned())
        })
    };
    let request = asked(&question());
    assert_eq!(
        parts(&request),
        named(&[
            ("fd", "401123"),
            ("isBot", "0"),
            ("clientType", "1"),
            ("text", "你好\r\n--B"),
            ("chatId", "158"),
            (
                "options",
                r#"{"chatOption":{"thinkPattern":"fast_think","routeVersion":"legacy"}}"#
            ),
            ("firstChat", "true"),
        ])
    );
    for name in ["botweb", "challenge", "seccode", "validate"] {
        assert_eq!(header(&request, name), None, "{name}");
    }
    let request = asked(&Question {
        thinking: true,
        bot: Some(1662),
        pictures: vec!["https://a".to_owned()],
        ..question()
    });
    assert_eq!(
        parts(&request),
        named(&[
            ("fd", "401123"),
            ("isBot", "1"),
            ("botId", "1662"),
            ("clientType", "1"),
            ("text", "你好\r\n--B"),
            ("capabilities", "deep_think"),
            ("chatId", "158"),
            ("fileUrl", "https://a"),
            (
                "options",
                r#"{"chatOption":{"thinkPattern":"auto","routeVersion":"legacy"}}"#
            ),
            ("firstChat", "true"),
        ])
    );
}

fn json_of(request: &Request) -> Value {
    serde_json::from_slice(&request.body.concat()).unwrap()
}

#[test]
fn windows_are_opened_and_deleted_in_the_way_of_the_form() {
    let opened = |form, bot| json_of(&in_form(form, |caller| create(caller, bot)));
    assert_eq!(opened(Form::Spark, None), json!({"showType": "2"}));
    assert_eq!(opened(Form::Classic, None), json!({}));
    assert_eq!(opened(Form::Spark, Some(7)), json!({"botId": 7}));
    let batch = with(|caller| delete_batch(caller, "158"));
    assert_eq!(
        batch.url,
        "https://x/iflygpt/u/chat-list/v1/batch-delete-chat-list"
    );
    assert_eq!(json_of(&batch), json!({"chatListIds": [158]}));
    assert!(is_deleted(200, br#"{"flag":true,"code":0}"#));
    for (status, body) in [
        (404, r#"{"flag":true,"code":0}"#),
        (200, r#"{"flag":false,"code":1}"#),
        (200, "<html>"),
    ] {
        assert!(!is_deleted(status, body.as_bytes()), "{body}");
    }
}

#[test]
fn origin_and_referer_are_those_of_the_site() {
    let account = account();
    for (base_url, site) in [
        ("https://spark.xfyun.cn", "https://spark.xfyun.cn"),
        ("https://xinghuo.xfyun.cn", "https://xinghuo.xfyun.cn"),
        ("http://127.0.0.1:1", "https://spark.xfyun.cn"),
    ] {
        let caller = Caller {
            base_url,
            account: &account,
            form: Form::Spark,
        };
        let request = create(caller, None);
        assert_eq!(header(&request, "origin"), Some(site.as_bytes()));
        let referer = format!("{site}/desk");
        assert_eq!(header(&request, "referer"), Some(referer.as_bytes()));
    }
}

#[test]
fn one_document_switches_the_path() {
    let document = Document {
        name: "a.pdf".to_owned(),
        bytes: 9,
        link: "https://l".to_owned(),
        key: Uuid::nil(),
    };
    let saved = with(|caller| save_file(caller, &document, "158"));
    assert_eq!(
        serde_json::from_slice::<Value>(&saved.body.concat()).unwrap(),
        json!({"businessType": 0, "chatId": "158", "fileBusinessKey": "00000000-0000-0000-0000-000000000000",
            "fileName": "a.pdf", "fileSize": 9, "fileUrl": "https://l"})
    );
    let request = asked(&Question {
        documents: vec![document],
        ..question()
    });
    assert_eq!(
        request.url,
        "https://x/iflygpt-longcontext/u/chat_message/web/chat"
    );
    assert!(parts(&request).iter().all(|(name, _)| name != "fileUrl"));
}

#[test]
fn short_calls_are_json_with_numbers_for_ids() {
    let (plain, bot) = with(|caller| (create(caller, None), create(caller, Some(1662))));
    assert_eq!(plain.body.concat(), b"{}");
    assert_eq!(bot.body.concat(), br#"{"botId":1662}"#);
    assert_eq!(
        header(&plain, "content-type"),
        Some(b"application/json".as_slice())
    );
    let (number, text) = with(|caller| (delete(caller, "158313206"), delete(caller, "x")));
    assert_eq!(number.body.concat(), br#"{"chatListId":158313206}"#);
    assert_eq!(text.body.concat(), br#"{"chatListId":"x"}"#);
}

/// The vectors fd and upload A of section 5.
#[test]
fn follows_the_vectors_of_the_wire_page() {
    assert_eq!(fd(1_696_368_401_123), "401123");
    assert_eq!(fd(1_696_000_000_007), "000007");
    let signed = Signed {
        url: "https://oss/a?x=1".to_owned(),
        authorization: r#"api_key="k", algorithm="hmac-sha256", headers="host date request-line", signature="c2ln""#.to_owned(),
        date: "Sun, 01 Jan 2024 00:00:00 GMT".to_owned(),
        host: "oss.example".to_owned(),
    };
    let file = Attachment {
        name: "a.png".to_owned(),
        content_type: "image/png".to_owned(),
        bytes: Bytes::from_static(b"\x89"),
    };
    let request = store(&signed, &file);
    assert_eq!(
        request.url,
        "https://oss/a?x=1&authorization=YXBpX2tleT0iayIsIGFsZ29yaXRobT0iaG1hYy1zaGEyNTYiLCBoZWFkZXJzPSJob3N0IGRhdGUgcmVxdWVzdC1saW5lIiwgc2lnbmF0dXJlPSJjMmxuIg%3D%3D&date=Sun%2C%2001%20Jan%202024%2000%3A00%3A00%20GMT&host=oss.example"
    );
    assert_eq!(
        header(&request, "authorization"),
        Some(signed.authorization.as_bytes())
    );
    assert_eq!(
        (request.body, header(&store(&signed, &file), "cookie")),
        (vec![file.bytes.clone()], None)
    );
    let sign = with(|caller| sign(caller, &file, "B".to_owned()));
    assert_eq!(
        sign.body.concat(),
        b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\r\n--B--\r\n"
    );
}

/// The example of section 4.4, and what it says around it.
#[test]
fn the_history_is_one_text() {
    let roles = json!([
        {"role": "system", "content": "S"}, {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"},
    ]);
    assert_eq!(
        prompt(&chat(&roles)),
        "system:S\nuser:a\nassistant:b\nuser:c\nassistant:"
    );
    for role in ["user", "system"] {
        let one = json!([{"role": role, "content": " as\n\nis ![x](y)"}]);
        assert_eq!(prompt(&chat(&one)), " as\n\nis ![x](y)");
    }
    let all = json!([
        {"role": "developer", "content": "S"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": "u"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "called"},
        {"role": "user", "content": "5"},
        {"role": "assistant", "content": "x![图像](https://i/1?a=b)y"},
        {"role": "user", "content": "keep ![z](https://i/2)"},
    ]);
    assert_eq!(
        prompt(&chat(&all)),
        "system:S\nuser:a\nb\nassistant:called\nuser:5\nassistant:xy\nuser:keep ![z](https://i/2)\nassistant:"
    );
}

#[test]
fn reads_the_recorded_answer_of_create() {
    let recorded = r#"{"flag":true,"code":0,"desc":"成功","count":null,"data":{"id":158313206,"title":"新对话窗口","enable":null,"createTime":"2024-01-07 11:57:14","fileId":null,"botId":2061480,"personalityId":null,"oldBlankList":false}}"#;
    let envelope: Envelope = serde_json::from_str(recorded).unwrap();
    let created: Created = serde_json::from_value(envelope.into_data("").unwrap()).unwrap();
    assert_eq!(
        (created.id().unwrap().as_str(), created.is_reused()),
        ("158313206", false)
    );
    for bad in [r#"{"id":null}"#, r#"{"id":""}"#] {
        assert!(serde_json::from_str::<Created>(bad).unwrap().id().is_err());
    }
}

#[test]
fn its_time_grows_with_the_conversation() {
    crate::chat::growth::assert_linear(|chat| {
        prompt(chat);
    });
}
