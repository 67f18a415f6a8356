//! Tongyi Qianwen, the domestic web chat. Source: wire/qwen.md.
//!
//! Generations (§1), both at once unless one is asked for; alone, the paths of the other one answer 404:
//!
//! - `dialog`: `/dialog/*`, cookies and no signature; sections 4, 6, 7, 8. Here.
//! - `chat2`: the hosts of §11.2 on one port, signed requests. In [`chat2`], all of section 11 but picture generation.

mod account;
mod ask;
mod chat2;
mod refusal;
mod sessions;
mod stream;
mod upload;

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use self::{
    refusal::Refusal,
    sessions::Sessions,
    stream::{End, Frames},
    upload::Uploads,
};
use super::{
    Call, Control, Reply, Request, Simulator,
    faults::{ASK, Fault},
    prompt::{Answer, Question},
};

/// Faults of this service, on the step they belong to. Source: wire/qwen.md §8.
const FAULTS: &[Fault] = &[
    ("not_login", ASK),                // an error frame under HTTP 200
    ("not_login_json", ASK),           // the same as a JSON body
    ("not_login_spaced", ASK),         // spelled `NOT LOGIN`
    ("login_ticket_invalid", ASK),     // HTTP 401
    ("csrf", ASK),                     // HTTP 403
    ("session_not_exist", ASK),        // an error frame
    ("session_not_exist_spaced", ASK), // spelled `SESSION NO EXIST`
    ("rate_limited", ASK),             // HTTP 429
    ("rate_limited_retry_after", ASK), // HTTP 429 with Retry-After
    ("too_many_requests", ASK),        // an error frame
    ("system_busy", ASK),              // a session is opened, then an error frame
    ("system_busy_text", ASK),         // an answer that only says so
    ("moderated_before_text", ASK),
    ("moderated_after_text", ASK),
    ("empty", ASK),      // a finished frame without parts
    ("empty_body", ASK), // no frame at all
    ("garbage", ASK),
    ("model_not_support", ASK),
    ("param_error", ASK),
    ("file_not_exist", ASK),
    ("file_sec_checking", ASK),
    ("unknown_error_code", ASK), // a session is opened, then an error frame that no page lists
    ("upload_token_refused", "upload_token"),
    ("oss_xml_error", "upload"),
    ("oss_5xx", "upload"),
    ("download_link_refused", "download_link"),
    ("download_links_refused", "download_links"),
    ("sec_refused", "sec_result"),
    ("sec_pending", "sec_result"), // the check is not over yet
    ("delete_refused", "delete"),
    ("list_not_login", "list"),
];

const DIALOG: &str = "dialog";
const CHAT2: &str = "chat2";

/// The faults of both generations.
static ALL_FAULTS: LazyLock<Vec<Fault>> = LazyLock::new(|| [FAULTS, chat2::FAULTS].concat());

/// What an answer says instead of failing (§8).
const BUSY: &str = "抱歉，系统超时，请稍后重试";

pub(super) fn simulator(base: &str) -> Box<dyn Simulator> {
    Box::new(Qwen {
        base: base.to_owned(),
        state: Mutex::default(),
    })
}

struct Qwen {
    base: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: Sessions,
    uploads: Uploads,
    chat2: chat2::Chat2,
}

impl Simulator for Qwen {
    fn faults(&self) -> &'static [Fault] {
        &ALL_FAULTS
    }

    fn generations(&self) -> &'static [&'static str] {
        &[DIALOG, CHAT2]
    }

    fn quirks(&self) -> &'static [&'static str] {
        stream::QUIRKS
    }

    fn env(&self, accounts: usize, _control: &Control) -> Vec<(String, String)> {
        let mut env = vec![
            ("QWEN_BASE_URL".to_owned(), self.base.clone()),
            ("QWEN_UPLOAD_BASE_URL".to_owned(), self.base.clone()),
        ];
        let hosts = ["CHAT", "API", "SECURITY", "WORKSPACE"];
        env.extend(hosts.map(|host| (format!("QWEN_{host}_BASE_URL"), self.base.clone())));
        for number in 1..=accounts {
            if let Some((cookie, token)) = account::credential(number) {
                env.push((format!("CN_ACCOUNT_{number}_COOKIE"), cookie.to_owned()));
                env.push((format!("CN_ACCOUNT_{number}_XSRF_TOKEN"), token));
            }
        }
        env
    }

    fn reply(&self, request: &Request, call: &mut Call, control: &Control) -> Reply {
        let result = self.answer(request, call, control);
        call.ok = result.is_ok();
        result.unwrap_or_else(|refusal| refusal)
    }

    /// Registrations outlive it, as a client keeps what it was given.
    fn reset(&self) {
        let state = &mut *self.state();
        let chat2 = std::mem::take(&mut state.chat2);
        *state = State {
            chat2: chat2.emptied(),
            ..State::default()
        };
    }
}

