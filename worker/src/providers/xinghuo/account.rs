//! The credential: a browser's cookie, and perhaps the token that the page sent with a question of the classic form.
//! Source: `wire/xinghuo.md` section 2.

use super::{
    NAME,
    form::{Answered, Form},
};
use crate::impossible::OrImpossible as _;
use crate::{
    accounts::{
        Fingerprint, Known, Secret,
        pasted::{self, credential},
    },
    settings::{Problems, Vars},
};

const COOKIE: &str = "XINGHUO_COOKIE";
const GT_TOKEN: &str = "GT_TOKEN";
/// The one cookie that matters.
const SESSION: &str = "ssoSessionId=";

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// The `Cookie` header, as pasted.
    pub(super) cookie: Secret,
    /// The `GtToken` form field, byte for byte.
    pub(super) gt_token: Option<Secret>,
    /// Which variable to renew.
    pub(super) variable: String,
    /// The form that the service last answered.
    pub(super) answered: Answered,
}

impl Known for Account {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(NAME, &Secret::new(self.session()))
    }

    fn variable(&self) -> &str {
        &self.variable
    }
}

impl Account {
    /// What tells accounts apart upstream: the login, or the whole cookie where it names none.
    pub(super) fn session(&self) -> &str {
        let cookie = self.cookie.expose();
        cookie
            .split(';')
            .find_map(|pair| pair.trim().strip_prefix(SESSION))
            .unwrap_or(cookie)
    }

    /// The form to ask in: the one that was answered; before that the classic one where there is a token for it.
    pub(super) fn form(&self) -> Form {
        let configured = if self.gt_token.is_some() {
            Form::Classic
        } else {
            Form::Spark
        };
        self.answered.get().unwrap_or(configured)
    }
}

/// One value of a variable that may be numbered and may hold several, one a line.
struct Pasted {
    number: usize,
    line: usize,
    variable: String,
    value: String,
}

/// All accounts of the environment: those with a cookie (section 7, last row). A first line has its variable's number;
/// further lines are numbered after all variables, in their order.
pub(super) fn accounts(vars: &Vars, problems: &mut Problems) -> Vec<(usize, Account)> {
    let (cookies, tokens) = (pasted(vars, COOKIE), pasted(vars, GT_TOKEN));
    // Further lines are accounts too, and have no number of their own.
    let mut next = cookies.iter().map(|cookie| cookie.number).max();
    let mut accounts = Vec::new();
    for cookie in &cookies {
        let number = if cookie.line == 1 {
            cookie.number
        } else {
            let number = next.unwrap_or_default() + 1;
            next = Some(number);
            number
        };
        // Told at start, as it would fail in every call.
        if cookie.value.chars().any(char::is_control) {
            problems.push(format!(
                "{} holds control characters, which no header can carry",
                cookie.variable
            ));
        }
        accounts.push((
            number,
            Account {
                cookie: Secret::new(header(&cookie.value)),
                gt_token: token(&tokens, cookie).map(|token| Secret::new(&token.value)),
                variable: cookie.variable.clone(),
                answered: Answered::default(),
            },
        ));
    }
    // In the order of the variables, whatever lines came between them.
    accounts.sort_by_key(|(number, _)| *number);
    accounts
}

/// The token pasted in the same place as the cookie; else any, as none is bound to an account (section 2).
fn token<'a>(tokens: &'a [Pasted], cookie: &Pasted) -> Option<&'a Pasted> {
    let at = |number, line| {
        tokens
            .iter()
            .find(move |token| token.number == number && token.line == line)
    };
    // The same place first: who pastes line by line means the pairs.
    at(cookie.number, cookie.line)
        .or_else(|| at(cookie.number, 1))
        .or_else(|| tokens.first())
}

/// A value without `=` is a bare ssoSessionId (section 2).
fn header(value: &str) -> String {
    if value.contains('=') {
        value.to_owned()
    } else {
        format!("{SESSION}{value}")
    }
}

