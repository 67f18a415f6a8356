//! The fake accounts, their cookies and meta-tokens, and the headers of every call. Source: wire/metaso.md §2, §4.1, §4.2,
//! §5.1.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use uuid::Uuid;

use super::refusal::{self, Refusal};
use crate::{ACCOUNTS, Call, Reply, Request};

struct Person {
    uid: &'static str,
    sid: &'static str,
    /// The cookies of the page's script, where the whole header is pasted.
    more: &'static str,
}

/// The short form, a whole header, and a `sid` of the older length.
const PEOPLE: [Person; ACCOUNTS] = [
    Person {
        uid: "66a1b2c3d4e5f60718293a41",
        sid: "0123456789abcdef0123456789abcde1",
        more: "",
    },
    Person {
        uid: "66a1b2c3d4e5f60718293a42",
        sid: "0123456789abcdef0123456789abcde2",
        more: "; tid=sim-2; _c_WBKFRo=sim; _nb_ioWEgULi=; nick=秘塔",
    },
    Person {
        uid: "66a1b2c3d4e5f60718293a43",
        sid: "0123456789abcdef0123456789abcd3",
        more: "",
    },
];

/// Longer than the ten minutes for which a client keeps one (§5.1).
const TOKEN_LIVES: Duration = Duration::from_secs(660);

/// Meta-tokens: whose they are, and when they were made. Cookies that were set.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    tokens: HashMap<String, (usize, Instant)>,
    set: HashMap<usize, HashSet<String>>,
}

/// `METASO_TOKEN` of account `number`, counted from 1.
pub(super) fn credential(number: usize) -> Option<String> {
    let person = person(number)?;
    Some(match person.more {
        "" => format!("{}-{}", person.uid, person.sid),
        _ => pasted(person),
    })
}

fn person(number: usize) -> Option<&'static Person> {
    PEOPLE.get(number.checked_sub(1)?)
}

/// The cookie header without what the site has set.
fn pasted(person: &Person) -> String {
    format!("uid={}; sid={}{}", person.uid, person.sid, person.more)
}

impl Accounts {
    /// Whose call it is, by its cookies; `None`: a stranger's.
    fn who(&self, request: &Request, call: &mut Call) -> Option<usize> {
        let cookie = request.header("cookie");
        let [uid, sid] = ["uid", "sid"].map(|name| request.cookie(name).unwrap_or_default());
        let at = PEOPLE
            .iter()
            .position(|person| person.uid == uid && person.sid == sid);
        let Some(at) = at else {
            call.violate("the cookies uid and sid are of no account");
            return None;
        };
        let account = at + 1;
        call.account = Some(account);
        let own = PEOPLE.get(at).map(pasted).unwrap_or_default();
        // What the site has set stands beside what was pasted, and nothing that nobody set.
        if !cookie.starts_with(&own) {
            call.violate("the Cookie header does not begin with what was pasted, byte for byte");
        }
        let count = |name: &str| {
            let pairs = cookie.split("; ");
            pairs
                .filter(|pair| pair.split_once('=').is_some_and(|(key, _)| key == name))
                .count()
        };
        if count("uid") != 1 || count("sid") != 1 {
            call.violate("uid or sid comes twice");
        }
        for pair in cookie.strip_prefix(&own).unwrap_or_default().split("; ") {
            let set = self.set.get(&account);
            if !pair.is_empty() && !set.is_some_and(|set| set.contains(pair)) {
                call.violate(format!("nobody has set the cookie {pair:?}"));
            }
        }
        Some(account)
    }

