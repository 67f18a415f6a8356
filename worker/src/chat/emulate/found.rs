//! What a decoder finds in an answer.

use super::fact::Fact;
use crate::chat::Text;

/// One thing that was found, in the order of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Words for the client.
    Text(String),
    /// Thoughts for the client.
    Reasoning(String),
    /// A call: whole, and checked as far as its tool asks for.
    Call(Call),
    /// The turn is over: whatever the service still says is not looked at, and it can be stopped. The last thing, but for
    /// what [`super::turn::Turn::finish`] adds.
    Over,
    /// The model must be asked once more, because of this. The last thing.
    Again(Fact),
    /// The turn has failed. The last thing.
    Failed(Failure),
    /// Something was left out; only to be counted.
    Left(Left),
}

/// A call for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The tool's name as the request has it; of one that is not offered, as the model wrote it.
    pub name: Text,
    /// The arguments, a JSON object; of a custom tool, its text.
    pub arguments: String,
    /// The tool takes free text.
    pub is_custom: bool,
    /// How it was written.
    pub dialect: Dialect,
    /// What had to be done with it.
    pub outcome: Outcome,
}

/// How a call was written. Source: tools.md section 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// As the contract asks for.
    Canonical,
    /// D1: the same with another nonce, or none.
    Unmarked,
    /// D2: `<invoke name=…>` and its like, in whatever namespace.
    Invoke,
    /// D3: JSON in tags.
    TaggedJson,
    /// D4: `<function=NAME>`.
    Function,
    /// D5: the marks of a service's own template.
    Marks,
    /// D6: JSON is the whole answer.
    BareJson,
}

impl Dialect {
    /// The value of the label `dialect` of `hive_tool_calls_total`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Canonical => "canonical",
            Self::Unmarked => "unmarked",
            Self::Invoke => "invoke",
            Self::TaggedJson => "tagged_json",
            Self::Function => "function",
            Self::Marks => "marks",
            Self::BareJson => "bare_json",
        }
    }
}

/// What had to be done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing.
    Exact,
    /// Names, JSON or types were mended, without loss.
    Mended,
    /// It does not fit the schema, and leaves as it stands: the client answers the model with an error, which repairs
    /// better than the gateway can. Source: tools.md section 8, step 6.
    Misfit,
    /// No such tool is offered, and the model keeps to it.
    Unknown,
}

impl Outcome {
    /// The value of the label `outcome` of `hive_tool_calls_total`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Mended => "mended",
            Self::Misfit => "misfit",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a turn has failed: 502 before any output, the stream's error after it. Source: tools.md section 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// A call that nobody can carry out, twice or without a second chance.
    CallInvalid,
    /// `tool_choice` asked for a call that did not come, or for words.
    ChoiceNotMet,
    /// The answer is not the JSON that was asked for.
    OutputInvalid,
}

impl Failure {
    /// `error.code`
    pub fn code(self) -> &'static str {
        match self {
            Self::CallInvalid => "upstream_tool_call_invalid",
            Self::ChoiceNotMet => "tool_choice_not_met",
            Self::OutputInvalid => "structured_output_invalid",
        }
    }
}

/// What was left out of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Left {
    /// Words behind the calls. Source: tools.md section 6, rule 6.
    Decoration,
    /// A result that the model invented. Source: tools.md section 6, rule 7.
    Invented,
    /// Calls in the thoughts, where the answer itself says something. Source: tools.md section 6, rule 9.
    Thought,
    /// A call that cannot be carried out, behind one that was delivered.
    Broken,
    /// A call though `tool_choice` is `none`.
    Unwanted,
    /// Words of a second answer, of which only the calls count. Source: tools.md section 8, step 7.
    Second,
}

impl Left {
    /// The value of a metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Decoration => "decoration",
            Self::Invented => "invented",
            Self::Thought => "thought",
            Self::Broken => "broken",
            Self::Unwanted => "unwanted",
            Self::Second => "second",
        }
    }
}

/// How a service's answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The model had said all.
    Clean,
    /// The service says that it was cut off: by its length, or by moderation.
    Cut,
    /// The connection broke.
    Broken,
}
