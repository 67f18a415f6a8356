//! MiniMax's conversations: gone on with, stopped, deleted.

use std::time::Duration;

use serde_json::json;

use crate::{
    minimax::{FAST, GENERATIONS, count, reset},
    support::{Hive, SOON, assert_no_violations, question, settled, simulator},
};

/// In time for what is deleted when it has been idle.
const IDLE: Duration = Duration::from_secs(10);

/// The second question of a chat meets each of the ways in which a conversation can refuse it: nobody sees more of that than
/// the header, the account goes on being used, and what is not gone on with is removed. Also where nothing is removed.
#[actix_web::test]
async fn a_conversation_that_does_not_go_on_is_told_anew() {
    let minimax = simulator("minimax", 1);
    for generation in GENERATIONS {
        for fault in [
            "busy",
            "chat_running",
            "session_invalid",
            "sandbox",
            "empty",
            "malformed",
            "unavailable_1000",
        ] {
            reset(&minimax).await;
            minimax.control().set_generation(generation).unwrap();
            let settings = [FAST, ("CONVERSATIONS", "reuse"), ("CONVERSATION_TTL", "1")];
            let hive = Hive::start(&[&minimax], &settings);
            let mut body = question("minimax", "echo:one");
            let mut say = |answer: &str, next: &str| {
                let messages = body["messages"].as_array_mut().unwrap();
                messages.push(json!({"role": "assistant", "content": answer}));
                messages.push(json!({"role": "user", "content": next}));
                body.clone()
            };
            hive.post(&question("minimax", "echo:one")).await;
            minimax.control().fault(fault, 1).unwrap();
            let second = hive.post(&say("one", "echo:two")).await;
            assert_eq!(
                (
                    second.content().as_str(),
                    second.header("x-hive-conversation")
                ),
                ("two", "new"),
                "{generation} {fault}: {}",
                second.text
            );
            let third = hive.post(&say("two", "echo:three")).await;
            assert_eq!(
                third.header("x-hive-conversation"),
                "continued",
                "{generation} {fault}"
            );
            let calls = minimax.control().calls("ask");
            assert_eq!(calls.len(), 4, "{generation} {fault}");
            assert_eq!(calls[1].prompt.as_deref(), Some("echo:two"));
            assert_eq!(calls[1].conversation, calls[0].conversation);
            assert_ne!(calls[2].conversation, calls[0].conversation);
            settled(&minimax.control(), IDLE).await;
            assert_no_violations(&minimax.control());
        }
    }
}

/// `MINIMAX_DELETE_CHAT=false` holds for conversations that nobody goes on with, too.
#[actix_web::test]
async fn what_is_kept_is_kept_when_it_is_idle() {
    let minimax = simulator("minimax", 1);
    for generation in GENERATIONS {
        minimax.reset();
        minimax.control().set_generation(generation).unwrap();
        let settings = [
            FAST,
            ("CONVERSATIONS", "reuse"),
            ("CONVERSATION_TTL", "1"),
            ("MINIMAX_DELETE_CHAT", "false"),
        ];
        let hive = Hive::start(&[&minimax], &settings);
        hive.ask("minimax", "echo:one").await;
        actix_web::rt::time::sleep(Duration::from_secs(3)).await;
        let state = minimax.control().state();
        assert_eq!((state.created, state.deleted), (1, 0), "{generation}");
        let removals = count(&minimax.control(), "archive") + count(&minimax.control(), "delete");
        assert_eq!(removals, 0, "{generation}");
    }
}

