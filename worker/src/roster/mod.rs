//! Which accounts there are: those of the settings, and those that somebody has added while the workers run
//! (`POST /v1/accounts`), which lie sealed in the store and are taken into use by all workers. To a provider both look alike:
//! an added one is a variable with a number that nobody writes into a file. Beside them what their services last said of them
//! ([`checks`]). Source: issue "What a cluster must know together" item 4.

pub mod checks;
pub mod find;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use serde::{Deserialize, Serialize};

use self::checks::Check;
use crate::{
    accounts::Listed,
    impossible::OrImpossible as _,
    mutex::lock,
    providers::{Provider, Registry},
    settings::{Problems, Vars},
    store::{Entry, Expect, Loss, Put, Space, Store, StoreError, Vault, now_ms},
};

/// Before the fingerprint, among the entries of [`Space::Credentials`].
const PREFIX: &str = "added:";
/// Entries that are read at once.
const PAGE: usize = 200;
/// The number of the first added account: nobody has so many in a file.
const FIRST_NUMBER: usize = 1001;

/// An account that was added.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Added {
    /// The provider's name.
    pub provider: String,
    /// Its number, on every worker.
    pub number: usize,
    /// The card's variables with their values.
    values: BTreeMap<String, String>,
    /// What its owner says of it.
    pub note: Option<String>,
    /// When, in milliseconds since the Unix epoch.
    pub added_ms: u64,
}

impl fmt::Debug for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Added")
            .field("provider", &self.provider)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Added {
    /// Its variables as a file would have them.
    fn vars(&self) -> impl Iterator<Item = (String, String)> {
        self.values.iter().map(|(name, value)| {
            let numbered = if name.contains('#') {
                name.replace('#', &self.number.to_string())
            } else {
                format!("{name}_{}", self.number)
            };
            (numbered, value.clone())
        })
    }
}

/// Why an account was not added.
#[derive(Debug)]
pub enum NotAdded {
    /// What was copied cannot be read as a credential; sentences without any of it.
    Unfit(Vec<String>),
    /// It is there already, or its provider takes no further account.
    Known,
}

/// See the module.
#[derive(Debug)]
pub struct Roster {
    store: Store,
    vault: Vault,
    /// The variables of the settings, as they are in force; held while providers read theirs, so that two renewals never mix.
    base: Mutex<Vars>,
    /// By fingerprint.
    added: Mutex<BTreeMap<String, Added>>,
    /// Held by whoever tries an account out: another one would take its number, and its place in the provider's pool.
    trial: tokio::sync::Mutex<()>,
    /// The loss of the store after which all of them were put back.
    put_back: Mutex<Option<Loss>>,
    /// What services said, by fingerprint.
    checks: Mutex<HashMap<String, Check>>,
}

impl Roster {
    /// The accounts of these variables, and those that the store will tell of.
    pub fn new(base: Vars, store: Store, vault: Vault) -> Self {
        Self {
            store,
            vault,
            base: Mutex::new(base),
            added: Mutex::default(),
            trial: tokio::sync::Mutex::default(),
            put_back: Mutex::default(),
            checks: Mutex::default(),
        }
    }

