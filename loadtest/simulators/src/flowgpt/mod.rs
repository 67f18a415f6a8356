//! FlowGPT, the prompts of flowgpt.com. Source: wire/flowgpt.md.
//!
//! There is one generation. Account 1 has an opaque token, account 2 a JSON web token and a WAF token to be replayed, account
//! 3 a JSON web token. Nothing can be deleted here (§8), so that no conversation is counted as left behind.
//!
//! The signature that is wanted is `device-colon`; the faults `wants_device_concat` and `wants_auth_dash` want another.

mod account;
mod ask;
mod fault;
mod signature;
mod stream;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::json;
use uuid::Uuid;

use self::{
    account::Accounts,
    ask::{Ask, Context},
    stream::End,
};
use super::{
    Call, Control, Reply, Request, Simulator,
    faults::{ASK, Fault},
    numbered,
    prompt::{Answer, Question},
};

/// A reply that refuses.
type Refusal = Reply;

pub(super) fn simulator(base: &str) -> Box<dyn Simulator> {
    Box::new(FlowGpt {
        base: base.to_owned(),
        state: Mutex::default(),
    })
}

struct FlowGpt {
    base: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    accounts: Accounts,
    /// What each conversation knows, and whether it was asked in.
    conversations: HashMap<String, (usize, Context, bool)>,
}

impl Simulator for FlowGpt {
    fn faults(&self) -> &'static [Fault] {
        fault::FAULTS
    }

    fn quirks(&self) -> &'static [&'static str] {
        stream::QUIRKS
    }

    fn env(&self, accounts: usize, _control: &Control) -> Vec<(String, String)> {
        let mut env = vec![("FLOWGPT_BASE_URL".to_owned(), self.base.clone())];
        for (at, name) in account::VARIABLES.iter().enumerate() {
            env.extend(numbered(name, accounts, |number| {
                account::credential(number, at)
            }));
        }
        env
    }

    fn reply(&self, request: &Request, call: &mut Call, control: &Control) -> Reply {
        let result = self.answer(request, call, control);
        call.ok = result.is_ok();
        result.unwrap_or_else(|refusal| refusal)
    }

    fn reset(&self) {
        *self.state() = State::default();
    }
}

impl FlowGpt {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let step = match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/conversation/create") => "create",
            ("POST", "/v3/chat") => ASK,
            _ => {
                // §3: the description of a prompt is not used, and the call without an account is historic.
                call.violate("no such path, or not by this method");
                return Err(fault::said(404, "Not Found"));
            }
        };
        step.clone_into(&mut call.step);
        let mut state = self.state();
        let account = state.accounts.who(request, call)?;
        match step {
            "create" => create(request, account, call, &mut state, control),
            _ => self.ask(request, account, call, state, control),
        }
    }

    /// `POST /v3/chat`.
    fn ask(
        &self,
        request: &Request,
        account: usize,
        call: &mut Call,
        mut state: MutexGuard<'_, State>,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let body = request.json().map_err(|what| bad(call, what))?;
        let ask = ask::question(&body, call).map_err(|what| bad(call, what))?;
        call.model = Some(ask.model.clone());
        call.prompt = Some(ask.question.clone());
        call.conversation = Some(ask.conversation.clone());
        call.note("prompt_id", ask.prompt.clone());
        call.note("temperature", ask.temperature);
        let struck = control.strike(call)?;
        if let Some(mode) = signature::wanted(struck) {
            state
                .accounts
                .check_signature(request, account, mode, call)?;
        }
        let context = state
            .belongs(&ask, account)
            .map_err(|what| bad(call, what))?;
        call.turns = context.turns;
        if let Some(refusal) = struck.and_then(fault::refused) {
            return Err(refusal);
        }
        if let Some((_, _, is_asked)) = state.conversations.get_mut(&ask.conversation) {
            *is_asked = true;
        }
        let question = Question {
            text: &ask.question,
            model: &ask.model,
            thinking: false,
            search: false,
            base: &self.base,
        };
        let answer = Answer::new(&question, control);
        let end = struck.map_or(End::Finished, fault::end);
        let acts = answer.travel(stream::acts(&answer, ask::has_preamble(&ask.prompt), &end));
        // §6: the content type is unknown, so that nobody should lean on it.
        let content_type = [
            "text/plain; charset=utf-8",
            "application/json",
            "text/event-stream",
        ];
        let content_type = content_type.get(account - 1).copied().unwrap_or_default();
        Ok(Reply::stream(content_type, acts))
    }
}

impl State {
    /// What the conversation of a question knows.
    fn belongs(&self, ask: &Ask, account: usize) -> Result<Context, String> {
        let known = self.conversations.get(&ask.conversation);
        let Some((_, context, is_asked)) = known.filter(|(own, ..)| *own == account) else {
            return Err("conversationId is of no conversation of this account".to_owned());
        };
        if *is_asked {
            return Err("a conversation is gone on with".to_owned());
        }
        if context.prompt != ask.prompt {
            return Err("promptId is not that of the conversation".to_owned());
        }
        let mut turns = context.turns.iter().rev();
        let user = turns.find(|turn| turn.role == "user");
        if user.is_none_or(|user| user.text != ask.question) {
            return Err("the question is not the last user message of the context".to_owned());
        }
        Ok(context.clone())
    }
}

/// `POST /conversation/create`.
fn create(
    request: &Request,
    account: usize,
    call: &mut Call,
    state: &mut State,
    control: &Control,
) -> Result<Reply, Refusal> {
    for name in ["x-nonce", "x-timestamp", "x-signature"] {
        if request.header_bytes(name).is_some() {
            call.violate(format!("a new conversation has the header {name}"));
        }
    }
    let body = request.json().map_err(|what| bad(call, what))?;
    let context = ask::context(&body, call).map_err(|what| bad(call, what))?;
    call.turns.clone_from(&context.turns);
    let struck = control.strike(call)?;
    if let Some(refusal) = struck.and_then(fault::refused) {
        return Err(refusal);
    }
    if !ask::is_prompt(&context.prompt) {
        return Err(fault::said(404, "Prompt not found"));
    }
    if struck == Some("no_id") {
        return Ok(Reply::json(200, &json!({"promptId": context.prompt})));
    }
    let id = Uuid::new_v4().simple().to_string();
    call.conversation = Some(id.clone());
    state
        .conversations
        .insert(id.clone(), (account, context, false));
    // Any 2xx will do.
    let status = if account == 1 { 201 } else { 200 };
    Ok(Reply::json(status, &json!({"id": id, "title": null})))
}

fn bad(call: &mut Call, what: String) -> Refusal {
    call.violate(what.clone());
    fault::said(400, &what)
}
