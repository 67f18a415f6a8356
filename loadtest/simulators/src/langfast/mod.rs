//! LangFast, the prompt-testing site langfa.st. Source: wire/langfast.md.
//!
//! Generations, both at once unless one is asked for:
//!
//! - `anonymous`: anyone signs up. Alone, there is no user with an own session.
//! - `session`: a user's own session, which [`Simulator::env`] names then as `LANGFAST_SESSION`. Alone, sign-ups are closed
//!   and runs of anonymous users are asked to log in.
//!
//! Runs are posted over HTTP and answered on a Socket.IO host (`host`), which has a port of its own.

mod account;
mod events;
mod fault;
mod host;
mod hub;
mod refusal;
mod run;

use std::{
    collections::HashSet,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use uuid::Uuid;

use self::{
    account::{ANON_KEY, Accounts, Session},
    events::Stop,
    host::Host,
    hub::Hub,
    refusal::Refusal,
    run::Run,
};
use super::{
    Call, Control, Reply, Request, Simulator,
    faults::{ASK, Fault},
    prompt::{Answer, Question},
    reply::{Body, Delay, Elsewhere},
};

/// The prompt that every run may use (§2).
const PROMPT: &str = "6456df9f-f4fd-42b3-97ff-df29af7188b7";
const ANONYMOUS: &str = "anonymous";
const SESSION: &str = "session";
const LATE: Duration = Duration::from_millis(150);

pub(super) fn simulator(base: &str) -> io::Result<Box<dyn Simulator>> {
    let hub = Arc::default();
    let address = base.trim_start_matches("http://");
    let name = address.rsplit_once(':').map_or(address, |(name, _)| name);
    Ok(Box::new(LangFast {
        base: base.to_owned(),
        host: host::start(name, &hub)?,
        hub,
        seen: Mutex::default(),
    }))
}

struct LangFast {
    base: String,
    host: Host,
    hub: Arc<Hub>,
    seen: Mutex<Seen>,
}

/// The ids that were used.
#[derive(Debug, Default)]
struct Seen {
    runs: HashSet<String>,
    prompts: HashSet<String>,
}

impl Simulator for LangFast {
    fn faults(&self) -> &'static [Fault] {
        fault::FAULTS
    }

    fn quirks(&self) -> &'static [&'static str] {
        events::QUIRKS
    }

    /// Anonymous users are made at run time: there is no setting for an account.
    fn env(&self, _accounts: usize, control: &Control) -> Vec<(String, String)> {
        let mut env = vec![
            ("LANGFAST_BASE_URL".to_owned(), self.base.clone()),
            (
                "LANGFAST_SOCKET_BASE_URL".to_owned(),
                format!("ws://{}", self.host.address),
            ),
            ("LANGFAST_ANON_KEY".to_owned(), ANON_KEY.to_owned()),
        ];
        // With a session a client signs up no more (§2).
        if control.only(SESSION) {
            env.push(("LANGFAST_SESSION".to_owned(), account::own_session()));
        }
        env
    }

    fn generations(&self) -> &'static [&'static str] {
        &[ANONYMOUS, SESSION]
    }

    fn begin(&self, control: &Arc<Control>) {
        // Called once.
        let _set = self.hub.control.set(Arc::clone(control));
    }

    fn reply(&self, request: &Request, call: &mut Call, control: &Control) -> Reply {
        let result = self.answer(request, call, control);
        call.ok = result.is_ok();
        result.unwrap_or_else(|refusal| refusal)
    }

    fn reset(&self) {
        *self.hub.accounts() = Accounts::default();
        *self.seen() = Seen::default();
    }
}

/// The step of each path (§3). All are POST.
fn step(path: &str) -> Option<&'static str> {
    Some(match path {
        "/auth/v1/signup" => "signup",
        "/auth/v1/token" => "refresh",
        "/functions/v1/initiate-prompt-run" => ASK,
        "/rest/v1/rpc/create_prompt" => "create_prompt",
        _ => return None,
    })
}

