//! Qwen: Tongyi Qianwen's domestic web chat, in its two generations (`generation`): `chat2` of today's site, and
//! the older `dialog`. An account serves either. Source: `wire/qwen.md`.

mod account;
mod card;
pub mod chat2;
mod dialog;
mod generation;
mod models;
mod prompt;
mod refusal;
mod route;
pub mod stream;
mod upload;
mod wire;

pub use card::CARD;

use std::{sync::Arc, time::Duration};

use futures_util::future::LocalBoxFuture;

use self::{
    account::Account,
    dialog::Dialog,
    generation::{Failure, Generation, Memory, Protocol},
    route::{AccountMap, Policy},
};
use super::{Abandoning, Model, Provider, Turn, abandoning};
use crate::{
    accounts::{Accounts, Choice, Pace, Pool},
    chat::{
        ChatRequest, Field, ProviderError, Support,
        emulate::{plan::OwnTools, turn::Taken},
        fields,
    },
    conversations::{Continues, Thread},
    settings::{Problems, Settings, Vars},
    upstream::fetch::Attachment,
};

const NAME: &str = "qwen";
/// What the site says, as the whole answer, of a tool that it has looked for among its own.
const OWN_TOOLS: OwnTools = OwnTools {
    names: &[],
    taken: Some(Taken {
        before: "Tool ",
        after: " does not exists",
    }),
};
/// A desktop browser (sections 4.2, 11.6).
const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36";

/// The provider.
#[derive(Debug)]
pub struct Qwen {
    accounts: Pool<Account>,
    models: Vec<Model>,
    memory: Memory,
    chat2: chat2::Settings,
    dialog: Dialog,
    account_map: AccountMap,
    policy: Policy,
}

/// Reads the provider's own variables (section 2.1, 3).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<Arc<dyn Provider>> {
    let protocol = Protocol::read(vars.get("QWEN_PROTOCOL"), problems);
    let base_url = CARD.base_url("QWEN_BASE_URL", vars, problems);
    let base_url = base_url.trim_end_matches("/dialog").to_owned();
    // Section 2.1: a proxy stands for the chat2 hosts as well, the site does not.
    let elsewhere = (!chat2::hosts::is_site(&base_url)).then_some(base_url.as_str());
    let hosts = chat2::hosts::Hosts::read(vars, elsewhere, USER_AGENT, problems);
    let upload_base_url = vars
        .get("QWEN_UPLOAD_BASE_URL")
        .map(|_| vars.base_url("QWEN_UPLOAD_BASE_URL", "", problems));
    let deletes_sessions = vars.switch("QWEN_DELETE_SESSION", true, problems);
    // Today's site wants one answer at a time and two seconds between questions (section 11.6); of the older one ten
    // at a time were seen to work (section 10).
    let is_gentle = hosts.is_site && protocol != Protocol::Only(Generation::Dialog);
    let (most, pause) = if is_gentle { (1, 2000) } else { (10, 0) };
    let between = vars.number("QWEN_PAUSE_MS", pause, 0, 60_000, problems);
    let qwen = Qwen {
        accounts: Pool::new(
            settings.providers.patience,
            vars.number("QWEN_MAX_CONCURRENCY", most, 1, 1000, problems),
        )
        .paced(Pace::read("QWEN", vars, problems)),
        models: models::listed(),
        memory: Memory::new(protocol),
        dialog: Dialog {
            base_url,
            upload_base_url: upload_base_url.clone(),
            user_agent: hosts.user_agent.clone(),
            deletes_sessions,
            prewarms: vars.switch("QWEN_PREWARM", false, problems),
        },
        chat2: chat2::Settings {
            hosts: Arc::new(hosts),
            upload_base_url,
            deletes_sessions,
            between: Duration::from_millis(between),
            repeats: chat2::Repeats::default(),
        },
        account_map: AccountMap::read(vars.get("MODEL_TO_ACCOUNT_MAP"), problems),
        policy: Policy::read(vars.get("QWEN_ACCOUNT_POLICY"), problems),
    };
    qwen.accounts.replace(account::accounts(vars, problems));
    vec![Arc::new(qwen)]
}

