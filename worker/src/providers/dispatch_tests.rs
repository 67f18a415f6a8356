use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::testing::{Fake, Service, Step, all, cleaned, fails, job, question, route, told};
use super::*;
use crate::{
    accounts::{Accounts as _, Choice},
    chat::{ChatEvent, FinishReason, emulate::nonce::Nonce},
    providers::Run,
    upstream::Request,
};

async fn ask(
    job: &Job,
    providers: &[&Arc<Fake>],
    members: &str,
) -> (Vec<ChatEvent>, Result<(), ProviderError>) {
    let mut run = Run::new(job.clone(), route(providers), question(members));
    all(&mut run).await
}

fn fake(name: &'static str, accounts: usize, scripts: Vec<Vec<Step>>) -> Arc<Fake> {
    Arc::new(Fake::new(name, accounts).saying(scripts))
}

fn stop(text: &str) -> (String, Option<FinishReason>) {
    (text.to_owned(), Some(FinishReason::Stop))
}

/// As [`stop`], where the first stop text was met.
fn met(text: &str) -> (String, Option<FinishReason>) {
    (text.to_owned(), Some(FinishReason::StopText(0)))
}

/// What a second question does: the same account, another turn, and one answer for the client.
#[actix_web::test]
async fn a_second_question_goes_to_the_same_account_in_a_turn_of_its_own() {
    const TOOLS: &str = r#","tools":[{"type":"function","function":{"name":"ping"}}]"#;
    let service = Service::new(&[200]);
    let job = job(&[]);
    let mark = Nonce::of(&job.marks, &job.client_name, &question(TOOLS));
    let says = |words: &str, tool: &str| {
        let text = format!("{words} <call-{mark} name=\"{tool}\"></call-{mark}>");
        Step::Event(ChatEvent::Text(text))
    };
    let mut a = Fake::new("a", 2).saying([
        vec![Step::Opens("one"), says("Hm.", "gone")],
        vec![Step::Opens("two"), says("Sorry.", "ping")],
    ]);
    a.base_url = service.base_url.clone();
    let a = Arc::new(a);
    let (events, result) = ask(&job, &[&a], TOOLS).await;
    assert!(result.is_ok(), "{result:?}");
    let called: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ChatEvent::ToolCall(call) => call.name.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(called, ["ping"]);
    let end = Some(FinishReason::ToolCalls);
    assert_eq!(told(&events), ("Hm.".to_owned(), end));
    let asked = a.asked();
    assert!(asked.len() == 2 && asked[0] == asked[1], "{asked:?}");
    assert_eq!(a.pool().census().in_flight, 0);
    cleaned(job.janitor).await;
    let mut calls = service.calls();
    calls.sort();
    assert_eq!(calls, ["DELETE /one", "DELETE /two"]);
}

#[actix_web::test]
async fn an_accounts_fault_is_another_accounts_chance() {
    for kind in [Kind::AuthExpired, Kind::RateLimited, Kind::Verification] {
        let a = fake("a", 3, vec![vec![fails(kind)], vec![Step::Text("hi")]]);
        let (events, result) = ask(&job(&[]), &[&a], "").await;
        assert!(result.is_ok(), "{kind:?}: {result:?}");
        assert_eq!(told(&events), stop("hi"));
        let asked = a.asked();
        assert!(asked.len() == 2 && asked[0] != asked[1], "{asked:?}");
    }
}

#[actix_web::test]
async fn no_account_is_asked_twice_for_a_fault_of_its_own() {
    let scripts = std::iter::repeat_with(|| vec![fails(Kind::RateLimited)]);
    let a = fake("a", 3, scripts.take(9).collect());
    let (_, result) = ask(&job(&[]), &[&a], "").await;
    let error = result.unwrap_err();
    assert_eq!(
        (error.kind, error.provider.as_deref()),
        (Kind::RateLimited, Some("a"))
    );
    assert!(error.retry_after.is_some(), "the account's own rest");
    let mut asked = a.asked();
    asked.sort_unstable();
    assert_eq!(asked, [1, 2, 3]);
}

#[actix_web::test]
async fn a_passing_fault_waits_on_the_same_account() {
    let scripts = vec![
        vec![fails(Kind::Unavailable)],
        vec![fails(Kind::Unavailable)],
        vec![Step::Text("hi")],
    ];
    let a = fake("a", 1, scripts);
    let job = job(&[]);
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let (events, _) = ask(&job, &[&a], "").await;
    assert_eq!(told(&events), stop("hi"));
    assert_eq!(a.asked(), [1, 1, 1]);
    let waited = began.elapsed().as_millis();
    assert!((270..=335).contains(&waited), "{waited}");
}

