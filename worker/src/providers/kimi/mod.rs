//! Kimi: Moonshot's web chat. Steps: token (section 2), attachments (4.4), question (4.2), answer (6), clean-up (8) of
//! `wire/kimi.md`.

mod account;
mod card;
mod catalogue;
mod check;
mod event;
mod flow;
mod marks;
mod models;
mod refusal;
mod sections;
mod session;
mod sources;
pub mod stream;
mod transport;
mod upload;
mod wire;

pub use card::CARD;

use std::sync::{Arc, atomic::AtomicUsize};

use futures_util::future::LocalBoxFuture;

use self::{account::Account, transport::Transport, wire::Hosts};
use super::{Abandoning, Checking, Messenger, Model, Provider, Turn, abandoning, checking};
use crate::{
    accounts::{Accounts, Kept, Pace, Pool, rotating::HalfOpen},
    chat::{ChatRequest, Field, ProviderError, Support, fields},
    conversations::{Continues, Thread},
    settings::{Problems, Settings, Vars},
};

const NAME: &str = "kimi";

/// The provider.
#[derive(Debug)]
pub struct Kimi {
    accounts: Pool<Account>,
    models: Vec<Model>,
    hosts: Hosts,
    transport: Transport,
    keeps_chats: bool,
    /// Where rotated tokens survive a restart.
    kept: Kept,
    /// Of a new account.
    pace: HalfOpen,
    /// Which of several shapes was answered last (section 4.5, K3); of all threads, as all meet the same service.
    answered: AtomicUsize,
    /// `KIMI_FREE_FALLBACK`: answers in place of an unversioned model while free accounts are shut out.
    free_fallback: Option<Model>,
}

/// Reads the provider's own variables (section 2).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<Arc<dyn Provider>> {
    let base_url = CARD.base_url("KIMI_BASE_URL", vars, problems);
    let kimi = Kimi {
        // One stream at a time was a rule of the old service alone (section 9); a stricter one can be told so.
        accounts: Pool::new(
            settings.providers.patience,
            vars.number("KIMI_MAX_CONCURRENCY", 1000, 1, 10_000, problems),
        )
        .paced(Pace::read("KIMI", vars, problems)),
        models: models::listed(),
        hosts: Hosts {
            auth_base_url: vars.base_url(
                "KIMI_AUTH_BASE_URL",
                // A token is renewed only where it was issued, so the base URL chooses (section 1).
                wire::auth_base_url(&base_url),
                problems,
            ),
            upload_base_url: vars.base_url("KIMI_UPLOAD_BASE_URL", &base_url, problems),
            ws_base_url: ws_base_url(vars.get("KIMI_WS_BASE_URL"), &base_url, problems),
            base_url,
        },
        transport: Transport::read(vars.get("KIMI_TRANSPORT"), problems),
        keeps_chats: vars.switch("KIMI_KEEP_CHATS", false, problems),
        kept: settings.providers.kept.clone(),
        pace: HalfOpen::new(settings.providers.patience),
        answered: AtomicUsize::new(0),
        free_fallback: free_fallback(vars, problems),
    };
    kimi.accounts.replace(kimi.read(vars, problems));
    vec![Arc::new(kimi)]
}

fn free_fallback(vars: &Vars, problems: &mut Problems) -> Option<Model> {
    let id = vars.get("KIMI_FREE_FALLBACK")?;
    let model = models::find(id);
    if model.is_none() {
        problems
            .push("KIMI_FREE_FALLBACK must be one of Kimi's models, such as kimi-k3".to_owned());
    }
    model
}

/// `KIMI_WS_BASE_URL`, by default the base URL with the WebSocket's scheme.
fn ws_base_url(own: Option<&str>, base_url: &str, problems: &mut Problems) -> String {
    // The base URL's scheme is the HTTP one, the socket's its own.
    let url = own.unwrap_or(base_url).trim_end_matches('/');
    let Some((scheme, rest)) = url.split_once("://") else {
        problems.push("KIMI_WS_BASE_URL must be a ws(s) URL".to_owned());
        return url.to_owned();
    };
    match scheme {
        "http" | "ws" => format!("ws://{rest}"),
        "https" | "wss" => format!("wss://{rest}"),
        _ => {
            problems.push("KIMI_WS_BASE_URL must be a ws(s) URL".to_owned());
            url.to_owned()
        }
    }
}

impl Provider for Kimi {
    fn card(&self) -> &'static super::Card {
        &CARD
    }

    fn models(&self) -> &[Model] {
        &self.models
    }

    fn find(&self, id: &str) -> Option<Model> {
        // The table first: a list may be hours old.
        models::find(id).or_else(|| {
            let offers = self
                .accounts
                .read(|account| Some(account.session.catalogue.offers()));
            offers
                .iter()
                .find_map(|(_, offers)| models::find_offered(id, offers))
        })
    }

    fn discovered(&self) -> Vec<Model> {
        let mut found: Vec<Model> = Vec::new();
        for (_, offers) in self
            .accounts
            // Of all accounts: a member's models are listed for whoever may use them.
            .read(|account| Some(account.session.catalogue.offers()))
        {
            let new = models::discovered(&offers);
            found.extend(
                new.into_iter()
                    .filter(|it| self.models.iter().all(|known| known.id != it.id)),
            );
        }
        // Sorted, so that a listing does not depend on which account answered first.
        found.sort_by(|one, other| one.id.cmp(&other.id));
        found.dedup_by(|one, other| one.id == other.id);
        found
    }

    fn is_listed(&self, id: &str) -> bool {
        let is_offered = |account: &Account| {
            // By the list as it is now: an id may have gone since the last listing.
            let offers = account.session.catalogue.offers();
            models::is_discovered(id, &offers).then_some(())
        };
        self.models.iter().any(|model| model.id == id) || !self.accounts.read(is_offered).is_empty()
    }

    fn upkeep(&self, messenger: Messenger, unix_seconds: u64) -> LocalBoxFuture<'_, ()> {
        let accounts = self.accounts.read(|account| Some(account.clone()));
        Box::pin(async move {
            for (_, account) in accounts {
                session::look_at_offers(&account, &messenger, &self.hosts, unix_seconds).await;
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
        self.accounts.read(|account| account.session.end())
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Problems) -> Box<dyn FnOnce() + 'a> {
        let accounts = self.read(vars, problems);
        Box::new(move || self.accounts.replace(accounts))
    }

    /// A question names the chat's last answer (section 4.2).
    fn continues(&self, _model: &Model) -> Continues {
        Continues::Linear
    }

    fn abandon<'a>(&'a self, thread: &'a Thread, turn: &'a mut Turn) -> Abandoning<'a> {
        abandoning(&self.accounts, thread, turn, async |turn, account| {
            let (messenger, now) = (turn.messenger(), turn.unix_ms() / 1000);
            let access = session::access(account, &messenger, &self.hosts, now).await?;
            Ok(self.errand(account, &access, &thread.id))
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

impl Kimi {
    /// The accounts of these variables. An equal token goes on with the session that it has, whatever its number is.
    fn read(&self, vars: &Vars, problems: &mut Problems) -> Vec<(usize, Account)> {
        let known = self
            .accounts
            .read(|account| Some(Arc::clone(&account.session)));
        let known: Vec<_> = known.into_iter().map(|(_, session)| session).collect();
        account::accounts(vars, &known, (&self.kept, &self.pace), problems)
    }
}
