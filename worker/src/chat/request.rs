//! The chat request, in the form that providers work with.

use bytes::Bytes;
use bytestring::ByteString;

use super::{body, message::Message, splice::Places};

/// Most choices that one request may ask for: each one is a turn of its own upstream.
pub const MAX_CHOICES: u32 = 8;
/// A body that cannot be served: becomes 400 with this `message`, `param` and `code`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// For the caller: what is wrong.
    pub message: String,
    /// The field to blame, in OpenAI's path notation (`messages[0].content`).
    pub param: Option<String>,
    /// `error.code`, where one is customary.
    pub code: Option<&'static str>,
}

impl Invalid {
    /// A complaint about one field.
    pub fn field(param: &str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            param: Some(param.to_owned()),
            code: None,
        }
    }
}

/// The levels of `reasoning_effort` that ask for thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// `low`.
    Low,
    /// `medium`.
    Medium,
    /// `high`.
    High,
    /// `xhigh` or `max`: as hard as the model can.
    Max,
}

impl Effort {
    /// Reads the word; `None` for `none`, `minimal` and words that nobody knows.
    pub fn read(word: &str) -> Option<Self> {
        match word {
            "low" => Some(Self::Low),
            "medium" => Some(Self::Medium),
            "high" => Some(Self::High),
            "xhigh" | "max" => Some(Self::Max),
            _ => None,
        }
    }
}

/// What a client asks for, checked. The fields that a provider can honour stand here in plain form.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// The model exactly as the client wrote it.
    pub model: String,
    /// The conversation; never empty.
    pub messages: Vec<Message>,
    /// Whether the answer is wanted as server-sent events.
    pub stream: bool,
    /// Whether a stream ends with a usage chunk.
    pub include_usage: bool,
    /// How many choices, 1 to [`MAX_CHOICES`].
    pub n: u32,
    /// Texts at which the answer ends (they are not part of it); at most four, none empty.
    pub stop: Vec<String>,
    /// Most tokens of the answer.
    pub max_tokens: Option<u64>,
    /// Thinking switched on or off; `None`: as the model does by itself.
    pub thinking: Option<bool>,
    /// How hard to think, where the client named a level; whether at all is in `thinking`.
    pub effort: Option<Effort>,
    /// Web search switched on or off; `None`: as the model does by itself.
    pub search: Option<bool>,
    /// The end user's id, if the client sent one: keeps one user on one account.
    pub user: Option<String>,
    /// The documented fields that the client set and that ask for something beyond the default.
    pub present: Vec<&'static str>,
    /// The body as it came, for the providers that speak OpenAI's own protocol ([`ChatRequest::body_for`]).
    pub body: ByteString,
    /// Where that says what such providers say anew.
    pub(super) places: Places,
}

impl ChatRequest {
    /// Whether token counts are part of the answer.
    pub fn wants_usage(&self) -> bool {
        !self.stream || self.include_usage
    }

    /// Reads and checks a body.
    ///
    /// # Errors
    /// [`Invalid`] for text that is no JSON object in UTF-8, a wrong type, or a value out of range.
    pub fn parse(body: Bytes) -> Result<Self, Invalid> {
        body::read(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<ChatRequest, Invalid> {
        ChatRequest::parse(Bytes::copy_from_slice(body.as_bytes()))
    }

    fn param(body: &str) -> String {
        parse(body).unwrap_err().param.unwrap_or_default()
    }

    #[test]
    fn names_the_field_of_a_wrong_type() {
        assert_eq!(param(r#"{"model":5,"messages":[]}"#), "model");
        assert_eq!(param(r#"{"model":"m","messages":"hi"}"#), "messages");
        assert_eq!(
            param(r#"{"model":"m","messages":[{"role":"user","content":5}]}"#),
            "messages[0].content"
        );
        assert_eq!(
            param(r#"{"model":"m","messages":[{"role":"robot","content":""}]}"#),
            "messages[0].role"
        );
        assert_eq!(
            param(
                r#"{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":"hot"}"#
            ),
            "temperature"
        );
        assert_eq!(
            param(r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stop":5}"#),
            "stop"
        );
        assert_eq!(
            param(r#"{"model":"m","messages":[{"role":"user","content":"x"}],"n":0}"#),
            "n"
        );
        assert_eq!(
            param(r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream":"yes"}"#),
            "stream"
        );
        assert_eq!(
            param(r#"{"messages":[{"role":"user","content":"x"}]}"#),
            "model"
        );
        assert_eq!(param(r#"{"model":"m"}"#), "messages");
        let array = parse(r#"["m",[{"role":"user","content":"x"}]]"#).unwrap_err();
        assert!(array.message.contains("JSON object"), "{array:?}");
    }

    #[test]
    fn says_that_a_body_in_another_charset_is_none() {
        // "你好" as a Chinese Windows console sends it.
        let body = b"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\xc4\xe3\xba\xc3\"}]}";
        let refused = ChatRequest::parse(Bytes::from_static(body)).unwrap_err();
        assert!(refused.message.contains("not UTF-8"), "{refused:?}");
    }

    #[test]
    fn unknown_fields_and_nulls_never_hurt() {
        let body = r#"{"model":"m","messages":[{"role":"assistant","content":null,"x":1}],"stop":null,"temperature":null,"zzz":{"a":[1]}}"#;
        let request = parse(body).unwrap();
        assert!(request.present.is_empty() && !request.stream);
    }

    #[test]
    fn spelled_out_defaults_ask_for_nothing() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[],"tool_choice":"auto","response_format":{"type":"text"},"modalities":["text"],"stop":""}"#;
        let request = parse(body).unwrap();
        assert_eq!(request.present, ["stop"]);
        assert!(request.stop.is_empty());
    }

    #[test]
    fn thinking_has_three_spellings() {
        for (field, expected) in [
            (r#""reasoning_effort":"high""#, Some(true)),
            (r#""reasoning_effort":"none""#, Some(false)),
            (r#""enable_thinking":true"#, Some(true)),
            (r#""thinking":{"type":"disabled"}"#, Some(false)),
            (r#""seed":1"#, None),
        ] {
            let body =
                format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{field}}}"#);
            assert_eq!(parse(&body).unwrap().thinking, expected, "{field}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in ".*") {
            let _ = parse(&body);
        }
    }
}
