//! What the model may call, and the form that its answer must have.

use std::borrow::Cow;

use md5::{Digest as _, Md5};
use rand::distr::{Alphanumeric, SampleString as _};

use super::{json::Json, text::Text};

/// Longest name of a function, as APIs take it.
const MOST_NAME_CHARS: usize = 64;
/// What is left of a longer one; the rest tells it from others that begin alike.
const NAME_HASH_CHARS: usize = 6;

/// Letters and digits of a call's id behind its prefix.
const ID_CHARS: usize = 24;

/// An id for a call whose model gave none: `call_` and random letters and digits, never a number that counts, since workers
/// restart and turns repeat. Source: tools.md section 11.
pub(crate) fn new_id() -> String {
    let mut id = String::from("call_");
    Alphanumeric.append_string(&mut rand::rng(), &mut id, ID_CHARS);
    id
}

/// Something that the caller runs for the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// What a call names. Of a [`ToolKind::Hosted`] one it is the type's name.
    pub name: Text,
    /// What it does, as a JSON string; see [`Tool::description`].
    pub description: Option<Json>,
    /// What a call of it holds.
    pub kind: ToolKind,
    /// The caller wants no call whose arguments do not fit the schema.
    pub is_strict: bool,
    /// It is named to the model, and described only once something in the history names it.
    pub is_deferred: bool,
    /// Where in the caller's own list it stands: errors name it so. Of one from elsewhere 0.
    pub place: usize,
}

/// What a call of a tool holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolKind {
    /// Arguments: a JSON object.
    Function {
        /// Their JSON Schema; absent: there are none.
        parameters: Option<Json>,
    },
    /// One free text.
    Custom {
        /// The text's grammar, in the dialect's own form.
        format: Option<Json>,
    },
    /// Whatever else a dialect calls a tool: only its own service runs it.
    Hosted,
}

impl Tool {
    /// A function.
    pub fn function(name: impl Into<Text>, description: &str, parameters: Option<Json>) -> Self {
        Self {
            name: name.into(),
            description: Some(Json::string(description)),
            kind: ToolKind::Function { parameters },
            is_strict: false,
            is_deferred: false,
            place: 0,
        }
    }

    /// What it does, in words for the model.
    pub fn description(&self) -> Option<Cow<'_, str>> {
        self.description.as_ref()?.as_text()
    }
}

/// The one name of a tool that stands in a namespace, as models and APIs know only one: the namespace, `__`, the name; of a
/// longer one than they take the beginning and a hash. Whoever hears of a call in two words says it with this name.
/// Source: doors.md section 5.
pub fn qualified(namespace: &str, name: &str) -> String {
    let whole = format!("{namespace}__{name}");
    if whole.chars().count() <= MOST_NAME_CHARS {
        return whole;
    }
    // Not for security: only to tell long names apart. A short digest that never changes between versions.
    let hash = Md5::digest(whole.as_bytes());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let kept = MOST_NAME_CHARS - NAME_HASH_CHARS - 1;
    // Characters and not bytes, as the APIs count them.
    let beginning = whole.chars().take(kept);
    let end = hash.chars().take(NAME_HASH_CHARS);
    beginning.chain(['_']).chain(end).collect()
}

/// Which tool a turn calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides whether, and which.
    #[default]
    Auto,
    /// None.
    None,
    /// At least one, whichever.
    Required,
    /// The one of this name.
    Named(Text),
    /// One of some.
    Allowed {
        /// Their names.
        names: Vec<Text>,
        /// At least one of them.
        is_required: bool,
    },
}

/// The form of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Words.
    #[default]
    Text,
    /// One JSON object, of whatever members.
    JsonObject,
    /// JSON that fits a schema.
    JsonSchema(Box<JsonSchema>),
    /// A form that nobody but the dialect's own service knows.
    Other {
        /// The dialect's word for it.
        kind: Text,
    },
}

/// A schema for the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonSchema {
    /// What the caller calls it.
    pub name: Text,
    /// What the answer is for, as a JSON string.
    pub description: Option<Json>,
    /// The JSON Schema.
    pub schema: Option<Json>,
    /// The caller wants no answer that does not fit.
    pub is_strict: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_stay_apart() {
        assert_eq!(qualified("clock", "now"), "clock__now");
        let fits = "n".repeat(64 - "ns__".len());
        assert_eq!(qualified("ns", &fits), format!("ns__{fits}"));
        let long = |end: &str| qualified("ns", &format!("{fits}{end}"));
        assert_eq!(long("a").chars().count(), 64);
        assert_ne!(long("a"), long("b"));
        assert_eq!(long("a"), long("a"));
    }
}
