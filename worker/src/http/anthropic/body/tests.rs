//! The body as clients write it, and as they should not.

use serde_json::{Value, json};

use super::*;
use crate::chat::{
    Content, Effort, Field, Format, Message, Part, Role, ToolChoice, normal, request::MOST_PIECES,
};

fn parse(body: &Value) -> Result<Asks, Invalid> {
    read_within(body.to_string().into(), MOST_PIECES)
}

/// A body with a question, and these members.
fn asks(members: Value) -> Asks {
    parse(&body(members)).unwrap()
}

fn body(members: Value) -> Value {
    let mut body =
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    let Value::Object(members) = members else {
        panic!()
    };
    for (name, value) in members {
        body[name] = value;
    }
    body
}

fn messages(messages: Value) -> Vec<Message> {
    asks(json!({"messages": messages})).request.messages
}

fn names(asks: &Asks) -> Vec<&str> {
    let asked = asks.request.asked.iter();
    asked.map(|asked| &*asked.name).collect()
}

fn complaint(members: Value) -> Invalid {
    parse(&body(members)).unwrap_err()
}

fn said(message: &Message) -> (Role, String) {
    (message.role, message.text().into_owned())
}

#[test]
fn names_the_field_of_a_wrong_type() {
    for (members, param) in [
        (json!({"model": 5}), "model"),
        (json!({"model": " "}), "model"),
        (json!({"messages": "hi"}), "messages"),
        (json!({"messages": []}), "messages"),
        (
            json!({"messages": [{"role": "robot", "content": "x"}]}),
            "messages[0].role",
        ),
        (
            json!({"messages": [{"role": "user", "content": 5}]}),
            "messages[0].content",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
            "messages[0].content[0]",
        ),
        (json!({"max_tokens": "many"}), "max_tokens"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"stream": "yes"}), "stream"),
        (json!({"stop_sequences": "x"}), "stop_sequences"),
        (json!({"stop_sequences": ["a", ""]}), "stop_sequences"),
        (json!({"tools": {}}), "tools"),
        (json!({"system": 5}), "system"),
        (json!({"thinking": "on"}), "thinking"),
    ] {
        let complaint = complaint(members.clone());
        let named = complaint.param.as_deref().unwrap_or_default();
        assert!(
            named.starts_with(param.split('[').next().unwrap()),
            "{members}: {complaint:?}"
        );
        assert!(
            complaint.message.contains(param.split('[').next().unwrap()),
            "{complaint:?}"
        );
    }
}

#[test]
fn what_stands_in_every_request_is_passed_over_without_a_word() {
    let asks = asks(json!({
        "temperature": 1, "top_p": 0.9, "top_k": 40, "service_tier": "auto", "speed": "fast", "inference_geo": "us",
        "workspace_id": "w", "user_profile_id": "u", "diagnostics": {}, "context_management": {"edits": [{"type": "x"}]},
        "new_one": [5],
    }));
    assert_eq!(names(&asks), ["max_tokens"]);
    assert_eq!(asks.request.sampling.temperature, Some(1.0));
    assert_eq!(asks.request.sampling.top_k, Some(40));
    assert!(asks.request.wants_usage());
}

#[test]
fn what_has_no_effect_is_named() {
    let asks = asks(json!({
        "container": "c", "mcp_servers": [{"type": "url"}],
        "tools": [{"type": "code_execution_20250825", "name": "x"}, {"type": "web_search_20250305", "name": "web_search"}],
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "server_tool_use", "id": "s", "name": "x", "input": {}}, {"type": "text", "text": "a"}]},
            {"role": "user", "content": [{"type": "evil\"\r\nkind: 1"}, {"type": "text", "text": "go on"}]},
        ],
    }));
    let mut foreign: Vec<&str> = names(&asks);
    foreign.sort_unstable();
    assert_eq!(
        foreign,
        [
            "container",
            "content.evilkind1",
            "content.server_tool_use",
            "max_tokens",
            "mcp_servers",
            "tools.code_execution_20250825",
            "tools.web_search"
        ]
    );
    assert_eq!(asks.request.search, Some(true));
    assert!(!asks.request.asks_for(Field::Tools), "nothing is offered");
}

#[test]
fn results_come_first_whatever_else_the_user_says() {
    let read = messages(json!([
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": ""}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "b"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}, {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
        ]},
        {"role": "user", "content": [
            {"type": "text", "text": "and"}, {"type": "tool_result", "tool_use_id": "t2", "content": "two", "is_error": true},
            {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "one"}]},
        ]},
    ]));
    let all: Vec<(Role, String)> = read.iter().map(said).collect();
    let expected = [
        (Role::User, "a"),
        (Role::Assistant, "b"),
        (Role::Tool, "two"),
        (Role::Tool, "one"),
        (Role::User, "and"),
    ];
    assert_eq!(all, expected.map(|(role, text)| (role, text.to_owned())));
    let calls = read[1].tool_calls.as_ref().unwrap();
    assert_eq!(
        calls.iter().map(|call| &*call.id).collect::<Vec<_>>(),
        ["t1", "t2"]
    );
    assert_eq!(
        read[1]
            .reasoning
            .as_ref()
            .map(|it| it.text.to_string())
            .as_deref(),
        Some("hm")
    );
    assert_eq!(read[2].tool_call_id.as_deref(), Some("t2"));
    assert!(read[2].is_error && !read[3].is_error);
}

