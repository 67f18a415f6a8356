//! Doubao (豆包): ByteDance's web chat. Steps: session cookie (section 2), attachments (4.6), question (4.3), answer (6),
//! deletion (8) of `wire/doubao.md`; the older route `samantha` (4.4, 6.7) where a setting asks for it.
//!
//! No anti-bot value is made up, no fingerprint of a connection imitated and no captcha solved (section 5.2): a demand for
//! verification is told to whoever owns the account. The site's call that stops an answer is not known: a client that leaves
//! closes the stream, and the conversation is deleted.

mod account;
mod answer;
mod attachment;
mod blocks;
mod card;
mod device;
mod draw;
mod found;
mod loose;
mod models;
mod prompt;
mod refusal;
mod samantha;
mod sign;
pub mod stream;
mod upload;
mod wire;

pub use card::CARD;

use std::{sync::Arc, time::Duration};

use futures_util::future::LocalBoxFuture;

use self::{
    account::Account,
    models::{Depth, Wanted},
    stream::{Decoder, Protocol, Shows},
    upload::Store,
    wire::{Caller, File, Place, Question},
};
use super::{Abandoning, Errand, Images, Model, Provider, Turn, abandoning};
use crate::{
    accounts::{Accounts, Choice, Pace, Pool},
    chat::{ChatRequest, Field, Kind, ProviderError, Role, Support, fields},
    conversations::{Continues, Thread},
    settings::{Problems, Settings, Vars},
    upstream::{Answer, TransportError, fetch::Attachment, linger},
};

const NAME: &str = "doubao";
/// "Nothing for 120 s (180 s for the first piece)" is a time-out, unless the service names other times (section 7).
const LONGEST_SILENCE: Duration = Duration::from_secs(120);
const LONGEST_START: Duration = Duration::from_secs(180);
/// How often and how long pictures are looked for (section 6.5).
const LOOK_EVERY: Duration = Duration::from_secs(2);
const LOOK_FOR: Duration = Duration::from_secs(120);

/// The provider.
#[derive(Debug)]
pub struct Doubao {
    accounts: Pool<Account>,
    models: Vec<Model>,
    store: Store,
    protocol: Protocol,
    deletes_conversations: bool,
    /// `STALL_TIMEOUT`: the owner's own limit of a silence.
    stall: Duration,
}

/// What a turn asks.
struct Asked {
    bot: String,
    depth: Depth,
    text: String,
    /// Of a picture; `None`: the painter's own.
    ratio: Option<String>,
    shows: Shows,
    files: Vec<Attachment>,
}

/// Reads the provider's own variables (sections 2 and 3).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<Arc<dyn Provider>> {
    // Without defaults on the card: where they are not set the service names the host itself.
    let mut elsewhere = |name: &str| vars.get(name).map(|_| vars.base_url(name, "", problems));
    let (upload_base_url, imagex_base_url) = (
        elsewhere("DOUBAO_UPLOAD_BASE_URL"),
        elsewhere("DOUBAO_IMAGEX_BASE_URL"),
    );
    let protocol = match vars.get("DOUBAO_PROTOCOL") {
        None | Some("chat") => Protocol::Chat,
        Some("samantha") => Protocol::Samantha,
        Some(_) => {
            problems.push("DOUBAO_PROTOCOL must be chat or samantha".to_owned());
            Protocol::Chat
        }
    };
    let doubao = Doubao {
        // More of them at a time get an account throttled (section 9).
        accounts: Pool::new(
            settings.providers.patience,
            vars.number("DOUBAO_MAX_CONCURRENCY", 3, 1, 1000, problems),
        )
        .paced(Pace::read("DOUBAO", vars, problems)),
        models: models::listed(),
        store: Store {
            base_url: CARD.base_url("DOUBAO_BASE_URL", vars, problems),
            upload_base_url,
            imagex_base_url,
        },
        protocol,
        deletes_conversations: vars.switch("DOUBAO_DELETE_CONVERSATIONS", true, problems),
        stall: settings.upstream.timeouts.stall,
    };
    doubao.accounts.replace(account::accounts(vars, problems));
    vec![Arc::new(doubao)]
}

impl Provider for Doubao {
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

    /// From its end (section 8); the older route's way is not shown, and pictures are made one at a time.
    fn continues(&self, model: &Model) -> Continues {
        let is_picture = matches!(models::read(&model.upstream), None | Some(Wanted::Pictures));
        match self.protocol {
            Protocol::Chat if !is_picture => Continues::Linear,
            Protocol::Chat | Protocol::Samantha => Continues::No,
        }
    }

