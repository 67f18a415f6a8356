//! What an upstream says is wrong, in whichever of the shapes of its kind: OpenAI's `error` object, vLLM's members at the
//! top, FastAPI's `detail`, Azure's `innererror`, OpenRouter's `metadata.raw`, Gemini's list, problem details, a text.
//! Source: the public API references of these.

use serde_json::{Map, Value};

use crate::upstream::json;

/// Errors within errors: as deep as anybody has seen, and more.
const MOST_DEPTH: usize = 6;
/// Most entries of a list of complaints that are told.
const MOST_COMPLAINTS: usize = 4;
/// A longer text that is no JSON is no message.
const MOST_TEXT_BYTES: usize = 2000;

/// Words of an error; empty where there are none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) message: String,
    /// Its types and codes, in lower case, with blanks between.
    pub(super) words: String,
    /// The code, or where there is none nothing.
    pub(super) code: String,
    pub(super) param: String,
    /// An HTTP status that it names itself.
    pub(super) status: Option<u16>,
    /// A page for people, not an answer of an API.
    pub(super) is_page: bool,
}

impl Said {
    /// The body of an HTTP error.
    pub(super) fn body(body: &[u8]) -> Self {
        // JSON first, whatever the label: labels lie, and an error page of JSON says more than its type.
        if let Some((value, _)) = json::value(body) {
            return Self::value(&value);
        }
        let text = String::from_utf8_lossy(body);
        let text = text.trim_start_matches('\u{FEFF}').trim();
        if text.starts_with('<') {
            return Self {
                is_page: true,
                ..Self::default()
            };
        }
        Self {
            message: text
                .chars()
                // All or nothing: half a page of text is no message, and the bound keeps a dump from the client's eyes.
                .take(if text.len() > MOST_TEXT_BYTES {
                    0
                } else {
                    MOST_TEXT_BYTES
                })
                .collect(),
            ..Self::default()
        }
    }

    /// A JSON value that is known to be an error.
    pub(super) fn value(value: &Value) -> Self {
        let mut said = Self::default();
        said.read(value, 0);
        // Last: halves of a surrogate pair may stand in different members that were joined above.
        said.message = json::whole(&said.message);
        said
    }

