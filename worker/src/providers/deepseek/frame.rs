//! The shapes of the stream's events: those that are no patches, the snapshot, and what paths and words mean.
//! Source: `wire/deepseek.md` section 6.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// `response/status`. Only this decides, never `quasi_status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Status {
    #[default]
    Wip,
    Finished,
    #[serde(alias = "AUTO_CONTINUE")]
    Incomplete,
    ContentFilter,
    #[serde(other)]
    Other,
}

/// The members of the events that are no patches. What is no object of this form is a no-op (section 6).
#[derive(Deserialize)]
pub(super) struct Notice<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) finish_reason: Option<Cow<'a, str>>,
    pub(super) response_message_id: Option<i64>,
    pub(super) message_id: Option<i64>,
    #[serde(borrow)]
    pub(super) choices: Option<Vec<Choice<'a>>>,
}

/// Of the choices generation (sample D).
#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(borrow)]
    pub(super) delta: Option<Delta<'a>>,
    #[serde(borrow)]
    pub(super) finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) search_results: Option<&'a RawValue>,
}

/// The snapshot that opens a stream.
#[derive(Deserialize)]
pub(super) struct Snapshot<'a> {
    pub(super) message_id: Option<i64>,
    pub(super) status: Option<Status>,
    pub(super) auto_continue: Option<bool>,
    pub(super) accumulated_token_usage: Option<u64>,
    #[serde(borrow)]
    pub(super) fragments: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) thinking_content: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct Root<'a> {
    #[serde(borrow)]
    pub(super) response: Option<&'a RawValue>,
}

/// The first four segments of a path; what is not there is empty.
pub(super) fn segments(path: &str) -> [&str; 4] {
    let mut segments = [""; 4];
    let given = path.split('/').filter(|segment| !segment.is_empty());
    for (at, segment) in given.enumerate() {
        match segments.get_mut(at) {
            Some(place) => *place = segment,
            // Nothing deeper is of interest.
            // The whole path is void then: a beginning of it might be taken for another one.
            None => return ["deeper"; 4],
        }
    }
    segments
}

pub(super) fn is_content(path: &str) -> bool {
    matches!(
        segments(path),
        ["response", "content" | "thinking_content", "", ..]
            | ["response", "fragments", _, "content"]
    )
}

/// Members of the message that are state: to be passed over (section 6), or known from its snapshots.
pub(super) fn is_state(word: &str) -> bool {
    matches!(
        word,
        "quasi_status"
            | "has_pending_fragment"
            | "conversation_mode"
            | "search_status"
            | "search_results"
            | "search_triggered"
            | "search_enabled"
            | "thinking_enabled"
            | "thinking_elapsed_secs"
            | "ban_regenerate"
            | "ban_edit"
            | "title"
            | "message_id"
            | "parent_id"
            | "model"
            | "role"
            | "incomplete_message"
            | "files"
            | "feedback"
            | "inserted_at"
    )
}

/// The same of a fragment.
pub(super) fn is_fragment_state(word: &str) -> bool {
    matches!(
        word,
        "elapsed_secs"
            | "status"
            | "references"
            | "queries"
            | "result"
            | "reference"
            | "style"
            | "hide_on_wip"
            | "stage_id"
            | "id"
            | "type"
    )
}

pub(super) fn is_status_word(text: &str) -> bool {
    matches!(
        text,
        "WIP" | "FINISHED" | "INCOMPLETE" | "CONTENT_FILTER" | "AUTO_CONTINUE"
    )
}
