//! How many chats a worker takes, and how it sends the others away: at no cost, and so that nginx can ask the next one.

use std::time::{Duration, Instant};

use hive2api_simulators::Running;
use serde_json::json;

use crate::support::{Hive, Reply, question, settled, simulator};

const LONG: &str = "pace:20 count:100";

async fn ask(hive: &Hive, headers: &[(&'static str, &str)]) -> Reply {
    let request = hive.request("POST", "/v1/chat/completions");
    let request = headers
        .iter()
        .fold(request, |request, header| request.insert_header(*header));
    let body = question("qwen-plus", "echo:hi").to_string();
    Reply::read(request.send_body(body).await.unwrap()).await
}

fn refusal(code: &str) -> (u16, String, String) {
    (503, "service_unavailable".to_owned(), code.to_owned())
}

/// Runs `check` while a stream takes the only place.
async fn while_full(hive: &Hive, qwen: &Running, check: impl AsyncFn()) {
    let full = async {
        let started = Instant::now();
        while qwen.control().state().open_streams == 0 {
            assert!(started.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        check().await;
    };
    let (stream, ()) = tokio::join!(hive.stream("qwen-plus", LONG), full);
    assert!(stream.is_done(), "{}", stream.text);
}

#[actix_web::test]
async fn a_full_worker_refuses_at_no_cost_and_takes_chats_again() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[("MAX_STREAMS", "1")]);
    while_full(&hive, &qwen, async || {
        let calls = qwen.control().state().calls;
        for _ in 0..5 {
            let reply = ask(&hive, &[]).await;
            assert_eq!(reply.error(), refusal("overloaded"));
            assert_eq!(reply.header("retry-after"), "2");
        }
        assert_eq!(qwen.control().state().calls, calls);
        // Only chats take places.
        assert_eq!(hive.get("/v1/models").await.status, 200);
        assert_eq!(hive.get("/ready").await.status, 200);
    })
    .await;
    assert_eq!(ask(&hive, &[]).await.content(), "hi");
    let page = hive.get("/metrics").await.text;
    let refused = page
        .lines()
        .find_map(|line| line.strip_prefix(r#"hive_refused_total{reason="overloaded"} "#));
    // The whole test process counts here.
    assert!(
        refused.is_some_and(|count| count.parse::<u64>().is_ok_and(|count| count >= 5)),
        "{page}"
    );
    settled(&qwen.control(), Duration::from_secs(5)).await;
}

#[actix_web::test]
async fn a_refusal_tells_nginx_where_to_go_and_nobody_else() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[("MAX_STREAMS", "1")]);
    let elsewhere = ("x-hive-elsewhere", "@elsewhere");
    while_full(&hive, &qwen, async || {
        let redirect = async |headers: &[(&'static str, &str)]| {
            let reply = ask(&hive, headers).await;
            (
                reply.status,
                reply.header("x-accel-redirect").to_owned(),
                reply.json()["error"]["type"].as_str().unwrap().to_owned(),
            )
        };
        let is = |status: u16, to: &str, kind: &str| (status, to.to_owned(), kind.to_owned());
        assert_eq!(
            redirect(&[elsewhere]).await,
            is(503, "@elsewhere", "service_unavailable")
        );
        assert_eq!(redirect(&[]).await, is(503, "", "service_unavailable"));
        assert_eq!(
            redirect(&[("x-hive-elsewhere", "/metrics")]).await,
            is(503, "", "service_unavailable")
        );
        // In their dialect it is 529, but nginx knows no such status to go on after.
        let anthropic = ("anthropic-version", "2023-06-01");
        assert_eq!(
            redirect(&[anthropic]).await,
            is(529, "", "overloaded_error")
        );
        assert_eq!(
            redirect(&[anthropic, elsewhere, ("x-hive-sticky", "key")]).await,
            is(503, "@elsewhere", "overloaded_error")
        );
    })
    .await;
    // An answer never sends nginx anywhere.
    assert_eq!(
        ask(&hive, &[elsewhere]).await.header("x-accel-redirect"),
        ""
    );
}

#[actix_web::test]
async fn a_refused_body_of_any_size_is_answered() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[]);
    hive.app
        .is_closed
        .store(true, std::sync::atomic::Ordering::SeqCst);
    for size in [1, 100_000, 20_000_000] {
        let reply = hive
            .post(&json!({"model": "qwen-plus", "messages": "a".repeat(size)}))
            .await;
        assert_eq!(reply.error(), refusal("not_ready"), "{size}");
    }
}

#[actix_web::test]
async fn an_answer_that_is_cut_says_so() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[]);
    let cut = async {
        let started = Instant::now();
        while qwen.control().state().open_streams < 2 {
            assert!(started.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        hive.app.cut_answers();
    };
    let (stream, whole, ()) = tokio::join!(
        hive.stream("qwen-plus", LONG),
        hive.ask("qwen-plus", LONG),
        cut
    );
    assert!(!stream.streamed("content").is_empty());
    assert_eq!(stream.stream_error().unwrap()["code"], "worker_stopped");
    assert!(!stream.is_done());
    assert_eq!(
        (whole.status, whole.error().2.as_str()),
        (502, "worker_stopped")
    );
    settled(&qwen.control(), Duration::from_secs(5)).await;
}

#[actix_web::test]
async fn signs_are_counted_and_none_is_invented() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[]);
    for sign in ["conversation", "conversation", "of my own", "none"] {
        ask(&hive, &[("x-hive-sticky", sign)]).await;
    }
    let page = hive.get("/metrics").await.text;
    // The metrics are the process's, so other tests count as well.
    let counted = |by: &str| {
        let line = format!("hive_sticky_total{{by=\"{by}\"}} ");
        page.lines()
            .find_map(|found| found.strip_prefix(&line))
            .map_or(0, |count| count.parse::<u64>().unwrap())
    };
    assert!(counted("conversation") >= 2 && counted("none") >= 2);
    assert!(!page.contains("of my own"));
}

#[actix_web::test]
async fn headers_are_limited_as_nginx_limits_them() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[]);
    let send = async |lines: usize, length: usize| {
        let name = |at: usize| format!("x-{at:02}");
        // `x-00: ` and the line's end are 8 bytes.
        let request = (0..lines).fold(hive.request("GET", "/v1/models"), |request, at| {
            request.insert_header((name(at), "a".repeat(length - 8)))
        });
        Reply::read(request.send().await.unwrap()).await
    };
    assert_eq!(send(1, 32 << 10).await.status, 200);
    assert_eq!(send(3, 32_000).await.status, 200);
    for (lines, length) in [(1, (32 << 10) + 1), (4, 26_000)] {
        let (status, kind, code) = send(lines, length).await.error();
        assert_eq!(
            (status, kind.as_str(), code.as_str()),
            (431, "invalid_request_error", "headers_too_large")
        );
    }
}
