//! Xinghuo: iFlytek Spark's web chat. Steps: account (section 2), attachments (4.6), window (4.2), question (4.3),
//! answer (6), clean-up (8) of `wire/xinghuo.md`.

mod account;
mod blocks;
mod card;
mod check;
mod draw;
mod form;
mod memory;
mod models;
mod pieces;
mod refusal;
pub mod stream;
mod upload;
mod windows;
mod wire;

pub use card::CARD;

use std::{sync::Arc, time::Duration};

use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;

use self::{
    account::Account,
    form::Form,
    refusal::{Refusal, Window},
    stream::Decoder,
    windows::Windows,
    wire::{Caller, Created, Question},
};
use super::{
    Abandoning, Checking, Errand, Held, Images, Messenger, Model, Provider, Turn, abandoning,
    checking,
};
use crate::{
    accounts::{Accounts, Choice, Pace, Pool},
    chat::{ChatRequest, Field, Kind, ProviderError, Support, fields},
    conversations::{Continues, Thread},
    settings::{Problems, Settings, Vars},
    upstream::{Answer, Request},
};

const NAME: &str = "xinghuo";
/// What a window of the older form is remembered by.
const CLASSIC: &str = "classic";

/// Waits between tries to open a window in place of one that was lost: the service refuses to open them too fast
/// (section 7, five seconds in all).
const OPEN_AGAIN: [Duration; 5] = [Duration::from_secs(1); 5];

/// A blank window that somebody else opened may be another worker's, who is about to ask in it. After this time it is
/// either no longer blank, so that another one is opened, or nobody's.
const REUSED: Duration = Duration::from_millis(250);

/// How long a window may remain another turn's after it should have been deleted.
const RELEASED: Duration = Duration::from_secs(5);

/// How long the rest of a body may take after the end of the answer. The message id comes right after it or not at
/// all, and a body that is read to its end leaves a connection that can be used again (section 6.2).
const LINGER: Duration = Duration::from_millis(100);

/// The provider.
#[derive(Debug)]
pub struct Xinghuo {
    accounts: Pool<Account>,
    windows: Windows,
    models: Vec<Model>,
    base_url: String,
    /// `XINGHUO_FORM`, when it names one.
    form: Option<Form>,
}

/// Reads the provider's own variables (section 2).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<Arc<dyn Provider>> {
    let xinghuo = Xinghuo {
        // Parallel windows are possible, how many is not known (section 9).
        accounts: Pool::new(
            settings.providers.patience,
            vars.number("XINGHUO_MAX_CONCURRENCY", 4, 1, 1000, problems),
        )
        .paced(Pace::read("XINGHUO", vars, problems)),
        windows: Windows::default(),
        models: models::listed(),
        base_url: CARD.base_url("XINGHUO_BASE_URL", vars, problems),
        form: form::read(vars, problems),
    };
    xinghuo.accounts.replace(account::accounts(vars, problems));
    vec![Arc::new(xinghuo)]
}

impl Provider for Xinghuo {
    fn card(&self) -> &'static super::Card {
        &CARD
    }

    fn models(&self) -> &[Model] {
        &self.models
    }

    fn find(&self, id: &str) -> Option<Model> {
        models::find(id)
    }

    fn fields(&self) -> &[&'static [(Field, Support)]] {
        &[fields::THINKING]
    }

    fn check(&self, account: usize, messenger: Messenger) -> Option<Checking<'_>> {
        checking(Self::who_am_i, self, self.accounts.of(account)?, messenger)
    }

    fn accounts(&self) -> &dyn Accounts {
        &self.accounts
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Problems) -> Box<dyn FnOnce() + 'a> {
        let accounts = account::accounts(vars, problems);
        Box::new(move || self.accounts.replace(accounts))
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(self)
    }

    /// A question names the window's last `<sid>` (sections 4.3 and 8).
    fn continues(&self, _model: &Model) -> Continues {
        Continues::Linear
    }

    fn abandon<'a>(&'a self, thread: &'a Thread, turn: &'a mut Turn) -> Abandoning<'a> {
        abandoning(&self.accounts, thread, turn, async |_, account| {
            let caller = Caller {
                base_url: &self.base_url,
                account,
                form: remembered(thread),
            };
            Ok(Some(deletion(caller, &thread.id)))
        })
    }

    fn chat<'a>(
        &'a self,
        ask: &'a Arc<ChatRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.answer(ask, turn))
    }
}

