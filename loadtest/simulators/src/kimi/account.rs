//! The fake accounts, their tokens, and the headers that every call needs. Source: wire/kimi.md §2, §4.1, §5.2.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::{self, NOT_FOUND, Refusal, UNAUTHENTICATED};
use crate::{ACCOUNTS, Call, Reply, Request};

const EXP: u64 = 4_102_444_800;
/// `{"alg":"HS512","typ":"JWT"}`
const HEAD: &str = "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9";

/// What an account's tokens say. `None`: the token has no such claims, and the client makes up its own ids.
struct Claims {
    sub: &'static str,
    ids: Option<(&'static str, &'static str)>,
    typ: &'static str,
}

/// An access token, a refresh token whose payload needs the base64url alphabet, and an access token that names nobody.
const CLAIMS: [Claims; ACCOUNTS] = [
    Claims {
        sub: "u1",
        ids: Some(("7500", "17310")),
        typ: "access",
    },
    Claims {
        sub: "u~?>1",
        ids: Some(("7501", "17311")),
        typ: "refresh",
    },
    Claims {
        sub: "u3",
        ids: None,
        typ: "access",
    },
];

/// A token as it was made.
#[derive(Clone, Debug)]
struct Token {
    account: usize,
    typ: &'static str,
    exp: u64,
}

/// The tokens that are good now, and what was seen of the clients.
#[derive(Debug)]
pub(super) struct Accounts {
    tokens: HashMap<String, Token>,
    /// The ids that a client made up for a token without claims.
    ids: HashMap<usize, [String; 2]>,
    registered: usize,
    /// The refresh RPC is said to be gone, so that the older way may be tried.
    rpc_gone: bool,
}

impl Default for Accounts {
    fn default() -> Self {
        let token = |number: usize| Some((credential(number)?, token(number)?));
        Self {
            tokens: (1..=ACCOUNTS).filter_map(token).collect(),
            ids: HashMap::new(),
            registered: 0,
            rpc_gone: false,
        }
    }
}

fn claims(number: usize) -> Option<&'static Claims> {
    CLAIMS.get(number.checked_sub(1)?)
}

fn token(number: usize) -> Option<Token> {
    Some(Token {
        account: number,
        typ: claims(number)?.typ,
        exp: EXP,
    })
}

/// `KIMI_TOKEN` of account `number`, counted from 1.
pub(super) fn credential(number: usize) -> Option<String> {
    let claims = claims(number)?;
    Some(jwt(claims, claims.typ, EXP, "c2ln"))
}

