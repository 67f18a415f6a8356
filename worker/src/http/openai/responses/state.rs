//! What goes on from a response that is kept (`kept`): its items are put in front of the request's own, in the place of
//! `previous_response_id`, and others in that of each `item_reference`. Source: doors.md section 4.
//!
//! ```text
//!   body ── recall ──► the items of the response before, and its own ──► body::read, as if all had been sent
//!                                                       └── keep: these, and the response, when it is told
//! ```

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, value::RawValue};

use super::kept::{Keeper, Kept, Output, Reference, find};
use crate::{
    app::App,
    chat::{Invalid, aside::aside},
    http::error::ApiError,
};

/// Most items of an input that refers to others: each is looked for.
const MOST_REFERRING: usize = 1000;

/// What becomes of a response once it is told, and what its request goes on from.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The response that it goes on from.
    pub(super) previous: Option<String>,
    /// Where it is kept; `None`: nowhere.
    pub(super) keeper: Option<Keeper>,
}

/// The members that matter here, and all of them as they are written.
struct Body<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Body<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> de::Visitor<'de> for Members {
            type Value = Body<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Body<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Body(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Body<'a> {
    /// The last one counts, as for every reader of JSON here.
    fn member(&self, name: &str) -> Option<&'a RawValue> {
        let mut members = self.0.iter().rev();
        members.find(|(known, _)| known == name).map(|(_, it)| *it)
    }

    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.member(name)?.get()).ok()
    }

    /// Whether the response is to be kept: it is, unless the caller says otherwise.
    fn is_kept(&self) -> bool {
        let store = self.member("store").map(RawValue::get);
        !matches!(store, Some("false"))
    }

    /// The items of `input`, with a comma between them; `None` where it is none.
    fn input(&self) -> Option<String> {
        let raw = self.member("input")?.get();
        if raw.starts_with('"') {
            return Some(format!(
                r#"{{"type":"message","role":"user","content":{raw}}}"#
            ));
        }
        let inside = raw.strip_prefix('[')?.strip_suffix(']')?;
        Some(inside.trim().to_owned())
    }

    /// The same with other items, and without what they were had by.
    fn with_input(&self, items: &str) -> String {
        let mut written = String::from("{");
        for (name, value) in &self.0 {
            if name == "input" || name == "previous_response_id" {
                continue;
            }
            written.push_str(&Value::from(&**name).to_string());
            written.extend([":", value.get(), ","]);
        }
        written.extend(["\"input\":[", items, "]}"]);
        written
    }
}

/// Puts what came before in front of a request's input, and says what becomes of its response. A body that says nothing of
/// either comes back as it is; one that is no JSON is for its reader to refuse.
///
/// # Errors
/// 400 `previous_response_not_found`; 503 where the store does not answer.
pub(super) async fn recall(app: &App, owner: &str, body: Bytes) -> Result<(Bytes, Plan), ApiError> {
    if app.settings.http.responses_ttl.is_zero() {
        return Ok((body, Plan::default()));
    }
    let length = body.len();
    let whole = body.clone();
    let looked = aside(length, move || {
        let members: Body<'_> = serde_json::from_slice(&whole).ok()?;
        let references = members.member("input").is_some_and(refers);
        Some((
            members.text("previous_response_id"),
            members.is_kept(),
            members.input()?,
            references,
        ))
    });
    let Some((previous, is_kept, input, refers)) = looked.await else {
        return Ok((body, Plan::default()));
    };
    let mut items = String::new();
    if let Some(id) = &previous {
        let found = find(app, owner, id).await?;
        let found = found.ok_or_else(|| no_previous(id))?;
        let kept: Kept<'_> = serde_json::from_slice(&found).map_err(|_| no_previous(id))?;
        let response: Output<'_> =
            serde_json::from_str(kept.response.get()).map_err(|_| no_previous(id))?;
        join(
            &mut items,
            kept.input.iter().chain(&response.output).copied(),
        );
    }
    if refers {
        refer(app, owner, &mut items, &input).await?;
    } else {
        add(&mut items, &input);
    }
    let body = if previous.is_some() || refers {
        let (whole, items) = (body, items.clone());
        let merged = aside(length + items.len(), move || {
            let members: Option<Body<'_>> = serde_json::from_slice(&whole).ok();
            members.map(|members| members.with_input(&items))
        });
        // It was read a moment ago.
        merged.await.unwrap_or_default().into()
    } else {
        body
    };
    let keeper = if is_kept {
        Keeper::new(app, owner, items)
    } else {
        None
    };
    Ok((body, Plan { previous, keeper }))
}

