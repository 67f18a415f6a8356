//! The credential: a browser's cookie and the token that proves it. Source: `wire/qwen.md` section 2.

use std::sync::{Arc, LazyLock};

use ring::digest;
use uuid::Uuid;

use super::{NAME, chat2::Standing};
use crate::{
    accounts::{Fingerprint, Known, Secret},
    impossible::OrImpossible as _,
    settings::{Problems, Vars},
};

/// A bare ticket longer than this is one of an Aliyun login (section 2.2).
const LONGEST_TONGYI_TICKET: usize = 100;

/// Sent when the cookie holds no token of its own (section 2.2); the same for the life of the process.
static SPARE_XSRF_TOKEN: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().to_string());

/// The cookie that proves the login, in both generations.
const TICKET: &str = "tongyi_sso_ticket";

/// One account of the domestic site.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// The `Cookie` header, byte for byte as pasted.
    pub(super) cookie: Secret,
    /// The `X-Xsrf-Token` header.
    pub(super) xsrf_token: Secret,
    /// The token is our own invention: the cookie has none. The chat2 generation is sent none then (section 11.6).
    pub(super) is_xsrf_spare: bool,
    /// Which variable to renew.
    pub(super) variable: String,
    /// `ut` and `x-device-id` of the chat2 generation: the same over restarts (section 2.1).
    pub(super) device: String,
    /// What the chat2 generation has given this account while the worker runs.
    pub(super) standing: Arc<Standing>,
}

impl PartialEq for Account {
    /// What was pasted; the standing is kept with it.
    fn eq(&self, other: &Self) -> bool {
        self.cookie == other.cookie
            && self.xsrf_token == other.xsrf_token
            && self.variable == other.variable
            && self.device == other.device
    }
}

impl Known for Account {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(NAME, &self.cookie)
    }

    fn variable(&self) -> &str {
        &self.variable
    }
}

impl Account {
    fn new(cookie: String, xsrf_token: Option<String>, variable: &str) -> Self {
        let is_xsrf_spare = xsrf_token.is_none();
        Self {
            // Of the ticket where there is one: a cookie's other parts change with every visit.
            device: device(&cookie).to_string(),
            cookie: Secret::new(cookie),
            xsrf_token: Secret::new(xsrf_token.unwrap_or_else(|| SPARE_XSRF_TOKEN.clone())),
            is_xsrf_spare,
            variable: variable.to_owned(),
            standing: Arc::default(),
        }
    }

    /// A value of the cookie; empty when it has none of that name.
    pub(super) fn cookie(&self, name: &str) -> &str {
        value(self.cookie.expose(), name).unwrap_or_default()
    }

    /// What to do when the service does not accept the credential (sections 2.2, 11.9).
    pub(super) fn remedy(&self) -> String {
        let site = "www.qianwen.com";
        if self.cookie(TICKET).is_empty() {
            format!(
                "{} has no cookie {TICKET}; log in at {site} and paste the whole cookie header, which holds it",
                self.variable
            )
        } else {
            format!(
                "{} was refused; log in again at {site} and paste the new cookie",
                self.variable
            )
        }
    }
}

/// A UUID that depends on the login alone.
fn device(cookie: &str) -> Uuid {
    let ticket = value(cookie, TICKET).or_else(|| value(cookie, "login_aliyunid_ticket"));
    let seed = format!("hive2api device {}", ticket.unwrap_or(cookie));
    let digest = digest::digest(&digest::SHA256, seed.as_bytes());
    let bytes = digest
        .as_ref()
        .first_chunk()
        .copied()
        .or_impossible("a SHA-256 digest has 32 bytes");
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn value<'a>(cookie: &'a str, name: &str) -> Option<&'a str> {
    cookie
        .split(';')
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// All accounts of the environment. Account 1 is `QWEN_TOKEN` where there is no `CN_ACCOUNT_1_COOKIE` (section 2.1).
pub(super) fn accounts(vars: &Vars, problems: &mut Problems) -> Vec<(usize, Account)> {
    let mut accounts = Vec::new();
    // Section 2.1: with both set the older name is not used.
    if vars.get("CN_ACCOUNT_1_COOKIE").is_none()
        && let Some(token) = vars.pasted("QWEN_TOKEN")
    {
        accounts.push((1, from_token(&token)));
    }
    for number in vars.numbers("CN_ACCOUNT_", "_COOKIE") {
        let variable = format!("CN_ACCOUNT_{number}_COOKIE");
        let Some(cookie) = vars.pasted(&variable) else {
            continue;
        };
        // First as set: the cookie's own may be of an older visit.
        let token = vars.pasted(&format!("CN_ACCOUNT_{number}_XSRF_TOKEN"));
        // Without either token the account counts as not configured (section 3).
        let Some(xsrf_token) = token.or_else(|| xsrf_token(&cookie)) else {
            problems.warn(format!("CN_ACCOUNT_{number}_XSRF_TOKEN is empty and the cookie has none: the account is not used"));
            continue;
        };
        let account = Account::new(cookie, Some(xsrf_token), &variable);
        accounts.push((number, account));
    }
    let devices = vars.numbered("QWEN_DEVICE_ID");
    for (number, account) in &mut accounts {
        if let Some((_, device)) = devices.iter().find(|(of, _)| of == number) {
            account.device.clone_from(device);
        }
        // Told at start: as a header it would fail at the first question.
        let has_control = |secret: &Secret| secret.expose().chars().any(char::is_control);
        if has_control(&account.cookie)
            || has_control(&account.xsrf_token)
            || account.device.chars().any(char::is_control)
        {
            problems.push(format!(
                "{}: account {number} holds control characters, which no header can carry",
                account.variable
            ));
        }
    }
    accounts
}

