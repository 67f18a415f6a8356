//! Which tool a call of the model's is for. The model knows functions with one name each; this dialect has tools in
//! namespaces, free texts and tools of its own types, and its clients run a call only if it comes back as the item of the
//! type that they have offered. Source: doors.md section 5.

use std::collections::HashMap;

use crate::chat::Text;

/// What a client has offered under a name that the model calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// `function`.
    Function(Place),
    /// `custom`: a call of it is a text.
    Custom(Place),
    /// `local_shell`.
    LocalShell,
    /// `shell`.
    Shell,
    /// `apply_patch` as a type of its own.
    ApplyPatch,
    /// `tool_search` that the client runs.
    ToolSearch,
}

/// A tool's name, and the namespace that it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: Option<Text>,
    pub(super) name: Text,
}

/// What the model may call, by the names that it is told.
#[derive(Debug, Default)]
pub(super) struct Toolbox {
    by_name: HashMap<Text, Origin>,
    /// Names without their namespaces, of those that stand in one; `None` where several have it.
    by_bare_name: HashMap<Text, Option<Text>>,
}

impl Toolbox {
    /// Puts a tool in; gives back what had the name before.
    pub(super) fn insert(&mut self, name: Text, origin: Origin) -> Option<Origin> {
        if let Origin::Function(place) | Origin::Custom(place) = &origin
            && place.namespace.is_some()
        {
            self.by_bare_name
                .entry(place.name.clone())
                .and_modify(|known| {
                    // A bare name in two namespaces means neither: a wrong guess would run the wrong tool.
                    if known.as_ref() != Some(&name) {
                        *known = None;
                    }
                })
                .or_insert_with(|| Some(name.clone()));
        }
        self.by_name.insert(name, origin)
    }

    /// What the model means by a name. A tool that it has made up is a function: the client tells it so.
    pub(super) fn origin(&self, called: &str) -> Origin {
        let known = self.by_name.get(called).or_else(|| {
            // Models leave the namespace out, and clients know no tool by its bare name (doors.md section 5, measured).
            let whole = self.by_bare_name.get(called)?.as_ref()?;
            self.by_name.get(whole)
        });
        known.cloned().unwrap_or_else(|| {
            Origin::Function(Place {
                namespace: None,
                name: called.into(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(namespace: &str, name: &str) -> Origin {
        Origin::Function(Place {
            namespace: Some(namespace.into()).filter(|_| !namespace.is_empty()),
            name: name.into(),
        })
    }

    #[test]
    fn a_bare_name_that_only_one_namespace_has_is_understood() {
        let mut toolbox = Toolbox::default();
        for (namespace, name) in [("a", "f"), ("a", "g"), ("b", "g"), ("b", "h")] {
            let whole = format!("{namespace}__{name}");
            assert_eq!(toolbox.insert(whole.into(), place(namespace, name)), None);
        }
        toolbox.insert("h".into(), place("", "h"));
        for (called, expected) in [
            ("a__f", place("a", "f")),
            ("f", place("a", "f")),
            ("b__g", place("b", "g")),
            // Two have it.
            ("g", place("", "g")),
            // A function of its own has it.
            ("h", place("", "h")),
            ("made_up", place("", "made_up")),
        ] {
            assert_eq!(toolbox.origin(called), expected, "{called}");
        }
    }
}