/// A conversation is gone on with, and removed, in the generation that it was begun in, which a worker that starts anew may not
/// ask any more.
#[actix_web::test]
async fn conversations_stay_in_their_generation() {
    let folder = std::env::temp_dir().join(format!("hive2api-minimax-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let url = format!("sqlite:{}", folder.join("store.sqlite").display());
    let minimax = simulator("minimax", 1);
    let start = |protocol: &str, idle: &str| {
        let settings = [
            FAST,
            ("CONVERSATIONS", "reuse"),
            ("CONVERSATION_TTL", idle),
            ("STORE_URL", &url),
            ("MINIMAX_PROTOCOL", protocol),
        ];
        Hive::start(&[&minimax], &settings)
    };
    let next = json!({"model": "minimax", "messages": [
        {"role": "user", "content": "echo:one"}, {"role": "assistant", "content": "one"}, {"role": "user", "content": "echo:two"},
    ]});
    start("matrix", "60").ask("minimax", "echo:one").await;
    // It answers in all of them; `auto` would ask the cloud one.
    let second = start("auto", "60").post(&next).await;
    assert_eq!(
        (
            second.content().as_str(),
            second.header("x-hive-conversation")
        ),
        ("two", "continued")
    );
    assert_eq!(
        minimax.control().calls("ask")[1].params["generation"],
        "matrix"
    );
    let mut third = next.clone();
    let messages = third["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": "two"}));
    messages.push(json!({"role": "user", "content": "echo:three"}));
    let hive = start("cloud", "2");
    let third = hive.post(&third).await;
    assert_eq!(
        (
            third.content().as_str(),
            third.header("x-hive-conversation")
        ),
        ("three", "new")
    );
    assert_eq!(
        minimax.control().calls("ask")[2].params["generation"],
        "cloud"
    );
    // Both, each in its own words.
    settled(&minimax.control(), IDLE).await;
    assert_eq!(
        (
            count(&minimax.control(), "delete"),
            count(&minimax.control(), "archive")
        ),
        (1, 1)
    );
    assert_no_violations(&minimax.control());
    drop(hive);
    let _ = std::fs::remove_dir_all(folder);
}

#[actix_web::test]
async fn a_client_that_leaves_stops_the_upstream_call_and_its_session_goes() {
    let minimax = simulator("minimax", 1);
    for generation in GENERATIONS {
        reset(&minimax).await;
        minimax.control().set_generation(generation).unwrap();
        let hive = Hive::start(&[&minimax], &[FAST, ("STALL_TIMEOUT", "60")]);
        hive.stream_and_leave("minimax", "pace:20 count:10000")
            .await;
        let within = if generation == "matrix" {
            // A chat that is at work is deleted as soon as it may be.
            Duration::from_secs(8)
        } else {
            SOON
        };
        let polls = || count(&minimax.control(), "poll");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let before = polls();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(polls(), before, "nobody polls any more");
        settled(&minimax.control(), within).await;
        assert_eq!(minimax.control().state().deleted, 1, "{generation}");
        assert_no_violations(&minimax.control());
    }
}

#[actix_web::test]
async fn what_is_at_work_is_deleted_later_and_kept_when_told_so() {
    let minimax = simulator("minimax", 1);
    for (generation, fault) in [("cloud", "archive_busy"), ("matrix", "delete_running")] {
        reset(&minimax).await;
        minimax.control().set_generation(generation).unwrap();
        let hive = Hive::start(&[&minimax], &[FAST]);
        minimax.control().fault(fault, 1).unwrap();
        assert_eq!(hive.ask("minimax", "echo:fine").await.content(), "fine");
        settled(&minimax.control(), Duration::from_secs(5)).await;
        assert_eq!(minimax.control().state().deleted, 1, "{generation}");
        assert_no_violations(&minimax.control());
        for keep in [("MINIMAX_DELETE_CHAT", "false"), ("CONVERSATIONS", "keep")] {
            minimax.reset();
            minimax.control().set_generation(generation).unwrap();
            let hive = Hive::start(&[&minimax], &[FAST, keep]);
            hive.ask("minimax", "hello").await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            let state = minimax.control().state();
            assert_eq!((state.conversations, state.deleted), (1, 0), "{keep:?}");
        }
        minimax.reset();
    }
}
