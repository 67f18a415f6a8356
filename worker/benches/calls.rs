//! `cargo bench -p hive2api-worker --bench calls`: how fast a call of a megabyte is decoded where the gateway gives tools to a
//! model that has none, from the model's words to the call's JSON, and what a piece of words costs beside tools. Source of
//! task and target (200 MB/s): tools.md section 12.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and may stop"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hive2api_worker::chat::{
    ChatRequest, Json, Message, Role, Tool,
    emulate::{
        found::{End, Found},
        nonce::Nonce,
        schema::Offered,
        turn::{Round, Settings, Turn},
    },
};

const ROUNDS: usize = 31;
const CALL_BYTES: usize = 1 << 20;
const WORDS: usize = 100_000;

fn main() {
    let settings = settings();
    println!("best of {ROUNDS} rounds (median)");
    let code = "    let value = map.get(\"key\").map(|it| it < 5 && !it.is_empty()); // 你好 <b>\n";
    let prose =
        "The quick brown fox jumps over the lazy dog, and it does so every single morning.\n";
    for (kind, line) in [("code", code), ("prose", prose)] {
        let content = line.repeat(CALL_BYTES / line.len());
        let call = format!(
            "<calls-k7q2><call-k7q2 name=\"write\"><arg-k7q2 name=\"path\">a</arg-k7q2>\
             <arg-k7q2 name=\"content\">\n{content}\n</arg-k7q2></call-k7q2></calls-k7q2>"
        );
        for size in [call.len(), 4096, 64] {
            let (least, median) = measured(&settings, &torn(&call, size), |found| {
                assert!(matches!(found, [Found::Call(_)]), "{found:?}");
            });
            let speed = |time: Duration| call.len() as f64 / time.as_secs_f64() / 1e6;
            println!(
                "a call of {kind} in pieces of {size:>7}: {:>6.0} MB/s ({:.0})",
                speed(least),
                speed(median)
            );
        }
    }
    let words: Vec<&str> = (0..WORDS)
        .map(|at| {
            if at % 12 == 0 {
                "word.\n\n"
            } else {
                " wording"
            }
        })
        .collect();
    let (least, median) = measured(&settings, &words, |found| assert!(found.len() > WORDS / 2));
    let each = |time: Duration| time.as_nanos() / WORDS as u128;
    println!("a piece of words: {} ns ({})", each(least), each(median));
}

/// The least and the median time of a turn of these pieces.
fn measured(
    settings: &Settings,
    pieces: &[&str],
    check: impl Fn(&[Found]),
) -> (Duration, Duration) {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            // Theirs by right: in a worker the event has them already.
            let pieces: Vec<String> = pieces.iter().map(|&piece| piece.to_owned()).collect();
            let (mut turn, mut found) = (
                Turn::new(settings.clone()),
                Vec::with_capacity(pieces.len()),
            );
            let start = Instant::now();
            for piece in pieces {
                turn.text(piece, &mut found);
            }
            turn.finish(End::Clean, &mut found);
            let took = start.elapsed();
            check(&found);
            took
        })
        .collect();
    times.sort();
    (times[0], times[ROUNDS / 2])
}

/// A text in pieces of about so many bytes.
fn torn(text: &str, size: usize) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let mut at = size.min(rest.len());
        while !rest.is_char_boundary(at) {
            at += 1;
        }
        let (piece, behind) = rest.split_at(at);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

fn settings() -> Settings {
    let schema = r#"{"type":"object","properties":{"path":{"type":"string"},"content":{"type":"string"}},"required":["path","content"]}"#;
    let write = Tool::function(
        "write",
        "Writes a file.",
        Some(Json::new(schema.to_owned()).unwrap()),
    );
    let request = ChatRequest {
        tools: vec![write],
        ..ChatRequest::new("m", vec![Message::new(Role::User, "x")])
    };
    Settings {
        nonce: Nonce::new("k7q2").unwrap(),
        offered: Arc::new(Offered::new(&request).unwrap()),
        bare_json: true,
        turn_marks: &["<|im_start|>"],
        taken: None,
        round: Round::First,
    }
}
