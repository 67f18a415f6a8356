//! DeepSeek, the web chat of chat.deepseek.com. Source: wire/deepseek.md, all but `edit_message` (§3).
//!
//! Accounts log in as `sim-N@example.com` or `+86 1380000000N` with the password `sim-password`, today from the device
//! `BSimDevice0Kq7+N2rT9wXy4ZbLm8PdQs5HgFj3CkAeUoRiWtVn6SxGz1Yh0DcMf7Ba/p2Uu8Ee3Rr5Tt6Yy1Gg==`.
//!
//! Generations, both at once unless one is asked for:
//!
//! - `v2.0`: any device may log in. Alone, the paths of today (`check_device`, `resume_stream`, `fetch_page`, the second side
//!   channel) do not exist.
//! - `v2.5`: those paths. Alone, only the device above logs in (§2), and the headers and body fields that the site has today
//!   (§4) are missed and written down as violations; the service forgives them, as it does in life.
//!
//! The second side channel answers below `/hif-dliq`, so that the two can be told apart on one port.

mod account;
mod ask;
mod fault;
mod files;
mod hif;
mod message;
mod older;
mod patches;
mod paths;
mod pow;
mod refusal;
mod sessions;
mod stream;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use self::{
    account::{Accounts, Caller},
    files::Files,
    hif::Hif,
    message::Message,
    patches::Patches,
    pow::Challenges,
    refusal::Refusal,
    sessions::Sessions,
    stream::End,
};
use super::{
    Call, Control, Reply, Request, Simulator,
    faults::{ASK, Fault},
    prompt::{Answer, Question},
};

pub(super) fn simulator(base: &str) -> Box<dyn Simulator> {
    Box::new(DeepSeek {
        base: base.to_owned(),
        state: Mutex::default(),
    })
}

struct DeepSeek {
    base: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    accounts: Accounts,
    challenges: Challenges,
    sessions: Sessions,
    files: Files,
    hif: Hif,
}

impl Simulator for DeepSeek {
    fn faults(&self) -> &'static [Fault] {
        fault::FAULTS
    }

    fn quirks(&self) -> &'static [&'static str] {
        stream::QUIRKS
    }

    fn generations(&self) -> &'static [&'static str] {
        &["v2.0", TODAY]
    }

    fn env(&self, accounts: usize, _control: &Control) -> Vec<(String, String)> {
        vec![
            ("DEEPSEEK_BASE_URL".to_owned(), self.base.clone()),
            ("DEEPSEEK_HIF_BASE_URL".to_owned(), self.base.clone()),
            (
                "DEEPSEEK_HIF_DLIQ_BASE_URL".to_owned(),
                format!("{}/hif-dliq", self.base),
            ),
            ("DEEPSEEK_TOKEN".to_owned(), account::setting(accounts)),
        ]
    }

    fn reply(&self, request: &Request, call: &mut Call, control: &Control) -> Reply {
        let result = self.answer(request, call, control);
        call.ok = result.is_ok();
        result.unwrap_or_else(|refusal| refusal)
    }

    fn reset(&self) {
        let mut state = self.state();
        // What was given stays good for its time, as the clock is not set back (§4).
        *state = State {
            hif: std::mem::take(&mut state.hif),
            ..State::default()
        };
    }
}

