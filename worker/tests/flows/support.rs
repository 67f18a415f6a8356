//! A worker in this process, and a client that sees what it really sends.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use actix_web::{dev::ServerHandle, http::header::HeaderMap, rt::System};
use futures_util::StreamExt as _;
use hive2api_simulators::{self as simulate, Options, Running, Script, control::Control};
use hive2api_worker::{
    app::App,
    process::{idle, serve},
    providers::Registry,
    settings::{Problems, Settings, Vars},
    store::Store,
};
use serde_json::{Value, json};

pub(crate) const KEY: &str = "sk-test-0123456789";

/// Short waits, so that faults are seen soon.
const SETTINGS: &[(&str, &str)] = &[
    ("API_MASTER_KEY", KEY),
    ("WORKER_THREADS", "1"),
    ("WORKER_NAME", "test-worker"),
    ("RETRY_DELAYS_MS", "10,10"),
    ("COOLDOWN_BASE_SECONDS", "0.01"),
    ("STALL_TIMEOUT", "1"),
    ("CONNECT_TIMEOUT", "2"),
];

pub(crate) fn simulator(name: &str, accounts: usize) -> Running {
    let options = Options {
        accounts,
        ..Options::default()
    };
    simulate::start(name, options).unwrap()
}

/// What a service says twice, with a thought before it, in one of its odd ways and so many bytes at once.
pub(crate) fn odd_script(text: &str, quirk: &str, write_bytes: Option<usize>) -> Script {
    Script {
        text: Some(text.to_owned()),
        reasoning: Some("想一想".to_owned()),
        quirks: vec![quirk.to_owned()],
        write_bytes,
        times: Some(2),
        ..Script::default()
    }
}

