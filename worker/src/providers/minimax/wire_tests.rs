use super::{super::answers::*, *};

const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE4OTM0NTYwMDAsInVzZXIiOnsiaWQiOiI0NDAwMTEyMjMzNDQ1NTY2NzciLCJuYW1lIjoidGVzdGVyIiwiYXZhdGFyIjoiIiwiZGV2aWNlSUQiOiIzMTIzNDU2Nzg5MDEyMzQ1NjciLCJpc0Fub255bW91cyI6ZmFsc2V9fQ.c2lnbmF0dXJl";

fn site() -> Site {
    Site::new("https://agent.minimaxi.com".to_owned(), None)
}

fn caller<'a>(site: &'a Site, device: &'a str, unix_seconds: u64) -> Caller<'a> {
    Caller {
        site,
        who: Who {
            token: TOKEN,
            user: "440011223344556677",
            device,
            uuid: "11111111-2222-4333-8444-555555555555",
        },
        unix_seconds,
    }
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    let mut found = request.headers.iter().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| value.to_str().unwrap());
    assert!(found.next().is_none(), "{name} twice");
    value.unwrap_or_default()
}

fn signed(request: &Request) -> (&str, &str) {
    (header(request, "x-signature"), header(request, "yy"))
}

/// Whole requests give the vectors of section 5.
#[test]
fn matrix_requests_are_signed_as_the_vectors_say() {
    let (site, device) = (site(), "312345678901234567");
    let send = |prompt: &str, model| {
        let who = caller(&site, device, 1_767_225_600);
        send_message(who, None, prompt, model, &[])
    };
    let hello = send("hello", ("Auto", 0));
    assert_eq!(
        signed(&hello),
        (
            "7d56e17ca94c2fcb7106ea591f6510c4",
            "aed66ea9762068f1ba3d0d8c560052f5"
        )
    );
    assert_eq!(header(&hello, "x-timestamp"), "1767225600");
    // Section 4: a chat goes on with one member more, a number.
    let who = caller(&site, device, 1);
    let more = send_message(who, Some(337_867_554_939_466), "more", ("Auto", 0), &[]);
    assert_eq!(
        String::from_utf8(more.body.concat()).unwrap(),
        r#"{"msg_type":1,"text":"more","chat_type":2,"attachments":[],"selected_mcp_tools":[],"sub_agent_ids":[],"model_option":{"display_name":"Auto","model_type":0},"chat_id":337867554939466}"#
    );
    let nasty = send("你好，«世界» 👋🏽\nline2 \"q\" \\ /", ("MiniMax-M2.5", 501));
    assert_eq!(
        signed(&nasty),
        (
            "31f726c4036f51117508e622f2755713",
            "c8a99fa0339db33154224079dc05f9fa"
        )
    );
    let detail = chat_detail(caller(&site, device, 1_772_618_396), 337_867_554_939_466);
    assert_eq!(
        signed(&detail),
        (
            "f3b4dc9120788b05292d9d036dc76d91",
            "c640d8f29a7f2cda0c5f1394564d9d21"
        )
    );
    let delete = delete_chat(caller(&site, device, 1_772_618_397), 337_867_554_939_466);
    assert_eq!(
        signed(&delete),
        (
            "f2e4750ca4fb8624d1750f081581d9e2",
            "e6b4ea2849dc8331e44c8f32af5fbaff"
        )
    );
}

/// Whole requests give the vectors of section 12.2.
#[test]
fn cloud_requests_are_signed_as_the_vectors_say() {
    let site = site();
    let caller = caller(&site, "31234567", 1_789_344_000);
    let model = |variant| Cloud {
        model_id: "MiniMax-M3".to_owned(),
        variant,
    };
    let config = config(caller, Generation::Cloud);
    assert_eq!(
        (signed(&config), config.method.clone()),
        (
            (
                "839a6e1e3efbc9667ed07dd6315c8724",
                "2e8248d7b76388fe64c2eb6e337dc32c"
            ),
            Method::GET
        )
    );
    let thinking = model("thinking");
    let session = open_session(caller, Generation::Cloud, "271828182845904", &thinking);
    assert_eq!(
        signed(&session),
        (
            "b5a9596947e5b2fac7a01b01f629951a",
            "9facf4660407f30ccb6df02b9db7aee5"
        )
    );
    let ask = |prompt, model: &Cloud| {
        let question = Question {
            prompt,
            model,
            turn_id: "22222222-3333-4444-8555-666666666666".to_owned(),
            attachments: &[],
        };
        let host = &site.stream_base_url;
        message(caller, Generation::Cloud, host, "417302981443021", question)
    };
    let hello = ask("hello", &model(""));
    assert_eq!(
        signed(&hello),
        (
            "577ea86798cd803bd555de7ed8621f2e",
            "afa334682af3e18d9bae0b0d2fc00175"
        )
    );
    assert!(hello.url.starts_with("https://agent-stream.minimaxi.com/minimax-cloud/api/v1/session/417302981443021/message?device_platform=web&"));
    assert_eq!(header(&hello, "accept"), "text/event-stream");
    assert!(hello.once);
    assert_eq!(
        signed(&ask("你好 👋🏽", &thinking)),
        (
            "5d5e1ea9c9cc53932bbd90a48a448d34",
            "323c2e09b9918269864e2d81aae32f02"
        )
    );
    let archive = archive(caller, Generation::Cloud, "417302981443021");
    assert_eq!(
        signed(&archive),
        (
            "d3807691447c9e42f2b8f5d986b78fae",
            "d0024dfccf85d617e9c56cab9689ebc1"
        )
    );
}

