//! Kimi, the web chat of www.kimi.com. Source: wire/kimi.md, all but alternate A (§10).
//!
//! Generations, all at once unless one is asked for:
//!
//! - `k2`: no K3. Alone, both of its scenarios are invalid arguments and the list of models does not exist.
//! - `k3_scenario`: K3 as `SCENARIO_K3` (form b of §4.2). Alone, SCENARIO_OK_COMPUTER is an invalid argument.
//! - `k3`: K3 as `SCENARIO_OK_COMPUTER` of ok-computer, as the service's own list has it. Alone, form b is refused, and
//!   what today's page always sends is missed.
//!
//! Account 2 is a member; long contexts and swarms of the others are refused, which says nothing about their tokens. Its
//! access tokens have no device under the fault `refresh_as_kimi_ai`, as those of www.kimi.ai.

mod account;
mod ask;
mod chats;
mod envelope;
mod events;
mod fault;
mod files;
mod marks;
mod models;
mod refusal;

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use self::{
    account::Accounts,
    chats::Chats,
    files::Files,
    refusal::{CONNECT, Error, INVALID, Refusal},
};
use super::{
    Call, Control, Reply, Request, Simulator,
    faults::{ASK, Fault},
    numbered,
    prompt::{Answer, Question},
    socket::{self, Opened},
};

pub(super) fn simulator(base: &str) -> Box<dyn Simulator> {
    Box::new(Kimi {
        base: base.to_owned(),
        state: Mutex::default(),
    })
}

struct Kimi {
    base: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    accounts: Accounts,
    chats: Chats,
    files: Files,
}

impl Simulator for Kimi {
    fn faults(&self) -> &'static [Fault] {
        fault::FAULTS
    }

    fn quirks(&self) -> &'static [&'static str] {
        events::QUIRKS
    }

    fn generations(&self) -> &'static [&'static str] {
        &["k2", SCENARIO, COMPUTER]
    }

    fn env(&self, accounts: usize, _control: &Control) -> Vec<(String, String)> {
        let mut env: Vec<_> = ["", "_AUTH", "_UPLOAD"]
            .map(|part| (format!("KIMI{part}_BASE_URL"), self.base.clone()))
            .into();
        let socket = self.base.replacen("http", "ws", 1);
        env.push(("KIMI_WS_BASE_URL".to_owned(), socket));
        env.extend(numbered("KIMI_TOKEN", accounts, account::credential));
        env
    }

    fn reply(&self, request: &Request, call: &mut Call, control: &Control) -> Reply {
        let result = self.answer(request, call, control);
        call.ok = result.is_ok();
        result.unwrap_or_else(|refusal| refusal)
    }

    fn socket(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Option<Result<Opened, Reply>> {
        (request.path == CHAT).then(|| {
            "handshake".clone_into(&mut call.step);
            self.state().accounts.check(request, call)?;
            for name in ["sec-websocket-protocol", "sec-websocket-extensions"] {
                if request.header_bytes(name).is_some() {
                    call.violate(format!("the handshake offers {name}"));
                }
            }
            strike(call, control)?;
            call.ok = true;
            Ok(Opened {
                is_complete: envelope::is_complete,
            })
        })
    }

    fn reset(&self) {
        *self.state() = State::default();
    }
}

/// K3 by a scenario of its own.
const SCENARIO: &str = "k3_scenario";
/// K3 by the scenario of ok-computer.
const COMPUTER: &str = "k3";
const CHAT: &str = "/apiv2/kimi.gateway.chat.v1.ChatService/Chat";

const MODELS: &str = "/apiv2/kimi.gateway.config.v1.ConfigService/GetAvailableModels";

/// The step and method of each path (§3).
fn step(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        CHAT => (ASK, "POST"),
        "/apiv2/kimi.chat.v1.ChatService/DeleteChat" => ("delete", "POST"),
        "/apiv2/kimi.chat.v1.ChatService/BatchDeleteChats" => ("delete_many", "POST"),
        "/apiv2/kimi.chat.v1.ChatService/ListChats" => ("list", "POST"),
        "/apiv2/kimi.gateway.chat.v1.ChatService/ListMessages" => ("messages", "POST"),
        "/apiv2/kimi.gateway.order.v1.SubscriptionService/GetSubscription" => {
            ("subscription", "POST")
        }
        "/apiv2/kimi.gateway.membership.v2.MembershipService/GetSubscription" => {
            ("subscription", "POST")
        }
        MODELS => ("models", "POST"),
        "/api/chat" => ("open", "POST"),
        "/api/user" => ("user", "GET"),
        "/api/device/register" => ("register", "POST"),
        "/api/account.gateway.v1.AuthService/RefreshToken" => ("refresh", "POST"),
        "/api/auth/token/refresh" => ("refresh_rest", "GET"),
        "/apiv2-files/file/upload" => ("upload", "POST"),
        "/apiv2-files/kimi.gateway.file.v1.FileService/GetFileParseProgress" => {
            ("progress", "POST")
        }
        "/api/chat/research/usage" => ("research_usage", "GET"),
        _ => return None,
    })
}

