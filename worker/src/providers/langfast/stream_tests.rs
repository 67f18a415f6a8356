use super::*;
use crate::upstream::socketio::codec::{Session, Step};

const PLAIN: &str = include_str!("../../../tests/fixtures/langfast/plain.txt");
const MIXED: &str = include_str!("../../../tests/fixtures/langfast/mixed.txt");
const PLAIN_JOB: &str = "7b0c6f1e-0000-4000-8000-000000000001";

/// The texts, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    texts: Vec<String>,
    end: Result<FinishReason, Kind>,
}

impl Decoded {
    fn text(&self) -> String {
        self.texts.concat()
    }
}

/// Messages of a connected session; the run's answer comes after the first `early` of them.
fn decode(messages: &[&str], job: Option<&str>, early: usize) -> Decoded {
    let mut session = Session::new("{}");
    session.receive(b"0{}").unwrap();
    session.receive(b"40").unwrap();
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    let job = job.map(str::to_owned);
    let mut fed = Ok(());
    for at in 0..=messages.len() {
        if at == early.min(messages.len()) {
            fed = fed.and_then(|()| decoder.begin(job.clone(), &mut events));
        }
        if fed.is_err() || decoder.is_over() {
            continue;
        }
        if let Some(Ok(Step::Event(event))) = messages
            .get(at)
            .map(|message| session.receive(message.as_bytes()))
        {
            fed = decoder.feed(&event, &mut events);
        }
    }
    let fed = fed.and_then(|()| decoder.finish());
    let mut decoded = Decoded {
        texts: Vec::new(),
        end: Err(fed.err().map_or(Kind::NotConfigured, |error| error.kind)),
    };
    for event in events {
        match event {
            ChatEvent::Text(text) => decoded.texts.push(text),
            ChatEvent::Finish(reason) => decoded.end = Ok(reason),
            _ => {}
        }
    }
    decoded
}

fn lines(sample: &str) -> Vec<&str> {
    sample.lines().collect()
}

