//! Zhipu Qingyan, the web chat of chatglm.cn. Source: wire/zhipu.md.
//!
//! Generations (§2, §6), both at once unless one is asked for; at once, the service is that of today:
//!
//! - `cumulative`: frames repeat the text so far, the flag of increments is always false, sources stand in
//!   `metadata_list`, and a refresh token may be used again and again.
//! - `increments`: frames carry what is new, the finish frame the whole; a refresh token is void once it was used.
//!
//! Account 1 has a refresh token, account 2 an access token that cannot be renewed, account 3 a refresh token without a
//! device, pasted as a whole cookie. The answers of `recent_list` and of the list of models are not on the page; their
//! shapes are ours.

mod account;
mod ask;
mod chats;
mod fault;
mod files;
mod refusal;
mod signature;
mod stream;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use self::{
    account::{Accounts, Page},
    chats::Chats,
    files::{Files, Way},
    refusal::Refusal,
    stream::{End, Form, Frames},
};
use super::{
    Call, Control, Reply, Request, Simulator,
    faults::{ASK, Fault},
    numbered,
    prompt::{Answer, Question},
};

pub(super) fn simulator(base: &str) -> Box<dyn Simulator> {
    Box::new(Zhipu {
        base: base.to_owned(),
        state: Arc::default(),
    })
}

struct Zhipu {
    base: String,
    /// Shared with the answers under way, which free their account when they end.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    accounts: Accounts,
    chats: Chats,
    files: Files,
}

const CUMULATIVE: &str = "cumulative";
const INCREMENTS: &str = "increments";

const VIDEO: &str = "/chatglm/video-api/v1/chat";
const VIDEO_STATUS: &str = "/chatglm/video-api/v1/chat/status/";

/// The models that the site names.
const MODELS: [&str; 4] = ["glm-5.3", "glm-5", "glm-4.7", "glm-sim-new"];

impl Simulator for Zhipu {
    fn faults(&self) -> &'static [Fault] {
        fault::FAULTS
    }

    fn quirks(&self) -> &'static [&'static str] {
        stream::QUIRKS
    }

    fn generations(&self) -> &'static [&'static str] {
        &[CUMULATIVE, INCREMENTS]
    }

    fn env(&self, accounts: usize, _control: &Control) -> Vec<(String, String)> {
        let mut env = vec![("ZHIPU_BASE_URL".to_owned(), self.base.clone())];
        env.extend(numbered("ZHIPU_TOKEN", accounts, account::credential));
        env
    }

    fn reply(&self, request: &Request, call: &mut Call, control: &Control) -> Reply {
        let result = self.answer(request, call, control);
        call.ok = result.is_ok();
        result.unwrap_or_else(|refusal| refusal)
    }

    /// Tokens outlive it, as a client keeps what it was given.
    fn reset(&self) {
        let state = &mut *state(&self.state);
        state.chats = Chats::default();
        state.files = Files::default();
        state.accounts.configured();
    }
}

fn state(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The step and method of each path (§3).
fn step(method: &str, path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        "/chatglm/user-api/user/refresh" => ("refresh", "POST"),
        "/chatglm/backend-api/assistant/stream" => (ASK, "POST"),
        "/chatglm/backend-api/assistant/conversation/delete" => ("delete", "POST"),
        "/chatglm/backend-api/assistant/file_upload" => ("upload", "POST"),
        "/chatglm/productivity-api/file/chat_upload" => ("chat_upload", "POST"),
        "/chatglm/video-api/v1/static/upload" => ("static_upload", "POST"),
        "/chatglm/video-api/v1/static/composite_video" => ("compose", "POST"),
        "/chatglm/agent-api/operation/detail" => ("models", "GET"),
        "/chatglm/mainchat-api/conversation/recent_list" => ("list", "POST"),
        "/chatglm/mainchat-api/conversation/bulk_delete" => ("delete_many", "POST"),
        "/chatglm/user-api/user/info" => ("user", "GET"),
        "/chatglm/member-api/member/member_info" => ("member", "GET"),
        VIDEO => ("video", "POST"),
        _ if path.starts_with(VIDEO_STATUS) => ("video_status", "GET"),
        _ if path.starts_with(VIDEO) && method == "DELETE" => ("video_delete", "DELETE"),
        _ => return None,
    })
}

