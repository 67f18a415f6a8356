//! Tools and formats, from the request to the provider's prompt and back: what every model has, whether its service knows
//! of tools or not (conformance T1 to T8). What is asked of each provider in the same words stands in `contract.rs`.

use hive2api_simulators::{Running, Script};
use serde_json::{Value, json};

use crate::support::{Hive, Reply, SOON, assert_no_violations, question, settled, simulator};

const MODEL: &str = "qwen-plus";

pub(crate) fn tools() -> Value {
    let tool = |name: &str, properties: Value, required: &[&str]| {
        json!({"type": "function", "function": {"name": name, "description": format!("Does {name}."),
            "parameters": {"type": "object", "properties": properties, "required": required}}})
    };
    json!([
        tool(
            "read",
            json!({"path": {"type": "string"}, "limit": {"type": "integer"}}),
            &["path"]
        ),
        tool(
            "write",
            json!({"path": {"type": "string"}, "content": {"type": "string"}}),
            &["path", "content"]
        ),
        tool("ping", json!({}), &[]),
    ])
}

/// The next answers, in the notation of the simulators.
pub(crate) fn says(running: &Running, texts: &[&str]) {
    for text in texts {
        let script = Script {
            text: Some((*text).to_owned()),
            notation: true,
            ..Script::default()
        };
        running.control().script(script).unwrap();
    }
}

pub(crate) fn with_tools(model: &str, text: &str, more: &Value) -> Value {
    let mut body = question(model, text);
    body["tools"] = tools();
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// What was asked upstream, question by question.
fn prompts(running: &Running) -> Vec<String> {
    let calls = running.control().calls("ask");
    calls.into_iter().filter_map(|call| call.prompt).collect()
}

fn hive(more: &[(&str, &str)]) -> (Running, Hive) {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], more);
    (qwen, hive)
}

fn calls(reply: &Reply) -> Vec<(String, Value)> {
    let calls = reply.message()["tool_calls"].clone();
    let calls = calls.as_array().cloned().unwrap_or_default();
    calls
        .iter()
        .map(|call| {
            assert_eq!(call["type"], "function");
            let arguments = call["function"]["arguments"].as_str().unwrap();
            (
                call["function"]["name"].as_str().unwrap().to_owned(),
                serde_json::from_str(arguments).unwrap(),
            )
        })
        .collect()
}

#[actix_web::test]
async fn a_bad_call_is_asked_for_once_more_on_the_same_account() {
    let qwen = simulator("qwen", 2);
    let hive = Hive::start(&[&qwen], &[]);
    says(
        &qwen,
        &[
            "On it.⏎[B][C write][A path]a[/A][A content]⏎fn main() {⏎  pri",
            "Sorry! [B][C write][A path]a[/A][A content]⏎x⏎[/A][/C][/B]",
        ],
    );
    let reply = hive.post(&with_tools(MODEL, "write it", &json!({}))).await;
    assert_eq!(
        calls(&reply),
        [("write".to_owned(), json!({"path": "a", "content": "x"}))],
        "{}",
        reply.text
    );
    assert_eq!(
        (reply.content().as_str(), reply.finish().as_str()),
        ("On it.", "tool_calls")
    );
    let prompts = prompts(&qwen);
    assert_eq!(prompts.len(), 2);
    for part in [
        "fn main() {\n  pri",
        "contained a tool call that could not be carried out: the call of write ended inside its argument content. Nothing was run.",
    ] {
        assert!(prompts[1].contains(part), "{part} in {}", prompts[1]);
    }
    let accounts: Vec<_> = qwen
        .control()
        .calls("ask")
        .iter()
        .map(|call| call.account)
        .collect();
    assert_eq!(accounts[0], accounts[1]);
    // Both ways of both rounds are counted.
    let once = prompts[0].len() as u64 / 5;
    let usage = reply.json()["usage"].clone();
    assert!(
        usage["prompt_tokens"].as_u64().unwrap() > 2 * once,
        "{usage} for {once}"
    );
    settled(&qwen.control(), SOON).await;
    assert_no_violations(&qwen.control());
    assert_eq!(
        qwen.control().state().conversations,
        0,
        "both conversations are deleted"
    );
}

