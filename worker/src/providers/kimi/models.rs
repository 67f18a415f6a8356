//! Our model ids and what they mean upstream. Source: `wire/kimi.md` section 4.5.

use crate::providers::Model;

/// 2026-01-27, when the scenario that most ids lead to was announced; constant, so that listings are stable.
const CREATED: i64 = 1_769_472_000;
/// Tokens (section 9).
const CONTEXT: u32 = 262_144;

/// The agent with its own `kimiplus_id` and effort (section 4.5, last row).
pub(super) const OK_COMPUTER: &str = "SCENARIO_OK_COMPUTER";
const RESEARCH: &str = "SCENARIO_RESEARCH";

/// id, scenario, thinks, searches. Suffixes come on top of these ([`find`]).
const MODELS: &[(&str, &str, bool, bool)] = &[
    ("kimi", "SCENARIO_K2D5", false, false),
    ("kimi-vision", "SCENARIO_K2D5", false, false),
    ("kimi-k2.6", "SCENARIO_K2D5", false, false),
    ("kimi-k2.5", "SCENARIO_K2D5", false, false),
    ("kimi-k2", "SCENARIO_K2", false, false),
    ("kimi-k1.5", "SCENARIO_K1D5", false, false),
    ("kimi-k1", "SCENARIO_K1D5", true, false),
    ("moonshot-v1-8k", "SCENARIO_K2D5", false, false),
    ("moonshot-v1-32k", "SCENARIO_K2D5", false, false),
    ("moonshot-v1-128k", "SCENARIO_K2D5", false, false),
    ("kimi-research", RESEARCH, true, true),
    ("kimi-k3", OK_COMPUTER, true, false),
];

/// The bold ones of the page.
const LISTED: &[&str] = &[
    "kimi",
    "kimi-vision",
    "kimi-k2.6",
    "kimi-k2.5",
    "kimi-k2",
    "kimi-k1.5",
    "kimi-thinking",
    "kimi-search",
];

/// The listed models.
pub(super) fn listed() -> Vec<Model> {
    LISTED.iter().filter_map(|id| find(id)).collect()
}

/// The model that an id means: a row of the table, with any of the suffixes `-thinking` and `-search`.
pub(super) fn find(id: &str) -> Option<Model> {
    let lower = id.to_ascii_lowercase();
    let (mut base, mut thinking, mut search) = (lower.as_str(), false, false);
    loop {
        if let Some(rest) = base.strip_suffix("-thinking") {
            (base, thinking) = (rest, true);
        } else if let Some(rest) = base.strip_suffix("-search") {
            (base, search) = (rest, true);
        } else {
            break;
        }
    }
    // Whole ids are compared, not parts of them: `kimi-k2.6` is no `kimi-k2`.
    let row = MODELS.iter().find(|row| row.0 == base)?;
    // The listed spelling, so that metrics know the model.
    let known = LISTED.iter().find(|known| **known == lower);
    Some(Model {
        thinking: row.2 || thinking,
        search: row.3 || search,
        vision: true,
        files: true,
        context: Some(CONTEXT),
        ..Model::new(known.copied().unwrap_or(id), row.1, CREATED)
    })
}

/// Whether a scenario is one that not every membership has: being refused it says nothing about the credential.
pub(super) fn is_for_members(scenario: &str) -> bool {
    scenario == OK_COMPUTER || scenario == RESEARCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_table() {
        for (id, scenario, thinking, search) in [
            ("kimi", "SCENARIO_K2D5", false, false),
            ("KIMI-K2.6", "SCENARIO_K2D5", false, false),
            ("kimi-k2.5-thinking", "SCENARIO_K2D5", true, false),
            ("kimi-k2", "SCENARIO_K2", false, false),
            ("kimi-k2-thinking-search", "SCENARIO_K2", true, true),
            ("kimi-k2-search-thinking", "SCENARIO_K2", true, true),
            ("kimi-k1", "SCENARIO_K1D5", true, false),
            ("kimi-k1.5-search", "SCENARIO_K1D5", false, true),
            ("moonshot-v1-128k", "SCENARIO_K2D5", false, false),
            ("kimi-thinking", "SCENARIO_K2D5", true, false),
            ("Kimi-Search", "SCENARIO_K2D5", false, true),
            ("kimi-research", "SCENARIO_RESEARCH", true, true),
            ("kimi-k3", "SCENARIO_OK_COMPUTER", true, false),
        ] {
            let model = find(id).unwrap();
            assert_eq!(
                (model.upstream.as_str(), model.thinking, model.search),
                (scenario, thinking, search),
                "{id}"
            );
        }
    }

    #[test]
    fn lists_the_bold_ones_and_leaves_other_names_alone() {
        let ids: Vec<String> = listed().into_iter().map(|model| model.id).collect();
        assert_eq!(ids, LISTED);
        for id in [
            "",
            "-thinking",
            "kimi-k4",
            "kimi-k2.7",
            "gpt-4o",
            "kimik2",
            "kimi/kimi",
        ] {
            assert_eq!(find(id), None, "{id}");
        }
    }
}
