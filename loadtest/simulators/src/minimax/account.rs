//! The fake accounts, and the query, headers and signatures of every call. Source: wire/minimax.md §2, §4, §5, §12.1,
//! §12.2.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use uuid::Uuid;

use super::{
    refusal::{self, Refusal},
    signature,
};
use crate::{ACCOUNTS, Call, Reply, Request, request::is_uuid};

const DAY: u64 = 86_400;
const EXP: u64 = 4_102_444_800;
/// `{"alg":"HS256","typ":"JWT"}`
const HEAD: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

struct Person {
    /// `user.id` and `user.deviceID` of the JWT. `None`: it has no such claims.
    claims: Option<(&'static str, &'static str)>,
    /// `realUserID`.
    real: &'static str,
}

const PEOPLE: [Person; ACCOUNTS] = [
    Person {
        claims: Some(("440011223344556677", "31234567")),
        real: "199900112233445566",
    },
    Person {
        claims: Some(("440011223344556688", "312345678901234567")),
        real: "199900112233445577",
    },
    Person {
        claims: None,
        real: "199900112233445588",
    },
];

/// Which members the query of a call has, and what they say of the browser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Query {
    /// §4: the JWT's user.
    Matrix,
    /// §12.1: the real user.
    Cloud,
    /// One of both; the user may be unknown yet.
    Account,
}

/// The members of both queries, in their order; `None`: the value is not constant.
const MATRIX: [(&str, Option<&str>); 20] = [
    ("device_platform", Some("web")),
    ("biz_id", Some("3")),
    ("app_id", Some("3001")),
    ("version_code", Some("22201")),
    ("unix", None),
    ("timezone_offset", Some("28800")),
    ("lang", Some("zh")),
    ("uuid", None),
    ("device_id", None),
    ("os_name", Some("Windows")),
    ("browser_name", Some("chrome")),
    ("device_memory", Some("8")),
    ("cpu_core_num", Some("32")),
    ("browser_language", Some("zh-CN")),
    ("browser_platform", Some("Win32")),
    ("user_id", None),
    ("screen_width", Some("1600")),
    ("screen_height", Some("1000")),
    ("token", None),
    ("client", Some("web")),
];
const CLOUD: [(&str, Option<&str>); 22] = [
    ("device_platform", Some("web")),
    ("biz_id", Some("3")),
    ("app_id", Some("3001")),
    ("version_code", Some("22201")),
    ("unix", None),
    ("timezone_offset", Some("28800")),
    ("sys_language", Some("zh")),
    ("lang", Some("zh")),
    ("uuid", None),
    ("device_id", None),
    ("os_name", Some("Windows")),
    ("browser_name", Some("Chrome")),
    ("device_memory", Some("16")),
    ("cpu_core_num", Some("8")),
    ("browser_language", Some("zh-CN")),
    ("browser_platform", Some("Win32")),
    ("user_id", None),
    ("screen_width", Some("1920")),
    ("screen_height", Some("1080")),
    ("token", None),
    ("client", Some("web")),
    ("region", Some("cn")),
];

/// The tokens that are good now: whose they are, and until when.
#[derive(Debug)]
pub(super) struct Accounts {
    tokens: HashMap<String, (usize, u64)>,
    started: u64,
}

impl Default for Accounts {
    fn default() -> Self {
        let mut accounts = Self {
            tokens: HashMap::new(),
            started: now(),
        };
        for number in 1..=ACCOUNTS {
            let token = accounts.token(number);
            let exp = accounts.exp(number);
            accounts.tokens.insert(token, (number, exp));
        }
        accounts
    }
}

fn person(number: usize) -> Option<&'static Person> {
    PEOPLE.get(number.checked_sub(1)?)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// A token; the member order is that of the vectors of §5.
fn jwt(number: usize, exp: u64, signature: &str) -> String {
    let user = person(number)
        .and_then(|person| person.claims)
        .map_or_else(String::new, |(id, device)| {
            // The payload of account 2 needs the base64url alphabet.
            let name = if number == 2 { "~?>" } else { "tester" };
            format!(
                r#","user":{{"id":"{id}","name":"{name}","avatar":"","deviceID":"{device}","isAnonymous":false}}"#
            )
        });
    let payload = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{exp}{user}}}"#));
    format!("{HEAD}.{payload}.{signature}")
}

impl Accounts {
    fn exp(&self, number: usize) -> u64 {
        match number {
            // Soon enough to be renewed (§2).
            3 => self.started + 5 * DAY,
            _ => EXP,
        }
    }

