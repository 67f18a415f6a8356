//! iFlytek Spark, the web chat of xinghuo.xfyun.cn, today spark.xfyun.cn. Source: wire/xinghuo.md.
//!
//! Generations (§1, §4.3), both at once unless one is asked for:
//!
//! - `classic`: the form with `capabilities` and GtToken, which must be a known one; windows open with `{}`. Alone, the form
//!   of today is a bad form (code 40000) and `batch-delete-chat-list` does not exist.
//! - `spark`: the form with `options` and `firstChat`, without GtToken; windows open with `{"showType":"2"}`; what the
//!   service wants to remember of the user follows each answer; `batch-delete-chat-list`. Alone, the classic form and its
//!   way to open a window are bad forms, and the settings of [`Simulator::env`] hold an empty GtToken.
//!
//! Both at once, as today: the classic form may leave GtToken out or empty, and a wrong one is refused.

mod account;
mod ask;
mod encode;
mod fault;
mod refusal;
mod stream;
mod windows;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use uuid::Uuid;

use self::{account::Wants, ask::Form, refusal::Refusal, stream::End, windows::Windows};
use super::{
    Call, Control, Reply, Request, Simulator,
    faults::{ASK, Fault},
    numbered,
    prompt::{Answer, Question},
};

/// §4.4: what the page's input box takes, in characters.
const MAX_CHARS: usize = 7000;

const CLASSIC: &str = "classic";
const SPARK: &str = "spark";

pub(super) fn simulator(base: &str) -> Box<dyn Simulator> {
    Box::new(Xinghuo {
        base: base.to_owned(),
        windows: Arc::default(),
    })
}

struct Xinghuo {
    base: String,
    /// Shared with the answers under way, which free their window when they end.
    windows: Arc<Mutex<Windows>>,
}

impl Simulator for Xinghuo {
    fn faults(&self) -> &'static [Fault] {
        fault::FAULTS
    }

    fn quirks(&self) -> &'static [&'static str] {
        stream::QUIRKS
    }

    fn generations(&self) -> &'static [&'static str] {
        &[CLASSIC, SPARK]
    }

    fn env(&self, accounts: usize, control: &Control) -> Vec<(String, String)> {
        let mut env = vec![("XINGHUO_BASE_URL".to_owned(), self.base.clone())];
        env.extend(numbered("XINGHUO_COOKIE", accounts, |number| {
            account::cookie(number).map(str::to_owned)
        }));
        // §2: a GtToken asks for the classic form; an empty one replaces whatever a `.env` file has.
        env.extend(numbered("GT_TOKEN", accounts, |number| {
            account::cookie(number)?;
            Some(match control.only(SPARK) {
                true => String::new(),
                false => account::gt_token(number),
            })
        }));
        env
    }

    fn reply(&self, request: &Request, call: &mut Call, control: &Control) -> Reply {
        let result = self.answer(request, call, control);
        call.ok = result.is_ok();
        result.unwrap_or_else(|refusal| refusal)
    }

    fn reset(&self) {
        *windows(&self.windows) = Windows::default();
    }
}

fn windows(windows: &Mutex<Windows>) -> MutexGuard<'_, Windows> {
    windows.lock().unwrap_or_else(PoisonError::into_inner)
}

const BATCH_DELETE: &str = "/iflygpt/u/chat-list/v1/batch-delete-chat-list";
const HISTORY: &str = "/iflygpt/u/chat_history/all/";

/// The step and method of each path (§3).
fn step(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        "/iflygpt/u/chat-list/v1/create-chat-list" => ("create", "POST"),
        "/iflygpt-chat/u/chat_message/chat" => (ASK, "POST"),
        "/iflygpt/u/chat-list/v1/del-chat-list" | BATCH_DELETE => ("delete", "POST"),
        "/iflygpt/oss/sign" => ("sign", "POST"),
        windows::UPLOAD_PATH => ("upload", "POST"),
        "/iflygpt-longcontext/chat/enhance/saveFile" => ("save_file", "POST"),
        "/iflygpt-longcontext/u/chat_message/web/chat" => (ASK, "POST"),
        "/iflygpt/userInfo" => ("user_info", "GET"),
        "/iflygpt/u/chat-list/v1/rename-chat-list" => ("rename", "POST"),
        "/iflygpt/u/chat-list/v1/chat-list" => ("list", "GET"),
        "/iflygpt/u/chat-list/v2/chat-list" => ("list", "POST"),
        _ if path.starts_with(HISTORY) => ("history", "GET"),
        _ => return None,
    })
}