fn pasted(vars: &Vars, name: &str) -> Vec<Pasted> {
    let mut found = Vec::new();
    for (number, _) in vars.numbered(name) {
        let variable = pasted::variable(vars, name, number);
        let lines = vars
            .get(&variable)
            .or_impossible("`numbered` has found it")
            .lines()
            .map(credential)
            .filter(|line| !line.is_empty());
        for (at, value) in lines.enumerate() {
            let line = at + 1;
            found.push(Pasted {
                number,
                line,
                variable: if line == 1 {
                    variable.clone()
                } else {
                    format!("{variable} (line {line})")
                },
                value,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Vec<(usize, String, String, String)> {
        let (mut problems, vars) = (Problems::default(), Vars::new(pairs.iter().copied()));
        let accounts = accounts(&vars, &mut problems);
        assert!(problems.errors.is_empty(), "{problems:?}");
        accounts
            .into_iter()
            .map(|(number, account)| {
                (
                    number,
                    account.cookie.expose().to_owned(),
                    account
                        .gt_token
                        .map(|token| token.expose().to_owned())
                        .unwrap_or_default(),
                    account.variable,
                )
            })
            .collect()
    }

    fn row(
        number: usize,
        cookie: &str,
        token: &str,
        variable: &str,
    ) -> (usize, String, String, String) {
        (number, cookie.into(), token.into(), variable.into())
    }

    #[test]
    fn a_value_without_equals_sign_is_a_bare_session() {
        assert_eq!(
            read(&[("XINGHUO_COOKIE", " 'abc-1' "), ("GT_TOKEN", "R0++/==")]),
            [row(1, "ssoSessionId=abc-1", "R0++/==", "XINGHUO_COOKIE")]
        );
        assert_eq!(
            read(&[("XINGHUO_COOKIE", "a=b; ssoSessionId=c"), ("GT_TOKEN", "t")]),
            [row(1, "a=b; ssoSessionId=c", "t", "XINGHUO_COOKIE")]
        );
    }

    #[test]
    fn tokens_belong_to_the_cookie_of_their_number_and_line_or_to_all() {
        let accounts = read(&[
            ("XINGHUO_COOKIE", "a=1\r\n\n a=2\na=3"),
            ("XINGHUO_COOKIE_2", "b=1"),
            ("XINGHUO_COOKIE_4", "d=1"),
            ("GT_TOKEN", "t1\nt2"),
            ("GT_TOKEN_2", "u"),
        ]);
        assert_eq!(
            accounts,
            [
                row(1, "a=1", "t1", "XINGHUO_COOKIE"),
                row(2, "b=1", "u", "XINGHUO_COOKIE_2"),
                row(4, "d=1", "t1", "XINGHUO_COOKIE_4"),
                row(5, "a=2", "t2", "XINGHUO_COOKIE (line 2)"),
                row(6, "a=3", "t1", "XINGHUO_COOKIE (line 3)"),
            ]
        );
    }

    #[test]
    fn a_cookie_alone_is_an_account_and_a_token_alone_is_none() {
        let alone = [row(1, "a=b", "", "XINGHUO_COOKIE")];
        assert_eq!(read(&[("XINGHUO_COOKIE", "a=b")]), alone);
        assert_eq!(
            read(&[("XINGHUO_COOKIE", "a=b"), ("GT_TOKEN", " '' ")]),
            alone
        );
        assert!(read(&[("GT_TOKEN", "t")]).is_empty());
    }

    #[test]
    fn the_form_is_what_was_answered_else_what_there_is_a_token_for() {
        let of = |pairs: &[(&str, &str)]| {
            accounts(&Vars::new(pairs.iter().copied()), &mut Problems::default())
                .remove(0)
                .1
        };
        let (new, old) = (
            of(&[("XINGHUO_COOKIE", "a=b")]),
            of(&[("XINGHUO_COOKIE", "a=b"), ("GT_TOKEN", "t")]),
        );
        assert_eq!((new.form(), old.form()), (Form::Spark, Form::Classic));
        old.answered.set(Form::Spark);
        assert_eq!(old.form(), Form::Spark);
        assert_eq!(
            old,
            of(&[("XINGHUO_COOKIE", "a=b"), ("GT_TOKEN", "t")]),
            "the same account"
        );
    }

    #[test]
    fn control_characters_are_a_problem_that_names_the_variable() {
        let (mut problems, vars) = (
            Problems::default(),
            Vars::new([("XINGHUO_COOKIE", "a=b\u{7}c"), ("GT_TOKEN", "t")]),
        );
        accounts(&vars, &mut problems);
        assert_eq!(problems.errors.len(), 1);
        assert!(
            problems.errors[0].contains("XINGHUO_COOKIE") && !problems.errors[0].contains("a=b")
        );
    }

    #[test]
    fn debug_shows_neither_cookie_nor_token() {
        let vars = Vars::new([
            ("XINGHUO_COOKIE", "ssoSessionId=geheim"),
            ("GT_TOKEN", "verborgen"),
        ]);
        let shown = format!("{:?}", accounts(&vars, &mut Problems::default()));
        assert!(
            !shown.contains("geheim") && !shown.contains("verborgen"),
            "{shown}"
        );
    }
}
