//! Zhipu: the web chat of chatglm.cn. Steps: token (section 2), attachments (4.2), question (4.2), answer (6), clean-up (8)
//! of `wire/zhipu.md`.

mod account;
mod card;
mod catalogue;
mod check;
mod draw;
mod films;
mod frame;
mod marks;
mod models;
mod pictures;
mod prompt;
mod refusal;
mod sign;
mod sources;
pub mod stream;
mod upload;
mod video;
mod voices;
mod wire;

pub use card::CARD;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use self::{
    account::{Access, Account, moment},
    models::{Mode, Route},
    refusal::{Refusal, Remedy},
    stream::Decoder,
    wire::{Caller, Question, Site},
};
use super::{
    Abandoning, Checking, Errand, Images, Messenger, Model, Provider, Turn, Videos, abandoning,
    checking,
};
use crate::{
    accounts::{Accounts, Choice, Kept, Lease, Pace, Patience, Pool},
    chat::{ChatRequest, Field, Kind, ProviderError, Support, fields},
    conversations::{Continues, Thread},
    settings::{Problems, Settings, Vars},
    upstream::{Answer, fetch::Attachment, linger},
};

const NAME: &str = "zhipu";

/// Waits between the three tries while an account answers somebody else: it does so one at a time (sections 7 and 8).
const BUSY: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(6)];
/// The odd whole answer in one piece (section 6.1).
const MOST_WHOLE_BYTES: usize = 16 << 20;

/// The provider.
#[derive(Debug)]
pub struct Zhipu {
    accounts: Pool<Account>,
    models: Vec<Model>,
    /// What the site itself has listed; held for a moment.
    offered: Mutex<Vec<Model>>,
    site: Site,
    deletes_conversations: bool,
    /// Where rotated tokens survive a restart.
    kept: Kept,
    patience: Patience,
}

/// What a turn asks, whichever token it is asked with.
struct Asked<'a> {
    route: Route<'a>,
    prompt: String,
    /// Of a drawing.
    ratio: &'a str,
    /// What the painter made of the prompt, in the end.
    revised: Option<String>,
    search: bool,
    is_streamed: bool,
    files: Vec<Attachment>,
    /// What has come of the files; uploaded once, whatever else is tried again.
    items: Vec<Value>,
}

/// Reads the provider's own variables (sections 2, 3, 8).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<Arc<dyn Provider>> {
    let secret = vars.get("ZHIPU_SIGN_SECRET").unwrap_or(sign::SECRET);
    let zhipu = Zhipu {
        // An account generates one answer at a time (section 8).
        accounts: Pool::new(
            settings.providers.patience,
            vars.number("ZHIPU_MAX_CONCURRENCY", 1, 1, 1000, problems),
        )
        .paced(Pace::read("ZHIPU", vars, problems)),
        models: models::listed(),
        offered: Mutex::default(),
        site: Site {
            base_url: CARD.base_url("ZHIPU_BASE_URL", vars, problems),
            sign_secret: secret.to_owned(),
        },
        deletes_conversations: vars.switch("ZHIPU_DELETE_CONVERSATIONS", true, problems),
        kept: settings.providers.kept.clone(),
        patience: settings.providers.patience,
    };
    let accounts = account::accounts(vars, &zhipu.kept, zhipu.patience, problems);
    zhipu.accounts.replace(accounts);
    vec![Arc::new(zhipu)]
}

impl Provider for Zhipu {
    fn card(&self) -> &'static super::Card {
        &CARD
    }

    fn models(&self) -> &[Model] {
        &self.models
    }

    fn find(&self, id: &str) -> Option<Model> {
        models::find(id)
    }

    fn accept(&self, id: &str) -> Option<Model> {
        models::accept(id)
    }

    fn discovered(&self) -> Vec<Model> {
        let mut found = self.offered().clone();
        found.retain(|it| self.models.iter().all(|known| known.id != it.id));
        found
    }

    fn upkeep(&self, messenger: Messenger, _unix_seconds: u64) -> LocalBoxFuture<'_, ()> {
        let accounts = self.accounts.read(|account| Some(account.clone()));
        Box::pin(async move {
            for (_, account) in accounts {
                // All accounts are on the same site: one that is told its models is enough.
                if let Some(names) = self.listed_by_site(&account, messenger.clone()).await {
                    // What the service lists and we cannot ask for is left out.
                    *self.offered() = names.iter().filter_map(|name| models::find(name)).collect();
                    return;
                }
            }
        })
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

    fn expiries(&self) -> Vec<(usize, u64)> {
        self.accounts.read(Account::end)
    }

    fn videos(&self) -> Option<&dyn Videos> {
        Some(self)
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Problems) -> Box<dyn FnOnce() + 'a> {
        let accounts = account::accounts(vars, &self.kept, self.patience, problems);
        Box::new(move || self.accounts.replace(accounts))
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(self)
    }

    /// A conversation goes on from its end (section 8); drawings and videos are made one at a time.
    fn continues(&self, model: &Model) -> Continues {
        match models::route(&model.upstream, model.thinking).mode {
            Mode::Think | Mode::Plain => Continues::Linear,
            Mode::Draw | Mode::Film | Mode::Research => Continues::No,
        }
    }

    fn abandon<'a>(&'a self, thread: &'a Thread, turn: &'a mut Turn) -> Abandoning<'a> {
        abandoning(&self.accounts, thread, turn, async |turn, account| {
            let renewal = account.renewal(turn.messenger(), &self.site);
            let access = account.tokens.current(renewal).await?;
            let assistant_id = thread.more.as_deref().unwrap_or_default();
            Ok(self.deletion(account, &access, assistant_id, &thread.id))
        })
    }

    fn chat<'a>(
        &'a self,
        ask: &'a Arc<ChatRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<(), ProviderError>> {
        // A drawing that is asked for in a chat says nothing of its size.
        Box::pin(async move { self.answer(ask, "1:1", turn).await.map(drop) })
    }
}

