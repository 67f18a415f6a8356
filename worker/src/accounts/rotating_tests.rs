//! The shell, against a make-believe service whose clock is stopped.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    path::PathBuf,
    rc::Rc,
};

use tokio::time::{Instant, sleep};

use super::*;
use crate::accounts::Kept;
use crate::accounts::Patience;

const MARGIN: Duration = Duration::from_secs(60);
const LIFETIME: u64 = 900;

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Unix milliseconds on tokio's clock, which is stopped.
fn clock() -> u64 {
    let start = START.get().unwrap();
    1_700_000_000_000 + u64::try_from(start.elapsed().as_millis()).unwrap()
}

/// A service that rotates: a refresh token is good once, and gives an access token `a<n>` and the refresh token `r<n>`.
struct Service {
    valid: RefCell<HashSet<String>>,
    calls: RefCell<Vec<Attempt>>,
    issued: Cell<u32>,
    /// How long a renewal takes.
    takes: Cell<Duration>,
    /// What the next renewals are answered with instead.
    fails: RefCell<Vec<Failure>>,
}

impl Service {
    fn start(valid: &[&str]) -> Rc<Self> {
        tokio::time::pause();
        START.set(Some(Instant::now()));
        Rc::new(Self {
            valid: RefCell::new(valid.iter().map(|&it| it.to_owned()).collect()),
            calls: RefCell::default(),
            issued: Cell::new(0),
            takes: Cell::new(Duration::from_secs(1)),
            fails: RefCell::default(),
        })
    }

    async fn answer(&self, attempt: Attempt) -> Result<Renewed<String>, Failure> {
        let credential = attempt.credential.expose().to_owned();
        self.calls.borrow_mut().push(attempt);
        // Void from the moment of the call, whoever reads the answer.
        let is_valid = self.valid.borrow_mut().remove(&credential);
        sleep(self.takes.get()).await;
        if let Some(failure) = self.fails.borrow_mut().pop() {
            if is_valid {
                self.valid.borrow_mut().insert(credential);
            }
            return Err(failure);
        }
        if !is_valid {
            return Err(expired().into());
        }
        let number = self.issued.get() + 1;
        self.issued.set(number);
        let successor = format!("refresh-{number}");
        self.valid.borrow_mut().insert(successor.clone());
        Ok(Renewed {
            token: format!("a{number}"),
            expires: Some(clock() / 1000 + LIFETIME),
            keep: Some(Secret::new(successor)),
        })
    }

    fn renewal(
        self: &Rc<Self>,
    ) -> impl AsyncFn(Attempt) -> Result<Renewed<String>, Failure> + 'static {
        let service = Rc::clone(self);
        async move |attempt| service.answer(attempt).await
    }

    fn tried(&self) -> Vec<String> {
        let calls = self.calls.borrow();
        let credentials = calls.iter().map(|it| it.credential.expose().to_owned());
        credentials.collect()
    }
}

fn expired() -> ProviderError {
    ProviderError::new(Kind::AuthExpired, "paste X_TOKEN anew")
}

fn unavailable() -> ProviderError {
    ProviderError::new(Kind::Unavailable, "x")
}

fn tokens(pasted: &str, kept: Kept) -> Rotating<String> {
    let grant = Grant::rotating("x", Secret::new(pasted), kept);
    let mut tokens = Rotating::new(grant, MARGIN, HalfOpen::new(Patience::default()));
    Arc::get_mut(&mut tokens.0).unwrap().clock = clock;
    tokens
}

/// A file of its own for what is kept, gone with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let name = format!("hive2api-rotating-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn kept(&self) -> Kept {
        Kept::in_file(self.0.join("tokens"))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn all(
    tokens: &Rotating<String>,
    service: &Rc<Service>,
    count: usize,
) -> Vec<Result<Arc<String>, ProviderError>> {
    let callers = (0..count).map(|_| tokens.current(service.renewal()));
    futures_util::future::join_all(callers).await
}

