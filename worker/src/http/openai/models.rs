//! `GET /v1/models` and `/v1/models/{id}`, in OpenAI's shape and, for callers of the Anthropic dialect, in theirs.
//! Source: conformance section 5.

use std::{borrow::Cow, collections::BTreeSet, ops::Range};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Query},
};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::{
    app::App,
    chat::{Field, Invalid, request::MOST_MODEL_BYTES},
    http::{auth::Principal, dialect::Dialect, error::ApiError, openai::fields::FIELDS},
    impossible::OrImpossible as _,
    providers::registry::Candidate,
};

/// The paging of Anthropic's listing; everything fits on one page unless a limit is set.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// What is no number is none: the whole list answers any question.
    #[serde(default, deserialize_with = "number")]
    limit: Option<usize>,
    after_id: Option<String>,
    before_id: Option<String>,
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    Ok(Cow::<'_, str>::deserialize(deserializer)?
        .trim()
        .parse()
        .ok())
}

/// Lists the models of all configured providers, and the aliases. `hive` says which provider answers, what it can
/// do and what becomes of each request field.
///
/// # Errors
/// 401.
pub async fn list(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    page: Query<Page>,
) -> Result<HttpResponse, ApiError> {
    let mut entries = entries(&app);
    // A key that may use some models only is not told of the others, else their names would be asked for.
    entries.retain(|entry| caller.expect_model(&entry.id, &app.registry).is_ok());
    // Only Anthropic's listing has pages, so who sets a limit means that one (conformance M3).
    if Dialect::of(&http) == Dialect::Anthropic || page.limit.is_some() {
        return Ok(HttpResponse::Ok().json(anthropic_list(&entries, &page)));
    }
    Ok(HttpResponse::Ok().json(json!({
        "object": "list", "data": entries.iter().map(Entry::to_json).collect::<Vec<_>>(),
        // What Codex reads; to everybody else it is a member like any other.
        "models": entries.iter().map(Entry::to_codex).collect::<Vec<_>>(),
    })))
}

/// One model; also ids that are accepted but not listed.
///
/// # Errors
/// 400 for a name that is longer than any model's; 401; 404 `model_not_found`.
pub async fn one(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    if id.len() > MOST_MODEL_BYTES {
        return Err(Invalid::too_long_a_model().into());
    }
    caller.expect_model(&id, &app.registry)?;
    let listed = entries(&app).into_iter().find(|entry| entry.id == *id);
    let entry = listed.or_else(|| {
        let candidate = app.registry.resolve(&id)?.candidates.into_iter().next()?;
        Some(Entry {
            id: id.clone(),
            candidate,
        })
    });
    let entry = entry.ok_or_else(|| ApiError::model_not_found(&id))?;
    Ok(HttpResponse::Ok().json(match Dialect::of(&http) {
        Dialect::Anthropic => entry.to_anthropic(),
        Dialect::OpenAi | Dialect::Responses => entry.to_json(),
    }))
}

struct Entry {
    id: String,
    candidate: Candidate,
}

/// Every id once: aliases first, then the models of the configured providers in the registry's order.
fn entries(app: &App) -> Vec<Entry> {
    let mut known = BTreeSet::new();
    let mut entries = Vec::new();
    let mut add = |id: &str, candidate: Candidate| {
        if known.insert(id.to_owned()) {
            entries.push(Entry {
                id: id.to_owned(),
                candidate,
            });
        }
    };
    for (alias, route) in app.registry.aliases() {
        let configured = route
            .candidates
            .iter()
            // The one that would answer: the first of the route that has accounts, as what it can do is what is told.
            .find(|candidate| candidate.provider.accounts().is_configured());
        if let Some(candidate) = configured {
            add(alias, candidate.clone());
        }
    }
    for provider in app
        .registry
        .providers()
        .iter()
        .filter(|provider| provider.accounts().is_configured())
    {
        for model in provider.models() {
            add(&model.id, app.registry.own(provider, model.clone()));
        }
        // After the listed ones, whose rows say more.
        for model in provider.discovered() {
            add(&model.id.clone(), app.registry.own(provider, model));
        }
    }
    entries
}

impl Entry {
    /// As little as Codex needs to know how long a conversation may be. What is left out it fills with its defaults, and
    /// its own prompt is one of these (doors.md section 10).
    fn to_codex(&self) -> Value {
        let mut entry = json!({"slug": self.id, "display_name": self.id});
        if let Some(context) = self.candidate.model.context {
            entry["context_window"] = context.into();
        }
        entry
    }

