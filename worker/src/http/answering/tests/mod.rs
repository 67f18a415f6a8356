//! The engine with scripted answers, in the voice of chat completions and in that of a door that does not exist.

mod alike;
mod blocks;
mod legal;

use std::{cell::Cell, future::poll_fn, pin::Pin, rc::Rc, time::Duration};

use actix_web::body::MessageBody as _;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use self::blocks::Blocks;
use super::{stream::Held, *};
use crate::{
    chat::{ChatEvent, FinishReason, Kind, ProviderError, ToolCallDelta, Usage},
    http::{
        anthropic::voice::MessagesVoice,
        openai::{self, responses::ResponsesVoice, voice::ChatVoice},
    },
    providers::{Registry, run::script::Script},
    settings::{Problems, Settings, Vars},
};

fn app() -> Data<App> {
    let vars = Vars::new([("API_MASTER_KEY", "sk-1234567890")]);
    let mut problems = Problems::default();
    let settings = Settings::read(&vars, &mut problems);
    let registry = Registry::new(&vars, &settings, &mut problems);
    assert!(problems.errors.is_empty(), "{problems:?}");
    Data::new(App::new(settings, registry))
}

fn request(is_stream: bool) -> Arc<ChatRequest> {
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"stream":{is_stream}}}"#
    );
    Arc::new(openai::body::read(body.into()).unwrap())
}

fn record(app: &Data<App>, request: &ChatRequest) -> Record {
    let admission = Admission {
        place: Place::take(app).unwrap(),
        _share: app.memory.share(),
        reservation: None,
    };
    Record::new(
        "test",
        admission,
        "r1".into(),
        &Principal::of_settings("key".into()),
        &request.model,
        request.stream,
    )
}

fn chat_voice() -> ChatVoice {
    let mut request = ChatRequest::clone(&request(true));
    request.include_usage = true;
    ChatVoice::new(Arc::new(request))
}

fn messages_voice(stops: &[&str]) -> MessagesVoice {
    let mut request = ChatRequest::clone(&request(true));
    request.stop = stops.iter().map(|&stop| stop.to_owned()).collect();
    MessagesVoice::new(Arc::new(request), "r1".into())
}

fn responses_voice() -> ResponsesVoice {
    let tools: Vec<Value> = (0..4)
        .map(|at| serde_json::json!({"type": "function", "name": format!("f{at}")}))
        .collect();
    let body = serde_json::json!({
        "model": "m", "input": "x", "stream": true, "reasoning": {"summary": "auto"}, "tools": tools,
    });
    openai::responses::voice_for(body.to_string().into())
}

fn text(text: &str) -> ChatEvent {
    ChatEvent::Text(text.into())
}

fn call(index: u32, id: Option<&str>, arguments: &str) -> ChatEvent {
    ChatEvent::ToolCall(ToolCallDelta {
        index,
        id: id.map(str::to_owned),
        name: id.map(|_| "f".to_owned()),
        arguments: arguments.into(),
    })
}

/// Says these and ends.
fn saying(events: Vec<ChatEvent>) -> Run {
    Run::scripted(async move |script| {
        for event in events {
            script.say(event).await;
        }
        Ok(())
    })
}

fn follow(runs: Vec<Run>) -> impl Iterator<Item = (Run, Follower)> {
    runs.into_iter()
        .map(|run| (run, Follower::new(ReasoningFormat::Field, true)))
}

const PATIENCE: Duration = Duration::from_secs(15);
const PING: Duration = Duration::from_secs(10);

async fn hold(app: &Data<App>, runs: Vec<Run>) -> Result<(Held, Record), ApiError> {
    let mut record = record(app, &request(true));
    let held = stream::hold(follow(runs), PATIENCE, &mut record).await?;
    Ok((held, record))
}

async fn body<V: Voice>(app: &Data<App>, runs: Vec<Run>, voice: V) -> StreamBody<V> {
    let (held, record) = hold(app, runs).await.unwrap();
    StreamBody::new(held, request(true), None, voice, record, PING)
}

/// What goes out next; `None` at the end.
async fn next<V: Voice>(body: &mut StreamBody<V>) -> Option<String> {
    let piece = poll_fn(|cx| Pin::new(&mut *body).poll_next(cx)).await?;
    let piece = piece.unwrap().to_vec();
    assert!(!piece.is_empty(), "an empty piece ends the body");
    Some(String::from_utf8(piece).unwrap())
}

async fn rest<V: Voice>(body: &mut StreamBody<V>) -> String {
    let mut whole = String::new();
    while let Some(piece) = next(body).await {
        whole.push_str(&piece);
    }
    whole
}

