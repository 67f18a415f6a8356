//! The question: the conversation in the one text that the search reads. Source: `wire/metaso.md` section 4.5.

use std::fmt::Write as _;

use super::models::{self, Search, Wanted};
use crate::chat::{Message, ProviderError, Role};
use crate::impossible::OrImpossible as _;

/// Weather is answered by a card without text unless a text is asked for (section 4.5 step 4).
const WEATHER: &str = "天气";
const WEATHER_HINT: &str = "，直接回答";

/// A question and the search for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) text: String,
    pub(super) search: Search,
}

/// Puts the question together; of a bare model the last user text may say how to search (section 4.7).
pub(super) fn question(
    messages: &[Message],
    wanted: Wanted,
    temperature: Option<f64>,
    hints_weather: bool,
) -> Question {
    // The last one of the user's: a prefix in an earlier turn was for that one.
    let last = messages
        .iter()
        .rposition(|message| message.role == Role::User);
    let asked = last.and_then(|at| messages.get(at)).map(Message::text);
    let asked = asked.as_deref().unwrap_or_default();
    let (search, skipped) = models::choose(wanted, asked, temperature);
    let hint = if hints_weather && asked.contains(WEATHER) {
        WEATHER_HINT
    } else {
        ""
    };
    let asked = asked
        .get(skipped..)
        .or_impossible("what is skipped is its beginning");
    let text = match messages {
        [only] if only.role == Role::User => format!("{asked}{hint}"),
        // The prefix and the hint stand in the last question, wherever that is in the conversation.
        _ => flattened(messages, last, asked, hint),
    };
    Question { text, search }
}

/// `role:TEXT\n` for each message. The last user text is `asked` with `hint`.
fn flattened(messages: &[Message], last: Option<usize>, asked: &str, hint: &str) -> String {
    let mut prompt = String::new();
    for (at, message) in messages.iter().enumerate() {
        // Memory cannot fail to be written.
        let _ = match message.role {
            Role::User if last == Some(at) => writeln!(prompt, "user:{asked}{hint}"),
            Role::User | Role::Tool | Role::Function => {
                writeln!(prompt, "user:{}", message.text())
            }
            Role::System | Role::Developer => writeln!(prompt, "system:{}", message.text()),
            Role::Assistant => writeln!(prompt, "assistant:{}", message.text()),
        };
    }
    prompt
}

/// The search takes text alone (section 4.5 step 3).
///
/// # Errors
/// 400 that names the message with a picture or document.
pub(super) fn refuse_attachments(messages: &[Message]) -> Result<(), ProviderError> {
    let mut messages = messages.iter();
    match messages.position(|message| message.attachments().next().is_some()) {
        None => Ok(()),
        Some(at) => Err(ProviderError::bad_request(
            &format!("messages[{at}].content"),
            "Metaso's search takes text alone, no pictures and no documents.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{chat::Kind, http::openai::body};

    fn asked(messages: &str, id: &str, hints_weather: bool) -> Question {
        let text = format!(r#"{{"model":"m","messages":[{messages}]}}"#);
        let chat = body::read(Bytes::from(text)).unwrap();
        let wanted = models::read(id).unwrap();
        question(&chat.messages, wanted, None, hints_weather)
    }

    #[test]
    fn one_user_message_is_the_question_and_more_are_flattened() {
        let parts =
            r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#;
        assert_eq!(asked(parts, "metaso", false).text, "a\nb");
        let chat = r#"{"role":"developer","content":"s"},{"role":"user","content":"u"},
            {"role":"assistant","content":"x"},
            {"role":"user","content":"4"},{"role":"user","content":"学术简洁搜索：天气"}"#;
        let question = asked(chat, "metaso", false);
        assert_eq!(
            question.text,
            "system:s\nuser:u\nassistant:x\nuser:4\nuser:天气\n"
        );
        assert_eq!(
            (question.search.mode.of_chat(), question.search.engine),
            ("concise", "scholar")
        );
        let question = asked(chat, "metaso-research", true);
        assert!(
            question
                .text
                .ends_with("\nuser:学术简洁搜索：天气，直接回答\n"),
            "{}",
            question.text
        );
    }

    #[test]
    fn weather_is_hinted_at_only_when_told_to() {
        let message = r#"{"role":"user","content":"北京天气"}"#;
        assert_eq!(asked(message, "metaso", false).text, "北京天气");
        assert_eq!(asked(message, "metaso", true).text, "北京天气，直接回答");
        let system = r#"{"role":"system","content":"天气"},{"role":"user","content":"hi"}"#;
        assert_eq!(asked(system, "metaso", true).text, "system:天气\nuser:hi\n");
    }

    #[test]
    fn pictures_are_refused_with_their_place() {
        let text = r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]}]}"#;
        let chat = body::read(Bytes::from_static(text.as_bytes())).unwrap();
        let refused = refuse_attachments(&chat.messages).unwrap_err();
        assert_eq!(
            (refused.kind, refused.param.as_deref()),
            (Kind::BadRequest, Some("messages[1].content"))
        );
    }

    #[test]
    fn its_time_grows_with_the_conversation() {
        let wanted = models::read("metaso").unwrap();
        crate::chat::growth::assert_linear(|chat| {
            question(&chat.messages, wanted, None, true);
        });
    }
}
