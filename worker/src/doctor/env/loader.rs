//! What the worker itself says of the variables: its real settings and every provider's real checks are run on them.

use crate::{
    doctor::{
        finding::{Finding, Rule, Severity},
        setup::Setup,
    },
    providers::Registry,
    settings::{Problems, Settings, Vars},
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
    problems: Problems,
}

/// Asks the worker.
pub(crate) fn opinion(vars: &Vars) -> Opinion {
    let mut problems = Problems::default();
    let settings = Settings::read(vars, &mut problems);
    let registry = Registry::new(vars, &settings, &mut problems);
    let providers = registry.providers().iter();
    let configured = providers
        .filter(|provider| provider.accounts().is_configured())
        .map(|provider| provider.name().to_owned())
        .collect();
    Opinion {
        settings,
        configured,
        problems,
    }
}

/// The problems as findings.
pub(crate) fn check(setup: &Setup, found: &mut Vec<Finding>) {
    let Some(first) = setup.env.first() else {
        return; // Without a file of variables nothing is known about them.
    };
    let of = |text: &str| setup.place_in(text).unwrap_or_else(|| first.whole());
    let problems = &setup.opinion.problems;
    for text in &problems.errors {
        let location = of(text);
        let is_example = setup.is_example(&location);
        found.push(if !text.starts_with("API_MASTER_KEY is empty") {
            BAD_SETTING.at(&location, text)
        } else if is_example {
            EMPTY_KEY.at(&location, text).as_severe_as(Severity::Note)
        } else {
            EMPTY_KEY.at(&location, text)
        });
    }
    for text in &problems.warnings {
        found.push(NOT_USED.at(&of(text), text));
    }
    if setup.opinion.configured.is_empty() && !first.is_example {
        found.push(NO_ACCOUNT.at(&first.whole(), "no provider has a usable account"));
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
        let said = |list: &[String], word: &str| list.iter().any(|text| text.contains(word));
        let Problems { errors, warnings } = &opinion.problems;
        assert!(said(errors, "PORT") && said(errors, "API_MASTER_KEY"));
        assert!(said(warnings, "CN_ACCOUNT_2_XSRF_TOKEN"));
        assert!(!said(warnings, "GT_TOKEN"));
        assert_eq!(opinion.configured, ["xinghuo", "deepseek"]);
    }
}
