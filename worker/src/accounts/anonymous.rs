//! A pool of guests: credentials that the service gives to anybody, so the pool gets them itself, keeps them fresh
//! and uses each as long as it is good. Guests are signed up when a turn finds none, and topped up in the background
//! while there is traffic; without traffic nothing is called. Where there is a store, guests lie there as well, so that they
//! outlive their worker (`kept`). Source: wire/langfast.md section 2, pool rules; design.md section 13.

mod kept;
mod lease;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::LocalBoxFuture;
use tokio::sync::Notify;

use self::kept::Carry;
pub use self::lease::GuestLease;
use super::{
    Accounts, Census, Company, Kept, Pace, Patience,
    guestbook::{Book, Company as Wanted, Due, Found},
    places::Places,
};
pub use super::{guest::Issued, guestbook::Allowance};
use crate::chat::{Kind, ProviderError};

/// How long a turn waits for a guest before it is told to come back later.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long a turn waits for a guest of its own before it shares one: with the pool full, waiting comes first, but a
/// busy guest is better than none.
const LONGEST_WAIT_ALONE: Duration = Duration::from_secs(2);
/// How often a waiting turn looks whether a rest is over, of which nobody tells it.
const LOOK: Duration = Duration::from_millis(500);

/// Where guests come from. Its calls outlive the turn that starts them.
pub trait Issuer<C>: Clone + 'static {
    /// Signs up a new guest.
    fn sign_up(self) -> LocalBoxFuture<'static, Result<Issued<C>, ProviderError>>;

    /// Renews a credential. [`Kind::AuthExpired`]: the guest is lost.
    fn refresh(
        self,
        credential: Arc<C>,
    ) -> LocalBoxFuture<'static, Result<Issued<C>, ProviderError>>;
}

/// A provider's guests, shared by all threads. The lock is held for a few comparisons, never across an await.
pub struct Guests<C> {
    book: Mutex<Book<C>>,
    changed: Notify,
    /// The provider's name, and the workers that share its budget of sign-ups.
    company: OnceLock<(String, Company)>,
    /// How guests are carried from one worker to another; without it each keeps its own to itself.
    carry: Option<(Kept, Carry<C>)>,
    /// Held by whoever writes to the store.
    keeping: tokio::sync::Mutex<()>,
    /// The owner's own credential is every worker's: while answers cannot be told apart, one turn of all has it.
    own: Places,
}

