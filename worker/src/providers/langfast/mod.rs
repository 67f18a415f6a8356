//! LangFast: a prompt-testing site that lets guests in. Steps: guest (section 2), socket (6), run (4), answer (6),
//! goodbye (8) of `wire/langfast.md`. Nothing is left behind upstream, so there is nothing to delete.

mod account;
mod card;
mod inbox;
mod models;
mod prompt;
mod session;
pub mod stream;
mod wire;

pub use card::CARD;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::LocalBoxFuture;

use self::{
    account::{Door, Guest},
    inbox::Inbox,
    prompt::Meta,
    session::Session,
    wire::Caller,
};
use super::{Model, Provider, Turn};
use crate::impossible::OrImpossible as _;
use crate::{
    accounts::{
        Accounts, Kept, Secret,
        anonymous::{Allowance, Guests},
    },
    chat::{ChatRequest, Field, Kind, ProviderError, Support, aside::aside},
    settings::{Problems, Settings, Vars},
    upstream::{socketio::connection::Connection, websocket::HandshakeError},
};

const NAME: &str = "langfast";
/// A constant of the site's own front end (section 2).
const PROMPT_ID: &str = "6456df9f-f4fd-42b3-97ff-df29af7188b7";
/// For the first two steps together (section 6), and for a sign-up or a refresh.
const LONGEST_OPENING: Duration = Duration::from_secs(20);
/// The socket has its own idea of silence (its pings), so the transport's is out of the way.
const NO_STALL: Duration = Duration::from_secs(86_400);

/// The provider.
#[derive(Debug)]
pub struct LangFast {
    guests: Arc<Guests<Guest>>,
    anon_key: Mutex<Option<Secret>>,
    own: Mutex<Option<Session>>,
    /// Without what only `LANGFAST_ANONYMOUS` and a session of one's own decide.
    allowance: Allowance,
    kept: Kept,
    models: Vec<Model>,
    base_url: Arc<str>,
    socket_base_url: String,
    prompt_id: String,
    opening: Duration,
    stall: Duration,
}

/// Reads the provider's own variables (section 2).
pub fn configure(
    vars: &Vars,
    settings: &Settings,
    problems: &mut Problems,
) -> Vec<Arc<dyn Provider>> {
    let most = vars.number("MAX_CREDENTIALS", 10, 1, 1000, problems);
    let allowance = Allowance {
        // Fewer than a lowered maximum is no mistake: the minimum has a default of its own.
        least: vars.number("MIN_CREDENTIALS", most.min(3), 0, 1000, problems),
        most,
        sign_ups_per_hour: vars.number("LANGFAST_SIGNUPS_PER_HOUR", 30, 1, 100_000, problems),
    };
    if allowance.least > allowance.most {
        problems.push("MIN_CREDENTIALS must not be greater than MAX_CREDENTIALS".to_owned());
    }
    let house_stall = settings.upstream.timeouts.stall;
    let stall = vars.number(
        "LANGFAST_STALL_TIMEOUT_S",
        // Section 2: at most 60 s by default, however patient the other providers are.
        house_stall.min(Duration::from_secs(60)).as_secs_f64(),
        0.0,
        86_400.0,
        problems,
    );
    let base_url: Arc<str> = CARD.base_url("LANGFAST_BASE_URL", vars, problems).into();
    let langfast = LangFast {
        guests: Arc::new(guests(allowance, settings, &base_url)),
        own: Mutex::default(),
        allowance,
        kept: settings.providers.kept.clone(),
        anon_key: Mutex::new(account::anon_key(vars, problems)),
        models: models::listed(),
        base_url,
        socket_base_url: socket_base_url(vars, problems),
        prompt_id: vars
            .get("LANGFAST_PROMPT_ID")
            .unwrap_or(PROMPT_ID)
            .to_owned(),
        // Never longer than the house is patient: both steps come before the first word.
        opening: house_stall.min(LONGEST_OPENING),
        stall: Duration::from_secs_f64(stall),
    };
    let own = session::read(vars, &langfast.kept, problems);
    langfast.admit(own, vars, problems);
    langfast.guests.open(langfast.anon_key().is_some());
    vec![Arc::new(langfast)]
}

/// Guests that outlive their worker, each at the service that has signed it up.
fn guests(allowance: Allowance, settings: &Settings, base_url: &Arc<str>) -> Guests<Guest> {
    let (kept, written, read) = (
        settings.providers.kept.clone(),
        Arc::clone(base_url),
        Arc::clone(base_url),
    );
    Guests::new(allowance, settings.providers.patience).carrying(
        kept,
        move |guest: &Guest| guest.written(&written),
        move |text| Guest::read(text, &read),
    )
}

