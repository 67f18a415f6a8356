//! `tool_choice`. Source: doors.md section 5.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::kit::{Kit, flat};
use crate::{
    chat::{
        Text, ToolChoice,
        responses::{APPLY_PATCH, SHELL},
    },
    http::reading::Word,
};

/// Longer choices are none that anybody makes.
const MOST_BYTES: usize = 64 << 10;

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default, rename = "type")]
    kind: Word,
    #[serde(default)]
    name: Word,
    #[serde(default)]
    namespace: Word,
    #[serde(default)]
    mode: Word,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    /// Where chat completions have the name.
    #[serde(borrow)]
    function: Option<&'a RawValue>,
}

/// The choice; one of a form that nobody knows, and of a tool that nobody calls, leaves it to the model.
pub(super) fn read(raw: Option<&RawValue>, kit: &Kit) -> ToolChoice {
    // As for chat completions: a list of a hundred names is 8 KiB.
    let Some(raw) = raw.filter(|raw| raw.get().len() <= MOST_BYTES) else {
        return ToolChoice::Auto;
    };
    match raw.get() {
        r#""none""# => return ToolChoice::None,
        r#""required""# | r#""any""# => return ToolChoice::Required,
        _ => {}
    }
    let Ok(choice) = serde_json::from_str::<Choice<'_>>(raw.get()) else {
        return ToolChoice::Auto;
    };
    if choice.kind.0.as_deref() != Some("allowed_tools") {
        return choice
            .named(kit)
            .map_or(ToolChoice::Auto, ToolChoice::Named);
    }
    // A list of a form that nobody knows is an empty one, which leaves the choice to the model below.
    let tools: Vec<Choice<'_>> = choice
        .tools
        .and_then(|tools| serde_json::from_str(tools.get()).ok())
        .unwrap_or_default();
    let names: Vec<Text> = tools.iter().filter_map(|tool| tool.named(kit)).collect();
    let is_required = choice.mode.0.as_deref() == Some("required");
    match (names.is_empty(), is_required) {
        (false, _) => ToolChoice::Allowed { names, is_required },
        // Only hosted ones, which are not ours to call.
        (true, _) => ToolChoice::Auto,
    }
}

impl Choice<'_> {
    /// The name of the one tool that it names, as the model knows it.
    fn named(&self, kit: &Kit) -> Option<Text> {
        let own: Option<Text> = match self.kind.0.as_deref() {
            Some("apply_patch") => Some(APPLY_PATCH.into()),
            Some("shell" | "local_shell") => Some(SHELL.into()),
            Some("function" | "custom") | None => {
                let inside = || {
                    serde_json::from_str::<Choice<'_>>(self.function?.get())
                        .ok()?
                        .name
                        .0
                };
                let name = self.name.0.clone().or_else(inside)?;
                Some(flat(self.namespace.0.as_ref(), &name))
            }
            Some(_) => None,
        };
        let own = own?;
        // A bare name means the tool of a namespace, as in a call.
        Some(own).filter(|name| kit.has(name) || self.namespace.0.is_none())
    }
}
