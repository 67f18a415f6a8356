//! What services say of accounts when they are asked apart from any turn ("who am I?"): at start, for a new credential, and
//! every `ACCOUNT_CHECK_INTERVAL`, by one worker of the cluster for each. What came of it is in the store for all of them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Roster, lock};
use crate::{
    accounts::{Listed, Quota},
    app::App,
    chat::{Kind, ProviderError},
    impossible::OrImpossible as _,
    providers::{Messenger, Provider},
    store::{Expect, Put, Space, Store, StoreError, now_ms},
    upstream::Client,
};

/// Before the fingerprint, among the entries of [`Space::Accounts`].
const PREFIX: &str = "check:";
/// Entries that are read at once.
const PAGE: usize = 1000;
/// How long one check may take.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a result is kept; each check renews it.
const KEPT_MS: u64 = 14 * 86_400_000;

/// In the place of an error's kind: the service has not said whether it takes the credential.
const UNKNOWN: &str = "unknown";

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// When, in milliseconds since the Unix epoch.
    pub checked_ms: u64,
    /// What was wrong: the kind, and the code where there is one; `None`: nothing.
    pub error: Option<(String, Option<String>)>,
    /// What is left of the account's quota, where the service says it.
    pub quota: Option<Quota>,
}

impl Check {
    /// Whether the service has said anything.
    pub fn is_known(&self) -> bool {
        self.error.as_ref().is_none_or(|(kind, _)| kind != UNKNOWN)
    }
}

/// Asks an account's service about it. `None`: the service has no call for that.
pub async fn check(
    app: &App,
    client: &Client,
    provider: &Arc<dyn Provider>,
    account: &Listed,
) -> Option<Check> {
    let messenger = Messenger::new(provider.name(), client.clone());
    let asked = provider.check(account.number, messenger)?;
    let result = tokio::time::timeout(LONGEST, asked).await;
    let result = result.unwrap_or_else(|_| {
        Err(ProviderError::new(
            Kind::Timeout,
            "the service did not answer in time",
        ))
    });
    let result = result.map_err(ProviderError::scrubbed);
    let accounts = provider.accounts();
    match &result {
        Ok(_) => accounts.accepted(account.number),
        // That the call failed otherwise says nothing of what a question would meet.
        Err(error) if matches!(error.kind, Kind::AuthExpired | Kind::QuotaSpent) => {
            accounts.failed(account.number, error);
        }
        Err(_) => {}
    }
    let check = match result {
        Ok(quota) => Check {
            checked_ms: now_ms(),
            error: None,
            quota,
        },
        Err(error) => Check {
            checked_ms: now_ms(),
            error: Some(match error.kind {
                Kind::AuthExpired | Kind::QuotaSpent => (error.kind.label().to_owned(), error.code),
                // Any API may lack the call, or keep it from a key that is good for questions.
                _ if provider.lane().is_some() => (UNKNOWN.to_owned(), None),
                kind => (kind.label().to_owned(), error.code),
            }),
            quota: None,
        },
    };
    tracing::info!(
        provider = provider.name(),
        account = account.number,
        result = check.error.as_ref().map_or("ok", |(kind, _)| kind),
        "account checked"
    );
    let fingerprint = account.fingerprint.as_str();
    lock(&app.roster.checks).insert(fingerprint.to_owned(), check.clone());
    let put = Put {
        space: Space::Accounts,
        key: format!("{PREFIX}{fingerprint}"),
        value: serde_json::to_vec(&check).or_impossible("texts and numbers serialise"),
        ends_ms: Some(now_ms().saturating_add(KEPT_MS)),
        expect: Expect::Anything,
        under: None,
    };
    // Without the store it is known here.
    let _ = app.store.at_leisure().put(put).await;
    Some(check)
}

/// Checks what is due. `looked`: when each account was last looked at here.
pub async fn check_due(
    app: &App,
    client: &Client,
    store: &Store,
    looked: &mut HashMap<String, Instant>,
) {
    let Some(interval) = app.settings.providers.check_interval else {
        return;
    };
    for provider in app.registry.providers() {
        // An API's key does not end by itself, and each call is its owner's: asked of when it is added, or when somebody
        // wants to know.
        if provider.lane().is_some() {
            continue;
        }
        for account in provider.accounts().listed() {
            let fingerprint = account.fingerprint.as_str();
            let last = looked.get(fingerprint);
            if last.is_some_and(|last| last.elapsed() < interval) {
                continue;
            }
            looked.insert(fingerprint.to_owned(), Instant::now());
            // Never given back: for that long it is nobody's turn. Without a store everybody knows for himself.
            let turn = Uuid::new_v4().to_string();
            let name = format!("{PREFIX}{fingerprint}");
            if !matches!(store.hold(&name, &turn, 1, interval).await, Ok(None)) {
                check(app, client, provider, &account).await;
            }
        }
    }
}

impl Roster {
    /// Takes over what other workers' checks have found.
    ///
    /// # Errors
    /// The store's.
    pub async fn follow_checks(&self) -> Result<(), StoreError> {
        let store = self.store.at_leisure();
        let mut found = HashMap::new();
        let mut after = PREFIX.to_owned();
        'pages: loop {
            let page = store.list(Space::Accounts, &after, PAGE).await?;
            let is_last = page.len() < PAGE;
            for (key, entry) in page {
                let Some(account) = key.strip_prefix(PREFIX) else {
                    break 'pages;
                };
                if let Ok(check) = serde_json::from_slice::<Check>(&entry.value) {
                    found.insert(account.to_owned(), check);
                }
                after.clone_from(&key);
            }
            if is_last {
                break;
            }
        }
        let mut checks = lock(&self.checks);
        for (account, check) in found {
            let is_newer = |known: &Check| known.checked_ms < check.checked_ms;
            if checks.get(&account).is_none_or(is_newer) {
                checks.insert(account, check);
            }
        }
        Ok(())
    }
}
