use super::*;
use crate::{
    providers::qwen::{
        account,
        chat2::{
            sign::tests::{BODY, TIME, pass, query},
            store,
        },
    },
    settings::{Problems, Vars},
    upstream::fetch::Attachment,
};

const DEVICE: &str = "11111111-2222-4333-8444-555555555555";

fn account(token: &str) -> Account {
    let vars = Vars::new([("QWEN_TOKEN", token), ("QWEN_DEVICE_ID", DEVICE)]);
    let (_, account) = account::accounts(&vars, &mut Problems::default()).remove(0);
    account
}

fn hosts() -> Hosts {
    Hosts::read(&Vars::default(), None, "agent", &mut Problems::default())
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let found = request.headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| std::str::from_utf8(value.as_bytes()).unwrap())
}

fn body(request: &Request) -> String {
    String::from_utf8(request.body.concat()).unwrap()
}

const QUESTION: Question<'_> = Question {
    parent: None,
    request_id: "0123456789abcdef0123456789abcdef",
    session_id: "fedcba9876543210fedcba9876543210",
    topic_id: "00112233445566778899aabbccddeeff",
    model: "Qwen",
    is_deep: false,
    prompt: "你好👋",
    items: &[],
};

/// Body, query and signature together: the vectors of wire/qwen.md sections 11.5 and 11.6 to the byte.
#[test]
fn the_question_is_that_of_the_vectors() {
    let (hosts, pass) = (hosts(), pass());
    let seal = Seal {
        pass: &pass,
        time: TIME,
        nonce: "a1b2c3d4e5f",
    };
    let hash = "tytk_hash:0123456789abcdef0123456789abcdef";
    for (cookie, sign, kp) in [
        (
            "tongyi_sso_ticket=t; XSRF-TOKEN=a%2Fb".to_owned(),
            "d8txtXQxVItK36imTc8wE/K5DVlpKG0UfgteTq1yHDU=",
            None,
        ),
        (
            format!("tongyi_sso_ticket=t; tongyi_sso_ticket_hash={hash}; XSRF-TOKEN=a%2Fb"),
            "Mt0r+fYff6v2GNWWXZVhxkn5nqTHgBo3oWlIzuk8Y3w=",
            Some(hash),
        ),
    ] {
        let account = account(&cookie);
        let client = Client {
            hosts: &hosts,
            account: &account,
        };
        let request = ask(client, &seal, &QUESTION);
        assert_eq!(request.body.concat(), BODY);
        let url = format!(
            "https://chat2.qianwen.com/api/v2/chat?{}",
            query().encoded()
        );
        assert_eq!(request.url, url);
        for (name, value) in [
            ("clt-acs-sign", Some(sign)),
            ("eo-clt-acs-kp", kp),
            ("cookie", Some(cookie.as_str())),
            ("content-type", Some("application/json")),
            ("accept", Some(ASK_ACCEPT)),
            ("origin", Some(ORIGIN)),
            (
                "referer",
                Some("https://www.qianwen.com/chat/fedcba9876543210fedcba9876543210"),
            ),
            ("user-agent", Some("agent")),
            ("x-platform", Some("pc_tongyi")),
            ("prod_id", Some("tongyi")),
            ("x-device-id", Some(DEVICE)),
            ("x-chat-id", Some("0123456789abcdef0123456789abcdef")),
            (
                "x-chat-biz",
                Some(
                    r#"{"chatId":"0123456789abcdef0123456789abcdef","agentId":"","enableWebp":""}"#,
                ),
            ),
            ("x-xsrf-token", Some("a/b")),
        ] {
            assert_eq!(header(&request, name), value, "{name}");
        }
    }
}

