//! The credential: an API key.

use crate::{accounts::Secret, settings::Vars};

/// One key of one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// Sent as a bearer token.
    pub(super) key: Secret,
    /// Which variable to renew.
    pub(super) variable: String,
}

/// The keys of lane `number`: several values are separated by commas.
pub(super) fn accounts(
    vars: &Vars,
    number: usize,
    problems: &mut Vec<String>,
) -> Vec<(usize, Account)> {
    let variable = format!("OPENAI_COMPAT_{number}_API_KEY");
    let keys = vars.pasted(&variable).unwrap_or_default();
    let mut accounts = Vec::new();
    for (at, key) in keys
        .split(',')
        .map(str::trim)
        .filter(|key| !key.is_empty())
        .enumerate()
    {
        if key.chars().any(|c| c.is_control() || c.is_whitespace()) {
            problems.push(format!(
                "{variable}: key {} holds a blank or a control character",
                at + 1
            ));
        }
        accounts.push((
            at + 1,
            Account {
                key: Secret::new(key),
                variable: variable.clone(),
            },
        ));
    }
    accounts
}
