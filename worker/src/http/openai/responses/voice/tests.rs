//! What the voice says, read by somebody else ([`checker`]).

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use serde_json::json;

use super::*;
use crate::{
    chat::{Json, ProviderError},
    http::{
        openai::responses::toolbox::{Origin, Place},
        responses_checker as checker,
    },
};

fn toolbox() -> Toolbox {
    let mut toolbox = Toolbox::default();
    let place = |namespace: Option<&str>, name: &str| Place {
        namespace: namespace.map(Into::into),
        name: name.into(),
    };
    for (name, origin) in [
        ("f", Origin::Function(place(None, "f"))),
        ("ns__g", Origin::Function(place(Some("ns"), "g"))),
        ("patch", Origin::Custom(place(None, "patch"))),
        (
            "functions__exec",
            Origin::Custom(place(Some("functions"), "exec")),
        ),
        ("shell", Origin::LocalShell),
        ("apply_patch", Origin::ApplyPatch),
        ("tool_search", Origin::ToolSearch),
    ] {
        toolbox.insert(name.into(), origin);
    }
    toolbox
}

fn voice() -> ResponsesVoice {
    let echo = Echo {
        model: "m".to_owned(),
        instructions: Some(Json::string("be kind")),
        tools: Some(Json::new(r#"[{"type":"function","name":"f"}]"#).unwrap()),
        ..Echo::default()
    };
    ResponsesVoice::new(echo, toolbox())
}

const USAGE: Usage = Usage {
    prompt_tokens: 5,
    completion_tokens: 7,
    reasoning_tokens: 2,
    cached_tokens: 1,
};

fn text(text: &str) -> Piece {
    Piece::Text(text.into())
}

fn thought(text: &str) -> Piece {
    Piece::Reasoning(text.into())
}

fn refusal(text: &str) -> Piece {
    let members = json!({"refusal": text});
    Piece::Extra(members.as_object().unwrap().clone())
}

fn begin(index: u32, name: &str, arguments: &str) -> Piece {
    Piece::ToolCall(ToolCallDelta {
        index,
        id: Some(format!("call_{index}")),
        name: Some(name.into()),
        arguments: arguments.into(),
    })
}

fn more(index: u32, arguments: &str) -> Piece {
    Piece::ToolCall(ToolCallDelta {
        index,
        id: None,
        name: None,
        arguments: arguments.into(),
    })
}

fn source(number: u32, at: usize) -> Source {
    Source {
        number,
        url: format!("https://e/{number}"),
        title: "T".to_owned(),
        at,
    }
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Finish(FinishReason),
    Fail(Kind),
}

const STOP: End = End::Finish(FinishReason::Stop);

fn streamed(pieces: impl IntoIterator<Item = Piece>, end: End) -> String {
    let (mut voice, mut out) = (voice(), BytesMut::new());
    voice.begin(&mut out);
    voice.ping(&mut out);
    for piece in pieces {
        voice.piece(&mut out, 0, piece);
        voice.ping(&mut out);
    }
    match end {
        End::Finish(reason) => {
            voice.piece(&mut out, 0, Piece::Finish(reason));
            voice.finish(&mut out, USAGE);
        }
        End::Fail(kind) => {
            let error = ProviderError::new(kind, "it broke.");
            let error = error.with_retry_after(Some(Duration::from_millis(11_200)));
            voice.fail(&mut out, &error.into());
        }
    }
    String::from_utf8(out.to_vec()).unwrap()
}

fn told(pieces: impl IntoIterator<Item = Piece>, end: End) -> checker::Told {
    let stream = streamed(pieces, end);
    checker::read(&stream).unwrap_or_else(|broken| panic!("{broken}\n\n{stream}"))
}

/// The same pieces as an answer in one piece.
fn whole(pieces: impl IntoIterator<Item = Piece>, reason: FinishReason) -> Value {
    let mut whole = Whole {
        finish: Some(reason),
        ..Whole::default()
    };
    for piece in pieces {
        match (piece, whole.items.last_mut()) {
            (Piece::Text(more), Some(Item::Text(known)))
            | (Piece::Reasoning(more), Some(Item::Reasoning(known))) => known.push_str(&more),
            (Piece::Text(text), _) => whole.items.push(Item::Text(text)),
            (Piece::Reasoning(text), _) => whole.items.push(Item::Reasoning(text)),
            (Piece::ToolCall(piece), _) => {
                let known = whole.items.iter_mut().find_map(|item| match item {
                    Item::Call(call) if call.index == piece.index => Some(call),
                    _ => None,
                });
                match known {
                    Some(known) => known.arguments.push_str(&piece.arguments),
                    None => whole.items.push(Item::Call(piece)),
                }
            }
            (Piece::Sources(sources), _) => whole.sources = sources,
            (Piece::Extra(members), _) => whole.extra = members,
            (Piece::Signature(_) | Piece::Sealed(_) | Piece::Logprobs(_) | Piece::Finish(_), _) => {
            }
        }
    }
    serde_json::from_slice(&voice().whole(vec![whole], USAGE)).unwrap()
}

fn clone(pieces: &[Piece]) -> Vec<Piece> {
    let copy = |piece: &Piece| match piece {
        Piece::Text(text) => Piece::Text(text.clone()),
        Piece::Reasoning(text) => Piece::Reasoning(text.clone()),
        Piece::Signature(seal) => Piece::Signature(seal.clone()),
        Piece::Sealed(thought) => Piece::Sealed(thought.clone()),
        Piece::ToolCall(call) => Piece::ToolCall(call.clone()),
        Piece::Sources(sources) => Piece::Sources(sources.clone()),
        Piece::Extra(members) => Piece::Extra(members.clone()),
        Piece::Logprobs(value) => Piece::Logprobs(value.clone()),
        Piece::Finish(reason) => Piece::Finish(*reason),
    };
    pieces.iter().map(copy).collect()
}

#[test]
fn a_stream_has_the_events_of_the_page() {
    let told = told(
        [
            thought("hm"),
            text("one "),
            text("two"),
            begin(0, "f", ""),
            more(0, "{\"a\":"),
            more(0, "1}"),
            Piece::Sources(vec![source(1, 3)]),
        ],
        STOP,
    );
    assert_eq!(
        told.names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    assert_eq!(
        told.response["usage"]["output_tokens_details"]["reasoning_tokens"],
        2
    );
    assert_eq!(told.keepalives, 8);
    assert_eq!(
        checker::without_ids(told.output()),
        [
            json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": null}),
            json!({"type": "message", "status": "completed", "role": "assistant", "content": [{"type": "output_text", "text": "one two", "annotations": [], "logprobs": []}]}),
            json!({"type": "function_call", "call_id": "call_0", "name": "f", "arguments": "{\"a\":1}", "status": "completed"}),
        ]
    );
}

#[test]
fn text_after_a_call_is_another_message() {
    let told = told([text("a"), begin(0, "f", "{}"), text("b")], STOP);
    let kinds: Vec<&str> = told
        .output()
        .iter()
        .map(|item| item["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["message", "function_call", "message"]);
}

#[test]
fn sources_stand_where_the_message_cites_them() {
    let cited = |pieces: Vec<Piece>| {
        let told = told(pieces, STOP);
        let last = told.output().last().cloned().unwrap_or_default();
        let list = last["content"][0]["annotations"].as_array().cloned();
        let places = list.into_iter().flatten();
        places
            .map(|it| it["start_index"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    let sources = || Piece::Sources(vec![source(1, 1), source(2, 4), source(3, 0)]);
    assert_eq!(cited(vec![text("你好吗?!"), sources()]), [1, 4, 0]);
    // The second message has the last two characters.
    let two = vec![text("abc"), begin(0, "f", "{}"), text("de"), sources()];
    assert_eq!(cited(two), [0, 1, 0]);
    assert_eq!(
        cited(vec![text("abc"), begin(0, "f", "{}"), sources()]),
        [0; 0]
    );
    assert_eq!(cited(vec![sources()]), [0; 0]);
}

#[test]
fn tools_come_back_as_what_they_were_offered() {
    for (name, arguments, expected) in [
        (
            "ns__g",
            "{}",
            json!({"type": "function_call", "namespace": "ns", "name": "g", "arguments": "{}", "status": "completed"}),
        ),
        (
            "g",
            "",
            json!({"type": "function_call", "namespace": "ns", "name": "g", "arguments": "{}", "status": "completed"}),
        ),
        (
            "unheard_of",
            "{}",
            json!({"type": "function_call", "name": "unheard_of", "arguments": "{}", "status": "completed"}),
        ),
        (
            "patch",
            "*** Begin Patch\n\"",
            json!({"type": "custom_tool_call", "name": "patch", "input": "*** Begin Patch\n\""}),
        ),
        (
            "functions__exec",
            "{\"input\": \"a\\nb\"}",
            json!({"type": "custom_tool_call", "namespace": "functions", "name": "exec", "input": "a\nb"}),
        ),
        (
            "exec",
            "```js\na\n```",
            json!({"type": "custom_tool_call", "namespace": "functions", "name": "exec", "input": "a"}),
        ),
        (
            "shell",
            "{\"command\":[\"ls\"]}",
            json!({"type": "local_shell_call", "status": "completed", "action": {"type": "exec", "command": ["ls"], "env": {}, "timeout_ms": null, "working_directory": null, "user": null}}),
        ),
        (
            "shell",
            "ls",
            json!({"type": "function_call", "name": "shell", "arguments": "ls", "status": "completed"}),
        ),
        (
            "tool_search",
            "{\"query\":\"x\"}",
            json!({"type": "tool_search_call", "status": "completed", "execution": "client", "arguments": {"query": "x"}}),
        ),
    ] {
        for at in (0..=arguments.len()).filter(|at| arguments.is_char_boundary(*at)) {
            let (head, tail) = arguments.split_at(at);
            let told = told([begin(0, name, head), more(0, tail)], STOP);
            let mut items = checker::without_ids(told.output());
            assert_eq!(
                items[0].as_object_mut().unwrap().remove("call_id"),
                Some(json!("call_0"))
            );
            assert_eq!(
                items,
                std::slice::from_ref(&expected),
                "{name} {head:?} {tail:?}"
            );
        }
    }
}

#[test]
fn the_files_of_a_patch_are_calls_of_their_own() {
    let patch = "*** Begin Patch\n*** Add File: a\n+x\n*** Delete File: b\n*** End Patch";
    let arguments = json!({"input": patch}).to_string();
    let told = told([begin(0, "apply_patch", &arguments)], STOP);
    let calls: Vec<_> = told
        .output()
        .iter()
        .map(|item| (item["call_id"].clone(), item["operation"]["type"].clone()))
        .collect();
    assert_eq!(
        calls,
        [
            (json!("call_0"), json!("create_file")),
            (json!("call_0_1"), json!("delete_file")),
        ]
    );
}

/// A text that cannot be wrapped does not wait for its end.
#[test]
fn free_texts_go_out_as_they_come() {
    let pieces = || {
        [
            begin(0, "patch", "*** Begin Patch\n"),
            more(0, "+a\n"),
            more(0, "*** End Patch"),
        ]
    };
    let deltas = |stream: &str| {
        stream
            .matches("event: response.custom_tool_call_input.delta")
            .count()
    };
    assert_eq!(deltas(&streamed(pieces(), STOP)), 3);
    assert_eq!(
        deltas(&streamed(
            [begin(0, "patch", "```\n"), more(0, "a\n"), more(0, "```")],
            STOP
        )),
        1
    );
}

/// Some upstreams send the pieces of parallel calls in turns; clients take one item after the other.
#[test]
fn parallel_calls_are_said_one_after_the_other() {
    let told = told(
        [
            begin(0, "f", "{"),
            begin(1, "ns__g", "[1"),
            text("between"),
            more(0, "}"),
            more(1, "]"),
            begin(2, "f", "{\"half\":"),
            text("after"),
        ],
        STOP,
    );
    let said: Vec<String> = told
        .output()
        .iter()
        .map(|item| match item["arguments"].as_str() {
            Some(arguments) => arguments.to_owned(),
            None => item["content"][0]["text"].as_str().unwrap().to_owned(),
        })
        .collect();
    assert_eq!(said, ["{}", "[1]", "between", "{\"half\":", "after"]);
}

#[test]
fn a_name_may_come_later() {
    let nameless = Piece::ToolCall(ToolCallDelta {
        index: 0,
        id: None,
        name: None,
        arguments: "{".into(),
    });
    let told = told([nameless, text("x"), begin(0, "f", "}")], STOP);
    assert_eq!(told.output()[0]["arguments"], "{}");
    assert_eq!(told.output()[0]["name"], "f");
    assert_eq!(told.text(), "x");
}

#[test]
fn an_answer_that_ends_early_says_why() {
    for (end, status, reason) in [
        (
            End::Finish(FinishReason::Length),
            "incomplete",
            "max_output_tokens",
        ),
        (
            End::Finish(FinishReason::ContentFilter),
            "incomplete",
            "content_filter",
        ),
        (End::Fail(Kind::Moderated), "incomplete", "content_filter"),
        (End::Fail(Kind::Unavailable), "failed", "server_error"),
        (End::Fail(Kind::QuotaSpent), "failed", "insufficient_quota"),
        (
            End::Fail(Kind::ContextLength),
            "failed",
            "context_length_exceeded",
        ),
        (End::Fail(Kind::BadRequest), "failed", "invalid_prompt"),
        (
            End::Fail(Kind::RateLimited),
            "failed",
            "rate_limit_exceeded",
        ),
    ] {
        for pieces in [
            vec![],
            vec![thought("a")],
            vec![text("a")],
            vec![text("a"), begin(0, "f", "{\"a")],
            vec![text("a"), begin(0, "patch", "*** Begin\n")],
            vec![text("a"), begin(0, "patch", "{\"input")],
            vec![text("a"), begin(0, "shell", "{\"command")],
            vec![begin(0, "f", "{\"a"), begin(1, "f", "{}"), text("a")],
        ] {
            let told = told(pieces, end);
            assert_eq!(told.response["status"], status, "{end:?}");
            let said = match status {
                "failed" => &told.response["error"]["code"],
                _ => &told.response["incomplete_details"]["reason"],
            };
            assert_eq!(said, reason, "{end:?}");
        }
    }
    let told = told([text("a")], End::Fail(Kind::RateLimited));
    assert_eq!(
        told.response["error"]["message"],
        "it broke. Please try again in 12s."
    );
    assert_eq!(told.output()[0]["status"], "incomplete");
}

/// Half a free text may well be something that runs.
#[test]
fn half_a_call_is_never_done() {
    let told = told(
        [begin(0, "functions__exec", "rm(a);\n")],
        End::Fail(Kind::Unavailable),
    );
    assert!(
        !told
            .names
            .iter()
            .any(|name| name == "response.output_item.done")
    );
    assert_eq!(told.output()[0]["input"], "rm(a);\n");
    let told = self::told([begin(0, "f", "{\"a")], End::Fail(Kind::Unavailable));
    assert_eq!(told.output()[0]["status"], "incomplete");
}

#[test]
fn nothing_of_an_answer_is_kept_beyond_reason() {
    let piece = "a".repeat(MOST_BYTES / 2);
    let (mut voice, mut out) = (voice(), BytesMut::new());
    for _ in 0..4 {
        voice.piece(&mut out, 0, text(&piece));
    }
    assert_eq!(voice.end, Some(FinishReason::Length));
    assert!(voice.outputs.json().len() < 2 * MOST_BYTES);
}

#[test]
fn an_answer_in_one_piece_echoes_what_was_asked() {
    let response = whole([text("a")], FinishReason::Stop);
    assert_eq!(response["instructions"], "be kind");
    assert_eq!(response["tools"][0]["name"], "f");
    assert_eq!(response["usage"]["total_tokens"], 12);
    assert_eq!(response["status"], "completed");
    let response = whole([text("a")], FinishReason::Length);
    assert_eq!(
        response["incomplete_details"]["reason"],
        "max_output_tokens"
    );
    assert_eq!(response["output"][0]["status"], "incomplete");
}

/// Pieces of functions' calls in turns, and all else between them.
fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let name = prop_oneof![
        Just("f"),
        Just("g"),
        Just("ns__g"),
        Just("shell"),
        Just("apply_patch"),
        Just("tool_search"),
        Just("unheard_of"),
    ];
    let arguments = prop_oneof![
        Just("{}"),
        Just("{\"a\":[1,\"}\"]}"),
        Just("{\"command\":[\"ls\"]}"),
        Just("{\"half\":"),
        Just(""),
        Just("no JSON 你"),
    ];
    let calls = prop::collection::vec((name, arguments), 0..4);
    let steps = prop::collection::vec((0..7usize, any::<prop::sample::Index>()), 0..24);
    let texts = prop::collection::vec((any::<bool>(), "[a-c你\n\"]{0,3}"), 24);
    (calls, steps, texts, any::<[bool; 2]>()).prop_map(|(calls, steps, texts, [refuses, cites])| {
        let mut left: Vec<&str> = calls.iter().map(|(_, arguments)| *arguments).collect();
        let mut begun = 0;
        let mut pieces = Vec::new();
        for ((step, at), (is_thought, words)) in steps.iter().zip(texts) {
            match step {
                0 if begun < calls.len() => {
                    let (name, _) = calls[begun];
                    pieces.push(begin(u32::try_from(begun).unwrap(), name, ""));
                    begun += 1;
                }
                1..=3 if begun > 0 => {
                    let index = at.index(begun);
                    let rest: Vec<char> = left[index].chars().collect();
                    let taken: String = rest.iter().take(1 + step * 3).collect();
                    left[index] = left[index].strip_prefix(&taken).unwrap();
                    pieces.push(more(u32::try_from(index).unwrap(), &taken));
                }
                4 => pieces.push(begin_custom(pieces.len())),
                _ if is_thought => pieces.push(thought(&words)),
                _ => pieces.push(text(&words)),
            }
        }
        for (index, rest) in left.iter().enumerate().take(begun) {
            pieces.push(more(u32::try_from(index).unwrap(), rest));
        }
        if refuses {
            pieces.push(refusal("no"));
        }
        if cites {
            pieces.push(Piece::Sources(vec![source(1, 2), source(2, 90)]));
        }
        pieces
    })
}

/// A free text that comes whole, as its own end cannot be seen.
fn begin_custom(index: usize) -> Piece {
    let texts = ["", "a\n", "```\na\n```", "{\"input\":\"a\"}", "{\"in"];
    let index = 100 + u32::try_from(index).unwrap();
    begin(index, "patch", texts[index as usize % texts.len()])
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(STOP),
        Just(End::Finish(FinishReason::ToolCalls)),
        Just(End::Finish(FinishReason::Length)),
        Just(End::Finish(FinishReason::ContentFilter)),
        Just(End::Fail(Kind::Unavailable)),
        Just(End::Fail(Kind::RateLimited)),
        Just(End::Fail(Kind::Moderated)),
    ]
}

proptest::proptest! {
    #[test]
    fn whatever_is_said_keeps_the_rules(pieces in pieces(), end in ends()) {
        let stream = streamed(clone(&pieces), end);
        let told = checker::read(&stream);
        proptest::prop_assert!(told.is_ok(), "{:?}\n{stream}", told.err());
        if let (Ok(told), End::Finish(reason)) = (told, end) {
            let whole = whole(pieces, reason);
            let output = whole["output"].as_array().unwrap();
            proptest::prop_assert_eq!(checker::without_ids(told.output()), checker::without_ids(output));
            for name in ["status", "usage", "incomplete_details", "error"] {
                proptest::prop_assert_eq!(&told.response[name], &whole[name]);
            }
        }
    }
}
