//! ERNIE, the web chat of ernie.baidu.com. Source: wire/ernie.md.
//!
//! There is one generation, with a full and a short form of the question. Account 1 has all four parts of a captured request,
//! account 2 a cookie alone, account 3 the older cookie's name, and everything but `jt`.

mod account;
mod ask;
mod chats;
mod fault;
mod stream;

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;

use self::{ask::Form, chats::Chats, stream::End};
use super::{
    Call, Control, Reply, Request, Simulator,
    faults::{ASK, Fault},
    prompt::{Answer, Question},
};

/// A reply that refuses.
type Refusal = Reply;

pub(super) fn simulator(base: &str) -> Box<dyn Simulator> {
    Box::new(Ernie {
        base: base.to_owned(),
        chats: Mutex::default(),
    })
}

struct Ernie {
    base: String,
    chats: Mutex<Chats>,
}

impl Simulator for Ernie {
    fn faults(&self) -> &'static [Fault] {
        fault::FAULTS
    }

    fn quirks(&self) -> &'static [&'static str] {
        stream::QUIRKS
    }

    fn env(&self, accounts: usize, _control: &Control) -> Vec<(String, String)> {
        let mut env = vec![("ERNIE_BASE_URL".to_owned(), self.base.clone())];
        env.extend((1..=accounts).flat_map(account::credentials));
        env
    }

    fn reply(&self, request: &Request, call: &mut Call, control: &Control) -> Reply {
        let result = self.answer(request, call, control);
        call.ok = result.is_ok();
        result.unwrap_or_else(|refusal| refusal)
    }

    fn reset(&self) {
        *self.chats() = Chats::default();
    }
}

impl Ernie {
    fn chats(&self) -> MutexGuard<'_, Chats> {
        self.chats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(
        &self,
        request: &Request,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let step = match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/eb/chat/conversation/v2") => ASK,
            ("POST", "/eb/session/delete") => "delete",
            ("POST", "/eb/session/list" | "/eb/session/top/list") => "list",
            ("POST", "/eb/chat/history") => "history",
            ("POST", "/eb/user/info") => "user",
            _ => {
                call.violate("no such path, or not by this method");
                return Err(Reply::html(404, "404 Not Found"));
            }
        };
        step.clone_into(&mut call.step);
        let who = account::who(request, call);
        if step == "user" {
            let is_login = who.is_some();
            return Ok(Reply::json(
                200,
                &json!({"ret": 0, "content": {"isLogin": is_login, "uname": "sim"}}),
            ));
        }
        let account = who.ok_or_else(|| fault::coded(10001, "用户未登录"))?;
        let body = request.json().map_err(|what| bad(call, what))?;
        account::check_time(&body, call).map_err(|what| restricted(call, what))?;
        if body.get("deviceType").and_then(|it| it.as_str()) != Some("pc") {
            return Err(bad(call, "deviceType is not \"pc\"".to_owned()));
        }
        match step {
            ASK => self.ask(request, account, call, control),
            "delete" => {
                let struck = control.strike(call)?;
                if let Some(refusal) = struck.and_then(fault::refused) {
                    return Err(refusal);
                }
                self.chats().delete(&body, account, call, control)
            }
            "list" => Ok(self.chats().list(account)),
            _ => self.chats().history(&body, account, call),
        }
    }

    fn ask(
        &self,
        request: &Request,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let accept = request.header("accept");
        if accept != "text/event-stream,application/json, text/event-stream" {
            call.violate(format!("Accept is {accept:?}"));
        }
        let body = request.json().map_err(|what| bad(call, what))?;
        account::check_parts(request, &body, account, call)?;
        let ask = ask::read(&body, call).map_err(|what| bad(call, what))?;
        call.model = Some(ask.model.clone());
        call.prompt = Some(ask.text.clone());
        call.turns = ask::turns(&ask.text).unwrap_or_else(|what| {
            call.violate(what);
            Vec::new()
        });
        call.note(
            "form",
            if ask.form == Form::Full {
                "full"
            } else {
                "short"
            },
        );
        call.note("deep", ask.deep);
        call.note("search", ask.search);
        let struck = control.strike(call)?;
        if struck == Some("short_form_alone") && ask.form == Form::Full {
            return Err(fault::coded(40000, "参数错误"));
        }
        if let Some(refusal) = struck.and_then(fault::refused) {
            return Err(refusal);
        }
        if struck == Some("garbage") {
            // Nobody could delete a session that was never named.
            return Ok(Reply::stream("text/event-stream", stream::garbage()));
        }
        let ids = self.chats().begin(&ask, account, control);
        let Some(ids) = ids else {
            return Err(fault::coded(40002, "会话不存在"));
        };
        call.conversation = Some(ids.session.clone());
        let user = call.turns.iter().rev().find(|turn| turn.role == "user");
        let question = Question {
            text: user.map_or(ask.text.as_str(), |turn| turn.text.as_str()),
            model: &ask.model,
            thinking: ask.deep == 2,
            // §4: what a search finds is in the text.
            search: false,
            base: &self.base,
        };
        let answer = Answer::new(&question, control);
        let end = struck.map_or(End::Finished, fault::end);
        let acts = answer.travel(stream::acts(&answer, &ids, &end));
        Ok(Reply::stream("text/event-stream;charset=UTF-8", acts))
    }
}

fn bad(call: &mut Call, what: String) -> Refusal {
    call.violate(what);
    fault::coded(40000, "参数错误")
}

fn restricted(call: &mut Call, what: String) -> Refusal {
    call.violate(what);
    fault::coded(40005, "用户访问被限制")
}
