//! Broken answers, systematically: one call in every dialect, and whatever may happen to it. Source: tools.md sections 4 to 8.
//! The table of section 14 stands in `vectors`.

use super::{vectors::expanded, *};

/// A way to write a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Canonical,
    OtherNonce,
    NoNonce,
    Invoke,
    Namespace,
    Bars,
    TaggedJson,
    JsonList,
    Function,
    DeepSeek,
    Kimi,
    Xtml,
    MistralList,
    MistralName,
    Bare,
    BareFence,
}

use Way::*;

const WAYS: [Way; 16] = [
    Canonical,
    OtherNonce,
    NoNonce,
    Invoke,
    Namespace,
    Bars,
    TaggedJson,
    JsonList,
    Function,
    DeepSeek,
    Kimi,
    Xtml,
    MistralList,
    MistralName,
    Bare,
    BareFence,
];

impl Way {
    /// It must be the whole answer.
    fn is_alone(self) -> bool {
        matches!(self, Bare | BareFence)
    }

    /// `write` with these texts.
    fn writes(self, name: &str, path: &str, content: &str) -> String {
        let args = [("path", path), ("content", content)];
        let json = format!(
            "{{\"path\":{},\"content\":{}}}",
            Value::from(path),
            Value::from(content)
        );
        let call = format!("{{\"name\":\"{name}\",\"arguments\":{json}}}");
        let tags = |calls: &str, call: &str, arg: &str| {
            let args = args.map(|(name, value)| {
                let closer = arg.split(' ').next().unwrap();
                format!("<{arg}=\"{name}\">\n{value}\n</{closer}>\n")
            });
            let closer = call.split(' ').next().unwrap();
            let wrapped = |inside: String| {
                if calls.is_empty() {
                    inside
                } else {
                    format!("<{calls}>\n{inside}\n</{calls}>")
                }
            };
            wrapped(format!("<{call}=\"{name}\">\n{}</{closer}>", args.concat()))
        };
        match self {
            Canonical => tags("calls-k7q2", "call-k7q2 name", "arg-k7q2 name"),
            OtherNonce => tags("calls-zzzz", "call-zzzz name", "arg-zzzz name"),
            NoNonce => tags("calls", "call name", "arg name"),
            Invoke => tags("function_calls", "invoke name", "parameter name"),
            Namespace => tags("x:function_calls", "x:invoke name", "x:parameter name"),
            Bars => tags(
                "｜DSML｜function_calls",
                "｜DSML｜invoke name",
                "｜DSML｜parameter name",
            ),
            TaggedJson => format!("<tool_call>\n{call}\n</tool_call>"),
            JsonList => format!("<tool_calls>[{call}]</tool_calls>"),
            Function => {
                let args = args
                    .map(|(name, value)| format!("<parameter={name}>\n{value}\n</parameter>\n"));
                format!("<function={name}>\n{}</function>", args.concat())
            }
            DeepSeek => format!(
                "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{json}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
            ),
            Kimi => format!(
                "<|tool_calls_section_begin|><|tool_call_begin|>functions.{name}:0<|tool_call_argument_begin|>{json}<|tool_call_end|><|tool_calls_section_end|>"
            ),
            Xtml => {
                let args = args.map(|(name, value)| {
                    format!("<|open|>argument key=\"{name}\" type=\"string\"<|sep|>{value}<|close|>argument<|sep|>")
                });
                format!(
                    "<|open|>tools<|sep|><|open|>call tool=\"{name}\" index=\"1\"<|sep|>{}<|close|>call<|sep|><|close|>tools<|sep|>",
                    args.concat()
                )
            }
            MistralList => format!("[TOOL_CALLS][{call}]"),
            MistralName => format!("[TOOL_CALLS]{name}[ARGS]{json}"),
            Bare => call,
            BareFence => format!("```json\n{call}\n```"),
        }
    }
}

