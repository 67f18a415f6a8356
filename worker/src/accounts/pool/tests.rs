//! The pool, alone and in company.

use super::*;
use crate::accounts::{Accounts as _, Census};

fn pool(numbers: &[usize], most_in_flight: usize) -> Pool<usize> {
    let pool = Pool::new(Patience::default(), most_in_flight);
    pool.replace(numbers.iter().map(|&number| (number, number)).collect());
    pool
}

#[tokio::test]
async fn lends_the_least_busy_first() {
    let pool = pool(&[1, 2, 3], 9);
    let leases = [
        pool.lease(Choice::Any(7), &[]).await,
        pool.lease(Choice::Any(7), &[]).await,
        pool.lease(Choice::Any(7), &[]).await,
    ];
    let mut numbers: Vec<usize> = leases
        .iter()
        .map(|lease| lease.as_ref().unwrap().number())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
}

#[tokio::test]
async fn the_same_caller_gets_the_same_free_account() {
    let pool = pool(&[1, 2, 3, 4], 9);
    for caller in 0..20 {
        let first = pool.lease(Choice::Any(caller), &[]).await.unwrap().number();
        let second = pool.lease(Choice::Any(caller), &[]).await.unwrap().number();
        assert_eq!(first, second);
    }
}

#[tokio::test]
async fn a_mapped_account_is_never_replaced_by_another() {
    let pool = pool(&[1], 9);
    let error = pool.lease(Choice::Only(2), &[]).await.unwrap_err();
    assert_eq!(error.kind, Kind::AccountNotConfigured);
    pool.failed(1, &ProviderError::new(Kind::AuthExpired, "renew X"));
    let error = pool.lease(Choice::Only(1), &[]).await.unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (Kind::AuthExpired, "renew X")
    );
}

#[tokio::test]
async fn cooling_accounts_say_when_to_come_back() {
    let pool = pool(&[1, 2], 9);
    pool.failed(
        1,
        &ProviderError::new(Kind::RateLimited, "slow")
            .with_retry_after(Some(Duration::from_secs(60))),
    );
    assert_eq!(pool.lease(Choice::Any(0), &[]).await.unwrap().number(), 2);
    pool.failed(2, &ProviderError::new(Kind::RateLimited, "slow"));
    let error = pool.lease(Choice::Any(0), &[]).await.unwrap_err();
    assert!(
        error.retry_after.unwrap() <= Duration::from_secs(3),
        "{error:?}"
    );
    pool.succeeded(2);
    assert_eq!(pool.lease(Choice::Any(0), &[]).await.unwrap().number(), 2);
}

#[tokio::test]
async fn waits_for_a_busy_account() {
    let pool = pool(&[1], 1);
    let held = pool.lease(Choice::Any(0), &[]).await.unwrap();
    let mut waiting = Box::pin(pool.lease(Choice::Any(0), &[]));
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    drop(held);
    assert_eq!(waiting.await.unwrap().number(), 1);
}

#[tokio::test]
async fn a_renewed_credential_starts_afresh_and_the_others_keep_their_state() {
    let pool = pool(&[1, 2], 9);
    pool.failed(1, &ProviderError::new(Kind::AuthExpired, "x"));
    pool.failed(2, &ProviderError::new(Kind::AuthExpired, "x"));
    pool.replace(vec![(1, 11), (2, 2)]);
    assert_eq!(
        pool.census(),
        Census {
            ready: 1,
            cooling: 0,
            disabled: 1,
            in_flight: 0
        }
    );
}

/// Workers with a pool each, the same account, and one store.
fn cluster(workers: u64, most: usize, pace: Pace) -> Vec<Arc<Pool<usize>>> {
    let store = crate::store::Store::in_memory();
    let pools = (0..workers).map(|_| {
        let pool = Pool::new(Patience::default(), most).paced(pace);
        pool.replace(vec![(1, 1)]);
        let company = Company::new(store.clone());
        company.set_workers(workers);
        pool.join("x", &company);
        Arc::new(pool)
    });
    pools.collect()
}

async fn lease_soon(pool: &Arc<Pool<usize>>) -> Option<Lease<usize>> {
    let leased = pool.lease(Choice::Any(1), &[]);
    let leased = tokio::time::timeout(Duration::from_millis(300), leased);
    leased.await.ok().and_then(Result::ok)
}