impl Zhipu {
    fn answer(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let Some((step, method)) = step(&request.method, &request.path) else {
            call.violate("no such path");
            return Err(Reply::html(404, "404 Not Found"));
        };
        step.clone_into(&mut call.step);
        if request.method != method {
            call.violate(format!("the method is {}, not {method}", request.method));
            return Err(Reply::html(405, "405 Method Not Allowed"));
        }
        match step {
            "refresh" => {
                let fault = strike(call, control);
                let rolled_back = call.fault == Some("refresh_rolled_back");
                if !rolled_back {
                    fault?;
                }
                let rotates = !control.only(CUMULATIVE);
                state(&self.state).accounts.refresh(request, call, rotates)
            }
            "upload" | "static_upload" => self.unsigned_upload(request, call, control),
            ASK => self.ask(request, call, control),
            _ => self.plain(request, call, control),
        }
    }

    /// §9: no signature, and answered even without a token, which is to be sent anyway.
    fn unsigned_upload(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let mut state = state(&self.state);
        let account = match request.header_bytes("authorization") {
            Some(_) => Some(state.accounts.bearer(request, call)?),
            None => {
                call.violate("there is no Authorization header");
                None
            }
        };
        strike(call, control)?;
        let way = match call.step.as_str() {
            "upload" => Way::File,
            _ => Way::Static,
        };
        let files = &mut state.files;
        files.upload(request, account, way, &self.base, call)
    }

    fn plain(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let step = call.step.clone();
        let step = step.as_str();
        let state = &mut *state(&self.state);
        let body = match step {
            "models" | "user" | "member" | "video_status" | "video_delete" | "chat_upload" => {
                Ok(Value::Null)
            }
            _ => request.json(),
        };
        let body = body.map_err(|what| {
            call.violate(what);
            refusal::bad_request()
        })?;
        let assistant = body.get("assistant_id").and_then(Value::as_str);
        let page = match (step, assistant) {
            ("compose" | "video" | "video_status" | "video_delete", _) => Page::Video,
            ("delete", Some(id)) if id != ask::MAIN => Page::Assistant(id),
            _ => Page::Main,
        };
        // §3: this call's signature is optional.
        let unsigned = step == "video_delete" && request.header_bytes("x-sign").is_none();
        let account = match unsigned {
            true => state.accounts.bearer(request, call)?,
            false => state.accounts.check(request, call, page)?,
        };
        if let Err(refusal) = strike(call, control) {
            if call.fault == Some("access_expired") {
                state.accounts.expire(request);
            }
            return Err(refusal);
        }
        let id = || request.path.rsplit('/').next().unwrap_or_default();
        match step {
            "delete" => state.chats.delete(&body, account, call, control),
            "delete_many" => state.chats.bulk_delete(&body, account, call, control),
            "list" => {
                let number = |key: &str| body.get(key).and_then(Value::as_u64);
                if number("page").is_none() || number("page_size").is_none() {
                    call.violate("page or page_size is missing");
                    return Err(refusal::bad_request());
                }
                Ok(state.chats.list(account))
            }
            "chat_upload" => {
                let files = &mut state.files;
                files.upload(request, Some(account), Way::Chat, &self.base, call)
            }
            "models" => {
                if request.query != "tag=available_models" {
                    call.violate(format!("the query is {:?}", request.query));
                    return Err(refusal::bad_request());
                }
                let list = MODELS.map(|id| json!({"model": id, "name": id.to_uppercase()}));
                Ok(refusal::success(
                    &json!({"tag": "available_models", "models": list}),
                ))
            }
            "video" => state.files.video(&body, account, call),
            "video_status" => state.files.status(id(), account, &self.base, call),
            "video_delete" => state.files.forget(id(), account, call),
            "compose" => state.files.compose(&body, account, call),
            "user" => Ok(account::user(account)),
            _ => Ok(account::member()),
        }
    }