    /// Whose call it is: cookies and headers of §4.1.
    pub(super) fn check(
        &self,
        request: &Request,
        base: &str,
        call: &mut Call,
    ) -> Result<usize, Refusal> {
        let account = self.who(request, call).ok_or_else(refusal::login)?;
        for (name, value) in [
            ("accept-language", "zh-CN,zh;q=0.9"),
            ("origin", base),
            ("referer", &format!("{base}/")),
            ("sec-fetch-dest", "empty"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-site", "same-origin"),
        ] {
            let sent = request.header(name);
            if sent != value {
                call.violate(format!("{name} is {sent:?}, not {value:?}"));
            }
        }
        browser(request, call);
        let known = self.set.get(&account).is_some_and(|set| {
            set.iter().any(|pair| {
                pair.starts_with("aliyungf_tc=") && request.header("cookie").contains(pair)
            })
        });
        if !known {
            call.violate("the cookie aliyungf_tc that the home page has set is missing");
        }
        Ok(account)
    }

    /// `GET /`: the page with the meta-token, or without for a stranger.
    pub(super) fn home(&mut self, request: &Request, call: &mut Call) -> Reply {
        let account = self.who(request, call);
        for (name, value) in [
            ("accept", "text/html"),
            ("accept-language", "zh-CN,zh;q=0.9"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-user", "?1"),
            ("upgrade-insecure-requests", "1"),
        ] {
            let sent = request.header(name);
            if !sent.starts_with(value) {
                call.violate(format!("{name} is {sent:?}, not {value:?}"));
            }
        }
        browser(request, call);
        let Some(account) = account else {
            return Reply::html(200, "秘塔AI搜索");
        };
        let token = self.make(account);
        // §5.1: any order, quotes and spacing, and HTML's own escapes.
        let tag = match account {
            1 => format!("<meta id=\"meta-token\" content=\"{token}\"/>"),
            2 => {
                let escaped = token.replace('+', "&#43;").replace('=', "&#x3D;");
                format!("<meta content='{escaped}' id='meta-token'>")
            }
            _ => format!("<META  name=x\n id = \"meta-token\"  content = \"{token}\" >"),
        };
        let page = format!(
            "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><meta id=\"other\" content=\"x\">{tag}<title>秘塔AI搜索</title></head><body></body></html>"
        );
        let set = self.cookie(account, "aliyungf_tc");
        let reply = Reply::new(200, "text/html; charset=utf-8", page).header("Set-Cookie", set);
        match call.fault {
            Some("cookie_trap") => {
                reply.header("Set-Cookie", "sid=ffffffffffffffffffffffffffffffff; Path=/")
            }
            _ => reply,
        }
    }

    fn cookie(&mut self, account: usize, name: &str) -> String {
        let pair = format!("{name}={}", Uuid::new_v4().simple());
        self.set.entry(account).or_default().insert(pair.clone());
        format!("{pair}; Path=/; HttpOnly")
    }

    /// 128 characters of base64, with all that a query has to escape.
    fn make(&mut self, account: usize) -> String {
        let mut bytes = vec![0xfb, 0xef, 0xff];
        while bytes.len() < 94 {
            bytes.extend(Uuid::new_v4().as_bytes());
        }
        bytes.truncate(94);
        let token = STANDARD.encode(bytes);
        self.tokens.insert(token.clone(), (account, Instant::now()));
        token
    }

    /// Whether a meta-token is good for the account now.
    pub(super) fn is_token(&self, token: &str, account: usize, call: &mut Call) -> bool {
        let wrong = match self.tokens.get(token) {
            // No violation: that is how a client hears of it.
            Some((0, _)) => None,
            Some((own, _)) if *own != account => Some("the meta-token is another account's"),
            Some((_, made)) if made.elapsed() < TOKEN_LIVES => return true,
            Some(_) => None,
            None if token.contains(' ') => Some("the meta-token has a blank for a plus"),
            None => Some("the meta-token was not given"),
        };
        call.note("stale", true);
        if let Some(wrong) = wrong {
            call.violate(wrong);
        }
        false
    }

    /// All meta-tokens of an account are stale from now on; no violation for who uses one.
    pub(super) fn expire(&mut self, account: usize) {
        for (own, _) in self.tokens.values_mut() {
            if *own == account {
                *own = 0;
            }
        }
    }

    /// `GET /api/my-info`.
    pub(super) fn my_info(&mut self, account: usize) -> Reply {
        let uid = person(account).map(|person| person.uid);
        let set = self.cookie(account, "JSESSIONID");
        refusal::success(&json!({"user": {"id": uid, "name": format!("sim-{account}")}}))
            .header("Set-Cookie", set)
    }
}

/// Whether the cookies of the page's script are there (§2).
pub(super) fn passes_gate(request: &Request) -> bool {
    ["tid", "_c_WBKFRo", "_nb_ioWEgULi"]
        .iter()
        .all(|name| request.cookie(name).is_some())
}

fn browser(request: &Request, call: &mut Call) {
    if let Some(what) = request.user_agent_violation() {
        call.violate(what);
    }
    for name in ["sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform"] {
        if request.header_bytes(name).is_none() {
            call.violate(format!("there is no {name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_look_as_the_page_has_them() {
        let mut accounts = Accounts::default();
        let token = accounts.make(1);
        assert_eq!(token.len(), 128);
        assert!(
            token.contains('+') && token.contains('/') && token.ends_with("=="),
            "{token}"
        );
        let call = &mut Call::default();
        assert!(accounts.is_token(&token, 1, call));
        accounts.expire(1);
        assert!(!accounts.is_token(&token, 1, call));
        assert!(call.violation.is_none());
        assert!(!accounts.is_token("x", 1, call) && call.violation.is_some());
    }
}
