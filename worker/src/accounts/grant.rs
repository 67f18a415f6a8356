//! A long-lived credential: as it was pasted, what has become of it since, and how the next renewal is made with it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Fingerprint, Kept, Secret,
    rotating::{Attempt, Failure, Renewed},
    shared::{Lease, Rotated, Told, Turn},
};
use crate::{
    chat::{Kind, ProviderError},
    store::now_ms,
};

/// A long-lived credential: as it was pasted, and what has become of it since.
pub struct Grant {
    pub(super) provider: &'static str,
    pasted: Secret,
    /// What the kept one is found by, so that another pasted credential never meets an old login.
    pub(super) known_by: Secret,
    pub(super) kept: Kept,
    is_rotating: bool,
    state: Mutex<GrantState>,
    told: Arc<Told>,
}

#[derive(Default)]
struct GrantState {
    /// From the last renewal, or kept by an earlier process; `None`: the pasted one is the newest.
    newest: Option<Secret>,
    /// What the file said when we last read it or wrote to it. Anything else in it is newer than what we know.
    seen: Option<Secret>,
    /// Of what we know, among all renewals of the cluster's workers; 0: of none.
    generation: u64,
}

/// Makes a token of the text of another worker's.
type Read<T> = Box<dyn Fn(&str) -> Option<T> + Send + Sync>;

/// How a provider's tokens are told to other workers.
pub(super) struct Carry<T> {
    pub(super) write: fn(&T) -> Option<String>,
    pub(super) read: Read<T>,
}

impl<T> Carry<T> {
    /// What another worker's renewal brought, where it can be used for longer than `until` (Unix seconds).
    fn renewed(&self, rotated: &Rotated, until: u64) -> Option<Renewed<T>> {
        let has_ended = rotated.expires.is_some_and(|end| end <= until);
        let token = rotated.token.as_deref().filter(|_| !has_ended)?;
        Some(Renewed {
            token: (self.read)(token)?,
            expires: rotated.expires,
            keep: None,
        })
    }
}

impl Grant {
    /// A credential whose successors take its place: a refresh token, or a token that is exchanged for the next one.
    pub fn rotating(provider: &'static str, pasted: Secret, kept: Kept) -> Self {
        Self::new(provider, pasted, kept, true)
    }

    /// A credential that stays what it is, such as name and password; what is kept beside it is the token that it brought
    /// last ([`Grant::kept`]), as each new login is one more that the service counts.
    pub fn constant(provider: &'static str, pasted: Secret, kept: Kept) -> Self {
        Self::new(provider, pasted, kept, false)
    }

    fn new(provider: &'static str, pasted: Secret, kept: Kept, is_rotating: bool) -> Self {
        let grant = Self {
            provider,
            known_by: pasted.clone(),
            pasted,
            kept,
            is_rotating,
            state: Mutex::default(),
            told: Arc::default(),
        };
        grant.look_up();
        grant
    }

    /// Found by this instead of the credential itself, where that is a part of what was pasted.
    #[must_use]
    pub fn known_by(mut self, whole: Secret) -> Self {
        self.known_by = whole;
        self.look_up();
        self
    }

    fn look_up(&self) {
        let kept = self.kept.newest(self.provider, &self.known_by);
        *self.state() = GrantState {
            newest: kept.clone(),
            seen: kept,
            generation: 0,
        };
    }

    /// What an earlier process or another one has kept, or this one since.
    pub fn kept(&self) -> Option<Secret> {
        self.state().newest.clone()
    }

    /// The credential that the next renewal begins with.
    pub fn newest(&self) -> Secret {
        let newest = self.kept().filter(|_| self.is_rotating);
        newest.unwrap_or_else(|| self.pasted.clone())
    }

    /// One renewal: with the newest credential; where that one is refused, with what another process has kept meanwhile,
    /// and at last with the pasted one, once each. What it brings to keep is kept before this returns. To be called by one
    /// at a time, in a task that nobody stops; [`super::rotating::Rotating`] sees to both. Other workers wait meanwhile.
    ///
    /// # Errors
    /// The verdict on the newest credential, or what stopped the walk.
    pub async fn redeem<T>(
        &self,
        renew: &impl AsyncFn(Attempt) -> Result<Renewed<T>, Failure>,
        clock: fn() -> u64,
    ) -> Result<Renewed<T>, Failure> {
        self.redeem_or_take(renew, clock, None, Duration::ZERO)
            .await
    }

