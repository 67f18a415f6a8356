//! Tools and the choice among them, as Anthropic's dialect writes them. Its service runs some tools itself and defines
//! others that the client runs; of the former only the web search means something here, the latter are offered as the
//! functions that they are. Source: Anthropic's public API reference (Messages, tools).

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use crate::{
    chat::{Json, Text, Tool, ToolChoice, text, tools::ToolKind},
    http::reading::Word,
};

/// Longer examples are not shown: they would push the conversation out of a small context window.
const MOST_EXAMPLE_BYTES: usize = 2000;
/// What Claude Code puts in the place of tools that it will tell of later. Nobody could call it.
const PLACEHOLDER: &str = "DeferredToolPlaceholder";

/// `tools`: an array of objects.
#[derive(Debug, Default)]
pub(super) struct Tools {
    /// Those that the model is offered.
    pub(super) offered: Vec<Tool>,
    /// The model is to search the web.
    pub(super) has_search: bool,
    /// The types of those that nobody here runs.
    pub(super) foreign: Vec<Text>,
}

impl<'de> Deserialize<'de> for Tools {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ToolsVisitor;

        impl<'de> Visitor<'de> for ToolsVisitor {
            type Value = Tools;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of tools")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tools, A::Error> {
                let mut tools = Tools::default();
                let mut place = 0;
                while let Some(definition) = seq.next_element()? {
                    text::count_piece()?;
                    tools.take(definition, place);
                    place += 1;
                }
                Ok(tools)
            }
        }

        deserializer.deserialize_seq(ToolsVisitor)
    }
}

#[derive(Debug, Deserialize)]
struct Definition {
    #[serde(rename = "type", default)]
    kind: Word,
    #[serde(default)]
    name: Word,
    #[serde(default)]
    description: Option<Json>,
    #[serde(default)]
    input_schema: Option<Json>,
    #[serde(default)]
    input_examples: Option<Json>,
    #[serde(default)]
    strict: Option<Json>,
    #[serde(default)]
    defer_loading: Option<Json>,
}

impl Tools {
    fn take(&mut self, definition: Definition, place: usize) {
        // Any other value is not true.
        let is_true = |json: Option<Json>| json.is_some_and(|json| json.get() == "true");
        // A tool of the caller's own has no type, or this one.
        let kind = definition.kind.0.filter(|kind| &**kind != "custom");
        let name = definition.name.0.filter(|name| !name.is_empty());
        let Some(kind) = kind else {
            // Without a name nobody could call it.
            let Some(name) = name.filter(|name| &**name != PLACEHOLDER) else {
                return;
            };
            self.offered.push(Tool {
                name,
                description: described(definition.description, definition.input_examples),
                kind: ToolKind::Function {
                    parameters: definition.input_schema,
                },
                is_strict: is_true(definition.strict),
                is_deferred: is_true(definition.defer_loading),
                place,
            });
            return;
        };
        if kind.starts_with("web_search_") {
            self.has_search = true;
        } else if let Some((_, usual_name, description, schema)) =
            CLIENTS.iter().find(|(start, ..)| kind.starts_with(start))
        {
            let name = name.unwrap_or_else(|| (*usual_name).into());
            let schema = Json::new(*schema).ok();
            self.offered.push(Tool {
                is_deferred: is_true(definition.defer_loading),
                place,
                ..Tool::function(name, description, schema)
            });
        } else {
            // A tool that its service runs itself: told of, and not offered.
            self.foreign.push(kind);
        }
    }
}

fn described(description: Option<Json>, examples: Option<Json>) -> Option<Json> {
    let examples = examples.filter(|examples| {
        // From `[x]` on: an empty list shows nothing.
        examples.get().starts_with('[') && (3..=MOST_EXAMPLE_BYTES).contains(&examples.get().len())
    });
    let Some(examples) = examples else {
        return description;
    };
    let words = description.as_ref().and_then(Json::as_text);
    let words = words.unwrap_or_default();
    Some(Json::string(
        // Without a description the examples are all there is.
        format!("{words}\nExamples of its input: {}", examples.get()).trim_start(),
    ))
}