    fn added(&self) -> MutexGuard<'_, BTreeMap<String, Added>> {
        lock(&self.added)
    }

    /// Variables, with those of the accounts that were added below them.
    pub fn with_added(&self, vars: &Vars) -> Vars {
        let added = self.added();
        vars.over(Vars::new(added.values().flat_map(Added::vars)))
    }

    /// The variables of the settings have changed: all providers read their credentials anew.
    ///
    /// # Errors
    /// What is wrong; then everything is as it was.
    pub fn renew(&self, registry: &Registry, vars: Vars) -> Result<(), Vec<String>> {
        let mut base = lock(&self.base);
        self.put(registry, &vars)?;
        *base = vars;
        Ok(())
    }

    /// Accounts that were added must not keep those of the settings from being renewed.
    fn put(&self, registry: &Registry, vars: &Vars) -> Result<(), Vec<String>> {
        if self.added().is_empty() {
            return registry.renew(vars);
        }
        registry.renew(&self.with_added(vars)).or_else(|problems| {
            registry.renew(vars)?;
            tracing::warn!(
                problems = problems.join("; "),
                "accounts that were added (POST /v1/accounts) cannot be used beside these settings"
            );
            Ok(())
        })
    }

    /// An account that was added, by its fingerprint.
    pub fn find(&self, account: &str) -> Option<Added> {
        self.added().get(account).cloned()
    }

    /// What came of an account's last check.
    pub fn last_check_of(&self, account: &str) -> Option<Check> {
        lock(&self.checks).get(account).cloned()
    }

    /// What its service last said of an account, where it has said anything.
    pub fn check_of(&self, account: &str) -> Option<Check> {
        self.last_check_of(account).filter(Check::is_known)
    }

    /// Waits until nobody else of this worker tries an account out. To be held from [`Roster::try_out`] to [`Roster::keep`].
    pub async fn alone(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.trial.lock().await
    }

    /// Takes an account into use on this worker alone, to see whether it is one: that of `values` (the card's variables).
    ///
    /// # Errors
    /// [`NotAdded`]; then everything is as it was.
    pub fn try_out(
        &self,
        provider: &Arc<dyn Provider>,
        values: BTreeMap<String, String>,
        note: Option<String>,
    ) -> Result<(Listed, Added), NotAdded> {
        let base = lock(&self.base);
        let numbers = self
            .added()
            .values()
            .filter(|it| it.provider == provider.name())
            .map(|it| it.number)
            .max();
        let added = Added {
            provider: provider.name().to_owned(),
            number: numbers.map_or(FIRST_NUMBER, |last| last + 1),
            values,
            note,
            added_ms: now_ms(),
        };
        let known = self.with_added(&base);
        let mut problems = Problems::default();
        let put = provider.renew(&known.over(Vars::new(added.vars())), &mut problems);
        if !problems.errors.is_empty() {
            return Err(NotAdded::Unfit(problems.errors));
        }
        put();
        let mut listed = provider.accounts().listed().into_iter();
        match listed.find(|account| account.number == added.number) {
            Some(account) => Ok((account, added)),
            None => {
                drop(base);
                self.give_up(provider);
                Err(NotAdded::Known)
            }
        }
    }

    /// Takes back what [`Roster::try_out`] did.
    pub fn give_up(&self, provider: &Arc<dyn Provider>) {
        let base = lock(&self.base);
        let mut problems = Problems::default();
        let put = provider.renew(&self.with_added(&base), &mut problems);
        if problems.errors.is_empty() {
            put();
        }
    }

    /// Keeps an account that was tried out, for all workers; whether nobody else has meanwhile.
    ///
    /// # Errors
    /// The store's.
    pub async fn keep(
        &self,
        registry: &Registry,
        account: &str,
        added: Added,
    ) -> Result<bool, StoreError> {
        let is_kept = self.write(account, &added).await?;
        if is_kept {
            self.added().insert(account.to_owned(), added);
            // Who has read the settings anew meanwhile knew nothing of it.
            self.read_anew(registry);
        }
        Ok(is_kept)
    }

    /// Writes an account that was added into the store; whether nobody else has.
    async fn write(&self, account: &str, added: &Added) -> Result<bool, StoreError> {
        let key = format!("{PREFIX}{account}");
        let value = serde_json::to_vec(added).or_impossible("texts and numbers serialise");
        let put = Put {
            space: Space::Credentials,
            value: self.vault.seal(Space::Credentials, &key, &value),
            key,
            ends_ms: None,
            expect: Expect::Absent,
            under: None,
        };
        Ok(self.store.at_leisure().put(put).await?.is_some())
    }

    /// Puts the accounts that were added into a store that has lost them; whether it had to.
    async fn put_back(&self, lost: Option<Loss>) -> Result<bool, StoreError> {
        if lost == *lock(&self.put_back) {
            return Ok(false);
        }
        let added = self.added().clone();
        for (account, added) in &added {
            self.write(account, added).await?;
        }
        *lock(&self.put_back) = lost;
        Ok(true)
    }

    /// Removes an account that was added, with what renewals have made of it.
    ///
    /// # Errors
    /// The store's; then it stays.
    pub async fn remove(&self, registry: &Registry, account: &str) -> Result<(), StoreError> {
        let store = self.store.at_leisure();
        for prefix in [PREFIX, "rotated:"] {
            let key = format!("{prefix}{account}");
            store
                .remove(Space::Credentials, &key, Expect::Anything)
                .await?;
        }
        self.added().remove(account);
        self.read_anew(registry);
        Ok(())
    }

    fn read_anew(&self, registry: &Registry) {
        let base = lock(&self.base);
        if let Err(problems) = self.put(registry, &base) {
            tracing::warn!(
                problems = problems.join("; "),
                "the accounts could not be read anew"
            );
        }
    }

    /// The accounts that were added, as they lie in the store.
    async fn entries(&self) -> Result<BTreeMap<String, Entry>, StoreError> {
        let store = self.store.at_leisure();
        let mut entries = BTreeMap::new();
        let mut after = PREFIX.to_owned();
        loop {
            let page = store.list(Space::Credentials, &after, PAGE).await?;
            let is_last = page.len() < PAGE;
            for (key, entry) in page {
                let Some(account) = key.strip_prefix(PREFIX) else {
                    return Ok(entries);
                };
                entries.insert(account.to_owned(), entry);
                after.clone_from(&key);
            }
            if is_last {
                return Ok(entries);
            }
        }
    }

    /// Takes over which accounts other workers have added and removed; whether any did. `seen`: the versions of the last
    /// time.
    ///
    /// # Errors
    /// The store's.
    pub async fn follow(
        &self,
        registry: &Registry,
        seen: &mut BTreeMap<String, u64>,
    ) -> Result<bool, StoreError> {
        // One that is tried out must not be pushed out of the pool; the news can wait.
        let Ok(_alone) = self.trial.try_lock() else {
            return Ok(false);
        };
        self.put_back(self.store.lost()).await?;
        let mut entries = self.entries().await?;
        let is_there = |account: &String| entries.contains_key(account);
        if !self.added().keys().all(is_there) {
            // Removed, if it is the store that had them.
            let lost = self.store.at_leisure().lost_by_now().await?;
            if self.put_back(lost).await? {
                entries = self.entries().await?;
            }
        }
        let there: BTreeMap<String, u64> = entries
            .iter()
            .map(|(account, entry)| (account.clone(), entry.version))
            .collect();
        if there == *seen && self.added().len() == there.len() {
            return Ok(false);
        }
        let mut added: BTreeMap<String, Added> = entries
            .into_iter()
            .filter_map(|(account, entry)| {
                let key = format!("{PREFIX}{account}");
                let opened = self.vault.open(Space::Credentials, &key, &entry.value)?;
                Some((account, serde_json::from_slice(&opened).ok()?))
            })
            .collect();
        part(&mut added);
        let is_news = *self.added() != added;
        *self.added() = added;
        if is_news {
            tracing::info!(
                accounts = self.added().len(),
                "accounts that were added are in use"
            );
            self.read_anew(registry);
        }
        *seen = there;
        Ok(is_news)
    }
}