impl Provider for Qwen {
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
        Some(models::accept(id))
    }

    fn fields(&self) -> &[&'static [(Field, Support)]] {
        &[fields::THINKING, fields::SEARCH]
    }

    fn own_tools(&self) -> Option<&'static OwnTools> {
        Some(&OWN_TOOLS)
    }

    fn accounts(&self) -> &dyn Accounts {
        &self.accounts
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Problems) -> Box<dyn FnOnce() + 'a> {
        let accounts = account::accounts(vars, problems);
        Box::new(move || self.accounts.replace(accounts))
    }

    /// Both generations know what stood last, and nothing of branches (sections 9 and 11.6).
    fn continues(&self, _model: &Model) -> Continues {
        Continues::Linear
    }

    fn abandon<'a>(&'a self, thread: &'a Thread, turn: &'a mut Turn) -> Abandoning<'a> {
        abandoning(&self.accounts, thread, turn, async |_, account| {
            Ok(match Self::remembered(thread).0 {
                Generation::Chat2 => chat2::deletion(&self.chat2, account, &thread.id),
                Generation::Dialog => self.dialog.deletion(account, &thread.id),
            })
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

impl Qwen {
    async fn answer(&self, ask: &Arc<ChatRequest>, turn: &mut Turn) -> Result<(), ProviderError> {
        let prompt = turn.prompt(ask, prompt::flattened).await?;
        let choice = self.choice(&ask.model, turn.caller);
        let account = turn.lease(&self.accounts, choice).await?;
        let files = attachments(ask, turn).await?;
        // After both: a picture alone is a question.
        if prompt.trim().is_empty() && files.is_empty() {
            return Err(ProviderError::bad_request(
                "messages",
                "The conversation holds no text and no attachment.",
            ));
        }
        let (first, other) = match turn.continued() {
            // A conversation of one generation means nothing to the other.
            Some(thread) => (Self::remembered(&thread).0, None),
            None => self.memory.order(),
        };
        let absent = match self.ask(first, ask, turn, &account, &prompt, &files).await {
            Err(Failure::Absent(error)) => error,
            answered => return answered.map_err(Failure::into_error),
        };
        let Some(other) = other else {
            return Err(absent);
        };
        // The other generation, and only of an absence: a refusal is an answer.
        match self.ask(other, ask, turn, &account, &prompt, &files).await {
            // Neither is there: what the first one said is nearer to the truth.
            Err(Failure::Absent(_)) => Err(absent),
            answered => {
                tracing::warn!(
                    provider = NAME,
                    generation = ?other,
                    "the service has changed its generation"
                );
                answered.map_err(Failure::into_error)
            }
        }
    }

    async fn ask(
        &self,
        generation: Generation,
        ask: &ChatRequest,
        turn: &mut Turn,
        account: &Account,
        prompt: &str,
        files: &[Attachment],
    ) -> Result<(), Failure> {
        let thinking = ask.thinking.unwrap_or(turn.model.thinking);
        let search = ask.search.unwrap_or(turn.model.search);
        let model = turn.model.upstream.clone();
        let thread = turn.continued();
        match generation {
            Generation::Chat2 => {
                let asked = chat2::Asked {
                    goes_on: thread.as_ref().and_then(|thread| {
                        Some(chat2::GoesOn {
                            session_id: &thread.id,
                            parent: thread.message.as_deref()?,
                            topic_id: Self::remembered(thread).1?,
                        })
                    }),
                    prompt,
                    files,
                    model: models::of_chat2(&model),
                    is_deep: thinking || search,
                };
                chat2::answer(&self.chat2, &self.memory, turn, account, &asked).await
            }
            Generation::Dialog => {
                let asked = dialog::Asked {
                    goes_on: thread.as_ref(),
                    prompt,
                    files,
                    model: &model,
                    thinking,
                    search,
                };
                self.dialog
                    .answer(&self.memory, turn, account, &asked)
                    .await
            }
        }
    }

    /// Which generation a conversation is of, and its topic where it has one.
    fn remembered(thread: &Thread) -> (Generation, Option<&str>) {
        let more = thread.more.as_deref().unwrap_or_default();
        match more.split_once(' ') {
            Some((word, topic)) if word == Generation::Chat2.word() => {
                (Generation::Chat2, Some(topic))
            }
            Some(_) | None => (Generation::Dialog, None),
        }
    }

    /// Which account a model name leads to: looked up as the client wrote it, before any alias (section 3).
    fn choice(&self, requested: &str, caller: u64) -> Choice {
        match (self.account_map.get(requested), self.policy) {
            // The seed's semantics: a mapped model has its own account, and no other.
            (Some(number), _) => Choice::Only(number),
            (None, Policy::Map) => Choice::Only(1),
            (None, Policy::RoundRobin) => Choice::Any(caller),
        }
    }
}

/// Only the last message's pictures and documents go along (section 4.3).
async fn attachments(ask: &ChatRequest, turn: &Turn) -> Result<Vec<Attachment>, ProviderError> {
    // `messages` is never empty: the door refuses such requests.
    let last = ask.messages.len() - 1;
    match ask.messages.get(last) {
        Some(message) => turn.attachments(last, message).await,
        None => Ok(Vec::new()),
    }
}
