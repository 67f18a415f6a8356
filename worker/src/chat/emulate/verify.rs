//! Whether an answer is the JSON that was asked for, and what becomes of it. Source: tools.md section 13.

use super::{
    fact::{Fact, FactKind},
    found::{End, Failure},
    json::{Scan, read, read_exact},
    ladder::coerce::fit,
    schema::{Shape, Types, shape_of},
    tree::Tree,
    turn::Round,
    verdict::Validator,
};
use crate::chat::Format;

/// Most pieces of JSON in an answer that are looked at.
const MOST_PIECES: usize = 16;

/// What becomes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// This is the answer.
    Send(String),
    /// The model is asked once more.
    Again(Fact),
    /// The model does not want to: its words are no answer, but what it says of that.
    Refused(String),
    /// The turn has failed.
    Failed(Failure),
}

/// Judges a whole answer.
pub fn judge(answer: String, wanted: &Wanted, end: End, round: Round) -> Judgement {
    // What there is: readers of a cut answer are told that it was cut.
    if end == End::Cut {
        return Judgement::Send(answer);
    }
    let Some(mut found) = find(&answer, wanted) else {
        return no_json(answer, wanted, round);
    };
    let mut complaints = wanted.complaints(&found.tree);
    // Mended only if that makes it right: else the model's own words are what is complained about.
    if !complaints.is_empty() && wanted.admits(&found.tree) {
        let mut fitted = found.tree.clone();
        if fit(&mut fitted, &wanted.shape) {
            let left = wanted.complaints(&fitted);
            if left.is_empty() {
                found = Piece {
                    tree: fitted,
                    exact: None,
                };
                complaints = left;
            }
        }
    }
    if complaints.is_empty() {
        let json = found.exact.map(str::to_owned);
        return Judgement::Send(json.unwrap_or_else(|| found.tree.to_json()));
    }
    if round == Round::First {
        return Judgement::Again(Fact::new(FactKind::Format, complaints.join("; ")));
    }
    // Of the right type at least, and not strict: better than nothing, and the client's own parser has the last word.
    if wanted.is_strict || !wanted.admits(&found.tree) {
        return Judgement::Failed(Failure::OutputInvalid);
    }
    let json = found.exact.map(str::to_owned);
    Judgement::Send(json.unwrap_or_else(|| found.tree.to_json()))
}

/// What is asked for: made as a request is prepared, as to compile a schema takes a while.
#[derive(Clone, Debug)]
pub struct Wanted {
    shape: Shape,
    validator: Option<Validator>,
    is_strict: bool,
}

impl Wanted {
    /// The one of a form; `None` for a form that is not JSON.
    pub fn of(format: &Format) -> Option<Self> {
        match format {
            Format::Text | Format::Other { .. } => None,
            Format::JsonObject => Some(Self {
                shape: Shape {
                    types: Types::OBJECT,
                    ..Shape::default()
                },
                validator: None,
                is_strict: false,
            }),
            Format::JsonSchema(format) => {
                let schema = format.schema.as_ref().map(|schema| schema.get());
                let tree = schema.and_then(|schema| read_exact(schema).ok());
                Some(Self {
                    shape: tree.as_ref().map(shape_of).unwrap_or_default(),
                    validator: schema.and_then(Validator::of),
                    is_strict: format.is_strict,
                })
            }
        }
    }

    /// Whether a value is of the right kind, whatever is in it.
    fn admits(&self, tree: &Tree) -> bool {
        self.shape.types.admit(tree)
    }

    fn complaints(&self, tree: &Tree) -> Vec<String> {
        if let Some(validator) = &self.validator {
            return validator.complaints(tree);
        }
        if self.admits(tree) {
            return Vec::new();
        }
        let types: Vec<_> = self.shape.types.names().collect();
        let found = tree.type_name();
        vec![format!(
            "the answer must be of type {}, and is of type {found}",
            types.join(" or ")
        )]
    }
}

/// JSON in an answer.
struct Piece<'a> {
    tree: Tree,
    /// As it is written, if nothing had to be mended.
    exact: Option<&'a str>,
}

