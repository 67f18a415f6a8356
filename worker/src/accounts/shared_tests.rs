//! Several workers, one store, and a service that takes every refresh token once. On the real clock: a stopped one and the
//! store's thread know nothing of each other.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use super::*;
use crate::{
    accounts::{
        Kept, Secret,
        rotating::{Attempt, Failure, Grant, HalfOpen, Renewed, Rotating},
    },
    chat::{Kind, ProviderError},
    store::Place,
};

/// Takes a refresh token once; whatever else comes is refused, and counted.
struct Service {
    valid: RefCell<String>,
    calls: Cell<u32>,
    void: Cell<u32>,
}

impl Service {
    fn start() -> Rc<Self> {
        Rc::new(Self {
            valid: RefCell::new("pasted-1".to_owned()),
            calls: Cell::new(0),
            void: Cell::new(0),
        })
    }

    fn renewal(
        self: &Rc<Self>,
    ) -> impl AsyncFn(Attempt) -> Result<Renewed<String>, Failure> + 'static {
        let service = Rc::clone(self);
        async move |attempt: Attempt| {
            service.calls.set(service.calls.get() + 1);
            if *service.valid.borrow() != attempt.credential.expose() {
                service.void.set(service.void.get() + 1);
                return Err(expired().into());
            }
            let number = service.calls.get();
            let next = format!("refresh-{number}");
            service.valid.borrow_mut().clone_from(&next);
            tokio::time::sleep(Duration::from_millis(250)).await;
            Ok(Renewed {
                token: format!("access-{number}"),
                expires: None,
                keep: Some(Secret::new(next)),
            })
        }
    }
}

fn expired() -> ProviderError {
    ProviderError::new(Kind::AuthExpired, "x")
}

fn grant(store: &Store, secret: &str) -> Grant {
    let kept = Kept::default();
    kept.share(store.clone(), Vault::new(Secret::new(secret)));
    Grant::rotating("x", Secret::new("pasted-1"), kept)
}

fn account() -> Fingerprint {
    Fingerprint::of("x", &Secret::new("pasted-1"))
}

