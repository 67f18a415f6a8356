//! The conversation as the one text that the service reads. Source: `wire/ernie.md` section 4, which means
//! `wire/xinghuo.md` section 4.4.

use crate::chat::{ChatRequest, Message, ProviderError, Role, message::without_pictures};

/// A single message as it is; several as `role:content` lines and a last `assistant:`.
pub(super) fn text(ask: &ChatRequest) -> String {
    // Sections 4 of both pages: a single message is sent as it is, or a plain question would look like a script.
    if let [only] = ask.messages.as_slice() {
        return only.text().into_owned();
    }
    let last = ask.messages.len().saturating_sub(1);
    let mut prompt = String::new();
    for (at, message) in ask.messages.iter().enumerate() {
        let role = match message.role {
            Role::System | Role::Developer => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool | Role::Function => "tool",
        };
        prompt.push_str(role);
        prompt.push(':');
        let text = message.text();
        if at == last {
            prompt.push_str(&text);
        } else {
            // Links of earlier pictures are dead, and long.
            prompt.push_str(&without_pictures(&text));
        }
        prompt.push('\n');
    }
    // The service goes on where the text stops: this is what it is to write.
    prompt.push_str("assistant:");
    prompt
}

/// Whether there is anything to ask.
///
/// # Errors
/// 400 for a conversation without words, and for pictures and documents: no way to upload them is public (section 3).
pub(super) fn check(messages: &[Message]) -> Result<(), ProviderError> {
    let attached = messages
        .iter()
        .position(|message| message.attachments().next().is_some());
    if let Some(at) = attached {
        return Err(ProviderError::bad_request(
            &format!("messages[{at}].content"),
            "ERNIE takes text alone here, no pictures and no documents.",
        ));
    }
    if messages.iter().any(Message::has_words) {
        return Ok(());
    }
    Err(ProviderError::bad_request(
        "messages",
        "The conversation holds no text.",
    ))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{chat::growth, http::openai::body};

    fn flattened(messages: &str) -> String {
        let body = format!(r#"{{"model":"m","messages":[{messages}]}}"#);
        text(&body::read(Bytes::from(body)).unwrap())
    }

    #[test]
    fn flattens_as_the_page_says() {
        let one = r#"{"role":"user","content":"a\n![p](https://x/y)"}"#;
        assert_eq!(flattened(one), "a\n![p](https://x/y)");
        let several = r#"{"role":"developer","content":"S"},{"role":"user","content":"a![p](https://x/y)"},{"role":"assistant","content":"b"},{"role":"user","content":[{"type":"text","text":"c"},{"type":"text","text":"d"}]}"#;
        assert_eq!(
            flattened(several),
            "system:S\nuser:a\nassistant:b\nuser:c\nd\nassistant:"
        );
    }

    #[test]
    fn its_time_grows_with_the_conversation() {
        growth::assert_linear(|chat| {
            text(chat);
        });
    }
}
