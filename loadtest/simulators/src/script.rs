//! What the next answers say, when a test wants it exactly.

use serde::{Deserialize, Serialize};

/// An answer, to the letter. Fields left out follow the prompt as if there were no script for them: a script with only
/// `quirks` changes how the answer travels and not what it says.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The thoughts before the answer.
    pub reasoning: Option<String>,
    /// The answer.
    pub text: Option<String>,
    /// The answer in exactly these pieces; goes before `text`.
    pub pieces: Option<Vec<String>>,
    /// Texts and pieces tell calls in the notation of `calls`, as a model writes them that was told of tools.
    pub notation: bool,
    /// Cut texts into pieces of this many characters.
    pub piece_chars: Option<usize>,
    /// Pages that the answer refers to.
    pub citations: Option<Vec<Citation>>,
    /// Addresses of pictures in the answer.
    pub images: Option<Vec<String>>,
    /// The calls that the answer makes, of services that have calls of their own; there is no other text then than the
    /// script's.
    pub calls: Option<Vec<Called>>,
    /// The pause before each piece, in milliseconds.
    pub pace_ms: Option<u64>,
    /// Cut the bytes on the wire into writes of this many bytes, wherever that falls.
    pub write_bytes: Option<usize>,
    /// The body of the answer byte for byte, instead of everything above: a recorded sample.
    pub raw: Option<String>,
    /// Oddities of this service's stream by name; see `Control::known_quirks`.
    pub quirks: Vec<String>,
    /// For how many answers; 0: until cleared. `None`: one.
    pub times: Option<u32>,
}

/// A call that an answer makes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Called {
    /// What is called: of a tool in a namespace both names with `__` between them.
    pub name: String,
    /// Its arguments, right or wrong; of a tool that takes a text the text.
    pub arguments: String,
}

/// A page that an answer refers to.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Citation {
    /// Its address.
    pub url: String,
    /// Its title.
    pub title: String,
}

impl Citation {
    pub(super) fn new(url: &str, title: &str) -> Self {
        Self {
            url: url.to_owned(),
            title: title.to_owned(),
        }
    }
}
