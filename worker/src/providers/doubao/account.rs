//! The credential: the session cookie, alone or in the whole header. Source: `wire/doubao.md` section 2.

use std::fmt;

use super::{NAME, device::Device};
use crate::{
    accounts::{Fingerprint, Known, Secret, pasted},
    settings::{Problems, Vars},
};

const VARIABLE: &str = "DOUBAO_TOKEN";
/// What a browser without a login has; its cookie is the same.
const FINGERPRINT: &str = "verify_";

/// One account.
#[derive(Clone, PartialEq)]
pub(super) struct Account {
    /// Which variable to renew.
    pub(super) variable: String,
    /// The `Cookie` header.
    pub(super) cookie: Secret,
    /// `msToken` of a whole header, for the query; never made up.
    pub(super) ms_token: Option<Secret>,
    /// `passport_csrf_token` of a whole header.
    pub(super) csrf_token: Option<Secret>,
    pub(super) device: Device,
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

/// All accounts of the environment: `DOUBAO_TOKEN`, `DOUBAO_TOKEN_2`, …, each with a whole cookie, or with one session or
/// several between commas; with the device of the same number, where one is given.
pub(super) fn accounts(vars: &Vars, problems: &mut Problems) -> Vec<(usize, Account)> {
    let mut accounts = pasted::cookies(vars, VARIABLE, problems, account, |a, b| {
        a.cookie == b.cookie
    });
    // By the account's number, whichever variable its session came from.
    for (number, account) in &mut accounts {
        own_device(vars, *number, &mut account.device, problems);
    }
    accounts
}

/// One value's account; else what is wrong with it, without repeating any of it.
fn account(value: &str, variable: &str) -> Result<Account, &'static str> {
    let value = value.trim().trim_matches(['"', '\'']).trim();
    if value.chars().any(char::is_control) {
        return Err("holds control characters, which no header can carry");
    }
    let of = |cookie: String, session: &str| Account {
        variable: variable.to_owned(),
        cookie: Secret::new(cookie),
        ms_token: None,
        csrf_token: None,
        device: Device::of(session),
    };
    if !value.contains('=') {
        // Section 2: it is no login, and sent as one it would only be refused later.
        if value.starts_with(FINGERPRINT) {
            return Err("is an s_v_web_id; the sessionid cookie is needed");
        }
        if value.contains([' ', ';']) {
            return Err(
                "must be the sessionid cookie of www.doubao.com, or the whole Cookie header",
            );
        }
        return Ok(of(
            format!("sessionid={value}; sessionid_ss={value}"),
            value,
        ));
    }
    // Either of the two is the session; the page sends both (section 2).
    let (plain, secure) = (cookie(value, "sessionid"), cookie(value, "sessionid_ss"));
    let Some(session) = plain.or(secure) else {
        return Err(match cookie(value, "s_v_web_id") {
            Some(_) => "is an s_v_web_id; the sessionid cookie is needed",
            None => {
                "is a Cookie header without sessionid; sign in at www.doubao.com and copy it whole"
            }
        });
    };
    let mut header = value.trim_end_matches([';', ' ']).to_owned();
    for (name, known) in [("sessionid", plain), ("sessionid_ss", secure)] {
        if known.is_none() {
            header.push_str(&format!("; {name}={session}"));
        }
    }
    let mut account = of(header, session);
    account.ms_token = cookie(value, "msToken").map(Secret::new);
    account.csrf_token = cookie(value, "passport_csrf_token").map(Secret::new);
    // `fp` must be that of the browser whose cookies these are (section 2).
    if let Some(fp) = cookie(value, "s_v_web_id") {
        fp.clone_into(&mut account.device.fp);
    }
    Ok(account)
}

/// The numbers of a person's own browser.
fn own_device(vars: &Vars, number: usize, device: &mut Device, problems: &mut Problems) {
    for (name, own) in [
        ("DOUBAO_DEVICE_ID", &mut device.device_id),
        ("DOUBAO_WEB_ID", &mut device.web_id),
        ("DOUBAO_TEA_UUID", &mut device.tea_uuid),
        ("DOUBAO_FP", &mut device.fp),
    ] {
        let variable = pasted::variable(vars, name, number);
        let Some(value) = vars.pasted(&variable) else {
            continue;
        };
        let is_sound = if name == "DOUBAO_FP" {
            value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        } else {
            value.bytes().all(|byte| byte.is_ascii_digit())
        };
        if is_sound {
            *own = value;
        } else {
            let form = if name == "DOUBAO_FP" {
                "must look like verify_…, as the cookie s_v_web_id does"
            } else {
                "must be a number"
            };
            problems.push(format!("{variable} {form}"));
        }
    }
}

