//! The fake accounts, their tokens, and the headers that every call needs. Source: wire/zhipu.md §2, §4.1, §5.

use std::{
    collections::{HashMap, HashSet},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use uuid::Uuid;

use super::{
    refusal::{self, Refusal},
    signature,
};
use crate::{ACCOUNTS, Call, Reply, Request};

const EXP: u64 = 4_102_444_800;
const IAT: u64 = 1_763_000_000;
/// How long an access token lives, in seconds: longer than the hour for which clients keep one.
const LIFE: u64 = 86_400;
/// The same under `refresh_short_lived`.
const SHORT_LIFE: u64 = 2;
/// `{"alg":"HS512","typ":"JWT"}`
const HEAD: &str = "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9";
/// How many signatures and request ids are remembered. A signature that old is stale anyway under any load.
const REMEMBERED: usize = 200_000;

/// What an account's tokens say.
struct Claims {
    user: &'static str,
    /// `None`: the client makes one up.
    device: Option<&'static str>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Refresh,
    Access,
}

/// A refresh token, an access token whose payload needs the base64url alphabet, and a refresh token without a device that
/// is pasted as a whole cookie.
const CLAIMS: [Claims; ACCOUNTS] = [
    Claims {
        user: "68084f7b00000000000000a1",
        device: Some("0123456789abcdef0123456789abcde1"),
        kind: Kind::Refresh,
    },
    Claims {
        user: "u~?>2",
        device: Some("0123456789abcdef0123456789abcde2"),
        kind: Kind::Access,
    },
    Claims {
        user: "68084f7b00000000000000a3",
        device: None,
        kind: Kind::Refresh,
    },
];

/// A token as it was made.
#[derive(Clone, Copy, Debug)]
struct Token {
    account: usize,
    kind: Kind,
    exp: u64,
}

/// The tokens that are good now, and what no client may use twice.
#[derive(Debug)]
pub(super) struct Accounts {
    tokens: HashMap<String, Token>,
    signs: HashSet<String>,
    request_ids: HashSet<String>,
}

impl Default for Accounts {
    fn default() -> Self {
        let mut accounts = Self {
            tokens: HashMap::new(),
            signs: HashSet::new(),
            request_ids: HashSet::new(),
        };
        accounts.configured();
        accounts
    }
}

/// What a call's page is, for the headers that depend on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Page<'a> {
    Main,
    /// The page of an assistant; drawing is done on both.
    Assistant(&'a str),
    Video,
}

fn claims(number: usize) -> Option<&'static Claims> {
    CLAIMS.get(number.checked_sub(1)?)
}

/// `ZHIPU_TOKEN` of account `number`, counted from 1.
pub(super) fn credential(number: usize) -> Option<String> {
    let token = token(number)?;
    Some(match number {
        3 => format!("chatglm_refresh_token={token}; chatglm_user_id=sim-3"),
        _ => token,
    })
}

fn token(number: usize) -> Option<String> {
    let claims = claims(number)?;
    Some(jwt(
        claims,
        claims.kind,
        EXP,
        &format!("sim{number}"),
        "c2ln",
    ))
}