#[actix_web::test]
async fn a_second_bad_call_is_an_error_that_blames_nobody() {
    let (qwen, hive) = hive(&[]);
    for stream in [false, true] {
        says(&qwen, &["[B][C write][A path]a", "[B][C write][A path]b"]);
        let reply = hive
            .post(&with_tools(MODEL, "x", &json!({"stream": stream})))
            .await;
        assert_eq!(
            (reply.status, reply.error().2.as_str()),
            (502, "upstream_tool_call_invalid"),
            "{}",
            reply.text
        );
        assert_eq!(reply.header("x-should-retry"), "");
        says(
            &qwen,
            &["Hm. [B][C write][A path]a", "[B][C write][A path]b"],
        );
        let reply = hive
            .post(&with_tools(MODEL, "x", &json!({"stream": stream})))
            .await;
        if stream {
            assert_eq!(reply.streamed("content"), "Hm.");
            let error = reply.stream_error().unwrap();
            assert_eq!(error["code"], "upstream_tool_call_invalid", "{error}");
            assert!(!reply.text.contains("[DONE]"));
        } else {
            assert_eq!(reply.status, 502);
        }
        assert!(
            !reply.text.contains("calls-") && !reply.text.contains("call-"),
            "{}",
            reply.text
        );
    }
    // The account is as good as before.
    assert_eq!(hive.ask(MODEL, "echo:fine").await.content(), "fine");
    let metrics = hive.get("/metrics").await.text;
    assert!(
        metrics.contains(r#"hive_reasks_total{provider="qwen",reason="void",result="failed"}"#),
        "{metrics}"
    );
}

#[actix_web::test]
async fn the_choice_is_kept_or_it_is_an_error() {
    let (qwen, hive) = hive(&[]);
    let named = |name: &str| json!({"type": "function", "function": {"name": name}});
    let ping = "[B][C ping][/C][/B]";
    for (choice, answers, expected) in [
        (json!("required"), vec!["No.", ping], Ok(vec!["ping"])),
        (
            json!("required"),
            vec!["No.", "Still no."],
            Err("tool_choice_not_met"),
        ),
        (
            named("ping"),
            vec!["[B][C read][A path]a[/A][/C][/B]", ping],
            Ok(vec!["ping"]),
        ),
        (
            named("ping"),
            vec!["[B][C read][A path]a[/A][/C][/B]", "No."],
            Err("tool_choice_not_met"),
        ),
        (json!("none"), vec![ping, "In words."], Ok(vec![])),
        (
            json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named("ping")]}}),
            vec![ping],
            Ok(vec!["ping"]),
        ),
    ] {
        // With `none` nobody tells the model of a mark, so a script has none to write with.
        if choice == "none" {
            continue;
        }
        says(&qwen, &answers);
        let reply = hive
            .post(&with_tools(MODEL, "x", &json!({"tool_choice": choice})))
            .await;
        match expected {
            Ok(names) => {
                let called: Vec<String> = calls(&reply).into_iter().map(|(name, _)| name).collect();
                assert_eq!(called, names, "{choice} {}", reply.text);
            }
            Err(code) => assert_eq!(
                (reply.status, reply.error().2.as_str()),
                (502, code),
                "{choice} {}",
                reply.text
            ),
        }
        settled(&qwen.control(), SOON).await;
        qwen.control().clear_scripts();
    }
    let refused = hive
        .post(&with_tools(
            MODEL,
            "x",
            &json!({"tool_choice": named("gone")}),
        ))
        .await;
    assert_eq!(
        (refused.status, refused.json()["error"]["param"].as_str()),
        (400, Some("tool_choice"))
    );
    let mut without = question(MODEL, "x");
    without["tool_choice"] = json!("required");
    let refused = hive.post(&without).await;
    assert_eq!(
        (refused.status, refused.json()["error"]["param"].as_str()),
        (400, Some("tool_choice")),
        "{}",
        refused.text
    );
}

