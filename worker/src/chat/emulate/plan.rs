//! What a provider without tools is asked in the place of a request that has them: everything rendered into plain messages.
//! Source: tools.md sections 5, 10, 11 and 13.

use std::{collections::HashSet, sync::Arc};

use super::{
    contract::{self, Contract},
    format,
    history::{self, History},
    nonce::{Nonce, NonceKey},
    schema::{Must, Offered},
    turn::Taken,
    verify::Wanted,
};
use crate::chat::{
    ChatRequest, Content, Field, Format, Invalid, Message, Part, Role, Support, Text, ToolChoice,
    normal, tools::ToolKind,
};

/// Tools that a service takes for its own: it answers calls of them itself, or says that there is no such tool. Source:
/// tools.md section 5, "Names".
#[derive(Clone, Copy, Debug)]
pub struct OwnTools {
    /// Their names, in lower case. The model is told others.
    pub names: &'static [&'static str],
    /// How it answers where it knows no tool of the name: all names are others then.
    pub taken: Option<Taken>,
}

/// What rendering depends on besides the request.
#[derive(Clone, Debug)]
pub struct Means {
    /// What nonces are made with.
    pub key: NonceKey,
    /// The name of the caller's key.
    pub client: Arc<str>,
    /// The provider, for metrics.
    pub provider: Arc<str>,
    /// The model's window in tokens.
    pub window: Option<u32>,
    /// The model takes pictures.
    pub takes_pictures: bool,
    /// Tools that the service takes for its own.
    pub own_tools: Option<&'static OwnTools>,
    /// What becomes of tools.
    pub tools: Support,
    /// What becomes of formats.
    pub format: Support,
}

/// Whether there is anything to do for a request, where this becomes of its tools and formats: nearly none has, and those
/// are to pay nothing.
pub fn concerns(request: &ChatRequest, support: impl Fn(Field) -> Support) -> bool {
    let has_tools = !request.tools.is_empty()
        || wants_call(&request.tool_choice)
        || history::has_calls(&request.messages);
    (has_tools && support(Field::Tools) != Support::Honoured)
        || (request.format != Format::Text && support(Field::Format) == Support::Emulated)
}

fn wants_call(choice: &ToolChoice) -> bool {
    matches!(
        choice,
        ToolChoice::Required
            | ToolChoice::Named(_)
            | ToolChoice::Allowed {
                is_required: true,
                ..
            }
    )
}

/// What it takes to render a request, in bytes that are read: to compile a schema takes some times as long as to read it.
pub fn work(request: &ChatRequest) -> usize {
    const TIMES: usize = 4;
    let strict = request.tools.iter().filter(|tool| tool.is_strict);
    let schemas = strict.filter_map(|tool| match &tool.kind {
        ToolKind::Function { parameters } => parameters.as_ref(),
        ToolKind::Custom { .. } | ToolKind::Hosted => None,
    });
    let format = match &request.format {
        Format::JsonSchema(format) => format.schema.as_ref(),
        Format::Text | Format::JsonObject | Format::Other { .. } => None,
    };
    let bytes = schemas.chain(format).map(|schema| schema.get().len());
    request.bytes + TIMES * bytes.sum::<usize>()
}

/// What is asked, and what its answer has to be read with.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The request in plain messages.
    pub request: Arc<ChatRequest>,
    /// The conversation's mark.
    pub nonce: Nonce,
    /// The tools, if the answer may hold calls, wanted or not.
    pub offered: Option<Arc<Offered>>,
    /// The form of the answer, where it is enforced here.
    pub wanted: Option<Arc<Wanted>>,
    /// What the last turn of the user's ends with.
    pub reminder: String,
}

