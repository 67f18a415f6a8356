//! What a client gets of one answer, and whether that is what it must get.

use serde_json::{Value, json};

use super::table::{Case, Expected, SECOND_CALLS};

/// What became of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Right,
    Repaired,
    AskedAgain,
    /// An error, or something else than it must be.
    Failed,
    Leaked,
}

/// A fate, and whether it is the one that the table demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) fate: Fate,
    pub(super) is_expected: bool,
}

/// What a client has got.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    words: String,
    /// As a list of names and arguments.
    calls: Value,
    /// `None`: the answer is complete.
    error: Option<String>,
}

impl Told {
    /// A chat completion.
    pub(super) fn whole(body: &str) -> Self {
        let answer: Value = serde_json::from_str(body).unwrap_or_default();
        let message = &answer["choices"][0]["message"];
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        let calls = calls.map(|call| (call["function"]["name"].clone(), arguments(call)));
        Self {
            words: words(message),
            ..Self::of(calls, message.is_object())
        }
    }

    /// A stream of chunks.
    pub(super) fn streamed(body: &str) -> Self {
        let (mut said, mut calls) = (String::new(), Vec::<(Value, String)>::new());
        let (mut is_whole, mut error) = (false, None);
        for line in body.lines().filter_map(|line| line.strip_prefix("data: ")) {
            if line == "[DONE]" {
                is_whole = true;
                break;
            }
            let chunk: Value = serde_json::from_str(line).unwrap_or_default();
            if chunk["error"].is_object() {
                error = Some(code(&chunk));
            }
            let delta = &chunk["choices"][0]["delta"];
            said.push_str(&words(delta));
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                if call["function"]["name"].is_string() {
                    calls.push((call["function"]["name"].clone(), String::new()));
                }
                if let Some((_, known)) = calls.last_mut() {
                    known.push_str(&arguments(call));
                }
            }
        }
        let told = Self::of(calls.into_iter(), is_whole);
        Self {
            words: said,
            error: error.or(told.error),
            ..told
        }
    }

    /// The body of an error.
    pub(super) fn error(body: &str) -> Self {
        let answer: Value = serde_json::from_str(body).unwrap_or_default();
        Self {
            words: String::new(),
            calls: json!([]),
            error: Some(code(&answer)),
        }
    }

    fn of(calls: impl Iterator<Item = (Value, String)>, is_whole: bool) -> Self {
        let mut error = (!is_whole).then(|| "the answer has no end".to_owned());
        let mut read = Vec::new();
        for (name, arguments) in calls {
            match serde_json::from_str::<Value>(&arguments) {
                Ok(arguments) => read.push(json!([name, arguments])),
                Err(_) => error = Some(format!("the arguments of {name} are not JSON")),
            }
        }
        Self {
            words: String::new(),
            calls: read.into(),
            error,
        }
    }
}

fn arguments(call: &Value) -> String {
    let arguments = call["function"]["arguments"].as_str();
    arguments.unwrap_or_default().to_owned()
}

/// All that a client shows of a message or a delta.
fn words(message: &Value) -> String {
    let texts = [&message["reasoning_content"], &message["content"]];
    texts.iter().filter_map(|text| text.as_str()).collect()
}

fn code(answer: &Value) -> String {
    let code = answer["error"]["code"].as_str();
    code.unwrap_or("an error without a code").to_owned()
}

/// Compares what a client has got with what the table says that it must get. `questions`: how often the model was asked.
pub(super) fn fate(case: &Case, told: &Told, questions: u64) -> Found {
    let calls = without_marks(&told.calls);
    let is_expected = match (&case.expected, &told.error) {
        (Expected::Error(expected), Some(code)) => code == expected && questions == 2,
        (Expected::Error(_), None) | (_, Some(_)) => false,
        (Expected::Words(expected), None) => {
            told.words == *expected && calls == json!([]) && questions == 1
        }
        (Expected::Calls(expected), None) => calls == read(expected) && questions == 1,
        (Expected::Second, None) => calls == read(SECOND_CALLS) && questions == 2,
    };
    let is_talk = matches!(case.expected, Expected::Words(_));
    let fate = if has_marks(&told.words) || (!is_talk && has_other_marks(&told.words)) {
        Fate::Leaked
    } else if told.error.is_some() || !is_expected {
        Fate::Failed
    } else if questions > 1 {
        Fate::AskedAgain
    } else if case.is_good() {
        Fate::Right
    } else {
        Fate::Repaired
    };
    Found {
        fate,
        is_expected: is_expected && fate != Fate::Leaked,
    }
}

fn read(expected: &str) -> Value {
    serde_json::from_str(expected).unwrap_or_default()
}

const TAGS: [&str; 5] = ["calls", "call", "arg", "results", "result"];

/// Where tags of the contract, with a mark of four characters, stand in a text: the mark's place.
fn marks(text: &str) -> impl Iterator<Item = usize> {
    text.match_indices('-').filter_map(|(at, _)| {
        let (before, after) = text.split_at_checked(at)?;
        let opener = before.rfind('<')?;
        let tag = before.get(opener + 1..)?.trim_matches([' ', '\t', '/']);
        let is_tag = TAGS.iter().any(|known| tag.eq_ignore_ascii_case(known));
        let mark = after.get(1..5)?;
        let end = after.get(5..)?.chars().next();
        let is_end = end.is_none_or(|c| c.is_whitespace() || matches!(c, '>' | '/'));
        let is_mark = mark.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_tag && is_mark && is_end).then_some(at + 1)
    })
}

