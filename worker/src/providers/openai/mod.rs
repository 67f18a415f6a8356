//! Any OpenAI-compatible API as a provider: the lane that needs no web account. One provider for each
//! `OPENAI_COMPAT_n_NAME`, `_BASE_URL`, `_API_KEY`, `_MODELS`, and `_KIND` where it speaks another dialect than chat
//! completions. Source: OpenAI's public API reference.

mod account;
mod body;
mod calls;
mod card;
mod content;
mod delta;
mod dialect;
mod frame;
mod kind;
pub mod messages;
mod refusal;
mod relay;
pub mod responses;
mod sources;
pub mod stream;
mod usage;
mod wire;
mod words;

pub use card::CARD;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use tokio::time::{Instant, timeout_at};

use self::{
    account::Account,
    body::Manner,
    kind::{Decoder, Kind},
};
use super::{Checking, Messenger, Model, Provider, Relay, Turn, checking};
use crate::{
    accounts::{Accounts, Choice, Pool, Quota},
    chat::{ChatRequest, Dialect, Field, ProviderError, Support},
    settings::{Problems, Settings, Vars, text},
    upstream::{Answer, TransportError, json::Scan, linger},
};

/// Most bytes of an answer in one piece.
const MOST_WHOLE_BYTES: usize = 64 << 20;
/// How long usage and `[DONE]` may take once the answer has its finish reason.
const GRACE: Duration = Duration::from_secs(3);

/// The upstream obeys everything itself, except what the gateway must do to see the answer at all. `stop` is watched
/// here as well: where the upstream obeys there is nothing to see, and not every compatible server does.
const FIELDS: &[(Field, Support)] = &[
    (Field::Audio, Support::Refused),
    (Field::FrequencyPenalty, Support::Honoured),
    (Field::ToolChoice, Support::Honoured),
    (Field::Tools, Support::Honoured),
    (Field::LogitBias, Support::Honoured),
    (Field::Logprobs, Support::Honoured),
    (Field::MaxTokens, Support::Honoured),
    (Field::Metadata, Support::Honoured),
    (Field::Modalities, Support::Refused),
    (Field::ParallelToolCalls, Support::Honoured),
    (Field::Prediction, Support::Honoured),
    (Field::PresencePenalty, Support::Honoured),
    (Field::PromptCacheKey, Support::Honoured),
    (Field::Effort, Support::Honoured),
    (Field::Format, Support::Honoured),
    (Field::SafetyIdentifier, Support::Honoured),
    (Field::Seed, Support::Honoured),
    (Field::ServiceTier, Support::Honoured),
    (Field::Store, Support::Honoured),
    (Field::Temperature, Support::Honoured),
    (Field::TopLogprobs, Support::Honoured),
    (Field::TopP, Support::Honoured),
    (Field::Verbosity, Support::Honoured),
    (Field::Search, Support::Honoured),
    (Field::Thinking, Support::Honoured),
];

/// Constant, so that listings are stable: this gateway's first release.
const CREATED: i64 = 1_763_683_200;

/// One lane.
#[derive(Debug)]
pub struct OpenAi {
    name: String,
    number: usize,
    accounts: Pool<Account>,
    models: Vec<Model>,
    base_url: String,
    kind: Kind,
    /// The upstream knows no `stream_options`.
    refuses_options: AtomicBool,
}

/// One provider for each numbered lane. A lane added later needs a restart; its keys do not.
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<Arc<dyn Provider>> {
    let numbers = vars.numbers("OPENAI_COMPAT_", "_BASE_URL");
    let mut lanes: Vec<Arc<dyn Provider>> = Vec::new();
    for number in numbers {
        let variable = |suffix: &str| format!("OPENAI_COMPAT_{number}_{suffix}");
        // Without a name the number is one, so that two lanes do not meet.
        let name = vars
            .get(&variable("NAME"))
            .map_or_else(|| format!("openai{number}"), str::to_owned);
        let is_name = name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
        });
        if !is_name || lanes.iter().any(|lane| lane.name() == name) {
            problems.push(format!(
                "{} must be a name of its own, of a-z, 0-9, - and _",
                variable("NAME")
            ));
        }
        let models: Vec<Model> = vars
            .get(&variable("MODELS"))
            .unwrap_or_default()
            .split([',', '，', '\n'])
            .map(text::clean)
            // A Chinese keyboard's comma is one.
            .filter(|model| !model.is_empty())
            .map(|id| Model {
                vision: true,
                files: true,
                ..Model::new(&id, &id, CREATED)
            })
            .collect();
        if models.is_empty() {
            problems.push(format!(
                "{} must list at least one model",
                variable("MODELS")
            ));
        }
        let lane = OpenAi {
            base_url: vars.base_url(&variable("BASE_URL"), "", problems),
            // The API has a limit of its own, and says so.
            accounts: Pool::new(settings.providers.patience, usize::MAX),
            kind: Kind::read(vars, &variable("KIND"), problems),
            name,
            number,
            models,
            refuses_options: AtomicBool::new(false),
        };
        lane.accounts
            .replace(account::accounts(vars, number, problems));
        lanes.push(Arc::new(lane));
    }
    lanes
}

