//! The load driver against the emulator, and against a server that loses and repeats pieces.

#![allow(
    clippy::unwrap_used,
    reason = "test code: the lint only excuses functions that are tests themselves"
)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    thread,
};

use clap::Parser;
use hive2api_loadtest::{drive, emulate};
use serde_json::Value;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: drive::Options,
}

/// An emulator on a thread of its own, until the test process ends.
fn emulator() -> SocketAddr {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let listener = emulate::bind(([127, 0, 0, 1], 0).into()).unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            emulate::serve(listener, emulate::Script::default())
                .await
                .unwrap();
        });
    });
    receiver.recv().unwrap()
}

/// Drives for a second; whether all was well, and the figures.
fn drive(name: &str, address: SocketAddr, arguments: &[&str]) -> (bool, Value) {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("drive-{name}.json"));
    let page = file.with_extension("html");
    let url = format!("http://{address}/v1");
    let mut line = vec!["drive", "--quiet", "--warmup", "0", "--key", "sk-secret"];
    line.extend([
        "--json",
        file.to_str().unwrap(),
        "--report",
        page.to_str().unwrap(),
    ]);
    line.extend(arguments);
    if !arguments.contains(&"--duration") {
        line.extend(["--duration", "1"]);
    }
    if !arguments.contains(&"--url") {
        line.extend(["--url", &url]);
    }
    let is_well = drive::run(&Cli::parse_from(line).options).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        !text.contains("sk-secret")
            && !std::fs::read_to_string(&page)
                .unwrap()
                .contains("sk-secret")
    );
    (is_well, serde_json::from_str(&text).unwrap())
}

#[test]
fn a_closed_loop_counts_every_piece() {
    let this = format!("this={}", std::process::id());
    let arguments = [
        "--prompt",
        "load:pieces=10,size=40",
        "-c",
        "4",
        "--watch-pid",
        &this,
    ];
    let (is_well, results) = drive("closed", emulator(), &arguments);
    let load = &results["load"];
    assert!(is_well, "{load}");
    assert!(load["requests"].as_u64().unwrap() > 50, "{load}");
    // Answers that the beginning or the end of the measured time cuts have fewer.
    let pieces = load["pieces"]
        .as_u64()
        .unwrap()
        .abs_diff(load["requests"].as_u64().unwrap() * 10);
    assert!(pieces <= 80, "{load}");
    for kind in ["first", "first_delay", "piece", "total"] {
        let times = &load["times"][kind];
        assert!(
            times["p50"].as_f64() <= times["p99"].as_f64() && times["p50"].as_f64() > Some(0.0),
            "{times}"
        );
    }
    assert!(results["watched"][0]["cpu_seconds"].as_f64() > Some(0.0));
}

#[test]
fn spaced_streams_come_at_their_pace_and_are_cut_without_a_fault() {
    let (is_well, results) = drive(
        "spaced",
        emulator(),
        &["--prompt", "load:pieces=1000,every=20ms", "-c", "8"],
    );
    let rate = results["load"]["pieces_per_second"].as_f64().unwrap();
    assert!(is_well, "{results}");
    assert!((200.0..600.0).contains(&rate), "{rate} of 400");
}

#[test]
fn a_number_of_requests_is_sent_exactly() {
    let arguments = [
        "--duration",
        "30",
        "--requests",
        "7",
        "-c",
        "3",
        "--prompt",
        "load:pieces=5,every=20ms,aligned=1",
    ];
    let (is_well, results) = drive("exactly", emulator(), &arguments);
    assert!(
        is_well && results["seconds"].as_f64() < Some(15.0),
        "{results}"
    );
    assert_eq!(
        (&results["load"]["requests"], &results["load"]["pieces"]),
        (&7.into(), &35.into())
    );
}

#[test]
fn an_open_loop_sends_what_is_due() {
    let (is_well, results) = drive("open", emulator(), &["--mode", "json", "--rate", "50"]);
    let requests = results["load"]["requests"].as_u64().unwrap();
    assert!(is_well, "{results}");
    // On a busy machine the last second is a long one.
    let due = results["seconds"].as_f64().unwrap() * 50.0;
    assert!(
        (due * 0.7..due + 2.0).contains(&(requests as f64)),
        "{requests} of {due}"
    );
}

