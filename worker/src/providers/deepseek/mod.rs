//! DeepSeek: the web chat of chat.deepseek.com. Steps: token or login (section 2), session, files, proof of work,
//! question, answer, clean-up (section 8, with 4 to 6) of `wire/deepseek.md`.

mod account;
mod call;
mod card;
mod check;
mod frame;
mod hif;
mod identity;
mod listen;
mod login;
mod marker;
mod message;
mod models;
mod patch;
pub mod pow;
mod prompt;
mod reader;
mod refusal;
mod session;
pub mod stream;
mod upload;
mod wire;

pub use card::CARD;

use std::{sync::Arc, time::Duration};

use futures_util::future::{self, LocalBoxFuture};

use self::{
    account::Account,
    call::{call, is_stream, refused},
    hif::SideChannels,
    identity::Identity,
    listen::Listening,
    refusal::Refusal,
    wire::{Aside, Caller, Question},
};
use super::{Abandoning, Checking, Messenger, Model, Provider, Turn, abandoning, checking};
use crate::{
    accounts::{Accounts, Choice, Kept, Pace, Pool},
    chat::{ChatRequest, Field, ProviderError, Support, fields},
    conversations::{Continues, Thread},
    settings::{Problems, Settings, Vars},
    upstream::Answer,
};

const NAME: &str = "deepseek";
/// "Silent for 60 s" is broken (section 7).
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// The longest `DEEPSEEK_PAUSE_SECONDS`.
const LONGEST_PAUSE: f64 = 600.0;

/// The provider.
#[derive(Debug)]
pub struct DeepSeek {
    accounts: Pool<Account>,
    models: Vec<Model>,
    identity: Arc<Identity>,
    side_channels: SideChannels,
    silence: Duration,
    /// Between two questions of one account.
    pause: Duration,
    checks_device: bool,
    /// Where the token of a login survives a restart.
    kept: Kept,
}

/// Reads the provider's own variables (section 2).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<Arc<dyn Provider>> {
    let identity = Identity::read(vars, problems);
    let pause = vars.number("DEEPSEEK_PAUSE_SECONDS", 0.0, 0.0, LONGEST_PAUSE, problems);
    let deepseek = DeepSeek {
        // One answer at a time is the safe rule, and two were seen to work (section 8).
        accounts: Pool::new(
            settings.providers.patience,
            vars.number("DEEPSEEK_MAX_CONCURRENCY", 2, 1, 1000, problems),
        )
        .paced(Pace::read("DEEPSEEK", vars, problems)),
        models: models::listed(),
        side_channels: SideChannels::read(vars, &identity, problems),
        identity: Arc::new(identity),
        silence: settings.upstream.timeouts.stall.min(LONGEST_SILENCE),
        pause: Duration::from_secs_f64(pause),
        checks_device: vars.switch("DEEPSEEK_CHECK_DEVICE", false, problems),
        kept: settings.providers.kept.clone(),
    };
    let accounts = account::accounts(vars, &deepseek.kept, problems);
    deepseek.accounts.replace(accounts);
    vec![Arc::new(deepseek)]
}

