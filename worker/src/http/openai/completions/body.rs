//! The body of a completion, read and checked, and the questions that it becomes. Source: OpenAI's public API reference,
//! Completions.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, SeqAccess, Visitor},
};

use super::{fence::FENCE, fim};
use crate::{
    chat::{
        Asked, ChatRequest, Field, Invalid, Message, Role, Text,
        request::{MAX_CHOICES, MOST_MODEL_BYTES, Sampling},
        text,
    },
    http::reading::{self, Form, Passed},
};

/// Most stop sequences, and the longest of them. OpenAI's API takes four; editors send a dozen (the marks of `fim`, and
/// what ends a block in the language at hand).
const MAX_STOPS: usize = 32;
const MOST_STOP_BYTES: usize = 4096;

// Said in the system's place, as a beginning that reads like a question would be answered otherwise.
const GO_ON: &str = "You complete texts. The user's message is the beginning of a text or of a program. Write what comes next, \
    starting exactly where it ends: repeat nothing of it, explain nothing, and put nothing around your text.";
const FILL_IN: &str = "You complete texts and programs at a cursor. The user's message has what stands before the cursor \
    between <before> and </before>, and what stands behind it between <after> and </after>. Write only what belongs in \
    between, so that the three parts follow one another: repeat nothing of either part, explain nothing, and put nothing \
    around your text. Where nothing is missing, write the shortest text that fits.";

/// What a body asks for.
#[derive(Debug)]
pub(super) struct Asks {
    /// One a prompt, alike in all but the text.
    pub(super) requests: Vec<ChatRequest>,
    /// What stands before each answer (`echo`): the prompts, in their order.
    pub(super) echoes: Vec<Text>,
    /// The texts stand between two others, and are wanted bare.
    pub(super) fills_in: bool,
}

/// Reads and checks a body.
///
/// # Errors
/// [`Invalid`] for text that is no JSON object in UTF-8, a wrong type, or a value that cannot be honoured.
pub(super) fn read_within(body: Bytes, most_pieces: usize) -> Result<Asks, Invalid> {
    reading::read::<CompletionForm>(body, most_pieces)
}

struct CompletionForm;

impl Form for CompletionForm {
    type Body<'a> = Body;
    type Read = Asks;

    fn check(body: Body, text: &ByteString) -> Result<Asks, Invalid> {
        body.check(text)
    }
}

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    prompt: Option<Texts>,
    suffix: Option<Text>,
    echo: Option<bool>,
    n: Option<u32>,
    best_of: Option<u32>,
    logprobs: Option<u32>,
    stop: Option<Texts>,
    max_tokens: Option<u64>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    logit_bias: Option<Passed>,
    seed: Option<i64>,
    user: Option<String>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// More prompts and more stops than these are too many.
const MOST_TEXTS: usize = if MAX_STOPS > MAX_CHOICES as usize {
    MAX_STOPS
} else {
    MAX_CHOICES as usize
};

/// A text, or an array of texts.
struct Texts(Vec<Text>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;

        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings (arrays of tokens are not supported: send the text)")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Texts, E> {
                Ok(Texts(vec![Text::borrowed(text)]))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.into()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                // One more than may be asked for, so that the checks below see that it was too many.
                while texts.len() <= MOST_TEXTS {
                    let Some(text) = seq.next_element()? else {
                        return Ok(Texts(texts));
                    };
                    text::count_piece()?;
                    texts.push(text);
                }
                // Read to its end, else what follows would be taken for a broken body.
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Texts(texts))
            }
        }

        deserializer.deserialize_any(TextsVisitor)
    }
}

