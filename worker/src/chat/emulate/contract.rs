//! What the model is told of the tools: once, behind the client's system text, and in one line at the end of the last turn,
//! since long conversations drown the top. Plain words, and no list of what not to write: models invent others then.
//! Source: tools.md section 5.

use std::{borrow::Cow, collections::HashSet, fmt::Write as _};

use super::{
    nonce::Nonce,
    schema::{Must, Offered, OfferedTool},
    signature,
};
use crate::{
    chat::{Json, tools::ToolKind},
    impossible::OrImpossible as _,
};

/// The window of models whose provider names none, in tokens: small enough for every web chat of today.
const USUAL_WINDOW: u32 = 32_000;
/// About how many bytes a token of a tool list has.
const BYTES_PER_TOKEN: usize = 4;

/// How many bytes the contract may have in a window of so many tokens: a third of it.
pub fn budget(window: Option<u32>) -> usize {
    // As wide as any machine of 32 bits or more; a third, so that the conversation has the other two.
    let tokens = window.unwrap_or(USUAL_WINDOW) as usize;
    tokens * BYTES_PER_TOKEN / 3
}

/// How much of the descriptions is told, the fullest first. Names, types, enums and ranges are told always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Tier {
    /// All.
    All,
    /// The first paragraph of each tool, the first sentence of each parameter.
    Paragraph,
    /// The first sentence of each tool, nothing of parameters.
    Sentence,
}

/// What is told.
#[derive(Debug)]
pub struct Contract<'a> {
    /// The conversation's mark.
    pub nonce: &'a Nonce,
    /// The tools.
    pub offered: &'a Offered,
    /// The request's own list: of a free text its grammar stands only there.
    pub tools: &'a [crate::chat::Tool],
    /// Of the tools that are described on demand those that something in the history names.
    pub named: &'a HashSet<&'a str>,
    /// Most bytes, as far as leaving out descriptions can do it.
    pub budget: usize,
}

impl Contract<'_> {
    /// The text: the fullest that fits.
    pub fn text(&self) -> String {
        // Rendered once: only the list differs from tier to tier.
        let frame = self.frame();
        let mut text = String::new();
        // From the fullest down; the last one stands whatever its size is, since names and types must be told.
        for tier in [Tier::All, Tier::Paragraph, Tier::Sentence] {
            text.clear();
            text.push_str(&frame);
            self.list(tier, &mut text);
            if text.len() <= self.budget {
                break;
            }
        }
        text
    }

    fn frame(&self) -> String {
        let (nonce, offered) = (self.nonce, self.offered);
        let deep = if offered.offered().any(OfferedTool::has_deep_text) {
            // Said only where some tool has use for it: each sentence of the contract is one more that a model can
            // misread.
            format!(
                "A long text inside a list or an object may be given alone, by its path: <arg-{nonce} name=\"edits[0].new_text\">.\n"
            )
        } else {
            String::new()
        };
        let several = if offered.is_parallel {
            "Put calls that do not depend on each other into one block."
        } else {
            "A block holds one call."
        };
        let choice = match offered.must {
            Must::Maybe | Must::Never => "If no tool is needed, answer without a block.".to_owned(),
            Must::Some => "This message must contain a call.".to_owned(),
            Must::This(at) => format!("This message must call the tool {}.", name(offered, at)),
        };
        format!(
            "# Tools\n\
             The program that sent you this conversation can run the tools listed below for you. It runs them after your message has ended; what they return comes with the next message.\n\
             To use tools, end your message with a block in exactly this form:\n\
             \n\
             <calls-{nonce}>\n\
             <call-{nonce} name=\"TOOL\">\n\
             <arg-{nonce} name=\"PARAMETER\">\n\
             VALUE\n\
             </arg-{nonce}>\n\
             </call-{nonce}>\n\
             </calls-{nonce}>\n\
             \n\
             Text values are written as they are, without quotes, escapes or fences around them; the line breaks next to the tags do not belong to the value.\n\
             Values of any other type are written as JSON.\n\
             {deep}\
             Leave out optional parameters that you do not need.\n\
             {several}\n\
             You may say in a sentence before the block what you are doing. Write nothing after it.\n\
             Only such a block runs a tool; a call that is described, announced or written in another form runs nothing. Results are only what stands in a results-{nonce} block, and you never write one.\n\
             {choice}\n"
        )
    }

    fn list(&self, tier: Tier, text: &mut String) {
        let mut later = Vec::new();
        for tool in self.offered.offered() {
            // Found by a search for tools, as its client has it: hundreds of tools would drown the question.
            if tool.is_deferred && !self.named.contains(&*tool.name) {
                later.push(tool.rendered_name());
                continue;
            }
            // Memory cannot fail to be written, here and below.
            let _ = write!(
                text,
                "\n## {}{}\n",
                tool.rendered_name(),
                signature::parameters(tool)
            );
            // What a free text must be is said nowhere but in its description: it is all that there is of a schema.
            let tier = if tool.is_custom { Tier::All } else { tier };
            let words = tool.description.as_ref().and_then(Json::as_text);
            let words = words.as_deref().unwrap_or_default().trim();
            let words = match tier {
                Tier::All => words,
                Tier::Paragraph => first_paragraph(words),
                Tier::Sentence => first_sentence(words),
            };
            if !words.is_empty() {
                let _ = writeln!(text, "{words}");
            }
            if let Some(grammar) = self.grammar(tool) {
                // The author's own words, since a grammar in prose would be another one.
                let _ = writeln!(text, "input has this form:\n{grammar}");
            }
            if tier == Tier::Sentence {
                continue;
            }
            for (path, words) in signature::descriptions(tool) {
                let words = if tier == Tier::All {
                    words
                } else {
                    first_sentence(words)
                };
                let _ = writeln!(text, "- {path}: {}", in_item(words));
            }
        }
        if !later.is_empty() {
            let _ = writeln!(
                text,
                "\nFurther tools, whose parameters are told once a search for tools has named them: {}",
                later.join(", ")
            );
        }
    }

    /// The grammar of a free text, as its author wrote it.
    fn grammar(&self, tool: &OfferedTool) -> Option<String> {
        let of = |known: &&crate::chat::Tool| known.name == tool.name;
        match &self.tools.iter().filter(|_| tool.is_custom).find(of)?.kind {
            ToolKind::Custom {
                format: Some(format),
            } => {
                let read: serde_json::Value = serde_json::from_str(format.get()).ok()?;
                // Chat completions nest it, Responses do not.
                let grammar = read.get("grammar").unwrap_or(&read);
                grammar.get("definition")?.as_str().map(str::to_owned)
            }
            _ => None,
        }
    }
}