impl Xinghuo {
    async fn answer(&self, ask: &Arc<ChatRequest>, turn: &mut Turn) -> Result<(), ProviderError> {
        // Before the lease: attachments are fetched from strangers.
        let mut question = question(ask, turn).await?;
        let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
        let mut caller = Caller {
            base_url: &self.base_url,
            account: &account,
            // The settings decide, else what this account's service last answered.
            form: self.form.unwrap_or_else(|| account.form()),
        };
        let continued = turn.continued();
        if let Some(thread) = &continued {
            caller.form = remembered(thread);
            question.sid.clone_from(&thread.message);
        }
        // Before a window is opened: it must be asked in as soon as it is there.
        upload::upload(ask, turn, caller, &mut question).await?;
        // Each once: a window that is lost twice is not mended by a third.
        let (mut may_reopen, mut may_reform) = (true, self.form.is_none());
        let (mut earlier, mut first) = (None, None);
        loop {
            let refusal = match self.ask(turn, caller, &question, &mut earlier).await {
                Ok(()) => {
                    // Only an answer proves a form: a window can be opened in either.
                    account.answered.set(caller.form);
                    return Ok(());
                }
                Err(refusal) => refusal,
            };
            let is_about_form = refusal.window == Window::Form;
            match refusal.window {
                // What was said cannot be taken back, and a new window would have to be told everything.
                _ if turn.has_output() || continued.is_some() => return Err(refusal.error),
                Window::Lost | Window::Busy if may_reopen => may_reopen = false,
                Window::Form if may_reform && refusal.is_worth_another_form(caller) => {
                    may_reform = false;
                    caller.form = caller.form.other();
                }
                // What the form that should do was told says more than that the other one is not known.
                _ => return Err(first.filter(|_| is_about_form).unwrap_or(refusal.error)),
            }
            tracing::info!(provider = NAME, window = ?refusal.window, form = ?caller.form, "asking again");
            if is_about_form {
                first = Some(refusal.error);
            }
        }
    }

    /// Opens a window, asks in it and passes the answer on. `earlier`: the window of an earlier try, and what was
    /// wrong with it.
    async fn ask(
        &self,
        turn: &mut Turn,
        caller: Caller<'_>,
        question: &Question,
        earlier: &mut Option<(String, Window)>,
    ) -> Result<(), Refusal> {
        if let Some(thread) = turn.continued() {
            // No blank one that anybody else could be given.
            opened(turn, caller, &thread.id);
            let answer = put(turn, caller, question, &thread.id).await?;
            return listen(turn, answer, &caller.account.variable).await;
        }
        // Until the question is asked, nobody else may open a window; nor, if it never is, before this one has
        // been deleted: they would get the same one (section 4.2).
        // Held until the question is out, or the window gone (see below).
        let gate = turn.hold(self.windows.enter(caller.account).await);
        let (chat_id, claim) = match self.open(turn, caller, question.bot, earlier).await {
            Ok(opened) => opened,
            Err(refusal) => {
                // Nothing was opened, so nobody need wait.
                gate.release();
                return Err(refusal);
            }
        };
        let is_second_try = earlier.as_ref().is_some_and(|(known, _)| *known == chat_id);
        let asked = match put(turn, caller, question, &chat_id).await {
            Ok(answer) => {
                // The question is out: the window is no longer blank, and another turn may open one.
                gate.release();
                listen(turn, answer, &caller.account.variable).await
            }
            Err(refusal) => Err(refusal),
        };
        let window = asked
            .as_ref()
            .err()
            .map_or(Window::Fine, |refusal| refusal.window);
        if window == Window::Busy && !is_second_try {
            // Another worker with the same account got the same blank window and asked first: its to delete. Should
            // nobody have asked in it, it is still blank and comes back when the next one is opened.
            // It is the other's window: deleting it would end that one's answer.
            turn.withdraw();
            claim.release();
        }
        if window != Window::Fine {
            gate.release();
            *earlier = Some((chat_id, window));
        }
        asked
    }

