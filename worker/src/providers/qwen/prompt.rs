//! The conversation as one text, for both generations. Source: `wire/qwen.md` section 4.3.

use std::fmt::Write as _;

use crate::chat::{ChatRequest, Role, message::without_pictures};

/// The conversation as the one text that the service reads (section 4.3).
pub(super) fn flattened(request: &ChatRequest) -> String {
    if let [only] = request.messages.as_slice()
        && only.role == Role::User
    {
        return only.text().into_owned();
    }
    let last = request.messages.len().saturating_sub(1);
    let mut prompt = String::new();
    for (at, message) in request.messages.iter().enumerate() {
        let role = match message.role {
            Role::System | Role::Developer => "system",
            Role::User | Role::Tool | Role::Function => "user",
            Role::Assistant => "assistant",
        };
        let text = message.text();
        let text = if at == last {
            text
        } else {
            // Dead links would be sent back, and the service would try to open them.
            without_pictures(&text).into_owned().into()
        };
        // Text must not be able to forge a role.
        // U+200B and not a removal: the text stays as long as it was, and reads the same.
        let text: String = text
            .replace("<|im_start|>", "<\u{200B}|im_start|>")
            .replace("<|im_end|>", "<\u{200B}|im_end|>");
        // Memory cannot fail to be written.
        let _ = write!(prompt, "<|im_start|>{role}\n{text}<|im_end|>\n");
    }
    prompt
}

#[cfg(test)]
mod tests {
    #[test]
    fn its_time_grows_with_the_conversation() {
        crate::chat::growth::assert_linear(|chat| {
            super::flattened(chat);
        });
    }
}
