//! From a call as the model wrote it to one that the client can carry out, or to what is wrong with it. Source: tools.md
//! sections 4 and 8.

pub mod coerce;
mod path;
mod value;

use path::{Gap, Parts, Path};
use value::Value;

use super::{
    fact::Fact,
    found::{Call, Dialect, Outcome},
    json::{Unreadable, read},
    schema::{CUSTOM_INPUT, Fields, MOST_NAME, Offered, OfferedTool, Shape},
    tree::Tree,
};
use crate::chat::Text;

/// A call as it was written.
#[derive(Clone, Debug)]
pub(super) struct RawCall {
    pub(super) dialect: Dialect,
    pub(super) name: String,
    pub(super) body: Body,
}

/// The arguments as they were written.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// One by one, in their order.
    Args(Vec<RawArg>),
    /// All as the text of one JSON object.
    Json(String),
    /// The same, read.
    Tree(Tree),
}

/// One argument as it was written.
#[derive(Clone, Debug)]
pub(super) struct RawArg {
    pub(super) name: String,
    /// All that stands between its tags.
    pub(super) value: String,
    /// What the tag itself says about it.
    pub(super) said: Said,
}

/// Whether a value is text, in the words of its tag (`string="true"`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Said {
    #[default]
    Nothing,
    Text,
    Json,
}

/// What becomes of a call. Source: tools.md section 8, step 6.
#[derive(Clone, Debug)]
pub(super) enum Judged {
    /// It can go out.
    Good(Call),
    /// The model is asked again, because of the fact; if that cannot be, or was no use, the call goes out as it stands where
    /// it can.
    Bad(Fact, Option<Call>),
}

/// Judges a call.
pub(super) fn judge(raw: RawCall, offered: &Offered) -> Judged {
    let Some(tool) = offered.find(&raw.name).and_then(|at| offered.tools.get(at)) else {
        return unknown(raw, offered);
    };
    // The model's spelling of a name is mended by the rules of [`Offered::find`]; that counts as mending.
    let mut is_mended = *raw.name != *tool.rendered_name();
    let arguments = match raw.body {
        Body::Args(args) => from_args(args, &tool.params, &mut is_mended),
        Body::Json(json) => from_json(&json, &mut is_mended),
        Body::Tree(tree) => from_tree(tree, &mut is_mended),
    };
    let mut members = match arguments {
        Ok(members) => members,
        Err(Flaw { param, why }) => {
            let fact = Fact::unreadable(&raw.name, param.as_deref(), &why);
            return Judged::Bad(fact, None);
        }
    };
    is_mended |= coerce::fit_members(&mut members, &tool.params);
    let is_fit = coerce::are_fit(&members, &tool.params);
    let arguments = Tree::Object(members);
    // Only strict tools are checked before they leave: the client's own error repairs better ([`Outcome::Misfit`]).
    if let Some(validator) = &tool.validator {
        let complaints = validator.complaints(&arguments);
        if !complaints.is_empty() {
            return Judged::Bad(Fact::misfit(&raw.name, &complaints), None);
        }
    }
    let arguments = match custom_input(tool, &arguments) {
        Some(Ok(input)) => input,
        Some(Err(fact)) => return Judged::Bad(fact, None),
        None => arguments.to_json(),
    };
    let outcome = match (is_fit, is_mended) {
        (false, _) => Outcome::Misfit,
        (true, true) => Outcome::Mended,
        (true, false) => Outcome::Exact,
    };
    Judged::Good(Call {
        name: tool.name.clone(),
        arguments,
        is_custom: tool.is_custom,
        dialect: raw.dialect,
        outcome,
    })
}

/// A call of a tool that is not offered: its arguments as they are.
fn unknown(raw: RawCall, offered: &Offered) -> Judged {
    let fact = Fact::unknown(&raw.name, offered);
    let mut is_mended = false;
    let arguments = match raw.body {
        Body::Args(args) => from_args(args, &Fields::default(), &mut is_mended),
        Body::Json(json) => from_json(&json, &mut is_mended),
        Body::Tree(tree) => from_tree(tree, &mut is_mended),
    };
    // A name that no API takes would break the client instead of telling it something.
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte);
    let is_sayable = (1..=MOST_NAME).contains(&raw.name.len()) && raw.name.bytes().all(is_of_name);
    let call = arguments.ok().filter(|_| is_sayable).map(|members| Call {
        name: Text::from(raw.name),
        arguments: Tree::Object(members).to_json(),
        is_custom: false,
        dialect: raw.dialect,
        outcome: Outcome::Unknown,
    });
    Judged::Bad(fact, call)
}

/// The text of a custom tool; `None` for a function.
fn custom_input(tool: &OfferedTool, arguments: &Tree) -> Option<Result<String, Fact>> {
    if !tool.is_custom {
        return None;
    }
    let input = arguments.get(CUSTOM_INPUT).and_then(Tree::as_text);
    let lacking = || Fact::unreadable(tool.rendered_name(), Some(CUSTOM_INPUT), &"it is missing");
    Some(input.map(str::to_owned).ok_or_else(lacking))
}

type Members = Vec<(String, Tree)>;

