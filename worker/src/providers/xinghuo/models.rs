//! Our model ids. No field of a request picks the model: ids are labels, and two of them think. Source:
//! `wire/xinghuo.md` section 4.5.

use crate::providers::Model;

/// 2025-10-01, the month of the page's main source; constant, so that listings are stable.
const CREATED: i64 = 1_759_276_800;
/// Shorter numbers are no bots.
const SHORTEST_BOT_ID: usize = 3;

/// id, thinks. In the order of the page; all are listed.
const MODELS: &[(&str, bool)] = &[
    ("spark-3.5-max", false),
    ("spark-pro", false),
    ("spark-v2.0", false),
    ("spark-lite", false),
    ("spark-4.0-ultra", false),
    ("spark-x1", true),
    ("spark-x2", true),
    ("spark-x2-flash", false),
    ("spark-x2.5", false),
    ("spark", false),
];

/// The listed models.
pub(super) fn listed() -> Vec<Model> {
    MODELS
        .iter()
        .map(|&(id, thinking)| model(id, thinking))
        .collect()
}

/// The model that an id means: a row of the table, or a bot.
pub(super) fn find(id: &str) -> Option<Model> {
    let row = MODELS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(id));
    row.map(|&(id, thinking)| model(id, thinking))
        .or_else(|| bot_id(id).map(|_| model(id, false)))
}

/// The bot that a model stands for.
pub(super) fn bot(model: &Model) -> Option<u64> {
    bot_id(&model.upstream)
}

fn bot_id(id: &str) -> Option<u64> {
    let is_number = id.len() >= SHORTEST_BOT_ID && id.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| id.parse().ok()).flatten()
}

fn model(id: &str, thinking: bool) -> Model {
    Model {
        thinking,
        vision: true,
        files: true,
        ..Model::new(id, id, CREATED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_the_table_and_two_think() {
        let ids: Vec<String> = listed().into_iter().map(|model| model.id).collect();
        assert_eq!(
            ids,
            [
                "spark-3.5-max",
                "spark-pro",
                "spark-v2.0",
                "spark-lite",
                "spark-4.0-ultra",
                "spark-x1",
                "spark-x2",
                "spark-x2-flash",
                "spark-x2.5",
                "spark"
            ]
        );
        let thinkers: Vec<String> = listed()
            .into_iter()
            .filter(|model| model.thinking)
            .map(|model| model.id)
            .collect();
        assert_eq!(thinkers, ["spark-x1", "spark-x2"]);
        assert_eq!(
            find("Spark-X1").map(|model| model.id).as_deref(),
            Some("spark-x1")
        );
    }

    #[test]
    fn numbers_of_three_digits_and_more_are_bots() {
        assert_eq!(find("1662").as_ref().and_then(bot), Some(1662));
        assert_eq!(find("100").as_ref().and_then(bot), Some(100));
        assert_eq!(find("spark").as_ref().and_then(bot), None);
        for id in [
            "12",
            "",
            "1e5",
            "-123",
            "１２３",
            "99999999999999999999999",
            "gpt-4o",
            "spark-5",
        ] {
            assert_eq!(find(id), None, "{id}");
        }
    }
}