#[test]
fn archon_has_other_bodies() {
    let site = site();
    let caller = caller(&site, "31234567", 1);
    let model = Cloud {
        model_id: "MiniMax-M3".to_owned(),
        variant: "",
    };
    let session = open_session(caller, Generation::Archon, "1", &model);
    assert_eq!(session.body.concat(), br#"{"model":"minimax/MiniMax-M3"}"#);
    assert!(
        session
            .url
            .starts_with("https://agent.minimaxi.com/archon/api/v1/agent/1/session?")
    );
    let attachments = [json!({"type": "file"})];
    let question = Question {
        prompt: "q",
        model: &model,
        turn_id: "t".to_owned(),
        attachments: &attachments,
    };
    let message = message(caller, Generation::Archon, &site.base_url, "2", question);
    assert_eq!(
        String::from_utf8(message.body.concat()).unwrap(),
        r#"{"content":"q","model":{"provider_id":"minimax","model_id":"MiniMax-M3","variant":""},"turn_id":"t","enable_team":false,"worktreeMode":false,"attachments":[{"type":"file"}]}"#
    );
    let plain = open_session(caller, Generation::Cloud, "1", &model);
    assert!(plain.body.concat().ends_with(br#""reasoning":false}}"#));
}

#[test]
fn the_stream_host_is_derived_for_the_real_sites_alone() {
    let stream = |base: &str, set: Option<&str>| {
        Site::new(base.to_owned(), set.map(str::to_owned)).stream_base_url
    };
    assert_eq!(
        stream("https://agent.minimax.io", None),
        "https://agent-stream.minimax.io"
    );
    assert_eq!(stream("http://127.0.0.1:1", None), "http://127.0.0.1:1");
    assert_eq!(
        stream("https://agent.minimax.io", Some("http://x")),
        "http://x"
    );
    let abroad = Site::new("https://agent.minimax.io".to_owned(), None);
    assert_eq!(abroad.form, Form::CloudAbroad);
    // A base URL with a path: what is signed is what stands on the request line.
    let site = Site::new("http://127.0.0.1:1/deep".to_owned(), None);
    let request = config(caller(&site, "1", 1), Generation::Cloud);
    let target = request.url.strip_prefix("http://127.0.0.1:1").unwrap();
    assert_eq!(header(&request, "yy"), sign::yy(target, None, 1));
}

#[test]
fn the_other_form_signs_what_is_not_sent() {
    let site = site();
    let caller = caller(&site, "1", 1);
    let (plain, ticket) = (
        user_info(caller, Target::Path),
        user_info(caller, Target::Ticket),
    );
    assert_eq!(plain.url, ticket.url);
    assert!(!ticket.url.contains("op_ticket"));
    assert_ne!(header(&plain, "yy"), header(&ticket, "yy"));
}

#[test]
fn short_answers_are_read() {
    assert_eq!(
        session_id(
            br#"{"agent_name":"x","session_id":"417302981443021","base_resp":{"status_code":0}}"#
        )
        .as_deref(),
        Some("417302981443021")
    );
    assert_eq!(
        session_id(br#"{"session_id":417302981443021}"#).as_deref(),
        Some("417302981443021")
    );
    for odd in [
        "{}",
        r#"{"session_id":""}"#,
        r#"{"session_id":"../x"}"#,
        "[]",
    ] {
        assert_eq!(session_id(odd.as_bytes()), None, "{odd}");
    }
    assert_eq!(
        sent(br#"{"chat_id":337867554939466,"msg_id":337867385770195,"agent_pod_ip":"172.18.131.237"}"#),
        Some(Sent {
            chat_id: 337_867_554_939_466,
            msg_id: Some(337_867_385_770_195)
        })
    );
    assert_eq!(
        real_user(
            br#"{"statusInfo":{"code":0},"data":{"userInfo":{"realUserID":"417302981443021999"}}}"#
        )
        .as_deref(),
        Some("417302981443021999")
    );
    assert_eq!(
        renewed(br#"{"statusInfo":{"code":0},"data":{"token":"eyJ.x.y"}}"#).as_deref(),
        Some("eyJ.x.y")
    );
    assert_eq!(renewed(br#"{"data":{"token":""}}"#), None);
    assert!(is_busy(409, b"") && is_busy(200, b"{\"status_msg\":\"chat is running\"}"));
    assert!(!is_busy(200, b"{}"));
}
