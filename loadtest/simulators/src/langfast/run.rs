//! Reading the body of `POST /functions/v1/initiate-prompt-run`. Source: wire/langfast.md §4.

use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::{self, Refusal};
use crate::{Call, Turn};

/// A run that has the right shape.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) prompt_id: String,
    pub(super) model: &'static str,
    pub(super) turns: Vec<Turn>,
    /// A parameter that the model does not know: the run begins, and fails.
    pub(super) unsupported: Option<String>,
}

/// A row of the table of models.
struct Model {
    ids: &'static [&'static str],
    roles: &'static [&'static str],
    parameters: &'static [&'static str],
    efforts: &'static [&'static str],
    formats: &'static [&'static str],
    max_completion_tokens: u64,
}

const SAMPLING: &[&str] = &[
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "response_format",
];
const SYSTEM: &[&str] = &["system", "user", "assistant"];
const DEVELOPER: &[&str] = &["developer", "user", "assistant"];
const FORMATS: &[&str] = &["text", "json_object", "json_schema"];

const MODELS: [Model; 6] = [
    Model {
        ids: &["gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"],
        roles: SYSTEM,
        parameters: SAMPLING,
        efforts: &[],
        formats: FORMATS,
        max_completion_tokens: 32_768,
    },
    Model {
        ids: &["gpt-4o", "gpt-4o-mini", "gpt-4.5-preview"],
        roles: SYSTEM,
        parameters: SAMPLING,
        efforts: &[],
        formats: FORMATS,
        max_completion_tokens: 16_384,
    },
    Model {
        ids: &["gpt-4-turbo", "gpt-4", "gpt-3.5-turbo"],
        roles: SYSTEM,
        parameters: SAMPLING,
        efforts: &[],
        formats: &["text", "json_object"],
        max_completion_tokens: 4096,
    },
    Model {
        ids: &["o1", "o3", "o3-mini", "o4-mini"],
        roles: DEVELOPER,
        parameters: &["response_format", "reasoning_effort"],
        efforts: &["low", "medium", "high"],
        formats: FORMATS,
        max_completion_tokens: 100_000,
    },
    Model {
        ids: &["o1-mini"],
        roles: &["user", "assistant"],
        parameters: &[],
        efforts: &[],
        formats: &[],
        max_completion_tokens: 65_536,
    },
    Model {
        ids: &["gpt-5", "gpt-5-mini", "gpt-5-nano"],
        roles: DEVELOPER,
        parameters: &[
            "response_format",
            "reasoning_effort",
            "verbosity",
            "summary",
        ],
        efforts: &["minimal", "low", "medium", "high"],
        formats: FORMATS,
        max_completion_tokens: 128_000,
    },
];

const FIELDS: [&str; 5] = [
    "run_id",
    "prompt_id",
    "created_by",
    "test_cases",
    "prompt_meta",
];

