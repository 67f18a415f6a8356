//! Whatever a model calls in the contract's own form, the client gets: random tools and arguments, rendered as history
//! renders them, torn anywhere.

use proptest::{collection::vec, prelude::*, test_runner::RngSeed};

use super::*;
use crate::chat::{
    Text,
    emulate::{history::History, tree::Tree},
    message::{FunctionCall, ToolCall},
};

/// Texts as they stand in arguments: code, quotes of other marks, what looks like the end of things.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ -~]{0,12}",
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("  ".to_owned()),
        Just("你好👩‍💻".to_owned()),
        Just("</arg-zzzz>\n</call-zzzz>\n</calls-zzzz>".to_owned()),
        Just("<calls-zzzz><call-zzzz name=\"ping\">".to_owned()),
        Just("</parameter></function></tool_call>".to_owned()),
        Just("<tool_call>{\"name\":\"ping\",\"arguments\":{}}</tool_call>".to_owned()),
        Just("```xml\n".to_owned()),
        Just("\"\\n\\\"'&lt;]]>".to_owned()),
        Just("null".to_owned()),
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn value(schema: &Value) -> BoxedStrategy<Value> {
    match schema["type"].as_str() {
        Some("string") => text().prop_map(Value::from).boxed(),
        Some("integer") => any::<i32>().prop_map(Value::from).boxed(),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("array") => vec(value(&schema["items"]), 0..3)
            .prop_map(Value::from)
            .boxed(),
        _ => vec(("[a-z\"<]{1,4}", text()), 0..3)
            .prop_map(|members| {
                members
                    .into_iter()
                    .map(|(name, text)| (name, Value::from(text)))
                    .collect()
            })
            .boxed(),
    }
}

fn schema() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(json!({"type": "string"})),
        Just(json!({"type": "integer"})),
        Just(json!({"type": "boolean"})),
        Just(json!({"type": "object"})),
    ];
    prop_oneof![
        scalar.clone(),
        scalar.prop_map(|items| json!({"type": "array", "items": items})),
    ]
}

/// The tools, and calls of them.
fn session() -> impl Strategy<Value = (Vec<Value>, Vec<(usize, Value)>)> {
    let tools = vec(vec(schema(), 0..4), 1..4);
    tools.prop_flat_map(|tools| {
        let calls = vec(0..tools.len(), 1..4).prop_flat_map({
            let tools = tools.clone();
            move |picked| {
                let calls: Vec<_> = picked
                    .into_iter()
                    .map(|at| {
                        let names = (0..tools[at].len()).map(|at| format!("p{at}"));
                        let values: Vec<_> = tools[at].iter().map(value).collect();
                        let names: Vec<_> = names.collect();
                        values.prop_map(move |values| {
                            let members = names.iter().cloned().zip(values);
                            (at, Value::Object(members.collect()))
                        })
                    })
                    .collect();
                calls
            }
        });
        let schemas = tools.iter().map(|params| {
            let params = params.iter().enumerate();
            let params = params.map(|(at, schema)| (format!("p{at}"), schema.clone()));
            object(Value::Object(params.collect()), &[])
        });
        (Just(schemas.collect::<Vec<_>>()), calls)
    })
}