#[actix_web::test]
async fn fifty_callers_one_renewal() {
    let service = Service::start(&["pasted"]);
    let tokens = tokens("pasted", Kept::default());
    for token in all(&tokens, &service, 50).await {
        assert_eq!(*token.unwrap(), "a1");
    }
    assert_eq!(service.calls.borrow().len(), 1);
    // All meet its refusal: again one.
    let refused = tokens.latest().unwrap();
    tokens.served(&refused);
    let callers = (0..50).map(|_| tokens.replaced(&refused, expired(), service.renewal()));
    for token in futures_util::future::join_all(callers).await {
        assert_eq!(*token.unwrap(), "a2");
    }
    assert_eq!(service.tried(), ["pasted", "refresh-1"]);
    // A late one takes what is there.
    let late = tokens.replaced(&refused, expired(), service.renewal());
    assert_eq!(*late.await.unwrap(), "a2");
    assert_eq!(service.calls.borrow().len(), 2);
}

#[actix_web::test]
async fn a_failure_is_told_to_all_who_waited_for_it() {
    let service = Service::start(&["pasted"]);
    let tokens = tokens("pasted", Kept::default());
    service.fails.borrow_mut().push(unavailable().into());
    for token in all(&tokens, &service, 50).await {
        assert_eq!(token.unwrap_err().kind, Kind::Unavailable);
    }
    assert_eq!(service.calls.borrow().len(), 1);
    // What passes is tried again by the next one.
    assert_eq!(*tokens.current(service.renewal()).await.unwrap(), "a1");
}

#[actix_web::test]
async fn who_leaves_does_not_stop_the_renewal() {
    let service = Service::start(&["pasted"]);
    let file = File::new("leaves");
    let tokens = tokens("pasted", file.kept());
    let leaving = tokens.current(service.renewal());
    let left = tokio::time::timeout(Duration::from_millis(500), leaving).await;
    assert!(left.is_err(), "the renewal takes a second");
    // The pasted token is void by now, and its successor is on its way to nobody.
    assert_eq!(*tokens.current(service.renewal()).await.unwrap(), "a1");
    assert_eq!(service.calls.borrow().len(), 1);
    let kept = file.kept().newest("x", &Secret::new("pasted"));
    assert_eq!(kept, Some(Secret::new("refresh-1")));
}

#[actix_web::test]
async fn a_token_is_renewed_ahead_of_its_end_and_used_while_that_fails() {
    let service = Service::start(&["pasted"]);
    let tokens = tokens("pasted", Kept::default());
    tokens.current(service.renewal()).await.unwrap();
    sleep(Duration::from_secs(LIFETIME - 61)).await;
    assert_eq!(*tokens.current(service.renewal()).await.unwrap(), "a1");
    sleep(Duration::from_secs(1)).await;
    service.fails.borrow_mut().push(unavailable().into());
    assert_eq!(*tokens.current(service.renewal()).await.unwrap(), "a1");
    assert_eq!(service.calls.borrow().len(), 2);
    assert_eq!(*tokens.current(service.renewal()).await.unwrap(), "a2");
    // It ends while the renewal is under way: then the failure is told.
    sleep(Duration::from_secs(LIFETIME - 2)).await;
    service.takes.set(Duration::from_secs(5));
    service.fails.borrow_mut().push(unavailable().into());
    let late = tokens.current(service.renewal()).await;
    assert_eq!(late.unwrap_err().kind, Kind::Unavailable);
}

#[actix_web::test]
async fn a_refused_renewal_is_not_repeated_by_each_request() {
    let service = Service::start(&[]);
    let tokens = tokens("pasted", Kept::default());
    for _ in 0..5 {
        let error = tokens.current(service.renewal()).await.unwrap_err();
        assert_eq!(
            (error.kind, &*error.message),
            (Kind::AuthExpired, "paste X_TOKEN anew")
        );
    }
    assert_eq!(service.calls.borrow().len(), 1);
    sleep(Duration::from_secs(600)).await;
    let error = tokens.current(service.renewal()).await.unwrap_err();
    assert_eq!(error.kind, Kind::AuthExpired);
    assert_eq!(service.calls.borrow().len(), 2);
    // The service takes it again: the probe finds out.
    service.valid.borrow_mut().insert("pasted".to_owned());
    sleep(Duration::from_secs(600)).await;
    for token in all(&tokens, &service, 5).await {
        assert_eq!(*token.unwrap(), "a1");
    }
    assert_eq!(service.calls.borrow().len(), 3);
}

