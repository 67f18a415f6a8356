//! The conversation as one text, for all generations. Source: `wire/minimax.md` section 4, "Prompt text".

use crate::chat::{ChatRequest, Role};

/// The conversation as the one text that the service reads.
pub(super) fn flattened(request: &ChatRequest) -> String {
    // Section 4: one message goes bare, and only a user's; a system text alone would read as a question.
    if let [only] = request.messages.as_slice()
        && only.role == Role::User
    {
        let text = only.text();
        // Pictures alone: the turn's marks stand for a text.
        if !text.is_empty() {
            return text.into_owned();
        }
    }
    let mut prompt = String::new();
    for message in &request.messages {
        prompt.push_str(match message.role {
            Role::System | Role::Developer => "system:",
            // Section 4: the page has no other roles.
            Role::User | Role::Tool | Role::Function => "user:",
            Role::Assistant => "assistant:",
        });
        prompt.push_str(&message.text());
        prompt.push('\n');
    }
    // No blank behind it: the model goes on from there.
    prompt.push_str("assistant:");
    prompt
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn flat(messages: Value) -> String {
        let body = json!({"model": "minimax", "messages": messages}).to_string();
        flattened(&crate::http::openai::body::read(body.into()).unwrap())
    }

    #[test]
    fn a_lone_question_goes_as_it_is() {
        let text = "  user: \u{FEFF}\r\n ";
        assert_eq!(flat(json!([{"role": "user", "content": text}])), text);
        assert_eq!(
            flat(json!([{"role": "user", "content": []}])),
            "user:\nassistant:"
        );
        assert_eq!(
            flat(json!([{"role": "system", "content": "x"}])),
            "system:x\nassistant:"
        );
    }

    /// The example of section 4.
    #[test]
    fn the_whole_conversation_is_one_text() {
        let conversation = json!([
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Why?"},
        ]);
        assert_eq!(
            flat(conversation),
            "system:Be brief.\nuser:Hi\nassistant:Hello\nuser:Why?\nassistant:"
        );
        let with_parts = json!([
            {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "called"},
            {"role": "user", "content": "42"},
        ]);
        assert_eq!(
            flat(with_parts),
            "system:a\nb\nassistant:called\nuser:42\nassistant:"
        );
    }

    #[test]
    fn its_time_grows_with_the_conversation() {
        crate::chat::growth::assert_linear(|chat| {
            flattened(chat);
        });
    }
}
