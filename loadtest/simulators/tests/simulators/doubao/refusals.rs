//! What is refused: wrong requests (wire/doubao.md §2, §4), and good ones on a bad day (§7).

use super::*;

#[test]
fn refuses_wrong_sessions_and_headers() {
    let doubao = start("doubao");
    let good = || call(&doubao, 1, CHAT, &question("echo:hi"));
    refused(
        &doubao,
        &good().without("Cookie"),
        200,
        "710012001",
        "no cookie",
    );
    let stranger = good().header("Cookie", "sessionid=x; sessionid_ss=x");
    refused(
        &doubao,
        &stranger,
        200,
        "event: gateway-error",
        "no account",
    );
    for (name, value) in [
        ("Content-Type", "text/plain"),
        ("Origin", "https://doubao.com"),
        ("Referer", "https://www.doubao.com/"),
        ("User-Agent", "awc/3"),
    ] {
        let why = if name == "User-Agent" {
            name.to_owned()
        } else {
            name.to_lowercase()
        };
        refused(&doubao, &good().header(name, value), 200, "710011001", &why);
    }
    let mut wrong = good();
    wrong.method = "GET";
    assert_eq!(wrong.ask(&doubao).status, 404);
    // Forgiven, but noted.
    let noted = |request: Request, why: &str| {
        assert_eq!(said(&request.ask(&doubao)).0, "hi", "{why}");
        let call = doubao.control().log().pop().unwrap();
        assert!(call.violation.unwrap_or_default().contains(why), "{why}");
    };
    let session = setting(&doubao, "DOUBAO_TOKEN");
    noted(
        good().header("Cookie", format!("sessionid={session}")),
        "Cookie header",
    );
    for (name, why) in [
        ("Accept", "accept"),
        ("Accept-Language", "accept-language"),
        ("Sec-Ch-Ua", "sec-ch-ua"),
        ("Sec-Fetch-Site", "sec-fetch-site"),
    ] {
        noted(good().without(name), why);
    }
    let (cookie, _) = identity(&doubao, 1);
    let kept = good()
        .header("Cookie", format!("{cookie}; ttwid=1"))
        .ask(&doubao);
    assert_eq!(said(&kept).0, "hi");
    assert!(doubao.control().log().pop().unwrap().violation.is_none());
}

