//! The conversation as one text: of `messages` the service reads the first element only. Source: `wire/zhipu.md` section
//! 4.2, "Text T", and section 4.3 for drawings.

use crate::chat::{ChatRequest, Message, Role};

/// The conversation as the one text that the service reads.
pub(super) fn flattened(request: &ChatRequest) -> String {
    if let [only] = request.messages.as_slice() {
        let text = only.text();
        // Pictures alone: the text may not be empty, so the turn's marks stand for it.
        if !text.is_empty() {
            return text.into_owned();
        }
    }
    let mut prompt = String::new();
    for message in &request.messages {
        let role = match message.role {
            Role::System | Role::Developer => "<|system|>",
            Role::User | Role::Tool | Role::Function => "<|user|>",
            Role::Assistant => "<|assistant|>",
        };
        prompt.push_str(role);
        prompt.push('\n');
        prompt.push_str(&message.text());
        prompt.push('\n');
    }
    prompt.push_str("<|assistant|>\n");
    prompt
}

/// What a video is asked with: the last question.
pub(super) fn question(request: &ChatRequest) -> String {
    let is_question = |message: &&Message| message.role == Role::User;
    let asked = request.messages.iter().rev().find(is_question);
    let text = asked.map(|message| message.text()).unwrap_or_default();
    text.into_owned()
}

/// What a drawing is asked with: the last question, which says that it is one.
pub(super) fn drawing(request: &ChatRequest) -> String {
    let text = question(request);
    // An empty question is refused elsewhere; with the prefix it would not look empty.
    if text.contains('画') || text.trim().is_empty() {
        text
    } else {
        format!("请画：{text}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(messages: &Value) -> ChatRequest {
        let body = json!({"model": "zhipu", "messages": messages}).to_string();
        crate::http::openai::body::read(body.into()).unwrap()
    }

    #[test]
    fn a_lone_message_goes_as_it_is() {
        let text = "  <|user|>\u{FEFF}\r\n ![a](https://e/x.png) ";
        for role in ["user", "system"] {
            let request = request(&json!([{"role": role, "content": text}]));
            assert_eq!(flattened(&request), text);
        }
    }

    #[test]
    fn a_message_without_text_is_not_an_empty_one() {
        let request = request(&json!([{"role": "user", "content": []}]));
        assert_eq!(flattened(&request), "<|user|>\n\n<|assistant|>\n");
    }

    #[test]
    fn the_whole_conversation_is_one_text() {
        let request = request(&json!([
            {"role": "developer", "content": [{"type": "text", "text": "be"}, {"type": "text", "text": "brief"}]},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "called"},
            {"role": "user", "content": "42"},
            {"role": "user", "content": "and?"},
        ]));
        assert_eq!(
            flattened(&request),
            "<|system|>\nbe\nbrief\n<|user|>\nhi\n<|assistant|>\ncalled\n<|user|>\n42\n<|user|>\nand?\n<|assistant|>\n"
        );
    }

    #[test]
    fn a_drawing_is_asked_with_the_last_question() {
        let asked = |text: &str| {
            drawing(&request(
                &json!([{"role": "system", "content": "s"}, {"role": "user", "content": text}]),
            ))
        };
        assert_eq!(asked("a cat"), "请画：a cat");
        assert_eq!(asked("画一只猫"), "画一只猫");
        assert_eq!(asked(" "), " ");
    }

    #[test]
    fn its_time_grows_with_the_conversation() {
        crate::chat::growth::assert_linear(|chat| {
            flattened(chat);
        });
    }
}
