//! The caller's body with some members said anew and the rest copied byte for byte: a long history is neither taken
//! apart a second time nor put together again. For providers that speak OpenAI's own protocol.

use std::{fmt::Write as _, ops::Range};

use super::request::ChatRequest;
use bytes::{Bytes, BytesMut};

/// What the members that are said anew take, or hardly more.
const ROOM_FOR_NEW: usize = 128;
/// Shorter stretches of a body are copied, longer ones shared: a copy of so much costs less than one more piece.
const WORTH_SHARING: usize = 16 << 10;

/// Where the values that are said anew stand in a body; `None` for members that it has not.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `model`.
    pub model: Option<Range<usize>>,
    /// `stream`.
    pub stream: Option<Range<usize>>,
    /// `stream_options`.
    pub stream_options: Option<Range<usize>>,
    /// `n`.
    pub n: Option<Range<usize>>,
}

impl ChatRequest {
    /// The caller's body, to be sent to an API of the same dialect: for another model, one choice, and with usage
    /// where it asks for a stream. In pieces that belong one after the other: a long history is shared, not copied.
    /// `has_options`: whether the API knows `stream_options`; else there is no such member, whoever wrote it.
    pub fn body_for(&self, model: &str, has_options: bool) -> Vec<Bytes> {
        let Places {
            model: at_model,
            stream: at_stream,
            stream_options: at_options,
            n: at_n,
        } = self.places.clone();
        let model = serde_json::Value::from(model).to_string();
        let stream = if self.stream { "true" } else { "false" };
        // Not null, which means none, only where there is a stream: APIs refuse it elsewhere.
        let options = if self.stream {
            r#"{"include_usage":true}"#
        } else {
            "null"
        };
        let members = [
            ("model", at_model, model.as_str(), true),
            ("stream", at_stream, stream, true),
            (
                "stream_options",
                at_options.clone().filter(|_| has_options),
                options,
                self.stream && has_options,
            ),
            ("n", at_n, "1", false),
        ];
        let (mut replaced, mut added) = (Vec::with_capacity(members.len()), String::new());
        for (name, place, value, is_needed) in members {
            match place {
                Some(place) => replaced.push((place, value)),
                // Some member is there, as no request is without messages.
                None if is_needed => {
                    let _ = write!(added, ",\"{name}\":{value}");
                }
                None => {}
            }
        }
        if let Some(value) = at_options.filter(|_| !has_options) {
            replaced.push((member_around(&self.body, value), ""));
        }
        replaced.sort_unstable_by_key(|(place, _)| place.start);
        let body = self.body.trim_ascii_end();
        let end = body.strip_suffix('}').unwrap_or(body).len();
        let mut whole = Pieces::of(self.body.as_bytes());
        let mut copied = 0;
        for (place, value) in replaced {
            whole.share(copied..place.start);
            whole.add(value);
            copied = place.end;
        }
        whole.share(copied..end);
        whole.add(&added);
        whole.add("}");
        whole.finish()
    }
}

/// The member whose value stands at `value`, with the comma that goes with it.
fn member_around(body: &str, value: Range<usize>) -> Range<usize> {
    let before = body.get(..value.start).unwrap_or_default();
    // Blanks, a colon, blanks, the closing quote of the name; a name has no quote in it that is not escaped.
    let before = before.trim_end().trim_end_matches(':').trim_end();
    let name = before.strip_suffix('"').unwrap_or(before);
    let start = name.rfind('"').unwrap_or(name.len());
    let earlier = name.get(..start).unwrap_or_default().trim_end();
    if let Some(earlier) = earlier.strip_suffix(',') {
        return earlier.len()..value.end;
    }
    let after = body.get(value.end..).unwrap_or_default();
    let rest = after.trim_start();
    let comma = usize::from(rest.starts_with(','));
    start..value.end + (after.len() - rest.len()) + comma
}

/// A text that is put together of stretches of another one and of new ones.
struct Pieces<'a> {
    source: &'a Bytes,
    finished: Vec<Bytes>,
    open: BytesMut,
}

impl<'a> Pieces<'a> {
    fn of(source: &'a Bytes) -> Self {
        Self {
            source,
            finished: Vec::new(),
            open: BytesMut::with_capacity(source.len().min(WORTH_SHARING) + ROOM_FOR_NEW),
        }
    }

    fn add(&mut self, text: &str) {
        self.open.extend_from_slice(text.as_bytes());
    }