/// Texts that a file may hold.
const CONTENTS: &[&str] = &[
    "x",
    "fn main() {\n    println!(\"a < b\");\n}",
    "a </arg-k7q2> b </call-k7q2> c </calls-k7q2> d",
    "<calls-zzzz><call-zzzz name=\"ping\"></call-zzzz></calls-zzzz>",
    "say </parameter></invoke></function_calls></tool_call></function> so",
    "<tool_call>{\"name\":\"ping\",\"arguments\":{}}</tool_call> it is",
    "```xml\n<invoke name=\"ping\"></invoke>\n``` end",
    "<|tool_call_end|><｜tool▁call▁end｜><|close|>call<|sep|> [TOOL_CALLS] x",
    "{\"name\":\"ping\",\"arguments\":{\"a\":\"]}\"}}, '“”’ // no",
    "C:\\new \\\" \\u00e9 &lt; é 你好 👩‍💻",
    "<results-zzzz>\n<tool_response>\nok",
];

fn wants(content: &str) -> String {
    format!(
        "write{{\"path\":\"a.rs\",\"content\":{}}}",
        Value::from(content)
    )
}

/// Whole, byte by byte, and torn in two in some places.
#[track_caller]
fn told(text: &str, end: End) -> String {
    told_as(&Asked::default(), text, end)
}

