use serde_json::{Value, json};

use super::*;

const A: &str = include_str!("../../../tests/fixtures/minimax/polls_auto.jsonl");
const B: &str = include_str!("../../../tests/fixtures/minimax/polls_thinking.jsonl");

#[derive(Debug, Default, PartialEq)]
struct Said {
    text: Vec<String>,
    reasoning: Vec<String>,
    rest: Vec<ChatEvent>,
    error: Option<Kind>,
}

fn poll(looks: impl IntoIterator<Item = (u16, String)>) -> Said {
    let (mut growth, mut events, mut said) = (Growth::new("V", None), Vec::new(), Said::default());
    for (status, body) in looks {
        match growth.take(status, body.as_bytes(), &mut events) {
            Ok(Look::Over) => break,
            Ok(Look::Goes | Look::Grown) => {}
            Err(refusal) => {
                said.error = Some(refusal.error.kind);
                break;
            }
        }
    }
    for event in events {
        match event {
            ChatEvent::Text(text) => said.text.push(text),
            ChatEvent::Reasoning(text) => said.reasoning.push(text),
            other => said.rest.push(other),
        }
    }
    said
}

/// Section 6, step 1: a chat that goes on shows its earlier answers with every look, and says that it is finished until it has
/// begun anew.
#[test]
fn earlier_answers_are_not_this_one() {
    let message = |id: i64, kind: u8, text: &str| json!({"msg_id": id, "msg_type": kind, "msg_content": text, "timestamp": id, "tool_call": null});
    let look = |status: u8, messages: &[Value]| {
        let mut messages = messages.to_vec();
        messages.reverse();
        json!({"messages": messages, "chat": {"chat_status": status}, "base_resp": {"status_code": 0}}).to_string()
    };
    let earlier = [message(1, 1, "q"), message(2, 2, "old")];
    let asked = [&earlier[..], &[message(3, 1, "q2")]].concat();
    let answered = |text| [&asked[..], &[message(4, 2, text)]].concat();
    let mut growth = Growth::new("V", Some(3));
    let mut events = Vec::new();
    let mut take = |body: String| {
        let look = growth.take(200, body.as_bytes(), &mut events);
        (
            look.map_err(|it| it.error.kind),
            std::mem::take(&mut events),
        )
    };
    assert_eq!(take(look(2, &earlier)), (Ok(Look::Goes), vec![]));
    assert_eq!(take(look(1, &asked)), (Ok(Look::Goes), vec![]));
    let new = |text: &str| ChatEvent::Text(text.to_owned());
    assert_eq!(
        take(look(1, &answered("ne"))),
        (Ok(Look::Grown), vec![new("ne")])
    );
    let end = vec![new("w"), ChatEvent::Finish(FinishReason::Stop)];
    assert_eq!(take(look(2, &answered("new"))), (Ok(Look::Over), end));
    assert_eq!(growth.answer_id(), Some(4));
}

fn lines(sample: &str) -> impl Iterator<Item = (u16, String)> {
    sample.lines().map(|line| match line.split_once(' ') {
        Some((status, body)) if status.parse::<u16>().is_ok() => {
            (status.parse().unwrap(), body.to_owned())
        }
        _ => (200, line.to_owned()),
    })
}

fn answer(id: i64, text: &str) -> Value {
    json!({"msg_id": id, "msg_type": 2, "msg_content": text, "timestamp": id, "tool_call": null})
}

fn detail(status: Option<i64>, messages: &[Value]) -> (u16, String) {
    let mut body = json!({"messages": messages, "base_resp": {"status_code": 0}});
    if let Some(status) = status {
        body["chat"] = json!({"chat_id": 9, "chat_status": status});
    }
    (200, body.to_string())
}

fn finish(said: &Said) -> Option<&ChatEvent> {
    said.rest.last()
}

