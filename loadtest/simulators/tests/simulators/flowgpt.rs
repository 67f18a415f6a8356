//! wire/flowgpt.md, checked from the client's side.

use std::time::{SystemTime, UNIX_EPOCH};

use hive2api_simulators::{Running, Script};
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use crate::client::{Answer, Request, setting, start};

const PROMPT: &str = "uzNcMUGo4sOwl4GFvRpm8";

struct Client<'a> {
    flowgpt: &'a Running,
    account: usize,
}

impl Client<'_> {
    fn own(&self, name: &str) -> String {
        let suffix = ["", "_2", "_3"][self.account - 1];
        setting(self.flowgpt, &format!("{name}{suffix}"))
    }

    fn call(&self, path: &str) -> Request {
        let request = Request::new("POST", path)
            .header("Accept", "*/*")
            .header("Accept-Language", "en")
            .header(
                "Authorization",
                format!("Bearer {}", self.own("FLOWGPT_BEARER_TOKEN")),
            )
            .header("Origin", "https://flowgpt.com")
            .header("Referer", "https://flowgpt.com/")
            .header("x-flow-device-id", self.own("FLOWGPT_DEVICE_ID"))
            .header("x-flow-language", "en");
        match self.account {
            2 => request.header("x-aws-waf-token", self.own("FLOWGPT_WAF_TOKEN")),
            _ => request,
        }
    }

    fn context(&self, text: &str) -> Value {
        json!({"promptId": PROMPT, "location": "CHAT_PAGE", "messages": [
            {"role": "system", "content": "be brief"}, {"role": "user", "content": text},
        ]})
    }

    fn create(&self, text: &str) -> String {
        let request = self.call("/conversation/create").json(&self.context(text));
        let answer = request.ask(self.flowgpt);
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        answer.value()["id"].as_str().unwrap().to_owned()
    }

    fn signed(&self, nonce: &str, timestamp: u64) -> Request {
        let device = self.own("FLOWGPT_DEVICE_ID");
        let signature: String = Md5::digest(format!("{timestamp}:{nonce}:{device}"))
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.call("/v3/chat")
            .header("x-timestamp", timestamp.to_string())
            .header("x-nonce", nonce)
            .header("x-signature", signature)
    }

    fn question(&self, text: &str, conversation: &str) -> Value {
        json!({
            "model": "FlowGPT-Ares", "nsfw": false, "question": text, "temperature": 0.7, "userId": "", "promptId": PROMPT,
            "conversationId": conversation, "documentIds": [], "generateImage": false, "generateAudio": false,
        })
    }

    fn asking(&self, text: &str) -> Request {
        let body = self.question(text, &self.create(text));
        self.signed(&nonce(), now()).json(&body)
    }

    fn ask(&self, text: &str) -> Answer {
        self.asking(text).ask(self.flowgpt)
    }
}

fn client(flowgpt: &Running) -> Client<'_> {
    let account = 1;
    Client { flowgpt, account }
}

fn nonce() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// The text of all `text` events.
fn said(answer: &Answer) -> String {
    let text = answer.text();
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let texts = lines.filter(|line| line.get("event").is_none_or(|event| event == "text"));
    texts
        .filter_map(|line| line["data"].as_str().map(str::to_owned))
        .collect()
}

/// Checks a refusal and what was written down of it.
fn refused(flowgpt: &Running, request: &Request, status: u16, why: &str) {
    let answer = request.ask(flowgpt);
    assert_eq!(answer.status, status, "{why}: {}", answer.text());
    let last = flowgpt.control().log().pop().unwrap();
    let violation = last.violation.unwrap_or_default();
    assert!(!last.ok && violation.contains(why), "{why}: {violation}");
}

