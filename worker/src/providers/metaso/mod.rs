//! Metaso (秘塔AI搜索): a search engine that writes an answer from web pages, in the two generations of its site's calls
//! (`generation`). Steps: cookies (section 2), meta-token (5.1), question (4, 10.1), answer (6, 10.2) of `wire/metaso.md`.
//!
//! The service has no call that deletes a question, and none that stops an answer (section 8): questions stay in the account's
//! history, and a client that leaves only closes the stream.

mod account;
mod ask;
mod card;
mod check;
mod cookies;
mod generation;
mod marks;
mod meta;
mod models;
mod prompt;
mod refusal;
mod sources;
pub mod stream;
mod wire;

pub use card::CARD;

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use self::{
    account::Account,
    generation::{Memory, Protocol},
    models::Wanted,
    prompt::Question,
};
use super::{Checking, Messenger, Model, Provider, Turn, checking, turn::MOST_PROMPT_BYTES};
use crate::{
    accounts::{Accounts, Choice, Pace, Pool},
    chat::{ChatRequest, Field, Kind, ProviderError, Support, aside::aside, fields},
    settings::{Problems, Settings, Vars},
};

const NAME: &str = "metaso";
/// It always searches.
const SEARCHES: &[(Field, Support)] = fields::SEARCH;
/// Chooses how thoroughly a bare `metaso` searches (section 4.7).
const TEMPERATURE: &[(Field, Support)] = &[(Field::Temperature, Support::Honoured)];

/// The provider.
#[derive(Debug)]
pub struct Metaso {
    accounts: Pool<Account>,
    models: Vec<Model>,
    base_url: String,
    memory: Memory,
    /// `METASO_STRIP_SINGLE`.
    strips_single: bool,
    /// `METASO_WEATHER_HINT`.
    hints_weather: bool,
}

/// Reads the provider's own variables (section 2).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<Arc<dyn Provider>> {
    let metaso = Metaso {
        accounts: Pool::new(
            settings.providers.patience,
            vars.number("METASO_MAX_CONCURRENCY", 10, 1, 1000, problems),
        )
        .paced(Pace::read("METASO", vars, problems)),
        models: models::listed(),
        base_url: CARD.base_url("METASO_BASE_URL", vars, problems),
        memory: Memory::new(Protocol::read(vars.get("METASO_PROTOCOL"), problems)),
        strips_single: vars.switch("METASO_STRIP_SINGLE", false, problems),
        hints_weather: vars.switch("METASO_WEATHER_HINT", false, problems),
    };
    metaso.accounts.replace(account::accounts(vars, problems));
    vec![Arc::new(metaso)]
}

impl Provider for Metaso {
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
        &[SEARCHES]
    }

    fn fields_of(&self, model: &Model) -> &[&'static [(Field, Support)]] {
        // Only where the model leaves the search open does the temperature have a say (section 4.7).
        if models::read(&model.upstream).is_some_and(Wanted::is_open) {
            &[SEARCHES, TEMPERATURE]
        } else {
            &[SEARCHES]
        }
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

    fn chat<'a>(
        &'a self,
        ask: &'a Arc<ChatRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.answer(ask, turn))
    }
}

impl Metaso {
    async fn answer(&self, ask: &Arc<ChatRequest>, turn: &mut Turn) -> Result<(), ProviderError> {
        // Before the lease: a request that cannot be asked takes no account.
        prompt::refuse_attachments(&ask.messages)?;
        let question = self.question(ask, turn).await?;
        let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
        let (first, other) = self.memory.order();
        // Only what was said before any output can be "absent", so nothing is asked twice that was answered.
        let absent = match self.ask(first, turn, &account, &question).await {
            Err(refusal) if refusal.is_absent => refusal.error,
            answered => return answered.map_err(|refusal| refusal.error),
        };
        let Some(other) = other else {
            return Err(absent);
        };
        match self.ask(other, turn, &account, &question).await {
            // Neither is there: what the first one said is nearer to the truth.
            Err(refusal) if refusal.is_absent => Err(absent),
            answered => answered.map_err(|refusal| refusal.error),
        }
    }

    /// The conversation as a question: off the event loop where it is long.
    async fn question(
        &self,
        ask: &Arc<ChatRequest>,
        turn: &Turn,
    ) -> Result<Question, ProviderError> {
        let has_text = ask.messages.iter().any(|message| message.has_words());
        // Ids that mean nothing do not come this far.
        let wanted = models::read(&turn.model.upstream).filter(|_| has_text);
        let Some(wanted) = wanted else {
            return Err(ProviderError::bad_request(
                "messages",
                "The conversation holds no text.",
            ));
        };
        let (chat, hints_weather) = (Arc::clone(ask), self.hints_weather);
        let question = aside(ask.bytes, move || {
            // Only where the caller says one (section 4.7).
            let temperature = chat.sampling.temperature.filter(|_| wanted.is_open());
            prompt::question(&chat.messages, wanted, temperature, hints_weather)
        });
        let question = question.await;
        if question.text.len() > MOST_PROMPT_BYTES {
            let words = format!(
                "the conversation has {} bytes, more than any web chat reads ({MOST_PROMPT_BYTES})",
                question.text.len()
            );
            return Err(ProviderError::new(Kind::ContextLength, words));
        }
        Ok(question)
    }
}
