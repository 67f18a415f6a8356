//! The chat2 generation: the signed questions of www.qianwen.com. Steps: what signs (11.4), pictures (11.7), question
//! (11.5, 11.6), answer (11.8), clean-up (11.10) of `wire/qwen.md`.

mod alike;
pub(super) mod hosts;
mod marker;
mod panels;
mod refusal;
mod repeat;
mod security;
mod sign;
mod store;
pub mod stream;
mod upload;
mod wire;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::RngExt as _;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

pub(super) use self::repeat::Repeats;
use self::{
    hosts::Hosts,
    security::{Keyring, Scene},
    stream::Decoder,
    wire::{Client, Question, Seal},
};
use super::{
    account::Account,
    generation::{Failure, Generation, Memory},
};
use crate::{
    chat::ChatEvent,
    providers::{Errand, Messenger, Turn},
    upstream::fetch::Attachment,
};

/// What this generation has given an account while the worker runs.
#[derive(Debug, Default)]
pub(super) struct Standing {
    keyring: Keyring,
    pace: Pace,
}

/// When the account's next question may start.
#[derive(Debug, Default)]
struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// Waits for this question's turn.
    async fn wait(&self, between: Duration) {
        if between.is_zero() {
            return;
        }
        // In a block: the lock is not held over the wait.
        let start = {
            let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            // A question reserves its place before it waits, so that several do not start at once.
            let start = next.map_or(now, |next| next.max(now));
            *next = Some(start + between);
            start
        };
        sleep_until(start).await;
    }
}

/// Where the calls go, and how they are sent.
#[derive(Clone, Debug)]
struct Contact {
    hosts: Arc<Hosts>,
    messenger: Messenger,
}

impl Contact {
    fn client<'a>(&'a self, account: &'a Account) -> Client<'a> {
        Client {
            hosts: &self.hosts,
            account,
        }
    }
}

/// The provider's part in every turn.
#[derive(Debug)]
pub(super) struct Settings {
    /// Where the services are.
    pub(super) hosts: Arc<Hosts>,
    /// `QWEN_UPLOAD_BASE_URL`.
    pub(super) upload_base_url: Option<String>,
    /// `QWEN_DELETE_SESSION`.
    pub(super) deletes_sessions: bool,
    /// Between the starts of two questions of one account.
    pub(super) between: Duration,
    /// The last answers.
    pub(super) repeats: Repeats,
}

/// The session that a question goes on with.
#[derive(Clone, Copy, Debug)]
pub(super) struct GoesOn<'a> {
    /// 32 hex.
    pub(super) session_id: &'a str,
    /// The id of the request before.
    pub(super) parent: &'a str,
    /// 32 hex.
    pub(super) topic_id: &'a str,
}

/// What a turn asks.
pub(super) struct Asked<'a> {
    /// In which session; a new one without.
    pub(super) goes_on: Option<GoesOn<'a>>,
    /// The conversation as one text.
    pub(super) prompt: &'a str,
    /// The last message's pictures.
    pub(super) files: &'a [Attachment],
    /// The upstream model.
    pub(super) model: &'a str,
    /// Thinking or search is wanted.
    pub(super) is_deep: bool,
}

/// One turn with a leased account.
///
/// # Errors
/// [`Failure`]; [`Failure::Absent`] only before any output.
pub(super) async fn answer(
    settings: &Settings,
    memory: &Memory,
    turn: &mut Turn,
    account: &Account,
    asked: &Asked<'_>,
) -> Result<(), Failure> {
    let contact = Contact {
        hosts: Arc::clone(&settings.hosts),
        messenger: turn.messenger(),
    };
    let mut items = Vec::new();
    // Once, before the tries: pictures are the account's, not the session's.
    for file in asked.files {
        let base_url = settings.upload_base_url.as_deref();
        items.push(upload::upload(&contact, account, turn, base_url, file).await?);
    }
    let first = ask(settings, memory, turn, &contact, account, asked, &items).await;
    match first {
        // A stream without content may be a matter of chance, and an excuse one of a registration that has ended: once
        // more, with another salt (section 11.9).
        Err(Failure::Told(error))
            if !turn.has_output()
                && [refusal::EMPTY, refusal::REPEATED]
                    .map(Some)
                    .contains(&error.code.as_deref()) =>
        {
            // A refusal that was held back has said nothing; what it noticed is told by the next try.
            turn.events.clear();
            ask(settings, memory, turn, &contact, account, asked, &items).await
        }
        other => other,
    }
}