/// A token; the member order is that of the vectors of §5.2.
fn jwt(claims: &Claims, typ: &str, exp: u64, signature: &str) -> String {
    let who = claims.ids.map_or_else(String::new, |(device, session)| {
        let sub = claims.sub;
        format!(r#","sub":"{sub}","ssid":"{session}","device_id":"{device}""#)
    });
    let payload =
        format!(r#"{{"iss":"user-center","exp":{exp},"typ":"{typ}","app_id":"kimi"{who}}}"#);
    let payload = URL_SAFE_NO_PAD.encode(payload);
    format!("{HEAD}.{payload}.{signature}")
}

fn jwt_without_device(sub: &str, session: &str, exp: u64, signature: &str) -> String {
    let payload = format!(
        r#"{{"iss":"user-center","exp":{exp},"typ":"access","app_id":"kimi","sub":"{sub}","ssid":"{session}"}}"#
    );
    format!("{HEAD}.{}.{signature}", URL_SAFE_NO_PAD.encode(payload))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn digits(text: &str, length: usize, start: &str) -> bool {
    text.len() == length && text.starts_with(start) && text.chars().all(|c| c.is_ascii_digit())
}

impl Accounts {
    /// Whose call it is, by its token; the ids of the page's own headers agree with the token's claims.
    pub(super) fn check(&mut self, request: &Request, call: &mut Call) -> Result<usize, Refusal> {
        let account = self.bearer(request, call)?;
        call.account = Some(account);
        self.headers(request, account, call)?;
        Ok(account)
    }

    pub(super) fn bearer(&self, request: &Request, call: &mut Call) -> Result<usize, Refusal> {
        let authorization = request.header("authorization");
        let known = authorization
            .strip_prefix("Bearer ")
            .and_then(|token| self.tokens.get(token));
        let wrong = match known {
            Some(token) if token.typ != "access" => "a refresh token is used as an access token",
            Some(token) if token.exp <= now() => "the access token has expired",
            Some(token) => return Ok(token.account),
            None if authorization.is_empty() => "there is no Authorization header",
            None => "the access token is of no account",
        };
        call.violate(wrong);
        Err(UNAUTHENTICATED.plain())
    }

    fn headers(
        &mut self,
        request: &Request,
        account: usize,
        call: &mut Call,
    ) -> Result<(), Refusal> {
        for (name, value) in [
            ("x-msh-platform", "web"),
            ("x-language", "zh-CN"),
            ("r-timezone", "Asia/Shanghai"),
            ("accept", "*/*"),
        ] {
            if request.header(name) != value {
                let sent = request.header(name);
                call.violate(format!("{name} is {sent:?}, not {value:?}"));
            }
        }
        if !matches!(
            request.header("x-msh-version").as_str(),
            "1.0.0" | "2.0.0" | "2.1.0" | "2.2.0"
        ) {
            call.violate(format!(
                "x-msh-version is {:?}",
                request.header("x-msh-version")
            ));
        }
        let origin = request.header("origin");
        if !origin.starts_with("http") || request.header("referer") != format!("{origin}/") {
            call.violate("Origin and Referer are not those of the site");
        }
        if let Some(what) = request.user_agent_violation() {
            call.violate(what);
        }
        let cookie = request.cookie("kimi-auth");
        let authorization = request.header("authorization");
        if cookie.is_some_and(|cookie| authorization != format!("Bearer {cookie}")) {
            call.violate("the cookie kimi-auth is another token");
        }
        for name in [
            "connect-accept-encoding",
            "connect-content-encoding",
            "x-msh-shield-data",
        ] {
            if request.header_bytes(name).is_some() {
                call.violate(format!("{name} must not be sent"));
            }
        }
        if request.header("accept-encoding").contains("gzip") {
            call.violate("Accept-Encoding asks for gzip");
        }
        self.ids(request, account, call)
    }

    /// §4.1: the ids agree with the claims; those that no claim gives stay as they were.
    fn ids(&mut self, request: &Request, account: usize, call: &mut Call) -> Result<(), Refusal> {
        let (device, session, traffic) = (
            request.header("x-msh-device-id"),
            request.header("x-msh-session-id"),
            request.header("x-traffic-id"),
        );
        let Some(claims) = claims(account) else {
            return Ok(());
        };
        // `/api/user` and the device's announcement come before the id is known.
        let early = call.step == "user" || call.step == "register";
        let needs_traffic = claims.ids.is_some() || !early;
        if device.is_empty() || session.is_empty() || (traffic.is_empty() && needs_traffic) {
            call.violate("x-msh-device-id, x-msh-session-id or x-traffic-id is missing");
            return Ok(());
        }
        let agree = match claims.ids {
            Some((own_device, own_session)) => device == own_device && session == own_session,
            None => {
                let made_up = digits(&device, 19, "7")
                    && (digits(&session, 19, "17") || digits(&session, 23, "1"));
                let now = [device, session];
                made_up && *self.ids.entry(account).or_insert_with(|| now.clone()) == now
            }
        };
        if agree && (traffic == claims.sub || (early && traffic.is_empty())) {
            return Ok(());
        }
        call.violate("the x-msh ids do not agree with the token's claims, or have changed");
        Err(UNAUTHENTICATED.plain())
    }

    /// `POST …/AuthService/RefreshToken`, without an envelope and without Authorization (§2).
    pub(super) fn refresh(&mut self, request: &Request, call: &mut Call) -> Result<Reply, Refusal> {
        if call.fault == Some("refresh_gone") {
            self.rpc_gone = true;
            return Err(NOT_FOUND.plain());
        }
        if request.header_bytes("authorization").is_some() {
            call.violate("the refresh has an Authorization header");
        }
        let body = request.json().map_err(|what| {
            call.violate(what);
            refusal::INVALID.plain()
        })?;
        let token = body
            .get("refresh_token")
            .or_else(|| body.get("refreshToken"));
        let token = token.and_then(Value::as_str).unwrap_or_default();
        let (access, refresh) = self
            .rotate(token, call)
            .ok_or_else(|| UNAUTHENTICATED.plain())?;
        Ok(refusal::success(
            &json!({"accessToken": access, "refreshToken": refresh}),
        ))
    }

    /// `GET /api/auth/token/refresh`: the older way, for when the RPC is gone.
    pub(super) fn refresh_rest(
        &mut self,
        request: &Request,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        if !self.rpc_gone {
            call.violate("the REST refresh is used though the RPC is there");
        }
        let authorization = request.header("authorization");
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        let (access, refresh) = self.rotate(token, call).ok_or_else(refusal::rest_token)?;
        Ok(refusal::success(
            &json!({"access_token": access, "refresh_token": refresh}),
        ))
    }

    /// Both tokens are new afterwards, and the refresh token that was used is good no more.
    fn rotate(&mut self, token: &str, call: &mut Call) -> Option<(String, String)> {
        let is_refresh = |token: &&Token| token.typ == "refresh";
        let Some(Token { account, .. }) = self.tokens.get(token).filter(is_refresh).cloned() else {
            call.violate("the refresh token is of no account, or was used before");
            return None;
        };
        self.tokens.remove(token);
        call.account = Some(account);
        let claims = claims(account)?;
        let without_device = call.fault == Some("refresh_as_kimi_ai");
        let life = if call.fault == Some("refresh_short_lived") {
            30
        } else {
            900
        };
        let mut make = |typ: &'static str, exp: u64| {
            let signature = Uuid::new_v4().simple().to_string();
            let ids = claims.ids.filter(|_| typ == "refresh" || !without_device);
            let session = claims
                .ids
                .map(|(_, session)| session)
                .filter(|_| ids.is_none());
            let text = match session {
                // §2: an access token of www.kimi.ai names its session, and no device.
                Some(session) => jwt_without_device(claims.sub, session, exp, &signature),
                None => jwt(&Claims { ids, ..*claims }, typ, exp, &signature),
            };
            self.tokens
                .insert(text.clone(), Token { account, typ, exp });
            text
        };
        Some((make("access", now() + life), make("refresh", EXP)))
    }

    /// `GET /api/user?t=…`.
    pub(super) fn user(&self, request: &Request, account: usize, call: &mut Call) -> Reply {
        let time = request.query.strip_prefix("t=");
        if !time.is_some_and(|time| digits(time, 13, "1")) {
            call.violate("the query is not t and the time in milliseconds");
        }
        let sub = claims(account).map(|claims| claims.sub);
        refusal::success(&json!({"id": sub, "name": format!("sim-{account}"), "status": "active"}))
    }

    /// `POST /api/device/register`: at most once a process.
    pub(super) fn register(&mut self, call: &mut Call) -> Reply {
        self.registered += 1;
        if self.registered > ACCOUNTS {
            call.violate("the device is announced again and again");
        }
        refusal::success(&json!({}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first two vectors of §5.2.
    #[test]
    fn tokens_are_those_of_the_page() {
        assert_eq!(
            credential(1).unwrap(),
            "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ1c2VyLWNlbnRlciIsImV4cCI6NDEwMjQ0NDgwMCwidHlwIjoiYWNjZXNzIiwiYXBwX2lkIjoia2ltaSIsInN1YiI6InUxIiwic3NpZCI6IjE3MzEwIiwiZGV2aWNlX2lkIjoiNzUwMCJ9.c2ln"
        );
        assert_eq!(
            credential(2).unwrap(),
            "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ1c2VyLWNlbnRlciIsImV4cCI6NDEwMjQ0NDgwMCwidHlwIjoicmVmcmVzaCIsImFwcF9pZCI6ImtpbWkiLCJzdWIiOiJ1fj8-MSIsInNzaWQiOiIxNzMxMSIsImRldmljZV9pZCI6Ijc1MDEifQ.c2ln"
        );
    }

    #[test]
    fn a_refresh_token_is_good_once() {
        let mut accounts = Accounts::default();
        let call = &mut Call::default();
        let first = credential(2).unwrap();
        let (access, second) = accounts.rotate(&first, call).unwrap();
        assert!(accounts.rotate(&first, call).is_none());
        assert!(accounts.rotate(&access, call).is_none());
        assert!(accounts.rotate(&second, call).is_some());
    }
}
