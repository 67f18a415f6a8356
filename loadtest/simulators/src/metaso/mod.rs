//! Metaso, the search of metaso.cn. Source: wire/metaso.md.
//!
//! Generations (§1), both at once unless one is asked for; alone, the calls of the other one answer 404:
//!
//! - `searchv2`: a session, then its search as events; sections 4.3, 4.4, 6.
//! - `chat`: one call; section 10.
//!
//! Account 1 pastes `uid-sid`, account 2 the whole cookie header with those of the page's script, account 3 a `sid` of the
//! older length. Nothing can be deleted here (§8), so that no conversation is counted as left behind.

mod account;
mod ask;
mod fault;
mod refusal;
mod stream;

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use uuid::Uuid;

use self::{
    account::Accounts,
    ask::Ask,
    refusal::{EVENT_STREAM, Refusal},
    stream::{End, Ids},
};
use super::{
    Call, Control, Reply, Request, Simulator,
    faults::{ASK, Fault},
    numbered,
    prompt::{Answer, Question},
    script::Citation,
};

pub(super) fn simulator(base: &str) -> Box<dyn Simulator> {
    Box::new(Metaso {
        base: base.to_owned(),
        state: Mutex::default(),
    })
}

struct Metaso {
    base: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    accounts: Accounts,
    /// Searchv2: what a session was opened for; `None` once it was searched.
    sessions: HashMap<String, (usize, Option<Ask>)>,
    /// Chat: the made-up ids that were used, and the real conversations.
    used: HashSet<String>,
    conversations: HashMap<String, usize>,
    results: HashMap<String, (usize, Vec<Citation>)>,
    made: u64,
}

impl State {
    /// An id beyond 2^53, of 19 digits.
    fn id(&mut self) -> u64 {
        self.made += 1;
        8_641_000_000_000_000_000 + self.made
    }
}

const SEARCH: &str = "searchv2";
const CHAT: &str = "chat";

impl Simulator for Metaso {
    fn faults(&self) -> &'static [Fault] {
        fault::FAULTS
    }

    fn quirks(&self) -> &'static [&'static str] {
        stream::QUIRKS
    }

    fn generations(&self) -> &'static [&'static str] {
        &[SEARCH, CHAT]
    }

    fn env(&self, accounts: usize, _control: &Control) -> Vec<(String, String)> {
        let mut env = vec![("METASO_BASE_URL".to_owned(), self.base.clone())];
        env.extend(numbered("METASO_TOKEN", accounts, account::credential));
        env
    }

    fn reply(&self, request: &Request, call: &mut Call, control: &Control) -> Reply {
        let result = self.answer(request, call, control);
        call.ok = result.is_ok();
        result.unwrap_or_else(|refusal| refusal)
    }

    /// Meta-tokens and cookies outlive it, as a client keeps what it was given.
    fn reset(&self) {
        let state = &mut *self.state();
        let (accounts, made) = (std::mem::take(&mut state.accounts), state.made);
        *state = State {
            accounts,
            made,
            ..State::default()
        };
    }
}

/// The generation and step of each path (§3).
fn step(method: &str, path: &str) -> Option<(Option<&'static str>, &'static str)> {
    Some(match (method, path) {
        ("GET", "/") => (None, "home"),
        ("GET", "/api/my-info") => (None, "my_info"),
        ("POST", "/api/search/chat") => (Some(CHAT), ASK),
        ("POST", "/api/search-result") => (Some(CHAT), "result"),
        ("POST", "/api/session") => (Some(SEARCH), "session"),
        ("GET" | "POST", "/api/searchV2") => (Some(SEARCH), ASK),
        _ => return None,
    })
}

