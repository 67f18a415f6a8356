//! The credential: an API key.

use crate::{
    accounts::{Fingerprint, Known, Secret, pasted},
    settings::{Problems, Vars},
};

/// One key of one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// Sent as a bearer token.
    pub(super) key: Secret,
    /// Which variable to renew.
    pub(super) variable: String,
}

impl Known for Account {
    fn fingerprint(&self) -> Fingerprint {
        // The variable tells two lanes apart that have the same key.
        Fingerprint::of(&self.variable, &self.key)
    }

    fn variable(&self) -> &str {
        &self.variable
    }
}

/// The keys of lane `number`: several values are separated by commas.
pub(super) fn accounts(
    vars: &Vars,
    number: usize,
    problems: &mut Problems,
) -> Vec<(usize, Account)> {
    let variable = format!("OPENAI_COMPAT_{number}_API_KEY");
    let keys = vars.pasted(&variable).unwrap_or_default();
    let mut accounts = Vec::new();
    // By character: keys of these APIs hold none.
    for (at, key) in keys
        .split(',')
        .map(pasted::credential)
        .filter(|key| !key.is_empty())
        .enumerate()
    {
        // Told at start, as it would fail in every call.
        if !key.chars().all(|c| c.is_ascii_graphic()) {
            problems.push(format!(
                "{variable}: key {} holds a blank or a character that no header can carry",
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
