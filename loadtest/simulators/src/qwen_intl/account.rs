//! The fake accounts, their tokens, and the headers that every call needs. Source: wire/qwen_intl.md §2, §4.1.

use std::collections::{HashMap, HashSet};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::refusal::{self, Refusal};
use crate::{ACCOUNTS, Call, Reply, Request};

const EXP: u64 = 4_102_444_800;
/// `{"alg":"HS256","typ":"JWT"}`
const HEAD: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
const BX_UA: &str = "231!sim0123456789abcdef/+=";
const EMAIL: &str = "sim3@example.com";
const PASSWORD: &str = "sim-password-3";
/// The account that logs in.
const LOGS_IN: usize = 3;
/// Request ids that are remembered.
const REMEMBERED: usize = 200_000;
const SITE: &str = "https://chat.qwen.ai";

/// The tokens that are good now, and what no client may use twice.
#[derive(Debug)]
pub(super) struct Accounts {
    tokens: HashMap<String, usize>,
    request_ids: HashSet<String>,
    logins: u64,
}

impl Default for Accounts {
    fn default() -> Self {
        let mut accounts = Self {
            tokens: HashMap::new(),
            request_ids: HashSet::new(),
            logins: 0,
        };
        accounts.configured();
        accounts
    }
}

/// What a call needs beside what all need.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wants<'a> {
    /// `Accept`.
    pub(super) accept: &'a str,
    /// The page that it comes from, behind the site.
    pub(super) page: &'a str,
    /// It is a question, whose headers are looked at closely.
    pub(super) is_question: bool,
}

fn token(number: usize, round: u64) -> String {
    let payload = format!(
        r#"{{"id":"00000000-0000-4000-8000-{number:012}","last_password_change":{round},"exp":{EXP}}}"#
    );
    format!(
        "{HEAD}.{}.c2ltLXNpZ25hdHVyZQ",
        URL_SAFE_NO_PAD.encode(payload)
    )
}

/// The cookie of an account as a browser has it; account 1's goes along with the other two headers.
fn cookie(number: usize) -> String {
    let token = token(number, 0);
    format!(
        "cna=sim{number}; x-ap=ap-southeast-1; token={token}; ssxmod_itna=1-sim{number}; acw_tc=\"sim+{number}/=\""
    )
}

/// The settings of account `number`: all three headers, a cookie alone, a login alone.
pub(super) fn env(number: usize) -> Vec<(String, String)> {
    let suffix = match number {
        1 => String::new(),
        _ => format!("_{number}"),
    };
    let pairs = match number {
        1 => vec![
            ("INTL_AUTHORIZATION", format!("Bearer {}", token(1, 0))),
            ("INTL_COOKIE", cookie(1)),
            ("INTL_BX_UA", BX_UA.to_owned()),
        ],
        2 => vec![("INTL_COOKIE", cookie(2))],
        _ => vec![
            ("INTL_EMAIL", EMAIL.to_owned()),
            ("INTL_PASSWORD", PASSWORD.to_owned()),
        ],
    };
    let named = |(name, value): (&str, String)| (format!("{name}{suffix}"), value);
    pairs.into_iter().map(named).collect()
}

impl Accounts {
    /// The configured tokens are good; what logins brought is kept.
    pub(super) fn configured(&mut self) {
        for number in (1..=ACCOUNTS).filter(|number| *number != LOGS_IN) {
            self.tokens.insert(token(number, 0), number);
        }
    }

    /// The headers of §4.1, and whose call it is.
    pub(super) fn check(
        &mut self,
        request: &Request,
        call: &mut Call,
        wants: Wants<'_>,
    ) -> Result<usize, Refusal> {
        let account = self.account(request, call);
        self.head(request, call, wants)?;
        let account = account.ok_or_else(refusal::unauthorized)?;
        call.account = Some(account);
        if account == 1 && request.header("bx-ua") != BX_UA {
            call.violate("bx-ua is not the configured one");
        }
        Ok(account)
    }

    /// The headers of a call that anybody may make.
    pub(super) fn guest(
        &mut self,
        request: &Request,
        call: &mut Call,
        wants: Wants<'_>,
    ) -> Result<(), Refusal> {
        call.account = self.account(request, call);
        self.head(request, call, wants)
    }

    /// §2: the token of either header; both hold the same one.
    fn account(&self, request: &Request, call: &mut Call) -> Option<usize> {
        let header = request.header("authorization");
        let bearer = header.strip_prefix("Bearer ").map(str::to_owned);
        if !header.is_empty() && bearer.is_none() {
            call.violate("Authorization does not begin with Bearer");
        }
        let cookie = request.cookie("token");
        if let (Some(bearer), Some(cookie)) = (&bearer, &cookie)
            && bearer != cookie
        {
            call.violate("Authorization and Cookie hold different tokens");
        }
        let account = bearer
            .or(cookie)
            .and_then(|it| self.tokens.get(&it).copied())?;
        // §2: sent byte for byte.
        let configured = self::cookie(account);
        if account != LOGS_IN && request.header("cookie") != configured {
            call.violate("Cookie is not the configured one");
        }
        Some(account)
    }

