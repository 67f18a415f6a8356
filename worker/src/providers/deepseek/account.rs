//! The credential: a pasted token, a login, or both. Source: `wire/deepseek.md` section 2.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::{
    NAME, identity,
    session::{Logins, Token},
};
use crate::{
    accounts::{
        Fingerprint, Kept, Known, Secret,
        pasted::{self, Shapes},
        rotating::{Grant, Rotating},
    },
    settings::{Problems, Vars},
};

/// What the site keeps in Local Storage.
const SHAPES: Shapes = Shapes {
    cookies: &[],
    members: &["value"],
};

/// One account. Two are equal when they were configured alike, whatever has happened to them since.
#[derive(Clone)]
pub(super) struct Account {
    /// The pasted token.
    pub(super) token: Option<Secret>,
    /// What to log in with when there is no token, or it is refused.
    pub(super) login: Option<Login>,
    /// The variable that a token is pasted into.
    pub(super) variable: String,
    /// What the service knows the client by besides.
    pub(super) device_id: String,
    /// The token in use.
    pub(super) tokens: Rotating<Token, Logins>,
    /// When the last question was asked.
    asked: Arc<Mutex<Option<Instant>>>,
}

/// Name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) name: Name,
    pub(super) password: Secret,
    /// What the site's risk script calls the browser; mostly empty, and then mostly refused.
    pub(super) device_id: String,
}

/// Who logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Email(Secret),
    Mobile { area_code: String, number: Secret },
}

impl Account {
    fn new(
        token: Option<Secret>,
        login: Option<Login>,
        variable: String,
        device_id: String,
        kept: &Kept,
    ) -> Self {
        Self {
            tokens: tokens(token.as_ref(), login.as_ref(), &variable, kept),
            token,
            login,
            variable,
            device_id,
            asked: Arc::default(),
        }
    }

    /// Waits until a question may be asked: as long after the last one as `pause` says (section 8, "Pace").
    pub(super) async fn keep_pace(&self, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        // Held over the wait: who comes next waits behind it, and takes its own pause from there.
        let mut asked = self.asked.lock().await;
        if let Some(last) = *asked {
            tokio::time::sleep_until((last + pause).into()).await;
        }
        // When this question starts, not when the last one was answered.
        *asked = Some(Instant::now());
    }
}

impl Login {
    fn name(&self) -> &str {
        match &self.name {
            Name::Email(name) | Name::Mobile { number: name, .. } => name.expose(),
        }
    }
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        let parts = |account: &Self| {
            (
                account.token.clone(),
                account.login.clone(),
                account.variable.clone(),
                account.device_id.clone(),
            )
        };
        // Not what has happened since, nor the rotating tokens: a reload with the same variables changes nothing.
        parts(self) == parts(other)
    }
}

