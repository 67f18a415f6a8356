//! The credential: what one captured request holds. Source: `wire/ernie.md` section 2.

use std::fmt;

use super::NAME;
use crate::{
    accounts::{Fingerprint, Known, Secret, pasted},
    settings::{Problems, Vars},
};

const PREFIX: &str = "BAIDU_ACCOUNT_";
const COOKIE: &str = "_COOKIE";
/// The cookie of a login, in both spellings.
const LOGIN: [&str; 2] = ["BDUSS_BFESS", "BDUSS"];

/// One account. What is missing is empty.
#[derive(Clone, PartialEq)]
pub(super) struct Account {
    /// Which variable to renew: `BAIDU_ACCOUNT_1_COOKIE`.
    pub(super) variable: String,
    /// The `cookie` header.
    pub(super) cookie: Secret,
    /// `acs-token`. It lives for hours; some say that none is wanted any more.
    pub(super) acs_token: Secret,
    /// `sign`, of the same request.
    pub(super) sign: Secret,
    /// `jt`, likewise.
    pub(super) jt: Secret,
}

impl Known for Account {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(NAME, &self.cookie)
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

/// All accounts of the environment: those with a cookie.
pub(super) fn accounts(vars: &Vars, problems: &mut Problems) -> Vec<(usize, Account)> {
    let mut accounts = Vec::new();
    for number in vars.numbers(PREFIX, COOKIE) {
        let variable = format!("{PREFIX}{number}{COOKIE}");
        let Some(pasted) = vars.pasted(&variable) else {
            continue;
        };
        // Extensions export cookies as a list; the service wants the header that they make.
        let cookie = pasted::exported(&pasted).unwrap_or(pasted);
        let is_login = |name: &&str| pasted::cookie(&cookie, name).is_some_and(|it| !it.is_empty());
        if !LOGIN.iter().any(is_login) {
            problems.push(format!(
                "{variable} has no cookie BDUSS_BFESS; sign in at ernie.baidu.com and copy the whole cookie header"
            ));
            continue;
        }
        let part = |name: &str| {
            let value = vars.pasted(&format!("{PREFIX}{number}_{name}"));
            // Section 2: since 2026 some report answers without acs-token and sign, so neither has to be there.
            Secret::new(value.unwrap_or_default())
        };
        let account = Account {
            acs_token: part("ACS_TOKEN"),
            sign: part("SIGN"),
            jt: part("JT"),
            cookie: Secret::new(cookie),
            variable,
        };
        // `sign` and `jt` go into JSON, which can carry anything.
        let has_control = |secret: &Secret| secret.expose().chars().any(char::is_control);
        if has_control(&account.cookie) || has_control(&account.acs_token) {
            problems.push(format!(
                "{}: account {number} holds control characters, which no header can carry",
                account.variable
            ));
            continue;
        }
        accounts.push((number, account));
    }
    accounts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Vec<(usize, Account)>, Vec<String>) {
        let (vars, mut problems) = (Vars::new(pairs.iter().copied()), Problems::default());
        let accounts = accounts(&vars, &mut problems);
        (accounts, problems.errors)
    }

    #[test]
    fn takes_the_parts_of_one_request() {
        let cookie = "BAIDUID=a:FG=1; BDUSS_BFESS=b~c";
        for pasted in [
            cookie.to_owned(),
            format!("\"{cookie}\""),
            format!("Cookie: {cookie}"),
            r#"[{"name":"BAIDUID","value":"a:FG=1"},{"name":"BDUSS_BFESS","value":"b~c"}]"#
                .to_owned(),
        ] {
            let (accounts, problems) = read(&[
                ("BAIDU_ACCOUNT_1_COOKIE", &pasted),
                ("BAIDU_ACCOUNT_1_ACS_TOKEN", " 'acs_1' "),
                ("BAIDU_ACCOUNT_1_SIGN", "sign 1"),
                ("BAIDU_ACCOUNT_1_JT", "31$abc"),
            ]);
            assert!(problems.is_empty(), "{problems:?}");
            let [(1, account)] = accounts.as_slice() else {
                panic!("{accounts:?}");
            };
            let parts = [
                &account.cookie,
                &account.acs_token,
                &account.sign,
                &account.jt,
            ];
            let parts = parts.map(|secret| secret.expose());
            assert_eq!(parts, [cookie, "acs_1", "sign 1", "31$abc"], "{pasted}");
        }
    }

    #[test]
    fn a_cookie_is_enough_and_numbers_go_together() {
        let (accounts, problems) = read(&[
            ("BAIDU_ACCOUNT_2_COOKIE", "BDUSS=x"),
            ("BAIDU_ACCOUNT_12_COOKIE", "BDUSS=y"),
            ("BAIDU_ACCOUNT_12_SIGN", "s"),
            ("BAIDU_ACCOUNT_3_SIGN", "alone"),
        ]);
        assert!(problems.is_empty(), "{problems:?}");
        let plain: Vec<_> = accounts
            .iter()
            .map(|(number, it)| (*number, it.sign.expose(), it.variable.as_str()))
            .collect();
        assert_eq!(
            plain,
            [
                (2, "", "BAIDU_ACCOUNT_2_COOKIE"),
                (12, "s", "BAIDU_ACCOUNT_12_COOKIE")
            ]
        );
    }

    #[test]
    fn complains_without_repeating_the_value() {
        for cookie in [
            "BAIDUID=0123456789",
            "BDUSS_BFESS=; x=0123456789",
            "0123456789abcdef",
        ] {
            let (accounts, problems) = read(&[("BAIDU_ACCOUNT_1_COOKIE", cookie)]);
            assert!(accounts.is_empty() && problems.len() == 1, "{cookie}");
            assert!(
                problems[0].starts_with("BAIDU_ACCOUNT_1_COOKIE "),
                "{problems:?}"
            );
            assert!(!problems[0].contains("0123456789"), "{problems:?}");
        }
        let shown = format!("{:?}", read(&[("BAIDU_ACCOUNT_1_COOKIE", "BDUSS=geheim")]));
        assert!(!shown.contains("geheim"), "{shown}");
    }
}
