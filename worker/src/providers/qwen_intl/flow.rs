//! A question with its chat: opened, asked, asked once more for what can be mended, stopped and deleted. Source:
//! `wire/qwen_intl.md` sections 4, 7, 8 and 9.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

use super::{
    QwenIntl,
    account::{Access, Account, moment},
    call, login,
    models::Kind,
    refusal::{self, Head, Refusal, Remedy},
    stream::{Decoder, Output},
    upload::{self, File},
    wire::{self, Question},
};
use crate::{
    accounts::Lease,
    chat::{Kind as ErrorKind, ProviderError},
    providers::{Errand, Turn},
    upstream::{Answer, Request, linger},
};

/// Before the question is asked once more that the service did not take (section 8).
const AGAIN: Duration = Duration::from_millis(800);
/// Waits between the three tries while the chat is at work (section 8).
const BUSY: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(4)];

/// What a turn asks, whichever token and chat it is asked with.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) kind: Kind,
    pub(super) prompt: String,
    pub(super) files: Vec<File>,
    /// What has come of the files; uploaded once, whatever else is tried again.
    pub(super) items: Vec<Value>,
    pub(super) thinking: bool,
    pub(super) thinking_budget: Option<u64>,
    /// One of the site's five shapes, for pictures and videos.
    pub(super) size: Option<String>,
    /// The client watches it come.
    pub(super) is_streamed: bool,
    /// The service has taken the question for a video, or may have: a day has three of them.
    pub(super) is_submitted: Cell<bool>,
}

/// Where and as whom a question is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) account: &'a Account,
    pub(super) access: &'a Arc<Access>,
    pub(super) chat_id: &'a str,
}