    fn read(&mut self, value: &Value, depth: usize) {
        if depth > MOST_DEPTH {
            return;
        }
        match value {
            Value::String(text) => self.text(text, depth),
            Value::Array(list) => {
                let mut complaints = Vec::new();
                for item in list.iter().take(MOST_COMPLAINTS) {
                    let mut one = Self::default();
                    one.read(item, depth + 1);
                    self.adopt(&one);
                    // Only the words; types and codes were adopted by the whole.
                    complaints.extend(Some(one.message).filter(|it| !it.is_empty()));
                }
                self.say(&complaints.join("; "));
            }
            Value::Object(members) => self.object(members, depth),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A message may itself be the JSON of another service's error.
    fn text(&mut self, text: &str, depth: usize) {
        let inner = text.trim_start();
        // Routers pass another service's body on as a text; its words are better than its braces.
        if inner.starts_with(['{', '['])
            && let Some((value, _)) = json::value(inner.as_bytes())
        {
            let mut said = Self::default();
            said.read(&value, depth + 1);
            if !said.message.is_empty() {
                self.say(&said.message);
                self.adopt(&said);
                return;
            }
        }
        self.say(text);
    }

    fn object(&mut self, members: &Map<String, Value>, depth: usize) {
        // What the service behind a router said is more to the point than "provider returned error".
        if let Some(raw) = members.get("metadata").and_then(|it| it.get("raw")) {
            self.read(raw, depth + 1);
        }
        // The order is the rank: what is found first is said (`say`), and `error` is where most services put it.
        for name in ["error", "errors", "detail", "message", "msg", "base_resp"] {
            match members.get(name) {
                Some(Value::Object(inner))
                    if name == "errors" && !inner.contains_key("message") =>
                {
                    // Problem details: a list of complaints by field.
                    self.read(&Value::Array(inner.values().cloned().collect()), depth + 1);
                }
                Some(inner) => self.read(inner, depth + 1),
                None => {}
            }
        }
        // Names that are met with texts only; an object under them is something else.
        for name in [
            "error_message",
            "error_msg",
            "errorMessage",
            "errorMsg",
            "error_description",
            "status_msg",
            "Message",
            "title",
            "description",
        ] {
            if let Some(Value::String(text)) = members.get(name) {
                self.say(text);
            }
        }
        // Behind the words, which it puts the place before.
        self.complaint(members);
        for name in [
            "type",
            "error_type",
            "code",
            "error_code",
            "errorCode",
            "status",
            "reason",
            "finish_reason",
        ] {
            self.word(name, members.get(name));
        }
        // Finer words, where there are no better ones.
        for name in ["innererror", "details"] {
            if let Some(inner) = members.get(name) {
                self.read(inner, depth + 1);
            }
        }
        if let Some(reasons) = members.get("metadata").and_then(|it| it.get("reasons")) {
            self.words
                .push_str(&format!("moderation {reasons} ").to_ascii_lowercase());
        }
        if members.contains_key("content_filter_result")
            || members.contains_key("content_filter_results")
        {
            self.words.push_str("content_filter ");
        }
        // Beside the HTTP status, which gateways flatten to 200 or 500: what it names itself is nearer to the cause.
        for name in ["status", "code", "status_code", "statusCode", "http_status"] {
            let status = members.get(name).and_then(|value| match value {
                Value::Number(number) => number.as_u64(),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            });
            let status = status.and_then(|status| u16::try_from(status).ok());
            self.status = self
                .status
                .or_else(|| status.filter(|status| (400..600).contains(status)));
        }
        if let (true, Some(Value::String(param))) = (self.param.is_empty(), members.get("param")) {
            self.param.clone_from(param);
        }
    }

    /// FastAPI's complaint about a field: what, and where (`loc`, less the first step, which is `body`).
    fn complaint(&mut self, members: &Map<String, Value>) {
        let Some(Value::Array(place)) = members.get("loc") else {
            return;
        };
        let step = |step: &Value| {
            step.as_str()
                .map_or_else(|| step.to_string(), str::to_owned)
        };
        let steps: Vec<String> = place
            .iter()
            .map(step)
            .filter(|step| step != "body")
            .collect();
        let place = steps.join(".");
        if !place.is_empty() {
            self.message = format!("{place}: {}", self.message);
            if self.param.is_empty() {
                self.param = place;
            }
        }
    }

    fn word(&mut self, name: &str, value: Option<&Value>) {
        let Some(Value::String(word)) = value else {
            return;
        };
        self.words.push_str(&word.to_ascii_lowercase());
        self.words.push(' ');
        if self.code.is_empty() && matches!(name, "code" | "error_code" | "errorCode") {
            self.code.clone_from(word);
        }
    }

    /// The first words count.
    fn say(&mut self, text: &str) {
        if self.message.is_empty() {
            text.clone_into(&mut self.message);
        }
    }

    fn adopt(&mut self, inner: &Self) {
        self.words.push_str(&inner.words);
        self.status = self.status.or(inner.status);
        for (own, other) in [
            (&mut self.code, &inner.code),
            (&mut self.param, &inner.param),
        ] {
            if own.is_empty() {
                own.clone_from(other);
            }
        }
    }
}

/// The error in an event or a whole answer that has none of an answer's members; `None` when it is something else.
pub(super) fn error_in(members: &Map<String, Value>) -> Option<Said> {
    let has = |name: &str| {
        members.get(name).is_some_and(|value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(_) | Value::Number(_) | Value::Bool(true) => true,
        })
    };
    let is = |name: &str, words: &[&str]| {
        let word = members
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default();
        words.iter().any(|known| word.eq_ignore_ascii_case(known))
    };
    let is_error = [
        "error",
        "errors",
        "detail",
        "error_msg",
        "error_message",
        "errorMessage",
        "errorMsg",
        "error_code",
        "errorCode",
    ]
    .iter()
    .any(|name| has(name));
    let is_named =
        is("object", &["error"]) || is("type", &["error"]) || is("status", &["error", "failed"]);
    let is_told = has("message") || has("msg");
    // A message and a code beside it are an error only together: successes have both words in other meanings.
    let is_coded = ["code", "status_code", "statusCode"].iter().any(|name| {
        // A code that says that all is well is none.
        has(name) && !matches!(members.get(*name).and_then(Value::as_u64), Some(0 | 200))
    });
    // MiniMax, and services that only say that something has not worked.
    let is_based = members
        .get("base_resp")
        .and_then(|said| said.get("status_code")?.as_i64())
        .is_some_and(|code| code != 0);
    let has_failed = is_told && members.get("success").and_then(Value::as_bool) == Some(false);
    // `type` beside a text: a refusal of services without `error`; messages of answers are objects.
    let is_typed = is_told && has("type") && members.get("message").is_some_and(Value::is_string);
    (is_error || is_named || is_based || has_failed || (is_told && is_coded) || is_typed)
        .then(|| Said::value(&Value::Object(members.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str) -> (String, String, String, Option<u16>) {
        let said = Said::body(body.as_bytes());
        (said.message, said.code, said.param, said.status)
    }

    #[test]
    fn reads_every_shape() {
        for (body, message, code, param, status) in [
            (
                r#"{"error":{"message":"m","type":"t","param":"p","code":"c"}}"#,
                "m",
                "c",
                "p",
                None,
            ),
            (r#"{"error":"m"}"#, "m", "", "", None),
            (
                r#"{"object":"error","message":"m","type":"BadRequestError","param":null,"code":400}"#,
                "m",
                "",
                "",
                Some(400),
            ),
            (r#"{"detail":"m"}"#, "m", "", "", None),
            (
                r#"{"detail":[{"loc":["body","messages",0],"msg":"m","type":"missing"},{"loc":["body","x"],"msg":"n"}]}"#,
                "messages.0: m; x: n",
                "",
                "messages.0",
                None,
            ),
            (
                r#"{"detail":{"error":{"message":"m","code":"c"}}}"#,
                "m",
                "c",
                "",
                None,
            ),
            (
                r#"{"message":{"detail":[{"loc":["body","model"],"msg":"m"}]}}"#,
                "model: m",
                "",
                "model",
                None,
            ),
            (
                r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"m\",\"code\":\"c\"}}"}}}"#,
                "m",
                "c",
                "",
                Some(400),
            ),
            (
                r#"{"error":{"message":"m","code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
                "m",
                "content_filter",
                "",
                None,
            ),
            (
                r#"[{"error":{"code":404,"message":"m","status":"NOT_FOUND"}}]"#,
                "m",
                "",
                "",
                Some(404),
            ),
            (
                r#"{"errors":[{"code":7003,"message":"m"}],"success":false}"#,
                "m",
                "",
                "",
                None,
            ),
            (
                r#"{"errors":{"model":["m"]},"title":"t","status":422}"#,
                "m",
                "",
                "",
                Some(422),
            ),
            (
                r#"{"code":"InvalidParameter","message":"m","request_id":"x"}"#,
                "m",
                "InvalidParameter",
                "",
                None,
            ),
            ("plain words\n", "plain words", "", "", None),
            ("", "", "", "", None),
        ] {
            let expected = (
                message.to_owned(),
                code.to_owned(),
                param.to_owned(),
                status,
            );
            assert_eq!(said(body), expected, "{body}");
        }
        assert!(Said::body(b"\xef\xbb\xbf <html>").is_page);
    }

    #[test]
    fn knows_an_error_from_an_event() {
        let is_error = |event: &str| {
            let Ok(Value::Object(event)) = serde_json::from_str(event) else {
                panic!()
            };
            error_in(&event).is_some()
        };
        for yes in [
            r#"{"error":"x"}"#,
            r#"{"error":{}}"#,
            r#"{"detail":"x"}"#,
            r#"{"message":"x","code":500}"#,
            r#"{"object":"error"}"#,
            r#"{"message":"x","type":"E"}"#,
            r#"{"errors":["x"]}"#,
            r#"{"code":"E","msg":"x"}"#,
        ] {
            assert!(is_error(yes), "{yes}");
        }
        for no in [
            "{}",
            r#"{"type":"ping"}"#,
            r#"{"error":null}"#,
            r#"{"errors":[]}"#,
            r#"{"id":"x","model":"m"}"#,
            r#"{"code":0,"message":"ok"}"#,
            r#"{"error":""}"#,
        ] {
            assert!(!is_error(no), "{no}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in ".*") {
            let _ = Said::body(body.as_bytes());
        }
    }
}
