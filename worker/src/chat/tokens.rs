//! Token counts. The web chats report none, so these are estimates with OpenAI's `o200k_base` vocabulary; the
//! docs say so. Counting is incremental: no second copy of an answer is kept.

use tiktoken_rs::{CoreBPE, o200k_base_singleton};

use super::{
    request::ChatRequest,
    tools::{Format, ToolKind},
};

use crate::impossible::OrImpossible as _;

/// Flush threshold of [`Counter`] in bytes: large enough that cutting a text there hardly changes the count.
const FLUSH_BYTES: usize = 1024;
/// What a picture costs with most services, as far as they tell; its size is not known here.
const TOKENS_PER_PICTURE: u64 = 1000;
/// What OpenAI's own recipe adds for the frame around each message.
const TOKENS_PER_MESSAGE: u64 = 3;
/// Of a longer text only the beginning is counted, and the rest taken to be like it, and so of a longer conversation:
/// counting happens on an event loop, and 1 MB holds up everybody there for 50 ms.
const MOST_COUNTED_BYTES: usize = 64 << 10;

fn vocabulary() -> &'static CoreBPE {
    o200k_base_singleton()
}

/// Loads the vocabulary (some hundred milliseconds), so that the first request need not wait for it.
pub fn warm_up() {
    let _ = vocabulary();
}

/// How many tokens a text has.
pub fn count(text: &str) -> u64 {
    let counted = beginning(text, MOST_COUNTED_BYTES);
    let tokens = vocabulary().encode_ordinary(counted).len() as u64;
    if counted.len() == text.len() {
        tokens
    } else {
        // In whole numbers, the product first; lengths are far below what would overflow.
        tokens * text.len() as u64 / counted.len() as u64
    }
}

/// About as many as [`count_request`], from the length alone: four bytes a token, which is right for English and a little
/// high for Chinese.
pub fn estimate_request(request: &ChatRequest) -> u64 {
    sum(request, |text| text.len() as u64 / 4)
}

/// All that is sent besides the texts, with what `tokens` makes of each text.
fn sum(request: &ChatRequest, mut tokens: impl FnMut(&str) -> u64) -> u64 {
    let mut total = TOKENS_PER_MESSAGE;
    for message in &request.messages {
        total += TOKENS_PER_MESSAGE + tokens(&message.text());
        for call in message.tool_calls.iter().flatten() {
            if let Some(function) = &call.function {
                total += TOKENS_PER_MESSAGE + tokens(&function.name) + tokens(&function.arguments);
            }
        }
        // Whatever its size: no service tells, and fetching it to measure would cost more than the error.
        total += TOKENS_PER_PICTURE * message.attachments().count() as u64;
    }
    for tool in &request.tools {
        total += TOKENS_PER_MESSAGE + tokens(&tool.name);
        let (ToolKind::Function { parameters: form } | ToolKind::Custom { format: form }) =
            &tool.kind
        else {
            continue;
        };
        // As it is written: near enough, and nothing need be read for it.
        for json in [&tool.description, form].into_iter().flatten() {
            total += tokens(json.get());
        }
    }
    if let Format::JsonSchema(form) = &request.format
        && let Some(schema) = &form.schema
    {
        total += tokens(schema.get());
    }
    total
}

/// The longest beginning of whole characters that has at most `most_bytes`.
fn beginning(text: &str, most_bytes: usize) -> &str {
    let mut end = most_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).or_impossible("it ends between characters")
}

/// How many tokens a request has: the conversation, and the tools that the model is told of.
pub fn count_request(request: &ChatRequest) -> u64 {
    let (mut counted, mut tokens, mut rest) = (0, 0, 0);
    let frames = sum(request, |text| {
        let part = beginning(text, MOST_COUNTED_BYTES.saturating_sub(counted));
        counted += part.len();
        rest += text.len() - part.len();
        if !part.is_empty() {
            tokens += vocabulary().encode_ordinary(part).len() as u64;
        }
        0
    });
    // The rest is taken to be like what was counted; without anything counted there is no rest.
    let rest = tokens * rest as u64 / counted.max(1) as u64;
    frames + tokens + rest
}

/// The longest beginning of `text` that has at most `limit` tokens.
pub fn truncate(text: &str, limit: u64) -> &str {
    if text.len() > MOST_COUNTED_BYTES {
        let (total, length) = (count(text), text.len() as u64);
        // As 128 bits: a limit is the caller's own number, and may be as large as one can be.
        let kept = u128::from(length) * u128::from(limit) / u128::from(total.max(1));
        // The exact place only where it is among what is counted.
        match usize::try_from(kept) {
            Ok(kept) if kept < MOST_COUNTED_BYTES / 2 => {}
            Ok(kept) => return beginning(text, kept),
            Err(_) => return text,
        }
    }
    // Below the bound, as the limit was found to lie within it, or the text is no longer.
    let tokens = vocabulary().encode_ordinary(beginning(text, MOST_COUNTED_BYTES));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if tokens.len() <= limit {
        return text;
    }
    // Decoded again to find the place: the encoder does not tell where its tokens stand.
    let bytes = tokens
        .get(..limit)
        .and_then(|tokens| vocabulary().decode_bytes(tokens).ok())
        .or_impossible("the vocabulary knows its own tokens");
    // A token may end inside a character; what is cut there does not count as said.
    beginning(text, bytes.len())
}

/// How many tokens an answer has so far.
#[derive(Debug)]
pub enum Tally {
    /// Counted with the vocabulary.
    Counted(Counter),
    /// Estimated from its length: four bytes a token. For answers whose count nobody sees but the metrics, and for
    /// upstreams that report their own usage, so that counting would nearly always be in vain.
    Estimated {
        /// Length in bytes.
        bytes: u64,
    },
}