impl Metaso {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let Some((generation, step)) = step(&request.method, &request.path) else {
            call.violate("no such path, or not by this method");
            return Err(Reply::html(404, "404 Not Found"));
        };
        step.clone_into(&mut call.step);
        if let Some(generation) = generation {
            call.note("generation", generation);
            if !control.speaks(generation) {
                // No violation: a client has to find out what is spoken.
                return Err(Reply::html(404, "404 Not Found"));
            }
        }
        let mut state = self.state();
        if step == "home" {
            strike(call, control)?;
            return Ok(state.accounts.home(request, call));
        }
        if step == "my_info" {
            // §10.1: before it, nothing may have been set.
            let account = state.accounts.check(request, &self.base, call)?;
            strike(call, control)?;
            return Ok(state.accounts.my_info(account));
        }
        let account = state.accounts.check(request, &self.base, call)?;
        match (generation, step) {
            (Some(CHAT), ASK) => self.chat(request, account, call, state, control),
            (_, ASK) => self.search(request, account, call, state, control),
            (_, "result") => {
                strike(call, control)?;
                let body = request.json().unwrap_or_default();
                let id = body.get("resultId").and_then(Value::as_str);
                let own = id.and_then(|id| state.results.get(id));
                let Some((_, found)) = own.filter(|(own, _)| *own == account) else {
                    call.violate("resultId is of no answer of this account");
                    return Err(refusal::coded(200, 400, "参数错误"));
                };
                let list = found
                    .iter()
                    .map(|page| json!({"link": page.url, "title": page.title}));
                Ok(refusal::success(
                    &json!({"citations": list.collect::<Vec<_>>(), "not_citations": []}),
                ))
            }
            _ => session(request, account, call, &mut state, control),
        }
    }

    /// `POST /api/search/chat`.
    fn chat(
        &self,
        request: &Request,
        account: usize,
        call: &mut Call,
        mut state: MutexGuard<'_, State>,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        event_stream(request, call);
        if request.header("metaso-pc") != "pc" {
            call.violate("metaso-pc is not \"pc\"");
        }
        if request.header_bytes("token").is_some() {
            call.violate("the chat call has a Token header");
        }
        let body = request.json().map_err(|what| bad(call, what))?;
        if ask::names_conversation(&body) {
            return follow_up(&body, account, call, &state);
        }
        let ask = ask::chat(&body, call).map_err(|what| bad(call, what))?;
        if !state.used.insert(ask.id.clone()) {
            return Err(bad(call, "the message's id was used before".to_owned()));
        }
        note(&ask, call);
        if !state.accounts.is_token(&ask.token, account, call) {
            return Err(refusal::stale(true));
        }
        self.gate(request, account, call, &mut state, control, true)?;
        let answer = self.say(&ask, call, control);
        let end = call.fault.map_or(End::Finished, fault::end);
        let ids = Ids {
            conversation: state.id(),
            question: state.id(),
            answer: state.id(),
            result: Uuid::new_v4().simple().to_string(),
        };
        call.conversation = Some(ids.conversation.to_string());
        state
            .conversations
            .insert(ids.conversation.to_string(), account);
        let result = (account, answer.citations.clone());
        state.results.insert(ids.result.clone(), result);
        let acts = answer.travel(stream::chat(&answer, &ids, &end));
        Ok(Reply::stream(EVENT_STREAM, acts))
    }

    /// `GET` and `POST /api/searchV2`.
    fn search(
        &self,
        request: &Request,
        account: usize,
        call: &mut Call,
        mut state: MutexGuard<'_, State>,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        event_stream(request, call);
        let long = request.method == "POST";
        let ask = match long {
            true => request
                .json()
                .and_then(|body| ask::long(&body, &self.base, call)),
            false => ask::query(&request.query, &request.path, &self.base),
        };
        let ask = ask.map_err(|what| bad(call, what))?;
        note(&ask, call);
        if long && request.header("token") != ask.token {
            call.violate("the Token header is not the token of the body");
        }
        if !state.accounts.is_token(&ask.token, account, call) {
            return Err(refusal::stale(false));
        }
        let mut created = None;
        if ask.id.is_empty() {
            let id = state.id();
            call.conversation = Some(id.to_string());
            created = Some(id);
        } else {
            call.conversation = Some(ask.id.clone());
            let own = state.sessions.get(&ask.id);
            let wrong = match own.filter(|(own, _)| *own == account) {
                None => Some("sessionId is of no session of this account"),
                Some((_, None)) => Some("the session was searched before"),
                Some((_, Some(opened))) if opened.question != ask.question => {
                    Some("the question is not that of the session")
                }
                Some((_, Some(opened))) if opened.mode != ask.mode => {
                    Some("the mode is not that of the session")
                }
                Some((_, Some(opened))) if opened.engine != ask.engine => {
                    Some("the engine is not that of the session")
                }
                Some(_) => None,
            };
            if let Some(wrong) = wrong {
                return Err(bad(call, wrong.to_owned()));
            }
        }
        self.gate(request, account, call, &mut state, control, false)?;
        if let Some((_, opened)) = state.sessions.get_mut(&ask.id) {
            *opened = None;
        }
        let answer = self.say(&ask, call, control);
        let end = call.fault.map_or(End::Finished, fault::end);
        let result = Uuid::new_v4().simple().to_string();
        let acts = answer.travel(stream::search(&answer, &result, created, &end));
        Ok(Reply::stream(EVENT_STREAM, acts))
    }

    /// What keeps a good question from being answered.
    fn gate(
        &self,
        request: &Request,
        account: usize,
        call: &mut Call,
        state: &mut State,
        control: &Control,
        chat: bool,
    ) -> Result<(), Refusal> {
        match control.strike(call)? {
            Some("cookie_gate") if !account::passes_gate(request) => Err(refusal::stale(chat)),
            Some("token_expired") => {
                state.accounts.expire(account);
                Err(refusal::stale(chat))
            }
            Some(gone) if gone.starts_with("chat_gone") && !chat => Ok(()),
            Some(fault) => fault::refused(fault).map_or(Ok(()), Err),
            None => Ok(()),
        }
    }

    fn say(&self, ask: &Ask, call: &Call, control: &Control) -> Answer {
        let user = call.turns.iter().rev().find(|turn| turn.role == "user");
        let text = user.map_or(ask.question.as_str(), |turn| turn.text.as_str());
        // An answer that was asked for to the letter has no sources of its own accord.
        let free = !text.contains("echo:") && !text.contains("count:");
        let question = Question {
            text,
            model: &format!("metaso-{}", ask.mode),
            thinking: free || ask.mode.contains("research"),
            search: free,
            base: &self.base,
        };
        Answer::new(&question, control)
    }
}