async fn streamed<V: Voice>(runs: Vec<Run>, voice: V) -> String {
    rest(&mut body(&app(), runs, voice).await).await
}

async fn gathered<V: Voice>(runs: Vec<Run>, voice: V) -> Result<String, ApiError> {
    let app = app();
    let request = request(false);
    let mut record = record(&app, &request);
    let body = whole::gather(follow(runs), &request, voice, &mut record).await?;
    Ok(String::from_utf8(body).unwrap())
}

fn conversation() -> Vec<ChatEvent> {
    vec![
        ChatEvent::Reasoning("hm".into()),
        text("one "),
        text("two"),
        call(0, Some("c"), ""),
        call(0, None, "{}"),
        ChatEvent::Usage(Usage {
            prompt_tokens: 1,
            completion_tokens: 4,
            ..Usage::default()
        }),
        ChatEvent::Finish(FinishReason::Stop),
    ]
}

#[tokio::test(start_paused = true)]
async fn another_voice_says_a_stream_in_its_own_form() {
    let said = streamed(vec![saying(conversation())], Blocks::default()).await;
    assert_eq!(
        said,
        r#"0 begin
1 thinking 0
2 "hm"
3 /thinking 0
4 text 0
5 "one "
6 "two"
7 /text 0
8 call 0
9 ""
10 "{}"
11 /call 0
12 end [ToolCalls] 4
"#
    );
}

