//! Which tools are called, and how many of them: `tool_choice` and `parallel_tool_calls`.

use serde_json::{Value, json};

use crate::{
    support::{SOON, assert_no_violations, question, settled},
    tools::{MODEL, calls, hive, prompts, says, tools, with_tools},
};

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