    fn head(
        &mut self,
        request: &Request,
        call: &mut Call,
        wants: Wants<'_>,
    ) -> Result<(), Refusal> {
        if let Some(what) = request.user_agent_violation() {
            call.violate(what);
            return Err(refusal::firewall());
        }
        let mut wrong = |what: String| call.violate(what);
        let mut is_robot = false;
        let mut needs = |name: &str, value: &str, is_close: bool| {
            let sent = request.header(name);
            if sent != value {
                wrong(format!("{name} is {sent:?}, not {value:?}"));
                is_robot |= is_close;
            }
        };
        needs("source", "web", false);
        needs("accept", wants.accept, wants.is_question);
        for (name, value) in [
            ("sec-fetch-dest", "empty"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-site", "same-origin"),
        ] {
            if wants.is_question || !request.header(name).is_empty() {
                needs(name, value, wants.is_question);
            }
        }
        if wants.is_question {
            needs("x-accel-buffering", "no", true);
        }
        if request.method != "GET" {
            needs("origin", SITE, false);
            needs("referer", &format!("{SITE}/{}", wants.page), false);
        }
        if request.method == "POST" {
            needs("content-type", "application/json", false);
        }
        if request.header("bx-v").is_empty() || request.header("accept-language").is_empty() {
            call.violate("bx-v or Accept-Language is missing");
        }
        let timezone = request.header("timezone");
        if wants.is_question && !is_timezone(&timezone) {
            call.violate(format!("Timezone is {timezone:?}"));
            is_robot = true;
        }
        self.request_id(request, call);
        if is_robot {
            return Err(refusal::robot());
        }
        if wants.is_question && !is_version(&request.header("version")) {
            call.violate("Version is missing or none");
            return Err(refusal::internal());
        }
        Ok(())
    }

    fn request_id(&mut self, request: &Request, call: &mut Call) {
        let id = request.header("x-request-id");
        let is_v4 =
            id.len() == 36 && Uuid::try_parse(&id).is_ok_and(|uuid| uuid.get_version_num() == 4);
        if !is_v4 {
            call.violate(format!("X-Request-Id {id:?} is no dashed UUIDv4"));
        }
        if self.request_ids.len() >= REMEMBERED {
            self.request_ids.clear();
        }
        if !self.request_ids.insert(id) {
            call.violate("X-Request-Id was used before");
        }
    }

    /// The token of this call is void from now on.
    pub(super) fn expire(&mut self, request: &Request) {
        let header = request.header("authorization");
        let bearer = header.strip_prefix("Bearer ").map(str::to_owned);
        if let Some(token) = bearer.or_else(|| request.cookie("token")) {
            self.tokens.remove(&token);
        }
    }

    /// `POST …/auths/signin` (§2.2). The newer call's token is in a cookie and in the body, the older one's in the body.
    pub(super) fn sign_in(
        &mut self,
        body: &Value,
        is_newer: bool,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let hash: String = Sha256::digest(PASSWORD)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if body != &json!({"email": EMAIL, "password": hash}) {
            call.violate("the body is not e-mail address and hashed password");
            return Err(refusal::refused(
                400,
                "Bad_Request",
                "The email or password provided is incorrect.",
            ));
        }
        call.account = Some(LOGS_IN);
        self.logins += 1;
        let token = token(LOGS_IN, self.logins);
        self.tokens.insert(token.clone(), LOGS_IN);
        if is_newer {
            let cookie = format!("token={token}; Path=/; HttpOnly; Secure");
            let data = json!({"id": "3", "token": token, "token_type": "Bearer"});
            return Ok(refusal::success(&data).header("Set-Cookie", cookie));
        }
        let body = json!({"id": "3", "email": EMAIL, "token": token, "token_type": "Bearer"});
        Ok(Reply::json(200, &body))
    }
}

/// `0.2.63`
fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
}

/// `Fri Nov 20 2026 18:15:00 GMT+0800`
fn is_timezone(text: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    let [weekday, month, day, year, time, zone] = words.as_slice() else {
        return false;
    };
    let number = |text: &str, length: usize| text.len() == length && text.parse::<u32>().is_ok();
    let is_time = time.split(':').filter(|part| number(part, 2)).count() == 3;
    let offset = zone.strip_prefix("GMT").unwrap_or_default();
    weekday.len() == 3
        && month.len() == 3
        && number(day, 2)
        && number(year, 4)
        && is_time
        && offset.starts_with(['+', '-'])
        && number(offset.get(1..).unwrap_or_default(), 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_forms_of_the_page() {
        assert!(is_timezone("Fri Nov 20 2026 18:15:00 GMT+0800"));
        for odd in [
            "",
            "Fri, 20 Nov 2026 10:15:00 GMT",
            "Fri Nov 20 2026 18:15 GMT+0800",
        ] {
            assert!(!is_timezone(odd), "{odd}");
        }
        assert!(is_version("0.2.63") && !is_version("1") && !is_version(""));
    }
}
