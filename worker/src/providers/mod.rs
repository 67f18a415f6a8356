//! The providers, one folder each, all alike, and what they have in common: the [`Provider`] trait, the turn that
//! they work on ([`Turn`]), the registry that finds them, and the dispatcher that tries accounts and candidates.
//!
//! A new provider is one folder and one line in [`registry::PROVIDERS`]. Source: design.md section 1.

pub mod card;
pub mod deepseek;
pub mod dispatch;
pub mod doubao;
mod drawing;
pub mod ernie;
pub mod flowgpt;
mod janitor;
pub mod kimi;
pub mod langfast;
mod lasting;
pub mod media;
pub mod metaso;
pub mod minimax;
pub mod openai;
mod outbox;
pub mod qwen;
pub mod qwen_intl;
mod refused;
pub mod registry;
pub mod relay;
mod retry;
mod reuse;
pub mod run;
mod said;
#[cfg(test)]
mod testing;
mod turn;
pub mod xinghuo;
pub mod zhipu;

use std::{fmt, sync::Arc};

use futures_util::future::LocalBoxFuture;

pub use card::Card;
pub use dispatch::Job;
pub use janitor::{Errand, Janitor};
pub use lasting::Lasting;
pub use media::{Images, Speech, Videos};
pub use outbox::Served;
pub use registry::{NoRoute, Registry, Route};
pub use relay::Relay;
pub use run::{Listener, Run};
pub use turn::{Held, Messenger, Turn};

use crate::{
    accounts::{Accounts, Choice, Known, Pool, Quota},
    chat::{
        ChatRequest, Dialect, Field, ProviderError, Support, emulate::plan::OwnTools, media::Makes,
    },
    conversations::{Continues, Thread},
    settings::{Problems, Settings, Vars},
};

/// A web chat (or an official API) that can answer chat completions.
pub trait Provider: fmt::Debug + Send + Sync {
    /// What it states about itself, whoever owns it.
    fn card(&self) -> &'static Card;

    /// The name in routes (`name/model`), metrics and logs.
    fn name(&self) -> &str {
        self.card().name
    }

    /// The models to list, in a stable order.
    fn models(&self) -> &[Model];

    /// The model that an id means here; also for ids that are accepted but not listed.
    fn find(&self, id: &str) -> Option<Model>;

    /// As [`Provider::find`], for a caller who names this provider (`name/model`): also ids that could be anybody's.
    fn accept(&self, id: &str) -> Option<Model> {
        self.find(id)
    }

    /// Where this provider differs from [`crate::chat::Field::usual`]: the first list that names a field decides.
    fn fields(&self) -> &[&'static [(Field, Support)]];

    /// As [`Provider::fields`], for one model, where a provider's models differ.
    fn fields_of(&self, _model: &Model) -> &[&'static [(Field, Support)]] {
        self.fields()
    }

    /// Whether it is asked with the caller's own body where that is in this dialect. Then it gets content parts of every
    /// type as they are written; of anybody else's request only what [`ChatRequest`] says.
    fn takes_body_in(&self, _dialect: Dialect) -> bool {
        false
    }

    /// Whether its answers end with [`crate::chat::ChatEvent::Usage`] as a rule.
    fn reports_usage(&self) -> bool {
        false
    }

    /// The models that the service itself lists beyond [`Provider::models`], as far as that is known.
    fn discovered(&self) -> Vec<Model> {
        Vec::new()
    }

    /// Whether a model is one of [`Provider::models`] or [`Provider::discovered`], and no id that a client made up.
    fn is_listed(&self, id: &str) -> bool {
        let is = |model: &Model| model.id == id;
        self.models().iter().any(is) || self.discovered().iter().any(is)
    }

    /// What is worth doing at start and every hour, apart from any turn: reading the service's own list of models.
    /// Failures are the provider's own to swallow.
    fn upkeep(&self, _messenger: Messenger, _unix_seconds: u64) -> LocalBoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Asks the service about an account, apart from any turn, in the cheapest way that shows whether it takes the credential
    /// ("who am I?"): what is left of its quota, where that is said. `None` where its page knows no such call.
    fn check(&self, _account: usize, _messenger: Messenger) -> Option<Checking<'_>> {
        None
    }

    /// What stands for `#` in its card's variables, where several providers share the card and it is one of them; elsewhere
    /// that is the number of an account.
    fn lane(&self) -> Option<usize> {
        None
    }

    /// What it passes requests on with, where it is an API of the doors' own dialect.
    fn relay(&self) -> Option<&dyn Relay> {
        None
    }

    /// Its accounts.
    fn accounts(&self) -> &dyn Accounts;

