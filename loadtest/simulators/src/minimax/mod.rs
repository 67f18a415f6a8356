//! MiniMax Agent, the web chat of agent.minimaxi.com. Source: wire/minimax.md, all but `llm` of §11.
//!
//! Generations (§1), all at once unless one is asked for; the prefixes of the others then answer HTTP 404 (cloud) or the
//! site's page (archon, matrix):
//!
//! - `matrix`: a question is sent, then its chat is polled while the answer grows; sections 3, 4, 6, 8.
//! - `archon`, `cloud`: preparation, a session, and a stream; section 12.
//!
//! Account 1 pastes its token alone, account 2 with its real id, account 3 a token without claims that ends in five days.
//! In a script, `raw` is a stream byte for byte; in the matrix generation, one poll a line, with a status before it or not.

mod account;
mod ask;
mod cloud;
mod fault;
mod files;
mod matrix;
mod refusal;
mod signature;
mod stream;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use self::{
    account::{Accounts, Query},
    cloud::Sessions,
    files::Files,
    matrix::Chats,
    refusal::Refusal,
    stream::End,
};
use super::{
    Call, Control, Reply, Request, Simulator,
    faults::{ASK, Fault},
    numbered,
    prompt::{Answer, Question},
};

pub(super) fn simulator(base: &str) -> Box<dyn Simulator> {
    Box::new(MiniMax {
        base: base.to_owned(),
        state: Arc::default(),
    })
}

struct MiniMax {
    base: String,
    /// Shared with the answers under way, which free their session when they end.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    accounts: Accounts,
    chats: Chats,
    sessions: Sessions,
    files: Files,
}

const MATRIX: &str = "matrix";
const ARCHON: &str = "archon";
const CLOUD: &str = "cloud";

impl Simulator for MiniMax {
    fn faults(&self) -> &'static [Fault] {
        fault::FAULTS
    }

    fn quirks(&self) -> &'static [&'static str] {
        stream::QUIRKS
    }

    fn generations(&self) -> &'static [&'static str] {
        &[MATRIX, ARCHON, CLOUD]
    }

    fn env(&self, accounts: usize, _control: &Control) -> Vec<(String, String)> {
        let mut env: Vec<_> = ["", "_STREAM"]
            .map(|part| (format!("MINIMAX{part}_BASE_URL"), self.base.clone()))
            .into();
        env.extend(numbered("MINIMAX_TOKEN", accounts, |number| {
            self.state().accounts.credential(number)
        }));
        env
    }

    fn reply(&self, request: &Request, call: &mut Call, control: &Control) -> Reply {
        let result = self.answer(request, call, control);
        call.ok = result.is_ok();
        result.unwrap_or_else(|refusal| refusal)
    }

    /// Tokens outlive it, as a client keeps what it was given.
    fn reset(&self) {
        let state = &mut *self.state();
        state.chats = Chats::default();
        state.sessions = Sessions::default();
        state.files = Files::default();
    }
}

/// What a path is: the generation it belongs to, its step, and the id in it.
struct Place<'a> {
    generation: Option<&'static str>,
    step: &'static str,
    id: &'a str,
}

/// Where a request goes (§3, §12); `None`: nowhere.
fn place<'a>(method: &str, path: &'a str) -> Option<Place<'a>> {
    let at = |generation, step, id| Place {
        generation,
        step,
        id,
    };
    if let Some(step) = match (method, path) {
        ("GET", "/v1/api/user/info") => Some("user_info"),
        ("POST", "/v1/api/user/renewal") => Some("renewal"),
        ("POST", "/v1/api/user/device/register") => Some("register"),
        ("GET", "/v1/api/files/request_policy") => Some("policy"),
        ("POST", "/v1/api/files/policy_callback") => Some("callback"),
        ("POST", "/matrix/api/v1/commerce/get_membership_info") => Some("membership"),
        ("PUT", _) => Some("oss"),
        _ => None,
    } {
        return Some(at(None, step, ""));
    }
    if let Some(rest) = path.strip_prefix("/matrix/api/v1/chat/") {
        let step = match (method, rest) {
            ("POST", "send_msg") => ASK,
            ("POST", "get_chat_detail") => "poll",
            ("POST", "delete_chat") => "delete",
            ("POST", "create_chat") => "create",
            ("POST", "list_chat") => "list",
            _ => return None,
        };
        return Some(at(Some(MATRIX), step, ""));
    }
    let (generation, rest) = match path.strip_prefix("/minimax-cloud/api/v1/") {
        Some(rest) => (CLOUD, rest),
        None => (ARCHON, path.strip_prefix("/archon/api/v1/")?),
    };
    let parts: Vec<_> = rest.split('/').collect();
    let (step, id) = match (method, parts.as_slice()) {
        ("GET", ["config"]) => ("config", ""),
        ("GET", ["agent"]) => ("agent", ""),
        ("GET", ["channel", "connections"]) => ("connections", ""),
        ("POST", ["agent", id, "session"]) => ("session", *id),
        ("POST", ["session", id, "message"]) => (ASK, *id),
        ("GET", ["session", id, "message"]) => ("history", *id),
        ("GET", ["session", id]) => ("show", *id),
        ("POST", ["session", id, "archive"]) => ("archive", *id),
        _ => return None,
    };
    Some(at(Some(generation), step, id))
}

