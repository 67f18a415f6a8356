//! The credential: a JWT, pasted alone, within a cookie, or had by a login; and what goes with it. Source:
//! `wire/qwen_intl.md` section 2.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use uuid::Uuid;

use super::{
    NAME,
    device::{self, Device},
    site::Site,
    wire::{Caller, Moment},
};
use crate::{
    accounts::{
        Kept, Patience, Secret,
        jwt::Claims,
        pasted::{self, Shapes},
        rotating::{Grant, HalfOpen, Rotating, unix_ms},
    },
    settings::{Problems, Vars},
};

const AUTHORIZATION: &str = "INTL_AUTHORIZATION";
const COOKIE: &str = "INTL_COOKIE";
const EMAIL: &str = "INTL_EMAIL";
const PASSWORD: &str = "INTL_PASSWORD";
/// The cookie's and the site's own name for the token.
const TOKEN: &str = "token";
const SHAPES: Shapes = Shapes {
    cookies: &[TOKEN],
    members: &[TOKEN, "access_token"],
};
/// A token with less than this left is replaced by a login (section 2.2).
const MARGIN: Duration = Duration::from_secs(6 * 3600);

/// One account. A clone is the same one.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// Which variable to renew.
    pub(super) variable: String,
    /// What to log in with.
    pub(super) login: Option<Login>,
    /// Its tokens.
    pub(super) tokens: Rotating<Access>,
    parts: Parts,
    /// What is told of the device, where no browser's cookie does.
    device: Option<Arc<Device>>,
}

/// What was pasted beside the login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Parts {
    token: Option<Secret>,
    /// The whole header, byte for byte.
    cookie: Option<Secret>,
    /// Header `bx-ua`.
    bx_ua: Option<Secret>,
}

/// E-mail address and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) email: Secret,
    pub(super) password: Secret,
}

/// A token, as calls carry it.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) token: Secret,
    /// The whole `cookie` header with this token.
    pub(super) cookie: Secret,
    /// Unix seconds, where the token says so.
    expires: Option<u64>,
}

impl Access {
    /// Whether the service would refuse it: asking would only say so later.
    pub(super) fn has_ended(&self, unix_seconds: u64) -> bool {
        self.expires.is_some_and(|end| end <= unix_seconds)
    }
}

impl PartialEq for Account {
    /// What was pasted; the tokens since are kept with it.
    fn eq(&self, other: &Self) -> bool {
        self.variable == other.variable && self.login == other.login && self.parts == other.parts
    }
}

impl Account {
    /// A token with the cookie that it is sent in.
    pub(super) fn access(&self, token: Secret) -> Access {
        access(self.parts.cookie.as_ref(), token)
    }

    /// Who calls, with this token; without one, a guest.
    pub(super) fn caller<'a>(&'a self, site: &'a Site, access: Option<&'a Access>) -> Caller<'a> {
        Caller {
            site,
            token: access.map(|access| &access.token),
            cookie: access
                .map(|access| &access.cookie)
                .or(self.parts.cookie.as_ref()),
            device: self.device.as_ref().map(|it| it.cookies(unix_ms())),
            bx_ua: self.parts.bx_ua.as_ref(),
        }
    }

    /// When a new token must be pasted, in Unix seconds. `None` where a login brings the next one.
    pub(super) fn end(&self) -> Option<u64> {
        if self.login.is_some() {
            return None;
        }
        self.tokens.latest()?.expires
    }

    /// Of the same number: a login's mistakes are looked for where it was written.
    /// The variables to look at when a login is refused.
    pub(super) fn login_variable(&self) -> String {
        let number = self.variable.strip_prefix(AUTHORIZATION);
        let number = number.or_else(|| self.variable.strip_prefix(COOKIE));
        let number = number.or_else(|| self.variable.strip_prefix(EMAIL));
        format!("{EMAIL}{}", number.unwrap_or_default())
    }
}

fn access(cookie: Option<&Secret>, token: Secret) -> Access {
    let cookie = cookie.map(Secret::expose);
    Access {
        cookie: Secret::new(cookie_with(cookie, token.expose())),
        expires: Claims::read(token.expose()).and_then(|claims| claims.expires()),
        token,
    }
}

