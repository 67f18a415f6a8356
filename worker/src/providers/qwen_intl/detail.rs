//! The picture in a chat's messages, where the stream ended without one. Source: `wire/qwen_intl.md` section 7.4.

use serde_json::Value;

/// The address in the message of that id: in the history, or in the list.
pub(super) fn picture(body: &[u8], response_id: &str) -> Option<String> {
    let detail: Value = serde_json::from_slice(body).ok()?;
    let chat = detail.pointer("/data/chat")?;
    let in_history = chat
        .pointer("/history/messages")
        .and_then(|messages| messages.get(response_id));
    // The list has the same messages; either may be missing.
    let listed = || {
        let messages = chat.get("messages")?.as_array()?;
        let is_it =
            |message: &&Value| message.get("id").and_then(Value::as_str) == Some(response_id);
        messages.iter().find(is_it)
    };
    let message = in_history.or_else(listed)?;
    let content = message.get("content")?.as_str()?.trim();
    let is_web = content.starts_with("https://") || content.starts_with("http://");
    // Words in its place are the model's excuse.
    is_web.then(|| content.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_picture_in_both_places() {
        let history = r#"{"data":{"chat":{"history":{"messages":{"r1":{"content":"https://e/a.png?key=k"}}}}}}"#;
        let listed = r#"{"data":{"chat":{"messages":[{"id":"q","content":"x"},{"id":"r1","content":"https://e/a.png?key=k"}]}}}"#;
        for body in [history, listed] {
            let found = picture(body.as_bytes(), "r1");
            assert_eq!(found.as_deref(), Some("https://e/a.png?key=k"), "{body}");
            assert_eq!(picture(body.as_bytes(), "r2"), None);
        }
        assert_eq!(
            picture(&listed.replace("https", "sorry").into_bytes(), "r1"),
            None
        );
    }
}
