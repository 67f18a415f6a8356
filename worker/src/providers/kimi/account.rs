//! The credential: what the user pasted, and what a token says about itself. Source: `wire/kimi.md` sections 2 and 5.2.

use std::{fmt, sync::Arc};

use sha3::{Digest as _, Sha3_256};

use super::session::Session;
use crate::{
    accounts::{
        Fingerprint, Kept, Known, Secret,
        jwt::Claims,
        pasted::{self, Shapes},
        rotating::HalfOpen,
    },
    settings::{Problems, Vars},
};

const NAME: &str = "KIMI_TOKEN";
const SHAPES: Shapes = Shapes {
    // Over the years.
    cookies: &["kimi-auth", "kimi_access_token", "access_token"],
    members: &["refresh_token", "access_token", "token", "value"],
};

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

impl Known for Account {
    fn fingerprint(&self) -> Fingerprint {
        self.session.tokens.fingerprint()
    }

    fn variable(&self) -> &str {
        &self.variable
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("variable", &self.variable)
            .finish_non_exhaustive()
    }
}

/// All accounts of the environment ([`pasted::accounts`]). A token whose session is `known` goes on with it.
pub(super) fn accounts(
    vars: &Vars,
    known: &[Arc<Session>],
    (kept, pace): (&Kept, &HalfOpen),
    problems: &mut Problems,
) -> Vec<(usize, Account)> {
    let session = |token: String| {
        // By the pasted token, not by its number: a session goes on under another number.
        let known = known.iter().find(|session| session.tokens.is_of(&token));
        known.cloned().unwrap_or_else(|| {
            let digits = digits(&token);
            let session = Session::new(Secret::new(token), kept.clone(), pace.clone(), digits);
            Arc::new(session)
        })
    };
    pasted::accounts(vars, NAME, &SHAPES, problems)
        .into_iter()
        .map(|(number, pasted)| {
            let account = Account {
                session: session(pasted.value),
                variable: pasted.variable,
            };
            (number, account)
        })
        .collect()
}

/// What the ids of a token that carries none are made of (section 4.1: random digits, fixed for the token). Of the token: one
/// account is one device to the service, whichever worker asks, also after a restart.
fn digits(token: &str) -> u128 {
    let mut hash = Sha3_256::new();
    hash.update("hive2api kimi device");
    hash.update(token);
    let bytes = hash.finalize();
    bytes
        .iter()
        .take(16)
        .fold(0, |digits, byte| digits << 8 | u128::from(*byte))
}

/// What a token can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// As it is. Also what we cannot read: the service is to judge.
    Access,
    /// To get access tokens with.
    Refresh,
}

