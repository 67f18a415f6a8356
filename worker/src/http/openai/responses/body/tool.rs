//! Tools as this dialect writes them. Any type is taken: what the gateway cannot offer is named, never refused, since
//! agents send dozens of tools with each request. Source: doors.md section 5.

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use crate::{
    chat::{Json, Text, text},
    http::reading::Word,
};

/// A tool as it is given.
#[derive(Debug)]
pub(super) enum Given {
    /// The model calls it.
    One(One),
    /// Several that have a name in common.
    Namespace {
        /// What stands before their names.
        name: Text,
        tools: Vec<One>,
    },
    /// Web search; not from the web as it is now, where `is_live` is false.
    Search { kind: Text, is_live: bool },
    /// Of a type that the gateway has no use for.
    Unknown(Text),
}

/// One tool that the model may call.
#[derive(Debug)]
pub(super) struct One {
    pub(super) kind: Kind,
    pub(super) name: Text,
    pub(super) description: Option<Json>,
    pub(super) parameters: Option<Json>,
    pub(super) format: Option<Json>,
    pub(super) is_strict: bool,
    pub(super) is_deferred: bool,
}

/// Of what type it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Function,
    Custom,
    LocalShell,
    Shell,
    ApplyPatch,
    ToolSearch,
}

impl Given {
    /// What is in it, by their own names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let (one, several) = match self {
            Self::One(one) => (Some(&*one.name), &[][..]),
            Self::Namespace { tools, .. } => (None, tools.as_slice()),
            Self::Search { .. } | Self::Unknown(_) => (None, &[][..]),
        };
        let several = several.iter().map(|tool| &*tool.name);
        one.into_iter().chain(several)
    }
}

/// The tools of an item.
pub(super) fn read<E: de::Error>(raw: &RawValue) -> Result<Vec<Given>, E> {
    serde_json::from_str(raw.get()).map_err(|error| E::custom(format_args!("tools: {error}")))
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(default, rename = "type")]
    kind: Word,
    #[serde(default)]
    name: Word,
    description: Option<Json>,
    parameters: Option<Json>,
    format: Option<Json>,
    #[serde(borrow)]
    strict: Option<&'a RawValue>,
    #[serde(borrow)]
    defer_loading: Option<&'a RawValue>,
    #[serde(borrow)]
    external_web_access: Option<&'a RawValue>,
    #[serde(default)]
    execution: Word,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    /// Where chat completions have the function.
    #[serde(borrow)]
    function: Option<&'a RawValue>,
    /// Where they have the free text.
    #[serde(borrow)]
    custom: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::count_piece()?;
        Members::deserialize(deserializer)?.read()
    }
}

impl Members<'_> {
    fn read<E: de::Error>(self) -> Result<Given, E> {
        let is = |raw: Option<&RawValue>, word: &str| raw.is_some_and(|raw| raw.get() == word);
        let kind = match &self.kind.0 {
            Some(kind) => kind.clone(),
            // Flat tools of chat completions have no type; a name or a function makes them one.
            None if self.name.0.is_some() || self.function.is_some() => "function".into(),
            // Told as `tools.unknown`: an agent's own extension is no reason to refuse the rest.
            None => return Ok(Given::Unknown("unknown".into())),
        };
        let one = match &*kind {
            "function" => Kind::Function,
            "custom" => Kind::Custom,
            "local_shell" => Kind::LocalShell,
            "shell" => Kind::Shell,
            "apply_patch" => Kind::ApplyPatch,
            // Any other is run by its own service.
            "tool_search" if self.execution.0.as_deref() == Some("client") => Kind::ToolSearch,
            "namespace" => {
                let Some(name) = self.name.0 else {
                    return Err(E::custom("name: expected a string"));
                };
                let tools = self.tools.map_or_else(|| Ok(Vec::new()), read::<E>)?;
                // Only what can be called: a name has one namespace in this dialect.
                let callable = tools.into_iter().filter_map(|tool| match tool {
                    Given::One(one) => Some(one),
                    Given::Namespace { .. } | Given::Search { .. } | Given::Unknown(_) => None,
                });
                return Ok(Given::Namespace {
                    name,
                    tools: callable.collect(),
                });
            }
            _ if kind.starts_with("web_search") => {
                return Ok(Given::Search {
                    // Whatever is not the word `false`, as the API has it: absent is live.
                    is_live: !is(self.external_web_access, "false"),
                    kind,
                });
            }
            _ => return Ok(Given::Unknown(kind)),
        };
        // As chat completions write them; an agent that speaks both dialects may mix them up.
        let inside = match one {
            Kind::Function => self.function,
            Kind::Custom => self.custom,
            Kind::LocalShell | Kind::Shell | Kind::ApplyPatch | Kind::ToolSearch => None,
        };
        let it = match inside {
            // A name beside the type wins: then it is this dialect's own form, and the member a stranger's.
            Some(inside) if self.name.0.is_none() => {
                serde_json::from_str(inside.get()).map_err(E::custom)?
            }
            _ => self,
        };
        // Whatever name a built-in type is given is nothing that its client would know again.
        let name = one.own_name().map(Text::from).or(it.name.0);
        Ok(Given::One(One {
            kind: one,
            name: name.ok_or_else(|| E::custom("name: expected a string"))?,
            description: it.description,
            parameters: it.parameters,
            format: it.format,
            is_strict: is(it.strict, "true"),
            is_deferred: is(it.defer_loading, "true"),
        }))
    }
}

impl Kind {
    /// The name of a tool that needs none.
    fn own_name(self) -> Option<&'static str> {
        use crate::chat::responses::{APPLY_PATCH, SHELL, TOOL_SEARCH};
        match self {
            Self::Function | Self::Custom => None,
            Self::LocalShell | Self::Shell => Some(SHELL),
            Self::ApplyPatch => Some(APPLY_PATCH),
            Self::ToolSearch => Some(TOOL_SEARCH),
        }
    }
}
