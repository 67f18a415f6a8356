//! What is refused: wrong requests (wire/zhipu.md §4, §5), and good ones on a bad day (§7).

use std::time::Duration;

use super::*;
use crate::client::until;

#[test]
fn refuses_wrong_signatures() {
    let zhipu = start("zhipu");
    let good = || asking(&zhipu, &question("echo:hi"));
    for name in ["X-Timestamp", "X-Nonce", "X-Sign"] {
        refused(&zhipu, &good().without(name), 401, 40011, "missing");
    }
    refused(&zhipu, &good().header("X-Sign", hex()), 401, 40014, "wrong");
    let plain = (0..)
        .map(|more| now_ms() + more)
        .find(|ms| doctored(*ms) != ms.to_string())
        .unwrap();
    let unchecked = good().header("X-Timestamp", plain.to_string());
    refused(&zhipu, &unchecked, 401, 40014, "check digit");
    let old = signed_at(good(), now_ms() - 301_000);
    refused(&zhipu, &old, 401, 40014, "five minutes");
    let dashed = good().header("X-Nonce", uuid::Uuid::new_v4().to_string());
    refused(&zhipu, &dashed, 401, 40014, "x-nonce");
    let once = good();
    assert_eq!(once.ask(&zhipu).status, 200);
    refused(&zhipu, &once, 401, 40014, "used before");
}

#[test]
fn refuses_wrong_headers_and_notes_odd_ones() {
    let zhipu = start("zhipu");
    let good = || asking(&zhipu, &question("echo:hi"));
    for (name, value, number) in [
        ("User-Agent", "awc/3", 40002),
        ("X-App-Platform", "web", 40001),
        ("X-App-Version", "0.0.2", 40001),
        ("X-Device-Id", "7", 40001),
        ("X-Device-Id", "0123456789abcdef0123456789abcde1", 40001),
    ] {
        let why = if number == 40002 { "User-Agent" } else { "x-" };
        refused(&zhipu, &good().header(name, value), 400, number, why);
    }
    let unknown = good().header("Authorization", "Bearer eyJ.a.b");
    refused(&zhipu, &unknown, 401, 401, "no account");
    let refresh = setting(&zhipu, "ZHIPU_TOKEN");
    let wrong_kind = good().header("Authorization", format!("Bearer {refresh}"));
    refused(&zhipu, &wrong_kind, 401, 401, "refresh token");
    let untyped = good().header("Content-Type", "text/plain");
    refused(&zhipu, &untyped, 400, 400, "Content-Type");
    let mut wrong = good();
    wrong.method = "GET";
    assert_eq!(wrong.ask(&zhipu).status, 405);
    wrong.path = "/nothing".to_owned();
    assert_eq!(wrong.ask(&zhipu).status, 404);
    // Forgiven, but noted.
    for (name, why) in [
        ("App-Name", "app-name"),
        ("Origin", "origin"),
        ("Referer", "Referer"),
        ("X-Lang", "x-lang"),
        ("X-App-fr", "x-app-fr"),
        ("X-Exp-Groups", "x-exp-groups"),
        ("X-Device-Model", "x-device-model"),
        ("Accept", "Accept"),
        ("Accept-Language", "accept-language"),
        ("X-Request-Id", "x-request-id"),
        ("Sec-Ch-Ua", "sec-ch-ua"),
        ("Sec-Fetch-Mode", "sec-fetch-mode"),
    ] {
        assert_eq!(good().without(name).ask(&zhipu).status, 200, "{name}");
        let noted = zhipu.control().log().pop().unwrap();
        assert!(noted.violation.unwrap().contains(why), "{name}");
    }
}

#[test]
fn refuses_wrong_bodies() {
    let zhipu = start("zhipu");
    let wrong: [(&str, Value, &str); 17] = [
        ("/project_id", json!("x"), "project_id"),
        ("/chat_type", json!(null), "chat_type"),
        ("/assistant_id", json!(7), "assistant_id"),
        ("/conversation_id", json!(null), "conversation_id"),
        ("/messages", json!([]), "messages"),
        ("/messages/0/role", json!("system"), "role"),
        ("/messages/0/content", json!("hi"), "content"),
        ("/messages/0/content", json!([]), "no text"),
        ("/messages/0/content/0/text", json!(""), "no text"),
        ("/meta_data/is_test", json!(true), "is_test"),
        (
            "/meta_data/input_question_type",
            json!(""),
            "input_question_type",
        ),
        ("/meta_data/channel", json!("x"), "channel"),
        ("/meta_data/chat_mode", json!("fast"), "chat_mode"),
        ("/meta_data/is_networking", json!("false"), "is_networking"),
        ("/meta_data/quote_log_id", json!(0), "quote_log_id"),
        ("/meta_data/platform", json!("web"), "platform"),
        ("/meta_data/cogview", json!({}), "rm_label_watermark"),
    ];
    for (pointer, value, why) in wrong {
        let mut body = question("hi");
        *body.pointer_mut(pointer).unwrap() = value;
        refused(&zhipu, &asking(&zhipu, &body), 400, 400, why);
    }
    let noted = |body: &Value, why: &str| {
        assert_eq!(asking(&zhipu, body).ask(&zhipu).status, 200);
        let call = zhipu.control().log().pop().unwrap();
        assert!(call.violation.unwrap().contains(why), "{why}");
    };
    let mut two = question("hi");
    let message = two["messages"][0].clone();
    two["messages"] = json!([message, message]);
    noted(&two, "first of the messages");
    let mut ignored = question("hi");
    ignored["messages"][0]["content"] = json!([
        {"type": "text", "text": "hi"},
        {"type": "image_url", "image_url": {"url": "x"}},
    ]);
    noted(&ignored, "image_url");
    let mut lone = question("hi");
    lone["meta_data"]["chat_mode"] = json!("deep_thinking");
    noted(&lone, "effective together");
    let mut unknown = question("hi");
    unknown["temperature"] = json!(1);
    noted(&unknown, "temperature");
}