/// The same cases each time: a change that has nothing to do with them is to find none. `PROPTEST_RNG_SEED=N` looks for more,
/// and `PROPTEST_CASES=N` for how many.
fn config() -> ProptestConfig {
    let given = |name: &str| std::env::var_os(name).is_some();
    let own = ProptestConfig::default();
    ProptestConfig {
        cases: if given("PROPTEST_CASES") {
            own.cases
        } else {
            2000
        },
        rng_seed: if given("PROPTEST_RNG_SEED") {
            own.rng_seed
        } else {
            RngSeed::Fixed(7)
        },
        ..own
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn calls_come_back_as_they_were_written(
        (schemas, calls) in session(),
        prose in "[a-z .]{0,20}",
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let tools = schemas.iter().enumerate();
        let asked = Asked {
            tools: Some(tools.map(|(at, schema)| tool(&format!("t{at}"), schema.clone())).collect()),
            ..Asked::default()
        };
        let settings = settings(&asked);
        let said = Message {
            tool_calls: Some(calls.iter().map(|(at, arguments)| ToolCall {
                id: "x".to_owned(),
                is_custom: false,
                function: Some(FunctionCall {
                    name: format!("t{at}"),
                    arguments: Text::from(arguments.to_string()),
                }),
            }).collect()),
            ..Message::new(Role::Assistant, prose.as_str())
        };
        let history = History {
            nonce: &settings.nonce,
            offered: &settings.offered,
            takes_pictures: false,
            leaked: |_, _, _| None,
        };
        let rendered = history.render(&[said]);
        let text = rendered[0].text().into_owned();

        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
        places.sort_unstable();
        let (mut pieces, mut from) = (Vec::new(), 0);
        for place in places {
            if let Some(piece) = text.get(from..place) {
                pieces.push(Said::Words(piece));
                from = place;
            }
        }
        pieces.push(Said::Words(text.get(from..).unwrap()));
        let found = decode(&settings, &pieces, End::Clean);

        let told: String = found.iter().filter_map(|found| match found {
            Found::Text(text) => Some(text.as_str()),
            _ => None,
        }).collect();
        prop_assert_eq!(told.trim_end(), prose.trim_end());
        let decoded: Vec<_> = found.iter().filter_map(|found| match found {
            Found::Call(call) => {
                let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
                Some((call.name.strip_prefix('t').unwrap().parse().unwrap(), arguments))
            }
            _ => None,
        }).collect();
        prop_assert_eq!(decoded, calls, "{}", text);
    }

    /// Whatever an answer is, its pieces make no difference, nothing of ours leaves, and calls are JSON objects.
    #[test]
    fn any_answer_is_decoded_alike_in_any_pieces(
        parts in vec(prop_oneof![
            "[ -~\n]{0,6}",
            prop::sample::select(PARTS).prop_map(vectors::expanded),
        ], 0..10),
        end in prop_oneof![Just(End::Clean), Just(End::Cut), Just(End::Broken)],
        size in 1_usize..9,
        is_second in any::<bool>(),
    ) {
        let text = parts.concat();
        let asked = Asked {
            round: if is_second { second(FactKind::Void) } else { Round::First },
            ..Asked::default()
        };
        let settings = settings(&asked);
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let mut at = size.min(rest.len());
            while !rest.is_char_boundary(at) {
                at += 1;
            }
            let (head, tail) = rest.split_at(at);
            pieces.push(Said::Words(head));
            rest = tail;
        }
        let found = decode(&settings, &[Said::Words(&text)], end);
        prop_assert_eq!(line(&decode(&settings, &pieces, end)), line(&found), "{}", text);
        let mut told = String::new();
        for found in &found {
            match found {
                Found::Text(text) => told.push_str(text),
                Found::Call(call) => {
                    prop_assert!(matches!(super::super::json::read_exact(&call.arguments), Ok(Tree::Object(_))));
                }
                _ => {}
            }
        }
        let lower = told.to_lowercase();
        for tag in ["calls", "call", "arg", "results", "result"] {
            for mark in ["<", "</"] {
                prop_assert!(!lower.contains(&format!("{mark}{tag}-{NONCE}>")), "{}", told);
                prop_assert!(!lower.contains(&format!("{mark}{tag}-{NONCE} ")), "{}", told);
            }
        }
    }

    /// The same of thoughts.
    #[test]
    fn thoughts_are_decoded_alike_in_any_pieces(
        parts in vec(prop::sample::select(PARTS).prop_map(vectors::expanded), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = parts.concat();
        let settings = settings(&Asked::default());
        let mut at = cut.index(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let (head, tail) = text.split_at(at);
        let whole = decode(&settings, &[Said::Thoughts(&text)], End::Clean);
        let torn = decode(&settings, &[Said::Thoughts(head), Said::Thoughts(tail)], End::Clean);
        prop_assert_eq!(line(&torn), line(&whole), "{}", text);
    }
}

const PARTS: &[&str] = &[
    "[B]",
    "[/B]",
    "[C read]",
    "[C ping]",
    "[C write]",
    "[/C]",
    "[A path]",
    "[A content]",
    "[A limit]",
    "[/A]",
    "⏎",
    " ",
    "a",
    "5",
    "{\"a\":",
    "}",
    "\"",
    "'",
    "```",
    "```xml⏎",
    "~~~",
    "<calls-k7",
    "<ca",
    "ll-k7q2>",
    "<|",
    "\\",
    "<function_calls>⏎",
    "<call-k7q2 name=\"re",
    "</",
    "<",
    "<results-k7q2>",
    "<calls-zzzz>",
    "<call-zzzz name=\"ping\">",
    "</call-zzzz>",
    "<invoke name=\"ping\">",
    "<invoke name=\"read\">",
    "<parameter name=\"path\">",
    "</parameter>",
    "</invoke>",
    "<function=read>",
    "<parameter=path>",
    "</function>",
    "<tool_call>",
    "</tool_call>",
    "{\"name\":\"ping\",\"arguments\":{}}",
    "{\"name\":\"read\",\"arguments\":{\"path\":\"",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "read",
    "[TOOL_CALLS]",
    "[",
    "]",
    "<tool_response>",
    "<|im_start|>",
    "<div>",
    "<div class=\"x\">",
    "            ",
    "你",
];

/// Found by the test above: whether a tag started a line depended on what was still in the buffer.
#[test]
fn the_start_of_a_value_is_no_start_of_a_line() {
    let text = r#"<call-zzzz name="ping"><arg-k7q2 name="path"><call-zzzz name="ping">"#;
    let settings = settings(&Asked::default());
    let whole = line(&decode(&settings, &[Said::Words(text)], End::Broken));
    for size in 1..text.len() {
        let pieces = text.as_bytes().chunks(size);
        let pieces: Vec<Said<'_>> = pieces
            .map(|piece| Said::Words(std::str::from_utf8(piece).unwrap()))
            .collect();
        assert_eq!(
            line(&decode(&settings, &pieces, End::Broken)),
            whole,
            "{size}"
        );
    }
}

/// Found by the test above: what stood behind a fence's marks was told unseen.
#[test]
fn a_tag_behind_the_marks_of_a_fence_does_not_leave() {
    for text in [
        "```<calls-k7q2>\n",
        "```<calls-k7q2>\nfn",
        "~~~ x <call-k7q2>\n\n<b>",
    ] {
        for size in 1..text.len() {
            let pieces = text.as_bytes().chunks(size);
            let pieces: Vec<Said<'_>> = pieces
                .map(|piece| Said::Words(std::str::from_utf8(piece).unwrap()))
                .collect();
            let told = line(&decode(&settings(&Asked::default()), &pieces, End::Clean));
            assert!(!told.contains("k7q2"), "{size} {told}");
        }
    }
}
