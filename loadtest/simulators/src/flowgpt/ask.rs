//! Reading contexts and questions, field by field. Source: wire/flowgpt.md §4.

use serde_json::{Value, json};

use crate::{
    Call, Turn,
    fields::{exactly, text},
};

/// What a conversation was opened with.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) prompt: String,
    pub(super) turns: Vec<Turn>,
}

/// A question in it.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) prompt: String,
    pub(super) model: String,
    pub(super) question: String,
    pub(super) conversation: String,
    pub(super) temperature: f64,
}

const ARES: &str = "FlowGPT-Ares";
/// Prompt and model.
const PROMPTS: [(&str, &str); 4] = [
    ("uzNcMUGo4sOwl4GFvRpm8", ARES),
    ("vlaOLDN9qTxzIlvzfL_Ty", ARES),
    ("model-claude-instant", "claude-instant"),
    (WITH_PREAMBLE, ARES),
];
/// A prompt that begins its answers with a preamble (§6); which of the real ones do is not known.
const WITH_PREAMBLE: &str = "lKm5yPE9x-Naf0_0_KI5M";
/// What begins so is somebody's own prompt, for any model.
const OWN: &str = "sim-prompt-";

pub(super) fn is_prompt(id: &str) -> bool {
    id.starts_with(OWN) || PROMPTS.iter().any(|(known, _)| *known == id)
}

pub(super) fn has_preamble(prompt: &str) -> bool {
    prompt == WITH_PREAMBLE
}

/// The body of `/conversation/create`.
pub(super) fn context(body: &Value, call: &mut Call) -> Result<Context, String> {
    let object = body.as_object().ok_or("the body is no JSON object")?;
    let prompt = text(object, "promptId")?;
    let messages = object.get("messages").and_then(Value::as_array);
    let messages = messages.ok_or("messages is no list")?;
    exactly(
        object,
        "the body",
        json!({"promptId": prompt, "location": "CHAT_PAGE", "messages": messages}),
        call,
    )?;
    let turn = |message: &Value| {
        let object = message.as_object().ok_or("a message is no object")?;
        let (role, content) = (text(object, "role")?, text(object, "content")?);
        if object.len() > 2 {
            return Err("a message has more than role and content".to_owned());
        }
        if !["system", "user", "assistant"].contains(&role.as_str()) {
            return Err(format!("the role is {role:?}"));
        }
        Ok(Turn {
            role,
            text: content,
        })
    };
    let turns: Vec<Turn> = messages.iter().map(turn).collect::<Result<_, String>>()?;
    if turns.iter().all(|turn| turn.role != "user") {
        return Err("there is no user message".to_owned());
    }
    Ok(Context { prompt, turns })
}

/// The body of `/v3/chat`.
pub(super) fn question(body: &Value, call: &mut Call) -> Result<Ask, String> {
    let object = body.as_object().ok_or("the body is no JSON object")?;
    let temperature = object.get("temperature").and_then(Value::as_f64);
    let temperature = temperature.ok_or("temperature is no number")?;
    if !(0.0..=2.0).contains(&temperature) {
        return Err(format!("temperature is {temperature}"));
    }
    let ask = Ask {
        prompt: text(object, "promptId")?,
        model: text(object, "model")?,
        question: text(object, "question")?,
        conversation: text(object, "conversationId")?,
        temperature,
    };
    exactly(
        object,
        "the body",
        json!({
            "model": ask.model, "nsfw": false, "question": ask.question, "temperature": object.get("temperature"),
            "userId": "", "promptId": ask.prompt, "conversationId": ask.conversation, "documentIds": [],
            "generateImage": false, "generateAudio": false,
        }),
        call,
    )?;
    let known = PROMPTS.iter().find(|(prompt, _)| *prompt == ask.prompt);
    if known.is_some_and(|(_, model)| *model != ask.model) {
        return Err(format!("the prompt is not for the model {:?}", ask.model));
    }
    if ask.question.is_empty() || ask.model.is_empty() {
        return Err("question or model is empty".to_owned());
    }
    Ok(ask)
}
