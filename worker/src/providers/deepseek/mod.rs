//! DeepSeek: the web chat of chat.deepseek.com. Steps: token or login (section 2), session, files, proof of work,
//! question, answer, clean-up (section 8, with 4 to 6) of `wire/deepseek.md`.

mod account;
mod call;
mod frame;
mod login;
mod marker;
mod message;
mod models;
mod patch;
pub mod pow;
mod prompt;
mod refusal;
mod session;
pub mod stream;
mod upload;
mod wire;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::future::{self, LocalBoxFuture};

use self::{
    account::Account,
    call::{call, is_stream, refused},
    refusal::Refusal,
    stream::Decoder,
    wire::{Caller, Identity, Question},
};
use super::{Model, Provider, Turn};
use crate::{
    accounts::{Accounts, Choice, Pool, Secret},
    chat::{ProviderError, Support, fields},
    settings::{Settings, Vars},
    upstream::Answer,
};

const NAME: &str = "deepseek";
/// Continuations of one answer (section 6).
const MOST_CONTINUATIONS: usize = 8;
/// "Silent for 60 s" is broken (section 7).
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// How long the side channel's value is good for (section 4).
const HIF_LIFE: Duration = Duration::from_secs(600);

/// The provider.
#[derive(Debug)]
pub struct DeepSeek {
    accounts: Pool<Account>,
    models: Vec<Model>,
    identity: Identity,
    silence: Duration,
    hif: Mutex<Option<(Instant, String)>>,
}

/// Reads the provider's own variables (section 2).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Vec<String>,
) -> Vec<Arc<dyn Provider>> {
    let deepseek = DeepSeek {
        // One answer at a time is the safe rule, and two were seen to work (section 8).
        accounts: Pool::new(
            settings.patience,
            vars.number("DEEPSEEK_MAX_CONCURRENCY", 2, 1, 1000, problems),
        ),
        models: models::listed(),
        identity: Identity::read(vars, problems),
        silence: settings.timeouts.stall.min(LONGEST_SILENCE),
        hif: Mutex::default(),
    };
    deepseek.accounts.replace(account::accounts(vars, problems));
    vec![Arc::new(deepseek)]
}

impl Provider for DeepSeek {
    fn name(&self) -> &str {
        NAME
    }

    fn models(&self) -> &[Model] {
        &self.models
    }

    fn find(&self, id: &str) -> Option<Model> {
        models::find(id)
    }

    fn fields(&self) -> &[&'static [(&'static str, Support)]] {
        &[fields::THINKING, fields::SEARCH]
    }

    fn accounts(&self) -> &dyn Accounts {
        &self.accounts
    }

    fn how_to_configure(&self) -> String {
        "set DEEPSEEK_TOKEN, or DEEPSEEK_EMAIL and DEEPSEEK_PASSWORD".to_owned()
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Vec<String>) -> Box<dyn FnOnce() + 'a> {
        let accounts = account::accounts(vars, problems);
        Box::new(move || self.accounts.replace(accounts))
    }

    fn chat<'a>(&'a self, turn: &'a mut Turn) -> LocalBoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.answer(turn))
    }
}

impl DeepSeek {
    async fn answer(&self, turn: &mut Turn) -> Result<(), ProviderError> {
        let has_files = turn
            .chat
            .messages
            .iter()
            .any(|message| message.attachments().next().is_some());
        let prompt = turn.prompt(|chat| prompt::prompt(&chat.messages)).await?;
        if prompt.trim().is_empty() && !has_files {
            return Err(ProviderError::bad_request(
                "messages",
                "The conversation holds no text and no attachment.",
            ));
        }
        if has_files && turn.model.upstream == models::EXPERT {
            return Err(ProviderError::bad_request(
                "messages",
                "This model ignores files; take another one.",
            ));
        }
        let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
        let (mut may_log_in, mut may_restart) = (true, true);
        loop {
            let token = login::token(&self.identity, turn, &account).await?;
            match self.attempt(turn, &token, &prompt, has_files).await {
                Ok(()) => {
                    account.session().await.served(&token);
                    return Ok(());
                }
                Err(Refusal::Token) => {
                    let mut session = account.session().await;
                    // Also said when this turn may not log in again: the next one must not either.
                    let is_renewable = session.refused(&token, &account, Instant::now());
                    if !(is_renewable && may_log_in) {
                        return Err(Refusal::Token.into_error(&account.variable));
                    }
                    may_log_in = false;
                }
                Err(Refusal::Stale) if may_restart => may_restart = false,
                Err(refusal) => return Err(refusal.into_error(&account.variable)),
            }
        }
    }

    async fn attempt(
        &self,
        turn: &mut Turn,
        token: &Secret,
        prompt: &str,
        has_files: bool,
    ) -> Result<(), Refusal> {
        let caller = Caller {
            identity: &self.identity,
            token,
        };
        // A proof dies after five minutes, so with files it waits for them; else both go at the same time.
        let (session, proof) = if has_files {
            (self.create_session(turn, caller).await, None)
        } else {
            let proof = call::proof(turn, caller, wire::COMPLETION);
            let (session, proof) = future::join(self.create_session(turn, caller), proof).await;
            (session, Some(proof))
        };
        let session_id = session?;
        turn.afterwards(wire::delete_session(caller, &session_id));
        let mut question = Question {
            session_id,
            model: turn.model.upstream.clone(),
            thinking: turn.chat.thinking.unwrap_or(turn.model.thinking),
            search: turn.chat.search.unwrap_or(turn.model.search),
            prompt: prompt.to_owned(),
            file_ids: Vec::new(),
            hif: None,
        };
        if has_files {
            self.attach(turn, caller, &mut question).await?;
        }
        if question.model == models::VISION {
            question.search = false;
            question.hif = self.hif(turn).await;
        }
        let proof = match proof {
            Some(proof) => proof?,
            None => call::proof(turn, caller, wire::COMPLETION).await?,
        };
        let answer = self.ask(turn, caller, &mut question, proof).await?;
        self.stream(turn, caller, &question.session_id, answer)
            .await?;
        Ok(())
    }

