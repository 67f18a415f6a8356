//! ERNIE (文心一言): the web chat of ernie.baidu.com. Steps: question (section 4), answer (6), deletion of the session (8) of
//! `wire/ernie.md`.
//!
//! `acs-token`, `sign` and `jt` are made by the page's own code, which is neither run nor imitated here: they are replayed
//! until the service refuses them, after hours. No stop call is known: a client that leaves only closes the stream.

mod account;
mod card;
mod models;
mod prompt;
mod refusal;
pub mod stream;
mod tags;
mod wire;

pub use card::CARD;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use futures_util::future::LocalBoxFuture;

use self::{
    account::Account,
    refusal::{Refusal, Remedy},
    stream::Decoder,
    wire::{Caller, Form, Question},
};
use super::{Abandoning, Errand, Model, Provider, Turn, abandoning};
use crate::{
    accounts::{Accounts, Choice, Pace, Pool},
    chat::{ChatRequest, Field, ProviderError, Support, fields},
    conversations::{Continues, Thread},
    impossible::OrImpossible as _,
    settings::{Problems, Settings, Vars},
    upstream::{Answer, linger},
};

const NAME: &str = "ernie";

/// The provider.
#[derive(Debug)]
pub struct Ernie {
    accounts: Pool<Account>,
    models: Vec<Model>,
    base_url: String,
}

/// Reads the provider's own variables (section 2).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<Arc<dyn Provider>> {
    let ernie = Ernie {
        // Sessions are apart from each other; how many at a time are welcome is not known.
        accounts: Pool::new(
            settings.providers.patience,
            vars.number("ERNIE_MAX_CONCURRENCY", 4, 1, 1000, problems),
        )
        .paced(Pace::read("ERNIE", vars, problems)),
        models: models::listed(),
        base_url: CARD.base_url("ERNIE_BASE_URL", vars, problems),
    };
    ernie.accounts.replace(account::accounts(vars, problems));
    vec![Arc::new(ernie)]
}

impl Provider for Ernie {
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
        &[fields::SEARCH]
    }

    fn fields_of(&self, model: &Model) -> &[&'static [(Field, Support)]] {
        if model.thinking {
            // The most specific first: a model that thinks has one field more.
            &[fields::SEARCH, fields::THINKING]
        } else {
            self.fields()
        }
    }

    fn accounts(&self) -> &dyn Accounts {
        &self.accounts
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Problems) -> Box<dyn FnOnce() + 'a> {
        let accounts = account::accounts(vars, problems);
        Box::new(move || self.accounts.replace(accounts))
    }

    /// A question names the answer before it (sections 6 and 8).
    fn continues(&self, _model: &Model) -> Continues {
        Continues::Linear
    }

    fn abandon<'a>(&'a self, thread: &'a Thread, turn: &'a mut Turn) -> Abandoning<'a> {
        abandoning(&self.accounts, thread, turn, async |_, account| {
            Ok(Some(self.deletion(account, &thread.id)))
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

impl Ernie {
    async fn answer(&self, ask: &Arc<ChatRequest>, turn: &mut Turn) -> Result<(), ProviderError> {
        // Before the lease: a question that cannot be asked takes no account.
        prompt::check(&ask.messages)?;
        let text = turn.prompt(ask, prompt::text).await?;
        let model = turn.model.upstream.clone();
        // Told apart from "not said": only then the short form has a member for it (section 4).
        let is_thinking_off = ask.thinking == Some(false);
        let continued = turn.continued();
        let question = Question {
            goes_on: continued.as_ref().and_then(|thread| {
                let parent = thread.message.as_deref()?;
                Some((thread.id.as_str(), parent))
            }),
            text: &text,
            model: &model,
            is_deep: turn.model.thinking && !is_thinking_off,
            is_thinking_off,
            search: ask.search.unwrap_or(turn.model.search),
        };
        let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
        // Each remedy once: the full form with all members first, as today's page sends it (section 4).
        let (mut form, mut may_reopen) = (Form::Full, continued.is_none());
        loop {
            let refusal = match self.ask(turn, &account, question, form).await {
                Ok(()) => return Ok(()),
                Err(refusal) => refusal,
            };
            match refusal.remedy {
                // Somebody has read a part of the answer; a second one would follow on it.
                _ if turn.has_output() => return Err(refusal.error),
                Remedy::ShortForm if form == Form::Full => form = Form::Short,
                Remedy::NewSession if std::mem::take(&mut may_reopen) => {}
                Remedy::None | Remedy::ShortForm | Remedy::NewSession => return Err(refusal.error),
            }
            tracing::info!(provider = NAME, remedy = ?refusal.remedy, "asking again");
            // What the refused try has decoded is none of the next one's.
            turn.events.clear();
        }
    }

    /// One question, in a new session or at the end of one.
    async fn ask(
        &self,
        turn: &mut Turn,
        account: &Account,
        question: Question<'_>,
        form: Form,
    ) -> Result<(), Refusal> {
        let caller = Caller {
            base_url: &self.base_url,
            account,
        };
        let mut is_registered = false;
        if let Some((id, _)) = question.goes_on {
            turn.opened(id, Some(self.deletion(account, id)));
            is_registered = true;
        }
        // The time of this very try: the service refuses one that is minutes off (section 4).
        let request = wire::ask(caller, question, form, turn.unix_ms());
        let mut answer = turn.send(request).await?;
        // Most refusals come under a 200.
        if answer.status.as_u16() != 200 || !answer.is_event_stream().await {
            return Err(refused(answer, &account.variable).await);
        }
        // The variable goes along, as an error within the stream has to name it as well.
        let mut decoder = Decoder::new(&account.variable);
        while !decoder.is_over() {
            let Some(bytes) = answer.chunk().await? else {
                // The connection's end is judged by `end`: without `is_end` it is a broken answer.
                break;
            };
            let read = decoder.read(&bytes, &mut turn.events);
            // Before anything else can end this turn: from here on there is something to clean up.
            if let Some(id) = decoder.session_id().filter(|_| !is_registered) {
                turn.opened(id, Some(self.deletion(account, id)));
                is_registered = true;
            }
            turn.emit_then(read).await?;
        }
        // Before `end` takes what is left: an answer that ended by its connection has nothing to linger for.
        let is_over = decoder.is_over();
        let ended = decoder.end(&mut turn.events);
        turn.emit_then(ended).await?;
        if let Some(message) = decoder.message_id() {
            turn.answered_as(message);
        }
        if is_over {
            linger::let_end(answer).await;
        }
        Ok(())
    }

    /// The deletion of a session, with the time of each try.
    fn deletion(&self, account: &Account, session_id: &str) -> Errand {
        // Owned, since the errand outlives the turn.
        let (base_url, account) = (self.base_url.clone(), account.clone());
        let session_id = session_id.to_owned();
        Errand::new(move || {
            let caller = Caller {
                base_url: &base_url,
                account: &account,
            };
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            let unix_ms = since.or_impossible("a clock is past 1970").as_millis();
            wire::delete(
                caller,
                &session_id,
                u64::try_from(unix_ms).or_impossible("milliseconds of an age fit"),
            )
        })
    }
}

async fn refused(mut answer: Answer, variable: &str) -> Refusal {
    let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
    // The status alone says something when the body breaks off.
    let body = answer.short().await.unwrap_or_default();
    refusal::refusal(status, &body, variable).resting(retry_after)
}
