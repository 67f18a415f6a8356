//! MiniMax: the agent of agent.minimaxi.com, in its generations (`generation`): `cloud` of today's site, `archon` under an
//! older prefix, and `matrix`, whose answer is polled. Source: `wire/minimax.md`.

mod account;
mod answers;
mod call;
mod card;
mod check;
mod cloud;
mod generation;
mod matrix;
mod messages;
mod models;
mod offers;
mod oss;
mod poll;
mod prompt;
mod record;
mod refusal;
mod sign;
mod site;
mod standing;
pub mod stream;
mod upload;
mod wire;

pub use card::CARD;

use std::{sync::Arc, time::Duration};

use futures_util::future::LocalBoxFuture;

use self::{
    account::{Access, Account},
    call::Call,
    generation::{Memory, Protocol},
    offers::Offer,
    refusal::{Refusal, Remedy},
    site::{Generation, Site},
    standing::Ask,
};
use super::{Abandoning, Checking, Errand, Messenger, Model, Provider, Turn, abandoning, checking};
use crate::{
    accounts::{Accounts, Choice, Kept, Lease, Pace, Patience, Pool},
    chat::{ChatRequest, Field, Kind, ProviderError, Support, fields},
    conversations::{Continues, Thread},
    settings::{Problems, Settings, Vars},
    upstream::fetch::Attachment,
};

const NAME: &str = "minimax";

/// The provider.
#[derive(Debug)]
pub struct MiniMax {
    accounts: Pool<Account>,
    models: Vec<Model>,
    site: Site,
    memory: Memory,
    waits: Waits,
    deletes_chats: bool,
    /// Where renewed tokens survive a restart.
    kept: Kept,
    patience: Patience,
}

/// How long to wait for what (section 2).
#[derive(Clone, Copy, Debug)]
struct Waits {
    /// `MINIMAX_TIMEOUT_S`: a whole answer.
    whole: Duration,
    /// `MINIMAX_STALL_TIMEOUT_S`: nothing new.
    stall: Duration,
    /// `MINIMAX_POLL_INTERVAL_MS`.
    poll: Duration,
}

/// What a turn asks, in whichever generation.
struct Asked {
    prompt: String,
    thinking: bool,
    files: Vec<Attachment>,
    /// Where the files were put; put once, whatever else is tried again.
    paths: Vec<String>,
}

/// Reads the provider's own variables (section 2).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<Arc<dyn Provider>> {
    // Both sites share the paths, so one variable chooses between them (section 3).
    let base_url = CARD.base_url("MINIMAX_BASE_URL", vars, problems);
    let stream_base_url = vars
        .get("MINIMAX_STREAM_BASE_URL")
        // Only when it is set: an empty default would not be a base URL.
        .map(|_| vars.base_url("MINIMAX_STREAM_BASE_URL", "", problems));
    // Section 2: at most 60 s by default, however patient the other providers are.
    let stall = settings.upstream.timeouts.stall.as_secs_f64().min(60.0);
    let seconds = |name, default, problems: &mut Problems| {
        Duration::from_secs_f64(vars.number(name, default, 0.01, 86_400.0, problems))
    };
    let minimax = MiniMax {
        // One account answers one request at a time (section 2).
        accounts: Pool::new(
            settings.providers.patience,
            vars.number("MINIMAX_MAX_CONCURRENCY", 1, 1, 1000, problems),
        )
        .paced(Pace::read("MINIMAX", vars, problems)),
        models: models::listed(),
        site: Site::new(base_url, stream_base_url),
        memory: Memory::new(Protocol::read(vars.get("MINIMAX_PROTOCOL"), problems)),
        waits: Waits {
            whole: seconds("MINIMAX_TIMEOUT_S", 180.0, problems),
            stall: seconds("MINIMAX_STALL_TIMEOUT_S", stall, problems),
            poll: Duration::from_millis(vars.number(
                "MINIMAX_POLL_INTERVAL_MS",
                500,
                10,
                60_000,
                problems,
            )),
        },
        deletes_chats: vars.switch("MINIMAX_DELETE_CHAT", true, problems),
        kept: settings.providers.kept.clone(),
        patience: settings.providers.patience,
    };
    let accounts = account::accounts(vars, &minimax.kept, minimax.patience, problems);
    minimax.accounts.replace(accounts);
    vec![Arc::new(minimax)]
}

