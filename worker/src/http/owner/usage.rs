//! `GET /v1/usage`: who has used how much of what. Every caller sees its own; the master key sees all. Never content.

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Query},
};
use serde::Deserialize;
use serde_json::json;

use super::rows::{By, as_csv, as_json, grouped};
use crate::{
    app::App,
    chat::Invalid,
    http::{auth::Principal, error::ApiError},
    store::{UsageLine, engine::MS_AN_HOUR, now_ms},
};

const SECONDS_AN_HOUR: u64 = 3600;
/// What is told where no time is asked for.
const USUAL_HOURS: u64 = 30 * 24;
/// Most single requests of one answer.
const MOST_LINES: usize = 1000;

/// What is asked. Times are Unix seconds; usage is kept by the hour, so they are rounded to one: down at the start, up at the end.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    from: Option<u64>,
    /// Single requests only: where the page before has said that this one begins.
    from_ms: Option<u64>,
    to: Option<u64>,
    group_by: Option<String>,
    key: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    format: Option<String>,
    limit: Option<usize>,
}

impl Asked {
    /// The key that is asked about; a caller that is not the master may ask about its own alone.
    fn key<'a>(&'a self, caller: &'a Principal) -> Result<Option<&'a str>, ApiError> {
        if caller.is_master() {
            return Ok(self.key.as_deref());
        }
        // Another's usage is not to be had, not even by guessing a name.
        if self.key.as_deref().is_some_and(|key| key != &*caller.id) {
            return Err(ApiError::only_for_the_master());
        }
        Ok(Some(&caller.id))
    }
}

/// Sums.
pub(super) async fn sums(
    caller: Principal,
    app: Data<App>,
    asked: Query<Asked>,
) -> Result<HttpResponse, ApiError> {
    let key = asked.key(&caller)?;
    let by = By::list(asked.group_by.as_deref().unwrap_or_default())?;
    let is_csv = match asked.format.as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(Invalid::field("format", "format is json or csv").into()),
    };
    let store = app.store.at_leisure();
    // What this worker has just counted belongs to the answer; the others' comes within seconds.
    app.ledger.flush(&store).await;
    let this_hour = now_ms() / MS_AN_HOUR;
    let to = asked
        .to
        .map_or(this_hour + 1, |to| to.div_ceil(SECONDS_AN_HOUR));
    let usual = to.saturating_sub(USUAL_HOURS);
    let from = asked.from.map_or(usual, |from| from / SECONDS_AN_HOUR);
    let mut rows = store
        .usage(from, to)
        .await
        .map_err(|error| ApiError::store(&error))?;
    rows.retain(|(at, _)| {
        key.is_none_or(|key| at.key == key)
            && asked.model.as_ref().is_none_or(|model| at.model == *model)
            && asked
                .provider
                .as_ref()
                .is_none_or(|provider| at.provider == *provider)
    });
    let groups = grouped(rows, &by);
    if is_csv {
        return Ok(HttpResponse::Ok()
            .content_type("text/csv; charset=utf-8")
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(as_csv(groups, &by)));
    }
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({
            "object": "list", "from": from.saturating_mul(SECONDS_AN_HOUR), "to": to.saturating_mul(SECONDS_AN_HOUR), "data": as_json(groups, &by),
        })))
}

/// Single requests of the last seven days, the oldest first; `next_from_ms`, where there is one, is the `from_ms` of the next page.
pub(super) async fn requests(
    caller: Principal,
    app: Data<App>,
    asked: Query<Asked>,
) -> Result<HttpResponse, ApiError> {
    let key = asked.key(&caller)?;
    let store = app.store.at_leisure();
    app.ledger.flush(&store).await;
    let from = asked.from.unwrap_or(0).saturating_mul(1000);
    let from = asked.from_ms.unwrap_or(from);
    // The end is exclusive, and this moment belongs to it.
    let now = now_ms() + 1;
    let to = asked.to.map_or(now, |to| to.saturating_mul(1000));
    let limit = asked.limit.unwrap_or(100).clamp(1, MOST_LINES);
    let mut most = limit;
    let (mut lines, next) = loop {
        // One more than wanted tells whether there are more.
        let found = store
            .lines(from, to, most + 1)
            .await
            .map_err(|error| ApiError::store(&error))?;
        match page(found, most) {
            Some(page) => break page,
            // All of one moment, which must not be torn: the next page begins with a moment.
            None => most *= 2,
        }
    };
    let is = |asked: Option<&str>, found: &str| asked.is_none_or(|asked| asked == found);
    lines.retain(|line| {
        is(key, &line.key)
            && is(asked.model.as_deref(), &line.model)
            && is(asked.provider.as_deref(), &line.provider)
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({"object": "list", "data": lines, "next_from_ms": next})))
}

/// Lines up to a whole moment, at most so many, and the moment at which the next page begins; `None` where one moment has more.
fn page(mut lines: Vec<UsageLine>, most: usize) -> Option<(Vec<UsageLine>, Option<u64>)> {
    let Some(next) = lines.get(most).map(|line| line.at_ms) else {
        return Some((lines, None));
    };
    lines.retain(|line| line.at_ms < next);
    (!lines.is_empty()).then_some((lines, Some(next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_between_moments() {
        let lines = |moments: &[u64]| -> Vec<UsageLine> {
            let line = |at_ms: &u64| UsageLine {
                request: String::new(),
                at_ms: *at_ms,
                key: "k".into(),
                provider: "p".into(),
                model: "m".into(),
                outcome: "ok".into(),
                prompt_tokens: 0,
                completion_tokens: 0,
                reasoning_tokens: 0,
                first_ms: None,
            };
            moments.iter().map(line).collect()
        };
        assert_eq!(page(lines(&[1, 2]), 2), Some((lines(&[1, 2]), None)));
        assert_eq!(page(lines(&[1, 2, 3]), 2), Some((lines(&[1, 2]), Some(3))));
        assert_eq!(page(lines(&[1, 2, 2]), 2), Some((lines(&[1]), Some(2))));
        assert_eq!(page(lines(&[2, 2, 2]), 2), None);
    }
}