#[test]
fn messages_of_one_role_are_one_turn() {
    let read = messages(json!([
        {"role": "user", "content": "a"}, {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"}, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
    ]));
    let all: Vec<(Role, String)> = read.iter().map(said).collect();
    assert_eq!(
        all,
        [
            (Role::User, "a\nb".to_owned()),
            (Role::Assistant, "c".to_owned()),
            (Role::Tool, String::new())
        ]
    );
    assert!(read[1].tool_calls.is_some());
    // A question of one part is a string, whichever way it was written.
    let one = messages(json!([{"role": "user", "content": [{"type": "text", "text": "a"}]}]));
    assert_eq!(one, messages(json!([{"role": "user", "content": "a"}])));
}

#[test]
fn the_system_may_speak_anywhere_but_nobody_reads_its_bills() {
    let asks = asks(json!({
        "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=2;"}, {"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "system", "content": [{"type": "text", "text": "environment"}]},
        ],
    }));
    let all: Vec<(Role, String)> = asks.request.messages.iter().map(said).collect();
    let expected = [
        (Role::System, "be brief"),
        (Role::User, "hi"),
        (Role::System, "environment"),
    ];
    assert_eq!(all, expected.map(|(role, text)| (role, text.to_owned())));
    let string = self::asks(json!({"system": "be brief"}));
    assert_eq!(
        said(&string.request.messages[0]),
        (Role::System, "be brief".to_owned())
    );
    assert_eq!(
        self::asks(json!({"system": "x-anthropic-billing-header: x"}))
            .request
            .messages
            .len(),
        1
    );
}

#[test]
fn words_put_into_the_models_mouth_are_refused() {
    for content in [
        json!("The answer is"),
        json!([{"type": "text", "text": "{"}]),
        json!([]),
    ] {
        let complaint = complaint(
            json!({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": content}]}),
        );
        assert_eq!(complaint.param.as_deref(), Some("messages"));
        assert!(complaint.message.contains("assistant"), "{complaint:?}");
    }
    let only_system = complaint(json!({"messages": [{"role": "system", "content": "x"}]}));
    assert_eq!(only_system.param.as_deref(), Some("messages"));
}

#[test]
fn thinking_is_switched_and_shown() {
    for (members, thinking, is_shown) in [
        (json!({}), None, true),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 32000}}),
            Some(true),
            true,
        ),
        (json!({"thinking": {"type": "adaptive"}}), None, true),
        (
            json!({"thinking": {"type": "adaptive", "display": "updates"}}),
            None,
            true,
        ),
        (
            json!({"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "high"}}),
            None,
            false,
        ),
        (
            json!({"thinking": {"type": "disabled"}}),
            Some(false),
            false,
        ),
        (
            json!({"output_config": {"effort": "low"}}),
            Some(true),
            true,
        ),
        (
            json!({"output_config": {"effort": "none"}}),
            Some(false),
            true,
        ),
    ] {
        let asks = asks(members.clone());
        assert_eq!(
            (asks.request.thinking, asks.shows_thinking),
            (thinking, is_shown),
            "{members}"
        );
    }
    let asks = asks(json!({"output_config": {"effort": "xhigh"}}));
    assert_eq!(asks.request.effort, Some(Effort::XHigh));
}

