//! The generation that is polled (wire/minimax.md §3, §4, §6, §8).

use super::*;

const CHAT: &str = "/matrix/api/v1/chat";

fn question(text: &str) -> String {
    format!(
        r#"{{"msg_type":1,"text":{},"chat_type":2,"attachments":[],"selected_mcp_tools":[],"sub_agent_ids":[],"model_option":{{"display_name":"MiniMax-M2.5","model_type":501}}}}"#,
        json!(text)
    )
}

fn send(running: &Running, text: &str) -> u64 {
    let sent = post(running, 1, &format!("{CHAT}/send_msg"), &question(text)).value();
    assert!(sent["msg_id"].is_u64(), "{sent}");
    sent["chat_id"].as_u64().unwrap()
}

fn poll(running: &Running, chat: u64) -> Answer {
    let body = format!(r#"{{"chat_id":{chat},"size":500,"desc":true}}"#);
    post(running, 1, &format!("{CHAT}/get_chat_detail"), &body)
}

fn delete(running: &Running, chat: u64) -> Value {
    let body = format!(r#"{{"chat_id":{chat}}}"#);
    post(running, 1, &format!("{CHAT}/delete_chat"), &body).value()
}

/// The last text of the agent in a snapshot, and its thoughts.
fn newest(snapshot: &Value) -> (String, String) {
    let messages = snapshot["messages"].as_array().unwrap();
    let agent = messages
        .iter()
        .filter(|message| message["msg_type"] == 2 && message["tool_call"].is_null())
        .max_by_key(|message| message["timestamp"].as_u64());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    agent.map_or_else(Default::default, |message| {
        (
            text(&message["msg_content"]),
            text(&message["extra_info"]["thinking_content"]),
        )
    })
}

#[test]
fn a_chat_grows_while_it_is_polled() {
    let minimax = start("minimax");
    let said = "一二三四五六七八九十👋🏽 and so on, until it is long enough";
    let chat = send(&minimax, &format!("think:先想想 echo:{said}"));
    assert!(chat > 1 << 53);
    let mut seen = Vec::new();
    loop {
        let snapshot = poll(&minimax, chat).value();
        seen.push(newest(&snapshot));
        if snapshot["chat"]["chat_status"] == 2 {
            break;
        }
        assert_eq!(snapshot["chat"]["chat_status"], 1);
        assert!(seen.len() < 20, "{seen:?}");
    }
    assert_eq!(
        seen[0],
        (String::new(), String::new()),
        "the question is alone at first"
    );
    assert_eq!(
        seen.last().unwrap(),
        &(said.to_owned(), "先想想".to_owned())
    );
    assert!(
        seen.iter().any(|(text, _)| text.ends_with('\u{fffd}')),
        "{seen:?}"
    );
    assert!(seen.len() > 3, "{seen:?}");
    assert_eq!(delete(&minimax, chat)["base_resp"]["status_code"], 0);
    let state = minimax.control().state();
    assert_eq!((state.created, state.deleted), (1, 1));
    assert!(state.violations.is_empty(), "{:?}", state.violations);
}

/// Every look shows the whole chat, what was answered earlier too.
#[test]
fn a_chat_goes_on() {
    let minimax = start("minimax");
    let path = format!("{CHAT}/send_msg");
    let on = |text: &str, chat: u64| {
        let body = question(text);
        let body = body.strip_suffix('}').unwrap();
        post(&minimax, 1, &path, &format!(r#"{body},"chat_id":{chat}}}"#)).value()
    };
    let finish = |chat: u64| {
        let mut looks = (0..20).map(|_| poll(&minimax, chat).value());
        let last = looks.find(|snapshot| snapshot["chat"]["chat_status"] == 2);
        last.unwrap()
    };
    let chat = send(&minimax, "echo:one");
    assert_eq!(
        on("echo:two", chat)["base_resp"]["status_msg"],
        "chat is running"
    );
    finish(chat);
    let sent = on("echo:two", chat);
    assert_eq!(sent["chat_id"], chat);
    let running = poll(&minimax, chat).value();
    assert_eq!(
        (
            running["chat"]["chat_status"].as_u64(),
            newest(&running).0.as_str()
        ),
        (Some(1), "one"),
        "the earlier answer alone"
    );
    let snapshot = finish(chat);
    assert_eq!(newest(&snapshot).0, "two");
    let said = snapshot["messages"].as_array().unwrap();
    assert!(said.iter().any(|it| it["msg_content"] == "one"), "{said:?}");
    assert!(
        said.iter().any(|it| it["msg_id"] == sent["msg_id"]),
        "{said:?}"
    );
    let state = minimax.control().state();
    assert!(state.violations.is_empty(), "{:?}", state.violations);
    // What was said there is not told again.
    on(
        "user:echo:one\nassistant:one\nuser:echo:three\nassistant:",
        chat,
    );
    let told = minimax.control().log().pop().unwrap();
    assert!(told.violation.unwrap().contains("has heard"));
    assert_eq!(on("hi", 7)["base_resp"]["status_code"], 2013);
}

#[test]
fn a_chat_that_nobody_polls_runs_on_for_a_while() {
    let minimax = start("minimax");
    let chat = send(&minimax, "count:50");
    assert_eq!(
        delete(&minimax, chat)["base_resp"]["status_msg"],
        "chat is running"
    );
    std::thread::sleep(std::time::Duration::from_millis(1600));
    assert_eq!(delete(&minimax, chat)["base_resp"]["status_code"], 0);
    assert_eq!(delete(&minimax, chat)["base_resp"]["status_code"], 2013);
}

#[test]
fn plays_recorded_polls_line_by_line() {
    let minimax = start("minimax");
    let raw = "200 {\"chat\":{\"chat_status\":1},\"messages\":[]}\n502 bad gateway\n{\"chat\":{\"chat_status\":2}}";
    let script = Script {
        raw: Some(raw.to_owned()),
        write_bytes: Some(1),
        ..Script::default()
    };
    minimax.control().script(script).unwrap();
    let chat = send(&minimax, "hi");
    let polls = [(); 3].map(|()| poll(&minimax, chat));
    let seen = polls
        .each_ref()
        .map(|answer| (answer.status, answer.text()));
    assert_eq!(seen[1], (502, "bad gateway".to_owned()));
    assert_eq!(seen[2], (200, "{\"chat\":{\"chat_status\":2}}".to_owned()));
}

#[test]
fn refuses_what_is_not_on_the_page() {
    let minimax = start("minimax");
    let path = format!("{CHAT}/send_msg");
    for (from, to, why) in [
        ("\"msg_type\":1", "\"msg_type\":2", "msg_type"),
        ("\"chat_type\":2", "\"chat_type\":\"2\"", "chat_type"),
        ("\"text\":\"hi\"", "\"text\":\"\"", "text"),
        ("501", "502", "model_option"),
        ("\"attachments\":[],", "", "attachments"),
        (
            "\"sub_agent_ids\":[]",
            "\"sub_agent_ids\":[1]",
            "sub_agent_ids",
        ),
    ] {
        let body = question("hi").replace(from, to);
        let wrong = plan(&minimax, 1, "POST", &path, &body).signed(&minimax);
        refused(&minimax, &wrong, 200, "2013", why);
    }
    let spaced = question("hi").replace("\":", "\": ");
    assert_eq!(
        post(&minimax, 1, &path, &spaced).value()["base_resp"]["status_code"],
        0
    );
    let noted = minimax.control().log().pop().unwrap();
    assert!(noted.violation.unwrap().contains("compact"));
    let chat = send(&minimax, "hi");
    let path = format!("{CHAT}/get_chat_detail");
    for (body, why) in [
        (
            format!(r#"{{"chat_id":"{chat}","size":500,"desc":true}}"#),
            "compact",
        ),
        (
            format!(r#"{{"size":500,"chat_id":{chat},"desc":true}}"#),
            "order",
        ),
        (
            r#"{"chat_id":7,"size":500,"desc":true}"#.to_owned(),
            "no chat",
        ),
    ] {
        let wrong = plan(&minimax, 1, "POST", &path, &body).signed(&minimax);
        refused(&minimax, &wrong, 200, "2013", why);
    }
    // The matrix generation wants the token's user, and answers wrong signatures in its own way.
    let wrong = plan(&minimax, 1, "POST", &path, "{}")
        .set("user_id", REAL[0])
        .signed(&minimax);
    refused(&minimax, &wrong, 401, "", "user_id");
    let wrong = plan(&minimax, 1, "POST", &path, "{}")
        .signed(&minimax)
        .header("yy", md5("x"));
    refused(&minimax, &wrong, 401, "1000021", "yy");
}

#[test]
fn polls_fail_on_order() {
    let minimax = start("minimax");
    let control = minimax.control();
    let chat = send(&minimax, "count:3");
    control.fault("poll_502", 1).unwrap();
    control.fault("poll_refused", 1).unwrap();
    control.fault("poll_stalls", 3).unwrap();
    assert_eq!(poll(&minimax, chat).status, 502);
    assert_eq!(
        poll(&minimax, chat).value()["base_resp"]["status_code"],
        45678
    );
    for _ in 0..3 {
        let stalled = poll(&minimax, chat).value();
        assert_eq!(
            (newest(&stalled).0.as_str(), &stalled["chat"]["chat_status"]),
            ("", &json!(1))
        );
    }
    control.fault("empty", 1).unwrap();
    let empty = send(&minimax, "count:3");
    let polls = [(); 3].map(|()| poll(&minimax, empty).value());
    assert_eq!(
        (
            newest(&polls[2]).0.as_str(),
            &polls[2]["chat"]["chat_status"]
        ),
        ("", &json!(2))
    );
}
