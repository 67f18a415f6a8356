//! What is the same for every simulator: orders, records, and clients that go away.

use std::time::Duration;

use hive2api_simulators::{self as simulate, Options, Script};
use serde_json::{Value, json};

use crate::{
    client::{Request, start, until},
    qwen::{asking, question},
};

fn post(running: &simulate::Running, name: &str, body: &Value) -> (u16, Value) {
    let answer = Request::new("POST", &format!("/__sim/{name}"))
        .json(body)
        .ask(running);
    (answer.status, answer.value())
}

fn get(running: &simulate::Running, name: &str) -> Value {
    Request::new("GET", &format!("/__sim/{name}"))
        .ask(running)
        .value()
}

#[test]
fn orders_come_over_http_too() {
    let qwen = start("qwen");
    assert_eq!(
        post(&qwen, "fault", &json!({"name": "rate_limited", "times": 2})).0,
        200
    );
    let (status, refused) = post(&qwen, "fault", &json!({"name": "nonsense"}));
    assert_eq!(status, 400);
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("moderated_after_text"),
        "{refused}"
    );
    let ask = || asking(&qwen, &question("hi")).ask(&qwen);
    assert_eq!([ask().status, ask().status, ask().status], [429, 429, 200]);
    assert_eq!(
        post(
            &qwen,
            "script",
            &json!({"pieces": ["a", "b"], "quirks": ["clean"]})
        )
        .0,
        200
    );
    assert_eq!(post(&qwen, "script", &json!({"quirks": ["purple"]})).0, 400);
    assert_eq!(post(&qwen, "script", &json!({"txet": "x"})).0, 400);
    assert!(ask().text().contains("\"ab\""));
    let log = get(&qwen, "log");
    assert_eq!(log[0]["fault"], "rate_limited");
    assert_eq!(
        (&log[3]["step"], &log[3]["account"], &log[3]["prompt"]),
        (&json!("ask"), &json!(1), &json!("hi"))
    );
    assert_eq!(get(&qwen, "state")["conversations"], 2);
    assert!(get(&qwen, "env")["QWEN_BASE_URL"].is_string());
    assert_eq!(post(&qwen, "reset", &json!({})).0, 200);
    assert_eq!(
        (get(&qwen, "state")["created"].clone(), get(&qwen, "log")),
        (json!(0), json!([]))
    );
}

#[test]
fn faults_wait_for_their_step_or_the_one_named() {
    let qwen = start("qwen");
    qwen.control().fault("delete_refused", 1).unwrap();
    assert_eq!(asking(&qwen, &question("hi")).ask(&qwen).status, 200);
    assert_eq!(qwen.control().state().faults_pending, ["delete_refused"]);
    post(
        &qwen,
        "fault",
        &json!({"name": "http_503", "step": "list", "times": 0}),
    );
    for _ in 0..3 {
        let list = crate::qwen::call(&qwen, 1, "/dialog/session/list", &json!({}));
        assert_eq!(list.ask(&qwen).status, 503);
    }
    assert_eq!(
        Request::new("DELETE", "/__sim/fault").ask(&qwen).status,
        200
    );
    assert!(qwen.control().state().faults_pending.is_empty());
}

#[test]
fn a_generation_is_chosen_at_the_start_and_changed_in_mid_run() {
    let options = |generation: &str| Options {
        generation: generation.to_owned(),
        ..Options::default()
    };
    let xinghuo = simulate::start("xinghuo", options("newest")).unwrap();
    let control = xinghuo.control();
    assert_eq!(
        (control.generation(), control.known_generations()),
        ("spark", &["classic", "spark"][..])
    );
    assert_eq!(
        post(&xinghuo, "generation", &json!({"name": "oldest"})).0,
        200
    );
    assert_eq!(get(&xinghuo, "generation")["generation"], "classic");
    let (status, refused) = post(&xinghuo, "generation", &json!({"name": "future"}));
    assert_eq!((status, control.generation()), (400, "classic"));
    assert!(
        refused["error"].as_str().unwrap().contains("spark"),
        "{refused}"
    );
    control.set_generation("both").unwrap();
    assert_eq!(get(&xinghuo, "state")["generation"], "both");
    xinghuo.reset();
    assert_eq!(control.generation(), "spark", "that of the start");
    assert!(simulate::start("xinghuo", options("v2.5")).is_err());
    assert_eq!(
        simulate::start("openai", options("newest"))
            .unwrap()
            .control()
            .generation(),
        "both"
    );
}

