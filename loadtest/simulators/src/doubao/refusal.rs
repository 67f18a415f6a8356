//! How the service refuses. Source: wire/doubao.md §6.7, §7, samples 3 and 4.

use serde_json::{Value, json};

use crate::{
    Reply,
    reply::{Act, Acts},
};

/// A reply that refuses.
pub(super) type Refusal = Reply;

pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// A plain call that went well.
pub(super) fn success(data: &Value) -> Reply {
    let body = json!({"code": 0, "msg": "", "data": data});
    Reply::new(200, "application/json", body.to_string())
}

/// A plain refusal, mostly under HTTP 200.
pub(super) fn json(http: u16, code: u64, message: &str) -> Refusal {
    let message = Value::from(message);
    let body = format!(r#"{{"code":{code},"msg":{message},"data":null}}"#);
    Reply::new(http, "application/json", body)
}

pub(super) fn parameter(name: &str) -> Refusal {
    json(200, 710_011_001, &format!("invalid param: {name}"))
}

/// No session at all.
pub(super) fn login_expired() -> Refusal {
    let body = r#"{"code":710012001,"msg":"登录已过期"}"#;
    Reply::new(200, "application/json", body)
}

/// The decision that asks for a captcha: sample 3.
pub(super) const VERIFY: &str = r#"{"type":"verify","verify_scene":"doubao_message_web"}"#;

/// An error of a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Error {
    pub(super) event: &'static str,
    pub(super) code: u64,
    pub(super) message: &'static str,
    /// The decision, or nothing.
    pub(super) decision: &'static str,
}

impl Error {
    pub(super) const fn new(code: u64, message: &'static str) -> Self {
        Self {
            event: "STREAM_ERROR",
            code,
            message,
            decision: "",
        }
    }

    /// The data of its event.
    pub(super) fn data(self) -> String {
        let extra = match self.decision {
            "" => String::new(),
            decision => format!(r#","extra":{{"decision":{decision}}}"#),
        };
        format!(
            r#"{{"error_code":{},"error_msg":{}{extra}}}"#,
            self.code,
            Value::from(self.message)
        )
    }

    /// The data of its event in the older generation.
    pub(super) fn samantha(self) -> String {
        let ext = match self.decision {
            "" => json!({}),
            _ => {
                let decision = json!({"type": "verify", "subtype": "slide"});
                json!({"decision": decision.to_string()})
            }
        };
        let detail = json!({"code": self.code, "message": self.message, "ext": ext});
        json!({"code": self.code, "message": self.message, "error_detail": detail}).to_string()
    }

    /// A stream that is nothing but this error.
    pub(super) fn stream(self, samantha: bool) -> Refusal {
        let mut frames = Vec::new();
        if samantha {
            frames.push(samantha_frame(0, 2005, &self.samantha()));
        } else {
            if self.decision == VERIFY {
                frames.push(frame(Some(0), "SSE_HEARTBEAT", "{}"));
            }
            frames.push(frame(Some(0), self.event, &self.data()));
            if self == USER_INVALID {
                let gateway = r#"{"code":"Internal","message":"ErrorX:code=710012000 stable=true isPeer=false peerStable=false message=[user invalid]\nchain=[\n(cause)0: Invalid User ID\n]"}"#;
                frames.push(frame(None, "gateway-error", gateway));
            }
            if self.event == "STREAM_MSG_ERROR" {
                frames.push(frame(Some(1), "SSE_REPLY_END", r#"{"end_type":3}"#));
            }
        }
        let acts: Acts = Box::new(
            [Act::Done]
                .into_iter()
                .chain(frames.into_iter().map(Act::send)),
        );
        Reply::stream(EVENT_STREAM, acts)
    }
}

/// An event with its number, or without one.
pub(super) fn frame(id: Option<usize>, event: &str, data: &str) -> String {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    format!("{id}event: {event}\ndata: {data}\n\n")
}

/// An event of the older generation: its data is a text.
pub(super) fn samantha_frame(id: usize, kind: u32, data: &str) -> String {
    let data = Value::from(data);
    format!("data: {{\"event_data\":{data},\"event_id\":\"{id}\",\"event_type\":{kind}}}\n\n")
}

pub(super) const USER_INVALID: Error = Error::new(710_012_000, "user invalid");
pub(super) const VERIFICATION: Error = Error {
    decision: VERIFY,
    ..Error::new(710_022_004, "rate limited")
};

/// What the object storage says.
pub(super) fn storage(http: u16, code: u64, message: &str) -> Refusal {
    let body = json!({"code": code, "message": message});
    Reply::new(http, "application/json", body.to_string())
}

/// What the signed calls say.
pub(super) fn imagex(http: u16, code: &str) -> Refusal {
    let body = json!({"ResponseMetadata": {"Error": {"Code": code, "Message": code}}});
    Reply::new(http, "application/json", body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Body;

    fn played(reply: Reply) -> String {
        let Body::Stream(acts) = reply.body else {
            panic!("a stream is played");
        };
        acts.filter_map(|act| match act {
            Act::Send(bytes) | Act::Say(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            Act::Pause(_) | Act::Done | Act::Hang | Act::Break => None,
        })
        .collect()
    }

    /// Samples 3 and 4 (§6.6).
    #[test]
    fn errors_are_those_of_the_samples() {
        assert_eq!(
            played(VERIFICATION.stream(false)),
            "id: 0\nevent: SSE_HEARTBEAT\ndata: {}\n\nid: 0\nevent: STREAM_ERROR\ndata: {\"error_code\":710022004,\"error_msg\":\"rate limited\",\"extra\":{\"decision\":{\"type\":\"verify\",\"verify_scene\":\"doubao_message_web\"}}}\n\n"
        );
        assert_eq!(
            played(USER_INVALID.stream(false)),
            "id: 0\nevent: STREAM_ERROR\ndata: {\"error_code\":710012000,\"error_msg\":\"user invalid\"}\n\nevent: gateway-error\ndata: {\"code\":\"Internal\",\"message\":\"ErrorX:code=710012000 stable=true isPeer=false peerStable=false message=[user invalid]\\nchain=[\\n(cause)0: Invalid User ID\\n]\"}\n\n"
        );
    }
}