    /// The accounts whose credential says when it ends, with that Unix time. A credential that renews itself ends when
    /// nothing is left to renew it with.
    fn expiries(&self) -> Vec<(usize, u64)> {
        Vec::new()
    }

    /// Tools that the service takes for its own, where that is known.
    fn own_tools(&self) -> Option<&'static OwnTools> {
        None
    }

    /// How a credential is had, for the error that says that there is none: names the variables.
    fn how_to_configure(&self) -> String {
        self.card().how_to_configure(1)
    }

    /// Reads the credentials anew. Problems are added to `problems`; what is returned puts the new accounts in
    /// place and is only called when nobody had a problem.
    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Problems) -> Box<dyn FnOnce() + 'a>;

    /// What it draws with, where its service draws. Models that do nothing else say so in [`Model::makes`]; others may draw
    /// as well ([`Images::draws`]).
    fn images(&self) -> Option<&dyn Images> {
        None
    }

    /// What it makes videos with.
    fn videos(&self) -> Option<&dyn Videos> {
        None
    }

    /// What it speaks with.
    fn speech(&self) -> Option<&dyn Speech> {
        None
    }

    /// Whether and how a conversation with this model can be gone on with. Where it can, [`Provider::chat`] heeds
    /// [`Turn::continued`], and says where its answer stands ([`Turn::opened`], [`Turn::answered_as`], [`Turn::remembers`]).
    fn continues(&self, _model: &Model) -> Continues {
        Continues::No
    }

    /// Has a conversation deleted that nobody goes on with any more.
    ///
    /// # Errors
    /// Why the account cannot be had.
    fn abandon<'a>(&'a self, _thread: &'a Thread, _turn: &'a mut Turn) -> Abandoning<'a> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// One turn: lease an account, ask what `ask` asks, pass the answer on as events, register the clean-up. Dropping
    /// the future stops the upstream call.
    ///
    /// # Errors
    /// What went wrong, unless [`Turn::emit`] said that the answer is over: its error is passed out as it is.
    fn chat<'a>(
        &'a self,
        ask: &'a Arc<ChatRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<(), ProviderError>>;
}

/// What comes of [`Provider::check`].
pub type Checking<'a> = LocalBoxFuture<'a, Result<Option<Quota>, ProviderError>>;

/// [`Provider::check`] of an account that is there, by the provider's own question.
fn checking<'a, P, A: 'a>(
    who_am_i: impl AsyncFnOnce(&'a P, &A, &Messenger) -> Result<Option<Quota>, ProviderError> + 'a,
    provider: &'a P,
    account: A,
    messenger: Messenger,
) -> Option<Checking<'a>> {
    Some(Box::pin(async move {
        who_am_i(provider, &account, &messenger).await
    }))
}

/// What comes of [`Provider::abandon`].
pub type Abandoning<'a> = LocalBoxFuture<'a, Result<(), ProviderError>>;

/// [`Provider::abandon`]: leases the conversation's account, which the turn knows, and leaves to the turn's clean-up what
/// `deletion` makes of it.
fn abandoning<'a, C: Known + PartialEq>(
    pool: &'a Pool<C>,
    thread: &'a Thread,
    turn: &'a mut Turn,
    deletion: impl AsyncFnOnce(&Turn, &C) -> Result<Option<Errand>, ProviderError> + 'a,
) -> Abandoning<'a> {
    Box::pin(async move {
        let account = turn.lease(pool, Choice::Any(turn.caller)).await?;
        let deletion = deletion(turn, &account).await?;
        turn.opened(&thread.id, deletion);
        Ok(())
    })
}

/// A provider's constructor: reads its own variables, adds what is wrong to `problems`. A provider without an
/// account is built all the same: one may be added while the worker runs.
pub type Configure = fn(&Vars, &Settings, &mut Problems) -> Vec<Arc<dyn Provider>>;

/// A model as the gateway offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The id on our side; also the `model` label of metrics if it is a listed one.
    pub id: String,
    /// The id on the provider's side.
    pub upstream: String,
    /// Unix time for `created`; constant, so that listings are stable.
    pub created: i64,
    /// Thinks unless told otherwise.
    pub thinking: bool,
    /// Searches the web unless told otherwise.
    pub search: bool,
    /// Takes pictures.
    pub vision: bool,
    /// Takes documents.
    pub files: bool,
    /// Context window in tokens, where the wire page names one.
    pub context: Option<u32>,
    /// What it is there for.
    pub makes: Makes,
}

impl Model {
    /// A text model without switches.
    pub fn new(id: impl Into<String>, upstream: impl Into<String>, created: i64) -> Self {
        Self {
            id: id.into(),
            upstream: upstream.into(),
            created,
            thinking: false,
            search: false,
            vision: false,
            files: false,
            context: None,
            makes: Makes::Text,
        }
    }
}
