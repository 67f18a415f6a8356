//! The conversation, which goes along whole as the context of a new one, and the question in it. Source:
//! `wire/flowgpt.md` section 4.

use std::borrow::Cow;

use serde::Serialize;

use crate::{
    chat::{ChatRequest, Message, ProviderError, Role},
    impossible::OrImpossible as _,
};

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: Cow<'a, str>,
}

/// The `messages` of a new conversation, as JSON: all of them, the question included.
pub(super) fn messages(ask: &ChatRequest) -> String {
    let said = |message| Said {
        role: role(message),
        content: Message::text(message),
    };
    let messages: Vec<Said<'_>> = ask.messages.iter().map(said).collect();
    serde_json::to_string(&messages).or_impossible("our own types with string keys serialise")
}

fn role(message: &Message) -> &'static str {
    match message.role {
        Role::System | Role::Developer => "system",
        Role::Assistant => "assistant",
        // The service knows three roles; what a tool has said is news to the model, as what a user says.
        Role::User | Role::Tool | Role::Function => "user",
    }
}

/// The text of the last user message: what is asked.
///
/// # Errors
/// 400 where nobody asks anything, and for pictures and documents, which no public code sends.
pub(super) fn question(messages: &[Message]) -> Result<Cow<'_, str>, ProviderError> {
    // Before the words: whoever attaches a picture asks about it.
    let attached = messages
        .iter()
        .position(|message| message.attachments().next().is_some());
    if let Some(at) = attached {
        return Err(ProviderError::bad_request(
            &format!("messages[{at}].content"),
            "FlowGPT takes text alone, no pictures and no documents.",
        ));
    }
    let asked = messages
        .iter()
        // A tool's result is the news that is asked about.
        .rfind(|message| matches!(message.role, Role::User | Role::Tool | Role::Function))
        .map(Message::text)
        .filter(|text| !text.trim().is_empty());
    asked.ok_or_else(|| {
        ProviderError::bad_request("messages", "There is no user message with a text in it.")
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{chat::Kind, http::openai::body};

    fn chat(messages: &str) -> ChatRequest {
        let text = format!(r#"{{"model":"m","messages":[{messages}]}}"#);
        body::read(Bytes::from(text)).unwrap()
    }

    #[test]
    fn the_whole_conversation_goes_along() {
        let chat = chat(
            r#"{"role":"developer","content":"brief"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"assistant","content":"\"c\""},{"role":"user","content":"d"},{"role":"assistant","content":"e"}"#,
        );
        assert_eq!(
            messages(&chat),
            r#"[{"role":"system","content":"brief"},{"role":"user","content":"a\nb"},{"role":"assistant","content":"\"c\""},{"role":"user","content":"d"},{"role":"assistant","content":"e"}]"#
        );
        assert_eq!(question(&chat.messages).unwrap(), "d");
    }

    #[test]
    fn without_a_question_nothing_is_sent() {
        for odd in [
            r#"{"role":"system","content":"x"}"#,
            r#"{"role":"user","content":" "}"#,
            r#"{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"https://a.example/b.png"}}]}"#,
        ] {
            let chat = chat(odd);
            let error = question(&chat.messages).unwrap_err();
            assert_eq!(error.kind, Kind::BadRequest, "{odd}");
        }
    }
}
