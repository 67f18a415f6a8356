//! What only somebody who sees all variables together can say about them: halves without the other half, holes in the
//! numbering, accounts that are named but not there, tokens that have run out, names that nobody reads.

use std::collections::BTreeMap;

use crate::{
    accounts::jwt::Claims,
    doctor::{
        finding::{Finding, Location, Rule, Severity},
        names::{self, Standing},
        setup::Setup,
    },
    providers::{card::Role, registry::PROVIDERS},
};

/// A clock may be this wrong.
const LEEWAY_SECONDS: f64 = 300.0;

const HALF: Rule = Rule::warning(
    "half-a-credential",
    "The worker needs both parts; what stands here alone has no effect.",
    "Fill in the other part, or delete this one.",
);
const HOLE: Rule = Rule::note(
    "number-missing",
    "Accounts are found by their numbers, so this works; often it means that a line was lost or misspelt.",
    "Number them 1, 2, 3, …, or ignore this.",
);
const NO_SUCH_ACCOUNT: Rule = Rule::error(
    "no-such-account",
    "Questions for this model are answered 503: the map sends them to an account that is not there.",
    "Correct the number, or add the account's COOKIE and XSRF_TOKEN.",
);
const EXPIRED: Rule = Rule::error(
    "token-expired",
    "The service refuses it; the account will be disabled at the first question.",
    "Sign in again and paste the new value.",
);
const EXPIRES_SOON: Rule = Rule::note(
    "token-expires-soon",
    "The account stops working then.",
    "Have a new value ready; a change of the file is taken over without a restart.",
);
const FROM_THE_FUTURE: Rule = Rule::warning(
    "clock-behind",
    "This machine's clock is slow, or the token was made on one that is fast; signatures and proofs carry the time, and services refuse wrong ones.",
    "Compare `date -u` with a watch and switch on time synchronisation.",
);
const UNKNOWN: Rule = Rule::warning(
    "unknown-variable",
    "Nobody reads a variable of this name, so the line has no effect.",
    "Correct the name, or delete the line; .env.example lists all of them.",
);
const OLDER: Rule = Rule::warning(
    "older-variable",
    "It belongs to one of the older projects; this version has no use for it.",
    "Delete the line, or leave it for later.",
);
const OTHER_STORE: Rule = Rule::warning(
    "other-store",
    "The address of the store that workers share is read from STORE_URL alone.",
    "Write STORE_URL instead; without one the workers of a machine share a file.",
);

/// All of the above; `now` in Unix seconds.
pub(crate) fn check(setup: &Setup, now: f64, found: &mut Vec<Finding>) {
    for (name, (value, place)) in &setup.variables {
        found.extend(half(setup, name, place));
        if names::is_credential(name) && names::standing(name) == Standing::Known {
            found.extend(times(name, value, place, now));
        }
    }
    holes(setup, found);
    account_map(setup, found);
    for (name, _, place) in setup.every_assignment() {
        found.extend(standing(setup, name, place));
    }
}

fn half(setup: &Setup, name: &str, place: &Location) -> Option<Finding> {
    let number = name
        .split('_')
        .find(|part| part.bytes().all(|b| b.is_ascii_digit()));
    let pattern = match number {
        Some(number) => name
            .split('_')
            .map(|part| if part == number { "#" } else { part })
            .collect::<Vec<_>>()
            .join("_"),
        None => name.to_owned(),
    };
    let stated = PROVIDERS.iter().flat_map(|card| card.variables);
    let (variable, suffix) = stated.into_iter().find_map(|variable| {
        let is = variable.name == pattern;
        // The second account's parts have its number at their ends.
        let is_numbered = pattern.strip_suffix("_#") == Some(variable.name);
        (is || is_numbered).then_some((variable, if is_numbered { "_#" } else { "" }))
    })?;
    let others: Vec<String> = variable
        .needs()
        .iter()
        .map(|other| format!("{other}{suffix}").replace('#', number.unwrap_or_default()))
        .collect();
    if others.is_empty() {
        return None;
    }
    let is_there = others
        .iter()
        .any(|other| setup.variables.contains_key(other));
    (!is_there).then(|| {
        let what = format!("{name} is set, but {} is not", others.join(" or "));
        HALF.at(place, what)
    })
}