    /// As [`Grant::redeem`]; or what another worker has brought meanwhile, where that can be carried and holds for longer than
    /// the margin.
    pub(super) async fn redeem_or_take<T>(
        &self,
        renew: &impl AsyncFn(Attempt) -> Result<Renewed<T>, Failure>,
        clock: fn() -> u64,
        carry: Option<&Carry<T>>,
        margin: Duration,
    ) -> Result<Renewed<T>, Failure> {
        let Some(cluster) = self.kept.shared().cluster() else {
            return self.walk(renew, clock, true).await;
        };
        let account = self.fingerprint();
        let until = || clock() / 1000 + margin.as_secs();
        let taken = |rotated: &Rotated| carry.and_then(|carry| carry.renewed(rotated, until()));
        let asked = Instant::now();
        let learn = |rotated: &Rotated| {
            let is_new = self.learn(rotated);
            if is_new {
                cluster.note(&account, &self.told, rotated, asked);
            }
            is_new
        };
        // What the store says is newer than what we knew: then the file is not asked first, which may be older.
        let mut is_news = false;
        let mut can_take = carry.is_some();
        let lease = loop {
            let known = self.state().generation;
            match cluster.turn(&account, known, can_take).await {
                Turn::Alone => break None,
                Turn::Theirs => {
                    return Err(Failure::Failed(ProviderError::new(
                        Kind::Unavailable,
                        "another worker has been renewing the token for too long",
                    )));
                }
                Turn::Made(rotated) => {
                    is_news |= learn(&rotated);
                    if let Some(renewed) = taken(&rotated) {
                        return Ok(renewed);
                    }
                    // Its token is of no use here, but its credential is: for that, it must be our turn.
                    can_take = false;
                }
                Turn::Ours(lease, rotated) => {
                    let is_new = rotated.as_ref().is_some_and(learn);
                    is_news |= is_new;
                    let renewed = rotated.filter(|_| is_new).as_ref().and_then(taken);
                    if let Some(renewed) = renewed {
                        lease.release().await;
                        return Ok(renewed);
                    }
                    break Some(lease);
                }
            }
        };
        let walk = self.walk(renew, clock, !is_news);
        let result = match &lease {
            None => walk.await,
            Some(lease) => tokio::select! {
                result = walk => result,
                () = lease.keep() => Err(Failure::Failed(interrupted())),
            },
        };
        match (&result, lease) {
            (Ok(renewed), lease) => {
                let token = carry.and_then(|carry| (carry.write)(&renewed.token));
                self.tell(token, renewed.expires, lease);
            }
            (Err(_), Some(lease)) => {
                actix_web::rt::spawn(lease.release());
            }
            (Err(_), None) => {}
        }
        result
    }

    /// The walk over what there is. `asks_elsewhere`: the file may be ahead of what we know.
    async fn walk<T>(
        &self,
        renew: &impl AsyncFn(Attempt) -> Result<Renewed<T>, Failure>,
        clock: fn() -> u64,
        asks_elsewhere: bool,
    ) -> Result<Renewed<T>, Failure> {
        // At most four, so a list is enough.
        let mut tried: Vec<Secret> = Vec::new();
        let mut refused = None;
        let elsewhere = asks_elsewhere.then_some(Step::Elsewhere);
        let steps = [Step::Newest, Step::Kept, Step::Pasted];
        for step in elsewhere.into_iter().chain(steps) {
            let credential = self.at(step).await.filter(|it| !tried.contains(it));
            let Some(credential) = credential else {
                continue;
            };
            let attempt = Attempt {
                credential: credential.clone(),
                unix_ms: clock(),
                random: rand::random(),
            };
            match renew(attempt).await {
                // The first verdict is the one on the newest credential.
                Err(failure @ Failure::Refused(_)) => {
                    refused.get_or_insert(failure);
                }
                // A time-out or a 5xx says nothing of this credential, and to present an older one beside it could end
                // both.
                Err(failure) => return Err(failure),
                Ok(renewed) => {
                    if let Some(keep) = &renewed.keep {
                        // Before anybody uses the new token: a crash in between would leave the process with a
                        // successor that nobody knows.
                        self.keep(keep.clone()).await;
                    }
                    return Ok(renewed);
                }
            }
            tried.push(credential);
        }
        // The pasted one is always tried, so there is a verdict.
        debug_assert!(refused.is_some(), "a walk over no credential");
        Err(refused.unwrap_or_else(|| Failure::Failed(interrupted())))
    }

