//! The older route, `POST /samantha/chat/completion`: its question and its answer, whose events hold JSON in texts in JSON.
//! Source: `wire/doubao.md` sections 4.4 and 6.7.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    answer::{Change, Channel},
    loose::{number, text, unpacked},
    refusal,
    stream::{End, State},
    wire::{Caller, Question, RATIO},
};
use crate::{
    chat::{ChatEvent, ProviderError},
    upstream::Request,
};

/// `POST /samantha/chat/completion`: asks in a new conversation.
pub(super) fn ask(caller: Caller<'_>, question: &Question<'_>, id: Uuid) -> Request {
    // "16" and 14 digits.
    let digits = 10_u128.pow(14);
    let local = format!("local_16{:014}", id.as_u128() % digits);
    let (kind, content) = if question.pictures {
        let content = json!({"text": question.text, "ratio": question.ratio.unwrap_or(RATIO)});
        (2009, content.to_string())
    } else {
        (2001, json!({"text": question.text}).to_string())
    };
    let mut body = json!({
        "messages": [{
            "content": content, "content_type": kind,
            "attachments": question.attachments.iter().map(|file| &file.older).collect::<Vec<_>>(),
            "references": [],
        }],
        "completion_option": {
            "is_regen": false, "with_suggest": true, "need_create_conversation": true, "launch_stage": 1,
            "is_replace": false, "is_delete": false, "message_from": 0,
            "action_bar_skill_id": if question.pictures { 3 } else { 0 },
            // The route has two switches in place of one number (section 4.4).
            "use_deep_think": matches!(question.depth as u8, 1 | 3), "use_auto_cot": question.depth as u8 == 2,
            "resend_for_regen": false, "enable_commerce_credit": false, "event_id": "0",
        },
        "evaluate_option": {"web_ab_params": ""},
        "conversation_id": "0", "local_conversation_id": local, "local_message_id": id.to_string(),
    });
    if question.pictures {
        body["skill"] = json!({
            "skill_type": 3, "skill_type_no_default": 3, "skill_id": "3", "skill_id_no_default": "3",
        });
    }
    caller
        .post("ask", "/samantha/chat/completion", &body)
        // It opens a conversation; sent twice it would stand there twice.
        .once()
}

/// One event of the answer.
///
/// # Errors
/// An error that it reports.
pub(super) fn frame(
    state: &mut State,
    frame: &Value,
    events: &mut Vec<ChatEvent>,
) -> Result<(), ProviderError> {
    // The event's data is JSON in a text.
    let data = unpacked(frame.get("event_data"));
    match number(frame.get("event_type")) {
        Some(2001) => message(state, &data, events),
        Some(2002) => {
            state.conversation(data.get("conversation_id"));
            Ok(())
        }
        Some(2003) => {
            state.end = End::All;
            // `max` elsewhere: an end never moves back.
            Ok(())
        }
        Some(2005) => {
            let error = refusal::event(&data, state.variable());
            state.fail(error)
        }
        // What it takes the question for.
        Some(2010) => Ok(()),
        Some(_) => {
            state.unknown.tell("event", events);
            Ok(())
        }
        None => match refusal::refused(frame, state.variable()) {
            Some(error) => state.fail(error),
            None => {
                state.unknown.tell("event", events);
                Ok(())
            }
        },
    }
}

fn message(
    state: &mut State,
    data: &Value,
    events: &mut Vec<ChatEvent>,
) -> Result<(), ProviderError> {
    state.begin();
    state.conversation(data.get("conversation_id"));
    state.message(data.get("message_id"));
    let message = unpacked(data.get("message"));
    let content = unpacked(message.get("content"));
    for meta in message
        .get("meta_infos")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if number(meta.get("type")) == Some(104) {
            state.answer.sources.add_page(&unpacked(meta.get("info")));
        }
    }
    match number(message.get("content_type")) {
        Some(2001 | 2008 | 2071 | 10000) => {
            let piece = [
                content.get("text"),
                content.get("delta").and_then(|it| it.get("text")),
            ];
            let piece = piece.into_iter().flatten().find_map(Value::as_str);
            // What is no JSON is the text itself.
            let piece = piece.unwrap_or_else(|| match content.as_object() {
                Some(_) => "",
                None => text(message.get("content")),
            });
            state.answer.go_on(piece, events);
        }
        Some(10040) => {
            if text(content.get("finish_title")).contains("已完成") {
                state.answer.answer();
            } else {
                // Thinking has no block ids in this route, so it is one block.
                state.answer.turn_to("", Channel::Thinking);
                state.answer.say("", Change::Append, events);
            }
        }
        Some(10025) => {
            if let Some(results) = content.get("results") {
                state.answer.sources.add(results);
            }
        }
        Some(2074 | 2010) => state.answer.pictures.add(&content),
        // Suggestions, loading, requests for pictures and videos, and a video.
        Some(2002 | 2007 | 2009 | 2020 | 2021) => {}
        _ => state.unknown.tell("content", events),
    }
    let is_finished = data.get("is_finish").and_then(Value::as_bool) == Some(true);
    // Only of text: other contents finish in the midst of an answer.
    if is_finished && number(message.get("content_type")) == Some(2001) {
        state.end = state.end.max(End::Text);
    }
    Ok(())
}