/// The step of each path (§4.1). All are POST.
fn step(path: &str) -> Option<&'static str> {
    Some(match path {
        "/dialog/conversation" => ASK,
        "/dialog/session/delete" => "delete",
        "/dialog/session/list" => "list",
        "/dialog/chat/list" => "history",
        "/dialog/uploadToken" => "upload_token",
        "/dialog/downloadLink" => "download_link",
        "/dialog/downloadLink/batch" => "download_links",
        "/dialog/secResult/batch" => "sec_result",
        "/assistant/api/record/list" => "prewarm",
        "/" => "upload",
        _ => return None,
    })
}

impl Qwen {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        if let Some((step, method)) = chat2::step(&request.path) {
            step.clone_into(&mut call.step);
            if !control.speaks(CHAT2) {
                return Err(Reply::html(404, "404 Not Found"));
            }
            if request.method != method {
                call.violate(format!("the method is {}, not {method}", request.method));
                return Err(Reply::html(405, "405 Method Not Allowed"));
            }
            let chat2 = &mut self.state().chat2;
            return chat2.answer(&self.base, request, call, control);
        }
        let Some(step) = step(&request.path) else {
            call.violate("no such path");
            return Err(refusal::with_status(404, "NOT_FOUND", "Not Found"));
        };
        if !control.speaks(DIALOG) {
            // No violation: a client has to find out what is spoken.
            step.clone_into(&mut call.step);
            return Err(Reply::html(404, "404 Not Found"));
        }
        step.clone_into(&mut call.step);
        if request.method != "POST" {
            call.violate(format!("the method is {}, not POST", request.method));
            return Err(refusal::with_status(
                405,
                "METHOD_NOT_ALLOWED",
                "Method Not Allowed",
            ));
        }
        if step == "upload" {
            return self.upload(request, call, control);
        }
        let accept = if step == ASK {
            "text/event-stream"
        } else {
            "application/json, text/plain, */*"
        };
        let account = account::check(request, call, accept)?;
        let body = request.json().map_err(|what| param_error(call, what))?;
        if step == ASK {
            return self.ask(&body, account, call, control);
        }
        if let Some(refusal) = control.strike(call)?.and_then(refused) {
            return Err(refusal);
        }
        let mut state = self.state();
        match step {
            "delete" => state.sessions.delete(&body, account, call, control),
            "list" => Ok(state.sessions.list(account)),
            "history" => state.sessions.history(&body, account, call),
            "upload_token" => Ok(state.uploads.token(account)),
            "download_link" => state.uploads.link(&body, account, call),
            "download_links" => state.uploads.links(&body, account, call),
            "sec_result" => {
                let fault = call.fault;
                state.uploads.checked(&body, account, call, fault)
            }
            _ => prewarm(&body, call),
        }
    }

    fn upload(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        if let Some(refusal) = control.strike(call)?.and_then(refused) {
            return Err(refusal);
        }
        self.state().uploads.store(request, call)
    }

    fn ask(
        &self,
        body: &Value,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let ask = ask::read(body, call).map_err(|what| param_error(call, what))?;
        call.model = Some(ask.model.clone());
        call.prompt = Some(ask.prompt.clone());
        call.note("requestId", ask.request_id.clone());
        call.note("sessionId", ask.session_id.clone());
        call.note("parentMsgId", ask.parent_msg_id.clone());
        call.note("deepThink", ask.deep_think);
        call.note("search", ask.search);
        call.note("attachments", ask.attachments.len());
        call.turns = ask::turns(&ask.prompt).unwrap_or_else(|what| {
            call.violate(what);
            Vec::new()
        });
        let mut state = self.state();
        if !state.sessions.is_fresh(&ask.request_id) {
            return Err(param_error(call, "requestId was used before".to_owned()));
        }
        state.sessions.allow(&ask, account, call)?;
        for attachment in &ask.attachments {
            state.uploads.allow(attachment, account, call)?;
        }
        if !ask::is_model(&ask.model) {
            return Err(refusal::frame("MODEL_NOT_SUPPORT", "模型不支持"));
        }
        let fault = control.strike(call)?;
        if let Some(refusal) = fault.and_then(refused) {
            return Err(refusal);
        }
        let mut answer = self.say(&ask, call, control);
        let end = end(fault);
        if fault == Some("system_busy_text") {
            answer.text = vec![BUSY.to_owned()];
        }
        let moderated = matches!(end, End::Moderated(_));
        let ids = state
            .sessions
            .begin(&ask, account, &answer.text.concat(), moderated, control);
        call.conversation = Some(ids.session.clone());
        let acts = answer.travel(Box::new(Frames::new(ids, answer.clone(), end)));
        Ok(Reply::stream(refusal::EVENT_STREAM, acts))
    }

    fn say(&self, ask: &ask::Ask, call: &Call, control: &Control) -> Answer {
        let user = call.turns.iter().rev().find(|turn| turn.role == "user");
        let question = Question {
            text: user.map_or(ask.prompt.as_str(), |turn| turn.text.as_str()),
            model: &ask.model,
            thinking: ask.deep_think,
            search: ask.search,
            base: &self.base,
        };
        Answer::new(&question, control)
    }
}

