use serde_json::{Value, json};

use super::*;
use crate::chat::{
    Support,
    emulate::{nonce::NonceKey, plan::OwnTools, turn::Taken},
};

const OWN: OwnTools = OwnTools {
    names: &["ping"],
    taken: Some(Taken {
        before: "Tool ",
        after: " does not exists",
    }),
};

fn request(more: &Value) -> Arc<ChatRequest> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "q"}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    Arc::new(crate::http::openai::body::read(body.to_string().into()).unwrap())
}

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "read", "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}}},
        {"type": "function", "function": {"name": "ping"}}])
}

/// A turn, round by round.
struct Round1 {
    filter: Emulation,
    asked: Arc<ChatRequest>,
    passed: Vec<ChatEvent>,
}

fn begin(more: &Value, own_tools: Option<&'static OwnTools>) -> Round1 {
    let means = Means {
        key: NonceKey::new(None),
        client: "c".into(),
        provider: "unit-test".into(),
        window: None,
        takes_pictures: false,
        own_tools,
        tools: Support::Emulated,
        format: Support::Emulated,
    };
    let (asked, filter) = Emulation::new(&request(more), means).unwrap();
    Round1 {
        filter,
        asked,
        passed: Vec::new(),
    }
}

impl Round1 {
    /// The service answers with this, in pieces of three bytes, and ends.
    fn answers(&mut self, text: &str) -> Ending {
        self.answers_until(text, FinishReason::Stop)
    }

    fn answers_until(&mut self, text: &str, end: FinishReason) -> Ending {
        let text = self.written(text);
        let chars: Vec<char> = text.chars().collect();
        for piece in chars.chunks(3) {
            if !self.filter.is_cut() {
                let piece = ChatEvent::Text(piece.iter().collect());
                self.filter.apply(piece, &mut self.passed);
            }
        }
        if !self.filter.is_cut() {
            self.filter.apply(ChatEvent::Finish(end), &mut self.passed);
        }
        self.filter.finish(&mut self.passed);
        match self.filter.ending() {
            Ending::Again(request) => {
                self.asked = Arc::clone(&request);
                Ending::Again(request)
            }
            other => other,
        }
    }

    fn written(&self, text: &str) -> String {
        let mark = self.filter.asked.nonce.as_str();
        let cut = format!("<call-{mark} name=\"read\"><arg-{mark} name=\"path\">a");
        text.replace("[cut]", &cut)
            .replace("[B]", &format!("<calls-{mark}>"))
            .replace("[/B]", &format!("</calls-{mark}>"))
            .replace(
                "[ping]",
                &format!("<call-{mark} name=\"ping\"></call-{mark}>"),
            )
            .replace(
                "[x_ping]",
                &format!("<call-{mark} name=\"x_ping\"></call-{mark}>"),
            )
    }

    fn said(&self) -> String {
        let text = |event: &ChatEvent| match event {
            ChatEvent::Text(text) => Some(text.clone()),
            _ => None,
        };
        self.passed.iter().filter_map(text).collect()
    }

    fn calls(&self) -> Vec<(u32, String, String)> {
        let mut calls: Vec<(u32, String, String)> = Vec::new();
        for event in &self.passed {
            if let ChatEvent::ToolCall(call) = event {
                match &call.name {
                    Some(name) => {
                        assert_eq!(call.arguments, "", "a call begins with its name alone");
                        calls.push((call.index, name.clone(), String::new()));
                    }
                    None => calls.last_mut().unwrap().2.push_str(&call.arguments),
                }
            }
        }
        calls
    }

    fn end(&self) -> Option<FinishReason> {
        self.passed.iter().find_map(|event| match event {
            ChatEvent::Finish(reason) => Some(*reason),
            _ => None,
        })
    }

    fn usage(&self) -> Usage {
        let usage = |event: &ChatEvent| match event {
            ChatEvent::Usage(usage) => Some(*usage),
            _ => None,
        };
        self.passed.iter().find_map(usage).unwrap()
    }
}

