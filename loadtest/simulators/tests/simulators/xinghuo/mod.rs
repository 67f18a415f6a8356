//! wire/xinghuo.md, checked from the client's side.

mod refusals;
mod spark;
mod uploads;

use hive2api_simulators::{Running, Script, script::Citation};
use serde_json::{Value, json};

use crate::client::{Answer, CHROME, Request, setting, start, until};

const CREATE: &str = "/iflygpt/u/chat-list/v1/create-chat-list";
const DELETE: &str = "/iflygpt/u/chat-list/v1/del-chat-list";
const CHAT: &str = "/iflygpt-chat/u/chat_message/chat";
const LONG_CHAT: &str = "/iflygpt-longcontext/u/chat_message/web/chat";

fn call(running: &Running, account: usize, method: &'static str, path: &str) -> Request {
    let suffix = if account == 1 {
        String::new()
    } else {
        format!("_{account}")
    };
    Request::new(method, path)
        .header(
            "Cookie",
            setting(running, &format!("XINGHUO_COOKIE{suffix}")),
        )
        .header("User-Agent", CHROME)
        .header("Origin", "https://xinghuo.xfyun.cn")
        .header("Referer", "https://xinghuo.xfyun.cn/desk")
        .header("Accept", "application/json, text/plain, */*")
}

fn post(running: &Running, account: usize, path: &str, body: &Value) -> Value {
    call(running, account, "POST", path)
        .json(body)
        .ask(running)
        .value()
}

fn window(running: &Running, account: usize) -> String {
    post(running, account, CREATE, &json!({}))["data"]["id"].to_string()
}

fn asking(running: &Running, window: &str, text: &str) -> Request {
    form(running, &[("chatId", window), ("text", text)])
}

/// The form of §4.3 with some fields changed.
fn form(running: &Running, changed: &[(&str, &str)]) -> Request {
    let token = setting(running, "GT_TOKEN");
    let mut fields = vec![
        ("fd", "401123"),
        ("isBot", "0"),
        ("clientType", "1"),
        ("text", "hi"),
        ("capabilities", ""),
        ("chatId", "1"),
        ("GtToken", token.as_str()),
    ];
    for (name, value) in changed {
        match fields.iter_mut().find(|(field, _)| field == name) {
            Some(field) => field.1 = value,
            // The optional ones stand before the token.
            None => fields.insert(6, (name, value)),
        }
    }
    call(running, 1, "POST", CHAT)
        .header("Accept", "text/event-stream")
        .form(&fields)
}

fn refused(running: &Running, request: &Request, status: u16, what: &str) {
    let answer = request.ask(running);
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(what), "{what}: {}", answer.text());
    let last = running.control().log().pop().unwrap();
    assert!(!last.ok && last.violation.is_some(), "{last:?}");
}

#[test]
fn opens_asks_and_deletes_a_window() {
    let xinghuo = start("xinghuo");
    let id = window(&xinghuo, 1);
    let answer = asking(&xinghuo, &id, "echo:你好，世界👋🏽!\n").ask(&xinghuo);
    assert!(answer.headers["content-type"].starts_with("text/event-stream"));
    let events = answer.events();
    let [.., recommend, end, sid] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(
        recommend,
        "```question_type_recommand_json[{\"type\":\"ppt\"}]```"
    );
    assert_eq!(end, "<end>");
    assert!(
        sid.starts_with("cht") && sid.contains("@dx") && sid.ends_with("<sid>"),
        "{sid}"
    );
    let id: u64 = id.parse().unwrap();
    assert_eq!(
        post(&xinghuo, 1, DELETE, &json!({"chatListId": id}))["flag"],
        true
    );
    assert_eq!(
        post(&xinghuo, 1, DELETE, &json!({"chatListId": id}))["code"],
        30002
    );
    let state = xinghuo.control().state();
    assert_eq!(
        (
            state.created,
            state.deleted,
            state.conversations,
            state.open_streams
        ),
        (1, 1, 0, 0)
    );
    assert_eq!(state.violations.len(), 1, "{:?}", state.violations);
}