#[actix_web::test]
async fn a_limit_is_that_of_all_workers_together() {
    let pools = cluster(3, 4, Pace::default());
    let mut leases = Vec::new();
    for at in 0..4 {
        leases.push(lease_soon(&pools[at % 3]).await.unwrap());
    }
    for pool in &pools {
        assert!(lease_soon(pool).await.is_none());
    }
    // A place that one of them gives back is soon another one's.
    let waiting = pools[2].lease(Choice::Any(1), &[]);
    leases.pop();
    let had = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    let _had = had.unwrap().unwrap();
    for pool in &pools {
        assert!(lease_soon(pool).await.is_none());
    }
}

#[actix_web::test]
async fn turns_that_began_before_there_was_company_count_as_well() {
    let pools = cluster(2, 2, Pace::default());
    let alone = &pools[0];
    alone.company.get().unwrap().set_workers(1);
    let leases = [
        lease_soon(alone).await.unwrap(),
        lease_soon(alone).await.unwrap(),
    ];
    alone.company.get().unwrap().set_workers(2);
    alone.tend().await;
    assert!(lease_soon(&pools[1]).await.is_none());
    drop(leases);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(lease_soon(&pools[1]).await.is_some());
}

#[actix_web::test]
async fn a_worker_that_ends_leaves_its_places_to_the_others() {
    let pools = cluster(2, 1, Pace::default());
    let lease = lease_soon(&pools[0]).await.unwrap();
    assert!(lease_soon(&pools[1]).await.is_none());
    // Its turn is cut off, and nobody gives the place back for it.
    std::mem::forget(lease);
    pools[0].leave().await;
    assert!(lease_soon(&pools[1]).await.is_some());
}

#[actix_web::test]
async fn without_the_store_each_worker_has_its_share() {
    let gone = crate::store::Place::Valkey(crate::accounts::Secret::new("redis://127.0.0.1:9"));
    let company = Company::new(crate::store::Store::open(gone).unwrap());
    company.set_workers(2);
    let pool = Arc::new(pool(&[1], 4));
    pool.join("x", &company);
    let leases = [lease_soon(&pool).await, lease_soon(&pool).await];
    assert!(leases.iter().all(Option::is_some));
    assert!(lease_soon(&pool).await.is_none());
}

#[actix_web::test]
async fn turns_keep_their_distance_whichever_worker_they_are_on() {
    let interval = Duration::from_millis(400);
    let pace = Pace {
        interval,
        ..Pace::default()
    };
    let pools = cluster(2, 9, pace);
    let started = Instant::now();
    for at in 0..4 {
        pools[at % 2].lease(Choice::Any(1), &[]).await.unwrap();
    }
    assert!(started.elapsed() >= interval * 3, "{:?}", started.elapsed());
}

#[actix_web::test]
async fn the_turns_of_a_day_are_those_of_all_workers() {
    let pace = Pace {
        day: Some(3),
        ..Pace::default()
    };
    let pools = cluster(2, 9, pace);
    for at in 0..3 {
        pools[at % 2].lease(Choice::Any(1), &[]).await.unwrap();
    }
    for pool in &pools {
        let spent = pool.lease(Choice::Any(1), &[]).await.unwrap_err();
        assert_eq!(spent.kind, Kind::QuotaSpent);
        let wait = spent.retry_after.unwrap();
        assert!(wait <= Duration::from_secs(86_400), "{wait:?}");
        assert_eq!(pool.census().cooling, 1);
    }
}

#[tokio::test]
async fn a_caller_leaves_an_account_that_is_slow_or_busy_with_its_other_turn() {
    let pool = pool(&[1, 2], 9);
    let first = pool.lease(Choice::Any(7), &[]).await.unwrap();
    let other = pool.lease(Choice::Any(7), &[]).await.unwrap();
    assert_ne!(first.number(), other.number());
    let home = first.number();
    drop((first, other));
    // It is as fast as the other one, and then takes six times as long.
    pool.answered_in(3 - home, Duration::from_secs(1));
    pool.answered_in(home, Duration::from_secs(1));
    assert_eq!(
        pool.lease(Choice::Any(7), &[]).await.unwrap().number(),
        home
    );
    for _ in 0..9 {
        pool.answered_in(home, Duration::from_secs(6));
    }
    let left = pool.lease(Choice::Any(7), &[]).await.unwrap();
    assert_eq!(left.number(), 3 - home);
    // Slow is better than nothing.
    let last = pool.lease(Choice::Any(7), &[3 - home]).await.unwrap();
    assert_eq!(last.number(), home);
}