impl QwenIntl {
    /// Asks, and once more for what another token, another chat or a moment's patience can mend (section 8).
    pub(super) async fn ask_again<T>(
        &self,
        turn: &mut Turn,
        account: &Lease<Account>,
        asked: &mut Asked,
        answer: impl AsyncFn(&mut Turn, Place<'_>, &Asked) -> Result<T, Refusal>,
    ) -> Result<T, ProviderError> {
        let continued = turn.continued();
        // A chat is of one kind from its beginning.
        if let Some(thread) = &continued
            && thread.more.as_deref() != Some(asked.kind.word())
        {
            let error = ProviderError::new(ErrorKind::Protocol, "the chat is of another kind");
            return Err(error);
        }
        let mut chat = continued.map(|thread| thread.id);
        let result = self.tries(turn, account, asked, &mut chat, answer).await;
        // A video's chat stays until its task is over; without a task nothing is waited for.
        // Here and not where the chat was made: only now is it known that no task will come.
        if result.is_err()
            && asked.kind.is_video()
            && !asked.is_submitted.get()
            && let (Some(chat_id), Some(access)) = (chat, account.tokens.latest())
        {
            turn.afterwards(self.deletion(account, &access, &chat_id));
        }
        result
    }

    async fn tries<T>(
        &self,
        turn: &mut Turn,
        account: &Lease<Account>,
        asked: &mut Asked,
        chat: &mut Option<String>,
        answer: impl AsyncFn(&mut Turn, Place<'_>, &Asked) -> Result<T, Refusal>,
    ) -> Result<T, ProviderError> {
        let (mut may_renew, mut may_repeat) = (true, true);
        // A new chat would have to be told everything.
        let mut may_open_anew = chat.is_none();
        let mut waits = BUSY.iter();
        let mut access = login::token(&self.site, turn, account).await?;
        if let Some(chat_id) = chat.as_deref() {
            self.opened(turn, account, &access, chat_id, asked.kind);
        }
        loop {
            let made = self.ask(turn, account, &access, asked, chat, &answer);
            let refusal = match made.await {
                Ok(made) => {
                    // Only an answer proves a token: lists are open to guests (section 10).
                    account.tokens.served(&access);
                    return Ok(made);
                }
                Err(refusal) => refusal,
            };
            let error = refusal.error;
            // What was said cannot be taken back, so no remedy is left.
            if turn.has_output() {
                return Err(error);
            }
            match refusal.remedy {
                // Each remedy once: a loop that mends the same fault twice would go on for ever.
                Remedy::NewToken if std::mem::take(&mut may_renew) => {
                    let renewal = login::renewal(&self.site, account, turn.messenger());
                    access = account.tokens.replaced(&access, error, renewal).await?;
                }
                Remedy::NewToken => {
                    // A new token was refused too: the account rests, instead of logging in with every turn.
                    account.tokens.refused(&access, &error);
                    return Err(error);
                }
                Remedy::Repeat if std::mem::take(&mut may_repeat) => {
                    tokio::time::sleep(AGAIN).await;
                }
                Remedy::Wait => {
                    // The two waits of section 8, then the error itself.
                    let wait = waits.next().ok_or(error)?;
                    tokio::time::sleep(*wait).await;
                }
                Remedy::NewChat if std::mem::take(&mut may_open_anew) => {
                    // What is not there cannot be deleted. (Of a video's chat no deletion is registered yet.)
                    if chat.take().is_some() && !asked.kind.is_video() {
                        turn.withdraw();
                    }
                }
                Remedy::None | Remedy::Repeat | Remedy::NewChat => return Err(error),
            }
            // Nothing was sent of them: `has_output` says so above.
            turn.events.clear();
        }
    }

    /// One question with one token, in the chat that there is or in a new one.
    async fn ask<T>(
        &self,
        turn: &mut Turn,
        account: &Account,
        access: &Arc<Access>,
        asked: &mut Asked,
        chat: &mut Option<String>,
        answer: &impl AsyncFn(&mut Turn, Place<'_>, &Asked) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Asked { files, items, .. } = asked;
        upload::upload(turn, &self.site, account, access, files, items).await?;
        // A try that only needs patience or a token asks in the same chat (section 8).
        let chat_id = match chat {
            Some(chat_id) => chat_id,
            None => {
                let caller = account.caller(&self.site, Some(access));
                let request = wire::create_chat(caller, &asked.model, asked.kind, moment());
                let id = call::call(turn, request, &account.variable, wire::chat_id).await?;
                // Registered before the question: whatever happens from here on, the chat is known.
                self.opened(turn, account, access, &id, asked.kind);
                chat.insert(id)
            }
        };
        let place = Place {
            account,
            access,
            chat_id,
        };
        answer(turn, place, asked).await
    }

    /// The turn is in this chat, which is deleted after it; that of a video once the task is over: until then it is at work,
    /// and nothing stops it.
    pub(super) fn opened(
        &self,
        turn: &mut Turn,
        account: &Account,
        access: &Arc<Access>,
        chat_id: &str,
        kind: Kind,
    ) {
        let deletion = self.deletion(account, access, chat_id);
        turn.opened(chat_id, Some(deletion).filter(|_| !kind.is_video()));
        turn.remembers(kind.word());
    }

    /// An answer in words.
    pub(super) async fn talk(
        &self,
        turn: &mut Turn,
        place: Place<'_>,
        asked: &Asked,
    ) -> Result<(), Refusal> {
        let (mut answer, response) = self.begin(turn, place, asked).await?;
        let mut decoder = Decoder::new(&place.account.variable, Output::Increments);
        while !decoder.is_over() {
            let Some(bytes) = answer.chunk().await.map_err(ProviderError::from)? else {
                break;
            };
            let read = decoder.read(&bytes, &mut turn.events);
            // Before an error is passed on: the id is what a call to stop needs.
            self.heed(turn, &decoder, &response);
            turn.emit_then(read).await?;
        }
        let is_over = decoder.is_over();
        // A regular end of the body ends the answer (section 7.1): there is no `[DONE]`.
        let ended = decoder.end(&mut turn.events);
        // Also where `ended` is an error: the body has ended, so there is nothing to stop.
        turn.upstream_is_over();
        turn.emit_then(ended).await?;
        if is_over {
            linger::let_end(answer).await;
        }
        Ok(())
    }

    /// Notes the answer's id as soon as it is known.
    pub(super) fn heed(&self, turn: &mut Turn, decoder: &Decoder, response: &RefCell<String>) {
        if let Some(id) = decoder.response_id()
            // Compared first: the id comes with every frame.
            && *response.borrow() != id
        {
            id.clone_into(&mut response.borrow_mut());
            turn.answered_as(id);
        }
    }

    /// Asks: the stream of the answer, and the place where its id is written down for the call that stops it.
    pub(super) async fn begin(
        &self,
        turn: &mut Turn,
        place: Place<'_>,
        asked: &Asked,
    ) -> Result<(Answer, Rc<RefCell<String>>), Refusal> {
        // Shared with the errand, which is built before the id is known and sent after it.
        let response = Rc::default();
        // Before the question is sent: an answer may begin while nobody is there to read it.
        turn.on_abort(self.stopping(place, &response));
        let mut answer = turn.send(self.question(turn, place, asked)).await?;
        // A refusal has status 200 as well, as JSON or as a page (section 3).
        if answer.status.as_u16() == 200 && answer.is_event_stream().await {
            return Ok((answer, response));
        }
        // It has refused: nothing is under way that could be stopped.
        turn.upstream_is_over();
        let head = Head::of(&answer);
        // The status alone says something when the body breaks off.
        let body = match answer.short().await {
            Err(error) if head.status < 400 => return Err(ProviderError::from(error).into()),
            body => body.unwrap_or_default(),
        };
        Err(refusal::refusal(head, &body, &place.account.variable))
    }

    pub(super) fn question(&self, turn: &Turn, place: Place<'_>, asked: &Asked) -> Request {
        let parent = turn.continued().and_then(|thread| thread.message);
        let question = Question {
            chat_id: place.chat_id,
            parent: parent.as_deref(),
            model: &asked.model,
            kind: asked.kind,
            prompt: &asked.prompt,
            files: &asked.items,
            thinking: asked.thinking,
            thinking_budget: asked.thinking_budget,
            size: asked.size.as_deref(),
            fid: turn.uuid(),
        };
        let caller = place.account.caller(&self.site, Some(place.access));
        wire::ask(caller, &question, moment())
    }

    /// The call that ends an answer that nobody reads: without it the chat stays at work, and is not deleted (section 9).
    pub(super) fn stopping(&self, place: Place<'_>, response: &Rc<RefCell<String>>) -> Errand {
        let (site, account) = (Arc::clone(&self.site), place.account.clone());
        let (access, chat_id) = (Arc::clone(place.access), place.chat_id.to_owned());
        // `Rc`: turn and errand live on one thread.
        let response = Rc::clone(response);
        Errand::new(move || {
            let caller = account.caller(&site, Some(&access));
            wire::stop(caller, &chat_id, &response.borrow(), moment())
        })
    }

    /// The deletion of a chat, with the account's token of that moment.
    pub(super) fn deletion(
        &self,
        account: &Account,
        access: &Arc<Access>,
        chat_id: &str,
    ) -> Errand {
        let (site, account) = (Arc::clone(&self.site), account.clone());
        let (used, chat_id) = (Arc::clone(access), chat_id.to_owned());
        Errand::new(move || {
            // The outbox may get to it when the turn's token is long replaced.
            let latest = account.tokens.latest();
            let access = latest.as_deref().unwrap_or(&used);
            wire::delete(account.caller(&site, Some(access)), &chat_id, moment())
        })
    }
}