impl Zhipu {
    /// The models' names, as the site lists them for an account; `None` where it does not.
    async fn listed_by_site(&self, account: &Account, messenger: Messenger) -> Option<Vec<String>> {
        let renewal = account.renewal(messenger.clone(), &self.site);
        let access = account.tokens.current(renewal).await.ok()?;
        let request = wire::available_models(self.caller(&access), moment());
        let mut answer = messenger.send(request).await.ok()?;
        let body = answer.short().await.ok()?;
        let names = catalogue::names(&body);
        (answer.status.as_u16() == 200 && !names.is_empty()).then_some(names)
    }

    fn offered(&self) -> MutexGuard<'_, Vec<Model>> {
        // A panic of another thread leaves a list in order.
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One turn; what the painter made of the prompt, where it says so.
    async fn answer(
        &self,
        ask: &Arc<ChatRequest>,
        ratio: &str,
        turn: &mut Turn,
    ) -> Result<Option<String>, ProviderError> {
        // First, since attachments are fetched for an account that takes them; one turn at a time holds it (section 8).
        let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
        let upstream = turn.model.upstream.clone();
        let route = models::route(&upstream, ask.thinking.unwrap_or(turn.model.thinking));
        let build = match route.mode {
            Mode::Draw => prompt::drawing,
            Mode::Film => prompt::question,
            Mode::Think | Mode::Research | Mode::Plain => prompt::flattened,
        };
        let mut asked = Asked {
            route,
            prompt: turn.prompt(ask, build).await?,
            ratio,
            revised: None,
            search: ask.search.unwrap_or(turn.model.search),
            is_streamed: ask.stream,
            files: upload::attachments(ask, turn).await?,
            items: Vec::new(),
        };
        let has_text = ask.messages.iter().any(|message| message.has_words());
        // After the attachments: a picture alone is a question.
        if !has_text && asked.files.is_empty() {
            return Err(ProviderError::bad_request(
                "messages",
                "The conversation holds no text and no attachment.",
            ));
        }
        self.ask_again(turn, &account, &mut asked).await?;
        Ok(asked.revised)
    }

    /// Asks, and once more for what another token or another signature can mend; while the account is at work elsewhere,
    /// after a while (section 7).
    async fn ask_again(
        &self,
        turn: &mut Turn,
        account: &Lease<Account>,
        asked: &mut Asked<'_>,
    ) -> Result<(), ProviderError> {
        // Each remedy once, and the waits of [`BUSY`].
        let (mut may_renew, mut may_sign_anew, mut waits) = (true, true, BUSY.iter());
        let renewal = || account.renewal(turn.messenger(), &self.site);
        let mut access = account.tokens.current(renewal()).await?;
        loop {
            let refusal = match self.ask(turn, account, &access, asked).await {
                Ok(()) => {
                    account.tokens.served(&access);
                    return Ok(());
                }
                Err(refusal) => refusal,
            };
            let error = refusal.error;
            // Somebody has read a part of the answer; a second one would follow on it.
            if turn.has_output() {
                return Err(error);
            }
            match refusal.remedy {
                Remedy::NewToken if std::mem::take(&mut may_renew) => {
                    let renewal = account.renewal(turn.messenger(), &self.site);
                    access = account.tokens.replaced(&access, error, renewal).await?;
                }
                Remedy::NewSignature if std::mem::take(&mut may_sign_anew) => {}
                Remedy::Wait => {
                    // With the account of this turn: it is busy, and the question is whether another is not.
                    let tried: Vec<usize> = [turn.tried.as_slice(), &[account.number()]].concat();
                    // Another account is sooner.
                    let wait = waits.next().filter(|_| !self.accounts.has_other(&tried));
                    tokio::time::sleep(*wait.ok_or(error)?).await;
                }
                Remedy::None | Remedy::NewToken | Remedy::NewSignature => return Err(error),
            }
            turn.events.clear();
        }
    }

