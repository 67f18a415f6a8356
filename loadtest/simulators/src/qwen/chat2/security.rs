//! Device ids, tokens and one-time salts. Source: wire/qwen.md §11.4, §11.5.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use uuid::Uuid;

use super::signature::{Signed, pairs};
use crate::{Call, Reply, Request};

/// The scene of the material that stands at the top of an answer.
const BASE: &str = "";
/// How many salts come when the client does not say.
const SALTS: usize = 20;
/// How many come under the fault `few_salts`: at once as few as a client refreshes at.
const FEW: usize = 20;
/// Seconds that a token is good for: about a day; under the fault `short_deadline` less than a client refreshes at.
const DEADLINE: u64 = 86_400;
const SHORT: u64 = 20 * 60;

/// The constants of the register body (§11.4); the rest may be anything plausible.
const FIELDS: [&str; 10] = [
    "screenResolution",
    "cookieEnabled",
    "localStorageEnabled",
    "timezoneOffset",
    "fontList",
    "pluginList",
    "language",
    "unifyRelateGenerate",
    "fingerprint",
    "businessScene",
];

#[derive(Debug)]
struct Device {
    base_token: String,
    /// Every token that was given, and its scene.
    tokens: HashMap<String, String>,
    salts: HashMap<String, Salt>,
}

#[derive(Debug)]
struct Salt {
    scene: String,
    used: bool,
    until: u64,
}

/// All that was registered, by device id.
#[derive(Debug, Default)]
pub(super) struct Security {
    devices: BTreeMap<String, Device>,
}

impl Security {
    /// `POST /security/external/access/register`.
    pub(super) fn register(&mut self, request: &Request, body: &Value, call: &mut Call) -> Reply {
        if let Err(what) = registration(request, body) {
            call.violate(what);
            return refused("PARAM_ERROR");
        }
        let id = format!("simdvidn{}", Uuid::new_v4().simple());
        let scenes = body.get("unifyRelateGenerate").and_then(Value::as_array);
        let scenes: Vec<_> = scenes
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let device = Device {
            base_token: String::new(),
            tokens: HashMap::new(),
            salts: HashMap::new(),
        };
        let device = self.devices.entry(id.clone()).or_insert(device);
        call.note("device", id.clone());
        device.give(&id, &scenes, request, call)
    }

    /// `GET /security/external/access/refresh`: more of what the base token stands for.
    pub(super) fn refresh(&mut self, request: &Request, call: &mut Call) -> Reply {
        let query: HashMap<_, _> = pairs(&request.query).collect();
        let value = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let id = request.header("eo-clt-dvidn");
        call.note("device", id.clone());
        let scenes: Vec<_> = value("unifyRelateGenerate").split(',').collect();
        let known = self.devices.get_mut(&id);
        let right = known.filter(|device| request.header("eo-clt-actkn") == device.base_token);
        let what = match right {
            _ if value("businessScene") != "qwen_web" => "businessScene is not qwen_web",
            _ if !is_chid(value("chid")) => "chid is missing",
            _ if !scenes.contains(&"qwen_chat") => "unifyRelateGenerate names no qwen_chat",
            None => "eo-clt-dvidn and eo-clt-actkn are of no registration and its base token",
            Some(device) => match constants(request) {
                Ok(()) => return device.give(&id, &scenes, request, call),
                Err(what) => what,
            },
        };
        call.violate(what);
        refused("TOKEN_INVALID")
    }

    /// Whether the request is signed as §11.5 says, with a salt of the scene that is then used up. `Err` says why not.
    pub(super) fn check(&mut self, request: &Request, scene: &str) -> Result<(), &'static str> {
        let header = |name: &str| request.header(name);
        for (name, value) in [
            ("clt-acs-caer", "vrad"),
            ("eo-clt-snver", "lv"),
            ("eo-clt-acs-ve", "1.0.0"),
        ] {
            if header(name) != value {
                return Err("a constant header of the signature is missing or wrong");
            }
        }
        let id = header("eo-clt-dvidn");
        let device = self
            .devices
            .get_mut(&id)
            .ok_or("eo-clt-dvidn was not registered")?;
        let salt_text = header("eo-clt-sacsft");
        let salt = device
            .salts
            .get_mut(&salt_text)
            .ok_or("the salt was not given")?;
        if std::mem::replace(&mut salt.used, true) {
            return Err("the salt was used before");
        }
        // A scene that was not asked for is served by the material at the top.
        let given = device.tokens.values().any(|of| of == scene);
        let wanted = if given { scene } else { BASE };
        if salt.scene != wanted {
            return Err("the salt is of another scene");
        }
        if device
            .tokens
            .get(&header("eo-clt-actkn"))
            .map(String::as_str)
            != Some(wanted)
        {
            return Err("eo-clt-actkn is no token of the salt's scene");
        }
        if salt.until < seconds() {
            return Err("the deadline of the salt is over");
        }
        let names: Vec<_> = pairs(&request.query).map(|(name, _)| name).collect();
        if header("clt-acs-request-params") != names.join(",") {
            return Err("clt-acs-request-params does not name the query in its order");
        }
        let kp = header("eo-clt-acs-kp");
        let cookie = request.cookie("tongyi_sso_ticket_hash").unwrap_or_default();
        if request.headers.contains_key("eo-clt-acs-kp") && (kp.is_empty() || kp != cookie) {
            return Err("eo-clt-acs-kp is not the cookie tongyi_sso_ticket_hash");
        }
        let reqt = header("clt-acs-reqt");
        if reqt.is_empty() || !reqt.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("clt-acs-reqt is no time");
        }
        let signed = Signed {
            device: &id,
            query: &request.query,
            kp: &kp,
            body: &request.body,
        };
        let (bfg, sign) = signed.sign(&salt_text, &reqt);
        match () {
            () if header("clt-acs-bfg") != bfg => Err("clt-acs-bfg is not that of the body"),
            () if header("clt-acs-sign") != sign => Err("clt-acs-sign is wrong"),
            () => Ok(()),
        }
    }
}