fn times(name: &str, value: &str, place: &Location, now: f64) -> Vec<Finding> {
    let mut found = Vec::new();
    for token in Claims::all_in(value) {
        match token.expires().map(|end| end as f64) {
            Some(exp) if exp <= now => {
                let what = format!("the token in {name} expired {} ago", span(now - exp));
                found.push(EXPIRED.at(place, what));
            }
            Some(exp) if exp - now < 2.0 * 86_400.0 => {
                let what = format!("the token in {name} expires in {}", span(exp - now));
                found.push(EXPIRES_SOON.at(place, what));
            }
            _ => {}
        }
        let issued = token.issued().map(|issued| issued as f64);
        if issued.is_some_and(|issued| issued > now + LEEWAY_SECONDS) {
            let what = format!("the token in {name} was issued in the future");
            found.push(FROM_THE_FUTURE.at(place, what));
        }
    }
    found
}

/// A time for people.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} hours", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// `X_2` and `X_4` without `X_3`, or `X_2` without `X`.
fn holes(setup: &Setup, found: &mut Vec<Finding>) {
    let mut families: BTreeMap<(String, String), BTreeMap<usize, &Location>> = BTreeMap::new();
    for (name, (_, place)) in &setup.variables {
        for base in PROVIDERS.iter().flat_map(|card| card.variables) {
            if !matches!(base.role, Role::Credential { .. }) && !base.name.ends_with("#_BASE_URL") {
                continue;
            }
            // `CN_ACCOUNT_#_COOKIE` has its number inside, `KIMI_TOKEN` at its end from the second on.
            let (prefix, suffix) = base.name.split_once('#').unwrap_or((base.name, ""));
            let number = match name
                .strip_prefix(prefix)
                .and_then(|n| n.strip_suffix(suffix))
            {
                Some("") => Some(1),
                Some(rest) => rest.strip_prefix('_').unwrap_or(rest).parse().ok(),
                None => None,
            };
            if let Some(number) = number {
                let joint = if base.name.contains('#') { "" } else { "_" };
                let family = (format!("{prefix}{joint}"), suffix.to_owned());
                families.entry(family).or_default().insert(number, place);
            }
        }
    }
    for ((prefix, suffix), numbers) in families {
        let is_first_token = prefix == "CN_ACCOUNT_" && setup.variables.contains_key("QWEN_TOKEN");
        let mut expected = 1;
        for (number, place) in numbers {
            if number > expected && !(expected == 1 && is_first_token) {
                let what =
                    format!("{prefix}{number}{suffix} is set, but there is no number {expected}");
                found.push(HOLE.at(place, what));
            }
            expected = number + 1;
        }
    }
}

/// The form of `MODEL_TO_ACCOUNT_MAP` is the provider's matter; here only whether the accounts are there.
fn account_map(setup: &Setup, found: &mut Vec<Finding>) {
    let Some((text, place)) = setup.variables.get("MODEL_TO_ACCOUNT_MAP") else {
        return;
    };
    let text = text.trim().trim_matches(['"', '\'']);
    let map: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
    for (model, number) in map {
        let number = number.as_u64().map_or_else(
            || number.as_str().unwrap_or_default().to_owned(),
            |n| n.to_string(),
        );
        let is_set = |name: &str| setup.variables.contains_key(name);
        let is_there = number.is_empty()
            || is_set(&format!("CN_ACCOUNT_{number}_COOKIE"))
            || (number == "1" && is_set("QWEN_TOKEN"));
        if !is_there {
            let what = format!(
                "MODEL_TO_ACCOUNT_MAP sends {model:?} to account {number}, but CN_ACCOUNT_{number}_COOKIE is not set"
            );
            found.push(NO_SUCH_ACCOUNT.at(place, what));
        }
    }
}

fn standing(setup: &Setup, name: &str, place: &Location) -> Option<Finding> {
    if names::OTHER_STORES.contains(&name) {
        return Some(OTHER_STORE.at(
            place,
            format!("nobody reads {name}; the store's address is STORE_URL"),
        ));
    }
    if setup.is_interpolated(name) {
        return None; // The compose file reads it.
    }
    match names::standing(name) {
        Standing::Known => None,
        Standing::Older => {
            let severity = if names::is_credential(name) {
                OLDER.severity
            } else {
                Severity::Note
            };
            let what = format!("{name} has no effect in this version");
            Some(OLDER.at(place, what).as_severe_as(severity))
        }
        Standing::Unknown(Some(near)) => Some(UNKNOWN.at(
            place,
            format!("nobody reads {}; is it {near}?", names::shown(name)),
        )),
        Standing::Unknown(None) => Some(
            UNKNOWN
                .at(place, format!("nobody reads {}", names::shown(name)))
                .as_severe_as(Severity::Note),
        ),
    }
}
