//! The text of a free-text call without what models wrap around it out of habit: the JSON of a function's arguments, a
//! fence, a shell's heredoc. Only where the whole text is the wrapper: a text that merely holds one is left as it is.
//! Source: doors.md section 5.

use std::borrow::Cow;

use serde_json::Value;

use crate::chat::responses::APPLY_PATCH;

/// A wrapper within a wrapper within a wrapper; nobody has seen more.
const MOST_LAYERS: usize = 4;
/// A first line that says nothing for so long is no command with a heredoc.
const MOST_COMMAND_BYTES: usize = 200;
/// The members under which the text stands in JSON.
const MEMBERS: [&str; 3] = ["input", "patch", "code"];

/// The text itself. `tool` is the tool's name, which a command may begin with.
pub(super) fn unwrapped<'a>(text: &'a str, tool: &str) -> Cow<'a, str> {
    let mut whole = Cow::Borrowed(text);
    // From the outside in; the JSON first, as a fence may stand within it and never around it.
    for _ in 0..MOST_LAYERS {
        let inside = json(&whole, tool)
            .or_else(|| fenced(&whole).map(str::to_owned))
            .or_else(|| heredoc(&whole, tool).map(str::to_owned));
        match inside {
            Some(inside) => whole = Cow::Owned(inside),
            None => break,
        }
    }
    whole
}

/// Whether a text that begins so may turn out to be a wrapper; what cannot is passed on as it comes.
pub(super) fn may_be_wrapped(beginning: &str) -> bool {
    let text = beginning.trim_start();
    let (line, is_whole) = text
        .split_once('\n')
        .map_or((text, false), |(line, _)| (line, true));
    match text.as_bytes() {
        // One or two backticks may be the beginning of three.
        [] | [b'{', ..] | [b'`'] | [b'`', b'`'] | [b'`', b'`', b'`', ..] => true,
        _ if is_whole => line.contains("<<"),
        // Until the first line is whole, it may still be a command with a heredoc.
        _ => line.contains("<<") || line.len() < MOST_COMMAND_BYTES,
    }
}