impl Known for Account {
    fn fingerprint(&self) -> Fingerprint {
        self.tokens.fingerprint()
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

/// All accounts of the environment: `DEEPSEEK_TOKEN`, `DEEPSEEK_TOKEN_2`, …, each with one token or several between
/// commas, and the logins of the same numbers.
pub(super) fn accounts(vars: &Vars, kept: &Kept, problems: &mut Problems) -> Vec<(usize, Account)> {
    let mut accounts: Vec<(usize, Account)> = Vec::new();
    let mut more: Vec<Account> = Vec::new();
    for (number, value) in vars.numbered("DEEPSEEK_TOKEN") {
        let variable = suffixed("DEEPSEEK_TOKEN", number);
        // Several between commas: the first has the number, and what goes with the number.
        let mut tokens = pasted::values(&value, &SHAPES).into_iter();
        let login = login(vars, number, problems);
        let of = |token: String, login, device: Option<String>| {
            let device = device.unwrap_or_else(|| identity::device_of(&token));
            let token = Some(Secret::new(token));
            Account::new(token, login, variable.clone(), device, kept)
        };
        match tokens.next() {
            Some(first) => {
                accounts.push((number, of(first, login, device(vars, number, problems))));
            }
            None => problems.push(format!("{variable} holds no token")),
        }
        more.extend(tokens.map(|token| of(token, None, None)));
    }
    for name in ["DEEPSEEK_EMAIL", "DEEPSEEK_MOBILE"] {
        for (number, _) in vars.numbered(name) {
            // A login beside a token is a part of that account, not one of its own.
            if accounts.iter().any(|(known, _)| *known == number) {
                continue;
            }
            if let Some(login) = login(vars, number, problems) {
                let device = device(vars, number, problems);
                let device = device.unwrap_or_else(|| identity::device_of(login.name()));
                let variable = suffixed("DEEPSEEK_TOKEN", number);
                let account = Account::new(None, Some(login), variable, device, kept);
                accounts.push((number, account));
            }
        }
    }
    for account in more {
        let is_known = accounts
            .iter()
            .any(|(_, known)| known.token == account.token);
        if !is_known {
            // Behind all numbers that are in use: they are labels.
            let number = accounts.iter().map(|(number, _)| *number).max();
            accounts.push((number.unwrap_or_default() + 1, account));
        }
    }
    for (number, account) in &accounts {
        let token = account.token.as_ref().map_or("", Secret::expose);
        // Only told of: it would fail as a header at the first call.
        if !token.chars().all(|c| c.is_ascii_graphic()) {
            problems.push(format!(
                "{}: the token of account {number} holds characters that no token has",
                account.variable
            ));
        }
    }
    accounts
}

/// The tokens of an account: the pasted one as long as it is accepted, then those of its login. Each login is one more that
/// the service counts, so the last one's token is kept; another token or login in the variables is another account.
fn tokens(
    token: Option<&Secret>,
    login: Option<&Login>,
    variable: &str,
    kept: &Kept,
) -> Rotating<Token, Logins> {
    let pace = Logins::new(variable.to_owned());
    let token = token.cloned();
    let Some(login) = login else {
        let token = token.unwrap_or_default();
        let grant = Grant::constant(NAME, token.clone(), Kept::default());
        return Rotating::fixed(grant, Token::new(token, None), pace);
    };
    let pasted = token.as_ref().map_or("", Secret::expose);
    let whole = format!("{pasted}\n{}\n{}", login.name(), login.password.expose());
    let grant = Grant::constant(NAME, Secret::new(whole), kept.clone());
    // The kept one before the pasted: it came of the latest login, and each further login counts.
    let newest = grant.kept().or(token);
    // No margin: nothing says when a token ends (section 2).
    let tokens = Rotating::new(grant, Duration::ZERO, pace).carrying(
        |token: &Token| Some(token.secret.expose().to_owned()),
        |token| Some(Token::new(Secret::new(token), None)),
    );
    if let Some(newest) = newest {
        tokens.hold(Token::new(newest, None), None);
    }
    tokens
}

/// `DEEPSEEK_DEVICE_ID`.
fn device(vars: &Vars, number: usize, problems: &mut Problems) -> Option<String> {
    let variable = suffixed("DEEPSEEK_DEVICE_ID", number);
    let pasted = vars.pasted(&variable)?;
    let device = identity::device(&pasted);
    if device.is_none() {
        problems.push(format!("{variable} must be a UUID"));
    }
    device
}

fn login(vars: &Vars, number: usize, problems: &mut Problems) -> Option<Login> {
    let get = |name: &str| vars.pasted(&suffixed(name, number));
    let name = match (get("DEEPSEEK_EMAIL"), get("DEEPSEEK_MOBILE")) {
        // With both set the site takes the address.
        (Some(email), _) => Name::Email(Secret::new(email)),
        (None, Some(mobile)) => Name::Mobile {
            area_code: get("DEEPSEEK_AREA_CODE").unwrap_or_else(|| "+86".to_owned()),
            number: Secret::new(mobile),
        },
        (None, None) => return None,
    };
    let password = get("DEEPSEEK_PASSWORD");
    if password.is_none() {
        let variable = suffixed("DEEPSEEK_PASSWORD", number);
        problems.push(format!("{variable} is missing beside the login name"));
    }
    let device_id = get("DEEPSEEK_LOGIN_DEVICE_ID").unwrap_or_default();
    password.map(|password| Login {
        name,
        password: Secret::new(password),
        device_id,
    })
}

fn suffixed(name: &str, number: usize) -> String {
    if number == 1 {
        name.to_owned()
    } else {
        format!("{name}_{number}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Vec<(usize, String, bool)> {
        let (mut problems, vars) = (Problems::default(), Vars::new(pairs.iter().copied()));
        let accounts = accounts(&vars, &Kept::default(), &mut problems);
        assert!(problems.errors.is_empty(), "{problems:?}");
        let plain = |(number, account): (usize, Account)| {
            let token = account.token.map(|token| token.expose().to_owned());
            (number, token.unwrap_or_default(), account.login.is_some())
        };
        accounts.into_iter().map(plain).collect()
    }

    fn account(number: usize, token: &str, login: bool) -> (usize, String, bool) {
        (number, token.to_owned(), login)
    }

    #[test]
    fn takes_tokens_as_people_paste_them() {
        for pasted in [
            "abc+/=",
            " \"abc+/=\" ",
            "Bearer abc+/=",
            "bearer abc+/=",
            r#"{"value":"abc+/=","__version":"0"}"#,
        ] {
            assert_eq!(
                read(&[("DEEPSEEK_TOKEN", pasted)]),
                [account(1, "abc+/=", false)]
            );
        }
    }

    #[test]
    fn takes_several_accounts() {
        let accounts = read(&[
            ("DEEPSEEK_TOKEN", "a, b,,a"),
            ("DEEPSEEK_TOKEN_2", "c"),
            ("DEEPSEEK_EMAIL_2", "x@y"),
            ("DEEPSEEK_PASSWORD_2", "p"),
            ("DEEPSEEK_MOBILE_4", "123"),
            ("DEEPSEEK_PASSWORD_4", "p"),
        ]);
        let expected = [
            account(1, "a", false),
            account(2, "c", true),
            account(4, "", true),
            account(5, "b", false),
        ];
        assert_eq!(accounts, expected);
    }

    #[test]
    fn a_device_is_the_accounts_own_and_stays() {
        let devices = |pairs: &[(&str, &str)]| {
            let mut problems = Problems::default();
            let accounts = accounts(
                &Vars::new(pairs.iter().copied()),
                &Kept::default(),
                &mut problems,
            );
            let devices = accounts.into_iter().map(|(_, account)| account.device_id);
            (devices.collect::<Vec<_>>(), problems.errors.len())
        };
        let (both, _) = devices(&[("DEEPSEEK_TOKEN", "a,b")]);
        assert_ne!(both.first(), both.last());
        assert_eq!(devices(&[("DEEPSEEK_TOKEN", "a,b")]).0, both);
        let configured = "0B9C7C5E-1111-4222-8333-444455556666";
        let (named, _) = devices(&[
            ("DEEPSEEK_TOKEN", "a,b"),
            ("DEEPSEEK_DEVICE_ID", configured),
        ]);
        assert_eq!(named.first(), Some(&configured.to_lowercase()));
        assert_eq!(named.last(), both.last());
        let wrong = [("DEEPSEEK_TOKEN", "a"), ("DEEPSEEK_DEVICE_ID", "Bxyz")];
        assert_eq!(devices(&wrong).1, 1);
    }

    #[tokio::test]
    async fn keeps_the_pace() {
        let vars = Vars::new([("DEEPSEEK_TOKEN", "a")]);
        let (_, account) = accounts(&vars, &Kept::default(), &mut Problems::default()).remove(0);
        let (pause, start) = (Duration::from_millis(40), Instant::now());
        account.keep_pace(pause).await;
        assert!(start.elapsed() < pause);
        futures_util::future::join(account.keep_pace(pause), account.keep_pace(pause)).await;
        assert!(start.elapsed() >= pause * 2);
    }

    #[actix_web::test]
    async fn the_token_of_a_login_is_kept_until_the_variables_change() {
        let path = std::env::temp_dir().join(format!("hive2api-deepseek-{}", std::process::id()));
        let kept = Kept::in_file(path.clone());
        let token = |pasted: &str, password: &str| {
            let vars = Vars::new([
                ("DEEPSEEK_TOKEN", pasted),
                ("DEEPSEEK_EMAIL", "x@y"),
                ("DEEPSEEK_PASSWORD", password),
            ]);
            let (_, account) = accounts(&vars, &kept, &mut Problems::default()).remove(0);
            let latest = account.tokens.latest();
            latest.map(|token| token.secret.expose().to_owned())
        };
        assert_eq!(token("a", "p"), Some("a".to_owned()));
        assert_eq!(token("", "p"), None);
        let whole = Secret::new("a\nx@y\np");
        kept.keep(NAME, whole, Secret::new("of-the-login")).await;
        assert_eq!(token("a", "p"), Some("of-the-login".to_owned()));
        assert_eq!(token("b", "p"), Some("b".to_owned()));
        assert_eq!(token("a", "q"), Some("a".to_owned()));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn complains_about_half_a_login_and_strange_tokens() {
        let mut problems = Problems::default();
        accounts(
            &Vars::new([("DEEPSEEK_EMAIL", "x@y")]),
            &Kept::default(),
            &mut problems,
        );
        accounts(
            &Vars::new([("DEEPSEEK_TOKEN", "a b")]),
            &Kept::default(),
            &mut problems,
        );
        assert_eq!(problems.errors.len(), 2, "{problems:?}");
    }
}
