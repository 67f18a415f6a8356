//! Our model ids and what they mean upstream. Source: `wire/qwen.md` section 5.

use crate::providers::Model;

/// 2025-10-03, the date of the page's main source; constant, so that listings are stable.
const CREATED: i64 = 1_759_449_600;

/// id, upstream model, thinks, sees. In the order of the page; all are listed.
const MODELS: &[(&str, &str, bool, bool)] = &[
    ("qwen-plus", "qwen-plus", false, false),
    ("qwen-turbo", "qwen-turbo", false, false),
    ("qwen-max", "qwen-max", false, false),
    ("qwen-long", "Qwen-Long", false, false),
    ("qwen-vl-plus", "Qwen-VL-Max", false, true),
    ("Qwen3-Max-Preview", "Qwen3-Max-Preview", false, false),
    ("qwen", "Qwen", false, false),
    ("qwen3", "Qwen", false, false),
    ("qwen3-max", "Qwen3-Max", false, false),
    ("qwen3-flash", "Qwen3-Flash", false, false),
    (
        "qwen3-max-thinking",
        "Qwen3-Max-Thinking-Preview",
        true,
        false,
    ),
    ("qwen3-coder", "Qwen3-Coder", false, false),
    ("qwen3.5-plus", "Qwen3.5-Plus", false, false),
    ("qwen3.6-plus", "Qwen3.6-Plus", false, false),
    ("qwen-vl-max", "Qwen-VL-Max", false, true),
    ("qwen3.8-max", "Qwen3.8-Max", false, true),
    ("qwen3.7-max", "Qwen3.7-Max", false, false),
    ("qwen3.7", "Qwen", false, false),
    ("qwen3.6-flash", "Qwen3.6-Flash", false, false),
    ("qwen3.5-flash", "Qwen3.5-Flash", false, false),
    ("qwen3-omni-flash", "Qwen3-Omni-Flash", false, false),
];

/// The chat2 generation's name for what is called so in the `dialog` one, where the two differ.
const OF_CHAT2: &[(&str, &str)] = &[
    ("qwen-plus", "Qwen"),
    ("qwen-max", "Qwen"),
    ("qwen-turbo", "Qwen"),
    ("qwen-long", "Qwen"),
    ("qwen-vl-max", "Qwen3-VL-Plus"),
];

/// The chat2 generation's name of an upstream model.
pub(super) fn of_chat2(upstream: &str) -> &str {
    OF_CHAT2
        .iter()
        .find(|(dialog, _)| dialog.eq_ignore_ascii_case(upstream))
        .map_or(upstream, |(_, name)| name)
}

/// The listed models.
pub(super) fn listed() -> Vec<Model> {
    MODELS.iter().map(|row| model(row.0, row)).collect()
}

/// The model that an id means: the table, the table with a suffix, else the name unchanged.
pub(super) fn accept(id: &str) -> Model {
    if let Some(row) = MODELS.iter().find(|row| row.0.eq_ignore_ascii_case(id)) {
        return model(row.0, row);
    }
    // In a loop: how many suffixes there are is up to the caller.
    let (mut base, mut thinking, mut search) = (id, false, false);
    // Suffixes may be written twice; each round shortens the name.
    let found = loop {
        if let Some(row) = MODELS.iter().find(|row| row.0.eq_ignore_ascii_case(base)) {
            break model(id, row);
        }
        if let Some(rest) = without(base, "-search") {
            (base, search) = (rest, true);
        } else if let Some(rest) = without(base, "-thinking") {
            (base, thinking) = (rest, true);
        } else {
            // What the table does not know is judged by its name, as the seed does.
            let lower = base.to_ascii_lowercase();
            let thinks = lower == "qwq" || lower.contains("think");
            break model(id, &(base, base, thinks, lower.contains("-vl")));
        }
    };
    Model {
        thinking: found.thinking || thinking,
        search: found.search || search,
        ..found
    }
}

/// An id without a suffix in any case, if something is left.
fn without<'a>(id: &'a str, suffix: &str) -> Option<&'a str> {
    let (base, end) = id.split_at_checked(id.len().checked_sub(suffix.len())?)?;
    (end.eq_ignore_ascii_case(suffix) && !base.is_empty()).then_some(base)
}

