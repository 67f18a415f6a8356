//! Anonymous users: sign-up, refresh, and whose token it is. Source: wire/langfast.md §2, §4.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::{self, Refusal};
use crate::{Call, Reply, Request};

/// A publishable client key as the site has it, of another project.
pub(super) const ANON_KEY: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJzdXBhYmFzZSIsInJlZiI6InNpbXNpbXNpbXNpbXNpbXNpbXMiLCJyb2xlIjoiYW5vbiIsImlhdCI6MTc0MzE1ODM3NSwiZXhwIjoyMDU4NzM0Mzc1fQ.c2ltdWxhdGVkLWFub24ta2V5";
/// `{"alg":"HS256","typ":"JWT"}`
const HEAD: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
const LIFE_SECONDS: u64 = 3600;
/// Sign-ups an hour and address, where a test wants the limit (§2).
const SIGN_UPS: usize = 30;

/// An access token that was given.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Counted from 1, in the order of the sign-ups.
    pub(super) account: usize,
    pub(super) user: String,
    /// Signed up, not logged in.
    pub(super) is_anonymous: bool,
    exp: u64,
}

/// The user who has logged in at the site: not one of the sign-ups.
const OWNER: &str = "0e5f0c1a-5a0e-4f0c-9d3e-51a1c0de0100";
const OWNER_ACCOUNT: usize = 100;
const OWNER_REFRESH: &str = "simOwnerRefresh0123456";
/// The end of the owner's first access token: far away, so that it is good without a refresh.
const OWNER_EXP: u64 = 4_102_444_800;

#[derive(Debug)]
pub(super) struct Accounts {
    users: usize,
    by_access: HashMap<String, Session>,
    /// Account and user of each refresh token that is still good.
    by_refresh: HashMap<String, (usize, String)>,
}

impl Default for Accounts {
    fn default() -> Self {
        let owner = Session {
            account: OWNER_ACCOUNT,
            user: OWNER.to_owned(),
            is_anonymous: false,
            exp: OWNER_EXP,
        };
        Self {
            users: 0,
            by_access: HashMap::from([(owner_access(), owner)]),
            by_refresh: HashMap::from([(
                OWNER_REFRESH.to_owned(),
                (OWNER_ACCOUNT, OWNER.to_owned()),
            )]),
        }
    }
}

fn owner_access() -> String {
    jwt(OWNER, OWNER_EXP, false, "b3duZXI")
}

/// `LANGFAST_SESSION`: what the site keeps in Local Storage of the user who has logged in (§2).
pub(super) fn own_session() -> String {
    json!({
        "access_token": owner_access(), "refresh_token": OWNER_REFRESH, "expires_at": OWNER_EXP, "expires_in": LIFE_SECONDS,
        "token_type": "bearer", "user": shown(OWNER, false),
    })
    .to_string()
}

