//! A question: its token, its shape, its attachments, its answer and the deletion of its chat. Source: `wire/kimi.md`
//! sections 2, 4, 6 and 8.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{
    Kimi,
    account::Account,
    models::{self, Shape},
    refusal,
    session::{self, Access},
    stream::Decoder,
    transport::Stream,
    upload,
    wire::{self, Caller, Question},
};
use crate::{
    accounts::Choice,
    chat::{ChatRequest, Effort, Kind, ProviderError},
    providers::{Errand, Messenger, Model, Turn},
    upstream::{Request, fetch::Attachment},
};

/// The device is announced at most once per process (section 3).
static IS_ANNOUNCED: AtomicBool = AtomicBool::new(false);

/// What a turn asks, whichever token it is asked with.
struct Asked {
    prompt: String,
    files: Vec<Attachment>,
    search: bool,
    thinking: bool,
    effort: Option<Effort>,
}

impl Kimi {
    pub(super) async fn answer(
        &self,
        ask: &Arc<ChatRequest>,
        turn: &mut Turn,
    ) -> Result<(), ProviderError> {
        // The turn's own marks make a prompt of an empty conversation, so this is asked of the messages.
        let has_text = ask.messages.iter().any(|message| message.has_words());
        // Before the attachments: they are held in memory only by turns that have an account.
        let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
        let asked = Asked {
            prompt: turn.prompt(ask, wire::prompt).await?,
            files: attachments(ask, turn).await?,
            search: ask.search.unwrap_or(turn.model.search),
            thinking: ask.thinking.unwrap_or(turn.model.thinking),
            effort: ask.effort,
        };
        if !has_text && asked.files.is_empty() {
            return Err(ProviderError::bad_request(
                "messages",
                "The conversation holds no text and no attachment.",
            ));
        }
        let model = turn.model.clone();
        let mut result = self.ask_as(turn, &account, &asked, &model).await;
        if let (Err(error), Some(fallback)) = (&result, &self.free_fallback)
            // In place of the very model that was shut out; anything else would be another answer.
            && error.code.as_deref() == Some(refusal::FREE_SHUT_OUT)
            && models::is_unversioned(&model.id)
            && !turn.has_output()
        {
            // What the refused model noticed is not the fallback's.
            turn.events.clear();
            result = self.ask_as(turn, &account, &asked, fallback).await;
        }
        result.map_err(|error| blame(error, &model))
    }

    /// Asks for one model, in the shape that the service understands: one that it does not know, or that the account may
    /// not use, is followed by the next (section 4.5).
    async fn ask_as(
        &self,
        turn: &mut Turn,
        account: &Account,
        asked: &Asked,
        model: &Model,
    ) -> Result<(), ProviderError> {
        let session = &account.session;
        let (messenger, now) = (turn.messenger(), turn.unix_ms() / 1000);
        // Once for all shapes: the token does not depend on them.
        let access = session::access(account, &messenger, &self.hosts, now).await?;
        self.announce(turn, &access);
        let offers = session.catalogue.offers();
        self.look_at_offers(account, messenger, now);
        let shapes = models::shapes(&model.upstream, asked.thinking, asked.effort, &offers);
        // What was answered last is likely to be understood again; other models have fewer shapes, hence the remainder.
        let first = self.answered.load(Ordering::Relaxed) % shapes.len();
        let mut refused = None;
        let others = (0..shapes.len()).filter(|at| *at != first);
        for at in std::iter::once(first).chain(others) {
            let Some(shape) = shapes.get(at) else { break };
            match self
                .ask_renewing(turn, account, asked, shape, &access)
                .await
            {
                // Only where another shape could help: else it is the service's last word.
                Err(error)
                    if is_refused_shape(&error) && !turn.has_output() && shapes.len() > 1 =>
                {
                    turn.events.clear();
                    // The first verdict is the one on what was asked for.
                    refused.get_or_insert(error);
                }
                result => {
                    // Only what was answered for several shapes says anything about them.
                    if result.is_ok() && shapes.len() > 1 {
                        self.answered.store(at, Ordering::Relaxed);
                    }
                    return result;
                }
            }
        }
        Err(refused.unwrap_or_else(ProviderError::empty_answer))
    }

    /// One question; once more for what a new token can mend (section 2).
    async fn ask_renewing(
        &self,
        turn: &mut Turn,
        account: &Account,
        asked: &Asked,
        shape: &Shape,
        access: &Arc<Access>,
    ) -> Result<(), ProviderError> {
        // What a former try has renewed.
        let latest = account.session.tokens.latest();
        let access = latest.as_ref().unwrap_or(access);
        let error = match self.ask(turn, account, access, asked, shape).await {
            Err(error) if is_refused_token(&error) && !turn.has_output() => error,
            result => return result,
        };
        let messenger = turn.messenger();
        let access = session::replaced(account, &messenger, &self.hosts, access, error).await?;
        // A try that was refused has said nothing.
        turn.events.clear();
        self.ask(turn, account, &access, asked, shape).await
    }

    /// Reads anew what the service offers the account, when it is time; nothing waits for it. The first look is that of
    /// [`crate::providers::Provider::upkeep`].
    fn look_at_offers(&self, account: &Account, messenger: Messenger, now: u64) {
        if !account.session.catalogue.is_known() {
            return;
        }
        let (account, hosts) = (account.clone(), self.hosts.clone());
        // Of its own: the turn waits for nothing.
        actix_web::rt::spawn(async move {
            session::look_at_offers(&account, &messenger, &hosts, now).await;
        });
    }