    fn share(&mut self, stretch: Range<usize>) {
        if stretch.len() < WORTH_SHARING {
            let text = self.source.get(stretch).unwrap_or_default();
            self.open.extend_from_slice(text);
        } else {
            self.finished.push(self.open.split().freeze());
            self.finished.push(self.source.slice(stretch));
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.finished.push(self.open.freeze());
        self.finished
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body_for(body: &str, model: &str) -> String {
        let request = crate::http::openai::body::read(body.to_owned().into()).unwrap();
        String::from_utf8(request.body_for(model, true).concat()).unwrap()
    }

    #[test]
    fn what_stays_of_a_body_stays_byte_for_byte() {
        assert_eq!(
            body_for(
                r#" { "model" : "a","x\n" : [1.0, "é\u00e9"], "n":2, "stream": true,"messages":[{"role":"user", "content":"\u4f60 }"}] , "y":1e400 } "#,
                "m\"/1"
            ),
            r#" { "model" : "m\"/1","x\n" : [1.0, "é\u00e9"], "n":1, "stream": true,"messages":[{"role":"user", "content":"\u4f60 }"}] , "y":1e400 ,"stream_options":{"include_usage":true}}"#
        );
    }

    #[test]
    fn stream_options_are_taken_out_wherever_they_stand() {
        let options = r#""stream_options" : {"include_usage":true}"#;
        let messages = r#""messages":[{"role":"user","content":"x"}]"#;
        for body in [
            format!(r#"{{{options}, "model":"a","stream":true,{messages}}}"#),
            format!(r#"{{"model":"a", {options} ,"stream":true,{messages}}}"#),
            format!(r#"{{"model":"a","stream":true,{messages},{options} }}"#),
            format!(r#"{{"model":"a","stream":true,{messages}}}"#),
        ] {
            let request = crate::http::openai::body::read(body.clone().into()).unwrap();
            let sent: Value = serde_json::from_slice(&request.body_for("b", false).concat())
                .unwrap_or_else(|error| panic!("{error}: {body}"));
            let mut expected: Value = serde_json::from_str(&body).unwrap();
            expected["model"] = json!("b");
            expected.as_object_mut().unwrap().remove("stream_options");
            assert_eq!(sent, expected, "{body}");
        }
    }

    #[test]
    fn a_long_history_is_shared() {
        let long = "x".repeat(WORTH_SHARING);
        let history = format!(r#"[{{"role":"user","content":"{long}"}}]"#);
        let body = format!(r#"{{"messages":{history},"model":"a","user":"{long}"}}"#);
        let request = crate::http::openai::body::read(body.into()).unwrap();
        let pieces = request.body_for("b", true);
        let is_shared = |piece: &&Bytes| {
            request
                .body
                .as_bytes()
                .as_ptr_range()
                .contains(&piece.as_ptr())
        };
        assert_eq!(pieces.iter().filter(is_shared).count(), 2);
        let expected =
            format!(r#"{{"messages":{history},"model":"b","user":"{long}","stream":false}}"#);
        assert_eq!(pieces.concat(), expected.as_bytes());
    }

    proptest::proptest! {
        /// As if the members had been set one by one.
        #[test]
        fn members_are_said_anew(
            stream in proptest::sample::select(&["", "null", "true", "false"]),
            options in proptest::sample::select(&["", "null", "{}", r#"{"include_usage":false}"#]),
            n in proptest::sample::select(&["", "null", "1", "3"]),
            order in proptest::sample::select(&[[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]]),
        ) {
            let messages = r#"[{"role":"user","content":"\"n\":5}"}]"#;
            let members = [
                ("model", r#""a""#), ("messages", messages), ("stream", stream), ("stream_options", options), ("n", n),
            ];
            let written: Vec<String> = order
                .iter()
                .map(|&at: &usize| members[at])
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| format!("\"{name}\" : {value} "))
                .collect();
            let body = format!("{{{}}}\n", written.join(","));
            let mut expected: Value = serde_json::from_str(&body).unwrap();
            expected["model"] = json!("b");
            expected["stream"] = json!(stream == "true");
            if stream == "true" {
                expected["stream_options"] = json!({"include_usage": true});
            } else if !options.is_empty() {
                expected["stream_options"] = Value::Null;
            }
            if !n.is_empty() {
                expected["n"] = json!(1);
            }
            let spliced: Value = serde_json::from_str(&body_for(&body, "b")).unwrap();
            proptest::prop_assert_eq!(spliced, expected);
        }
    }
}