#[actix_web::test]
async fn with_none_tools_are_not_told_of_and_calls_do_not_leave() {
    let (qwen, hive) = hive(&[]);
    let first = with_tools(MODEL, "call:[B][C ping][/C][/B]", &json!({}));
    let reply = hive.post(&first).await;
    let call = reply.message()["tool_calls"][0].clone();
    let mut second = with_tools(MODEL, "x", &json!({"tool_choice": "none"}));
    second["messages"] = json!([
        first["messages"][0], {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "pong"},
    ]);
    let reply = hive.post(&second).await;
    assert_eq!(reply.content(), "The first tool says: pong");
    let told = prompts(&qwen).pop().unwrap();
    assert!(
        !told.contains("# Tools")
            && told.contains("<result-")
            && told.contains("tool=\"ping\">\npong\n"),
        "{told}"
    );
    // The history shows the mark, and a model that imitates it is not heard.
    let mark = told
        .split_once("<calls-")
        .unwrap()
        .1
        .get(..4)
        .unwrap()
        .to_owned();
    let imitated =
        format!("<calls-{mark}><call-{mark} name=\"ping\"></call-{mark}></calls-{mark}>");
    says(&qwen, &[&imitated, "In words."]);
    let reply = hive.post(&second).await;
    assert_eq!(
        (reply.content().as_str(), reply.finish().as_str()),
        ("In words.", "stop"),
        "{}",
        reply.text
    );
    assert!(prompts(&qwen).pop().unwrap().contains("Answer in words."));
}

#[actix_web::test]
async fn one_call_at_a_time_where_that_is_asked_for() {
    let (qwen, hive) = hive(&[]);
    let two = "[B][C ping][/C][C read][A path]a[/A][/C][/B]";
    // Equal calls are two calls, and results tell them apart. Source: tools.md section 14, 16 and 17.
    says(&qwen, &["[B][C ping][/C][C ping][/C][/B]"]);
    let equal = hive.post(&with_tools(MODEL, "x", &json!({}))).await;
    let called = equal.message()["tool_calls"].clone();
    let ids: Vec<&str> = (0..2)
        .map(|at| called[at]["id"].as_str().unwrap())
        .collect();
    for id in &ids {
        let letters = id.strip_prefix("call_").unwrap();
        assert!(letters.len() == 24 && letters.bytes().all(|it| it.is_ascii_alphanumeric()));
    }
    assert_ne!(ids[0], ids[1]);
    says(&qwen, &[two, two, two]);
    let both = hive.post(&with_tools(MODEL, "x", &json!({}))).await;
    assert_eq!(calls(&both).len(), 2);
    let ids: Vec<Value> = both.message()["tool_calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call["id"].clone())
        .collect();
    assert_ne!(ids[0], ids[1]);
    let one = hive
        .post(&with_tools(
            MODEL,
            "x",
            &json!({"parallel_tool_calls": false}),
        ))
        .await;
    assert_eq!(calls(&one).len(), 1);
    // The older form knows one call, and answers with it.
    let mut older = question(MODEL, "x");
    let functions = tools();
    let functions: Vec<Value> = functions
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["function"].clone())
        .collect();
    older["functions"] = functions.into();
    let reply = hive.post(&older).await;
    assert_eq!(
        reply.message()["function_call"],
        json!({"name": "ping", "arguments": "{}"}),
        "{}",
        reply.text
    );
    assert_eq!(
        (reply.finish().as_str(), reply.header("x-hive-emulated")),
        ("function_call", "functions")
    );
    assert!(reply.message().get("tool_calls").is_none());
    settled(&qwen.control(), SOON).await;
    assert_no_violations(&qwen.control());
}

