//! One attempt of one provider at one answer: what [`super::Provider::chat`] works with.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus::IntGauge;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::{Janitor, Model, janitor::Errand, outbox::Outbox, reuse::Reuse};
use crate::impossible::OrImpossible as _;
use crate::{
    accounts::{
        Choice, Known, Lease, Pool,
        anonymous::{GuestLease, Guests, Issuer},
    },
    budget::Share,
    chat::{
        ChatEvent, ChatRequest, Kind, Message, Part, ProviderError,
        aside::aside,
        emulate::schema::Offered,
        filter::{Chain, Ending, Filter as _},
        media::Input,
    },
    conversations::Thread,
    metrics::METRICS,
    settings::Conversations,
    upstream::{
        Answer, Client, Request, Rest, TransportError,
        fetch::{self, Attachment, FetchError},
        websocket::{HandshakeError, WebSocket},
    },
};

/// Longest conversation that is sent to a web chat. The largest context window of any of them is a million tokens, which
/// is 4 to 5 MB; what is longer would only take memory and time on its way to a refusal.
pub(super) const MOST_PROMPT_BYTES: usize = 8 << 20;

/// Most pictures and documents in one request.
/// Ours, not a service's: it bounds the look-ups and uploads that one request can cause.
const MOST_ATTACHMENTS: usize = 100;
/// An attachment and the upload that is made of it.
const COPIES_OF_ATTACHMENTS: usize = 2;

/// One attempt at an answer. Dropping it, in whatever way the attempt ended, starts the clean-up.
#[derive(Debug)]
pub struct Turn {
    /// The model that the route chose.
    pub model: Model,
    /// Decoders push here; [`Turn::emit`] passes on.
    pub events: Vec<ChatEvent>,
    /// A hash of the caller, for choosing an account.
    pub caller: u64,
    pub(super) provider: Arc<str>,
    pub(super) client: Client,
    pub(super) outbox: Rc<Outbox>,
    pub(super) chain: Chain,
    /// On the way from `events` through `chain` to the outbox; empty between calls.
    pub(super) passed: Vec<ChatEvent>,
    pub(super) fetch: Rc<fetch::Policy>,
    /// A cell, because [`Turn::attachments`] is called while parts of the turn are lent out; borrowed between awaits only.
    pub(super) attached: RefCell<Attached>,
    pub(super) conversations: Conversations,
    pub(super) janitor: &'static Janitor,
    pub(super) tried: Vec<usize>,
    pub(super) account: Option<usize>,
    /// The request may use one account only.
    pub(super) is_pinned: bool,
    /// The account of the first question, where this is the second one of an answer.
    pub(super) again_on: Option<usize>,
    /// It came beside the account's turns ([`Choice::Beside`]), and how it goes says little of the account.
    pub(super) is_beside: bool,
    /// It has come to delete something, and asks nothing.
    pub(super) is_errand: bool,
    /// Where conversations may continue.
    pub(super) reuse: Option<Box<Reuse>>,
    pub(super) afterwards: Vec<Errand>,
    /// Which of those is the deletion of the conversation that was opened last.
    pub(super) deletion: Option<usize>,
    pub(super) on_abort: Vec<Errand>,
    pub(super) held: Vec<Held>,
    /// What counts the conversation that was opened last.
    pub(super) open: Option<Held>,
    pub(super) is_over: bool,
}

/// What a turn has had of pictures and documents so far.
#[derive(Debug)]
pub(super) struct Attached {
    number: usize,
    bytes: usize,
    share: Share,
}

impl Attached {
    pub(super) fn new(share: Share) -> Self {
        Self {
            number: 0,
            bytes: 0,
            share,
        }
    }
}

/// Something that a turn holds on to; see [`Turn::hold`]. Shared by the turn and by whoever may let go of it earlier: the
/// first of them empties the cell.
#[derive(Clone)]
pub struct Held(Rc<Cell<Option<Box<dyn Any>>>>);

