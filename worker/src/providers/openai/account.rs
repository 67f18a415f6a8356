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
    /// The variable of its lane's first key.
    pub(super) lane: String,
}

impl Known for Account {
    fn fingerprint(&self) -> Fingerprint {
        // The lane's own variable tells two lanes apart that have the same key.
        Fingerprint::of(&self.lane, &self.key)
    }

    fn variable(&self) -> &str {
        &self.variable
    }
}

/// The keys of lane `number`: several values are separated by commas, or stand in variables with a number behind.
pub(super) fn accounts(
    vars: &Vars,
    number: usize,
    problems: &mut Problems,
) -> Vec<(usize, Account)> {
    let lane = format!("OPENAI_COMPAT_{number}_API_KEY");
    let mut accounts: Vec<(usize, Account)> = Vec::new();
    for (first, keys) in vars.numbered(&lane) {
        let variable = if first == 1 {
            lane.clone()
        } else {
            format!("{lane}_{first}")
        };
        // By character: keys of these APIs hold none.
        let keys = keys.split(',').map(pasted::credential);
        for (at, key) in keys.filter(|key| !key.is_empty()).enumerate() {
            // Told at start, as it would fail in every call.
            if !key.chars().all(|c| c.is_ascii_graphic()) {
                problems.push(format!(
                    "{variable}: key {} holds a blank or a character that no header can carry",
                    at + 1
                ));
            }
            let key = Secret::new(key);
            // The same key is the same account, wherever it stands.
            if accounts.iter().any(|(_, known)| known.key == key) {
                continue;
            }
            let last = accounts.last().map_or(0, |(last, _)| *last);
            let account = Account {
                key,
                variable: variable.clone(),
                lane: lane.clone(),
            };
            accounts.push((first.max(last + 1), account));
        }
    }
    accounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_a_list_and_behind_numbers_and_count_once() {
        let vars = Vars::new([
            ("OPENAI_COMPAT_2_API_KEY", "a, b,a"),
            ("OPENAI_COMPAT_2_API_KEY_2", "c"),
            ("OPENAI_COMPAT_2_API_KEY_1001", "d"),
            ("OPENAI_COMPAT_2_API_KEY_1002", "b"),
            ("OPENAI_COMPAT_1_API_KEY_3", "another lane's"),
        ]);
        let mut problems = Problems::default();
        let accounts = accounts(&vars, 2, &mut problems);
        let said: Vec<(usize, &str, &str)> = accounts
            .iter()
            .map(|(number, it)| (*number, it.key.expose(), &*it.variable))
            .collect();
        let (one, two) = ("OPENAI_COMPAT_2_API_KEY", "OPENAI_COMPAT_2_API_KEY_2");
        let added = "OPENAI_COMPAT_2_API_KEY_1001";
        assert_eq!(
            said,
            [
                (1, "a", one),
                (2, "b", one),
                (3, "c", two),
                (1001, "d", added)
            ]
        );
    }
}