#[test]
fn sample_a_and_c_come_out_of_the_generator() {
    let xinghuo = start("xinghuo");
    let control = xinghuo.control();
    let pieces = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    let quirks = vec!["clean".to_owned()];
    let sample_a = Script {
        pieces: pieces(&["你好", "，世界", "👋🏽", "!\n"]),
        quirks: quirks.clone(),
        ..Script::default()
    };
    control.script(sample_a).unwrap();
    let text = asking(&xinghuo, &window(&xinghuo, 1), "a")
        .ask(&xinghuo)
        .text();
    assert!(
        text.starts_with(
            "data:5L2g5aW9\n\ndata:77yM5LiW55WM\n\ndata:8J+Ri/Cfj70=\n\ndata:IQo=\n\n"
        ),
        "{text}"
    );

    let sample_c = Script {
        reasoning: Some("用户问1+1".to_owned()),
        piece_chars: Some(2),
        citations: Some(vec![Citation {
            url: "https://example.com/a".to_owned(),
            title: "示例".to_owned(),
        }]),
        pieces: pieces(&["1+1", "=2"]),
        images: Some(vec![
            "https://img.example/x.png?authorization=a=&x_location=b".to_owned(),
        ]),
        quirks,
        ..Script::default()
    };
    control.script(sample_c).unwrap();
    let lines = [
        // `用户` as a start event, as the page has it; the rest is cut otherwise there.
        "data:PGRlZXBfeDE+eyJzdGFnZSI6InRoaW5raW5nIiwiZGF0YSI6eyJ0eXBlIjoieDEiLCJzdGF0dXMiOiJzdGFydCIsImNvbnRlbnQiOiLnlKjmiLcifX0=",
        "data:PGRlZXBfeDE+eyJzdGFnZSI6InRoaW5raW5nIiwiZGF0YSI6eyJ0eXBlIjoieDEiLCJzdGF0dXMiOiJlbmQiLCJjb250ZW50IjoiIiwidGhpbmtFbGFwc2VkVGltZSI6MS41fX0=",
        "data:YGBgc2VhcmNoU291cmNlClt7ImluZGV4IjoxLCJ1cmwiOiJodHRwczovL2V4YW1wbGUuY29tL2EiLCJ0aXRsZSI6IuekuuS+iyJ9XQpgYGA=",
        "data:MSsx",
        "data:PTI=",
        "data:YGBgbXVsdGlfaW1hZ2VfdXJsCnsidXJsIjoiaHR0cHM6Ly9pbWcuZXhhbXBsZS94LnBuZz9hdXRob3JpemF0aW9uPWE9JnhfbG9jYXRpb249YiJ9CmBgYA==",
        "data:```question_type_recommand_json[{\"type\":\"ppt\"}]```",
        "data:<end>",
    ];
    let text = asking(&xinghuo, &window(&xinghuo, 1), "c")
        .ask(&xinghuo)
        .text();
    let mut rest = text.as_str();
    for line in lines {
        let at = rest
            .find(&format!("{line}\n\n"))
            .unwrap_or_else(|| panic!("{line} is not in order in {text}"));
        rest = rest.split_at(at + line.len()).1;
    }
}

#[test]
fn sample_d_is_an_overload() {
    let xinghuo = start("xinghuo");
    xinghuo.control().fault("overload_10110", 1).unwrap();
    let answer = asking(&xinghuo, &window(&xinghuo, 1), "d").ask(&xinghuo);
    let sample = "data:[error]\n\ndata:{\"key\":10110,\"value\":\"服务忙，请稍后再试\",\"descr\":\"服务忙，请稍后再试\"}\n\ndata:<end>\n\n";
    assert_eq!(answer.text(), sample);
    assert_eq!(answer.body.len(), 122);
}

#[test]
fn a_blank_window_is_given_again_and_answers_one_at_a_time() {
    let xinghuo = start("xinghuo");
    let first = window(&xinghuo, 1);
    assert_eq!(window(&xinghuo, 1), first, "not asked yet");
    assert_ne!(window(&xinghuo, 2), first, "another account");
    let running = asking(&xinghuo, &first, "pace:60000 echo:x")
        .send(&xinghuo)
        .unwrap();
    refused(&xinghuo, &asking(&xinghuo, &first, "me too"), 200, "10007");
    let second = window(&xinghuo, 1);
    assert_ne!(second, first, "asked in the meantime");
    assert!(
        asking(&xinghuo, &second, "count:2")
            .ask(&xinghuo)
            .text()
            .contains("<end>"),
        "windows stream in parallel"
    );
    drop(running);
    until(|| xinghuo.control().state().open_streams == 0);
    // Free again, but it has been asked.
    assert!(
        asking(&xinghuo, &first, "count:2")
            .ask(&xinghuo)
            .text()
            .contains("<end>")
    );
    assert!(
        xinghuo
            .control()
            .log()
            .pop()
            .unwrap()
            .violation
            .unwrap()
            .contains("no sid")
    );
}

#[test]
fn a_window_goes_on_with_its_sid() {
    let xinghuo = start("xinghuo");
    let id = window(&xinghuo, 1);
    let sid = asking(&xinghuo, &id, "count:1")
        .ask(&xinghuo)
        .events()
        .pop()
        .unwrap()
        .replace("<sid>", "");
    form(&xinghuo, &[("chatId", &id), ("sid", &sid)]).ask(&xinghuo);
    let history = call(
        &xinghuo,
        1,
        "GET",
        &format!("/iflygpt/u/chat_history/all/{id}"),
    )
    .ask(&xinghuo)
    .value();
    assert_eq!(history["data"][0]["historyList"][0]["sid"], sid.as_str());
    assert!(
        xinghuo.control().state().violations.is_empty(),
        "{:?}",
        xinghuo.control().state().violations
    );
}

#[test]
fn history_is_taken_apart() {
    let xinghuo = start("xinghuo");
    let id = window(&xinghuo, 1);
    let text = "system:S\nuser:a\nassistant:b\nuser:echo:c\nassistant:";
    let script = Script {
        quirks: vec!["clean".to_owned(), "no_sid".to_owned()],
        ..Script::default()
    };
    xinghuo.control().script(script).unwrap();
    assert_eq!(
        asking(&xinghuo, &id, text).ask(&xinghuo).events()[0],
        "Yw=="
    );
    let asked = xinghuo.control().calls("ask").pop().unwrap();
    let roles: Vec<_> = asked.turns.iter().map(|turn| turn.role.as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
}