impl Held {
    pub(super) fn of(guard: impl Any) -> Self {
        Self(Rc::new(Cell::new(Some(Box::new(guard)))))
    }

    /// Lets go of it now.
    pub fn release(&self) {
        self.0.take();
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

/// Counts an upstream conversation for as long as a turn holds it: until it is deleted, or left to the account.
struct Open(IntGauge);

impl Open {
    fn at(provider: &str) -> Self {
        let gauge = METRICS.conversations.with_label_values(&[provider]);
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Turn {
    /// Leases an account that has not failed this answer yet.
    ///
    /// # Errors
    /// Why none can be had ([`Pool::lease`]).
    pub async fn lease<C: PartialEq + Known>(
        &mut self,
        pool: &Pool<C>,
        choice: Choice,
    ) -> Result<Lease<C>, ProviderError> {
        // Set before anything can fail: an error without an account must not be laid to another one's charge.
        self.is_pinned = matches!(choice, Choice::Only(_) | Choice::Beside(_));
        // The second question continues what the first one's account knows; wherever it was leased to, it stays.
        let choice = match self.again_on {
            Some(number) if self.is_errand => Choice::Beside(number),
            Some(number) => Choice::Only(number),
            None => choice,
        };
        self.is_beside = matches!(choice, Choice::Beside(_));
        let what = self.model.makes;
        let lease = pool.lease_to(what, choice, &self.tried).await?;
        // Known to the outbox at once: a time-out drops this future, and its error is to name the account.
        self.account = Some(lease.number());
        self.outbox.set_account(lease.number());
        Ok(lease)
    }

    /// Leases the account that has a job, for a look at it ([`Choice::Beside`]): `account` is a
    /// [`crate::chat::media::Ticket`]'s.
    ///
    /// # Errors
    /// 503 where none of this worker's accounts is it, 502 where its credential was refused; no other account is tried.
    pub async fn lease_known<C: Known + PartialEq>(
        &mut self,
        pool: &Pool<C>,
        account: &str,
    ) -> Result<Lease<C>, ProviderError> {
        // The number in the pool is this worker's own and changes when credentials are renewed, so the ticket has the
        // fingerprint.
        let is_it = |known: &C| (known.fingerprint().as_str() == account).then_some(());
        let Some((number, ())) = pool.read(is_it).into_iter().next() else {
            // Without an account no retry looks for another one; the dispatcher is told so in any case.
            self.is_pinned = true;
            return Err(ProviderError::new(
                Kind::AccountNotConfigured,
                "the account that this was made with is not configured (any more)",
            ));
        };
        self.lease(pool, Choice::Beside(number)).await
    }

    /// As [`Turn::lease`], from a pool of guests.
    ///
    /// # Errors
    /// Why none can be had ([`Guests::lease`]).
    pub async fn lease_guest<C: Send + Sync + 'static>(
        &mut self,
        guests: &Arc<Guests<C>>,
        issuer: &impl Issuer<C>,
    ) -> Result<GuestLease<C>, ProviderError> {
        let lease = guests.lease(issuer, &self.tried).await?;
        self.account = Some(lease.number());
        self.outbox.set_account(lease.number());
        Ok(lease)
    }

    /// What goes wrong from here on is not the leased account's fault, and no other account would fare better.
    pub fn absolve(&mut self) {
        self.account = None;
    }

    /// Sends a request and waits for the head of its answer; counted in `hive_upstream_requests_total`.
    ///
    /// # Errors
    /// Transport faults only; an HTTP error status is an answer, for the provider's `wire::refusal` to judge.
    pub async fn send(&self, request: Request) -> Result<Answer, ProviderError> {
        Ok(send(&self.client, &self.provider, request, None).await?)
    }

    /// As [`Turn::send`], with the rest of a body that comes while it is sent. Once some of that has gone out, nothing can be
    /// tried again.
    ///
    /// # Errors
    /// As [`Turn::send`], and a body that breaks off.
    pub async fn send_with(
        &self,
        request: Request,
        rest: Option<Rest>,
    ) -> Result<Answer, ProviderError> {
        // The clone stays here only to be asked: both are one stream.
        let answer = send(&self.client, &self.provider, request, rest.clone()).await;
        // Asked whatever came of it: bytes that left us may have been taken, though no answer came.
        if rest.is_some_and(|rest| rest.has_begun()) {
            self.outbox.use_up();
        }
        Ok(answer?)
    }

    /// For calls that outlive this turn, on the same thread.
    pub fn messenger(&self) -> Messenger {
        Messenger {
            provider: Arc::clone(&self.provider),
            client: self.client.clone(),
        }
    }

    /// The tools whose calls are taken out of the answer's words: a decoder that leaves out calls of its service's own tools
    /// is to leave these in.
    pub fn offered(&self) -> Option<Arc<Offered>> {
        self.chain.offered().cloned()
    }

    /// Whether the client has (or is about to get) some output, so that nothing can be tried again.
    pub fn has_output(&self) -> bool {
        self.outbox.has_output()
    }

    /// Opens a WebSocket; counted as [`Turn::send`] counts.
    ///
    /// # Errors
    /// [`HandshakeError`]: what a refused handshake means is the provider's to say.
    pub async fn websocket(&self, request: Request) -> Result<WebSocket, HandshakeError> {
        let step = request.step;
        let result = self.client.websocket(request).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(HandshakeError::Refused(500..)) => "http_5xx",
            Err(HandshakeError::Refused(_)) => "http_4xx",
            Err(HandshakeError::Transport(TransportError::Timeout)) => "timeout",
            Err(HandshakeError::Transport(TransportError::Connect | TransportError::BadUrl)) => {
                "connect"
            }
            Err(HandshakeError::Transport(_)) => "broken",
        };
        METRICS
            .upstream_requests_total
            .with_label_values(&[&*self.provider, step, outcome])
            .inc();
        result
    }

    /// Passes the decoded events on and waits until the door has taken them, so that a slow client slows the
    /// provider down instead of filling the memory.
    ///
    /// # Errors
    /// [`Kind::Cut`] once the gateway itself has ended the answer (a stop sequence, the token limit): `?` carries it out
    /// of the provider's flow, and the dispatcher makes a success of it.
    pub async fn emit(&mut self) -> Result<(), ProviderError> {
        // Many frames of a service hold nothing for the client; nothing is to be waited for then.
        if self.events.is_empty() {
            return Ok(());
        }
        // Drained and not taken: the vector keeps its room for the next call of the decoder.
        for event in self.events.drain(..) {
            match event {
                // Counted here, where the provider is known; no door has a use for it.
                ChatEvent::Unknown(place) => METRICS.unknown_shape(&self.provider, place),
                event => self.chain.apply(event, &mut self.passed),
            }
        }
        // The filters may hold everything back; then the provider goes on at once.
        if !self.passed.is_empty() {
            if let Some(reuse) = &mut self.reuse {
                reuse.heard(&self.passed);
            }
            self.outbox.append(&mut self.passed);
            // No waker is needed: the door polls this future again as soon as it has taken the events.
            poll_fn(|_| {
                if self.outbox.is_empty() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
        // After the last events have gone out, so that a client gets all that precedes the stop.
        if self.is_cut() {
            Err(ProviderError::cut())
        } else {
            Ok(())
        }
    }

    /// Whether the gateway itself has ended the answer.
    pub(super) fn is_cut(&self) -> bool {
        self.chain.is_cut()
    }

    /// The provider has ended the answer: what the filters hold back goes out, and the end if it has said none, unless
    /// there is more to come.
    pub(super) fn finish(&mut self) -> Ending {
        let ending = self.chain.end(&mut self.passed);
        if let Some(reuse) = &mut self.reuse {
            reuse.heard(&self.passed);
        }
        self.outbox.append(&mut self.passed);
        ending
    }

    /// As [`Turn::emit`], and then what came of decoding: the events before an error are said before it.
    ///
    /// # Errors
    /// That of [`Turn::emit`], else that of `decoded`.
    pub async fn emit_then<T, E: From<ProviderError>>(
        &mut self,
        decoded: Result<T, E>,
    ) -> Result<T, E> {
        self.emit().await?;
        decoded
    }

    /// The upstream conversation that this turn is in, as soon as it is known, and how it is deleted: `deletion` follows
    /// the turn however it ends, unless `CONVERSATIONS=keep`. `None` where a setting of the provider leaves it there.
    pub fn opened(&mut self, id: &str, deletion: Option<Errand>) {
        let is_same = self.outbox.thread().is_some_and(|thread| thread.id == id);
        if is_same
            && let Some(at) = self.deletion.take()
            && at < self.afterwards.len()
        {
            self.afterwards.remove(at);
        }
        self.outbox.set_thread(id);
        // Held by the turn, so that the gauge falls when the clean-up has let go and not when the answer ends.
        self.open = Some(self.hold(Open::at(&self.provider)));
        if let Some(reuse) = &mut self.reuse {
            reuse.opened(id, self.account, self.deletion.is_some());
        }
        self.deletion = deletion.map(|deletion| {
            self.afterwards(deletion);
            self.afterwards.len().saturating_sub(1)
        });
    }

    /// Where this turn goes on from, in a conversation that an earlier one has opened; then it has only what is new to ask.
    pub fn continued(&self) -> Option<Thread> {
        self.reuse.as_ref()?.thread().cloned()
    }

    /// What else must be known to go on with the conversation of [`Turn::opened`], or to delete it
    /// ([`Thread::more`]).
    pub fn remembers(&mut self, more: &str) {
        self.outbox.set_more(more);
    }

    /// The turn went well: where conversations continue, this one is not deleted.
    pub(super) async fn keep(&mut self) {
        let Some(reuse) = self.reuse.take() else {
            return;
        };
        if reuse.keep(&self.outbox).await
            && let Some(at) = self.deletion.take()
            && at < self.afterwards.len()
        {
            self.afterwards.remove(at);
        }
    }

    /// The upstream id of this answer: the parent of the next question in the conversation of [`Turn::opened`].
    pub fn answered_as(&mut self, message: &str) {
        self.outbox.set_message(message);
    }

    /// Registers a call that follows the turn however it ends, for what it leaves behind beside its conversation. Skipped
    /// with `CONVERSATIONS=keep`.
    pub fn afterwards(&mut self, errand: impl Into<Errand>) {
        // With `keep` nothing is registered at all, so that nothing of it can be made by mistake.
        if self.conversations != Conversations::Keep {
            self.afterwards.push(errand.into());
        }
    }

    /// Takes back the call that was registered last with [`Turn::opened`] or [`Turn::afterwards`].
    pub fn withdraw(&mut self) {
        self.outbox.forget_thread();
        self.deletion = None;
        if let Some(reuse) = &self.reuse {
            reuse.deleted();
        }
        if let Some(open) = self.open.take() {
            open.release();
        }
        // The errand and the conversation were registered by one call; a deletion of nothing would be an error in the
        // service's eyes.
        self.afterwards.pop();
    }

    /// Keeps a guard (a lock's) until it is released; at the latest until the clean-up after the turn is done, so
    /// that nobody meets what is about to be deleted.
    pub fn hold(&mut self, guard: impl Any) -> Held {
        let held = Held::of(guard);
        self.held.push(held.clone());
        held
    }

    /// Registers a call that is made when the answer is not wanted any more before its end (a stop call).
    pub fn on_abort(&mut self, errand: impl Into<Errand>) {
        self.on_abort.push(errand.into());
    }

    /// Looks at once, and then again and again until `look` has found something, or failed, or `most` is over: `None`.
    /// Between the starts of two looks there is at least `every`, however long they take; one that is under way when the
    /// time is over is dropped, as all is when the client goes away.
    ///
    /// # Errors
    /// That of `look`.
    pub async fn until<T, E>(
        &mut self,
        every: Duration,
        most: Duration,
        mut look: impl AsyncFnMut(&mut Self) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        let looking = async {
            loop {
                // Taken before the look: its own time counts.
                let next = Instant::now() + every;
                if let Some(found) = look(self).await? {
                    return Ok(Some(found));
                }
                sleep_until(next).await;
            }
        };
        // The time-out drops the look under way, and with it its connection; that is an answer of its own kind, no
        // error.
        timeout(most, looking).await.unwrap_or(Ok(None))
    }

    /// The service has ended the answer by itself: what [`Turn::on_abort`] registered has nothing left to stop.
    pub fn upstream_is_over(&mut self) {
        self.on_abort.clear();
    }

    /// The conversation of `ask` in the one text that a web chat reads, put together by `build`: off the event loop where it is
    /// long.
    ///
    /// # Errors
    /// 400 for one that is longer than any web chat reads.
    pub async fn prompt(
        &self,
        ask: &Arc<ChatRequest>,
        build: fn(&ChatRequest) -> String,
    ) -> Result<String, ProviderError> {
        // `Arc` and a plain function: what leaves the thread owns its part and borrows nothing of the turn.
        let ask = Arc::clone(ask);
        let prompt = aside(ask.bytes, move || build(&ask)).await;
        if prompt.len() > MOST_PROMPT_BYTES {
            return Err(ProviderError::new(
                Kind::ContextLength,
                format!(
                    "the conversation has {} bytes, more than any web chat reads ({MOST_PROMPT_BYTES})",
                    prompt.len()
                ),
            ));
        }
        Ok(prompt)
    }

    /// Decodes or fetches the pictures and documents of a message. All of a turn together have the size that a single one
    /// may have.
    ///
    /// # Errors
    /// 400 that names the part; 503 where all requests together hold too much memory.
    pub async fn attachments(
        &self,
        at: usize,
        message: &Message,
    ) -> Result<Vec<Attachment>, ProviderError> {
        let mut attachments = Vec::new();
        for part in message.attachments() {
            let (source, name) = match part {
                Part::ImageUrl { image_url, .. } => (image_url.url(), None),
                Part::FileUrl { file_url } => (file_url.url(), None),
                Part::File { file } => match (&file.file_data, &file.url) {
                    (None, Some(url)) => (&**url, file.filename.as_deref()),
                    (data, _) => (
                        data.as_deref().unwrap_or_default(),
                        Some(file.filename.as_deref().unwrap_or("document")),
                    ),
                },
                Part::Text { .. } | Part::Refusal { .. } | Part::Other { .. } => continue,
            };
            let refused = |why: &dyn fmt::Display| {
                ProviderError::bad_request(
                    &format!("messages[{at}].content"),
                    format!("An attachment cannot be used: {why}."),
                )
            };
            // In a block, as no borrow may live across the fetch: other attachments of the same turn may be fetched
            // meanwhile.
            let had = {
                let mut attached = self.attached.borrow_mut();
                // Counted before it is fetched: a hundred that fail cost as much as a hundred that do not.
                attached.number += 1;
                if attached.number > MOST_ATTACHMENTS {
                    let why = format!("a request has at most {MOST_ATTACHMENTS} of them");
                    return Err(refused(&why));
                }
                attached.bytes
            };
            let policy = fetch::Policy {
                // What is left of the one allowance, so that the bound holds for all of them together.
                most_bytes: self.fetch.most_bytes.saturating_sub(had),
                ..(*self.fetch).clone()
            };
            let room = |bytes: usize| {
                let share = &mut self.attached.borrow_mut().share;
                // What earlier ones took is part of it: a share is grown to a total.
                share.grow_to((had + bytes) * COPIES_OF_ATTACHMENTS).is_ok()
            };
            let stem = self.uuid().to_string();
            let attachment =
                fetch::attachment(&self.client, &policy, source, name, &stem, &room).await;
            let attachment = attachment.map_err(|error| match error {
                // The worker's memory, not the caller's fault: 503, so that he comes again.
                FetchError::NoRoom => ProviderError::new(Kind::Overloaded, error.to_string()),
                _ => refused(&error),
            })?;
            self.attached.borrow_mut().bytes += attachment.bytes.len();
            attachments.push(attachment);
        }
        Ok(attachments)
    }

    /// A picture (or another file) that came with a request, as a file. `field` is blamed for it (`image[0]`).
    ///
    /// # Errors
    /// 400 that names the field; 503 where all requests together hold too much memory.
    pub async fn input(&self, field: &str, input: &Input) -> Result<Attachment, ProviderError> {
        let stem = self.uuid().to_string();
        let url = match input {
            // It came with the body, whose size is limited and counted.
            Input::File { name, mime, bytes } => {
                return Ok(fetch::file(name, mime, bytes.clone(), &stem));
            }
            Input::Url(url) => url,
        };
        let had = self.attached.borrow().bytes;
        let policy = fetch::Policy {
            most_bytes: self.fetch.most_bytes.saturating_sub(had),
            ..(*self.fetch).clone()
        };
        let room = |bytes: usize| {
            let share = &mut self.attached.borrow_mut().share;
            share.grow_to((had + bytes) * COPIES_OF_ATTACHMENTS).is_ok()
        };
        let file = fetch::attachment(&self.client, &policy, url, None, &stem, &room).await;
        let file = file.map_err(|error| match error {
            FetchError::NoRoom => ProviderError::new(Kind::Overloaded, error.to_string()),
            _ => ProviderError::bad_request(field, format!("It cannot be used: {error}.")),
        })?;
        self.attached.borrow_mut().bytes += file.bytes.len();
        Ok(file)
    }

    /// Opens what the service has made, behind the guard, without any credential: any public address, and what the owner's
    /// own settings point to. To be read as it comes; each silence of it is limited, its size is the caller's to limit.
    /// `range` goes along as the `Range` header; 200, 206 and 416 are answers.
    ///
    /// # Errors
    /// Where it cannot be had. None of it is the account's fault, and to make it again would not help.
    pub async fn open(&self, url: &str, range: Option<&str>) -> Result<Answer, ProviderError> {
        let mut policy = self.fetch.for_results();
        // The head is waited for as any service's is; a video may well be on a slow store.
        policy.timeout = self.client.stall();
        let opened = fetch::open(&self.client, &policy, url, range).await;
        METRICS
            .upstream_requests_total
            .with_label_values(&[&*self.provider, "result", fetch::outcome(&opened)])
            .inc();
        opened.map_err(not_fetched)
    }

    /// The file behind a link that the service has made, whole. `room` says whether there is memory for so many bytes.
    ///
    /// # Errors
    /// As [`Turn::open`], and for a file of more than `FETCH_MAX_BYTES` or a longer time than `FETCH_TIMEOUT`.
    pub async fn download(
        &self,
        answer: Answer,
        room: &dyn Fn(usize) -> bool,
    ) -> Result<Attachment, ProviderError> {
        let stem = self.uuid().to_string();
        let file = fetch::whole(answer, &self.fetch, &stem, room).await;
        file.map_err(not_fetched)
    }

    /// A fresh random UUID. Randomness is had from the turn, so that codecs stay pure.
    pub fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }

    /// Milliseconds since the Unix epoch. The time is had from the turn, so that codecs stay pure.
    pub fn unix_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .or_impossible("a clock is past 1970");
        u64::try_from(since.as_millis()).or_impossible("milliseconds of an age fit")
    }
}

/// Sends a provider's requests outside of any turn: what serves all turns, such as the renewal of a credential.
#[derive(Clone, Debug)]
pub struct Messenger {
    provider: Arc<str>,
    client: Client,
}

impl Messenger {
    /// For a provider's calls apart from any turn.
    pub fn new(provider: &str, client: Client) -> Self {
        Self {
            provider: provider.into(),
            client,
        }
    }

    /// As [`Turn::send`].
    ///
    /// # Errors
    /// [`TransportError`], when no head came.
    pub async fn send(&self, request: Request) -> Result<Answer, TransportError> {
        send(&self.client, &self.provider, request, None).await
    }
}

async fn send(
    client: &Client,
    provider: &str,
    request: Request,
    rest: Option<Rest>,
) -> Result<Answer, TransportError> {
    let step = request.step;
    let result = client.send_with(request, rest).await;
    let outcome = match &result {
        Ok(answer) if answer.status.is_server_error() => "http_5xx",
        Ok(answer) if answer.status.is_client_error() => "http_4xx",
        Ok(_) => "ok",
        Err(TransportError::Connect | TransportError::BadUrl) => "connect",
        Err(TransportError::Timeout) => "timeout",
        Err(
            TransportError::Broken
            | TransportError::TooLarge
            | TransportError::NotJson
            | TransportError::Malformed
            | TransportError::Torn
            | TransportError::Redirected,
        ) => "broken",
    };
    METRICS
        .upstream_requests_total
        .with_label_values(&[provider, step, outcome])
        .inc();
    result
}

impl Drop for Turn {
    /// A client that leaves drops the turn wherever it stands, so only here every end is met.
    fn drop(&mut self) {
        // It has ended by itself: there is nothing to stop, and a stop call might hit the account's next answer.
        let mut errands = if self.is_over {
            Vec::new()
        } else {
            std::mem::take(&mut self.on_abort)
        };
        if let (Some(reuse), Some(_)) = (&self.reuse, self.deletion) {
            reuse.deleted();
        }
        // Stop calls first: a conversation is not to be deleted under a service that still writes into it.
        errands.append(&mut self.afterwards);
        // Without errands nothing has to be kept either; what is held goes with the turn.
        if !errands.is_empty() {
            self.janitor.spawn(
                self.client.clone(),
                self.provider.to_string(),
                errands,
                std::mem::take(&mut self.held),
                !self.is_over,
            );
        }
    }
}

/// Why what a service has made could not be had from where it said.
fn not_fetched(error: FetchError) -> ProviderError {
    let kind = match error {
        FetchError::NoRoom => Kind::Overloaded,
        FetchError::Timeout => Kind::Timeout,
        // The same link will be refused again, and making the result anew would cost the account another one.
        FetchError::Refused | FetchError::NoSuchHost | FetchError::TooLarge => Kind::Unavailable,
        FetchError::BadUrl | FetchError::BadData | FetchError::NotPublic => Kind::Protocol,
    };
    ProviderError::new(kind, format!("the result could not be fetched: {error}"))
        .with_code("result_not_fetched")
        .lasting()
}

impl From<TransportError> for ProviderError {
    fn from(error: TransportError) -> Self {
        let kind = match error {
            TransportError::Connect | TransportError::Broken => Kind::Unavailable,
            TransportError::Timeout => Kind::Timeout,
            // Of what the caller sends; the account has nothing to do with it.
            TransportError::Torn => Kind::BadRequest,
            TransportError::BadUrl
            | TransportError::TooLarge
            | TransportError::NotJson
            | TransportError::Malformed
            | TransportError::Redirected => Kind::Protocol,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<crate::upstream::sse::TooLarge> for ProviderError {
    fn from(error: crate::upstream::sse::TooLarge) -> Self {
        Self::new(Kind::Protocol, error.to_string())
    }
}

impl From<crate::upstream::connect::Malformed> for ProviderError {
    fn from(error: crate::upstream::connect::Malformed) -> Self {
        Self::new(Kind::Protocol, error.to_string())
    }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