/// Gives numbers of their own to accounts that were added on several workers at once: of two with the same number one would
/// hide the other. All workers come to the same.
fn part(added: &mut BTreeMap<String, Added>) {
    let mut in_turn: Vec<(&String, &mut Added)> = added.iter_mut().collect();
    in_turn.sort_by_key(|(account, it)| (it.added_ms, (*account).clone()));
    let mut taken: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (_, it) in in_turn {
        let taken = taken.entry(it.provider.clone()).or_default();
        if !taken.insert(it.number)
            && let Some(last) = taken.last().copied()
        {
            it.number = last + 1;
            taken.insert(it.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app::App, settings::Settings};

    fn worker(store: &Store) -> App {
        let vars = Vars::new([("API_MASTER_KEY", "sk-1")]);
        let mut problems = Problems::default();
        let settings = Settings::read(&vars, &mut problems);
        let registry = Registry::new(&vars, &settings, &mut problems);
        assert!(problems.errors.is_empty(), "{problems:?}");
        App::with_store(settings, registry, store.clone())
    }

    #[actix_web::test]
    async fn accounts_outlive_a_store_that_is_emptied_before_anybody_has_noticed() {
        let store = Store::in_memory();
        let (one, other) = (worker(&store), worker(&store));
        let (mut seen, mut of_other) = (BTreeMap::new(), BTreeMap::new());
        let mut providers = one.registry.providers().iter();
        let kimi = providers.find(|it| it.name() == "kimi").unwrap();
        let values = BTreeMap::from([("KIMI_TOKEN".to_owned(), "a-token".to_owned())]);
        let (listed, added) = one.roster.try_out(kimi, values, None).unwrap();
        let account = listed.fingerprint.as_str();
        assert!(
            one.roster
                .keep(&one.registry, account, added)
                .await
                .unwrap()
        );
        one.roster.follow(&one.registry, &mut seen).await.unwrap();
        crate::store::empty(&store).await;
        assert!(!one.roster.follow(&one.registry, &mut seen).await.unwrap());
        assert!(one.roster.find(account).is_some());
        assert!(
            other
                .roster
                .follow(&other.registry, &mut of_other)
                .await
                .unwrap()
        );
        assert!(other.roster.find(account).is_some());
        // Removed since, it does not come again.
        let removed = other.roster.remove(&other.registry, account);
        removed.await.unwrap();
        one.roster.follow(&one.registry, &mut seen).await.unwrap();
        assert!(one.roster.find(account).is_none());
        assert!(one.roster.entries().await.unwrap().is_empty());
    }

    #[test]
    fn accounts_that_were_added_at_once_have_numbers_of_their_own() {
        let one = |provider: &str, number, added_ms| Added {
            provider: provider.to_owned(),
            number,
            values: BTreeMap::new(),
            note: None,
            added_ms,
        };
        let mut added: BTreeMap<String, Added> = [
            ("a", one("kimi", 1001, 5)),
            ("b", one("kimi", 1001, 4)),
            ("c", one("kimi", 1002, 6)),
            ("d", one("qwen", 1001, 7)),
        ]
        .map(|(account, it)| (account.to_owned(), it))
        .into();
        part(&mut added);
        let numbers: Vec<usize> = added.values().map(|it| it.number).collect();
        assert_eq!(numbers, [1002, 1001, 1003, 1001]);
        let before = added.clone();
        part(&mut added);
        assert_eq!(added, before);
    }
}
