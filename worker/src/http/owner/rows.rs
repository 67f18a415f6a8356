//! Usage grouped, filtered and written as JSON or CSV. Pure.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, Value, json};

use crate::{
    chat::Invalid,
    store::{Usage, UsageKey},
};

/// What usage may be grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The caller's key.
    Key,
    /// The model.
    Model,
    /// The provider.
    Provider,
    /// What became of the requests.
    Outcome,
    /// The hour, in UTC, by its start in Unix seconds.
    Hour,
    /// The day, likewise.
    Day,
}

impl By {
    const ALL: [(&'static str, Self); 6] = [
        ("key", Self::Key),
        ("model", Self::Model),
        ("provider", Self::Provider),
        ("outcome", Self::Outcome),
        ("hour", Self::Hour),
        ("day", Self::Day),
    ];

    fn name(self) -> &'static str {
        let known = Self::ALL.iter().find(|(_, by)| *by == self);
        known.map_or("", |(name, _)| name)
    }

    fn of(self, key: &UsageKey) -> Value {
        match self {
            Self::Key => key.key.as_str().into(),
            Self::Model => key.model.as_str().into(),
            Self::Provider => key.provider.as_str().into(),
            Self::Outcome => key.outcome.as_str().into(),
            Self::Hour => (key.hour * 3600).into(),
            Self::Day => (key.hour / 24 * 86_400).into(),
        }
    }

    /// A list with commas between.
    ///
    /// # Errors
    /// 400 for a word that is none of them.
    pub(super) fn list(text: &str) -> Result<Vec<Self>, Invalid> {
        let words = text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        words
            .map(|word| {
                let known = Self::ALL.iter().find(|(name, _)| *name == word);
                known.map(|(_, by)| *by).ok_or_else(|| {
                    Invalid::field("group_by", "group_by takes key, model, provider, outcome, hour and day, with commas between")
                })
            })
            .collect()
    }
}

/// Sums by what they are grouped by; in the order of the groups.
pub(super) fn grouped(rows: Vec<(UsageKey, Usage)>, by: &[By]) -> Vec<(Vec<Value>, Usage)> {
    // Values have no order of their own, so their text is what is sorted by; numbers of seconds all have the same length.
    let mut groups: BTreeMap<String, (Vec<Value>, Usage)> = BTreeMap::new();
    for (key, usage) in rows {
        let values: Vec<Value> = by.iter().map(|by| by.of(&key)).collect();
        let text = Value::Array(values.clone()).to_string();
        let (_, sum) = groups
            .entry(text)
            .or_insert_with(|| (values, Usage::default()));
        sum.add(usage);
    }
    groups.into_values().collect()
}

/// Members of a sum, by name.
fn members(usage: Usage) -> [(&'static str, Value); 6] {
    // Nobody's first output is no time at all.
    let first = usage.first_ms.checked_div(usage.with_output);
    [
        ("requests", usage.requests.into()),
        ("prompt_tokens", usage.prompt_tokens.into()),
        ("completion_tokens", usage.completion_tokens.into()),
        ("reasoning_tokens", usage.reasoning_tokens.into()),
        (
            "total_tokens",
            (usage.prompt_tokens + usage.completion_tokens).into(),
        ),
        ("mean_time_to_first_token_ms", json!(first)),
    ]
}

/// As a list of objects.
pub(super) fn as_json(groups: Vec<(Vec<Value>, Usage)>, by: &[By]) -> Value {
    let rows = groups.into_iter().map(|(values, usage)| {
        let names = by.iter().map(|by| by.name());
        let group = names.zip(values);
        let all = group.chain(members(usage));
        Value::Object(
            all.map(|(name, value)| (name.to_owned(), value))
                .collect::<Map<_, _>>(),
        )
    });
    Value::Array(rows.collect())
}

/// As CSV with a head line (RFC 4180).
pub(super) fn as_csv(groups: Vec<(Vec<Value>, Usage)>, by: &[By]) -> String {
    let mut csv = String::new();
    let names = by.iter().map(|by| by.name());
    let all: Vec<&str> = names
        .chain(members(Usage::default()).map(|(name, _)| name))
        .collect();
    csv.push_str(&all.join(","));
    csv.push_str("\r\n");
    for (values, usage) in groups {
        let all = values
            .into_iter()
            .chain(members(usage).map(|(_, value)| value));
        for (at, value) in all.enumerate() {
            if at > 0 {
                csv.push(',');
            }
            cell(&mut csv, &value);
        }
        csv.push_str("\r\n");
    }
    csv
}

fn cell(csv: &mut String, value: &Value) {
    match value {
        Value::Null => {}
        Value::String(text) => {
            // A spreadsheet takes a text with one of these in front for a formula, and names are callers' inventions.
            let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
                "'"
            } else {
                ""
            };
            // Writing to a String cannot fail.
            let _ = write!(csv, "\"{guard}{}\"", text.replace('"', "\"\""));
        }
        other => {
            let _ = write!(csv, "{other}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(hour: u64, key: &str, model: &str, requests: u64) -> (UsageKey, Usage) {
        let at = UsageKey {
            hour,
            key: key.to_owned(),
            provider: "qwen".to_owned(),
            model: model.to_owned(),
            outcome: "ok".to_owned(),
        };
        let usage = Usage {
            requests,
            prompt_tokens: requests,
            completion_tokens: 2 * requests,
            reasoning_tokens: 0,
            first_ms: 10 * requests,
            with_output: requests,
        };
        (at, usage)
    }

    #[test]
    fn sums_are_grouped_by_what_is_asked() {
        let rows = || {
            vec![
                row(48, "a", "m", 1),
                row(49, "a", "n", 2),
                row(49, "b", "m", 4),
            ]
        };
        let by = By::list("key,day").unwrap();
        assert_eq!(
            as_json(grouped(rows(), &by), &by),
            json!([
                {"key": "a", "day": 172_800, "requests": 3, "prompt_tokens": 3, "completion_tokens": 6, "reasoning_tokens": 0, "total_tokens": 9, "mean_time_to_first_token_ms": 10},
                {"key": "b", "day": 172_800, "requests": 4, "prompt_tokens": 4, "completion_tokens": 8, "reasoning_tokens": 0, "total_tokens": 12, "mean_time_to_first_token_ms": 10},
            ])
        );
        let all = grouped(rows(), &[]);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].1.requests, 7);
        assert!(By::list("colour").is_err());
    }

    #[test]
    fn csv_cannot_be_broken_or_run() {
        let rows = vec![row(1, "=cmd\"x,y", "m", 1)];
        let by = By::list("key").unwrap();
        let csv = as_csv(grouped(rows, &by), &by);
        let lines: Vec<&str> = csv.split("\r\n").collect();
        assert_eq!(
            lines[0],
            "key,requests,prompt_tokens,completion_tokens,reasoning_tokens,total_tokens,mean_time_to_first_token_ms"
        );
        assert_eq!(lines[1], "\"'=cmd\"\"x,y\",1,1,2,0,3,10");
    }
}
