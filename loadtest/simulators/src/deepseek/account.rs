//! The fake accounts and the headers that every call needs. Source: wire/deepseek.md §2, §4 (headers), §7.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::{self, Refusal};
use crate::{ACCOUNTS, Call, Reply, Request, request::is_uuid};

/// The tokens at the start, as they stand after `Bearer `: about 64 Base64 characters, opaque.
const TOKENS: [&str; ACCOUNTS] = [
    "sim1Kq7+N2rT9wXy4ZbLm8PdQs5HgFj3CkAeUoRiWtVn6SxGz1Yh0DcMf7Ba/p==",
    "sim2Bw3+J8mC5nVx9QzRtYp1LkDsFg7AeUo4IiWv6TjNc2XsEz0MaHb5Kd/r7g==",
    "sim3Zp6+T4vR8kWc1MyXj5QhNs0LbDf2GeUo9IiAa7YwPd3CtEz6HxKm8Bv/q==",
];
/// What every account logs in with, besides its own address or number.
const PASSWORD: &str = "sim-password";

/// What the risk service knows of a real browser: `B` and 88 Base64 characters.
const LOGIN_DEVICE: &str =
    "BSimDevice0Kq7+N2rT9wXy4ZbLm8PdQs5HgFj3CkAeUoRiWtVn6SxGz1Yh0DcMf7Ba/p2Uu8Ee3Rr5Tt6Yy1Gg==";

/// What a client calls itself; one process has one identity (§4).
const IDENTITY: [&str; 5] = [
    "user-agent",
    "x-client-platform",
    "x-client-version",
    "x-client-locale",
    "x-device-id",
];

/// The tokens of the moment: a login replaces the account's token.
#[derive(Debug)]
pub(super) struct Accounts {
    tokens: Vec<String>,
    /// Accounts whose token was refused since their last login, or that never logged in.
    may_log_in: Vec<bool>,
    identities: HashMap<usize, [String; 5]>,
    /// Names and devices whose login was refused for good: trying again changes nothing.
    hopeless: HashSet<(usize, String)>,
    /// Tokens whose device was checked.
    checked: HashSet<String>,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            tokens: TOKENS.map(ToOwned::to_owned).to_vec(),
            may_log_in: vec![true; ACCOUNTS],
            identities: HashMap::new(),
            hopeless: HashSet::new(),
            checked: HashSet::new(),
        }
    }
}

/// `DEEPSEEK_TOKEN` for the first `count` accounts: several tokens stand between commas (§2).
pub(super) fn setting(count: usize) -> String {
    let tokens: Vec<_> = TOKENS.iter().take(count).copied().collect();
    tokens.join(",")
}

/// Whose call it is.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) account: usize,
    pub(super) token: String,
}

impl Accounts {
    /// Checks what every call needs; `None` on login, which has no token.
    pub(super) fn check(
        &mut self,
        request: &Request,
        call: &mut Call,
        today: bool,
    ) -> Result<Caller, Refusal> {
        client(request, call, today)?;
        let authorization = request.header("authorization");
        if authorization.is_empty() {
            call.violate("there is no authorization header");
            return Err(refusal::missing_token());
        }
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        let Some(at) = self.tokens.iter().position(|known| known == token) else {
            call.violate("the token is of no account, or was replaced by a login");
            if let Some(at) = TOKENS.iter().position(|known| *known == token) {
                self.refused(at + 1);
            }
            return Err(refusal::invalid_token());
        };
        call.account = Some(at + 1);
        self.one_identity(request, at, call);
        Ok(Caller {
            account: at + 1,
            token: token.to_owned(),
        })
    }

    /// The account may log in again.
    pub(super) fn refused(&mut self, account: usize) {
        if let Some(may) = self.may_log_in.get_mut(account.saturating_sub(1)) {
            *may = true;
        }
    }

    fn one_identity(&mut self, request: &Request, at: usize, call: &mut Call) {
        let now = IDENTITY.map(|name| request.header(name));
        let first = self.identities.entry(at).or_insert_with(|| now.clone());
        if *first != now {
            call.violate("the client calls itself something else than before");
        }
    }

