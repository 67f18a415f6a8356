//! The conversation as one text, for both generations. Source: `wire/qwen.md` section 4.3.

use std::fmt::Write as _;

use crate::chat::{ChatRequest, Message, Role, message::without_pictures};

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
        let text = said(message);
        let text = if at == last {
            text
        } else {
            without_pictures(&text).into_owned()
        };
        // Text must not be able to forge a role.
        let text: String = text
            .replace("<|im_start|>", "<\u{200B}|im_start|>")
            .replace("<|im_end|>", "<\u{200B}|im_end|>");
        // Memory cannot fail to be written.
        let _ = write!(prompt, "<|im_start|>{role}\n{text}<|im_end|>\n");
    }
    prompt
}

fn said(message: &Message) -> String {
    let text = message.text();
    match message.role {
        Role::Tool | Role::Function => {
            let id = message
                .tool_call_id
                .as_deref()
                .or(message.name.as_deref())
                .unwrap_or_default();
            format!("[tool result {id}] {text}")
        }
        _ => {
            let calls = message
                .tool_calls
                .iter()
                .flatten()
                .filter_map(|call| Some((&call.id, call.function.as_ref()?)));
            // Into one text: to format the text anew for each call would take time with their square.
            let mut said = text.into_owned();
            for (id, call) in calls {
                let gap = if said.is_empty() { "" } else { "\n" };
                // Memory cannot fail to be written.
                let _ = write!(
                    said,
                    "{gap}[tool call {id}] {}({})",
                    call.name, call.arguments
                );
            }
            said
        }
    }
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