impl LangFast {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let Some(step) = step(&request.path) else {
            call.violate("no such path");
            let message = json!({"message": "no Route matched with those values"});
            return Err(Reply::json(404, &message));
        };
        step.clone_into(&mut call.step);
        if request.method != "POST" {
            call.violate(format!("the method is {}, not POST", request.method));
            return Err(refusal::function(405, "Method not allowed"));
        }
        account::api_key(request, call)?;
        match step {
            "signup" => {
                strike(call, control)?;
                if !control.speaks(ANONYMOUS) {
                    // No violation: a client has to find out that it is closed.
                    return Err(refusal::sign_ups_closed());
                }
                self.hub.accounts().sign_up(request, call)
            }
            "refresh" => {
                strike(call, control)?;
                let accounts = &mut self.hub.accounts();
                accounts.refresh(request, call, control.speaks(SESSION))
            }
            "create_prompt" => self.create_prompt(request, call, control),
            _ => self.run(request, call, control),
        }
    }

    /// The alternate way to a prompt id (§4).
    fn create_prompt(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let accounts = self.hub.accounts();
        accounts.check(request, call, |_| refusal::rpc_jwt())?;
        drop(accounts);
        let body = account::json_body(request, call)?;
        strike(call, control)?;
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let right = text("p_name").starts_with("api-")
            && text("p_icon") == "openai"
            && body
                .pointer("/p_meta/messages")
                .is_some_and(Value::is_array)
            && body.get("p_test_cases").is_some_and(Value::is_array);
        if !right {
            call.violate("the body is not that of create_prompt");
            return Err(refusal::function(400, "bad arguments"));
        }
        let id = Uuid::new_v4().to_string();
        self.seen().prompts.insert(id.clone());
        Ok(Reply::json(200, &json!(id)))
    }

    fn run(&self, request: &Request, call: &mut Call, control: &Control) -> Result<Reply, Refusal> {
        let accounts = self.hub.accounts();
        let session = accounts.check(request, call, refusal::jwt)?;
        drop(accounts);
        let body = account::json_body(request, call)?;
        let run = run::read(&body, &session.user, call)?;
        call.model = Some(run.model.to_owned());
        call.turns.clone_from(&run.turns);
        call.prompt = body.pointer("/prompt_meta/messages").map(Value::to_string);
        call.note("run_id", run.id.clone());
        call.note(
            "prompt_meta",
            body.get("prompt_meta").cloned().unwrap_or_default(),
        );
        self.is_new(&run, call)?;
        if session.is_anonymous && !control.speaks(ANONYMOUS) {
            return Err(refusal::log_in(401));
        }
        let fault = control.strike(call)?;
        if let Some(refusal) = fault.and_then(fault::refused) {
            return Err(refusal);
        }
        let stop = match (&run.unsupported, fault) {
            (Some(_), _) => fault::stop("failed_parameter"),
            (None, fault) => fault.and_then(fault::stop),
        };
        Ok(self.begin_run(&run, session, stop, call, control))
    }

    fn is_new(&self, run: &Run, call: &mut Call) -> Result<(), Refusal> {
        let mut seen = self.seen();
        if run.prompt_id != PROMPT && !seen.prompts.contains(&run.prompt_id) {
            call.violate("prompt_id is of no prompt");
            return Err(refusal::function(404, "Prompt not found"));
        }
        if !seen.runs.insert(run.id.clone()) {
            call.violate("run_id was used before");
            return Err(refusal::function(409, "Run already exists"));
        }
        Ok(())
    }

    /// Tells the run to the user's sockets, from before the short answer on.
    fn begin_run(
        &self,
        run: &Run,
        session: Session,
        stop: Option<(usize, Stop)>,
        call: &mut Call,
        control: &Control,
    ) -> Reply {
        let user = run.turns.iter().rev().find(|turn| turn.role == "user");
        let question = Question {
            text: user.map(|turn| turn.text.as_str()).unwrap_or_default(),
            model: run.model,
            thinking: false,
            search: false,
            base: &self.base,
        };
        let answer = Answer::new(&question, control);
        let (job, other) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        call.conversation = Some(job.clone());
        let body = if answer.quirk("ok_answer") {
            json!({"ok": true})
        } else if answer.quirk("no_jobs") {
            json!({"run_id": run.id})
        } else {
            json!({"run_id": run.id, "jobs": [{"job_id": job}]})
        };
        let mut reply = Reply::json(200, &body);
        let Some(owner) = self.hub.owner(&session.user) else {
            call.violate("the run is posted and no free socket of its user is connected");
            return reply;
        };
        if answer.quirk("late_answer") {
            reply.delay = Some(Delay::For(LATE));
        }
        let (hub, runtime) = (Arc::clone(&self.hub), self.host.runtime.clone());
        reply.body = Body::Elsewhere(Elsewhere {
            bytes: body.to_string().into(),
            acts: events::acts(&answer, &job, &other, stop),
            play: Box::new(move |acts, answering| {
                runtime.spawn(async move {
                    hub.play(session.user, owner, acts, answering).await;
                });
            }),
        });
        reply
    }
}

/// Draws a fault that may refuse a plain call.
fn strike(call: &mut Call, control: &Control) -> Result<(), Refusal> {
    control
        .strike(call)?
        .and_then(fault::refused)
        .map_or(Ok(()), Err)
}