#[test]
fn words_and_calls_are_told_apart() {
    let mut turn = begin(&json!({"tools": tools()}), None);
    assert!(matches!(
        turn.answers("I look.\n\n[B][ping][ping][/B]"),
        Ending::Done
    ));
    assert_eq!(turn.said(), "I look.");
    let ping = |index| (index, "ping".to_owned(), "{}".to_owned());
    assert_eq!(turn.calls(), [ping(0), ping(1)]);
    assert_eq!(turn.end(), Some(FinishReason::ToolCalls));
    let usage = turn.usage();
    assert_eq!(
        usage.prompt_tokens,
        turn.asked.prompt_tokens(),
        "the contract is counted"
    );
    assert!(usage.prompt_tokens > 200 && usage.completion_tokens == 0);
}

#[test]
fn an_answer_without_calls_stays_what_it_is() {
    let mut turn = begin(&json!({"tools": tools()}), None);
    turn.answers_until("a < b, `x` and\n\n", FinishReason::Length);
    assert_eq!(
        (turn.said().as_str(), turn.end()),
        ("a < b, `x` and\n\n", Some(FinishReason::Length))
    );
}

#[test]
fn the_service_is_stopped_when_the_turn_is_over() {
    let mut turn = begin(
        &json!({"tools": tools(), "parallel_tool_calls": false}),
        None,
    );
    turn.filter.apply(
        ChatEvent::Text(turn.written("[B][ping]<")),
        &mut turn.passed,
    );
    turn.filter
        .apply(ChatEvent::Text(turn.written("x")), &mut Vec::new());
    let mut turn = begin(&json!({"tools": tools()}), None);
    turn.filter.apply(
        ChatEvent::Text(turn.written("[B][ping][/B]\nThe result is")),
        &mut turn.passed,
    );
    assert!(turn.filter.is_cut());
    assert_eq!(
        (turn.calls().len(), turn.end()),
        (1, Some(FinishReason::ToolCalls))
    );
    turn.filter
        .apply(ChatEvent::Text(" 5.".into()), &mut turn.passed);
    turn.filter.finish(&mut turn.passed);
    assert_eq!(turn.said(), "");
}

#[test]
fn a_second_question_quotes_the_first_answer_and_drops_the_words_of_the_second() {
    let mut turn = begin(&json!({"tools": tools()}), None);
    let first = turn.asked.prompt_tokens();
    assert!(matches!(turn.answers("On it. [B][cut]"), Ending::Again(_)));
    assert_eq!((turn.said().as_str(), turn.end()), ("On it.", None));
    let asked = turn
        .asked
        .messages
        .iter()
        .rev()
        .take(2)
        .map(|message| message.text().into_owned())
        .collect::<Vec<_>>();
    assert!(asked[0].starts_with("Your last message contained a tool call that could not be carried out: ") && asked[0].contains("Nothing was run. Send the complete call again in the form described above, and nothing else.\n\n(Tools: end with <calls-"), "{}", asked[0]);
    assert_eq!(asked[1], turn.written("On it. [B][cut]"));
    let second = turn.asked.prompt_tokens();
    assert!(!turn.filter.is_cut(), "the second answer is read");
    assert!(matches!(turn.answers("Sorry! [B][ping][/B]"), Ending::Done));
    assert_eq!(
        (turn.said().as_str(), turn.calls().len(), turn.end()),
        ("On it.", 1, Some(FinishReason::ToolCalls))
    );
    let usage = turn.usage();
    assert_eq!(usage.prompt_tokens, first + second);
    assert!(
        usage.completion_tokens > 10,
        "both answers, markup and all: {usage:?}"
    );
}