    fn to_json(&self) -> Value {
        let support: serde_json::Map<_, _> = FIELDS
            .iter()
            .map(|(name, field)| ((*name).to_owned(), json!(self.candidate.support(*field))))
            .collect();
        json!({
            "id": self.id, "object": "model", "created": self.candidate.model.created, "owned_by": self.candidate.provider.name(),
            "hive": {
                "provider": self.candidate.provider.name(), "model": self.candidate.model.id, "available": self.candidate.provider.accounts().is_usable(),
                "context_window": self.candidate.model.context, "vision": self.candidate.model.vision, "files": self.candidate.model.files,
                "thinking": self.candidate.model.thinking, "search": self.candidate.model.search,
                "tools": self.candidate.origin(Field::Tools), "formats": self.candidate.origin(Field::Format), "fields": support,
                "makes": self.candidate.model.makes, "endpoints": self.endpoints(),
            },
        })
    }

    /// Where it can be asked, as paths.
    fn endpoints(&self) -> Vec<&'static str> {
        let (provider, model) = (&self.candidate.provider, &self.candidate.model);
        // Every model answers chats; one that draws answers with a picture.
        let mut endpoints = vec!["/v1/chat/completions", "/v1/responses"];
        if let Some(draws) = provider.images().and_then(|it| it.draws(model)) {
            endpoints.push("/v1/images/generations");
            if draws.inputs > 0 {
                endpoints.push("/v1/images/edits");
            }
        }
        if provider
            .videos()
            .is_some_and(|it| it.films(model).is_some())
        {
            endpoints.push("/v1/videos");
        }
        if provider.speech().is_some_and(|it| it.speaks(model)) {
            endpoints.push("/v1/audio/speech");
        }
        endpoints
    }

    fn to_anthropic(&self) -> Value {
        json!({
            "type": "model", "id": self.id, "display_name": self.id, "created_at": rfc3339(self.candidate.model.created),
            "lifecycle": "active", "max_input_tokens": self.candidate.model.context, "max_tokens": self.candidate.model.context,
            // Who answers, whatever the owner of the gateway calls it.
            "description": format!("{}/{}", self.candidate.provider.name(), self.candidate.model.id),
        })
    }
}

fn anthropic_list(entries: &[Entry], page: &Page) -> Value {
    let ids = entries.iter().map(|entry| entry.id.as_str());
    let shown = page.range(ids.collect::<Vec<_>>().as_slice());
    let has_more = if page.is_backwards() {
        shown.start > 0
    } else {
        shown.end < entries.len()
    };
    let shown = entries
        .get(shown)
        .or_impossible("a page lies within the list");
    json!({
        "data": shown.iter().map(Entry::to_anthropic).collect::<Vec<_>>(),
        "has_more": has_more,
        "first_id": shown.first().map(|entry| &entry.id), "last_id": shown.last().map(|entry| &entry.id),
    })
}

impl Page {
    /// Whether it is the page before an id.
    fn is_backwards(&self) -> bool {
        self.before_id.is_some() && self.after_id.is_none()
    }

    /// Which of `ids` are on the page. An id that is not among them is passed over.
    fn range(&self, ids: &[&str]) -> Range<usize> {
        let place =
            |id: &Option<String>| ids.iter().position(|known| Some(*known) == id.as_deref());
        // At least one, or a client that pages would ask for ever; the most is the reference's.
        let most = self.limit.unwrap_or(ids.len()).clamp(1, 1000);
        if self.is_backwards() {
            let end = place(&self.before_id).unwrap_or(ids.len());
            return end.saturating_sub(most)..end;
        }
        let start = place(&self.after_id).map_or(0, |at| at + 1);
        // Not before the start: two ids in the wrong order make an empty page, not a panic.
        let end = place(&self.before_id).unwrap_or(ids.len()).max(start);
        start..end.min(start + most)
    }
}

/// Seconds since the epoch as `YYYY-MM-DDThh:mm:ssZ`; days to date after Howard Hinnant's `civil_from_days`.
fn rfc3339(unix: i64) -> String {
    let (days, seconds) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let (day, month) = (
        day_of_year - (153 * shifted_month + 2) / 5 + 1,
        if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        },
    );
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_lies_before_or_behind_an_id() {
        let page = |limit, after: Option<&str>, before: Option<&str>| {
            let page = Page {
                limit,
                after_id: after.map(str::to_owned),
                before_id: before.map(str::to_owned),
            };
            page.range(&["a", "b", "c", "d"])
        };
        assert_eq!(page(None, None, None), 0..4);
        assert_eq!(page(Some(2), None, None), 0..2);
        assert_eq!(page(Some(0), None, None), 0..1);
        assert_eq!(page(Some(2), Some("b"), None), 2..4);
        assert_eq!(page(Some(9), Some("d"), None), 4..4);
        assert_eq!(page(Some(2), None, Some("d")), 1..3);
        assert_eq!(page(None, None, Some("a")), 0..0);
        assert_eq!(page(None, Some("a"), Some("d")), 1..3);
        assert_eq!(page(None, Some("d"), Some("a")), 4..4);
        assert_eq!(page(Some(1), Some("nobody"), Some("nobody")), 0..1);
    }

    #[test]
    fn writes_dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_709_210_096), "2024-02-29T12:34:56Z");
        assert_eq!(rfc3339(1_767_225_599), "2025-12-31T23:59:59Z");
    }
}
