//! The older door of completions, which editors ask.

use serde_json::{Value, json};

use crate::support::{Hive, Reply, assert_no_violations, simulator};

async fn complete(hive: &Hive, body: Value) -> Reply {
    let request = hive.request("POST", "/v1/completions");
    Reply::read(request.send_body(body.to_string()).await.unwrap()).await
}

fn script(text: &str) -> hive2api_simulators::Script {
    hive2api_simulators::Script {
        text: Some(text.to_owned()),
        ..hive2api_simulators::Script::default()
    }
}

/// The texts of the choices, streamed or whole, by their index.
fn texts(reply: &Reply, is_streamed: bool, choices: usize) -> Vec<String> {
    let mut texts = vec![String::new(); choices];
    let objects = if is_streamed {
        assert!(reply.is_done(), "{}", reply.text);
        reply.chunks()
    } else {
        vec![reply.json()]
    };
    for object in objects {
        assert_eq!(object["object"], "text_completion", "{}", reply.text);
        for choice in object["choices"].as_array().unwrap() {
            let index = usize::try_from(choice["index"].as_u64().unwrap()).unwrap();
            texts[index].push_str(choice["text"].as_str().unwrap());
            assert!(choice["logprobs"].is_null());
        }
    }
    texts
}

#[actix_web::test]
async fn texts_are_completed_and_filled_in() {
    let lane = simulator("openai", 1);
    let hive = Hive::start(&[&lane], &[]);
    for stream in [false, true] {
        let ask = |more: Value| {
            let mut body = json!({"model": "sim-chat", "prompt": "count:3", "stream": stream, "max_tokens": 50});
            body.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            body
        };
        let plain = complete(&hive, ask(json!({}))).await;
        assert_eq!(texts(&plain, stream, 1), ["1 2 3"]);
        let echoed = complete(&hive, ask(json!({"echo": true, "stop": ["3"]}))).await;
        assert_eq!(texts(&echoed, stream, 1), ["count:31 2 "]);
        lane.control()
            .script(script("```rust\na + b\n```"))
            .unwrap();
        let between = complete(
            &hive,
            ask(json!({"prompt": "fn add() {\n", "suffix": "\n}"})),
        )
        .await;
        assert_eq!(texts(&between, stream, 1), ["a + b"]);
        let asked = lane.control().calls("ask").last().unwrap().turns.clone();
        assert!(
            asked[1].text.contains("<before>fn add() {\n</before>"),
            "{asked:?}"
        );
        assert!(asked[1].text.contains("<after>\n}</after>"));
        let several = complete(&hive, ask(json!({"prompt": ["echo:a", "echo:b"], "n": 2}))).await;
        assert_eq!(texts(&several, stream, 4), ["a", "a", "b", "b"]);
        if !stream {
            let usage = several.json()["usage"].clone();
            assert_eq!(
                usage["total_tokens"].as_u64(),
                Some(
                    usage["prompt_tokens"].as_u64().unwrap()
                        + usage["completion_tokens"].as_u64().unwrap()
                )
            );
        }
    }
    let with_usage = json!({"model": "sim-chat", "prompt": "count:3", "stream": true, "stream_options": {"include_usage": true}});
    let reply = complete(&hive, with_usage).await;
    assert!(
        reply.chunks().last().unwrap()["usage"]["prompt_tokens"]
            .as_u64()
            .unwrap()
            > 0
    );
    assert_no_violations(&lane.control());
}

#[actix_web::test]
async fn what_the_door_cannot_do_is_refused() {
    let lane = simulator("openai", 1);
    let hive = Hive::start(&[&lane], &[]);
    for (more, param) in [
        (json!({"prompt": [1, 2, 3]}), "prompt"),
        (json!({"best_of": 3}), "best_of"),
        (json!({"logprobs": 5}), "logprobs"),
    ] {
        let mut body = json!({"model": "sim-chat", "prompt": "x"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let refused = complete(&hive, body).await;
        assert_eq!(refused.error().0, 400);
        assert!(
            refused.json()["error"]["param"]
                .as_str()
                .unwrap()
                .starts_with(param),
            "{}",
            refused.text
        );
    }
    lane.control().fault("error_after_text", 1).unwrap();
    let broken = complete(
        &hive,
        json!({"model": "sim-chat", "prompt": "count:9", "stream": true}),
    )
    .await;
    assert!(
        broken.stream_error().is_some() && !broken.is_done(),
        "{}",
        broken.text
    );
    assert_eq!(
        complete(&hive, json!({"model": "nobody", "prompt": "x"}))
            .await
            .error()
            .2,
        "model_not_found"
    );
    let get = hive.get("/v1/completions").await;
    assert_eq!(get.status, 405);
}