/// The tools that Anthropic defines and the client runs: how their types begin, their usual names, and what a model has to
/// know of them that was not trained with them.
const CLIENTS: &[(&str, &str, &str, &str)] = &[
    (
        "bash_2",
        "bash",
        "Runs a command in a shell that keeps its state from call to call.",
        r#"{"type":"object","properties":{"command":{"type":"string","description":"The command to run. Needed unless the shell is restarted."},"restart":{"type":"boolean","description":"Whether to restart the shell instead."}}}"#,
    ),
    (
        "text_editor_2",
        "str_replace_based_edit_tool",
        "Views and edits files.",
        r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert","undo_edit"]},"path":{"type":"string","description":"The absolute path of a file or folder."},"view_range":{"type":"array","items":{"type":"integer"},"description":"For view: the first and the last line; -1 is the end."},"file_text":{"type":"string","description":"For create: the content of the file."},"old_str":{"type":"string","description":"For str_replace: the text to replace, which must stand in the file exactly once."},"new_str":{"type":"string","description":"For str_replace: what stands there instead."},"insert_line":{"type":"integer","description":"For insert: the line after which the text goes; 0 is the beginning."},"insert_text":{"type":"string","description":"For insert: the text."}},"required":["command","path"]}"#,
    ),
    (
        "memory_2",
        "memory",
        "Keeps notes in files below /memories that last beyond this conversation.",
        r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert","delete","rename"]},"path":{"type":"string","description":"The path of a file or folder below /memories."},"view_range":{"type":"array","items":{"type":"integer"}},"file_text":{"type":"string","description":"For create: the content of the file."},"old_str":{"type":"string"},"new_str":{"type":"string"},"insert_line":{"type":"integer"},"insert_text":{"type":"string"},"old_path":{"type":"string","description":"For rename."},"new_path":{"type":"string","description":"For rename."}},"required":["command"]}"#,
    ),
];

/// `tool_choice`.
#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    #[serde(rename = "type")]
    kind: Text,
    #[serde(default)]
    name: Word,
    #[serde(default)]
    pub(super) disable_parallel_tool_use: Option<bool>,
}

impl Choice {
    /// A choice of a kind that nobody knows leaves it to the model.
    pub(super) fn choice(&self) -> ToolChoice {
        match (&*self.kind, &self.name.0) {
            ("none", _) => ToolChoice::None,
            ("any", _) => ToolChoice::Required,
            ("tool", Some(name)) => ToolChoice::Named(name.clone()),
            _ => ToolChoice::Auto,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(json: &str) -> Tools {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn custom_tools_are_functions() {
        let read = tools(
            r#"[{"name":"f","description":"a\nb","input_schema":{"b": 1},"cache_control":{"type":"ephemeral"},"eager_input_streaming":true,"allowed_callers":["direct"]},
                {"type":"custom","name":"g","strict":true,"defer_loading":true},
                {"name":"h","description":"d","input_schema":{},"input_examples":[{"x":1}]}]"#,
        );
        let [f, g, h] = read.offered.as_slice() else {
            panic!("{read:?}")
        };
        assert_eq!(f.description().as_deref(), Some("a\nb"));
        assert!(
            matches!(&f.kind, ToolKind::Function { parameters: Some(schema) } if schema.get() == r#"{"b": 1}"#)
        );
        assert!(!f.is_strict && !f.is_deferred && g.is_strict && g.is_deferred);
        assert_eq!(
            h.description().as_deref(),
            Some("d\nExamples of its input: [{\"x\":1}]")
        );
    }

    #[test]
    fn nobodys_tools_are_named_and_the_clients_are_offered() {
        let read = tools(
            r#"[{"type":"web_search_20250305","name":"web_search","max_uses":5},{"type":"code_execution_20250825","name":"code_execution"},
                {"type":"computer_20250124","name":"computer","display_width_px":1},{"type":"web_fetch_20250910","name":"web_fetch"},
                {"type":"tool_search_tool_regex_20251119","name":"tool_search_tool_regex"},{"type":"mcp_toolset","mcp_server_name":"s"},
                {"type":"bash_20250124","name":"bash"},{"type":"text_editor_20250728","name":"str_replace_based_edit_tool","max_characters":1},
                {"type":"memory_20250818","name":"memory"},{"name":"DeferredToolPlaceholder","defer_loading":true,"input_schema":{}},{"type":"new_1"},{}]"#,
        );
        assert!(read.has_search);
        let names: Vec<&str> = read.offered.iter().map(|tool| &*tool.name).collect();
        assert_eq!(names, ["bash", "str_replace_based_edit_tool", "memory"]);
        for tool in &read.offered {
            let ToolKind::Function {
                parameters: Some(schema),
            } = &tool.kind
            else {
                panic!("{tool:?}")
            };
            let schema: serde_json::Value = serde_json::from_str(schema.get()).unwrap();
            assert_eq!(schema["type"], "object");
        }
        let foreign: Vec<&str> = read.foreign.iter().map(|kind| &**kind).collect();
        assert_eq!(
            foreign,
            [
                "code_execution_20250825",
                "computer_20250124",
                "web_fetch_20250910",
                "tool_search_tool_regex_20251119",
                "mcp_toolset",
                "new_1"
            ]
        );
    }

    #[test]
    fn choices_have_their_own_words() {
        for (json, expected) in [
            (r#"{"type":"auto"}"#, ToolChoice::Auto),
            (
                r#"{"type":"any","disable_parallel_tool_use":true}"#,
                ToolChoice::Required,
            ),
            (
                r#"{"type":"tool","name":"f"}"#,
                ToolChoice::Named("f".into()),
            ),
            (r#"{"type":"none"}"#, ToolChoice::None),
            (r#"{"type":"new"}"#, ToolChoice::Auto),
        ] {
            let choice: Choice = serde_json::from_str(json).unwrap();
            assert_eq!(choice.choice(), expected, "{json}");
        }
    }
}