#[actix_web::test]
async fn what_cannot_be_offered_is_refused_with_its_place() {
    let (qwen, hive) = hive(&[]);
    let deep = "[".repeat(70) + &"]".repeat(70);
    for (tool, param) in [
        (
            json!({"type": "function", "function": {"name": "not a name"}}),
            "tools[1]",
        ),
        (
            json!({"type": "function", "function": {"name": "ping"}}),
            "tools[1]",
        ),
        (
            json!({"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}),
            "tools[1]",
        ),
        (
            json!({"type": "function", "function": {"name": "f", "parameters": {"$ref": "https://e/x"}}}),
            "tools[1]",
        ),
        (
            json!({"type": "function", "function": {"name": "f", "strict": true, "parameters": {"type": "object", "properties": {"a": {"type": "nothing"}}}}}),
            "tools[1]",
        ),
        (
            json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object", "x": serde_json::from_str::<Value>(&deep).unwrap()}}}),
            "tools[1]",
        ),
    ] {
        let mut body = question(MODEL, "x");
        body["tools"] = json!([{"type": "function", "function": {"name": "ping"}}, tool]);
        let reply = hive.post(&body).await;
        assert_eq!(
            (reply.status, reply.json()["error"]["param"].as_str()),
            (400, Some(param)),
            "{tool} {}",
            reply.text
        );
    }
    // As the caller counts, who may have sent what is no tool at all.
    let bad = json!({"type": "function", "function": {"name": "not a name"}});
    let mut body = question(MODEL, "x");
    body["tools"] = json!([{"type": "web_search"}, {"type": "function", "function": {}}, bad]);
    let reply = hive.post(&body).await;
    assert_eq!(reply.json()["error"]["param"], "tools[2]", "{}", reply.text);
    let mut older = question(MODEL, "x");
    older["functions"] = json!([{"name": "f"}, {"name": "f"}]);
    let reply = hive.post(&older).await;
    assert_eq!(
        reply.json()["error"]["param"],
        "functions[1]",
        "{}",
        reply.text
    );
    assert!(prompts(&qwen).is_empty(), "nobody was asked");
}

#[actix_web::test]
async fn what_the_model_cannot_be_given_is_named() {
    let deepseek = simulator("deepseek", 1);
    let hive = Hive::start(&[&deepseek], &[]);
    let mut body = with_tools("deepseek-chat", "x", &json!({}));
    let tools = body["tools"].as_array_mut().unwrap();
    tools.push(json!({"type": "code_interpreter", "container": {"type": "auto"}}));
    tools.push(json!({"type": "mcp"}));
    let call =
        json!({"id": "c1", "type": "function", "function": {"name": "ping", "arguments": "{}"}});
    let pixel = json!({"type": "image_url", "image_url": {"url": crate::support::PIXEL}});
    body["messages"] = json!([
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "a screenshot"}, pixel]},
    ]);
    let reply = hive.post(&body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(
        reply.header("x-hive-ignored"),
        "tools.code_interpreter, tools.mcp, tool_result.image"
    );
    let told = prompts(&deepseek).pop().unwrap();
    assert!(
        told.contains("a screenshot\n(picture: image/png, 1 KB; not shown)"),
        "{told}"
    );
}

/// OpenAI's SDKs raise on `refusal`, Anthropic's clients read the stop reason.
#[actix_web::test]
async fn who_does_not_want_to_answer_in_a_form_refuses_in_every_dialect() {
    // Each in other words: one sentence for different questions would be the service's refusal, and asked again.
    let sorry = |at: u8| format!("I'm sorry, but I can't assist with request {at}.");
    let (qwen, hive) = hive(&[]);
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}});
    for (at, stream) in [(1, false), (3, true)] {
        let last = sorry(at + 1);
        says(&qwen, &[&sorry(at), &last]);
        let mut body = question(MODEL, "x");
        body["response_format"] = format.clone();
        body["stream"] = stream.into();
        let reply = hive.post(&body).await;
        if stream {
            assert_eq!(reply.streamed("refusal"), last, "{}", reply.text);
            assert_eq!(reply.streamed("content"), "");
            assert!(reply.is_done());
        } else {
            let message = reply.message();
            assert_eq!(
                (message["refusal"].as_str(), message["content"].is_null()),
                (Some(last.as_str()), true),
                "{}",
                reply.text
            );
            assert_eq!(reply.finish(), "stop");
        }
    }
    says(&qwen, &[&sorry(5), &sorry(6)]);
    let body = json!({"model": MODEL, "input": "x", "text": {"format": {"type": "json_schema", "name": "n", "strict": true, "schema": schema}}});
    let sent = hive.request("POST", "/v1/responses").send_json(&body).await;
    let reply = Reply::read(sent.unwrap()).await;
    let item = reply.json()["output"][0].clone();
    assert_eq!(
        item["content"],
        json!([{"type": "refusal", "refusal": sorry(6)}]),
        "{}",
        reply.text
    );
    says(&qwen, &[&sorry(7), &sorry(8)]);
    let body = json!({"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "x"}],
        "output_config": {"format": {"type": "json_schema", "schema": schema}}});
    let sent = hive.request("POST", "/v1/messages").send_json(&body).await;
    let reply = Reply::read(sent.unwrap()).await;
    let answer = reply.json();
    assert_eq!(
        (
            answer["stop_reason"].as_str(),
            answer["content"][0]["text"].as_str()
        ),
        (Some("refusal"), Some(sorry(8).as_str())),
        "{}",
        reply.text
    );
    settled(&qwen.control(), SOON).await;
}

