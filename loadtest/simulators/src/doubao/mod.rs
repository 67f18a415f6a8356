//! Doubao, the web chat of www.doubao.com. Source: wire/doubao.md, all but the desktop variant (§4.7), video and music, and
//! the older ImageX host.
//!
//! Generations (§1), both at once unless one is asked for; alone, the calls of the other one answer 404:
//!
//! - `samantha`: `/samantha/chat/completion`; sections 4.4, 6.7.
//! - `chat`: `/chat/completion`, and the deletion and polling of `/im`; sections 4.3, 6.
//!
//! Account 1 pastes a session id, account 2 a whole cookie header with a fingerprint, a msToken and a CSRF token of its own,
//! account 3 an opaque session id.

mod account;
mod ask;
mod chats;
mod fault;
mod refusal;
mod samantha;
mod signature;
mod stream;
mod upload;

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use uuid::Uuid;

use self::{
    account::{Clients, Wants},
    ask::Ask,
    chats::Chats,
    refusal::{EVENT_STREAM, Refusal},
    stream::End,
    upload::Uploads,
};
use super::{
    Call, Control, Reply, Request, Simulator,
    faults::{ASK, Fault},
    numbered,
    prompt::{Answer, Question},
};

pub(super) fn simulator(base: &str) -> Box<dyn Simulator> {
    Box::new(Doubao {
        base: base.to_owned(),
        state: Mutex::default(),
    })
}

struct Doubao {
    base: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    clients: Clients,
    chats: Chats,
    uploads: Uploads,
}

const SAMANTHA: &str = "samantha";
const CHAT: &str = "chat";

impl Simulator for Doubao {
    fn faults(&self) -> &'static [Fault] {
        fault::FAULTS
    }

    fn quirks(&self) -> &'static [&'static str] {
        stream::QUIRKS
    }

    fn generations(&self) -> &'static [&'static str] {
        &[SAMANTHA, CHAT]
    }

    fn env(&self, accounts: usize, _control: &Control) -> Vec<(String, String)> {
        let mut env: Vec<_> = ["", "_UPLOAD"]
            .map(|part| (format!("DOUBAO{part}_BASE_URL"), self.base.clone()))
            .into();
        env.extend(numbered("DOUBAO_TOKEN", accounts, |number| {
            account::credential(number).map(str::to_owned)
        }));
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

/// The generation and step of each path (§3).
fn step(request: &Request) -> Option<(Option<&'static str>, &'static str)> {
    let action = |name: &str| {
        let mut pairs = request.query.split('&');
        pairs.any(|pair| pair == format!("Action={name}"))
    };
    Some(match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/chat/completion") => (Some(CHAT), ASK),
        ("POST", "/samantha/chat/completion") => (Some(SAMANTHA), ASK),
        ("POST", "/im/chain/single") => (Some(CHAT), "chain"),
        ("POST", "/im/conversation/batch_del_user_conv") => (Some(CHAT), "delete"),
        ("POST", "/samantha/thread/delete") => (None, "delete_thread"),
        ("POST", "/alice/resource/prepare_upload") => (None, "prepare"),
        ("POST", "/alice/message/pre_handle_v2_without_conv") => (None, "pre_handle"),
        ("POST", "/passport/account/info/v2") => (None, "info"),
        ("GET", "/top/v1") if action("ApplyImageUpload") => (None, "apply"),
        ("POST", "/top/v1") if action("CommitImageUpload") => (None, "commit"),
        ("POST", path) if path.starts_with("/upload/v1/") => (None, "upload"),
        _ => return None,
    })
}

