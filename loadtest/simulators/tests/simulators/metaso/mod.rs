//! wire/metaso.md, checked from the client's side.

mod refusals;
mod search;

use hive2api_simulators::{Running, Script};
use serde_json::{Value, json};

use crate::client::{Answer, CHROME, Request, setting, start};

const CHAT: &str = "/api/search/chat";

/// What an account pastes, as a cookie header.
fn pasted(running: &Running, account: usize) -> String {
    let suffix = ["", "_2", "_3"][account - 1];
    let token = setting(running, &format!("METASO_TOKEN{suffix}"));
    match token.split_once('-') {
        Some((uid, sid)) if !token.contains('=') => format!("uid={uid}; sid={sid}"),
        _ => token,
    }
}

fn browser(request: Request) -> Request {
    request
        .header("Accept-Language", "zh-CN,zh;q=0.9")
        .header("Sec-Ch-Ua", "\"Chromium\";v=\"144\"")
        .header("Sec-Ch-Ua-Mobile", "?0")
        .header("Sec-Ch-Ua-Platform", "\"Windows\"")
        .header("User-Agent", CHROME)
}

fn home(running: &Running, account: usize) -> Answer {
    browser(Request::new("GET", "/"))
        .header("Accept", "text/html")
        .header("Sec-Fetch-Dest", "document")
        .header("Sec-Fetch-Mode", "navigate")
        .header("Sec-Fetch-User", "?1")
        .header("Upgrade-Insecure-Requests", "1")
        .header("Cookie", pasted(running, account))
        .ask(running)
}

/// A client that has been at the home page.
#[derive(Clone)]
struct Visitor {
    cookie: String,
    token: String,
}

fn visit(running: &Running, account: usize) -> Visitor {
    let page = home(running, account);
    let set = page.headers["set-cookie"].split(';').next().unwrap();
    let cookie = format!("{}; {set}", pasted(running, account));
    let text = page.text();
    let content = text.split("content").find(|part| part.len() > 128).unwrap();
    let token: String = content
        .trim_start_matches([' ', '=', '"', '\''])
        .chars()
        .take_while(|c| !matches!(c, '"' | '\''))
        .collect();
    let token = token.replace("&#43;", "+").replace("&#x3D;", "=");
    assert_eq!(token.len(), 128, "{text}");
    Visitor { cookie, token }
}

impl Visitor {
    fn call(&self, running: &Running, method: &'static str, path: &str) -> Request {
        browser(Request::new(method, path))
            .header("Origin", running.url.clone())
            .header("Referer", format!("{}/", running.url))
            .header("Sec-Fetch-Dest", "empty")
            .header("Sec-Fetch-Mode", "cors")
            .header("Sec-Fetch-Site", "same-origin")
            .header("Cookie", self.cookie.clone())
    }

    fn question(&self, text: &str, mode: &str, engine: &str) -> Value {
        let id = format!("temp-{}", uuid::Uuid::new_v4());
        json!({
            "model": "fast_thinking", "stream": true,
            "messages": [{
                "id": id, "key": id, "conversationId": id, "role": "user", "content": text, "markdownContent": text,
                "displayContent": text, "engineType": engine, "filter": "all", "contentType": 0, "outputHtml": false,
                "mode": mode, "model": "fast_thinking", "outputStyle": "正常",
            }],
            "mode": mode, "engineType": engine, "filter": "all", "outputHtml": false, "outputLanguage": "中文",
            "darkMode": false, "htmlNoDisplayEnable": true, "metaso-pc": "pc", "token": self.token,
        })
    }

    fn asking(&self, running: &Running, body: &Value) -> Request {
        self.call(running, "POST", CHAT)
            .header("Accept", "text/event-stream")
            .header("metaso-pc", "pc")
            .json(body)
    }

    fn ask(&self, running: &Running, text: &str) -> Answer {
        self.asking(running, &self.question(text, "concise", ""))
            .ask(running)
    }
}

/// What the deltas of the chat generation say.
fn said(answer: &Answer, member: &str) -> String {
    let events = answer.events();
    let frames = events
        .iter()
        .filter_map(|data| serde_json::from_str::<Value>(data).ok());
    frames
        .filter_map(|frame| {
            let delta = frame.pointer(&format!("/choices/0/delta/{member}"));
            delta.and_then(Value::as_str).map(str::to_owned)
        })
        .collect()
}

/// Checks a refusal by an event or a body, and the record of it.
fn refused(running: &Running, request: &Request, status: u16, text: &str, why: &str) {
    let answer = request.ask(running);
    assert_eq!(answer.status, status, "{why}: {}", answer.text());
    assert!(answer.text().contains(text), "{why}: {}", answer.text());
    let last = running.control().log().pop().unwrap();
    assert!(!last.ok, "{last:?}");
    let said = last.violation.unwrap_or_default();
    assert!(said.contains(why), "{why}: {said}");
}