/// What lies in the store, as soon as that is newer than this; whoever has renewed does not wait for it.
async fn published(worker: &Rotating<String>, than: u64) -> Rotated {
    let cluster = worker.grant().kept.shared().cluster().unwrap();
    loop {
        if let (Some(it), _) = cluster.read(&key(&account())).await.unwrap()
            && it.generation > than
        {
            return it;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn worker(store: &Store) -> Rotating<String> {
    let tokens = Rotating::new(grant(store, "s"), Duration::ZERO, HalfOpen::default());
    tokens.carrying(|token| Some(token.clone()), |text| Some(text.to_owned()))
}

#[actix_web::test]
async fn a_token_that_is_taken_once_is_presented_once() {
    let (service, store) = (Service::start(), Store::in_memory());
    let workers: Vec<_> = (0..4).map(|_| worker(&store)).collect();
    let all = workers.iter().map(|it| it.current(service.renewal()));
    let tokens = futures_util::future::join_all(all).await;
    for token in &tokens {
        assert_eq!(**token.as_ref().unwrap(), "access-1");
    }
    assert_eq!(service.calls.get(), 1);
    // Its end is met by all of them.
    for (worker, token) in workers.iter().zip(&tokens) {
        worker.served(token.as_ref().unwrap());
    }
    let all = workers.iter().zip(&tokens).map(|(worker, token)| {
        worker.replaced(token.as_ref().unwrap(), expired(), service.renewal())
    });
    for token in futures_util::future::join_all(all).await {
        assert_eq!(*token.unwrap(), "access-2");
    }
    assert_eq!((service.calls.get(), service.void.get()), (2, 0));
    // And one that starts later asks for nothing.
    let late = worker(&store).current(service.renewal()).await.unwrap();
    assert_eq!((&**late, service.calls.get()), ("access-2", 2));
}

#[actix_web::test]
async fn without_a_carried_token_each_renews_with_the_newest_in_turn() {
    let (service, store) = (Service::start(), Store::in_memory());
    let grants: Vec<_> = (0..3).map(|_| grant(&store, "s")).collect();
    let renew = service.renewal();
    let all = grants.iter().map(|it| it.redeem(&renew, || 0));
    for renewed in futures_util::future::join_all(all).await {
        assert!(renewed.is_ok());
    }
    assert_eq!((service.calls.get(), service.void.get()), (3, 0));
}

#[actix_web::test]
async fn what_lies_in_the_store_is_sealed_and_another_secret_does_without() {
    let (service, store) = (Service::start(), Store::in_memory());
    worker(&store).current(service.renewal()).await.unwrap();
    // The one that renewed does not wait for the store.
    let entries = loop {
        let entries = store.list(Space::Credentials, "", 10).await.unwrap();
        if !entries.is_empty() {
            break entries;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let seen = format!("{entries:?}");
    let plain = String::from_utf8_lossy(&entries[0].1.value).into_owned();
    assert!(
        ![seen, plain]
            .iter()
            .any(|it| it.contains("access-1") || it.contains("refresh-1"))
    );
    // It begins with what was pasted, and brings what the others can use again.
    *service.valid.borrow_mut() = "pasted-1".to_owned();
    let other = grant(&store, "t");
    let renewed = other.redeem(&service.renewal(), || 0).await.unwrap();
    assert_eq!((&*renewed.token, service.void.get()), ("access-2", 0));
}

#[actix_web::test]
async fn a_worker_that_died_over_it_is_waited_for_no_longer_than_its_lease() {
    let (service, store) = (Service::start(), Store::in_memory());
    let worker = worker(&store);
    let name = key(&account());
    let dead = store.hold(&name, "dead", 1, Duration::from_millis(400));
    assert!(dead.await.unwrap().is_some());
    let started = Instant::now();
    worker.current(service.renewal()).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(400));
    assert_eq!(service.calls.get(), 1);
}

#[actix_web::test]
async fn what_a_store_has_lost_is_put_back_by_who_knows_the_newest() {
    let (service, store) = (Service::start(), Store::in_memory());
    let (one, other) = (worker(&store), worker(&store));
    let first = one.current(service.renewal()).await.unwrap();
    let generation = published(&one, 0).await.generation;
    // Known to both.
    let known = other.current(service.renewal()).await.unwrap();
    assert_eq!((&**known, service.calls.get()), ("access-1", 1));
    one.served(&first);
    let next = one.replaced(&first, expired(), service.renewal());
    assert_eq!(*next.await.unwrap(), "access-2");
    published(&one, generation).await;
    crate::store::empty(&store).await;
    store.lost_by_now().await.unwrap();
    // The one that knows less comes first.
    for worker in [&other, &one] {
        worker.grant().kept.put_back().await;
    }
    other.served(&known);
    let token = other.replaced(&known, expired(), service.renewal());
    assert_eq!(*token.await.unwrap(), "access-2");
    assert_eq!((service.calls.get(), service.void.get()), (2, 0));
}

#[actix_web::test]
async fn what_was_renewed_since_a_store_was_lost_is_newer_than_what_it_had() {
    let (service, store) = (Service::start(), Store::in_memory());
    let one = worker(&store);
    let first = one.current(service.renewal()).await.unwrap();
    let generation = published(&one, 0).await.generation;
    one.served(&first);
    let next = one.replaced(&first, expired(), service.renewal());
    next.await.unwrap();
    published(&one, generation).await;
    crate::store::empty(&store).await;
    store.lost_by_now().await.unwrap();
    // By a worker that knows of no renewal before.
    *service.valid.borrow_mut() = "pasted-1".to_owned();
    let new = worker(&store);
    new.current(service.renewal()).await.unwrap();
    let newest = published(&new, 0).await;
    one.grant().kept.put_back().await;
    assert_eq!(published(&new, 0).await.token, newest.token);
    // Of an account that is gone nothing comes again.
    let kept = new.grant().kept.clone();
    drop(new);
    crate::store::empty(&store).await;
    store.lost_by_now().await.unwrap();
    kept.put_back().await;
    assert!(
        store
            .list(Space::Credentials, "", 1)
            .await
            .unwrap()
            .is_empty()
    );
}

#[actix_web::test]
async fn without_a_store_each_goes_on_alone_at_once() {
    let service = Service::start();
    let gone = Place::Valkey(Secret::new("redis://127.0.0.1:9"));
    let worker = worker(&Store::open(gone).unwrap());
    let started = Instant::now();
    let token = worker.current(service.renewal()).await.unwrap();
    assert_eq!((&**token, service.calls.get()), ("access-1", 1));
    assert!(started.elapsed() < Duration::from_secs(1));
}