/// Renders a request. `aliases_all`: the model is told other names for all tools.
///
/// # Errors
/// Tools or formats that cannot be offered.
pub fn render(request: &ChatRequest, means: &Means, aliases_all: bool) -> Result<Asked, Invalid> {
    // Before anything is rendered, since everything is rendered with it.
    let nonce = Nonce::of(&means.key, &means.client, request);
    let emulates_tools = means.tools == Support::Emulated;
    let mut offered = Offered::default();
    if emulates_tools {
        offered = Offered::new(request)?;
        // One call is all that the older form can tell.
        offered.is_parallel &= !request.calls_as_functions;
        let own = means.own_tools;
        // Also where only some are told: a name that the service takes for its own is one in the history, too.
        offered.alias(|name| {
            let is_own = |own: &OwnTools| own.names.contains(&&*name.to_ascii_lowercase());
            aliases_all || own.is_some_and(is_own)
        });
    }
    // Checked here, as what is wanted cannot come.
    if offered.tools.is_empty() && wants_call(&request.tool_choice) {
        let words = "'tool_choice' asks for a call, and there are no tools.";
        return Err(Invalid::field("tool_choice", words));
    }
    let has_calls = means.tools != Support::Honoured && history::has_calls(&request.messages);
    // With tools or without: what the history shows, a model may write.
    let reads_calls = has_calls || !offered.tools.is_empty();
    // With nothing to call the decoder only takes out what the history has taught.
    if offered.tools.is_empty() {
        offered.must = Must::Never;
    }
    let is_told = !matches!(offered.must, Must::Never) && offered.offered().next().is_some();
    // A form that the service enforces would forbid the block of a call.
    let is_formatted =
        request.format != Format::Text && (means.format == Support::Emulated || is_told);
    let format = is_formatted.then(|| request.format.clone());
    if let Some(format) = &format {
        format::check(format)?;
    }
    let mut reminder = String::new();
    let mut messages = if reads_calls {
        let history = History {
            nonce: &nonce,
            offered: &offered,
            takes_pictures: means.takes_pictures,
            leaked: super::leaked,
        };
        history.render(&request.messages)
    } else {
        request.messages.clone()
    };
    if is_told {
        let named = named(request, &offered);
        let contract = Contract {
            nonce: &nonce,
            offered: &offered,
            tools: &request.tools,
            named: &named,
            budget: contract::budget(means.window),
        };
        // Behind the system text, which the history's rendering has not moved.
        tell(&mut messages, contract.text());
        reminder = contract::reminder(&nonce, &offered);
    }
    if let Some(format) = &format {
        let gap = if reminder.is_empty() { "" } else { "\n\n" };
        reminder.push_str(gap);
        reminder.push_str(&format::instruction(format, is_told));
    }
    if !reminder.is_empty() {
        remind(&mut messages, &reminder);
    }
    // The service must not be asked for both: its own form would forbid the call.
    let native_format = if is_formatted {
        Format::Text
    } else {
        request.format.clone()
    };
    let bytes = messages.iter().map(length).sum();
    Ok(Asked {
        request: Arc::new(plain(request, messages, native_format, bytes)),
        nonce,
        offered: reads_calls.then(|| Arc::new(offered)),
        wanted: format.as_ref().and_then(Wanted::of).map(Arc::new),
        reminder,
    })
}

/// The same request with these messages, and nothing in it any more that only they tell.
fn plain(
    request: &ChatRequest,
    messages: Vec<Message>,
    format: Format,
    bytes: usize,
) -> ChatRequest {
    ChatRequest {
        model: request.model.clone(),
        messages,
        tools: Vec::new(),
        tool_choice: ToolChoice::Auto,
        parallel_tool_calls: None,
        calls_as_functions: false,
        format,
        sampling: request.sampling.clone(),
        thinking: request.thinking,
        effort: request.effort,
        thinking_budget: request.thinking_budget,
        search: request.search,
        // Kept: each candidate and each choice counts for itself.
        stop: request.stop.clone(),
        max_tokens: request.max_tokens,
        user: request.user.clone(),
        n: request.n,
        stream: request.stream,
        include_usage: request.include_usage,
        extras: request.extras.clone(),
        asked: request.asked.clone(),
        odd_part: None,
        // Counted anew, as the contract may be longer than the conversation.
        bytes,
        verbatim: None,
        counted: Default::default(),
    }
}

/// The question that follows an answer which cannot be used: the conversation, the answer as it was, and what is wrong
/// with it. The last line stays the last one.
pub fn again(asked: &Asked, answer: &str, mut words: String) -> ChatRequest {
    let Asked {
        request: asked,
        reminder,
        ..
    } = asked;
    if !reminder.is_empty() {
        words.push_str("\n\n");
        words.push_str(reminder);
    }
    // A copy of all of it, once an answer that was no use.
    let mut messages = asked.messages.clone();
    if !answer.trim().is_empty() {
        messages.push(Message::new(Role::Assistant, answer));
    }
    messages.push(Message::new(Role::User, words));
    let bytes = asked.bytes + answer.len();
    plain(asked, messages, asked.format.clone(), bytes)
}