#[actix_web::test]
async fn a_fresh_token_that_is_refused_ends_in_the_refusal() {
    let service = Service::start(&["pasted"]);
    let tokens = tokens("pasted", Kept::default());
    for round in 1..=5 {
        let Ok(token) = tokens.current(service.renewal()).await else {
            break;
        };
        let replaced = tokens.replaced(&token, expired(), service.renewal()).await;
        if round > 1 {
            assert_eq!(replaced.unwrap_err().kind, Kind::AuthExpired);
        }
    }
    assert_eq!(service.calls.borrow().len(), 2, "{:?}", service.tried());
}

#[actix_web::test]
async fn each_attempt_has_a_clock_and_a_nonce_of_its_own() {
    let service = Service::start(&["pasted"]);
    let file = File::new("nonce");
    file.kept()
        .keep("x", Secret::new("pasted"), Secret::new("void-1"))
        .await;
    let tokens = tokens("pasted", file.kept());
    assert_eq!(*tokens.current(service.renewal()).await.unwrap(), "a1");
    let calls = service.calls.borrow();
    assert_eq!(calls.len(), 2);
    assert!(calls[1].unix_ms - calls[0].unix_ms >= 1000);
    assert_ne!(calls[0].random, calls[1].random);
}

#[actix_web::test]
async fn a_restart_goes_on_with_what_was_kept() {
    let service = Service::start(&["pasted"]);
    let file = File::new("restart");
    for round in 1..=3 {
        let tokens = tokens("pasted", file.kept());
        let token = tokens.current(service.renewal()).await.unwrap();
        assert_eq!(*token, format!("a{round}"));
    }
    assert_eq!(service.tried(), ["pasted", "refresh-1", "refresh-2"]);
}

#[actix_web::test]
async fn what_another_process_has_kept_comes_first() {
    let service = Service::start(&["pasted"]);
    let file = File::new("two");
    let (one, other) = (tokens("pasted", file.kept()), tokens("pasted", file.kept()));
    for (tokens, expected) in [(&one, "a1"), (&other, "a2"), (&one, "a3"), (&other, "a4")] {
        let token = tokens.current(service.renewal()).await.unwrap();
        assert_eq!(*token, expected);
        tokens.rotation().refused(&token, &expired(), tokens.now());
    }
    // No void token was ever presented.
    assert_eq!(
        service.tried(),
        ["pasted", "refresh-1", "refresh-2", "refresh-3"]
    );
}

#[actix_web::test]
async fn the_walk_ends_with_the_pasted_one_and_tells_the_first_verdict() {
    let service = Service::start(&["pasted"]);
    let file = File::new("walk");
    let kept = file.kept();
    kept.keep("x", Secret::new("pasted"), Secret::new("void-1"))
        .await;
    let tokens = tokens("pasted", file.kept());
    kept.keep("x", Secret::new("pasted"), Secret::new("void-2"))
        .await;
    assert_eq!(*tokens.current(service.renewal()).await.unwrap(), "a1");
    assert_eq!(service.tried(), ["void-2", "void-1", "pasted"]);
    // Something else than a refusal ends it at once.
    service.calls.borrow_mut().clear();
    service.fails.borrow_mut().push(unavailable().into());
    let token = tokens.latest().unwrap();
    tokens.served(&token);
    let error = tokens.replaced(&token, expired(), service.renewal()).await;
    assert_eq!(error.unwrap_err().kind, Kind::Unavailable);
    assert_eq!(service.tried(), ["refresh-1"]);
}

#[actix_web::test]
async fn a_token_pasted_anew_wins() {
    let service = Service::start(&["pasted", "pasted-anew"]);
    let file = File::new("anew");
    let old = tokens("pasted", file.kept());
    old.current(service.renewal()).await.unwrap();
    let new = tokens("pasted-anew", file.kept());
    assert!(new != old && old == tokens("pasted", file.kept()));
    assert!(new.is_of("pasted-anew") && !new.is_of("pasted"));
    assert_eq!(*new.current(service.renewal()).await.unwrap(), "a2");
    assert_eq!(service.tried(), ["pasted", "pasted-anew"]);
}

