//! What the model may call, and the form that its answer must have.

use std::borrow::Cow;

use super::{json::Json, text::Text};

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
        }
    }

    /// What it does, in words for the model.
    pub fn description(&self) -> Option<Cow<'_, str>> {
        self.description.as_ref()?.as_text()
    }
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