#[test]
fn refuses_wrong_queries() {
    let doubao = start("doubao");
    let with = |members: &[(&'static str, String)]| {
        let mut request = call(&doubao, 1, CHAT, &question("echo:hi"));
        request.path = path(CHAT, members);
        request
    };
    let set = |name: &str, value: &str| {
        let mut members = query(FP);
        members.iter_mut().find(|(own, _)| *own == name).unwrap().1 = value.to_owned();
        with(&members)
    };
    for (name, value) in [
        ("device_id", "712345678901234567"),
        ("web_id", ""),
        ("tea_uuid", "71234567890123456x9"),
        ("fp", "verify_123e4567-e89b-42d3-a"),
        ("fp", ""),
    ] {
        refused(
            &doubao,
            &set(name, value),
            200,
            "\"type\":\"verify\"",
            "missing",
        );
    }
    for (name, value) in [
        ("aid", "582478"),
        ("language", "en"),
        ("pc_version", "3.5"),
        ("region", "US"),
        ("use-olympus-account", "0"),
        ("web_tab_id", "1"),
    ] {
        let answer = format!("invalid param: {name}");
        refused(&doubao, &set(name, value), 200, &answer, name);
    }
    assert_eq!(said(&set("sys_region", "CN").ask(&doubao)).0, "hi");
    assert!(doubao.control().log().pop().unwrap().violation.is_none());
    let noted = |request: Request, why: &str| {
        assert_eq!(request.ask(&doubao).status, 200);
        let call = doubao.control().log().pop().unwrap();
        assert!(call.violation.unwrap_or_default().contains(why), "{why}");
    };
    let mut more = query(FP);
    more.push(("a_bogus", "mf-x".to_owned()));
    noted(with(&more), "a_bogus");
    let mut more = query(FP);
    more.push(("msToken", "x".to_owned()));
    noted(with(&more), "msToken");
    let once = query(FP);
    with(&once).ask(&doubao);
    noted(with(&once), "web_tab_id was used");
    for at in 0..8 {
        set("device_id", &format!("712345678901234500{at}")).ask(&doubao);
    }
    noted(set("device_id", "7123456789012345009"), "again and again");
}

#[test]
fn refuses_wrong_bodies() {
    let doubao = start("doubao");
    let wrong: [(&str, Value, &str); 24] = [
        (
            "/client_meta/local_conversation_id",
            json!("local_1"),
            "local_conversation_id",
        ),
        ("/client_meta/bot_id", json!("x"), "bot_id"),
        (
            "/client_meta/last_section_id",
            json!("1"),
            "last_section_id",
        ),
        (
            "/client_meta/last_message_index",
            json!(1),
            "last_message_index",
        ),
        ("/messages", json!([]), "messages"),
        ("/messages/0/message_status", json!(1), "message_status"),
        (
            "/messages/0/local_message_id",
            json!("x"),
            "local_message_id",
        ),
        ("/messages/0/content_block", json!([]), "content_block"),
        (
            "/messages/0/content_block/0/block_type",
            json!(1),
            "block_type",
        ),
        (
            "/messages/0/content_block/0/block_id",
            json!("b"),
            "block_id",
        ),
        (
            "/messages/0/content_block/0/content/text_block/text",
            json!(""),
            "text",
        ),
        (
            "/messages/0/content_block/0/content/text_block/summary",
            json!(null),
            "content",
        ),
        (
            "/messages/0/content_block/0/meta_info",
            json!({}),
            "meta_info",
        ),
        ("/option/need_deep_think", json!(9), "need_deep_think"),
        (
            "/option/create_time_ms",
            json!(now_ms() - 601_000),
            "create_time_ms",
        ),
        ("/option/unique_key", json!(""), "unique_key"),
        (
            "/option/need_create_conversation",
            json!(false),
            "need_create_conversation",
        ),
        (
            "/option/sse_recv_event_options",
            json!({}),
            "sse_recv_event_options",
        ),
        ("/option/start_seq", json!("0"), "start_seq"),
        ("/ext/use_deep_think", json!("1"), "use_deep_think"),
        ("/ext/fp", json!("verify_00000000_0000_4000_8"), "fp"),
        (
            "/ext/conversation_init_option",
            json!({}),
            "conversation_init_option",
        ),
        (
            "/ext/commerce_credit_config_enable",
            json!(0),
            "commerce_credit",
        ),
        (
            "/ext/sub_conv_firstmet_type",
            json!("0"),
            "sub_conv_firstmet_type",
        ),
    ];
    for (pointer, value, why) in wrong {
        let mut body = question("hi");
        *body.pointer_mut(pointer).unwrap() = value;
        refused(
            &doubao,
            &call(&doubao, 1, CHAT, &body),
            200,
            "710011001",
            why,
        );
    }
    let once = question("hi");
    assert_eq!(call(&doubao, 1, CHAT, &once).ask(&doubao).status, 200);
    refused(
        &doubao,
        &call(&doubao, 1, CHAT, &once),
        200,
        "unique_key",
        "used before",
    );
    let mut more = question("hi");
    more["temperature"] = json!(1);
    assert!(
        call(&doubao, 1, CHAT, &more)
            .ask(&doubao)
            .text()
            .contains("SSE_ACK")
    );
    assert!(
        doubao
            .control()
            .log()
            .pop()
            .unwrap()
            .violation
            .unwrap()
            .contains("temperature")
    );
}

#[test]
fn deletes_only_what_is_there_and_its_own() {
    let doubao = start("doubao");
    let id = conversation(&ask(&doubao, "hi"));
    assert_eq!(delete(&doubao, 2, &id), false);
    doubao.control().fault("delete_false", 1).unwrap();
    assert_eq!(delete(&doubao, 1, &id), false);
    assert_eq!(delete(&doubao, 1, &id), true);
    assert_eq!(delete(&doubao, 1, &id), false);
    let route = "/im/conversation/batch_del_user_conv";
    let mut all = deletion(&id);
    all["uplink_body"]["batch_delete_user_conversation_uplink_body"]["delete_all"] = json!(true);
    refused(
        &doubao,
        &call(&doubao, 1, route, &all),
        200,
        "710011001",
        "page",
    );
    let plain = call(&doubao, 1, route, &deletion(&id)).header("Content-Type", "application/json");
    refused(&doubao, &plain, 200, "content-type", "encoding=utf-8");
    let older = call(
        &doubao,
        1,
        "/samantha/thread/delete",
        &json!({"conversation_id": id}),
    );
    refused(&doubao, &older, 200, "系统错误", "deleted already");
    let mut members = query(FP);
    members.push(("account_sdk_source", "web".to_owned()));
    let mut info = call(&doubao, 1, "/passport/account/info/v2", &json!({}));
    info.path = path("/passport/account/info/v2", &members);
    assert_eq!(info.ask(&doubao).value()["data"]["user_id"], 1);
}

#[test]
fn faults_look_as_the_page_has_them() {
    let doubao = start("doubao");
    let control = doubao.control();
    let under = |fault: &str| {
        control.fault(fault, 1).unwrap();
        ask(&doubao, "count:9")
    };
    for (fault, status, text) in [
        (
            "login_expired",
            200,
            r#"{"code":710012001,"msg":"登录已过期"}"#,
        ),
        ("user_invalid", 200, "ErrorX:code=710012000"),
        ("tourist_limit", 200, "710022013"),
        ("verification", 200, r#""decision":{"type":"verify""#),
        (
            "rate_event",
            200,
            "data: {\"error_code\":710022004,\"error_msg\":\"rate limited\"}",
        ),
        ("rate_limited", 429, ""),
        (
            "shark",
            200,
            "\"error_code\":710022002,\"error_msg\":\"block\"",
        ),
        ("shark_json", 200, "当前服务访问频繁，请稍后重试"),
        ("country", 200, "710022003"),
        ("overloaded", 503, "服务过载，请稍后重试"),
        ("overload_event", 200, "系统错误"),
        ("parameters", 200, "invalid param"),
        (
            "moderated_before_text",
            200,
            "event: STREAM_MSG_ERROR\ndata: {\"error_code\":710023001",
        ),
        ("moderated_words", 200, "违规"),
        ("html_200", 200, "<html>"),
    ] {
        let answer = under(fault);
        assert_eq!(answer.status, status, "{fault}");
        assert!(answer.text().contains(text), "{fault}: {}", answer.text());
    }
    assert_eq!(
        under("rate_limited_retry_after").headers["retry-after"],
        "7"
    );
    assert_eq!(control.state().created, 0, "what is refused opens nothing");
    for (fault, text, end) in [
        ("empty", "", "{\"end_type\":3}\n\n"),
        ("fetch_only", "", "{\"end_type\":3}\n\n"),
        ("error_after_text", "1 2", "something strange\"}\n\n"),
        ("rate_after_text", "1 2", "rate limited\"}\n\n"),
        ("moderated_after_text", "1 2", "{\"end_type\":3}\n\n"),
        ("bad_frame_after_text", "1 2", "{\"patch_op\n\n"),
        ("cut_off", "1 2", "]}\n\n"),
    ] {
        let answer = under(fault);
        assert_eq!(said(&answer).0, text, "{fault}");
        assert!(answer.text().ends_with(end), "{fault}: {}", answer.text());
    }
}
