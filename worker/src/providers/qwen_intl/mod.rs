//! Qwen's international site: the web chat of chat.qwen.ai. Steps: token or login (section 2), files (4.4), chat (4.2),
//! question (4.3), answer (7), clean-up (9) of `wire/qwen_intl.md`.

mod account;
mod call;
mod card;
mod catalogue;
mod check;
mod count;
mod detail;
mod device;
mod draw;
mod film;
mod flow;
mod images;
mod login;
mod models;
mod oss;
mod prompt;
mod refusal;
mod site;
mod sources;
pub mod stream;
mod task;
mod upload;
mod videos;
mod wire;

pub use card::CARD;

use std::{cell::Cell, sync::Arc};

use futures_util::future::LocalBoxFuture;

use self::{
    account::{Account, moment},
    catalogue::Catalogue,
    film::Abandoned,
    flow::{Asked, Place},
    models::{Kind, Purpose},
    site::Site,
    upload::File,
    wire::Api,
};
use super::{
    Abandoning, Checking, Images, Messenger, Model, Provider, Turn, Videos, abandoning, checking,
};
use crate::{
    accounts::{Accounts, Choice, Kept, Pace, Patience, Pool},
    chat::{
        ChatRequest, Field, ProviderError, Support,
        emulate::{plan::OwnTools, turn::Taken},
        fields,
        media::Makes,
    },
    conversations::{Continues, Thread},
    settings::{Problems, Settings, Vars},
};

const NAME: &str = "qwen_intl";
/// What the site says, as the whole answer, of a tool that it has looked for among its own.
const OWN_TOOLS: OwnTools = OwnTools {
    names: &[],
    taken: Some(Taken {
        before: "Tool ",
        after: " does not exists",
    }),
};

/// The provider.
#[derive(Debug)]
pub struct QwenIntl {
    accounts: Pool<Account>,
    models: Vec<Model>,
    catalogue: Catalogue,
    site: Arc<Site>,
    /// Videos that nobody waited for.
    abandoned: Abandoned,
    /// Where the token of a login survives a restart.
    kept: Kept,
    patience: Patience,
}

/// Reads the provider's own variables (section 2).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<Arc<dyn Provider>> {
    let site = Site::read(vars, problems);
    let provider = QwenIntl {
        // The service scores accounts by their rate of requests (section 10).
        accounts: Pool::new(
            settings.providers.patience,
            vars.number("QWEN_INTL_MAX_CONCURRENCY", 4, 1, 1000, problems),
        )
        .paced(Pace::read("QWEN_INTL", vars, problems)),
        models: models::listed(&site),
        catalogue: Catalogue::default(),
        site: Arc::new(site),
        abandoned: Abandoned::default(),
        kept: settings.providers.kept.clone(),
        patience: settings.providers.patience,
    };
    let accounts = account::accounts(vars, &provider.kept, provider.patience, problems);
    provider.accounts.replace(accounts);
    vec![Arc::new(provider)]
}

