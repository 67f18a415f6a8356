//! Anonymous users: sign-up, refresh, and whose token it is. Source: wire/langfast.md §2, §4.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::{self, Refusal};
use crate::simulate::{Call, Reply, Request};

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
    exp: u64,
}

#[derive(Debug, Default)]
pub(super) struct Accounts {
    users: usize,
    by_access: HashMap<String, Session>,
    /// Account and user of each refresh token that is still good.
    by_refresh: HashMap<String, (usize, String)>,
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

    /// `POST /auth/v1/token?grant_type=refresh_token`: both tokens are new afterwards.
    pub(super) fn refresh(&mut self, request: &Request, call: &mut Call) -> Result<Reply, Refusal> {
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
        let access = jwt(&user, exp);
        let refresh: String = Uuid::new_v4()
            .simple()
            .to_string()
            .chars()
            .take(22)
            .collect();
        let session = Session {
            account,
            user: user.clone(),
            exp,
        };
        self.by_access.insert(access.clone(), session);
        self.by_refresh
            .insert(refresh.clone(), (account, user.clone()));
        let user = json!({"id": user, "aud": "authenticated", "role": "authenticated", "is_anonymous": true});
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
fn jwt(user: &str, exp: u64) -> String {
    let payload = json!({
        "sub": user, "exp": exp, "role": "authenticated", "is_anonymous": true, "note": "ÿ?????>>>>>",
    });
    let signature = URL_SAFE_NO_PAD.encode(Uuid::new_v4().as_bytes());
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
        let token = jwt("11111111-2222-4333-8444-555555555555", 1_767_229_200);
        let payload = token.split('.').nth(1).unwrap();
        assert!(
            payload.contains('_') && !payload.len().is_multiple_of(4),
            "{payload}"
        );
    }
}
