//! FlowGPT: the prompts of flowgpt.com, which answer with a model behind them. Steps: conversation with all of the context
//! (section 4), question (4, 5), answer (6) of `wire/flowgpt.md`.
//!
//! The service has no call that deletes a conversation, and none that stops an answer (section 8): conversations stay in the
//! account's history, and a client that leaves only closes the stream.

mod account;
mod card;
mod models;
mod preamble;
mod prompt;
mod refusal;
mod sign;
pub mod stream;
mod wire;

pub use card::CARD;

use std::{sync::Arc, time::Duration};

use futures_util::future::LocalBoxFuture;

use self::{
    account::Account,
    models::Models,
    refusal::{Refused, Step},
    sign::Mode,
    stream::Decoder,
    wire::{Caller, Moment, Question, Site},
};
use super::{Model, Provider, Turn};
use crate::{
    accounts::{Accounts, Choice, Pace, Pool},
    chat::{ChatRequest, Field, ProviderError, Support},
    settings::{Problems, Settings, Vars},
    upstream::{Answer, json},
};

const NAME: &str = "flowgpt";
const TEMPERATURE: &[(Field, Support)] = &[(Field::Temperature, Support::Honoured)];
/// What tells that the guard before the service has answered (section 7).
const WAF_ACTION: &str = "x-amzn-waf-action";

/// The provider.
#[derive(Debug)]
pub struct FlowGpt {
    accounts: Pool<Account>,
    models: Models,
    site: Site,
}

/// Reads the provider's own variables (section 2).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<Arc<dyn Provider>> {
    let stall = vars.get("FLOWGPT_STALL_TIMEOUT_S").map(|_| {
        let name = "FLOWGPT_STALL_TIMEOUT_S";
        Duration::from_secs_f64(vars.number(name, 120.0, 0.0, 86_400.0, problems))
    });
    let flowgpt = FlowGpt {
        accounts: Pool::new(
            settings.providers.patience,
            vars.number("FLOWGPT_MAX_CONCURRENCY", 10, 1, 1000, problems),
        )
        .paced(Pace::read("FLOWGPT", vars, problems)),
        models: Models::read(vars.get("FLOWGPT_MODEL_MAP"), problems),
        site: Site {
            base_url: CARD.base_url("FLOWGPT_BASE_URL", vars, problems),
            mode: Mode::read(vars.get("FLOWGPT_SIGNATURE_MODE"), problems),
            stall,
        },
    };
    flowgpt.accounts.replace(account::accounts(vars, problems));
    vec![Arc::new(flowgpt)]
}

impl Provider for FlowGpt {
    fn card(&self) -> &'static super::Card {
        &CARD
    }

    fn models(&self) -> &[Model] {
        self.models.listed()
    }

    fn find(&self, id: &str) -> Option<Model> {
        self.models.find(id)
    }

    fn fields(&self) -> &[&'static [(Field, Support)]] {
        &[TEMPERATURE]
    }

    fn accounts(&self) -> &dyn Accounts {
        &self.accounts
    }

    fn expiries(&self) -> Vec<(usize, u64)> {
        self.accounts.read(Account::end)
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Problems) -> Box<dyn FnOnce() + 'a> {
        let accounts = account::accounts(vars, problems);
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

impl FlowGpt {
    async fn answer(&self, ask: &Arc<ChatRequest>, turn: &mut Turn) -> Result<(), ProviderError> {
        // Before anything is leased: a request without a question needs no account.
        let text = prompt::question(&ask.messages)?;
        let messages = turn.prompt(ask, prompt::messages).await?;
        let Some(target) = self.models.target(&turn.model) else {
            return Err(ProviderError::bad_request("model", "No such prompt."));
        };
        let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
        let caller = Caller {
            site: &self.site,
            account: &account,
        };
        let conversation = create(turn, wire::create(caller, target, messages), &account).await?;
        // There is nothing to delete it with.
        turn.opened(&conversation, None);
        let question = Question {
            target,
            text: &text,
            temperature: ask.sampling.temperature,
        };
        // Section 5, signed at the moment of the call: the conversation before it takes a while.
        let moment = Moment {
            timestamp: turn.unix_ms() / 1000,
            nonce: turn.uuid().simple().to_string(),
        };
        let asked = wire::chat(caller, question, &conversation, &moment);
        let answer = turn.send(asked).await?;
        if answer.status.as_u16() != 200 {
            return Err(refused(Step::Chat, answer, &account).await);
        }
        listen(turn, answer, &account.variable).await
    }
}

/// Opens a conversation: its id.
async fn create(
    turn: &Turn,
    request: crate::upstream::Request,
    account: &Account,
) -> Result<String, ProviderError> {
    let mut answer = turn.send(request).await?;
    // The guard asks for its check with a 202 as well.
    if !answer.status.is_success() || answer.header(WAF_ACTION).is_some() {
        return Err(refused(Step::Create, answer, account).await);
    }
    let body = answer.short().await?;
    // Read loosely: only the id is of interest in it.
    let id = json::value(&body).and_then(|(body, _)| wire::conversation_id(&body));
    id.ok_or_else(|| ProviderError::malformed("new conversation"))
}

/// Passes the answer on as it comes; only the end of the body ends it.
async fn listen(turn: &mut Turn, mut answer: Answer, variable: &str) -> Result<(), ProviderError> {
    let mut decoder = Decoder::new(variable);
    // No linger behind it: the body's end is the answer's end (section 6), so the connection is free by itself.
    while let Some(bytes) = answer.chunk().await? {
        let fed = decoder.feed(&bytes, &mut turn.events);
        turn.emit_then(fed).await?;
    }
    let finished = decoder.finish(&mut turn.events);
    turn.emit_then(finished).await
}

async fn refused(step: Step, mut answer: Answer, account: &Account) -> ProviderError {
    // The status alone says something when the body breaks off.
    let body = answer.short().await.unwrap_or_default();
    let refused = Refused {
        step,
        status: answer.status.as_u16(),
        waf_action: answer.header(WAF_ACTION),
        body: &body,
    };
    // Said in the log as well: the caller can do nothing about it, and modes are not tried in turn (section 1).
    if refused.is_about_signature() {
        tracing::warn!(
            provider = NAME,
            "the service speaks of the signature of a question; FLOWGPT_SIGNATURE_MODE chooses another"
        );
    }
    refused
        .error(&account.variable)
        .with_retry_after(answer.retry_after())
}
