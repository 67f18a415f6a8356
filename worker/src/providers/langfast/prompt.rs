//! The conversation and its parameters in the form that the model takes (`prompt_meta`). Source: `wire/langfast.md`
//! section 4.

use serde::Serialize;

use super::models::Row;
use crate::{
    chat::{ChatRequest, Effort, Format, Json, Kind, Message, ProviderError, Role, Text},
    providers::turn::MOST_PROMPT_BYTES,
};

/// `prompt_meta`: the conversation and the parameters that the model takes.
#[derive(Debug, Serialize)]
pub(super) struct Meta {
    model: &'static str,
    messages: Vec<Said>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(flatten)]
    options: Options,
}

#[derive(Debug, Serialize, PartialEq, Eq)]
struct Said {
    role: &'static str,
    content: String,
}

/// The parameters that go along as they came; the door has checked their types and ranges.
#[derive(Debug, Default, Serialize, PartialEq)]
struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<Text>,
}

/// Brings a request into the form that the model takes.
///
/// # Errors
/// 400 for what this service cannot take: pictures, tools, a format or a word that the model does not know.
pub(super) fn meta(chat: &ChatRequest, row: Row) -> Result<Meta, ProviderError> {
    let response_format = response_format(chat, row)?;
    let sampling = row.family.takes_sampling().then_some(&chat.sampling);
    let verbosity = chat.extras.verbosity.clone();
    let verbosity = verbosity.filter(|_| row.family.takes_verbosity());
    let reasoning_effort = effort(chat.effort, row)?;
    if let Some(word) = &verbosity
        && !["low", "medium", "high"].contains(&&**word)
    {
        return Err(ProviderError::bad_request(
            "verbosity",
            "'verbosity' must be one of: low, medium, high.",
        ));
    }
    Ok(Meta {
        model: row.id,
        messages: messages(chat, row)?,
        response_format,
        stream: true,
        // Over the row's own most: the service refuses the run otherwise (section 4).
        max_completion_tokens: chat.max_tokens.map(|limit| limit.min(row.most_tokens)),
        options: Options {
            temperature: sampling.and_then(|sampling| sampling.temperature),
            top_p: sampling.and_then(|sampling| sampling.top_p),
            presence_penalty: sampling.and_then(|sampling| sampling.presence_penalty),
            frequency_penalty: sampling.and_then(|sampling| sampling.frequency_penalty),
            reasoning_effort,
            verbosity,
        },
    })
}

/// `text` and `json_object` travel as words, a schema as OpenAI's object (section 4).
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ResponseFormat {
    Word(&'static str),
    Schema {
        #[serde(rename = "type")]
        kind: &'static str,
        json_schema: Schema,
    },
}

/// The schema travels as it is written: one of two bytes a value would be one of 32 in memory.
#[derive(Debug, Serialize)]
struct Schema {
    name: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

fn response_format(chat: &ChatRequest, row: Row) -> Result<Option<ResponseFormat>, ProviderError> {
    if !row.family.takes_format() {
        // Anything but text has been refused at the door (the fields table).
        return Ok(None);
    }
    Ok(Some(match &chat.format {
        Format::Text => ResponseFormat::Word("text"),
        Format::JsonObject => ResponseFormat::Word("json_object"),
        // As it is written: parsed and written again it would be another text for the model.
        Format::JsonSchema(schema) if row.family.takes_schema() => ResponseFormat::Schema {
            kind: "json_schema",
            json_schema: Schema {
                name: schema.name.clone(),
                description: schema.description.clone(),
                schema: schema.schema.clone(),
                strict: schema.is_strict.then_some(true),
            },
        },
        Format::JsonSchema(_) | Format::Other { .. } => {
            let known = if row.family.takes_schema() {
                "text, json_object, json_schema"
            } else {
                "text, json_object"
            };
            let message = format!(
                "The model '{}' takes only these values of 'response_format': {known}.",
                row.id
            );
            return Err(ProviderError::bad_request("response_format", message));
        }
    }))
}

/// The effort in the model's own words; one that it does not go as far as becomes its nearest.
fn effort(effort: Option<Effort>, row: Row) -> Result<Option<&'static str>, ProviderError> {
    // A model that knows none is asked without (section 4).
    let efforts = row.family.efforts();
    let (Some(effort), Some(&least), Some(&most)) = (effort, efforts.first(), efforts.last())
    else {
        return Ok(None);
    };
    // In the model's own words where it knows them.
    if let Some(word) = effort.word().filter(|word| efforts.contains(word)) {
        return Ok(Some(word));
    }
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => Ok(Some(least)),
        Effort::Medium | Effort::High | Effort::XHigh | Effort::Max => Ok(Some(most)),
        Effort::Unknown => Err(ProviderError::bad_request(
            "reasoning_effort",
            format!("'reasoning_effort' must be one of: {}.", efforts.join(", ")),
        )),
    }
}

/// The conversation as a list with roles, nothing flattened (section 4).
fn messages(chat: &ChatRequest, row: Row) -> Result<Vec<Said>, ProviderError> {
    let mut said = Vec::with_capacity(chat.messages.len());
    let mut instructions = Vec::new();
    let mut length = 0;
    for (at, message) in chat.messages.iter().enumerate() {
        let text = text(at, message)?;
        length += text.len();
        // Counted as it grows: the whole of it is about to be copied.
        if length > MOST_PROMPT_BYTES {
            return Err(ProviderError::new(
                Kind::ContextLength,
                format!(
                    "the conversation is longer than any web chat reads ({MOST_PROMPT_BYTES} bytes)"
                ),
            ));
        }
        let role = match message.role {
            Role::System | Role::Developer => match row.family.system_role() {
                Some(role) => role,
                // Without instructions of its own the model reads them in the first question.
                None => {
                    instructions.push(text);
                    continue;
                }
            },
            // Results come as the user's turns.
            Role::User | Role::Tool | Role::Function => "user",
            Role::Assistant => "assistant",
        };
        said.push(Said {
            role,
            content: text,
        });
    }
    if !instructions.is_empty() {
        // In front of the first question, in the order in which they came.
        match said.iter_mut().find(|said| said.role == "user") {
            Some(first) => {
                instructions.push(std::mem::take(&mut first.content));
                first.content = instructions.join("\n\n");
            }
            // No question at all: then they are the question.
            None => said.insert(
                0,
                Said {
                    role: "user",
                    content: instructions.join("\n\n"),
                },
            ),
        }
    }
    Ok(said)
}

fn text(at: usize, message: &Message) -> Result<String, ProviderError> {
    // Section 4: there is no evidence that pictures are taken here.
    if message.attachments().next().is_some() {
        return Err(unsupported(
            at,
            "content",
            "This model's provider takes text only.",
        ));
    }
    Ok(message.text().into_owned())
}

fn unsupported(at: usize, member: &str, message: &str) -> ProviderError {
    ProviderError::bad_request(&format!("messages[{at}].{member}"), message)
        .with_code("unsupported_content")
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
