//! MiniMax's accounts: prepared, renewed, taken over; and what is read apart from turns.

use std::time::Duration;

use crate::{
    minimax::{count, hive, reset},
    support::{Hive, SOON, assert_no_violations, settled, simulator},
};

#[actix_web::test]
async fn an_account_is_prepared_once_and_its_id_asked_for_once() {
    let minimax = simulator("minimax", 3);
    for (account, asked) in [(1, 1), (2, 0), (3, 1)] {
        reset(&minimax).await;
        minimax.control().set_generation("cloud").unwrap();
        let hive = hive(&minimax, account, &[("MINIMAX_MAX_CONCURRENCY", "5")]);
        let asks = (0..5).map(|_| hive.ask("minimax", "echo:fine"));
        let replies = futures_util::future::join_all(asks).await;
        for reply in &replies {
            assert_eq!(reply.status, 200, "{account}: {}", reply.text);
        }
        assert_eq!(hive.ask("minimax", "echo:fine").await.content(), "fine");
        assert_eq!(count(&minimax.control(), "user_info"), asked, "{account}");
        for step in ["config", "agent", "connections"] {
            assert_eq!(count(&minimax.control(), step), 1, "{account} {step}");
        }
        settled(&minimax.control(), SOON).await;
        assert_no_violations(&minimax.control());
    }
    // Only the other form of the signature is good.
    reset(&minimax).await;
    minimax.control().fault("op_ticket", 0).unwrap();
    let hive = hive(&minimax, 1, &[]);
    assert_eq!(hive.ask("minimax", "echo:fine").await.content(), "fine");
    assert_eq!(count(&minimax.control(), "user_info"), 2);
}

#[actix_web::test]
async fn a_token_near_its_end_is_renewed_once_and_kept() {
    let minimax = simulator("minimax", 3);
    let folder = std::env::temp_dir().join(format!("hive2api-minimax-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(".env.tokens").to_string_lossy().into_owned();
    // Account 3 has five days left.
    let kept = [("TOKENS_FILE", file.as_str())];
    let first = hive(&minimax, 3, &kept);
    for _ in 0..3 {
        let reply = first.ask("minimax", "echo:fine").await;
        assert_eq!(reply.content(), "fine", "{}", reply.text);
    }
    assert_eq!(count(&minimax.control(), "renewal"), 1);
    drop(first);
    // The next worker goes on with the new one.
    let second = hive(&minimax, 3, &kept);
    assert_eq!(second.ask("minimax", "echo:fine").await.content(), "fine");
    assert_eq!(count(&minimax.control(), "renewal"), 1);
    settled(&minimax.control(), SOON).await;
    assert_no_violations(&minimax.control());
    std::fs::remove_dir_all(&folder).unwrap();
    // A renewal that fails costs nobody a token that holds, and is not tried with every turn.
    reset(&minimax).await;
    minimax.control().fault("renewal_refused", 0).unwrap();
    let hive = hive(&minimax, 3, &[]);
    for _ in 0..3 {
        assert_eq!(hive.ask("minimax", "echo:fine").await.content(), "fine");
    }
    println!("renewals: {}", count(&minimax.control(), "renewal"));
}

#[actix_web::test]
async fn the_services_own_list_is_read_apart_from_turns() {
    let minimax = simulator("minimax", 1);
    minimax.control().set_generation("cloud").unwrap();
    let hive = Hive::start(&[&minimax], &[]);
    let provider = hive.app.registry.providers();
    let provider = provider.iter().find(|it| it.name() == "minimax").unwrap();
    minimax.control().fault("config_refused", 0).unwrap();
    provider.upkeep(messenger(), 0).await;
    assert!(provider.discovered().is_empty());
    minimax.control().clear_faults();
    provider.upkeep(messenger(), 0).await;
    let found: Vec<String> = provider.discovered().into_iter().map(|it| it.id).collect();
    println!("{found:?}");
    let listed = hive.get("/v1/models").await.text;
    for id in &found {
        assert!(listed.contains(id.as_str()), "{id}");
        assert_eq!(hive.ask(id, "echo:fine").await.content(), "fine", "{id}");
    }
    settled(&minimax.control(), SOON).await;
    assert_no_violations(&minimax.control());
}

fn messenger() -> hive2api_worker::providers::Messenger {
    use hive2api_worker::upstream::{Client, Proxies, Timeouts};
    let timeouts = Timeouts {
        connect: Duration::from_secs(2),
        stall: Duration::from_secs(5),
    };
    let client = Client::with_proxies(timeouts, std::sync::Arc::new(Proxies::default()));
    hive2api_worker::providers::Messenger::new("minimax", client)
}

#[actix_web::test]
async fn the_stream_host_may_be_away() {
    let minimax = simulator("minimax", 1);
    minimax.control().set_generation("cloud").unwrap();
    let hive = Hive::start(
        &[&minimax],
        &[("MINIMAX_STREAM_BASE_URL", "http://127.0.0.1:9")],
    );
    assert_eq!(hive.ask("minimax", "echo:fine").await.content(), "fine");
    settled(&minimax.control(), SOON).await;
    assert_no_violations(&minimax.control());
}

#[actix_web::test]
async fn another_account_takes_over() {
    let minimax = simulator("minimax", 2);
    minimax.control().set_generation("cloud").unwrap();
    for fault in [
        "busy",
        "rate_limited",
        "quota_2056",
        "odd_user",
        "verification",
    ] {
        reset(&minimax).await;
        let hive = Hive::start(&[&minimax], &[]);
        minimax.control().fault(fault, 1).unwrap();
        assert_eq!(
            hive.ask("minimax", "echo:fine").await.content(),
            "fine",
            "{fault}"
        );
        // Before this worker is gone, who cleans up.
        settled(&minimax.control(), Duration::from_secs(8)).await;
    }
    assert_no_violations(&minimax.control());
}

#[actix_web::test]
async fn mistakes_in_the_variables_are_named() {
    let names = [
        ("MINIMAX_BASE_URL", "minimax"),
        ("MINIMAX_STREAM_BASE_URL", "ftp://x"),
        ("MINIMAX_PROTOCOL", "carrier pigeon"),
        ("MINIMAX_DELETE_CHAT", "perhaps"),
        ("MINIMAX_MAX_CONCURRENCY", "0"),
        ("MINIMAX_POLL_INTERVAL_MS", "soon"),
        ("MINIMAX_TIMEOUT_S", "-1"),
        ("MINIMAX_STALL_TIMEOUT_S", "x"),
        ("MINIMAX_TOKEN", ","),
    ];
    let vars = hive2api_worker::settings::Vars::new(
        names.into_iter().chain([("ALLOW_ANONYMOUS", "true")]),
    );
    let mut problems = hive2api_worker::settings::Problems::default();
    let settings = hive2api_worker::settings::Settings::read(&vars, &mut problems);
    hive2api_worker::providers::Registry::new(&vars, &settings, &mut problems);
    for (name, _) in names {
        assert!(
            problems.errors.iter().any(|problem| problem.contains(name)),
            "{name} in {problems:?}"
        );
    }
}
