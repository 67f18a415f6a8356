//! The cloud and archon generations: an account that is prepared, a session, a message whose answer is a stream. Source:
//! `wire/minimax.md` section 12.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    Asked, MiniMax, NAME,
    account::{Access, Account},
    answers,
    call::Call,
    models::{self, Cloud},
    refusal::{Refusal, Remedy},
    site::Generation,
    standing::{self, Ask},
    stream::Decoder,
    upload,
    wire::{self, Question},
};
use crate::{
    chat::{Kind, ProviderError},
    providers::{Errand, Turn},
    upstream::{Answer, Request, TransportError, linger},
};

/// After an answer is complete: what may still come is its cost (section 12.5).
const SETTLING: Duration = Duration::from_secs(2);

impl MiniMax {
    /// One question. `user`, `agent`: whether these are to be asked for anew.
    #[expect(clippy::too_many_arguments, reason = "two states of one retry")]
    pub(super) async fn ask_cloud(
        &self,
        turn: &mut Turn,
        account: &Account,
        access: &Arc<Access>,
        asked: &mut Asked,
        generation: Generation,
        user: Ask,
        agent: Ask,
    ) -> Result<(), Refusal> {
        let mut call = Call {
            messenger: turn.messenger(),
            site: &self.site,
            account,
            access,
            user: None,
        };
        // First: with the token's own id every call below is a 401 (section 2).
        let user = standing::user(&call, account, user).await?;
        call.user = Some(&user);
        let agent = standing::agent(&call, account, generation, agent).await?;
        // The preparation has been answered, so whatever fails from here on is no reason to look elsewhere.
        self.memory.has_answered(generation);
        let upstream = turn.model.upstream.clone();
        // After the preparation, which may have learnt them.
        let offers = account.standing.offers();
        let Some(model) = models::cloud(&upstream, asked.thinking, &offers) else {
            return Err(self.not_offered(&upstream));
        };
        // Before the session: one that waited for files would stand open, and be left behind where they fail.
        upload::upload(&call, turn, &asked.files, &mut asked.paths).await?;
        let session = match turn.continued() {
            Some(thread) => thread.id,
            None => {
                let request = wire::open_session(call.caller(), generation, &agent, &model);
                let opened = call.json(request).await?;
                // An agent that is none is told of by what is missing (section 12.3).
                answers::session_id(&opened).ok_or_else(|| Refusal {
                    error: ProviderError::malformed("session"),
                    remedy: Remedy::Prepare,
                })?
            }
        };
        let archival = self.archival(account, access, &user, generation, &session);
        // Known before the question is asked: a client that leaves from here on leaves nothing behind.
        turn.opened(&session, archival);
        turn.remembers(generation.word());
        let answer = self
            .message(turn, &call, asked, generation, &session, &model)
            .await?;
        self.listen(turn, &call, answer).await
    }

    /// A model that the cloud generation does not list: another one may have it (section 12.3).
    fn not_offered(&self, upstream: &str) -> Refusal {
        let error = ProviderError {
            param: Some("model".to_owned()),
            ..ProviderError::new(Kind::ModelNotFound, "the service does not offer this model")
        };
        let may_be_had =
            models::matrix(upstream).is_some() && self.memory.may_ask(Generation::Matrix);
        Refusal {
            error,
            remedy: if may_be_had {
                Remedy::OtherGeneration
            } else {
                Remedy::None
            },
        }
    }

    /// Asks in a session: on the stream host, and where that cannot be had, on the main one (section 9).
    async fn message(
        &self,
        turn: &Turn,
        call: &Call<'_>,
        asked: &Asked,
        generation: Generation,
        session: &str,
        model: &Cloud,
    ) -> Result<Answer, Refusal> {
        let items = upload::items(generation, &asked.files, &asked.paths);
        // Built per host: what is signed has the host in it (section 12.2).
        let ask = |host: &str| {
            let question = Question {
                prompt: &asked.prompt,
                model,
                turn_id: turn.uuid().to_string(),
                // The second try is a question of its own, as the first may have been read.
                attachments: &items,
            };
            wire::message(call.caller(), generation, host, session, question)
        };
        let (own, main) = (&self.site.stream_base_url, &self.site.base_url);
        let first = self.put(call, ask(own)).await;
        match first {
            // Only before anything was asked: [`Self::put`] says so of refusals that no question can have caused.
            Err((refusal, true)) if own != main => {
                tracing::info!(provider = NAME, "asking the main host instead");
                let second = self.put(call, ask(main)).await;
                // What the host said that should do is nearer to the truth.
                second.map_err(|_| refusal)
            }
            first => first.map_err(|(refusal, _)| refusal),
        }
    }

