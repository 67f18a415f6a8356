use serde_json::{Value, json};

use super::*;
use crate::chat::{ChatRequest, Json, Message, Role, Tool, ToolChoice};

fn request(mut tools: Vec<Tool>) -> ChatRequest {
    for (place, tool) in tools.iter_mut().enumerate() {
        tool.place = place;
    }
    ChatRequest {
        tools,
        ..ChatRequest::new("m", vec![Message::new(Role::User, "x")])
    }
}

fn tool(name: &str, schema: &Value) -> Tool {
    Tool::function(name, "d", Some(Json::new(schema.to_string()).unwrap()))
}

fn params(schema: Value) -> Fields {
    let offered = Offered::new(&request(vec![tool("t", &schema)])).unwrap();
    offered.tools.into_iter().next().unwrap().params
}

fn kind(schema: Value) -> Kind {
    let defs = json!({"s": {"type": "string"}, "color": {"enum": ["red", "green"]}});
    let params = params(json!({"type": "object", "properties": {"p": schema}, "$defs": defs}));
    params.find("p").unwrap().shape.kind()
}

#[test]
fn what_is_text_is_known() {
    for (schema, expected) in [
        (json!({"type": "string"}), Kind::Text),
        (json!({"$ref": "#/$defs/s"}), Kind::Text),
        (json!({"allOf": [{"$ref": "#/$defs/color"}]}), Kind::Text),
        (json!({"const": "x"}), Kind::Text),
        (json!({"type": ["string", "null"]}), Kind::NullableText),
        (
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            Kind::NullableText,
        ),
        (json!({"enum": ["a", null]}), Kind::NullableText),
        (
            json!({"oneOf": [{"const": "a"}, {"const": "b"}]}),
            Kind::Text,
        ),
        (json!({"type": ["string", "integer"]}), Kind::Union),
        (
            json!({"anyOf": [{"type": "string"}, {"type": "array"}]}),
            Kind::Union,
        ),
        (json!({"type": "integer"}), Kind::Json),
        (
            json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}),
            Kind::Json,
        ),
        (json!({"properties": {}}), Kind::Json),
        (json!({"items": {"type": "string"}}), Kind::Json),
        (json!({}), Kind::Untyped),
        (json!(true), Kind::Untyped),
        (json!({"$ref": "#/nowhere"}), Kind::Untyped),
    ] {
        assert_eq!(kind(schema.clone()), expected, "{schema}");
    }
}

#[test]
fn what_lies_below_is_known() {
    let params = params(
        json!({"type": "object", "required": ["edits", "unsaid"], "properties": {
        "edits": {"type": "array", "items": {"type": "object", "properties": {"old": {"type": "string"}}}},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
        "limit": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 2000}, {"type": "null"}]}}}),
    );
    let names: Vec<_> = params
        .props
        .iter()
        .map(|prop| (&*prop.name, prop.is_required))
        .collect();
    assert_eq!(
        names,
        [
            ("edits", true),
            ("env", false),
            ("limit", false),
            ("unsaid", true)
        ]
    );
    let edits = &params.find("edits").unwrap().shape;
    assert_eq!(
        edits.element().unwrap().member("old").unwrap().kind(),
        Kind::Text
    );
    assert!(edits.has_deep_text());
    assert_eq!(
        params
            .find("env")
            .unwrap()
            .shape
            .member("HOME")
            .unwrap()
            .kind(),
        Kind::Text
    );
    let limit = &params.find("limit").unwrap().shape;
    assert_eq!(limit.types, Types::INTEGER.with(Types::NULL));
    assert_eq!(limit.maximum.as_deref(), Some("2000"));
    assert!(!limit.has_deep_text());
}