impl Provider for OpenAi {
    fn card(&self) -> &'static super::Card {
        &CARD
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn models(&self) -> &[Model] {
        &self.models
    }

    fn find(&self, id: &str) -> Option<Model> {
        self.models.iter().find(|model| model.id == id).cloned()
    }

    /// `name/model`: whatever the upstream may have.
    fn accept(&self, id: &str) -> Option<Model> {
        // Whatever the upstream may have: pictures and files are its own affair.
        let unlisted = || Model {
            vision: true,
            files: true,
            ..Model::new(id, id, CREATED)
        };
        Some(self.find(id).unwrap_or_else(unlisted))
    }

    fn fields(&self) -> &[&'static [(Field, Support)]] {
        self.kind.fields()
    }

    fn takes_body_in(&self, dialect: Dialect) -> bool {
        dialect == self.kind.dialect()
    }

    fn reports_usage(&self) -> bool {
        true
    }

    fn accounts(&self) -> &dyn Accounts {
        &self.accounts
    }

    fn how_to_configure(&self) -> String {
        CARD.how_to_configure(self.number)
    }

    /// By its list of models, which nearly every API has.
    fn check(&self, account: usize, messenger: Messenger) -> Option<Checking<'_>> {
        checking(Self::who_am_i, self, self.accounts.of(account)?, messenger)
    }

    fn relay(&self) -> Option<&dyn Relay> {
        Some(self)
    }

    fn lane(&self) -> Option<usize> {
        Some(self.number)
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Problems) -> Box<dyn FnOnce() + 'a> {
        let accounts = account::accounts(vars, self.number, problems);
        Box::new(move || self.accounts.replace(accounts))
    }

    fn chat<'a>(
        &'a self,
        ask: &'a Arc<ChatRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.answer(ask, turn))
    }
}

impl OpenAi {
    async fn who_am_i(
        &self,
        account: &Account,
        messenger: &Messenger,
    ) -> Result<Option<Quota>, ProviderError> {
        let request = wire::models(&self.base_url, account, self.kind);
        let mut answer = messenger.send(request).await?;
        let status = answer.status;
        if !status.is_success() {
            let body = answer.short().await.unwrap_or_default();
            return Err(refusal::refusal(status.as_u16(), &body, &account.variable));
        }
        // A list may be long, and a page for people says nothing of a key.
        let first = first_bytes(&mut answer).await?.unwrap_or_default();
        if first.iter().find(|byte| !is_blank(**byte)) != Some(&b'{') {
            return Err(refusal::wrong_place(
                "the upstream has answered with no list of models",
                &account.variable,
            ));
        }
        Ok(None)
    }

    async fn answer(&self, ask: &Arc<ChatRequest>, turn: &mut Turn) -> Result<(), ProviderError> {
        let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
        let mut answer = self.ask(ask, turn, &account).await?;
        let variable = account.variable.as_str();
        // Labels lie, so the first bytes tell what this is.
        let Some(first) = first_bytes(&mut answer).await? else {
            return Err(ProviderError::empty_answer());
        };
        // By the first byte: a page, an object and a stream are told apart before any label.
        let is_over = match first.iter().find(|byte| !is_blank(**byte)) {
            Some(b'{' | b'[') => {
                let (whole, is_over) = whole_body(&mut answer, first).await?;
                let events = &mut turn.events;
                // In one piece: the answer is complete, whatever the connection does next.
                self.kind.whole(&whole, variable, ask, events)?;
                turn.emit().await?;
                is_over
            }
            Some(b'<') => {
                let what = "the upstream answered with a page";
                return Err(refusal::wrong_place(what, variable));
            }
            _ => {
                let decoder = self.kind.decoder(variable, ask);
                listen(turn, &mut answer, first, decoder).await?
            }
        };
        // Only what has not ended yet can be read to its end.
        if !is_over {
            linger::let_end(answer).await;
        }
        Ok(())
    }