impl Body {
    fn check(self, body: &ByteString) -> Result<Asks, Invalid> {
        let asked = self.asked();
        let Some(model) = self.model.filter(|model| !model.trim().is_empty()) else {
            return Err(Invalid::field(
                "model",
                "You must name a model; GET /v1/models lists them.",
            ));
        };
        if model.len() > MOST_MODEL_BYTES {
            return Err(Invalid::too_long_a_model());
        }
        let suffix = self.suffix.filter(|suffix| !suffix.is_empty());
        let prompts = self
            .prompt
            .map(|Texts(prompts)| prompts)
            .unwrap_or_default();
        // An empty text before the cursor is the beginning of a file, and a question with what follows it; without that
        // it is none.
        let is_nothing = prompts.iter().any(|prompt| prompt.is_empty()) && suffix.is_none();
        if prompts.is_empty() || is_nothing {
            return Err(Invalid::field("prompt", "'prompt' must hold a text."));
        }
        let n = self.n.unwrap_or(1);
        // Both together are turns of accounts, so both together are bounded.
        let choices = prompts.len().saturating_mul(n as usize);
        if n == 0 || choices > MAX_CHOICES as usize {
            return Err(Invalid::field(
                "n",
                format!("'n' texts for each prompt must be between 1 and {MAX_CHOICES} in all."),
            ));
        }
        // Refused rather than left out: who asks for the best of several, or for probabilities, reckons with what
        // comes.
        for (param, is_set) in [
            ("best_of", self.best_of.is_some_and(|best| best > 1)),
            ("logprobs", self.logprobs.is_some()),
        ] {
            if is_set {
                return Err(Invalid {
                    code: Some("unsupported_parameter"),
                    ..Invalid::field(param, format!("'{param}' is not supported."))
                });
            }
        }
        if self.max_tokens == Some(0) {
            return Err(Invalid::field(
                "max_tokens",
                "'max_tokens' must be at least 1.",
            ));
        }
        let stop = self.stop.map(|Texts(stops)| stops).unwrap_or_default();
        let stop: Vec<String> = stop.iter().map(|stop| stop.to_string()).collect();
        if stop.len() > MAX_STOPS || stop.iter().any(|stop| stop.len() > MOST_STOP_BYTES) {
            return Err(Invalid::field(
                "stop",
                format!(
                    "'stop' may hold at most {MAX_STOPS} sequences of at most {MOST_STOP_BYTES} bytes."
                ),
            ));
        }
        let questions: Vec<_> = prompts
            .iter()
            .map(|prompt| question(prompt, suffix.as_ref()))
            .collect();
        let fills_in = questions.iter().any(|question| question.fills_in);
        // A fence around a text that is wanted bare goes anyway (`fence`); the opening one must not be the end.
        let is_wanted = |stop: &String| !(stop.is_empty() || fills_in && stop == FENCE);
        let stop: Vec<String> = stop.into_iter().filter(is_wanted).collect();
        let sampling = Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            seed: self.seed,
            logit_bias: self.logit_bias.map(|bias| bias.json),
            ..Sampling::default()
        };
        let user = self.user.filter(|user| !user.is_empty());
        let options = self
            .stream_options
            .and_then(|options| options.include_usage);
        let request = |question: Question| ChatRequest {
            sampling: sampling.clone(),
            // Whoever types waits for it.
            thinking: Some(false),
            stop: stop.clone(),
            max_tokens: self.max_tokens,
            user: user.clone(),
            n,
            stream: self.stream.unwrap_or(false),
            include_usage: options.unwrap_or(false),
            asked: asked.clone(),
            bytes: body.len(),
            ..ChatRequest::new(model.clone(), question.messages)
        };
        Ok(Asks {
            requests: questions.into_iter().map(request).collect(),
            fills_in,
            echoes: if self.echo == Some(true) {
                prompts
            } else {
                Vec::new()
            },
        })
    }

    fn asked(&self) -> Vec<Asked> {
        [
            (
                "frequency_penalty",
                Field::FrequencyPenalty,
                self.frequency_penalty.is_some(),
            ),
            (
                "logit_bias",
                Field::LogitBias,
                self.logit_bias.as_ref().is_some_and(|bias| !bias.is_empty),
            ),
            ("max_tokens", Field::MaxTokens, self.max_tokens.is_some()),
            ("n", Field::Choices, self.n.is_some()),
            (
                "presence_penalty",
                Field::PresencePenalty,
                self.presence_penalty.is_some(),
            ),
            ("seed", Field::Seed, self.seed.is_some()),
            ("stop", Field::Stop, self.stop.is_some()),
            (
                "stream_options",
                Field::StreamOptions,
                self.stream_options.is_some(),
            ),
            (
                "temperature",
                Field::Temperature,
                self.temperature.is_some(),
            ),
            ("top_p", Field::TopP, self.top_p.is_some()),
            ("user", Field::User, self.user.is_some()),
        ]
        .into_iter()
        .filter(|(.., is_set)| *is_set)
        .map(|(name, field, _)| Asked {
            field,
            name: name.into(),
        })
        .collect()
    }
}

/// The text to go on from, as a question to a model that chats.
struct Question {
    messages: Vec<Message>,
    fills_in: bool,
}

