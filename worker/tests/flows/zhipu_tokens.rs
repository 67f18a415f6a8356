//! Zhipu's tokens: pasted, renewed, kept.

use crate::{
    support::{Hive, Reply, SOON, assert_no_violations, settled, simulator},
    zhipu::{ERAS, count, reset},
};

#[actix_web::test]
async fn one_refresh_serves_all_turns_that_wait_for_it() {
    let zhipu = simulator("zhipu", 1);
    for era in ERAS {
        reset(&zhipu).await;
        zhipu.control().set_generation(era).unwrap();
        let hive = Hive::start(&[&zhipu], &[]);
        let asks = (0..5).map(|_| hive.ask("zhipu", "echo:fine"));
        let replies = futures_util::future::join_all(asks).await;
        assert!(replies.iter().all(|reply| reply.content() == "fine"));
        assert_eq!(count(&zhipu.control(), "refresh"), 1, "{era}");
        // Renewed once when it is refused, with the newest refresh token.
        for refreshes in 2..=4 {
            zhipu.control().fault("access_expired", 1).unwrap();
            assert_eq!(hive.ask("zhipu", "echo:fine").await.content(), "fine");
            assert_eq!(count(&zhipu.control(), "refresh"), refreshes, "{era}");
        }
        // Refused twice in a turn: the credential is what is wrong.
        zhipu.control().fault("access_expired", 2).unwrap();
        let reply = hive.ask("zhipu", "x").await;
        assert_eq!(reply.error().2, "upstream_auth_expired");
        settled(&zhipu.control(), SOON).await;
        assert_no_violations(&zhipu.control());
    }
}

#[actix_web::test]
async fn rotated_tokens_survive_a_restart_and_the_configured_one_is_the_fallback() {
    let zhipu = simulator("zhipu", 1);
    zhipu.control().set_generation("increments").unwrap();
    let folder = std::env::temp_dir().join(format!("hive2api-zhipu-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(".env.tokens").to_string_lossy().into_owned();
    // Each worker knows the pasted token alone, which the first refresh has used up.
    for refreshes in 1..=3 {
        let hive = Hive::start(&[&zhipu], &[("TOKENS_FILE", &file)]);
        assert_eq!(hive.ask("zhipu", "echo:fine").await.content(), "fine");
        assert_eq!(count(&zhipu.control(), "refresh"), refreshes);
        settled(&zhipu.control(), SOON).await;
    }
    assert_no_violations(&zhipu.control());
    // The newest one is void, the pasted one good again.
    let hive = Hive::start(&[&zhipu], &[("TOKENS_FILE", &file)]);
    zhipu.control().fault("refresh_rolled_back", 1).unwrap();
    assert_eq!(hive.ask("zhipu", "echo:fine").await.content(), "fine");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[actix_web::test]
async fn a_token_about_to_end_is_renewed_before_each_turn() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[]);
    zhipu.control().fault("refresh_short_lived", 0).unwrap();
    for round in 1..=3 {
        assert_eq!(hive.ask("zhipu", "echo:fine").await.content(), "fine");
        assert_eq!(count(&zhipu.control(), "refresh"), round);
    }
}

#[actix_web::test]
async fn pasted_in_any_shape() {
    let zhipu = simulator("zhipu", 1);
    let env = zhipu.env();
    let token = &env
        .iter()
        .find(|(name, _)| name == "ZHIPU_TOKEN")
        .unwrap()
        .1;
    zhipu.control().set_generation("cumulative").unwrap();
    for pasted in [
        format!("\"{token}\""),
        format!("Bearer {token}"),
        format!("acw_tc=1; chatglm_refresh_token={token}; x=y"),
        format!("Cookie: chatglm_refresh_token={token}"),
    ] {
        let hive = Hive::start(&[&zhipu], &[("ZHIPU_TOKEN", &pasted)]);
        let reply: Reply = hive.ask("zhipu", "echo:fine").await;
        assert_eq!(reply.content(), "fine");
    }
    settled(&zhipu.control(), SOON).await;
    assert_no_violations(&zhipu.control());
}

#[actix_web::test]
async fn mistakes_in_the_variables_are_named() {
    let vars = hive2api_worker::settings::Vars::new([
        ("ZHIPU_BASE_URL", "zhipu"),
        ("ZHIPU_DELETE_CONVERSATIONS", "perhaps"),
        ("ZHIPU_MAX_CONCURRENCY", "0"),
        ("ZHIPU_TOKEN", ","),
        ("ALLOW_ANONYMOUS", "true"),
    ]);
    let mut problems = hive2api_worker::settings::Problems::default();
    let settings = hive2api_worker::settings::Settings::read(&vars, &mut problems);
    hive2api_worker::providers::Registry::new(&vars, &settings, &mut problems);
    for name in [
        "ZHIPU_BASE_URL",
        "ZHIPU_DELETE_CONVERSATIONS",
        "ZHIPU_MAX_CONCURRENCY",
        "ZHIPU_TOKEN",
    ] {
        assert!(
            problems.errors.iter().any(|problem| problem.contains(name)),
            "{name} in {problems:?}"
        );
    }
}
