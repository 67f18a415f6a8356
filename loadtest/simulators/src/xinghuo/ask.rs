//! Reading the form of the chat call, field by field. Source: wire/xinghuo.md §4.3, §4.4.

use serde_json::{Value, json};

use crate::{Call, Request, Turn, form};

/// The fields of the classic form in their order.
const CLASSIC: &[&str] = &[
    "fd",
    "isBot",
    "botId",
    "clientType",
    "text",
    "capabilities",
    "chatId",
    "sid",
    "fileUrl",
    "GtToken",
];

/// The fields of the form of spark.xfyun.cn in their order. Where `fileUrl` stands is not known, so it is in neither place
/// out of order; GtToken is no longer part of it.
const SPARK: &[&str] = &[
    "fd",
    "isBot",
    "botId",
    "clientType",
    "text",
    "capabilities",
    "chatId",
    "options",
    "sid",
    "firstChat",
];

/// Which of the two forms a question came in; `options` tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    Classic,
    Spark,
}

impl Form {
    /// The name of the generation whose form it is.
    pub(super) fn generation(self) -> &'static str {
        match self {
            Self::Classic => super::CLASSIC,
            Self::Spark => super::SPARK,
        }
    }

    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Classic => CLASSIC,
            Self::Spark => SPARK,
        }
    }

    /// The fields that a form may not lack.
    fn required(self) -> &'static [&'static str] {
        match self {
            // Whether GtToken may be missing is for the generation to say.
            Self::Classic => &[
                "fd",
                "isBot",
                "clientType",
                "text",
                "capabilities",
                "chatId",
            ],
            Self::Spark => &["fd", "isBot", "clientType", "text", "chatId", "options"],
        }
    }
}

/// A question that has the right shape.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) form: Form,
    pub(super) text: String,
    pub(super) thinks: bool,
    pub(super) window: u64,
    pub(super) sid: Option<String>,
    pub(super) links: Vec<String>,
    pub(super) gt_token: Option<String>,
}