/// `ws`, `wss`, `http` and `https` are accepted (section 3).
fn socket_base_url(vars: &Vars, problems: &mut Problems) -> String {
    const VARIABLE: &str = "LANGFAST_SOCKET_BASE_URL";
    let default = CARD.default_of(VARIABLE);
    // HTTP schemes are accepted, and the base URL's checks are of HTTP.
    let given = vars.get(VARIABLE).unwrap_or(default);
    let as_http = match given.strip_prefix("ws") {
        Some(rest) => format!("http{rest}"),
        None => given.to_owned(),
    };
    let url = Vars::new([(VARIABLE, as_http)]).base_url(VARIABLE, default, problems);
    url.replacen("http", "ws", 1)
}

impl Provider for LangFast {
    fn card(&self) -> &'static super::Card {
        &CARD
    }

    fn models(&self) -> &[Model] {
        &self.models
    }

    fn find(&self, id: &str) -> Option<Model> {
        models::find(id)
    }

    /// Those of the chat models; [`Provider::fields_of`] knows the others.
    fn fields(&self) -> &[&'static [(Field, Support)]] {
        models::Family::Chat.fields()
    }

    fn fields_of(&self, model: &Model) -> &[&'static [(Field, Support)]] {
        models::row_of(model).family.fields()
    }

    fn accounts(&self) -> &dyn Accounts {
        &*self.guests
    }

    fn renew<'a>(&'a self, vars: &Vars, problems: &mut Problems) -> Box<dyn FnOnce() + 'a> {
        let anon_key = account::anon_key(vars, problems);
        let own = session::read(vars, &self.kept, problems);
        let allowance = self.allowance_with(own.is_some(), vars, problems);
        Box::new(move || {
            // Only where something changed: admitting anew throws the guests away that hold its token.
            if own != *self.own() {
                self.put(own, allowance);
            }
            let is_new = anon_key != self.anon_key();
            let is_open = anon_key.is_some();
            *self.anon_key.lock().unwrap_or_else(PoisonError::into_inner) = anon_key;
            // A new key opens the door again that an old one had closed.
            if is_new {
                self.guests.open(is_open);
            }
        })
    }

    fn chat<'a>(
        &'a self,
        ask: &'a Arc<ChatRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.answer(ask, turn))
    }
}

impl LangFast {
    fn admit(&self, own: Option<Session>, vars: &Vars, problems: &mut Problems) {
        let allowance = self.allowance_with(own.is_some(), vars, problems);
        self.put(own, allowance);
    }

    /// Guests are signed up beside a session of one's own only where `LANGFAST_ANONYMOUS` says so (section 2).
    fn allowance_with(&self, is_own: bool, vars: &Vars, problems: &mut Problems) -> Allowance {
        let mut allowance = self.allowance;
        if !vars.switch("LANGFAST_ANONYMOUS", !is_own, problems) {
            // Section 2: with a session of one's own nobody signs up by default.
            allowance.sign_ups_per_hour = 0;
        }
        allowance
    }

