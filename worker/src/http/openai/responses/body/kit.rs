//! All tools of a request, from wherever they came, as the model is offered them. Source: doors.md section 5.

use std::collections::{HashMap, HashSet};

use super::{
    plain,
    tool::{Given, Kind, One},
};
use crate::{
    chat::{
        Asked, Field, Invalid, Json, Text, Tool,
        tools::{ToolKind, qualified},
    },
    http::{
        openai::responses::{
            builtin,
            toolbox::{Origin, Place, Toolbox},
        },
        reading::quoted,
    },
    impossible::OrImpossible as _,
};

/// Most types that are named as having no effect: a header has room for so many.
const MOST_NAMED: usize = 32;

/// The tools so far.
#[derive(Debug, Default)]
pub(super) struct Kit {
    tools: Vec<Tool>,
    /// Where in the list the tool of a name is.
    places: HashMap<Text, usize>,
    pub(super) toolbox: Toolbox,
    /// Web search, by the type that asks for it.
    pub(super) search: Option<Text>,
    /// What has no effect, as it is told.
    ignored: Vec<String>,
}

/// Where tools stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In `tools`, which names each tool once.
    Request,
    /// In the history, where one may be given anew.
    History,
    /// Found by a search: no longer only named.
    Found,
}

/// Where one tool stands.
#[derive(Clone, Copy, Debug)]
struct Whence {
    source: Source,
    /// In its list.
    place: usize,
}

impl Kit {
    /// Takes more tools.
    ///
    /// # Errors
    /// Two different tools that the model would know by one name.
    pub(super) fn take(&mut self, given: Vec<Given>, source: Source) -> Result<(), Invalid> {
        for (place, given) in given.into_iter().enumerate() {
            let from = Whence { source, place };
            match given {
                Given::One(one) => self.add(one, None, from)?,
                Given::Namespace { name, tools } => {
                    for tool in tools {
                        self.add(tool, Some(&name), from)?;
                    }
                }
                // Preview and dated types mean the same search; the last is the one that is told.
                Given::Search {
                    kind,
                    is_live: true,
                } => self.search = Some(kind),
                Given::Search { kind, .. } | Given::Unknown(kind) => {
                    self.ignore("tools", &kind);
                }
            }
        }
        Ok(())
    }

    /// Remembers that something of this type has no effect.
    pub(super) fn ignore(&mut self, member: &str, kind: &str) {
        let name = format!("{member}.{}", plain(kind));
        // A header has a limit, and a body may have a thousand types; each is told once.
        if self.ignored.len() < MOST_NAMED && !self.ignored.contains(&name) {
            self.ignored.push(name);
        }
    }

    /// The history names these: they are described from now on.
    pub(super) fn describe(&mut self, called: &HashSet<Text>) {
        for tool in &mut self.tools {
            // A call of it stands in the history: the model has been shown its schema, and would be lost without.
            tool.is_deferred &= !called.contains(&tool.name);
        }
    }

    /// Whether the model is offered anything.
    pub(super) fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// Whether the model knows this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// What is offered, what answers need of it, and what has no effect.
    pub(super) fn done(self) -> (Vec<Tool>, Toolbox, impl Iterator<Item = Asked>) {
        let asked = |name: String| Asked {
            field: Field::Foreign,
            name: name.into(),
        };
        (
            self.tools,
            self.toolbox,
            self.ignored.into_iter().map(asked),
        )
    }

    fn add(&mut self, one: One, namespace: Option<&Text>, from: Whence) -> Result<(), Invalid> {
        let name = flat(namespace, &one.name);
        let origin = origin(&one, namespace);
        let known = self.toolbox.insert(name.clone(), origin.clone());
        let tool = tool(one, name.clone(), from);
        // In `tools` even an equal one is an error; in the history the same tools may come again with each round.
        let is_same = known.is_none_or(|known| known == origin && from.source != Source::Request);
        if !is_same {
            let name = quoted(&name);
            let message = format!("Two tools are called '{name}': each needs a name of its own.");
            return Err(Invalid::field("tools", message));
        }
        match self
            .places
            .get(&name)
            .and_then(|&at| self.tools.get_mut(at))
        {
            // The newest description counts, in the old place: order is what caches of prompts rest on.
            Some(known) => *known = tool,
            None => {
                self.places.insert(name, self.tools.len());
                self.tools.push(tool);
            }
        }
        Ok(())
    }
}

/// The name by which the model knows a tool.
pub(super) fn flat(namespace: Option<&Text>, name: &Text) -> Text {
    namespace.map_or_else(
        || name.clone(),
        |namespace| qualified(namespace, name).into(),
    )
}

fn origin(one: &One, namespace: Option<&Text>) -> Origin {
    let place = || Place {
        namespace: namespace.cloned(),
        name: one.name.clone(),
    };
    match one.kind {
        Kind::Function => Origin::Function(place()),
        Kind::Custom => Origin::Custom(place()),
        Kind::LocalShell => Origin::LocalShell,
        Kind::Shell => Origin::Shell,
        Kind::ApplyPatch => Origin::ApplyPatch,
        Kind::ToolSearch => Origin::ToolSearch,
    }
}

fn tool(one: One, name: Text, from: Whence) -> Tool {
    let ours = |parameters: &str| {
        Json::new(parameters)
            .map(Some)
            .or_impossible("a constant of ours that is JSON")
    };
    let words = |words: &str| {
        one.description
            .clone()
            .or_else(|| Some(Json::string(words)))
    };
    let (description, kind) = match one.kind {
        Kind::Function => {
            let parameters = one.parameters;
            (one.description, ToolKind::Function { parameters })
        }
        Kind::Custom => (one.description, ToolKind::Custom { format: one.format }),
        Kind::LocalShell | Kind::Shell => {
            let is_local = one.kind == Kind::LocalShell;
            let what = if is_local {
                builtin::LOCAL_SHELL_WORDS
            } else {
                builtin::SHELL_WORDS
            };
            let parameters = ours(builtin::SHELL_PARAMETERS);
            (words(what), ToolKind::Function { parameters })
        }
        Kind::ApplyPatch => {
            let parameters = ours(builtin::APPLY_PATCH_PARAMETERS);
            (
                words(builtin::APPLY_PATCH_WORDS),
                ToolKind::Function { parameters },
            )
        }
        Kind::ToolSearch => {
            let own = || ours(builtin::TOOL_SEARCH_PARAMETERS);
            let description = words(builtin::TOOL_SEARCH_WORDS);
            let parameters = one.parameters.or_else(own);
            (description, ToolKind::Function { parameters })
        }
    };
    Tool {
        name,
        description,
        kind,
        is_strict: one.is_strict,
        is_deferred: one.is_deferred && from.source != Source::Found,
        place: from.place,
    }
}