/// The three shapes of `QWEN_TOKEN`: a whole cookie, one `name=value`, a bare ticket (section 2.2).
fn from_token(token: &str) -> Account {
    let cookie = if token.contains('=') {
        token.to_owned()
    } else if token.len() > LONGEST_TONGYI_TICKET {
        // Section 2.2: such a ticket goes by another name, and only its length tells.
        format!("login_aliyunid_ticket={token}")
    } else {
        format!("tongyi_sso_ticket={token}")
    };
    let xsrf_token = xsrf_token(&cookie);
    Account::new(cookie, xsrf_token, "QWEN_TOKEN")
}

/// The `XSRF-TOKEN` cookie, URL-decoded (section 2.2).
fn xsrf_token(cookie: &str) -> Option<String> {
    let value = value(cookie, "XSRF-TOKEN")?;
    // Lossy: a token that is no UTF-8 is refused by the service, which says so better than we could.
    let decoded = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
    Some(decoded.into_owned()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(pairs: &[(&str, &str)]) -> Account {
        let (mut problems, vars) = (Problems::default(), Vars::new(pairs.iter().copied()));
        let accounts = accounts(&vars, &mut problems);
        assert!(problems.errors.is_empty(), "{problems:?}");
        accounts.into_iter().next().unwrap().1
    }

    /// The vectors of wire/qwen.md section 6.
    #[test]
    fn derives_cookie_and_token_as_the_vectors_say() {
        for (cookie, token) in [
            (
                "XSRF-TOKEN=48b9ee49-a184-45e2-9f67-fa87213edcdc",
                "48b9ee49-a184-45e2-9f67-fa87213edcdc",
            ),
            ("a=b; XSRF-TOKEN=sim%2F03%2Btoken%3D; c=d", "sim/03+token="),
        ] {
            assert_eq!(
                one(&[("CN_ACCOUNT_1_COOKIE", cookie)]).xsrf_token.expose(),
                token
            );
        }
        assert_eq!(
            one(&[("QWEN_TOKEN", "abc$def*1")]).cookie.expose(),
            "tongyi_sso_ticket=abc$def*1"
        );
        let long = "x".repeat(101);
        assert_eq!(
            one(&[("QWEN_TOKEN", &long)]).cookie.expose(),
            format!("login_aliyunid_ticket={long}")
        );
        let single = one(&[("QWEN_TOKEN", "\"XSRF-TOKEN=a%3Db\"")]);
        assert_eq!(
            (single.cookie.expose(), single.xsrf_token.expose()),
            ("XSRF-TOKEN=a%3Db", "a=b")
        );
    }

    #[test]
    fn cookie_beats_token_and_its_own_token_beats_the_cookies() {
        let account = one(&[
            ("CN_ACCOUNT_1_COOKIE", "ünï=1; XSRF-TOKEN=a"),
            ("CN_ACCOUNT_1_XSRF_TOKEN", "b"),
            ("QWEN_TOKEN", "t"),
        ]);
        assert_eq!(
            (account.cookie.expose(), account.xsrf_token.expose()),
            ("ünï=1; XSRF-TOKEN=a", "b")
        );
    }

    #[test]
    fn the_device_stays_with_the_login() {
        let device = |pairs: &[(&str, &str)]| one(pairs).device;
        let first = device(&[("QWEN_TOKEN", "ticket-1")]);
        let cookie = "x=y; tongyi_sso_ticket=ticket-1; XSRF-TOKEN=a";
        assert_eq!(device(&[("CN_ACCOUNT_1_COOKIE", cookie)]), first);
        assert_ne!(device(&[("QWEN_TOKEN", "ticket-2")]), first);
        assert!(Uuid::parse_str(&first).is_ok());
        let set = [("QWEN_TOKEN", "ticket-1"), ("QWEN_DEVICE_ID", "mine")];
        assert_eq!(device(&set), "mine");
        let second = [
            ("CN_ACCOUNT_2_COOKIE", cookie),
            ("QWEN_DEVICE_ID", "mine"),
            ("QWEN_DEVICE_ID_2", "other"),
        ];
        assert_eq!(device(&second), "other");
    }

    #[test]
    fn the_remedy_names_what_is_missing() {
        let hash = "tongyi_sso_ticket_hash=tytk_hash:0; XSRF-TOKEN=a";
        let account = one(&[("CN_ACCOUNT_1_COOKIE", hash)]);
        assert_eq!(account.cookie("tongyi_sso_ticket_hash"), "tytk_hash:0");
        assert!(account.remedy().contains("no cookie tongyi_sso_ticket"));
        let account = one(&[("QWEN_TOKEN", "t")]);
        assert!(account.is_xsrf_spare && account.remedy().starts_with("QWEN_TOKEN was refused"));
    }

    #[test]
    fn an_account_without_any_token_is_not_configured() {
        let vars = Vars::new([
            ("CN_ACCOUNT_2_COOKIE", "a=b"),
            ("CN_ACCOUNT_3_COOKIE", ""),
            ("CN_ACCOUNT_3_XSRF_TOKEN", "x"),
        ]);
        assert!(accounts(&vars, &mut Problems::default()).is_empty());
    }
}
