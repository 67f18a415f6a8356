//! The models that the service itself says it offers, read now and then; any failure leaves what was known. Source:
//! `wire/kimi.md` section 3, GetAvailableModels.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;

/// How often one account asks (section 3).
const EVERY: Duration = Duration::from_secs(600);
/// A list longer than this is none.
const MOST_OFFERS: usize = 64;
/// A name longer than this is none.
const MOST_NAME_BYTES: usize = 64;

/// One row of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// The service's own name for the model.
    pub(super) key: String,
    /// `scenario` to ask with.
    pub(super) scenario: String,
    /// `kimiplus_id` to ask with.
    pub(super) kimiplus_id: Option<String>,
    /// `defaultContextLength`.
    pub(super) context_length: Option<String>,
    /// `defaultReasoningEffort`.
    pub(super) effort: Option<String>,
    /// `thinking`.
    pub(super) is_thinking: bool,
    /// The account may use `CONTEXT_LENGTH_XL`.
    pub(super) has_long_context: bool,
    /// The account may use the model.
    pub(super) is_usable: bool,
}

/// What is known, and since when.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    state: Mutex<(Option<u64>, Arc<[Offer]>)>,
}

impl Catalogue {
    /// The rows as far as they are known.
    pub(super) fn offers(&self) -> Arc<[Offer]> {
        Arc::clone(&self.state().1)
    }

    /// Whether the service has a list at all, as far as is known.
    pub(super) fn is_known(&self) -> bool {
        !self.state().1.is_empty()
    }

    /// Whether it is time to ask again; who is told so asks. The time is Unix seconds.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let mut state = self.state();
        // The time is taken under the lock, so that of many turns one asks.
        let is_due = state.0.is_none_or(|last| now >= last + EVERY.as_secs());
        if is_due {
            state.0 = Some(now);
        }
        is_due
    }

    /// Takes the answer; one that cannot be read changes nothing.
    pub(super) fn learn(&self, body: &[u8]) {
        if let Some(offers) = read(body) {
            self.state().1 = offers.into();
        }
    }

    fn state(&self) -> MutexGuard<'_, (Option<u64>, Arc<[Offer]>)> {
        // A panic of another thread leaves these plain values in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offered {
    available_models: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    scenario: Option<String>,
    key: Option<String>,
    kimi_plus_id: Option<String>,
    #[serde(default)]
    thinking: bool,
    available: Option<bool>,
    min_membership_level: Option<String>,
    #[serde(default)]
    context_length_options: Vec<ContextLength>,
    default_context_length: Option<String>,
    default_reasoning_effort: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContextLength {
    context_length: Option<String>,
    available: Option<bool>,
    min_membership_level: Option<String>,
}

fn read(body: &[u8]) -> Option<Vec<Offer>> {
    let answer: Offered = serde_json::from_slice(body).ok()?;
    let name = |text: Option<String>| {
        // Names go into requests and into ids of ours.
        text.filter(|text| !text.is_empty() && text.len() <= MOST_NAME_BYTES)
    };
    let offers = answer.available_models.into_iter().filter_map(|row| {
        let key = name(row.key)?.to_ascii_lowercase();
        // A key becomes part of an id of ours.
        if !key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        {
            return None;
        }
        let is_long = |option: &ContextLength| {
            option.context_length.as_deref() == Some("CONTEXT_LENGTH_XL")
                && is_usable(option.available, option.min_membership_level.as_deref())
        };
        // A row without a scenario cannot be asked for.
        Some(Offer {
            scenario: name(row.scenario)?,
            kimiplus_id: name(row.kimi_plus_id),
            context_length: name(row.default_context_length),
            effort: name(row.default_reasoning_effort),
            is_thinking: row.thinking,
            has_long_context: row.context_length_options.iter().any(is_long),
            // Without the word, the swarm is not for everybody.
            is_usable: is_usable(row.available, row.min_membership_level.as_deref())
                && (row.available == Some(true) || key != "k3-agent-ultra"),
            key,
        })
    });
    Some(offers.take(MOST_OFFERS).collect())
}