fn question(prompt: &Text, suffix: Option<&Text>) -> Question {
    let both = match suffix {
        Some(suffix) => Some(between(prompt, suffix)),
        None => fim::split(prompt).map(|(before, after)| between(&before, after)),
    };
    let fills_in = both.is_some();
    let (told, text) = both.map_or_else(|| (GO_ON, prompt.clone()), |both| (FILL_IN, both));
    Question {
        messages: vec![
            Message::new(Role::System, told),
            Message::new(Role::User, text),
        ],
        fills_in,
    }
}

/// Tags and not a fill-in-the-middle token: those belong to the vocabularies of models that do not chat.
fn between(before: &str, after: &str) -> Text {
    format!("<before>{before}</before>\n<after>{after}</after>").into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(members: Value) -> Result<Asks, Invalid> {
        let mut body = json!({"model": "m", "prompt": "fn main"});
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        read_within(body.to_string().into(), 100)
    }

    #[test]
    fn a_prompt_becomes_a_question_and_several_become_several() {
        let asks = parse(json!({"prompt": ["a", "b"], "n": 2, "stop": "\n", "max_tokens": 5, "echo": true, "temperature": 0.1})).unwrap();
        let texts: Vec<String> = asks
            .requests
            .iter()
            .map(|request| request.messages[1].text().into_owned())
            .collect();
        assert_eq!(texts, ["a", "b"]);
        assert_eq!(asks.echoes.len(), 2);
        let request = &asks.requests[0];
        assert_eq!(
            (request.n, request.max_tokens, request.thinking),
            (2, Some(5), Some(false))
        );
        assert_eq!(request.stop, ["\n"]);
        assert!(!asks.fills_in);
        let asks = parse(json!({"prompt": "", "suffix": "}"})).unwrap();
        assert!(asks.fills_in);
        assert_eq!(
            asks.requests[0].messages[1].text(),
            "<before></before>\n<after>}</after>"
        );
    }

    #[test]
    fn what_editors_send_for_a_cursor_is_understood() {
        // As Continue asks for `deepseek-chat`.
        let stops = [
            "<｜fim▁begin｜>",
            "<｜fim▁hole｜>",
            "<｜fim▁end｜>",
            "//",
            "<｜end▁of▁sentence｜>",
            "\n\n",
            "\r\n\r\n",
            "/src/",
            "#- coding: utf-8",
            "```",
        ];
        let prompt = "<｜fim▁begin｜>fn add(a: u8) {<｜fim▁hole｜>}<｜fim▁end｜>";
        let asks = parse(json!({"prompt": prompt, "stop": stops, "echo": true})).unwrap();
        assert!(asks.fills_in);
        let request = &asks.requests[0];
        assert_eq!(request.messages[0].text(), FILL_IN);
        assert_eq!(
            request.messages[1].text(),
            "<before>fn add(a: u8) {</before>\n<after>}</after>"
        );
        assert_eq!(request.stop, stops[..9]);
        assert_eq!(&*asks.echoes[0], prompt);
        // Where the text is not wanted bare, a fence is what was said.
        let asks = parse(json!({"stop": ["```"]})).unwrap();
        assert_eq!(asks.requests[0].stop, ["```"]);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (members, param) in [
            (json!({"prompt": [1, 2]}), "prompt"),
            (json!({"prompt": [[1, 2]]}), "prompt"),
            (json!({"prompt": 5}), "prompt"),
            (json!({"prompt": []}), "prompt"),
            (json!({"prompt": ""}), "prompt"),
            (json!({"prompt": null}), "prompt"),
            (json!({"model": ""}), "model"),
            (json!({"best_of": 2}), "best_of"),
            (json!({"logprobs": 0}), "logprobs"),
            (json!({"n": 0}), "n"),
            (json!({"n": 5, "prompt": ["a", "b"]}), "n"),
            (json!({"prompt": vec!["a"; 100]}), "n"),
            (json!({"stop": vec!["a"; 33]}), "stop"),
            (json!({"max_tokens": 0}), "max_tokens"),
            (json!({"suffix": 5}), "suffix"),
            (json!({"stream": "yes"}), "stream"),
        ] {
            let refused = parse(members.clone()).unwrap_err();
            let named = refused.param.unwrap_or_default();
            assert!(
                named.starts_with(param),
                "{members}: {named} {}",
                refused.message
            );
        }
        // What only spells out the default asks for nothing.
        assert!(parse(json!({"best_of": 1, "logprobs": null, "n": 1, "suffix": ""})).is_ok());
    }
}