    fn abandon<'a>(&'a self, thread: &'a Thread, turn: &'a mut Turn) -> Abandoning<'a> {
        abandoning(&self.accounts, thread, turn, async |turn, account| {
            Ok(self.deletion(turn, account, &thread.id))
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

/// Where in its conversation a thread stands.
fn placed(thread: &Thread) -> Option<Place<'_>> {
    let (section, index) = thread.more.as_deref()?.split_once(' ')?;
    Some(Place {
        conversation: &thread.id,
        section,
        index: index.parse().ok()?,
    })
}

impl Doubao {
    async fn answer(&self, ask: &Arc<ChatRequest>, turn: &mut Turn) -> Result<(), ProviderError> {
        let asked = self.asked(ask, turn).await?;
        self.put(&asked, turn).await
    }

    /// Asks, and passes the answer on.
    async fn put(&self, asked: &Asked, turn: &mut Turn) -> Result<(), ProviderError> {
        let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
        let mut files: Vec<File> = Vec::new();
        for file in &asked.files {
            files.push(upload::upload(turn, &self.store, &account, file).await?);
        }
        let continued = turn.continued();
        let question = Question {
            place: continued.as_ref().and_then(placed),
            bot: &asked.bot,
            depth: asked.depth,
            text: &asked.text,
            pictures: asked.shows == Shows::Pictures,
            ratio: asked.ratio.as_deref(),
            attachments: &files,
            unix_ms: turn.unix_ms(),
        };
        let caller = self.caller(turn, &account);
        let mut request = match self.protocol {
            Protocol::Chat => {
                let ids = std::array::from_fn(|_| turn.uuid());
                wire::ask(caller, &question, ids)
            }
            Protocol::Samantha => samantha::ask(caller, &question, turn.uuid()),
        };
        request.timeout = Some(self.patience(None, false));
        if let Some(thread) = &continued {
            self.opened(turn, &account, &thread.id);
        }
        let mut answer = turn.send(request).await?;
        if answer.status.as_u16() != 200 || !answer.is_event_stream().await {
            let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
            // The status alone says something when the body breaks off.
            let body = answer.short().await.unwrap_or_default();
            let error = refusal::refusal(status, &body, &account.variable);
            let own = error.retry_after;
            return Err(error.with_retry_after(retry_after.or(own)));
        }
        self.listen(turn, &account, answer, asked.shows).await
    }

    /// What is asked, as yet without uploads.
    async fn asked(&self, ask: &Arc<ChatRequest>, turn: &Turn) -> Result<Asked, ProviderError> {
        // Ids that mean nothing do not come this far.
        let wanted = models::read(&turn.model.upstream).unwrap_or(Wanted::Pictures);
        let files = attachments(ask, turn, &wanted).await?;
        // Behind the attachments: a picture alone is a question.
        let has_text = ask.messages.iter().any(|message| message.has_words());
        if !has_text && files.is_empty() {
            return Err(ProviderError::bad_request(
                "messages",
                "The conversation holds no text and no attachment.",
            ));
        }
        // The older route has no form for documents, and the painter takes pictures (sections 4.4, 4.5).
        let takes_documents = self.protocol == Protocol::Chat && wanted != Wanted::Pictures;
        if !takes_documents && files.iter().any(|file| !file.is_image()) {
            return Err(refusal::file_rejected("only pictures can go along here"));
        }
        Ok(match wanted {
            Wanted::Answer { bot, depth } => Asked {
                bot,
                depth: depth.told(ask.thinking),
                text: turn.prompt(ask, prompt::prompt).await?,
                ratio: None,
                shows: Shows::Everything,
                files,
            },
            Wanted::Pictures => Asked {
                bot: models::BOT.to_owned(),
                depth: Depth::Quick,
                text: turn.prompt(ask, prompt::picture).await?,
                ratio: None,
                shows: Shows::Pictures,
                files,
            },
        })
    }

    /// Passes the answer on as it comes.
    async fn listen(
        &self,
        turn: &mut Turn,
        account: &Account,
        mut answer: Answer,
        shows: Shows,
    ) -> Result<(), ProviderError> {
        let mut decoder = Decoder::new(&account.variable, self.protocol, shows);
        let (mut is_registered, mut is_over) = (false, false);
        while !decoder.is_finished() {
            let patience = self.patience(decoder.patience(), decoder.has_begun());
            let chunk = tokio::time::timeout(patience, answer.chunk()).await;
            // Of our own, as it depends on how far the answer is; the client's silence is only the outer bound.
            let bytes = match chunk.unwrap_or(Err(TransportError::Timeout)) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => {
                    is_over = true;
                    break;
                }
                // Section 6.2: what breaks behind the complete text has lost nothing.
                Err(_) if decoder.is_complete() => {
                    is_over = true;
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            let fed = decoder.feed(&bytes, &mut turn.events);
            if let Some(id) = decoder.conversation_id().filter(|_| !is_registered) {
                self.opened(turn, account, id);
                is_registered = true;
            }
            turn.emit_then(fed).await?;
        }
        let ended = decoder.end(&mut turn.events);
        turn.emit_then(ended).await?;
        if let (Some(id), Some((section, index))) = (decoder.message_id(), decoder.place()) {
            turn.answered_as(id);
            turn.remembers(&format!("{section} {index}"));
        }
        // How the older route's are looked for, nobody has shown.
        if decoder.wants_pictures() && self.protocol == Protocol::Chat {
            self.wait_for_pictures(turn, account, &mut decoder).await?;
        }
        if decoder.has_rewrites() {
            tracing::info!(provider = NAME, "the service rewrote what it had said");
        }
        let finished = decoder.finish(&mut turn.events);
        turn.emit_then(finished).await?;
        // Behind `finish`: what the connection still says is of no interest to the caller.
        if !is_over {
            linger::let_end(answer).await;
        }
        Ok(())
    }

    /// Looks for pictures that are still being made. What is not there in the end is done without, as far as the answer has
    /// something else.
    async fn wait_for_pictures(
        &self,
        turn: &mut Turn,
        account: &Account,
        decoder: &mut Decoder,
    ) -> Result<(), ProviderError> {
        let Some(id) = decoder.conversation_id().map(str::to_owned) else {
            return Ok(());
        };
        // Lent: the decoder takes what each look brings.
        let look = async |turn: &mut Turn| {
            let request = wire::messages(self.caller(turn, account), &id, turn.uuid());
            match upload::answer(turn, request, account).await {
                Ok(answer) => Ok(decoder.take_messages(wire::pulled(&answer)).then_some(())),
                // One look more or less is of no consequence.
                Err(error) if matches!(error.kind, Kind::Unavailable | Kind::Timeout) => Ok(None),
                Err(error) => Err(error),
            }
        };
        turn.until(LOOK_EVERY, LOOK_FOR, look).await.map(drop)
    }

    fn opened(&self, turn: &mut Turn, account: &Account, id: &str) {
        let deletion = self.deletion(turn, account, id);
        turn.opened(id, deletion);
    }

    /// The deletion of a conversation; `None` where the settings leave it.
    fn deletion(&self, turn: &Turn, account: &Account, id: &str) -> Option<Errand> {
        self.deletes_conversations.then(|| {
            let delete = wire::delete(self.caller(turn, account), id, turn.uuid());
            let older = wire::delete_older(self.caller(turn, account), id);
            Errand::from(delete).or(wire::is_deleted, older)
        })
    }

    /// How long the service may be silent now: what it says itself, and no longer than the owner lets any service.
    fn patience(&self, told: Option<Duration>, has_begun: bool) -> Duration {
        if has_begun {
            told.unwrap_or(LONGEST_SILENCE).min(self.stall)
        } else {
            // The first piece may take half as long again as any other, in the service's own terms (180 s to 120 s).
            told.unwrap_or(LONGEST_START).min(self.stall * 3 / 2)
        }
    }

    fn caller<'a>(&'a self, turn: &Turn, account: &'a Account) -> Caller<'a> {
        Caller {
            base_url: &self.store.base_url,
            account,
            tab: turn.uuid(),
        }
    }
}

/// The pictures and documents that go along: of the whole conversation, as its text does; for a new picture, of the message that
/// asks for it (section 4.3).
async fn attachments(
    ask: &ChatRequest,
    turn: &Turn,
    wanted: &Wanted,
) -> Result<Vec<Attachment>, ProviderError> {
    let first = match wanted {
        Wanted::Answer { .. } => 0,
        Wanted::Pictures => {
            let mut messages = ask.messages.iter();
            let last = messages.rposition(|message| message.role == Role::User);
            // Without a user's message there is none to take attachments of.
            last.unwrap_or(ask.messages.len())
        }
    };
    let mut files = Vec::new();
    for (at, message) in ask.messages.iter().enumerate().skip(first) {
        files.append(&mut turn.attachments(at, message).await?);
    }
    Ok(files)
}