impl Provider for DeepSeek {
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
        &[fields::THINKING, fields::SEARCH]
    }

    fn check(&self, account: usize, messenger: Messenger) -> Option<Checking<'_>> {
        checking(Self::who_am_i, self, self.accounts.of(account)?, messenger)
    }

    fn accounts(&self) -> &dyn Accounts {
        &self.accounts
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Problems) -> Box<dyn FnOnce() + 'a> {
        let accounts = account::accounts(vars, &self.kept, problems);
        Box::new(move || self.accounts.replace(accounts))
    }

    /// A question names the answer that it follows: the session's last (section 4).
    fn continues(&self, _model: &Model) -> Continues {
        Continues::Linear
    }

    fn abandon<'a>(&'a self, thread: &'a Thread, turn: &'a mut Turn) -> Abandoning<'a> {
        abandoning(&self.accounts, thread, turn, async |turn, account| {
            let token = login::token(&self.identity, turn, account, self.checks_device).await?;
            let caller = Caller {
                identity: &self.identity,
                token: &token.secret,
                device_id: &account.device_id,
            };
            Ok(Some(wire::delete_session(caller, &thread.id).into()))
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

impl DeepSeek {
    async fn answer(&self, ask: &Arc<ChatRequest>, turn: &mut Turn) -> Result<(), ProviderError> {
        // By the messages, not by the attachments themselves, which are fetched later.
        let has_files = ask
            .messages
            .iter()
            .any(|message| message.attachments().next().is_some());
        let prompt = turn
            .prompt(ask, |ask| prompt::prompt(&ask.messages))
            .await?;
        if prompt.trim().is_empty() && !has_files {
            return Err(ProviderError::bad_request(
                "messages",
                "The conversation holds no text and no attachment.",
            ));
        }
        // It would answer without a word about them (section 4).
        if has_files && turn.model.upstream == models::EXPERT {
            return Err(ProviderError::bad_request(
                "messages",
                "This model ignores files; take another one.",
            ));
        }
        let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
        // After the lease: which account it is decides how long it waits.
        account.keep_pace(self.pause).await;
        // Each remedy once: what neither mends is not mended by more of it, and logins in a row close an account.
        let (mut may_log_in, mut may_restart) = (true, turn.continued().is_none());
        loop {
            // In the loop: each try needs a token that has not been refused yet.
            let token = login::token(&self.identity, turn, &account, self.checks_device).await?;
            let caller = Caller {
                identity: &self.identity,
                token: &token.secret,
                device_id: &account.device_id,
            };
            match self.attempt(ask, turn, caller, &prompt, has_files).await {
                Ok(()) => {
                    // A turn that served proves the token good.
                    account.tokens.served(&token);
                    return Ok(());
                }
                Err(Refusal::Token) => {
                    let error = Refusal::Token.into_error(&account.variable);
                    // Two refusals of one token in a row: the login has not helped, and the account rests.
                    if !may_log_in {
                        account.tokens.refused(&token, &error);
                        return Err(error);
                    }
                    // One login per turn; the account's own pace bounds it further (section 2).
                    may_log_in = false;
                    login::replaced(&self.identity, turn, &account, &token, error).await?;
                }
                // Section 7: stale ids, one new session.
                Err(Refusal::Stale) if may_restart => may_restart = false,
                Err(refusal) => return Err(refusal.into_error(&account.variable)),
            }
        }
    }

    async fn attempt(
        &self,
        ask: &ChatRequest,
        turn: &mut Turn,
        caller: Caller<'_>,
        prompt: &str,
        has_files: bool,
    ) -> Result<(), Refusal> {
        let continued = turn.continued();
        let session = async {
            match &continued {
                Some(thread) => Ok(thread.id.clone()),
                None => self.create_session(turn, caller).await,
            }
        };
        // A proof dies after five minutes, so with files it waits for them; else both go at the same time.
        // Without files the two calls need nothing of each other (section 8).
        let (session, proof) = if has_files {
            (session.await, None)
        } else {
            let proof = call::proof(turn, caller, wire::COMPLETION);
            let (session, proof) = future::join(session, proof).await;
            (session, Some(proof))
        };
        // Before the proof: a challenge that could not be had leaves a session behind otherwise.
        let session_id = session?;
        // Before anything else can fail: an empty conversation stays in the history as well.
        let deletion = wire::delete_session(caller, &session_id).into();
        turn.opened(&session_id, Some(deletion));
        let parent = continued.and_then(|thread| thread.message?.parse().ok());
        let mut question = Question {
            session_id,
            parent,
            model: turn.model.upstream.clone(),
            thinking: ask.thinking.unwrap_or(turn.model.thinking),
            search: ask.search.unwrap_or(turn.model.search),
            prompt: prompt.to_owned(),
            // Filled by `attach` below, which may change the model as well.
            file_ids: Vec::new(),
        };
        if has_files {
            self.attach(ask, turn, caller, &mut question).await?;
        }
        // A session stays with the model that it began with (section 4).
        if question.parent.is_some() && question.model != turn.model.upstream {
            return Err(Refusal::Stale);
        }
        let is_vision = question.model == models::VISION;
        // The model that sees has no search (section 4, table of models).
        question.search &= !is_vision;
        // Cloned: the turn is needed by the question itself.
        let messenger = turn.messenger();
        let values = self
            .side_channels
            .values(&self.identity, &messenger, is_vision);
        let aside = values.await;
        let proof = match proof {
            Some(proof) => proof?,
            None => call::proof(turn, caller, wire::COMPLETION).await?,
        };
        let answer = self.ask(turn, caller, &mut question, &aside, proof).await?;
        let listening = Listening {
            caller,
            session_id: &question.session_id,
            aside: &aside,
            silence: self.silence,
        };
        listen::listen(turn, listening, answer).await?;
        Ok(())
    }

    async fn create_session(&self, turn: &Turn, caller: Caller<'_>) -> Result<String, Refusal> {
        // Short: a body that is `{}`.
        let session: wire::Session = call(turn, wire::create_session(caller)).await?;
        let id = session.id();
        id.ok_or_else(|| ProviderError::malformed("new conversation").into())
    }

    /// Uploads what is attached to the messages; pictures need the model that sees (section 4).
    async fn attach(
        &self,
        ask: &ChatRequest,
        turn: &Turn,
        caller: Caller<'_>,
        question: &mut Question,
    ) -> Result<(), Refusal> {
        for (at, message) in ask.messages.iter().enumerate() {
            // Every message's: the whole conversation becomes one question (section 4).
            for file in turn.attachments(at, message).await? {
                if file.is_image() {
                    // Section 4: only this model takes pictures.
                    question.model = models::VISION.to_owned();
                }
                let id = upload::upload(turn, caller, &file).await?;
                question.file_ids.push(id);
            }
        }
        Ok(())
    }

    /// Asks; a refused proof is replaced once (section 7). A file that the seeing model refuses is forked once.
    async fn ask(
        &self,
        turn: &Turn,
        caller: Caller<'_>,
        question: &mut Question,
        aside: &Aside,
        mut proof: String,
    ) -> Result<Answer, Refusal> {
        // Each once: what is asked again is the same question.
        let (mut may_prove, mut may_fork) = (true, question.model == models::VISION);
        loop {
            let mut request = wire::ask(caller, question, aside, &proof);
            // The stream's own bound; the short call's was taken away.
            request.timeout = Some(self.silence);
            let mut answer = turn.send(request).await?;
            if is_stream(&mut answer).await {
                return Ok(answer);
            }
            match refused(turn, answer).await {
                Refusal::Proof if may_prove => may_prove = false,
                Refusal::Stale if may_fork && !question.file_ids.is_empty() => {
                    // The new proof below is needed in either case: a proof serves one request (section 5).
                    may_fork = false;
                    upload::fork(turn, caller, &mut question.file_ids, &question.model).await?;
                }
                refusal => return Err(refusal),
            }
            // After the remedy: a proof dies with the request that used it, refused or not.
            proof = call::proof(turn, caller, wire::COMPLETION).await?;
        }
    }
}