/// The tokens of an account: the pasted one until it ends, then those of its login. Each login is one more that the service
/// counts, so the last one's token is kept; another token or login in the variables is another account.
fn tokens(
    parts: &Parts,
    login: Option<&Login>,
    kept: &Kept,
    patience: Patience,
) -> Rotating<Access> {
    let pace = HalfOpen::new(patience);
    let Some(login) = login else {
        // [`accounts`] has told of an account with neither token nor login.
        let token = parts.token.clone().unwrap_or_default();
        let grant = Grant::constant(NAME, token.clone(), Kept::default());
        return Rotating::fixed(grant, access(parts.cookie.as_ref(), token), pace);
    };
    let pasted = parts.token.as_ref().map_or("", Secret::expose);
    let (email, password) = (login.email.expose(), login.password.expose());
    // By all three: another token or password in the variables is another account, with no token kept.
    let whole = Secret::new(format!("{pasted}\n{email}\n{password}"));
    let grant = Grant::constant(NAME, whole, kept.clone());
    // The last login's before the pasted one: it is newer, and each further login counts (section 2.2).
    let newest = grant.kept().or_else(|| parts.token.clone());
    let cookie = parts.cookie.clone();
    let tokens = Rotating::new(grant, MARGIN, pace).carrying(
        |access: &Access| Some(access.token.expose().to_owned()),
        move |token| Some(access(cookie.as_ref(), Secret::new(token))),
    );
    if let Some(token) = newest {
        let access = access(parts.cookie.as_ref(), token);
        let expires = access.expires;
        // Held whatever it has left: [`Rotating`] renews it when [`MARGIN`] says so.
        tokens.hold(access, expires);
    }
    tokens
}

/// All accounts of the environment: everything of one number is one account; further tokens between commas are accounts
/// of their own.
pub(super) fn accounts(
    vars: &Vars,
    kept: &Kept,
    patience: Patience,
    problems: &mut Problems,
) -> Vec<(usize, Account)> {
    // `INTL_BX_UA` is none of them: it is no credential.
    let names = [AUTHORIZATION, COOKIE, EMAIL];
    let numbers: BTreeSet<usize> = names
        .iter()
        .flat_map(|name| vars.numbered(name))
        .map(|(number, _)| number)
        .collect();
    let tells_of_device = vars.switch("QWEN_INTL_DEVICE_COOKIES", true, problems);
    let (mut accounts, mut more): (Vec<(usize, Account)>, Vec<Account>) = Default::default();
    for number in numbers {
        let get = |name: &str| value(vars, name, number);
        // Only the first: what follows is of other accounts, which the cookie does not belong to.
        let (first, rest) = pasted_tokens(get(AUTHORIZATION).as_deref());
        let variable = names.iter().find(|name| get(name).is_some());
        let variable = pasted::variable(vars, variable.unwrap_or(&AUTHORIZATION), number);
        let cookie = get(COOKIE).map(|cookie| whole_cookie(&cookie));
        let in_cookie = cookie.as_deref().and_then(token_of);
        let parts = Parts {
            token: chosen(first, in_cookie, &variable, problems).map(Secret::new),
            // A bare token is no cookie.
            cookie: cookie.filter(|it| it.contains('=')).map(Secret::new),
            bx_ua: get("INTL_BX_UA").map(|text| Secret::new(pasted::credential(&text))),
        };
        let login = login(vars, number, problems);
        // Only where the page's own are missing, and nobody could paste them anew (section 6.4).
        let is_bare = cookie_lacks(parts.cookie.as_ref(), device::ITNA);
        let device = (tells_of_device && is_bare && login.is_some()).then(Arc::default);
        if parts.token.is_none() && login.is_none() {
            problems.push(format!("{variable} holds no token"));
            continue;
        }
        let of = |parts: Parts, login: Option<Login>, device: Option<Arc<Device>>| Account {
            tokens: tokens(&parts, login.as_ref(), kept, patience),
            variable: variable.clone(),
            login,
            parts,
            device,
        };
        accounts.push((number, of(parts, login, device)));
        more.extend(rest.into_iter().map(|token| {
            let token = Some(Secret::new(token));
            of(
                Parts {
                    token,
                    ..Parts::default()
                },
                None,
                None,
            )
        }));
    }
    for account in more {
        // A list may repeat the token of a number of its own.
        let is_known = |known: &Account| known.parts.token == account.parts.token;
        if !accounts.iter().any(|(_, known)| is_known(known)) {
            // Behind all numbers that are in use: they are labels, and two accounts must not share one.
            let last = accounts.iter().map(|(number, _)| *number).max();
            accounts.push((last.unwrap_or_default() + 1, account));
        }
    }
    for (number, account) in &accounts {
        let token = account.parts.token.as_ref().map_or("", Secret::expose);
        // Not refused, only told of: it would fail as a header at the first call.
        if !token.chars().all(|c| c.is_ascii_graphic()) {
            problems.push(format!(
                "{}: the token of account {number} holds characters that no token has",
                account.variable
            ));
        }
    }
    accounts
}

