//! Kimi's tokens: pasted, renewed, kept.

use std::time::Duration;

use crate::{
    kimi::{TRANSPORTS, count, hive, reset},
    support::{SOON, assert_no_violations, settled, simulator},
};

#[actix_web::test]
async fn one_refresh_serves_all_turns_that_wait_for_it() {
    let kimi = simulator("kimi", 2);
    let hive = hive(&kimi, 2, &[]);
    let turns = |count: usize| {
        let asks = (0..count).map(|_| hive.ask("kimi", "echo:fine"));
        futures_util::future::join_all(asks)
    };
    assert!(
        turns(10)
            .await
            .iter()
            .all(|reply| reply.content() == "fine")
    );
    assert_eq!(
        count(&kimi.control(), "refresh"),
        1,
        "{:#?}",
        kimi.control().calls("refresh")
    );
    // The access token is good for later turns, and is renewed once when it is refused.
    kimi.control().fault("unauthenticated", 1).unwrap();
    assert_eq!(hive.ask("kimi", "echo:fine").await.content(), "fine");
    assert_eq!(count(&kimi.control(), "refresh"), 2);
    kimi.control().fault("trailer_unauthenticated", 1).unwrap();
    assert!(
        turns(10)
            .await
            .iter()
            .all(|reply| reply.content() == "fine")
    );
    assert_eq!(count(&kimi.control(), "refresh"), 3);
    // Refused twice in a turn: the credential is what is wrong.
    kimi.control().fault("unauthenticated", 2).unwrap();
    assert_eq!(
        hive.ask("kimi", "x").await.error().2,
        "upstream_auth_expired"
    );
    settled(&kimi.control(), SOON).await;
    assert_no_violations(&kimi.control());
}

#[actix_web::test]
async fn a_token_about_to_end_is_renewed_before_each_turn() {
    let kimi = simulator("kimi", 2);
    for transport in TRANSPORTS {
        reset(&kimi).await;
        let hive = hive(&kimi, 2, &[("KIMI_TRANSPORT", transport)]);
        kimi.control().fault("refresh_short_lived", 0).unwrap();
        for round in 1..=3 {
            assert_eq!(hive.ask("kimi", "echo:fine").await.content(), "fine");
            assert_eq!(count(&kimi.control(), "refresh"), round);
        }
        // Rotation is followed, however many turns meet the same end.
        let asks = (0..10).map(|_| hive.ask("kimi", "echo:fine"));
        let replies = futures_util::future::join_all(asks).await;
        assert!(replies.iter().all(|reply| reply.content() == "fine"));
        // Every refresh ends the older access tokens: a deletion that met one is made again with the next.
        settled(&kimi.control(), Duration::from_secs(8)).await;
        let violations = kimi.control().state().violations;
        assert!(
            violations.iter().all(|it| it.starts_with("delete:")),
            "{violations:#?}"
        );
    }
}

#[actix_web::test]
async fn refreshes_the_old_way_where_the_new_one_is_gone() {
    let kimi = simulator("kimi", 2);
    let alone = hive(&kimi, 2, &[]);
    kimi.control().fault("refresh_gone", 0).unwrap();
    assert_eq!(alone.ask("kimi", "echo:fine").await.content(), "fine");
    reset(&kimi).await;
    // A host that cannot be reached counts as gone.
    let unreachable = hive(&kimi, 2, &[("KIMI_AUTH_BASE_URL", "http://127.0.0.1:9")]);
    assert_eq!(unreachable.ask("kimi", "echo:fine").await.content(), "fine");
    for (faults, asks) in [
        (&["refresh_refused"][..], 0),
        (&["refresh_gone", "rest_refresh_refused"], 0),
    ] {
        reset(&kimi).await;
        for fault in faults {
            kimi.control().fault(fault, 0).unwrap();
        }
        let refused = hive(&kimi, 2, &[]);
        let reply = refused.ask("kimi", "x").await;
        assert_eq!(reply.error().2, "upstream_auth_expired", "{}", reply.text);
        assert!(reply.text.contains("KIMI_TOKEN"), "{}", reply.text);
        assert_eq!(count(&kimi.control(), "ask"), asks);
    }
    assert_no_violations(&kimi.control());
}

