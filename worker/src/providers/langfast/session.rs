//! `LANGFAST_SESSION`: the session of a user who has logged in at langfa.st in a browser. Source: `wire/langfast.md`
//! section 2, own session.

use std::{sync::Arc, time::Duration};

use base64::Engine as _;
use serde::Deserialize;

use super::{
    NAME,
    account::{Guest, subject},
};
use crate::{
    accounts::{Kept, Secret, anonymous::Issued, jwt::BASE64_URL, rotating::Grant},
    settings::{Problems, Vars},
};

/// The variable.
pub(super) const VARIABLE: &str = "LANGFAST_SESSION";
/// What the cookie form of the session begins with.
const COOKIE_PREFIX: &str = "base64-";

/// The session as it was pasted, and what its rotated tokens are. Two are equal when the same was pasted.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The whole value.
    pasted: Secret,
    /// The refresh token, kept under the whole value.
    pub(super) grant: Arc<Grant>,
    access_token: Secret,
    user_id: String,
    /// Unix seconds.
    expires_at: u64,
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        self.pasted == other.pasted
    }
}

impl Eq for Session {}

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
pub(super) fn read(vars: &Vars, kept: &Kept, problems: &mut Problems) -> Option<Session> {
    let pasted = vars.pasted(VARIABLE)?;
    let session = parse(&pasted, kept);
    if session.is_none() {
        problems.push(format!(
            "{VARIABLE} is neither the session that Local Storage of langfa.st shows nor a refresh token"
        ));
    }
    session
}

fn parse(pasted: &str, kept: &Kept) -> Option<Session> {
    // The cookie's form is the same, encoded (section 2).
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
    // Both travel in headers.
    let is_token = |token: &str| !token.chars().any(|c| c.is_control() || c.is_whitespace());
    // An access token has dots; it renews nothing.
    // An access token has dots and renews nothing: who pasted one means the other.
    let is_refresh = !stored.refresh_token.is_empty() && !stored.refresh_token.contains('.');
    if !is_refresh || !is_token(&stored.refresh_token) || !is_token(&stored.access_token) {
        return None;
    }
    let pasted = Secret::new(pasted);
    let grant = Grant::rotating(NAME, Secret::new(stored.refresh_token), kept.clone());
    Some(Session {
        grant: Arc::new(grant.known_by(pasted.clone())),
        // Known by the whole value: another session with the same refresh token is another.
        pasted,
        user_id: subject(&stored.access_token)
            .or_else(|| stored.user.map(|user| user.id))
            .unwrap_or_default(),
        access_token: Secret::new(stored.access_token),
        expires_at: stored.expires_at,
    })
}

impl Session {
    /// The credential that the pool begins with: the pasted access token as long as it holds, else one that has to be
    /// renewed first, with the newest refresh token that an earlier process kept. The time is Unix seconds.
    pub(super) fn issued(&self, now: u64) -> Issued<Guest> {
        // A token that was kept has replaced the pasted one, and its access token with it.
        let is_kept = self.grant.kept().is_some();
        let holds = !is_kept && !self.access_token.is_empty() && !self.user_id.is_empty();
        Issued {
            credential: Guest {
                access_token: self.access_token.clone(),
                refresh_token: self.grant.newest(),
                user_id: self.user_id.clone(),
                own: Some(self.clone().into()),
            },
            lifetime: Duration::from_secs(if holds {
                // Zero: it is renewed before it is used.
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
            let session = parse(pasted, &Kept::default()).unwrap();
            let issued = session.issued(1_767_229_000);
            assert_eq!(issued.credential.user_id, "user-1");
            assert_eq!(issued.lifetime, Duration::from_secs(200));
            assert_eq!(session.issued(1_767_229_201).lifetime, Duration::ZERO);
        }
        let bare = parse("abcdef", &Kept::default()).unwrap().issued(0);
        assert_eq!(bare.credential.refresh_token.expose(), "abcdef");
        assert_eq!(bare.lifetime, Duration::ZERO);
    }

    #[actix_web::test]
    async fn a_kept_token_is_newer_than_the_pasted_session() {
        let name = format!("hive2api-langfast-session-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let kept = Kept::in_file(path.clone());
        kept.keep(NAME, Secret::new(JSON), Secret::new("r2")).await;
        let later = parse(JSON, &kept).unwrap().issued(0);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            (later.credential.refresh_token.expose(), later.lifetime),
            ("r2", Duration::ZERO)
        );
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
            let vars = Vars::new([(VARIABLE, odd)]);
            assert_eq!(read(&vars, &Kept::default(), &mut problems), None);
            assert_eq!(problems.errors.len(), 1, "{odd}");
        }
        assert!(!format!("{:?}", parse(JSON, &Kept::default())).contains("r1"));
    }
}
