//! The generation of www.qianwen.com: signed questions, one-time salts. Source: wire/qwen.md §11.
//!
//! A request with a wrong signature is answered with HTTP 200 and one fixed sentence ([`refusal::SENTENCE`]), as §11.1 has
//! it, and written down as a violation.

mod ask;
mod items;
mod refusal;
mod security;
mod sessions;
mod signature;
pub(super) mod stream;
mod workspace;

use std::collections::HashMap;

use serde_json::{Value, json};

use self::{
    ask::Ask,
    security::Security,
    sessions::Sessions,
    stream::{End, Frames, Ids},
    workspace::Workspace,
};
use super::{BUSY, account, ask as dialog, refusal as older};
use crate::{
    Call, Control, Reply, Request,
    faults::{ASK, Fault},
    prompt::{Answer, Question},
};

/// Faults of this generation alone; those of the older one that a question can suffer mean the same here.
pub(super) const FAULTS: &[Fault] = &[
    ("ex015", ASK),            // a signature error that is told as such
    ("captcha", ASK),          // the slider is wanted
    ("captcha_page", ASK),     // the same as a page
    ("refusal_sentence", ASK), // the sentence of a wrong signature, though it was right
    ("no_content", ASK),       // an event stream without a frame
    ("register_refused", "register"),
    ("no_salts", "register"),       // a registration without salts
    ("few_salts", "register"),      // no refusal: as few salts as a client refreshes at
    ("short_deadline", "register"), // no refusal: a deadline that a client refreshes at
    ("refresh_refused", "refresh"),
    ("models_refused", "models"),
    ("oss_token_refused", "oss_token"),
    ("put_refused", "put"),
    ("callback_refused", "callback"), // an empty ws_gid
    ("no_cdn_url", "callback"),       // no refusal: only material_url
];

/// The step and method of each path (§11.2).
pub(super) fn step(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        "/security/external/access/register" => ("register", "POST"),
        "/security/external/access/refresh" => ("refresh", "GET"),
        "/api/calibration/getMillisTimeStamp" => ("clock", "GET"),
        "/api/v2/chat" => (ASK, "POST"),
        "/api/v1/model/list" => ("models", "GET"),
        "/api/v2/session/page/list" => ("list", "POST"),
        "/api/v1/session/msg/list" => ("history", "GET"),
        "/api/v1/session/delete" | "/api/v1/session/delete/batch" => ("delete", "POST"),
        "/1/oss_token" => ("oss_token", "POST"),
        "/1/oss/callback" => ("callback", "POST"),
        path if path.trim_start_matches('/').starts_with("sim-workspace") => ("put", "PUT"),
        _ => return None,
    })
}

/// Everything that this generation remembers.
#[derive(Debug, Default)]
pub(super) struct Chat2 {
    security: Security,
    sessions: Sessions,
    workspace: Workspace,
    /// The device of each account: the same for as long as it is configured.
    devices: HashMap<usize, String>,
}

impl Chat2 {
    /// The registrations, and nothing else.
    pub(super) fn emptied(self) -> Self {
        Self {
            security: self.security,
            ..Self::default()
        }
    }