/// A first turn that names a conversation is refused; a further one of this account would be answered by the site, and is
/// by no client (§10.4).
fn follow_up(
    body: &Value,
    account: usize,
    call: &mut Call,
    state: &State,
) -> Result<Reply, Refusal> {
    let id = body.get("conversationId").and_then(Value::as_str);
    let known = id.and_then(|id| state.conversations.get(id)) == Some(&account);
    call.violate(match known {
        true => "a conversation is gone on with",
        false => "a first turn names a conversation",
    });
    Err(refusal::entity())
}

/// `POST /api/session`.
fn session(
    request: &Request,
    account: usize,
    call: &mut Call,
    state: &mut State,
    control: &Control,
) -> Result<Reply, Refusal> {
    if request.header("is-mini-webview") != "0" {
        call.violate("Is-Mini-Webview is not 0");
    }
    let wrong = |call: &mut Call, what: String| {
        call.violate(what);
        refusal::coded(200, 400, "参数错误")
    };
    let body = request.json().map_err(|what| wrong(call, what))?;
    let ask = ask::session(&body, call).map_err(|what| wrong(call, what))?;
    let token = |state: &mut State| {
        state.accounts.expire(account);
        refusal::coded(200, 4003, "token 无效")
    };
    if !state
        .accounts
        .is_token(&request.header("token"), account, call)
    {
        return Err(refusal::coded(200, 4003, "token 无效"));
    }
    match control.strike(call)? {
        Some("session_token") => return Err(token(state)),
        Some(fault) => fault::refused(fault).map_or(Ok(()), Err)?,
        None => {}
    }
    let id = state.id();
    call.conversation = Some(id.to_string());
    state.sessions.insert(id.to_string(), (account, Some(ask)));
    // §4.3: the id is text or a number, in one of four places.
    let body = match account {
        1 => json!({"errCode": 0, "errMsg": "success", "data": {"id": id.to_string()}}),
        2 => json!({"errCode": 0, "errMsg": "success", "data": {"id": id}}),
        _ => json!({"errCode": 0, "errMsg": "success", "data": {"sessionId": id.to_string()}}),
    };
    Ok(Reply::json(200, &body))
}

fn note(ask: &Ask, call: &mut Call) {
    call.model = Some(ask.mode.clone());
    call.prompt = Some(ask.question.clone());
    call.note("engine", ask.engine.clone());
    call.turns = ask::turns(&ask.question).unwrap_or_else(|what| {
        call.violate(what);
        Vec::new()
    });
}

/// §4.1, §4.4, §10.1: a stream, and not a compressed one.
fn event_stream(request: &Request, call: &mut Call) {
    let accept = request.header("accept");
    if accept != "text/event-stream" {
        call.violate(format!("Accept is {accept:?}, not \"text/event-stream\""));
    }
    let encodings = request.header("accept-encoding");
    if !matches!(encodings.as_str(), "" | "identity") {
        call.violate("the stream is asked for compressed");
    }
}

fn bad(call: &mut Call, what: String) -> Refusal {
    call.violate(what);
    refusal::parameters()
}

/// Draws a fault that may refuse a call.
fn strike(call: &mut Call, control: &Control) -> Result<(), Refusal> {
    control
        .strike(call)?
        .and_then(fault::refused)
        .map_or(Ok(()), Err)
}