    fn token(&self, number: usize) -> String {
        jwt(number, self.exp(number), "c2lnbmF0dXJl")
    }

    /// `MINIMAX_TOKEN` of account `number`, counted from 1.
    pub(super) fn credential(&self, number: usize) -> Option<String> {
        let person = person(number)?;
        let token = self.token(number);
        Some(match number {
            2 => format!("{}+{token}", person.real),
            _ => token,
        })
    }

    /// Whose call it is: token, query, headers and signatures are right. `base` is where the service is.
    pub(super) fn check(
        &self,
        request: &Request,
        query: Query,
        base: &str,
        call: &mut Call,
    ) -> Result<usize, Refusal> {
        let token = request.header("token");
        let account = match self.tokens.get(&token) {
            Some((_, exp)) if *exp <= now() => Err("the token has expired"),
            Some((account, _)) => Ok(*account),
            None if token.is_empty() => Err("there is no token header"),
            None => Err("the token is of no account"),
        };
        let account = account.map_err(|what| {
            call.violate(what);
            refusal::unauthorized()
        })?;
        call.account = Some(account);
        let (form, members) = members(request, query).map_err(|what| {
            call.violate(what);
            refusal::unauthorized()
        })?;
        let member = |name: &str| {
            let found = members.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| *value).unwrap_or_default()
        };
        if member("token") != token {
            call.violate("the query's token is not that of the header");
            return Err(refusal::unauthorized());
        }
        whose(
            account,
            query,
            form,
            member("device_id"),
            member("user_id"),
            call,
        )?;
        let id = member("uuid");
        if id.len() != 36 || !is_uuid(id) {
            call.violate("uuid is no UUID with hyphens");
        }
        headers(request, base, call);
        signed(request, member("unix"), base, query, call)?;
        Ok(account)
    }

    /// `POST /v1/api/user/renewal`: 30 more days; the old token stays good.
    pub(super) fn renew(
        &mut self,
        request: &Request,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        if request.body != b"{}".as_slice() {
            call.violate("the body is not {}");
            return Err(refusal::malformed());
        }
        let left = self
            .tokens
            .get(&request.header("token"))
            .map(|(_, exp)| exp.saturating_sub(now()));
        if left.is_some_and(|left| left > 10 * DAY) {
            call.violate("a token is renewed that has more than ten days left");
        }
        let exp = now() + 30 * DAY;
        let token = jwt(account, exp, &Uuid::new_v4().simple().to_string());
        self.tokens.insert(token.clone(), (account, exp));
        Ok(refusal::account(&json!({"token": token})))
    }
}

/// `GET /v1/api/user/info`.
pub(super) fn info(account: usize) -> Reply {
    let real = person(account).map(|person| person.real);
    refusal::account(&json!({"userInfo": {"realUserID": real, "name": format!("sim-{account}")}}))
}

/// `POST /v1/api/user/device/register`.
pub(super) fn register(
    request: &Request,
    account: usize,
    call: &mut Call,
) -> Result<Reply, Refusal> {
    let body = request.json().unwrap_or_default();
    let id = body.get("uuid").and_then(serde_json::Value::as_str);
    if !id.is_some_and(is_uuid) {
        call.violate("the body's uuid is missing or no UUID");
        return Err(refusal::malformed());
    }
    let real = person(account).map(|person| person.real);
    Ok(refusal::account(
        &json!({"deviceIDStr": "31234567", "realUserID": real}),
    ))
}

type Members<'a> = Vec<(&'a str, &'a str)>;

/// The query's members, if they are all there, in order, and no others.
fn members(request: &Request, query: Query) -> Result<(Query, Members<'_>), String> {
    let members: Members<'_> = request
        .query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    let fits = |wanted: &[(&str, Option<&str>)]| {
        wanted.len() == members.len()
            && wanted
                .iter()
                .zip(&members)
                .all(|((name, _), (key, _))| name == key)
    };
    let form = match query {
        Query::Matrix | Query::Account if fits(&MATRIX) => Query::Matrix,
        Query::Cloud | Query::Account if fits(&CLOUD) => Query::Cloud,
        Query::Matrix | Query::Cloud | Query::Account => {
            let names: Vec<_> = members.iter().map(|(name, _)| *name).collect();
            return Err(format!("the members of the query are {names:?}"));
        }
    };
    let wanted: &[_] = match form {
        Query::Matrix => &MATRIX,
        Query::Cloud | Query::Account => &CLOUD,
    };
    for ((name, constant), (_, value)) in wanted.iter().zip(&members) {
        if constant.is_some_and(|constant| constant != *value) {
            return Err(format!("{name} is {value:?} in the query"));
        }
    }
    Ok((form, members))
}