    async fn create_session(&self, turn: &Turn, caller: Caller<'_>) -> Result<String, Refusal> {
        let session: wire::Session = call(turn, wire::create_session(caller)).await?;
        let id = session.id();
        id.ok_or_else(|| ProviderError::malformed("new conversation").into())
    }

    /// Uploads what is attached to the messages; pictures need the model that sees (section 4).
    async fn attach(
        &self,
        turn: &Turn,
        caller: Caller<'_>,
        question: &mut Question,
    ) -> Result<(), Refusal> {
        for (at, message) in turn.chat.messages.iter().enumerate() {
            for file in turn.attachments(at, message).await? {
                if file.is_image() {
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
        mut proof: String,
    ) -> Result<Answer, Refusal> {
        let (mut may_prove, mut may_fork) = (true, question.model == models::VISION);
        loop {
            let mut request = wire::ask(caller, question, &proof);
            request.timeout = Some(self.silence);
            let answer = turn.send(request).await?;
            if is_stream(&answer) {
                return Ok(answer);
            }
            match refused(turn, answer).await {
                Refusal::Proof if may_prove => may_prove = false,
                Refusal::Stale if may_fork && !question.file_ids.is_empty() => {
                    may_fork = false;
                    upload::fork(turn, caller, &mut question.file_ids, &question.model).await?;
                }
                refusal => return Err(refusal),
            }
            proof = call::proof(turn, caller, wire::COMPLETION).await?;
        }
    }

    /// Reads the answer, and its continuations (sections 6 and 8).
    async fn stream(
        &self,
        turn: &mut Turn,
        caller: Caller<'_>,
        session_id: &str,
        mut answer: Answer,
    ) -> Result<(), ProviderError> {
        let mut decoder = Decoder::new();
        let (mut continuations, mut may_fail) = (0, true);
        loop {
            read(turn, caller, session_id, &mut answer, &mut decoder).await?;
            if decoder.is_cut() {
                // Nobody wants the rest that the model is still writing.
                if let Some(id) = decoder.response_id() {
                    let _ = turn.send(wire::stop(caller, session_id, id)).await;
                }
                break;
            }
            let is_worth_it = decoder.is_incomplete() && (!decoder.has_failed() || may_fail);
            let Some(response_id) = decoder
                .response_id()
                .filter(|_| is_worth_it && continuations < MOST_CONTINUATIONS)
            else {
                break;
            };
            continuations += 1;
            may_fail &= !decoder.has_failed();
            let mut request = wire::go_on(caller, session_id, response_id);
            request.timeout = Some(self.silence);
            let more = turn.send(request).await?;
            if !is_stream(&more) {
                // What is there is honestly too short: finish says so.
                let refusal = refused(turn, more).await;
                tracing::warn!(
                    provider = NAME,
                    ?refusal,
                    "the answer could not be continued"
                );
                break;
            }
            answer = more;
            decoder.resume();
        }
        let finished = decoder.finish(&mut turn.events);
        if decoder.has_final_status() {
            turn.upstream_is_over();
        }
        finished?;
        turn.emit().await;
        Ok(())
    }

    /// The side channel's value; without it the question goes out all the same (section 4).
    async fn hif(&self, turn: &Turn) -> Option<String> {
        let lock = || {
            self.hif
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        let known = lock().clone();
        if let Some((since, value)) = known
            && since.elapsed() < HIF_LIFE
        {
            return Some(value);
        }
        let hif: wire::Hif = call(turn, wire::hif(&self.identity)).await.ok()?;
        *lock() = Some((Instant::now(), hif.value.clone()));
        Some(hif.value)
    }
}

/// Reads one stream to its end, passing everything on as it comes.
async fn read(
    turn: &mut Turn,
    caller: Caller<'_>,
    session_id: &str,
    answer: &mut Answer,
    decoder: &mut Decoder,
) -> Result<(), ProviderError> {
    let mut stops = decoder.response_id();
    loop {
        let bytes = match answer.chunk().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break,
            // A service that is done owes no proper end of the connection.
            Err(_) if decoder.has_final_status() => break,
            Err(error) => return Err(error.into()),
        };
        let fed = decoder.feed(&bytes, &mut turn.events);
        if stops.is_none() {
            stops = decoder.response_id();
            if let Some(id) = stops {
                turn.on_abort(wire::stop(caller, session_id, id));
            }
        }
        if fed.is_err() {
            // The service has ended the answer by itself.
            turn.upstream_is_over();
        }
        // What came before an error is said before it.
        turn.emit().await;
        fed?;
        if decoder.is_closed() || decoder.is_cut() {
            break;
        }
    }
    decoder.drain(&mut turn.events)
}
