//! The credential: two cookies of a login, or the whole header that holds them. Source: `wire/metaso.md` section 2.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{NAME, cookies::Cookies};
use crate::{
    accounts::{Fingerprint, Known, Secret, pasted},
    settings::{Problems, Vars},
};

const VARIABLE: &str = "METASO_TOKEN";
/// How long a meta-token is used (section 5.1).
const TOKEN_LIFE: Duration = Duration::from_secs(600);

/// One account. Two are equal when they were configured alike, whatever has happened to them since.
#[derive(Clone)]
pub(super) struct Account {
    /// Which variable to renew.
    pub(super) variable: String,
    /// As it was pasted.
    pasted: Secret,
    /// `uid-sid`: without the cookies that the site's script sets.
    is_short: bool,
    /// What the site has given this account while the worker runs.
    pub(super) standing: Arc<Standing>,
}

/// What an account has had of the site.
pub(super) struct Standing {
    cookies: Mutex<(Cookies, Secret)>,
    /// The meta-token and when it was had. Whoever fetches one holds the lock meanwhile, so that nobody does it twice.
    pub(super) token: tokio::sync::Mutex<Option<Token>>,
    /// The site has been asked whose cookies these are.
    is_introduced: AtomicBool,
    has_succeeded: AtomicBool,
}

/// A meta-token.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) value: Secret,
    had: Instant,
}

impl Token {
    pub(super) fn new(value: String, now: Instant) -> Self {
        Self {
            value: Secret::new(value),
            had: now,
        }
    }

    /// Whether it may still be used.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.had) < TOKEN_LIFE
    }
}

impl Account {
    fn new(pasted: String, cookies: Cookies, is_short: bool, variable: String) -> Self {
        // Byte for byte as it was pasted, until the site adds to it.
        let header = if is_short {
            cookies.header()
        } else {
            pasted.clone()
        };
        Self {
            variable,
            pasted: Secret::new(pasted),
            is_short,
            standing: Arc::new(Standing {
                cookies: Mutex::new((cookies, Secret::new(header))),
                token: tokio::sync::Mutex::default(),
                is_introduced: AtomicBool::new(false),
                has_succeeded: AtomicBool::new(false),
            }),
        }
    }

    /// Whether "too many requests" may mean that cookies are missing (section 2).
    pub(super) fn may_lack_cookies(&self) -> bool {
        self.is_short && !self.standing.has_succeeded.load(Ordering::Relaxed)
    }
}

impl Standing {
    /// The `Cookie` header of this moment.
    pub(super) fn cookie(&self) -> Secret {
        self.cookies().1.clone()
    }

    /// Takes the values of `Set-Cookie` headers.
    pub(super) fn merge<'a>(&self, set: impl Iterator<Item = &'a str>) {
        let mut cookies = self.cookies();
        let mut has_changed = false;
        for set in set {
            has_changed |= cookies.0.merge(set);
        }
        // Rendered when it changes and not for every call: most calls set nothing.
        if has_changed {
            cookies.1 = Secret::new(cookies.0.header());
        }
    }

    /// The token is of no more use.
    pub(super) async fn forget(&self, value: &Secret) {
        let mut token = self.token.lock().await;
        // Another turn may have fetched a new one meanwhile, which is not to be thrown away.
        if token.as_ref().is_some_and(|known| known.value == *value) {
            *token = None;
        }
    }

    /// Whether the site has not said yet whose cookies these are.
    pub(super) fn is_new(&self) -> bool {
        !self.is_introduced.load(Ordering::Relaxed)
    }

    /// It has.
    pub(super) fn introduced(&self) {
        self.is_introduced.store(true, Ordering::Relaxed);
    }

    /// An answer has come to its end.
    pub(super) fn succeeded(&self) {
        self.has_succeeded.store(true, Ordering::Relaxed);
    }

    /// A panic of another thread leaves the jar in order, so poisoning is of no interest.
    fn cookies(&self) -> MutexGuard<'_, (Cookies, Secret)> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        self.pasted == other.pasted && self.variable == other.variable
    }
}

