//! Workers that share a store, and a service that counts its sign-ups.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::LocalBoxFuture;

use crate::{
    accounts::{
        Accounts as _, Census, Company, Kept, Patience, Secret,
        anonymous::{Allowance, GuestLease, Guests, Issued, Issuer},
    },
    chat::{Kind, ProviderError},
    store::{Expect, Space, Store, Vault},
};

const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);

/// Signs up `guest-1`, `guest-2`, …, and renews them by a `+`.
#[derive(Clone, Default)]
struct Service {
    sign_ups: Arc<AtomicUsize>,
    renewals: Arc<AtomicUsize>,
}

impl Service {
    fn sign_ups(&self) -> usize {
        self.sign_ups.load(Ordering::Relaxed)
    }
}

impl Issuer<String> for Service {
    fn sign_up(self) -> LocalBoxFuture<'static, Result<Issued<String>, ProviderError>> {
        let number = self.sign_ups.fetch_add(1, Ordering::Relaxed) + 1;
        Box::pin(async move { Ok(issued(format!("guest-{number}"))) })
    }

    fn refresh(
        self,
        credential: Arc<String>,
    ) -> LocalBoxFuture<'static, Result<Issued<String>, ProviderError>> {
        self.renewals.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { Ok(issued(format!("{credential}+"))) })
    }
}

fn issued(credential: String) -> Issued<String> {
    Issued {
        credential,
        lifetime: HOUR,
    }
}

/// One worker's pool. Its credentials that begin with `own` are not carried.
fn worker(store: &Store, least: usize, most: usize) -> Arc<Guests<String>> {
    worker_with(store, least, most, 30)
}

fn worker_with(
    store: &Store,
    least: usize,
    most: usize,
    sign_ups_per_hour: usize,
) -> Arc<Guests<String>> {
    let kept = Kept::default();
    kept.share(store.clone(), Vault::new(Secret::new("vault-of-the-inn")));
    let allowance = Allowance {
        least,
        most,
        sign_ups_per_hour,
    };
    let guests = Guests::new(allowance, Patience::default()).carrying(
        kept,
        |text: &String| (!text.starts_with("own")).then(|| text.clone()),
        |text| Some(text.to_owned()),
    );
    guests.join("x", &Company::new(store.clone()));
    guests.open(true);
    Arc::new(guests)
}

async fn lent(guests: &Arc<Guests<String>>, service: &Service) -> GuestLease<String> {
    guests.lease(service, &[]).await.unwrap()
}

/// What lies in the store once all that was begun has been written there.
async fn stored(guests: &Guests<String>, store: &Store) -> usize {
    guests.tend().await;
    let page = store.list(Space::Credentials, "guest:x:", 100).await;
    page.unwrap().len()
}

fn ready(guests: &Guests<String>) -> usize {
    guests.census().ready
}

#[actix_web::test]
async fn a_guest_outlives_its_worker() {
    let (store, service) = (Store::in_memory(), Service::default());
    let first = worker(&store, 1, 3);
    assert_eq!(*lent(&first, &service).await, "guest-1");
    assert_eq!(stored(&first, &store).await, 1);
    // Nobody else has it while its worker lives.
    let second = worker(&store, 1, 3);
    assert_eq!(*lent(&second, &service).await, "guest-2");
    second.tend().await;
    first.leave().await;
    second.leave().await;
    assert_eq!((ready(&first), ready(&second)), (0, 0));
    let third = worker(&store, 2, 3);
    let (one, other) = (lent(&third, &service).await, lent(&third, &service).await);
    assert_ne!(*one, *other);
    assert_eq!(service.sign_ups(), 2, "both were there");
    let fourth = worker(&store, 1, 3);
    assert_eq!(*lent(&fourth, &service).await, "guest-3");
}

#[actix_web::test]
async fn nobody_reads_it_there_and_another_services_is_left_alone() {
    let (store, service) = (Store::in_memory(), Service::default());
    let first = worker(&store, 1, 1);
    drop(lent(&first, &service).await);
    stored(&first, &store).await;
    let page = store.list(Space::Credentials, "guest:x:", 9).await.unwrap();
    let [(key, entry)] = page.try_into().unwrap();
    assert!(!key.contains("guest-1"));
    assert!(!entry.value.windows(7).any(|part| part == b"guest-1"));
    first.leave().await;
    let kept = Kept::default();
    kept.share(store.clone(), Vault::new(Secret::new("vault-of-the-inn")));
    let allowance = Allowance {
        least: 1,
        most: 1,
        sign_ups_per_hour: 30,
    };
    let other = Guests::new(allowance, Patience::default()).carrying(
        kept,
        |text: &String| Some(text.clone()),
        |_| None,
    );
    other.join("x", &Company::new(store.clone()));
    other.open(true);
    assert_eq!(*lent(&Arc::new(other), &service).await, "guest-2");
}