#[test]
fn thinking_and_search_have_one_switch_and_a_token_of_ours_is_not_sent() {
    let (hosts, pass, account) = (hosts(), pass(), account("ticket"));
    let client = Client {
        hosts: &hosts,
        account: &account,
    };
    let seal = Seal {
        pass: &pass,
        time: TIME,
        nonce: "a",
    };
    let question = Question {
        is_deep: true,
        ..QUESTION
    };
    let request = ask(client, &seal, &question);
    assert!(body(&request).contains(r#""deep_search":"1","temporary":false"#));
    assert_eq!(header(&request, "x-xsrf-token"), None);
}

#[test]
fn deletes_without_a_signature() {
    let (hosts, account) = (hosts(), account("tongyi_sso_ticket=t; XSRF-TOKEN=x"));
    let client = Client {
        hosts: &hosts,
        account: &account,
    };
    let request = delete_session(client, "abc");
    assert_eq!(
        request.url,
        format!(
            "https://chat2-api.qianwen.com/api/v1/session/delete?biz_id=ai_qwen&chat_client=h5&device=pc&fr=pc&pr=qwen&ut={DEVICE}&la=zh-CN&tz=Asia%2FShanghai&wv=4.9.0&ve=4.9.0"
        )
    );
    let sent: Value = serde_json::from_str(&body(&request)).unwrap();
    assert_eq!(sent, json!({"session_id": "abc", "biz_id": "ai_qwen"}));
    assert_eq!(header(&request, "x-xsrf-token"), Some("x"));
    assert_eq!(header(&request, "clt-acs-sign"), None);
}

/// The body of wire/qwen.md section 11.4.
#[test]
fn registers_and_refreshes_as_the_page_says() {
    let (hosts, account) = (hosts(), account("ticket"));
    let client = Client {
        hosts: &hosts,
        account: &account,
    };
    for (has_workspace, scenes) in [
        (false, r#"["qwen_chat","voice_command"]"#),
        (true, r#"["qwen_chat","voice_command","workspace_api"]"#),
    ] {
        let request = register(client, "abcd", has_workspace);
        assert_eq!(
            request.url,
            "https://sec.qianwen.com/security/external/access/register?chid=abcd"
        );
        let fingerprint = hex_md5(DEVICE);
        assert_eq!(fingerprint.len(), 32);
        assert_eq!(
            body(&request),
            format!(
                r#"{{"screenResolution":"1920x1080","cookieEnabled":true,"localStorageEnabled":true,"timezoneOffset":"Asia/Shanghai","fontList":["Arial","Calibri","Century","SimHei"],"pluginList":[],"language":["zh-CN"],"unifyRelateGenerate":{scenes},"fingerprint":"{fingerprint}","businessScene":"qwen_web","chid":"abcd"}}"#
            )
        );
        assert_eq!(header(&request, "eo-clt-sftcnt"), Some("100"));
        assert_eq!(
            header(&request, "referer"),
            Some("https://www.qianwen.com/chat")
        );
    }
    let request = refresh(client, "abcd", "device", &Secret::new("base"));
    assert_eq!(
        request.url,
        "https://sec.qianwen.com/security/external/access/refresh?businessScene=qwen_web&unifyRelateGenerate=voice_command,qwen_chat&chid=abcd"
    );
    assert_eq!(header(&request, "eo-clt-dvidn"), Some("device"));
    assert_eq!(header(&request, "eo-clt-actkn"), Some("base"));
    let answer = br#"{"data":{"millisTimeStamp":"1790000000123"}}"#;
    assert_eq!(millis(answer), Some(TIME));
    assert_eq!(millis(b"{}"), None);
}

#[test]
fn a_picture_is_announced_put_and_announced_as_put() {
    let (hosts, pass, account) = (hosts(), pass(), account("ticket"));
    let client = Client {
        hosts: &hosts,
        account: &account,
    };
    let seal = Seal {
        pass: &pass,
        time: TIME,
        nonce: "a1b2c3d4e5f",
    };
    let file = Attachment {
        name: "cat.png".to_owned(),
        content_type: "image/png".to_owned(),
        bytes: (&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\x80\0\0\x01\xe0"[..]).into(),
    };
    let sent: Value = serde_json::from_str(&body(&store::oss_token(client, &seal, &file))).unwrap();
    let md5 = sent["content_md5"].clone();
    assert_eq!(md5.as_str().map(str::len), Some(24));
    assert_eq!(
        sent,
        json!({"file_name": "cat.png", "content_type": "application/octet-stream", "content_md5": md5, "size": 24})
    );
    let token: store::OssToken = serde_json::from_value(json!({
        "host": "bucket.oss.test", "object": "a b/cat.png", "bucket": "b", "endpoint": "e", "authorization": "OSS4 x",
        "oss_headers": [{"key": "Content-Type", "value": "image/png"}, {"key": "x-oss-date", "value": "d"}],
    }))
    .unwrap();
    let put = store::put(client, None, &token, "uuid", &file);
    assert_eq!(
        (put.method.as_str(), put.url.as_str()),
        (
            "PUT",
            "https://bucket.oss.test/a%20b/cat.png?req_id=uuid&biz_id=ai_qwen"
        )
    );
    assert_eq!(header(&put, "content-type"), Some("image/png"));
    assert_eq!(header(&put, "x-oss-date"), Some("d"));
    assert_eq!(header(&put, "authorization"), Some("OSS4 x"));
    assert_eq!(header(&put, "cookie"), None);
    let put = store::put(client, Some("http://sim.test/"), &token, "uuid", &file);
    assert!(put.url.starts_with("http://sim.test/a%20b/cat.png?"));
    let callback = store::oss_callback(client, &seal, &token, "uuid", &file);
    assert!(
        callback
            .url
            .ends_with("&timestamp=1790000000123&req_id=uuid")
    );
    assert!(
        header(&callback, "clt-acs-request-params")
            .unwrap()
            .ends_with(",timestamp,req_id")
    );
    let sent: Value = serde_json::from_str(&body(&callback)).unwrap();
    assert_eq!(
        sent,
        json!({"file_md5": md5, "file_name": "cat.png", "file_type": "PNG", "bucket": "b", "endpoint": "e", "object": "a b/cat.png", "entry": "qwen_pc"})
    );
    let item = store::picture("gid", "https://cdn.test/x", &file).unwrap();
    let item: Value = serde_json::from_str(item.get()).unwrap();
    assert_eq!(
        item,
        json!({"mime_type": "image/url", "content": "https://cdn.test/x", "meta_data": {"resource_infos": [
            {"id": "gid", "url": "https://cdn.test/x", "width": 640, "height": 480, "file_format": "png", "file_name": "cat.png", "file_size": 24}
        ]}, "status": "complete"})
    );
}
