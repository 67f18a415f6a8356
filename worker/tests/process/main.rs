//! The worker as a process: settings, renewal of credentials, logs, draining.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by a panic"
)]

mod logs;
mod media;
mod renewal;
mod start;
mod support;

use std::{
    io::{BufRead as _, BufReader},
    process::Command,
    time::Duration,
};

use hive2api_simulators::{self as simulate, Options};
use serde_json::{Value, json};
use support::{Folder, KEY, Worker, metric, question, qwen, read, run, until};

#[test]
fn bad_settings_are_listed_together_and_nothing_starts() {
    let output = run(&[
        ("PORT", "x"),
        ("MODEL_TO_ACCOUNT_MAP", "[]"),
        ("QWEN_BASE_URL", "nonsense"),
        ("XSECRET", "hush"),
        ("CN_ACCOUNT_1_COOKIE", "hush=1"),
    ]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{complaint}");
    for name in [
        "PORT",
        "MODEL_TO_ACCOUNT_MAP",
        "QWEN_BASE_URL",
        "API_MASTER_KEY",
    ] {
        assert!(complaint.contains(name), "{name}: {complaint}");
    }
    assert!(!complaint.contains("hush"));
    assert_eq!(
        run(&[("ACCOUNTS_FILE", "/nowhere/at/all")]).status.code(),
        Some(78)
    );
}

#[test]
fn a_renewed_credential_is_taken_over_and_a_bad_file_is_refused() {
    let (qwen, folder) = (qwen(), Folder::new("renew"));
    let good = qwen.env();
    let bad: Vec<(String, String)> = good
        .iter()
        .map(|(name, value)| {
            (
                name.clone(),
                if name.ends_with("_COOKIE") {
                    "tongyi_sso_ticket=old; XSRF-TOKEN=x".to_owned()
                } else {
                    value.clone()
                },
            )
        })
        .collect();
    let path = folder.write(&bad);
    let worker = Worker::start(&[("ACCOUNTS_FILE", &path)]);
    let (status, text) = worker.ask("echo:a");
    assert!(
        status == 502
            && text.contains("upstream_auth_expired")
            && text.contains("CN_ACCOUNT_1_COOKIE"),
        "{text}"
    );
    // It stays refused, without another call.
    let calls = qwen.control().state().calls;
    assert_eq!(
        (worker.ask("echo:a").0, worker.get("/ready").unwrap().0),
        (502, 503)
    );
    assert_eq!(qwen.control().state().calls, calls);
    folder.write(&good);
    until(Duration::from_secs(6), || {
        worker.ask("echo:renewed").1.contains("renewed")
    });
    assert_eq!(worker.get("/ready").unwrap().0, 200);
    std::fs::write(folder.0.join("accounts.env"), "this is no assignment\n").unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(worker.ask("echo:still").0, 200);
    worker.signal("-TERM");
    let (code, log) = worker.wait(Duration::from_secs(10));
    assert_eq!(code, Some(0));
    assert!(
        log.contains("accounts renewed") && log.contains("the old accounts stay"),
        "{log}"
    );
}

#[test]
fn a_conversation_counts_until_it_is_deleted() {
    let (qwen, folder) = (qwen(), Folder::new("conversations"));
    let path = folder.write(&qwen.env());
    let worker = Worker::start(&[("ACCOUNTS_FILE", &path)]);
    let open = || metric(&worker, r#"hive_conversations{provider="qwen"}"#);
    let stream = worker
        .send(
            "POST /v1/chat/completions",
            &question("pace:20 count:10000", true),
        )
        .unwrap();
    until(Duration::from_secs(10), || open() == Some(1.0));
    drop(stream);
    until(Duration::from_secs(10), || open() == Some(0.0));
}

/// `KIMI_TOKEN` that ends at that time: `{"exp":…,"typ":"access","app_id":"kimi"}`, base64url without padding.
const ENDS_IN_2033: &str =
    "eyJ.eyJleHAiOjIwMDAwMDAwMDAsInR5cCI6ImFjY2VzcyIsImFwcF9pZCI6ImtpbWkifQ.c2ln";

#[test]
fn metrics_say_who_serves_and_until_when() {
    let (qwen, folder) = (qwen(), Folder::new("metrics"));
    let mut env = qwen.env();
    env.push(("KIMI_TOKEN_2".to_owned(), ENDS_IN_2033.to_owned()));
    let path = folder.write(&env);
    let worker = Worker::start(&[("ACCOUNTS_FILE", &path), ("WORKER_NAME", "bee-7")]);
    let version = env!("CARGO_PKG_VERSION");
    let build = format!(r#"hive_build_info{{version="{version}",worker="bee-7"}}"#);
    assert_eq!(metric(&worker, &build), Some(1.0));
    assert_eq!(metric(&worker, "hive_draining"), Some(0.0));
    let end = r#"hive_account_expiry_timestamp_seconds{account="2",provider="kimi"}"#;
    assert_eq!(metric(&worker, end), Some(2_000_000_000.0));
    #[cfg(target_os = "linux")]
    assert!(metric(&worker, "process_resident_memory_bytes").unwrap() > 1e6);

    // Refused at the door, and so seen by no other metric; probes are not counted.
    read(worker.send("POST /v1/chat/completions", "{").unwrap()).unwrap();
    let refused = r#"hive_http_responses_total{status="400"}"#;
    assert_eq!(metric(&worker, refused), Some(1.0));
    let fine = r#"hive_http_responses_total{status="200"}"#;
    assert_eq!(metric(&worker, fine), None);

    // An account that is taken away leaves no end behind.
    folder.write(&qwen.env());
    until(Duration::from_secs(10), || metric(&worker, end).is_none());
}

#[test]
fn retries_are_counted_by_where_they_go() {
    let two = Options {
        accounts: 2,
        ..Options::default()
    };
    let (qwen, folder) = (
        simulate::start("qwen", two).unwrap(),
        Folder::new("retries"),
    );
    let path = folder.write(&qwen.env());
    let worker = Worker::start(&[
        ("ACCOUNTS_FILE", &path),
        ("RETRY_DELAYS_MS", "10"),
        (
            "MODEL_ROUTES",
            r#"{"either":["deepseek/deepseek-chat","qwen/qwen-plus"]}"#,
        ),
    ]);
    let retries = |to: &str| {
        metric(
            &worker,
            &format!(r#"hive_retries_total{{provider="qwen",to="{to}"}}"#),
        )
    };
    let fault = json!({"name": "http_503"});
    let order = || {
        qwen.control()
            .order(serde_json::from_value(fault.clone()).unwrap())
    };
    assert_eq!(worker.ask("echo:a").0, 200);
    assert_eq!(
        (retries("same_account"), retries("candidate")),
        (None, None)
    );
    order().unwrap();
    assert_eq!(worker.ask("echo:b").0, 200);
    assert_eq!(retries("same_account"), Some(1.0));
    // Deepseek has no account here.
    let either = question("echo:c", false).replace("qwen-plus", "either");
    let asked = worker.send("POST /v1/chat/completions", &either).unwrap();
    assert_eq!(read(asked).unwrap().0, 200);
    assert_eq!(retries("candidate"), Some(1.0));
    // Only the account that the model is mapped to may serve it, unless all may.
    drop(worker);
    let worker = Worker::start(&[
        ("ACCOUNTS_FILE", &path),
        ("QWEN_ACCOUNT_POLICY", "round_robin"),
    ]);
    order().unwrap();
    assert_eq!(worker.ask("echo:d").0, 200);
    let other = r#"hive_retries_total{provider="qwen",to="other_account"}"#;
    assert_eq!(metric(&worker, other), Some(1.0));
}

#[test]
fn logs_are_json_and_hold_neither_content_nor_secrets() {
    let (qwen, folder) = (qwen(), Folder::new("logs"));
    let path = folder.write(&qwen.env());
    let worker = Worker::start(&[("ACCOUNTS_FILE", &path), ("LOG_LEVEL", "debug")]);
    assert_eq!(worker.ask("echo:topsecretcontent").0, 200);
    qwen.control().fault("not_login", 1).unwrap();
    assert_eq!(worker.ask("topsecretcontent").0, 502);
    worker.signal("-INT");
    let (code, log) = worker.wait(Duration::from_secs(10));
    assert_eq!(code, Some(0));
    let secrets = qwen
        .env()
        .into_iter()
        .filter(|(name, _)| !name.ends_with("_URL"))
        .map(|(_, value)| value);
    for secret in secrets.chain([KEY.to_owned(), "topsecretcontent".to_owned()]) {
        assert!(!log.contains(&secret), "{secret} in {log}");
    }
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let done = lines
        .iter()
        .find(|line| line["message"] == "chat completion" && line["status"] == "200")
        .unwrap();
    for field in [
        "request_id",
        "key",
        "provider",
        "model",
        "account",
        "status",
        "ttft_ms",
        "duration_ms",
        "bytes",
    ] {
        assert!(!done[field].is_null(), "{field} in {done}");
    }
}

#[test]
fn sigterm_lets_running_streams_finish() {
    let (qwen, folder) = (qwen(), Folder::new("drain"));
    let path = folder.write(&qwen.env());
    let worker = Worker::start(&[("ACCOUNTS_FILE", &path)]);
    let stream = worker
        .send(
            "POST /v1/chat/completions",
            &question("pace:20 count:120", true),
        )
        .unwrap();
    let mut lines = BufReader::new(stream).lines();
    until(Duration::from_secs(5), || {
        lines.next().unwrap().unwrap().contains("content")
    });
    worker.signal("-TERM");
    until(Duration::from_millis(900), || {
        worker
            .get("/ready")
            .is_ok_and(|reply| reply.0 == 503 && reply.1.contains("draining"))
    });
    assert_eq!(metric(&worker, "hive_draining"), Some(1.0));
    // After the grace no new connection is taken; the stream goes on to its end.
    until(Duration::from_secs(3), || worker.get("/health").is_err());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert!(rest.iter().any(|line| line == "data: [DONE]"), "{rest:?}");
    let (code, log) = worker.wait(Duration::from_secs(5));
    assert_eq!(code, Some(0), "{log}");
    // The clean-up is waited for, too.
    assert_eq!(
        (
            qwen.control().state().created,
            qwen.control().state().deleted
        ),
        (1, 1)
    );
}

#[test]
fn the_drain_has_an_end() {
    let (qwen, folder) = (qwen(), Folder::new("drain-timeout"));
    let path = folder.write(&qwen.env());
    let worker = Worker::start(&[
        ("ACCOUNTS_FILE", &path),
        ("DRAIN_TIMEOUT", "1"),
        ("DRAIN_GRACE", "0"),
    ]);
    let stream = worker
        .send(
            "POST /v1/chat/completions",
            &question("pace:20 count:10000", true),
        )
        .unwrap();
    let mut lines = BufReader::new(stream).lines();
    until(Duration::from_secs(5), || {
        lines.next().unwrap().unwrap().contains("content")
    });
    worker.signal("-TERM");
    // Not silence: one error event, and no end that looks like a good one.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let errors = rest.iter().filter(|line| line.contains("worker_stopped"));
    assert_eq!(errors.count(), 1, "{rest:?}");
    assert!(!rest.iter().any(|line| line == "data: [DONE]"));
    assert_eq!(worker.wait(Duration::from_secs(5)).0, Some(0));
}

#[test]
fn the_health_check_of_containers_works() {
    let worker = Worker::start(&[]);
    let port = worker.port.to_string();
    let health = |port: &str| {
        Command::new(env!("CARGO_BIN_EXE_hive2api-worker"))
            .arg("--health")
            .env("PORT", port)
            .status()
            .unwrap()
            .success()
    };
    assert!(health(&port));
    drop(worker);
    assert!(!health(&port));
    assert!(run(&[("X", "y")]).status.code() == Some(78));
}
