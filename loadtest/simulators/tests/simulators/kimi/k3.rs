//! What the service has had since mid-2026: K3 in its forms, members, credits, leaked tools, the second deployment
//! (wire/kimi.md §2, §3, §4.2, §4.5, §6.2, §7).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;

const MODELS: &str = "/apiv2/kimi.gateway.config.v1.ConfigService/GetAvailableModels";

/// K3 as the service's own list has it.
fn computer(prompt: &str) -> Value {
    json!({
        "scenario": "SCENARIO_OK_COMPUTER", "kimiplus_id": "ok-computer", "tools": [],
        "message": {
            "role": "user", "scenario": "SCENARIO_OK_COMPUTER",
            "blocks": [{"message_id": "", "text": {"content": prompt}}],
        },
        "options": {
            "thinking": true, "enable_plugin": false, "reasoning_effort": "REASONING_EFFORT_HIGH",
            "context_length": "CONTEXT_LENGTH_L",
        },
    })
}

/// The same by a scenario of its own.
fn scenario(prompt: &str) -> Value {
    let mut body = question(prompt);
    body["scenario"] = json!("SCENARIO_K3");
    body["message"]["scenario"] = json!("SCENARIO_K3");
    body["options"]["thinking"] = json!(true);
    body
}

fn modern(running: &Running, body: &Value) -> Request {
    asking(running, body).header("x-msh-version", "2.2.0")
}

/// The access token that the second account's refresh token gets.
fn member_token(running: &Running) -> String {
    let refresh = setting(running, "KIMI_TOKEN_2");
    let answer = Request::new("POST", REFRESH).json(&json!({"refresh_token": refresh}));
    let tokens = answer.ask(running).value();
    tokens["accessToken"].as_str().unwrap().to_owned()
}

fn as_member(request: Request, token: &str) -> Request {
    request
        .header("Authorization", format!("Bearer {token}"))
        .header("x-msh-device-id", "7501")
        .header("x-msh-session-id", "17311")
        .header("x-traffic-id", "u~?>1")
}

fn last(running: &Running) -> (bool, Option<String>) {
    let call = running.control().log().pop().unwrap();
    (call.ok, call.violation)
}

/// Refused by a trailer, and no violation.
fn told(running: &Running, request: &Request, what: &str) {
    let answer = request.ask(running);
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(body.contains(what), "{what}: {body}");
    assert_eq!(last(running), (false, None));
}

#[test]
fn k3_is_asked_for_in_its_forms() {
    let kimi = start("kimi");
    let by_key = {
        let mut body = question("echo:x");
        body["scenario"] = json!("SCENARIO_CHAT");
        body["message"]["scenario"] = json!("SCENARIO_CHAT");
        body["options"] = json!({
            "thinking": false, "enable_plugin": false, "reasoning_effort": "REASONING_EFFORT_LOW", "model": "k2d6-chat",
        });
        body["project_id"] = json!("");
        body
    };
    for body in [computer("echo:x"), scenario("echo:x"), by_key] {
        assert_eq!(text(&modern(&kimi, &body).ask(&kimi)), "x");
    }
    let mut camel = computer("echo:x");
    camel["kimiplusId"] = camel["kimiplus_id"].take();
    camel.as_object_mut().unwrap().remove("kimiplus_id");
    camel["options"] = json!({
        "thinking": true, "enablePlugin": false, "reasoningEffort": "REASONING_EFFORT_MAX", "contextLength": "CONTEXT_LENGTH_L",
    });
    assert_eq!(text(&modern(&kimi, &camel).ask(&kimi)), "x");
    no_violations(&kimi);
    let asked = kimi.control().calls("ask");
    assert_eq!(asked[0].params["generation"], "k3");
    assert_eq!(asked[1].params["generation"], "k3_scenario");
    assert_eq!(
        asked[0].params["options"]["context_length"],
        "CONTEXT_LENGTH_L"
    );
    for (pointer, value) in [
        ("/kimiplus_id", json!("")),
        ("/options/reasoning_effort", json!("REASONING_EFFORT_NONE")),
        ("/options/reasoning_effort", json!("high")),
        ("/options/context_length", json!("256K")),
        ("/options/thinking", json!(false)),
        ("/options/enable_plugin", json!("no")),
    ] {
        let mut body = computer("hi");
        *body.pointer_mut(pointer).unwrap() = value;
        refused(&kimi, &modern(&kimi, &body), 200, "invalid_argument");
    }
    let mut alien = question("hi");
    alien["kimiplus_id"] = json!("ok-computer");
    refused(&kimi, &modern(&kimi, &alien), 200, "invalid_argument");
    alien = question("hi");
    alien["options"]["model"] = json!("k3");
    refused(&kimi, &modern(&kimi, &alien), 200, "invalid_argument");
}