    fn ask(&self, request: &Request, call: &mut Call, control: &Control) -> Result<Reply, Refusal> {
        let bad = |call: &mut Call, what: String| {
            call.violate(what);
            refusal::bad_request()
        };
        let body = request.json().map_err(|what| bad(call, what))?;
        let assistant = body.get("assistant_id").and_then(Value::as_str);
        let page = match assistant {
            Some(id) if id != ask::MAIN => Page::Assistant(id),
            _ => Page::Main,
        };
        let mut state = state(&self.state);
        let account = state.accounts.check(request, call, page)?;
        let ask = ask::read(&body, call).map_err(|what| bad(call, what))?;
        call.model = ask
            .selected_model
            .clone()
            .or_else(|| Some(ask.assistant.clone()));
        call.prompt = Some(ask.prompt.clone());
        call.note("assistant", ask.assistant.clone());
        call.note("mode", ask.mode.clone());
        call.note("networking", ask.networking);
        call.note("files", ask.files.len());
        call.turns = match ask.assistant.as_str() {
            ask::DRAWING => Vec::new(),
            _ => ask::turns(&ask.prompt).unwrap_or_else(|what| {
                call.violate(what);
                Vec::new()
            }),
        };
        if ask.assistant == ask::REFUSED {
            return Err(refusal::numbered(200, 10025, "智能体不可用"));
        }
        let is_id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if ask.assistant.len() < 24 || !ask.assistant.chars().all(is_id) {
            return Err(refusal::nobody());
        }
        state.files.allow(&ask.files, account, call)?;
        state.chats.allow(&ask, account, call)?;
        if let Err(refusal) = strike(call, control) {
            if call.fault == Some("access_expired") {
                state.accounts.expire(request);
            }
            return Err(refusal);
        }
        let answer = self.say(&ask, call, control);
        let end = call.fault.map_or(End::Finished, fault::end);
        let moderated = matches!(end, End::Moderated(_));
        let ids = state.chats.begin(&ask, account, moderated, control);
        drop(state);
        call.conversation = Some(ids.conversation.clone());
        let form = match control.only(CUMULATIVE) && !ask.increments {
            true => Form::Cumulative,
            false => Form::Increments,
        };
        let message = ids.message.clone();
        let lingers = call.fault == Some("lingers");
        let shared = Arc::clone(&self.state);
        let free = move || {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.chats.free(account, &message, lingers);
        };
        Ok(stream::reply(Frames::new(ids, ask.tag(), answer, form, end)).ending(free))
    }

    fn say(&self, ask: &ask::Ask, call: &Call, control: &Control) -> Answer {
        let user = call.turns.iter().rev().find(|turn| turn.role == "user");
        let text = user.map_or(ask.prompt.as_str(), |turn| turn.text.as_str());
        // §4.3: a drawing is four pictures and no words, unless it is ordered otherwise.
        let drawing = ask.assistant == ask::DRAWING;
        let four = format!("draw:4 echo:{text}");
        let question = Question {
            text: match drawing && !text.contains("draw:") {
                true => &four,
                false => text,
            },
            model: ask.selected_model.as_deref().unwrap_or("GLM"),
            thinking: ask.thinks() && !drawing,
            search: ask.networking,
            base: &self.base,
        };
        let mut answer = Answer::new(&question, control);
        if drawing && !answer.images.is_empty() {
            answer.text.clear();
        }
        answer
    }
}

/// Draws a fault that may refuse a call.
fn strike(call: &mut Call, control: &Control) -> Result<(), Refusal> {
    control
        .strike(call)?
        .and_then(fault::refused)
        .map_or(Ok(()), Err)
}