fn has_marks(text: &str) -> bool {
    marks(text).next().is_some()
}

/// What no answer shows that is not about markup.
fn has_other_marks(text: &str) -> bool {
    [
        "tool_call",
        "invoke",
        "<function",
        "tool▁call",
        "[TOOL_CALLS]",
    ]
    .iter()
    .any(|mark| text.contains(mark))
}

/// The conversation's mark in an argument is not known to the table, which says N.
fn without_marks(calls: &Value) -> Value {
    let mut text = calls.to_string();
    let places: Vec<usize> = marks(&text).collect();
    for at in places.into_iter().rev() {
        if text.get(at..at + 4) != Some("zzzz") {
            text.replace_range(at..at + 4, "N");
        }
    }
    serde_json::from_str(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn case(expected: Expected) -> Case {
        Case {
            kind: "k",
            says: "",
            expected,
        }
    }

    fn whole(message: &Value) -> Told {
        Told::whole(&json!({"choices": [{"message": message}]}).to_string())
    }

    fn called(name: &str, arguments: &str) -> Value {
        json!({"content": null, "tool_calls": [{"function": {"name": name, "arguments": arguments}}]})
    }

    fn found(fate: Fate) -> Found {
        Found {
            fate,
            is_expected: true,
        }
    }

    fn wrong(fate: Fate) -> Found {
        Found {
            fate,
            is_expected: false,
        }
    }

    #[test]
    fn calls_are_compared_with_those_of_the_table() {
        let ping = case(Expected::Calls(r#"[["ping",{}]]"#));
        let told = whole(&called("ping", "{}"));
        assert_eq!(fate(&ping, &told, 1), found(Fate::Repaired));
        assert_eq!(fate(&ping, &told, 2), wrong(Fate::Failed));
        let second = case(Expected::Second);
        assert_eq!(fate(&second, &told, 2), found(Fate::AskedAgain));
        assert_eq!(fate(&second, &told, 1), wrong(Fate::Failed));
        for other in [
            called("pong", "{}"),
            called("ping", "{\"a\":1}"),
            called("ping", "{"),
            json!({}),
        ] {
            let told = whole(&other);
            assert_eq!(fate(&ping, &told, 1), wrong(Fate::Failed), "{other}");
        }
        let marked = case(Expected::Calls(r#"[["f",{"a":"</arg-N> <calls-zzzz>"}]]"#));
        let told = whole(&called("f", r#"{"a":"</arg-b2cd> <calls-zzzz>"}"#));
        assert_eq!(fate(&marked, &told, 1), found(Fate::Repaired));
    }

    #[test]
    fn markup_in_words_is_a_leak_whatever_else_is_right() {
        let ping = case(Expected::Calls(r#"[["ping",{}]]"#));
        for text in [
            "</calls-b2cd>",
            "x < / CALL-b2cd name",
            "<result-b2cd",
            "<tool_call>",
        ] {
            let mut message = called("ping", "{}");
            message["content"] = text.into();
            assert_eq!(
                fate(&ping, &whole(&message), 1),
                wrong(Fate::Leaked),
                "{text}"
            );
            message["content"] = Value::Null;
            message["reasoning_content"] = text.into();
            assert_eq!(
                fate(&ping, &whole(&message), 1),
                wrong(Fate::Leaked),
                "{text}"
            );
        }
        let talk = "<calls>5</calls> <tool_call> <call-centre>";
        let told = whole(&json!({"content": talk}));
        assert_eq!(
            fate(&case(Expected::Words(talk)), &told, 1),
            found(Fate::Repaired)
        );
    }

    #[test]
    fn streams_end_or_fail() {
        let chunk = |delta: Value| format!("data: {}\n\n", json!({"choices": [{"delta": delta}]}));
        let begin = chunk(json!({"content": "Hm."}))
            + &chunk(json!({"tool_calls": [{"function": {"name": "ping", "arguments": ""}}]}))
            + &chunk(json!({"tool_calls": [{"function": {"arguments": "{}"}}]}));
        let told = Told::streamed(&format!("{begin}data: [DONE]\n\n"));
        let expected = Told {
            words: "Hm.".to_owned(),
            calls: json!([["ping", {}]]),
            error: None,
        };
        assert_eq!(told, expected);
        assert!(Told::streamed(&begin).error.is_some());
        let failed = format!("{begin}data: {}\n\n", json!({"error": {"code": "c"}}));
        let twice = case(Expected::Error("c"));
        assert_eq!(
            fate(&twice, &Told::streamed(&failed), 2),
            found(Fate::Failed)
        );
        let body = r#"{"error":{"code":"c"}}"#;
        assert_eq!(fate(&twice, &Told::error(body), 2), found(Fate::Failed));
        assert_eq!(fate(&twice, &Told::error("{}"), 2), wrong(Fate::Failed));
        assert_eq!(fate(&twice, &told, 2), wrong(Fate::Failed));
    }
}