impl Xinghuo {
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
        let batch = request.path == BATCH_DELETE;
        if batch && !control.speaks(SPARK) {
            step.clone_into(&mut call.step);
            return Err(Reply::html(404, "404 Not Found"));
        }
        step.clone_into(&mut call.step);
        if request.method != method {
            call.violate(format!("the method is {}, not {method}", request.method));
            return Err(Reply::html(405, "405 Method Not Allowed"));
        }
        if step == "upload" {
            strike(call, control)?;
            return windows(&self.windows).upload(request, &self.base, call);
        }
        let wants = if step == ASK {
            Wants::Stream
        } else {
            Wants::Json
        };
        let account = account::check(request, call, wants, control)?;
        if step == ASK {
            return self.ask(request, account, call, control);
        }
        let body = match (method, step) {
            ("GET", _) | (_, "sign") => json!(null),
            _ => request.json().map_err(|what| {
                call.violate(what);
                refusal::bad_form()
            })?,
        };
        strike(call, control)?;
        let mut windows = windows(&self.windows);
        match step {
            "create" => windows.create(&body, account, call, control),
            "delete" if batch => windows.delete_batch(&body, account, call, control),
            "delete" => windows.delete(&body, account, call, control),
            "rename" => windows.rename(&body, account, call),
            "sign" => windows.sign(request, &self.base, call),
            "save_file" => windows.save(&body, account, call),
            "list" => Ok(windows.list(account)),
            "history" => windows.history(
                request.path.strip_prefix(HISTORY).unwrap_or_default(),
                account,
                call,
            ),
            _ => Ok(refusal::success(
                &json!({"uid": account, "nickname": format!("sim-{account}")}),
            )),
        }
    }

    fn ask(
        &self,
        request: &Request,
        account: usize,
        call: &mut Call,
        control: &Control,
    ) -> Result<Reply, Refusal> {
        let ask = ask::read(request, call).map_err(|what| {
            call.violate(what);
            refusal::bad_form()
        })?;
        call.conversation = Some(ask.window.to_string());
        call.prompt = Some(ask.text.clone());
        call.note(
            "longcontext",
            request.path.starts_with("/iflygpt-longcontext"),
        );
        call.turns = ask::turns(&ask.text).unwrap_or_else(|what| {
            call.violate(what);
            Vec::new()
        });
        if !control.speaks(ask.form.generation()) {
            // No violation: a client has to find out what is spoken.
            return Err(refusal::bad_form());
        }
        match ask.form {
            Form::Spark => account::check_spark(request, call),
            Form::Classic => {
                let token = ask.gt_token.as_deref().unwrap_or_default();
                // §1: since 2026 an empty one passes, and a missing one.
                let forgiven = token.is_empty() && !control.only(CLASSIC);
                if !forgiven && !account::is_gt_token(token) {
                    call.violate("GtToken is not, byte for byte, a known one");
                    return Err(refusal::head("[geeError]", 10001, fault::CAPTCHA));
                }
            }
        }
        self.allow(&ask, account, call)?;
        if ask.text.chars().count() > MAX_CHARS {
            return Err(refusal::head("[error]", 10907, "输入内容过长"));
        }
        let fault = control.strike(call)?;
        if let Some(refusal) = fault.and_then(fault::refused) {
            // A window that is said to be another's is not handed out as blank once more.
            if let Some(window) = windows(&self.windows).by_id.get_mut(&ask.window) {
                window.asked |= fault == Some("belong_error");
            }
            return Err(refusal);
        }
        let answer = self.say(&ask, call, control);
        let end = fault.map_or(End::Whole, fault::end);
        let id = Uuid::new_v4().simple().to_string();
        let (left, right) = id.split_at(9);
        let sid = format!("cht{left}@dx{}", right.get(..18).unwrap_or(right));
        if let Some(window) = windows(&self.windows).by_id.get_mut(&ask.window) {
            window.asked = true;
            window.running = true;
            window.rounds.push((ask.text, sid.clone()));
        }
        let acts = answer.travel(stream::acts(&answer, &sid, &end, ask.form));
        let shared = Arc::clone(&self.windows);
        let free = move || {
            if let Some(window) = windows(&shared).by_id.get_mut(&ask.window) {
                window.running = false;
            }
        };
        Ok(Reply::stream(refusal::EVENT_STREAM, acts).ending(free))
    }

    /// Whether the window may be asked, by this account, now, on this path.
    fn allow(&self, ask: &ask::Ask, account: usize, call: &mut Call) -> Result<(), Refusal> {
        let windows = windows(&self.windows);
        let Some(window) = windows
            .by_id
            .get(&ask.window)
            .filter(|window| window.account == account)
        else {
            call.violate("chatId is no window of this account, or deleted already");
            return Err(refusal::lines(&["[belongerr]"]));
        };
        if window.running {
            call.violate("the window is asked while it still answers");
            return Err(refusal::head(
                "[error]",
                10007,
                "请求过快，请等待上一个回答结束",
            ));
        }
        match (&ask.sid, window.rounds.last()) {
            (None, None) => {}
            (Some(sid), Some((_, last))) if sid == last => {}
            // The service answers, but a chat has got into another one's window.
            (None, Some(_)) => call.violate("the window was asked before, and the form has no sid"),
            (Some(_), _) => call.violate("sid is not the last one of the window"),
        }
        let long = call.params.get("longcontext") == Some(&json!(true));
        if long != (window.documents > 0) {
            call.violate("documents are asked about on the longcontext path, and only they");
            return Err(refusal::bad_form());
        }
        if long && !ask.links.is_empty() {
            call.violate("the longcontext path takes no fileUrl");
        }
        if !ask.links.iter().all(|link| windows.is_link(link)) {
            call.violate("fileUrl holds a link that was not given");
            return Err(refusal::bad_form());
        }
        Ok(())
    }

    fn say(&self, ask: &ask::Ask, call: &Call, control: &Control) -> Answer {
        let user = call.turns.iter().rev().find(|turn| turn.role == "user");
        let question = Question {
            text: user.map_or(ask.text.as_str(), |turn| turn.text.as_str()),
            model: "Spark",
            thinking: ask.thinks,
            search: false,
            base: &self.base,
        };
        Answer::new(&question, control)
    }
}

/// Draws a fault of a plain call.
fn strike(call: &mut Call, control: &Control) -> Result<(), Refusal> {
    control
        .strike(call)?
        .and_then(fault::refused)
        .map_or(Ok(()), Err)
}