#[test]
fn the_other_members_mean_what_they_say() {
    let asks = asks(json!({
        "stream": true, "stop_sequences": ["a", "b", "c", "d", "e"], "metadata": {"user_id": "{\"session_id\":\"s\"}"},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        "tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
    }));
    let request = &asks.request;
    assert!(request.stream && request.stop.len() == 5 && request.max_tokens == Some(9));
    assert_eq!(request.user.as_deref(), Some(r#"{"session_id":"s"}"#));
    assert!(
        matches!(&request.format, Format::JsonSchema(form) if form.schema.as_ref().unwrap().get() == r#"{"type":"object"}"#)
    );
    assert_eq!(request.tool_choice, ToolChoice::Required);
    assert_eq!(request.parallel_tool_calls, Some(false));
    for field in [
        Field::Tools,
        Field::ToolChoice,
        Field::ParallelToolCalls,
        Field::Format,
        Field::Stop,
    ] {
        assert!(request.asks_for(field), "{field:?}");
    }
    // Without tools there is nothing to choose.
    let none = self::asks(json!({"tool_choice": {"type": "any"}, "tools": []}));
    assert!(!none.request.asks_for(Field::ToolChoice));
}

#[test]
fn a_deferred_tool_is_described_once_the_history_names_it() {
    let tools = json!([{"name": "a", "defer_loading": true}, {"name": "b", "defer_loading": true}, {"name": "c", "defer_loading": true}, {"name": "d"}]);
    let deferred = |history: Value| -> Vec<bool> {
        let asks = asks(json!({"tools": tools, "messages": history}));
        asks.request
            .tools
            .iter()
            .map(|tool| tool.is_deferred)
            .collect()
    };
    assert_eq!(
        deferred(json!([{"role": "user", "content": "hi"}])),
        [true, true, true, false]
    );
    let history = json!([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "ToolSearch", "input": {}}, {"type": "tool_use", "id": "u", "name": "b", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference", "tool_name": "a"}]}, {"type": "tool_result", "tool_use_id": "u"},
        ]},
    ]);
    assert_eq!(deferred(history.clone()), [false, false, true, false]);
    let found = &messages(history)[2];
    assert!(
        found.text().contains("The tool a can be called"),
        "{found:?}"
    );
}

#[test]
fn pictures_and_documents_stay_where_they_are() {
    let picture = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    let read = messages(json!([
        {"role": "user", "content": [picture, {"type": "text", "text": "what is it?"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "shot", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [picture]}]},
    ]));
    for message in [&read[0], &read[2]] {
        let Content::Parts(parts) = &message.content else {
            panic!("{message:?}")
        };
        assert!(
            matches!(&parts[0], Part::ImageUrl { image_url, .. } if image_url.url() == "data:image/png;base64,AAAA")
        );
    }
}

/// Bodies as Claude Code, opencode, Qwen Code and the AI SDK send them.
#[test]
fn real_bodies_are_read() {
    let claude = asks(json!({
        "model": "deepseek-chat", "max_tokens": 32000, "stream": true, "thinking": {"type": "adaptive", "display": "omitted"},
        "output_config": {"effort": "high"}, "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": "{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"s\"}"},
        "system": [{"type": "text", "text": "x-anthropic-billing-header: x"}, {"type": "text", "text": "You are", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, {"role": "system", "content": [{"type": "text", "text": "env"}]}],
        "tools": [
            {"name": "Workflow", "description": "d", "input_schema": {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {"args": {}}, "additionalProperties": false}},
            {"name": "DeferredToolPlaceholder", "description": "d", "input_schema": {"type": "object"}, "defer_loading": true},
        ],
    }));
    assert_eq!(claude.request.tools.len(), 1);
    assert_eq!(claude.request.messages.len(), 3);
    let opencode = asks(json!({
        "system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}]}, {"role": "user", "content": [{"type": "text", "text": "b"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}, "cache_control": {"type": "ephemeral"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x", "cache_control": {"type": "ephemeral"}}]},
        ],
    }));
    assert_eq!(opencode.request.messages.len(), 4);
    let qwen = asks(
        json!({"temperature": 1, "max_tokens": 32000, "thinking": {"type": "enabled", "budget_tokens": 32000}, "stream": false}),
    );
    assert_eq!(qwen.request.thinking, Some(true));
}

/// D12: what Claude Code changes between two requests of a session, none of which makes it another conversation.
#[test]
fn a_second_request_is_the_first_and_one_turn_more() {
    let print = |body: Value| {
        let mut print = Vec::new();
        let request = asks(body).request;
        normal::feed(&normal::steps(&request.messages), |piece| {
            print.extend_from_slice(piece);
        });
        print
    };
    let mark = json!({"type": "ephemeral"});
    let first = print(json!({
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.332; cch=00001;"},
            {"type": "text", "text": "You are", "cache_control": mark}, {"type": "text", "text": "helpful", "cache_control": mark},
        ],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}, {"type": "text", "text": "the question"}]},
            {"role": "system", "content": [{"type": "text", "text": "the environment", "cache_control": mark}]},
        ],
    }));
    let question = json!([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}, {"type": "text", "text": "the question"}]);
    let second = json!({
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.332; cch=00002;"},
            {"type": "text", "text": "You are", "cache_control": mark}, {"type": "text", "text": "helpful"},
        ],
        "messages": [
            {"role": "user", "content": question},
            {"role": "system", "content": "the environment"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "", "signature": ""}, {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}},
                {"type": "tool_use", "id": "toolu_2", "name": "Read", "input": {"file_path": "a"}},
            ]},
            {"role": "user", "content": [
                // In the order in which they were ready.
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "b"},
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a", "cache_control": mark},
            ]},
        ],
    });
    let print_of_second = print(second.clone());
    assert!(print_of_second.starts_with(&first));
    assert!(print_of_second.len() > first.len());
    // The third has moved the marks again, and its results are a list of parts in the other order.
    let mut third = second;
    third["system"][0]["text"] =
        json!("x-anthropic-billing-header: cc_version=2.1.332; cch=00003;");
    third["messages"][3]["content"] = json!([
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "a"}]},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "b"}]},
    ]);
    assert_eq!(print(third.clone()), print_of_second);
    // And what was said differently is another conversation.
    third["messages"][1]["content"] = json!("another environment");
    assert!(!print(third).starts_with(&first));
}