/// The one that the request is bound to, or whose fault it is not.
#[actix_web::test]
async fn another_account_is_not_always_the_answer() {
    let mut a = Fake::new("a", 2).saying([vec![fails(Kind::AuthExpired)]]);
    a.only = Some(2);
    let a = Arc::new(a);
    assert_eq!(
        ask(&job(&[]), &[&a], "").await.1.unwrap_err().kind,
        Kind::AuthExpired
    );
    assert_eq!(a.asked(), [2]);
    let a = fake("a", 2, vec![vec![Step::Absolves, fails(Kind::AuthExpired)]]);
    let error = ask(&job(&[]), &[&a], "").await.1.unwrap_err();
    assert_eq!((error.kind, error.account), (Kind::AuthExpired, None));
    assert_eq!((a.asked().len(), a.pool().census().ready), (1, 2));
}

#[actix_web::test]
async fn candidates_come_in_their_order() {
    let candidates = |first: Kind| {
        let a = fake("a", 1, vec![vec![fails(first)]]);
        let b = fake("b", 1, vec![vec![Step::Text("b")]]);
        let c = fake("c", 1, Vec::new());
        (a, b, c)
    };
    let (a, b, c) = candidates(Kind::Protocol);
    let (events, result) = ask(&job(&[]), &[&a, &b, &c], "").await;
    assert!(result.is_ok());
    assert_eq!(told(&events), stop("b"));
    assert_eq!(
        [a.asked().len(), b.asked().len(), c.asked().len()],
        [1, 1, 0]
    );
    // Nobody answers a question that is wrong.
    for kind in [Kind::BadRequest, Kind::Moderated, Kind::ContextLength] {
        let (a, b, _) = candidates(kind);
        let (_, result) = ask(&job(&[]), &[&a, &b], "").await;
        assert_eq!(result.unwrap_err().kind, kind);
        assert_eq!(b.asked().len(), 0);
    }
}

#[actix_web::test]
async fn the_first_candidates_error_is_told_unless_it_is_not_there() {
    let nobody = fake("nobody", 0, Vec::new());
    let a = fake("a", 1, vec![vec![fails(Kind::Protocol)]]);
    let b = fake("b", 1, vec![vec![fails(Kind::QuotaSpent)]]);
    let (_, result) = ask(&job(&[]), &[&nobody, &a, &b], "").await;
    let error = result.unwrap_err();
    assert_eq!(
        (error.kind, error.provider.as_deref()),
        (Kind::Protocol, Some("a"))
    );
    let (_, result) = ask(&job(&[]), &[&nobody], "").await;
    let error = result.unwrap_err();
    assert_eq!(error.kind, Kind::NotConfigured);
    assert!(
        error.message.ends_with("set FAKE_TOKEN"),
        "{}",
        error.message
    );
}

#[actix_web::test]
async fn nothing_is_tried_after_output() {
    let a = fake(
        "a",
        2,
        vec![vec![Step::Text("half "), fails(Kind::RateLimited)]],
    );
    let b = fake("b", 1, Vec::new());
    let (events, result) = ask(&job(&[]), &[&a, &b], "").await;
    assert_eq!(told(&events), ("half ".to_owned(), None));
    assert_eq!(result.unwrap_err().kind, Kind::RateLimited);
    assert_eq!((a.asked().len(), b.asked().len()), (1, 0));
}

/// What came with an error is said before it, and what is no output belongs to the attempt that failed.
#[actix_web::test]
async fn an_attempt_without_output_leaves_nothing() {
    let usage = || Step::Event(ChatEvent::Usage(Default::default()));
    let a = fake(
        "a",
        2,
        vec![
            vec![Step::Opens("first"), usage(), fails(Kind::RateLimited)],
            vec![Step::Text("hi")],
        ],
    );
    let mut run = Run::new(
        job(&[("CONVERSATIONS", "keep")]),
        route(&[&a]),
        question(""),
    );
    let (events, _) = all(&mut run).await;
    assert_eq!(told(&events), stop("hi"));
    // The door took the usage as it came; the conversation is forgotten.
    assert_eq!(run.thread(), None);
    let served = run.served();
    assert_eq!(
        (served.provider.as_deref(), served.model.as_deref()),
        (Some("a"), Some("a-1"))
    );
    assert_eq!(served.account, a.asked().last().copied());
}

