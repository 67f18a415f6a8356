//! The fake accounts, their GtTokens, and the headers of every call. Source: wire/xinghuo.md §2, §4.1.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::refusal::{self, Refusal};
use crate::{Call, Control, Request};

const COOKIES: [&str; crate::ACCOUNTS] = [
    "di_c_mti=sim-1; d_d_app_ver=1.4.0; ssoSessionId=0b6f6a52-5a0e-4f0c-9d3e-51a1c0de0001; account_id=10000001; \
     gt_local_id=Ab+c/d==; appid=150b4dfebe",
    "ssoSessionId=0b6f6a52-5a0e-4f0c-9d3e-51a1c0de0002; account_id=10000002; JSESSIONID=SIM2$x*; daas_st=%7B%22a%22%3A1%7D",
    "account_id=10000003; ssoSessionId=0b6f6a52-5a0e-4f0c-9d3e-51a1c0de0003",
];

/// The cookie of account `number`, counted from 1.
pub(super) fn cookie(number: usize) -> Option<&'static str> {
    COOKIES.get(number.checked_sub(1)?).copied()
}

/// The GtToken that goes with account `number`: opaque base64 of the usual length with `+`, `/` and `=` in it.
pub(super) fn gt_token(number: usize) -> String {
    let salt = u8::try_from(number).unwrap_or(u8::MAX);
    let noise =
        (0..1000_u16).flat_map(|n| [n.wrapping_mul(251).to_be_bytes()[1] ^ salt, 0xfb, 0xef]);
    let bytes: Vec<u8> = b"GEE\0".iter().copied().chain(noise).collect();
    STANDARD.encode(bytes)
}

/// §2: a token is not bound to an account, so any known one will do.
pub(super) fn is_gt_token(token: &str) -> bool {
    (1..=COOKIES.len()).any(|number| token == gt_token(number))
}

const ORIGIN: &str = "https://spark.xfyun.cn";
const OLD_ORIGIN: &str = "https://xinghuo.xfyun.cn";
const JSON_ACCEPT: &str = "application/json, text/plain, */*";

/// Which kind of answer a call expects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wants {
    Json,
    Stream,
}

/// Checks what every call needs, and says whose call it is.
pub(super) fn check(
    request: &Request,
    call: &mut Call,
    wants: Wants,
    control: &Control,
) -> Result<usize, Refusal> {
    let account = signed_in(request, call)?;
    call.account = Some(account);
    // §4.1 calls these constant, not required: the service forgives them, the test does not.
    let accept = if wants == Wants::Stream {
        "text/event-stream"
    } else {
        JSON_ACCEPT
    };
    // The host of today, whatever the base URL is overridden with; the old one only where it is the base URL.
    let origin = request.header("Origin");
    let old = origin == OLD_ORIGIN && !control.only(super::SPARK);
    let origin = if old { OLD_ORIGIN } else { ORIGIN };
    for (name, value) in [
        ("Origin", origin),
        ("Referer", &format!("{origin}/desk")),
        ("Accept", accept),
    ] {
        if request.header(name) != value {
            call.violate(format!(
                "{name} is {:?}, not {value:?}",
                request.header(name)
            ));
        }
    }
    if let Some(what) = request.user_agent_violation() {
        call.violate(what);
    }
    let encodings = request.header("accept-encoding");
    if wants == Wants::Stream && !matches!(encodings.as_str(), "" | "identity") {
        call.violate(format!(
            "the chat call asks for a compressed answer: {encodings:?}"
        ));
    }
    Ok(account)
}

fn signed_in(request: &Request, call: &mut Call) -> Result<usize, Refusal> {
    let Some(session) = request.cookie("ssoSessionId") else {
        call.violate("the Cookie header has no ssoSessionId");
        return Err(refusal::json(80000, "用户未登录"));
    };
    let pair = format!("ssoSessionId={session}");
    let Some(at) = COOKIES
        .iter()
        .position(|cookie| cookie.split("; ").any(|known| known == pair))
    else {
        call.violate("the ssoSessionId is of no known account");
        return Err(refusal::json(80000, "用户未登录"));
    };
    // A bare ssoSessionId is a convenience of §2; a pasted cookie goes out verbatim.
    let sent = request.header_bytes("cookie").unwrap_or_default();
    let whole = COOKIES.get(at).map(|cookie| cookie.as_bytes());
    if sent != pair.as_bytes() && Some(sent) != whole {
        call.violate("the Cookie header is not the account's cookie byte for byte");
    }
    Ok(at + 1)
}

/// §4.1: what the form of today goes without.
pub(super) fn check_spark(request: &Request, call: &mut Call) {
    for name in ["Botweb", "Challenge", "Seccode", "Validate"] {
        if request.header_bytes(name).is_some() {
            call.violate(format!("{name} goes with the classic form only"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_look_like_the_real_ones() {
        let token = gt_token(1);
        assert!((1024..=12 * 1024).contains(&token.len()));
        assert!(
            token.contains('+') && token.contains('/') && token.ends_with('='),
            "{token}"
        );
        assert!(token.starts_with("R0VF"));
        assert_ne!(token, gt_token(2));
        assert!(is_gt_token(&token) && !is_gt_token(""));
    }
}
