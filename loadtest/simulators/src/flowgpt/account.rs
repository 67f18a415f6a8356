//! The fake accounts, and the headers of both calls. Source: wire/flowgpt.md §2, §4, §5.

use std::{
    collections::HashSet,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    Refusal, fault,
    signature::{self, Mode},
};
use crate::{ACCOUNTS, Call, Request};

struct Person {
    token: &'static str,
    device: &'static str,
    waf: Option<&'static str>,
}

const PEOPLE: [Person; ACCOUNTS] = [
    Person {
        token: "sim-flowgpt-token-0000000000000001",
        device: "simDevice-000000000001",
        waf: None,
    },
    Person {
        // {"sub":"sim-2","exp":4102444800}
        token: "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzaW0tMiIsImV4cCI6NDEwMjQ0NDgwMH0.c2ln",
        device: "simDevice-000000000002",
        waf: Some("sim-waf-token-2:AAAA:QkJC"),
    },
    Person {
        // {"sub":"sim-3","exp":4102444800}
        token: "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzaW0tMyIsImV4cCI6NDEwMjQ0NDgwMH0.c2ln",
        device: "simDevice-000000000003",
        waf: None,
    },
];

const INVALID: &str = "Invalid signature";
/// A timestamp may be so many seconds off.
const MOST_DRIFT: u64 = 300;

/// The nonces that were used.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    nonces: HashSet<String>,
}

/// The variables of an account.
pub(super) const VARIABLES: [&str; 3] = [
    "FLOWGPT_BEARER_TOKEN",
    "FLOWGPT_DEVICE_ID",
    "FLOWGPT_WAF_TOKEN",
];

/// What account `number`, counted from 1, has in the variable at this place of [`VARIABLES`].
pub(super) fn credential(number: usize, variable: usize) -> Option<String> {
    let person = PEOPLE.get(number.checked_sub(1)?)?;
    let values = [Some(person.token), Some(person.device), person.waf];
    values.get(variable).copied().flatten().map(str::to_owned)
}

impl Accounts {
    /// Whose call it is, and whether it has the headers of both calls (§4).
    pub(super) fn who(&self, request: &Request, call: &mut Call) -> Result<usize, Refusal> {
        let authorization = request.header("authorization");
        let token = authorization.strip_prefix("Bearer ");
        let at = PEOPLE.iter().position(|person| token == Some(person.token));
        let Some((at, person)) = at.and_then(|at| Some((at, PEOPLE.get(at)?))) else {
            call.violate("the Authorization header is not \"Bearer \" and a known token");
            return Err(fault::said(401, "Unauthorized"));
        };
        call.account = Some(at + 1);
        for (name, value) in [
            ("accept", "*/*"),
            ("origin", "https://flowgpt.com"),
            ("referer", "https://flowgpt.com/"),
            ("x-flow-language", "en"),
        ] {
            let sent = request.header(name);
            if sent != value {
                call.violate(format!("{name} is {sent:?}, not {value:?}"));
            }
        }
        if request.header("accept-language").is_empty() {
            call.violate("there is no Accept-Language");
        }
        if request.header("x-aws-waf-token") != person.waf.unwrap_or_default() {
            call.violate("x-aws-waf-token is not what was pasted");
        }
        if request.header("x-flow-device-id") != person.device {
            call.violate("x-flow-device-id is not that of the account");
            return Err(fault::said(403, "Unknown device"));
        }
        Ok(at + 1)
    }

    /// The three headers of a question (§5).
    pub(super) fn check_signature(
        &mut self,
        request: &Request,
        account: usize,
        mode: Mode,
        call: &mut Call,
    ) -> Result<(), Refusal> {
        let [timestamp, nonce, sent] =
            ["x-timestamp", "x-nonce", "x-signature"].map(|name| request.header(name));
        let device = request.header("x-flow-device-id");
        let authorization = request.header("authorization");
        let wanted = signature::of(mode, &timestamp, &nonce, &device, &authorization);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let is_plain = !timestamp.is_empty() && timestamp.chars().all(|c| c.is_ascii_digit());
        let seconds = timestamp.parse::<u64>().ok().filter(|_| is_plain);
        let wrong = if seconds.is_none_or(|at| at.abs_diff(now.as_secs()) > MOST_DRIFT) {
            Some("x-timestamp is not the time in whole seconds: request expired")
        } else if nonce.len() != 32 || !nonce.chars().all(is_hex) {
            Some("x-nonce is not 32 lower-case hexadecimal characters")
        } else if !self.nonces.insert(nonce) {
            Some("the nonce was used before")
        } else if sent != wanted {
            Some(INVALID)
        } else {
            None
        };
        let Some(wrong) = wrong else {
            return Ok(());
        };
        // Whoever signs in a way that is not wanted at the moment has done nothing wrong.
        let nonce = request.header("x-nonce");
        let is_other = wrong == INVALID
            && Mode::ALL.iter().any(|mode| {
                sent == signature::of(*mode, &timestamp, &nonce, &device, &authorization)
            });
        if !is_other {
            call.violate(format!("account {account}: {wrong}"));
        }
        Err(fault::said(403, wrong))
    }
}