#[actix_web::test]
async fn a_cut_answer_is_whole_and_the_service_is_told() {
    let service = Service::new(&[200]);
    let mut a = Fake::new("a", 1).saying([vec![
        Step::Opens("chat"),
        Step::StopsAt("stop"),
        Step::Text("one STOP two"),
        fails(Kind::Protocol),
    ]]);
    a.base_url = service.base_url.clone();
    let (a, job) = (Arc::new(a), job(&[]));
    let (events, result) = ask(&job, &[&a], r#","stop":"STOP""#).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(told(&events), met("one "));
    cleaned(job.janitor).await;
    assert_eq!(service.calls(), ["POST /stop", "DELETE /chat"]);
    assert_eq!(a.pool().census().ready, 1);
}

#[actix_web::test]
async fn the_end_that_nobody_has_said_is_said() {
    let a = fake("a", 1, vec![vec![Step::Text("a ST")]]);
    let (events, _) = ask(&job(&[]), &[&a], r#","stop":"STOP""#).await;
    assert_eq!(told(&events), stop("a ST"));
}

#[actix_web::test]
async fn a_rewritten_answer_is_cut_by_the_same_filter() {
    let rewritten = Step::Event(ChatEvent::Rewritten("new STOP rest".to_owned()));
    let a = fake("a", 1, vec![vec![Step::Text("old"), rewritten]]);
    let (events, _) = ask(&job(&[]), &[&a], r#","stop":"STOP""#).await;
    assert!(
        events.contains(&ChatEvent::Rewritten("new ".to_owned())),
        "{events:?}"
    );
    assert_eq!(told(&events), met("old"));
}

#[actix_web::test]
async fn an_abort_cleans_up_and_a_good_end_stops_nothing() {
    for is_aborted in [true, false] {
        let service = Service::new(&[200]);
        let guard = Arc::new(());
        let end = if is_aborted {
            Step::Hangs
        } else {
            Step::Text("b")
        };
        let mut a = Fake::new("a", 1).saying([vec![
            Step::Holds(Arc::clone(&guard)),
            Step::Opens("chat"),
            Step::StopsAt("stop"),
            Step::Text("a"),
            end,
        ]]);
        a.base_url = service.base_url.clone();
        let (a, job) = (Arc::new(a), job(&[]));
        let mut run = Run::new(job.clone(), route(&[&a]), question(""));
        let mut events = Vec::new();
        if is_aborted {
            let _ = poll_fn(|cx| run.poll_events(cx, &mut events)).await;
        } else {
            assert!(all(&mut run).await.1.is_ok());
        }
        let thread = Thread::new("chat");
        assert_eq!(run.thread(), Some(thread));
        drop(run);
        assert_eq!(job.janitor.pending(), 1);
        assert_eq!(
            Arc::strong_count(&guard),
            2,
            "held until the clean-up is done"
        );
        cleaned(job.janitor).await;
        let expected: &[&str] = if is_aborted {
            &["POST /stop", "DELETE /chat"]
        } else {
            &["DELETE /chat"]
        };
        assert_eq!(service.calls(), expected);
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&guard), 1);
        // An abort says nothing about the account, and its lease is back.
        assert_eq!(a.pool().census().ready, 1);
    }
}

#[actix_web::test]
async fn conversations_are_kept_where_the_settings_say_so() {
    let service = Service::new(&[200]);
    let mut a = Fake::new("a", 1).saying([vec![Step::Opens("chat"), Step::Text("a")]]);
    a.base_url = service.base_url.clone();
    let (a, job) = (Arc::new(a), job(&[("CONVERSATIONS", "keep")]));
    let mut run = Run::new(job.clone(), route(&[&a]), question(""));
    assert!(all(&mut run).await.1.is_ok());
    assert_eq!(run.thread().unwrap().id, "chat");
    drop(run);
    assert_eq!((job.janitor.pending(), service.calls().len()), (0, 0));
}

#[actix_web::test]
async fn the_workers_end_and_the_time_limit_end_a_run() {
    let (cut, receiver) = watch::channel(false);
    let job = Job {
        cut: receiver,
        ..job(&[])
    };
    let a = fake(
        "a",
        1,
        vec![vec![Step::Text("a"), Step::Hangs], vec![Step::Hangs]],
    );
    let mut run = Run::new(job.clone(), route(&[&a]), question(""));
    let mut events = Vec::new();
    let _ = poll_fn(|cx| run.poll_events(cx, &mut events)).await;
    cut.send_replace(true);
    assert_eq!(
        all(&mut run).await.1.unwrap_err().code.as_deref(),
        Some("worker_stopped")
    );
    cut.send_replace(false);
    tokio::time::pause();
    assert_eq!(
        ask(&job, &[&a], "").await.1.unwrap_err().kind,
        Kind::Timeout
    );
}

/// What is no chat has the same tries, accounts and clean-up.
#[actix_web::test]
async fn any_work_is_dispatched_alike() {
    let service = Service::new(&[200]);
    let (a, b) = (fake("a", 1, Vec::new()), fake("b", 2, Vec::new()));
    let (job, outbox, tries) = (job(&[]), Rc::<Outbox>::default(), AtomicUsize::new(0));
    let picture = async |candidate: &Candidate, turn: &mut Turn| {
        let provider = if candidate.provider.name() == "a" {
            &a
        } else {
            &b
        };
        let lease = turn.lease(provider.pool(), Choice::Any(0)).await?;
        let delete = format!("{}/{}", service.base_url, lease.number());
        turn.afterwards(Request::get("delete", delete));
        match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Err(ProviderError::new(Kind::QuotaSpent, "x")),
            1 => Err(ProviderError::new(Kind::AuthExpired, "x")),
            _ => Ok(lease.number()),
        }
    };
    let number = dispatch(&job, &route(&[&a, &b]), &outbox, None, picture)
        .await
        .unwrap();
    assert_eq!(tries.load(Ordering::Relaxed), 3);
    cleaned(job.janitor).await;
    assert_eq!(service.calls().len(), 3);
    assert!((1..=2).contains(&number));
    assert_eq!((a.pool().census().ready, b.pool().census().ready), (0, 1));
}