    /// Sends a question. Of a refusal also, whether it is the host's fault rather than the question's.
    async fn put(&self, call: &Call<'_>, request: Request) -> Result<Answer, (Refusal, bool)> {
        let mut answer = match call.messenger.send(request).await {
            Ok(answer) => answer,
            Err(error) => {
                // Other transport faults may come after the question was read, and asking twice costs credits.
                let is_hosts = error == TransportError::Connect;
                return Err((ProviderError::from(error).into(), is_hosts));
            }
        };
        // The status alone will not do: a host that is not there answers 200 with a page (section 1).
        if answer.status.as_u16() == 200 && answer.is_event_stream().await {
            return Ok(answer);
        }
        let status = answer.status.as_u16();
        match call.judged(answer).await {
            // JSON without an error in a stream's place.
            Ok(_) => Err((ProviderError::malformed("stream").into(), false)),
            Err(refusal) => {
                // The session exists, so the generation does: what is not there is the host.
                let is_hosts =
                    refusal.remedy == Remedy::OtherGeneration || matches!(status, 502..=504);
                let remedy = match refusal.remedy {
                    Remedy::OtherGeneration => Remedy::None,
                    // The main host's word counts; this one's absence says nothing of the generation.
                    remedy => remedy,
                };
                Err((Refusal { remedy, ..refusal }, is_hosts))
            }
        }
    }

    async fn listen(
        &self,
        turn: &mut Turn,
        call: &Call<'_>,
        mut answer: Answer,
    ) -> Result<(), Refusal> {
        let mut decoder = Decoder::new(&call.account.variable);
        let (began, mut grown) = (Instant::now(), Instant::now());
        while !decoder.is_over() {
            let silence = if decoder.is_answered() {
                SETTLING
            } else {
                self.waits.stall
            };
            // Signs of life are no growth: they come for as long as a sandbox takes to start.
            // From the start, not from the last growth: an agent may go on for hours.
            let due = (grown + silence).min(began + self.waits.whole);
            let bytes = match timeout_at(due, answer.chunk()).await {
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) => break,
                // The answer is there; a connection that breaks while its cost is awaited has lost nothing else.
                Err(_) | Ok(Err(_)) if decoder.is_answered() => break,
                Ok(Err(error)) => return Err(ProviderError::from(error).into()),
                Err(_) => return Err(late().into()),
            };
            let read = decoder.read(&bytes, &mut turn.events);
            // Any event, also thoughts: an agent thinks for minutes before it speaks.
            if !turn.events.is_empty() {
                grown = Instant::now();
            }
            turn.emit_then(read).await?;
        }
        // Before `end`, which makes it over: only what the service itself has ended is read to its end.
        let is_over = decoder.is_over();
        let ended = decoder.end(&mut turn.events);
        // Even of an answer that fails: its id is what a report to the service needs.
        if let Some(message) = decoder.message_id() {
            turn.answered_as(message);
        }
        turn.emit_then(ended).await?;
        // The connection may be used again; one that was cut short may not.
        if is_over {
            linger::let_end(answer).await;
        }
        Ok(())
    }

    /// What hides a session, signed anew for every try with the account's token of that moment; while it is still at work,
    /// again after a while (section 12.6).
    pub(super) fn archival(
        &self,
        account: &Account,
        access: &Arc<Access>,
        user: &Arc<str>,
        generation: Generation,
        session: &str,
    ) -> Option<Errand> {
        let (site, account) = (self.site.clone(), account.clone());
        let (used, user, session) = (Arc::clone(access), Arc::clone(user), session.to_owned());
        let build = move || {
            // By the time the session goes, the token of the turn may have been replaced and refused.
            let access = account.tokens.latest();
            let access = access.unwrap_or_else(|| Arc::clone(&used));
            let caller = account.caller(&site, &access, Some(&user));
            wire::archive(caller, generation, &session)
        };
        self.deletes_chats
            .then(|| Errand::new(build).while_busy(answers::is_busy))
    }
}

/// Nothing new for too long, or not done in time.
pub(super) fn late() -> ProviderError {
    ProviderError::new(Kind::Timeout, "the service was too slow")
}
