//! JSON mode: the vectors J1 to J10 of tools.md section 14.

use super::*;
use crate::chat::{
    Format,
    emulate::{
        found::Failure,
        verify::{Judgement, Wanted, judge},
    },
    tools::JsonSchema,
};

fn a_is_integer(is_strict: bool) -> Format {
    let schema = object(json!({"a": {"type": "integer"}}), &["a"]);
    Format::JsonSchema(Box::new(JsonSchema {
        schema: Some(Json::new(schema.to_string()).unwrap()),
        is_strict,
        ..JsonSchema::default()
    }))
}

fn judged(answer: &str, format: &Format, end: End, round: Round) -> Judgement {
    judge(answer.to_owned(), &Wanted::of(format).unwrap(), end, round)
}

fn sends(format: &Format, answer: &str, expected: &str) {
    let judgement = judged(answer, format, End::Clean, Round::First);
    assert_eq!(judgement, Judgement::Send(expected.to_owned()), "{answer}");
}

fn asks_again(format: &Format, answer: &str) -> String {
    match judged(answer, format, End::Clean, Round::First) {
        Judgement::Again(fact) => fact.to_string(),
        other => panic!("{answer}: {other:?}"),
    }
}

fn twice(format: &Format, answer: &str) -> Judgement {
    judged(answer, format, End::Clean, second(FactKind::Format))
}

#[test]
fn json_is_found_and_mended() {
    let object = Format::JsonObject;
    sends(&object, r#"{"a":1}"#, r#"{"a":1}"#); // J1
    sends(
        &object,
        "{ \"b\" : 1.50,\n\"a\":2 }",
        "{ \"b\" : 1.50,\n\"a\":2 }",
    );
    sends(
        &object,
        "Here you are:\n```json\n{\"a\":1}\n```\nEnjoy!",
        r#"{"a":1}"#,
    ); // J2
    sends(&object, "```json\n{\"a\":1}\n```", r#"{"a":1}"#);
    sends(&object, "{'a': True, b: 1,}", r#"{"a":true,"b":1}"#); // J3
    sends(&object, r#"See [1]: {"a":"}"} as asked."#, r#"{"a":"}"}"#);
    sends(&a_is_integer(true), r#"{"a":"1"}"#, r#"{"a":1}"#); // J4
}

#[test]
fn what_does_not_fit_is_asked_for_again() {
    let wrong = r#"{"a":"x"}"#;
    let strict = a_is_integer(true);
    assert!(
        asks_again(&strict, wrong).starts_with("/a: "),
        "{}",
        asks_again(&strict, wrong)
    );
    assert_eq!(
        twice(&strict, wrong),
        Judgement::Failed(Failure::OutputInvalid)
    ); // J5
    let loose = a_is_integer(false);
    assert!(asks_again(&loose, wrong).starts_with("/a: "));
    assert_eq!(twice(&loose, wrong), Judgement::Send(wrong.to_owned())); // J6
    asks_again(&strict, "I cannot do that.");
    assert_eq!(
        twice(&strict, "I cannot do that."),
        Judgement::Failed(Failure::OutputInvalid)
    ); // J7
    assert_eq!(
        twice(&loose, "I cannot do that."),
        Judgement::Failed(Failure::OutputInvalid)
    );
    assert!(
        asks_again(&Format::JsonObject, r#"{"a":1} or {"a":2}"#).ends_with("there are several")
    ); // J9
    assert!(asks_again(&Format::JsonObject, "[1,2]").contains("object")); // J10
    asks_again(&Format::JsonObject, r#"{"a":"open"#);
    asks_again(&Format::JsonObject, "");
}

#[test]
fn a_cut_answer_is_sent_as_it_is() {
    let cut = r#"{"a":"open"#;
    for round in [Round::First, second(FactKind::Format)] {
        let judgement = judged(cut, &Format::JsonObject, End::Cut, round);
        assert_eq!(judgement, Judgement::Send(cut.to_owned())); // J8
    }
}

#[test]
fn who_does_not_want_to_is_heard_the_second_time() {
    let strict = a_is_integer(true);
    for words in [
        "I'm sorry, but I can't assist with that request.",
        "I’m sorry, I cannot help with this.",
        " 很抱歉，我无法回答这个问题。",
    ] {
        asks_again(&strict, words);
        assert_eq!(twice(&strict, words), Judgement::Refused(words.to_owned()));
    }
    for words in [
        "I cannot do that.",
        "Sorry, here it comes: a is five.",
        &format!("Sorry, I can't. {}", "word ".repeat(200)),
    ] {
        assert_eq!(
            twice(&strict, words),
            Judgement::Failed(Failure::OutputInvalid),
            "{words}"
        );
    }
}
