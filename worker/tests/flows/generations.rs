//! Each generation of a service alone, and a service that changes its generation while the worker runs. What each of them
//! demands is in the simulator's head; what is asked here is that the user sees none of it.

use hive2api_simulators::{self as simulate, Options, Running};

use crate::support::{Hive, SOON, assert_no_violations, settled};

const TEXT: &str = "你好👋🏽 data: [DONE]\n\n<end> ok";

fn speaking(name: &str, generation: &str) -> Running {
    let options = Options {
        accounts: 1,
        generation: generation.to_owned(),
        ..Options::default()
    };
    simulate::start(name, options).unwrap()
}

/// Asks in one piece and streamed, and waits until nothing is left upstream.
async fn answers(hive: &Hive, service: &Running, model: &str) {
    let generation = service.control().generation();
    let ask = format!("echo:{TEXT}");
    let whole = hive.ask(model, &ask).await;
    assert_eq!(whole.status, 200, "{generation}: {}", whole.text);
    assert_eq!(whole.content(), TEXT, "{generation}: {}", whole.text);
    let streamed = hive.stream(model, &ask).await;
    assert_eq!(
        streamed.streamed("content"),
        TEXT,
        "{generation}: {}",
        streamed.text
    );
    assert!(streamed.is_done(), "{generation}: {}", streamed.text);
    settled(&service.control(), SOON).await;
}

/// The credentials that any generation of a service wants.
fn credentials(name: &str) -> Vec<(String, String)> {
    let of = |generation| speaking(name, generation).env();
    let all = ["oldest", "newest", "both"].into_iter().flat_map(of);
    all.filter(|(name, _)| !name.ends_with("_BASE_URL"))
        .collect()
}

/// Every generation alone with a worker of its own, and then all of them in turn under one worker.
async fn each_and_in_turn(name: &str, model: &str) {
    let known = simulate::start(name, Options::default()).unwrap();
    let known = known.control().known_generations();
    assert!(known.len() > 1, "{name}: {known:?}");
    for generation in known {
        let service = speaking(name, generation);
        let hive = Hive::start(&[&service], &[]);
        answers(&hive, &service, model).await;
        assert_no_violations(&service.control());
    }
    let more = credentials(name);
    let more: Vec<_> = more
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    for first in ["both", "oldest", "newest"] {
        let service = speaking(name, first);
        let hive = Hive::start(&[&service], &more);
        answers(&hive, &service, model).await;
        for generation in known.iter().chain(known.iter().rev()) {
            service.control().set_generation(generation).unwrap();
            answers(&hive, &service, model).await;
        }
    }
}

#[actix_web::test]
async fn kimi_in_every_generation() {
    each_and_in_turn("kimi", "kimi").await;
}

#[actix_web::test]
async fn xinghuo_in_every_generation() {
    each_and_in_turn("xinghuo", "spark").await;
}

#[actix_web::test]
async fn langfast_in_every_generation() {
    each_and_in_turn("langfast", "gpt-4o-mini").await;
}

#[actix_web::test]
async fn qwen_in_every_generation() {
    each_and_in_turn("qwen", "qwen3-max").await;
}

#[actix_web::test]
async fn deepseek_in_every_generation() {
    each_and_in_turn("deepseek", "deepseek-v4-flash").await;
}
