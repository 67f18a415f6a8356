//! What all requests of a worker share, and what the process must know of them before it may end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use actix_web::http::header::HeaderValue;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    accounts::{Census, Company},
    answers::Answers,
    budget::Memory,
    chat::emulate::nonce::NonceKey,
    conversations::Conversations,
    http::{
        auth::Keys,
        openai::{responses::Latest, videos::Looks},
    },
    keys::{Counts, Keyring, Ledger},
    metrics::METRICS,
    providers::{Janitor, Lasting, Registry},
    roster::Roster,
    seal::Sealer,
    settings::{self, Settings},
    store::{Store, Vault},
};

/// What all threads of a worker share.
#[derive(Debug)]
pub struct App {
    /// The settings, as read at start.
    pub settings: Arc<Settings>,
    /// The worker's name, as each answer says it.
    pub worker_header: Option<HeaderValue>,
    /// Providers, models, aliases.
    pub registry: Registry,
    /// What all workers know together.
    pub store: Store,
    /// Seals what is secret in it.
    pub vault: Vault,
    /// The workers that share the accounts.
    pub company: Company,
    /// Which accounts there are beside those of the settings.
    pub roster: Roster,
    /// Upstream conversations that may be gone on with, where `CONVERSATIONS=reuse`.
    pub conversations: Option<Arc<Conversations>>,
    /// Clean-up under way.
    pub janitor: &'static Janitor,
    /// The keys of the settings.
    pub keys: Keys,
    /// What the marks of emulated tool calls are made with: of the first key, which is the same on every worker.
    pub marks: NonceKey,
    /// What services have refused for good a moment ago.
    pub lasting: Arc<Lasting>,
    /// The keys of the store.
    pub keyring: Arc<Keyring>,
    /// What keys have used of their limits.
    pub counts: Arc<Counts>,
    /// What was used, on its way to the store.
    pub ledger: Ledger,
    /// This process among all of the cluster, also where two workers were given one name.
    pub instance: String,
    /// This worker counts the accounts in `hive_accounts`: one of the cluster does, so that each counts once.
    pub counts_accounts: AtomicBool,
    /// Answers that may be given again.
    pub answers: Arc<Answers>,
    /// Responses that this worker has made or seen of late.
    pub responses: Arc<Latest>,
    /// Makes and reads the ids of jobs that any worker answers for.
    pub sealer: Sealer,
    /// What was seen of videos a moment ago.
    pub looks: Looks,
    /// Set by SIGTERM: `/ready` says 503 from now on.
    pub is_draining: AtomicBool,
    /// Set when the grace after SIGTERM is over: no chat is taken any more.
    pub is_closed: AtomicBool,
    /// Chats whose answer has not ended; see [`crate::http::place::Place`].
    /// `SeqCst`, as are the two flags: a chat that has seen no flag is seen by whoever sets it and then counts.
    pub in_flight: AtomicUsize,
    /// What requests hold of `REQUEST_MEMORY_BYTES`.
    pub memory: Memory,
    /// Set to true to end running answers with an error; see [`App::cut_answers`].
    pub cut: watch::Sender<bool>,
}

impl App {
    /// An app that serves `registry`, and shares what it knows with nobody.
    pub fn new(settings: Settings, registry: Registry) -> Self {
        Self::with_store(settings, registry, Store::in_memory())
    }

    /// An app that serves `registry`, and knows what all of its cluster know.
    pub fn with_store(settings: Settings, registry: Registry, store: Store) -> Self {
        let vault = Vault::of(&settings);
        settings.providers.kept.share(store.clone(), vault.clone());
        let company = Company::new(store.clone());
        for provider in registry.providers() {
            provider.accounts().join(provider.name(), &company);
        }
        Self {
            worker_header: HeaderValue::from_str(&settings.worker_name).ok(),
            company,
            keyring: Arc::new(Keyring::new(store.clone())),
            counts: Counts::new(store.clone()),
            ledger: Ledger::default(),
            roster: Roster::new(settings.vars.clone(), store.clone(), vault.clone()),
            answers: Answers::new(&settings, store.clone()),
            conversations: (settings.providers.conversations == settings::Conversations::Reuse)
                .then(|| Arc::new(conversations(&settings, &store))),
            store,
            vault,
            marks: NonceKey::new(settings.http.api_keys.first().map(|key| key.key.expose())),
            keys: Keys::new(&settings.http.api_keys, settings.http.allow_anonymous),
            sealer: Sealer::new(settings.http.seal_secret.clone()),
            memory: Memory::new(settings.http.request_memory_bytes),
            looks: Looks::default(),
            responses: Arc::default(),
            lasting: Arc::default(),
            settings: Arc::new(settings),
            registry,
            // One a process, and alive until its end: clean-up may outlive the app's other parts.
            janitor: Box::leak(Box::default()),
            instance: Uuid::new_v4().simple().to_string(),
            counts_accounts: AtomicBool::new(true),
            is_draining: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            cut: watch::Sender::new(false),
        }
    }

    /// Whether nothing is left to do before the process may end.
    pub fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::SeqCst) == 0 && self.janitor.pending() == 0
    }

    /// Ends every running answer with an error that says so: a stream with an event, a whole answer with a status.
    pub fn cut_answers(&self) {
        self.cut.send_replace(true);
    }

    /// Brings the gauges that are read off rather than counted up to date.
    pub fn measure(&self) {
        METRICS
            .build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION"), &self.settings.worker_name])
            .set(1);
        METRICS
            .draining
            .set(self.is_draining.load(Ordering::SeqCst).into());
        let providers = self.registry.providers().iter();
        METRICS.set_expiries(providers.flat_map(|provider| {
            let ends = provider.expiries().into_iter();
            ends.map(|(account, end)| (provider.name(), account, end))
        }));
        let counts_accounts = self.counts_accounts.load(Ordering::Relaxed);
        if counts_accounts {
            self.measure_checks();
        } else {
            METRICS.accounts.reset();
            METRICS.set_checks([]);
        }
        for provider in self.registry.providers() {
            METRICS.expect_shapes(provider.name());
            let census = if counts_accounts {
                provider.accounts().census()
            } else {
                provider.accounts().census_apart()
            };
            let Census {
                ready,
                cooling,
                disabled,
                in_flight: _,
            } = census;
            if !counts_accounts && census == Census::default() {
                continue;
            }
            for (state, count) in [
                ("ready", ready),
                ("cooling", cooling),
                ("disabled", disabled),
            ] {
                METRICS
                    .accounts
                    .with_label_values(&[provider.name(), state])
                    .set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }

    fn measure_checks(&self) {
        let providers = self.registry.providers().iter();
        let accounts = providers.flat_map(|provider| {
            let listed = provider.accounts().listed().into_iter();
            listed.map(|account| (provider.name(), account))
        });
        METRICS.set_checks(accounts.filter_map(|(provider, account)| {
            let check = self.roster.check_of(account.fingerprint.as_str())?;
            let quota = check.quota.map(|quota| (quota.left, quota.unit));
            Some((provider, account.number, check.error.is_none(), quota))
        }));
    }
}

/// What the store has of conversations that continue, or once did.
pub fn conversations(settings: &Settings, store: &Store) -> Conversations {
    Conversations::new(store.clone(), settings.providers.conversation_ttl)
}
