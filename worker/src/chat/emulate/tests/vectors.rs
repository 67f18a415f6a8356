//! The table of tools.md section 14, in its notation. Where a rule here differs, the reason stands beside it.

use super::*;

/// `[B][C read][A path]a[/A][/C][/B]⏎` as the model writes it.
pub(in super::super) fn expanded(notation: &str) -> String {
    let mut text = notation.replace('⏎', "\n").replace('¦', "|");
    for (short, tag) in [("B", "calls"), ("C", "call"), ("A", "arg")] {
        text = text.replace(&format!("[/{short}]"), &format!("</{tag}-{NONCE}>"));
        text = text.replace(&format!("[{short}]"), &format!("<{tag}-{NONCE}>"));
        let mut expanded = String::new();
        let mut rest = text.as_str();
        while let Some((before, behind)) = rest.split_once(&format!("[{short} ")) {
            // A name may have brackets of its own: `edits[0].old`.
            let mut depth = 1;
            let end = behind.find(|c| {
                depth += match c {
                    '[' => 1,
                    ']' => -1,
                    _ => 0,
                };
                depth == 0
            });
            let (name, behind) = behind.split_at(end.unwrap());
            expanded += &format!("{before}<{tag}-{NONCE} name=\"{name}\">");
            rest = behind.strip_prefix(']').unwrap();
        }
        text = expanded + rest;
    }
    text
}

#[track_caller]
fn check_as(asked: &Asked, end: End, notation: &str, expected: &str) {
    let text = expanded(notation);
    let found = at_every_split(&settings(asked), &[Said::Words(&text)], end);
    assert_eq!(found, expected, "{notation}");
    // Nothing of ours may leave, whatever else does. Source: conformance.md, T7.
    let told: Vec<Found> = decode(&settings(asked), &[Said::Words(&text)], end);
    for found in told {
        if let Found::Text(told) = found {
            assert!(
                !told.to_lowercase().contains(&format!("-{NONCE}")),
                "{told}"
            );
        }
    }
}

#[track_caller]
fn check(notation: &str, expected: &str) {
    check_as(&Asked::default(), End::Clean, notation, expected);
}

#[track_caller]
fn cut(notation: &str, expected: &str) {
    check_as(&Asked::default(), End::Cut, notation, expected);
}

/// One call of a tool, in a block.
#[track_caller]
fn call(tool: &str, args: &str, expected: &str) {
    check(&format!("[B][C {tool}]{args}[/C][/B]"), expected);
}

/// The content of a file.
#[track_caller]
fn content(value: &str, expected: &str) {
    let expected = json!({"path": "a", "content": expected});
    let expected = format!(
        "write{{\"path\":{},\"content\":{}}}",
        expected["path"], expected["content"]
    );
    call(
        "write",
        &format!("[A path]a[/A][A content]{value}[/A]"),
        &expected,
    );
}

fn twice(because: FactKind) -> Asked {
    Asked {
        round: second(because),
        ..Asked::default()
    }
}

