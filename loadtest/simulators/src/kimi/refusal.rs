//! How the service refuses. Source: wire/kimi.md §7 (E1 to E4).

use serde_json::{Value, json};

use super::envelope::{self, END, MESSAGE};
use crate::{Reply, reply::Act};

/// A reply that refuses.
pub(super) type Refusal = Reply;

pub(super) const CONNECT: &str = "application/connect+json";
pub(super) const BUSY: &str = "REASON_SERVER_OVERLOADED_FOR_FREE_USER";

/// What E1 and E2 hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Error {
    pub(super) code: &'static str,
    pub(super) message: &'static str,
    pub(super) reason: &'static str,
    pub(super) localized: &'static str,
}

impl Error {
    pub(super) const fn new(code: &'static str, message: &'static str) -> Self {
        Self {
            code,
            message,
            reason: "",
            localized: "",
        }
    }

    pub(super) const fn because(
        code: &'static str,
        reason: &'static str,
        localized: &'static str,
    ) -> Self {
        Self {
            code,
            message: "",
            reason,
            localized,
        }
    }

    /// The member order is that of sample C.
    pub(super) fn json(self) -> String {
        let code = self.code;
        let message = Value::from(self.message);
        if self.reason.is_empty() {
            return format!(r#"{{"code":"{code}","message":{message}}}"#);
        }
        let localized = Value::from(self.localized);
        format!(
            r#"{{"code":"{code}","message":{message},"details":[{{"debug":{{"reason":"{}","localizedMessage":{{"locale":"en-US","message":{localized}}}}}}}]}}"#,
            self.reason
        )
    }

    /// The HTTP status that Connect gives a code.
    fn status(self) -> u16 {
        match self.code {
            "unauthenticated" => 401,
            "permission_denied" => 403,
            "not_found" => 404,
            "resource_exhausted" => 429,
            "unavailable" => 503,
            "invalid_argument" | "failed_precondition" => 400,
            _ => 500,
        }
    }

    /// E1: a status and plain JSON.
    pub(super) fn plain(self) -> Refusal {
        Reply::new(self.status(), "application/json", self.json())
    }

    /// E2: an envelope.
    pub(super) fn envelope(self, flags: u8) -> Act {
        let payload = format!(r#"{{"error":{}}}"#, self.json());
        Act::Send(envelope::encode(flags, &payload))
    }

    /// E2 and nothing before it but a heartbeat: sample C.
    pub(super) fn trailer(self) -> Refusal {
        let heartbeat = envelope::encode(MESSAGE, r#"{"heartbeat":{}}"#);
        let acts = [Act::Send(heartbeat), Act::Done, self.envelope(END)];
        Reply::stream(CONNECT, Box::new(acts.into_iter()))
    }
}

pub(super) const UNAUTHENTICATED: Error = Error::because(
    "unauthenticated",
    "REASON_INVALID_AUTH_TOKEN",
    "Your login has expired. Please log in again.",
);
pub(super) const NOT_FOUND: Error = Error::new("not_found", "not found");
pub(super) const INVALID: Error = Error::new("invalid_argument", "invalid argument");

/// E4: the shape of `/api/*`.
pub(super) fn rest(status: u16, kind: &str, message: &str) -> Refusal {
    Reply::json(status, &json!({"error_type": kind, "message": message}))
}

/// Flagged after long automated use: logging in again by hand lifts it.
pub(super) fn account_abnormal() -> Refusal {
    rest(401, "auth.account_abnormal", "您的账号存在异常，请重新登录")
}

pub(super) fn rest_token() -> Refusal {
    rest(401, "auth.token.invalid", "您的授权已过期，请重新登录")
}

/// A plain call that went well.
pub(super) fn success(data: &Value) -> Reply {
    Reply::new(200, "application/json", data.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sample C (§6.6), without its heartbeat.
    #[test]
    fn sample_c_is_an_overload() {
        let sample = "02000000b57b226572726f72223a7b22636f6465223a227265736f757263655f657868617573746564222c226d657373616765223a22222c2264657461696c73223a5b7b226465627567223a7b22726561736f6e223a22524541534f4e5f5345525645525f4f5645524c4f414445445f464f525f465245455f55534552222c226c6f63616c697a65644d657373616765223a7b226c6f63616c65223a22656e2d5553222c226d657373616765223a2262757379227d7d7d5d7d7d";
        let Act::Send(bytes) = Error::because("resource_exhausted", BUSY, "busy").envelope(END)
        else {
            panic!("an error is sent");
        };
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, sample);
    }
}