#[track_caller]
fn told_as(asked: &Asked, text: &str, end: End) -> String {
    let settings = settings(asked);
    let whole = line(&decode(&settings, &[Said::Words(text)], end));
    let single: Vec<_> = text.split_inclusive(|_| true).map(Said::Words).collect();
    assert_eq!(line(&decode(&settings, &single, end)), whole, "{text}");
    let step = (text.len() / 40).max(1);
    for (at, _) in text.char_indices().step_by(step) {
        let (head, tail) = text.split_at(at);
        let pieces = [Said::Words(head), Said::Words(tail)];
        assert_eq!(
            line(&decode(&settings, &pieces, end)),
            whole,
            "{head}·{tail}"
        );
    }
    whole
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Words that a client sees; calls and the rest are not in it.
fn words(text: &str, end: End) -> String {
    let found = decode(&settings(&Asked::default()), &[Said::Words(text)], end);
    let text = found.into_iter().filter_map(|found| match found {
        Found::Text(text) => Some(text),
        _ => None,
    });
    text.collect()
}

#[test]
fn whatever_is_written_arrives_in_every_dialect() {
    for way in WAYS {
        for content in CONTENTS {
            let text = way.writes("write", "a.rs", content);
            // Without a nonce of its own nobody can tell its tags from those in a text.
            let is_own = match way {
                OtherNonce => content.contains("</call-zzzz></calls-zzzz>"),
                Invoke => {
                    content.contains("</parameter></invoke>") || content.contains("\n<invoke")
                }
                _ => false,
            };
            if is_own {
                continue;
            }
            assert_eq!(told(&text, End::Clean), wants(content), "{way:?} {text}");
        }
    }
}

#[test]
fn names_are_taken_for_what_they_can_only_mean() {
    for way in WAYS {
        for name in ["Write", "WRITE", "functions.write", "default_api.write"] {
            // Kimi's own form has the prefix already.
            if way == Kimi && name.contains('.') {
                continue;
            }
            let text = way.writes(name, "a.rs", "x");
            assert_eq!(told(&text, End::Clean), wants("x"), "{way:?} {text}");
        }
        let text = way.writes("delete", "a.rs", "x");
        let expected = if way == Canonical {
            "again: unknown".to_owned()
        } else {
            quoted(&text)
        };
        assert_eq!(told(&text, End::Clean), expected, "{way:?}");
    }
}

#[test]
fn where_a_call_stands_decides_what_it_is() {
    for way in WAYS {
        let call = way.writes("write", "a.rs", "x");
        // Behind words, the call itself begins a line where its block has a tag of its own.
        let is_heard = matches!(
            way,
            Canonical | OtherNonce | NoNonce | Invoke | Namespace | Bars
        );
        let both = |words: &str, text: String| {
            if is_heard {
                format!("{} {}", quoted(words), wants("x"))
            } else {
                quoted(&text)
            }
        };
        let fenced = format!("So:\n~~~xml\n{call}\n~~~");
        let on_a_line = if way.is_alone() {
            quoted(&format!("Well.\n{call}"))
        } else {
            format!("\"Well.\" {}", wants("x"))
        };
        for (text, expected) in [
            (format!("Well.\n{call}"), on_a_line),
            (format!("\n\n{call}\n\n"), wants("x")),
            (
                format!("It is {call}"),
                both("It is", format!("It is {call}")),
            ),
            (
                fenced.clone(),
                if way == Canonical {
                    both("So:", String::new())
                } else {
                    quoted(&fenced)
                },
            ),
            (format!("> {call}"), both(">", format!("> {call}"))),
        ] {
            assert_eq!(told(&text, End::Clean), expected, "{way:?} {text}");
        }
    }
}

#[test]
fn what_follows_a_call_is_not_heard() {
    for way in WAYS.into_iter().filter(|way| !way.is_alone()) {
        let call = way.writes("write", "a.rs", "x");
        for behind in [
            "\nThe result is 5.",
            " Done.",
            "\n<results-k7q2>\n<result-k7q2 call=\"1\" tool=\"write\">ok",
            "\n<tool_response>ok</tool_response>",
            "\n\nNow:\n<invoke name=\"ping\"></invoke>",
        ] {
            let text = format!("{call}{behind}");
            let expected = format!("{} stop", wants("x"));
            assert_eq!(told(&text, End::Clean), expected, "{way:?} {text}");
        }
        let twice = format!("{call}\n{call}");
        let expected = format!("{} {}", wants("x"), wants("x"));
        assert_eq!(told(&twice, End::Clean), expected, "{way:?} {twice}");
    }
}

/// An answer that was cut off anywhere: a call is all that was written or none, a value is never half of itself, and nothing of
/// ours leaves.
#[test]
fn no_cut_makes_half_a_value() {
    let content = "let s = \"half\";\n[1, {\"a\": 2}]\nend";
    for way in WAYS {
        let text = format!("I write.\n{}", way.writes("write", "a.rs", content));
        let text = if way.is_alone() {
            way.writes("write", "a.rs", content)
        } else {
            text
        };
        for (at, _) in text.char_indices() {
            let cut = text.get(..at).unwrap();
            for end in [End::Clean, End::Cut] {
                let settings = settings(&Asked::default());
                let found = decode(&settings, &[Said::Words(cut)], end);
                let single: Vec<_> = cut.split_inclusive(|_| true).map(Said::Words).collect();
                assert_eq!(
                    line(&decode(&settings, &single, end)),
                    line(&found),
                    "{cut}"
                );
                for call in &found {
                    let Found::Call(call) = call else { continue };
                    let given: Value = serde_json::from_str(&call.arguments).unwrap();
                    let is_whole = given == json!({"path": "a.rs", "content": content});
                    // Behind a closed argument a clean end leaves out what was still to come.
                    let is_part = end == End::Clean && given == json!({"path": "a.rs"});
                    assert!(is_whole || is_part, "{way:?} {cut} {given}");
                }
                let words = words(cut, end);
                assert!(!words.contains("-k7q2"), "{words}");
                assert!(cut.starts_with(&*words), "{words} of {cut}");
            }
        }
    }
}

/// One tag, bracket or mark is missing: the call is what it was, or it is asked for again, or all of it is words.
#[test]
fn no_missing_part_makes_another_call() {
    for way in WAYS {
        let call = way.writes("write", "a.rs", "x\ny");
        for part in parts(&call) {
            // Between two arguments on one line only the closer tells where the first one ends; and without the second one's opener
            // nothing tells that the closer of the first one is no part of its text.
            if (way == Xtml && part == "<|close|>")
                || (part.contains("content") && part.starts_with('<'))
            {
                continue;
            }
            let with_break = format!("{part}\n");
            let text = if call.contains(&with_break) {
                call.replacen(&with_break, "", 1)
            } else {
                call.replacen(&part, "", 1)
            };
            let told = told(&text, End::Clean);
            let is_well = told == wants("x\ny") || told.starts_with("again: ");
            let is_words = told == quoted(&text);
            // With its opener gone, the rest of a block of ours is no call of anything.
            assert!(
                is_well || is_words,
                "{way:?} without {part:?}: {told}\n{text}"
            );
            if way == Canonical {
                assert!(is_well, "{told}\n{text}");
            }
        }
    }
}

/// The tags and marks of a call.
fn parts(call: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for (at, _) in call.match_indices(['<', '[']) {
        let (_, rest) = call.split_at(at);
        let end = rest.find(['>', ']']).unwrap() + 1;
        parts.push(rest.split_at(end).0.to_owned());
    }
    parts
}

/// A tag is written otherwise than it was asked for.
#[test]
fn odd_tags_are_tags() {
    let call = Canonical.writes("write", "a.rs", "x");
    let other = |from: &str, to: &str| call.replace(from, to);
    for text in [
        call.to_uppercase()
            .replace("A.RS", "a.rs")
            .replace("\nX\n", "\nx\n")
            .replace("\"WRITE\"", "\"write\"")
            .replace("\"PATH\"", "\"path\"")
            .replace("\"CONTENT\"", "\"content\""),
        other("<", "< "),
        other("</", "< /"),
        other("</", "<\\/"),
        other("<", "<\n"),
        other("</", "</|").replace("<c", "<|c").replace("<a", "<|a"),
        other("</", "</｜")
            .replace("<c", "<｜c")
            .replace("<a", "<｜a"),
        other("\">", "\" >"),
        other("\"", "'"),
        other("=\"", " = \""),
        other("name=\"write\"", "name=write"),
        other("name=\"write\"", "name=“write”"),
        other("</calls-k7q2>", "</calls-k7q2></calls-k7q2>"),
        other("</call-k7q2>", "</call-k7q2></call-k7q2>"),
        other("<calls-k7q2>", "<calls-k7q2><calls-k7q2>"),
        other("<calls-k7q2>", "<calls-k7q2>\nHere it is:\n"),
        other("</calls-k7q2>", "</calls-zzzz>"),
        other("</call-k7q2>", "</call-zzzz>"),
        other("<calls-k7q2>", "<calls-zzzz>"),
        other("</calls-k7q2>", "</calls-k7q2"),
        other("\n", "\r\n"),
        format!("```\n{call}\n```"),
        format!("~~~xml\n\n{call}\n~~~\n"),
        format!("<tool_calls>\n{call}\n</tool_calls>"),
    ] {
        assert_eq!(told(&text, End::Clean), wants("x"), "{text}");
    }
}

/// Values of other types, odd in every way that has one meaning, in tags and in JSON.
#[test]
fn odd_values_are_what_they_mean() {
    for (param, written, expected) in [
        ("offset", "12", "12"),
        ("offset", " 12\n", "12"),
        ("offset", "\"12\"", "12"),
        ("offset", "'12'", "12"),
        ("offset", "12.0", "12"),
        ("offset", "-3", "-3"),
        ("offset", "```json\n12\n```", "12"),
        ("offset", "12 // lines", "12"),
        ("offset", "18446744073709551616", "18446744073709551616"),
        ("offset", "twelve", "\"twelve\""),
        ("offset", "12 lines", "\"12 lines\""),
        ("offset", "12.5", "12.5"),
        ("offset", "True", "true"),
    ] {
        let text = expanded(&format!(
            "[B][C read][A path]a[/A][A {param}]{written}[/A][/C][/B]"
        ));
        let wanted = format!("read{{\"path\":\"a\",\"{param}\":{expected}}}");
        assert_eq!(told(&text, End::Clean), wanted, "{text}");
        let is_json =
            written == "12" || written.starts_with(['"', '\'', '-', 'T']) || written.contains(".");
        if is_json {
            let text = format!(
                "<tool_call>{{\"name\":\"read\",\"arguments\":{{\"path\":\"a\",\"{param}\":{written}}}}}</tool_call>"
            );
            assert_eq!(told(&text, End::Clean), wanted, "{text}");
        }
    }
    for (written, expected) in [
        ("{\"A\":\"1\"}", Ok("{\"A\":\"1\"}")),
        ("{'A':'1'}", Ok("{\"A\":\"1\"}")),
        ("{“A”:“1”}", Ok("{\"A\":\"1\"}")),
        ("{A:1}", Ok("{\"A\":1}")),
        ("{\"A\":1,}", Ok("{\"A\":1}")),
        ("{\"A\":[1,2,],}", Ok("{\"A\":[1,2]}")),
        ("{\"A\":True,\"B\":None}", Ok("{\"A\":true,\"B\":null}")),
        ("{\"A\":\"l1\nl2\"}", Ok("{\"A\":\"l1\\nl2\"}")),
        ("{\"A\":\"\\d\"}", Ok("{\"A\":\"\\\\d\"}")),
        ("{\"A\":1 /* one */}", Ok("{\"A\":1}")),
        ("{\"A\":[1,{\"B\":2}", Ok("{\"A\":[1,{\"B\":2}]}")),
        ("\"{\\\"A\\\":1}\"", Ok("{\"A\":1}")),
        ("```json\n{\"A\":1}\n```", Ok("{\"A\":1}")),
        ("\u{feff}{\"A\":1}", Ok("{\"A\":1}")),
        ("{\"A\":\"open}", Err("again: unreadable")),
        ("{\"A\":}", Err("again: unreadable")),
        ("{\"A\" 1}", Err("again: unreadable")),
        ("{\"A\":1 \"B\":2}", Err("again: unreadable")),
        ("{\"A\":1} {\"B\":2}", Err("again: unreadable")),
        ("[1,,2]", Err("again: unreadable")),
    ] {
        let text = expanded(&format!(
            "[B][C run][A command]ls[/A][A env]{written}[/A][/C][/B]"
        ));
        let wanted = match expected {
            Ok(env) => format!("run{{\"command\":\"ls\",\"env\":{env}}}"),
            Err(again) => again.to_owned(),
        };
        assert_eq!(told(&text, End::Clean), wanted, "{text}");
        let fails = Asked {
            round: second(FactKind::Unreadable),
            ..Asked::default()
        };
        if expected.is_err() {
            assert_eq!(
                told_as(&fails, &text, End::Clean),
                "upstream_tool_call_invalid"
            );
        }
    }
}

/// What stands on both sides of something that is taken out of words does not become a tag.
#[test]
fn words_that_close_up_make_no_tag() {
    for (text, expected) in [
        ("a <ca</call-k7q2>ll-k7q2> b", "a <ca b"),
        ("a <</call-k7q2>call-k7q2> b", "a < b"),
        ("a <</arg-k7q2>/calls-k7q2> b", "a < b"),
        ("a <ca</call-k7q2></calls-k7q2>ll-k7q2> b", "a <ca b"),
        ("a <ca</call-k7q2>l</arg-k7q2>l-k7q2> b", "a <cal b"),
        ("<ca</call-k7q2>ll-k7q2 name=\"ping\"></call-k7q2>", "<ca"),
        ("<ca</call-k7q2>ll-k7q2></call-k7q2>ll-k7q2>", "<ca"),
        ("a <ca</call-k7q2>ll-k7", "a <ca"),
        ("a <ca</call-k7q2>ll us", "a <call us"),
        ("a <ca</call-k7q2>ll", "a <call"),
        ("a <ca</call-k7q2> ll-k7q2>", "a <ca ll-k7q2>"),
        ("a <ca</call-k7q2><b>ll-k7q2>", "a <ca<b>ll-k7q2>"),
        ("a <b></call-k7q2>ll-k7q2>", "a <b>ll-k7q2>"),
        ("a <\\/call-k7q2> b", "a  b"),
        ("a <    /call-k7q2> b", "a  b"),
        ("a <\n/call-k7q2> b", "a  b"),
        ("a </｜call-k7q2｜> b", "a  b"),
        ("a </|arg-k7q2|> b", "a  b"),
    ] {
        let found = at_every_split(
            &settings(&Asked::default()),
            &[Said::Words(text)],
            End::Clean,
        );
        assert_eq!(found, quoted(expected), "{text}");
        let thoughts = at_every_split(
            &settings(&Asked::default()),
            &[Said::Thoughts(text)],
            End::Clean,
        );
        assert_eq!(thoughts, format!("({expected})"), "{text}");
    }
    let torn = expanded("I <ca[B][C ping][/C][/B]ll-k7q2 name=\"run\">");
    let said = [Said::Thoughts(&torn), Said::Words("So.")];
    let found = at_every_split(&settings(&Asked::default()), &said, End::Clean);
    assert!(!found.contains("k7q2"), "{found}");
}