/// What Kimi's own site leaks is dropped, and a call of the client's in the same dress is one.
#[actix_web::test]
async fn kimis_marks_call_the_clients_tools() {
    let kimi = simulator("kimi", 1);
    let hive = Hive::start(&[&kimi], &[]);
    let section = |name: &str, arguments: &str| {
        format!(
            "<¦tool_calls_section_begin¦><¦tool_call_begin¦>functions.{name}:0<¦tool_call_argument_begin¦>{arguments}<¦tool_call_end¦><¦tool_calls_section_end¦>"
        )
    };
    let read = section("read", "{\"path\":\"a\"}");
    let theirs = section("ipython", "{}");
    for (text, expected, words) in [
        (format!("I look. {read}"), vec!["read"], Some("I look.")),
        (format!("{theirs}{read}"), vec!["read"], None),
        (format!("It is 5.{theirs}"), vec![], Some("It is 5.")),
    ] {
        says(&kimi, &[&text]);
        let reply = hive.post(&with_tools("kimi", "x", &json!({}))).await;
        let called: Vec<String> = calls(&reply).into_iter().map(|(name, _)| name).collect();
        assert_eq!(called, expected, "{text} {}", reply.text);
        assert_eq!(reply.message()["content"].as_str(), words, "{}", reply.text);
        settled(&kimi.control(), SOON).await;
    }
}

#[actix_web::test]
async fn stop_texts_and_limits_act_on_what_is_seen() {
    let (qwen, hive) = hive(&[]);
    says(
        &qwen,
        &[
            "One. [B][C ping][/C][/B]",
            "One STOP two [B][C ping][/C][/B]",
            "One. [B][C write][A path]a[/A][A content]one two three four five six seven[/A][/C][/B]",
        ],
    );
    let reply = hive
        .post(&with_tools(
            MODEL,
            "x",
            &json!({"stop": "calls-", "max_tokens": 20}),
        ))
        .await;
    assert_eq!(
        (calls(&reply).len(), reply.finish().as_str()),
        (1, "tool_calls"),
        "{}",
        reply.text
    );
    let reply = hive
        .post(&with_tools(MODEL, "x", &json!({"stop": "STOP"})))
        .await;
    assert_eq!(
        (reply.content().as_str(), reply.finish().as_str()),
        ("One ", "stop")
    );
    assert!(calls(&reply).is_empty());
    // A call counts, and half of one is none.
    let reply = hive
        .post(&with_tools(MODEL, "x", &json!({"max_tokens": 6})))
        .await;
    assert_eq!(
        (reply.content().as_str(), reply.finish().as_str()),
        ("One.", "length"),
        "{}",
        reply.text
    );
    assert!(calls(&reply).is_empty());
    settled(&qwen.control(), SOON).await;
}

#[actix_web::test]
async fn free_texts_come_as_they_are() {
    let (qwen, hive) = hive(&[]);
    let mut body = question(MODEL, "x");
    body["tools"] = json!([{"type": "custom", "custom": {"name": "exec", "description": "Runs code.", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}}}}]);
    says(
        &qwen,
        &["[B][C exec][A input]⏎print(\"[x]\")⏎\\n⏎[/A][/C][/B]"],
    );
    let reply = hive.post(&body).await;
    let call = reply.message()["tool_calls"][0].clone();
    assert_eq!(
        (call["type"].as_str(), call["custom"]["input"].as_str()),
        (Some("custom"), Some("print(\"[x]\")\n\\n")),
        "{}",
        reply.text
    );
    let told = prompts(&qwen).pop().unwrap();
    assert!(
        told.contains("## exec(input: text)\nRuns code.\ninput has this form:\nstart: /x/"),
        "{told}"
    );
}

#[actix_web::test]
async fn a_service_that_takes_a_tool_for_its_own_is_told_another_name() {
    let (qwen, hive) = hive(&[]);
    says(
        &qwen,
        &[
            "Tool read does not exists.",
            "[B][C x_read][A path]a[/A][/C][/B]",
        ],
    );
    let reply = hive.post(&with_tools(MODEL, "x", &json!({}))).await;
    assert_eq!(
        calls(&reply),
        [("read".to_owned(), json!({"path": "a"}))],
        "{}",
        reply.text
    );
    let told = prompts(&qwen).pop().unwrap();
    assert!(
        told.contains("## x_read(") && !told.contains("## read("),
        "{told}"
    );
}