/// A worker on a free port, stopped when dropped.
pub(crate) struct Hive {
    pub(crate) url: String,
    pub(crate) app: Arc<App>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Hive {
    /// A worker with the simulators' credentials and these further settings.
    pub(crate) fn start(simulators: &[&Running], more: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut pairs: Vec<(String, String)> = SETTINGS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        pairs.extend(simulators.iter().flat_map(|simulator| simulator.env()));
        pairs.extend(
            more.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let (vars, mut problems) = (Vars::new(pairs), Problems::default());
        let settings = Settings::read(&vars, &mut problems);
        let registry = Registry::new(&vars, &settings, &mut problems);
        assert!(problems.errors.is_empty(), "{problems:?}");
        // A store of its own, unless the settings name one that others share.
        let store = if vars.get("STORE_URL").is_some() {
            Store::open(settings.store.place(Path::new(""))).unwrap()
        } else {
            Store::in_memory()
        };
        let app = Arc::new(App::with_store(settings, registry, store));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, receiver) = mpsc::channel();
        let shared = Arc::clone(&app);
        let thread = std::thread::spawn(move || {
            System::new().block_on(async move {
                actix_web::rt::spawn(idle::run(Arc::clone(&shared)));
                let server = serve::start(shared, listener).unwrap();
                sender.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Self {
            url,
            app,
            handle: receiver.recv().unwrap(),
            thread: Some(thread),
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> awc::ClientRequest {
        awc::Client::builder()
            .disable_timeout()
            .finish()
            .request(method.parse().unwrap(), format!("{}{path}", self.url))
            .insert_header(("authorization", format!("Bearer {KEY}")))
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        Reply::read(self.request("GET", path).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, body: &Value) -> Reply {
        self.post_raw(body.to_string()).await
    }

    pub(crate) async fn post_raw(&self, body: impl Into<String>) -> Reply {
        let request = self
            .request("POST", "/v1/chat/completions")
            .insert_header(("content-type", "application/json"));
        Reply::read(request.send_body(body.into()).await.unwrap()).await
    }

    /// One user message to a model, in one piece.
    pub(crate) async fn ask(&self, model: &str, text: &str) -> Reply {
        self.post(&question(model, text)).await
    }

    /// One user message to a model, streamed.
    pub(crate) async fn stream(&self, model: &str, text: &str) -> Reply {
        self.stream_with(model, text, json!({})).await
    }

    /// As [`Hive::stream`], with further fields.
    pub(crate) async fn stream_with(&self, model: &str, text: &str, more: Value) -> Reply {
        let mut body = question(model, text);
        body["stream"] = json!(true);
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        self.post(&body).await
    }

    /// Starts a stream, reads until the first `content` piece has come, and goes away.
    pub(crate) async fn stream_and_leave(&self, model: &str, text: &str) {
        let mut body = question(model, text);
        body["stream"] = json!(true);
        let mut response = self
            .request("POST", "/v1/chat/completions")
            .send_body(body.to_string())
            .await
            .unwrap();
        let mut seen = String::new();
        while !seen.contains(r#""content":"#) || seen.matches("data:").count() < 3 {
            let piece = response.next().await;
            let piece = piece.unwrap_or_else(|| panic!("it ended with {seen:?}"));
            seen.push_str(&String::from_utf8_lossy(&piece.unwrap()));
        }
    }
}

impl Drop for Hive {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn question(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

/// A whole answer, streamed or not.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) async fn read(mut response: awc::ClientResponse) -> Self {
        let text =
            String::from_utf8(response.body().limit(64 << 20).await.unwrap().to_vec()).unwrap();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text,
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// (status, type, code) of an error.
    pub(crate) fn error(&self) -> (u16, String, String) {
        let error = self.json()["error"].clone();
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{}",
            self.text
        );
        assert!(error.get("param").is_some(), "{}", self.text);
        let word = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        (self.status, word("type"), word("code"))
    }

    pub(crate) fn message(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()["choices"][0]["message"].clone()
    }

    pub(crate) fn content(&self) -> String {
        self.message()["content"].as_str().unwrap().to_owned()
    }

    pub(crate) fn finish(&self) -> String {
        self.json()["choices"][0]["finish_reason"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The `data:` payloads of a stream, checked for their form.
    pub(crate) fn payloads(&self) -> Vec<&str> {
        assert!(
            self.header("content-type").starts_with("text/event-stream"),
            "{} {}",
            self.status,
            self.text
        );
        self.text
            .split_terminator("\n\n")
            .filter(|event| !event.starts_with(": keep-alive"))
            .map(|event| {
                event
                    .strip_prefix("data: ")
                    .filter(|data| !data.contains('\n'))
                    .unwrap_or_else(|| panic!("no single data line: {event:?}"))
            })
            .collect()
    }

    pub(crate) fn chunks(&self) -> Vec<Value> {
        self.payloads()
            .into_iter()
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }

    /// The deltas of choice 0, joined, for one member.
    pub(crate) fn streamed(&self, member: &str) -> String {
        self.chunks()
            .iter()
            .filter_map(|chunk| {
                chunk["choices"][0]["delta"][member]
                    .as_str()
                    .map(str::to_owned)
            })
            .collect()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.payloads().last() == Some(&"[DONE]")
    }

    /// The error event in a stream.
    pub(crate) fn stream_error(&self) -> Option<Value> {
        self.chunks()
            .into_iter()
            .find_map(|chunk| chunk.get("error").cloned())
    }
}

/// A file for the store, gone with the test.
pub(crate) struct Shared(PathBuf);

impl Shared {
    pub(crate) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("hive2api-flows-{}.db", uuid::Uuid::new_v4())))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.0.display())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{ending}", self.0.display()));
        }
    }
}

/// The smallest PNG, as a data URL.
pub(crate) const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// How soon everything upstream must be over once a client has gone.
pub(crate) const SOON: Duration = Duration::from_secs(2);

/// Fifty streams at once, each with words of its own; `directives` go before the count in the question.
pub(crate) async fn fifty_streams_do_not_mix(hive: &Hive, model: &str, directives: &str) {
    let streams = (0..50).map(|at| async move {
        let text = format!("tag:T{at} {directives} count:40");
        hive.stream(model, &text).await.streamed("content")
    });
    let answers = futures_util::future::join_all(streams).await;
    for (at, text) in answers.into_iter().enumerate() {
        let expected: Vec<String> = (1..=40).map(|word| format!("T{at}-{word}")).collect();
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), expected);
    }
}

/// Waits until a simulator has no open stream and no conversation left; fails after the time given.
pub(crate) async fn settled(control: &Control, within: Duration) {
    let started = Instant::now();
    loop {
        let state = control.state();
        if state.open_streams == 0 && state.conversations == 0 {
            return;
        }
        assert!(started.elapsed() < within, "{state:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a strict service would have complained about: nothing.
pub(crate) fn assert_no_violations(control: &Control) {
    let violations = control.state().violations;
    assert!(violations.is_empty(), "{violations:#?}");
}
