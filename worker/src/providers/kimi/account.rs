//! The credential: what the user pasted, and what a token says about itself. Source: `wire/kimi.md` sections 2 and 5.2.

use std::{fmt, sync::Arc};

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::Value;

use super::session::Session;
use crate::{
    accounts::{Kept, Secret},
    settings::Vars,
};

const NAME: &str = "KIMI_TOKEN";
/// Cookies that hold the access token, over the years.
const COOKIES: &[&str] = &["kimi-auth", "kimi_access_token", "access_token"];
/// What an object of Local Storage calls its token, the best first.
const OBJECT_KEYS: &[&str] = &["refresh_token", "access_token", "token", "value"];
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One account. The tokens that its refreshes brought live in the session, which outlives a new reading of the
/// variables: equal pasted tokens have the same session.
#[derive(Clone)]
pub(super) struct Account {
    /// The tokens in use.
    pub(super) session: Arc<Session>,
    /// Which variable to renew.
    pub(super) variable: String,
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.session, &other.session) && self.variable == other.variable
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("variable", &self.variable)
            .finish_non_exhaustive()
    }
}

/// All accounts of the environment. A variable may hold several tokens, separated by commas: the first has the
/// variable's number, the others the next free ones.
pub(super) fn accounts(
    vars: &Vars,
    known: &[Arc<Session>],
    kept: &Kept,
    problems: &mut Vec<String>,
) -> Vec<(usize, Account)> {
    let mut sessions: Vec<Arc<Session>> = known.to_vec();
    let mut account = |variable: &str, token: String| {
        let session = sessions
            .iter()
            .find(|session| session.is_of(&token))
            .cloned()
            .unwrap_or_else(|| {
                let session = Arc::new(Session::new(
                    Secret::new(token),
                    kept.clone(),
                    rand::random(),
                ));
                sessions.push(Arc::clone(&session));
                session
            });
        Account {
            session,
            variable: variable.to_owned(),
        }
    };
    let (mut accounts, mut more) = (Vec::new(), Vec::new());
    for (number, pasted) in vars.numbered(NAME) {
        let variable = if number == 1 && vars.get(NAME).is_some() {
            NAME.to_owned()
        } else {
            format!("{NAME}_{number}")
        };
        let mut tokens = tokens(&pasted).into_iter();
        let Some(first) = tokens.next() else {
            problems.push(format!("{variable} holds no token"));
            continue;
        };
        if !pasted.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            problems.push(format!(
                "{variable} holds characters that no header can carry"
            ));
        }
        accounts.push((number, account(&variable, first)));
        more.extend(tokens.map(|token| account(&variable, token)));
    }
    let next = accounts
        .iter()
        .map(|(number, _)| *number)
        .max()
        .unwrap_or(0)
        + 1;
    accounts.extend((next..).zip(more));
    accounts
}

/// The tokens in a pasted value: bare, in quotes, behind `Bearer`, in a cookie, or as the array that Local Storage
/// shows, whose parts are those of one token (section 2).
fn tokens(pasted: &str) -> Vec<String> {
    if let Ok(parts) = serde_json::from_str::<Vec<String>>(pasted) {
        return vec![parts.join(".")];
    }
    if let Ok(Value::Object(entry)) = serde_json::from_str(pasted) {
        let named = OBJECT_KEYS
            .iter()
            .filter_map(|key| entry.get(*key)?.as_str());
        return named
            .map(bare)
            .find(|token| !token.is_empty())
            .into_iter()
            .collect();
    }
    let names_cookie = |part: &str| {
        COOKIES
            .iter()
            .any(|name| part.contains(&format!("{name}=")))
    };
    pasted
        .split(',')
        .map(|part| {
            if names_cookie(part) {
                cookie(part)
            } else {
                bare(part)
            }
        })
        .filter(|token| !token.is_empty())
        .collect()
}

fn cookie(pasted: &str) -> String {
    let value = |name: &&str| {
        pasted.split(';').find_map(|pair| {
            let (before, value) = pair.split_once('=')?;
            let before = before.rsplit([':', ' ', '"', '\'']).next()?;
            (before == *name).then(|| bare(value))
        })
    };
    COOKIES.iter().find_map(value).unwrap_or_default()
}

fn bare(pasted: &str) -> String {
    let is_quote = |c: char| c == '"' || c == '\'' || c.is_whitespace();
    let token = pasted.trim_matches(is_quote);
    let scheme = token.split_whitespace().next().unwrap_or_default();
    let token = if scheme.eq_ignore_ascii_case("bearer") {
        token.get(scheme.len()..).unwrap_or_default()
    } else {
        token
    };
    token.trim_matches(is_quote).to_owned()
}

/// What a token can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// As it is. Also what we cannot read: the service is to judge.
    Access,
    /// To get access tokens with.
    Refresh,
}

/// The claims of a token that matter here; all may be missing. Decoded, never verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    /// Unix seconds.
    pub(super) exp: Option<u64>,
    /// `sub`, the user's id.
    pub(super) user: Option<String>,
    /// `ssid`, the login session's id.
    pub(super) session: Option<String>,
    /// `device_id`.
    pub(super) device: Option<String>,
}