#[test]
fn knows_its_assistants_and_conversations() {
    let zhipu = start("zhipu");
    let ask = |assistant: &str, conversation: &str| {
        let mut body = question("hi");
        body["assistant_id"] = json!(assistant);
        body["conversation_id"] = json!(conversation);
        asking(&zhipu, &body)
            .header(
                "Referer",
                format!("https://chatglm.cn/main/gdetail/{assistant}"),
            )
            .ask(&zhipu)
    };
    assert_eq!(ask("gpt-4", "").text(), r#"{"status":0,"result":null}"#);
    assert_eq!(ask("68f0b8c110eea3e78b0e0e5e", "").value()["status"], 10025);
    let agent = "676411c38945bbc58a905d31";
    let own = frames(&ask(agent, "")).pop().unwrap()["conversation_id"].clone();
    assert!(zhipu.control().state().violations.is_empty());
    let invented = ask(agent, "68084f7b00000000000000ff");
    assert_eq!((invented.status, invented.text().as_str()), (200, ""));
    assert_eq!(delete(&zhipu, &own, MAIN).value()["status"], 10002);
    assert_eq!(delete(&zhipu, &own, agent).value()["status"], 0);
    assert_eq!(delete(&zhipu, &own, agent).value()["status"], 10002);
}

#[test]
fn an_account_answers_one_question_at_a_time() {
    let zhipu = start("zhipu");
    let ask = || asking(&zhipu, &question("pace:20 count:500"));
    let mut running = ask().send(&zhipu).unwrap();
    assert!(running.chunk().unwrap());
    assert_eq!(ask().ask(&zhipu).value()["status"], 10061);
    drop(running);
    until(|| zhipu.control().state().open_streams == 0);
    assert_eq!(asking(&zhipu, &question("hi")).ask(&zhipu).status, 200);
    zhipu.control().fault("lingers", 1).unwrap();
    asking(&zhipu, &question("hi")).ask(&zhipu);
    assert_eq!(ask().ask(&zhipu).value()["status"], 10061);
    std::thread::sleep(Duration::from_millis(1600));
    assert!(
        asking(&zhipu, &question("hi"))
            .ask(&zhipu)
            .text()
            .contains("finish")
    );
}

#[test]
fn faults_look_as_the_page_has_them() {
    let zhipu = start("zhipu");
    let control = zhipu.control();
    let under = |fault: &str| {
        control.fault(fault, 1).unwrap();
        asking(&zhipu, &question("count:9")).ask(&zhipu)
    };
    for (fault, status, text) in [
        ("guest", 200, "您已多次体验过对话, 请登录后继续使用"),
        (
            "sign_wrong",
            401,
            r#"{"status":40014,"message":"bad request","result":null}"#,
        ),
        ("identity_missing", 400, "40001"),
        (
            "busy",
            200,
            r#"{"status":10061,"message":"请等待其他对话生成完毕","result":null}"#,
        ),
        ("busy_code", 200, r#""code":400"#),
        ("busy_frame", 200, "event: message\ndata: {\"status\":10061"),
        ("rate_limited", 429, "quota exceeded"),
        ("quota_spent", 429, "积分"),
        ("verification", 403, "<html>"),
        ("unknown_assistant", 200, r#"{"status":0,"result":null}"#),
        ("no_permission", 200, "权限不足"),
        ("overloaded", 503, "系统繁忙，请稍后再试"),
        ("overload_frame", 200, "data: {\"status\":503"),
        ("empty_body", 200, ""),
    ] {
        let answer = under(fault);
        assert_eq!(answer.status, status, "{fault}");
        assert!(answer.text().contains(text), "{fault}: {}", answer.text());
    }
    assert_eq!(
        under("empty_body").headers["content-type"],
        "text/event-stream"
    );
    assert_eq!(
        under("rate_limited_retry_after").headers["retry-after"],
        "7"
    );
    assert_eq!(control.state().created, 0, "what is refused opens nothing");

    let last = |answer: &Answer| frames(answer).pop().unwrap();
    let moderated = last(&under("moderated_after_text"));
    assert_eq!(
        (text(&moderated).as_str(), &moderated["status"]),
        ("1 2", &json!("intervene"))
    );
    assert_eq!(
        moderated["last_error"]["intervene_text"],
        "这个话题我们换一个吧。"
    );
    assert_eq!(text(&last(&under("moderated_before_text"))), "");
    let empty = last(&under("empty"));
    assert_eq!(
        (&empty["parts"], &empty["status"]),
        (&json!([]), &json!("finish"))
    );
    assert!(!under("cut_off").text().contains("\"status\":\"finish\""));
    assert!(
        under("bad_frame_after_text")
            .text()
            .ends_with("{\"id\":\"68\n\n")
    );
    assert!(text(&last(&under("no_points"))).contains("积分"));
    assert_eq!(control.state().created, 6);
    // §8: after moderation the deletion ends in a database error.
    let deleted = delete(&zhipu, &moderated["conversation_id"], MAIN);
    assert_eq!(deleted.value()["status"], 10002);
    assert_eq!(control.state().deleted, 1);
}
