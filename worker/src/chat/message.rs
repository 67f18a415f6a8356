//! The messages of a chat request.

use std::borrow::Cow;

use memchr::{memchr2, memchr3};

pub use super::part::{Detail, File, Part, Url};
use super::text::Text;

use crate::impossible::OrImpossible as _;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// OpenAI's newer word for `system`.
    Developer,
    /// Instructions of the caller.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
    /// The result of a function call, OpenAI's older form.
    Function,
}

/// One message of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said; empty where an assistant's message only calls tools.
    pub content: Content,
    /// The speaker's or the function's name.
    pub name: Option<String>,
    /// Calls that the assistant made.
    pub tool_calls: Option<Vec<ToolCall>>,
    /// Which call a `tool` message answers.
    pub tool_call_id: Option<String>,
    /// The tool says that it failed.
    pub is_error: bool,
    /// What the assistant thought before it said this. Prompts leave it out, unless the provider's page says otherwise.
    pub reasoning: Option<Box<Reasoning>>,
}

/// The thinking of an earlier answer, as the caller sends it back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// The thoughts; empty where only the seal came back.
    pub text: Text,
    /// What whoever thought it can tell its own thoughts by. Nobody else's is checked, and it is never an error.
    pub signature: Option<Text>,
}

/// A tool call in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// The call's id.
    pub id: String,
    /// A free text stands in `function.arguments` instead of JSON ([`super::tools::ToolKind::Custom`]).
    pub is_custom: bool,
    /// What was called; absent for types of calls that we do not know.
    pub function: Option<FunctionCall>,
}

/// Name and arguments of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionCall {
    /// The function's name.
    pub name: String,
    /// The arguments as JSON text, in the order in which they came.
    pub arguments: Text,
}

/// The content of a message: a string, an array of parts, or null.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Null or absent.
    #[default]
    Empty,
    /// A plain string.
    Text(Text),
    /// An array of parts.
    Parts(Vec<Part>),
}

impl Message {
    /// A message that holds nothing but a text.
    pub fn new(role: Role, text: impl Into<Text>) -> Self {
        Self {
            role,
            content: Content::Text(text.into()),
            name: None,
            tool_calls: None,
            tool_call_id: None,
            is_error: false,
            reasoning: None,
        }
    }

    /// The text of the message: the string, or the text parts joined with a line feed.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.content {
            Content::Empty => Cow::Borrowed(""),
            Content::Text(text) => Cow::Borrowed(text),
            Content::Parts(parts) => {
                let mut texts = parts.iter().filter_map(Part::text);
                let first = texts.next().unwrap_or_default();
                // One part is by far the most common, and is lent.
                texts.next().map_or(Cow::Borrowed(first), |second| {
                    let mut joined = format!("{first}\n{second}");
                    for text in texts {
                        joined.push('\n');
                        joined.push_str(text);
                    }
                    Cow::Owned(joined)
                })
            }
        }
    }

    /// Whether the text is more than blanks.
    pub fn has_words(&self) -> bool {
        // The beginning alone: it ends at the first word, where trimming both ends would walk through a blank tail too.
        let has_words = |text: &str| !text.trim_start().is_empty();
        match &self.content {
            Content::Empty => false,
            Content::Text(text) => has_words(text),
            Content::Parts(parts) => parts.iter().filter_map(Part::text).any(has_words),
        }
    }

    /// The parts that are pictures and documents.
    pub fn attachments(&self) -> impl Iterator<Item = &Part> {
        let parts: &[Part] = match &self.content {
            Content::Parts(parts) => parts,
            Content::Empty | Content::Text(_) => &[],
        };
        parts.iter().filter(|part| part.is_attachment())
    }
}

