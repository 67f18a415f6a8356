//! The tools that a turn may call.

use std::collections::HashMap;

use super::{
    MOST_NAME, MOST_SCHEMA_BYTES, MOST_SCHEMAS_BYTES, MOST_TOOLS,
    fields::{Fields, Prop, Rest},
    reader,
    refusal::Refusal,
    shape::{Shape, Types},
};
use crate::chat::{
    ChatRequest, Invalid, Json, Text, Tool, ToolChoice, emulate::verdict::Validator,
    tools::ToolKind,
};

/// The one parameter of a tool that takes free text. Source: tools.md section 10.
pub const CUSTOM_INPUT: &str = "input";

/// The tools of a request, and what its `tool_choice` makes of them.
#[derive(Clone, Debug, Default)]
pub struct Offered {
    /// All of them, in the request's order, those that only the service of the request's dialect runs left out. Which of
    /// them may be called is [`OfferedTool::is_offered`].
    pub tools: Vec<OfferedTool>,
    /// Whether the turn must hold a call.
    pub must: Must,
    /// Whether one turn may hold several calls.
    pub is_parallel: bool,
    exact: HashMap<Box<str>, usize>,
    /// `None`: several offered tools have the name when it is read loosely.
    loose: HashMap<String, Option<usize>>,
}

/// What `tool_choice` asks for. Source: tools.md section 10.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Must {
    /// Nothing: the model decides.
    #[default]
    Maybe,
    /// No call at all.
    Never,
    /// At least one.
    Some,
    /// A call of this tool, by its place in [`Offered::tools`].
    This(usize),
}

/// A tool as the model and the decoder know it.
#[derive(Clone, Debug)]
pub struct OfferedTool {
    /// What the caller calls it.
    pub name: Text,
    /// What the model calls it, where that is something else ([`Offered::alias`]).
    pub alias: Option<String>,
    /// What it does, as a JSON string.
    pub description: Option<Json>,
    /// It may be called in this turn.
    pub is_offered: bool,
    /// Its calls are checked before they leave.
    pub is_strict: bool,
    /// It is named to the model without its parameters.
    pub is_deferred: bool,
    /// It takes free text: in place of arguments, a call of it delivers the text of [`CUSTOM_INPUT`].
    pub is_custom: bool,
    /// Its arguments.
    pub params: Fields,
    /// The schema of its arguments as the caller wrote it.
    pub schema: Option<Json>,
    /// The same, compiled, of a strict tool that has one.
    pub validator: Option<Validator>,
}

impl OfferedTool {
    /// What the model calls it.
    pub fn rendered_name(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }

    /// Whether some text lies below a list or an object of its arguments, and can be given by its path.
    pub fn has_deep_text(&self) -> bool {
        self.params
            .props
            .iter()
            .any(|prop| prop.shape.has_deep_text())
    }
}

impl Offered {
    /// Reads a request's tools.
    ///
    /// # Errors
    /// That they cannot be offered; see [`Refusal`].
    pub fn new(request: &ChatRequest) -> Result<Self, Invalid> {
        let mut offered = Self {
            is_parallel: request.parallel_tool_calls != Some(false),
            ..Self::default()
        };
        let list = if request.calls_as_functions {
            "functions"
        } else {
            "tools"
        };
        // Before any is read: each costs time with its schema.
        if request.tools.len() > MOST_TOOLS {
            return Err(Refusal::TooMany.of_tool(list, 0));
        }
        let mut bytes = 0;
        for tool in &request.tools {
            let refused = |refusal: Refusal| refusal.of_tool(list, tool.place);
            let Some(read) = read(tool).map_err(refused)? else {
                continue;
            };
            bytes += read.schema.as_ref().map_or(0, |schema| schema.get().len());
            if bytes > MOST_SCHEMAS_BYTES {
                return Err(refused(Refusal::AllTooLong));
            }
            let place = offered.tools.len();
            // By the exact names, of offered and other tools alike: a call could not tell which of two is meant.
            if offered
                .exact
                .insert(Box::from(&*read.name), place)
                .is_some()
            {
                return Err(refused(Refusal::Twice));
            }
            offered.tools.push(read);
        }
        // Behind all of them, since a choice names a place in the list; the loose index knows only what may be called.
        offered.choose(&request.tool_choice)?;
        offered.index();
        Ok(offered)
    }

    /// Gives the model other names for some tools: a service takes these for its own and answers itself. Source: tools.md
    /// section 5, "Names".
    pub fn alias(&mut self, is_taken: impl Fn(&str) -> bool) {
        for at in 0..self.tools.len() {
            let Some(tool) = self.tools.get(at).filter(|tool| is_taken(&tool.name)) else {
                continue;
            };
            let mut alias = format!("x_{}", tool.name.to_lowercase());
            // Until it is nobody's: a client may have a tool `x_search` itself.
            while self.exact.contains_key(alias.as_str()) {
                alias.insert_str(0, "x_");
            }
            self.exact.insert(alias.as_str().into(), at);
            if let Some(tool) = self.tools.get_mut(at) {
                tool.alias = Some(alias);
            }
        }
        self.index();
    }

