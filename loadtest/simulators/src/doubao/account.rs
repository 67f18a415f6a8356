//! The fake accounts, and what every call carries: cookies, device numbers, headers. Source: wire/doubao.md §2, §4.1, §4.2,
//! §5.1.

use std::collections::{HashMap, HashSet};

use super::{
    refusal::{self, Refusal, USER_INVALID, VERIFICATION},
    signature::is_fp,
};
use crate::{ACCOUNTS, Call, Request, request::is_uuid};

/// A session id, a whole cookie header, and an opaque session id.
const CREDENTIALS: [&str; ACCOUNTS] = [
    "0123456789abcdef0123456789abcde1",
    "passport_csrf_token=sim2csrf; sessionid=0123456789abcdef0123456789abcde2; s_v_web_id=verify_sim2_Ab3dEf_1a2B_4c; msToken=sim2-ms_Token; ttwid=1%7Csim2; name=豆包",
    "sim3-opaque.session_id",
];
const SESSIONS: [&str; ACCOUNTS] = [
    "0123456789abcdef0123456789abcde1",
    "0123456789abcdef0123456789abcde2",
    "sim3-opaque.session_id",
];

/// How many sets of device numbers an account may have: one a process that asks for it. A client that makes them up for
/// each request is found out.
const DEVICES: usize = 8;

/// `DOUBAO_TOKEN` of account `number`, counted from 1.
pub(super) fn credential(number: usize) -> Option<&'static str> {
    CREDENTIALS.get(number.checked_sub(1)?).copied()
}

/// What was seen of the clients.
#[derive(Debug, Default)]
pub(super) struct Clients {
    devices: HashMap<usize, HashSet<[String; 3]>>,
    tabs: HashSet<String>,
}

/// A call by a known account.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) account: usize,
    pub(super) fp: String,
}

/// Which parts of a call are as the page has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wants {
    /// The question; `true`: in the older generation.
    Ask(bool),
    Im,
    Plain,
}

/// Members of the query that never change; two of them may be `CN` too.
const CONSTANT: [(&str, &str); 11] = [
    ("aid", "497858"),
    ("real_aid", "497858"),
    ("device_platform", "web"),
    ("language", "zh"),
    ("pkg_type", "release_version"),
    ("region", ""),
    ("sys_region", ""),
    ("samantha_web", "1"),
    ("use-olympus-account", "1"),
    ("version_code", "20800"),
    ("account_sdk_source", "web"),
];
const OWN: [&str; 6] = [
    "device_id",
    "web_id",
    "tea_uuid",
    "fp",
    "pc_version",
    "web_tab_id",
];

impl Clients {
    /// Whose call it is, if it is a good one.
    pub(super) fn check(
        &mut self,
        request: &Request,
        wants: Wants,
        call: &mut Call,
    ) -> Result<Known, Refusal> {
        let samantha = wants == Wants::Ask(true);
        let account = account(request, call).map_err(|missing| match (missing, wants) {
            (true, _) => refusal::login_expired(),
            (false, Wants::Ask(_)) => USER_INVALID.stream(samantha),
            (false, Wants::Im | Wants::Plain) => refusal::json(200, 710_012_000, "user invalid"),
        })?;
        call.account = Some(account);
        headers(request, wants, call)?;
        let fp = self.query(request, account, samantha, call)?;
        Ok(Known { account, fp })
    }