/// §2: the device is that of the token and decimal, the user the one that this generation wants.
fn whose(
    account: usize,
    query: Query,
    form: Query,
    device: &str,
    user: &str,
    call: &mut Call,
) -> Result<(), Refusal> {
    if device.is_empty() || !device.chars().all(|c| c.is_ascii_digit()) {
        call.violate(format!("device_id is {device:?}, not decimal"));
        return Err(refusal::device());
    }
    let Some(person) = person(account) else {
        return Err(refusal::unauthorized());
    };
    let own = match person.claims {
        Some((_, own)) => device == own,
        None => device.len() == 8,
    };
    if !own {
        call.violate("device_id is not the token's, nor one of eight digits made of it");
    }
    let claimed = person.claims.map(|(id, _)| id).unwrap_or_default();
    let right = match (query, form) {
        (Query::Account, _) => matches!(user, "" | "0") || user == claimed || user == person.real,
        (_, Query::Matrix) => user == claimed,
        (_, Query::Cloud | Query::Account) => user == person.real,
    };
    // Only this call is for those who do not know it yet.
    let known = call.step == "user_info" || user == claimed || user == person.real;
    if right && known {
        return Ok(());
    }
    call.violate(format!("user_id is {user:?}"));
    Err(refusal::unauthorized())
}

/// What a browser sends, and the service does without.
fn headers(request: &Request, base: &str, call: &mut Call) {
    let accept = match call.step == crate::faults::ASK && request.path.ends_with("/message") {
        true => "text/event-stream",
        false => "application/json, text/plain, */*",
    };
    for (name, value) in [
        ("accept", accept),
        ("accept-language", "zh-CN,zh;q=0.9"),
        ("origin", base),
        ("referer", &format!("{base}/")),
        ("sec-ch-ua-mobile", "?0"),
        ("sec-ch-ua-platform", "\"Windows\""),
    ] {
        let sent = request.header(name);
        if sent != value {
            call.violate(format!("{name} is {sent:?}, not {value:?}"));
        }
    }
    if request.header_bytes("sec-ch-ua").is_none() {
        call.violate("there is no sec-ch-ua");
    }
    if let Some(what) = request.user_agent_violation() {
        call.violate(what);
    }
}

/// §5, §12.2: one reading of the clock, and both signatures over what was sent.
fn signed(
    request: &Request,
    unix: &str,
    base: &str,
    query: Query,
    call: &mut Call,
) -> Result<(), Refusal> {
    let refused = || match query {
        Query::Matrix => refusal::odd_user(),
        Query::Cloud | Query::Account => refusal::signature(),
    };
    let seconds = request.header("x-timestamp");
    let time = seconds.parse::<u64>().ok();
    let wrong = |call: &mut Call, what: &str| {
        call.violate(what);
        Err(refused())
    };
    if time.is_none_or(|time| time.abs_diff(now()) > DAY) {
        return wrong(call, "x-timestamp is no time of today");
    }
    if unix != format!("{seconds}000") {
        return wrong(call, "unix is not x-timestamp in milliseconds");
    }
    if request.header("x-signature") != signature::x_signature(&seconds, &request.body) {
        return wrong(call, "x-signature is wrong");
    }
    let body: &[u8] = match request.method.as_str() {
        "GET" => b"{}",
        _ => &request.body,
    };
    let path = format!("{}?{}", request.path, request.query);
    let sent = request.header("yy");
    let good = |target: &str| signature::yy(target, body, unix) == sent;
    let ticket = query == Query::Account && {
        let other = path.replacen("&screen_width=", "&op_ticket=undefined&screen_width=", 1);
        good(&other)
    };
    let message = call.step == crate::faults::ASK && query == Query::Cloud;
    if message && good(&format!("{base}{path}")) {
        return Ok(());
    }
    call.note("op_ticket", ticket);
    if ticket || good(&path) {
        if message {
            // §12.2: the service takes it, other clients sign the absolute one.
            call.violate("yy is over path and query, not over the absolute URL");
        }
        return Ok(());
    }
    wrong(call, "yy is wrong")
}