#[test]
fn the_effort_decides_whether_k2_6_thinks() {
    let kimi = start("kimi");
    let mut body = question("hi");
    body["options"] = json!({"thinking": true, "enable_plugin": false, "reasoning_effort": "REASONING_EFFORT_NONE"});
    let answer = modern(&kimi, &body).ask(&kimi);
    assert!(!String::from_utf8_lossy(&answer.body).contains("block.think"));
    body["options"]["reasoning_effort"] = json!("REASONING_EFFORT_LOW");
    let answer = modern(&kimi, &body).ask(&kimi);
    assert!(String::from_utf8_lossy(&answer.body).contains("block.think"));
    no_violations(&kimi);
}

#[test]
fn each_generation_alone_refuses_the_others() {
    let kimi = start("kimi");
    let control = kimi.control();
    let list = || post(&kimi, MODELS, &json!({}));
    let row = |models: &Value, at: usize| models["availableModels"][at].clone();
    control.set_generation("k3").unwrap();
    told(&kimi, &modern(&kimi, &scenario("hi")), "invalid_argument");
    assert_eq!(text(&modern(&kimi, &computer("echo:x")).ask(&kimi)), "x");
    assert_eq!(last(&kimi).1, None);
    let models = list().value();
    assert_eq!(row(&models, 1)["kimiPlusId"], "ok-computer");
    control.set_generation("k3_scenario").unwrap();
    told(&kimi, &modern(&kimi, &computer("hi")), "invalid_argument");
    assert_eq!(text(&modern(&kimi, &scenario("echo:x")).ask(&kimi)), "x");
    let models = list().value();
    assert_eq!(
        (&row(&models, 1)["scenario"], &row(&models, 1)["key"]),
        (&json!("SCENARIO_K3"), &json!("k3"))
    );
    control.set_generation("k2").unwrap();
    told(&kimi, &modern(&kimi, &computer("hi")), "invalid_argument");
    told(&kimi, &modern(&kimi, &scenario("hi")), "invalid_argument");
    assert_eq!(list().status, 404);
    no_violations(&kimi);
    assert_eq!(text(&ask(&kimi, "echo:x")), "x");
    // Alone, the newest one misses what the page always sends.
    control.set_generation("newest").unwrap();
    ask(&kimi, "echo:x");
    let violation = last(&kimi).1.unwrap();
    assert!(
        violation.contains("enable_plugin") && violation.contains("x-msh-version"),
        "{violation}"
    );
}

#[test]
fn the_list_says_what_an_account_may_use() {
    let kimi = start("kimi");
    let bare = Request::new("POST", MODELS)
        .json(&json!({}))
        .ask(&kimi)
        .value();
    let free = post(&kimi, MODELS, &json!({})).value();
    let token = member_token(&kimi);
    let member = as_member(call(&kimi, "POST", MODELS), &token)
        .json(&json!({}))
        .ask(&kimi)
        .value();
    for (models, usable) in [(&bare, false), (&free, false), (&member, true)] {
        let rows = models["availableModels"].as_array().unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(
            (&rows[0]["key"], &rows[0]["available"]),
            (&json!("k2d6"), &json!(true))
        );
        assert_eq!(rows[2]["available"].as_bool().unwrap_or_default(), usable);
        let long = &rows[1]["contextLengthOptions"][1];
        assert_eq!(long["available"].as_bool().unwrap_or_default(), usable);
        assert_eq!(models["defaultScenario"]["scenario"], "SCENARIO_K2D5");
    }
    let wrong = call(&kimi, "POST", MODELS)
        .header("Authorization", "Bearer x")
        .json(&json!({}));
    refused(&kimi, &wrong, 401, "unauthenticated");
    kimi.control().fault("models_refused", 1).unwrap();
    assert_eq!(post(&kimi, MODELS, &json!({})).status, 500);
}

#[test]
fn long_contexts_and_swarms_are_for_members() {
    let kimi = start("kimi");
    let mut long = computer("echo:x");
    long["options"]["context_length"] = json!("CONTEXT_LENGTH_XL");
    let mut swarm = computer("echo:x");
    swarm["tools"] = json!([{"type": "TOOL_TYPE_PARALLEL_AGENT_V2"}]);
    for body in [&long, &swarm] {
        told(
            &kimi,
            &modern(&kimi, body),
            "REASON_SUBSCRIPTION_NEED_APPLY",
        );
    }
    // It says nothing about the token.
    assert_eq!(text(&ask(&kimi, "echo:x")), "x");
    let token = member_token(&kimi);
    for body in [&long, &swarm] {
        assert_eq!(
            text(&as_member(modern(&kimi, body), &token).ask(&kimi)),
            "x"
        );
    }
    no_violations(&kimi);
}