impl Tally {
    /// An empty one.
    pub fn new(is_counted: bool) -> Self {
        if is_counted {
            Self::Counted(Counter::default())
        } else {
            Self::Estimated { bytes: 0 }
        }
    }

    /// Takes the next piece.
    pub fn add(&mut self, piece: &str) {
        match self {
            Self::Counted(counter) => counter.add(piece),
            Self::Estimated { bytes } => *bytes += piece.len() as u64,
        }
    }

    /// The count of everything so far.
    pub fn total(&self) -> u64 {
        match self {
            Self::Counted(counter) => counter.total(),
            Self::Estimated { bytes } => bytes.div_ceil(4),
        }
    }
}

/// Counts a text that comes in pieces.
#[derive(Debug, Default)]
pub struct Counter {
    held: String,
    counted: u64,
}

impl Counter {
    /// Takes the next piece.
    pub fn add(&mut self, piece: &str) {
        self.held.push_str(piece);
        if self.held.len() >= FLUSH_BYTES {
            // Cut before the last word, which may go on in the next piece.
            let cut = self
                .held
                .rfind(char::is_whitespace)
                // A blank at the very beginning would cut nothing off, and the held text would grow for ever.
                .filter(|&at| at > 0)
                .unwrap_or(self.held.len());
            let rest = self.held.split_off(cut);
            // Each part is counted once; words are whole in it, so the sum is nearly that of the whole.
            self.counted += count(&self.held);
            self.held = rest;
        }
    }

    /// The count of everything so far.
    pub fn total(&self) -> u64 {
        if self.held.is_empty() {
            self.counted
        } else {
            self.counted + count(&self.held)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{
        Content, Json, Message, Part, Role, Tool, Url,
        message::{FunctionCall, ToolCall},
        tools::JsonSchema,
    };

    #[test]
    fn counts_in_pieces_about_as_a_whole() {
        let text = "The quick brown fox 跳过了懒狗 👋🏽. ".repeat(200);
        let mut counter = Counter::default();
        for piece in text.chars() {
            counter.add(piece.encode_utf8(&mut [0; 4]));
        }
        let (whole, pieces) = (count(&text), counter.total());
        assert!(pieces.abs_diff(whole) <= 20, "{pieces} for {whole}");
        let mut words = Counter::default();
        text.split_inclusive(' ').for_each(|word| words.add(word));
        assert!(
            words.total().abs_diff(whole) <= 20,
            "{} for {whole}",
            words.total()
        );
    }

    #[test]
    fn of_a_long_text_the_beginning_is_counted() {
        let text = "a word or two, 两三个字. ".repeat(40_000);
        let exact = vocabulary().encode_ordinary(&text).len() as u64;
        assert!(text.len() > 4 * MOST_COUNTED_BYTES);
        assert!(
            count(&text).abs_diff(exact) < exact / 100,
            "{} for {exact}",
            count(&text)
        );
    }

    #[test]
    fn of_a_long_conversation_the_beginning_is_counted() {
        let text = "a word or two, 两三个字. ".repeat(500);
        let chat = |messages| {
            let message = Message::new(Role::User, &*text);
            ChatRequest::new("m", vec![message; messages])
        };
        let (one, all) = (count(&text), count_request(&chat(40)));
        assert!(40 * text.len() > 4 * MOST_COUNTED_BYTES);
        let exact = 40 * (one + TOKENS_PER_MESSAGE) + TOKENS_PER_MESSAGE;
        assert!(all.abs_diff(exact) < exact / 100, "{all} for {exact}");
        assert_eq!(count_request(&chat(1)), one + 2 * TOKENS_PER_MESSAGE);
    }

    /// A prompt of an agent is for the most part its tools, and what they have found.
    #[test]
    fn all_that_is_sent_is_counted() {
        let text = "a word or two";
        let bare = ChatRequest::new("m", vec![Message::new(Role::User, "hi")]);
        let call = ToolCall {
            id: "c".into(),
            is_custom: false,
            function: Some(FunctionCall {
                name: "f".into(),
                arguments: text.into(),
            }),
        };
        let picture = Part::ImageUrl {
            image_url: Url::new("u"),
            detail: None,
        };
        let schema = || Some(Json::string(text));
        let mut counts = vec![count_request(&bare)];
        for add in [
            (|chat, call, _, _| chat.messages[0].tool_calls = Some(vec![call]))
                as fn(&mut ChatRequest, ToolCall, Part, Option<Json>),
            |chat, _, picture, _| chat.messages[0].content = Content::Parts(vec![picture]),
            |chat, _, _, schema| chat.tools = vec![Tool::function("f", "", schema)],
            |chat, _, _, schema| {
                chat.format = Format::JsonSchema(Box::new(JsonSchema {
                    schema,
                    ..JsonSchema::default()
                }));
            },
        ] {
            let mut chat = bare.clone();
            add(&mut chat, call.clone(), picture.clone(), schema());
            counts.push(count_request(&chat));
            assert_eq!(chat.prompt_tokens(), count_request(&chat));
        }
        let least = count(text);
        for more in &counts[1..] {
            assert!(*more >= counts[0] + least, "{counts:?}");
        }
    }

    #[test]
    fn truncates_on_character_boundaries() {
        assert_eq!(truncate("one two three", 2), "one two");
        assert_eq!(truncate("one", 5), "one");
        let long = "one two three ".repeat(100_000);
        assert_eq!(truncate(&long, 2), "one two");
        assert_eq!(truncate(&long, u64::MAX), long);
        let half = truncate(&long, count(&long) / 2).len();
        assert!(half.abs_diff(long.len() / 2) < 100, "{half}");
        for limit in 0..8 {
            assert!("👋🏽猫 text".starts_with(truncate("👋🏽猫 text", limit)));
        }
    }
}
