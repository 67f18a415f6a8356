//! What becomes of bodies.

use serde_json::{Value, json};

use super::*;
use crate::{
    chat::{Content, Effort, Field, Format, Part, Role, ToolChoice, tools::ToolKind},
    http::openai::responses::toolbox::{Origin, Place},
};

fn try_read(body: &Value) -> Result<Asked, Invalid> {
    read(body.to_string().into(), 1000)
}

fn asked(members: Value) -> Asked {
    let mut body = json!({"model": "m", "input": "hi"});
    body.as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    try_read(&body).unwrap_or_else(|invalid| panic!("{invalid:?}"))
}

fn refused(members: Value) -> (Option<String>, Option<&'static str>) {
    let mut body = json!({"model": "m", "input": "hi"});
    body.as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    let invalid = try_read(&body).unwrap_err();
    (invalid.param, invalid.code)
}

/// Name, arguments and id of a call.
type Called = (String, String, String);

/// Role, text and calls of each message.
fn said(input: Value) -> Vec<(Role, String, Vec<Called>)> {
    let request = asked(json!({"input": input})).request;
    let call = |call: &crate::chat::message::ToolCall| {
        let called = call.function.as_ref().unwrap();
        (
            called.name.clone(),
            called.arguments.to_string(),
            call.id.clone(),
        )
    };
    let message = |message: &crate::chat::Message| {
        let calls = message.tool_calls.iter().flatten().map(call).collect();
        (message.role, message.text().into_owned(), calls)
    };
    request.messages.iter().map(message).collect()
}

fn ignored(asked: &Asked) -> Vec<&str> {
    let foreign = asked
        .request
        .asked
        .iter()
        .filter(|it| it.field == Field::Foreign);
    foreign.map(|it| &*it.name).collect()
}

fn names(asked: &Asked) -> Vec<&str> {
    asked.request.tools.iter().map(|tool| &*tool.name).collect()
}

#[test]
fn members_become_fields() {
    let asked = asked(json!({
        "instructions": "be kind", "stream": true, "stream_options": {"include_obfuscation": false},
        "max_output_tokens": 9, "temperature": 0.5, "top_p": 1, "reasoning": {"effort": "high", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true}, "verbosity": "low"},
        "metadata": {"a": "b"}, "store": false, "include": ["reasoning.encrypted_content"], "truncation": "disabled",
        "service_tier": "auto", "client_metadata": {}, "prompt_cache_retention": "24h", "max_tool_calls": 5,
        "prompt_cache_key": "k", "safety_identifier": "s", "parallel_tool_calls": false, "tool_choice": "auto",
        "unheard_of": [1, {"a": null}], "previous_response_id": null, "background": false, "conversation": null,
    }));
    let request = &asked.request;
    assert_eq!(request.messages[0].role, Role::System);
    assert_eq!(request.messages[0].text(), "be kind");
    assert_eq!(request.messages[1].text(), "hi");
    assert!(request.stream && request.include_usage);
    assert_eq!(request.max_tokens, Some(9));
    assert_eq!(
        (request.effort, request.thinking),
        (Some(Effort::High), Some(true))
    );
    assert_eq!(request.user.as_deref(), Some("s"));
    assert_eq!(request.parallel_tool_calls, Some(false));
    assert!(matches!(&request.format, Format::JsonSchema(it) if it.is_strict && &*it.name == "n"));
    assert_eq!(request.sampling.temperature, Some(0.5));
    assert_eq!(asked.echo.summary.as_deref(), Some("auto"));
    assert_eq!(ignored(&asked), ["include", "max_tool_calls"]);
}

#[test]
fn what_needs_a_memory_is_told_so() {
    let code = Some("unsupported_parameter");
    for (param, value) in [
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!({"id": "c"})),
        ("prompt", json!({"id": "p"})),
        ("background", json!(true)),
    ] {
        assert_eq!(
            refused(json!({param: value})),
            (Some(param.to_owned()), code)
        );
    }
    for (item, instead) in [
        (
            json!({"type": "item_reference", "id": "msg_1"}),
            "send the item itself",
        ),
        (json!({"id": "msg_1"}), "send the item itself"),
        (
            json!({"type": "compaction_trigger"}),
            "ask the model for a summary",
        ),
    ] {
        let input = json!([{"role": "user", "content": "a"}, item]);
        let refused = try_read(&json!({"model": "m", "input": input})).unwrap_err();
        assert_eq!(
            (refused.param.as_deref(), refused.code),
            (Some("input[1]"), code)
        );
        assert!(refused.message.contains(instead), "{}", refused.message);
    }
    for part in [
        json!({"type": "input_image", "file_id": "f"}),
        json!({"type": "input_file", "file_id": "f"}),
    ] {
        let input = json!([{"role": "user", "content": [part]}]);
        let expected = (Some("input[0].content".to_owned()), Some("file_rejected"));
        assert_eq!(refused(json!({"input": input})), expected);
    }
}