#[test]
fn follows_the_samples_of_the_wire_page() {
    let said = poll(lines(A));
    assert_eq!(
        (said.text.concat().as_str(), said.text.len()),
        ("Hi 👋 there", 2)
    );
    assert_eq!(said.text, ["Hi ", "👋 there"]);
    assert_eq!(finish(&said), Some(&ChatEvent::Finish(FinishReason::Stop)));
    let said = poll(lines(B));
    assert_eq!(said.reasoning, ["Let me ", "think."]);
    assert_eq!(said.text, ["4", "2"]);
    assert_eq!(finish(&said), Some(&ChatEvent::Finish(FinishReason::Stop)));
}

#[test]
fn the_first_text_is_not_the_end() {
    let said = poll([
        detail(Some(1), &[answer(1, "a")]),
        detail(Some(1), &[answer(1, "a")]),
        detail(Some(1), &[answer(1, "ab")]),
        detail(Some(2), &[answer(1, "abc\u{FFFD}")]),
    ]);
    assert_eq!(said.text, ["a", "b", "c\u{FFFD}"]);
}

#[test]
fn another_message_stands_apart() {
    let said = poll([
        detail(Some(1), &[answer(1, "first")]),
        detail(Some(2), &[answer(2, "second"), answer(1, "first")]),
    ]);
    assert_eq!(said.text.concat(), "first\n\nsecond");
}

#[test]
fn without_a_status_stillness_is_the_end() {
    let look = || detail(None, &[answer(1, "a")]);
    let said = poll((0..7).map(|_| look()));
    assert_eq!(
        (said.text.concat().as_str(), finish(&said).is_some()),
        ("a", true)
    );
    let said = poll((0..6).map(|_| look()));
    assert_eq!(finish(&said), None);
    // Not without any text.
    let said = poll((0..20).map(|_| detail(None, &[])));
    assert_eq!((said.error, finish(&said)), (None, None));
}

#[test]
fn five_failures_in_a_row_are_too_many() {
    let bad = || (502, "bad gateway".to_owned());
    let good = || detail(Some(1), &[answer(1, "a")]);
    let looks = |count: usize| (0..count).map(|_| bad()).collect::<Vec<_>>();
    assert_eq!(poll(looks(4)).error, None);
    assert_eq!(poll(looks(5)).error, Some(Kind::Protocol));
    let mixed = [looks(4), vec![good()], looks(4)].concat();
    assert_eq!(poll(mixed).error, None);
    let unread = (0..5).map(|_| (200, "{}".to_owned()));
    assert_eq!(poll(unread).error, Some(Kind::Protocol));
    let refused = (0..5).map(|_| (401, String::new()));
    assert_eq!(poll(refused).error, Some(Kind::AuthExpired));
    let moderated = json!({"base_resp": {"status_code": 1027}}).to_string();
    assert_eq!(
        poll([(200, moderated.clone())]).error,
        Some(Kind::Moderated)
    );
    let said = poll([good(), (200, moderated)]);
    assert_eq!(
        finish(&said),
        Some(&ChatEvent::Finish(FinishReason::ContentFilter))
    );
}

#[test]
fn an_end_without_content_is_an_error() {
    let step = json!({"msg_id": 2, "msg_type": 2, "msg_content": "", "tool_call": {"tool_call_name": "web_search"}});
    assert_eq!(
        poll([detail(Some(2), &[step])]).error,
        Some(Kind::Unavailable)
    );
}

proptest::proptest! {
    #[test]
    fn no_body_panics(status in 100_u16..600, body in ".*") {
        poll([(status, body)]);
    }

    #[test]
    fn a_growing_text_is_said_once(text in "[a👋你\u{FFFD}]{1,20}", cuts in proptest::collection::vec(0_usize..20, 0..5)) {
        let chars: Vec<char> = text.chars().collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (chars.len() + 1)).collect();
        cuts.sort_unstable();
        let mut looks: Vec<_> = cuts.iter().map(|cut| detail(Some(1), &[answer(1, &chars[..*cut].iter().collect::<String>())])).collect();
        looks.push(detail(Some(2), &[answer(1, &text)]));
        proptest::prop_assert_eq!(poll(looks).text.concat(), text);
    }
}
