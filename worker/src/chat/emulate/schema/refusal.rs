//! Why a request's tools cannot be offered.

use super::{MOST_NAME, MOST_SCHEMA_BYTES, MOST_SCHEMAS_BYTES, MOST_TOOLS};
use crate::chat::{Invalid, emulate::json::MOST_DEPTH};

/// What is wrong with a request's tools; becomes 400. Source: tools.md section 9.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More than [`MOST_TOOLS`].
    #[error("a request has at most {MOST_TOOLS} tools")]
    TooMany,
    /// A name of other characters, or too long.
    #[error("a tool's name has 1 to {MOST_NAME} of the characters A-Z a-z 0-9 _ . : / -")]
    Name,
    /// Two tools of one name.
    #[error("another tool has this name, too")]
    Twice,
    /// The parameters are no JSON Schema of an object.
    #[error("the parameters must be a JSON Schema of type object")]
    NoObject,
    /// A `$ref` that leads out of the schema.
    #[error("a $ref may only lead to a place in the same schema (#/…)")]
    Elsewhere,
    /// Larger than [`MOST_SCHEMA_BYTES`].
    #[error("a tool's schema has at most {MOST_SCHEMA_BYTES} bytes")]
    TooLong,
    /// All are larger than [`MOST_SCHEMAS_BYTES`].
    #[error("the schemas of all tools have at most {MOST_SCHEMAS_BYTES} bytes")]
    AllTooLong,
    /// Nested deeper than [`MOST_DEPTH`].
    #[error("a schema is nested at most {MOST_DEPTH} deep")]
    TooDeep,
    /// A `strict` tool whose schema no validator takes.
    #[error("a strict tool needs a valid JSON Schema")]
    Invalid,
    /// The choice names a tool that is not there.
    #[error("tool_choice names a tool that is not among the tools")]
    Choice,
}

impl Refusal {
    /// What the caller is told; `list` is what the caller calls the tools (`tools`, `functions`), `at` the tool's place in it.
    pub fn of_tool(self, list: &str, at: usize) -> Invalid {
        match self {
            Self::Choice => Invalid::field("tool_choice", self.to_string()),
            Self::TooMany | Self::AllTooLong => Invalid::field(list, self.to_string()),
            _ => Invalid::field(&format!("{list}[{at}]"), self.to_string()),
        }
    }
}
