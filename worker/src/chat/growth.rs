//! For tests: chats that are as nasty as their size allows, and whether the time for one grows with its size and not with
//! its square. Each provider's prompt is put to them, and the parser itself.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ChatRequest;
use crate::http::openai::body::read;

const SMALL: usize = 64 << 10;
/// Sixteen times as large.
const LARGE: usize = 1 << 20;
/// A linear one takes sixteen times as long, a quadratic one 256 times.
const MOST_GROWTH: u32 = 48;
/// Shorter times are the clock's and the neighbours' doing.
const FLOOR: Duration = Duration::from_millis(20);

/// A body's shape: what stands around and what is repeated within.
type Shape = (&'static str, &'static str, &'static str, &'static str);

const QUESTION: &str = r#"{"role":"user","content":"hi"}]}"#;
const IN_HISTORY: &str = r#"{"model":"m","messages":[{"role":"assistant","content":""#;
const TO_QUESTION: &str = r#""},{"role":"user","content":"hi"}]}"#;

/// name, before, again and again, after.
const SHAPES: &[Shape] = &[
    ("openings", IN_HISTORY, "![", TO_QUESTION),
    ("labels", IN_HISTORY, "![a]", TO_QUESTION),
    ("labels in labels", IN_HISTORY, "![]a[", TO_QUESTION),
    ("links without end", IN_HISTORY, "![a](b", TO_QUESTION),
    ("lines of links", IN_HISTORY, "![a](b\\n", TO_QUESTION),
    ("pictures", IN_HISTORY, "![a](b)", TO_QUESTION),
    (
        "nearly markers",
        IN_HISTORY,
        "<|im_start|<|im_en",
        TO_QUESTION,
    ),
    ("markers", IN_HISTORY, "<|im_end|><｜User｜>", TO_QUESTION),
    ("halves of markers", IN_HISTORY, "<｜", TO_QUESTION),
    ("line ends", IN_HISTORY, "\\n", TO_QUESTION),
    ("blanks", IN_HISTORY, " ", TO_QUESTION),
    (
        "tool calls",
        r#"{"model":"m","messages":[{"role":"assistant","content":"x","tool_calls":[{"id":"c"}"#,
        r#",{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}"#,
        r#"]},{"role":"user","content":"hi"}]}"#,
    ),
    (
        "tool results",
        r#"{"model":"m","messages":["#,
        r#"{"role":"tool","tool_call_id":"c","content":"4"},"#,
        QUESTION,
    ),
    (
        "messages",
        r#"{"model":"m","messages":["#,
        r#"{"role":"user"},"#,
        QUESTION,
    ),
    (
        "turns",
        r#"{"model":"m","messages":["#,
        r#"{"role":"user","content":"a"},{"role":"assistant","content":"b"},"#,
        QUESTION,
    ),
    (
        "system texts",
        r#"{"model":"m","messages":["#,
        r#"{"role":"system","content":"a"},"#,
        QUESTION,
    ),
    (
        "parts",
        r#"{"model":"m","messages":[{"role":"user","content":["#,
        r#"{"type":"text","text":"a"},"#,
        r#"{"type":"text","text":"z"}]}]}"#,
    ),
    (
        "unknown parts",
        r#"{"model":"m","messages":[{"role":"assistant","content":["#,
        r#"{"type":"x","y":[{}]},"#,
        r#"{"type":"text","text":"z"}]},{"role":"user","content":"hi"}]}"#,
    ),
    (
        "members twice",
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}]"#,
        r#","n":1,"stop":[]"#,
        "}",
    ),
    ("halves", IN_HISTORY, r"\ud83d", TO_QUESTION),
    (
        "brackets",
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"tool_choice":"#,
        "[",
        "0}",
    ),
    (
        "noughts",
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"tool_choice":["#,
        "0,",
        "0]}",
    ),
];

fn body((_, before, again, after): Shape, bytes: usize) -> Bytes {
    [before, &again.repeat(bytes / again.len()), after]
        .concat()
        .into()
}

/// The shortest of three times.
fn time(mut job: impl FnMut()) -> Duration {
    let once = |_| {
        let started = Instant::now();
        job();
        started.elapsed()
    };
    (0..3).map(once).min().unwrap_or_default()
}

/// Fails where a job's time grows with more than the size. `job` is timed with each shape that can be parsed.
pub(crate) fn assert_linear(job: impl Fn(&ChatRequest)) {
    for &shape in SHAPES {
        let parsed = |bytes| read(body(shape, bytes)).ok();
        let (Some(small), Some(large)) = (parsed(SMALL), parsed(LARGE)) else {
            continue;
        };
        check(shape, time(|| job(&small)), || time(|| job(&large)));
    }
}

fn check(shape: Shape, small: Duration, large: impl Fn() -> Duration) {
    let most = small.max(FLOOR) * MOST_GROWTH;
    // Others use this machine as well: once more before it counts.
    let took = large().min(most * 2);
    let took = if took > most { large() } else { took };
    assert!(took <= most, "{}: {small:?} becomes {took:?}", shape.0);
}

#[test]
fn parsing_is_linear() {
    for &shape in SHAPES {
        let (small, large) = (body(shape, SMALL), body(shape, LARGE));
        let parse = |body: &Bytes| {
            let _ = read(body.clone());
        };
        check(shape, time(|| parse(&small)), || time(|| parse(&large)));
    }
}

#[test]
fn counting_tokens_takes_no_longer_for_longer_chats() {
    super::tokens::warm_up();
    assert_linear(|chat| {
        super::tokens::count_request(chat);
    });
}