fn param_error(call: &mut Call, what: String) -> Refusal {
    call.violate(what);
    refusal::json("PARAM_ERROR", "参数错误")
}

/// The optional call of seed 001's page (§4.1).
fn prewarm(body: &Value, call: &mut Call) -> Result<Reply, Refusal> {
    let expected = json!({
        "pageNo": 1, "terminal": "web", "pageSize": 10_000, "module": "uploadhistory",
        "fileTypes": ["file", "audio", "video"], "recordSources": ["chat", "zhiwen", "tingwu"],
        "status": [20, 30, 40, 41], "taskTypes": ["local", "net_source", "doc_read", "paper_read", "book_read"],
    });
    if *body == expected {
        return Ok(refusal::success(&json!({"batchRecord": [], "total": 0})));
    }
    Err(param_error(
        call,
        "the body is not that of the page's pre-warm call".to_owned(),
    ))
}

/// How the answer ends under a fault that lets it begin.
fn end(fault: Option<&str>) -> End {
    match fault {
        Some("moderated_before_text") => End::Moderated(0),
        Some("moderated_after_text") => End::Moderated(2),
        Some("empty") => End::Empty,
        Some("system_busy") => End::Error("SYSTEM_BUSY", "系统繁忙"),
        Some("unknown_error_code") => End::Error("SIM_STRANGE_ERROR", "奇怪的错误"),
        _ => End::Finished,
    }
}

/// The reply under a fault that refuses the call.
fn refused(fault: &str) -> Option<Refusal> {
    Some(match fault {
        "not_login" => refusal::frame("NOT_LOGIN", "NOT_LOGIN"),
        "not_login_json" | "list_not_login" => refusal::json("NOT_LOGIN", "NOT_LOGIN"),
        "not_login_spaced" => refusal::frame("NOT LOGIN", "NOT LOGIN"),
        "login_ticket_invalid" => refusal::login_ticket_invalid(),
        "csrf" => refusal::csrf(),
        "session_not_exist" => refusal::frame("SESSION_NO_EXIST", "SESSION_NO_EXIST"),
        "session_not_exist_spaced" => refusal::frame("SESSION NO EXIST", "SESSION NO EXIST"),
        "rate_limited" | "rate_limited_retry_after" => {
            refusal::with_status(429, "TOO_MANY_REQUESTS", "请求过于频繁")
        }
        "too_many_requests" => refusal::frame("TOO_MANY_REQUESTS", "请求过于频繁"),
        "model_not_support" => refusal::frame("MODEL_NOT_SUPPORT", "模型不支持"),
        "param_error" => refusal::frame("PARAM_ERROR", "参数错误"),
        "file_not_exist" => refusal::frame("FILE_NOT_EXIST", "文件不存在"),
        "file_sec_checking" => refusal::frame("FILE_SEC_CHECKING", "文件安全检测中"),
        "garbage" => refusal::garbage(),
        "empty_body" => refusal::nothing(),
        "oss_xml_error" => refusal::oss(403, "AccessDenied", "Access denied by bucket policy."),
        "oss_5xx" => refusal::oss(
            503,
            "ServiceUnavailable",
            "Please reduce your request rate.",
        ),
        "upload_token_refused" | "download_link_refused" => {
            refusal::json("SYSTEM_ERROR", "系统异常")
        }
        "download_links_refused" => refusal::success(
            &json!({"results": [{"url": null, "docId": null, "errorMsg": "文件解析失败"}]}),
        ),
        "delete_refused" => refusal::json("INTERNAL_ERROR", "internal error"),
        _ => return None,
    })
}
