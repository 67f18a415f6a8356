//! Token counts as servers really fill them: null, decimal, negative, as text, in Anthropic's names. Source: OpenAI's
//! and other services' public API references.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::chat::Usage;

/// OpenAI's own form, which costs least to read.
#[derive(Deserialize)]
pub(super) struct Plain {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
    /// Members that say the same in other words: the slow way reads them.
    #[serde(
        default,
        rename = "input_tokens",
        alias = "output_tokens",
        alias = "input_tokens_details",
        alias = "output_tokens_details",
        alias = "cache_read_input_tokens",
        alias = "prompt_cache_hit_tokens",
        alias = "cached_tokens",
        alias = "reasoning_tokens"
    )]
    odd: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

impl Plain {
    /// Whether all of it has been understood.
    pub(super) fn is_plain(&self) -> bool {
        self.odd.is_none()
    }

    /// The counts; `None` when none is reported.
    pub(super) fn into_usage(self) -> Option<Usage> {
        reported(Usage {
            prompt_tokens: self.prompt_tokens.unwrap_or_default(),
            completion_tokens: self.completion_tokens.unwrap_or_default(),
            reasoning_tokens: self
                .completion_tokens_details
                .and_then(|details| details.reasoning_tokens)
                .unwrap_or_default(),
            cached_tokens: self
                .prompt_tokens_details
                .and_then(|details| details.cached_tokens)
                .unwrap_or_default(),
        })
    }
}

fn reported(usage: Usage) -> Option<Usage> {
    Some(usage).filter(|usage| usage.prompt_tokens > 0 || usage.completion_tokens > 0)
}

/// The counts in any form; what cannot be read counts as not reported (0).
pub(super) fn read(usage: &Value) -> Option<Usage> {
    let first = |paths: &[&str]| {
        let count = |path: &&str| count(usage.pointer(path)?);
        paths.iter().find_map(count).unwrap_or_default()
    };
    // In this order: servers that fill several say the same in all of them.
    let prompt_tokens = first(&["/prompt_tokens", "/input_tokens"]);
    let total = first(&["/total_tokens"]);
    let completion_tokens = match first(&["/completion_tokens", "/output_tokens"]) {
        // Without a count of the answer, the total says what is left of it.
        0 if prompt_tokens > 0 => total.saturating_sub(prompt_tokens),
        counted => counted,
    };
    reported(Usage {
        prompt_tokens,
        completion_tokens,
        reasoning_tokens: first(&[
            "/completion_tokens_details/reasoning_tokens",
            "/output_tokens_details/reasoning_tokens",
            "/reasoning_tokens",
        ]),
        cached_tokens: first(&[
            "/prompt_tokens_details/cached_tokens",
            "/input_tokens_details/cached_tokens",
            "/prompt_cache_hit_tokens",
            "/cache_read_input_tokens",
            "/cached_tokens",
        ]),
    })
}

/// More than any answer has: a figure beyond it is none.
const MOST_TOKENS: f64 = 1e12;

fn count(value: &Value) -> Option<u64> {
    // A share of a token is written by some, so it is rounded.
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked"
    )]
    (number > 0.0 && number < MOST_TOKENS).then_some(number.round() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_can_be_read() {
        let counts = |usage: Value| {
            read(&usage).map(|it| {
                [
                    it.prompt_tokens,
                    it.completion_tokens,
                    it.reasoning_tokens,
                    it.cached_tokens,
                ]
            })
        };
        for (usage, expected) in [
            (
                json!({"prompt_tokens": null, "completion_tokens": null}),
                None,
            ),
            (
                json!({"prompt_tokens": -1, "completion_tokens": "many"}),
                None,
            ),
            (
                json!({"prompt_tokens": 5.0, "completion_tokens": 2.4}),
                Some([5, 2, 0, 0]),
            ),
            (
                json!({"input_tokens": "5", "output_tokens": 2}),
                Some([5, 2, 0, 0]),
            ),
            (
                json!({"prompt_tokens": 5, "total_tokens": 7}),
                Some([5, 2, 0, 0]),
            ),
            (
                json!({"prompt_tokens": 1e300, "completion_tokens": 2}),
                Some([0, 2, 0, 0]),
            ),
            (
                json!({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 1}}),
                Some([5, 2, 1, 4]),
            ),
            (
                json!({"prompt_tokens": 5, "completion_tokens": 2, "prompt_cache_hit_tokens": 3}),
                Some([5, 2, 0, 3]),
            ),
            (json!("none"), None),
        ] {
            assert_eq!(counts(usage.clone()), expected, "{usage}");
        }
    }
}