/// What a token is, by its claims (section 2, "Token kind").
pub(super) fn kind(token: &str, claims: Option<&Claims>) -> TokenKind {
    let says = |name, what| claims.is_some_and(|it| it.text(name).as_deref() == Some(what));
    // Both claims: another service's JWT is nobody's refresh token (section 2).
    if token.starts_with("eyJ") && says("app_id", "kimi") && says("typ", "refresh") {
        TokenKind::Refresh
    } else {
        TokenKind::Access
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESS: &str = "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ1c2VyLWNlbnRlciIsImV4cCI6NDEwMjQ0NDgwMCwidHlwIjoiYWNjZXNzIiwiYXBwX2lkIjoia2ltaSIsInN1YiI6InUxIiwic3NpZCI6IjE3MzEwIiwiZGV2aWNlX2lkIjoiNzUwMCJ9.c2ln";
    const REFRESH: &str = "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ1c2VyLWNlbnRlciIsImV4cCI6NDEwMjQ0NDgwMCwidHlwIjoicmVmcmVzaCIsImFwcF9pZCI6ImtpbWkiLCJzdWIiOiJ1fj8-MSIsInNzaWQiOiIxNzMxMSIsImRldmljZV9pZCI6Ijc1MDEifQ.c2ln";
    const OTHER: &str = "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJ0eXAiOiJhY2Nlc3MiLCJhcHBfaWQiOiJvdGhlciIsInN1YiI6IngifQ.c2ln";

    #[test]
    fn a_token_is_one_device_to_every_worker() {
        assert_eq!(digits(OTHER), digits(OTHER));
        assert_ne!(digits(OTHER), digits(ACCESS));
        // From token to token the last digits differ as well, which the ids are made of.
        let last = |token| digits(token) % 1_000_000_000_000_000_000;
        assert_ne!(last("a"), last("b"));
    }

    fn read(vars: &Vars, known: &[Arc<Session>], problems: &mut Problems) -> Vec<(usize, Account)> {
        let place = (&Kept::default(), &HalfOpen::default());
        accounts(vars, known, place, problems)
    }

    /// The vectors of wire/kimi.md section 5.2.
    #[test]
    fn reads_the_claims_of_the_wire_page() {
        let read = |token: &str| {
            let claims = Claims::read(token);
            let text = |name| claims.as_ref().and_then(|claims| claims.text(name));
            let end = claims.as_ref().and_then(Claims::expires);
            let ids = ["sub", "ssid", "device_id"].map(|name| text(name).unwrap_or_default());
            (kind(token, claims.as_ref()), end, ids.join(" "))
        };
        let row = |kind, end, ids: &str| (kind, end, ids.to_owned());
        let end = Some(4_102_444_800);
        assert_eq!(read(ACCESS), row(TokenKind::Access, end, "u1 17310 7500"));
        assert_eq!(
            read(REFRESH),
            row(TokenKind::Refresh, end, "u~?>1 17311 7501")
        );
        assert_eq!(read(OTHER), row(TokenKind::Access, None, "x  "));
        for odd in ["", "eyJ", "a.b", "eyJ.!.x", "eyJ.e30.x.y"] {
            assert_eq!(read(odd), row(TokenKind::Access, None, "  "), "{odd}");
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
            let (mut problems, vars) = (Problems::default(), Vars::new([(NAME, pasted.as_str())]));
            let accounts = read(&vars, &[], &mut problems);
            assert!(problems.errors.is_empty(), "{problems:?}");
            assert!(
                matches!(accounts.as_slice(), [(1, account)] if account.session.tokens.is_of(ACCESS)),
                "{pasted}"
            );
        }
    }

    #[test]
    fn several_tokens_are_several_accounts() {
        let (mut problems, vars) = (
            Problems::default(),
            Vars::new([(NAME, "a, b,,Bearer c"), ("KIMI_TOKEN_3", "d")]),
        );
        let found = read(&vars, &[], &mut problems);
        let numbers: Vec<(usize, &str)> = found
            .iter()
            .map(|(number, account)| (*number, account.variable.as_str()))
            .collect();
        assert_eq!(
            numbers,
            [(1, NAME), (3, "KIMI_TOKEN_3"), (4, NAME), (5, NAME)]
        );
        assert!(
            found
                .iter()
                .zip(["a", "d", "b", "c"])
                .all(|((_, account), token)| account.session.tokens.is_of(token))
        );
    }

    #[test]
    fn an_equal_token_keeps_its_session_under_any_number() {
        let first = read(&Vars::new([(NAME, REFRESH)]), &[], &mut Problems::default());
        let known = [Arc::clone(&first[0].1.session)];
        let again = read(
            &Vars::new([(NAME, "other"), ("KIMI_TOKEN_2", REFRESH)]),
            &known,
            &mut Problems::default(),
        );
        assert!(Arc::ptr_eq(&again[1].1.session, &known[0]));
        assert!(!Arc::ptr_eq(&again[0].1.session, &known[0]));
        let same = read(
            &Vars::new([(NAME, REFRESH)]),
            &known,
            &mut Problems::default(),
        );
        assert!(same[0].1 == first[0].1);
    }

    #[test]
    fn nothing_shows_a_token() {
        let account = read(&Vars::new([(NAME, ACCESS)]), &[], &mut Problems::default());
        assert!(!format!("{account:?} {:?}", account[0].1.session).contains("eyJ"));
    }
}
