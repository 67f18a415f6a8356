//! What the worker itself says of the variables: its real settings and every provider's real checks are run on them.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::{
    doctor::{
        finding::{Finding, Rule, Severity},
        setup::Setup,
    },
    providers::Registry,
    settings::{Settings, Vars},
};

const BAD_SETTING: Rule = Rule::error(
    "bad-setting",
    "The worker lists this at start and ends with exit code 78; on renewal it keeps the old credentials.",
    "Correct the value (JSON belongs in single quotes); .env.example says what each variable takes.",
);
const EMPTY_KEY: Rule = Rule::error(
    "empty-key",
    "The worker does not start without a key, unless it may serve everybody.",
    "Make one: echo \"sk-$(openssl rand -hex 24)\".",
);
const NOT_USED: Rule = Rule::warning(
    "account-not-used",
    "The worker starts without this account and only logs a line about it.",
    "Fill in the other half; README.md says where to find it.",
);
const NO_ACCOUNT: Rule = Rule::warning(
    "no-account",
    "The worker starts, but every question gets 503 provider_not_configured.",
    "Put in the credential of one provider; README.md says where to find each.",
);

/// The worker's own words about a set of variables.
#[derive(Debug)]
pub(crate) struct Opinion {
    pub(crate) settings: Settings,
    /// The providers that have an account.
    pub(crate) configured: Vec<String>,
    complaints: Vec<(Severity, String)>,
}

/// Asks the worker.
pub(crate) fn opinion(vars: &Vars) -> Opinion {
    let logged = Logged::default();
    let lines = Arc::clone(&logged.0);
    let mut problems = Vec::new();
    let (settings, registry) = tracing::subscriber::with_default(logged, || {
        let settings = Settings::read(vars, &mut problems);
        let registry = Registry::new(vars, &settings, &mut problems);
        (settings, registry)
    });
    let providers = registry.providers().iter();
    let configured = providers
        .filter(|provider| provider.accounts().is_configured())
        .map(|provider| provider.name().to_owned())
        .collect();
    let lines = std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner));
    let errors = problems.into_iter().map(|text| (Severity::Error, text));
    let warnings = lines.into_iter().map(|text| (Severity::Warning, text));
    Opinion {
        settings,
        configured,
        complaints: errors.chain(warnings).collect(),
    }
}

/// The complaints as findings.
pub(crate) fn check(setup: &Setup, found: &mut Vec<Finding>) {
    let Some(first) = setup.env.first() else {
        return; // Without a file of variables nothing is known about them.
    };
    for (severity, text) in &setup.opinion.complaints {
        let place = setup.place_in(text).unwrap_or_else(|| first.whole());
        let is_example = setup.is_example(&place);
        found.push(match severity {
            Severity::Error if text.starts_with("API_MASTER_KEY is empty") => {
                let severity = if is_example {
                    Severity::Note
                } else {
                    EMPTY_KEY.severity
                };
                EMPTY_KEY.at(&place, text).as_severe_as(severity)
            }
            Severity::Error => BAD_SETTING.at(&place, text),
            Severity::Warning | Severity::Note => NOT_USED.at(&place, text),
        });
    }
    if setup.opinion.configured.is_empty() && !first.is_example {
        found.push(NO_ACCOUNT.at(&first.whole(), "no provider has a usable account"));
    }
}

/// Keeps the warnings that are logged meanwhile. Their texts name variables and never values.
#[derive(Default)]
struct Logged(Arc<Mutex<Vec<String>>>);

impl Subscriber for Logged {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(message.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hears_errors_and_warnings() {
        let vars = Vars::new([
            ("PORT", "x"),
            ("CN_ACCOUNT_2_COOKIE", "a=b"),
            ("XINGHUO_COOKIE", "ssoSessionId=c"),
            ("DEEPSEEK_TOKEN", "t"),
        ]);
        let opinion = opinion(&vars);
        let said = |severity, word: &str| {
            let mut complaints = opinion.complaints.iter();
            complaints.any(|(is, text)| *is == severity && text.contains(word))
        };
        assert!(said(Severity::Error, "PORT") && said(Severity::Error, "API_MASTER_KEY"));
        assert!(said(Severity::Warning, "CN_ACCOUNT_2_XSRF_TOKEN"));
        assert!(!said(Severity::Warning, "GT_TOKEN"));
        assert_eq!(opinion.configured, ["xinghuo", "deepseek"]);
    }
}