#[test]
fn answers_in_a_conversation_of_its_own() {
    let flowgpt = start("flowgpt");
    let mut types = Vec::new();
    for account in 1..=3 {
        let client = Client {
            flowgpt: &flowgpt,
            account,
        };
        let answer = client.ask("echo:Hello, мир 👋 \"x\"\n");
        assert_eq!(
            (answer.status, said(&answer)),
            (200, "Hello, мир 👋 \"x\"\n".to_owned())
        );
        types.push(answer.headers["content-type"].clone());
    }
    types.dedup();
    assert_eq!(types.len(), 3, "nobody should lean on the type");
    let state = flowgpt.control().state();
    assert!(state.violations.is_empty(), "{:?}", state.violations);
    assert_eq!((state.conversations, state.open_streams), (0, 0));
    let asked = flowgpt.control().calls("ask").pop().unwrap();
    assert_eq!(asked.turns.len(), 2);
}

#[test]
fn quirks_say_the_same() {
    let flowgpt = start("flowgpt");
    let client = client(&flowgpt);
    for quirk in flowgpt.control().known_quirks() {
        let script = Script {
            quirks: vec![(*quirk).to_owned()],
            ..Script::default()
        };
        flowgpt.control().script(script).unwrap();
        let answer = client.ask("echo:一二三 and so on");
        let text = said(&answer);
        assert!(text.ends_with("一二三 and so on"), "{quirk}: {text}");
        assert_eq!(
            text.contains("Response:**"),
            *quirk == "preamble",
            "{quirk}"
        );
        assert_eq!(answer.text().contains("\r\n"), *quirk == "crlf");
        assert_eq!(answer.text().ends_with('\n'), *quirk != "no_end");
    }
}

#[test]
fn signatures_are_looked_at() {
    let flowgpt = start("flowgpt");
    let client = client(&flowgpt);
    refused(
        &flowgpt,
        &client.asking("x").header("x-signature", "0".repeat(32)),
        403,
        "Invalid signature",
    );
    refused(
        &flowgpt,
        &client.asking("x").without("x-nonce"),
        403,
        "x-nonce is not 32",
    );
    refused(
        &flowgpt,
        &client.asking("x").without("x-timestamp"),
        403,
        "x-timestamp",
    );
    for (nonce, timestamp, why) in [
        (nonce().to_uppercase(), now(), "x-nonce is not 32"),
        (nonce(), now() - 301, "x-timestamp"),
        (nonce(), now() * 1000, "x-timestamp"),
    ] {
        let body = client.question("x", &client.create("x"));
        refused(
            &flowgpt,
            &client.signed(&nonce, timestamp).json(&body),
            403,
            why,
        );
    }
    let asking = client.asking("x");
    assert_eq!(asking.ask(&flowgpt).status, 200);
    let again = client.question("x", &client.create("x"));
    refused(
        &flowgpt,
        &asking.json(&again),
        403,
        "the nonce was used before",
    );
    // Another way to sign is refused, and no violation.
    flowgpt.control().fault("wants_auth_dash", 1).unwrap();
    assert_eq!(client.ask("x").status, 403);
    assert!(flowgpt.control().log().pop().unwrap().violation.is_none());
}

#[test]
fn both_calls_have_their_headers() {
    let flowgpt = start("flowgpt");
    let client = client(&flowgpt);
    let create = || {
        client
            .call("/conversation/create")
            .json(&client.context("x"))
    };
    refused(
        &flowgpt,
        &create().header("Authorization", "Bearer x"),
        401,
        "Authorization",
    );
    refused(
        &flowgpt,
        &create().header("x-flow-device-id", "x"),
        403,
        "x-flow-device-id",
    );
    for (name, why) in [
        ("Accept", "accept is"),
        ("Accept-Language", "no Accept-Language"),
        ("Origin", "origin is"),
        ("Referer", "referer is"),
        ("x-flow-language", "x-flow-language is"),
    ] {
        assert_eq!(create().without(name).ask(&flowgpt).status, 201, "{name}");
        let last = flowgpt.control().log().pop().unwrap();
        assert!(last.violation.unwrap().contains(why), "{name}");
    }
    create().header("x-nonce", nonce()).ask(&flowgpt);
    let last = flowgpt.control().log().pop().unwrap();
    assert!(last.violation.unwrap().contains("x-nonce"));
    refused(
        &flowgpt,
        &Request::new("POST", "/v3/chat-anonymous"),
        404,
        "no such path",
    );
}

