//! The older generation (wire/metaso.md §4.3, §4.4, §6).

use super::*;

const SESSION: &str = "/api/session";

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ if b"-_.~".contains(&byte) => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

impl Visitor {
    fn opening(&self, running: &Running, body: &Value) -> Request {
        self.call(running, "POST", SESSION)
            .header("Token", self.token.clone())
            .header("Is-Mini-Webview", "0")
            .json(body)
    }

    fn open(&self, running: &Running, question: &str, mode: &str, engine: &str) -> String {
        let body = json!({"question": question, "mode": mode, "engineType": engine, "scholarSearchDomain": "all"});
        let opened = self.opening(running, &body).ask(running).value();
        let id = match opened["data"].get("id") {
            Some(id) => id,
            None => &opened["data"]["sessionId"],
        };
        id.as_str().map_or_else(|| id.to_string(), str::to_owned)
    }

    fn members(
        &self,
        running: &Running,
        id: &str,
        question: &str,
        mode: &str,
    ) -> Vec<(&'static str, String)> {
        let url = format!("{}/search/{id}?newSearch=true&q={question}", running.url);
        vec![
            ("sessionId", id.to_owned()),
            ("question", question.to_owned()),
            ("lang", "zh".to_owned()),
            ("mode", mode.to_owned()),
            ("url", url),
            ("enableMix", (mode != "fast").to_string()),
            ("scholarSearchDomain", "all".to_owned()),
            ("expectedCurrentSessionSearchCount", "1".to_owned()),
            ("is-mini-webview", "0".to_owned()),
            ("token", self.token.clone()),
        ]
    }

    fn searching(&self, running: &Running, members: &[(&'static str, String)]) -> Request {
        let pairs: Vec<_> = members
            .iter()
            .map(|(name, value)| format!("{name}={}", escaped(value)))
            .collect();
        self.call(
            running,
            "GET",
            &format!("/api/searchV2?{}", pairs.join("&")),
        )
        .header("Accept", "text/event-stream")
    }
}

fn text(answer: &Answer) -> String {
    let events = answer.events();
    let records = events
        .iter()
        .filter_map(|data| serde_json::from_str::<Value>(data).ok());
    records
        .filter(|record| record["type"] == "append-text")
        .map(|record| record["text"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_session_is_searched_once() {
    let metaso = start("metaso");
    for account in 1..=3 {
        let visitor = visit(&metaso, account);
        let question = "cite:1 echo:你好 a+b&c=d👋🏽";
        let id = visitor.open(&metaso, question, "fast", "");
        assert_eq!(id.len(), 19, "{id}");
        let members = visitor.members(&metaso, &id, question, "fast");
        let found = visitor.searching(&metaso, &members).ask(&metaso);
        assert_eq!(text(&found), "你好 a+b&c=d👋🏽");
        assert!(found.text().contains("\"type\":\"set-reference\""));
        assert_eq!(found.events().last().unwrap(), "[DONE]");
        assert!(
            metaso.control().state().violations.is_empty(),
            "{:?}",
            metaso.control().state()
        );
        let again = visitor.searching(&metaso, &members);
        refused(&metaso, &again, 200, "参数错误", "searched before");
        metaso.reset();
    }
}

#[test]
fn refuses_another_search_than_was_opened() {
    let metaso = start("metaso");
    let visitor = visit(&metaso, 1);
    let id = visitor.open(&metaso, "hi", "detail", "scholar");
    let good = || {
        let mut members = visitor.members(&metaso, &id, "hi", "detail");
        members.push(("engineType", "scholar".to_owned()));
        members
    };
    for (name, value, why) in [
        ("sessionId", "864", "url"),
        ("question", "ho", "url"),
        ("lang", "en", "lang"),
        ("mode", "concise", "mode"),
        ("url", "https://metaso.cn/", "url"),
        ("enableMix", "false", "enableMix"),
        ("expectedCurrentSessionSearchCount", "2", "expected"),
        ("engineType", "", "empty"),
        ("engineType", "pdf", "engine"),
    ] {
        let mut members = good();
        members.iter_mut().find(|(own, _)| *own == name).unwrap().1 = value.to_owned();
        refused(
            &metaso,
            &visitor.searching(&metaso, &members),
            200,
            "参数错误",
            why,
        );
    }
    let mut bare = visitor.searching(&metaso, &good());
    bare.path = bare.path.replace("%2B", "+");
    refused(
        &metaso,
        &bare,
        200,
        "[TOO_MANY_REQUESTS]",
        "blank for a plus",
    );
    let long = "长".repeat(900);
    let id = visitor.open(&metaso, &long, "detail", "");
    let members = visitor.members(&metaso, &id, &long, "detail");
    refused(
        &metaso,
        &visitor.searching(&metaso, &members),
        200,
        "参数错误",
        "bytes",
    );
    let mut body = json!({
        "sessionId": id, "question": long, "lang": "zh", "mode": "detail", "url": members[4].1, "enableMix": true,
        "scholarSearchDomain": "all", "expectedCurrentSessionSearchCount": 1, "is-mini-webview": 0,
        "token": visitor.token, "newEngine": true, "metaso-pc": "pc", "model": "fast_thinking",
        "deepResearchModel": "fast",
    });
    let post = |body: &Value| {
        visitor
            .call(&metaso, "POST", "/api/searchV2")
            .header("Accept", "text/event-stream")
            .header("Token", visitor.token.clone())
            .json(body)
    };
    assert!(text(&post(&body).ask(&metaso)).contains("长长"));
    body["newEngine"] = json!(false);
    refused(&metaso, &post(&body), 200, "参数错误", "newEngine");
}

#[test]
fn a_session_is_as_strict_as_the_page() {
    let metaso = start("metaso");
    let visitor = visit(&metaso, 1);
    let good = || json!({"question": "hi", "mode": "detail", "engineType": "", "scholarSearchDomain": "all"});
    for (name, value) in [
        ("mode", json!("strong-research")),
        ("engineType", json!("web")),
        ("scholarSearchDomain", json!("")),
        ("question", json!("")),
    ] {
        let mut body = good();
        body[name] = value;
        refused(
            &metaso,
            &visitor.opening(&metaso, &body),
            200,
            "参数错误",
            name,
        );
    }
    let wrong = visitor.opening(&metaso, &good()).header("Token", "x");
    refused(&metaso, &wrong, 200, "token", "was not given");
    metaso.control().fault("session_token", 1).unwrap();
    let stale = visitor.opening(&metaso, &good()).ask(&metaso);
    assert_eq!(stale.value()["errCode"], 4003);
    assert_eq!(
        visitor.opening(&metaso, &good()).ask(&metaso).value()["errCode"],
        4003,
        "it is void"
    );
    let fresh = visit(&metaso, 1);
    assert_eq!(
        fresh.opening(&metaso, &good()).ask(&metaso).value()["errCode"],
        0
    );
}

#[test]
fn generations_answer_alone() {
    let metaso = start("metaso");
    let control = metaso.control();
    let visitor = visit(&metaso, 1);
    control.set_generation("oldest").unwrap();
    assert_eq!(visitor.ask(&metaso, "hi").status, 404);
    assert_eq!(visitor.open(&metaso, "hi", "detail", "").len(), 19);
    control.set_generation("newest").unwrap();
    let body =
        json!({"question": "hi", "mode": "detail", "engineType": "", "scholarSearchDomain": "all"});
    assert_eq!(visitor.opening(&metaso, &body).ask(&metaso).status, 404);
    assert_eq!(visitor.ask(&metaso, "hi").status, 200);
    assert!(control.state().violations.is_empty());
}