fn shown(user: &str, is_anonymous: bool) -> Value {
    json!({"id": user, "aud": "authenticated", "role": "authenticated", "is_anonymous": is_anonymous})
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Every call to the base needs the key.
pub(super) fn api_key(request: &Request, call: &mut Call) -> Result<(), Refusal> {
    let key = request.header("apikey");
    if key == ANON_KEY {
        return Ok(());
    }
    call.violate("the apikey is missing or not the anon key");
    Err(refusal::api_key(key.is_empty()))
}

impl Accounts {
    /// `POST /auth/v1/signup`.
    pub(super) fn sign_up(&mut self, request: &Request, call: &mut Call) -> Result<Reply, Refusal> {
        let authorization = request.header("authorization");
        if !authorization.is_empty() && authorization != format!("Bearer {ANON_KEY}") {
            call.violate("the sign-up has an Authorization that is not the anon key");
            return Err(refusal::auth(401, "bad_jwt", "invalid JWT"));
        }
        let body = json_body(request, call)?;
        let known = [json!({}), json!({"data": {}, "gotrue_meta_security": {}})];
        if !known.contains(&body) {
            call.violate("the body is none of those that make an anonymous user");
            return Err(refusal::auth(400, "validation_failed", "bad body"));
        }
        if call.fault == Some("signup_limit") && self.users >= SIGN_UPS {
            return Err(refusal::sign_ups());
        }
        self.users += 1;
        let user = Uuid::new_v4().to_string();
        Ok(self.session(self.users, user, call))
    }

    /// `POST /auth/v1/token?grant_type=refresh_token`: both tokens are new afterwards. `with_owner`: there is a user with a
    /// session of its own.
    pub(super) fn refresh(
        &mut self,
        request: &Request,
        call: &mut Call,
        with_owner: bool,
    ) -> Result<Reply, Refusal> {
        if request.query != "grant_type=refresh_token" {
            call.violate("the query is not grant_type=refresh_token");
            return Err(refusal::auth(
                400,
                "invalid_request",
                "unsupported_grant_type",
            ));
        }
        let body = json_body(request, call)?;
        let token = body.get("refresh_token").and_then(Value::as_str);
        let known = token.and_then(|token| self.by_refresh.remove(token));
        let known = known.filter(|(account, _)| with_owner || *account != OWNER_ACCOUNT);
        let Some((account, user)) = known else {
            call.violate("the refresh token was never given, or used before");
            return Err(refusal::refresh_token());
        };
        Ok(self.session(account, user, call))
    }

    fn session(&mut self, account: usize, user: String, call: &mut Call) -> Reply {
        call.account = Some(account);
        let life = if call.fault == Some("short_lived") {
            60
        } else {
            LIFE_SECONDS
        };
        let exp = now() + life;
        let is_anonymous = account != OWNER_ACCOUNT;
        let signature = URL_SAFE_NO_PAD.encode(Uuid::new_v4().as_bytes());
        let access = jwt(&user, exp, is_anonymous, &signature);
        let refresh: String = Uuid::new_v4()
            .simple()
            .to_string()
            .chars()
            .take(22)
            .collect();
        let session = Session {
            account,
            user: user.clone(),
            is_anonymous,
            exp,
        };
        self.by_access.insert(access.clone(), session);
        self.by_refresh
            .insert(refresh.clone(), (account, user.clone()));
        let user = shown(&user, is_anonymous);
        Reply::json(
            200,
            &json!({
                "access_token": access, "token_type": "bearer", "expires_in": life, "expires_at": exp,
                "refresh_token": refresh, "user": user,
            }),
        )
    }

    /// Whose token it is; `Err` says what is wrong with it.
    pub(super) fn of_token(&self, token: &str) -> Result<Session, &'static str> {
        match self.by_access.get(token) {
            Some(session) if session.exp <= now() => Err("the access token has expired"),
            Some(session) => Ok(session.clone()),
            None if token == ANON_KEY => Err("the anon key is used as an access token"),
            None => Err("the access token was never given"),
        }
    }

    /// Whose call it is.
    pub(super) fn check(
        &self,
        request: &Request,
        call: &mut Call,
        refused: fn(bool) -> Refusal,
    ) -> Result<Session, Refusal> {
        let authorization = request.header("authorization");
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        let session = self.of_token(token).map_err(|what| {
            call.violate(what);
            refused(authorization.is_empty())
        })?;
        call.account = Some(session.account);
        Ok(session)
    }
}

/// A token whose payload needs the base64url alphabet, as in the third vector of §5.
fn jwt(user: &str, exp: u64, is_anonymous: bool, signature: &str) -> String {
    let payload = json!({
        "sub": user, "exp": exp, "role": "authenticated", "is_anonymous": is_anonymous, "note": "ÿ?????>>>>>",
    });
    format!(
        "{HEAD}.{}.{signature}",
        URL_SAFE_NO_PAD.encode(payload.to_string())
    )
}

pub(super) fn json_body(request: &Request, call: &mut Call) -> Result<Value, Refusal> {
    request.json().map_err(|what| {
        call.violate(what);
        refusal::auth(400, "bad_json", "Could not parse request body as JSON")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_break_plain_base64_decoders() {
        let user = "11111111-2222-4333-8444-555555555555";
        let token = jwt(user, 1_767_229_200, true, "c2ln");
        let payload = token.split('.').nth(1).unwrap();
        assert!(
            payload.contains('_') && !payload.len().is_multiple_of(4),
            "{payload}"
        );
    }
}