    /// One question with one token.
    async fn ask(
        &self,
        turn: &mut Turn,
        account: &Account,
        access: &Arc<Access>,
        asked: &mut Asked<'_>,
    ) -> Result<(), Refusal> {
        if asked.route.mode == Mode::Film {
            return Ok(self.film(turn, account, access, asked).await?);
        }
        let caller = self.caller(access);
        let variable = &account.variable;
        // Only what is not uploaded yet: a second try with another token goes on with what the first one left.
        upload::upload(turn, caller, variable, &asked.files, &mut asked.items).await?;
        let continued = turn.continued();
        let mut is_registered = false;
        if let Some(thread) = &continued {
            // It belongs to the assistant that began it (section 8).
            if thread.more.as_deref() != Some(asked.route.assistant_id) {
                return Err(ProviderError::new(
                    Kind::Protocol,
                    "the conversation is another assistant's",
                )
                .into());
            }
            turn.opened(
                &thread.id,
                self.deletion(account, access, asked.route.assistant_id, &thread.id),
            );
            turn.remembers(asked.route.assistant_id);
            is_registered = true;
        }
        let question = Question {
            route: asked.route,
            conversation_id: continued.as_ref().map_or("", |thread| &thread.id),
            search: asked.search,
            prompt: &asked.prompt,
            ratio: asked.ratio,
            items: &asked.items,
        };
        let mut answer = turn.send(wire::ask(caller, &question, moment())).await?;
        let mut decoder = Decoder::new(variable)
            .streamed(asked.is_streamed)
            .drawing(asked.route.mode == Mode::Draw);
        if answer.status.as_u16() != 200 || !answer.is_event_stream().await {
            return self.whole(turn, answer, account, asked, decoder).await;
        }
        while !decoder.is_over() {
            let Some(bytes) = answer.chunk().await.map_err(ProviderError::from)? else {
                break;
            };
            let read = decoder.read(&bytes, &mut turn.events);
            // Before the events go out: a client that leaves then must leave nothing behind.
            if let Some(id) = decoder.conversation_id().filter(|_| !is_registered) {
                let deletion = self.deletion(account, access, asked.route.assistant_id, id);
                turn.opened(id, deletion);
                turn.remembers(asked.route.assistant_id);
                is_registered = true;
            }
            turn.emit_then(read).await?;
        }
        // Before `end`, which may end it by itself.
        let is_over = decoder.is_over();
        let ended = decoder.end(&mut turn.events);
        turn.emit_then(ended).await?;
        asked.revised = decoder.prompt();
        if let Some(message) = decoder.message_id() {
            turn.answered_as(message);
        }
        if is_over {
            linger::let_end(answer).await;
        }
        Ok(())
    }

    /// An answer that is no event stream: a refusal, or the odd whole answer.
    async fn whole(
        &self,
        turn: &mut Turn,
        mut answer: Answer,
        account: &Account,
        asked: &Asked<'_>,
        mut decoder: Decoder,
    ) -> Result<(), Refusal> {
        let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
        // The status alone says something when the body breaks off.
        let body = answer.bytes(MOST_WHOLE_BYTES).await.unwrap_or_default();
        if status == 200 {
            // Section 7: nothing at all under 200 is an unknown conversation, or a token that has died.
            if body.is_empty() {
                return Err(ProviderError::empty_answer().into());
            }
            let read = decoder.whole(&body, &mut turn.events);
            if let Some(id) = decoder.conversation_id()
                // The token of this moment, as none was handed in.
                && let Some(access) = account.tokens.latest()
            {
                let deletion = self.deletion(account, &access, asked.route.assistant_id, id);
                turn.opened(id, deletion);
                turn.remembers(asked.route.assistant_id);
            }
            if turn.emit_then(read).await? {
                return Ok(());
            }
        }
        let refusal = refusal::refusal(status, &body, &account.variable);
        Err(Refusal {
            error: refusal.error.with_retry_after(retry_after),
            ..refusal
        })
    }

    fn caller<'a>(&'a self, access: &'a Access) -> Caller<'a> {
        Caller {
            site: &self.site,
            token: &access.token,
            device: &access.device,
        }
    }

    /// The deletion of a conversation, signed anew for every try, with the account's token of that moment.
    fn deletion(
        &self,
        account: &Account,
        access: &Arc<Access>,
        assistant_id: &str,
        conversation_id: &str,
    ) -> Option<Errand> {
        // Clones of the account's own: the deletion may come when the token has rotated.
        let (site, tokens) = (self.site.clone(), account.tokens.clone());
        let (used, assistant_id) = (Arc::clone(access), assistant_id.to_owned());
        let conversation_id = conversation_id.to_owned();
        let build = move || {
            // After a refusal there may be none; then the one that the answer came with is the best there is.
            let access = tokens.latest().unwrap_or_else(|| Arc::clone(&used));
            let caller = Caller {
                site: &site,
                token: &access.token,
                device: &access.device,
            };
            wire::delete(caller, &assistant_id, &conversation_id, moment())
        };
        self.deletes_conversations.then(|| Errand::new(build))
    }
}
