//! Reading questions, field by field. Source: wire/ernie.md §4, wire/xinghuo.md §4.4.

use serde_json::{Map, Value, json};

use crate::{
    Call, Turn,
    fields::{exactly, text},
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    Full,
    Short,
}

/// A question that has the right shape.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) form: Form,
    pub(super) text: String,
    pub(super) model: String,
    /// Empty: a new one.
    pub(super) session: String,
    pub(super) parent: String,
    pub(super) deep: u64,
    pub(super) search: bool,
}

/// Upstream models, and whether they may think.
const MODELS: [(&str, bool); 6] = [
    ("EB45T", false),
    ("X1_1", true),
    ("EB50", true),
    ("EB35", false),
    ("EB50-ARENA-LOW-260110", false),
    ("EB50-ARENA-HIGH-1220", false),
];

/// How much of the prompt a session's name may be.
const NAME_CHARS: usize = 30;

pub(super) fn read(body: &Value, call: &mut Call) -> Result<Ask, String> {
    let object = body.as_object().ok_or("the body is no JSON object")?;
    let member = |name: &str| object.get(name).cloned().unwrap_or(Value::Null);
    let session = match member("sessionId") {
        Value::Null => String::new(),
        Value::String(id) => id,
        other => return Err(format!("sessionId is {other}")),
    };
    // §8: number 0 the first time, strings later.
    let parent = match member("parentChatId") {
        Value::String(id) => id,
        Value::Number(id) if id.as_u64() == Some(0) => "0".to_owned(),
        other => return Err(format!("parentChatId is {other}")),
    };
    let ask = Ask {
        form: if object.contains_key("jt") {
            Form::Full
        } else {
            Form::Short
        },
        text: text(object, "text")?,
        model: text(object, "model")?,
        session,
        parent,
        deep: member("deepThoughtStatus").as_u64().unwrap_or(0),
        search: member("webSearch").as_bool().unwrap_or(false),
    };
    if ask.text.is_empty() {
        return Err("text is empty".to_owned());
    }
    let name = text(object, "sessionName")?;
    let first: String = ask.text.chars().take(NAME_CHARS).collect();
    if !name.is_empty() && name != first {
        return Err("sessionName is neither empty nor the beginning of the prompt".to_owned());
    }
    let Some((_, thinks)) = MODELS.iter().find(|(model, _)| *model == ask.model) else {
        return Err(format!("there is no model {:?}", ask.model));
    };
    if !(ask.deep == 0 || ask.deep == 2 && *thinks) {
        return Err(format!(
            "deepThoughtStatus is {} for {}",
            ask.deep, ask.model
        ));
    }
    exactly(object, "the body", wanted(&ask, object), call)?;
    Ok(ask)
}

/// All that the form has, with what is free as it came.
fn wanted(ask: &Ask, object: &Map<String, Value>) -> Value {
    let free = |name: &str| object.get(name).cloned().unwrap_or(Value::Null);
    let mut wanted = json!({
        "sign": free("sign"), "timestamp": free("timestamp"), "deviceType": "pc", "isNewYiyan": true, "text": ask.text,
        "sessionId": free("sessionId"), "sessionName": free("sessionName"), "model": ask.model,
        "parentChatId": free("parentChatId"),
    });
    let more = match ask.form {
        Form::Full => json!({
            "jt": free("jt"), "pluginIds": "", "type": 10, "deepThoughtStatus": ask.deep, "webSearch": ask.search,
            "newAppSessionId": "", "file_ids": [], "assistantId": "", "sessionType": 0, "plugins": [], "pluginInfo": [],
            "isSlowThought": false, "isAgentSquare": false, "noMultiReply": false, "shareContChat": null,
        }),
        // §4: only to switch the thinking off.
        Form::Short if object.contains_key("deepThoughtStatus") => json!({"deepThoughtStatus": 0}),
        Form::Short => json!({}),
    };
    if let (Value::Object(wanted), Value::Object(more)) = (&mut wanted, more) {
        wanted.extend(more);
    }
    wanted
}

const ROLES: [&str; 4] = ["system:", "user:", "assistant:", "tool:"];

/// The history taken apart again: `role:content` lines and a last `assistant:`, or one message as it is.
pub(super) fn turns(text: &str) -> Result<Vec<Turn>, String> {
    let role_of = |line: &str| ROLES.iter().find(|role| line.starts_with(*role)).copied();
    let history = text
        .strip_suffix("\nassistant:")
        .filter(|history| role_of(history).is_some());
    let Some(history) = history else {
        return Ok(vec![Turn {
            role: "user".to_owned(),
            text: text.to_owned(),
        }]);
    };
    let mut turns: Vec<Turn> = Vec::new();
    for line in history.split('\n') {
        match (role_of(line), turns.last_mut()) {
            (Some(role), _) => turns.push(Turn {
                role: role.trim_end_matches(':').to_owned(),
                text: line.strip_prefix(role).unwrap_or_default().to_owned(),
            }),
            (None, Some(turn)) => {
                turn.text.push('\n');
                turn.text.push_str(line);
            }
            (None, None) => return Err("the history does not start with a role".to_owned()),
        }
    }
    let older = turns.split_last().map_or(&[][..], |(_, older)| older);
    let has_picture = |turn: &Turn| {
        let after = turn.text.split_once("![");
        after.is_some_and(|(_, after)| after.contains("]("))
    };
    if older.iter().any(has_picture) {
        return Err("the history still holds pictures".to_owned());
    }
    Ok(turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_history_apart() {
        let shown = |text: &str| -> Vec<(String, String)> {
            let turns = turns(text).unwrap().into_iter();
            turns.map(|turn| (turn.role, turn.text)).collect()
        };
        let own = |role: &str, text: &str| (role.to_owned(), text.to_owned());
        assert_eq!(shown("user:a"), [own("user", "user:a")]);
        assert_eq!(
            shown("system:S\nuser:a\nb\nassistant:c\nuser:d\nassistant:"),
            [
                own("system", "S"),
                own("user", "a\nb"),
                own("assistant", "c"),
                own("user", "d")
            ]
        );
        assert!(turns("user:![a](b)\nuser:d\nassistant:").is_err());
    }
}