/// Asks under a fault or a pace, leaves after the first bytes, and says how soon that was noticed.
fn noticed_after_leaving(fault: Option<&str>, pace_ms: u64) -> Duration {
    let qwen = start("qwen");
    let control = qwen.control();
    if let Some(fault) = fault {
        control.fault(fault, 1).unwrap();
    }
    control
        .script(Script {
            pace_ms: Some(pace_ms),
            ..Script::default()
        })
        .unwrap();
    let mut answer = asking(&qwen, &question("count:50")).send(&qwen).unwrap();
    assert!(answer.chunk().unwrap());
    until(|| control.state().open_streams == 1);
    drop(answer);
    let time = until(|| control.state().open_streams == 0);
    let asked = control.calls("ask").pop().unwrap();
    assert!(
        asked.aborted && asked.ended_ms >= Some(asked.at_ms),
        "{asked:?}"
    );
    time
}

#[test]
fn a_client_that_leaves_is_noticed_while_pausing_and_hanging() {
    for (fault, pace_ms) in [
        (None, 60_000),
        (Some("hang_before_text"), 0),
        (Some("hang_after_text"), 0),
    ] {
        let time = noticed_after_leaving(fault, pace_ms);
        assert!(time < Duration::from_millis(300), "{fault:?}: {time:?}");
    }
}

#[test]
fn a_client_that_leaves_before_the_headers_is_noticed() {
    let qwen = start("qwen");
    let control = qwen.control();
    for fault in ["hang_before_headers", "slow_headers"] {
        control.fault(fault, 1).unwrap();
        let host = qwen.url.strip_prefix("http://").unwrap().to_owned();
        let request = asking(&qwen, &question("hi"));
        let mut stream = std::net::TcpStream::connect(host).unwrap();
        let mut bytes = format!(
            "POST /dialog/conversation HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n",
            request.body.len()
        );
        for (name, value) in &request.headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str("\r\n");
        std::io::Write::write_all(&mut stream, &[bytes.as_bytes(), &request.body].concat())
            .unwrap();
        until(|| {
            control
                .calls("ask")
                .last()
                .is_some_and(|call| call.fault == Some(fault))
        });
        drop(stream);
        let time = until(|| control.calls("ask").last().is_some_and(|call| call.aborted));
        assert!(time < Duration::from_millis(300), "{fault}: {time:?}");
    }
}

#[test]
fn broken_connections_are_really_broken() {
    let qwen = start("qwen");
    let ask = |fault: &str| {
        qwen.control().fault(fault, 1).unwrap();
        asking(&qwen, &question("count:9")).send(&qwen)
    };
    assert!(ask("disconnect_before_headers").is_err());
    let mut before = ask("disconnect_before_text").unwrap();
    assert!(before.rest().is_err());
    assert!(
        before.text().contains("\"contents\":null") && !before.text().contains("\"content\":\"1\"")
    );
    let mut after = ask("disconnect_after_text").unwrap();
    assert!(after.rest().is_err());
    assert!(after.text().contains("\"content\":\"1 2\"") && !after.text().contains("1 2 3"));
    assert!(qwen.control().log().iter().all(|call| !call.aborted));
}

#[test]
fn a_short_answer_is_not_finished_by_a_fault_after_text() {
    let qwen = start("qwen");
    qwen.control().fault("disconnect_after_text", 1).unwrap();
    let mut answer = asking(&qwen, &question("echo:a")).send(&qwen).unwrap();
    assert!(answer.rest().is_err());
    assert!(!answer.text().contains("finished"), "{}", answer.text());
}

#[test]
fn counts_answers_at_once_for_each_account() {
    let qwen = start("qwen");
    let held: Vec<_> = (0..3)
        .map(|_| {
            asking(&qwen, &question("pace:60000 echo:x"))
                .send(&qwen)
                .unwrap()
        })
        .collect();
    until(|| qwen.control().state().open_streams == 3);
    assert_eq!(qwen.control().state().max_concurrent_per_account["1"], 3);
    drop(held);
}

#[test]
fn start_refuses_unknown_names_and_taken_ports() {
    assert!(
        simulate::start("nobody", Options::default())
            .unwrap_err()
            .to_string()
            .contains("qwen")
    );
    let first = start("qwen");
    let port = first.url.rsplit(':').next().unwrap().parse().unwrap();
    assert!(
        simulate::start(
            "qwen",
            Options {
                port,
                ..Options::default()
            }
        )
        .is_err()
    );
    drop(first);
    simulate::start(
        "qwen",
        Options {
            port,
            ..Options::default()
        },
    )
    .unwrap();
}