impl Provider for MiniMax {
    fn card(&self) -> &'static super::Card {
        &CARD
    }

    fn models(&self) -> &[Model] {
        &self.models
    }

    fn find(&self, id: &str) -> Option<Model> {
        // First without the lists, which are behind locks and rarely matter.
        models::find(id, &[]).or_else(|| models::find(id, &self.offers()))
    }

    fn discovered(&self) -> Vec<Model> {
        let mut found = models::discovered(&self.offers());
        // A list may name what is built in.
        found.retain(|it| self.models.iter().all(|known| known.id != it.id));
        found
    }

    fn upkeep(&self, messenger: Messenger, _unix_seconds: u64) -> LocalBoxFuture<'_, ()> {
        let accounts = self.accounts.read(|account| Some(account.clone()));
        Box::pin(async move {
            // One after the other: nobody waits, and a burst of calls looks like none of the page's.
            for (_, account) in accounts {
                self.look_at_offers(&account, messenger.clone()).await;
            }
        })
    }

    fn fields(&self) -> &[&'static [(Field, Support)]] {
        &[fields::THINKING]
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

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Problems) -> Box<dyn FnOnce() + 'a> {
        let accounts = account::accounts(vars, &self.kept, self.patience, problems);
        Box::new(move || self.accounts.replace(accounts))
    }

    /// From its end, in every generation (sections 4 and 12.4).
    fn continues(&self, _model: &Model) -> Continues {
        Continues::Linear
    }

    fn abandon<'a>(&'a self, thread: &'a Thread, turn: &'a mut Turn) -> Abandoning<'a> {
        abandoning(&self.accounts, thread, turn, async |turn, account| {
            let renewal = account.renewal(turn.messenger(), &self.site);
            let access = account.tokens.current(renewal).await?;
            let removal = self.removal(thread, turn, account, &access).await;
            removal.map_err(|refusal| refusal.error)
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

impl MiniMax {
    async fn answer(&self, ask: &Arc<ChatRequest>, turn: &mut Turn) -> Result<(), ProviderError> {
        // Leased first: while turns wait for their account none of them holds attachments in memory.
        let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
        let mut asked = Asked {
            prompt: turn.prompt(ask, prompt::flattened).await?,
            thinking: ask.thinking.unwrap_or(turn.model.thinking),
            files: upload::attachments(ask, turn).await?,
            paths: Vec::new(),
        };
        // Section 4: an empty prompt would be sent as a lone `assistant:`.
        let has_text = ask.messages.iter().any(|message| message.has_words());
        if !has_text && asked.files.is_empty() {
            return Err(ProviderError::bad_request(
                "messages",
                "The conversation holds no text and no attachment.",
            ));
        }
        let renewal = account.renewal(turn.messenger(), &self.site);
        let access = account.tokens.current(renewal).await?;
        let asking = self.ask_generations(turn, &account, &access, &mut asked);
        let result = match asking.await {
            // A renewed token is refused: the pasted one may still be good (section 2).
            // Not once something was said: the client has it, and a second answer would go on from it.
            Err(error) if error.kind == Kind::AuthExpired && !turn.has_output() => {
                let Some(pasted) = account.fall_back(&access) else {
                    return Err(error);
                };
                // What the failed try noticed is no part of the answer.
                turn.events.clear();
                self.ask_generations(turn, &account, &pasted, &mut asked)
                    .await
            }
            result => result,
        };
        if result.is_ok() {
            // Only now is the renewed token known to be good.
            account.tokens.served(&access);
        }
        result
    }

    /// Asks one generation after the other while they are not there (section 1).
    async fn ask_generations(
        &self,
        turn: &mut Turn,
        account: &Lease<Account>,
        access: &Arc<Access>,
        asked: &mut Asked,
    ) -> Result<(), ProviderError> {
        let continued = turn.continued();
        let order = match &continued {
            Some(thread) => vec![self.began(thread)?],
            None => self.memory.order(),
        };
        let mut absent = None;
        for generation in order {
            let refusal = match self
                .ask_mending(turn, account, access, asked, generation)
                .await
            {
                Ok(()) => {
                    self.memory.has_answered(generation);
                    return Ok(());
                }
                Err(refusal) => refusal,
            };
            if continued.is_some() && refusal.remedy.is_of_conversation() {
                // The account is not to blame, nor its credential: a new conversation may do.
                return Err(ProviderError {
                    kind: Kind::Unavailable,
                    ..refusal.error
                });
            }
            // A generation that has begun to answer is there, however it ended.
            if refusal.remedy != Remedy::OtherGeneration || turn.has_output() {
                // A model that only another generation has says nothing of this one.
                if refusal.error.kind != Kind::ModelNotFound {
                    self.memory.has_answered(generation);
                }
                return Err(refusal.error);
            }
            turn.events.clear();
            // What the first one said is nearest to the truth; but that a model is not to be had says more.
            match (&absent, refusal.error.kind) {
                (None, _) | (Some(_), Kind::ModelNotFound) => absent = Some(refusal.error),
                (Some(_), _) => {}
            }
        }
        Err(absent.unwrap_or_else(ProviderError::empty_answer))
    }

    /// Asks one generation, and once more for each thing that can be mended (section 7).
    async fn ask_mending(
        &self,
        turn: &mut Turn,
        account: &Lease<Account>,
        access: &Arc<Access>,
        asked: &mut Asked,
        generation: Generation,
    ) -> Result<(), Refusal> {
        // A list, as two different things may be wrong one after the other; each is mended once, so the loop ends.
        let mut tried: Vec<Remedy> = Vec::new();
        loop {
            let ask = |remedy| {
                // What was refused last is what must be asked for anew; the rest is as good as it was.
                if tried.last() == Some(&remedy) {
                    Ask::Anew
                } else {
                    Ask::Once
                }
            };
            let (user, agent) = (ask(Remedy::LearnUser), ask(Remedy::Prepare));
            let result = if generation == Generation::Matrix {
                self.ask_matrix(turn, account, access, asked).await
            } else {
                self.ask_cloud(turn, account, access, asked, generation, user, agent)
                    .await
            };
            let refusal = match result {
                Err(refusal) if !turn.has_output() => refusal,
                result => return result,
            };
            let is_worth_it = match refusal.remedy {
                // Of a token that has ended no id will help; nor is there a real one to be learnt of matrix.
                Remedy::LearnUser => {
                    generation != Generation::Matrix
                        && access
                            .claimed
                            .expires
                            .is_none_or(|end| end > turn.unix_ms() / 1000)
                }
                // One that goes on has heard what a new one would have to be told.
                Remedy::NewSession => turn.continued().is_none(),
                Remedy::Prepare => true,
                Remedy::None | Remedy::OtherForm | Remedy::Wait | Remedy::OtherGeneration => false,
            };
            if !is_worth_it || tried.contains(&refusal.remedy) {
                return Err(refusal);
            }
            tracing::info!(provider = NAME, remedy = ?refusal.remedy, "asking again");
            tried.push(refusal.remedy);
            turn.events.clear();
        }
    }

    /// The generation that a conversation was begun in, where that may be asked.
    fn began(&self, thread: &Thread) -> Result<Generation, ProviderError> {
        let began = thread.more.as_deref().and_then(Generation::named);
        began
            .filter(|generation| self.memory.may_ask(*generation))
            .ok_or_else(|| {
                ProviderError::new(
                    Kind::Protocol,
                    "the conversation was begun in a generation that is not asked any more",
                )
            })
    }

    /// What removes a conversation that nobody goes on with.
    async fn removal(
        &self,
        thread: &Thread,
        turn: &Turn,
        account: &Account,
        access: &Arc<Access>,
    ) -> Result<Option<Errand>, Refusal> {
        let generation = thread.more.as_deref().and_then(Generation::named);
        // Of no generation that is known, or the settings leave it there: nothing is to be removed.
        let Some(generation) = generation.filter(|_| self.deletes_chats) else {
            return Ok(None);
        };
        if generation == Generation::Matrix {
            let id = thread.id.parse().ok();
            return Ok(id.and_then(|id| self.deletion(account, access, id)));
        }
        let call = Call {
            messenger: turn.messenger(),
            site: &self.site,
            account,
            access,
            user: None,
        };
        let user = standing::user(&call, account, Ask::Once).await?;
        Ok(self.archival(account, access, &user, generation, &thread.id))
    }

    /// What the service lists, of all accounts.
    fn offers(&self) -> Vec<Offer> {
        let mut all: Vec<Offer> = Vec::new();
        for (_, offers) in self
            .accounts
            .read(|account| Some(account.standing.offers()))
        {
            for offer in offers.iter() {
                // Accounts of one plan list the same; the first one's word counts.
                if all.iter().all(|known| known.model_id != offer.model_id) {
                    all.push(offer.clone());
                }
            }
        }
        // The accounts' order changes as they are renewed; a listing should not.
        all.sort_by(|one, other| one.model_id.cmp(&other.model_id));
        all
    }

    /// Reads what the service offers an account; whatever fails leaves what was known.
    async fn look_at_offers(&self, account: &Account, messenger: Messenger) {
        let renewal = account.renewal(messenger.clone(), &self.site);
        let Ok(access) = account.tokens.current(renewal).await else {
            return;
        };
        let mut call = Call {
            messenger,
            site: &self.site,
            account,
            access: &access,
            user: None,
        };
        // No [`Ask::Anew`]: nothing was refused, and a listing is not worth a call more.
        let Ok(user) = standing::user(&call, account, Ask::Once).await else {
            return;
        };
        call.user = Some(&user);
        for generation in self.memory.order() {
            // It has no list (section 4: the ids are ours).
            if generation == Generation::Matrix {
                continue;
            }
            if standing::look_at_offers(&call, account, generation).await {
                return;
            }
        }
    }
}