#[test]
fn answers_in_one_call() {
    let metaso = start("metaso");
    let said_text = "你好👋🏽 data: \"x\"\n\n\u{2028}end [[1]";
    for account in 1..=3 {
        let visitor = visit(&metaso, account);
        let answer = visitor.ask(&metaso, &format!("think:搜索中 echo:{said_text}"));
        assert!(answer.headers["content-type"].starts_with("text/event-stream"));
        assert!(
            answer
                .text()
                .starts_with("data:{\"type\":\"conversation_init\"")
        );
        assert_eq!(said(&answer, "content"), said_text);
        assert_eq!(said(&answer, "reasoning_content"), "搜索中");
        assert_eq!(answer.events().last().unwrap(), "[DONE]");
    }
    let state = metaso.control().state();
    assert!(state.violations.is_empty(), "{:?}", state.violations);
    assert_eq!((state.conversations, state.open_streams), (0, 0));
}

#[test]
fn cites_its_sources_with_torn_marks() {
    let metaso = start("metaso");
    let visitor = visit(&metaso, 1);
    let answer = visitor.ask(&metaso, "月相是什么");
    let text = said(&answer, "content");
    assert!(text.contains("[[1]]") && text.ends_with("[[2]]"), "{text}");
    assert!(
        answer.text().contains(r#""content":"[""#) && answer.text().contains(r#""content":"]""#)
    );
    assert!(answer.text().contains(r#""display":{"refer_id":2}"#));
    assert!(!said(&answer, "reasoning_content").is_empty());
    let events = answer.events();
    let last = events.iter().rev().nth(1).unwrap();
    let result = serde_json::from_str::<Value>(last).unwrap()["id"].clone();
    let found = visitor
        .call(&metaso, "POST", "/api/search-result")
        .json(&json!({"resultId": result}))
        .ask(&metaso);
    assert_eq!(
        found.value()["data"]["citations"].as_array().unwrap().len(),
        2
    );
    let exact = visitor.ask(&metaso, "cite:1 echo:to the letter");
    assert_eq!(said(&exact, "content"), "to the letter");
    assert!(exact.text().contains("https://example.com/1"));
}

#[test]
fn quirks_say_the_same() {
    let metaso = start("metaso");
    let visitor = visit(&metaso, 1);
    let text = "一二三四五六七八九十 and so on";
    for quirk in metaso.control().known_quirks() {
        let script = Script {
            quirks: vec![(*quirk).to_owned()],
            ..Script::default()
        };
        metaso.control().script(script).unwrap();
        let answer = visitor.ask(&metaso, &format!("cite:2 echo:{text}"));
        let shown = said(&answer, "content")
            .replace("[[1]]", "")
            .replace("[[2]]", "");
        assert!(shown.starts_with(text), "{quirk}: {shown}");
        assert_eq!(shown == text, *quirk != "badge", "{quirk}: {shown}");
        assert_eq!(
            said(&answer, "content").contains("[[1]]"),
            *quirk == "marks"
        );
        assert_eq!(answer.text().contains("\r\n\r\n"), *quirk == "crlf");
        assert_eq!(answer.text().starts_with("data: {"), *quirk == "blank");
        assert_eq!(
            answer.text().contains("\"citations\":["),
            *quirk != "no_citations"
        );
    }
}

#[test]
fn a_home_page_has_a_token_for_those_who_are_logged_in() {
    let metaso = start("metaso");
    let stranger = browser(Request::new("GET", "/"))
        .header("Cookie", "uid=1; sid=2")
        .ask(&metaso);
    assert!(stranger.status == 200 && !stranger.text().contains("meta-token"));
    assert_eq!(
        home(&metaso, 1).headers["content-type"],
        "text/html; charset=utf-8"
    );
    let control = metaso.control();
    control.fault("empty_meta_token", 1).unwrap();
    assert!(home(&metaso, 1).text().contains("content=\"\""));
    control.fault("slider", 1).unwrap();
    assert!(home(&metaso, 1).text().contains("aliyun-captcha"));
    let info = visit(&metaso, 1)
        .call(&metaso, "GET", "/api/my-info")
        .ask(&metaso);
    assert_eq!(info.value()["errCode"], 0);
    assert!(info.value()["data"]["user"].is_object());
    assert!(info.headers["set-cookie"].starts_with("JSESSIONID="));
    assert!(
        !control
            .log()
            .pop()
            .unwrap()
            .violation
            .is_some_and(|what| what.contains("cookie"))
    );
}

#[test]
fn plays_a_recorded_stream_byte_for_byte() {
    let metaso = start("metaso");
    let visitor = visit(&metaso, 1);
    let sample = "data:{\"choices\":[\"你\"]}\r\n\r\ndata: [DONE]\n\n";
    let script = Script {
        raw: Some(sample.to_owned()),
        write_bytes: Some(1),
        ..Script::default()
    };
    metaso.control().script(script).unwrap();
    assert_eq!(visitor.ask(&metaso, "hi").text(), sample);
}
