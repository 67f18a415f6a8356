//! The credential: a browser's cookie and the token that proves it. Source: `wire/qwen.md` section 2.

use std::sync::LazyLock;

use uuid::Uuid;

use crate::{accounts::Secret, settings::Vars};

/// A bare ticket longer than this is one of an Aliyun login (section 2.2).
const LONGEST_TONGYI_TICKET: usize = 100;

/// Sent when the cookie holds no token of its own (section 2.2); the same for the life of the process.
static SPARE_XSRF_TOKEN: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().to_string());

/// One account of the domestic site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// The `Cookie` header, byte for byte as pasted.
    pub(super) cookie: Secret,
    /// The `X-Xsrf-Token` header.
    pub(super) xsrf_token: Secret,
    /// Which variable to renew.
    pub(super) variable: String,
}

/// All accounts of the environment. Account 1 is `QWEN_TOKEN` where there is no `CN_ACCOUNT_1_COOKIE` (section 2.1).
pub(super) fn accounts(vars: &Vars, problems: &mut Vec<String>) -> Vec<(usize, Account)> {
    let mut accounts = Vec::new();
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
        let token = vars.pasted(&format!("CN_ACCOUNT_{number}_XSRF_TOKEN"));
        // Without either token the account counts as not configured (section 3).
        let Some(xsrf_token) = token.or_else(|| xsrf_token(&cookie)) else {
            tracing::warn!(
                account = number,
                "CN_ACCOUNT_{number}_XSRF_TOKEN is empty and the cookie has none: the account is not used"
            );
            continue;
        };
        accounts.push((
            number,
            Account {
                cookie: Secret::new(cookie),
                xsrf_token: Secret::new(xsrf_token),
                variable,
            },
        ));
    }
    for (number, account) in &accounts {
        let has_control = |secret: &Secret| secret.expose().chars().any(char::is_control);
        if has_control(&account.cookie) || has_control(&account.xsrf_token) {
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
        format!("login_aliyunid_ticket={token}")
    } else {
        format!("tongyi_sso_ticket={token}")
    };
    let xsrf_token = xsrf_token(&cookie).unwrap_or_else(|| SPARE_XSRF_TOKEN.clone());
    Account {
        cookie: Secret::new(cookie),
        xsrf_token: Secret::new(xsrf_token),
        variable: "QWEN_TOKEN".to_owned(),
    }
}

/// The `XSRF-TOKEN` cookie, URL-decoded (section 2.2).
fn xsrf_token(cookie: &str) -> Option<String> {
    let value = cookie
        .split(';')
        .find_map(|pair| pair.trim().strip_prefix("XSRF-TOKEN="))?;
    let decoded = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
    Some(decoded.into_owned()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(pairs: &[(&str, &str)]) -> Account {
        let (mut problems, vars) = (Vec::new(), Vars::new(pairs.iter().copied()));
        let accounts = accounts(&vars, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
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
    fn an_account_without_any_token_is_not_configured() {
        let vars = Vars::new([
            ("CN_ACCOUNT_2_COOKIE", "a=b"),
            ("CN_ACCOUNT_3_COOKIE", ""),
            ("CN_ACCOUNT_3_XSRF_TOKEN", "x"),
        ]);
        assert!(accounts(&vars, &mut Vec::new()).is_empty());
    }
}