/// Of the tools that are described on demand those that the history names: by a call, or in a result (that of a search for
/// tools).
fn named<'a>(request: &ChatRequest, offered: &'a Offered) -> HashSet<&'a str> {
    let deferred = offered.offered().filter(|tool| tool.is_deferred);
    let is_named = |name: &str| {
        request.messages.iter().any(|message| {
            let mut calls = message.tool_calls.iter().flatten();
            let is_called = calls.any(|call| {
                let function = call.function.as_ref();
                function.is_some_and(|function| function.name == name)
            });
            is_called || (normal::is_result(message) && has_word(&message.text(), name))
        })
    };
    let names = deferred.map(|tool| &*tool.name);
    names.filter(|name| is_named(name)).collect()
}

/// Whether a name stands in a text, and not as a part of another one.
fn has_word(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text
            .get(at + name.len()..)
            .and_then(|text| text.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// Puts the contract behind the client's system text.
fn tell(messages: &mut Vec<Message>, contract: String) {
    let is_system = |message: &&Message| matches!(message.role, Role::System | Role::Developer);
    // Behind all system texts at the beginning: later ones belong to their places in the conversation.
    let place = messages.iter().take_while(is_system).count();
    messages.insert(place, Message::new(Role::System, contract));
}

/// Adds a last line to the last turn of the user's.
fn remind(messages: &mut Vec<Message>, line: &str) {
    // The last one of the user's, even if something follows it: models heed the end of their instructions.
    let is_user = |message: &&mut Message| message.role == Role::User;
    let Some(last) = messages.iter_mut().rfind(is_user) else {
        messages.push(Message::new(Role::User, line));
        return;
    };
    match &mut last.content {
        Content::Empty => last.content = Content::Text(line.into()),
        Content::Text(text) if text.is_empty() => *text = line.into(),
        Content::Text(text) => *text = Text::from(format!("{text}\n\n{line}")),
        Content::Parts(parts) => parts.push(Part::Text { text: line.into() }),
    }
}

/// In bytes, attachments included: what work on it takes grows with that.
fn length(message: &Message) -> usize {
    const AROUND: usize = 32;
    let attached = message.attachments().map(|part| match part {
        Part::ImageUrl { image_url, .. } => image_url.url().len(),
        Part::FileUrl { file_url } => file_url.url().len(),
        Part::File { file } => file.file_data.as_deref().map_or(0, str::len),
        Part::Text { .. } | Part::Refusal { .. } | Part::Other { .. } => 0,
    });
    AROUND + message.text().len() + attached.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn means() -> Means {
        Means {
            key: NonceKey::new(None),
            client: "c".into(),
            provider: "p".into(),
            window: None,
            takes_pictures: false,
            own_tools: None,
            tools: Support::Emulated,
            format: Support::Emulated,
        }
    }

    fn request(messages: Value, more: Value) -> ChatRequest {
        let mut body = json!({"model": "m", "messages": messages});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        crate::http::openai::body::read(body.to_string().into()).unwrap()
    }

    fn tools() -> Value {
        json!([{"type": "function", "function": {"name": "read", "parameters": {"type": "object", "properties": {"path": {"type": "string"}}}}}])
    }

    fn texts(request: &ChatRequest) -> Vec<String> {
        let asked = render(request, &means(), false).unwrap();
        let messages = asked.request.messages.iter();
        messages
            .map(|message| format!("{:?} {}", message.role, message.text()))
            .collect()
    }

    #[test]
    fn who_asks_for_nothing_pays_nothing() {
        let plain = request(json!([{"role": "user", "content": "x"}]), json!({}));
        let never = |field| panic!("{field:?} is not looked at");
        assert!(!concerns(&plain, never));
        let with_tools = request(
            json!([{"role": "user", "content": "x"}]),
            json!({"tools": tools()}),
        );
        assert!(concerns(&with_tools, |_| Support::Emulated));
        assert!(!concerns(&with_tools, |_| Support::Honoured));
        let history = request(
            json!([{"role": "tool", "tool_call_id": "c", "content": "x"}]),
            json!({}),
        );
        assert!(
            concerns(&history, |_| Support::Refused),
            "TOOLS=off has histories, too"
        );
    }

    #[test]
    fn the_contract_follows_the_system_text_and_the_reminder_ends_the_last_turn() {
        let request = request(
            json!([{"role": "system", "content": "S"}, {"role": "developer", "content": "D"}, {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}, {"role": "system", "content": "late"}]),
            json!({"tools": tools()}),
        );
        let texts = texts(&request);
        assert_eq!(
            (texts[0].as_str(), texts[1].as_str()),
            ("System S", "System D")
        );
        assert!(texts[2].starts_with("System # Tools\n"));
        assert_eq!(texts[3], "User a");
        assert!(
            texts[5].starts_with("User c\n\n(Tools: end with <calls-"),
            "{}",
            texts[5]
        );
        assert_eq!(texts[6], "System late");
        let asked = render(&request, &means(), false).unwrap();
        assert!(asked.request.tools.is_empty() && asked.request.verbatim.is_none());
        assert!(asked.request.bytes > texts.iter().map(String::len).sum::<usize>() - 100);
    }

    #[test]
    fn turns_share_their_bytes() {
        let mut conversation = vec![json!({"role": "user", "content": "q"})];
        let mut earlier: Vec<String> = Vec::new();
        for turn in 0..4 {
            let id = format!("random-{turn}");
            let now = texts(&request(
                Value::from(conversation.clone()),
                json!({"tools": tools()}),
            ));
            // All but the turn that is asked, whose last line moves on.
            let known = earlier.len().saturating_sub(1);
            assert_eq!(now[..known], earlier[..known]);
            earlier = now;
            conversation.extend([
                json!({"role": "assistant", "content": "x", "tool_calls": [{"id": id, "type": "function", "function": {"name": "read", "arguments": "{\"path\":\"a\"}"}}]}),
                json!({"role": "tool", "tool_call_id": id, "content": "5"}),
            ]);
        }
    }

    #[test]
    fn tools_are_named_once_something_names_them() {
        let tools = json!([{"type": "function", "function": {"name": "late_tool", "defer_loading": true}}, {"type": "function", "function": {"name": "search"}}]);
        let call = json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "search", "arguments": "{}"}}]});
        for (result, is_described) in [
            ("found: late_tool", true),
            ("late_tools", false),
            ("nothing", false),
        ] {
            let messages = json!([{"role": "user", "content": "late_tool"}, call, {"role": "tool", "tool_call_id": "c", "content": result}]);
            let texts = texts(&request(messages, json!({"tools": tools})));
            assert_eq!(
                texts[0].contains("## late_tool()"),
                is_described,
                "{result}"
            );
            assert!(texts[0].contains("late_tool"), "it is named all the same");
        }
    }

    #[test]
    fn a_hundred_and_fifty_tools_fit_by_their_descriptions() {
        let words = "This tool does something that takes many words to say. ".repeat(20);
        let tool = |at: usize| {
            json!({"type": "function", "function": {"name": format!("tool_{at}"), "description": words,
            "parameters": {"type": "object", "properties": {"path": {"type": "string", "description": words}}}}})
        };
        let tools: Vec<Value> = (0..150).map(tool).collect();
        let request = request(
            json!([{"role": "user", "content": "x"}]),
            json!({"tools": tools}),
        );
        let texts = texts(&request);
        assert!(
            request.bytes > 200_000 && texts[0].len() < contract::budget(None),
            "{}",
            texts[0].len()
        );
        assert!((0..150).all(|at| texts[0].contains(&format!(
            "## tool_{at}(path?: text)\nThis tool does something that takes many words to say.\n"
        ))));
    }

    #[test]
    fn a_call_that_is_asked_for_needs_tools() {
        let request = request(
            json!([{"role": "user", "content": "x"}]),
            json!({"tool_choice": "required"}),
        );
        assert!(concerns(&request, |_| Support::Emulated));
        let error = render(&request, &means(), false).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("tool_choice"));
    }
}
