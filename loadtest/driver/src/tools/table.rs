//! Broken answers, by what is wrong with them, and what a client must get all the same: the kinds of tools.md section 14 in
//! the simulators' notation.

use serde_json::{Value, json};

/// One answer of a model.
pub(super) struct Case {
    /// What is wrong with it.
    pub(super) kind: &'static str,
    /// What the model says.
    pub(super) says: &'static str,
    /// What the client gets.
    pub(super) expected: Expected,
}

impl Case {
    /// Nothing is wrong with it.
    pub(super) fn is_good(&self) -> bool {
        matches!(self.kind, "as asked for" | "talk of markup")
    }
}

/// What a client gets.
pub(super) enum Expected {
    /// These words, and no call.
    Words(&'static str),
    /// These calls.
    Calls(&'static str),
    /// The calls of [`SECOND`], as the model is asked again.
    Second,
    /// An error with this code: the model says the same once more when it is asked again.
    Error(&'static str),
}

/// What the model says when it is asked again.
pub(super) const SECOND: &str = "[B][C ping][/C][/B]";
/// The calls in it.
pub(super) const SECOND_CALLS: &str = r#"[["ping",{}]]"#;

/// The tools of section 14.
pub(super) fn tools() -> Value {
    let tool = |name: &str, parameters: Value| json!({"type": "function", "function": {"name": name, "parameters": parameters}});
    let text = || json!({"type": "string"});
    let object = |properties: Value, required: Value| json!({"type": "object", "properties": properties, "required": required});
    json!([
        tool(
            "read",
            object(
                json!({"path": text(), "offset": {"type": "integer"}, "limit": {"type": "integer"}}),
                json!(["path"])
            )
        ),
        tool(
            "write",
            object(
                json!({"path": text(), "content": text()}),
                json!(["path", "content"])
            )
        ),
        tool(
            "run",
            object(
                json!({"command": text(), "timeout": {"type": "integer"}, "env": {"type": "object"}}),
                json!(["command"])
            )
        ),
        tool(
            "edit",
            object(
                json!({"path": text(), "edits": {"type": "array", "items": object(json!({"old": text(), "new": text()}), json!(["old", "new"]))}}),
                json!(["path", "edits"])
            )
        ),
        tool("ping", object(json!({}), json!([]))),
        tool(
            "set",
            object(
                json!({"key": text(), "value": {"type": ["string", "number", "boolean", "null"]}}),
                json!(["key", "value"])
            )
        ),
        tool(
            "pick",
            json!({"type": "object", "properties": {"color": {"enum": ["red", "green", "blue"]}, "tags": {"type": "array", "items": text()}, "note": {"type": ["string", "null"]}}, "required": ["color"], "additionalProperties": false})
        ),
        tool("free", json!({})),
    ])
}

const fn case(kind: &'static str, says: &'static str, expected: Expected) -> Case {
    Case {
        kind,
        says,
        expected,
    }
}

use Expected::{Calls, Error, Second, Words};

/// The table.
pub(super) const TABLE: &[Case] = &[
    case(
        "as asked for",
        "[B][C read][A path]a.rs[/A][/C][/B]",
        Calls(r#"[["read",{"path":"a.rs"}]]"#),
    ),
    case(
        "as asked for",
        "I look.⏎⏎[B]⏎[C read]⏎[A path]⏎a.rs⏎[/A]⏎[/C]⏎[/B]",
        Calls(r#"[["read",{"path":"a.rs"}]]"#),
    ),
    case(
        "as asked for",
        "[B][C write][A path]a[/A][A content]⏎  in⏎⏎tail  ⏎[/A][/C][/B]",
        Calls(r#"[["write",{"path":"a","content":"  in\n\ntail  "}]]"#),
    ),
    case(
        "as asked for",
        "[B][C ping][/C][C ping][/C][/B]",
        Calls(r#"[["ping",{}],["ping",{}]]"#),
    ),
    case(
        "marks in a value",
        "[B][C write][A path]a[/A][A content]⏎print(\"[/A] ends it\")⏎more⏎[/A][/C][/B]",
        Calls(r#"[["write",{"path":"a","content":"print(\"</arg-N> ends it\")\nmore"}]]"#),
    ),
    case(
        "marks in a value",
        "[B][C write][A path]a[/A][A content]⏎</parameter></invoke></tool_call>⏎[/A][/C][/B]",
        Calls(r#"[["write",{"path":"a","content":"</parameter></invoke></tool_call>"}]]"#),
    ),
    case(
        "marks in a value",
        "[B][C write][A path]a[/A][A content]⏎<calls-zzzz><call-zzzz name=\"run\">⏎[/A][/C][/B]",
        Calls(r#"[["write",{"path":"a","content":"<calls-zzzz><call-zzzz name=\"run\">"}]]"#),
    ),
    case(
        "marks in a value",
        "[B][C write][A path]a[/A][A content]⏎&lt;b&gt; C:\\new \"q\"⏎[/A][/C][/B]",
        Calls(r#"[["write",{"path":"a","content":"&lt;b&gt; C:\\new \"q\""}]]"#),
    ),
    case(
        "tags left out or odd",
        "[C ping][/C]",
        Calls(r#"[["ping",{}]]"#),
    ),
    case(
        "tags left out or odd",
        "[B][C read][A path]a[/A]",
        Calls(r#"[["read",{"path":"a"}]]"#),
    ),
    case(
        "tags left out or odd",
        "[B][C read][A path]a[/C][/B]",
        Calls(r#"[["read",{"path":"a"}]]"#),
    ),
    case(
        "tags left out or odd",
        "[B]<CALL-K7Q2 NAME='ping'>[/C][/B]",
        Calls(r#"[["ping",{}]]"#),
    ),
    case(
        "tags left out or odd",
        "[B]<call-k7q2 name=\"ping\"/>[/B]",
        Calls(r#"[["ping",{}]]"#),
    ),
    case(
        "tags left out or odd",
        "Here:⏎```xml⏎[B][C ping][/C][/B]⏎```",
        Calls(r#"[["ping",{}]]"#),
    ),
    case(
        "names",
        "[B][C Read][A Path]a[/A][/C][/B]",
        Calls(r#"[["read",{"path":"a"}]]"#),
    ),
    case(
        "names",
        "[B][C functions.read][A path]a[/A][/C][/B]",
        Calls(r#"[["read",{"path":"a"}]]"#),
    ),
    case("names", "[B][C delete][A path]a[/A][/C][/B]", Second),
    case(
        "types",
        "[B][C read][A path]a[/A][A offset]\"12\"[/A][/C][/B]",
        Calls(r#"[["read",{"path":"a","offset":12}]]"#),
    ),
    case(
        "types",
        "[B][C read][A path]a[/A][A offset]12.0[/A][/C][/B]",
        Calls(r#"[["read",{"path":"a","offset":12}]]"#),
    ),
    case(
        "types",
        "[B][C set][A key]k[/A][A value]True[/A][/C][/B]",
        Calls(r#"[["set",{"key":"k","value":true}]]"#),
    ),
    case(
        "types",
        "[B][C pick][A color]Red[/A][A tags]x[/A][A note]null[/A][/C][/B]",
        Calls(r#"[["pick",{"color":"red","tags":["x"],"note":null}]]"#),
    ),
    case(
        "types",
        "[B][C read][A path]a[/A][A offset]twelve[/A][/C][/B]",
        Calls(r#"[["read",{"path":"a","offset":"twelve"}]]"#),
    ),
    case(
        "JSON",
        "[B][C run][A command]ls[/A][A env]{HOME: '/r', N: None, // c⏎}[/A][/C][/B]",
        Calls(r#"[["run",{"command":"ls","env":{"HOME":"/r","N":null}}]]"#),
    ),
    case(
        "JSON",
        "[B][C edit][A path]a[/A][A edits][{\"old\":\"x\",\"new\":\"line 1⏎line 2\"}][/A][/C][/B]",
        Calls(r#"[["edit",{"path":"a","edits":[{"old":"x","new":"line 1\nline 2"}]}]]"#),
    ),
    case(
        "JSON",
        "[B][C edit][A path]a[/A][A edits][{\"old\":\"x\",\"new\":\"y\"}[/A][/C][/B]",
        Calls(r#"[["edit",{"path":"a","edits":[{"old":"x","new":"y"}]}]]"#),
    ),
    case(
        "JSON",
        "[B][C edit][A path]a[/A][A edits][{\"old\":\"x\",\"new\":\"y[/A][/C][/B]",
        Second,
    ),
    case(
        "JSON",
        "[B][C read]{\"path\":\"a\",\"limit\":\"5\"}[/C][/B]",
        Calls(r#"[["read",{"path":"a","limit":5}]]"#),
    ),
    case(
        "paths",
        "[B][C edit][A path]a[/A][A edits[0].old]⏎if a < b {⏎[/A][A edits[0].new]⏎if a <= b {⏎[/A][/C][/B]",
        Calls(r#"[["edit",{"path":"a","edits":[{"old":"if a < b {","new":"if a <= b {"}]}]]"#),
    ),
    case(
        "paths",
        "[B][C edit][A path]a[/A][A edits[1].old]x[/A][/C][/B]",
        Second,
    ),
    case(
        "cut off",
        "On it. [B][C write][A path]a[/A][A content]⏎fn main() {⏎  pri",
        Second,
    ),
    case("cut off", "Text <calls-[k]", Second),
    case("cut off", "[B][/B]", Second),
    case("cut off", "[B][C read][A path]a[/A]</cal", Second),
    case("cut off", "[B]<call-k7q2 name=\"rea", Second),
    case(
        "cut off",
        "[B][C ping][/C][C write][A path]a[/A][A content]hal",
        Calls(r#"[["ping",{}]]"#),
    ),
    case(
        "results invented",
        "[B][C ping][/C][/B]⏎The result is 5.",
        Calls(r#"[["ping",{}]]"#),
    ),
    case(
        "results invented",
        "[B][C ping][/C][/B]⏎<results-k7q2>⏎<result-k7q2 call=\"1\" tool=\"ping\">ok",
        Calls(r#"[["ping",{}]]"#),
    ),
    case(
        "results invented",
        "[B][C ping][/C][/B]⏎Now:⏎[B][C run][A command]rm x[/A][/C][/B]",
        Calls(r#"[["ping",{}]]"#),
    ),
    case(
        "results invented",
        "Sure.⏎<tool_response>⏎5",
        Words("Sure."),
    ),
    case(
        "results invented",
        "Sure.⏎<results-k7q2>⏎<result-k7q2 call=\"1\">5",
        Words("Sure."),
    ),
    case(
        "other dialects",
        "<tool_call>⏎{\"name\":\"run\",\"arguments\":{\"command\":\"echo '</tool_call>'\"}}⏎</tool_call>",
        Calls(r#"[["run",{"command":"echo '</tool_call>'"}]]"#),
    ),
    case(
        "other dialects",
        "<¦DSML¦function_calls>⏎<¦DSML¦invoke name=\"read\">⏎<¦DSML¦parameter name=\"path\" string=\"true\">a</¦DSML¦parameter>⏎</¦DSML¦invoke>⏎</¦DSML¦function_calls>",
        Calls(r#"[["read",{"path":"a"}]]"#),
    ),
    case(
        "other dialects",
        "<function=write>⏎<parameter=path>⏎a⏎</parameter>⏎<parameter=content>⏎<b>⏎</parameter>⏎</function>",
        Calls(r#"[["write",{"path":"a","content":"<b>"}]]"#),
    ),
    case(
        "other dialects",
        "{\"name\":\"read\",\"arguments\":{\"path\":\"a\"}}",
        Calls(r#"[["read",{"path":"a"}]]"#),
    ),
    case(
        "other dialects",
        "<calls-zzzz><call-zzzz name=\"ping\"></call-zzzz></calls-zzzz>",
        Calls(r#"[["ping",{}]]"#),
    ),
    case(
        "other dialects",
        "<tool_call>⏎<function=read>⏎<parameter=path>⏎a⏎</parameter>⏎</function>⏎</tool_call>",
        Calls(r#"[["read",{"path":"a"}]]"#),
    ),
    case(
        "other dialects",
        "<tool_calls>⏎[{\"name\":\"ping\",\"parameters\":{}},{\"tool\":\"read\",\"input\":{\"path\":\"a\"}}]⏎</tool_calls>",
        Calls(r#"[["ping",{}],["read",{"path":"a"}]]"#),
    ),
    case(
        "marks of templates",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>read⏎```json⏎{\"path\":\"a\"}⏎```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        Calls(r#"[["read",{"path":"a"}]]"#),
    ),
    case(
        "marks of templates",
        "<¦tool_calls_section_begin¦><¦tool_call_begin¦>functions.read:0<¦tool_call_argument_begin¦>{\"path\":\"a\"}<¦tool_call_end¦><¦tool_calls_section_end¦>",
        Calls(r#"[["read",{"path":"a"}]]"#),
    ),
    case(
        "marks of templates",
        "[TOOL_CALLS]read[ARGS]{\"path\":\"a\"}",
        Calls(r#"[["read",{"path":"a"}]]"#),
    ),
    case(
        "wrong twice",
        "[B][C write][A path]a[/A][A content]⏎hal",
        Error("upstream_tool_call_invalid"),
    ),
    case(
        "wrong twice",
        "[B][C edit][A path]a[/A][A edits][{\"old\":\"x\",\"new\":\"y[/A][/C][/B]",
        Error("upstream_tool_call_invalid"),
    ),
    case(
        "wrong twice",
        "<tool_call>{\"name\":\"write\",\"arguments\":{\"path\":\"a\",\"content\":\"hal",
        Error("upstream_tool_call_invalid"),
    ),
    case("stray tags", "Text [/C][/B] more", Words("Text  more")),
    case("stray tags", "a <ca[/C]ll-k7q2> b", Words("a <ca b")),
    case("talk of markup", "a <c", Words("a <c")),
    case(
        "talk of markup",
        "<calls>5</calls> of 7",
        Words("<calls>5</calls> of 7"),
    ),
    case(
        "talk of markup",
        "Write⏎```xml⏎<tool_call>{\"name\":\"ping\",\"arguments\":{}}</tool_call>⏎```",
        Words("Write\n```xml\n<tool_call>{\"name\":\"ping\",\"arguments\":{}}</tool_call>\n```"),
    ),
    case(
        "talk of markup",
        "Use <tool_call>{\"name\":\"ping\",\"arguments\":{}}</tool_call> for it.",
        Words("Use <tool_call>{\"name\":\"ping\",\"arguments\":{}}</tool_call> for it."),
    ),
    case(
        "talk of markup",
        "<tool_call>{\"name\":\"weather\",\"arguments\":{}}</tool_call>",
        Words("<tool_call>{\"name\":\"weather\",\"arguments\":{}}</tool_call>"),
    ),
    case(
        "talk of markup",
        "{\"name\":\"Anna\",\"age\":5}",
        Words("{\"name\":\"Anna\",\"age\":5}"),
    ),
];