#[actix_web::test]
async fn a_constant_grant_keeps_its_token_and_logs_in_with_itself_alone() {
    let service = Service::start(&["login"]);
    let file = File::new("constant");
    let grant = || Grant::constant("x", Secret::new("login"), file.kept());
    let tokens = Rotating::new(grant(), MARGIN, HalfOpen::default());
    assert_eq!(*tokens.current(service.renewal()).await.unwrap(), "a1");
    // What was kept is a token, never tried as the login.
    assert_eq!(grant().kept(), Some(Secret::new("refresh-1")));
    assert_eq!(grant().newest(), Secret::new("login"));
    let refused = tokens.latest().unwrap();
    tokens.served(&refused);
    let error = tokens
        .replaced(&refused, expired(), service.renewal())
        .await;
    assert_eq!(error.unwrap_err().kind, Kind::AuthExpired);
    assert_eq!(service.tried(), ["login", "login"]);
}

#[actix_web::test]
async fn a_fixed_token_is_used_as_it_is() {
    let service = Service::start(&[]);
    let grant = Grant::rotating("x", Secret::new("access"), Kept::default());
    let tokens = Rotating::fixed(grant, "a0".to_owned(), HalfOpen::default());
    let token = tokens.current(service.renewal()).await.unwrap();
    assert_eq!(*token, "a0");
    let refused = ProviderError::new(Kind::AuthExpired, "of the turn");
    let error = tokens.replaced(&token, refused, service.renewal()).await;
    assert_eq!(error.unwrap_err().message, "of the turn");
    assert_eq!(*tokens.latest().unwrap(), "a0");
    assert!(service.calls.borrow().is_empty() && !tokens.can_renew());
}

#[actix_web::test]
async fn a_renewal_that_never_ends_is_given_up() {
    let service = Service::start(&["pasted"]);
    service.takes.set(Duration::from_secs(86_400));
    let tokens = tokens("pasted", Kept::default());
    let error = tokens.current(service.renewal()).await.unwrap_err();
    assert_eq!(error.kind, Kind::Timeout);
}

#[actix_web::test]
async fn a_check_is_made_once_for_all_and_its_rotation_is_nobodys_to_miss() {
    let service = Service::start(&["pasted"]);
    let tokens = tokens("pasted", Kept::default());
    let first = tokens.current(service.renewal()).await.unwrap();
    let calls = Rc::new(Cell::new(0));
    let check = || {
        let calls = Rc::clone(&calls);
        async move |token: Arc<String>| {
            calls.set(calls.get() + 1);
            sleep(Duration::from_secs(1)).await;
            Some(Renewed {
                token: format!("{token}-checked"),
                expires: None,
                keep: Some(Secret::new("of-the-check")),
            })
        }
    };
    let is_due = |token: &String| !token.ends_with("-checked");
    // The first one leaves; those who come meanwhile wait for what it began.
    let leaving = tokens.checked(Arc::clone(&first), is_due, check());
    let left = tokio::time::timeout(Duration::from_millis(500), leaving).await;
    assert!(left.is_err(), "a check takes a second");
    let waiting = (0..10).map(|_| tokens.checked(Arc::clone(&first), is_due, check()));
    for token in futures_util::future::join_all(waiting).await {
        assert_eq!(*token, "a1-checked");
    }
    assert_eq!((calls.get(), service.calls.borrow().len()), (1, 1));
    assert_eq!(tokens.grant().newest(), Secret::new("of-the-check"));
    // One that brings nothing leaves all as it is.
    let latest = tokens.latest().unwrap();
    let nothing = tokens.checked(Arc::clone(&latest), |_| true, async |_| None);
    assert!(Arc::ptr_eq(&nothing.await, &latest));
}

#[actix_web::test]
async fn the_second_refusal_of_a_turn_is_for_the_next_one_to_know() {
    let service = Service::start(&["pasted"]);
    let tokens = tokens("pasted", Kept::default());
    let first = tokens.current(service.renewal()).await.unwrap();
    let second = tokens.replaced(&first, expired(), service.renewal()).await;
    tokens.refused(&second.unwrap(), &expired());
    let next = tokens.current(service.renewal()).await;
    assert_eq!(next.unwrap_err().kind, Kind::AuthExpired);
    assert_eq!(service.calls.borrow().len(), 2);
}

#[actix_web::test]
async fn nothing_shows_a_credential() {
    let _service = Service::start(&[]);
    let tokens = tokens("geheim-0815", Kept::default());
    tokens.hold("verborgen".to_owned(), None);
    let shown = format!("{tokens:?}");
    assert!(!shown.contains("geheim") && !shown.contains("verborgen"));
}