/// Reads the run of `user`.
pub(super) fn read(body: &Value, user: &str, call: &mut Call) -> Result<Run, Refusal> {
    let bad = |call: &mut Call, what: String| {
        let refusal = refusal::function(400, &what);
        call.violate(what);
        refusal
    };
    let fields = body.as_object();
    let extra = fields.and_then(|fields| fields.keys().find(|key| !FIELDS.contains(&key.as_str())));
    if let Some(extra) = extra {
        call.violate(format!("the body has the unknown field {extra:?}"));
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    if !is_uuid_v4(text("run_id")) {
        return Err(bad(call, "run_id is no UUID v4".to_owned()));
    }
    if Uuid::try_parse(text("prompt_id")).is_err() {
        return Err(bad(call, "prompt_id is no UUID".to_owned()));
    }
    if text("created_by") != user {
        return Err(bad(call, "created_by is not the token's user".to_owned()));
    }
    if !body.get("test_cases").is_some_and(Value::is_array) {
        return Err(bad(call, "test_cases is missing or no array".to_owned()));
    }
    let meta = body.get("prompt_meta").unwrap_or(&Value::Null);
    let name = meta.get("model").and_then(Value::as_str);
    let name = name.unwrap_or_default();
    let rows = MODELS.iter();
    let known = rows
        .flat_map(|row| row.ids.iter().map(move |id| (*id, row)))
        .find(|(id, _)| *id == name);
    let Some((model, row)) = known else {
        call.violate(format!("there is no model {name:?}"));
        return Err(refusal::function(404, &format!("Model {name} not found")));
    };
    if meta.get("stream") != Some(&json!(true)) {
        return Err(bad(call, "stream is not true".to_owned()));
    }
    let turns = messages(meta, row).map_err(|what| bad(call, what))?;
    let unsupported = row.unsupported(meta);
    if let Some(what) = &unsupported {
        call.violate(what.clone());
    }
    Ok(Run {
        id: text("run_id").to_owned(),
        prompt_id: text("prompt_id").to_owned(),
        model,
        turns,
        unsupported,
    })
}

fn is_uuid_v4(text: &str) -> bool {
    let uuid = Uuid::try_parse(text).ok();
    text.len() == 36 && uuid.is_some_and(|uuid| uuid.get_version_num() == 4)
}

/// The messages go through role by role, each with a text.
fn messages(meta: &Value, row: &Model) -> Result<Vec<Turn>, String> {
    let list = meta.get("messages").and_then(Value::as_array);
    let list = list.filter(|list| !list.is_empty());
    let list = list.ok_or("messages is missing or empty")?;
    let turn = |message: &Value| {
        let text = |name: &str| message.get(name).and_then(Value::as_str);
        let role = text("role").unwrap_or_default();
        if !row.roles.contains(&role) {
            return Err(format!("the model has no role {role:?}"));
        }
        let said = text("content").ok_or("a message's content is no string")?;
        // The log knows one word for both.
        let role = if role == "developer" { "system" } else { role };
        Ok(Turn {
            role: role.to_owned(),
            text: said.to_owned(),
        })
    };
    list.iter().map(turn).collect()
}

impl Model {
    /// What the model's API says of the first parameter that it does not take.
    fn unsupported(&self, meta: &Value) -> Option<String> {
        let constant = ["model", "messages", "stream"];
        let sent = meta.as_object()?.iter();
        for (name, value) in sent.filter(|(name, _)| !constant.contains(&name.as_str())) {
            let one_of = |list: &[&str]| value.as_str().is_some_and(|value| list.contains(&value));
            let (known, fits) = match name.as_str() {
                "max_completion_tokens" => {
                    let fits = (1..=self.max_completion_tokens).contains(&value.as_u64()?);
                    (true, fits)
                }
                // Every row takes the plain text that the page always sends.
                "response_format" if value == "text" => (true, true),
                "response_format" => {
                    let format = value.get("type").unwrap_or(value).as_str();
                    let fits = format.is_some_and(|format| self.formats.contains(&format));
                    (self.parameters.contains(&"response_format"), fits)
                }
                "reasoning_effort" => (!self.efforts.is_empty(), one_of(self.efforts)),
                "verbosity" => (
                    self.parameters.contains(&"verbosity"),
                    one_of(&["low", "medium", "high"]),
                ),
                "summary" => {
                    let fits = value.is_null() || one_of(&["detailed", "auto"]);
                    (self.parameters.contains(&"summary"), fits)
                }
                other => (self.parameters.contains(&other), value.is_number()),
            };
            if !known {
                return Some(format!(
                    "Unsupported parameter: '{name}' is not supported with this model."
                ));
            }
            if !fits {
                return Some(format!(
                    "Unsupported value: '{name}' does not support {value} with this model."
                ));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(meta: &Value) -> Result<Run, u16> {
        let body = json!({
            "run_id": "6456df9f-f4fd-42b3-97ff-df29af7188b7", "prompt_id": "6456df9f-f4fd-42b3-97ff-df29af7188b7",
            "created_by": "u", "test_cases": [], "prompt_meta": meta,
        });
        read(&body, "u", &mut Call::default()).map_err(|refusal| refusal.status)
    }

    fn meta(model: &str, role: &str, more: &Value) -> Value {
        let mut meta =
            json!({"model": model, "messages": [{"role": role, "content": "x"}], "stream": true});
        for (key, value) in more.as_object().unwrap() {
            meta[key] = value.clone();
        }
        meta
    }

    #[test]
    fn there_are_seventeen_models() {
        assert_eq!(MODELS.iter().map(|row| row.ids.len()).sum::<usize>(), 17);
    }

    #[test]
    fn each_model_has_its_roles_and_parameters() {
        let fails = |model: &str, more: Value| {
            let run = run(&meta(model, "user", &more)).unwrap();
            run.unsupported.is_some()
        };
        assert_eq!(run(&meta("o3", "system", &json!({}))).unwrap_err(), 400);
        assert_eq!(run(&meta("gpt-9", "user", &json!({}))).unwrap_err(), 404);
        assert_eq!(
            run(&meta("gpt-5", "developer", &json!({}))).unwrap().turns[0].role,
            "system"
        );
        assert!(!fails(
            "gpt-4o",
            json!({"temperature": 1, "max_completion_tokens": 16_384})
        ));
        assert!(fails("gpt-4o", json!({"max_completion_tokens": 16_385})));
        assert!(fails("o3", json!({"temperature": 1})));
        assert!(!fails(
            "o3",
            json!({"reasoning_effort": "low", "response_format": "text"})
        ));
        assert!(fails("o3", json!({"reasoning_effort": "minimal"})));
        assert!(fails(
            "gpt-4",
            json!({"response_format": {"type": "json_schema"}})
        ));
        assert!(!fails("o1-mini", json!({"response_format": "text"})));
    }
}
