//! A log that nobody reads: answers go on, lines are dropped and counted, and the end is not held up.

use std::{io::Read as _, time::Duration};

use crate::support::{Worker, metric};

/// More lines than a pipe and the worker's buffers hold.
const REQUESTS: usize = 8_000;
/// Each is answered at once, with a line in the log: nobody listens there.
const QUESTION: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

fn start() -> Worker {
    Worker::start(&[
        ("OPENAI_COMPAT_1_BASE_URL", "http://127.0.0.1:9/v1"),
        ("OPENAI_COMPAT_1_API_KEY", "sk-lab"),
        ("OPENAI_COMPAT_1_MODELS", "m"),
        ("RETRY_DELAYS_MS", "none"),
        ("DRAIN_GRACE", "0"),
    ])
}

#[test]
fn answers_go_on_when_nobody_reads_the_log() {
    let mut worker = start();
    // Held open and not read.
    let mut log = worker.child.stdout.take().unwrap();
    worker.flood(QUESTION, REQUESTS);
    assert_eq!(worker.get("/health").unwrap().0, 200);
    let dropped = metric(&worker, "hive_log_lines_dropped_total").unwrap();
    assert!(dropped > 0.0, "too few lines for this test");
    // There is room again: the log says how many are missing.
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        text
    });
    std::thread::sleep(Duration::from_millis(500));
    worker.signal("-TERM");
    assert_eq!(worker.wait_code(Duration::from_secs(10)), Some(0));
    let text = reading.join().unwrap();
    assert!(
        text.contains("log lines were dropped"),
        "nothing is said of it"
    );
    assert!(text.contains("drained"), "the last lines are written");
}

#[test]
fn the_end_is_not_held_up_by_a_log_that_nobody_reads() {
    let mut worker = start();
    let _held_open = worker.child.stdout.take().unwrap();
    worker.flood(QUESTION, REQUESTS);
    worker.signal("-TERM");
    assert_eq!(worker.wait_code(Duration::from_secs(6)), Some(0));
}
