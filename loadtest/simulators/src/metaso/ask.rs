//! Reading questions, field by field. Source: wire/metaso.md §4.3 to §4.6, §10.1.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::{
    Call, Turn,
    fields::{exactly, text},
    request::is_uuid,
};

/// A question that has the right shape.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) question: String,
    pub(super) mode: String,
    pub(super) engine: String,
    pub(super) token: String,
    /// Chat: the id that the client made up. Searchv2: the session.
    pub(super) id: String,
}

const MODES: [&str; 4] = ["concise", "detail", "research", "strong-research"];
const ENGINES: [&str; 6] = ["", "scholar", "pdf", "podcast", "image", "video"];

/// The longest target of a GET, in bytes (§4.4).
pub(super) const MOST_TARGET: usize = 7000;

/// Whether a body names a conversation, which a first turn must not (§10.1).
pub(super) fn names_conversation(body: &Value) -> bool {
    body.get("conversationId").is_some() || body.get("parentMessageId").is_some()
}

/// The body of `/api/search/chat`.
pub(super) fn chat(body: &Value, call: &mut Call) -> Result<Ask, String> {
    let object = body.as_object().ok_or("the body is no JSON object")?;
    let message = body
        .pointer("/messages/0")
        .and_then(Value::as_object)
        .ok_or("there is no message")?;
    if body
        .get("messages")
        .and_then(Value::as_array)
        .is_some_and(|messages| messages.len() > 1)
    {
        return Err("there is more than one message".to_owned());
    }
    let (mode, engine) = (text(object, "mode")?, text(object, "engineType")?);
    let model = object.get("model").cloned().unwrap_or_else(|| json!(0));
    if model != json!("fast_thinking") && !model.is_null() {
        return Err(format!("model is {model}"));
    }
    let (id, question) = (text(message, "id")?, text(message, "content")?);
    let token = text(object, "token")?;
    let made_up = id.strip_prefix("temp-");
    if !made_up.is_some_and(|rest| rest.len() == 36 && is_uuid(rest)) {
        return Err(format!("the message's id is {id:?}, not temp- and a UUID"));
    }
    if question.is_empty() {
        return Err("content is empty".to_owned());
    }
    exactly(
        message,
        "the message",
        json!({
            "id": id, "key": id, "conversationId": id, "role": "user", "content": question, "markdownContent": question,
            "displayContent": question, "engineType": engine, "filter": "all", "contentType": 0, "outputHtml": false,
            "mode": mode, "model": model, "outputStyle": "正常",
        }),
        call,
    )?;
    exactly(
        object,
        "the body",
        json!({
            "model": model, "stream": true, "messages": body.get("messages"), "mode": mode, "engineType": engine,
            "filter": "all", "outputHtml": false, "outputLanguage": "中文", "darkMode": false,
            "htmlNoDisplayEnable": true, "metaso-pc": "pc", "token": token,
        }),
        call,
    )?;
    if !MODES.contains(&mode.as_str()) && mode != "chat" {
        return Err(format!("mode is {mode:?}"));
    }
    known_engine(&engine)?;
    Ok(Ask {
        question,
        mode,
        engine,
        token,
        id,
    })
}

/// The body of `/api/session`; the token is in a header.
pub(super) fn session(body: &Value, call: &mut Call) -> Result<Ask, String> {
    let object = body.as_object().ok_or("the body is no JSON object")?;
    let question = text(object, "question")?;
    let (mode, engine) = (text(object, "mode")?, text(object, "engineType")?);
    exactly(
        object,
        "the body",
        json!({"question": question, "mode": mode, "engineType": engine, "scholarSearchDomain": "all"}),
        call,
    )?;
    if question.is_empty() {
        return Err("question is empty".to_owned());
    }
    known_mode(&mode)?;
    known_engine(&engine)?;
    Ok(Ask {
        question,
        mode,
        engine,
        token: String::new(),
        id: String::new(),
    })
}

fn known_mode(mode: &str) -> Result<(), String> {
    match mode {
        "concise" | "detail" | "research" | "fast" => Ok(()),
        _ => Err(format!("mode is {mode:?}")),
    }
}

fn known_engine(engine: &str) -> Result<(), String> {
    match ENGINES.contains(&engine) {
        true => Ok(()),
        false => Err(format!("engineType is {engine:?}")),
    }
}

/// The query of `GET /api/searchV2`.
pub(super) fn query(query: &str, path: &str, base: &str) -> Result<Ask, String> {
    if path.len() + 1 + query.len() > MOST_TARGET {
        return Err(format!("the target has more than {MOST_TARGET} bytes"));
    }
    let mut members = HashMap::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~%!*'()+".contains(c);
        if !value.chars().all(plain) {
            return Err(format!("{name} is not percent-encoded"));
        }
        // §9: a bare plus is a blank.
        let value = crate::request::percent_decode(&value.replace('+', " "));
        if members.insert(name, value).is_some() {
            return Err(format!("{name} comes twice"));
        }
    }
    let mut take = |name: &str| {
        members
            .remove(name)
            .ok_or_else(|| format!("{name} is missing in the query"))
    };
    let ask = Ask {
        id: take("sessionId")?,
        question: take("question")?,
        mode: take("mode")?,
        token: take("token")?,
        engine: String::new(),
    };
    let mix = if ask.mode == "fast" { "false" } else { "true" };
    for (name, value) in [
        ("lang", "zh"),
        ("enableMix", mix),
        ("scholarSearchDomain", "all"),
        ("expectedCurrentSessionSearchCount", "1"),
        ("is-mini-webview", "0"),
    ] {
        let sent = take(name)?;
        if sent != value {
            return Err(format!("{name} is {sent:?}, not {value:?}"));
        }
    }
    page_of(&take("url")?, &ask, base)?;
    let engine = members.remove("engineType");
    if engine.as_deref() == Some("") {
        return Err("engineType is there and empty".to_owned());
    }
    if let Some(name) = members.keys().next() {
        return Err(format!("{name} is not known in the query"));
    }
    Ok(Ask {
        engine: engine.unwrap_or_default(),
        ..ask
    })
}

