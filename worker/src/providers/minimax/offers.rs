//! The models that the service itself lists, and the agent that answers. Source: `wire/minimax.md` section 12.3.

use serde_json::Value;

/// A list longer than this is none.
const MOST_OFFERS: usize = 64;
/// A name longer than this is none.
const MOST_NAME_BYTES: usize = 64;

/// One row of `config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// `model_id`.
    pub(super) model_id: String,
    /// `supported_variants`.
    pub(super) variants: Vec<String>,
    /// `context_limit`, in tokens.
    pub(super) context: Option<u32>,
}

/// The list in the answer of `config`; `None` where there is none that could be read.
pub(super) fn offers(body: &[u8]) -> Option<Vec<Offer>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let models = answer
        .get("models")
        .or_else(|| answer.get("data")?.get("models"))?;
    let offers = models.as_array()?.iter().filter_map(offer);
    // Taken last, so that rows that are none do not use up the bound.
    Some(offers.take(MOST_OFFERS).collect())
}

fn offer(row: &Value) -> Option<Offer> {
    // The name of the id member is inferred by the page.
    let id = ["model_id", "id", "name"]
        .iter()
        .find_map(|name| row.get(name)?.as_str())?;
    let provider = row.get("provider_id").and_then(Value::as_str);
    // The id becomes one of ours.
    let is_id = !id.is_empty()
        && id.len() <= MOST_NAME_BYTES
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    // Another provider's models are asked with another `provider_id`, which we never send.
    if !is_id || provider.is_some_and(|provider| provider != "minimax") {
        return None;
    }
    let variants = row.get("supported_variants").and_then(Value::as_array);
    let variants = variants.into_iter().flatten().filter_map(Value::as_str);
    let context = row.get("context_limit").and_then(Value::as_u64);
    Some(Offer {
        model_id: id.to_owned(),
        variants: variants.map(str::to_owned).collect(),
        context: context.and_then(|context| u32::try_from(context).ok()),
    })
}

/// The agent to open sessions with, by its number: the role `mavis`, else `chat`, else `general`, else the first.
pub(super) fn agent(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let agents = answer
        .get("agents")
        .or_else(|| answer.get("data")?.get("agents"))?
        .as_array()?;
    let name = |agent: &Value| match agent.get("name")? {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    // It becomes a part of a path.
    let is_number = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    let named: Vec<(&str, String)> = agents
        .iter()
        // Section 12.3: a role in the place of the number is a 200 without a session.
        .filter_map(|agent| {
            let role = agent.get("agent_role").and_then(Value::as_str);
            Some((role.unwrap_or_default(), name(agent).filter(is_number)?))
        })
        .collect();
    ["mavis", "chat", "general"]
        .iter()
        .find_map(|role| named.iter().find(|(known, _)| known == role))
        .or_else(|| named.first())
        .map(|(_, name)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_pages_list() {
        let body = r#"{"models":[{"provider_id":"minimax","model_id":"MiniMax-M3","supported_variants":["","thinking"],"context_limit":450000,"thinking_config":{}},
            {"id":"MiniMax-M4"},{"name":"n"},{"provider_id":"other","model_id":"x"},{"model_id":"../x"},{"model_id":5},7],"base_resp":{"status_code":0}}"#;
        let offers = offers(body.as_bytes()).unwrap();
        let ids: Vec<&str> = offers.iter().map(|it| it.model_id.as_str()).collect();
        assert_eq!(ids, ["MiniMax-M3", "MiniMax-M4", "n"]);
        assert_eq!(offers[0].variants, ["", "thinking"]);
        assert_eq!(offers[0].context, Some(450_000));
        for odd in ["", "[]", "{}", r#"{"models":5}"#] {
            assert_eq!(super::offers(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn takes_the_agent_that_the_page_says() {
        let agents = |rows: &[(&str, &str)]| {
            let rows: Vec<Value> = rows
                .iter()
                .map(|(role, name)| serde_json::json!({"agent_role": role, "name": name}))
                .collect();
            agent(serde_json::json!({"agents": rows}).to_string().as_bytes())
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(agents(&[("chat", "1"), ("mavis", "2")]), some("2"));
        assert_eq!(
            agents(&[("x", "1"), ("general", "2"), ("chat", "3")]),
            some("3")
        );
        assert_eq!(agents(&[("x", "1"), ("y", "2")]), some("1"));
        // A role used as an id opens no session.
        assert_eq!(agents(&[("mavis", "mavis"), ("x", "4")]), some("4"));
        assert_eq!(agents(&[]), None);
        assert_eq!(
            agent(br#"{"agents":[{"name":271828182845904}]}"#),
            some("271828182845904")
        );
        assert_eq!(agent(b"{}"), None);
    }
}