    /// §4.1; the fingerprint.
    fn query(
        &mut self,
        request: &Request,
        account: usize,
        samantha: bool,
        call: &mut Call,
    ) -> Result<String, Refusal> {
        let mut members = HashMap::new();
        for pair in request.query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if members
                .insert(name.to_owned(), crate::request::percent_decode(value))
                .is_some()
            {
                call.violate(format!("{name} comes twice in the query"));
            }
        }
        let member = |name: &str| members.get(name).cloned().unwrap_or_default();
        let numbers = ["device_id", "web_id", "tea_uuid"].map(member);
        let is_number =
            |text: &String| text.len() == 19 && text.chars().all(|c| c.is_ascii_digit());
        let fp = member("fp");
        let own_fp = match request.cookie("s_v_web_id") {
            Some(own) => fp == own,
            None => is_fp(&fp),
        };
        if !numbers.iter().all(is_number) || !own_fp {
            call.violate("device_id, web_id, tea_uuid or fp is missing or none of its kind");
            return Err(VERIFICATION.stream(samantha));
        }
        let wrong = |call: &mut Call, name: &str| {
            call.violate(format!("{name} is missing or wrong in the query"));
            Err(refusal::parameter(name))
        };
        for (name, value) in CONSTANT {
            let sdk = name == "account_sdk_source";
            if sdk && !request.path.starts_with("/passport/") {
                continue;
            }
            let sent = members.get(name).map(String::as_str);
            let region = name.ends_with("region") && sent == Some("CN");
            if sent != Some(value) && !region {
                return wrong(call, name);
            }
        }
        let version = member("pc_version");
        let parts = version.split('.').map(|part| part.parse::<u32>().is_ok());
        if parts.clone().count() != 3 || !parts.into_iter().all(|is_number| is_number) {
            return wrong(call, "pc_version");
        }
        let tab = member("web_tab_id");
        if tab.len() != 36 || !is_uuid(&tab) {
            return wrong(call, "web_tab_id");
        }
        if self.tabs.len() > 100_000 {
            self.tabs.clear();
        }
        if !self.tabs.insert(tab) {
            call.violate("web_tab_id was used before");
        }
        let devices = self.devices.entry(account).or_default();
        devices.insert(numbers);
        if devices.len() > DEVICES {
            call.violate("the device numbers change again and again");
        }
        let ms_token = members.get("msToken");
        if ms_token.is_some() && ms_token != request.cookie("msToken").as_ref() {
            call.violate("msToken is not that of the cookie header");
        }
        let known = |name: &str| {
            name == "msToken" || OWN.contains(&name) || CONSTANT.iter().any(|(own, _)| *own == name)
        };
        for name in members.keys().filter(|name| !known(name)) {
            call.violate(format!("the query has the unknown member {name:?}"));
        }
        Ok(fp)
    }
}

/// The account of the session; `Err(true)`: there is no session cookie.
fn account(request: &Request, call: &mut Call) -> Result<usize, bool> {
    let Some(session) = request.cookie("sessionid").filter(|id| !id.is_empty()) else {
        call.violate("there is no cookie sessionid");
        return Err(true);
    };
    let Some(at) = SESSIONS.iter().position(|own| *own == session) else {
        call.violate("the cookie sessionid is of no account");
        return Err(false);
    };
    let cookie = request.header("cookie");
    let given = match CREDENTIALS.get(at) {
        Some(header) if header.contains("sessionid=") => {
            format!("{header}; sessionid_ss={session}")
        }
        _ => format!("sessionid={session}; sessionid_ss={session}"),
    };
    // §2: what answers have set may be kept.
    let kept = |pair: &str| {
        let name = pair.split_once('=').map(|(name, _)| name);
        matches!(name, Some("msToken" | "ttwid" | "odin_tt"))
    };
    let more = cookie.strip_prefix(&given);
    let right = more.is_some_and(|more| {
        let mut pairs = more.split("; ").filter(|pair| !pair.is_empty());
        pairs.all(kept)
    });
    if !right {
        call.violate("the Cookie header is not what the credential makes of it");
    }
    Ok(at + 1)
}

/// §4.2.
fn headers(request: &Request, wants: Wants, call: &mut Call) -> Result<(), Refusal> {
    let content_type = match wants {
        Wants::Im => "application/json; encoding=utf-8",
        Wants::Ask(_) | Wants::Plain => "application/json",
    };
    for (name, value) in [
        ("content-type", content_type),
        ("origin", "https://www.doubao.com"),
        ("referer", "https://www.doubao.com/chat/"),
    ] {
        let sent = request.header(name);
        // The live check has no body.
        if sent != value && !(name == "content-type" && request.body.is_empty()) {
            call.violate(format!("{name} is {sent:?}, not {value:?}"));
            return Err(refusal::parameter(name));
        }
    }
    if let Some(what) = request.user_agent_violation() {
        call.violate(what);
        return Err(refusal::parameter("user-agent"));
    }
    if wants == Wants::Ask(true) && request.header("agw-js-conv") != "str" {
        call.violate("agw-js-conv is not \"str\"");
        return Err(refusal::parameter("agw-js-conv"));
    }
    for (name, value) in [("accept", "*/*"), ("accept-language", "zh-CN,zh;q=0.9")] {
        let sent = request.header(name);
        if sent != value {
            call.violate(format!("{name} is {sent:?}, not {value:?}"));
        }
    }
    for name in [
        "sec-ch-ua",
        "sec-ch-ua-mobile",
        "sec-ch-ua-platform",
        "sec-fetch-dest",
        "sec-fetch-mode",
        "sec-fetch-site",
    ] {
        if request.header_bytes(name).is_none() {
            call.violate(format!("there is no {name}"));
        }
    }
    let csrf = request.header_bytes("x-tt-passport-csrf-token").is_some();
    if csrf
        && Some(request.header("x-tt-passport-csrf-token")) != request.cookie("passport_csrf_token")
    {
        call.violate("x-tt-passport-csrf-token is not that of the cookie header");
    }
    Ok(())
}