const TODAY: &str = "v2.5";
impl DeepSeek {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let today = control.only(TODAY);
        let known = paths::step(&request.path).filter(|(_, method)| request.method == *method);
        let Some((step, method)) = known else {
            call.violate(format!("there is no {} of this path", request.method));
            return Err(refusal::site());
        };
        step.clone_into(&mut call.step);
        let is_new = matches!(step, "hif_dliq" | "check_device" | "resume" | "sessions");
        if is_new && !control.speaks(TODAY) {
            // No violation: a client cannot know which service it meets.
            return Err(refusal::site());
        }
        if matches!(step, "hif" | "hif_dliq") {
            account::client(request, call, false)?;
            strike(call, control)?;
            return Ok(self.state().hif.give(request, call));
        }
        if step == "login" {
            account::client(request, call, today)?;
            if today && !request.header("referer").ends_with("/sign_in") {
                call.violate("the site logs in from its page /sign_in");
            }
            let body = body(request, call)?;
            strike(call, control)?;
            let accounts = &mut self.state().accounts;
            return accounts.login(&body, request, call, today);
        }
        let caller = self.state().accounts.check(request, call, today)?;
        let is_stream = matches!(step, ASK | "continue" | "resume");
        self.state().hif.check(request, call, is_stream || !today);
        self.origin(request, call);
        let body = match (method, step) {
            ("GET", _) | (_, "upload") => Value::Null,
            _ => body(request, call)?,
        };
        if matches!(step, ASK | "upload") {
            let mut state = self.state();
            state.challenges.check(request, &caller.token, call)?;
        } else if request.header_bytes("x-ds-pow-response").is_some() {
            call.violate("a proof is sent where none belongs");
        }
        match step {
            ASK => self.ask(request, &body, &caller, call, control),
            "continue" => self.go_on(&body, &caller, call, control),
            "resume" => self.resume(&body, &caller, call, control),
            _ => self.plain(step, request, &body, &caller, call, control),
        }
    }

    /// Browsers say where they come from; whoever says so says it right (§4).
    fn origin(&self, request: &Request, call: &mut Call) {
        let homes = [self.base.as_str(), "https://chat.deepseek.com"];
        for (name, alone) in [("origin", true), ("referer", false)] {
            let value = request.header(name);
            let right = |home: &&str| match value.strip_prefix(*home) {
                Some(path) if alone => path.is_empty(),
                Some(path) => path == "/" || path == "/sign_in" || path.starts_with("/a/chat/s/"),
                None => false,
            };
            if !value.is_empty() && !homes.iter().any(right) {
                call.violate(format!("{name} is {value:?}"));
            }
        }
    }

    fn plain(
        &self,
        step: &str,
        request: &Request,
        body: &Value,
        caller: &Caller,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        self.strike_token(call, control, caller)?;
        let account = caller.account;
        let state = &mut *self.state();
        match step {
            "current" => Ok(state.accounts.current(account)),
            "quota" => Ok(refusal::success(
                &json!({"thinking": {"quota": 50, "used": 0}}),
            )),
            "settings" => paths::settings(request, call),
            "create" => state.sessions.create(body, account, call, control),
            "delete" => state.sessions.delete(body, account, call, control),
            "challenge" => state.challenges.create(body, &caller.token, call),
            "check_device" => state.accounts.check_device(body, request, caller, call),
            "sessions" => state.sessions.page(&request.query, account, call),
            "history" => state.sessions.history(&request.query, account, call),
            "upload" => state.files.upload(request, account, call),
            "fetch_files" => state.files.fetch(&request.query, account, call),
            "fork" => state.files.fork(body, account, call),
            _ => {
                state.sessions.named(body, account, call)?.stop();
                Ok(refusal::success(&Value::Null))
            }
        }
    }

    /// Draws a fault that may refuse the call; whose token is refused may log in again.
    fn strike_token(
        &self,
        call: &mut Call,
        control: &Control,
        caller: &Caller,
    ) -> Result<Option<&'static str>, Refusal> {
        let fault = control.strike(call)?;
        if fault.is_some_and(|fault| fault.contains("token")) {
            self.state().accounts.refused(caller.account);
        }
        match fault.and_then(fault::refused) {
            Some(refusal) => Err(refusal),
            None => Ok(fault),
        }
    }

    fn ask(
        &self,
        request: &Request,
        body: &Value,
        caller: &Caller,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let ask = ask::read(body, call, control.only(TODAY))?;
        call.model = Some(ask.model.to_owned());
        call.prompt = Some(ask.prompt.clone());
        call.note("parent_message_id", ask.parent);
        call.note("thinking_enabled", ask.thinking);
        call.note("search_enabled", ask.search);
        call.note("files", ask.files.len());
        call.turns = ask::turns(&ask.prompt).unwrap_or_else(|what| {
            call.violate(what);
            Vec::new()
        });
        let id = self.state().sessions.allow(&ask, caller.account, call)?;
        self.state().files.allow(&ask, caller.account, call)?;
        let fault = self.strike_token(call, control, caller)?;
        let end = match fault {
            Some(fault) => fault::end(fault),
            None if ask.model == "expert" && account::major(request) < Some(2) => {
                call.violate("expert wants x-client-version 2 or more");
                fault::unsupported_client()
            }
            None if ask.prompt.chars().count() > ask.limit() => {
                call.violate("the prompt is longer than the model takes");
                fault::too_long()
            }
            None => End::Finished,
        };
        let answer = self.say(&ask, call, control);
        let message = Arc::new(Message::new(id, ask, answer));
        self.state().sessions.begin(&message);
        Ok(told(&message, 0, end))
    }

    /// `POST /api/v0/chat/continue` (§8).
    fn go_on(
        &self,
        body: &Value,
        caller: &Caller,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let message = self.state().sessions.named(body, caller.account, call)?;
        if body.get("fallback_to_resume") != Some(&json!(true)) {
            call.violate("fallback_to_resume is not true");
            return Err(refusal::missing("fallback_to_resume"));
        }
        let open = matches!(message.status(), "INCOMPLETE" | "AUTO_CONTINUE");
        if message.is_running() || !open {
            call.violate(format!(
                "an answer that is {} cannot be continued",
                message.status()
            ));
            return Err(refusal::biz(26, "invalid message id"));
        }
        let fault = self.strike_token(call, control, caller)?;
        message.go_on();
        Ok(told(
            &message,
            message.said(),
            fault.map_or(End::Finished, fault::end),
        ))
    }

    /// `POST /api/v0/chat/resume_stream` (§8): an answer whose connection broke is taken up again.
    fn resume(
        &self,
        body: &Value,
        caller: &Caller,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let message = self.state().sessions.named(body, caller.account, call)?;
        if message.is_running() {
            call.violate("an answer whose connection is there needs no resuming");
            return Err(refusal::biz(26, "invalid message id"));
        }
        if message.said() == 0 {
            call.violate("an answer is resumed before any text of it came");
        }
        if !message.resume() {
            call.violate("an answer is resumed for the second time");
        }
        let fault = self.strike_token(call, control, caller)?;
        if fault == Some("resume_finished") {
            message.finish();
        }
        if message.status() != "WIP" {
            // What was on its way when the connection broke counts as told.
            let whole = Patches::new(&message).whole();
            return Ok(refusal::finished_meanwhile(&whole));
        }
        message.go_on();
        let end = fault.map_or(End::Finished, fault::end);
        Ok(told(&message, message.said(), end))
    }

    fn say(&self, ask: &ask::Ask, call: &Call, control: &Control) -> Answer {
        let user = call.turns.iter().rev().find(|turn| turn.role == "user");
        let question = Question {
            text: user.map_or(ask.prompt.as_str(), |turn| turn.text.as_str()),
            model: ask.model,
            thinking: ask.thinking,
            search: ask.search,
            base: &self.base,
        };
        Answer::new(&question, control)
    }
}

/// An answer on its way, until it ends one way or another.
fn told(message: &Arc<Message>, from: usize, end: End) -> Reply {
    let acts = stream::acts(message, from, end);
    let over = Arc::clone(message);
    Reply::stream(refusal::EVENT_STREAM, acts).ending(move || over.over())
}

fn body(request: &Request, call: &mut Call) -> Result<Value, Refusal> {
    request.json().map_err(|what| {
        call.violate(what);
        refusal::missing("")
    })
}

/// Draws a fault of a call without an account.
fn strike(call: &mut Call, control: &Control) -> Result<(), Refusal> {
    control
        .strike(call)?
        .and_then(fault::refused)
        .map_or(Ok(()), Err)
}