/// The value of a variable's number, as `numbered` counts: `NAME_1` is another name of `NAME`.
fn value(vars: &Vars, name: &str, number: usize) -> Option<String> {
    let mut all = vars.numbered(name).into_iter();
    all.find(|(known, _)| *known == number)
        .map(|(_, value)| value)
}

fn cookie_lacks(cookie: Option<&Secret>, name: &str) -> bool {
    cookie.is_none_or(|cookie| pasted::cookie(cookie.expose(), name).is_none())
}

fn pasted_tokens(text: Option<&str>) -> (Option<String>, Vec<String>) {
    let mut tokens = text
        .map(|text| pasted::values(text, &SHAPES))
        .unwrap_or_default()
        .into_iter();
    (tokens.next(), tokens.collect())
}

/// A cookie as the header has it: without the header's name, or of a list as browsers' extensions export it.
fn whole_cookie(pasted: &str) -> String {
    let text = pasted::credential(pasted);
    pasted::exported(&text).unwrap_or(text)
}

/// The token in a cookie; a bare token in a cookie's place is one.
fn token_of(cookie: &str) -> Option<String> {
    let found = pasted::cookie(cookie, TOKEN).filter(|token| !token.is_empty());
    let bare = || Some(cookie).filter(|it| Claims::read(it).is_some());
    found.or_else(bare).map(str::to_owned)
}

/// Of two different tokens the one that ends later (section 2).
fn chosen(
    header: Option<String>,
    in_cookie: Option<String>,
    variable: &str,
    problems: &mut Problems,
) -> Option<String> {
    let (Some(header), Some(in_cookie)) = (header.clone(), in_cookie.clone()) else {
        // Section 2: either alone will do.
        return header.or(in_cookie);
    };
    if header == in_cookie {
        return Some(header);
    }
    problems.warn(format!(
        "{variable} and the cookie beside it hold different tokens: the one that ends later is used"
    ));
    let end = |token: &str| Claims::read(token).and_then(|claims| claims.expires());
    // A token that does not say when it ends is taken for one that ends first.
    Some(if end(&in_cookie) > end(&header) {
        in_cookie
    } else {
        header
    })
}

/// The cookie header that goes with a token: as it was pasted wherever it holds that token or none.
fn cookie_with(cookie: Option<&str>, token: &str) -> String {
    let Some(cookie) = cookie else {
        return format!("{TOKEN}={token}");
    };
    match pasted::cookie(cookie, TOKEN) {
        // Byte for byte otherwise (section 2): the firewall has signed other parts of it.
        Some(old) if old != token && !old.is_empty() => {
            // With its name, so that no other value that happens to be the same is touched.
            let (old, new) = (format!("{TOKEN}={old}"), format!("{TOKEN}={token}"));
            cookie.replace(&old, &new)
        }
        _ => cookie.to_owned(),
    }
}

fn login(vars: &Vars, number: usize, problems: &mut Problems) -> Option<Login> {
    let email = value(vars, EMAIL, number)?;
    let Some(password) = value(vars, PASSWORD, number) else {
        let email = pasted::variable(vars, EMAIL, number);
        // The rest of the number may still be an account by its token.
        problems.push(format!("{PASSWORD} is missing beside {email}"));
        return None;
    };
    Some(Login {
        // Of the password blanks may be a part.
        email: Secret::new(email.trim()),
        password: Secret::new(password),
    })
}

/// The moment of a call. Clock and randomness are the flow's to have; codecs are handed them.
pub(super) fn moment() -> Moment {
    Moment {
        unix_ms: unix_ms(),
        request_id: Uuid::new_v4(),
    }
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
