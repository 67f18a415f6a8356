//! What all doors have in common, each asked in its own dialect: who goes away, who says nothing, who asks again and again, and
//! whose account it is.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use hive2api_simulators::{Running, Script};
use serde_json::{Value, json};

use crate::support::{Hive, Reply, SOON, assert_no_violations, settled, simulator};

/// A door: its path, and a request for it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Door {
    Chat,
    Responses,
    Messages,
}

const DOORS: [Door; 3] = [Door::Chat, Door::Responses, Door::Messages];

/// The lanes of all kinds, and a web chat: simulator and model.
const LANES: [(&str, &str); 4] = [
    ("openai", "sim-chat"),
    ("responses", "rsim-chat"),
    ("anthropic", "asim-chat"),
    ("qwen", "qwen3-max"),
];

impl Door {
    fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    fn body(self, model: &str, text: &str, is_streamed: bool) -> Value {
        let messages = json!([{"role": "user", "content": text}]);
        match self {
            Self::Chat => json!({"model": model, "messages": messages, "stream": is_streamed}),
            Self::Responses => json!({"model": model, "input": text, "stream": is_streamed}),
            Self::Messages => {
                json!({"model": model, "max_tokens": 4096, "messages": messages, "stream": is_streamed})
            }
        }
    }

    /// What a stream has in it once there is text.
    fn mark(self) -> &'static str {
        match self {
            Self::Chat => r#""content":""#,
            Self::Responses => "response.output_text.delta",
            Self::Messages => "text_delta",
        }
    }
}

async fn send(hive: &Hive, door: Door, body: &Value, headers: &[(&str, &str)]) -> Reply {
    let mut request = hive.request("POST", door.path());
    for (name, value) in headers {
        request = request.insert_header((*name, *value));
    }
    Reply::read(request.send_body(body.to_string()).await.unwrap()).await
}

fn code(reply: &Reply) -> String {
    let error = reply.json()["error"].clone();
    let word = error["code"].as_str().or_else(|| error["type"].as_str());
    word.unwrap_or_default().to_owned()
}