#[actix_web::test]
async fn what_was_renewed_is_what_the_next_worker_has() {
    let (store, service) = (Store::in_memory(), Service::default());
    let first = worker(&store, 1, 1);
    let lease = lent(&first, &service).await;
    let number = lease.number();
    drop(lease);
    stored(&first, &store).await;
    let renewed = Some(Ok(issued("guest-1+".to_owned())));
    let now = std::time::Instant::now();
    first.book().refreshed(number, renewed, now);
    first.leave().await;
    let second = worker(&store, 1, 1);
    assert_eq!(*lent(&second, &service).await, "guest-1+");
}

#[actix_web::test]
async fn one_whose_token_has_ended_is_renewed_by_whoever_takes_it_in() {
    let (store, service) = (Store::in_memory(), Service::default());
    let first = worker(&store, 1, 1);
    let lease = lent(&first, &service).await;
    let number = lease.number();
    drop(lease);
    let ended = Issued {
        credential: "guest-1".to_owned(),
        lifetime: std::time::Duration::ZERO,
    };
    let now = std::time::Instant::now();
    first.book().refreshed(number, Some(Ok(ended)), now);
    first.leave().await;
    let second = worker(&store, 1, 1);
    assert_eq!(*lent(&second, &service).await, "guest-1+");
    assert_eq!(service.sign_ups(), 1);
    assert_eq!(service.renewals.load(Ordering::Relaxed), 1);
}

#[actix_web::test]
async fn a_refused_guest_is_nobodys_and_a_resting_one_rests_on() {
    let (store, service) = (Store::in_memory(), Service::default());
    let first = worker(&store, 0, 2);
    let (refused, spent) = (lent(&first, &service).await, lent(&first, &service).await);
    first.succeeded(refused.number());
    first.failed(
        refused.number(),
        &ProviderError::new(Kind::AuthExpired, "x"),
    );
    let no_quota = ProviderError::new(Kind::QuotaSpent, "x");
    first.failed(spent.number(), &no_quota.with_retry_after(Some(HOUR)));
    drop((refused, spent));
    assert_eq!(stored(&first, &store).await, 1);
    first.leave().await;
    let second = worker(&store, 0, 2);
    assert_eq!(*lent(&second, &service).await, "guest-3");
    let census = second.census();
    assert_eq!((census.ready, census.cooling), (1, 1));
    assert_eq!(census, second.census_apart());
}

#[actix_web::test]
async fn without_budget_there_are_still_those_of_the_store() {
    let (store, service) = (Store::in_memory(), Service::default());
    let first = worker(&store, 2, 2);
    let both = (lent(&first, &service).await, lent(&first, &service).await);
    drop(both);
    first.leave().await;
    // The budget of an hour is all workers', and two were signed up in it.
    let second = worker_with(&store, 0, 9, 1);
    let both = (lent(&second, &service).await, lent(&second, &service).await);
    assert_eq!(service.sign_ups(), 2);
    drop(both);
    second.leave().await;
    let third = worker_with(&store, 0, 9, 1);
    let all = (lent(&third, &service).await, lent(&third, &service).await);
    let tried = [all.0.number(), all.1.number()];
    drop(all);
    for number in tried {
        third.failed(number, &ProviderError::new(Kind::AuthExpired, "x"));
    }
    let error = third.lease(&service, &[]).await.unwrap_err();
    assert_eq!(error.kind, Kind::RateLimited, "{error:?}");
}

