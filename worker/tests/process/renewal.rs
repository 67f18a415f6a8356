//! Keys and accounts that change in the file of a running worker.

use std::time::Duration;

use crate::support::{Folder, Worker, read, until};

const REST: &str = "OPENAI_COMPAT_1_BASE_URL=http://127.0.0.1:9/v1\nOPENAI_COMPAT_1_API_KEY=sk-lab\nOPENAI_COMPAT_1_MODELS=m\n";

fn models(worker: &Worker, key: &str) -> u16 {
    let asked = worker.send_with("GET /v1/models", key, "").unwrap();
    read(asked).unwrap().0
}

/// A worker whose only key stands in the file.
fn start(folder: &Folder) -> Worker {
    let path = folder.0.join("accounts.env");
    std::fs::write(&path, format!("API_MASTER_KEY=sk-old-0123456789\n{REST}")).unwrap();
    Worker::start(&[
        ("API_MASTER_KEY", ""),
        ("ACCOUNTS_FILE", path.to_str().unwrap()),
        ("DRAIN_GRACE", "0"),
    ])
}

fn end(worker: Worker) -> String {
    worker.signal("-INT");
    worker.wait(Duration::from_secs(10)).1
}

#[test]
fn a_changed_key_is_taken_over_as_any_editor_writes_it() {
    let folder = Folder::new("new-key");
    let worker = start(&folder);
    assert_eq!(models(&worker, "sk-old-0123456789"), 200);
    let text = format!(
        "\u{feff}API_MASTER_KEY=\"sk-new-0123456789\"\r\nAPI_KEYS=bob:sk-bob-0123456789\r\n{REST}"
    );
    std::fs::write(folder.0.join("accounts.env"), text).unwrap();
    until(Duration::from_secs(6), || {
        models(&worker, "sk-new-0123456789") == 200
    });
    assert_eq!(models(&worker, "sk-old-0123456789"), 401);
    assert_eq!(models(&worker, "sk-bob-0123456789"), 200);
    let log = end(worker);
    assert!(
        log.contains("keys renewed") && log.contains("API_MASTER_KEY"),
        "{log}"
    );
    // No account was renewed, and no key is in the log.
    assert!(!log.contains("accounts renewed"), "{log}");
    assert!(!log.contains("0123456789"), "{log}");
}

#[test]
fn what_does_not_take_effect_is_said() {
    let folder = Folder::new("no-effect");
    let worker = start(&folder);
    let text = format!("API_MASTER_KEY=sk-old-0123456789\n{REST}MAX_STREAMS=7\nDRAIN_GRACE=9\n");
    std::fs::write(folder.0.join("accounts.env"), text).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let log = end(worker);
    let line = |word: &str| log.lines().any(|line| line.contains(word));
    assert!(line("after a restart only") && line("MAX_STREAMS"), "{log}");
    assert!(
        line("the process environment has them") && line("DRAIN_GRACE"),
        "{log}"
    );
    assert!(!log.contains("renewed"), "{log}");
}

#[test]
fn nothing_is_lost_with_the_file() {
    let folder = Folder::new("lost-file");
    let worker = start(&folder);
    let path = folder.0.join("accounts.env");
    let stays = |worker: &Worker| {
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(models(worker, "sk-old-0123456789"), 200);
        assert_eq!(worker.get("/ready").unwrap().0, 200);
    };
    std::fs::write(&path, "").unwrap();
    stays(&worker);
    std::fs::remove_file(&path).unwrap();
    stays(&worker);
    std::fs::write(&path, "API_MASTER_KEY=sk-ol").unwrap();
    stays(&worker);
    let log = end(worker);
    for words in ["sets nothing any more", "cannot be read", "half written"] {
        assert!(log.contains(words), "{words}: {log}");
    }
}