impl Doubao {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let Some((generation, step)) = step(request) else {
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
        if request.query.contains("a_bogus=") {
            call.violate("a_bogus is made up");
        }
        let samantha = generation == Some(SAMANTHA);
        let mut state = self.state();
        if matches!(step, "apply" | "upload" | "commit") {
            strike(call, control, false)?;
            return match step {
                "apply" => state.uploads.apply(request, call),
                "upload" => state.uploads.store(request, call),
                _ => state.uploads.commit(request, call),
            };
        }
        let wants = match step {
            ASK => Wants::Ask(samantha),
            "chain" | "delete" => Wants::Im,
            _ => Wants::Plain,
        };
        let known = state.clients.check(request, wants, call)?;
        let account = known.account;
        if step == "info" {
            strike(call, control, false)?;
            let body = json!({
                "data": {"user_id": account, "user_id_str": format!("sim-{account}"), "name": format!("sim-{account}")},
                "message": "success",
            });
            return Ok(Reply::new(200, "application/json", body.to_string()));
        }
        let body: Value = serde_json::from_slice(&request.body).map_err(|error| {
            call.violate(format!("the body is not JSON: {error}"));
            refusal::parameter("body")
        })?;
        if step == ASK {
            let ask = match samantha {
                true => ask::samantha(&body, call),
                false => ask::chat(&body, &known.fp, call),
            };
            let ask = ask.map_err(|what| {
                let name: String = what.split(' ').next().unwrap_or_default().to_owned();
                call.violate(what);
                refusal::parameter(&name)
            })?;
            return self.ask(&ask, samantha, account, call, state, control);
        }
        strike(call, control, false)?;
        let State { chats, uploads, .. } = &mut *state;
        match step {
            "chain" => chats.chain(&body, account, call),
            "delete" => chats.delete(&body, account, call, control),
            "delete_thread" => chats.delete_thread(&body, account, call, control),
            "prepare" => uploads.prepare(&body, account, call),
            _ => uploads.pre_handle(&body, account, call),
        }
    }

    fn ask(
        &self,
        ask: &Ask,
        samantha: bool,
        account: usize,
        call: &mut Call,
        mut state: MutexGuard<'_, State>,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        call.model = Some(ask.bot.clone());
        call.prompt = Some(ask.prompt.clone());
        call.note("deepThink", ask.deep_think);
        call.note("draws", ask.draws);
        call.note("attachments", ask.attachments.len());
        call.turns = ask::turns(&ask.prompt).unwrap_or_else(|what| {
            call.violate(what);
            Vec::new()
        });
        state.chats.allow(ask, account, call)?;
        state
            .uploads
            .allow(&ask.attachments, samantha, account, call)?;
        strike(call, control, samantha)?;
        let mut answer = self.say(ask, call, control);
        let end = call.fault.map_or(End::Finished, fault::end);
        let ids = state.chats.begin(ask, account, control);
        call.conversation = Some(ids.conversation.clone());
        match call.fault {
            Some("pictures_later") => {
                let as_ext = answer.quirk("creation_ext");
                let pictures = std::mem::take(&mut answer.images);
                state.chats.later(&ids.conversation, pictures, as_ext);
            }
            Some("no_pictures") => answer.images.clear(),
            _ => {}
        }
        let acts = match samantha {
            true => {
                let message = Uuid::new_v4().to_string();
                samantha::acts(&answer, ask, &ids, &message, end)
            }
            false => stream::acts(&answer, ask, &ids, end),
        };
        Ok(Reply::stream(EVENT_STREAM, answer.travel(acts)))
    }

    fn say(&self, ask: &Ask, call: &Call, control: &Control) -> Answer {
        let user = call.turns.iter().rev().find(|turn| turn.role == "user");
        let text = user.map_or(ask.prompt.as_str(), |turn| turn.text.as_str());
        let four = format!("draw:4 {text}");
        let question = Question {
            text: match ask.draws && !text.contains("draw:") {
                true => &four,
                false => text,
            },
            model: "Doubao",
            thinking: matches!(ask.deep_think, 1 | 3) && !ask.draws,
            search: false,
            base: &self.base,
        };
        let mut answer = Answer::new(&question, control);
        if ask.draws && !answer.exact {
            answer.text = stream::chatter();
        }
        answer
    }
}

/// Draws a fault that may refuse a call.
fn strike(call: &mut Call, control: &Control, samantha: bool) -> Result<(), Refusal> {
    control
        .strike(call)?
        .and_then(|fault| fault::refused(fault, samantha))
        .map_or(Ok(()), Err)
}
