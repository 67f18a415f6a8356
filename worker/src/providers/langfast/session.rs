//! `LANGFAST_SESSION`: the session of a user who has logged in at langfa.st in a browser. Source: `wire/langfast.md`
//! section 2, own session.

use std::time::Duration;

use base64::Engine as _;
use serde::Deserialize;

use super::account::{BASE64_URL, Guest, subject};
use crate::{
    accounts::{Secret, anonymous::Issued},
    settings::{Problems, Vars},
};

/// The variable.
pub(super) const VARIABLE: &str = "LANGFAST_SESSION";
/// What the cookie form of the session begins with.
const COOKIE_PREFIX: &str = "base64-";

/// The session as it was pasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// The whole value: what rotated tokens are kept under.
    pub(super) pasted: Secret,
    pub(super) refresh_token: Secret,
    access_token: Secret,
    user_id: String,
    /// Unix seconds.
    expires_at: u64,
}

#[derive(Deserialize)]
struct Stored {
    refresh_token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_at: u64,
    #[serde(default)]
    user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    id: String,
}

/// Reads the variable: the JSON of Local Storage, the same in the cookie's form, or a bare refresh token.
pub(super) fn read(vars: &Vars, problems: &mut Problems) -> Option<Session> {
    let pasted = vars.pasted(VARIABLE)?;
    let session = parse(&pasted);
    if session.is_none() {
        problems.push(format!(
            "{VARIABLE} is neither the session that Local Storage of langfa.st shows nor a refresh token"
        ));
    }
    session
}

fn parse(pasted: &str) -> Option<Session> {
    let decoded = match pasted.strip_prefix(COOKIE_PREFIX) {
        Some(encoded) => String::from_utf8(BASE64_URL.decode(encoded).ok()?).ok()?,
        None => pasted.to_owned(),
    };
    let stored = if decoded.trim_start().starts_with('{') {
        serde_json::from_str(&decoded).ok()?
    } else {
        Stored {
            refresh_token: decoded,
            access_token: String::new(),
            expires_at: 0,
            user: None,
        }
    };
    let is_token = |token: &str| !token.chars().any(|c| c.is_control() || c.is_whitespace());
    // An access token has dots; it renews nothing.
    let is_refresh = !stored.refresh_token.is_empty() && !stored.refresh_token.contains('.');
    if !is_refresh || !is_token(&stored.refresh_token) || !is_token(&stored.access_token) {
        return None;
    }
    Some(Session {
        pasted: Secret::new(pasted),
        user_id: subject(&stored.access_token)
            .or_else(|| stored.user.map(|user| user.id))
            .unwrap_or_default(),
        refresh_token: Secret::new(stored.refresh_token),
        access_token: Secret::new(stored.access_token),
        expires_at: stored.expires_at,
    })
}

impl Session {
    /// The credential that the pool begins with: the pasted access token as long as it holds, else one that has to be
    /// renewed first, with the newest refresh token that an earlier process kept. The time is Unix seconds.
    pub(super) fn issued(&self, kept: Option<Secret>, now: u64) -> Issued<Guest> {
        let holds = kept.is_none() && !self.access_token.is_empty() && !self.user_id.is_empty();
        Issued {
            credential: Guest {
                access_token: self.access_token.clone(),
                refresh_token: kept.unwrap_or_else(|| self.refresh_token.clone()),
                user_id: self.user_id.clone(),
                own: Some(self.clone().into()),
            },
            lifetime: Duration::from_secs(if holds {
                self.expires_at.saturating_sub(now)
            } else {
                0
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"access_token":"a.eyJzdWIiOiJ1c2VyLTEifQ.c","refresh_token":"r1","expires_at":1767229200,"token_type":"bearer","user":{"id":"user-1"}}"#;

    #[test]
    fn takes_the_three_forms() {
        let cookie = format!("{COOKIE_PREFIX}{}", BASE64_URL.encode(JSON));
        for pasted in [JSON, &cookie] {
            let session = parse(pasted).unwrap();
            let issued = session.issued(None, 1_767_229_000);
            assert_eq!(issued.credential.user_id, "user-1");
            assert_eq!(issued.lifetime, Duration::from_secs(200));
            assert_eq!(session.issued(None, 1_767_229_201).lifetime, Duration::ZERO);
            // A kept token is newer than the pasted session.
            let later = session.issued(Some(Secret::new("r2")), 0);
            assert_eq!(
                (later.credential.refresh_token.expose(), later.lifetime),
                ("r2", Duration::ZERO)
            );
        }
        let bare = parse("abcdef").unwrap().issued(None, 0);
        assert_eq!(bare.credential.refresh_token.expose(), "abcdef");
        assert_eq!(bare.lifetime, Duration::ZERO);
    }

    #[test]
    fn what_is_no_session_is_a_mistake() {
        for odd in [
            "a.b.c",
            "{}",
            r#"{"access_token":"a"}"#,
            "base64-!",
            "a b",
            "{half",
        ] {
            let mut problems = Problems::default();
            assert_eq!(read(&Vars::new([(VARIABLE, odd)]), &mut problems), None);
            assert_eq!(problems.errors.len(), 1, "{odd}");
        }
        assert!(!format!("{:?}", parse(JSON)).contains("r1"));
    }
}
