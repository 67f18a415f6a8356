//! How accounts are doing, shared by the workers of a cluster: what one of them has met, all know within seconds. Nothing
//! here is on a request's path: news are gathered, written behind, and read by everybody in the same rhythm.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    accounts::{Fingerprint, Standing},
    app::App,
    impossible::OrImpossible as _,
    keys::EVERY,
    roster::checks,
    store::{Expect, Put, Space, Store, StoreError, now_ms},
    upstream::Client,
};

/// Before the fingerprint, among the entries of [`Space::Accounts`].
const PREFIX: &str = "standing:";
/// Entries that are read at once.
const PAGE: usize = 1000;
/// How long a word about an account stays after what it says is over, so that everybody hears it.
const STAYS_MS: u64 = 600_000;
/// A probe that comes so soon is given to one worker now.
const SOON: Duration = Duration::from_secs(2 * EVERY.as_secs());
/// How long that worker has for it without another word; so long do the others wait for one that was killed.
const PROBE: Duration = Duration::from_secs(30);
/// Who counts the accounts, and for how long without another word.
const COUNTER: &str = "accounts";
const COUNTS: Duration = Duration::from_secs(30);

/// An entry of the store.
#[derive(Serialize, Deserialize)]
struct Told {
    provider: String,
    standing: Standing,
}

/// Shares for ever, on the thread that it is started on.
pub(super) async fn share(app: Arc<App>) {
    let store = app.store.at_leisure();
    let (mut seen, mut added) = (HashMap::new(), BTreeMap::new());
    loop {
        // While the store is gone each worker knows what it has met itself.
        if let Ok(true) = app.roster.follow(&app.registry, &mut added).await {
            // Other accounts may fare better.
            app.lasting.forget();
        }
        app.settings.providers.kept.put_back().await;
        let _ = round(&app, &store, &mut seen).await;
        let _ = app.roster.follow_checks().await;
        tokio::time::sleep(EVERY).await;
    }
}

/// Holds the places of accounts' turns for ever, on the thread that it is started on.
pub(super) async fn tend(app: Arc<App>) {
    loop {
        tokio::time::sleep(EVERY).await;
        for provider in app.registry.providers() {
            provider.accounts().tend().await;
        }
    }
}

/// Asks services about accounts for ever, on the thread that it is started on: apart from the rest, as they may be slow.
pub(super) async fn check(app: Arc<App>) {
    let settings = &app.settings.upstream;
    let client = Client::with_proxies(settings.timeouts, Arc::clone(&settings.proxies));
    let store = app.store.at_leisure();
    let mut looked = HashMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        checks::check_due(&app, &client, &store, &mut looked).await;
    }
}

/// Gives up what this worker has alone.
pub(super) async fn leave(app: &App, store: &Store) {
    let _ = tell(app, store).await;
    let _ = store.release(COUNTER, &app.instance).await;
    for provider in app.registry.providers() {
        provider.accounts().leave().await;
    }
}

async fn round(
    app: &App,
    store: &Store,
    seen: &mut HashMap<String, u64>,
) -> Result<(), StoreError> {
    hear(app, store, seen).await?;
    tell(app, store).await?;
    divide_probes(app, store).await?;
    let counts = store.hold(COUNTER, &app.instance, 1, COUNTS).await?;
    app.counts_accounts
        .store(counts.is_some(), Ordering::Relaxed);
    Ok(())
}

/// Takes over what other workers have told since the last time.
async fn hear(app: &App, store: &Store, seen: &mut HashMap<String, u64>) -> Result<(), StoreError> {
    let mut after = PREFIX.to_owned();
    let mut there = HashMap::new();
    let mut is_last = false;
    while !is_last {
        let page = store.list(Space::Accounts, &after, PAGE).await?;
        is_last = page.len() < PAGE;
        for (key, entry) in page {
            let Some(account) = key.strip_prefix(PREFIX) else {
                is_last = true;
                break;
            };
            if seen.get(account) != Some(&entry.version)
                && let Ok(told) = serde_json::from_slice::<Told>(&entry.value)
            {
                let mut providers = app.registry.providers().iter();
                if let Some(provider) = providers.find(|it| it.name() == told.provider) {
                    provider.accounts().learn(account, &told.standing);
                }
            }
            there.insert(account.to_owned(), entry.version);
            after = key;
        }
    }
    *seen = there;
    Ok(())
}

/// Tells what this worker has met.
async fn tell(app: &App, store: &Store) -> Result<(), StoreError> {
    let mut result = Ok(());
    for provider in app.registry.providers() {
        let accounts = provider.accounts();
        for (account, standing) in accounts.news() {
            // Where one could not be written the others are not tried: they keep their news as well.
            let is_told = match result {
                Ok(()) => write(store, provider.name(), &account, standing).await,
                Err(_) => Ok(false),
            };
            if !matches!(is_told, Ok(true)) {
                accounts.untold(&account);
            }
            if result.is_ok() {
                result = is_told.map(drop);
            }
        }
    }
    result
}