impl Known for Account {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(NAME, &self.pasted)
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

/// All accounts of the environment: `METASO_TOKEN`, `METASO_TOKEN_2`, …, each with a whole cookie, or with one short form or
/// several between commas.
pub(super) fn accounts(vars: &Vars, problems: &mut Problems) -> Vec<(usize, Account)> {
    pasted::cookies(vars, VARIABLE, problems, account, |a, b| {
        a.pasted == b.pasted
    })
}

/// One value's account; else what is wrong with it, without repeating any of it.
fn account(value: &str, variable: &str) -> Result<Account, &'static str> {
    // Again, as `pasted` leaves what stands between commas as it is.
    let value = value.trim().trim_matches(['"', '\'']).trim();
    if value.chars().any(char::is_control) {
        return Err("holds control characters, which no header can carry");
    }
    // Section 2: a `=` tells the whole header from the short form.
    if value.contains('=') {
        let cookies = Cookies::read(value);
        return match (cookies.get("uid"), cookies.get("sid")) {
            (Some(_), Some(_)) => Ok(Account::new(
                value.to_owned(),
                cookies,
                false,
                variable.to_owned(),
            )),
            _ => Err(
                "is a Cookie header without uid and sid; sign in at metaso.cn and copy it whole",
            ),
        };
    }
    let form = "must be the cookies uid and sid of metaso.cn joined by - (uid-sid), or the whole Cookie header";
    // At the first `-` (section 2).
    let (uid, sid) = value.split_once('-').ok_or(form)?;
    let is_value = |text: &str| !text.is_empty() && !text.contains([' ', ';', ',']);
    if !is_value(uid) || !is_value(sid) {
        return Err(form);
    }
    let cookies = Cookies::read(&format!("uid={uid}; sid={sid}"));
    Ok(Account::new(
        value.to_owned(),
        cookies,
        true,
        variable.to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: &str = "65f0c1d2e3a4b5c6d7e8f901-0123456789abcdef0123456789abcdef";
    const COOKIE: &str = "uid=65f0c1d2e3a4b5c6d7e8f901; sid=0123456789abcdef0123456789abcdef";

    fn read(pairs: &[(&str, &str)]) -> (Vec<(usize, String, bool)>, Vec<String>) {
        let (vars, mut problems) = (Vars::new(pairs.iter().copied()), Problems::default());
        let plain = |(number, account): (usize, Account)| {
            let cookie = account.standing.cookie().expose().to_owned();
            (number, cookie, account.may_lack_cookies())
        };
        let accounts = accounts(&vars, &mut problems);
        (accounts.into_iter().map(plain).collect(), problems.errors)
    }

    #[test]
    fn takes_credentials_as_people_paste_them() {
        let whole = format!("tid=t,u; {COOKIE}; _c_WBKFRo=x");
        for (pasted, cookie, is_short) in [
            (SHORT, COOKIE, true),
            (&format!("\"{SHORT}\""), COOKIE, true),
            (&format!(" '{SHORT}' "), COOKIE, true),
            (&whole, &whole, false),
            (&format!("Cookie: {whole}"), &whole, false),
            (
                r#"[{"name":"uid","value":"u"},{"name":"sid","value":"s"}]"#,
                "uid=u; sid=s",
                false,
            ),
        ] {
            let (accounts, problems) = read(&[("METASO_TOKEN", pasted)]);
            assert_eq!(
                (accounts, problems),
                (vec![(1, cookie.to_owned(), is_short)], vec![]),
                "{pasted}"
            );
        }
    }

    #[test]
    fn takes_several_accounts() {
        let (accounts, problems) = read(&[
            ("METASO_TOKEN", "a1-b1, a2-b-2,,a1-b1"),
            ("METASO_TOKEN_3", "uid=u; sid=s"),
        ]);
        let own = |number, cookie: &str, short| (number, cookie.to_owned(), short);
        assert_eq!(
            accounts,
            [
                own(1, "uid=a1; sid=b1", true),
                own(3, "uid=u; sid=s", false),
                own(4, "uid=a2; sid=b-2", true)
            ]
        );
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn complains_without_repeating_the_value() {
        for value in [
            "0123456789abcdef",
            "-0123456789abcdef",
            "0123456789abcdef-",
            "uid=0123456789abcdef; tid=x",
            "sid=0123456789abcdef; uid=",
            "0123456789 abcdef-x",
        ] {
            let (accounts, problems) = read(&[("METASO_TOKEN_2", value)]);
            assert!(accounts.is_empty() && problems.len() == 1, "{value}");
            let problem = problems.join("");
            assert!(problem.starts_with("METASO_TOKEN_2 "), "{problem}");
            assert!(!problem.contains("0123456789"), "{problem}");
        }
    }

    #[test]
    fn the_header_grows_with_what_the_site_sets() {
        let account = account(SHORT, "METASO_TOKEN").unwrap();
        account
            .standing
            .merge(["uid=x", "aliyungf_tc=1; Path=/"].into_iter());
        let cookie = account.standing.cookie();
        assert_eq!(cookie.expose(), format!("{COOKIE}; aliyungf_tc=1"));
        account.standing.succeeded();
        assert!(!account.may_lack_cookies());
        let token = Token::new("t".to_owned(), Instant::now());
        assert!(token.is_fresh(token.had + TOKEN_LIFE / 2));
        assert!(!token.is_fresh(token.had + TOKEN_LIFE));
    }
}