impl<C: Send + Sync + 'static> Guests<C> {
    /// A closed pool: [`Guests::open`] says whether there is anything to sign up with.
    pub fn new(allowance: Allowance, patience: Patience) -> Self {
        Self {
            book: Mutex::new(Book::new(allowance, patience)),
            changed: Notify::new(),
            company: OnceLock::new(),
            carry: None,
            keeping: tokio::sync::Mutex::default(),
            own: Places::default(),
        }
    }

    /// Lets guests outlive their worker, in the store that `kept` leads to: `write` makes a text of a credential (`None`: of
    /// this one it cannot), `read` a credential of that (`None`: it is of no use here).
    #[must_use]
    pub fn carrying(
        mut self,
        kept: Kept,
        write: impl Fn(&C) -> Option<String> + Send + Sync + 'static,
        read: impl Fn(&str) -> Option<C> + Send + Sync + 'static,
    ) -> Self {
        let (write, read) = (Box::new(write), Box::new(read));
        self.carry = Some((kept, Carry { write, read }));
        self.book().has_room = true;
        self
    }

    /// Says whether guests can be had; forgets what was refused before.
    pub fn open(&self, is_open: bool) {
        self.book().open(is_open);
        self.changed.notify_waiters();
    }

    /// The owner's own credential (none: what there was goes), and how many guests are wanted beside it.
    pub fn admit(&self, own: Option<Issued<C>>, allowance: Allowance) {
        let mut book = self.book();
        book.allow(allowance);
        book.admit(own, Instant::now());
        drop(book);
        self.changed.notify_waiters();
    }

    /// Lends a guest: idle ones in turn, none of `tried` if there is another. When there is none, waits for one that
    /// is signed up or returned, whichever comes first, and after a while shares one. A sign-up that fails or hangs
    /// hinders nobody for whom there is a guest.
    ///
    /// # Errors
    /// Why none can be had.
    pub async fn lease(
        self: &Arc<Self>,
        issuer: &impl Issuer<C>,
        tried: &[usize],
    ) -> Result<GuestLease<C>, ProviderError> {
        let started = tokio::time::Instant::now();
        let mut waiting = None;
        let mut tried = tried.to_vec();
        loop {
            // Registered before the look, so that a guest that comes in between is not missed.
            let changed = self.changed.notified();
            let company = if started.elapsed() < LONGEST_WAIT_ALONE {
                Wanted::Alone
            } else {
                Wanted::Shared
            };
            let found = self.book().find(&tried, company, Instant::now());
            let mut is_elsewhere = false;
            match found {
                Found::Guest(number, credential) => {
                    let lease = GuestLease {
                        guests: Arc::clone(self),
                        number,
                        credential,
                    };
                    if self.admits(number).await {
                        // Before the calls: whoever has a guest is no reason to sign up another.
                        drop(waiting);
                        self.make_calls(issuer);
                        return Ok(lease);
                    }
                    // Another worker's turn has it: any other is better.
                    is_elsewhere = true;
                    tried.push(number);
                }
                Found::None(error) => return Err(error),
                Found::Soon => {}
            }
            // Counted before the calls are looked for: whoever waits is a reason to sign somebody up.
            waiting.get_or_insert_with(|| Waiting::new(self));
            self.make_calls(issuer);
            if started.elapsed() >= LONGEST_WAIT {
                return Err(ProviderError::new(
                    Kind::RateLimited,
                    "every guest of this provider is busy",
                )
                .with_retry_after(Some(Duration::from_secs(5))));
            }
            if is_elsewhere {
                // Nobody here is told when that ends.
                tokio::time::sleep(LOOK).await;
            } else {
                // Both ends mean: look again.
                let _ = tokio::time::timeout(LOOK, changed).await;
            }
        }
    }

    /// Starts what has to be called, on this thread, each with what follows from it.
    fn make_calls(self: &Arc<Self>, issuer: &impl Issuer<C>) {
        // The lock is given back before the calls begin.
        let due = self.book().due(Instant::now());
        for call in due {
            let (guests, issuer) = (Arc::clone(self), issuer.clone());
            // Nobody waits for these on shutdown: a guest that comes then is of no use any more.
            actix_web::rt::spawn(async move {
                // A success may make room for the next call; a failure rests first (`back_off`), so this cannot run
                // away.
                if guests.run(call, issuer.clone()).await {
                    guests.make_calls(&issuer);
                }
            });
        }
    }

    /// One call; whether it went well.
    async fn run(&self, call: Due<C>, issuer: impl Issuer<C>) -> bool {
        let mut under_way = UnderWay {
            guests: self,
            refreshed: None,
            is_done: false,
        };
        let is_ok = match call {
            Due::SignUp | Due::Look if self.take_in(matches!(call, Due::SignUp)).await => true,
            Due::Look => {
                self.book().sign_up_lost();
                false
            }
            Due::SignUp => {
                let issued = match self.budgeted().await {
                    Ok(()) => issuer.sign_up().await,
                    Err(error) => Err(error),
                };
                let is_ok = issued.is_ok();
                self.book().signed_up(issued, Instant::now());
                is_ok
            }
            Due::Refresh(number, credential) => {
                under_way.refreshed = Some(number);
                let issued = issuer.refresh(credential).await;
                let is_ok = issued.is_ok();
                self.book().refreshed(number, Some(issued), Instant::now());
                is_ok
            }
        };
        // Set once the outcome is in the book: a drop behind that is an ordinary end.
        under_way.is_done = true;
        // Before the store is told: somebody waits for the guest.
        drop(under_way);
        self.keep().await;
        is_ok
    }

    /// Whether a turn may have this guest, as far as other workers are concerned.
    async fn admits(&self, number: usize) -> bool {
        let Some((provider, company)) = self.company.get() else {
            return true;
        };
        if !self.book().is_own_alone(number) {
            return true;
        }
        let (name, pace) = (own(provider), Pace::default());
        self.own.admit(company, &name, 1, (1, &pace)).await.is_ok()
    }

    /// The owner's own credential may be had by others.
    fn free_own(&self) {
        if let Some((provider, company)) = self.company.get() {
            self.own.left(company, &own(provider), 0, 1);
        }
    }

    /// Whether the budget of all workers together allows one more sign-up. The book has looked at this worker's own.
    async fn budgeted(&self) -> Result<(), ProviderError> {
        let Some((provider, company)) = self.company.get() else {
            return Ok(());
        };
        let (most, begun) = {
            let book = self.book();
            (book.sign_ups_per_hour(), book.begun(Instant::now()))
        };
        let taken = company
            .take_of_hour(&format!("signups:{provider}"), most, begun)
            .await;
        taken.map_err(|left| {
            ProviderError::new(
                Kind::RateLimited,
                "as many guests as may be had in an hour have been signed up by all workers together",
            )
            .with_retry_after(Some(left))
        })
    }

    fn book(&self) -> MutexGuard<'_, Book<C>> {
        // A panic of another thread leaves these plain values in order, so poisoning is of no interest.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Send + Sync + 'static> Accounts for Guests<C> {
    fn succeeded(&self, account: usize) {
        self.book().succeeded(account);
    }

    fn failed(&self, account: usize, error: &ProviderError) {
        self.book()
            .failed(account, error, Instant::now(), rand::random());
        self.changed.notify_waiters();
    }

    /// The guests that there are; more may be had.
    fn census(&self) -> Census {
        self.book().census(Instant::now(), |_| true)
    }

    /// A guest that could be signed up counts: the provider is usable before its first guest.
    fn has_other(&self, tried: &[usize]) -> bool {
        self.book().has_other(tried, Instant::now())
    }

    fn rest(&self, account: usize) -> Option<Duration> {
        self.book().rest(account, Instant::now())
    }

    fn is_configured(&self) -> bool {
        self.book().is_open
    }

    fn join(&self, provider: &str, company: &Company) {
        let _ = self.company.set((provider.to_owned(), company.clone()));
    }

    fn tend(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            let Some((provider, company)) = self.company.get() else {
                return;
            };
            let own_alone = {
                let mut book = self.book();
                book.workers = company.workers();
                book.own_alone()
            };
            self.own.tend(company, &own(provider), own_alone, 1).await;
            self.keep().await;
        })
    }

    fn leave(&self) -> LocalBoxFuture<'_, ()> {
        self.part()
    }

    /// Guests are this worker's alone while it has them; the owner's own credential is every worker's.
    fn census_apart(&self) -> Census {
        self.book().census(Instant::now(), |guest| !guest.is_own)
    }
}