/// Whether it needs to be told no more.
async fn write(
    store: &Store,
    provider: &str,
    account: &Fingerprint,
    standing: Standing,
) -> Result<bool, StoreError> {
    let key = format!("{PREFIX}{account}");
    let ends = [standing.rests_until_ms, standing.probe_ms];
    let ends = ends.into_iter().flatten().max().unwrap_or_default();
    // Another worker may have met something later meanwhile.
    let known = store.get(Space::Accounts, &key).await?;
    if let Some(known) = &known
        && let Ok(known) = serde_json::from_slice::<Told>(&known.value)
        && known.standing.since_ms > standing.since_ms
    {
        return Ok(true);
    }
    let told = Told {
        provider: provider.to_owned(),
        standing,
    };
    let put = Put {
        space: Space::Accounts,
        key,
        value: serde_json::to_vec(&told).or_impossible("texts and numbers serialise"),
        ends_ms: Some(ends.max(now_ms()).saturating_add(STAYS_MS)),
        expect: known.map_or(Expect::Absent, |known| Expect::Version(known.version)),
        under: None,
    };
    // Whoever came between has told the same account's affairs; in the next round the later word wins.
    Ok(store.put(put).await?.is_some())
}

/// A disabled account is tried by one worker, not by each: that which has the probe's lease.
async fn divide_probes(app: &App, store: &Store) -> Result<(), StoreError> {
    for provider in app.registry.providers() {
        let accounts = provider.accounts();
        for account in accounts.probed_within(SOON) {
            let name = format!("probe:{account}");
            if store.hold(&name, &app.instance, 1, PROBE).await?.is_none() {
                accounts.postpone(&account, PROBE / 2);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::{Kind, ProviderError},
        providers::Registry,
        settings::{Problems, Settings, Vars},
    };

    fn worker(store: &Store) -> App {
        let vars = Vars::new([
            ("API_MASTER_KEY", "sk-1"),
            ("KIMI_TOKEN", "one"),
            ("KIMI_TOKEN_2", "two"),
        ]);
        let mut problems = Problems::default();
        let settings = Settings::read(&vars, &mut problems);
        let registry = Registry::new(&vars, &settings, &mut problems);
        assert!(problems.errors.is_empty(), "{problems:?}");
        App::with_store(settings, registry, store.clone())
    }

    fn failed(app: &App, account: usize, kind: Kind) {
        let error = ProviderError::new(kind, "x").with_retry_after(Some(Duration::from_secs(500)));
        for provider in app.registry.providers() {
            if provider.accounts().is_configured() {
                provider.accounts().failed(account, &error);
            }
        }
    }

    /// Ready, cooling and disabled accounts.
    fn census(app: &App) -> [usize; 3] {
        let mut sums = [0; 3];
        for provider in app.registry.providers() {
            let census = provider.accounts().census();
            for (sum, one) in sums
                .iter_mut()
                .zip([census.ready, census.cooling, census.disabled])
            {
                *sum += one;
            }
        }
        sums
    }

    async fn rounds(apps: &[&App], store: &Store) {
        for app in apps {
            round(app, store, &mut HashMap::new()).await.unwrap();
        }
    }

    #[actix_web::test]
    async fn what_one_worker_has_met_all_know() {
        let store = Store::in_memory();
        let (one, other) = (worker(&store), worker(&store));
        failed(&one, 1, Kind::RateLimited);
        failed(&one, 2, Kind::AuthExpired);
        assert_eq!(census(&other), [2, 0, 0]);
        rounds(&[&one, &other], &store).await;
        assert_eq!(census(&other), [0, 1, 1]);
        // A third one that starts now begins with it.
        let third = worker(&store);
        rounds(&[&third], &store).await;
        assert_eq!(census(&third), [0, 1, 1]);
        // It serves the other one again.
        for provider in other.registry.providers() {
            provider.accounts().succeeded(2);
        }
        rounds(&[&other, &one, &third], &store).await;
        assert_eq!((census(&one), census(&third)), ([1, 1, 0], [1, 1, 0]));
    }

    #[actix_web::test]
    async fn one_worker_counts_the_accounts_and_another_follows_it() {
        let store = Store::in_memory();
        let (one, other) = (worker(&store), worker(&store));
        rounds(&[&one, &other], &store).await;
        let counts = |app: &App| app.counts_accounts.load(Ordering::Relaxed);
        assert_eq!((counts(&one), counts(&other)), (true, false));
        leave(&one, &store).await;
        rounds(&[&other], &store).await;
        assert!(counts(&other));
    }
}
