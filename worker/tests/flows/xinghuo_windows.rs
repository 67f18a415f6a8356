//! Xinghuo's windows: opened, lost, shared by nobody, deleted, wire/xinghuo.md sections 4.2 and 8.

use std::{collections::BTreeSet, time::Duration};

use crate::support::{
    Hive, SOON, assert_no_violations, fifty_streams_do_not_mix, question, settled, simulator,
};

#[actix_web::test]
async fn a_lost_window_is_replaced_once_also_when_that_is_refused_for_a_while() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[]);
    xinghuo.control().fault("belong_error", 0).unwrap();
    assert_eq!(
        hive.ask("spark", "x").await.error().2,
        "upstream_conversation_lost"
    );
    assert_eq!(xinghuo.control().calls("ask").len(), 2);
    xinghuo.reset();
    xinghuo.control().fault("belong_error", 1).unwrap();
    let reply = async { hive.ask("spark", "echo:fine").await };
    let refuse = async {
        while xinghuo.control().calls("ask").is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        xinghuo.control().fault("create_too_fast", 1).unwrap();
    };
    let (reply, ()) = futures_util::future::join(reply, refuse).await;
    assert_eq!(reply.content(), "fine");
    settled(&xinghuo.control(), SOON).await;
}

#[actix_web::test]
async fn a_client_that_leaves_stops_the_upstream_call_and_its_window_is_deleted() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[]);
    hive.stream_and_leave("spark-pro", "pace:20 count:10000")
        .await;
    settled(&xinghuo.control(), SOON).await;
    let call = &xinghuo.control().calls("ask")[0];
    assert!(call.aborted, "{call:?}");
    assert_eq!(xinghuo.control().state().deleted, 1);
    // Also while the service is silent.
    xinghuo.reset();
    let hive = Hive::start(&[&xinghuo], &[("STALL_TIMEOUT", "60")]);
    xinghuo.control().fault("hang_after_text", 1).unwrap();
    hive.stream_and_leave("spark-pro", "pace:20 count:10000")
        .await;
    settled(&xinghuo.control(), SOON).await;
}

#[actix_web::test]
async fn a_window_that_was_never_asked_in_is_deleted_before_the_next_is_opened() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[("STALL_TIMEOUT", "60")]);
    xinghuo.control().fault("hang_before_headers", 1).unwrap();
    let hanging = hive
        .request("POST", "/v1/chat/completions")
        .send_body(question("spark", "first").to_string());
    let leaves = tokio::time::timeout(Duration::from_millis(300), hanging);
    let second = async {
        while xinghuo.control().calls("ask").is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        hive.ask("spark", "echo:second").await
    };
    let (left, second) = futures_util::future::join(leaves, second).await;
    assert!(left.is_err());
    assert_eq!(second.content(), "second");
    settled(&xinghuo.control(), SOON).await;
    let steps: Vec<String> = xinghuo
        .control()
        .log()
        .into_iter()
        .map(|call| call.step)
        .collect();
    assert_eq!(
        steps,
        ["create", "ask", "delete", "create", "ask", "delete"]
    );
    assert_no_violations(&xinghuo.control());
}

#[actix_web::test]
async fn a_refused_deletion_hurts_nobody() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[]);
    xinghuo.control().fault("delete_refused", 1).unwrap();
    assert_eq!(hive.ask("spark-pro", "echo:a").await.content(), "a");
    assert_eq!(hive.ask("spark-pro", "echo:b").await.content(), "b");
}

#[actix_web::test]
async fn parallel_questions_do_not_share_a_window() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[("XINGHUO_MAX_CONCURRENCY", "50")]);
    fifty_streams_do_not_mix(&hive, "spark-pro", "pace:2").await;
    let windows: BTreeSet<_> = xinghuo
        .control()
        .calls("ask")
        .into_iter()
        .map(|call| call.conversation)
        .collect();
    assert_eq!(windows.len(), 50);
    settled(&xinghuo.control(), SOON).await;
    assert_no_violations(&xinghuo.control());
}

/// Two workers with one account know nothing of each other's windows; the service's refusal parts them.
#[actix_web::test]
async fn two_workers_with_one_account_both_get_their_answer() {
    let xinghuo = simulator("xinghuo", 1);
    let hives = [Hive::start(&[&xinghuo], &[]), Hive::start(&[&xinghuo], &[])];
    for round in 0..10 {
        let asks = hives.iter().enumerate().map(|(at, hive)| async move {
            let text = format!("{round} of {at}");
            let ask = format!("pace:5 echo:{text}");
            (hive.ask("spark", &ask).await.content(), text)
        });
        for (said, text) in futures_util::future::join_all(asks).await {
            assert_eq!(said, text);
        }
    }
    settled(&xinghuo.control(), SOON).await;
    // None of them deleted the other's window.
    let deletions = xinghuo.control().calls("delete");
    assert!(deletions.iter().all(|call| call.ok), "{deletions:#?}");
    assert_eq!(deletions.len(), 20);
}
