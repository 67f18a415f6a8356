//! The older generation. Steps: attachments (4.4), question (4.3), answer (7), clean-up (9) of `wire/qwen.md`.

use super::{
    NAME,
    account::Account,
    generation::{Failure, Generation, Memory, is_page},
    refusal,
    stream::Decoder,
    upload,
    wire::{self, Caller, Question},
};
use crate::{
    chat::ProviderError,
    conversations::Thread,
    providers::{Errand, Turn},
    upstream::{fetch::Attachment, linger},
};

/// Its settings.
#[derive(Debug)]
pub(super) struct Dialog {
    /// `QWEN_BASE_URL`, without `/dialog`.
    pub(super) base_url: String,
    /// `QWEN_UPLOAD_BASE_URL`.
    pub(super) upload_base_url: Option<String>,
    /// `QWEN_USER_AGENT`.
    pub(super) user_agent: String,
    /// `QWEN_DELETE_SESSION`.
    pub(super) deletes_sessions: bool,
    /// `QWEN_PREWARM`.
    pub(super) prewarms: bool,
}

/// What a turn asks.
pub(super) struct Asked<'a> {
    /// In which session; a new one without.
    pub(super) goes_on: Option<&'a Thread>,
    /// The conversation as one text.
    pub(super) prompt: &'a str,
    /// The last message's pictures and documents.
    pub(super) files: &'a [Attachment],
    /// The upstream model.
    pub(super) model: &'a str,
    /// `deepThink`.
    pub(super) thinking: bool,
    /// `searchType: depth`.
    pub(super) search: bool,
}

impl Dialog {
    /// The call that deletes a session; `None` where the settings leave it.
    pub(super) fn deletion(&self, account: &Account, session_id: &str) -> Option<Errand> {
        let caller = Caller {
            base_url: &self.base_url,
            user_agent: &self.user_agent,
            account,
        };
        let deletes = self.deletes_sessions;
        deletes.then(|| wire::delete_session(caller, session_id).into())
    }

    /// One turn with a leased account.
    ///
    /// # Errors
    /// [`Failure`]; [`Failure::Absent`] only before any output.
    pub(super) async fn answer(
        &self,
        memory: &Memory,
        turn: &mut Turn,
        account: &Account,
        asked: &Asked<'_>,
    ) -> Result<(), Failure> {
        let caller = Caller {
            base_url: &self.base_url,
            user_agent: &self.user_agent,
            account,
        };
        if self.prewarms {
            // The page makes this call; its failure is of no consequence (section 4.1).
            let _ = turn.send(wire::prewarm(caller)).await;
        }
        let mut items = Vec::new();
        for file in asked.files {
            let base_url = self.upload_base_url.as_deref();
            items.push(upload::upload(turn, caller, base_url, file).await?);
        }
        // The files first: the question names them.
        let question = Question {
            goes_on: asked.goes_on.and_then(|thread| {
                let parent = thread.message.as_deref()?;
                Some((thread.id.as_str(), parent))
            }),
            model: asked.model,
            thinking: asked.thinking,
            search: asked.search,
            request_id: turn.uuid().to_string(),
            batch_id: turn.uuid().to_string(),
            prompt: asked.prompt,
            items,
        };
        let mut is_registered = false;
        if let Some(thread) = asked.goes_on {
            turn.opened(&thread.id, self.deletion(account, &thread.id));
            turn.remembers(Generation::Dialog.word());
            is_registered = true;
        }
        // Not by the turn, whose error no longer tells that nobody was there from other faults.
        let sent = turn.messenger().send(wire::ask(caller, question)).await;
        let mut answer = sent.map_err(Failure::from)?;
        if answer.status.as_u16() != 200 || !answer.is_event_stream().await {
            let (status, content_type) = (answer.status.as_u16(), answer.content_type());
            let retry_after = answer.retry_after();
            let body = answer.short().await?;
            let error = refusal::refusal(status, &body, &account.variable);
            let error = error.with_retry_after(retry_after);
            // A page in its place is a generation that is gone; a refusal is one that is there.
            let failure = Failure::judged(status, is_page(&content_type, &body), error);
            // A refusal is an answer, too: this generation is there.
            if matches!(failure, Failure::Told(_)) {
                memory.has_answered(Generation::Dialog);
            }
            return Err(failure);
        }
        memory.has_answered(Generation::Dialog);
        let mut decoder = Decoder::new(&account.variable);
        let mut is_over = false;
        // The connection may stay open behind the answer, or break: that is nobody's business.
        while !decoder.is_finished() {
            let chunk = answer.chunk().await.map_err(ProviderError::from)?;
            let Some(bytes) = chunk else {
                is_over = true;
                break;
            };
            let fed = decoder.feed(&bytes, &mut turn.events);
            // Before the events go out: a client that leaves with the first of them must leave nothing behind.
            // Once: every event names it.
            if let Some(session_id) = decoder.session_id().filter(|_| !is_registered) {
                turn.opened(session_id, self.deletion(account, session_id));
                turn.remembers(Generation::Dialog.word());
                is_registered = true;
            }
            turn.emit_then(fed).await?;
        }
        // Also where the loop ended by the last event: what was held back is said here.
        decoder.finish(&mut turn.events)?;
        if decoder.rewrites() > 0 {
            tracing::info!(
                provider = NAME,
                rewrites = decoder.rewrites(),
                "the service rewrote what it had said"
            );
        }
        if let Some(message) = decoder.message_id() {
            turn.answered_as(message);
        }
        turn.emit().await?;
        if !is_over {
            linger::let_end(answer).await;
        }
        Ok(())
    }
}