/// Removes Markdown pictures (`![…](…)`) from a text, so that dead signed links of earlier answers are not sent
/// back. A label holds neither `[` nor a line's end, a link no line's end. Source: wire/qwen.md section 4.3,
/// wire/xinghuo.md section 4.4.
pub fn without_pictures(text: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    let (mut copied, mut from) = (0, 0);
    while let Some(found) = text.get(from..).and_then(|rest| rest.find("![")) {
        let start = from + found;
        match picture_end(text, start) {
            // Where a picture is none, the next one cannot begin before the place that says so: no byte is read twice.
            Err(place) => from = place,
            Ok(end) => {
                kept.push_str(
                    text.get(copied..start).or_impossible(
                        "pictures are found one after the other, between characters",
                    ),
                );
                (copied, from) = (end, end);
            }
        }
    }
    // No picture: the text is lent as it came.
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    kept.push_str(
        text.get(copied..)
            .or_impossible("a picture ends between characters"),
    );
    Cow::Owned(kept)
}

/// Where the picture ends whose `![` stands at `start`; else from where to look for the next one. That is always behind
/// what was read here, so that the time grows with the text and not with its square: between the two places there is no
/// `![`, or nothing that could close it.
fn picture_end(text: &str, start: usize) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let after = |at: usize| bytes.get(at..).unwrap_or_default();
    let label = start + 2;
    let mut at = label;
    let link = loop {
        // With neither of them behind it there is no picture in all the rest.
        let Some(found) = memchr3(b'[', b']', b'\n', after(at)) else {
            return Err(text.len());
        };
        at += found;
        match after(at) {
            [b']', b'(', ..] => break at + 2,
            [b']', ..] => at += 1,
            // May belong to the next `![`.
            [b'[', ..] if at > label && after(at - 1).starts_with(b"!") => return Err(at - 1),
            [b'[', ..] => return Err(at + 1),
            _ => return Err(at + 1),
        }
    };
    match memchr2(b')', b'\n', after(link)) {
        Some(found) if after(link + found).starts_with(b")") => Ok(link + found + 1),
        // An end of line within the link: what stands before it cannot be one either.
        Some(found) => Err(link + found + 1),
        None => Err(text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_only_pictures() {
        assert_eq!(
            without_pictures("a![x](https://e/1?a=b)b ![](u)c [l](m) ![n"),
            "ab c [l](m) ![n"
        );
        assert_eq!(without_pictures("![ [x](y)"), "![ [x](y)");
        assert_eq!(without_pictures("plain 你好"), "plain 你好");
    }

    #[test]
    fn joins_text_parts_with_line_feeds() {
        let text = |text: &str| Part::Text { text: text.into() };
        let picture = Part::ImageUrl {
            image_url: Url::new("u"),
            detail: None,
        };
        let message = Message {
            content: Content::Parts(vec![text("a"), picture, text("b")]),
            ..Message::new(Role::User, "")
        };
        assert_eq!(message.text(), "a\nb");
        assert_eq!(message.attachments().count(), 1);
    }

    /// The plain way, whose time grows with the square.
    fn plainly(text: &str) -> String {
        let find = |text: &str| {
            text.match_indices("![").find_map(|(start, _)| {
                let label = text.get(start..)?;
                let middle = label.find("](")?;
                if label.get(2..middle).unwrap_or("[").contains(['[', '\n']) {
                    return None;
                }
                let link = label.get(middle..)?;
                let close = link.find(')')?;
                (!link.get(..close)?.contains('\n')).then_some((start, start + middle + close + 1))
            })
        };
        let (mut kept, mut rest) = (String::new(), text);
        while let Some((start, end)) = find(rest) {
            kept.push_str(rest.get(..start).unwrap());
            rest = rest.get(end..).unwrap();
        }
        kept + rest
    }

    proptest::proptest! {
        #[test]
        fn pictures_are_found_as_in_the_plain_way(text in "([\\[\\]!()\n a你]|!\\[|\\]\\(){0,24}") {
            proptest::prop_assert_eq!(without_pictures(&text), plainly(&text));
        }
    }
}