    /// Takes over what another worker has brought; whether it was news.
    fn learn(&self, rotated: &Rotated) -> bool {
        let mut state = self.state();
        if rotated.generation <= state.generation {
            return false;
        }
        state.generation = rotated.generation;
        let kept = if self.is_rotating {
            &rotated.credential
        } else {
            &rotated.token
        };
        if let Some(kept) = kept {
            state.newest = Some(Secret::new(kept));
        }
        true
    }

    /// Tells the others what a renewal of ours has brought.
    pub(super) fn tell(&self, token: Option<String>, expires: Option<u64>, lease: Option<Lease>) {
        let Some(cluster) = self.kept.shared().cluster() else {
            return;
        };
        let (account, rotated) = (self.fingerprint(), self.rotated(token, expires));
        cluster.note(&account, &self.told, &rotated, Instant::now());
        cluster.publish(&account, rotated, lease);
    }

    fn rotated(&self, token: Option<String>, expires: Option<u64>) -> Rotated {
        let mut state = self.state();
        state.generation = now_ms().max(state.generation + 1);
        let newest = state.newest.as_ref().filter(|_| self.is_rotating);
        Rotated {
            generation: state.generation,
            credential: newest.map(|newest| newest.expose().to_owned()),
            token,
            expires,
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.provider, &self.known_by)
    }

    async fn at(&self, step: Step) -> Option<Secret> {
        match step {
            Step::Pasted => Some(self.pasted.clone()),
            _ if !self.is_rotating => None,
            Step::Newest => self.state().newest.clone(),
            Step::Elsewhere => {
                let kept = self.read().await?;
                let mut state = self.state();
                let is_new = state.seen.as_ref() != Some(&kept);
                // Seen, whatever comes of it: a file that holds what was refused is not tried at every renewal.
                state.seen = Some(kept.clone());
                is_new.then_some(kept)
            }
            Step::Kept => self.read().await,
        }
    }

    /// The file may lie on a slow disk.
    async fn read(&self) -> Option<Secret> {
        let (kept, provider, known_by) = (self.kept.clone(), self.provider, self.known_by.clone());
        let read = tokio::task::spawn_blocking(move || kept.newest(provider, &known_by));
        read.await.ok().flatten()
    }

    pub(super) async fn keep(&self, newest: Secret) {
        // In memory first: a full disk must not cost the token.
        self.state().newest = Some(newest.clone());
        self.kept
            .keep(self.provider, self.known_by.clone(), newest.clone())
            .await;
        // Behind the write: what the file says now is ours and no news.
        self.state().seen = Some(newest);
    }

    fn state(&self) -> MutexGuard<'_, GrantState> {
        // A panic of another thread leaves these plain values in order, so poisoning is of no interest.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the next credential of a walk comes from, in the order in which they are tried.
#[derive(Clone, Copy)]
enum Step {
    /// Another process has rotated it since we last looked: to present the older one could be taken for a theft.
    Elsewhere,
    Newest,
    /// Another process did so while we tried.
    Kept,
    Pasted,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("provider", &self.provider)
            .field("is_rotating", &self.is_rotating)
            .finish_non_exhaustive()
    }
}

pub(super) fn interrupted() -> ProviderError {
    ProviderError::new(
        Kind::Unavailable,
        "the renewal of the token was interrupted",
    )
}