/// D19: within a second, whoever has gone away and from wherever.
#[actix_web::test]
async fn a_caller_that_leaves_stops_the_upstream_within_a_second() {
    for (name, model) in LANES {
        for door in DOORS {
            let upstream = simulator(name, 1);
            let hive = Hive::start(&[&upstream], &[]);
            let body = door.body(model, "pace:50 count:400", true);
            let mut response = hive
                .request("POST", door.path())
                .send_body(body.to_string())
                .await
                .unwrap();
            let mut seen = String::new();
            while seen.matches(door.mark()).count() < 3 {
                let piece = response.next().await;
                let piece = piece.unwrap_or_else(|| panic!("{name} {door:?} ended: {seen}"));
                seen.push_str(&String::from_utf8_lossy(&piece.unwrap()));
            }
            let left = Instant::now();
            drop(response);
            let control = upstream.control();
            while control.state().open_streams > 0 {
                assert!(left.elapsed() < Duration::from_secs(1), "{name} {door:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            settled(&control, SOON).await;
            assert_no_violations(&control);
        }
    }
}

/// D20: opencode asks for a title beside its first turn, on an account that takes one turn at a time.
#[actix_web::test]
async fn a_side_turn_waits_for_its_account_and_is_answered() {
    for door in DOORS {
        let qwen = simulator("qwen", 1);
        let hive = Hive::start(&[&qwen], &[("QWEN_MAX_CONCURRENCY", "1")]);
        let session = [("x-session-id", "ses_1"), ("x-session-affinity", "ses_1")];
        let mut title = door.body("qwen3-max", "echo:a title", false);
        if door == Door::Chat {
            let question = json!({"role": "user", "content": "echo:a title"});
            title["messages"] = json!([{"role": "user", "content": "Generate a title:"}, question]);
        }
        let main = door.body("qwen3-max", "pace:20 count:20", true);
        let (main, title) = futures_util::future::join(
            send(&hive, door, &main, &session),
            send(&hive, door, &title, &session),
        )
        .await;
        assert_eq!((main.status, title.status), (200, 200), "{}", title.text);
        assert!(main.text.contains("20"), "{}", main.text);
        assert!(title.text.contains("a title"), "{}", title.text);
        settled(&qwen.control(), SOON).await;
        assert_no_violations(&qwen.control());
    }
}

/// An upstream that says nothing is a fault, whatever it calls the end of its silence.
#[actix_web::test]
async fn an_empty_answer_is_no_answer() {
    for (name, model) in LANES {
        let upstream = simulator(name, 1);
        if !upstream.control().known_faults().contains(&"empty") {
            continue;
        }
        let hive = Hive::start(&[&upstream], &[]);
        upstream.control().fault("empty", 0).unwrap();
        for door in DOORS {
            for is_streamed in [false, true] {
                let body = door.body(model, "hi", is_streamed);
                let reply = send(&hive, door, &body, &[]).await;
                let told = format!("{name} {door:?} {is_streamed}: {}", reply.text);
                assert_eq!(reply.status, 502, "{told}");
                let expected = match door {
                    Door::Messages => "api_error",
                    _ => "upstream_",
                };
                assert!(
                    code(&reply).starts_with(expected)
                        || code(&reply).starts_with("upstream_empty"),
                    "{told}"
                );
            }
        }
        settled(&upstream.control(), SOON).await;
        // One good answer, and all is well.
        upstream.control().clear_faults();
        let reply = send(
            &hive,
            Door::Chat,
            &Door::Chat.body(model, "echo:here", false),
            &[],
        )
        .await;
        assert_eq!(reply.content(), "here");
    }
}

/// Codex asks thirty times after any 5xx, and six after other refusals; the service hears of it once or twice.
#[actix_web::test]
async fn a_refusal_that_lasts_is_not_asked_for_again() {
    for (fault, status, most) in [("forbidden", 403, 2), ("not_json", 502, 2)] {
        for door in DOORS {
            let lane = simulator("openai", 1);
            let hive = Hive::start(&[&lane], &[]);
            lane.control().fault(fault, 0).unwrap();
            for at in 0..30 {
                // Claude Code asks once more without a stream.
                let reply = send(&hive, door, &door.body("sim-chat", "hi", at % 2 == 0), &[]).await;
                assert_eq!(reply.status, status, "{door:?} {at}: {}", reply.text);
                if at >= most {
                    // Who heeds it, asks no more.
                    assert_eq!(reply.header("x-should-retry"), "false", "{door:?} {at}");
                }
            }
            let asked = lane.control().calls("ask").len();
            assert_eq!(asked, most, "{fault} {door:?}");
            // Any other question is asked: the account is as well as it was.
            lane.control().clear_faults();
            let reply = send(&hive, door, &door.body("sim-chat", "echo:fine", false), &[]).await;
            assert_eq!(reply.status, 200, "{door:?}: {}", reply.text);
            assert!(reply.text.contains("fine"));
        }
    }
}

/// Which accounts have answered, in order.
fn accounts(upstream: &Running) -> Vec<usize> {
    let calls = upstream.control().calls("ask");
    calls.iter().filter_map(|call| call.account).collect()
}

/// One key's sessions are spread over the accounts, and each stays with its own, whichever sign names it.
#[actix_web::test]
async fn a_session_stays_with_its_account() {
    let lane = simulator("openai", 3);
    let hive = Hive::start(&[&lane], &[]);
    let headers = [
        "x-session-id",
        "x-claude-code-session-id",
        "session-id",
        "session_id",
        "thread-id",
        "x-session-affinity",
    ];
    for header in headers {
        lane.reset();
        for turn in 0..2 {
            for session in 0..8 {
                let session = format!("session-{session}");
                let text = format!("turn {turn} of {session}");
                let body = Door::Responses.body("sim-chat", &text, false);
                send(&hive, Door::Responses, &body, &[(header, &session)]).await;
            }
        }
        let asked = accounts(&lane);
        assert_eq!(asked[..8], asked[8..], "{header}");
        assert!(asked.iter().any(|account| *account != asked[0]), "{header}");
    }
    // What a body says of its session, and the beginning of a conversation.
    type Body = fn(usize, usize) -> (Door, Value);
    let said: [Body; 4] = [
        |session, turn| {
            let mut body = Door::Responses.body("sim-chat", &format!("turn {turn}"), false);
            body["prompt_cache_key"] = json!(format!("key-{session}"));
            (Door::Responses, body)
        },
        |session, turn| {
            let mut body = Door::Messages.body("sim-chat", &format!("turn {turn}"), false);
            let user = json!({"device_id": "d", "session_id": format!("s{session}")}).to_string();
            body["metadata"] = json!({"user_id": user});
            (Door::Messages, body)
        },
        |session, turn| {
            let mut body = Door::Messages.body("sim-chat", &format!("task {session}"), false);
            let system = format!("x-anthropic-billing-header: {turn}");
            body["system"] = json!([{"type": "text", "text": system}]);
            for turn in 0..turn {
                let messages = body["messages"].as_array_mut().unwrap();
                messages.push(json!({"role": "assistant", "content": format!("answer {turn}")}));
                messages.push(json!({"role": "user", "content": format!("and {turn}?")}));
            }
            (Door::Messages, body)
        },
        |session, turn| {
            let mut input = vec![json!({"role": "user", "content": format!("task {session}")})];
            for turn in 0..turn {
                input.push(json!({"role": "assistant", "content": [{"type": "output_text", "text": format!("answer {turn}")}]}));
                input.push(json!({"role": "user", "content": format!("and {turn}?")}));
            }
            let body = json!({"model": "sim-chat", "input": input});
            (Door::Responses, body)
        },
    ];
    for (at, body) in said.into_iter().enumerate() {
        lane.reset();
        for turn in 0..2 {
            for session in 0..8 {
                let (door, body) = body(session, turn);
                let reply = send(&hive, door, &body, &[]).await;
                assert_eq!(reply.status, 200, "{}", reply.text);
            }
        }
        let asked = accounts(&lane);
        assert_eq!(asked[..8], asked[8..], "{at}");
        assert!(asked.iter().any(|account| *account != asked[0]), "{at}");
    }
}

/// Thinking that only its service can read goes to its caller and comes back; so does the seal of thinking that is not shown.
#[actix_web::test]
async fn what_only_its_service_can_read_goes_there_and_back() {
    for (quirk, thinking) in [
        (
            "redacted",
            json!({"type": "enabled", "budget_tokens": 2048}),
        ),
        (
            "",
            json!({"type": "enabled", "budget_tokens": 2048, "display": "omitted"}),
        ),
    ] {
        for is_streamed in [false, true] {
            let lane = simulator("anthropic", 1);
            let hive = Hive::start(&[&lane], &[]);
            let script = Script {
                quirks: Some(quirk.to_owned())
                    .filter(|it| !it.is_empty())
                    .into_iter()
                    .collect(),
                times: Some(1),
                ..Script::default()
            };
            lane.control().script(script).unwrap();
            let mut body = Door::Messages.body("asim-chat", "think:secret, and then?", is_streamed);
            body["thinking"] = thinking.clone();
            body["tools"] = json!([{"name": "Bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}]);
            let reply = send(&hive, Door::Messages, &body, &[]).await;
            let content = if is_streamed {
                blocks(&reply)
            } else {
                reply.json()["content"].as_array().unwrap().clone()
            };
            let first = match quirk {
                "redacted" => content[0]["data"]
                    .as_str()
                    .unwrap()
                    .starts_with("sim-opaque-"),
                _ => {
                    assert_eq!(content[0]["thinking"], "");
                    content[0]["signature"]
                        .as_str()
                        .unwrap()
                        .starts_with("sim-seal-")
                }
            };
            assert!(first && !reply.text.contains("secret"), "{}", reply.text);
            assert_eq!(content[1]["name"], "Bash", "{}", reply.text);
            let call = content[1]["id"].clone();
            body["messages"].as_array_mut().unwrap().extend([
                json!({"role": "assistant", "content": content}),
                json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": "done"}]}),
            ]);
            // The upstream refuses a turn that goes on without what it has sealed.
            let after = send(&hive, Door::Messages, &body, &[]).await;
            assert_eq!(after.status, 200, "{}", after.text);
            // At the other doors there is no word for it, and the rest of the answer is as ever.
            for door in [Door::Chat, Door::Responses] {
                let script = Script {
                    quirks: vec!["redacted".to_owned()],
                    times: Some(1),
                    ..Script::default()
                };
                lane.control().script(script).unwrap();
                let reply = send(
                    &hive,
                    door,
                    &door.body("asim-reasoner", "think:secret echo:said", is_streamed),
                    &[],
                )
                .await;
                assert_eq!(reply.status, 200, "{}", reply.text);
                let said = match (door, is_streamed) {
                    (Door::Chat, true) => reply.streamed("content"),
                    (Door::Chat, false) => reply.content(),
                    // Told as a whole at the end, streamed or not.
                    _ => reply.text.clone(),
                };
                assert!(said.contains("said"), "{}", reply.text);
                assert!(!reply.text.contains("sim-opaque"), "{}", reply.text);
            }
            assert_no_violations(&lane.control());
        }
    }
}

/// The blocks of a streamed message, as a client puts them together.
fn blocks(reply: &Reply) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    let mut arguments = String::new();
    for event in reply.text.split_terminator("\n\n") {
        let (_, data) = event.split_once("\ndata: ").unwrap();
        let event: Value = serde_json::from_str(data).unwrap();
        match event["type"].as_str().unwrap() {
            "content_block_start" => blocks.push(event["content_block"].clone()),
            "content_block_delta" => {
                let (delta, open) = (&event["delta"], blocks.last_mut().unwrap());
                for member in ["text", "thinking", "signature"] {
                    if let Some(piece) = delta[member].as_str() {
                        open[member] = json!(format!("{}{piece}", open[member].as_str().unwrap()));
                    }
                }
                arguments.push_str(delta["partial_json"].as_str().unwrap_or_default());
            }
            "content_block_stop" => {
                let open = blocks.last_mut().unwrap();
                if open["type"] == "tool_use" {
                    open["input"] = serde_json::from_str(&std::mem::take(&mut arguments)).unwrap();
                }
            }
            _ => {}
        }
    }
    blocks
}

/// A screenshot does not end the session of a model without eyes: it is left out, and named to the model and to the caller.
#[actix_web::test]
async fn a_picture_in_a_result_is_named_where_nobody_can_see_it() {
    let deepseek = simulator("deepseek", 1);
    let hive = Hive::start(&[&deepseek], &[]);
    let picture = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": crate::support::PIXEL.split_once(',').unwrap().1}});
    let messages = json!({
        "model": "deepseek-chat", "max_tokens": 100,
        "tools": [{"name": "look", "input_schema": {"type": "object", "properties": {}}}],
        "messages": [
            {"role": "user", "content": "echo:seen"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "a window"}, picture]}]},
        ],
    });
    let responses = json!({
        "model": "deepseek-chat",
        "tools": [{"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}],
        "input": [
            {"role": "user", "content": "echo:seen"},
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "a window"}, {"type": "input_image", "image_url": crate::support::PIXEL}]},
        ],
    });
    for (door, body) in [(Door::Messages, messages), (Door::Responses, responses)] {
        let reply = send(&hive, door, &body, &[]).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let ignored = reply.header("x-hive-ignored");
        assert!(ignored.contains("tool_result.image"), "{door:?}: {ignored}");
        let asked = deepseek.control().log();
        let prompt = asked
            .iter()
            .rev()
            .find_map(|call| call.prompt.clone())
            .unwrap();
        assert!(
            prompt.contains("a window") && prompt.contains("not shown"),
            "{prompt}"
        );
    }
    settled(&deepseek.control(), SOON).await;
    assert_no_violations(&deepseek.control());
}
