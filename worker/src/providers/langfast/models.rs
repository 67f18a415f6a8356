//! The models and what each takes. Source: `wire/langfast.md` section 4.

use crate::{
    chat::{Field, Support},
    providers::Model,
};

/// `created` of gpt-5 and its siblings, and of all the others.
const CREATED_GPT_5: i64 = 1_754_672_525;
const CREATED: i64 = 1_751_306_799;

/// What the models of a family have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `gpt-4.1`, `gpt-4o`, …
    Chat,
    /// The same without `json_schema`.
    OldChat,
    /// `o1`, `o3`, …
    Reasoning,
    /// `o1-mini`, which takes neither instructions nor parameters.
    Bare,
    /// `gpt-5`, …
    Gpt5,
}

/// One model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) family: Family,
    /// Most that `max_completion_tokens` may say.
    pub(super) most_tokens: u64,
}

const fn row(id: &'static str, family: Family, most_tokens: u64) -> Row {
    Row {
        id,
        family,
        most_tokens,
    }
}

/// In the order of the page, the page's default model first.
pub(super) const ROWS: &[Row] = &[
    row("gpt-4o-mini", Family::Chat, 16_384),
    row("gpt-4.1", Family::Chat, 32_768),
    row("gpt-4.1-mini", Family::Chat, 32_768),
    row("gpt-4.1-nano", Family::Chat, 32_768),
    row("gpt-4o", Family::Chat, 16_384),
    row("gpt-4.5-preview", Family::Chat, 16_384),
    row("gpt-4-turbo", Family::OldChat, 4_096),
    row("gpt-4", Family::OldChat, 4_096),
    row("gpt-3.5-turbo", Family::OldChat, 4_096),
    row("o1", Family::Reasoning, 100_000),
    row("o3", Family::Reasoning, 100_000),
    row("o3-mini", Family::Reasoning, 100_000),
    row("o4-mini", Family::Reasoning, 100_000),
    row("o1-mini", Family::Bare, 65_536),
    row("gpt-5", Family::Gpt5, 128_000),
    row("gpt-5-mini", Family::Gpt5, 128_000),
    row("gpt-5-nano", Family::Gpt5, 128_000),
];

/// Guests are used in turn, whoever asks. `max_tokens` stays with the gateway, which also sends it along: a service
/// that does not obey it is cut off.
const ALL: &[(Field, Support)] = &[(Field::User, Support::Ignored)];
const SAMPLING: &[(Field, Support)] = &[
    (Field::Temperature, Support::Honoured),
    (Field::TopP, Support::Honoured),
    (Field::PresencePenalty, Support::Honoured),
    (Field::FrequencyPenalty, Support::Honoured),
];
const FORMAT: &[(Field, Support)] = &[(Field::Format, Support::Honoured)];
const EFFORT: &[(Field, Support)] = &[(Field::Effort, Support::Honoured)];
const VERBOSITY: &[(Field, Support)] = &[(Field::Verbosity, Support::Honoured)];

impl Family {
    /// What becomes of the request fields.
    pub(super) fn fields(self) -> &'static [&'static [(Field, Support)]] {
        match self {
            Self::Chat => &[ALL, SAMPLING, FORMAT],
            // It knows `json_object`, but no schema: the gateway has both for it, so that one form is not better kept than
            // the other.
            Self::OldChat => &[ALL, SAMPLING],
            Self::Reasoning => &[ALL, FORMAT, EFFORT],
            Self::Bare => &[ALL],
            Self::Gpt5 => &[ALL, FORMAT, EFFORT, VERBOSITY],
        }
    }

    /// What instructions are called; `None`: they go in front of the first question.
    pub(super) fn system_role(self) -> Option<&'static str> {
        match self {
            Self::Chat | Self::OldChat => Some("system"),
            Self::Reasoning | Self::Gpt5 => Some("developer"),
            Self::Bare => None,
        }
    }

    pub(super) fn takes_sampling(self) -> bool {
        matches!(self, Self::Chat | Self::OldChat)
    }

    pub(super) fn takes_format(self) -> bool {
        self != Self::Bare
    }

    pub(super) fn takes_schema(self) -> bool {
        !matches!(self, Self::Bare | Self::OldChat)
    }

    /// The efforts from least to most; empty: the model knows none.
    pub(super) fn efforts(self) -> &'static [&'static str] {
        match self {
            Self::Chat | Self::OldChat | Self::Bare => &[],
            Self::Reasoning => &["low", "medium", "high"],
            Self::Gpt5 => &["minimal", "low", "medium", "high"],
        }
    }

    pub(super) fn takes_verbosity(self) -> bool {
        self == Self::Gpt5
    }
}

/// The listed models.
pub(super) fn listed() -> Vec<Model> {
    ROWS.iter().map(model).collect()
}

/// The model that an id means, whatever its case.
pub(super) fn find(id: &str) -> Option<Model> {
    ROWS.iter()
        .find(|row| row.id.eq_ignore_ascii_case(id))
        .map(model)
}

/// The row of a model of ours; the default's for anything else, which cannot be.
pub(super) fn row_of(model: &Model) -> Row {
    // `model.upstream` is always one of ours: [`find`] has made it.
    let found = ROWS.iter().find(|row| row.id == model.upstream);
    found
        .copied()
        .unwrap_or(row("gpt-4o-mini", Family::Chat, 16_384))
}

fn model(row: &Row) -> Model {
    let created = if row.family == Family::Gpt5 {
        CREATED_GPT_5
    } else {
        CREATED
    };
    Model {
        thinking: matches!(row.family, Family::Reasoning | Family::Bare | Family::Gpt5),
        ..Model::new(row.id, row.id, created)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::fields;

    #[test]
    fn all_seventeen_are_there() {
        let ids: std::collections::BTreeSet<_> = ROWS.iter().map(|row| row.id).collect();
        assert_eq!((ids.len(), ROWS.len()), (17, 17));
        assert_eq!(
            find("GPT-4o").map(|model| model.upstream).as_deref(),
            Some("gpt-4o")
        );
        assert_eq!(find("gpt-9"), None);
    }

    #[test]
    fn the_fields_table_follows_the_rows() {
        for row in ROWS {
            let is_honoured =
                |field| fields::support(row.family.fields(), field) == Support::Honoured;
            assert_eq!(
                is_honoured(Field::Temperature),
                row.family.takes_sampling(),
                "{}",
                row.id
            );
            assert_eq!(
                is_honoured(Field::Effort),
                !row.family.efforts().is_empty(),
                "{}",
                row.id
            );
            assert_eq!(
                is_honoured(Field::Verbosity),
                row.family.takes_verbosity(),
                "{}",
                row.id
            );
            assert_eq!(
                is_honoured(Field::Format),
                row.family.takes_schema(),
                "{}",
                row.id
            );
        }
    }
}