#[test]
fn recursion_ends() {
    let params = params(
        json!({"type": "object", "properties": {"root": {"$ref": "#/$defs/node"}}, "$defs": {"node": {
        "type": "object", "properties": {"text": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}}}),
    );
    let (mut shape, mut depth) = (&params.find("root").unwrap().shape, 1);
    while let Some(child) = shape.member("children").and_then(Shape::element) {
        (shape, depth) = (child, depth + 1);
    }
    assert_eq!((depth, shape.kind()), (7, Kind::Untyped));

    let mut wide = serde_json::Map::new();
    for at in 0..50 {
        wide.insert(format!("p{at}"), json!({"$ref": "#"}));
    }
    self::params(json!({"type": "object", "properties": wide}));
}

#[test]
fn names_are_found_loosely_but_never_guessed() {
    let none = json!({"type": "object"});
    let offered = Offered::new(&request(
        ["read", "write_file", "a_b", "a.b"]
            .map(|name| tool(name, &none))
            .into(),
    ))
    .unwrap();
    let found = |name| offered.find(name).map(|at| &*offered.tools[at].name);
    for (name, expected) in [
        ("read", Some("read")),
        ("Read", Some("read")),
        ("functions.read", Some("read")),
        ("default_api.Write-File", Some("write_file")),
        ("writefile ", Some("write_file")),
        ("a_b", Some("a_b")),
        ("ab", None),
        ("reads", None),
        ("", None),
    ] {
        assert_eq!(found(name), expected, "{name}");
    }
}

#[test]
fn the_choice_says_what_is_offered() {
    let none = json!({"type": "object"});
    let offered = |choice| {
        Offered::new(&ChatRequest {
            tool_choice: choice,
            ..request(["a", "b", "c"].map(|name| tool(name, &none)).into())
        })
    };
    let named = offered(ToolChoice::Named("b".into())).unwrap();
    assert_eq!(named.must, Must::This(1));
    assert_eq!(
        named.offered().map(|tool| &*tool.name).collect::<Vec<_>>(),
        ["b"]
    );
    assert_eq!((named.find("A"), named.find("B")), (None, Some(1)));
    assert!(named.known("a").is_some());
    let allowed = offered(ToolChoice::Allowed {
        names: vec!["a".into(), "x".into()],
        is_required: true,
    })
    .unwrap();
    assert_eq!(
        (allowed.must, allowed.find("a"), allowed.find("b")),
        (Must::Some, Some(0), None)
    );
    assert_eq!(offered(ToolChoice::None).unwrap().must, Must::Never);
    let wrong = offered(ToolChoice::Named("x".into())).unwrap_err();
    assert_eq!(wrong.param.as_deref(), Some("tool_choice"));
}

#[test]
fn aliases_stand_for_their_tools() {
    let none = json!({"type": "object"});
    let mut offered = Offered::new(&request(
        ["Read", "x_read", "ls"]
            .map(|name| tool(name, &none))
            .into(),
    ))
    .unwrap();
    offered.alias(|name| name == "Read");
    let tool = &offered.tools[0];
    assert_eq!(tool.rendered_name(), "x_x_read");
    assert_eq!(offered.find("x_x_read"), Some(0));
    assert_eq!(offered.find("x_read"), Some(1));
    assert_eq!(offered.find("read"), Some(0));
}

#[test]
fn what_cannot_be_offered_is_refused() {
    let deep = (0..70).fold(
        json!({"type": "object"}),
        |inside, _| json!({"type": "object", "properties": {"p": inside}}),
    );
    let long = json!({"type": "object", "description": "x".repeat(MOST_SCHEMA_BYTES)});
    for (schema, expected) in [
        (json!({"type": "string"}), Refusal::NoObject),
        (json!([]), Refusal::NoObject),
        (
            json!({"type": "object", "properties": {"p": {"$ref": "https://example.com/"}}}),
            Refusal::Elsewhere,
        ),
        (deep, Refusal::TooDeep),
        (long, Refusal::TooLong),
    ] {
        let tools = vec![tool("ok", &json!({})), tool("t", &schema)];
        let error = Offered::new(&request(tools)).unwrap_err();
        assert_eq!(error, expected.of_tool("tools", 1));
        assert_eq!(error.param.as_deref(), Some("tools[1]"));
    }
    let none = json!({"type": "object", "properties": {"$ref": {"type": "string"}}, "enum": [{"$ref": "x"}]});
    let fails = |tools: Vec<Tool>| {
        Offered::new(&request(tools))
            .err()
            .map(|error| error.message)
    };
    assert_eq!(fails(vec![tool("a", &none)]), None);
    assert_eq!(
        fails(vec![tool("a", &none), tool("a", &none)]),
        Some(Refusal::Twice.to_string())
    );
    for name in ["", "a b", "你", &"n".repeat(MOST_NAME + 1)] {
        assert_eq!(
            fails(vec![tool(name, &none)]),
            Some(Refusal::Name.to_string()),
            "{name}"
        );
    }
    let many = (0..=MOST_TOOLS)
        .map(|at| tool(&format!("t{at}"), &none))
        .collect();
    assert_eq!(fails(many), Some(Refusal::TooMany.to_string()));
    let big = json!({"type": "object", "description": "x".repeat(MOST_SCHEMA_BYTES - 100)});
    let heavy = (0..9).map(|at| tool(&format!("t{at}"), &big)).collect();
    assert_eq!(fails(heavy), Some(Refusal::AllTooLong.to_string()));

    let invalid = json!({"type": "object", "properties": {"a": {"type": "nothing"}}});
    assert_eq!(
        fails(vec![tool("a", &invalid)]),
        None,
        "only for signatures"
    );
    let strict = Tool {
        is_strict: true,
        ..tool("a", &invalid)
    };
    assert_eq!(fails(vec![strict]), Some(Refusal::Invalid.to_string()));
}
