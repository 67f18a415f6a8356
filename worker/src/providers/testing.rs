//! A make-believe provider whose answers are a script, and a service that writes down what it is called for: what the
//! unit tests of dispatcher, turn, outbox, janitor and registry work with.

use std::{
    collections::VecDeque,
    future::pending,
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::future::LocalBoxFuture;
use tokio::sync::watch;

use super::{
    Card, Errand, Janitor, Job, Model, Provider, Route, Run, Turn, registry::Candidate,
    run::Progress,
};
use crate::{
    accounts::{Accounts, Choice, Pool},
    budget::Memory,
    chat::{
        ChatEvent, ChatRequest, Field, FinishReason, Kind, ProviderError, Support,
        emulate::nonce::NonceKey,
    },
    settings::{Problems, Settings, Tools, Vars},
    upstream::{Client, Request},
};

/// One step of an answer.
pub(super) enum Step {
    /// Says a text.
    Text(&'static str),
    /// Says something else.
    Event(ChatEvent),
    /// Opens this conversation, which is deleted with a call of `DELETE /ID`.
    Opens(&'static str),
    /// From here on, an abort makes a call of `POST /PATH`.
    StopsAt(&'static str),
    /// Holds a guard to the end.
    Holds(Arc<()>),
    /// The fault is not the account's.
    Absolves,
    /// Fails.
    Fails(ProviderError),
    /// Never goes on.
    Hangs,
}

/// The scripted provider. An answer whose script is over ends with `stop`; one without a script says nothing but that.
#[derive(Debug, Default)]
pub(super) struct Fake {
    pub(super) name: &'static str,
    pub(super) models: Vec<Model>,
    pub(super) discovered: Vec<Model>,
    /// Ids that are accepted after `name/`.
    pub(super) accepts: &'static [&'static str],
    pub(super) only: Option<usize>,
    pub(super) base_url: String,
    accounts: Option<Pool<usize>>,
    scripts: Mutex<VecDeque<Vec<Step>>>,
    /// The account of each turn, in their order.
    asked: Mutex<Vec<usize>>,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Step")
    }
}

impl Fake {
    /// With the model `NAME-1` and so many accounts.
    pub(super) fn new(name: &'static str, accounts: usize) -> Self {
        let pool = Pool::new(Default::default(), 10);
        pool.replace((1..=accounts).map(|number| (number, number)).collect());
        Self {
            name,
            models: vec![Model::new(format!("{name}-1"), "up", 0)],
            accounts: Some(pool),
            ..Self::default()
        }
    }

    /// With one script for each turn.
    pub(super) fn saying(self, scripts: impl IntoIterator<Item = Vec<Step>>) -> Self {
        *self.scripts.lock().unwrap() = scripts.into_iter().collect();
        self
    }

    /// The accounts of all turns so far, in their order.
    pub(super) fn asked(&self) -> Vec<usize> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn pool(&self) -> &Pool<usize> {
        self.accounts.as_ref().unwrap()
    }

    fn call(&self, step: &'static str, method: &str, path: &str) -> Request {
        let method = method.parse().unwrap();
        Request::new(step, method, format!("{}/{path}", self.base_url))
    }

    async fn answer(&self, turn: &mut Turn) -> Result<(), ProviderError> {
        let choice = self.only.map_or(Choice::Any(0), Choice::Only);
        let lease = turn.lease(self.pool(), choice).await?;
        self.asked.lock().unwrap().push(lease.number());
        let script = self.scripts.lock().unwrap().pop_front();
        for step in script.unwrap_or_default() {
            match step {
                Step::Text(text) => turn.events.push(ChatEvent::Text(text.to_owned())),
                Step::Event(event) => turn.events.push(event),
                Step::Opens(id) => {
                    turn.opened(id, Some(self.call("delete", "DELETE", id).into()));
                }
                Step::StopsAt(path) => turn.on_abort(self.call("stop", "POST", path)),
                Step::Holds(guard) => drop(turn.hold(guard)),
                Step::Absolves => turn.absolve(),
                Step::Fails(error) => return turn.emit_then(Err(error)).await,
                Step::Hangs => pending().await,
            }
            turn.emit().await?;
        }
        turn.events.push(ChatEvent::Finish(FinishReason::Stop));
        turn.emit().await
    }
}

static CARD: Card = Card {
    name: "fake",
    title: "Fake",
    configure: |_, _, _| Vec::new(),
    variables: &[],
    copied: &[],
};

impl Provider for Fake {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn name(&self) -> &str {
        self.name
    }

    fn models(&self) -> &[Model] {
        &self.models
    }

    fn discovered(&self) -> Vec<Model> {
        self.discovered.clone()
    }

    fn find(&self, id: &str) -> Option<Model> {
        let mut known = self.models.iter().chain(&self.discovered);
        known.find(|model| model.id == id).cloned()
    }

    fn accept(&self, id: &str) -> Option<Model> {
        let is_accepted = self.accepts.contains(&id);
        self.find(id)
            .or_else(|| is_accepted.then(|| Model::new(id, id, 0)))
    }

    fn fields(&self) -> &[&'static [(Field, Support)]] {
        &[]
    }

    fn accounts(&self) -> &dyn Accounts {
        self.pool()
    }

    fn how_to_configure(&self) -> String {
        "set FAKE_TOKEN".to_owned()
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Problems) -> Box<dyn FnOnce() + 'a> {
        if vars.get("FAKE_TOKEN") == Some(self.name) {
            problems.push(format!("{} is wrong", self.name));
        }
        Box::new(|| self.pool().replace(vec![(9, 9)]))
    }

    fn chat<'a>(
        &'a self,
        _ask: &'a Arc<ChatRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.answer(turn))
    }
}