fn is_usable(available: Option<bool>, least_level: Option<&str>) -> bool {
    // Section 3: without either word a row may be used.
    available.unwrap_or_else(|| least_level.is_none())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const SAMPLE: &str = r#"{"availableModels":[
 {"scenario":"SCENARIO_K2D5","displayName":"K2.6","description":"…","inputPlaceholder":"…","key":"k2d6","thinking":true,"available":true,
  "reasoningEffortOptions":[{"effort":"REASONING_EFFORT_NONE","displayName":"Instant"},{"effort":"REASONING_EFFORT_LOW","displayName":"Thinking"}],"defaultReasoningEffort":"REASONING_EFFORT_NONE"},
 {"scenario":"SCENARIO_OK_COMPUTER","displayName":"K3","key":"k3","thinking":true,"kimiPlusId":"ok-computer","available":true,
  "contextLengthOptions":[{"contextLength":"CONTEXT_LENGTH_L","displayName":"256K","available":true},{"contextLength":"CONTEXT_LENGTH_XL","displayName":"1M","minMembershipLevel":"LEVEL_ADVANCED"}],"defaultContextLength":"CONTEXT_LENGTH_L",
  "reasoningEffortOptions":[{"effort":"REASONING_EFFORT_LOW"},{"effort":"REASONING_EFFORT_HIGH"},{"effort":"REASONING_EFFORT_MAX"}],"defaultReasoningEffort":"REASONING_EFFORT_HIGH"},
 {"scenario":"SCENARIO_OK_COMPUTER","displayName":"K3 Swarm","key":"k3-agent-ultra","thinking":true,"kimiPlusId":"ok-computer","agentMode":"TYPE_ULTRA","minMembershipLevel":"LEVEL_ADVANCED"}],
 "defaultScenario":{"scenario":"SCENARIO_K2D5","thinking":true}}"#;

    pub(in super::super) fn sample() -> Vec<Offer> {
        read(SAMPLE.as_bytes()).unwrap()
    }

    #[test]
    fn reads_the_sample_of_the_wire_page() {
        let offers = sample();
        let rows: Vec<(&str, &str, bool, bool)> = offers
            .iter()
            .map(|it| {
                (
                    it.key.as_str(),
                    it.scenario.as_str(),
                    it.is_usable,
                    it.has_long_context,
                )
            })
            .collect();
        assert_eq!(
            rows,
            [
                ("k2d6", "SCENARIO_K2D5", true, false),
                ("k3", "SCENARIO_OK_COMPUTER", true, false),
                ("k3-agent-ultra", "SCENARIO_OK_COMPUTER", false, false)
            ]
        );
        assert_eq!(offers[1].kimiplus_id.as_deref(), Some("ok-computer"));
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let catalogue = Catalogue::default();
        catalogue.learn(SAMPLE.as_bytes());
        for odd in ["", "[]", "{}", r#"{"availableModels":5}"#] {
            catalogue.learn(odd.as_bytes());
            assert_eq!(*catalogue.offers(), *sample(), "{odd}");
        }
        let row =
            |key: &str| format!(r#"{{"availableModels":[{{"key":"{key}","scenario":"S"}}]}}"#);
        for odd in ["", "a b", "../x", "键", &"x".repeat(65)] {
            assert_eq!(read(row(odd).as_bytes()), Some(Vec::new()), "{odd}");
        }
        // Neither `available` nor a level: it may be used; but not the swarm.
        assert!(read(row("K9").as_bytes()).unwrap()[0].is_usable);
        assert!(!read(row("k3-agent-ultra").as_bytes()).unwrap()[0].is_usable);
    }

    #[test]
    fn asks_once_in_ten_minutes() {
        let catalogue = Catalogue::default();
        assert!(catalogue.is_due(1000));
        assert!(!catalogue.is_due(1000) && !catalogue.is_due(1599));
        assert!(catalogue.is_due(1600));
    }
}