/// Reads the question; `Err` says in a sentence what the service would call a bad form.
pub(super) fn read(request: &Request, call: &mut Call) -> Result<Ask, String> {
    let (form, fields) = fields(request, call)?;
    let field = |name: &str| {
        fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let always = |name: &str| field(name).unwrap_or_default();
    for name in form.required() {
        if field(name).is_none() {
            return Err(format!("the form has no field {name}"));
        }
    }
    if always("fd").len() != 6 || !always("fd").chars().all(|c| c.is_ascii_digit()) {
        return Err(format!("fd is {:?}, not six digits", always("fd")));
    }
    match (always("isBot"), field("botId")) {
        ("0", None) => {}
        ("1", Some(bot)) if bot.parse::<u64>().is_ok() => {}
        (is_bot, bot) => return Err(format!("isBot is {is_bot:?} with botId {bot:?}")),
    }
    // "1" is ours; the others were seen, and a server must accept them all (§1).
    match always("clientType") {
        "1" => {}
        "" | "2" | "11" => call.violate(format!(
            "clientType is {:?}, not \"1\"",
            always("clientType")
        )),
        other => return Err(format!("clientType is {other:?}")),
    }
    let deep_think = match field("capabilities") {
        None | Some("") => false,
        Some("deep_think") => true,
        Some(other) => return Err(format!("capabilities is {other:?}")),
    };
    let thinks = match form {
        Form::Classic => deep_think,
        Form::Spark => {
            spark(field("sid"), field("firstChat"))?;
            options(always("options"), call)? || deep_think
        }
    };
    let window = always("chatId")
        .parse()
        .map_err(|_| format!("chatId {:?} is no number", always("chatId")))?;
    if always("text").is_empty() {
        return Err("text is empty".to_owned());
    }
    for name in [
        "fd",
        "isBot",
        "botId",
        "clientType",
        "capabilities",
        "chatId",
        "options",
        "sid",
        "firstChat",
        "fileUrl",
    ] {
        if let Some(value) = field(name) {
            call.note(name, value);
        }
    }
    call.note("generation", form.generation());
    Ok(Ask {
        form,
        text: always("text").to_owned(),
        thinks,
        window,
        sid: field("sid").map(ToOwned::to_owned),
        links: field("fileUrl")
            .map(|links| links.split(',').map(ToOwned::to_owned).collect())
            .unwrap_or_default(),
        gt_token: field("GtToken").map(ToOwned::to_owned),
    })
}

/// §4.3: `sid` when continuing, otherwise and instead of it `firstChat`.
fn spark(sid: Option<&str>, first_chat: Option<&str>) -> Result<(), String> {
    match (sid, first_chat) {
        (None, Some("true")) | (Some(_), None) => Ok(()),
        (sid, first_chat) => Err(format!("firstChat is {first_chat:?} with sid {sid:?}")),
    }
}

/// Whether the thought pattern of `options` may bring thoughts.
fn options(options: &str, call: &mut Call) -> Result<bool, String> {
    let options: Value =
        serde_json::from_str(options).map_err(|_| format!("options {options:?} is no JSON"))?;
    let auto = match options
        .pointer("/chatOption/thinkPattern")
        .and_then(Value::as_str)
    {
        Some("fast_think") => false,
        Some("auto") => true,
        other => return Err(format!("thinkPattern is {other:?}")),
    };
    let pattern = if auto { "auto" } else { "fast_think" };
    // One client of 2026-04 left the route out.
    if options != json!({"chatOption": {"thinkPattern": pattern, "routeVersion": "legacy"}}) {
        call.violate("options is not thinkPattern and routeVersion legacy alone");
    }
    Ok(auto)
}

/// Names and values, in the order of §4.3 and each at most once.
fn fields(request: &Request, call: &mut Call) -> Result<(Form, Vec<(String, String)>), String> {
    let parts = form::read(&request.header("content-type"), &request.body)?;
    let form = if parts.iter().any(|part| part.name == "options") {
        Form::Spark
    } else {
        Form::Classic
    };
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut last = None;
    for part in parts {
        if part.filename.is_some() || part.content_type.is_some() {
            return Err(format!(
                "the field {} has more than Content-Disposition with a name",
                part.name
            ));
        }
        let twice = || fields.iter().any(|(name, _)| *name == part.name);
        match form.fields().iter().position(|name| *name == part.name) {
            Some(at) if last >= Some(at) => {
                return Err(format!(
                    "the field {} comes twice or out of order",
                    part.name
                ));
            }
            Some(at) => last = Some(at),
            None if part.name == "fileUrl" && !twice() => {}
            None => {
                call.violate(format!(
                    "the {} form has the unknown field {:?}",
                    form.generation(),
                    part.name
                ));
                continue;
            }
        }
        let value = String::from_utf8(part.data.to_vec())
            .map_err(|_| format!("{} is not UTF-8", part.name))?;
        fields.push((part.name, value));
    }
    Ok((form, fields))
}

const ROLES: [&str; 4] = ["system:", "user:", "assistant:", "tool:"];
const OPEN: &str = "\nassistant:";

/// Takes the flattened history apart again (§4.4). `Err` says what is wrong with it.
pub(super) fn turns(text: &str) -> Result<Vec<Turn>, String> {
    let starts_turn = |line: &str| ROLES.iter().find(|role| line.starts_with(*role));
    let Some(history) = text
        .strip_suffix(OPEN)
        .filter(|history| starts_turn(history).is_some())
    else {
        return Ok(vec![Turn {
            role: "user".to_owned(),
            text: text.to_owned(),
        }]);
    };
    let mut turns: Vec<Turn> = Vec::new();
    for line in history.split('\n') {
        match (starts_turn(line), turns.last_mut()) {
            (Some(role), _) => {
                let said = line.strip_prefix(role).unwrap_or_default();
                turns.push(Turn {
                    role: role.trim_end_matches(':').to_owned(),
                    text: said.to_owned(),
                });
            }
            (None, Some(turn)) => {
                turn.text.push('\n');
                turn.text.push_str(line);
            }
            (None, None) => return Err("the history does not start with a role".to_owned()),
        }
    }
    let older = turns
        .split_last()
        .map(|(_, older)| older)
        .unwrap_or_default();
    let picture = |turn: &Turn| {
        turn.text
            .split_once("![")
            .is_some_and(|(_, rest)| rest.contains("]("))
    };
    if older.iter().any(picture) {
        return Err("the history still holds picture markdown".to_owned());
    }
    Ok(turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_history_apart() {
        let turns = turns("system:S\nuser:a\nb\n\nassistant:b\nuser:c\n\nassistant:").unwrap();
        let shown: Vec<_> = turns
            .iter()
            .map(|turn| (turn.role.as_str(), turn.text.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                ("system", "S"),
                ("user", "a\nb\n"),
                ("assistant", "b"),
                ("user", "c\n")
            ]
        );
    }

    #[test]
    fn one_message_stays_as_it_is() {
        assert_eq!(turns("user:a").unwrap()[0].text, "user:a");
        assert_eq!(turns("hello\nassistant:").unwrap().len(), 1);
    }

    #[test]
    fn refuses_pictures_in_the_history() {
        assert!(turns("user:![x](http://y)\nuser:b\nassistant:").is_err());
        assert!(turns("user:a\nuser:![x](http://y)\nassistant:").is_ok());
    }
}