impl Kimi {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let Some((step, method)) = step(&request.path) else {
            call.violate("no such path");
            return Err(Reply::html(404, "404 Not Found"));
        };
        step.clone_into(&mut call.step);
        if request.method != method && !(step == ASK && request.method == socket::METHOD) {
            call.violate(format!("the method is {}, not {method}", request.method));
            return Err(Reply::html(405, "405 Method Not Allowed"));
        }
        match step {
            "refresh" => {
                strike(call, control)?;
                self.state().accounts.refresh(request, call)
            }
            "refresh_rest" => {
                strike(call, control)?;
                self.state().accounts.refresh_rest(request, call)
            }
            ASK => self.ask(request, call, control),
            _ => self.plain(request, call, control),
        }
    }

    fn plain(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let step = call.step.clone();
        let step = step.as_str();
        if step == "models" && !control.speaks(SCENARIO) && !control.speaks(COMPUTER) {
            // No violation: a client has to find out what is spoken.
            return Err(Reply::html(404, "404 Not Found"));
        }
        if step == "models" && request.header_bytes("authorization").is_none() {
            // §3: works without a login too.
            strike(call, control)?;
            return Ok(refusal::success(&models::available(None, control)));
        }
        let account = if step == "upload" {
            // §4.4: the upload has fewer headers than the rest.
            self.upload_account(request, call)?
        } else {
            self.state().accounts.check(request, call)?
        };
        let body = match (request.method.as_str(), step) {
            ("GET", _) | (_, "upload") => Value::Null,
            _ => request.json().map_err(|what| invalid(call, what).plain())?,
        };
        strike(call, control)?;
        let state = &mut *self.state();
        let id = || body.get("chat_id").cloned().unwrap_or_default();
        match step {
            "delete" => state.chats.delete(&[id()], account, call, control),
            "delete_many" => {
                let ids = body.get("chat_ids").and_then(Value::as_array);
                let ids = ids.cloned().unwrap_or_default();
                state.chats.delete(&ids, account, call, control)
            }
            "list" => Ok(state.chats.list(account)),
            "models" => Ok(refusal::success(&models::available(Some(account), control))),
            "open" => state.chats.open(&body, account, call, control),
            "messages" => state.chats.messages(&body, account, call),
            "subscription" => Ok(refusal::success(
                &json!({"subscription": {"userId": format!("sim-{account}"), "userName": "sim"}}),
            )),
            "user" => Ok(state.accounts.user(request, account, call)),
            "register" => Ok(state.accounts.register(call)),
            "upload" => state.files.upload(request, account, call),
            "progress" => state.files.progress(&body, account, call),
            _ => Ok(refusal::success(
                &json!({"remain": 5, "total": 5, "used": 0}),
            )),
        }
    }

    /// An upload needs the token and the platform (§4.4).
    fn upload_account(&self, request: &Request, call: &mut Call) -> Result<usize, Refusal> {
        let account = self.state().accounts.bearer(request, call)?;
        call.account = Some(account);
        if request.header("x-msh-platform") != "web" {
            call.violate("x-msh-platform is not \"web\"");
        }
        Ok(account)
    }

    fn ask(&self, request: &Request, call: &mut Call, control: &Control) -> Result<Reply, Refusal> {
        if request.method != socket::METHOD {
            let content_type = request.header("content-type");
            if content_type != CONNECT {
                call.violate(format!("Content-Type is {content_type:?}, not {CONNECT:?}"));
                return Err(Reply::new(415, "text/plain", ""));
            }
            if request.header("connect-protocol-version") != "1" {
                let what = "Connect-Protocol-Version is not 1".to_owned();
                return Err(invalid(call, what).plain());
            }
        }
        let account = self.state().accounts.check(request, call)?;
        let today = control.only(COMPUTER);
        if today && request.header("x-msh-version").starts_with('1') {
            call.violate("x-msh-version is of 2026-04");
        }
        // From here on the stream has begun: refusals are trailers.
        let ask = envelope::decode(&request.body)
            .and_then(|payload| ask::read(payload, call, today))
            .map_err(|what| invalid(call, what).trailer())?;
        call.model = Some(ask.scenario.clone());
        call.prompt = Some(ask.prompt.clone());
        call.note("thinking", ask.thinking);
        call.note("search", ask.search);
        if let Some(options) = &ask.options {
            call.note("options", options.clone());
        }
        let generation = models::allow(&ask, account, control).map_err(Error::trailer)?;
        if let Some(generation) = generation {
            call.note("generation", generation);
        }
        call.note("files", ask.files.len());
        call.turns = ask::turns(&ask.prompt).unwrap_or_else(|what| {
            call.violate(what);
            Vec::new()
        });
        let state = self.state();
        state
            .chats
            .allow(&ask, account, call)
            .map_err(Error::trailer)?;
        if state.files.wrong(&ask.files, account, call) {
            return Err(refusal::NOT_FOUND.trailer());
        }
        drop(state);
        let fault = control.strike(call)?;
        if let Some(refusal) = fault.and_then(fault::refused) {
            return Err(refusal);
        }
        let answer = self.say(&ask, call, control);
        let text = answer.text.concat();
        let ids = self.state().chats.begin(&ask, account, text, control);
        call.conversation = Some(ids.chat.clone());
        let stop = fault.and_then(fault::stop);
        let acts = events::acts(&answer, &ask, &ids, stop);
        Ok(Reply::stream(CONNECT, acts))
    }

    fn say(&self, ask: &ask::Ask, call: &Call, control: &Control) -> Answer {
        let user = call.turns.iter().rev().find(|turn| turn.role == "user");
        let question = Question {
            text: user.map_or(ask.prompt.as_str(), |turn| turn.text.as_str()),
            model: &ask.scenario,
            thinking: ask.thinking,
            search: ask.search,
            base: &self.base,
        };
        Answer::new(&question, control)
    }
}

fn invalid(call: &mut Call, what: String) -> Error {
    call.violate(what);
    INVALID
}

/// Draws a fault that may refuse a plain call.
fn strike(call: &mut Call, control: &Control) -> Result<(), Refusal> {
    control
        .strike(call)?
        .and_then(fault::refused)
        .map_or(Ok(()), Err)
}
