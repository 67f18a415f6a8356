use super::*;
use crate::{
    chat::FinishReason,
    providers::Listener as _,
    settings::{Problems, Settings, Vars},
};

const SECRET: &str = "a most private answer";

fn settings(more: &[(&str, &str)]) -> Settings {
    let vars = [("API_MASTER_KEY", "sk-1"), ("CACHE_TTL", "60")];
    let (vars, mut problems) = (
        Vars::new(vars.iter().chain(more).copied()),
        Problems::default(),
    );
    let settings = Settings::read(&vars, &mut problems);
    assert!(problems.errors.is_empty(), "{problems:?}");
    settings
}

fn text(text: &str) -> ChatEvent {
    ChatEvent::Text(text.to_owned())
}

fn end(reason: FinishReason) -> ChatEvent {
    ChatEvent::Finish(reason)
}

fn served() -> Served {
    Served {
        provider: Some("qwen".into()),
        account: Some(1),
        model: Some("qwen-plus".into()),
        is_continued: false,
    }
}

fn record(answers: &Arc<Answers>, key: &str, events: &[ChatEvent]) {
    let mut recorder = Box::new(Recorder::new(Arc::clone(answers), key.to_owned()));
    for event in events {
        recorder.heard(std::slice::from_ref(event));
    }
    recorder.complete(served());
}

/// What another worker finds, as soon as it is written.
async fn elsewhere(settings: &Settings, store: &Store, key: &str) -> Option<Arc<Answer>> {
    for _ in 0..100 {
        let other = Answers::new(settings, store.clone());
        if let Some(found) = other.find(key).await {
            return Some(found);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    None
}

#[actix_web::test]
async fn an_answer_is_given_again_here_and_elsewhere_and_nobody_reads_it() {
    let (settings, store) = (settings(&[]), Store::in_memory());
    let answers = Answers::new(&settings, store.clone());
    let events = [
        ChatEvent::Reasoning("hm".to_owned()),
        text(SECRET),
        text("!"),
        end(FinishReason::Stop),
    ];
    record(&answers, "k", &events);
    let here = answers.find("k").await.unwrap();
    assert_eq!(here.events(), events);
    let there = elsewhere(&settings, &store, "k").await.unwrap();
    assert_eq!(there, here);
    assert_eq!(there.given_by().provider.as_deref(), Some("qwen"));
    assert_eq!(there.given_by().account, None);
    assert!(answers.find("other").await.is_none());
    let kept = store.get(Space::Answers, "k").await.unwrap().unwrap().value;
    let is_plain = kept
        .windows(SECRET.len())
        .any(|part| part == SECRET.as_bytes());
    assert!(!is_plain && !kept.windows(4).any(|part| part == b"qwen"));
    // Whoever has another secret has nothing of it.
    let stranger = self::settings(&[("STORE_SECRET", "another")]);
    assert!(Answers::new(&stranger, store).find("k").await.is_none());
}

#[actix_web::test]
async fn only_whole_answers_are_kept() {
    let answers = Answers::new(&settings(&[]), Store::in_memory());
    let long = "x".repeat(MOST_BYTES / 3);
    let picture = || ChatEvent::Image {
        url: "https://example.com/a.png".to_owned(),
    };
    for (key, events) in [
        ("cut", vec![text("a"), end(FinishReason::Length)]),
        (
            "moderated",
            vec![text("a"), end(FinishReason::ContentFilter)],
        ),
        ("without an end", vec![text("a")]),
        ("without words", vec![text(" "), end(FinishReason::Stop)]),
        (
            "picture",
            vec![text("a"), picture(), end(FinishReason::Stop)],
        ),
        (
            "unknown",
            vec![text("a"), ChatEvent::Unknown("x"), end(FinishReason::Stop)],
        ),
        (
            "long",
            vec![
                text(&long),
                text(&long),
                text(&long),
                end(FinishReason::Stop),
            ],
        ),
    ] {
        record(&answers, key, &events);
        assert!(answers.find(key).await.is_none(), "{key}");
    }
    // One that is never complete, since it failed or its caller has gone.
    let mut left = Recorder::new(Arc::clone(&answers), "left".to_owned());
    left.heard(&[text("a"), end(FinishReason::Stop)]);
    drop(left);
    assert!(answers.find("left").await.is_none());
    record(&answers, "good", &[text("a"), end(FinishReason::ToolCalls)]);
    assert!(answers.find("good").await.is_some());
}

#[actix_web::test]
async fn where_nothing_is_kept_nothing_is_found() {
    let store = Store::in_memory();
    let off = Answers::new(&settings(&[("CACHE_TTL", "0")]), store.clone());
    assert!(!off.are_kept());
    record(&off, "k", &[text("a"), end(FinishReason::Stop)]);
    assert!(off.find("k").await.is_none());
    assert!(store.get(Space::Answers, "k").await.unwrap().is_none());
}