#[test]
fn a_second_bad_answer_fails_without_a_word_of_it() {
    let mut turn = begin(&json!({"tools": tools()}), None);
    turn.answers("[B][cut]");
    let Ending::Failed(error) = turn.answers("[B][cut]secret") else {
        panic!("{:?}", turn.passed)
    };
    assert_eq!(
        (error.kind, error.code.as_deref()),
        (Kind::Protocol, Some("upstream_tool_call_invalid"))
    );
    assert!(!error.message.contains("secret"));
    let mut required = begin(&json!({"tools": tools(), "tool_choice": "required"}), None);
    assert!(matches!(required.answers("No."), Ending::Again(_)));
    assert!(
        required
            .asked
            .messages
            .last()
            .unwrap()
            .text()
            .contains("must contain a call")
    );
    let Ending::Failed(error) = required.answers("No.") else {
        panic!("{:?}", required.passed)
    };
    assert_eq!(error.code.as_deref(), Some("tool_choice_not_met"));
}

#[test]
fn a_name_that_the_service_has_taken_is_another_one() {
    let mut turn = begin(&json!({"tools": tools()}), Some(&OWN));
    let told = |turn: &Round1| turn.asked.messages[0].text().into_owned();
    assert!(
        told(&turn).contains("## x_ping()") && told(&turn).contains("## read("),
        "{}",
        told(&turn)
    );
    assert!(matches!(
        turn.answers("Tool read does not exists."),
        Ending::Again(_)
    ));
    assert!(told(&turn).contains("## x_read("), "{}", told(&turn));
    assert_eq!(
        turn.asked.messages.len(),
        2,
        "it is asked anew, and not told of the answer"
    );
    turn.answers("[B][x_ping][/B]");
    assert_eq!(turn.calls()[0].1, "ping");
    assert_eq!(turn.said(), "");
}

#[test]
fn an_answer_in_a_form_is_held_until_it_is_judged() {
    let mut turn = begin(&json!({"response_format": {"type": "json_object"}}), None);
    assert!(
        turn.asked
            .messages
            .last()
            .unwrap()
            .text()
            .ends_with("no words around it, no fence.")
    );
    turn.filter
        .apply(ChatEvent::Reasoning("hm".into()), &mut turn.passed);
    turn.filter
        .apply(ChatEvent::Text("{\"a\":".into()), &mut turn.passed);
    assert_eq!(turn.passed, [ChatEvent::Reasoning("hm".into())]);
    assert!(matches!(turn.answers(" \"你\"}"), Ending::Done));
    assert_eq!(
        (turn.said().as_str(), turn.end()),
        ("{\"a\": \"你\"}", Some(FinishReason::Stop))
    );
    let mut cut = begin(&json!({"response_format": {"type": "json_object"}}), None);
    assert!(matches!(
        cut.answers_until("{\"a\":\"open", FinishReason::Length),
        Ending::Done
    ));
    assert_eq!(
        (cut.said().as_str(), cut.end()),
        ("{\"a\":\"open", Some(FinishReason::Length))
    );
}

#[test]
fn beside_tools_the_words_of_a_turn_with_calls_are_not_the_answer() {
    let both = json!({"tools": tools(), "response_format": {"type": "json_object"}});
    let mut called = begin(&both, None);
    assert!(
        called
            .asked
            .messages
            .last()
            .unwrap()
            .text()
            .contains("\n\nUnless you call a tool, answer with one JSON object")
    );
    called.answers("I look. [B][ping][/B]");
    assert_eq!((called.said().as_str(), called.calls().len()), ("", 1));
    let mut answered = begin(&both, None);
    answered.answers("{\"name\":\"ping\",\"arguments\":{}}");
    assert_eq!(
        (answered.said().as_str(), answered.calls().len()),
        ("{\"name\":\"ping\",\"arguments\":{}}", 0)
    );
}

#[test]
fn what_a_service_finally_has_is_read_as_well() {
    let mut turn = begin(&json!({"tools": tools()}), None);
    turn.filter.apply(
        ChatEvent::Rewritten(turn.written("Well. [B][ping][/B]")),
        &mut turn.passed,
    );
    assert_eq!(turn.passed, [ChatEvent::Rewritten("Well.".into())]);
}