/// By which name workers agree on who has the owner's own credential.
fn own(provider: &str) -> String {
    format!("own:{provider}")
}

impl<C> fmt::Debug for Guests<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guests").finish_non_exhaustive()
    }
}

/// A call under way: if its task ends without an outcome (its thread stops), nobody must wait for it.
struct UnderWay<'a, C: Send + Sync + 'static> {
    guests: &'a Guests<C>,
    refreshed: Option<usize>,
    is_done: bool,
}

impl<C: Send + Sync + 'static> Drop for UnderWay<'_, C> {
    fn drop(&mut self) {
        match self.refreshed {
            _ if self.is_done => {}
            // Told as no outcome: it may be renewed again.
            Some(number) => self.guests.book().refreshed(number, None, Instant::now()),
            None => self.guests.book().sign_up_lost(),
        }
        self.guests.changed.notify_waiters();
    }
}

/// A turn without a guest, counted.
struct Waiting<C: Send + Sync + 'static>(Arc<Guests<C>>);

impl<C: Send + Sync + 'static> Waiting<C> {
    fn new(guests: &Arc<Guests<C>>) -> Self {
        guests.book().waiting += 1;
        Self(Arc::clone(guests))
    }
}

impl<C: Send + Sync + 'static> Drop for Waiting<C> {
    fn drop(&mut self) {
        self.0.book().waiting -= 1;
    }
}