/// Reads a token.
pub(super) fn read(token: &str) -> (TokenKind, Claims) {
    let Some(payload) = payload(token) else {
        return (TokenKind::Access, Claims::default());
    };
    let text = |name: &str| match payload.get(name)? {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let is_refresh = token.starts_with("eyJ")
        && text("app_id").as_deref() == Some("kimi")
        && text("typ").as_deref() == Some("refresh");
    let claims = Claims {
        exp: payload.get("exp").and_then(Value::as_u64),
        user: text("sub"),
        session: text("ssid"),
        device: text("device_id"),
    };
    let kind = if is_refresh {
        TokenKind::Refresh
    } else {
        TokenKind::Access
    };
    (kind, claims)
}

fn payload(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    serde_json::from_slice(&BASE64.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESS: &str = "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ1c2VyLWNlbnRlciIsImV4cCI6NDEwMjQ0NDgwMCwidHlwIjoiYWNjZXNzIiwiYXBwX2lkIjoia2ltaSIsInN1YiI6InUxIiwic3NpZCI6IjE3MzEwIiwiZGV2aWNlX2lkIjoiNzUwMCJ9.c2ln";
    const REFRESH: &str = "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ1c2VyLWNlbnRlciIsImV4cCI6NDEwMjQ0NDgwMCwidHlwIjoicmVmcmVzaCIsImFwcF9pZCI6ImtpbWkiLCJzdWIiOiJ1fj8-MSIsInNzaWQiOiIxNzMxMSIsImRldmljZV9pZCI6Ijc1MDEifQ.c2ln";
    const OTHER: &str = "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJ0eXAiOiJhY2Nlc3MiLCJhcHBfaWQiOiJvdGhlciIsInN1YiI6IngifQ.c2ln";

    /// The vectors of wire/kimi.md section 5.2.
    #[test]
    fn reads_the_claims_of_the_wire_page() {
        let own = |text: &str| Some(text.to_owned());
        let claims = |exp, user: &str, session: &str, device: &str| Claims {
            exp,
            user: own(user),
            session: own(session),
            device: own(device),
        };
        let exp = Some(4_102_444_800);
        assert_eq!(
            read(ACCESS),
            (TokenKind::Access, claims(exp, "u1", "17310", "7500"))
        );
        assert_eq!(
            read(REFRESH),
            (TokenKind::Refresh, claims(exp, "u~?>1", "17311", "7501"))
        );
        let other = Claims {
            user: own("x"),
            ..Claims::default()
        };
        assert_eq!(read(OTHER), (TokenKind::Access, other));
        for odd in ["", "eyJ", "a.b", "eyJ.!.x", "eyJ.e30.x.y"] {
            assert_eq!(read(odd), (TokenKind::Access, Claims::default()), "{odd}");
        }
    }

    #[test]
    fn takes_what_users_paste() {
        let array = format!(
            "[{}]",
            ACCESS
                .split('.')
                .map(|part| format!("\"{part}\""))
                .collect::<Vec<_>>()
                .join(", ")
        );
        for pasted in [
            ACCESS.to_owned(),
            format!(" \"{ACCESS}\" "),
            format!("'Bearer {ACCESS}'"),
            format!("bearer  {ACCESS}\r\n"),
            format!("Bearer \"{ACCESS}\""),
            format!("kimi-auth={ACCESS}"),
            format!("a=b; kimi-auth={ACCESS}; c=d"),
            format!("Cookie: kimi-auth={ACCESS}; c=d"),
            format!("kimi_access_token={ACCESS}; Path=/"),
            array,
            format!("{{\"access_token\": \"{ACCESS}\"}}"),
            format!("{{\"value\":\"Bearer {ACCESS}\",\"x\":1}}"),
            format!("{{\"token\":\"x\",\"refresh_token\":\"{ACCESS}\",\"access_token\":\"y\"}}"),
        ] {
            let (mut problems, vars) = (Vec::new(), Vars::new([(NAME, pasted.as_str())]));
            let accounts = accounts(&vars, &[], &Kept::default(), &mut problems);
            assert!(problems.is_empty(), "{problems:?}");
            assert!(
                matches!(accounts.as_slice(), [(1, account)] if account.session.is_of(ACCESS)),
                "{pasted}"
            );
        }
    }

    #[test]
    fn several_tokens_are_several_accounts() {
        let (mut problems, vars) = (
            Vec::new(),
            Vars::new([(NAME, "a, b,,Bearer c"), ("KIMI_TOKEN_3", "d")]),
        );
        let read = accounts(&vars, &[], &Kept::default(), &mut problems);
        let numbers: Vec<(usize, &str)> = read
            .iter()
            .map(|(number, account)| (*number, account.variable.as_str()))
            .collect();
        assert_eq!(
            numbers,
            [(1, NAME), (3, "KIMI_TOKEN_3"), (4, NAME), (5, NAME)]
        );
        assert!(
            read.iter()
                .zip(["a", "d", "b", "c"])
                .all(|((_, account), token)| account.session.is_of(token))
        );
    }

    #[test]
    fn an_equal_token_keeps_its_session_under_any_number() {
        let first = accounts(
            &Vars::new([(NAME, REFRESH)]),
            &[],
            &Kept::default(),
            &mut Vec::new(),
        );
        let known = [Arc::clone(&first[0].1.session)];
        let again = accounts(
            &Vars::new([(NAME, "other"), ("KIMI_TOKEN_2", REFRESH)]),
            &known,
            &Kept::default(),
            &mut Vec::new(),
        );
        assert!(Arc::ptr_eq(&again[1].1.session, &known[0]));
        assert!(!Arc::ptr_eq(&again[0].1.session, &known[0]));
        let same = accounts(
            &Vars::new([(NAME, REFRESH)]),
            &known,
            &Kept::default(),
            &mut Vec::new(),
        );
        assert!(same[0].1 == first[0].1);
    }

    #[test]
    fn nothing_shows_a_token() {
        let account = accounts(
            &Vars::new([(NAME, ACCESS)]),
            &[],
            &Kept::default(),
            &mut Vec::new(),
        );
        assert!(!format!("{account:?} {:?}", account[0].1.session).contains("eyJ"));
    }
}