async fn ask(
    settings: &Settings,
    memory: &Memory,
    turn: &mut Turn,
    contact: &Contact,
    account: &Account,
    asked: &Asked<'_>,
    items: &[Box<RawValue>],
) -> Result<(), Failure> {
    // Before the salt is taken: it has a deadline, and the wait may be long.
    account.standing.pace.wait(settings.between).await;
    let (pass, time) = security::pass(contact, account, Scene::Chat, turn.unix_ms()).await?;
    let client = contact.client(account);
    // Without hyphens: `req_id` and its kin are 32 digits (section 11.6).
    let hex = |turn: &Turn| turn.uuid().simple().to_string();
    let request_id = hex(turn);
    let (session_id, topic_id) = match asked.goes_on {
        Some(goes_on) => (goes_on.session_id.to_owned(), goes_on.topic_id.to_owned()),
        None => (hex(turn), hex(turn)),
    };
    let question = Question {
        request_id: &request_id,
        parent: asked.goes_on.map(|goes_on| goes_on.parent),
        session_id: &session_id,
        topic_id: &topic_id,
        model: asked.model,
        is_deep: asked.is_deep,
        prompt: asked.prompt,
        items,
    };
    let nonce = nonce();
    let seal = Seal {
        pass: &pass,
        time,
        nonce: &nonce,
    };
    let request = wire::ask(client, &seal, &question);
    // The session is ours to name, so it can be deleted from now on, whatever comes of it (section 11.10).
    let deletion = deletion(settings, account, &session_id);
    turn.opened(&session_id, deletion);
    turn.remembers(&format!("{} {topic_id}", Generation::Chat2.word()));
    // By the messenger: the turn's own error no longer tells that nobody was there.
    let sent = contact.messenger.send(request).await.map_err(Failure::from);
    let mut answer = match sent {
        Err(absent @ Failure::Absent(_)) => {
            withdraw(settings, turn);
            return Err(absent);
        }
        sent => sent?,
    };
    // 200 also for the slider, and for a page in the place of a generation that is gone.
    if answer.status.as_u16() != 200 || !answer.is_event_stream().await {
        let (status, content_type) = (answer.status.as_u16(), answer.content_type());
        let retry_after = answer.retry_after();
        let body = answer.short().await?;
        return Err(
            match refusal::refusal(status, &content_type, &body, &account.remedy()) {
                absent @ Failure::Absent(_) => {
                    withdraw(settings, turn);
                    absent
                }
                Failure::Told(error) => {
                    memory.has_answered(Generation::Chat2);
                    // What the error knows of itself is exact; a header may be a proxy's.
                    let wait = error.retry_after.or(retry_after);
                    Failure::Told(error.with_retry_after(wait))
                }
            },
        );
    }
    // A stream has begun: whatever it says, this generation is there.
    memory.has_answered(Generation::Chat2);
    let mut decoder =
        // Suspects are only taken at the beginning: what is held back then has not been sent.
        Decoder::new(&account.remedy()).answering(asked.prompt, settings.repeats.suspect());
    let read = read(turn, answer, &mut decoder, &settings.repeats).await;
    // The next question's parent is this one's request (section 11.6).
    turn.answered_as(&request_id);
    let keyring = &account.standing.keyring;
    let is_streak = match &read {
        Ok(()) => {
            // In this order: an answer is heard even where nothing is to be forgotten.
            settings.repeats.heard(asked.prompt, decoder.text())
                && keyring.forget(&pass.device, || true)
        }
        // Of many turns that are refused at once the first one registers anew; the others were signed before that.
        Err(Failure::Told(error)) if error.code.as_deref() == Some(refusal::REPEATED) => {
            // The device is that of the pass, so that a new registration is not thrown away for an old one's refusal.
            keyring.forget(&pass.device, || settings.repeats.was_refused())
        }
        Err(_) => false,
    };
    if is_streak {
        tracing::warn!(
            provider = super::NAME,
            "different questions get the same sentence: registering anew"
        );
    }
    read
}

async fn read(
    turn: &mut Turn,
    mut answer: crate::upstream::Answer,
    decoder: &mut Decoder,
    repeats: &Repeats,
) -> Result<(), Failure> {
    let (mut is_over, mut has_begun) = (false, false);
    // The connection may stay open behind the answer, or break: that is nobody's business.
    while !decoder.is_over() {
        let chunk = answer.chunk().await;
        let Some(bytes) = chunk.map_err(crate::chat::ProviderError::from)? else {
            is_over = true;
            break;
        };
        let fed = decoder.feed(&bytes, &mut turn.events);
        // Of the events still in hand: after they are passed on, nobody knows that this was the first.
        if !has_begun && turn.events.iter().any(ChatEvent::is_output) {
            has_begun = true;
            repeats.was_answered();
        }
        turn.emit_then(fed).await?;
    }
    decoder.finish(&mut turn.events)?;
    if decoder.rewrites() > 0 {
        tracing::info!(
            provider = super::NAME,
            rewrites = decoder.rewrites(),
            "the service rewrote what it had said"
        );
    }
    turn.emit().await?;
    // A body that has not ended is read to its end, so that the connection is free again.
    if !is_over {
        crate::upstream::linger::let_end(answer).await;
    }
    Ok(())
}

/// The call that deletes a session; `None` where the settings leave it.
pub(super) fn deletion(settings: &Settings, account: &Account, session_id: &str) -> Option<Errand> {
    let client = Client {
        hosts: &settings.hosts,
        account,
    };
    let deletes = settings.deletes_sessions;
    deletes.then(|| wire::delete_session(client, session_id).into())
}

/// Nobody has taken the question: there is no session to delete.
fn withdraw(settings: &Settings, turn: &mut Turn) {
    if settings.deletes_sessions {
        turn.withdraw();
    }
}

/// 11 of `[0-9a-z]` (section 11.6).
fn nonce() -> String {
    const CHARS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut random = rand::rng();
    (0..11)
        // Never `None`: the index is within the list.
        .filter_map(|_| CHARS.get(random.random_range(0..CHARS.len())))
        .map(|&byte| char::from(byte))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn questions_of_one_account_start_apart() {
        let (pace, began) = (Pace::default(), Instant::now());
        for second in [0, 2, 4] {
            pace.wait(Duration::from_secs(2)).await;
            assert_eq!(began.elapsed().as_secs(), second);
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        pace.wait(Duration::from_secs(2)).await;
        assert_eq!(began.elapsed().as_secs(), 14);
    }

    #[test]
    fn a_nonce_is_eleven_characters() {
        let nonce = nonce();
        assert_eq!(nonce.len(), 11);
        assert!(
            nonce
                .bytes()
                .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        );
    }
}