#[test]
fn a_wrong_value_names_its_member() {
    for (members, param) in [
        (json!({"input": []}), "input"),
        (json!({"input": ""}), "input"),
        (json!({"input": null}), "input"),
        (json!({"input": 5}), "input"),
        (
            json!({"input": [{"type": "reasoning", "summary": []}]}),
            "input",
        ),
        (
            json!({"input": [{"role": "user", "content": 5}]}),
            "input[0]",
        ),
        (
            json!({"input": [{"role": "king", "content": "a"}]}),
            "input[0]",
        ),
        (json!({"input": [{"content": "a"}]}), "input[0]"),
        (json!({"input": ["a"]}), "input[0]"),
        (
            json!({"input": [{"type": "function_call", "call_id": "c"}]}),
            "input[0]",
        ),
        (json!({"model": 5}), "model"),
        (json!({"model": ""}), "model"),
        (json!({"stream": "yes"}), "stream"),
        (json!({"max_output_tokens": 0}), "max_output_tokens"),
        (json!({"max_output_tokens": "many"}), "max_output_tokens"),
        (json!({"instructions": 5}), "instructions"),
        (json!({"metadata": []}), "metadata"),
        (json!({"text": {"format": 5}}), "text.format"),
        (json!({"tools": 5}), "tools"),
        (
            json!({"tools": [{"type": "function", "name": "a"}, {"type": "custom", "name": "a"}]}),
            "tools",
        ),
        (
            json!({"tools": [{"type": "function", "name": "a__b"}, {"type": "namespace", "name": "a", "tools": [{"type": "function", "name": "b"}]}]}),
            "tools",
        ),
        (
            json!({"tools": [{"type": "namespace", "name": "a", "tools": [{"type": "function", "name": "b"}, {"type": "function", "name": "b"}]}]}),
            "tools",
        ),
    ] {
        let (said, code) = refused(members.clone());
        assert_eq!((said.as_deref(), code), (Some(param), None), "{members}");
    }
    let too_many = vec![json!({"role": "user", "content": "a"}); 1001];
    assert_eq!(
        refused(json!({"input": too_many})).0.as_deref(),
        Some("input[1000]")
    );
}

#[test]
fn items_become_messages() {
    use Role::{Assistant, Developer, System, Tool, User};
    let call = |name: &str, arguments: &str, id: &str| {
        (name.to_owned(), arguments.to_owned(), id.to_owned())
    };
    let said = said(json!([
        {"type": "message", "id": "msg_1", "role": "developer", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        {"role": "system", "content": "c"},
        {"role": "user", "content": [{"type": "input_text", "text": "d"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"},
        {"type": "message", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "e", "annotations": []}]},
        {"type": "reasoning", "id": "rs_2", "summary": []},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"},
        {"type": "function_call", "call_id": "c2", "name": "g", "namespace": "ns", "arguments": {"a": 1}},
        {"type": "custom_tool_call", "call_id": "c3", "name": "exec", "namespace": "functions", "input": "x\ny"},
        {"type": "local_shell_call", "call_id": "c4", "action": {"type": "exec", "command": ["ls"], "env": {}}},
        {"type": "function_call_output", "call_id": "c2", "output": "two"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "one"}, {"type": "input_image", "image_url": "data:image/png;base64,AA=="}]},
        {"type": "custom_tool_call_output", "id": "ctco_1", "call_id": "c3", "output": [{"type": "input_text", "text": "three"}]},
        {"type": "local_shell_call_output", "call_id": "c4", "output": {"stdout": "four"}},
        {"type": "function_call_output", "call_id": "c5"},
        {"role": "assistant", "content": "f"},
        {"role": "user", "content": "g"},
        {"role": "user", "content": "h"},
    ]));
    let text = |role, text: &str| (role, text.to_owned(), vec![]);
    let calls = vec![
        call("f", "{}", "c1"),
        call("ns__g", "{\"a\":1}", "c2"),
        call("functions__exec", "x\ny", "c3"),
        call("shell", "{\"command\":[\"ls\"]}", "c4"),
    ];
    assert_eq!(
        said,
        [
            text(Developer, "a\nb"),
            text(System, "c"),
            text(User, "d"),
            (Assistant, "e".to_owned(), calls),
            text(Tool, "two"),
            text(Tool, "one"),
            text(Tool, "three"),
            text(Tool, "{\"stdout\":\"four\"}"),
            text(Tool, ""),
            text(Assistant, "f"),
            text(User, "g"),
            text(User, "h"),
        ]
    );
}