#[test]
fn sample_d_tells_of_spent_credits() {
    let kimi = start("kimi");
    let under = |fault: &str| {
        kimi.control().fault(fault, 1).unwrap();
        ask(&kimi, "hi")
    };
    let sample = "00000000107b22686561727462656174223a7b7d7d02000000be7b226572726f72223a7b22636f6465223a227265736f757263655f657868617573746564222c226d657373616765223a22222c2264657461696c73223a5b7b226465627567223a7b22726561736f6e223a22524541534f4e5f51554f54415f4558434545444544222c226c6f63616c697a65644d657373616765223a7b226c6f63616c65223a22656e2d5553222c226d657373616765223a22596f752068617665207573656420757020796f757220637265646974732e227d7d7d5d7d7d";
    let bytes = under("trailer_credits").body;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, sample);
    let said = |fault: &str| {
        let answer = under(fault);
        (
            answer.status,
            String::from_utf8_lossy(&answer.body).into_owned(),
        )
    };
    for (fault, status, what) in [
        ("trailer_credits_words", 200, "额度已用完"),
        (
            "trailer_overloaded_words",
            200,
            "REASON_SERVER_OVERLOADED_FOR_FREE_USER",
        ),
        ("trailer_membership", 200, "REASON_SUBSCRIPTION_NEED_APPLY"),
        ("trailer_members_only", 200, "permission_denied"),
        (
            "account_abnormal",
            401,
            r#""error_type":"auth.account_abnormal""#,
        ),
        ("stream_pushing", 400, "chat.user_stream_pushing"),
        ("cloudflare", 403, "<html>"),
    ] {
        let (sent, body) = said(fault);
        assert_eq!(sent, status, "{fault}");
        assert!(body.contains(what), "{fault}: {body}");
    }
    no_violations(&kimi);
}

#[test]
fn tools_and_flags_get_into_the_stream() {
    let kimi = start("kimi");
    let said = |quirk: &str| {
        let script = Script {
            reasoning: Some("why".to_owned()),
            pieces: Some(own(&["A", "B", "C"])),
            citations: Some(vec![Citation {
                url: "https://example.org/0".to_owned(),
                title: "T0".to_owned(),
            }]),
            quirks: own(&[quirk]),
            ..Script::default()
        };
        kimi.control().script(script).unwrap();
        ask(&kimi, "x")
    };
    let body = |quirk: &str| String::from_utf8_lossy(&said(quirk).body).into_owned();
    let section = text(&said("tool_section"));
    let (_, rest) = section.split_once("<|tool_calls_section_begin|>").unwrap();
    let (inside, after) = rest.split_once("<|tool_calls_section_end|>").unwrap();
    assert!(
        inside.contains("<|tool_call_argument_begin|>") && after.ends_with('C'),
        "{section}"
    );
    let unfinished = text(&said("tool_section_unfinished"));
    assert!(
        unfinished.contains("<|tool_calls_section_begin|>") && !unfinished.contains("section_end")
    );
    assert!(body("flagged_thinking").contains(r#""text":{"content":"wh","flags":"thinking"}"#));
    assert!(body("flagged_answer").contains(r#""flags":"answer""#));
    assert!(body("think_summary").contains(r#""summary":"a summary is no thought""#));
    assert!(body("two_masks").contains(r#""mask":"block.tool.contents,block.tool.status""#));
    no_violations(&kimi);
}

#[test]
fn a_chat_may_be_opened_first() {
    let kimi = start("kimi");
    let opened = post(&kimi, "/api/chat", &json!({"name": " "})).value();
    let id = opened["id"].as_str().unwrap();
    assert_eq!(id.len(), 20);
    let mut body = question("echo:x");
    body["chat_id"] = json!(id);
    body["message"]["parent_id"] = json!("abcdefghij0123456789");
    assert_eq!(text(&asking(&kimi, &body).ask(&kimi)), "x");
    assert_eq!(post(&kimi, DELETE, &json!({"chat_id": id})).status, 200);
    let state = kimi.control().state();
    assert_eq!((state.created, state.deleted), (1, 1));
    no_violations(&kimi);
    refused(
        &kimi,
        &call(&kimi, "POST", "/api/chat").json(&json!({"name": "x"})),
        400,
        "error_type",
    );
}

#[test]
fn an_access_token_of_the_second_deployment_names_no_device() {
    let kimi = start("kimi");
    kimi.control().fault("refresh_as_kimi_ai", 1).unwrap();
    let token = member_token(&kimi);
    let payload = token.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    assert_eq!(
        (&claims["device_id"], &claims["ssid"]),
        (&Value::Null, &json!("17311"))
    );
    let asked =
        as_member(asking(&kimi, &question("echo:x")), &token).header("x-msh-version", "2.1.0");
    assert_eq!(
        text(&asked.ask(&kimi)),
        "x",
        "the device is that of the refresh token"
    );
    no_violations(&kimi);
    let made_up = asked.header("x-msh-device-id", "7123456789012345678");
    refused(&kimi, &made_up, 401, "unauthenticated");
}