/// A value of a `Cookie` header; `None` when it is empty.
fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    pasted::cookie(header, name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "0123456789abcdef0123456789abcdef";

    fn read(pairs: &[(&str, &str)]) -> Vec<(usize, Account)> {
        let (vars, mut problems) = (Vars::new(pairs.iter().copied()), Problems::default());
        let accounts = accounts(&vars, &mut problems);
        assert!(problems.errors.is_empty(), "{problems:?}");
        accounts
    }

    #[test]
    fn takes_credentials_as_people_paste_them() {
        let both = format!("sessionid={SESSION}; sessionid_ss={SESSION}");
        for pasted in [
            SESSION.to_owned(),
            format!("\"{SESSION}\""),
            format!("Bearer {SESSION}"),
            format!("sessionid={SESSION}"),
            format!("Cookie: sessionid={SESSION};"),
            format!(r#"[{{"name":"sessionid","value":"{SESSION}"}}]"#),
        ] {
            let accounts = read(&[("DOUBAO_TOKEN", &pasted)]);
            assert_eq!(accounts[0].1.cookie.expose(), both, "{pasted}");
            assert_eq!(accounts[0].1.device, Device::of(SESSION));
        }
        let whole = format!(
            "ttwid=1%7Ca,b; sessionid={SESSION}; s_v_web_id=verify_x_Y; msToken=m-_=; passport_csrf_token=c"
        );
        let accounts = read(&[("DOUBAO_TOKEN_2", &whole)]);
        let (number, account) = &accounts[0];
        assert_eq!(*number, 2);
        assert_eq!(
            account.cookie.expose(),
            format!("{whole}; sessionid_ss={SESSION}")
        );
        let plain = |secret: &Option<Secret>| secret.as_ref().map(|it| it.expose().to_owned());
        assert_eq!(plain(&account.ms_token).as_deref(), Some("m-_="));
        assert_eq!(plain(&account.csrf_token).as_deref(), Some("c"));
        assert_eq!(account.device.fp, "verify_x_Y");
        let accounts = read(&[("DOUBAO_TOKEN", "a=b; sessionid_ss=s")]);
        assert_eq!(
            accounts[0].1.cookie.expose(),
            "a=b; sessionid_ss=s; sessionid=s"
        );
    }

    #[test]
    fn takes_several_accounts_and_devices() {
        let accounts = read(&[
            ("DOUBAO_TOKEN", "aaaa, bbbb,,aaaa"),
            ("DOUBAO_TOKEN_2", "cccc"),
            ("DOUBAO_DEVICE_ID_2", "7000000000000000001"),
            ("DOUBAO_FP", "verify_own"),
        ]);
        let numbers: Vec<_> = accounts.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(accounts[0].1.device.fp, "verify_own");
        assert_eq!(accounts[1].1.device.device_id, "7000000000000000001");
        assert_ne!(accounts[0].1.device.web_id, accounts[2].1.device.web_id);
    }

    #[test]
    fn complains_without_repeating_the_value() {
        for (name, value) in [
            ("DOUBAO_TOKEN", "verify_0123456789"),
            ("DOUBAO_TOKEN", "s_v_web_id=verify_0123456789"),
            ("DOUBAO_TOKEN_3", "ttwid=0123456789"),
            ("DOUBAO_TOKEN", "0123456789 x"),
        ] {
            let (vars, mut problems) = (Vars::new([(name, value)]), Problems::default());
            let accounts = accounts(&vars, &mut problems);
            assert!(accounts.is_empty() && problems.errors.len() == 1, "{value}");
            let problem = problems.errors.join("");
            assert!(problem.starts_with(&format!("{name} ")), "{problem}");
            assert!(!problem.contains("0123456789"), "{problem}");
            if value.contains("verify_") {
                assert!(
                    problem.contains("the sessionid cookie is needed"),
                    "{problem}"
                );
            }
        }
        let pairs = [("DOUBAO_TOKEN", "abcdef"), ("DOUBAO_WEB_ID", "x1")];
        let mut problems = Problems::default();
        accounts(&Vars::new(pairs), &mut problems);
        assert_eq!(problems.errors, ["DOUBAO_WEB_ID must be a number"]);
    }
}
