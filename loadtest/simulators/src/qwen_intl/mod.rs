//! Qwen's international site, the web chat of chat.qwen.ai, with the store that it lends keys for and the CDN that its
//! results lie on. Source: wire/qwen_intl.md.
//!
//! Generations (§3), both at once unless one is asked for: `v1` has the flat forms of upload grant, task and login, `v2`
//! those in an envelope; whatever the page knows in one form only is always there.
//!
//! Account 1 has all three headers, account 2 a cookie alone, account 3 a login alone.

mod account;
mod ask;
mod chats;
mod fault;
mod files;
mod refusal;
mod results;
mod signature;
mod stream;
mod tasks;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use uuid::Uuid;

use self::{
    account::{Accounts, Wants},
    chats::Chats,
    files::Files,
    refusal::Refusal,
    stream::{End, Frames, Ids},
    tasks::Tasks,
};
use super::{
    Call, Control, Reply, Request, Simulator,
    faults::{ASK, Fault},
    prompt::{Answer, Question},
};

pub(super) fn simulator(base: &str) -> Box<dyn Simulator> {
    Box::new(QwenIntl {
        base: base.to_owned(),
        state: Arc::default(),
    })
}

struct QwenIntl {
    base: String,
    /// Shared with the answers under way, which free their chat when all is said.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    accounts: Accounts,
    chats: Chats,
    files: Files,
    tasks: Tasks,
}

const V1: &str = "v1";
const V2: &str = "v2";

const SHORT: &str = "application/json, text/plain, */*";
/// The site's list: six entries, as in 2026-09, one of them new.
const MODELS: [&str; 6] = [
    "qwen3.7-plus",
    "qwen3.7-max",
    "qwen3.6-plus",
    "qwen3-vl-plus",
    "qwen3-coder-plus",
    "qwen9-sim-new",
];

/// What a path is for: its step, its method, and the generation that it belongs to alone.
struct Route<'a> {
    step: &'static str,
    method: &'static str,
    generation: Option<&'static str>,
    /// The id at its end, or in its query.
    id: &'a str,
}

fn route<'a>(method: &str, path: &'a str, query: &'a str) -> Option<Route<'a>> {
    let of = |step, method, generation, id| {
        Some(Route {
            step,
            method,
            generation,
            id,
        })
    };
    let chat = query.strip_prefix("chat_id=").unwrap_or_default();
    match path {
        "/api/v2/chats/new" => of("create", "POST", None, ""),
        "/api/v2/chat/completions" => of(ASK, "POST", None, chat),
        "/api/v2/chat/completions/stop" => of("stop", "POST", None, chat),
        "/api/v2/chats/" => of("list", "GET", None, ""),
        "/api/models" => of("models", "GET", None, ""),
        "/api/v2/models/" => of("models", "GET", Some(V2), ""),
        "/api/v2/files/getstsToken" => of("grant", "POST", Some(V2), ""),
        "/api/v1/files/getstsToken" => of("grant", "POST", Some(V1), ""),
        "/api/v2/auths/signin" => of("signin", "POST", Some(V2), ""),
        "/api/v1/auths/signin" => of("signin", "POST", Some(V1), ""),
        "/api/v1/auths/" => of("auths", "GET", None, ""),
        _ => {
            let after = |prefix: &str| path.strip_prefix(prefix).filter(|id| !id.is_empty());
            if let Some(id) = after("/api/v2/chats/") {
                let (step, method) = match method {
                    "DELETE" => ("delete", "DELETE"),
                    _ => ("detail", "GET"),
                };
                return of(step, method, None, id);
            }
            if let Some(id) = after("/api/v2/task/status/") {
                return of("task", "GET", Some(V2), id);
            }
            if let Some(id) = after("/api/v1/tasks/status/") {
                return of("task", "GET", Some(V1), id);
            }
            if path.starts_with("/output/") {
                return of("result", "GET", None, "");
            }
            if method == "PUT" {
                return of("store", "PUT", None, "");
            }
            None
        }
    }
}