/// An error of this kind.
pub(super) fn fails(kind: Kind) -> Step {
    Step::Fails(ProviderError::new(kind, "x"))
}

/// What a dispatcher needs; retries after 100 and 200 ms.
pub(super) fn job(pairs: &[(&str, &str)]) -> Job {
    // What main does at start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let common = [
        ("ALLOW_ANONYMOUS", "true"),
        ("RETRY_DELAYS_MS", "100,200"),
        ("REQUEST_TIMEOUT", "3600"),
    ];
    let vars = Vars::new(common.iter().chain(pairs).copied());
    let mut problems = Problems::default();
    let settings = Settings::read(&vars, &mut problems);
    assert_eq!(problems.errors, Vec::<String>::new());
    let (sender, cut) = watch::channel(false);
    // It lives as long as the process.
    std::mem::forget(sender);
    Job {
        client: Client::new(Default::default()),
        memory: Memory::new(settings.http.request_memory_bytes),
        settings: Arc::new(settings),
        janitor: Box::leak(Box::<Janitor>::default()),
        cut,
        caller: 0,
        client_name: "tests".into(),
        client_id: "tests".into(),
        conversations: None,
        marks: NonceKey::new(None),
        lasting: Arc::default(),
    }
}

/// The first model of each provider, in this order.
pub(super) fn route(providers: &[&Arc<Fake>]) -> Route {
    let candidates = providers.iter().map(|provider| Candidate {
        model: provider.models[0].clone(),
        provider: Arc::clone(provider) as Arc<dyn Provider>,
        tools: Tools::Emulate,
    });
    Route {
        candidates: candidates.collect(),
    }
}

/// A question with these members besides.
pub(super) fn question(members: &str) -> Arc<ChatRequest> {
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}]{members}}}"#);
    Arc::new(crate::http::openai::body::read(body.into()).unwrap())
}

/// Takes what a run says, until it is over.
pub(super) async fn all(run: &mut Run) -> (Vec<ChatEvent>, Result<(), ProviderError>) {
    let mut events = Vec::new();
    loop {
        match std::future::poll_fn(|cx| run.poll_events(cx, &mut events)).await {
            Progress::Events => {}
            Progress::Over(result) => return (events, result),
        }
    }
}

/// The text of events, and how they end.
pub(super) fn told(events: &[ChatEvent]) -> (String, Option<FinishReason>) {
    let (mut text, mut end) = (String::new(), None);
    for event in events {
        match event {
            ChatEvent::Text(piece) => text.push_str(piece),
            ChatEvent::Finish(reason) => assert!(end.replace(*reason).is_none(), "two ends"),
            _ => {}
        }
    }
    (text, end)
}

/// A service that answers every call with the next of its statuses, the last of which is for all further ones.
pub(super) struct Service {
    pub(super) base_url: String,
    /// `METHOD /path`, and the value of `authorization` where there is one.
    calls: Arc<Mutex<Vec<String>>>,
}

impl Service {
    pub(super) fn new(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&calls);
        std::thread::spawn(move || {
            for (at, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let mut call: String = head.split(" HTTP/").next().unwrap().to_owned();
                let lines = head.lines().filter_map(|line| line.split_once(": "));
                for (_, value) in lines.filter(|(name, _)| *name == "authorization") {
                    call.push(' ');
                    call.push_str(value);
                }
                heard.lock().unwrap().push(call);
                let status = statuses[at.min(statuses.len() - 1)];
                let answer = format!(
                    "HTTP/1.1 {status} x\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx"
                );
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { base_url, calls }
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

/// Waits until all clean-up is done.
pub(super) async fn cleaned(janitor: &Janitor) {
    let began = Instant::now();
    while janitor.pending() > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "never cleaned up"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An errand that calls `METHOD /path` of a service.
pub(super) fn errand(service: &Service, method: &str, path: &str) -> Errand {
    let method = method.parse().unwrap();
    Request::new("test", method, format!("{}/{path}", service.base_url)).into()
}

/// What every decoder must do with a sample of its service's stream: each split in two and byte by byte give the same, and each
/// prefix ends in an answer or in an error (`is_ended`: in exactly one of them).
pub(crate) fn decodes_however_it_is_torn<T: PartialEq + std::fmt::Debug>(
    sample: &[u8],
    decode: impl Fn(&[&[u8]]) -> T,
    is_ended: impl Fn(&T) -> bool,
) {
    let whole = decode(&[sample]);
    for at in 0..=sample.len() {
        let (head, tail) = sample.split_at(at);
        assert_eq!(decode(&[head, tail]), whole, "split at byte {at}");
        if at < sample.len() {
            let said = decode(&[head]);
            assert!(is_ended(&said), "cut at byte {at}: {said:?}");
        }
    }
    let bytes: Vec<&[u8]> = sample.chunks(1).collect();
    assert_eq!(decode(&bytes), whole, "byte by byte");
}
