//! What is wrong with an answer, told to its model: facts, no scolding. Source: tools.md section 8, step 7.

use std::fmt;

use super::{
    found::Failure,
    schema::{Must, Offered},
    verdict::shortened,
};

/// Longest fact, in characters.
pub const MOST_FACT: usize = 200;
/// Longest name of somebody else's in a fact.
const MOST_NAME: usize = 40;

/// Why the model is asked once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What kind of thing is wrong.
    pub kind: FactKind,
    words: String,
}

/// Kinds of facts: each asks for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FactKind {
    /// The call was not finished.
    Void,
    /// There is no such tool.
    Unknown,
    /// A value cannot be read.
    Unreadable,
    /// The arguments do not fit a strict tool's schema.
    Misfit,
    /// A call is wanted, and there is none, or of another tool.
    NoCall,
    /// Words are wanted, and there is only a call.
    NoWords,
    /// Neither words nor a call.
    Nothing,
    /// The service has taken the tool's name for one of its own: all names must be others. Source: tools.md section 5.
    Taken,
    /// The answer is not the JSON that was asked for. Source: tools.md section 13.
    Format,
}

impl FactKind {
    /// The value of the label `reason` of `hive_reasks_total`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Void => "void",
            Self::Unknown => "unknown",
            Self::Unreadable => "unreadable",
            Self::Misfit => "misfit",
            Self::NoCall => "no_call",
            Self::NoWords => "no_words",
            Self::Nothing => "nothing",
            Self::Taken => "taken",
            Self::Format => "format",
        }
    }

    /// What has failed where the model cannot be asked once more.
    pub fn failure(self) -> Failure {
        match self {
            Self::NoCall | Self::NoWords => Failure::ChoiceNotMet,
            Self::Format => Failure::OutputInvalid,
            Self::Void
            | Self::Unknown
            | Self::Unreadable
            | Self::Misfit
            | Self::Nothing
            | Self::Taken => Failure::CallInvalid,
        }
    }

    /// Whether the second answer's words are for the client: where words are what was missing. Else they are about the
    /// question that the client never saw.
    pub fn asks_for_words(self) -> bool {
        matches!(self, Self::NoWords | Self::Nothing | Self::Taken)
    }
}

impl Fact {
    /// In these words, of which at most [`MOST_FACT`] characters are kept.
    pub fn new(kind: FactKind, words: impl Into<String>) -> Self {
        let words = shortened(words.into(), MOST_FACT);
        Self { kind, words }
    }

    /// A call that ended too early, in this argument where it is known.
    pub(super) fn void(tool: Option<&str>, param: Option<&str>) -> Self {
        let words = match (tool, param) {
            (Some(tool), Some(param)) => format!(
                "the call of {} ended inside its argument {}",
                name(tool),
                name(param)
            ),
            (Some(tool), None) => {
                format!("the call of {} ended before it was complete", name(tool))
            }
            (None, _) => "the block ended before a call was complete".to_owned(),
        };
        Self::new(FactKind::Void, words)
    }

    /// A call that names no tool.
    pub(super) fn nameless() -> Self {
        Self::new(FactKind::Void, "the call did not say which tool is called")
    }

    /// A call of a tool that is not there.
    pub(super) fn unknown(tool: &str, offered: &Offered) -> Self {
        let mut words = format!("there is no tool {}; the tools are: ", name(tool));
        for (at, tool) in offered.offered().enumerate() {
            if at > 0 {
                words.push_str(", ");
            }
            words.push_str(tool.rendered_name());
            // The rest would be cut off anyway (`shortened`).
            if words.len() > 4 * MOST_FACT {
                break;
            }
        }
        Self::new(FactKind::Unknown, words)
    }

    /// A value that cannot be read; `param`: `None` for all arguments.
    pub(super) fn unreadable(tool: &str, param: Option<&str>, why: &dyn fmt::Display) -> Self {
        let what = param.map_or_else(|| "the arguments".to_owned(), name);
        let words = format!("{what} in the call of {} cannot be read: {why}", name(tool));
        Self::new(FactKind::Unreadable, words)
    }

    /// Arguments that do not fit.
    pub(super) fn misfit(tool: &str, complaints: &[String]) -> Self {
        let words = format!("in the call of {}: {}", name(tool), complaints.join("; "));
        Self::new(FactKind::Misfit, words)
    }

    /// The call that `tool_choice` asks for is not there.
    pub(super) fn no_call(offered: &Offered) -> Self {
        let words = match offered.must {
            Must::This(at) => {
                let tool = offered.tools.get(at);
                let tool = tool.map_or("the tool", |tool| tool.rendered_name());
                format!(
                    "it must contain a call of {}, and there is none",
                    name(tool)
                )
            }
            Must::Maybe | Must::Never | Must::Some => {
                "it must contain a call, and there is none".to_owned()
            }
        };
        Self::new(FactKind::NoCall, words)
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

fn name(name: &str) -> String {
    // A name of a model's own making may hold anything; the fact is put into a prompt, where a line break would begin a
    // new line.
    let name = name.replace(char::is_control, " ");
    shortened(name, MOST_NAME)
}
