//! How chat completions tell a call: as an entry of `tool_calls`, of a function or of a free text, or, to callers that gave
//! their tools in OpenAI's older form, as `function_call`. Source: conformance T2 and T3.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Value, json};

use crate::chat::{ChatRequest, FinishReason, ToolCallDelta, tools::ToolKind};

/// Tells the calls of one answer.
#[derive(Debug)]
pub(super) struct Calls {
    request: Arc<ChatRequest>,
    /// Choice and index of the calls whose text is free: only a call's first piece has its name.
    free: HashSet<(usize, u32)>,
}

impl Calls {
    pub(super) fn new(request: Arc<ChatRequest>) -> Self {
        Self {
            request,
            free: HashSet::new(),
        }
    }

    /// The delta of a piece: all members in a call's first piece, index and arguments in the later ones. `None` where the
    /// older form has no place for it: it knows one call.
    pub(super) fn delta(&mut self, choice: usize, call: &ToolCallDelta) -> Option<Value> {
        let arguments = call.arguments.as_str();
        if self.request.calls_as_functions {
            let function = match &call.name {
                Some(name) => json!({"name": name, "arguments": arguments}),
                None => json!({"arguments": arguments}),
            };
            // The older form has one call; a second would overwrite the first in clients that join by name.
            return (call.index == 0).then(|| json!({"function_call": function}));
        }
        let place = (choice, call.index);
        if call.name.as_deref().is_some_and(|name| self.is_free(name)) {
            self.free.insert(place);
        }
        let is_free = self.free.contains(&place);
        let (kind, text) = if is_free {
            ("custom", "input")
        } else {
            ("function", "arguments")
        };
        let entry = match (&call.id, &call.name) {
            (None, None) => json!({"index": call.index, kind: {text: arguments}}),
            (id, name) => {
                json!({"index": call.index, "id": id, "type": kind, kind: {"name": name, text: arguments}})
            }
        };
        Some(json!({"tool_calls": [entry]}))
    }

    /// Whether calls are told as `function_call`.
    pub(super) fn is_older_form(&self) -> bool {
        self.request.calls_as_functions
    }

    /// A whole call.
    pub(super) fn whole(&self, call: &ToolCallDelta) -> Value {
        let name = call.name.as_deref().unwrap_or_default();
        if self.is_free(name) && !self.request.calls_as_functions {
            return json!({"id": call.id, "type": "custom", "custom": {"name": name, "input": call.arguments}});
        }
        let arguments = if call.arguments.is_empty() {
            // Clients parse them, and an empty text is no JSON (conformance T4).
            "{}"
        } else {
            call.arguments.as_str()
        };
        let function = json!({"name": call.name, "arguments": arguments});
        if self.request.calls_as_functions {
            return function;
        }
        json!({"id": call.id, "type": "function", "function": function})
    }

    /// The word for an end.
    pub(super) fn finish(&self, reason: FinishReason) -> &'static str {
        match reason {
            FinishReason::ToolCalls if self.request.calls_as_functions => "function_call",
            reason => reason.as_str(),
        }
    }

    fn is_free(&self, name: &str) -> bool {
        let is = |tool: &crate::chat::Tool| {
            *tool.name == *name && matches!(tool.kind, ToolKind::Custom { .. })
        };
        self.request.tools.iter().any(is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(members: &str) -> Calls {
        let body =
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{members}}}"#);
        Calls::new(Arc::new(
            crate::http::openai::body::read(body.into()).unwrap(),
        ))
    }

    fn piece(index: u32, name: Option<&str>, arguments: &str) -> ToolCallDelta {
        ToolCallDelta {
            index,
            id: name.map(|_| "c".to_owned()),
            name: name.map(str::to_owned),
            arguments: arguments.to_owned(),
        }
    }

    #[test]
    fn a_call_is_told_in_the_form_of_its_tool() {
        let mut new = calls(
            r#""tools":[{"type":"function","function":{"name":"f"}},{"type":"custom","custom":{"name":"g"}}]"#,
        );
        for (piece, expected) in [
            (
                piece(0, Some("f"), ""),
                json!({"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}),
            ),
            (
                piece(0, None, "{}"),
                json!({"index": 0, "function": {"arguments": "{}"}}),
            ),
            (
                piece(1, Some("g"), ""),
                json!({"index": 1, "id": "c", "type": "custom", "custom": {"name": "g", "input": ""}}),
            ),
            (
                piece(1, None, "x"),
                json!({"index": 1, "custom": {"input": "x"}}),
            ),
        ] {
            assert_eq!(
                new.delta(0, &piece),
                Some(json!({"tool_calls": [expected]}))
            );
        }
        assert_eq!(new.whole(&piece(0, Some("g"), "x"))["custom"]["input"], "x");
        assert_eq!(
            new.whole(&piece(0, Some("f"), ""))["function"]["arguments"],
            "{}"
        );
        assert_eq!(new.finish(FinishReason::ToolCalls), "tool_calls");
    }

    #[test]
    fn who_gave_functions_is_told_of_a_function() {
        let mut old = calls(r#""functions":[{"name":"f"}]"#);
        assert_eq!(
            old.delta(0, &piece(0, Some("f"), "")),
            Some(json!({"function_call": {"name": "f", "arguments": ""}}))
        );
        assert_eq!(
            old.delta(0, &piece(0, None, "{}")),
            Some(json!({"function_call": {"arguments": "{}"}}))
        );
        assert_eq!(old.delta(0, &piece(1, Some("f"), "")), None);
        assert_eq!(
            old.whole(&piece(0, Some("f"), "{}")),
            json!({"name": "f", "arguments": "{}"})
        );
        assert_eq!(old.finish(FinishReason::ToolCalls), "function_call");
        assert_eq!(old.finish(FinishReason::Stop), "stop");
    }
}