#[test]
fn what_the_service_counts_itself_is_told() {
    let usage = |prompt_tokens, completion_tokens| Usage {
        prompt_tokens,
        completion_tokens,
        ..Usage::default()
    };
    let mut turn = begin(&json!({"tools": tools()}), None);
    turn.filter
        .apply(ChatEvent::Usage(usage(7, 3)), &mut turn.passed);
    turn.answers("[B][cut]");
    turn.filter
        .apply(ChatEvent::Usage(usage(9, 4)), &mut turn.passed);
    turn.answers("[B][ping][/B]");
    assert_eq!(turn.usage(), usage(16, 7));
}

impl Round1 {
    /// The service says this first, and then the same without end; how many bytes it was let say.
    fn goes_on(&mut self, first: &str, same: &str) -> usize {
        let first = self.written(first);
        self.filter.apply(ChatEvent::Text(first), &mut self.passed);
        let piece = self.written(same).repeat((64 << 10) / same.len());
        let mut said = 0;
        while !self.filter.is_cut() {
            said += piece.len();
            assert!(said <= MOST_SILENT + MOST_CALL, "it goes on for ever");
            let piece = ChatEvent::Text(piece.clone());
            self.filter.apply(piece, &mut self.passed);
            let (raw, held) = (self.filter.raw.len(), self.filter.held.len());
            assert!(raw <= MOST_RAW && held <= MOST_HELD + (64 << 10));
        }
        self.filter.finish(&mut self.passed);
        said
    }
}

fn code(ending: Ending) -> String {
    match ending {
        Ending::Failed(error) => error.code.unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_says_nothing_without_end_is_ended() {
    let never = json!({"tools": tools(), "tool_choice": "none"});
    for (more, first, same) in [
        (json!({"tools": tools()}), "[B]", "x"),
        (json!({"tools": tools()}), "[B]", "[B]"),
        (json!({"tools": tools()}), "[cut]", "a<b "),
        (never, "", "[ping]"),
    ] {
        let mut turn = begin(&more, None);
        turn.goes_on(first, same);
        assert_eq!(
            code(turn.filter.ending()),
            "upstream_tool_call_invalid",
            "{first} {same}"
        );
        assert_eq!(turn.said(), "");
    }
    let form = json!({"response_format": {"type": "json_object"}});
    let mut turn = begin(&form, None);
    turn.goes_on("{\"a\":\"", "a");
    assert_eq!(code(turn.filter.ending()), "structured_output_invalid");
}

#[test]
fn a_call_that_was_delivered_is_the_answer_whatever_goes_on_behind_it() {
    for same in [" \n", "[/B]"] {
        let mut turn = begin(&json!({"tools": tools()}), None);
        turn.goes_on("[B][ping]", same);
        assert!(matches!(turn.filter.ending(), Ending::Done), "{same}");
        assert_eq!(turn.calls().len(), 1);
        assert_eq!(turn.end(), Some(FinishReason::ToolCalls));
    }
    // Neither a fence's marks nor its word are waited for as long.
    for same in ["`", "a"] {
        let mut turn = begin(&json!({"tools": tools()}), None);
        assert_eq!(turn.goes_on("[B][ping][/B]\n```", same), 64 << 10);
        assert!(matches!(turn.filter.ending(), Ending::Done), "{same}");
    }
}

/// It is told, but there is no second question about it, which would hold all of it.
#[test]
fn a_long_answer_is_not_quoted() {
    let mut turn = begin(&json!({"tools": tools(), "tool_choice": "required"}), None);
    for _ in 0..=MOST_RAW / (64 << 10) {
        let words = ChatEvent::Text("words".repeat(64 << 10));
        turn.filter.apply(words, &mut turn.passed);
        assert!(turn.filter.raw.len() <= MOST_RAW && !turn.filter.is_cut());
    }
    assert!(turn.said().len() > MOST_RAW);
    let ending = turn.answers("");
    assert_eq!(code(ending), "tool_choice_not_met");
}
