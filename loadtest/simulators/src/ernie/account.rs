//! The fake accounts, and the headers of every call. Source: wire/ernie.md §2, §4.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Refusal, fault};
use crate::{ACCOUNTS, Call, Request};

struct Person {
    cookie: &'static str,
    /// The parts that a captured request has besides.
    acs_token: &'static str,
    sign: &'static str,
    jt: &'static str,
}

const PEOPLE: [Person; ACCOUNTS] = [
    Person {
        cookie: "BAIDUID=51A0C0FFEE000001:FG=1; BDUSS_BFESS=simBduss0000000000000001~a-B; ZFY=x:C",
        acs_token: "1759456789012_1759456790000_simAcs0001+/==",
        sign: "1759456789012_1759456790001_simSign0001+/==",
        jt: "31$simJt0001abcDEF",
    },
    Person {
        cookie: "BDUSS_BFESS=simBduss0000000000000002~a-B; BAIDUID=51A0C0FFEE000002:FG=1",
        acs_token: "",
        sign: "",
        jt: "",
    },
    Person {
        cookie: "BAIDUID=51A0C0FFEE000003:FG=1; BDUSS=simBduss0000000000000003~a-B",
        acs_token: "1759456789012_1759456790000_simAcs0003+/==",
        sign: "1759456789012_1759456790001_simSign0003+/==",
        jt: "",
    },
];

/// A timestamp may be so many milliseconds off.
const MOST_DRIFT: u64 = 15 * 60 * 1000;

/// The variables of account `number`, counted from 1.
pub(super) fn credentials(number: usize) -> Vec<(String, String)> {
    let Some(person) = number.checked_sub(1).and_then(|at| PEOPLE.get(at)) else {
        return Vec::new();
    };
    let parts = [
        ("COOKIE", person.cookie),
        ("ACS_TOKEN", person.acs_token),
        ("SIGN", person.sign),
        ("JT", person.jt),
    ];
    let parts = parts.into_iter().filter(|(_, value)| !value.is_empty());
    parts
        .map(|(name, value)| (format!("BAIDU_ACCOUNT_{number}_{name}"), value.to_owned()))
        .collect()
}

/// Whose call it is, by the cookie, and whether it has the headers of every call.
pub(super) fn who(request: &Request, call: &mut Call) -> Option<usize> {
    let cookie = request.header("cookie");
    let at = PEOPLE.iter().position(|person| person.cookie == cookie);
    let Some(at) = at else {
        call.violate("the cookie is not what an account has, byte for byte");
        return None;
    };
    call.account = Some(at + 1);
    for (name, value) in [
        ("device-type", "pc"),
        ("origin", "https://ernie.baidu.com"),
        ("referer", "https://ernie.baidu.com/"),
    ] {
        let sent = request.header(name);
        if sent != value {
            call.violate(format!("{name} is {sent:?}, not {value:?}"));
        }
    }
    if let Some(what) = request.user_agent_violation() {
        call.violate(what);
    }
    Some(at + 1)
}

/// `acs-token`, `sign` and `jt`: what was captured, or nothing (§2).
pub(super) fn check_parts(
    request: &Request,
    body: &Value,
    account: usize,
    call: &mut Call,
) -> Result<(), Refusal> {
    let Some(person) = PEOPLE.get(account - 1) else {
        return Ok(());
    };
    let member = |name: &str| body.get(name).and_then(Value::as_str);
    let token = request.header_bytes("acs-token");
    let is_token = match person.acs_token {
        "" => token.is_none(),
        own => token == Some(own.as_bytes()),
    };
    let wrong = if !is_token {
        Some("acs-token is not what was captured")
    } else if member("sign") != Some(person.sign) {
        Some("sign is not what was captured")
    } else if member("jt").is_some_and(|jt| jt != person.jt) {
        Some("jt is not what was captured")
    } else {
        None
    };
    let Some(wrong) = wrong else {
        return Ok(());
    };
    call.violate(wrong);
    Err(fault::coded(40005, "用户访问被限制"))
}

/// `timestamp`: now, in milliseconds, as a number.
pub(super) fn check_time(body: &Value, call: &mut Call) -> Result<(), String> {
    if call.step == "user" {
        return Ok(());
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or_default();
    match body.get("timestamp").and_then(Value::as_u64) {
        Some(sent) if sent.abs_diff(now) <= MOST_DRIFT => Ok(()),
        Some(_) => Err("timestamp is more than 15 minutes off".to_owned()),
        None => Err("timestamp is no number".to_owned()),
    }
}