#[actix_web::test]
async fn a_worker_that_slept_has_lost_its_guest() {
    let (store, service) = (Store::in_memory(), Service::default());
    let first = worker(&store, 1, 1);
    let lease = lent(&first, &service).await;
    stored(&first, &store).await;
    let asleep = |guests: &Guests<String>| {
        let book = guests.book();
        let entries = book.entries(Some(std::time::Instant::now()), super::Now::read());
        entries.into_iter().next().unwrap().stay.unwrap()
    };
    let stay = asleep(&first);
    // As when its time has run out.
    let (room, _) = first.room().unwrap();
    room.give_back(&stay).await.unwrap();
    let second = worker(&store, 1, 1);
    assert_eq!(*lent(&second, &service).await, "guest-1");
    // What it says of it is void, whether the other one still has it or has given it back.
    let late = super::Stored {
        credential: "late".to_owned(),
        ends_ms: u64::MAX,
        standing: crate::accounts::Standing::default(),
    };
    assert!(!room.write(&mut stay.clone(), &late).await.unwrap());
    assert!(!room.hold(&mut stay.clone()).await.unwrap());
    let renewed = Some(Ok(issued("guest-1+".to_owned())));
    let now = std::time::Instant::now();
    second.book().refreshed(1, renewed, now);
    second.leave().await;
    assert!(!room.hold(&mut stay.clone()).await.unwrap());
    room.check_out(&stay).await.unwrap();
    assert_eq!(*lease, "guest-1", "its turn ends in peace");
    let third = worker(&store, 1, 1);
    assert_eq!(*lent(&third, &service).await, "guest-1+");
}

#[actix_web::test]
async fn what_the_store_has_lost_is_put_there_again() {
    let (store, service) = (Store::in_memory(), Service::default());
    let first = worker(&store, 1, 1);
    drop(lent(&first, &service).await);
    stored(&first, &store).await;
    let page = store.list(Space::Credentials, "guest:x:", 9).await.unwrap();
    for (key, _) in page {
        let removed = store
            .remove(Space::Credentials, &key, Expect::Anything)
            .await;
        assert!(removed.unwrap());
    }
    let entries = first.book().entries(None, super::Now::read());
    assert!(entries.is_empty(), "{entries:?}");
    let lost = Some(std::time::Instant::now());
    let entries = first.book().entries(lost, super::Now::read());
    let (room, _) = first.room().unwrap();
    for entry in entries {
        assert!(entry.to_do.hold && entry.to_do.write);
        let stored = super::Stored {
            credential: (*entry.credential).clone(),
            ends_ms: entry.ends_ms,
            standing: entry.standing.clone(),
        };
        let stay = super::enter(&room, &entry, &stored).await.unwrap().unwrap();
        first
            .book()
            .entered(&entry, stay, std::time::Instant::now());
    }
    assert_eq!(stored(&first, &store).await, 1);
}

#[actix_web::test]
async fn the_allowance_is_all_workers_together() {
    let (store, service) = (Store::in_memory(), Service::default());
    let first = worker(&store, 0, 4);
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(lent(&first, &service).await);
    }
    leases.truncate(3);
    stored(&first, &store).await;
    let (provider, company) = first.company.get().unwrap();
    assert_eq!(provider, "x");
    company.set_workers(2);
    first.tend().await;
    // One idle, three at work: what is at work stays until it is not.
    assert_eq!(ready(&first), 3);
    drop(leases);
    first.tend().await;
    assert_eq!(ready(&first), 2);
    let second = worker(&store, 0, 4);
    second.company.get().unwrap().1.set_workers(2);
    second.tend().await;
    let both = (lent(&second, &service).await, lent(&second, &service).await);
    assert_eq!(service.sign_ups(), 4);
    assert_eq!(ready(&second), 2);
    drop(both);
}

#[actix_web::test]
async fn the_owners_own_is_one_turns_until_answers_are_told_apart() {
    let (store, service) = (Store::in_memory(), Service::default());
    let allowance = Allowance {
        least: 1,
        most: 1,
        sign_ups_per_hour: 0,
    };
    let [first, second] = [1, 2].map(|_| {
        let guests = worker_with(&store, 1, 1, 0);
        guests.admit(Some(issued("own".to_owned())), allowance);
        guests.company.get().unwrap().1.set_workers(2);
        guests
    });
    first.tend().await;
    second.tend().await;
    let lease = lent(&first, &service).await;
    let waits = std::time::Duration::from_millis(800);
    let other = tokio::time::timeout(waits, second.lease(&service, &[])).await;
    assert!(other.is_err(), "another worker's turn has it");
    // As often as it is looked at, it is theirs.
    first.tend().await;
    drop(lease);
    let other = lent(&second, &service).await;
    let third = tokio::time::timeout(waits, first.lease(&service, &[])).await;
    assert!(third.is_err());
    // From now on this worker's turns are told apart: the first of the other's will be as well.
    other.share();
    let third = lent(&first, &service).await;
    assert_eq!(*third, "own");
    let none = Census::default();
    assert_eq!((first.census_apart(), first.census().ready), (none, 1));
    assert_eq!(stored(&first, &store).await, 0);
}
