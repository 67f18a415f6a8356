//! Which account serves which model: `MODEL_TO_ACCOUNT_MAP` and `QWEN_ACCOUNT_POLICY`. Source: `wire/qwen.md` section 3.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::settings::Problems;

const VARIABLE: &str = "MODEL_TO_ACCOUNT_MAP";
/// Largest account number: far beyond any real one, and exact in every JSON number.
const MOST_ACCOUNTS: f64 = 1_000_000.0;

/// OpenAI-side model name (exact, case-sensitive) to account number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AccountMap(BTreeMap<String, usize>);

impl AccountMap {
    /// Reads the variable: a JSON object. Absent or empty: the seed's default.
    pub(super) fn read(text: Option<&str>, problems: &mut Problems) -> Self {
        let unquoted = |text: &str| {
            // Section 3: a reader of `.env` may have left them.
            ['"', '\''].iter().find_map(|&quote| {
                Some(
                    text.strip_prefix(quote)?
                        .strip_suffix(quote)?
                        .trim()
                        .to_owned(),
                )
            })
        };
        let text = text
            .map(|text| unquoted(text).unwrap_or_else(|| text.to_owned()))
            .filter(|text| !text.is_empty());
        // The seed's own default (section 3): it names a model of the second account.
        let Some(text) = text else {
            return Self(BTreeMap::from([("Qwen3-Max-Preview".to_owned(), 2)]));
        };
        let Ok(Value::Object(entries)) = serde_json::from_str(&text) else {
            problems.push(format!(
                r#"{VARIABLE} must be a JSON object: {{"model": account number, …}}"#
            ));
            return Self(BTreeMap::new());
        };
        let mut map = BTreeMap::new();
        for (model, value) in entries {
            match account_number(&value) {
                Some(number) => {
                    map.insert(model, number);
                }
                None => problems.push(format!(
                    "{VARIABLE}: the value for {model:?} is no account number (1, 2, …)"
                )),
            }
        }
        Self(map)
    }

    /// The account that a model name is mapped to.
    pub(super) fn get(&self, model: &str) -> Option<usize> {
        self.0.get(model).copied()
    }
}

/// Numbers, numeric strings and integral floats, from 1 up.
fn account_number(value: &Value) -> Option<usize> {
    let number = match value {
        // JSON has no integers of its own; the seed takes 2.0 for 2.
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<u32>().ok()?.into(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an integral number from 1 to a million"
    )]
    // Checked above: integral, positive, and small enough for every machine.
    (number.fract() == 0.0 && (1.0..=MOST_ACCOUNTS).contains(&number)).then_some(number as usize)
}

/// What serves models that the map does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Account 1, as in the seed.
    Map,
    /// All accounts in turn, the next one after a refusal.
    RoundRobin,
}

impl Policy {
    /// Reads `QWEN_ACCOUNT_POLICY`.
    pub(super) fn read(text: Option<&str>, problems: &mut Problems) -> Self {
        match text {
            None | Some("map") => Self::Map,
            Some("round_robin") => Self::RoundRobin,
            Some(_) => {
                problems.push("QWEN_ACCOUNT_POLICY must be map or round_robin".to_owned());
                Self::Map
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, usize)>> {
        let mut problems = Problems::default();
        let map = AccountMap::read(Some(text), &mut problems);
        problems
            .errors
            .is_empty()
            .then(|| map.0.into_iter().collect())
    }

    fn map(pairs: &[(&str, usize)]) -> Option<Vec<(String, usize)>> {
        Some(
            pairs
                .iter()
                .map(|(model, number)| ((*model).to_owned(), *number))
                .collect(),
        )
    }

    /// The table of wire/qwen.md section 3, row by row.
    #[test]
    fn follows_the_table() {
        let default = map(&[("Qwen3-Max-Preview", 2)]);
        assert_eq!(
            Some(
                AccountMap::read(None, &mut Problems::default())
                    .0
                    .into_iter()
                    .collect()
            ),
            default
        );
        assert_eq!(read(""), default);
        assert_eq!(read("{}"), map(&[]));
        assert_eq!(read("'{}'"), map(&[]));
        for value in ["2", "\"2\"", "2.0"] {
            assert_eq!(
                read(&format!(r#"{{"a": {value}}}"#)),
                map(&[("a", 2)]),
                "{value}"
            );
        }
        for refused in [
            r#"{"a": true}"#,
            r#"{"a": 2.5}"#,
            r#"{"a": null}"#,
            "[]",
            "nonsense",
            r#"{"a": 0}"#,
            r#"{"a": -1}"#,
            "5",
        ] {
            assert_eq!(read(refused), None, "{refused}");
        }
        assert_eq!(read(r#"{"a": 1, "a": 3}"#), map(&[("a", 3)]));
        assert_eq!(read(r#"'{"A": 2}'"#), map(&[("A", 2)]));
    }
}
