//! Tools that are types of their own in this dialect (a shell, patches, the search for tools) and functions to the model:
//! what a function's call says in the words of the type. The way back is [`crate::chat::responses`].
//! Source: doors.md section 5; OpenAI's public API reference (`local_shell_call`, `shell_call`, `apply_patch_call`,
//! `tool_search_call`).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{toolbox::Origin, unwrap::unwrapped};
use crate::chat::responses::APPLY_PATCH;

/// The schema of the function that stands for `local_shell` and `shell`.
pub(super) const SHELL_PARAMETERS: &str = r#"{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"}},"workdir":{"type":"string"},"timeout_ms":{"type":"integer"}},"required":["command"],"additionalProperties":false}"#;
/// What `local_shell` is to the model.
pub(super) const LOCAL_SHELL_WORDS: &str =
    "Runs one command: the program and its arguments, each a text of its own.";
/// What `shell` is to the model.
pub(super) const SHELL_WORDS: &str =
    "Runs commands one after the other: each text is a whole command line of a shell.";
/// The schema of the function that stands for `apply_patch`.
pub(super) const APPLY_PATCH_PARAMETERS: &str = r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;
/// What `apply_patch` is to the model.
pub(super) const APPLY_PATCH_WORDS: &str = "Changes files. `input` is one patch: a line `*** Begin Patch`, then for each file a line `*** Add File: PATH`, `*** Update File: PATH` or `*** Delete File: PATH` with the changed lines below it (new ones begin with `+`, removed ones with `-`, others with a blank, places with `@@`), then a line `*** End Patch`.";
/// The schema of `tool_search` where its client gives none.
pub(super) const TOOL_SEARCH_PARAMETERS: &str = r#"{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer"}},"required":["query"],"additionalProperties":false}"#;
/// What `tool_search` is to the model where its client does not say.
pub(super) const TOOL_SEARCH_WORDS: &str = "Searches for tools that are named but not described; those that it finds can be called from then on.";

/// An item of a type of its own.
#[derive(Debug, PartialEq)]
pub(super) struct Builtin {
    /// The item's type.
    pub(super) kind: &'static str,
    /// What its id begins with.
    pub(super) prefix: &'static str,
    /// Its members beside type, id, `call_id` and status.
    pub(super) members: Map<String, Value>,
}

/// What a call says; `None` where its arguments are none of such a tool, and for tools of other types.
pub(super) fn items(origin: &Origin, arguments: &str) -> Option<Vec<Builtin>> {
    let one = |kind, prefix, members: Value| {
        let Value::Object(members) = members else {
            return None;
        };
        Some(vec![Builtin {
            kind,
            prefix,
            members,
        }])
    };
    match origin {
        Origin::LocalShell => {
            let asked: Shell = serde_json::from_str(arguments).ok()?;
            let command = match asked.command {
                Command::Words(words) => words,
                // A line, as the other kind of shell takes them.
                // A login shell, as Codex itself calls one.
                Command::Line(line) => vec!["bash".to_owned(), "-lc".to_owned(), line],
            };
            let action = json!({
                "type": "exec", "command": command, "env": {}, "timeout_ms": asked.timeout_ms,
                "working_directory": asked.workdir, "user": null,
            });
            one("local_shell_call", "lsh", json!({"action": action}))
        }
        Origin::Shell => {
            let asked: Shell = serde_json::from_str(arguments).ok()?;
            let commands = match asked.command {
                Command::Words(lines) => lines,
                Command::Line(line) => vec![line],
            };
            let action = json!({"commands": commands, "timeout_ms": asked.timeout_ms, "max_output_length": null});
            one("shell_call", "sh", json!({"action": action}))
        }
        Origin::ApplyPatch => {
            // Models wrap a patch even where it is an argument (`unwrap`).
            let operations = operations(&unwrapped(arguments, APPLY_PATCH))?;
            let item = |operation| Builtin {
                kind: "apply_patch_call",
                prefix: "apc",
                members: Map::from_iter([("operation".to_owned(), operation)]),
            };
            Some(operations.into_iter().map(item).collect())
        }
        Origin::ToolSearch => {
            // Only an object: the item's `arguments` has no other form.
            let asked: Map<String, Value> = serde_json::from_str(arguments).ok()?;
            one(
                "tool_search_call",
                "tsc",
                json!({"execution": "client", "arguments": asked}),
            )
        }
        Origin::Function(_) | Origin::Custom(_) => None,
    }
}

