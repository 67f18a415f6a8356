//! The conversation as one text: a question holds exactly one message. Source: `wire/qwen_intl.md` section 4.3, "Messages
//! → PROMPT".

use crate::chat::{ChatRequest, Message, Role};

/// A lone question as it is; else a transcript.
pub(super) fn flattened(request: &ChatRequest) -> String {
    if let [only] = request.messages.as_slice()
        // Section 4.3: a transcript of one would have the model answer the word `user:`.
        && only.role == Role::User
    {
        return only.text().into_owned();
    }
    let mut prompt = String::new();
    for message in &request.messages {
        if !prompt.is_empty() {
            // Between messages only: the last one ends the prompt.
            prompt.push_str("\n\n");
        }
        prompt.push_str(match message.role {
            Role::System | Role::Developer => "system:",
            Role::User | Role::Tool | Role::Function => "user:",
            Role::Assistant => "assistant:",
        });
        prompt.push_str(&message.text());
    }
    prompt
}

/// What a picture or a video is asked with: the last question.
pub(super) fn question(request: &ChatRequest) -> String {
    last_question(request)
        .map(|(_, message)| message.text().into_owned())
        .unwrap_or_default()
}

/// The last message of the user, and its place.
pub(super) fn last_question(request: &ChatRequest) -> Option<(usize, &Message)> {
    let mut messages = request.messages.iter().enumerate().rev();
    messages.find(|(_, message)| message.role == Role::User)
}

/// The address of the last picture that an assistant's message shows (section 4.5).
pub(super) fn last_shown(request: &ChatRequest) -> Option<String> {
    let shown = request.messages.iter().rev();
    let mut shown = shown.filter(|message| message.role == Role::Assistant);
    shown.find_map(|message| picture(&message.text()).map(str::to_owned))
}

/// The address of the last Markdown picture in a text.
fn picture(text: &str) -> Option<&str> {
    let marks = text.rmatch_indices("![").map(|(at, _)| at);
    // Bounded: what has many marks and no picture is no answer of ours.
    marks.take(MOST_MARKS).find_map(|at| {
        let label = text.get(at..)?;
        let (_, link) = label.split_once("](")?;
        let (url, _) = link.split_once(')')?;
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        (is_web && !url.contains(char::is_whitespace)).then_some(url)
    })
}

/// Looks for a picture in a text.
const MOST_MARKS: usize = 100;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(messages: &Value) -> ChatRequest {
        let body = json!({"model": "qwen3.7-plus", "messages": messages}).to_string();
        crate::http::openai::body::read(body.into()).unwrap()
    }

    #[test]
    fn a_lone_question_goes_as_it_is() {
        let text = "  user:\u{FEFF}\r\n x ";
        assert_eq!(
            flattened(&request(&json!([{"role": "user", "content": text}]))),
            text
        );
        let only = request(&json!([{"role": "system", "content": "be brief"}]));
        assert_eq!(flattened(&only), "system:be brief");
    }

    #[test]
    fn the_conversation_is_a_transcript() {
        let request = request(&json!([
            {"role": "developer", "content": [{"type": "text", "text": "be"}, {"type": "text", "text": "brief"}]},
            {"role": "user", "content": "hi\n"},
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": "and?"},
        ]));
        assert_eq!(
            flattened(&request),
            "system:be\nbrief\n\nuser:hi\n\n\nassistant:hello\n\nuser:and?"
        );
        assert_eq!(question(&request), "and?");
    }

    #[test]
    fn the_last_picture_of_an_assistant_is_found() {
        let pictures = request(&json!([
            {"role": "user", "content": "![mine](https://e/mine.png)"},
            {"role": "assistant", "content": "![image](https://e/1.png?key=a) and ![image](https://e/2.png?key=b) ![x](y"},
            {"role": "assistant", "content": "no picture ![ here"},
            {"role": "user", "content": "make it blue"},
        ]));
        assert_eq!(
            last_shown(&pictures).as_deref(),
            Some("https://e/2.png?key=b")
        );
        assert_eq!(
            last_shown(&request(&json!([{"role": "user", "content": "x"}]))),
            None
        );
    }

    #[test]
    fn its_time_grows_with_the_conversation() {
        crate::chat::growth::assert_linear(|chat| {
            flattened(chat);
            last_shown(chat);
        });
    }
}
