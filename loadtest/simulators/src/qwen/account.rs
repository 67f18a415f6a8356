//! The fake accounts and the headers that every call needs. Source: wire/qwen.md §2, §4.2, §6.

use crate::{
    Call, Request,
    request::{is_uuid, percent_decode},
};

use super::refusal::{self, Refusal};

/// Whole cookies as a user would paste them, one for each way a ticket can look. `$`, `*` and bytes over 0x7f are what
/// breaks careless readers of `.env` files (§2.2, §2.3).
const COOKIES: [&str; crate::ACCOUNTS] = [
    "tongyi_sso_ticket=sim1$Kq7*vN2_rT9wXy4ZbLm8PdQs5HgFj3CkAeUoRiWtVn6SxGz1Yh0sim12345; \
     XSRF-TOKEN=48b9ee49-a184-45e2-9f67-fa87213edcdc; cna=sim-1",
    "tongyi_sso_ticket=sim2$Bw3*hJ8_mC5nVx9QzRtYp1LkDsFg7AeUo4IiWv6TjNc2XsEz0Masim12345; \
     XSRF-TOKEN=sim%2F02%2Btoken%3D; nick=通义用户; cna=sim-2; \
     tongyi_sso_ticket_hash=tytk_hash:0123456789abcdef0123456789abcdef",
    "login_aliyunid_ticket=sim3$aliyun*0123456789_abcdefghijklmnopqrstuvwxyz_0123456789_abcdefghijklmnopqrstuvwxyz_\
     0123456789_abcdef; XSRF-TOKEN=sim%2F03%2Btoken%3D; cna=sim-3",
];

/// The cookie and the `x-xsrf-token` of account `number`, counted from 1.
pub(super) fn credential(number: usize) -> Option<(&'static str, String)> {
    let cookie = COOKIES.get(number.checked_sub(1)?)?;
    let token = cookie
        .split("; ")
        .find_map(|pair| pair.strip_prefix("XSRF-TOKEN="))?;
    Some((cookie, percent_decode(token)))
}

/// Checks what every `/dialog/*` call needs, and says whose call it is.
pub(super) fn check(request: &Request, call: &mut Call, accept: &str) -> Result<usize, Refusal> {
    let account = signed_in(request, call)?;
    call.account = Some(account);
    let refused = |call: &mut Call, what: String| {
        call.violate(what);
        Err(refusal::json("PARAM_ERROR", "参数错误"))
    };
    double_submit(request, call)?;
    if request.header("x-platform") != "pc_tongyi" {
        return refused(
            call,
            format!(
                "X-Platform is {:?}, not \"pc_tongyi\"",
                request.header("x-platform")
            ),
        );
    }
    if request.header("accept") != accept {
        return refused(
            call,
            format!("Accept is {:?}, not {accept:?}", request.header("accept")),
        );
    }
    if let Some(what) = request.user_agent_violation() {
        return refused(call, what);
    }
    // §4.2 only says "send" for these, so the service forgives them; the test does not.
    let origin = request.header("origin");
    if !matches!(
        origin.as_str(),
        "https://www.tongyi.com" | "https://www.qianwen.com"
    ) {
        call.violate(format!("Origin is {origin:?}"));
    } else if request.header("referer") != format!("{origin}/") {
        call.violate(format!(
            "Referer is {:?} with Origin {origin:?}",
            request.header("referer")
        ));
    }
    if request.header("accept-language") != "zh-CN,zh;q=0.9" {
        call.violate(format!(
            "Accept-Language is {:?}",
            request.header("accept-language")
        ));
    }
    Ok(account)
}

/// The account of the ticket in the cookie.
pub(super) fn signed_in(request: &Request, call: &mut Call) -> Result<usize, Refusal> {
    let ticket = request
        .cookie("tongyi_sso_ticket")
        .or_else(|| request.cookie("login_aliyunid_ticket"));
    let known = |ticket: &str| {
        COOKIES
            .iter()
            .position(|cookie| cookie.contains(&format!("_ticket={ticket};")))
    };
    let Some(at) = ticket
        .as_deref()
        .filter(|ticket| !ticket.is_empty())
        .and_then(known)
    else {
        call.violate(match ticket {
            Some(_) => "the cookie's ticket is of no known account",
            None => "the cookie has no tongyi_sso_ticket or login_aliyunid_ticket",
        });
        return Err(refusal::login_ticket_invalid());
    };
    // A pasted cookie goes out byte for byte (§2.2); a bare ticket has no `cna` and may be dressed by the client.
    let whole = COOKIES.get(at).map(|cookie| cookie.as_bytes());
    if request.cookie("cna").is_some() && request.header_bytes("cookie") != whole {
        call.violate("the Cookie header is not the account's cookie byte for byte");
    }
    Ok(at + 1)
}

/// §4.2: the header repeats the XSRF-TOKEN cookie, URL-decoded; without such a cookie any token will do.
fn double_submit(request: &Request, call: &mut Call) -> Result<(), Refusal> {
    let header = request.header("x-xsrf-token");
    let agrees = match request.cookie("XSRF-TOKEN") {
        Some(cookie) => header == percent_decode(&cookie),
        None => is_uuid(&header),
    };
    if agrees {
        return Ok(());
    }
    call.violate("X-Xsrf-Token does not repeat the XSRF-TOKEN cookie, URL-decoded");
    Err(refusal::csrf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_have_the_lengths_of_their_kinds() {
        let ticket = |at: usize| {
            let (_, value) = COOKIES[at].split_once('=').unwrap();
            value.split(';').next().unwrap().len()
        };
        // §2.2: 60 to 80 characters; longer than 100 means an Aliyun login.
        assert!(
            (60..=80).contains(&ticket(0)) && (60..=80).contains(&ticket(1)),
            "{} {}",
            ticket(0),
            ticket(1)
        );
        assert!(ticket(2) > 100, "{}", ticket(2));
    }

    #[test]
    fn tokens_are_url_decoded() {
        assert_eq!(
            credential(1).unwrap().1,
            "48b9ee49-a184-45e2-9f67-fa87213edcdc"
        );
        assert_eq!(credential(3).unwrap().1, "sim/03+token=");
        assert!(credential(0).is_none() && credential(4).is_none());
    }
}