    /// `POST /api/v0/users/login`. `today`: only a device of a real browser may log in.
    pub(super) fn login(
        &mut self,
        body: &Value,
        request: &Request,
        call: &mut Call,
        today: bool,
    ) -> Result<Reply, Refusal> {
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        for name in ["password", "device_id", "os"] {
            if text(name).is_none() {
                call.violate(format!("{name} is missing"));
                return Err(refusal::missing(name));
            }
        }
        let platform = request.header("x-client-platform");
        if !platform.is_empty() && text("os") != Some(&platform) {
            call.violate(format!(
                "os is {:?} on the platform {platform:?}",
                text("os")
            ));
        }
        // The site sends the name that it has not as null.
        if today && (body.get("email").is_none() || body.get("mobile").is_none()) {
            call.violate("the site sends both email and mobile, one of them null");
        }
        let at = match (text("email"), text("mobile"), text("area_code")) {
            (Some(email), None, None) => (1..=ACCOUNTS).find(|n| email == address(*n)),
            (None, Some(mobile), Some("+86")) => (1..=ACCOUNTS).find(|n| mobile == number(*n)),
            _ => {
                call.violate("neither email alone, nor mobile with area_code +86");
                return Err(refusal::missing("email"));
            }
        };
        let Some(account) = at.filter(|_| text("password") == Some(PASSWORD)) else {
            call.violate("no account has this name and password");
            return Err(refusal::biz(2, "PASSWORD_OR_USER_NAME_IS_WRONG"));
        };
        call.account = Some(account);
        let device = text("device_id").unwrap_or_default();
        let attempt = (account, device.to_owned());
        if self.hopeless.contains(&attempt) {
            call.violate("logged in again after a refusal that no further attempt changes");
        }
        let refused = match call.fault {
            Some("login_banned") => Some(refusal::biz(10, "USER_IS_BANNED")),
            Some("login_risk") => Some(refusal::risk_device()),
            _ if today && device != LOGIN_DEVICE => {
                call.violate("device_id is none that the risk service knows");
                Some(refusal::risk_device())
            }
            _ => None,
        };
        if let Some(refused) = refused {
            self.hopeless.insert(attempt);
            return Err(refused);
        }
        if self.may_log_in.get(account - 1) == Some(&false) {
            call.violate("logged in again though no token was refused: bursts get accounts muted");
        }
        let token = self.renew(account);
        let mut user = self.user(account);
        user["token"] = json!(token);
        if call.fault == Some("login_muted") {
            user["chat"] = json!({"is_muted": 1, "mute_until": 1_893_456_000.123});
        }
        Ok(refusal::success(
            &json!({"code": 0, "msg": "", "user": user}),
        ))
    }

    /// A new token for the account in place of the old one.
    fn renew(&mut self, account: usize) -> String {
        let at = account - 1;
        let random = Uuid::new_v4().simple().to_string();
        let token = format!("sim{account}{random}{}==", random.get(..26).unwrap_or(""));
        if let (Some(may), Some(old)) = (self.may_log_in.get_mut(at), self.tokens.get_mut(at)) {
            *may = false;
            old.clone_from(&token);
        }
        token
    }

    /// `POST /api/v0/users/auth_token/check_device`: once per token.
    pub(super) fn check_device(
        &mut self,
        body: &Value,
        request: &Request,
        caller: &Caller,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let device = request.header("x-device-id");
        if *body != json!({"device_id": device, "device_model": ""}) || device.is_empty() {
            call.violate("the body is not the device of the header, without a model");
            return Err(refusal::biz(2, "INVALID_PARAM"));
        }
        if !self.checked.insert(caller.token.clone()) {
            call.violate("the device of this token was checked before");
        }
        let rotate = match call.fault {
            Some("rotate_text") => json!(self.renew(caller.account)),
            Some("rotate_object") => json!({"token": self.renew(caller.account)}),
            _ => Value::Null,
        };
        Ok(refusal::success(&json!({"rotate": rotate})))
    }

    /// `GET /api/v0/users/current`.
    pub(super) fn current(&self, account: usize) -> Reply {
        refusal::success(&self.user(account))
    }