fn add(items: &mut String, more: &str) {
    if !items.is_empty() && !more.is_empty() {
        items.push(',');
    }
    items.push_str(more);
}

fn join<'a>(items: &mut String, more: impl Iterator<Item = &'a RawValue>) {
    for item in more {
        add(items, item.get());
    }
}

/// Whether some item stands for another one.
fn refers(input: &RawValue) -> bool {
    let text = input.get();
    // The words first: most inputs have neither, and are not read twice.
    text.contains("item_reference")
        || (text.contains("\"id\"")
            && serde_json::from_str::<Vec<Reference<'_>>>(text)
                .is_ok_and(|items| items.iter().any(Reference::is_one)))
}

/// Adds the items of `input`. What stands for an item of a response that is kept becomes that item; one of the responses
/// before stands there already.
async fn refer(app: &App, owner: &str, items: &mut String, input: &str) -> Result<(), ApiError> {
    let (before, list) = (format!("[{items}]"), format!("[{input}]"));
    let before: Vec<Reference<'_>> = serde_json::from_str(&before).unwrap_or_default();
    let Ok(new) = serde_json::from_str::<Vec<&RawValue>>(&list) else {
        // For the reader of the body to refuse.
        add(items, input);
        return Ok(());
    };
    if new.len() > MOST_REFERRING {
        let why = format!("An 'input' that refers to items has at most {MOST_REFERRING} of them.");
        return Err(Invalid::field("input", why).into());
    }
    let looks = new.iter().map(|item| {
        let reference: Option<Reference<'_>> = serde_json::from_str(item.get()).ok();
        let reference = reference.filter(Reference::is_one);
        let id = reference.map(|it| it.id.unwrap_or_default().into_owned());
        let code = code(id.as_deref().unwrap_or_default(), "item_not_found");
        let is_there = before
            .iter()
            .any(|it| it.id.is_some() && it.id.as_deref() == id.as_deref());
        async move {
            let found = match id {
                Some(_) if is_there => Some(String::new()),
                Some(id) => {
                    let found = find(app, owner, &id).await?;
                    found.and_then(|item| String::from_utf8(item).ok())
                }
                None => Some(item.get().to_owned()),
            };
            Ok::<_, ApiError>((found, code))
        }
    });
    let found = join_all(looks).await;
    for (at, item) in found.into_iter().enumerate() {
        let (item, code) = item?;
        let Some(item) = item else {
            let why = "The item that this 'item_reference' stands for is not kept here, or is not yours: send the item itself.";
            return Err(Invalid {
                code: Some(code),
                ..Invalid::field(&format!("input[{at}]"), why)
            }
            .into());
        };
        add(items, &item);
    }
    Ok(())
}

fn no_previous(id: &str) -> ApiError {
    let why = "The response before is not kept here: it never was, or is no longer, or is not yours. Send the whole conversation in 'input'.";
    Invalid {
        code: Some(code(id, "previous_response_not_found")),
        ..Invalid::field("previous_response_id", why)
    }
    .into()
}

/// What was never made here cannot be found, whoever waits: then the code is that of a gateway without a memory.
fn code(id: &str, not_found: &'static str) -> &'static str {
    let is_own = id.rsplit_once('_').is_some_and(|(_, digits)| {
        digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    });
    if is_own {
        not_found
    } else {
        "unsupported_parameter"
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