    pub(super) fn answer(
        &mut self,
        base: &str,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Reply> {
        match call.step.clone().as_str() {
            "register" => {
                let body = body(request, call)?;
                strike(call, control)?;
                Ok(self.security.register(request, &body, call))
            }
            "refresh" => {
                strike(call, control)?;
                Ok(self.security.refresh(request, call))
            }
            "clock" => {
                strike(call, control)?;
                Ok(security::clock())
            }
            "put" => {
                strike(call, control)?;
                self.workspace.put(request, call)
            }
            ASK => self.ask(base, request, call, control),
            step @ ("oss_token" | "callback") => self.upload(step, request, call, control),
            step => self.plain(step, request, call, control),
        }
    }

    /// The calls of chat2-api: a part of the query, no signature.
    fn plain(
        &mut self,
        step: &str,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Reply> {
        let more: &[&str] = if step == "history" {
            &["session_id"]
        } else {
            &[]
        };
        let device = ask::query(request, call, false, more);
        if device.is_empty() {
            call.violate("the query has no ut");
            return Err(refusal::bad("ut"));
        }
        let account = self.signed_in(request, call, &device)?;
        if !same_token(request) {
            call.violate("x-xsrf-token does not repeat the XSRF-TOKEN cookie, URL-decoded");
            return Err(older::csrf());
        }
        home(request, call)?;
        let body = match request.method.as_str() {
            "GET" => Value::Null,
            _ => body(request, call)?,
        };
        strike(call, control)?;
        match step {
            "delete" => self.sessions.delete(&body, account, call, control),
            "list" if body == json!({"next_token": ""}) => Ok(self.sessions.list(account)),
            "list" => {
                call.violate("the body is not an empty next_token");
                Err(refusal::bad("next_token"))
            }
            "history" => {
                let id = signature::pairs(&request.query).find(|(name, _)| *name == "session_id");
                let id = id.map(|(_, id)| id).unwrap_or_default();
                self.sessions.history(&id, account, call)
            }
            _ => Ok(models()),
        }
    }

    fn upload(
        &mut self,
        step: &str,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Reply> {
        let more: &[&str] = if step == "callback" { &["req_id"] } else { &[] };
        let device = ask::query(request, call, true, more);
        let account = self.signed_in(request, call, &device)?;
        home(request, call)?;
        let body = body(request, call)?;
        if let Err(what) = self.security.check(request, "workspace_api") {
            call.violate(what);
            return Err(refusal::signature());
        }
        strike(call, control)?;
        match step {
            "oss_token" => self.workspace.token(&body, account, call),
            _ => self.workspace.callback(&body, account, call),
        }
    }

    fn ask(
        &mut self,
        base: &str,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Reply> {
        let device = ask::query(request, call, true, &[]);
        let account = self.signed_in(request, call, &device)?;
        home(request, call)?;
        if request.header("x-platform") != "pc_tongyi" || device.is_empty() {
            call.violate("x-platform is not pc_tongyi, or the query's ut is empty");
            return Err(refusal::nothing());
        }
        if !request.header("accept").contains("text/event-stream") {
            call.violate("Accept holds no text/event-stream");
            return Err(refusal::empty_body());
        }
        if !same_token(request) {
            call.violate("x-xsrf-token does not repeat the XSRF-TOKEN cookie, URL-decoded");
        }
        let body = body(request, call)?;
        let bad = |call: &mut Call, name: &str| {
            call.violate(format!("{name} is missing or wrong"));
            refusal::bad(name)
        };
        let ask = ask::read(&body, call).map_err(|name| bad(call, name))?;
        ask::headers(request, &ask, &device, call);
        note(&ask, call);
        if !self.sessions.is_fresh(&ask.req_id) {
            return Err(bad(call, "req_id"));
        }
        if let Err(what) = self.security.check(request, "qwen_chat") {
            call.violate(what);
            return Ok(sentence(&ask));
        }
        self.sessions
            .allow(&ask, account)
            .map_err(|name| bad(call, name))?;
        if !ask
            .pictures
            .iter()
            .all(|picture| self.workspace.allow(picture, account))
        {
            return Err(bad(call, "resource_infos"));
        }
        let fault = control.strike(call)?;
        if fault == Some("refusal_sentence") {
            return Ok(sentence(&ask));
        }
        if let Some(refusal) = fault.and_then(refused) {
            return Err(refusal);
        }
        let mut answer = say(&ask, base, call, control);
        if fault == Some("system_busy_text") {
            answer.text = vec![BUSY.to_owned()];
        }
        let text = answer.text.concat();
        self.sessions.begin(&ask, account, &text, control);
        Ok(told(&ask, answer, fault.map_or(End::Finished, end)))
    }

    /// The account of the cookie, and whether its device is still the same.
    fn signed_in(
        &mut self,
        request: &Request,
        call: &mut Call,
        device: &str,
    ) -> Result<usize, Reply> {
        let hash_alone = request.cookie("tongyi_sso_ticket_hash").is_some()
            && request.cookie("tongyi_sso_ticket").is_none();
        if hash_alone {
            call.violate("the cookie has tongyi_sso_ticket_hash but no tongyi_sso_ticket");
            return Err(refusal::signature());
        }
        let account = account::signed_in(request, call).map_err(|_| refusal::auth_failed(200))?;
        call.account = Some(account);
        call.note("generation", super::CHAT2);
        if !device.is_empty()
            && *self
                .devices
                .entry(account)
                .or_insert_with(|| device.to_owned())
                != device
        {
            call.violate("ut is not the same as before for this account");
        }
        Ok(account)
    }
}

/// Without Origin, Referer and a browser's name the firewall answers.
fn home(request: &Request, call: &mut Call) -> Result<(), Reply> {
    let origin = "https://www.qianwen.com";
    let here = request.header("origin") == origin && request.header("referer").starts_with(origin);
    match request.user_agent_violation() {
        None if here => Ok(()),
        what => {
            call.violate(
                what.unwrap_or_else(|| "Origin or Referer is missing or wrong".to_owned()),
            );
            Err(refusal::captcha())
        }
    }
}

fn same_token(request: &Request) -> bool {
    let cookie = request.cookie("XSRF-TOKEN");
    cookie.is_none_or(|cookie| {
        request.header("x-xsrf-token") == crate::request::percent_decode(&cookie)
    })
}

fn body(request: &Request, call: &mut Call) -> Result<Value, Reply> {
    request.json().map_err(|what| {
        call.violate(what);
        refusal::bad("body")
    })
}

fn strike(call: &mut Call, control: &Control) -> Result<(), Reply> {
    control.strike(call)?.and_then(refused).map_or(Ok(()), Err)
}

fn note(ask: &Ask, call: &mut Call) {
    call.model = Some(ask.model.clone());
    call.prompt = Some(ask.prompt.clone());
    call.conversation = Some(ask.session_id.clone());
    call.note("reqId", ask.req_id.clone());
    call.note("parentReqId", ask.parent_req_id.clone());
    call.note("deepSearch", ask.deep_search);
    call.note("attachments", ask.pictures.len());
    call.turns = dialog::turns(&ask.prompt).unwrap_or_else(|what| {
        call.violate(what);
        Vec::new()
    });
}

fn say(ask: &Ask, base: &str, call: &Call, control: &Control) -> Answer {
    let user = call.turns.iter().rev().find(|turn| turn.role == "user");
    let question = Question {
        text: user.map_or(ask.prompt.as_str(), |turn| turn.text.as_str()),
        model: &ask.model,
        thinking: ask.deep_search,
        search: ask.deep_search,
        base,
    };
    Answer::new(&question, control)
}

/// What a wrong signature gets as its answer.
fn sentence(ask: &Ask) -> Reply {
    told(ask, Answer::saying(refusal::SENTENCE), End::Finished)
}

fn told(ask: &Ask, answer: Answer, end: End) -> Reply {
    let ids = Ids {
        session: ask.session_id.clone(),
        request: ask.req_id.clone(),
    };
    let frames = Frames::new(ids, &ask.prompt, &ask.model, answer.clone(), end);
    let acts = answer.travel(Box::new(frames));
    Reply::stream(older::EVENT_STREAM, acts)
}

/// `GET /api/v1/model/list`: what the account may pick.
fn models() -> Reply {
    let names = [
        ("Qwen", "Qwen3.7-千问"),
        ("Qwen3.8-Max", "Qwen3.8-Max"),
        ("Qwen3.7-Max", "Qwen3.7-Max"),
        ("Qwen3.6-Flash", "Qwen3.6-Flash"),
    ];
    let list = names.map(|(model, name)| json!({"model": model, "name": name}));
    refusal::success(&json!({"list": list}))
}

/// How the answer ends under a fault that lets it begin.
fn end(fault: &str) -> End {
    match fault {
        "moderated_before_text" => End::Moderated(0),
        "moderated_after_text" => End::Moderated(2),
        "empty" => End::Empty,
        "system_busy" => End::Error(50_002, "系统繁忙，请稍后再试"),
        "unknown_error_code" => End::Error(99_999, "奇怪的错误"),
        _ => End::Finished,
    }
}

/// The reply under a fault that refuses the call.
fn refused(fault: &str) -> Option<Reply> {
    Some(match fault {
        "not_login" | "not_login_json" | "not_login_spaced" | "list_not_login" => {
            refusal::auth_failed(200)
        }
        "login_ticket_invalid" => refusal::auth_failed(401),
        "csrf" => older::csrf(),
        "session_not_exist" | "session_not_exist_spaced" => refusal::frame(40_004, "会话不存在"),
        "rate_limited" | "rate_limited_retry_after" => Reply::json(
            429,
            &json!({"success": false, "code": 429, "msg": "请求过于频繁"}),
        ),
        "too_many_requests" => refusal::frame(42_900, "请求过于频繁，请稍后再试"),
        "model_not_support" => refusal::frame(40_012, "模型不支持"),
        "param_error" => refusal::bad("messages"),
        "file_not_exist" => refusal::frame(40_020, "文件不存在"),
        "file_sec_checking" => refusal::frame(40_021, "文件安全检测中"),
        "garbage" => older::garbage(),
        "empty_body" => older::nothing(),
        "no_content" => refusal::nothing(),
        "ex015" => refusal::signature(),
        "captcha" => refusal::captcha(),
        "captcha_page" => refusal::captcha_page(),
        "register_refused" | "refresh_refused" => security::refused("SYSTEM_ERROR"),
        "models_refused" | "oss_token_refused" | "delete_refused" => {
            refusal::code(500, "internal error")
        }
        "put_refused" => older::oss(403, "AccessDenied", "Access denied by bucket policy."),
        _ => return None,
    })
}