    /// Those that may be called.
    pub fn offered(&self) -> impl Iterator<Item = &OfferedTool> {
        self.tools.iter().filter(|tool| tool.is_offered)
    }

    /// The place of the offered tool that a call means by this name: the one of this name or alias, else the only one that
    /// has it when both are read loosely. No distance between words: `read` is not `write`. Source: tools.md section 8,
    /// step 3.
    pub fn find(&self, name: &str) -> Option<usize> {
        let exact = self.exact.get(name).copied();
        // An exact name that is not offered may still be another one's loose name.
        let exact = exact.filter(|&at| self.tools.get(at).is_some_and(|tool| tool.is_offered));
        exact.or_else(|| self.loose.get(&loose_name(name)).copied().flatten())
    }

    /// The tool of this very name, offered or not: for the history.
    pub fn known(&self, name: &str) -> Option<&OfferedTool> {
        self.tools.get(*self.exact.get(name)?)
    }

    fn choose(&mut self, choice: &ToolChoice) -> Result<(), Invalid> {
        let place = |offered: &Self, name: &Text| {
            let found = offered.exact.get(&**name).copied();
            found.ok_or_else(|| Refusal::Choice.of_tool("tools", 0))
        };
        match choice {
            ToolChoice::Auto => {}
            ToolChoice::None => self.must = Must::Never,
            ToolChoice::Required => self.must = Must::Some,
            ToolChoice::Named(name) => {
                let only = place(self, name)?;
                self.must = Must::This(only);
                for (at, tool) in self.tools.iter_mut().enumerate() {
                    tool.is_offered = at == only;
                }
            }
            ToolChoice::Allowed { names, is_required } => {
                // A name that is not there is no error here: the subset is what counts, and clients keep old names in it.
                for tool in &mut self.tools {
                    tool.is_offered = names.contains(&tool.name);
                }
                if *is_required {
                    self.must = Must::Some;
                }
            }
        }
        Ok(())
    }

    fn index(&mut self) {
        self.loose.clear();
        for (at, tool) in self.tools.iter().enumerate() {
            if !tool.is_offered {
                continue;
            }
            for name in [Some(&*tool.name), tool.alias.as_deref()]
                .into_iter()
                .flatten()
            {
                let known = self.loose.entry(loose_name(name));
                known
                    // Two names of the same tool are no contradiction.
                    .and_modify(|known| *known = known.filter(|&other| other == at))
                    .or_insert(Some(at));
            }
        }
    }
}

/// A name as it is compared where the exact one is unknown: in lower case, without `_`, `-`, `.`, blanks and a leading
/// `functions.`, `tools.` or `default_api.`. Source: tools.md section 8, step 3.
pub fn loose_name(name: &str) -> String {
    let mut name = name.trim().to_lowercase();
    // One prefix at most: `functions.tools.x` is a name of that kind.
    for prefix in ["functions.", "tools.", "default_api."] {
        if let Some(rest) = name.strip_prefix(prefix) {
            name = rest.to_owned();
            break;
        }
    }
    name.retain(|c| !matches!(c, '_' | '-' | '.') && !c.is_whitespace());
    name
}

fn read(tool: &Tool) -> Result<Option<OfferedTool>, Refusal> {
    let (params, schema, is_custom) = match &tool.kind {
        ToolKind::Hosted => return Ok(None),
        ToolKind::Custom { .. } => (custom_params(), None, true),
        ToolKind::Function { parameters: None } => (Fields::default(), None, false),
        ToolKind::Function {
            parameters: Some(schema),
        } => {
            if schema.get().len() > MOST_SCHEMA_BYTES {
                return Err(Refusal::TooLong);
            }
            (reader::params(schema.get())?, Some(schema.clone()), false)
        }
    };
    // What OpenAI, Anthropic and Gemini allow together, and the slash of MCP.
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte);
    if !(1..=MOST_NAME).contains(&tool.name.len()) || !tool.name.bytes().all(is_of_name) {
        return Err(Refusal::Name);
    }
    let validator = match &schema {
        Some(schema) if tool.is_strict => {
            // Compiled now, so that a bad one is the caller's 400 and the compiled one waits for its first call.
            Some(Validator::of(schema.get()).ok_or(Refusal::Invalid)?)
        }
        _ => None,
    };
    Ok(Some(OfferedTool {
        name: tool.name.clone(),
        alias: None,
        description: tool.description.clone(),
        is_offered: true,
        is_strict: tool.is_strict,
        is_deferred: tool.is_deferred,
        is_custom,
        params,
        schema,
        validator,
    }))
}

fn custom_params() -> Fields {
    let shape = Shape {
        types: Types::STRING,
        ..Shape::default()
    };
    let input = Prop {
        name: CUSTOM_INPUT.to_owned(),
        is_required: true,
        shape,
    };
    Fields::new(vec![input], Rest::None)
}
