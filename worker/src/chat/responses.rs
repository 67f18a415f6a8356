//! Tools that are types of their own in OpenAI's Responses and functions to every model: what both who speak that dialect,
//! the door and the lane to an upstream of it, call them. Source: doors.md section 5; OpenAI's public API reference.

use serde_json::{Map, Value, json};

/// What the model is offered for `local_shell` and `shell`.
pub const SHELL: &str = "shell";
/// What it is offered for the built-in `apply_patch`.
pub const APPLY_PATCH: &str = "apply_patch";
/// What it is offered for `tool_search`.
pub const TOOL_SEARCH: &str = "tool_search";

/// The name of the function that stands for an item of this type; `None` for types that have a name of their own, or none.
pub fn name(item: &str) -> Option<&'static str> {
    match item {
        "local_shell_call" | "shell_call" => Some(SHELL),
        "apply_patch_call" => Some(APPLY_PATCH),
        "tool_search_call" => Some(TOOL_SEARCH),
        _ => None,
    }
}

/// The arguments of the function that stands for a call: what the item has in `action`, `operation` or `arguments`, in the
/// words that the model is offered.
pub fn arguments(kind: &str, said: &Value) -> Value {
    match kind {
        "local_shell_call" => {
            let mut arguments = Map::from_iter([("command".to_owned(), said["command"].clone())]);
            for (name, member) in [
                ("workdir", "working_directory"),
                ("timeout_ms", "timeout_ms"),
            ] {
                if !said[member].is_null() {
                    arguments.insert(name.to_owned(), said[member].clone());
                }
            }
            Value::Object(arguments)
        }
        "shell_call" => {
            let mut arguments = Map::from_iter([("command".to_owned(), said["commands"].clone())]);
            if !said["timeout_ms"].is_null() {
                arguments.insert("timeout_ms".to_owned(), said["timeout_ms"].clone());
            }
            Value::Object(arguments)
        }
        "apply_patch_call" => {
            let word = match said["type"].as_str() {
                Some("create_file") => "Add",
                Some("delete_file") => "Delete",
                // Unknown kinds are changes: the most careful of the three, as it fails where the file is not.
                _ => "Update",
            };
            let path = said["path"].as_str().unwrap_or_default();
            // Exactly one line's end before the mark, however many the client has sent.
            let diff = said["diff"]
                .as_str()
                .unwrap_or_default()
                .trim_end_matches('\n');
            let diff = if diff.is_empty() {
                String::new()
            } else {
                format!("{diff}\n")
            };
            let patch = format!("*** Begin Patch\n*** {word} File: {path}\n{diff}*** End Patch");
            json!({"input": patch})
        }
        _ => said.clone(),
    }
}