impl<'a> Piece<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let reading = read(text.trim()).ok()?;
        Some(Self {
            exact: reading.is_exact.then_some(text),
            tree: reading.tree,
        })
    }
}

/// The whole answer as JSON; else what stands in its only fence; else the only piece of JSON in it.
fn find<'a>(answer: &'a str, wanted: &Wanted) -> Option<Piece<'a>> {
    let is_meant =
        // A bare word is mended to a text by the reader; as an answer that is prose.
        |piece: &Piece<'_>| !matches!(piece.tree, Tree::Text(_)) || piece.exact.is_some();
    if let Some(whole) = Piece::read(answer).filter(is_meant) {
        return Some(whole);
    }
    if let Some(fenced) = only_fence(answer).and_then(Piece::read).filter(is_meant) {
        return Some(Piece {
            exact: fenced.exact.map(str::trim),
            ..fenced
        });
    }
    let mut pieces: Vec<Piece<'a>> = balanced(answer).filter_map(Piece::read).collect();
    if pieces.len() > 1 {
        // Brackets in prose (`[1]`) are lists, too.
        pieces.retain(|piece| wanted.admits(&piece.tree));
    }
    // One and no other: of two nobody knows which is meant.
    let only = pieces.pop();
    only.filter(|_| pieces.is_empty())
}

fn only_fence(answer: &str) -> Option<&str> {
    let mut parts = answer.split("```");
    let (_, fenced, behind) = (parts.next()?, parts.next()?, parts.next()?);
    if behind.contains("```") || parts.next().is_some() {
        return None;
    }
    // Behind the opening marks stands the language.
    let (language, inside) = fenced.split_once('\n')?;
    language
        .trim()
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric())
        .then_some(inside)
}

/// The objects and lists that stand in a text, one behind the other.
fn balanced(answer: &str) -> impl Iterator<Item = &str> {
    let mut rest = answer;
    let next = move || {
        let begin = rest.find(['{', '['])?;
        let from = rest.get(begin..)?;
        let length = Scan::default().advance(from.as_bytes())?;
        let (piece, behind) = from.split_at_checked(length)?;
        rest = behind;
        Some(piece)
    };
    // Bounded, as prose may be full of brackets; each is scanned once.
    std::iter::from_fn(next).take(MOST_PIECES)
}

fn no_json(answer: String, wanted: &Wanted, round: Round) -> Judgement {
    if round != Round::First {
        return if is_refusal(&answer) {
            Judgement::Refused(answer)
        } else {
            Judgement::Failed(Failure::OutputInvalid)
        };
    }
    let types: Vec<_> = wanted.shape.types.names().collect();
    let types = if types.is_empty() {
        "value".to_owned()
    } else {
        types.join(" or ")
    };
    // Said differently, as the model has to do something else about it.
    let found = if balanced(&answer).nth(1).is_some() {
        "there are several"
    } else {
        "there is none"
    };
    Judgement::Again(Fact::new(
        FactKind::Format,
        format!("the answer must be one JSON {types}, and {found}"),
    ))
}

/// Longest refusal in characters: whoever does not want to says so in a few sentences.
const MOST_REFUSAL_CHARS: usize = 600;
/// What refusals begin with, in small letters.
const APOLOGIES: [&str; 8] = [
    "i'm sorry",
    "i am sorry",
    "sorry",
    "i apologize",
    "i apologise",
    "抱歉",
    "对不起",
    "很抱歉",
];
/// What is said in them of what was asked.
const UNWILLING: [&str; 12] = [
    "can't",
    "cannot",
    "can not",
    "unable to",
    "won't",
    "not able to",
    "not comfortable",
    "无法",
    "不能",
    "不可以",
    "没法",
    "不便",
];

/// Whether a text says that the model does not want to answer: an apology, and then that it can't. Less than both may as well
/// be about the form of the answer (`I cannot do that.`), which is an error and no refusal.
fn is_refusal(answer: &str) -> bool {
    let said = answer.trim();
    if said.chars().nth(MOST_REFUSAL_CHARS).is_some() {
        return false;
    }
    let said = said.replace('’', "'").to_lowercase();
    APOLOGIES.iter().any(|word| said.starts_with(word))
        && UNWILLING.iter().any(|word| said.contains(word))
}
