//! The two side channels: opaque values that go with questions. Source: wire/deepseek.md §4.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use uuid::Uuid;

use super::refusal;
use crate::{Call, Reply, Request};

/// Seconds until a value is stale, as the site says it.
const TTL: u64 = 600;
/// The same under the fault `hif_short_ttl`.
const SHORT_TTL: u64 = 1;
/// A value may be on its way for so long after its time.
const GRACE: Duration = Duration::from_secs(1);

/// The headers that carry the values, and the step that gives them.
const HEADERS: [(&str, &str); 2] = [("x-hif-leim", "hif"), ("x-hif-dliq", "hif_dliq")];

#[derive(Debug)]
struct Given {
    value: String,
    step: String,
    until: Instant,
}

/// The values that were given.
#[derive(Debug, Default)]
pub(super) struct Hif(Vec<Given>);

impl Hif {
    /// `GET /query`: a new value; no credentials.
    pub(super) fn give(&mut self, request: &Request, call: &mut Call) -> Reply {
        for name in ["authorization", "cookie"] {
            if request.header_bytes(name).is_some() {
                call.violate(format!("the side channel got the {name} of the account"));
            }
        }
        let ttl = match call.fault {
            Some("hif_short_ttl") => Some(SHORT_TTL),
            Some("hif_no_ttl") => None,
            _ => Some(TTL),
        };
        let value = value();
        self.0.push(Given {
            value: value.clone(),
            step: call.step.clone(),
            until: Instant::now() + Duration::from_secs(ttl.unwrap_or(TTL)),
        });
        let reply = refusal::success(&json!({"value": value}));
        match ttl {
            Some(ttl) => reply.header("x-hif-ttl", ttl.to_string()),
            None => reply,
        }
    }

    /// The headers of any call: never invented, never stale, never the other channel's, and only with questions.
    pub(super) fn check(&self, request: &Request, call: &mut Call, is_stream: bool) {
        for (name, step) in HEADERS {
            let sent = request.header(name);
            if sent.is_empty() {
                continue;
            }
            call.note(name, true);
            match self.0.iter().find(|given| given.value == sent) {
                None => call.violate(format!("{name} is invented")),
                Some(given) if given.step != step => {
                    call.violate(format!("{name} is the value of the other side channel"));
                }
                Some(given) if given.until + GRACE < Instant::now() => {
                    call.violate(format!("{name} is older than its time"));
                }
                Some(_) if !is_stream => call.violate(format!("{name} goes with questions only")),
                Some(_) => {}
            }
        }
    }
}

/// 56 characters of Base64, a dot, 16 characters.
fn value() -> String {
    let random = || Uuid::new_v4().into_bytes();
    let long: Vec<u8> = [random(), random(), random()].concat();
    let long = STANDARD.encode(long.get(..42).unwrap_or_default());
    let short = Uuid::new_v4().simple().to_string();
    format!("{long}.{}", short.get(..16).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_shape_of_the_page() {
        let value = value();
        let (long, short) = value.split_once('.').unwrap();
        assert_eq!((long.len(), short.len()), (56, 16));
        assert!(STANDARD.decode(long).is_ok());
    }
}