/// The arguments of a shell.
#[derive(Deserialize)]
struct Shell {
    #[serde(alias = "commands")]
    command: Command,
    #[serde(alias = "working_directory")]
    workdir: Option<String>,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Command {
    Words(Vec<String>),
    Line(String),
}

/// The files that a patch changes, each as one operation; `None` for what is no patch, or one that this dialect has no
/// words for (a file that moves).
fn operations(patch: &str) -> Option<Vec<Value>> {
    // Both marks must be there: half a patch, as of an answer that was cut, must not be run.
    let lines = patch.trim().strip_prefix("*** Begin Patch")?;
    let lines = lines.strip_suffix("*** End Patch")?;
    let mut operations: Vec<(&str, &str, String)> = Vec::new();
    for line in lines.lines() {
        let begun = [
            ("create_file", "*** Add File: "),
            ("update_file", "*** Update File: "),
            ("delete_file", "*** Delete File: "),
        ]
        .into_iter()
        .find_map(|(kind, words)| Some((kind, line.strip_prefix(words)?)));
        match (begun, operations.last_mut()) {
            (Some((kind, path)), _) => operations.push((kind, path.trim(), String::new())),
            (None, Some((.., diff))) => {
                if line.starts_with("*** Move to: ") {
                    return None;
                }
                diff.push_str(line);
                diff.push('\n');
            }
            (None, None) if line.trim().is_empty() => {}
            // Lines that belong to no file: a patch of another kind, left to the client.
            (None, None) => return None,
        }
    }
    let operation = |(kind, path, diff): (&str, &str, String)| match kind {
        "delete_file" => json!({"type": kind, "path": path}),
        _ => json!({"type": kind, "path": path, "diff": diff}),
    };
    let operations: Vec<Value> = operations.into_iter().map(operation).collect();
    Some(operations).filter(|operations| !operations.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::responses::arguments;

    fn there_and_back(origin: &Origin, given: &Value) -> Vec<Value> {
        let items = items(origin, &given.to_string()).unwrap();
        let back = items.iter().map(|item| {
            let inside = ["action", "operation", "arguments"];
            let said = inside.iter().find_map(|name| item.members.get(*name));
            arguments(item.kind, said.unwrap())
        });
        back.collect()
    }

    #[test]
    fn what_was_called_comes_back_as_it_was() {
        let shell = json!({"command": ["ls", "-l"], "timeout_ms": 5});
        let patch =
            json!({"input": "*** Begin Patch\n*** Update File: a b\n@@\n-x\n+y\n*** End Patch"});
        let search = json!({"query": "calendar"});
        for (origin, given) in [
            (Origin::LocalShell, &shell),
            (
                Origin::LocalShell,
                &json!({"command": ["ls"], "workdir": "/"}),
            ),
            (Origin::Shell, &shell),
            (Origin::ApplyPatch, &patch),
            (Origin::ToolSearch, &search),
        ] {
            assert_eq!(
                there_and_back(&origin, given),
                std::slice::from_ref(given),
                "{origin:?}"
            );
        }
    }

    #[test]
    fn each_file_of_a_patch_is_an_operation() {
        let patch = "*** Begin Patch\n*** Add File: a\n+1\n+2\n*** Delete File: b\n*** Update File: c\n-1\n*** End Patch\n";
        let said = items(&Origin::ApplyPatch, patch).unwrap();
        let operations: Vec<&Value> = said.iter().map(|item| &item.members["operation"]).collect();
        assert_eq!(
            operations,
            [
                &json!({"type": "create_file", "path": "a", "diff": "+1\n+2\n"}),
                &json!({"type": "delete_file", "path": "b"}),
                &json!({"type": "update_file", "path": "c", "diff": "-1\n"}),
            ]
        );
    }

    #[test]
    fn what_is_no_such_call_is_none() {
        for (origin, arguments) in [
            (Origin::LocalShell, "{}"),
            (Origin::LocalShell, "ls"),
            (Origin::Shell, r#"{"command":5}"#),
            (Origin::ApplyPatch, "please"),
            (Origin::ApplyPatch, "*** Begin Patch\n*** End Patch"),
            (Origin::ApplyPatch, "*** Begin Patch\nx\n*** End Patch"),
            (
                Origin::ApplyPatch,
                "*** Begin Patch\n*** Update File: a\n*** Move to: b\n*** End Patch",
            ),
            (Origin::ToolSearch, "[]"),
        ] {
            assert_eq!(items(&origin, arguments), None, "{origin:?} {arguments}");
        }
    }
}
