//! An answer that was given before, in the place of one that would be asked for anew ([`crate::answers`]).

use std::{borrow::Cow, sync::Arc};

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderMap},
};

use crate::{
    answers::{Answer, Answers, Asker, PROVIDER, Recorder, may_repeat},
    app::App,
    chat::{ChatRequest, aside::aside},
    http::auth::Principal,
    metrics::METRICS,
    providers::{Listener, Route, Run, Served},
};

/// What is known of a question's answer. Empty where nothing is kept, or where the question is one that is always asked.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// What `X-Hive-Cache` says.
    pub(super) result: Option<&'static str>,
    /// The answer that is given again.
    pub(super) found: Option<Arc<Answer>>,
    /// Where the new one is to be kept, and under which key.
    to_keep: Option<(Arc<Answers>, String)>,
}

impl Again {
    /// Looks for an answer; the store is waited for for 50 ms at most.
    pub(super) async fn look(
        http: &HttpRequest,
        caller: &Principal,
        app: &App,
        request: &Arc<ChatRequest>,
        more: &[Arc<ChatRequest>],
        route: &Route,
    ) -> Self {
        if !app.answers.are_kept() || !more.is_empty() || !may_repeat(request) {
            return Self::default();
        }
        let wish = Wish::of(http.headers());
        let mut again = Self {
            result: Some("miss"),
            ..Self::default()
        };
        if wish != Wish::Nothing {
            METRICS.cache_total.with_label_values(&["bypass"]).inc();
        }
        if wish == Wish::NotKept {
            return again;
        }
        let asker = Asker::new(&app.settings, &caller.id, request, route);
        let shared = Arc::clone(request);
        let key = aside(request.bytes, move || asker.key(&shared)).await;
        if wish == Wish::Nothing {
            again.found = app.answers.find(&key).await;
            if again.found.is_some() {
                again.result = Some("hit");
            }
            METRICS
                .cache_total
                .with_label_values(&[again.result.unwrap_or_default()])
                .inc();
        }
        if again.found.is_none() {
            again.to_keep = Some((Arc::clone(&app.answers), key));
        }
        again
    }

    /// The run that says it again.
    pub(super) fn run(&self) -> Option<Run> {
        let answer = self.found.as_ref()?;
        let served = Served {
            provider: Some(PROVIDER.into()),
            ..answer.given_by()
        };
        Some(Run::again(answer.events(), served))
    }

    /// Who hears the new answer.
    pub(super) fn recorder(&self) -> Option<Box<dyn Listener>> {
        let (answers, key) = self.to_keep.clone()?;
        Some(Box::new(Recorder::new(answers, key)))
    }

    /// Who has given the answer, now or before.
    pub(super) fn given_by<'a>(&self, now: &'a Served) -> Cow<'a, Served> {
        let before = self.found.as_ref().map(|answer| answer.given_by());
        before.map_or(Cow::Borrowed(now), Cow::Owned)
    }
}

/// What the caller wants of answers that were given before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// Nothing is said.
    Nothing,
    /// A new answer, which may be kept.
    New,
    /// A new answer, of which nothing is kept.
    NotKept,
}

impl Wish {
    /// `Cache-Control` (RFC 9111 section 5.2.1), and its older form.
    fn of(headers: &HeaderMap) -> Self {
        let words = |name| {
            let values = headers.get_all(name).filter_map(|it| it.to_str().ok());
            values.flat_map(|value| value.split(',').map(str::trim))
        };
        let says =
            |word: &str| words(header::CACHE_CONTROL).any(|it| it.eq_ignore_ascii_case(word));
        if says("no-store") {
            Self::NotKept
        } else if says("no-cache")
            || says("max-age=0")
            || words(header::PRAGMA).any(|it| it.eq_ignore_ascii_case("no-cache"))
        {
            Self::New
        } else {
            Self::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_say_what_they_want() {
        for (name, value, expected) in [
            (header::ACCEPT, "no-store", Wish::Nothing),
            (header::CACHE_CONTROL, "max-age=60", Wish::Nothing),
            (header::CACHE_CONTROL, "No-Cache", Wish::New),
            (header::CACHE_CONTROL, "private, max-age=0", Wish::New),
            (header::PRAGMA, "no-cache", Wish::New),
            (header::CACHE_CONTROL, "no-cache, no-store", Wish::NotKept),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(name.clone(), value.parse().unwrap());
            assert_eq!(Wish::of(&headers), expected, "{name}: {value}");
        }
    }
}