    /// Sends the question. An upstream that refuses a word which the caller need not have written is asked again in another
    /// manner; one that knows no `stream_options` is asked without them from then on.
    async fn ask(
        &self,
        ask: &ChatRequest,
        turn: &Turn,
        account: &Account,
    ) -> Result<Answer, ProviderError> {
        let mut manner = Manner {
            // What an earlier turn has learnt of this upstream.
            has_options: !self.refuses_options.load(Ordering::Relaxed),
            ..Manner::default()
        };
        loop {
            let model = &turn.model.upstream;
            let request = match self.kind {
                Kind::Chat => wire::ask(&self.base_url, account, model, ask, manner),
                Kind::Responses => wire::respond(&self.base_url, account, model, ask),
                Kind::Messages => wire::message(&self.base_url, account, model, ask),
            };
            let mut answer = turn.send(request).await?;
            if answer.status.is_success() {
                // Remembered for the lane: the next turn asks without it at once.
                if !manner.has_options {
                    self.refuses_options.store(true, Ordering::Relaxed);
                }
                return Ok(answer);
            }
            let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
            let body = answer.short().await.unwrap_or_default();
            // Only a refusal of the request: anything else is not about its words.
            let may_learn = self.kind == Kind::Chat && matches!(status, 400..=499);
            if may_learn && manner.learn(ask, &body) {
                continue;
            }
            return Err(
                refusal::refusal(status, &body, &account.variable).with_retry_after(retry_after)
            );
        }
    }
}

/// Blanks, and the bytes of a byte order mark.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"\xef\xbb\xbf".contains(&byte)
}

/// What has come when the first byte is there that is no blank; `None` for a body without one.
async fn first_bytes(answer: &mut Answer) -> Result<Option<Bytes>, TransportError> {
    let mut blank = BytesMut::new();
    while let Some(bytes) = answer.chunk().await? {
        if bytes.iter().all(|byte| is_blank(*byte)) {
            // Kept, not dropped: the first byte tells what the body is, and the blanks before it belong to it.
            blank.extend_from_slice(&bytes);
            if blank.len() > MOST_WHOLE_BYTES {
                return Err(TransportError::TooLarge);
            }
        } else if blank.is_empty() {
            return Ok(Some(bytes));
        } else {
            blank.extend_from_slice(&bytes);
            return Ok(Some(blank.freeze()));
        }
    }
    Ok(None)
}

/// The body that begins so, and whether its end has been seen. Where nobody says how long it is, it is over with its JSON, whatever the connection does.
async fn whole_body(answer: &mut Answer, first: Bytes) -> Result<(Bytes, bool), TransportError> {
    // With a length the body ends where it says; without one its JSON does.
    let mut scan = answer
        .header("content-length")
        .is_none()
        .then(Scan::default);
    let mut body = BytesMut::from(first);
    if let Some(scan) = &mut scan {
        scan.feed(&body);
    }
    while !scan.as_ref().is_some_and(Scan::is_whole) {
        let Some(chunk) = answer.chunk().await? else {
            return Ok((body.freeze(), true));
        };
        if body.len() + chunk.len() > MOST_WHOLE_BYTES {
            return Err(TransportError::TooLarge);
        }
        if let Some(scan) = &mut scan {
            scan.feed(&chunk);
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), false))
}

/// Passes a stream on as it comes; whether the end of its body has been seen. Once it has its finish reason it cannot
/// fail any more, and is not waited for long.
async fn listen(
    turn: &mut Turn,
    answer: &mut Answer,
    first: Bytes,
    mut decoder: Decoder,
) -> Result<bool, ProviderError> {
    let mut bytes = first;
    let mut deadline = None;
    let end = loop {
        let fed = decoder.feed(&bytes, &mut turn.events);
        turn.emit_then(fed).await?;
        if decoder.is_done() {
            break None;
        }
        let chunk = if decoder.is_finished() {
            // Once: every further byte must not begin the wait anew.
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + GRACE);
            match timeout_at(deadline, answer.chunk()).await {
                Ok(chunk) => chunk,
                Err(_) => break None,
            }
        } else {
            answer.chunk().await
        };
        match chunk {
            Ok(Some(more)) => bytes = more,
            Ok(None) => break Some(Ok(())),
            Err(error) => break Some(Err(error)),
        }
    };
    // The last event may be there but for its blank line.
    let finished = decoder.finish(&mut turn.events);
    turn.emit().await?;
    match (finished, end) {
        // Both broke: the connection's own words are nearer to the truth.
        (Err(_), Some(Err(error))) => Err(error.into()),
        (finished, end) => finished.map(|()| end.is_some()),
    }
}