impl Simulator for QwenIntl {
    fn faults(&self) -> &'static [Fault] {
        fault::FAULTS
    }

    fn quirks(&self) -> &'static [&'static str] {
        stream::QUIRKS
    }

    fn generations(&self) -> &'static [&'static str] {
        &[V1, V2]
    }

    fn env(&self, accounts: usize, _control: &Control) -> Vec<(String, String)> {
        let mut env: Vec<(String, String)> = ["BASE", "UPLOAD_BASE", "CDN_BASE"]
            .iter()
            .map(|place| (format!("QWEN_INTL_{place}_URL"), self.base.clone()))
            .collect();
        env.extend((1..=accounts).flat_map(account::env));
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
        state.tasks = Tasks::default();
        state.accounts.configured();
    }
}

fn state(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

impl QwenIntl {
    fn answer(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let Some(route) = route(&request.method, &request.path, &request.query) else {
            call.violate("no such path");
            return Err(refusal::no_path());
        };
        route.step.clone_into(&mut call.step);
        if request.method != route.method {
            call.violate(format!("the method is {}", request.method));
            return Err(Reply::json(405, &json!({"detail": "Method Not Allowed"})));
        }
        if route.generation.is_some_and(|it| !control.speaks(it)) {
            return Err(refusal::no_path());
        }
        match route.step {
            "result" => Ok(results::reply(request, call)),
            "store" => {
                strike(call, control)?;
                let now = now_ms() / 1000;
                state(&self.state).files.put(request, now, call)
            }
            ASK => self.ask(request, &route, call, control),
            _ => self.plain(request, &route, call, control),
        }
    }

    fn plain(
        &self,
        request: &Request,
        route: &Route<'_>,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let page = format!("c/{}", route.id);
        let wants = Wants {
            accept: SHORT,
            page: match route.step {
                "stop" | "delete" => &page,
                _ => "",
            },
            is_question: false,
        };
        let state = &mut *state(&self.state);
        let is_newer = route.generation == Some(V2);
        let body = match route.method {
            "POST" => request.json(),
            _ => Ok(Value::Null),
        };
        let body = body.map_err(|what| {
            call.violate(what);
            refusal::internal()
        })?;
        // §2.1: the list is open to guests, and a bad token is none of its business.
        if matches!(route.step, "models" | "signin") {
            state.accounts.guest(request, call, wants)?;
            strike(call, control)?;
            return match route.step {
                "signin" => state.accounts.sign_in(&body, is_newer, call),
                _ => Ok(models(is_newer)),
            };
        }
        let account = state.accounts.check(request, call, wants)?;
        let fault = strike(call, control);
        let fault = match call.fault {
            Some(soft @ ("task_failed" | "task_moderated")) => Some(soft),
            _ => {
                fault?;
                None
            }
        };
        match route.step {
            "create" => {
                let chats = &mut state.chats;
                chats.create(&body, account, now_ms(), call, control)
            }
            "stop" => state.chats.stop(&body, route.id, account, call),
            "detail" => state.chats.detail(route.id, account, call),
            "delete" => state.chats.delete(route.id, account, call, control),
            "list" => Ok(state.chats.list(account)),
            "grant" => state.files.grant(&body, account, is_newer, call),
            "task" => {
                let look = state.tasks.look(route.id, account, is_newer, fault, call);
                let (reply, is_over) = look?;
                if is_over {
                    state.chats.filmed(route.id);
                }
                Ok(reply)
            }
            _ => Ok(Reply::json(
                200,
                &json!({"id": account.to_string(), "role": "user"}),
            )),
        }
    }

    fn ask(
        &self,
        request: &Request,
        route: &Route<'_>,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let bad = |call: &mut Call, what: String| {
            call.violate(what);
            refusal::internal()
        };
        let body = request.json().map_err(|what| bad(call, what))?;
        let is_streamed = body.get("stream") == Some(&Value::Bool(true));
        let page = format!("c/{}", route.id);
        let wants = Wants {
            accept: match is_streamed {
                true => "text/event-stream",
                false => "application/json",
            },
            page: &page,
            is_question: true,
        };
        let shared = Arc::clone(&self.state);
        let mut state = state(&self.state);
        let account = state.accounts.check(request, call, wants)?;
        let ask = ask::read(&body, now_ms() / 1000, call).map_err(|what| bad(call, what))?;
        if ask.chat != route.id {
            return Err(bad(
                call,
                "chat_id of the query is not the body's".to_owned(),
            ));
        }
        call.model = Some(ask.model.clone());
        call.prompt = Some(ask.prompt.clone());
        call.conversation = Some(ask.chat.clone());
        call.note("kind", ask.kind.clone());
        call.note("thinking", ask.thinking);
        call.note("files", ask.files.len());
        if let Some(size) = &ask.size {
            call.note("size", size.clone());
        }
        call.turns = ask::turns(&ask.prompt);
        state.files.allow(&ask.files, &ask.kind, account, call)?;
        state.chats.allow(&ask, account, call)?;
        if let Err(refusal) = strike(call, control) {
            match call.fault {
                Some("unauthorized" | "unauthorized_401") => state.accounts.expire(request),
                Some("chat_not_found" | "not_exist") => state.chats.lose(&ask.chat, control),
                _ => {}
            }
            return Err(refusal);
        }
        let ids = Ids {
            chat: ask.chat.clone(),
            response: Uuid::new_v4().to_string(),
        };
        if ask.is_video() {
            let task = state.tasks.begin(account, &ask.kind, &ask.prompt)?;
            let extra = json!({"wanx": {"task_id": task}});
            state.chats.films(&ask.chat, &task);
            state.chats.end(&ask.chat, &ids.response, "", &extra);
            let shown = match call.fault {
                Some("no_task") => json!({}),
                _ => extra,
            };
            return Ok(tasks::submitted(
                &ask.chat,
                &ids.response,
                &ask.kind,
                &shown,
            ));
        }
        let answer = self.say(&ask, call, control);
        let end = call.fault.map_or(End::Finished, fault::end);
        let picture = ask.is_picture().then(|| {
            let kind = &ask.kind;
            let key = Uuid::new_v4().simple();
            format!("https://cdn.qwenlm.ai/output/sim/{kind}/{key}.png?key=sim-key-{key}")
        });
        state.chats.begin(&ask.chat, &ids.response);
        drop(state);
        let kept = match (&picture, call.fault) {
            (Some(_), Some("no_picture_at_all")) => String::new(),
            (Some(url), _) => url.clone(),
            (None, _) => answer.text.concat(),
        };
        let (chat, response) = (ids.chat.clone(), ids.response.clone());
        let done = move || {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.chats.end(&chat, &response, &kept, &json!({}));
        };
        let frames = Frames::new(ids, answer, picture, end).repeating(!ask.increments);
        Ok(stream::reply(frames, done))
    }

    fn say(&self, ask: &ask::Ask, call: &Call, control: &Control) -> Answer {
        let user = call.turns.iter().rev().find(|turn| turn.role == "user");
        let question = Question {
            text: user.map_or(ask.prompt.as_str(), |turn| turn.text.as_str()),
            model: &ask.model,
            thinking: ask.thinking,
            search: ask.search,
            base: &self.base,
        };
        Answer::new(&question, control)
    }
}

fn models(is_newer: bool) -> Reply {
    let rows = MODELS.map(|id| {
        json!({"id": id, "name": id.to_uppercase(), "info": {"meta": {"chat_type": ["t2t", "t2i"],
            "capabilities": {"vision": true, "document": true, "thinking": true}, "max_context_length": 1_000_000}}})
    });
    let list = json!({"data": rows});
    if is_newer {
        refusal::success(&list)
    } else {
        Reply::json(200, &list)
    }
}

/// Draws a fault that may refuse a call.
fn strike(call: &mut Call, control: &Control) -> Result<(), Refusal> {
    control
        .strike(call)?
        .and_then(fault::refused)
        .map_or(Ok(()), Err)
}