#[test]
fn an_open_loop_charges_the_wait_for_a_free_connection() {
    // One connection, answers of 50 ms, due every 20 ms: after a second they are some 600 ms late.
    let arguments = [
        "--mode",
        "json",
        "--prompt",
        "load:wait=50ms",
        "--rate",
        "50",
        "-c",
        "1",
    ];
    let (_, results) = drive("late", emulator(), &arguments);
    let total = &results["load"]["times"]["total"];
    assert!(total["max"].as_f64() > Some(300_000.0), "{total}");
}

#[test]
fn a_cumulative_stream_counts_each_piece_once() {
    let address = emulator();
    let url = format!("http://{address}");
    let arguments = [
        "--url",
        &url,
        "--path",
        "/dialog/conversation",
        "--cumulative",
        "--prompt",
        "load:pieces=50",
    ];
    let (is_well, results) = drive("cumulative", address, &arguments);
    let load = &results["load"];
    assert!(is_well && load["pieces"].as_u64() > Some(50), "{load}");
    assert_eq!(load["doubled"], 0);
}

#[test]
fn held_streams_stay_open() {
    let arguments = [
        "--hold",
        "100",
        "--hold-prompt",
        "load:pieces=100,every=100ms",
        "--mode",
        "json",
    ];
    let (is_well, results) = drive("held", emulator(), &arguments);
    assert!(is_well, "{results}");
    assert_eq!(results["open_streams"], 100);
    assert!(results["held"]["pieces"].as_u64() > Some(500), "{results}");
}

#[test]
fn a_held_stream_that_ends_is_an_error() {
    let arguments = [
        "--hold",
        "5",
        "--hold-prompt",
        "load:pieces=3,every=100ms",
        "--hold-only",
    ];
    let (is_well, results) = drive("ended", emulator(), &arguments);
    assert!(!is_well);
    assert_eq!(results["held"]["failures"]["a held stream has ended"], 5);
}

#[test]
fn a_url_is_plain_or_tls_and_nothing_else() {
    let address = emulator();
    // The emulator speaks no TLS, so a handshake with it fails before any request.
    let (is_well, results) = drive(
        "tls",
        address,
        &["--url", &format!("https://localhost:{}/v1", address.port())],
    );
    assert!(!is_well && results["load"]["requests"] == 0, "{results}");
    let failures = results["load"]["failures"].as_object().unwrap();
    assert!(
        failures.keys().all(|why| why.starts_with("connect: ")),
        "{failures:?}"
    );
    for url in [
        "ftp://localhost/v1",
        "localhost:80",
        "http://",
        "http://key@localhost/v1",
    ] {
        let options = Cli::parse_from(["drive", "--quiet", "--url", url]).options;
        assert!(drive::run(&options).is_err(), "{url}");
    }
}

/// Answers every connection's first request with these bytes and closes.
fn canned(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let _read = socket.read(&mut [0; 4096]);
            let _written = socket.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn what_a_gateway_loses_repeats_or_refuses_is_seen() {
    let stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let lossy = format!(
        "{stream}data: ~0:4@1;\n\ndata: ~2:4@1;\n\ndata: ~2:4@1;\n\ndata: ~1:4@1;\n\ndata: [DONE]\n\n"
    );
    let (is_well, results) = drive("lossy", canned(lossy.leak()), &["-c", "1"]);
    let load = &results["load"];
    let requests = load["requests"].as_u64().unwrap();
    assert!(!is_well && requests > 0);
    for fault in ["missing", "doubled", "out_of_order"] {
        let count = load[fault].as_u64().unwrap();
        assert!(count.abs_diff(requests) <= 1, "{fault}: {load}");
    }
    let (is_well, results) = drive(
        "refused",
        canned("HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy"),
        &["-c", "1"],
    );
    assert!(!is_well);
    assert!(
        results["load"]["failures"]["HTTP 503 busy"].as_u64() > Some(0),
        "{results}"
    );
    let (is_well, results) = drive(
        "half",
        canned(format!("{stream}data: ~0:2@1;\n\n").leak()),
        &["-c", "1"],
    );
    assert!(!is_well);
    assert!(
        results["load"]["failures"]["a stream without an end"].as_u64() > Some(0),
        "{results}"
    );
}