#[tokio::test(start_paused = true)]
async fn another_voice_says_an_answer_in_one_piece() {
    let said = gathered(vec![saying(conversation())], Blocks::default()).await;
    assert_eq!(
        said.unwrap(),
        r#"0 begin
1 thinking 0
2 "hm"
3 /thinking 0
4 text 0
5 "one two"
6 /text 0
7 call 0
8 "{}"
9 /call 0
10 end [ToolCalls] 4
"#
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_head_goes_out_with_what_begins_the_stream() {
    let late = || {
        Run::scripted(async |script: Script| {
            sleep(Duration::from_secs(40)).await;
            script.say(text("at last")).await;
            Ok(())
        })
    };
    let (app, started) = (app(), Instant::now());
    let mut stream = body(&app, vec![late()], Blocks::default()).await;
    assert_eq!(started.elapsed().as_secs(), PATIENCE.as_secs());
    assert_eq!(next(&mut stream).await.unwrap(), "0 begin\n");
    assert_eq!(started.elapsed().as_secs(), PATIENCE.as_secs());
    assert_eq!(next(&mut stream).await.unwrap(), "1 wait\n");
    assert_eq!(next(&mut stream).await.unwrap(), "2 wait\n");
    assert_eq!(
        next(&mut stream).await.unwrap(),
        "3 text 0\n4 \"at last\"\n"
    );
    assert_eq!(started.elapsed().as_secs(), 40);
    // A voice that begins with nothing says that there is nothing yet.
    let mut stream = body(&app, vec![late()], chat_voice()).await;
    assert_eq!(next(&mut stream).await.unwrap(), ": keep-alive\n\n");
    let said = rest(&mut stream).await;
    assert_eq!(said.matches(": keep-alive\n\n").count(), 2, "{said}");
    assert!(said.ends_with("data: [DONE]\n\n"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn only_silence_is_filled() {
    let run = Run::scripted(async |script: Script| {
        for (word, pause) in [("a", 9), ("b ", 9), ("c", 9), (" d", 25)] {
            script.say(text(word)).await;
            sleep(Duration::from_secs(pause)).await;
        }
        Ok(())
    });
    let said = streamed(vec![run], Blocks::default()).await;
    let lines: Vec<&str> = said
        .lines()
        .filter_map(|line| Some(line.split_once(' ')?.1))
        .collect();
    assert_eq!(
        lines,
        [
            "begin",
            "text 0",
            r#""a""#,
            r#""b ""#,
            r#""c""#,
            r#"" d""#,
            "wait",
            "wait",
            "/text 0",
            "end [Stop] 3"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn choices_speak_as_they_come_and_end_together() {
    let run = |name: &'static str, pause| {
        Run::scripted(async move |script: Script| {
            for at in 0..2 {
                sleep(Duration::from_secs(pause)).await;
                script.say(text(&format!("{name}{at} "))).await;
            }
            script.say(ChatEvent::Finish(FinishReason::Length)).await;
            Ok(())
        })
    };
    let said = streamed(vec![run("a", 2), run("b", 3)], Blocks::default()).await;
    let texts: Vec<&str> = said.lines().filter(|line| line.contains('"')).collect();
    assert_eq!(
        texts,
        [r#"2 "a0 ""#, r#"5 "b0 ""#, r#"8 "a1 ""#, r#"11 "b1 ""#]
    );
    assert!(said.contains("end [Length, Length]"), "{said}");
    let said = gathered(vec![run("a", 2), run("b", 3)], chat_voice()).await;
    let said: Value = serde_json::from_str(&said.unwrap()).unwrap();
    let content = |at: usize| &said["choices"][at]["message"]["content"];
    assert_eq!(
        (content(0), content(1)),
        (&"a0 a1 ".into(), &"b0 b1 ".into())
    );
}

/// Tells when it is dropped.
struct Alive(Rc<Cell<bool>>);

impl Alive {
    fn new() -> (Self, Rc<Cell<bool>>) {
        let is_alive = Rc::new(Cell::new(true));
        (Self(Rc::clone(&is_alive)), is_alive)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Says a word every second, for ever.
fn endless() -> (Run, Rc<Cell<bool>>) {
    let (alive, is_alive) = Alive::new();
    let run = Run::scripted(async move |script: Script| {
        let _alive = alive;
        loop {
            script.say(text("x")).await;
            sleep(Duration::from_secs(1)).await;
        }
    });
    (run, is_alive)
}

fn failing(words: Vec<ChatEvent>, code: &'static str) -> Run {
    Run::scripted(async move |script: Script| {
        for word in words {
            script.say(word).await;
        }
        sleep(Duration::from_secs(3)).await;
        Err(ProviderError::new(Kind::Unavailable, "it broke").with_code(code))
    })
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_output_is_a_status() {
    let app = app();
    // Counts and the like are no output.
    let words = vec![ChatEvent::Usage(Usage::default()), text("")];
    let refused = hold(&app, vec![failing(words.clone(), "a")]).await.err();
    let refused = refused.unwrap();
    assert_eq!(
        (refused.status.as_u16(), refused.code.as_deref()),
        (502, Some("a"))
    );
    let refused = gathered(vec![failing(words, "b")], Blocks::default()).await;
    assert_eq!(refused.unwrap_err().code.as_deref(), Some("b"));
    assert!(app.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_output_is_said_last_and_stops_the_other_choices() {
    let app = app();
    let (other, is_alive) = endless();
    let runs = vec![failing(vec![text("a")], "worker_stopped"), other];
    let mut stream = body(&app, runs, Blocks::default()).await;
    let said = rest(&mut stream).await;
    let end: Vec<&str> = said.lines().rev().take(2).collect();
    assert!(
        end[0].ends_with(r#"broken 502 Some("worker_stopped")"#),
        "{said}"
    );
    assert!(end[1].ends_with("/text 1"), "{said}");
    assert!(!is_alive.get());
    drop(stream);
    assert!(app.is_idle());
    // A whole answer has no "after".
    let (other, is_alive) = endless();
    let refused = gathered(vec![failing(vec![text("a")], "c"), other], chat_voice()).await;
    assert_eq!(refused.unwrap_err().code.as_deref(), Some("c"));
    assert!(!is_alive.get());
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_once_whoever_ends_it() {
    let cases = [
        (vec![text("a")], "[Stop]"),
        (
            vec![text("a"), ChatEvent::Finish(FinishReason::ContentFilter)],
            "[ContentFilter]",
        ),
        (
            vec![
                ChatEvent::Finish(FinishReason::Length),
                ChatEvent::Finish(FinishReason::Stop),
            ],
            "[Length]",
        ),
        (vec![], "[Stop]"),
    ];
    for (events, reason) in cases {
        let said = streamed(vec![saying(events)], Blocks::default()).await;
        assert!(said.contains(&format!("end {reason}")), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_leaves_nothing_behind() {
    let app = app();
    let (run, is_alive) = endless();
    let mut stream = body(&app, vec![run], chat_voice()).await;
    next(&mut stream).await.unwrap();
    assert!(is_alive.get() && !app.is_idle());
    drop(stream);
    assert!(!is_alive.get() && app.is_idle());
    // Before the status line as well.
    let (alive, is_alive) = Alive::new();
    let silent = Run::scripted(async move |_: Script| {
        let _alive = alive;
        std::future::pending().await
    });
    let waiting = tokio::time::timeout(Duration::from_secs(1), hold(&app, vec![silent])).await;
    assert!(waiting.is_err() && !is_alive.get() && app.is_idle());
}