impl Provider for QwenIntl {
    fn card(&self) -> &'static super::Card {
        &CARD
    }

    fn models(&self) -> &[Model] {
        &self.models
    }

    fn find(&self, id: &str) -> Option<Model> {
        models::find(id, &self.site, &self.catalogue.ids())
    }

    fn accept(&self, id: &str) -> Option<Model> {
        let is_name = !id.is_empty();
        is_name.then(|| models::accept(id, &self.site, &self.catalogue.ids()))
    }

    fn discovered(&self) -> Vec<Model> {
        let ids = self.catalogue.ids();
        let mut found: Vec<Model> = ids
            .iter()
            .map(|id| models::discovered(id, &self.site))
            .collect();
        // The table's own rows know what a name alone does not say.
        found.retain(|it| self.models.iter().all(|known| known.id != it.id));
        found
    }

    fn upkeep(&self, messenger: Messenger, _unix_seconds: u64) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            self.abandoned.sweep(&self.site, &messenger).await;
            self.learn_models(&messenger).await;
        })
    }

    fn fields(&self) -> &[&'static [(Field, Support)]] {
        &[fields::THINKING, fields::SEARCH]
    }

    fn reports_usage(&self) -> bool {
        true
    }

    fn own_tools(&self) -> Option<&'static OwnTools> {
        Some(&OWN_TOOLS)
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

    fn images(&self) -> Option<&dyn Images> {
        Some(self)
    }

    fn videos(&self) -> Option<&dyn Videos> {
        Some(self)
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Problems) -> Box<dyn FnOnce() + 'a> {
        let accounts = account::accounts(vars, &self.kept, self.patience, problems);
        Box::new(move || self.accounts.replace(accounts))
    }

    /// A question names the chat's last answer; a chat makes one answer at a time (sections 4.3 and 9).
    fn continues(&self, model: &Model) -> Continues {
        match model.makes {
            Makes::Text => Continues::Linear,
            _ => Continues::No,
        }
    }

    fn abandon<'a>(&'a self, thread: &'a Thread, turn: &'a mut Turn) -> Abandoning<'a> {
        abandoning(&self.accounts, thread, turn, async |turn, account| {
            let access = login::token(&self.site, turn, account).await?;
            Ok(Some(self.deletion(account, &access, &thread.id)))
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

impl QwenIntl {
    /// Reads the site's own list, with the first account's token or as a guest: nobody logs in for it. The newer call where
    /// the older one is gone.
    async fn learn_models(&self, messenger: &Messenger) {
        let accounts = self.accounts.read(|account| Some(account.clone()));
        let Some((_, account)) = accounts.first() else {
            return;
        };
        let access = account.tokens.latest();
        // The older first: it is open to guests, and the newer one has listed only six models (section 5).
        for api in [Api::V1, Api::V2] {
            let caller = account.caller(&self.site, access.as_deref());
            let request = wire::models(caller, api, moment());
            let read = async {
                let mut answer = messenger.send(request).await.ok()?;
                let body = answer.short().await.ok()?;
                // 200 with an error's body has no list, so [`catalogue::read`] refuses it.
                catalogue::read(&body).filter(|_| answer.status.as_u16() == 200)
            };
            if let Some(ids) = read.await {
                return self.catalogue.learn(ids);
            }
        }
    }

    async fn answer(&self, ask: &Arc<ChatRequest>, turn: &mut Turn) -> Result<(), ProviderError> {
        // Before the lease: attachments are fetched from strangers.
        let mut asked = self.asked(ask, turn).await?;
        if asked.prompt.trim().is_empty() && asked.files.is_empty() {
            return Err(ProviderError::bad_request(
                "messages",
                "The conversation holds no text and no attachment.",
            ));
        }
        let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
        // A closure, so that chats, pictures and films share the tries below and nothing else.
        let answer = async |turn: &mut Turn, place: Place<'_>, asked: &Asked| match asked.kind {
            Kind::Text | Kind::Search => self.talk(turn, place, asked).await,
            Kind::Image | Kind::ImageEdit => self.draw(turn, place, asked).await,
            Kind::Video | Kind::VideoOfImage => self.film(turn, place, asked).await,
        };
        self.ask_again(turn, &account, &mut asked, answer).await
    }

    /// What a chat request means for its model (sections 4.3, 4.5, 4.6, 5).
    async fn asked(&self, ask: &Arc<ChatRequest>, turn: &Turn) -> Result<Asked, ProviderError> {
        let purpose = models::purpose(&turn.model.id);
        let is_video = purpose == Purpose::Film;
        let mut files = upload::files(ask, turn, is_video).await?;
        let (build, kind) = match purpose {
            Purpose::Text { .. } => {
                let searches = ask.search.unwrap_or(turn.model.search);
                let kind = if searches { Kind::Search } else { Kind::Text };
                // As function pointers, which are of one type.
                (prompt::flattened as fn(&ChatRequest) -> String, kind)
            }
            Purpose::Draw | Purpose::Edit => {
                // Section 4.5: documents are of no use to a picture.
                files.retain(File::is_image);
                // The last picture counts, of the user's own before those that were shown.
                // `files` has those of the last question alone.
                let own = files.pop();
                let shown = || prompt::last_shown(ask).map(File::Link);
                let picture = match purpose {
                    Purpose::Edit => own.or_else(shown),
                    // A new picture is made of the user's own pictures only, never of what was shown before.
                    _ => own,
                };
                let kind = match &picture {
                    Some(_) => Kind::ImageEdit,
                    None => Kind::Image,
                };
                files = picture.into_iter().collect();
                (prompt::question as fn(&ChatRequest) -> String, kind)
            }
            Purpose::Film => {
                files.retain(File::is_image);
                // Section 4.6: the picture is the first element; of others nothing is known.
                files.truncate(1);
                let kind = if files.is_empty() {
                    Kind::Video
                } else {
                    Kind::VideoOfImage
                };
                (prompt::question as fn(&ChatRequest) -> String, kind)
            }
        };
        let is_text = matches!(purpose, Purpose::Text { .. });
        Ok(Asked {
            model: turn.model.upstream.clone(),
            kind,
            prompt: turn.prompt(ask, build).await?,
            files,
            items: Vec::new(),
            // Sections 4.5, 4.6: thinking about a picture only takes longer.
            thinking: is_text && ask.thinking.unwrap_or(turn.model.thinking),
            thinking_budget: ask.thinking_budget,
            size: match kind {
                // An edit has the shape of its picture.
                Kind::Image | Kind::Video | Kind::VideoOfImage => Some(models::ratio(None, kind)),
                Kind::Text | Kind::Search | Kind::ImageEdit => None,
            },
            is_streamed: ask.stream,
            is_submitted: Cell::default(),
        })
    }
}