impl MiniMax {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let Some(place) = place(&request.method, &request.path) else {
            call.violate("no such path, or not by this method");
            return Err(Reply::html(404, "404 Not Found"));
        };
        place.step.clone_into(&mut call.step);
        if let Some(generation) = place.generation {
            call.note("generation", generation);
            if !control.speaks(generation) {
                // No violation: a client has to find out what is spoken.
                return Err(match generation {
                    CLOUD => Reply::html(404, "404 Not Found"),
                    _ => Reply::html(200, "MiniMax Agent"),
                });
            }
        }
        let mut state = self.state();
        if place.step == "oss" {
            strike(call, control)?;
            return state.files.put(request, call);
        }
        let query = match place.generation {
            None => Query::Account,
            Some(MATRIX) => Query::Matrix,
            Some(_) => Query::Cloud,
        };
        let account = state.accounts.check(request, query, &self.base, call)?;
        let body = match request.method.as_str() {
            "GET" => Value::Null,
            _ => request.json().map_err(|what| {
                call.violate(what);
                refusal::malformed()
            })?,
        };
        if place.step == ASK {
            return self.ask(&place, request, &body, account, call, state, control);
        }
        strike(call, control)?;
        let archon = place.generation == Some(ARCHON);
        let State {
            accounts,
            chats,
            sessions,
            files,
        } = &mut *state;
        match place.step {
            "poll" => chats.poll(&body, &request.body, account, call),
            "delete" => chats.delete(&body, &request.body, account, call, control),
            "create" => Ok(chats.create(account, control)),
            "list" => Ok(chats.list(account)),
            "config" => Ok(sessions.config(account, call)),
            "agent" => Ok(sessions.agents(account, call)),
            "connections" => Ok(sessions.connections(account, call)),
            "session" => sessions.open(place.id, &body, archon, account, call, control),
            "archive" => sessions.archive(place.id, &request.body, account, call, control),
            "history" | "show" => sessions.show(place.id, place.step == "history", account, call),
            "policy" => Ok(files.policy(account, &self.base)),
            "callback" => files.callback(&body, account, &self.base, call),
            "renewal" => accounts.renew(request, account, call),
            "register" => account::register(request, account, call),
            "membership" => Ok(matrix::membership(request, call)),
            _ => {
                let ticket = call.params.get("op_ticket") == Some(&Value::Bool(true));
                if call.fault == Some("op_ticket") && !ticket {
                    return Err(refusal::signature());
                }
                Ok(account::info(account))
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call taken apart, in one place"
    )]
    fn ask(
        &self,
        place: &Place<'_>,
        request: &Request,
        body: &Value,
        account: usize,
        call: &mut Call,
        mut state: MutexGuard<'_, State>,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let cloud = place.generation != Some(MATRIX);
        let archon = place.generation == Some(ARCHON);
        let ask = match cloud {
            true => ask::cloud(body, &request.body, archon, call),
            false => ask::matrix(body, &request.body, call),
        };
        let ask = ask.map_err(|what| {
            call.violate(what);
            refusal::malformed()
        })?;
        call.model = Some(ask.model.clone());
        call.prompt = Some(ask.prompt.clone());
        call.note("variant", ask.variant.clone());
        call.note("attachments", ask.attachments.len());
        call.turns = ask::turns(&ask.prompt).unwrap_or_else(|what| {
            call.violate(what);
            Vec::new()
        });
        state.files.allow(&ask.attachments, cloud, account, call)?;
        if !cloud {
            state.chats.allow(&ask, account, call)?;
            strike(call, control)?;
            let answer = self.say(&ask, call, control);
            let end = call.fault.map_or(End::Finished, fault::end);
            return Ok(state.chats.begin(ask, account, answer, end, call, control));
        }
        call.conversation = Some(place.id.to_owned());
        state.sessions.allow(place.id, &ask, account, call)?;
        strike(call, control)?;
        let answer = self.say(&ask, call, control);
        let end = call.fault.map_or(End::Finished, fault::end);
        state.sessions.begin(place.id, &ask, &answer.text.concat());
        let acts = answer.travel(stream::acts(&answer, &ask.prompt, &end));
        let (id, turn) = (place.id.to_owned(), ask.turn);
        let shared = Arc::clone(&self.state);
        let free = move || {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.sessions.free(&id, &turn);
        };
        Ok(Reply::stream(refusal::EVENT_STREAM, acts).ending(free))
    }

    fn say(&self, ask: &ask::Ask, call: &Call, control: &Control) -> Answer {
        let user = call.turns.iter().rev().find(|turn| turn.role == "user");
        let question = Question {
            text: user.map_or(ask.prompt.as_str(), |turn| turn.text.as_str()),
            model: &ask.model,
            // §4: M2.5 thinks on its own.
            thinking: ask.variant == "thinking" || ask.model == "MiniMax-M2.5",
            search: false,
            base: &self.base,
        };
        Answer::new(&question, control)
    }
}

/// Draws a fault that may refuse a call.
fn strike(call: &mut Call, control: &Control) -> Result<(), Refusal> {
    control
        .strike(call)?
        .and_then(fault::refused)
        .map_or(Ok(()), Err)
}