    /// Opens a window that is no other turn's, and sees to its deletion: its id, and what keeps others from it.
    async fn open(
        &self,
        turn: &mut Turn,
        caller: Caller<'_>,
        bot: Option<u64>,
        earlier: &Option<(String, Window)>,
    ) -> Result<(String, Held), Refusal> {
        // Section 7: opening again too fast is refused, the first time never.
        let waits = if earlier.is_some() {
            OPEN_AGAIN.as_slice()
        } else {
            &[]
        };
        // Once: a window that comes back as blank twice is nobody's.
        let mut has_waited = false;
        loop {
            let created = create(turn, caller, bot, waits).await?;
            let chat_id = created.id()?;
            match earlier {
                // Claimed already, and its deletion registered.
                Some((known, Window::Lost | Window::Form)) if *known == chat_id => {
                    return Ok((chat_id, turn.hold(())));
                }
                // Busy, and back: it is waited for below like any other turn's.
                Some((known, _)) if *known == chat_id => {}
                _ if created.is_reused() && !std::mem::replace(&mut has_waited, true) => {
                    tokio::time::sleep(REUSED).await;
                    continue;
                }
                _ => {}
            }
            if let Some(claim) = self.windows.claim(caller.account, &chat_id) {
                opened(turn, caller, &chat_id);
                return Ok((chat_id, turn.hold(claim)));
            }
            // A failed turn left it blank and is about to delete it; or it wants to open one itself first, and waits
            // for us.
            let released = self.windows.released(caller.account, &chat_id);
            // By the other's deletion, which is what makes the window free.
            if tokio::time::timeout(RELEASED, released).await.is_err() {
                let error =
                    ProviderError::new(Kind::Unavailable, "no free conversation was to be had");
                return Err(error.into());
            }
        }
    }
}

/// The turn is in this window, which is deleted after it.
fn opened(turn: &mut Turn, caller: Caller<'_>, chat_id: &str) {
    turn.opened(chat_id, Some(deletion(caller, chat_id)));
    turn.remembers(match caller.form {
        Form::Classic => CLASSIC,
        Form::Spark => "spark",
    });
}

fn deletion(caller: Caller<'_>, chat_id: &str) -> Errand {
    let delete = wire::delete(caller, chat_id);
    match caller.form {
        Form::Classic => Errand::from(delete),
        // The newer call first; the old one's path may be gone (section 8).
        Form::Spark => {
            Errand::from(wire::delete_batch(caller, chat_id)).or(wire::is_deleted, delete)
        }
    }
}

/// The form that a window was asked in.
fn remembered(thread: &Thread) -> Form {
    if thread.more.as_deref() == Some(CLASSIC) {
        Form::Classic
    } else {
        Form::Spark
    }
}

/// What is asked, as yet without attachments.
async fn question(ask: &Arc<ChatRequest>, turn: &Turn) -> Result<Question, ProviderError> {
    let text = turn.prompt(ask, wire::prompt).await?;
    // The last message's attachments alone go along (section 4.6).
    let last = ask.messages.last();
    if text.trim().is_empty() && last.is_none_or(|last| last.attachments().next().is_none()) {
        return Err(ProviderError::bad_request(
            "messages",
            "The conversation holds no text and no attachment.",
        ));
    }
    let bot = models::bot(&turn.model);
    Ok(Question {
        sid: None,
        text,
        thinking: bot.is_none() && ask.thinking.unwrap_or(turn.model.thinking),
        bot,
        pictures: Vec::new(),
        documents: Vec::new(),
    })
}