#[actix_web::test]
async fn a_renewed_file_keeps_the_rotated_tokens() {
    let kimi = simulator("kimi", 2);
    let env = kimi.env();
    let token = env
        .iter()
        .find(|(name, _)| name == "KIMI_TOKEN_2")
        .unwrap()
        .1
        .clone();
    let hive = hive(&kimi, 2, &[]);
    assert_eq!(hive.ask("kimi", "echo:fine").await.status, 200);
    // The same token under another number: the pasted one has been rotated away, so only memory can help.
    let vars = hive2api_worker::settings::Vars::new([("KIMI_TOKEN_5", token)]);
    hive.app.registry.renew(&vars).unwrap();
    assert_eq!(hive.ask("kimi", "echo:fine").await.status, 200);
    assert_eq!(count(&kimi.control(), "refresh"), 1);
    kimi.control().fault("unauthenticated", 1).unwrap();
    assert_eq!(hive.ask("kimi", "echo:fine").await.status, 200);
    assert_eq!(count(&kimi.control(), "refresh"), 2);
    assert_no_violations(&kimi.control());
}

#[actix_web::test]
async fn a_token_without_a_name_asks_whose_it_is_once() {
    let kimi = simulator("kimi", 3);
    let nameless = hive(&kimi, 3, &[]);
    for _ in 0..3 {
        let reply = nameless.ask("kimi", "echo:fine").await;
        assert_eq!(reply.content(), "fine", "{}", reply.text);
    }
    assert!(count(&kimi.control(), "user") <= 1);
    assert!(count(&kimi.control(), "register") <= 1);
    assert_no_violations(&kimi.control());
    reset(&kimi).await;
    // The announcement is nobody's business.
    kimi.control().fault("register_refused", 0).unwrap();
    let other = hive(&kimi, 1, &[]);
    assert_eq!(other.ask("kimi", "echo:fine").await.content(), "fine");
}

#[actix_web::test]
async fn mistakes_in_the_variables_are_named() {
    let vars = hive2api_worker::settings::Vars::new([
        ("KIMI_TRANSPORT", "carrier pigeon"),
        ("KIMI_WS_BASE_URL", "ftp://x"),
        ("KIMI_BASE_URL", "kimi"),
        ("KIMI_KEEP_CHATS", "perhaps"),
        ("KIMI_TOKEN", ","),
        ("ALLOW_ANONYMOUS", "true"),
    ]);
    let mut problems = hive2api_worker::settings::Problems::default();
    let settings = hive2api_worker::settings::Settings::read(&vars, &mut problems);
    hive2api_worker::providers::Registry::new(&vars, &settings, &mut problems);
    for name in [
        "KIMI_TRANSPORT",
        "KIMI_WS_BASE_URL",
        "KIMI_BASE_URL",
        "KIMI_KEEP_CHATS",
        "KIMI_TOKEN",
    ] {
        assert!(
            problems.errors.iter().any(|problem| problem.contains(name)),
            "{name} in {problems:?}"
        );
    }
}

#[actix_web::test]
async fn a_rotated_token_survives_a_restart() {
    let kimi = simulator("kimi", 2);
    let folder = std::env::temp_dir().join(format!("hive2api-kimi-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(".env.tokens").to_string_lossy().into_owned();
    // Each worker knows the pasted token alone, which the first refresh has used up.
    for refreshes in 1..=3 {
        let hive = hive(&kimi, 2, &[("TOKENS_FILE", &file)]);
        assert_eq!(hive.ask("kimi", "echo:fine").await.content(), "fine");
        assert_eq!(count(&kimi.control(), "refresh"), refreshes);
    }
    settled(&kimi.control(), SOON).await;
    assert_no_violations(&kimi.control());
    // Two at once share what either has rotated: the one whose token is void meanwhile takes the newer one.
    let (one, other) = (
        hive(&kimi, 2, &[("TOKENS_FILE", &file)]),
        hive(&kimi, 2, &[("TOKENS_FILE", &file)]),
    );
    for hive in [&one, &other] {
        assert_eq!(hive.ask("kimi", "echo:fine").await.content(), "fine");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