fn chunk_message(payload: &str) -> String {
    format!(r#"42["execution:chunk",{payload}]"#)
}

/// Payloads of chunks that come after the run's answer, which listed the job `j`.
fn chunks(payloads: &[&str]) -> Decoded {
    let messages: Vec<String> = payloads
        .iter()
        .map(|payload| chunk_message(payload))
        .collect();
    decode(
        &messages.iter().map(String::as_str).collect::<Vec<_>>(),
        Some("j"),
        0,
    )
}

/// Samples A and B of the wire page.
#[test]
fn decodes_the_samples_of_the_wire_page() {
    let plain = decode(&lines(PLAIN), Some(PLAIN_JOB), 0);
    assert_eq!(plain.texts, ["Hel", "lo, ", "世界👋"]);
    assert_eq!(plain.end, Ok(FinishReason::Stop));
    assert_eq!(decode(&lines(PLAIN), None, 0), plain);
    let mixed = decode(&lines(MIXED), Some("job-A"), 0);
    assert_eq!(
        (mixed.text().as_str(), mixed.end),
        ("42", Ok(FinishReason::Stop))
    );
}

#[test]
fn the_runs_answer_may_come_at_any_moment() {
    for (sample, job, text) in [
        (PLAIN, PLAIN_JOB, "Hello, 世界👋"),
        (MIXED, "job-A", "42"),
        (MIXED, "job-B", "not ours at all"),
    ] {
        let messages = lines(sample);
        for early in 0..=messages.len() {
            let decoded = decode(&messages, Some(job), early);
            assert_eq!(
                (decoded.text().as_str(), decoded.end),
                (text, Ok(FinishReason::Stop)),
                "{job}, early {early}"
            );
        }
    }
}

#[test]
fn every_prefix_ends_in_an_answer_or_an_error() {
    for (sample, job) in [(PLAIN, PLAIN_JOB), (MIXED, "job-A")] {
        let messages = lines(sample);
        let whole = decode(&messages, Some(job), 0);
        for count in 0..=messages.len() {
            let decoded = decode(messages.get(..count).unwrap(), Some(job), 0);
            assert!(
                decoded.end.is_ok() || decoded.end == Err(Kind::Unavailable),
                "{decoded:?}"
            );
            assert!(whole.text().starts_with(&decoded.text()));
            assert!(decoded.end.is_err() || decoded == whole);
        }
        // Also within a message, wherever it is cut.
        let last = messages.last().unwrap();
        for at in (0..last.len()).filter(|&at| last.is_char_boundary(at)) {
            let mut cut = messages.clone();
            *cut.last_mut().unwrap() = last.get(..at).unwrap();
            let decoded = decode(&cut, Some(job), 0);
            assert!(
                decoded.end.is_ok() || decoded.end == Err(Kind::Unavailable),
                "{decoded:?}"
            );
        }
    }
}

#[test]
fn ends_in_every_way_that_the_page_knows() {
    for (payloads, text, end) in [
        (
            vec![r#"{"content":"a","status":"done"}"#],
            "a",
            Ok(FinishReason::Stop),
        ),
        (
            vec![r#"{"content":"a","status":"completed","finish_reason":"length"}"#],
            "a",
            Ok(FinishReason::Length),
        ),
        (
            vec![r#"{"content":"a","status":"completed","finish_reason":"odd"}"#],
            "a",
            Ok(FinishReason::Stop),
        ),
        (
            vec![r#"{"content":"a","status":"completed","finish_reason":"content_filter"}"#],
            "a",
            Ok(FinishReason::ContentFilter),
        ),
        (
            vec![r#"{"content":"","status":"completed","finish_reason":"content_filter"}"#],
            "",
            Err(Kind::Moderated),
        ),
        (
            vec![r#"{"status":"completed"}"#],
            "",
            Err(Kind::Unavailable),
        ),
        (
            vec![
                r#"{"content":"a","status":"queued"}"#,
                r#"{"status":"completed","content":null}"#,
            ],
            "a",
            Ok(FinishReason::Stop),
        ),
        (
            vec![r#"{"content":"a"}"#, r#"{"status":"failed"}"#],
            "a",
            Err(Kind::Unavailable),
        ),
        (
            vec![r#"{"status":"error","error":{"message":"m","code":"content_policy_violation"}}"#],
            "",
            Err(Kind::Moderated),
        ),
        (
            vec![
                r#"{"content":"a"}"#,
                r#"{"status":"error","error":{"code":"content_policy_violation"}}"#,
            ],
            "a",
            Ok(FinishReason::ContentFilter),
        ),
        (
            vec![
                r#"{"error":"Unsupported parameter: 'temperature' is not supported with this model."}"#,
            ],
            "",
            Err(Kind::BadRequest),
        ),
        (
            vec![r#"{"error":null,"content":"a","status":"completed"}"#],
            "a",
            Ok(FinishReason::Stop),
        ),
        (vec!["[]"], "", Err(Kind::Protocol)),
        (vec!["null"], "", Err(Kind::Protocol)),
        (vec![r#"{"content":5}"#], "", Err(Kind::Protocol)),
        (vec![r#""{\"content\":5}""#], "", Err(Kind::Protocol)),
    ] {
        let decoded = chunks(&payloads);
        assert_eq!(
            (decoded.text().as_str(), decoded.end),
            (text, end),
            "{payloads:?}"
        );
    }
}

#[test]
fn a_payload_may_be_the_text_itself() {
    let decoded = chunks(&[
        r#""42""#,
        r#""42 {is""#,
        r#""42 {is it\"""#,
        r#"{"status":"completed","executionId":"j"}"#,
    ]);
    assert_eq!(decoded.texts, ["42", " {is", " it\""]);
}

#[test]
fn a_finish_reason_of_the_last_chunk_survives_another_end() {
    let length = chunk_message(r#"{"content":"a","finish_reason":"length"}"#);
    let decoded = decode(&[&length, r#"42["completion_finished"]"#], Some("j"), 0);
    assert_eq!(decoded.end, Ok(FinishReason::Length));
    for (payload, is_ours) in [
        ("", true),
        (",null", true),
        (r#",{"executionId":"k"}"#, false),
        (r#",{"executionId":"j"}"#, true),
        (r#","{\"executionId\":\"k\"}""#, false),
    ] {
        let decoded = decode(
            &[&length, &format!(r#"42["completion_finished"{payload}]"#)],
            Some("j"),
            0,
        );
        assert_eq!(decoded.end.is_ok(), is_ours, "{payload}");
    }
}

#[test]
fn revisions_repeat_nothing() {
    let decoded = chunks(&[
        r#"{"content":"Hello wrld"}"#,
        r#"{"content":"Hello w"}"#,
        r#"{"content":"Hello world 👋"}"#,
        r#"{"content":"Hello world 👋!","status":"completed"}"#,
    ]);
    assert_eq!(decoded.texts, ["Hello wrld", "d 👋", "!"]);
}

#[test]
fn early_chunks_take_no_more_memory_than_their_text() {
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    let text = "x".repeat(4_000);
    for length in 1..=text.len() {
        let payload = format!(
            r#"{{"executionId":"{}","content":"{}"}}"#,
            length % 2,
            text.get(..length).unwrap()
        );
        let event = Event {
            name: "execution:chunk".into(),
            payload: Some(&payload),
        };
        decoder.feed(&event, &mut events).unwrap();
    }
    let Stage::Early(notes) = &decoder.stage else {
        panic!()
    };
    assert_eq!(notes.len(), 2);
    decoder.begin(Some("0".to_owned()), &mut events).unwrap();
    assert_eq!(events, [ChatEvent::Text(text)]);
}

proptest::proptest! {
    #[test]
    fn no_payload_panics(payloads in proptest::collection::vec(".{0,60}", 0..5), early in 0_usize..6) {
        let messages: Vec<String> = payloads.iter().map(|payload| chunk_message(&serde_json::to_string(payload).unwrap())).collect();
        decode(&messages.iter().map(String::as_str).collect::<Vec<_>>(), Some("j"), early);
        decode(&payloads.iter().map(String::as_str).collect::<Vec<_>>(), None, early);
    }

    #[test]
    fn a_growing_text_arrives_whole_whenever_the_answer_comes(text in ".{1,40}", cuts in proptest::collection::vec(0_usize..80, 0..6), early in 0_usize..8) {
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| text.is_char_boundary(cut)).collect();
        cuts.push(text.len());
        cuts.sort_unstable();
        let mut messages: Vec<String> = cuts.iter().map(|&cut| {
            chunk_message(&serde_json::json!({"executionId": "j", "status": "in_progress", "content": text.get(..cut).unwrap()}).to_string())
        }).collect();
        messages.push(r#"42["completion_finished",{"executionId":"j"}]"#.to_owned());
        let decoded = decode(&messages.iter().map(String::as_str).collect::<Vec<_>>(), Some("j"), early);
        proptest::prop_assert_eq!(decoded.text(), text);
        proptest::prop_assert_eq!(decoded.end, Ok(FinishReason::Stop));
    }
}