/// Why arguments cannot be had.
struct Flaw {
    /// `None`: all of them.
    param: Option<String>,
    why: String,
}

impl Flaw {
    fn of_all(why: impl ToString) -> Self {
        Self {
            param: None,
            why: why.to_string(),
        }
    }
}

fn from_json(json: &str, is_mended: &mut bool) -> Result<Members, Flaw> {
    let json = json.trim();
    if json.is_empty() {
        return Ok(Members::new());
    }
    let reading = read(json).map_err(Flaw::of_all)?;
    *is_mended |= !reading.is_exact;
    match reading.tree {
        Tree::Object(members) => Ok(members),
        // Once as text in text, but not deeper.
        Tree::Text(inside) => match read(&inside) {
            Ok(inside) => match inside.tree {
                Tree::Object(members) => Ok(members),
                _ => Err(Flaw::of_all("they are no object")),
            },
            Err(error) => Err(Flaw::of_all(error)),
        },
        Tree::Null => Ok(Members::new()),
        _ => Err(Flaw::of_all("they are no object")),
    }
}

fn from_tree(tree: Tree, is_mended: &mut bool) -> Result<Members, Flaw> {
    match tree {
        Tree::Object(members) => Ok(members),
        Tree::Null => Ok(Members::new()),
        Tree::Text(json) => from_json(&json, is_mended),
        _ => Err(Flaw::of_all("they are no object")),
    }
}

/// An argument that is given in parts, whole or not.
struct Given {
    name: String,
    whole: Option<Tree>,
    parts: Option<Parts>,
}

fn from_args(args: Vec<RawArg>, fields: &Fields, is_mended: &mut bool) -> Result<Members, Flaw> {
    let mut given: Vec<Given> = Vec::with_capacity(args.len());
    for arg in args {
        let place = Place::of(&arg.name, fields, is_mended);
        let read = value::read(arg.value, place.shape, arg.said);
        let value = match read.map_err(|why| flaw(&arg.name, why))? {
            Value::Exact(tree) => tree,
            Value::Mended(tree) => {
                *is_mended = true;
                tree
            }
        };
        // By position: the last value of a name counts, at the place of the first.
        let at = given.iter().position(|given| given.name == place.name);
        let at = at.unwrap_or_else(|| {
            given.push(Given {
                name: place.name,
                whole: None,
                parts: None,
            });
            given.len() - 1
        });
        let Some(given) = given.get_mut(at) else {
            // Cannot be: `at` is the place of one that is there.
            continue;
        };
        match place.path {
            None => given.whole = Some(value),
            Some(path) => {
                let parts = match path.steps.first() {
                    Some(first) => given.parts.get_or_insert_with(|| Parts::of(first)),
                    None => continue,
                };
                let set = parts.set(&path.steps, value);
                set.map_err(|gap: Gap| flaw(&path.root, gap))?;
            }
        }
    }
    given
        .into_iter()
        .map(|given| {
            let value = match given.parts {
                None => given.whole.unwrap_or_default(),
                Some(parts) => {
                    let whole = given.whole.map(opened);
                    parts.merged(whole).map_err(|gap| flaw(&given.name, gap))?
                }
            };
            Ok((given.name, value))
        })
        .collect()
}

/// A list or object that came as text, as such: parts of it can be set only so.
fn opened(whole: Tree) -> Tree {
    let inside = whole.as_text().and_then(|text| read(text).ok());
    inside.map_or(whole, |inside| inside.tree)
}

fn flaw(param: &str, why: impl ToString) -> Flaw {
    Flaw {
        param: Some(param.to_owned()),
        why: why.to_string(),
    }
}

/// What an argument's name means.
struct Place<'a> {
    /// The argument.
    name: String,
    /// Where in it; `None`: all of it.
    path: Option<Path>,
    /// What stands there, if anything is said about it.
    shape: Option<&'a Shape>,
}

impl<'a> Place<'a> {
    /// A property of this literal name wins over a path, and a path over a name that is only alike.
    fn of(name: &str, fields: &'a Fields, is_mended: &mut bool) -> Self {
        if let Some(prop) = fields.find(name) {
            return Self {
                name: name.to_owned(),
                path: None,
                shape: Some(&prop.shape),
            };
        }
        if let Some(mut path) = Path::read(name)
            && let Some(prop) = fields.find_loosely(&path.root)
        {
            path.root.clone_from(&prop.name);
            return Self {
                name: prop.name.clone(),
                shape: path.settle(&prop.shape),
                path: Some(path),
            };
        }
        let prop = fields.find_loosely(name);
        *is_mended |= prop.is_some();
        let name = prop.map_or(name, |prop| &prop.name);
        Self {
            name: name.to_owned(),
            path: None,
            shape: fields.shape_of(name),
        }
    }
}

/// Whether `name` is an argument of these, or a place in one. For the decoder, which tells openers from text by it.
pub(super) fn is_argument(name: &str, fields: &Fields) -> bool {
    let is_known = |name: &str| fields.find_loosely(name).is_some();
    is_known(name) || Path::read(name).is_some_and(|path| is_known(&path.root))
}

impl From<Unreadable> for Flaw {
    fn from(error: Unreadable) -> Self {
        Self::of_all(error)
    }
}
