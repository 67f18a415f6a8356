//! What is refused: wrong requests (wire/metaso.md §2, §4, §10), and good ones on a bad day (§7).

use super::*;

#[test]
fn refuses_wrong_bodies() {
    let metaso = start("metaso");
    let visitor = visit(&metaso, 1);
    let wrong: [(&str, Value, &str); 16] = [
        ("/model", json!("slow"), "model"),
        ("/stream", json!(false), "stream"),
        ("/mode", json!("fast"), "mode"),
        ("/engineType", json!("web"), "engineType"),
        ("/filter", json!(""), "filter"),
        ("/outputLanguage", json!("English"), "outputLanguage"),
        ("/htmlNoDisplayEnable", json!(false), "htmlNoDisplayEnable"),
        ("/messages", json!([]), "no message"),
        ("/messages/0/id", json!("temp-1"), "temp-"),
        ("/messages/0/key", json!("x"), "key"),
        ("/messages/0/conversationId", json!(""), "conversationId"),
        ("/messages/0/content", json!(""), "content"),
        (
            "/messages/0/markdownContent",
            json!("ho"),
            "markdownContent",
        ),
        ("/messages/0/contentType", json!("0"), "contentType"),
        ("/messages/0/model", json!(null), "model"),
        ("/messages/0/outputStyle", json!("normal"), "outputStyle"),
    ];
    for (pointer, value, why) in wrong {
        let mut body = visitor.question("hi", "detail", "");
        *body.pointer_mut(pointer).unwrap() = value;
        refused(
            &metaso,
            &visitor.asking(&metaso, &body),
            200,
            "参数错误",
            why,
        );
    }
    let mut named = visitor.question("hi", "detail", "");
    named["conversationId"] = json!("8641");
    let answer = "Unable to find";
    refused(
        &metaso,
        &visitor.asking(&metaso, &named),
        200,
        answer,
        "first turn",
    );
    let once = visitor.question("hi", "detail", "");
    assert_eq!(visitor.asking(&metaso, &once).ask(&metaso).status, 200);
    refused(
        &metaso,
        &visitor.asking(&metaso, &once),
        200,
        "参数错误",
        "used before",
    );
    let mut no_model = visitor.question("echo:hi", "chat", "scholar");
    no_model["model"] = Value::Null;
    no_model["messages"][0]["model"] = Value::Null;
    assert_eq!(
        said(&visitor.asking(&metaso, &no_model).ask(&metaso), "content"),
        "hi"
    );
}

#[test]
fn refuses_wrong_tokens_and_cookies() {
    let metaso = start("metaso");
    let visitor = visit(&metaso, 1);
    let good = || visitor.question("echo:hi", "detail", "");
    let mut wrong = good();
    wrong["token"] = json!("x");
    refused(
        &metaso,
        &visitor.asking(&metaso, &wrong),
        200,
        "\"code\":429",
        "was not given",
    );
    wrong["token"] = json!(visit(&metaso, 2).token);
    wrong["messages"] = good()["messages"].clone();
    let stolen = visitor.asking(&metaso, &wrong).ask(&metaso);
    assert!(stolen.text().contains("\"code\":429"));
    let stranger = visitor
        .asking(&metaso, &good())
        .header("Cookie", "uid=1; sid=2");
    refused(&metaso, &stranger, 401, "请先登录", "no account");
    refused(
        &metaso,
        &visitor.asking(&metaso, &good()).without("Cookie"),
        401,
        "登录",
        "no account",
    );
    let noted = |request: Request, why: &str| {
        assert_eq!(request.ask(&metaso).status, 200, "{why}");
        let call = metaso.control().log().pop().unwrap();
        assert!(call.violation.unwrap_or_default().contains(why), "{why}");
    };
    let asking = || visitor.asking(&metaso, &good());
    noted(asking().header("Cookie", pasted(&metaso, 1)), "aliyungf_tc");
    noted(
        asking().header("Cookie", format!("{}; tid=made-up", visitor.cookie)),
        "nobody has set",
    );
    noted(
        asking().header("Cookie", format!("a=b; {}", visitor.cookie)),
        "byte for byte",
    );
    noted(
        asking().header("Token", visitor.token.clone()),
        "Token header",
    );
    noted(asking().header("Accept-Encoding", "gzip"), "compressed");
    for (name, why) in [
        ("Accept", "Accept"),
        ("metaso-pc", "metaso-pc"),
        ("Origin", "origin"),
        ("Referer", "referer"),
        ("Sec-Fetch-Site", "sec-fetch-site"),
        ("Sec-Ch-Ua", "sec-ch-ua"),
        ("User-Agent", "User-Agent"),
    ] {
        noted(asking().without(name), why);
    }
    let plain = asking().header("Content-Type", "text/plain");
    refused(&metaso, &plain, 200, "参数错误", "Content-Type");
}

