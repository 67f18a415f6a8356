//! The credential: the token and the device of a browser's `chat` request. Source: `wire/flowgpt.md` section 2.

use std::fmt;

use super::NAME;
use crate::{
    accounts::{
        Fingerprint, Known, Secret,
        jwt::Claims,
        pasted::{self, Shapes},
    },
    settings::{Problems, Vars},
};

const TOKEN: &str = "FLOWGPT_BEARER_TOKEN";
const DEVICE: &str = "FLOWGPT_DEVICE_ID";
const WAF_TOKEN: &str = "FLOWGPT_WAF_TOKEN";
/// The sample of the project that this variable comes from.
const SAMPLE_DEVICE: &str = "aORT9gbujH92iIVYYVcTE";
const SHAPES: Shapes = Shapes {
    cookies: &[],
    members: &["authorization", "token"],
};

/// One account.
#[derive(Clone, PartialEq)]
pub(super) struct Account {
    /// Which variable to renew.
    pub(super) variable: String,
    /// The `Authorization` header, with its `Bearer`: one of the signatures is over all of it.
    pub(super) authorization: Secret,
    /// `x-flow-device-id`.
    pub(super) device: Secret,
    /// `x-aws-waf-token`; never made, only replayed.
    pub(super) waf_token: Option<Secret>,
}

impl Account {
    /// When the token ends, where it says so.
    pub(super) fn end(&self) -> Option<u64> {
        // The header holds `Bearer` before the token.
        Claims::all_in(self.authorization.expose())
            .next()?
            .expires()
    }
}

impl Known for Account {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(NAME, &self.authorization)
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

/// All accounts of the environment ([`pasted::accounts`]), each with what else was pasted under its number.
pub(super) fn accounts(vars: &Vars, problems: &mut Problems) -> Vec<(usize, Account)> {
    let tokens = pasted::accounts(vars, TOKEN, &SHAPES, problems);
    // A browser has one device, whoever signs in: the first one serves every account that has none of its own.
    // Section 2: the seed's sample device, which all its users share.
    let device = part(vars, DEVICE, 1, problems).unwrap_or_else(|| SAMPLE_DEVICE.to_owned());
    let account = |(number, token): (usize, pasted::Pasted)| {
        // Number 1's is the shared one already.
        let own = if number == 1 {
            None
        } else {
            part(vars, DEVICE, number, problems)
        };
        let account = Account {
            authorization: Secret::new(format!("Bearer {}", token.value)),
            variable: token.variable,
            device: Secret::new(own.unwrap_or_else(|| device.clone())),
            waf_token: part(vars, WAF_TOKEN, number, problems).map(Secret::new),
        };
        (number, account)
    };
    tokens.into_iter().map(account).collect()
}

/// A variable beside a token, of the same number.
fn part(vars: &Vars, name: &str, number: usize, problems: &mut Problems) -> Option<String> {
    let variable = pasted::variable(vars, name, number);
    let value = vars.pasted(&variable)?;
    if value.chars().all(|c| c.is_ascii_graphic()) {
        return Some(value);
    }
    problems.push(format!(
        "{variable} holds a blank or a character that no header can carry"
    ));
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::jwt;

    type Row = (usize, String, String, Option<String>);

    fn read(pairs: &[(&str, &str)]) -> (Vec<Row>, Vec<String>) {
        let (vars, mut problems) = (Vars::new(pairs.iter().copied()), Problems::default());
        let plain = |(number, account): (usize, Account)| {
            let own = |secret: Secret| secret.expose().to_owned();
            (
                number,
                own(account.authorization),
                own(account.device),
                account.waf_token.map(own),
            )
        };
        let accounts = accounts(&vars, &mut problems);
        (accounts.into_iter().map(plain).collect(), problems.errors)
    }

    fn row(number: usize, token: &str, device: &str, waf: Option<&str>) -> Row {
        let token = format!("Bearer {token}");
        (number, token, device.to_owned(), waf.map(str::to_owned))
    }

    #[test]
    fn takes_what_people_paste() {
        for pasted in [
            "a.b.c",
            "Bearer a.b.c",
            "\"authorization: Bearer a.b.c\"",
            r#"{"authorization":"Bearer a.b.c"}"#,
        ] {
            let (accounts, problems) = read(&[
                ("FLOWGPT_BEARER_TOKEN", pasted),
                ("FLOWGPT_DEVICE_ID", "\"dev-0001\""),
            ]);
            assert_eq!(accounts, [row(1, "a.b.c", "dev-0001", None)], "{pasted}");
            assert!(problems.is_empty(), "{problems:?}");
        }
        let (accounts, _) = read(&[("FLOWGPT_BEARER_TOKEN", "a.b.c")]);
        assert_eq!(accounts, [row(1, "a.b.c", SAMPLE_DEVICE, None)]);
    }

    #[test]
    fn accounts_have_what_is_of_their_number() {
        let (accounts, problems) = read(&[
            ("FLOWGPT_BEARER_TOKEN", "a, b"),
            ("FLOWGPT_BEARER_TOKEN_2", "c"),
            ("FLOWGPT_DEVICE_ID", "one"),
            ("FLOWGPT_DEVICE_ID_2", "two"),
            ("FLOWGPT_WAF_TOKEN", "w1"),
            ("FLOWGPT_WAF_TOKEN_3", "w3"),
        ]);
        let expected = [
            row(1, "a", "one", Some("w1")),
            row(2, "c", "two", None),
            row(3, "b", "one", Some("w3")),
        ];
        assert_eq!(accounts, expected);
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn complains_without_repeating_the_value() {
        let (_, problems) = read(&[
            ("FLOWGPT_BEARER_TOKEN", "a.b.c"),
            ("FLOWGPT_DEVICE_ID", "gerät 12345"),
        ]);
        let expected = "FLOWGPT_DEVICE_ID holds a blank or a character that no header can carry";
        assert_eq!(problems, [expected]);
    }

    #[test]
    fn a_token_says_when_it_ends() {
        let end = |token: &str| {
            let vars = Vars::new([("FLOWGPT_BEARER_TOKEN", token)]);
            accounts(&vars, &mut Problems::default()).remove(0).1.end()
        };
        assert_eq!(
            end(&jwt::sample(r#"{"exp":1800000000}"#)),
            Some(1_800_000_000)
        );
        assert_eq!(end("opaque"), None);
    }
}
