//! Reading the form of the chat call, field by field. Source: wire/xinghuo.md §4.3, §4.4.

use crate::simulate::{Call, Request, Turn, form};

/// The fields in their order, and whether a form may lack them.
const FIELDS: [(&str, Need); 10] = [
    ("fd", Need::Always),
    ("isBot", Need::Always),
    ("botId", Need::Sometimes),
    ("clientType", Need::Always),
    ("text", Need::Always),
    ("capabilities", Need::Always),
    ("chatId", Need::Always),
    ("sid", Need::Sometimes),
    ("fileUrl", Need::Sometimes),
    ("GtToken", Need::Always),
];

#[derive(Clone, Copy, PartialEq)]
enum Need {
    Always,
    Sometimes,
}

/// A question that has the right shape.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) text: String,
    pub(super) deep_think: bool,
    pub(super) window: u64,
    pub(super) sid: Option<String>,
    pub(super) links: Vec<String>,
    pub(super) gt_token: String,
}

/// Reads the question; `Err` says in a sentence what the service would call a bad form.
pub(super) fn read(request: &Request, call: &mut Call) -> Result<Ask, String> {
    let fields = fields(request, call)?;
    let field = |name: &str| {
        fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let always = |name: &str| field(name).unwrap_or_default();
    for (name, need) in FIELDS {
        if need == Need::Always && field(name).is_none() {
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
    let deep_think = match always("capabilities") {
        "" => false,
        "deep_think" => true,
        other => return Err(format!("capabilities is {other:?}")),
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
        "sid",
        "fileUrl",
    ] {
        if let Some(value) = field(name) {
            call.note(name, value);
        }
    }
    Ok(Ask {
        text: always("text").to_owned(),
        deep_think,
        window,
        sid: field("sid").map(ToOwned::to_owned),
        links: field("fileUrl")
            .map(|links| links.split(',').map(ToOwned::to_owned).collect())
            .unwrap_or_default(),
        gt_token: always("GtToken").to_owned(),
    })
}

/// Names and values, in the order of §4.3 and each at most once.
fn fields(request: &Request, call: &mut Call) -> Result<Vec<(String, String)>, String> {
    let parts = form::read(&request.header("content-type"), &request.body)?;
    let mut fields = Vec::new();
    let mut last = None;
    for part in parts {
        if part.filename.is_some() || part.content_type.is_some() {
            return Err(format!(
                "the field {} has more than Content-Disposition with a name",
                part.name
            ));
        }
        let Some(at) = FIELDS.iter().position(|(name, _)| *name == part.name) else {
            call.violate(format!("the form has the unknown field {:?}", part.name));
            continue;
        };
        if last >= Some(at) {
            return Err(format!(
                "the field {} comes twice or out of order",
                part.name
            ));
        }
        last = Some(at);
        let value = String::from_utf8(part.data.to_vec())
            .map_err(|_| format!("{} is not UTF-8", part.name))?;
        fields.push((part.name, value));
    }
    Ok(fields)
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