    fn user(&self, account: usize) -> Value {
        let token = self.tokens.get(account - 1);
        json!({
            "id": format!("sim-{account}"), "email": address(account), "token": token, "chat": {"is_muted": 0, "mute_until": null},
        })
    }
}

/// The headers that say what the client is (§4).
///
/// `today`: to the letter of the site of 2026-11.
pub(super) fn client(request: &Request, call: &mut Call, today: bool) -> Result<(), Refusal> {
    let agent = request.header("user-agent");
    if agent.is_empty() {
        call.violate("there is no user-agent");
        return Err(Reply::html(429, "429 Too Many Requests"));
    }
    let android = agent.starts_with("DeepSeek/") && agent.contains(" Android/");
    let (platform, odd) = if android {
        ("android", None)
    } else {
        ("web", request.user_agent_violation())
    };
    if let Some(what) = odd {
        call.violate(what);
    }
    let locale = request.header("x-client-locale");
    for (name, right) in [
        (
            "x-client-platform",
            request.header("x-client-platform") == platform,
        ),
        ("x-client-version", major(request).is_some()),
        (
            "x-client-locale",
            matches!(locale.as_str(), "zh_CN" | "en_US"),
        ),
        (
            "x-client-timezone-offset",
            request.header("x-client-timezone-offset") == "28800",
        ),
    ] {
        if !right {
            call.violate(format!("{name} is {:?}", request.header(name)));
        }
    }
    let device = request.header("x-device-id");
    let dashed = device.len() == 36 && is_uuid(&device);
    if !device.is_empty() && !dashed {
        call.violate(format!("x-device-id is {device:?}, no UUID"));
    }
    if today {
        for (name, right) in [
            (
                "x-client-version",
                request.header("x-client-version") == "2.5.0",
            ),
            (
                "x-client-bundle-id",
                request.header("x-client-bundle-id") == "com.deepseek.chat",
            ),
            ("x-device-id", dashed),
            (
                "x-app-version",
                request.header_bytes("x-app-version").is_none(),
            ),
            (
                "x-device-model",
                android || request.header("x-device-model").is_empty(),
            ),
        ] {
            if !right {
                call.violate(format!("{name} is {:?} today", request.header(name)));
            }
        }
    }
    Ok(())
}

/// The first number of `x-client-version`.
pub(super) fn major(request: &Request) -> Option<u32> {
    let version = request.header("x-client-version");
    version.split('.').next()?.parse().ok()
}

fn address(account: usize) -> String {
    format!("sim-{account}@example.com")
}

fn number(account: usize) -> String {
    format!("1380000000{account}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_the_length_of_real_ones() {
        assert!(TOKENS.iter().all(|token| (62..=68).contains(&token.len())));
        assert_eq!(setting(2).split(',').count(), 2);
        assert_eq!(LOGIN_DEVICE.len(), 89);
    }

    #[test]
    fn a_login_replaces_the_token_and_is_not_repeated() {
        let mut accounts = Accounts::default();
        let request = Request {
            method: "POST".to_owned(),
            path: String::new(),
            query: String::new(),
            headers: Default::default(),
            body: Default::default(),
        };
        let body = json!({"email": "sim-2@example.com", "password": PASSWORD, "device_id": "", "os": "web"});
        let mut log_in = |body: &Value| {
            let mut call = Call::default();
            let ok = accounts.login(body, &request, &mut call, false).is_ok();
            (ok, call.violation.is_some())
        };
        assert_eq!(log_in(&body), (true, false));
        assert_eq!(log_in(&body), (true, true));
        let mobile = json!({"mobile": "13800000003", "area_code": "+86", "password": PASSWORD, "device_id": "", "os": "web"});
        assert_eq!(log_in(&mobile), (true, false));
        for (name, value) in [("password", json!("x")), ("os", json!(null))] {
            let mut wrong = body.clone();
            wrong[name] = value;
            assert_eq!(log_in(&wrong), (false, true));
        }
        assert_ne!(accounts.tokens[1], TOKENS[1]);
        assert_eq!(accounts.tokens[0], TOKENS[0]);
    }
}