#[actix_web::test]
async fn models_say_where_their_tools_come_from() {
    let qwen = simulator("qwen", 1);
    let openai = simulator("openai", 1);
    for (setting, words) in [
        ("emulate", ["emulated", "native"]),
        ("native", ["off", "native"]),
        ("off", ["off", "off"]),
    ] {
        let hive = Hive::start(
            &[&qwen, &openai],
            &[
                ("TOOLS", setting),
                (
                    "MODEL_ROUTES",
                    r#"{"none":[{"model":"qwen/qwen-plus","tools":"off"}]}"#,
                ),
            ],
        );
        for (model, word) in [
            ("qwen-plus", words[0]),
            ("sim-chat", words[1]),
            ("none", "off"),
        ] {
            let model = hive.get(&format!("/v1/models/{model}")).await.json();
            assert_eq!(model["hive"]["tools"], word, "{setting} {model}");
        }
    }
}

#[actix_web::test]
async fn json_is_checked_mended_or_asked_for_again() {
    let (qwen, hive) = hive(&[]);
    let schema = |strict: bool| json!({"type": "json_schema", "json_schema": {"name": "n", "strict": strict, "schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}});
    let object = json!({"type": "json_object"});
    for (format, answers, expected) in [
        (object.clone(), vec!["{\"a\": 1}"], Ok("{\"a\": 1}")),
        (
            object.clone(),
            vec!["Here you are:⏎```json⏎{\"a\":1}⏎```⏎Enjoy!"],
            Ok("{\"a\":1}"),
        ),
        (
            object.clone(),
            vec!["{'a': True, b: 1,}"],
            Ok("{\"a\":true,\"b\":1}"),
        ),
        (schema(true), vec!["{\"a\":\"1\"}"], Ok("{\"a\":1}")),
        (
            schema(true),
            vec!["{\"a\":\"x\"}", "{\"a\":2}"],
            Ok("{\"a\":2}"),
        ),
        (
            schema(true),
            vec!["{\"a\":\"x\"}", "{\"a\":\"x\"}"],
            Err("structured_output_invalid"),
        ),
        (
            schema(false),
            vec!["{\"a\":\"x\"}", "{\"a\":\"x\"}"],
            Ok("{\"a\":\"x\"}"),
        ),
        (
            object.clone(),
            vec!["I cannot do that.", "No."],
            Err("structured_output_invalid"),
        ),
        (object.clone(), vec!["[1,2]", "{}"], Ok("{}")),
    ] {
        for stream in [false, true] {
            let answers: Vec<String> = answers
                .iter()
                .map(|answer| answer.replace('⏎', "\n"))
                .collect();
            let texts: Vec<&str> = answers.iter().map(String::as_str).collect();
            says(&qwen, &texts);
            let mut body = question(MODEL, "x");
            body["response_format"] = format.clone();
            body["stream"] = stream.into();
            let reply = hive.post(&body).await;
            match expected {
                Ok(text) => {
                    let said = if stream {
                        reply.streamed("content")
                    } else {
                        reply.content()
                    };
                    assert_eq!(said, text, "{answers:?} {}", reply.text);
                    assert_eq!(reply.header("x-hive-emulated"), "response_format");
                }
                Err(code) => assert_eq!(
                    (reply.status, reply.error().2.as_str()),
                    (502, code),
                    "{answers:?} {}",
                    reply.text
                ),
            }
            settled(&qwen.control(), SOON).await;
            qwen.control().clear_scripts();
        }
    }
    let told = prompts(&qwen);
    assert!(
        told[0].ends_with(
            "Answer with one JSON object and nothing else: no words around it, no fence."
        ),
        "{}",
        told[0]
    );
    assert_no_violations(&qwen.control());
}

#[actix_web::test]
async fn tools_and_a_form_at_once() {
    let (qwen, hive) = hive(&[]);
    let format = json!({"response_format": {"type": "json_object"}});
    says(&qwen, &["I look. [B][C ping][/C][/B]", "{\"a\":1}"]);
    let called = hive.post(&with_tools(MODEL, "x", &format)).await;
    assert_eq!(
        (calls(&called).len(), called.message()["content"].clone()),
        (1, Value::Null),
        "{}",
        called.text
    );
    let answered = hive.post(&with_tools(MODEL, "x", &format)).await;
    assert_eq!(
        (answered.content().as_str(), answered.finish().as_str()),
        ("{\"a\":1}", "stop")
    );
    assert_eq!(answered.header("x-hive-emulated"), "response_format, tools");
}
