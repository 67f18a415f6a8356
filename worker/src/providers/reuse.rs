//! What a turn knows of conversations that continue: where it goes on from, what the client hears, and where it ends.

use std::sync::Arc;

use super::{Provider, outbox::Outbox};
use crate::{
    chat::{ChatEvent, ChatRequest, Message, Role, aside::aside, normal},
    conversations::{
        Asker, Claim, Continues, Conversations, Found, Heard, Kept, Owner, Point, Thread,
    },
    metrics::METRICS,
};

/// For one turn with a provider whose conversations can be gone on with.
#[derive(Debug)]
pub(super) struct Reuse {
    conversations: Arc<Conversations>,
    provider: Arc<dyn Provider>,
    /// The caller's key.
    caller: Arc<str>,
    upstream: String,
    /// What the gateway tells the model in front of the first question.
    told: Arc<str>,
    /// As the caller asked it, before anything was rendered.
    request: Arc<ChatRequest>,
    heard: Heard,
    /// The conversation that the turn is in.
    claim: Option<Claim>,
    /// It was begun by an earlier turn.
    is_continued: bool,
}

impl Reuse {
    pub(super) fn new(
        conversations: &Arc<Conversations>,
        provider: &Arc<dyn Provider>,
        caller: &Arc<str>,
        upstream: &str,
        request: &Arc<ChatRequest>,
        ask: &Arc<ChatRequest>,
    ) -> Self {
        Self {
            conversations: Arc::clone(conversations),
            provider: Arc::clone(provider),
            caller: Arc::clone(caller),
            upstream: upstream.to_owned(),
            told: told(request, ask).into(),
            heard: Heard::new(request.stream),
            request: Arc::clone(request),
            claim: None,
            is_continued: false,
        }
    }

    /// Looks for a conversation to go on with, on an account that is there and could begin at once; its account's number.
    pub(super) async fn find(&mut self, continues: Continues) -> Option<usize> {
        let (result, account) = self.look(continues).await;
        METRICS
            .conversation_reuse_total
            .with_label_values(&[self.provider.name(), result])
            .inc();
        self.is_continued = account.is_some();
        account
    }

    async fn look(&mut self, continues: Continues) -> (&'static str, Option<usize>) {
        let before = self.apart(Point::before).await;
        let Some((point, _)) = before else {
            return ("first", None);
        };
        // Where its account is busy another one answers sooner; where it is gone, so is the conversation.
        let provider = Arc::clone(&self.provider);
        let can_begin = move |owner: &Owner| {
            let accounts = provider.accounts();
            let number = accounts.numbered(&owner.account);
            number.is_some_and(|number| accounts.is_free(number))
        };
        let claim = match self.conversations.claim(point, continues, can_begin).await {
            Found::Claimed(claim) => *claim,
            Found::Missed => return ("missed", None),
            Found::Busy => return ("busy", None),
            Found::Unavailable => return ("unavailable", None),
        };
        match self.provider.accounts().numbered(&claim.owner().account) {
            Some(number) => {
                self.claim = Some(claim);
                ("continued", Some(number))
            }
            // Taken away this moment.
            None => ("busy", None),
        }
    }

    /// Where the turn goes on from.
    pub(super) fn thread(&self) -> Option<&Thread> {
        let claim = self.claim.as_ref().filter(|_| self.is_continued);
        claim.map(Claim::thread)
    }

    /// The turn is in this conversation, on this account. `is_deleted`: the one that it was in before is deleted after it, which
    /// comes back ([`Reuse::leave`]).
    pub(super) fn opened(
        &mut self,
        id: &str,
        account: Option<usize>,
        is_deleted: bool,
    ) -> Option<Claim> {
        if self.claim.as_ref().is_some_and(|it| it.thread().id == id) {
            return None;
        }
        let left = if is_deleted { self.leave() } else { None };
        let fingerprint = account.and_then(|it| self.provider.accounts().fingerprint(it));
        self.claim = fingerprint.map(|fingerprint| {
            let owner = Owner {
                provider: self.provider.name().to_owned(),
                account: fingerprint.to_string(),
            };
            self.conversations.opened(owner, Thread::new(id))
        });
        left
    }