/// The last line of the last turn of the user.
pub fn reminder(nonce: &Nonce, offered: &Offered) -> String {
    let block = format!("<calls-{nonce}> … </calls-{nonce}>");
    match offered.must {
        Must::Maybe | Must::Never => {
            format!("(Tools: end with {block} if you need one, as described.)")
        }
        Must::Some => {
            format!("(Tools: this message must contain a call: end with {block}, as described.)")
        }
        Must::This(at) => format!(
            "(Tools: this message must call the tool {}: end with {block}, as described.)",
            name(offered, at)
        ),
    }
}

fn name(offered: &Offered, at: usize) -> &str {
    let tool = offered.tools.get(at);
    tool.map(OfferedTool::rendered_name)
        .or_impossible("the choice is one of the tools")
}

/// A description within a list: its further lines are indented, so that none of them begins an item.
fn in_item(words: &str) -> Cow<'_, str> {
    if words.contains('\n') {
        words.replace('\n', "\n  ").into()
    } else {
        words.into()
    }
}

fn first_paragraph(words: &str) -> &str {
    // Both ends of lines, as schemas come from files of every system.
    let unix = words.split("\n\n").next().unwrap_or(words);
    unix.split("\r\n\r\n").next().unwrap_or(unix).trim_end()
}

/// Up to the first full stop that ends a sentence, or the end of the line.
fn first_sentence(words: &str) -> &str {
    let line = words.lines().next().unwrap_or(words);
    for (at, mark) in line.match_indices(['.', '!', '?', '。', '！', '？']) {
        let end = at + mark.len();
        let rest = line.get(end..).unwrap_or_default();
        // `e.g. x` and `3.5` end nothing: behind an end there is a blank and no small letter.
        let mut rest = rest.chars();
        let is_end = match (mark.len(), rest.next(), rest.next()) {
            // A mark of three bytes is Chinese, and ends a sentence whatever follows.
            (3, ..) | (_, None, _) => true,
            (_, Some(blank), Some(next)) => blank.is_whitespace() && !next.is_lowercase(),
            (_, Some(blank), None) => blank.is_whitespace(),
        };
        if is_end {
            return line.get(..end).unwrap_or(line);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::chat::ChatRequest;

    fn request(tools: &Value, more: &Value) -> ChatRequest {
        let mut body =
            json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": tools});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        crate::http::openai::body::read(body.to_string().into()).unwrap()
    }

    fn told(request: &ChatRequest, budget: usize) -> String {
        let offered = Offered::new(request).unwrap();
        let contract = Contract {
            nonce: &Nonce::new("k7q2").unwrap(),
            offered: &offered,
            tools: &request.tools,
            named: &HashSet::new(),
            budget,
        };
        contract.text()
    }

    fn tools() -> Value {
        json!([
            {"type": "function", "function": {"name": "read", "description": "Reads a file. Whole.\n\nMore of it.",
                "parameters": {"type": "object", "required": ["path"], "properties": {"path": {"type": "string", "description": "Where it is. From the root.\nOr not."}}}}},
            {"type": "custom", "custom": {"name": "exec", "description": "Runs code. In a sandbox.\n\nVery long.",
                "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}}}},
        ])
    }

    #[test]
    fn says_how_calls_are_written_and_what_there_is() {
        let text = told(&request(&tools(), &json!({})), 1 << 20);
        assert!(text.starts_with("# Tools\n"));
        for part in [
            "<calls-k7q2>\n<call-k7q2 name=\"TOOL\">\n<arg-k7q2 name=\"PARAMETER\">\nVALUE\n</arg-k7q2>\n</call-k7q2>\n</calls-k7q2>\n",
            "If no tool is needed, answer without a block.",
            "Put calls that do not depend on each other into one block.",
            "\n## read(path: text)\nReads a file. Whole.\n\nMore of it.\n- path: Where it is. From the root.\n  Or not.\n",
            "\n## exec(input: text)\nRuns code. In a sandbox.\n\nVery long.\ninput has this form:\nstart: /x/\n",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(!text.contains("by its path"));
    }

    #[test]
    fn the_choice_is_told_twice() {
        let nonce = Nonce::new("k7q2").unwrap();
        for (choice, contract, last) in [
            (json!("auto"), "If no tool is needed", "if you need one"),
            (
                json!("required"),
                "This message must contain a call.",
                "must contain a call",
            ),
            (
                json!({"type": "function", "function": {"name": "read"}}),
                "This message must call the tool read.",
                "must call the tool read",
            ),
        ] {
            let request = request(
                &tools(),
                &json!({"tool_choice": choice, "parallel_tool_calls": false}),
            );
            let text = told(&request, 1 << 20);
            assert!(
                text.contains(contract) && text.contains("A block holds one call."),
                "{text}"
            );
            let offered = Offered::new(&request).unwrap();
            let reminder = reminder(&nonce, &offered);
            assert!(
                reminder.contains(last) && reminder.contains("<calls-k7q2> … </calls-k7q2>"),
                "{reminder}"
            );
            assert_eq!(text.contains("## exec"), choice.is_string());
        }
    }

    #[test]
    fn descriptions_give_way_to_the_budget_and_nothing_else_does() {
        let mut tools = tools();
        tools[0]["function"]["description"] =
            json!(format!("Reads a file. Whole.\n\n{}", "word ".repeat(1000)));
        let request = request(&tools, &json!({}));
        let full = told(&request, 1 << 20);
        let some = told(&request, full.len() - 1);
        assert!(
            some.contains("Reads a file. Whole.\n- path: Where it is.\n")
                && !some.contains("word word")
        );
        let least = told(&request, 0);
        assert!(
            least.contains("## read(path: text)\nReads a file.\n") && !least.contains("- path"),
            "{least}"
        );
        for text in [&full, &some, &least] {
            assert!(
                text.contains("In a sandbox.\n\nVery long.\ninput has this form:"),
                "never cut"
            );
        }
    }

    #[test]
    fn what_is_described_later_is_named() {
        let tools = json!([{"type": "function", "function": {"name": "a", "defer_loading": true, "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}},
            {"type": "function", "function": {"name": "b"}}]);
        let request = request(&tools, &json!({}));
        let text = told(&request, 1 << 20);
        assert!(
            text.contains("named them: a\n") && text.contains("## b()") && !text.contains("## a("),
            "{text}"
        );
    }

    #[test]
    fn sentences_end_where_they_end() {
        for (words, first) in [
            ("One. Two.", "One."),
            ("Use e.g. x. Then y.", "Use e.g. x."),
            ("Version 3.5 only! Yes", "Version 3.5 only!"),
            ("读文件。再写。", "读文件。"),
            ("no end\nmore", "no end"),
            ("", ""),
        ] {
            assert_eq!(first_sentence(words), first);
        }
    }
}