#[test]
fn items_of_no_effect_are_named() {
    let asked = asked(json!({"input": [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}},
        {"type": "mcp_list_tools", "id": "m", "tools": [{"name": "x"}], "server_label": "s"},
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}},
        {"type": "program_output", "id": "p"},
        {"type": "unheard of, 你", "role": "user", "content": 5},
        {"type": "unheard of, 你", "x": [[1]]},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "a"}, {"type": "hologram"}]},
    ]}));
    assert_eq!(
        ignored(&asked),
        [
            "input.web_search_call",
            "input.mcp_list_tools",
            "input.computer_call_output",
            "input.program_output",
            "input.unheardof",
            "input.hologram",
        ]
    );
    assert_eq!(asked.request.messages.len(), 3);
    assert_eq!(asked.request.odd_part, None);
}

#[test]
fn a_part_that_nobody_knows_is_odd_in_the_question_alone() {
    let odd = json!({"role": "user", "content": [{"type": "input_audio", "data": "x"}]});
    let answer = json!({"role": "assistant", "content": "a"});
    let question = json!({"role": "user", "content": "b"});
    let part = |input: Value| asked(json!({"input": input})).request.odd_part;
    let found = part(json!([answer, odd])).unwrap();
    assert_eq!(found.param.as_deref(), Some("input[1].content"));
    assert_eq!(part(json!([odd, answer, question])), None);
}

#[test]
fn tools_of_all_types_are_taken() {
    let asked = asked(json!({"tools": [
        {"type": "function", "name": "f", "description": "d", "strict": false, "parameters": {"type": "object"}},
        {"type": "function", "function": {"name": "flat", "strict": true}},
        {"type": "namespace", "name": "ns", "description": "n", "tools": [
            {"type": "function", "name": "g", "defer_loading": true},
            {"type": "custom", "name": "exec", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
            {"type": "web_search"},
        ]},
        {"type": "custom", "name": "patch"},
        {"type": "local_shell"},
        {"type": "apply_patch"},
        {"type": "tool_search", "execution": "client", "description": "s", "parameters": {"type": "object", "properties": {}}},
        {"type": "tool_search"},
        {"type": "web_search", "external_web_access": true},
        {"type": "image_generation"},
        {"type": "mcp", "server_label": "x", "server_url": "https://e"},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "unheard_of"},
        {},
    ]}));
    assert_eq!(
        names(&asked),
        [
            "f",
            "flat",
            "ns__g",
            "ns__exec",
            "patch",
            "shell",
            "apply_patch",
            "tool_search"
        ]
    );
    let tools = &asked.request.tools;
    assert!(!tools[0].is_strict && tools[1].is_strict && tools[2].is_deferred);
    assert!(
        matches!(&tools[3].kind, ToolKind::Custom { format: Some(it) } if it.get().contains("lark"))
    );
    assert!(
        matches!(&tools[5].kind, ToolKind::Function { parameters: Some(it) } if it.get().contains("command"))
    );
    let place = |namespace: Option<&str>, name: &str| Place {
        namespace: namespace.map(Into::into),
        name: name.into(),
    };
    for (name, origin) in [
        ("ns__g", Origin::Function(place(Some("ns"), "g"))),
        ("ns__exec", Origin::Custom(place(Some("ns"), "exec"))),
        ("shell", Origin::LocalShell),
        ("apply_patch", Origin::ApplyPatch),
        ("tool_search", Origin::ToolSearch),
    ] {
        assert_eq!(asked.toolbox.origin(name), origin);
    }
    assert_eq!(asked.request.search, Some(true));
    assert!(asked.request.asks_for(Field::Search) && asked.request.asks_for(Field::Tools));
    assert_eq!(
        ignored(&asked),
        [
            "tools.tool_search",
            "tools.image_generation",
            "tools.mcp",
            "tools.code_interpreter",
            "tools.unheard_of",
            "tools.unknown",
        ]
    );
}

#[test]
fn a_search_that_may_not_reach_the_web_is_none() {
    let asked = asked(json!({"tools": [{"type": "web_search", "external_web_access": false}]}));
    assert_eq!((asked.request.search, asked.request.tools.len()), (None, 0));
    assert_eq!(ignored(&asked), ["tools.web_search"]);
}