    /// As [`super::Turn::remembers`].
    pub(super) fn remembers(&self, more: &str) {
        if let Some(claim) = &self.claim {
            claim.remembers(more);
        }
    }

    /// The client hears these.
    pub(super) fn heard(&mut self, events: &[ChatEvent]) {
        for event in events {
            self.heard.take(event);
        }
    }

    /// The first of two questions is over: what the client has heard so far belongs to the second.
    pub(super) fn hand_over(self) -> Self {
        Self {
            claim: None,
            is_continued: false,
            ..self
        }
    }

    /// The turn ends without the conversation, and has it deleted. To be held until that is done: should the worker die before,
    /// another one does it.
    pub(super) fn leave(&mut self) -> Option<Claim> {
        self.deleted();
        self.claim.take()
    }

    /// There is nothing to delete any more.
    pub(super) fn deleted(&self) {
        if let Some(claim) = &self.claim {
            claim.deleted();
        }
    }

    /// The turn went well: the conversation is kept for whoever goes on from here. Whether it is; else its turn deletes it, and
    /// holds what comes back until then ([`Reuse::leave`]).
    pub(super) async fn keep(mut self, outbox: &Outbox) -> (Kept, Option<Claim>) {
        let Some(claim) = self.leave() else {
            return (Kept::No, None);
        };
        let is_at = |thread: &Thread| thread.message.is_some() && thread.id == claim.thread().id;
        let Some(thread) = outbox.thread().filter(is_at) else {
            return (Kept::No, Some(claim));
        };
        let Some(answer) = std::mem::take(&mut self.heard).answer() else {
            return (Kept::No, Some(claim));
        };
        let point = self
            .apart(move |asker, request| Point::after(asker, request, &answer))
            .await;
        (claim.keep(&point, thread).await, None)
    }

    /// Hashes, off the event loop where there is much of it.
    async fn apart<T: Send + 'static>(
        &self,
        make: impl FnOnce(Asker<'_>, &ChatRequest) -> T + Send + 'static,
    ) -> T {
        let (request, caller) = (Arc::clone(&self.request), Arc::clone(&self.caller));
        let (provider, upstream) = (self.provider.name().to_owned(), self.upstream.clone());
        let told = Arc::clone(&self.told);
        aside(request.bytes, move || {
            let asker = Asker {
                caller: &caller,
                provider: &provider,
                upstream: &upstream,
                told: &told,
            };
            make(asker, &request)
        })
        .await
    }
}

/// What the gateway tells a model in the place of tools and formats stands behind the caller's system text; nothing where it
/// has nothing to tell.
fn told(request: &Arc<ChatRequest>, ask: &Arc<ChatRequest>) -> String {
    if Arc::ptr_eq(request, ask) {
        return String::new();
    }
    let is_system = |message: &&Message| matches!(message.role, Role::System | Role::Developer);
    let told = ask.messages.iter().take_while(is_system);
    told.map(|message| normal::text(message).into_owned())
        .collect()
}

/// What of a question is new in a conversation that has heard all before its last answer; `None` where that is nothing to
/// ask with.
pub(super) fn what_is_new(ask: &Arc<ChatRequest>) -> Option<Arc<ChatRequest>> {
    let last = crate::conversations::chain::last_answer(&ask.messages)?;
    let new = ask.messages.get(last + 1..)?;
    let says_something = new
        .iter()
        .any(|message| message.has_words() || message.attachments().next().is_some());
    says_something.then(|| {
        Arc::new(ChatRequest {
            messages: new.to_vec(),
            verbatim: None,
            ..(**ask).clone()
        })
    })
}