    /// One question with one token.
    async fn ask(
        &self,
        turn: &mut Turn,
        account: &Account,
        access: &Arc<Access>,
        asked: &Asked,
        shape: &Shape,
    ) -> Result<(), ProviderError> {
        let caller = Caller {
            hosts: &self.hosts,
            access,
        };
        let mut file_ids = Vec::new();
        for file in &asked.files {
            // Within the try: a file's id belongs to the token that uploaded it.
            file_ids.push(upload::upload(turn, caller, file, &account.variable).await?);
        }
        let continued = turn.continued();
        let question = Question {
            shape,
            goes_on: continued.as_ref().and_then(|thread| {
                let parent = thread.message.as_deref()?;
                Some((thread.id.as_str(), parent))
            }),
            thinking: asked.thinking,
            search: asked.search,
            prompt: &asked.prompt,
            file_ids: &file_ids,
        };
        let variable = &account.variable;
        let mut is_registered = false;
        if let Some(thread) = &continued {
            turn.opened(&thread.id, self.errand(account, access, &thread.id));
            is_registered = true;
        }
        let mut stream = Stream::open(self.transport, turn, caller, &question, variable).await?;
        let mut decoder = Decoder::new(variable).keeping_calls(turn.offered());
        while !decoder.is_over() {
            // After `done` only the trailer can follow, and a live stream ends without it (section 6.1).
            let chunk = if decoder.is_done() {
                stream.trailer().await
            } else {
                stream.chunk().await
            };
            let bytes = match chunk {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                // All has been said: how the connection ends is no part of the answer.
                Err(_) if decoder.is_complete() => break,
                Err(error) => return Err(error),
            };
            let fed = decoder.feed(&bytes, &mut turn.events);
            // Before the events go out: a client that leaves with the first of them must leave nothing behind.
            if let Some(chat_id) = decoder.chat_id().filter(|_| !is_registered) {
                turn.opened(chat_id, self.errand(account, access, chat_id));
                is_registered = true;
            }
            turn.emit_then(fed).await?;
        }
        // Whatever the answer was: the service has taken this token.
        account.session.tokens.served(access);
        let has_trailer = decoder.is_over();
        decoder.finish(&mut turn.events)?;
        if let Some(message) = decoder.message_id() {
            turn.answered_as(message);
        }
        turn.emit().await?;
        // Only a stream that has not ended yet can be read to its end.
        if has_trailer {
            stream.close().await;
        }
        Ok(())
    }

    /// The deletion of a chat; `None` where the settings leave it.
    pub(super) fn errand(
        &self,
        account: &Account,
        access: &Arc<Access>,
        chat_id: &str,
    ) -> Option<Errand> {
        let deletion = self.deletion(account, access, chat_id);
        (!self.keeps_chats).then(|| Errand::new(deletion))
    }

    /// The deletion of a chat, with the account's token of that moment: a rotation ends the older ones.
    fn deletion(
        &self,
        account: &Account,
        access: &Arc<Access>,
        chat_id: &str,
    ) -> impl Fn() -> Request + 'static {
        let (hosts, session) = (self.hosts.clone(), Arc::clone(&account.session));
        let (used, chat_id) = (Arc::clone(access), chat_id.to_owned());
        move || {
            let caller = Caller {
                // A rotation voids the older ones, so an errand of hours ago takes the newest.
                hosts: &hosts,
                access: &session.tokens.latest().unwrap_or_else(|| Arc::clone(&used)),
            };
            wire::delete_chat(caller, &chat_id)
        }
    }

    /// Announces the device, once for the process; nothing waits for it or depends on it (section 3).
    fn announce(&self, turn: &Turn, access: &Access) {
        // Before anything else: of many turns one announces it (section 3).
        if IS_ANNOUNCED.swap(true, Ordering::Relaxed) {
            return;
        }
        let messenger = turn.messenger();
        let request = wire::register_device(Caller {
            hosts: &self.hosts,
            access,
        });
        actix_web::rt::spawn(async move {
            if let Ok(mut answer) = messenger.send(request).await {
                // Read to its end, so that the connection is free again.
                let _ = answer.short().await;
            }
        });
    }
}

/// The whole conversation is flattened, so the attachments of every message go along (section 4.4).
async fn attachments(ask: &ChatRequest, turn: &Turn) -> Result<Vec<Attachment>, ProviderError> {
    let mut files = Vec::new();
    for (at, message) in ask.messages.iter().enumerate() {
        files.append(&mut turn.attachments(at, message).await?);
    }
    Ok(files)
}

/// Refused as such, not forbidden to do something (which has a code of its own).
fn is_refused_token(error: &ProviderError) -> bool {
    error.kind == Kind::AuthExpired && error.code.is_none()
}

/// The service does not know the scenario, or not for this account.
fn is_refused_shape(error: &ProviderError) -> bool {
    matches!(
        error.code.as_deref(),
        Some("upstream_invalid_argument" | "upstream_forbidden" | "upstream_membership_required")
    )
}

/// What only members may ask says nothing about the credential when it is forbidden: any caller could disable the
/// account by asking for it.
fn blame(mut error: ProviderError, model: &Model) -> ProviderError {
    match error.code.as_deref() {
        Some("upstream_forbidden") if models::is_for_members(&model.upstream) => {
            // By code: the kind alone is also that of a membership.
            refusal::membership()
        }
        Some(refusal::FREE_SHUT_OUT) => {
            error.code = None;
            error
        }
        _ => error,
    }
}