impl Device {
    /// New tokens and salts; what was given before stays good, so that what is on its way arrives.
    fn give(&mut self, id: &str, scenes: &[&str], request: &Request, call: &Call) -> Reply {
        let asked = request.header("eo-clt-sftcnt").parse().unwrap_or(SALTS);
        let count = match call.fault {
            Some("few_salts") => FEW,
            _ => asked.clamp(1, 200),
        };
        let salts_are_missing = call.fault == Some("no_salts");
        let until = seconds()
            + match call.fault {
                Some("short_deadline") => SHORT,
                _ => DEADLINE,
            };
        let mut material = |scene: &str| {
            let token = format!("simactkn{}", Uuid::new_v4().simple());
            self.tokens.insert(token.clone(), scene.to_owned());
            let mut salts = Vec::new();
            for _ in 0..count {
                let text = Uuid::new_v4().simple().to_string();
                let salt = Salt {
                    scene: scene.to_owned(),
                    used: false,
                    until,
                };
                self.salts.insert(text.clone(), salt);
                salts.push(text);
            }
            if salts_are_missing {
                salts.clear();
            }
            json!({"eo-clt-actkn": token, "eo-clt-actkn-dl": until, "eo-clt-bacsft": salts})
        };
        let mut data = material(BASE);
        let related: Vec<_> = scenes
            .iter()
            .map(|scene| {
                let mut entry = material(scene);
                entry["businessScene"] = json!(scene);
                entry
            })
            .collect();
        data["unifyRelate"] = Value::Array(related);
        data["eo-clt-dvidn"] = json!(id);
        data["eo-clt-snver"] = json!("lv");
        let base = data.get("eo-clt-actkn").and_then(Value::as_str);
        base.unwrap_or_default().clone_into(&mut self.base_token);
        Reply::json(
            200,
            &json!({"status": 0, "code": "SUCCESS", "msg": "", "data": data}),
        )
    }
}

/// A call that is refused: `status` is not 0 and `msg` says why.
pub(super) fn refused(why: &str) -> Reply {
    Reply::json(
        200,
        &json!({"status": 1, "code": "FAIL", "msg": why, "data": null}),
    )
}

/// `GET /api/calibration/getMillisTimeStamp`.
pub(super) fn clock() -> Reply {
    let now = now().as_millis().to_string();
    Reply::json(200, &json!({"data": {"millisTimeStamp": now}}))
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn seconds() -> u64 {
    now().as_secs()
}

/// §11.4: the headers of both calls.
fn constants(request: &Request) -> Result<(), &'static str> {
    for (name, value) in [
        ("origin", "https://www.qianwen.com"),
        ("referer", "https://www.qianwen.com/chat"),
        ("clt-acs-caer", "vrad"),
        ("eo-clt-acs-bx-intss", "2"),
    ] {
        if request.header(name) != value {
            return Err("Origin, Referer, clt-acs-caer or eo-clt-acs-bx-intss is missing or wrong");
        }
    }
    let count = request.header("eo-clt-sftcnt").parse::<u16>();
    if !count.is_ok_and(|count| (1..=200).contains(&count)) {
        return Err("eo-clt-sftcnt does not say how many salts");
    }
    match request.user_agent_violation() {
        Some(_) => Err("User-Agent is no desktop Chrome"),
        None => Ok(()),
    }
}

fn registration(request: &Request, body: &Value) -> Result<(), &'static str> {
    constants(request)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let query: HashMap<_, _> = pairs(&request.query).collect();
    let chid = query.get("chid").map(String::as_str).unwrap_or_default();
    let scenes = body.get("unifyRelateGenerate").and_then(Value::as_array);
    let chat = scenes.is_some_and(|scenes| scenes.contains(&json!("qwen_chat")));
    let fingerprint = text("fingerprint");
    let hex = fingerprint.len() == 32 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
    match () {
        () if FIELDS.iter().any(|name| body.get(name).is_none()) => Err("a field is missing"),
        () if !is_chid(chid) || text("chid") != chid => Err("chid is not one, twice the same"),
        () if text("businessScene") != "qwen_web" => Err("businessScene is not qwen_web"),
        () if !chat => Err("unifyRelateGenerate names no qwen_chat"),
        () if !hex => Err("fingerprint is not 32 hex digits"),
        () => Ok(()),
    }
}

/// 32 hex digits, or milliseconds and 11 letters and digits.
fn is_chid(text: &str) -> bool {
    let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let timed = text.len() == 24
        && text.bytes().take(13).all(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    hex || timed
}