/// `{"input": "…"}` and its like, and `{"command": ["apply_patch", "…"]}`.
fn json(text: &str, tool: &str) -> Option<String> {
    let text = text.trim();
    if !(text.starts_with('{') && text.ends_with('}')) {
        return None;
    }
    let Ok(Value::Object(members)) = serde_json::from_str(text) else {
        return None;
    };
    let mut members = members.into_iter();
    // Just one member: with more of them it is a JSON text of its own.
    let (Some((name, value)), None) = (members.next(), members.next()) else {
        return None;
    };
    match value {
        Value::String(text) if MEMBERS.contains(&name.as_str()) => Some(text),
        Value::Array(words) if name == "command" => {
            let words: Option<Vec<&str>> = words.iter().map(Value::as_str).collect();
            match words?.as_slice() {
                [command, text] if is_tool(command, tool) => Some((*text).to_owned()),
                ["bash" | "sh" | "zsh", "-c" | "-lc", script] => {
                    heredoc(script, tool).map(str::to_owned)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// What stands in one fence: the first line that could close it is the last one.
fn fenced(text: &str) -> Option<&str> {
    let text = text.trim();
    // Longer fences enclose shorter ones, as in CommonMark.
    let ticks = text.len() - text.trim_start_matches('`').len();
    if ticks < 3 {
        return None;
    }
    let fence = text.get(..ticks)?;
    let (info, rest) = text.get(ticks..)?.split_once('\n')?;
    // An info string has no backtick (CommonMark); one with blanks in it is a sentence.
    if info.contains('`') || info.trim().contains(char::is_whitespace) {
        return None;
    }
    let inside = enclosed(rest, |line| {
        let line = line.trim_end();
        line.starts_with(fence) && line.bytes().all(|byte| byte == b'`')
    })?;
    Some(inside)
}

/// What stands in one heredoc, with or without the command that reads it.
fn heredoc<'a>(text: &'a str, tool: &str) -> Option<&'a str> {
    let (line, rest) = text.trim().split_once('\n')?;
    let (command, word) = line.split_once("<<")?;
    let command = command.trim();
    if !(command.is_empty() || is_tool(command, tool)) {
        return None;
    }
    // `<<-` strips tabs; the body is taken as it stands.
    let word = word.strip_prefix('-').unwrap_or(word).trim();
    let bare = |quote: char| word.strip_prefix(quote)?.strip_suffix(quote);
    let word = bare('\'').or_else(|| bare('"')).unwrap_or(word);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if word.is_empty() || !word.bytes().all(is_word) {
        return None;
    }
    enclosed(rest, |line| line.trim() == word)
}

/// The lines before the last one, if that closes what they stand in, and no other does.
fn enclosed(rest: &str, closes: impl Fn(&str) -> bool) -> Option<&str> {
    let (inside, last) = match rest.rsplit_once('\n') {
        Some((inside, last)) => (Some(inside), last),
        None => (None, rest),
    };
    // The closing line once, and last: with another before it the text goes on behind the wrapper, and is none.
    if !closes(last) || inside.is_some_and(|inside| inside.lines().any(&closes)) {
        return None;
    }
    Some(inside.unwrap_or_default())
}

fn is_tool(command: &str, tool: &str) -> bool {
    // Under both names: models know the program by its own, whatever the tool is called.
    command == tool || command == APPLY_PATCH
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "*** Begin Patch\n*** Add File: a\n+```\n+<<EOF\n*** End Patch";

    fn wrapped() -> Vec<String> {
        let json = |name: &str| format!("{{\"{name}\": {}}}", Value::from(PATCH));
        let quoted = Value::from(PATCH);
        let heredoc = format!("apply_patch <<'EOF'\n{PATCH}\nEOF");
        vec![
            json("input"),
            json("patch"),
            format!("\n {} \n", json("code")),
            format!("{{\"command\":[\"apply_patch\",{quoted}]}}"),
            format!(
                "{{\"command\":[\"bash\",\"-lc\",{}]}}",
                Value::from(&*heredoc)
            ),
            format!("```\n{PATCH}\n```"),
            format!("```patch\n{PATCH}\n```\n"),
            format!("````diff\n{PATCH}\n````"),
            heredoc,
            format!("<<\"END\"\n{PATCH}\nEND\n"),
            format!("exec <<-EOF\n{PATCH}\n  EOF"),
            format!("```json\n{}\n```", json("input")),
            format!(
                "{{\"input\":{}}}",
                Value::from(format!("```\n{PATCH}\n```"))
            ),
        ]
    }

    fn not_wrapped() -> Vec<String> {
        let json = format!("{{\"input\":{}}}", Value::from(PATCH));
        vec![
            PATCH.to_owned(),
            format!("Here it is:\n```\n{PATCH}\n```"),
            format!("```\n{PATCH}\n```\nDone."),
            "```\na\n```\n```\nb\n```".to_owned(),
            format!("text({json})"),
            format!("{json};"),
            "{\"input\":\"a\",\"why\":\"b\"}".to_owned(),
            "{\"input\":5}".to_owned(),
            "{\"text\":\"a\"}".to_owned(),
            "{\"command\":[\"rm\",\"a\"]}".to_owned(),
            "{\"command\":[\"bash\",\"-lc\",\"ls\"]}".to_owned(),
            "cat <<'EOF'\na\nEOF".to_owned(),
            "apply_patch <<'EOF'\na\nEOF\necho done".to_owned(),
            "apply_patch <<'EOF'\na\nEOF\nb\nEOF".to_owned(),
            "const x = 1 << 2;\nx".to_owned(),
            "`a`".to_owned(),
            String::new(),
            "   ".to_owned(),
        ]
    }

    #[test]
    fn a_wrapper_around_the_whole_goes() {
        for text in wrapped() {
            assert_eq!(unwrapped(&text, "exec"), PATCH, "{text}");
        }
        assert_eq!(unwrapped("{\"input\":\"\"}", "exec"), "");
        assert_eq!(unwrapped("```\n```", "exec"), "");
    }

    #[test]
    fn a_text_that_holds_one_stays() {
        for text in not_wrapped() {
            assert_eq!(unwrapped(&text, "exec"), text);
        }
    }

    /// What is passed on as it comes cannot be unwrapped any more.
    #[test]
    fn no_beginning_of_a_wrapper_is_let_through() {
        for text in wrapped() {
            for beginning in (0..text.len()).filter_map(|at| text.get(..at)) {
                assert!(may_be_wrapped(beginning), "{beginning:?}");
            }
        }
        assert!(!may_be_wrapped("*** Begin Patch\n"));
        assert!(!may_be_wrapped("const x = 1;\n"));
        assert!(!may_be_wrapped(&"a ".repeat(200)));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[`{}\"a:<E \n\\[\\],input你]{0,40}") {
            unwrapped(&text, "exec");
        }
    }
}
