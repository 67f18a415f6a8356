//! Our model ids and what they mean upstream. Source: `wire/deepseek.md` section 4, "Models".

use crate::providers::Model;

/// 2026-03-01, the date of the page's oldest main source; constant, so that listings are stable.
const CREATED: i64 = 1_772_323_200;
/// "About 1,000,000 tokens" (section 4).
const CONTEXT: u32 = 1_000_000;

/// The model that takes pictures, and cannot search.
pub(super) const VISION: &str = "vision";
/// The model that silently ignores files.
pub(super) const EXPERT: &str = "expert";

/// id, `model_type`, thinks, is listed.
const MODELS: &[(&str, &str, bool, bool)] = &[
    ("deepseek-chat", "default", false, true),
    ("deepseek-reasoner", "default", true, true),
    ("deepseek-r1", "default", true, true),
    ("deepseek", "default", false, false),
    ("deepseek-v4-flash", "default", false, true),
    ("deepseek-v4-pro", "default", true, true),
    ("deepseek-expert", EXPERT, false, true),
    ("deepseek-vision", VISION, false, true),
];

/// The listed models.
pub(super) fn listed() -> Vec<Model> {
    MODELS
        .iter()
        .filter(|row| row.3)
        .map(|&(id, kind, thinking, _)| model(id, kind, thinking))
        .collect()
}

/// The model that an id means: the table, the table with `-search`, else the seed's rule for other names of this
/// service.
pub(super) fn find(id: &str) -> Option<Model> {
    // Ids are compared without case; what is not in the table keeps its own writing.
    let lower = id.to_ascii_lowercase();
    // In a loop: how many suffixes there are is up to the caller.
    let (mut base, mut searches) = (lower.as_str(), false);
    let found = loop {
        if let Some(&(_, kind, thinking, _)) = MODELS.iter().find(|row| row.0 == base) {
            break model(id, kind, thinking);
        }
        // `-search` once stripped, the loop looks again: `-search` may stand behind any of the ids.
        if let Some(rest) = base.strip_suffix("-search") {
            (base, searches) = (rest, true);
            continue;
        }
        let is_ours = ["deepseek-", "ds-"]
            .iter()
            .any(|prefix| base.starts_with(prefix));
        // The seed's rule for names that it does not know.
        let thinks = ["reasoner", "r1", "think"]
            .iter()
            .any(|word| base.contains(word));
        // A name with a slash is another provider's.
        if !is_ours || base.contains('/') {
            return None;
        }
        break model(id, "default", thinks);
    };
    let search = searches && found.upstream != VISION;
    Some(Model { search, ..found })
}

fn model(id: &str, kind: &str, thinking: bool) -> Model {
    Model {
        thinking,
        vision: kind == VISION,
        files: kind != EXPERT,
        context: Some(CONTEXT),
        ..Model::new(id, kind, CREATED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_table() {
        for (id, kind, thinking, search) in [
            ("deepseek-chat", "default", false, false),
            ("DeepSeek-Reasoner", "default", true, false),
            ("deepseek-r1-search", "default", true, true),
            ("deepseek", "default", false, false),
            ("deepseek-search", "default", false, true),
            ("deepseek-v4-flash", "default", false, false),
            ("deepseek-v4-pro", "default", true, false),
            ("deepseek-expert", "expert", false, false),
            ("deepseek-expert-search", "expert", false, true),
            ("deepseek-vision-search", "vision", false, false),
            ("deepseek-coder", "default", false, false),
            ("ds-think", "default", true, false),
        ] {
            let found = find(id).unwrap();
            assert_eq!(
                (
                    found.id.as_str(),
                    found.upstream.as_str(),
                    found.thinking,
                    found.search
                ),
                (id, kind, thinking, search)
            );
        }
    }

    #[test]
    fn suffixes_are_many() {
        let found = find(&format!("deepseek-chat{}", "-search".repeat(200_000))).unwrap();
        assert!(found.search && found.upstream == "default");
        assert_eq!(find(&"-search".repeat(200_000)), None);
    }

    #[test]
    fn lists_what_clients_of_the_official_api_ask_for() {
        let listed: Vec<String> = listed().into_iter().map(|model| model.id).collect();
        for id in ["deepseek-chat", "deepseek-v4-flash", "deepseek-v4-pro"] {
            assert!(listed.iter().any(|known| known == id), "{id}");
        }
        for id in ["deepseek-v4-flash-search", "DeepSeek-V4-Pro-Search"] {
            let found = find(id).unwrap();
            assert_eq!(
                (found.upstream.as_str(), found.search),
                ("default", true),
                "{id}"
            );
        }
    }

    #[test]
    fn leaves_other_sites_names_alone() {
        for id in [
            "gpt-4o",
            "deepseekish",
            "deepseek-ai/DeepSeek-V3",
            "-search",
            "",
        ] {
            assert_eq!(find(id), None, "{id}");
        }
    }
}