#[test]
fn tools_may_stand_in_the_history() {
    let functions = json!({"type": "namespace", "name": "functions", "tools": [
        {"type": "custom", "name": "exec", "description": "long"},
        {"type": "function", "name": "wait"},
    ]});
    let tools = json!({"type": "additional_tools", "id": "at_1", "role": "developer", "tools": [functions]});
    let asked = asked(json!({"input": [tools, tools, {"role": "user", "content": "a"}]}));
    assert_eq!(names(&asked), ["functions__exec", "functions__wait"]);
    assert_eq!(asked.request.messages.len(), 1);
}

#[test]
fn deferred_tools_are_described_once_they_are_named() {
    let deferred = |name: &str| json!({"type": "function", "name": name, "defer_loading": true});
    let tools = json!([deferred("a"), deferred("b"), deferred("c")]);
    let asked = asked(json!({"tools": tools, "input": [
        {"role": "user", "content": "x"},
        {"type": "function_call", "call_id": "1", "name": "a", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "y"},
        {"type": "tool_search_call", "call_id": "2", "execution": "client", "arguments": {"query": "b"}},
        {"type": "tool_search_output", "call_id": "2", "execution": "client", "tools": [
            deferred("b"), {"type": "namespace", "name": "cal", "tools": [{"type": "function", "name": "add"}]},
        ]},
    ]}));
    let deferred: Vec<(&str, bool)> = asked
        .request
        .tools
        .iter()
        .map(|it| (&*it.name, it.is_deferred))
        .collect();
    assert_eq!(
        deferred,
        [("a", false), ("b", false), ("c", true), ("cal__add", false)]
    );
    assert_eq!(
        asked.request.messages.last().unwrap().text(),
        "Tools found: b, add"
    );
}

#[test]
fn choices_name_what_the_model_knows() {
    let tools = json!([
        {"type": "function", "name": "f"},
        {"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "g"}]},
        {"type": "apply_patch"}, {"type": "web_search"},
    ]);
    let named = |name: &str| ToolChoice::Named(name.into());
    for (choice, expected) in [
        (json!("none"), ToolChoice::None),
        (json!("auto"), ToolChoice::Auto),
        (json!("required"), ToolChoice::Required),
        (json!({"type": "function", "name": "f"}), named("f")),
        (
            json!({"type": "function", "function": {"name": "f"}}),
            named("f"),
        ),
        (
            json!({"type": "function", "namespace": "ns", "name": "g"}),
            named("ns__g"),
        ),
        (json!({"type": "apply_patch"}), named("apply_patch")),
        (json!({"type": "web_search"}), ToolChoice::Auto),
        (
            json!({"type": "mcp", "server_label": "x"}),
            ToolChoice::Auto,
        ),
        (json!(5), ToolChoice::Auto),
        (
            json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]}),
            ToolChoice::Allowed {
                names: vec!["f".into()],
                is_required: true,
            },
        ),
        (
            json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]}),
            ToolChoice::Auto,
        ),
    ] {
        let asked = asked(json!({"tools": tools, "tool_choice": choice}));
        assert_eq!(asked.request.tool_choice, expected, "{choice}");
    }
}

#[test]
fn pictures_and_documents_are_parts() {
    let asked = asked(json!({"input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": "https://e/a.png", "detail": "low"},
        {"type": "input_file", "file_url": "https://e/a.pdf"},
        {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,YQ=="},
    ]}]}));
    let Content::Parts(parts) = &asked.request.messages[0].content else {
        panic!()
    };
    assert!(matches!(
        parts.as_slice(),
        [Part::ImageUrl { .. }, Part::File { .. }, Part::File { .. }]
    ));
}

/// Cursor and others send the other dialect's body.
#[test]
fn a_chat_body_is_read_as_one() {
    let body = json!({"model": "m", "n": 3, "stream": true, "messages": [{"role": "user", "content": "x"}]});
    let asked = try_read(&body).unwrap();
    assert_eq!(asked.request.messages[0].text(), "x");
    assert_eq!((asked.request.n, asked.request.include_usage), (1, true));
    let invalid = try_read(&json!({"model": "m", "messages": []})).unwrap_err();
    assert_eq!(invalid.param.as_deref(), Some("messages"));
}

proptest::proptest! {
    #[test]
    fn no_body_panics(body in "[\\[\\]{}:,\"a-e0-9_ ]{0,60}") {
        let _ = read(format!("{{\"model\":\"m\",\"input\":{body}}}").into(), 100);
        let _ = read(format!("{{\"model\":\"m\",\"input\":\"a\",\"tools\":{body}}}").into(), 100);
    }
}