    fn put(&self, own: Option<Session>, allowance: Allowance) {
        let issued = own.as_ref().map(|session| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            session.issued(now.or_impossible("the clock is past 1970").as_secs())
        });
        self.guests.admit(issued, allowance);
        *self.own() = own;
    }

    fn own(&self) -> std::sync::MutexGuard<'_, Option<Session>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, ask: &Arc<ChatRequest>, turn: &mut Turn) -> Result<(), ProviderError> {
        let (chat, row) = (Arc::clone(ask), models::row_of(&turn.model));
        // Off this thread: a conversation of megabytes is copied.
        let meta = aside(chat.bytes, move || prompt::meta(&chat, row)).await?;
        // Without a key [`Guests`] has let nobody in, so this is never sent empty.
        let anon_key = self.anon_key().unwrap_or_default();
        let door = Door {
            messenger: turn.messenger(),
            base_url: Arc::clone(&self.base_url),
            anon_key: anon_key.clone(),
            timeout: self.opening,
        };
        // The door goes along: a guest may have to be signed up or renewed first.
        let guest = turn.lease_guest(&self.guests, &door).await?;
        let inbox = Inbox::new(guest.own.is_some());
        // Held to the end: dropping it says goodbye, whatever the end is.
        let _connection = self.connect(turn, &guest, &inbox).await?;
        let caller = Caller {
            base_url: &self.base_url,
            anon_key: &anon_key,
            guest: &guest,
        };
        // With the prompt of our own where the constant one is gone (section 1).
        let job = self.run(turn, caller, &meta).await?;
        if job.is_some() {
            guest.share();
        } else if !guest.claim() {
            // Without a job's name, another run of the same guest could not be told from ours (section 8).
            return Err(ProviderError::new(
                Kind::Unavailable,
                "the run could not be told from another of the same guest",
            ));
        }
        inbox.begin(job);
        loop {
            let outcome = inbox.take(&mut turn.events);
            turn.emit().await?;
            if let Some(outcome) = outcome {
                // The end and its words: what came after it is nobody's.
                return outcome;
            }
            inbox.more(self.stall).await?;
        }
    }

    /// Opens the socket and waits until the runner has let us in: before the run is posted, so that nothing of its
    /// answer can be missed.
    async fn connect(
        &self,
        turn: &Turn,
        guest: &Guest,
        inbox: &Inbox,
    ) -> Result<Connection, ProviderError> {
        let opening = async {
            let request = wire::socket(&self.socket_base_url).timeout(NO_STALL);
            let socket = turn.websocket(request).await.map_err(|error| match error {
                HandshakeError::Refused(status) => refused(status, b"", guest, turn),
                HandshakeError::Transport(error) => ProviderError::from(error),
            })?;
            let connection = Connection::start(socket, wire::socket_auth(guest), inbox.ear());
            inbox.connected().await?;
            Ok(connection)
        };
        // Both steps together have one time (section 6).
        inbox::within(self.opening, opening)
            .await
            .unwrap_or_else(|| {
                Err(ProviderError::new(
                    Kind::Timeout,
                    "the runner did not let us in in time",
                ))
            })
    }

    /// Posts the run, with a prompt of our own if the constant one is not known any more. Returns our job's id, if
    /// the answer names it.
    async fn run(
        &self,
        turn: &mut Turn,
        caller: Caller<'_>,
        meta: &Meta,
    ) -> Result<Option<String>, ProviderError> {
        let first = match self.post_run(turn, caller, &self.prompt_id, meta).await? {
            Ok(job) => return Ok(job),
            // Only an unknown prompt: any other refusal is passed on as it is.
            Err(first) => first,
        };
        let mut answer = turn
            .send(wire::create_prompt(caller, turn.unix_ms(), meta))
            .await?;
        let body = answer.short().await?;
        if answer.status.as_u16() == 401 {
            return Err(refused(401, &body, caller.guest, turn));
        }
        // The run's refusal is the one to tell.
        let own = answer.status.is_success().then(|| wire::prompt_id(&body));
        let Some(Ok(own)) = own else {
            return Err(first);
        };
        self.post_run(turn, caller, &own, meta).await?
    }

    /// One run. The inner error is a prompt that is not known.
    async fn post_run(
        &self,
        turn: &mut Turn,
        caller: Caller<'_>,
        prompt_id: &str,
        meta: &Meta,
    ) -> Result<Result<Option<String>, ProviderError>, ProviderError> {
        // New for every try: the service takes a run twice for one (section 7).
        let run_id = turn.uuid().to_string();
        let mut answer = turn
            .send(wire::run(caller, &run_id, prompt_id, meta))
            .await?;
        let body = answer.short().await?;
        if answer.status.is_success() {
            return Ok(Ok(wire::job(&body)));
        }
        let status = answer.status.as_u16();
        if wire::is_key_refused(status, &body) {
            // The key is everybody's: this guest did nothing.
            turn.absolve();
        }
        let error = refused(status, &body, caller.guest, turn);
        let named = error.retry_after.or_else(|| answer.retry_after());
        let error = error.with_retry_after(named);
        if wire::is_unknown_prompt(status, &error) {
            Ok(Err(error))
        } else {
            Err(error)
        }
    }

    fn anon_key(&self) -> Option<Secret> {
        let key = self.anon_key.lock();
        key.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn refused(status: u16, body: &[u8], guest: &Guest, turn: &Turn) -> ProviderError {
    wire::refusal(status, body, guest.own.is_some(), turn.unix_ms() / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket_url(value: &str) -> (String, usize) {
        let mut problems = Problems::default();
        let vars = Vars::new([("LANGFAST_SOCKET_BASE_URL", value)]);
        (socket_base_url(&vars, &mut problems), problems.errors.len())
    }

    #[test]
    fn the_sockets_address_may_have_four_schemes() {
        for (given, expected) in [
            ("ws://h:1/", "ws://h:1"),
            ("wss://h", "wss://h"),
            ("http://h", "ws://h"),
            ("https://h/x", "wss://h/x"),
        ] {
            assert_eq!(socket_url(given), (expected.to_owned(), 0));
        }
        assert!(socket_url("").0.starts_with("wss://langfast-"));
        assert_eq!(socket_url("ftp://h").1, 1);
    }
}