#[test]
fn the_gate_wants_the_cookies_of_the_page() {
    let metaso = start("metaso");
    let control = metaso.control();
    for (account, passes) in [(1, false), (2, true)] {
        control.fault("cookie_gate", 1).unwrap();
        let answer = visit(&metaso, account).ask(&metaso, "echo:hi");
        assert_eq!(said(&answer, "content") == "hi", passes);
        assert_eq!(answer.text().contains("\"code\":429"), !passes);
    }
    let visitor = visit(&metaso, 1);
    control.fault("token_expired", 1).unwrap();
    assert!(visitor.ask(&metaso, "hi").text().contains("\"code\":429"));
    assert!(
        visitor.ask(&metaso, "hi").text().contains("\"code\":429"),
        "it stays void"
    );
    assert_eq!(
        said(&visit(&metaso, 1).ask(&metaso, "echo:hi"), "content"),
        "hi"
    );
    assert!(
        control.state().violations.is_empty(),
        "{:?}",
        control.state()
    );
}

#[test]
fn faults_look_as_the_page_has_them() {
    let metaso = start("metaso");
    let control = metaso.control();
    let visitor = visit(&metaso, 1);
    let under = |fault: &str| {
        control.fault(fault, 1).unwrap();
        visitor.ask(&metaso, "count:9")
    };
    for (fault, status, text) in [
        ("unauthorized", 401, "请先登录"),
        ("forbidden", 403, "<html>"),
        ("login_needed", 200, "\"errCode\":401"),
        ("login_words", 200, "登录"),
        (
            "too_many",
            200,
            "data:[TOO_MANY_REQUESTS]\n\n\n\ndata:[DONE]\n\n",
        ),
        ("error_429", 200, r#"{"type":"error","code":429,"#),
        ("rate_limited", 429, ""),
        ("quota_spent", 200, "4001"),
        ("captcha", 200, "aliyun"),
        ("overloaded", 200, "繁忙"),
        ("parameters", 200, "参数错误"),
        ("entity", 200, "-500"),
        ("chat_gone_405", 405, ""),
        ("chat_gone_html", 200, "<html>"),
        ("chat_gone_json", 200, "path"),
        ("moderated_before_text", 200, "不合规"),
    ] {
        let answer = under(fault);
        assert_eq!(answer.status, status, "{fault}");
        assert!(answer.text().contains(text), "{fault}: {}", answer.text());
    }
    assert_eq!(
        under("rate_limited_retry_after").headers["retry-after"],
        "7"
    );
    for (fault, text) in [
        ("empty", ""),
        ("cut_off", "1 2"),
        ("bad_frame_after_text", "1 2"),
        ("error_after_text", "1 2"),
        ("too_many_after_text", "1 2"),
        ("moderated_after_text", "1 2"),
    ] {
        let answer = under(fault);
        assert_eq!(said(&answer, "content"), text, "{fault}");
        assert_eq!(
            answer.text().contains("[DONE]"),
            fault == "empty",
            "{fault}"
        );
    }
    assert!(under("moderated_after_text").text().contains("违规"));
    assert!(!under("garbage").text().contains("[DONE]"));
    control.fault("cookie_trap", 1).unwrap();
    assert_eq!(home(&metaso, 1).status, 200);
}