/// As [`accept`], but only for names that are plainly this site's; those of pictures and videos belong to the
/// international one (section 3).
pub(super) fn find(id: &str) -> Option<Model> {
    let lower = id.to_ascii_lowercase();
    let is_ours = ["qwen", "qwq", "qvq", "tongyi"]
        .iter()
        .any(|prefix| lower.starts_with(prefix));
    // Media is the international site's, which is tried before (section 3).
    let is_media = ["wanx", "animate"].iter().any(|word| lower.contains(word))
        || ["-image", "-image-edit", "-video"]
            .iter()
            .any(|end| lower.ends_with(end));
    (is_ours && !id.contains('/') && !is_media).then(|| accept(id))
}

fn model(id: &str, &(_, upstream, thinking, vision): &(&str, &str, bool, bool)) -> Model {
    Model {
        thinking,
        vision,
        files: true,
        ..Model::new(id, upstream, CREATED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(id: &str) -> (String, bool, bool) {
        let model = accept(id);
        (model.upstream, model.thinking, model.search)
    }

    #[test]
    fn follows_the_table() {
        for (id, upstream, thinking, search) in [
            ("QWEN3", "Qwen", false, false),
            (
                "qwen3-max-thinking",
                "Qwen3-Max-Thinking-Preview",
                true,
                false,
            ),
            (
                "qwen3-max-thinking-search",
                "Qwen3-Max-Thinking-Preview",
                true,
                true,
            ),
            ("qwen-max-thinking", "qwen-max", true, false),
            ("qwen3-max-search", "Qwen3-Max", false, true),
            ("qwen-vl-plus", "Qwen-VL-Max", false, false),
            ("qwq", "qwq", true, false),
            ("qwen-thinker", "qwen-thinker", true, false),
            ("Qwen-New", "Qwen-New", false, false),
        ] {
            assert_eq!(meaning(id), (upstream.to_owned(), thinking, search), "{id}");
        }
    }

    /// The second table of wire/qwen.md section 5, row by row.
    #[test]
    fn follows_the_table_of_chat2() {
        for (ids, upstream) in [
            (
                "qwen qwen3 qwen3.7 qwen-plus qwen-max qwen-turbo qwen-long Qwen-Max",
                "Qwen",
            ),
            ("qwen3.8-max QWEN3.8-MAX", "Qwen3.8-Max"),
            ("qwen3.7-max", "Qwen3.7-Max"),
            ("qwen3.6-flash", "Qwen3.6-Flash"),
            ("qwen3.5-plus", "Qwen3.5-Plus"),
            ("qwen3.5-flash", "Qwen3.5-Flash"),
            ("qwen3-max", "Qwen3-Max"),
            ("qwen3-max-thinking", "Qwen3-Max-Thinking-Preview"),
            ("qwen3-coder", "Qwen3-Coder"),
            ("qwen-vl-plus qwen-vl-max", "Qwen3-VL-Plus"),
            ("qwen3-omni-flash", "Qwen3-Omni-Flash"),
            ("Qwen-Next", "Qwen-Next"),
        ] {
            for id in ids.split(' ') {
                assert_eq!(of_chat2(&accept(id).upstream), upstream, "{id}");
            }
        }
        let deep = accept("qwen3.8-max-thinking-search");
        assert!(deep.thinking && deep.search && deep.vision);
        assert_eq!(of_chat2(&deep.upstream), "Qwen3.8-Max");
    }

    #[test]
    fn suffixes_are_many_and_in_any_case() {
        let id = format!("qwen3-max{}-Thinking", "-search".repeat(200_000));
        assert_eq!(meaning(&id), ("Qwen3-Max".to_owned(), true, true));
        assert_eq!(meaning("-search"), ("-search".to_owned(), false, false));
        assert_eq!(accept("Qwen3-Search").id, "Qwen3-Search");
    }

    #[test]
    fn leaves_other_sites_names_alone() {
        for id in [
            "gpt-4o",
            "qwen-wanx-2",
            "wan-animate",
            "openai/qwen",
            "qwen-plus-image",
            "qwen3-max-Video",
            "",
        ] {
            assert_eq!(find(id), None, "{id}");
        }
    }
}
