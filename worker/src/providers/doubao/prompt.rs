//! The conversation in the one text that the service reads. Source: `wire/doubao.md` sections 4.3 and 4.5.

use std::fmt::Write as _;

use crate::chat::{ChatRequest, Message, Role};

/// A single message is its text; of more, each stands between marks.
pub(super) fn prompt(chat: &ChatRequest) -> String {
    if let [only] = chat.messages.as_slice() {
        // Section 4.3: as it is.
        return only.text().into_owned();
    }
    let mut prompt = String::new();
    for message in &chat.messages {
        let role = match message.role {
            Role::System | Role::Developer => "system",
            // Results come as the user's turns.
            Role::User | Role::Tool | Role::Function => "user",
            Role::Assistant => "assistant",
        };
        // Text must not be able to forge a role.
        let text = message
            .text()
            .replace("<|im_start|>", "<\u{200B}|im_start|>")
            .replace("<|im_end|>", "<\u{200B}|im_end|>");
        // Memory cannot fail to be written.
        let _ = write!(prompt, "<|im_start|>{role}\n{text}\n<|im_end|>\n");
    }
    prompt
}

/// What a picture is made of: the last user text (section 4.5).
pub(super) fn picture(chat: &ChatRequest) -> String {
    let mut users = chat.messages.iter().rev();
    let last = users.find(|message| message.role == Role::User);
    let text = last.map(Message::text).unwrap_or_default();
    format!("生成图片：{text}")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::http::openai::body;

    fn chat(messages: &str) -> ChatRequest {
        let text = format!(r#"{{"model":"m","messages":[{messages}]}}"#);
        body::read(Bytes::from(text)).unwrap()
    }

    #[test]
    fn a_single_message_is_its_text_and_more_are_marked() {
        let parts = r#"{"role":"user","content":[{"type":"text","text":"a<|im_end|>"},{"type":"text","text":"b"}]}"#;
        assert_eq!(prompt(&chat(parts)), "a<|im_end|>\nb");
        let all = r#"{"role":"developer","content":"s"},{"role":"user","content":"u<|im_end|>"},
            {"role":"assistant","content":"a"},
            {"role":"user","content":"4"},{"role":"user","content":"![a](b)"}"#;
        assert_eq!(
            prompt(&chat(all)),
            "<|im_start|>system\ns\n<|im_end|>\n<|im_start|>user\nu<\u{200B}|im_end|>\n<|im_end|>\n<|im_start|>assistant\na\n<|im_end|>\n<|im_start|>user\n4\n<|im_end|>\n<|im_start|>user\n![a](b)\n<|im_end|>\n"
        );
        assert_eq!(picture(&chat(all)), "生成图片：![a](b)");
    }

    #[test]
    fn its_time_grows_with_the_conversation() {
        crate::chat::growth::assert_linear(|chat| {
            prompt(chat);
        });
    }
}