/// §4.4: the page that the search belongs to. Whether its own query is encoded once more is not said.
fn page_of(url: &str, ask: &Ask, base: &str) -> Result<(), String> {
    let start = format!("{base}/search/{}?newSearch=true&q=", ask.id);
    let rest = url.strip_prefix(&start);
    let same = rest.is_some_and(|rest| {
        rest == ask.question || crate::request::percent_decode(rest) == ask.question
    });
    match same {
        true => Ok(()),
        false => Err("url is not the page of this session and question".to_owned()),
    }
}

/// The body of `POST /api/searchV2`, for what a GET cannot hold.
pub(super) fn long(body: &Value, base: &str, call: &mut Call) -> Result<Ask, String> {
    let object = body.as_object().ok_or("the body is no JSON object")?;
    let optional = |name: &str| match object.get(name) {
        Some(_) => text(object, name),
        None => Ok(String::new()),
    };
    let ask = Ask {
        id: optional("sessionId")?,
        question: text(object, "question")?,
        mode: text(object, "mode")?,
        engine: optional("engineType")?,
        token: text(object, "token")?,
    };
    known_mode(&ask.mode)?;
    known_engine(&ask.engine)?;
    if ask.question.is_empty() {
        return Err("question is empty".to_owned());
    }
    page_of(&text(object, "url")?, &ask, base)?;
    let mut wanted = json!({
        "question": ask.question, "lang": "zh", "mode": ask.mode, "url": object.get("url"),
        "enableMix": ask.mode != "fast", "scholarSearchDomain": "all", "token": ask.token,
        "expectedCurrentSessionSearchCount": object.get("expectedCurrentSessionSearchCount"),
        "is-mini-webview": object.get("is-mini-webview"),
        "newEngine": true, "metaso-pc": "pc", "model": "fast_thinking", "deepResearchModel": "fast",
    });
    for name in ["sessionId", "engineType"] {
        if let Some(value) = object.get(name) {
            wanted[name] = value.clone();
        }
    }
    for (name, value) in [
        ("expectedCurrentSessionSearchCount", 1),
        ("is-mini-webview", 0),
    ] {
        let sent = object.get(name);
        if sent != Some(&json!(value)) && sent != Some(&json!(value.to_string())) {
            return Err(format!("{name} is not {value}"));
        }
    }
    exactly(object, "the body", wanted, call)?;
    // The question is there twice, once encoded twice: nothing this short is too long for a GET.
    if ask.question.len() * 8 + 600 < MOST_TARGET {
        call.violate("a POST, though a GET would hold it");
    }
    Ok(ask)
}

const ROLES: [&str; 3] = ["system", "user", "assistant"];

/// Takes the flattened history apart again (§4.5).
pub(super) fn turns(question: &str) -> Result<Vec<Turn>, String> {
    let role = |line: &str| {
        let (role, _) = line.split_once(':')?;
        ROLES.iter().find(|known| **known == role).copied()
    };
    let lines = question.lines().filter(|line| role(line).is_some());
    if role(question).is_none() || lines.count() < 2 {
        return Ok(vec![Turn {
            role: "user".to_owned(),
            text: question.to_owned(),
        }]);
    }
    let history = question
        .strip_suffix('\n')
        .ok_or("the history does not end in a line feed")?;
    let mut turns: Vec<Turn> = Vec::new();
    for line in history.split('\n') {
        match (role(line), turns.last_mut()) {
            (Some(role), _) => {
                let text = line.split_once(':').map(|(_, text)| text);
                turns.push(Turn {
                    role: role.to_owned(),
                    text: text.unwrap_or_default().to_owned(),
                });
            }
            (None, Some(turn)) => {
                turn.text.push('\n');
                turn.text.push_str(line);
            }
            (None, None) => {}
        }
    }
    Ok(turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_history_apart() {
        let turns = turns("system:S\n\nT\nuser:a\nassistant:b\nuser:c: d\n").unwrap();
        let seen: Vec<_> = turns
            .iter()
            .map(|turn| (turn.role.as_str(), turn.text.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("system", "S\n\nT"),
                ("user", "a"),
                ("assistant", "b"),
                ("user", "c: d")
            ]
        );
        assert_eq!(super::turns("user:x").unwrap()[0].text, "user:x");
        assert!(super::turns("system:S\nuser:a").is_err());
    }
}