#[test]
fn words_and_calls() {
    check("Hello.", r#""Hello.""#); // 1
    check(
        "[B][C read][A path]a.rs[/A][/C][/B]",
        r#"read{"path":"a.rs"}"#,
    ); // 2
    check(
        "I look at it.⏎⏎[B]⏎[C read]⏎[A path]⏎a.rs⏎[/A]⏎[/C]⏎[/B]",
        r#""I look at it." read{"path":"a.rs"}"#,
    ); // 3
    check("", "");
    check("a\n\n  \nb\n", r#""a\n\n  \nb\n""#);
}

#[test]
fn texts_are_raw() {
    content("⏎x = 1⏎⏎", "x = 1\n"); // 4
    content("⏎  indented⏎⏎tail  ⏎", "  indented\n\ntail  "); // 5
    call("read", "[A path]a.rs⏎[/A]", r#"read{"path":"a.rs"}"#); // 6
    content(
        "⏎s = \"a\\n\\\"b\\\"\" # C:\\new⏎",
        "s = \"a\\n\\\"b\\\"\" # C:\\new",
    ); // 7
    content(
        "⏎print(\"[/A] ends it\")⏎more⏎",
        "print(\"</arg-k7q2> ends it\")\nmore",
    ); // 8
    content(
        "⏎</parameter></invoke></tool_call>⏎",
        "</parameter></invoke></tool_call>",
    ); // 9
    content(
        "⏎<calls-zzzz><call-zzzz name=\"run\">⏎",
        "<calls-zzzz><call-zzzz name=\"run\">",
    ); // 10
    content("⏎&lt;b&gt; &amp;⏎", "&lt;b&gt; &amp;"); // 11
    content("<![CDATA[a<b]]>", "a<b"); // 12
    content("⏎```py⏎x⏎```⏎", "```py\nx\n```"); // 13
    content("\r\na\r\nb\r\n", "a\r\nb"); // 14
    content("", ""); // 15
    content("⏎你好 👩‍💻⏎", "你好 👩‍💻"); // 80
    content(
        "⏎<arg name=\"x\"></arg></call></calls>⏎",
        "<arg name=\"x\"></arg></call></calls>",
    );
    content("⏎[/C] and [/B]⏎x⏎", "</call-k7q2> and </calls-k7q2>\nx");
}

#[test]
fn blocks() {
    let two = r#"read{"path":"a"} read{"path":"b"}"#;
    check(
        "[B][C read][A path]a[/A][/C][C read][A path]b[/A][/C][/B]",
        two,
    ); // 16
    check("[B][C ping][/C][C ping][/C][/B]", "ping{} ping{}"); // 17
    check("[B][C ping][/C][/B]⏎⏎[B][C ping][/C][/B]", "ping{} ping{}"); // 18
    check("[B][C ping][/C][/B]⏎The result is 5.", "ping{} stop"); // 19
    check(
        "[B][C ping][/C][/B]⏎Now:⏎[B][C run][A command]rm x[/A][/C][/B]",
        "ping{} stop",
    ); // 20
    check(
        "[B][C ping][/C][/B]⏎<results-k7q2>⏎<result-k7q2 call=\"1\" tool=\"ping\">ok",
        "ping{} stop",
    ); // 21
    check(
        "Sure.⏎<results-k7q2>⏎<result-k7q2 call=\"1\">ok",
        r#""Sure." stop"#,
    ); // 22
    check("Sure.⏎<tool_response>⏎5", r#""Sure." stop"#);
    check("Sure.⏎<|im_start|>user⏎5", r#""Sure." stop"#);
    check("a <|im_start|>user b", r#""a <|im_start|>user b""#);
    check("[B][/B]", "again: nothing"); // 23
    check("Done.⏎[B][/B]", r#""Done.""#); // 24
    check("[B]<call-k7q2 name=\"ping\"/>[/B]", "ping{}"); // 25
    check("[B]<CALL-K7Q2 NAME='ping'>[/C][/B]", "ping{}");
    check("[B]<call-k7q2 name=ping >[/C][/B]", "ping{}");
    check(
        "< calls-k7q2 >< call-k7q2  name = \"ping\" / ></ calls-k7q2 >",
        "ping{}",
    );
    check("[C ping][/C]", "ping{}"); // 26
    check("[B][C ping][/C]", "ping{}"); // 27
    check("[B][C ping]", "ping{}");
    check("[B]I call it now: [C ping][/C][/B]", "ping{}");
    check("Text [/C][/B] more", r#""Text  more""#);
    check("[A path]a[/A] more", "again: void");
}

#[test]
fn ends_and_left_out_closers() {
    check("[B][C read][A path]a[/A]", r#"read{"path":"a"}"#); // 28
    cut("[B][C read][A path]a[/A]", "again: void"); // 29
    check("[B][C read][A path]a[/C][/B]", r#"read{"path":"a"}"#); // 30
    call(
        "read",
        "⏎[A path]⏎a⏎[A limit]5[/A]",
        r#"read{"path":"a","limit":5}"#,
    ); // 31
    let open = "[B][C write][A path]a[/A][A content]⏎fn main() {⏎  pri";
    check(open, "again: void"); // 32
    check_as(
        &twice(FactKind::Void),
        End::Clean,
        open,
        "upstream_tool_call_invalid",
    );
    cut(&format!("On it.{open}"), r#""On it." again: void"#); // 33
    check_as(&twice(FactKind::Void), End::Cut, open, "");
    cut(
        "[B][C ping][/C][C write][A path]a[/A][A content]hal",
        "ping{}",
    ); // 34
    check(
        "[B][C ping][/C][C write][A path]a[/A][A content]hal",
        "ping{}",
    );
    check("Text <calls-k", r#""Text" again: void"#); // 35
    for text in [
        "a <c",
        "if (x <call) y",
        "<calls>5</calls> of 7",
        "a <",
        "<calls-",
        "<div>\n<p>",
    ] {
        check(text, &Value::from(text).to_string()); // 36
    }
    check("[B][C read][A path]a[/A]</cal", "again: void");
    check("[B][C read][A path]a[/A", "again: void");
    check("[B][C read][A path]a[/A]</call-k7q2", "again: void");
    check("[B][C read]", "again: void");
    check("[B]<call-k7q2 name=\"rea", "again: void");
    check("Text [B]<call-k7", r#""Text" again: void"#);
}

#[test]
fn values_of_other_types() {
    for value in ["12", " 12 ", "\"12\"", "12.0"] {
        call(
            "read",
            &format!("[A path]a[/A][A offset]{value}[/A]"),
            r#"read{"path":"a","offset":12}"#,
        ); // 37
    }
    let twelve = "[B][C read][A path]a[/A][A offset]twelve[/A][/C][/B]";
    check(twelve, r#"read{"path":"a","offset":"twelve"}"#); // 38
    let strict = Asked {
        is_strict: true,
        ..Asked::default()
    };
    check_as(&strict, End::Clean, twelve, "again: misfit");
    let again = Asked {
        round: second(FactKind::Misfit),
        ..strict
    };
    check_as(&again, End::Clean, twelve, "upstream_tool_call_invalid");
    for (value, expected) in [
        ("True", "true"),         // 39
        ("\"True\"", "\"True\""), // 40
        ("on hold", "\"on hold\""),
        ("null", "null"),
        ("5", "5"),
        ("⏎5 apples⏎", "\"5 apples\""),
    ] {
        let args = format!("[A key]k[/A][A value]{value}[/A]");
        call(
            "set",
            &args,
            &format!(r#"set{{"key":"k","value":{expected}}}"#),
        );
    }
    call(
        "pick",
        "[A color]Red[/A][A tags]x[/A][A note]null[/A]",
        r#"pick{"color":"red","tags":["x"],"note":null}"#,
    ); // 41
    call(
        "pick",
        "[A color]red[/A][A tags]['a', \"b\",][/A][A size]9[/A]",
        r#"pick{"color":"red","tags":["a","b"]}"#,
    ); // 42
    call(
        "read",
        "[A path]a[/A][A size]9[/A]",
        r#"read{"path":"a","size":9}"#,
    ); // 43
    let closed = "[B][C pick][A color]red[/A][A size]9[/A][/C][/B]";
    let strict = Asked {
        is_strict: true,
        ..Asked::default()
    };
    check_as(&strict, End::Clean, closed, r#"pick{"color":"red"}"#); // 43
    call(
        "run",
        "[A command]ls[/A][A env]{HOME: '/r', N: None, // c⏎}[/A]",
        r#"run{"command":"ls","env":{"HOME":"/r","N":null}}"#,
    ); // 44
    call(
        "free",
        "[A q]5[/A][A s]5 apples[/A]",
        r#"free{"q":5,"s":"5 apples"}"#,
    ); // 54
    call("read", "[A path]a[/A][A path]b[/A]", r#"read{"path":"b"}"#); // 55
}

#[test]
fn values_in_lists_and_objects() {
    let edit = |args: &str, expected: &str| {
        call(
            "edit",
            &format!("[A path]a[/A]{args}"),
            &format!(r#"edit{{"path":"a","edits":{expected}}}"#),
        );
    };
    edit(
        r#"[A edits][{"old":"a\*b","new":"line 1⏎line 2"}][/A]"#,
        r#"[{"old":"a\\*b","new":"line 1\nline 2"}]"#,
    ); // 45
    edit(
        "[A edits[0].old]⏎if a < b {⏎[/A][A edits[0].new]⏎if a <= b {⏎[/A]",
        r#"[{"old":"if a < b {","new":"if a <= b {"}]"#,
    ); // 46
    edit(
        r#"[A edits][{"old":"x"}][/A][A edits[0].new]y[/A]"#,
        r#"[{"old":"x","new":"y"}]"#,
    ); // 47
    check(
        "[B][C edit][A path]a[/A][A edits[1].old]x[/A][/C][/B]",
        "again: unreadable",
    ); // 48
    edit(
        r#"[A edits][{"old":"x","new":"y"}[/A]"#,
        r#"[{"old":"x","new":"y"}]"#,
    ); // 49
    check(
        r#"[B][C edit][A path]a[/A][A edits][{"old":"x","new":"y[/A][/C][/B]"#,
        "again: unreadable",
    ); // 50
    edit(
        "[A edits[1].old]b[/A][A edits[0].old]a[/A]",
        r#"[{"old":"a"},{"old":"b"}]"#,
    );
}

#[test]
fn names() {
    check("[B][C Read][A Path]a[/A][/C][/B]", r#"read{"path":"a"}"#); // 51
    check(
        "[B][C functions.read][A path]a[/A][/C][/B]",
        r#"read{"path":"a"}"#,
    );
    let delete = "[B][C delete][A path]a[/A][/C][/B]";
    check(delete, "again: unknown"); // 52
    check_as(
        &twice(FactKind::Unknown),
        End::Clean,
        delete,
        r#"delete{"path":"a"}"#,
    );
    call(
        "read",
        r#"{"path":"a","limit":"5"}"#,
        r#"read{"path":"a","limit":5}"#,
    ); // 53
    let found = decode(
        &settings(&Asked::default()),
        &[Said::Words(&expanded(delete))],
        End::Clean,
    );
    let [Found::Again(fact)] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        fact.to_string(),
        "there is no tool delete; the tools are: read, write, run, edit, ping, set, pick, free"
    );
}

#[test]
fn fences() {
    check("Here:⏎```xml⏎[B][C ping][/C][/B]⏎```", r#""Here:" ping{}"#); // 56
    let quoted = "Write⏎```xml⏎<tool_call>{\"name\":\"ping\",\"arguments\":{}}</tool_call>⏎```";
    check(quoted, &Value::from(expanded(quoted)).to_string()); // 57
    let inline = "Use <tool_call>{\"name\":\"ping\",\"arguments\":{}}</tool_call> for it.";
    check(inline, &Value::from(inline).to_string()); // 58
    check("  ~~~~⏎⏎ [C ping][/C]⏎  ~~~~⏎", "ping{}");
    let closed = "```⏎x⏎```⏎<invoke name=\"ping\"></invoke>";
    check(closed, r#""```\nx\n```" ping{}"#);
    let inline = "`code`⏎``` not a fence ``` ⏎<invoke name=\"ping\"/>";
    check(inline, r#""`code`\n``` not a fence ```" ping{}"#);
}

#[test]
fn json_in_tags() {
    check(
        r#"<tool_call>⏎{"name":"run","arguments":{"command":"echo '</tool_call>'"}}⏎</tool_call>"#,
        r#"run{"command":"echo '</tool_call>'"}"#,
    ); // 59
    check(
        r#"<tool_call>{"name":"write","arguments":{"path":"a","content":"l1⏎l2"}}</tool_call>"#,
        r#"write{"path":"a","content":"l1\nl2"}"#,
    ); // 60
    check(
        r#"<tool_call>{"name":"run","arguments":"{\"command\":\"ls\"}"}"#,
        r#"run{"command":"ls"}"#,
    ); // 61
    check(
        r#"<tool_call>{"name":"write","arguments":{"path":"a","content":"hal"#,
        "again: void",
    ); // 62
    let other = r#"<tool_call>{"name":"weather","arguments":{}}</tool_call>"#;
    check(other, &Value::from(other).to_string()); // 63
    check(
        r#"On it:⏎<tool_calls>⏎[{"name":"ping","parameters":{}},{"tool":"read","input":{"path":"a"}}]⏎</tool_calls>"#,
        r#""On it:" ping{} read{"path":"a"}"#,
    );
    check(
        r#"<tool_call>{"name":"ping","arguments":{}}</tool_call>⏎<tool_call>⏎{"arguments":{"path":"a"},"name":"read"}⏎</tool_call>"#,
        r#"ping{} read{"path":"a"}"#,
    );
    check(
        r#"<tool_call>{"name":"read","arguments":{"path":"a"}"#,
        r#"read{"path":"a"}"#,
    );
    check(
        r#"[B]{"name":"read","arguments":{"path":"a"}}[/B]"#,
        r#"read{"path":"a"}"#,
    );
}

#[test]
fn tags_of_others() {
    for bar in ["¦", "｜", "｜｜", "¦¦"] {
        let text = format!(
            "<{bar}DSML{bar}function_calls>⏎<{bar}DSML{bar}invoke name=\"read\">⏎\
             <{bar}DSML{bar}parameter name=\"path\" string=\"true\">a</{bar}DSML{bar}parameter>⏎\
             <{bar}DSML{bar}parameter name=\"limit\" string=\"false\">5</{bar}DSML{bar}parameter>⏎\
             </{bar}DSML{bar}invoke>⏎</{bar}DSML{bar}function_calls>"
        );
        check(&text, r#"read{"path":"a","limit":5}"#); // 64
    }
    check(
        "<function=write>⏎<parameter=path>⏎a⏎</parameter>⏎<parameter=content>⏎<b>⏎</parameter>⏎</function>",
        r#"write{"path":"a","content":"<b>"}"#,
    ); // 65
    check(
        "<tool_call>⏎<function=read>⏎<parameter=path>⏎a⏎</parameter>⏎</function>⏎</tool_call>",
        r#"read{"path":"a"}"#,
    );
    check(
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>read⏎```json⏎{\"path\":\"a\"}⏎```\
         <｜tool▁call▁end｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>ping⏎```json⏎{}⏎```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        r#"read{"path":"a"} ping{}"#,
    ); // 66
    check(
        "<¦tool_calls_section_begin¦><¦tool_call_begin¦>functions.read:0<¦tool_call_argument_begin¦>{\"path\":\"a\"}\
         <¦tool_call_end¦><¦tool_calls_section_end¦>",
        r#"read{"path":"a"}"#,
    ); // 67
    check(
        "<¦open¦>tools<¦sep¦><¦open¦>call tool=\"read\" index=\"1\"<¦sep¦><¦open¦>argument key=\"path\" type=\"string\"<¦sep¦>a\
         <¦close¦>argument<¦sep¦><¦open¦>argument key=\"limit\" type=\"number\"<¦sep¦>5<¦close¦>argument<¦sep¦>\
         <¦close¦>call<¦sep¦><¦close¦>tools<¦sep¦>",
        r#"read{"path":"a","limit":5}"#,
    );
    check(
        "[TOOL_CALLS][{\"name\":\"read\",\"arguments\":{\"path\":\"a\"}}]",
        r#"read{"path":"a"}"#,
    );
    check(
        "[TOOL_CALLS]read[CALL_ID]x1[ARGS]{\"path\":\"a\"}",
        r#"read{"path":"a"}"#,
    );
    check(
        "<calls-zzzz><call-zzzz name=\"ping\"></call-zzzz></calls-zzzz>",
        "ping{}",
    ); // 70
    check(
        "<calls><call name=\"read\"><arg name=\"path\">⏎a⏎</arg></call></calls>",
        r#"read{"path":"a"}"#,
    );
    // A nonce that is copied wrong here and there.
    check(
        "[B]<call-k7g2 name=\"read\">[A path]a</arg-k7g2>[/C][/B]",
        r#"read{"path":"a"}"#,
    );
    // With a namespace, and closers in a text that have none.
    check(
        "<ns:function_calls>⏎<ns:invoke name=\"write\">⏎<ns:parameter name=\"path\">a</ns:parameter>⏎\
         <ns:parameter name=\"content\">⏎x</parameter></invoke>⏎y⏎</ns:parameter>⏎</ns:invoke>⏎</ns:function_calls>",
        r#"write{"path":"a","content":"x</parameter></invoke>\ny"}"#,
    );
    // In whatever wrapper, with a broken bracket.
    check(
        "<tools>⏎<invoke name=\"read\"⏎<parameter name=\"path\">a</parameter⏎</invoke></tools>",
        r#"read{"path":"a"}"#,
    );
}

#[test]
fn json_as_the_whole_answer() {
    let one = r#"{"name":"read","arguments":{"path":"a"}}"#;
    let call = r#"read{"path":"a"}"#;
    check(one, call); // 68
    check(&format!("```json⏎{one}⏎```"), call);
    check(&format!("[{one},{one}]"), &format!("{call} {call}"));
    check(
        &format!(r#"{{"tool_calls":[{{"id":"x","function":{one}}}]}}"#),
        call,
    );
    for text in [
        r#"{"name":"Anna","age":5}"#,
        r#"Like {"name":"read","arguments":{}} for example"#,
        r#"{"name":"read","age":5}"#,
        r#"{"name":"read","arguments":{}} is what I would say"#,
        r#"{"a":1}"#,
        "{\"a",
        "[1](link) and more",
        "```json\n{\"a\":1}\n```\nmore `x`",
    ] {
        check(text, &Value::from(text).to_string()); // 69
    }
    let mut no_json = settings(&Asked::default());
    no_json.bare_json = false;
    let found = at_every_split(&no_json, &[Said::Words(one)], End::Clean);
    assert_eq!(found, Value::from(one).to_string());
    check(r#"{"name":"read","arguments":{"path":"a"#, "again: void");
}

#[test]
fn thoughts() {
    let ping = expanded("[B][C ping][/C][/B]");
    let read = expanded("[B][C read][A path]a[/A][/C][/B]");
    let check = |said: &[Said<'_>], expected: &str| {
        let found = at_every_split(&settings(&Asked::default()), said, End::Clean);
        assert_eq!(found, expected);
    };
    check(&[Said::Thoughts(&ping)], "ping{}"); // 71
    check(
        &[Said::Thoughts(&ping), Said::Words("It is 5.")],
        r#""It is 5.""#,
    ); // 72
    check(
        &[Said::Thoughts(&ping), Said::Words(&read)],
        r#"read{"path":"a"}"#,
    ); // 73
    let mixed = format!("I think.\n{ping}\nThen more.");
    check(
        &[Said::Thoughts(&mixed), Said::Words("So.")],
        "(I think.Then more.) \"So.\"",
    );
}

#[test]
fn choices() {
    let as_choice = |choice: ToolChoice, round: Round| Asked {
        choice,
        round,
        ..Asked::default()
    };
    let read = "[B][C read][A path]a[/A][/C][/B]";
    let none = |round| as_choice(ToolChoice::None, round);
    check_as(&none(Round::First), End::Clean, read, "again: no_words"); // 74
    check_as(
        &none(second(FactKind::NoWords)),
        End::Clean,
        "It is 5.",
        r#""It is 5.""#,
    );
    check_as(
        &none(Round::First),
        End::Clean,
        &format!("It is 5.{read}"),
        r#""It is 5.""#,
    );
    let required = |round| as_choice(ToolChoice::Required, round);
    check_as(
        &required(Round::First),
        End::Clean,
        "Hello.",
        r#""Hello." again: no_call"#,
    ); // 75
    check_as(
        &required(second(FactKind::NoCall)),
        End::Clean,
        "Hello.",
        "tool_choice_not_met",
    );
    check_as(
        &required(second(FactKind::NoCall)),
        End::Clean,
        &format!("Well.{read}"),
        r#"read{"path":"a"}"#,
    );
    let named = |round| as_choice(ToolChoice::Named("write".into()), round);
    check_as(&named(Round::First), End::Clean, read, "again: unknown"); // 76
    check_as(
        &named(second(FactKind::NoCall)),
        End::Clean,
        read,
        "tool_choice_not_met",
    );
    let serial = Asked {
        is_serial: true,
        ..Asked::default()
    };
    let two = "[B][C read][A path]a[/A][/C][C read][A path]b[/A][/C][/B]";
    check_as(&serial, End::Clean, two, r#"read{"path":"a"} stop"#); // 77
}

#[test]
fn what_a_service_says_of_a_name() {
    let mut upper = tools();
    upper[0].name = "Read".into();
    let asked = |round| Asked {
        taken: Some(Taken {
            before: "Tool ",
            after: " does not exists",
        }),
        tools: Some(upper.clone()),
        round,
        ..Asked::default()
    };
    check_as(
        &asked(Round::First),
        End::Clean,
        "Tool Read does not exists.",
        "again: taken",
    ); // 81
    for text in [
        "Tool Read does not exists. Sorry",
        "Tool X does not exists.",
        "Tool",
        "To",
        "Other",
    ] {
        check_as(
            &asked(Round::First),
            End::Clean,
            text,
            &Value::from(text).to_string(),
        );
    }
}

#[test]
fn a_connection_that_breaks() {
    let broken =
        |text: &str, expected: &str| check_as(&Asked::default(), End::Broken, text, expected);
    broken("[B][C ping][/C][C read][A path]a", "ping{}"); // 82
    broken("[B][C read][A path]a", "");
    broken("Hal", r#""Hal""#);
}

#[test]
fn long_values() {
    let closer = "</arg-k7q".repeat((1 << 20) / 9);
    let text = expanded(&format!(
        "[B][C write][A path]a[/A][A content]⏎{closer}⏎[/A][/C][/B]"
    )); // 78
    let settings = settings(&Asked::default());
    for size in [text.len(), 1000, 7] {
        let pieces: Vec<_> = text.as_bytes().chunks(size).collect();
        let pieces: Vec<_> = pieces
            .iter()
            .map(|it| Said::Words(str::from_utf8(it).unwrap()))
            .collect();
        let found = decode(&settings, &pieces, End::Clean);
        let [Found::Call(call)] = found.as_slice() else {
            panic!("{} events", found.len());
        };
        let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
        assert_eq!(arguments["content"], closer.as_str());
    }
    let more = "x".repeat((4 << 20) + 1);
    let text = expanded(&format!(
        "[B][C write][A path]a[/A][A content]⏎{more}⏎[/A][/C][/B]"
    )); // 79
    for size in [text.len(), 1 << 16] {
        let pieces: Vec<_> = text.as_bytes().chunks(size).collect();
        let pieces: Vec<_> = pieces
            .iter()
            .map(|it| Said::Words(str::from_utf8(it).unwrap()))
            .collect();
        let found = decode(&settings, &pieces, End::Clean);
        assert_eq!(line(&found), "upstream_tool_call_invalid");
    }
}