fn jwt(claims: &Claims, kind: Kind, exp: u64, jti: &str, signature: &str) -> String {
    let kind = match kind {
        Kind::Refresh => "refresh",
        Kind::Access => "access",
    };
    let device = claims
        .device
        .map_or_else(String::new, |device| format!(r#""device_id":"{device}","#));
    let user = claims.user;
    let payload = format!(
        r#"{{"type":"{kind}",{device}"user_id":"{user}","exp":{exp},"iat":{IAT},"jti":"{jti}"}}"#
    );
    format!("{HEAD}.{}.{signature}", URL_SAFE_NO_PAD.encode(payload))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

fn is_hex(text: &str) -> bool {
    text.len() == 32 && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

/// Remembers what may be used once; `false`: it was used before.
fn once(used: &mut HashSet<String>, what: String) -> bool {
    if used.len() >= REMEMBERED {
        used.clear();
    }
    used.insert(what)
}

impl Accounts {
    /// The tokens of the settings are good again, and those that were made since stay good.
    pub(super) fn configured(&mut self) {
        for number in 1..=ACCOUNTS {
            if let (Some(text), Some(claims)) = (token(number), claims(number)) {
                let token = Token {
                    account: number,
                    kind: claims.kind,
                    exp: EXP,
                };
                self.tokens.insert(text, token);
            }
        }
    }

    /// Whose signed call it is.
    pub(super) fn check(
        &mut self,
        request: &Request,
        call: &mut Call,
        page: Page<'_>,
    ) -> Result<usize, Refusal> {
        self.identity(request, call, page)?;
        self.signed(request, call)?;
        let account = self.bearer(request, call)?;
        self.device(request, account, call)?;
        Ok(account)
    }

    /// Whose call it is, by its access token.
    pub(super) fn bearer(&self, request: &Request, call: &mut Call) -> Result<usize, Refusal> {
        let authorization = request.header("authorization");
        let known = authorization
            .strip_prefix("Bearer ")
            .and_then(|token| self.tokens.get(token));
        let wrong = match known {
            Some(token) if token.kind != Kind::Access => {
                "a refresh token is used as an access token"
            }
            // No violation: that is how a client hears of it.
            Some(token) if token.exp * 1000 <= now_ms() => return Err(refusal::unauthorized()),
            Some(token) => {
                call.account = Some(token.account);
                return Ok(token.account);
            }
            None if authorization.is_empty() => "there is no Authorization header",
            None => "the access token is of no account",
        };
        call.violate(wrong);
        Err(refusal::unauthorized())
    }

    /// Under `access_expired`: the call's access token is good no more.
    pub(super) fn expire(&mut self, request: &Request) {
        let authorization = request.header("authorization");
        let token = authorization.strip_prefix("Bearer ");
        if let Some(token) = token.and_then(|token| self.tokens.get_mut(token)) {
            token.exp = 0;
        }
    }

    /// §4.1: who and what is calling.
    fn identity(
        &mut self,
        request: &Request,
        call: &mut Call,
        page: Page<'_>,
    ) -> Result<(), Refusal> {
        if let Some(what) = request.user_agent_violation() {
            call.violate(what);
            return Err(refusal::malformed(40002));
        }
        for (name, value) in [("x-app-platform", "pc"), ("x-app-version", "0.0.1")] {
            let sent = request.header(name);
            if sent != value {
                call.violate(format!("{name} is {sent:?}, not {value:?}"));
                return Err(refusal::malformed(40001));
            }
        }
        if !is_hex(&request.header("x-device-id")) {
            call.violate("x-device-id is not 32 hex digits");
            return Err(refusal::malformed(40001));
        }
        self.sent(request, call, page);
        Ok(())
    }

    /// What a browser sends, and the service does without.
    fn sent(&mut self, request: &Request, call: &mut Call, page: Page<'_>) {
        for (name, value) in [
            ("app-name", "chatglm"),
            ("origin", "https://chatglm.cn"),
            ("x-lang", "zh"),
            ("x-app-fr", "default"),
            ("x-exp-groups", ""),
            ("x-device-model", ""),
            ("x-device-brand", ""),
            ("accept-language", "zh-CN,zh;q=0.9"),
        ] {
            match request.header_bytes(name) {
                Some(sent) if sent == value.as_bytes() => {}
                Some(_) => call.violate(format!("{name} is not {value:?}")),
                None => call.violate(format!("there is no {name}")),
            }
        }
        for name in [
            "sec-ch-ua",
            "sec-ch-ua-mobile",
            "sec-ch-ua-platform",
            "sec-fetch-dest",
            "sec-fetch-mode",
            "sec-fetch-site",
        ] {
            if request.header_bytes(name).is_none() {
                call.violate(format!("there is no {name}"));
            }
        }
        let accept = request.header("accept");
        let wanted = if call.step == crate::faults::ASK {
            "text/event-stream"
        } else {
            "*/*"
        };
        if accept != wanted {
            call.violate(format!("Accept is {accept:?}, not {wanted:?}"));
        }
        let referer = request.header("referer");
        let main = "https://chatglm.cn/main/alltoolsdetail";
        let right = match page {
            Page::Main => referer == main,
            Page::Assistant(id) => {
                let drawing = id == super::ask::DRAWING && referer == main;
                drawing || referer == format!("https://chatglm.cn/main/gdetail/{id}")
            }
            Page::Video => referer == "https://chatglm.cn/video",
        };
        if !right {
            call.violate(format!("Referer is {referer:?} for {page:?}"));
        }
        let id = request.header("x-request-id");
        if !is_hex(&id) {
            call.violate("x-request-id is not 32 hex digits");
        } else if !once(&mut self.request_ids, id) {
            call.violate("x-request-id was used before");
        }
    }

    /// §5, §7: a signature is good once, and for five minutes.
    fn signed(&mut self, request: &Request, call: &mut Call) -> Result<(), Refusal> {
        let [timestamp, nonce, sign] =
            ["x-timestamp", "x-nonce", "x-sign"].map(|name| request.header(name));
        if timestamp.is_empty() || nonce.is_empty() || sign.is_empty() {
            call.violate("x-timestamp, x-nonce or x-sign is missing");
            return Err(refusal::malformed(40011));
        }
        let wrong = if !is_hex(&nonce) {
            "x-nonce is not 32 hex digits"
        } else if !signature::is_doctored(&timestamp) {
            "x-timestamp has not its check digit"
        } else if !signature::is_near(&timestamp, now_ms()) {
            "x-timestamp is more than five minutes off"
        } else if signature::sign(&timestamp, &nonce) != sign {
            "x-sign is wrong"
        } else if !once(&mut self.signs, sign) {
            "the signature was used before"
        } else {
            return Ok(());
        };
        call.violate(wrong);
        Err(refusal::malformed(40014))
    }

    /// §4.1: the device is that of the token.
    fn device(&self, request: &Request, account: usize, call: &mut Call) -> Result<(), Refusal> {
        let own = claims(account).and_then(|claims| claims.device);
        if own.is_none_or(|own| request.header("x-device-id") == own) {
            return Ok(());
        }
        call.violate("x-device-id is not the token's device_id");
        Err(refusal::malformed(40001))
    }

    /// `POST /chatglm/user-api/user/refresh`: new tokens for a refresh token, which is void from then on if it `rotates`.
    pub(super) fn refresh(
        &mut self,
        request: &Request,
        call: &mut Call,
        rotates: bool,
    ) -> Result<Reply, Refusal> {
        self.identity(request, call, Page::Main)?;
        self.signed(request, call)?;
        let declared = request.header("content-type").to_ascii_lowercase();
        if declared.replace(' ', "") != "application/json;charset=utf-8" {
            call.violate(format!(
                "Content-Type is {declared:?}, not \"application/json;charset=utf-8\""
            ));
        }
        if request.body != b"{}".as_slice() {
            call.violate("the body is not {}");
            return Err(refusal::bad_request());
        }
        let authorization = request.header("authorization");
        let Some(text) = authorization
            .strip_prefix("Bearer ")
            .filter(|token| token.starts_with("eyJ") && token.split('.').count() == 3)
        else {
            call.violate("there is no token to renew, or it is no JWT");
            return Err(refusal::bad_request());
        };
        let Some(token) = self
            .tokens
            .get(text)
            .filter(|token| token.kind == Kind::Refresh)
            .copied()
        else {
            call.violate("the refresh token is of no account, or was used before");
            return Err(refusal::refresh_dead());
        };
        call.account = Some(token.account);
        self.device(request, token.account, call)?;
        if rotates {
            self.tokens.remove(text);
        }
        if call.fault == Some("refresh_rolled_back") {
            self.tokens.remove(text);
            self.configured();
            return Err(refusal::refresh_dead());
        }
        let life = if call.fault == Some("refresh_short_lived") {
            SHORT_LIFE
        } else {
            LIFE
        };
        let access = self.make(token.account, Kind::Access, now_ms() / 1000 + life);
        let refresh = self.make(token.account, Kind::Refresh, EXP);
        Ok(refusal::success(
            &json!({"access_token": access, "refresh_token": refresh}),
        ))
    }

    fn make(&mut self, account: usize, kind: Kind, exp: u64) -> String {
        let id = Uuid::new_v4().simple().to_string();
        let text = claims(account)
            .map(|claims| jwt(claims, kind, exp, &id, &id))
            .unwrap_or_default();
        self.tokens
            .insert(text.clone(), Token { account, kind, exp });
        text
    }
}

/// `GET /chatglm/user-api/user/info`.
pub(super) fn user(account: usize) -> Reply {
    let user = claims(account).map(|claims| claims.user);
    refusal::success(&json!({"user_id": user, "nickname": format!("sim-{account}")}))
}

/// `GET /chatglm/member-api/member/member_info`: hundredths of a point.
pub(super) fn member() -> Reply {
    refusal::success(&json!({"left_score": 12_000, "left_token": 1_000_000}))
}