#[test]
fn bodies_are_read_field_by_field() {
    let flowgpt = start("flowgpt");
    let client = client(&flowgpt);
    let create = |change: &dyn Fn(&mut Value)| {
        let mut body = client.context("x");
        change(&mut body);
        client.call("/conversation/create").json(&body)
    };
    refused(
        &flowgpt,
        &create(&|it| it["location"] = json!("x")),
        400,
        "location",
    );
    refused(
        &flowgpt,
        &create(&|it| it["messages"] = json!([])),
        400,
        "no user message",
    );
    refused(
        &flowgpt,
        &create(&|it| it["messages"][0]["role"] = json!("developer")),
        400,
        "the role",
    );
    refused(
        &flowgpt,
        &create(&|it| it["messages"][0]["content"] = json!([])),
        400,
        "content",
    );
    assert_eq!(
        create(&|it| it["promptId"] = json!("gone"))
            .ask(&flowgpt)
            .status,
        404
    );
    let ask = |change: &dyn Fn(&mut Value)| {
        let mut body = client.question("x", &client.create("x"));
        change(&mut body);
        client.signed(&nonce(), now()).json(&body)
    };
    refused(
        &flowgpt,
        &ask(&|it| it["temperature"] = json!(2.5)),
        400,
        "temperature",
    );
    refused(&flowgpt, &ask(&|it| it["userId"] = json!(1)), 400, "userId");
    refused(
        &flowgpt,
        &ask(&|it| it["conversationId"] = json!("x")),
        400,
        "conversationId",
    );
    refused(
        &flowgpt,
        &ask(&|it| it["question"] = json!("y")),
        400,
        "not the last user message",
    );
    refused(
        &flowgpt,
        &ask(&|it| it["model"] = json!("claude-instant")),
        400,
        "not for the model",
    );
    refused(
        &flowgpt,
        &ask(&|it| it["promptId"] = json!("vlaOLDN9qTxzIlvzfL_Ty")),
        400,
        "promptId",
    );
    let conversation = client.create("x");
    let body = client.question("x", &conversation);
    assert_eq!(
        client
            .signed(&nonce(), now())
            .json(&body)
            .ask(&flowgpt)
            .status,
        200
    );
    refused(
        &flowgpt,
        &client.signed(&nonce(), now()).json(&body),
        400,
        "gone on with",
    );
}

#[test]
fn every_fault_looks_as_the_page_says() {
    let flowgpt = start("flowgpt");
    let client = client(&flowgpt);
    for (fault, status, text) in [
        ("unauthorized", 401, "Unauthorized"),
        ("signature_refused", 403, "signature"),
        ("limit_reached", 403, "LIMIT_REACHED"),
        ("daily_limit", 402, "Daily"),
        ("waf_challenge", 202, ""),
        ("waf_captcha", 405, ""),
        ("bad_request", 400, "promptId"),
        ("rate_limited", 429, "Too many"),
        ("unavailable_page", 503, "<html>"),
        ("empty", 200, ""),
        ("garbage", 200, "oops"),
        ("error_before_text", 200, r#""event":"error""#),
        ("moderated_after_text", 200, "policy"),
    ] {
        flowgpt.control().fault(fault, 1).unwrap();
        let answer = client.ask("echo:x");
        assert_eq!(answer.status, status, "{fault}");
        assert!(answer.text().contains(text), "{fault}: {}", answer.text());
        let action = answer.headers.get("x-amzn-waf-action");
        assert_eq!(action.is_some(), fault.starts_with("waf_"), "{fault}");
    }
    assert!(flowgpt.control().state().violations.is_empty());
}