/// Opens a window; once more after each of `waits` when the service says that this was too fast.
async fn create(
    turn: &Turn,
    caller: Caller<'_>,
    bot: Option<u64>,
    waits: &[Duration],
) -> Result<Created, Refusal> {
    let mut waits = waits.iter();
    loop {
        let result = call(turn, wire::create(caller, bot), &caller.account.variable).await;
        match (result, waits.next()) {
            // Only this: another refusal is not mended by waiting.
            (Err(refusal), Some(wait)) if refusal.error.kind == Kind::RateLimited => {
                tokio::time::sleep(*wait).await;
            }
            (result, _) => return result,
        }
    }
}

/// Asks in a window. Once this has returned an answer, the window is no longer blank.
async fn put(
    turn: &Turn,
    caller: Caller<'_>,
    question: &Question,
    chat_id: &str,
) -> Result<Answer, Refusal> {
    // Told before the question, and after the window exists (section 4.6).
    upload::attach(turn, caller, &question.documents, chat_id).await?;
    // Names the running answer (section 4.3), so it is new with every try.
    let fd = wire::fd(turn.unix_ms());
    let boundary = turn.uuid().simple().to_string();
    let mut answer = turn
        .send(wire::ask(caller, question, chat_id, &fd, boundary))
        .await?;
    let is_labelled = answer.content_type() == "text/event-stream";
    // By its words where the type says nothing: a proxy may drop it.
    if answer.status.as_u16() == 200 && (is_labelled || answer.is_event_stream().await) {
        return Ok(answer);
    }
    Err(refused(&mut answer, &caller.account.variable).await)
}

async fn listen(turn: &mut Turn, mut answer: Answer, variable: &str) -> Result<(), Refusal> {
    let mut decoder = Decoder::new(variable);
    while !decoder.is_finished() {
        let fed = match answer.chunk().await {
            // Passed on as it comes; the end of the body is not the end of the answer (section 6.2).
            Ok(Some(bytes)) => decoder.feed(&bytes, &mut turn.events),
            Ok(None) => break,
            Err(error) => {
                return Err(decoder
                    .interrupted_report()
                    .unwrap_or_else(|| ProviderError::from(error).into()));
            }
        };
        turn.emit_then(fed).await?;
    }
    decoder.finish(&mut turn.events)?;
    turn.emit().await?;
    // The message id and the rest of the body: nothing in it is for the user.
    let rest = async {
        while let Ok(Some(bytes)) = answer.chunk().await {
            if decoder.feed(&bytes, &mut turn.events).is_err() {
                break;
            }
        }
    };
    // Late or missing, it is not waited for.
    let _ = tokio::time::timeout(LINGER, rest).await;
    if decoder.unreadable() > 0 {
        tracing::warn!(
            provider = NAME,
            payloads = decoder.unreadable(),
            "parts of an answer could not be read"
        );
    }
    if let Some(message) = decoder.message_id() {
        turn.answered_as(message);
    }
    Ok(())
}

/// A short call: its data, or what its refusal means.
async fn call<T: DeserializeOwned>(
    turn: &Turn,
    request: Request,
    variable: &str,
) -> Result<T, Refusal> {
    let mut answer = turn.send(request).await?;
    if !answer.status.is_success() {
        return Err(refused(&mut answer, variable).await);
    }
    // A page in its place is no JSON, and fails here.
    let envelope: wire::Envelope = answer.json().await.map_err(ProviderError::from)?;
    let data = envelope.into_data(variable)?;
    serde_json::from_value(data).map_err(|_| ProviderError::malformed("answer").into())
}

async fn refused(answer: &mut Answer, variable: &str) -> Refusal {
    let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
    // The status alone says something when the body breaks off.
    let body = answer.short().await.unwrap_or_default();
    let refusal = refusal::refusal(status, &body, variable);
    Refusal {
        error: refusal.error.with_retry_after(retry_after),
        ..refusal
    }
}

/// What fuzz/ looks into.
#[cfg(fuzzing)]
pub mod fuzz {
    /// The text without what the service notes about the user, as it comes in these pieces.
    pub fn without_memory<'a>(pieces: impl Iterator<Item = &'a str>) -> String {
        let mut memory = super::memory::Memory::default();
        let mut text: String = pieces.map(|piece| memory.pass(piece.to_owned())).collect();
        text.push_str(&memory.release());
        text
    }
}
