//! Our ids and the service's models. Source: `wire/ernie.md` section 4.

use crate::providers::Model;

/// 2025-10-15, when the sibling project wrote the first of them down.
const CREATED: i64 = 1_760_486_400;

struct Row {
    id: &'static str,
    upstream: &'static str,
    /// `deepThoughtStatus` 2, unless the request switches thinking off.
    thinks: bool,
    is_listed: bool,
}

const fn row(id: &'static str, upstream: &'static str, thinks: bool, is_listed: bool) -> Row {
    Row {
        id,
        upstream,
        thinks,
        is_listed,
    }
}

const TABLE: &[Row] = &[
    row("ernie-4.5-turbo", "EB45T", false, true),
    row("ernie-x1", "X1_1", true, true),
    row("ernie-5.0", "EB50", true, true),
    row("ernie-3.5", "EB35", false, false),
    row("ernie-5.0-low", "EB50-ARENA-LOW-260110", false, false),
    row("ernie-5.0-high", "EB50-ARENA-HIGH-1220", false, false),
];

/// The models to list.
pub(super) fn listed() -> Vec<Model> {
    let listed = TABLE.iter().filter(|row| row.is_listed);
    listed.map(model).collect()
}

/// The model that an id means.
pub(super) fn find(id: &str) -> Option<Model> {
    let mut rows = TABLE.iter();
    rows.find(|row| row.id.eq_ignore_ascii_case(id)).map(model)
}

fn model(row: &Row) -> Model {
    Model {
        thinking: row.thinks,
        ..Model::new(row.id, row.upstream, CREATED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_table_and_lists_three() {
        let ids: Vec<String> = listed().into_iter().map(|model| model.id).collect();
        assert_eq!(ids, ["ernie-4.5-turbo", "ernie-x1", "ernie-5.0"]);
        for (id, expected) in [
            ("ernie-4.5-turbo", Some(("EB45T", false))),
            ("ERNIE-X1", Some(("X1_1", true))),
            ("ernie-5.0", Some(("EB50", true))),
            ("ernie-3.5", Some(("EB35", false))),
            ("ernie-5.0-low", Some(("EB50-ARENA-LOW-260110", false))),
            ("ernie-5.0-high", Some(("EB50-ARENA-HIGH-1220", false))),
            ("ernie", None),
            ("ernie-4", None),
        ] {
            let found = find(id);
            let found = found.as_ref().map(|it| (it.upstream.as_str(), it.thinking));
            assert_eq!(found, expected, "{id}");
        }
    }
}
