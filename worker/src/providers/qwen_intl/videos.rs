//! Videos for `/v1/videos`: asked for, looked at and deleted in calls of their own, by whichever worker. Source:
//! `wire/qwen_intl.md` sections 4.6, 7.5 and 9.

use std::{cell::Cell, sync::Arc};

use futures_util::future::LocalBoxFuture;

use super::{
    QwenIntl,
    account::{Access, Account, moment},
    call,
    film::Watch,
    flow::{Asked, Place},
    login,
    models::{self, Kind as Chat, SHAPES},
    refusal::{Refusal, Remedy},
    task::Progress,
    upload, wire,
};
use crate::{
    accounts::{Choice, Fingerprint, Known, Lease},
    chat::{
        Kind, ProviderError,
        media::{Films, Makes, Place as At, Sizes, Ticket, VideoRequest, VideoState, VideoStatus},
    },
    providers::{Model, Turn, Videos},
    upstream::Answer,
};

/// The clip has about five seconds, whatever is asked.
const FILMS: Films = Films {
    seconds: &[],
    sizes: Sizes::Only(SHAPES),
    input: true,
};

impl Known for Account {
    fn fingerprint(&self) -> Fingerprint {
        self.tokens.fingerprint()
    }

    fn variable(&self) -> &str {
        &self.variable
    }
}

/// What a ticket holds: chat, task, and when it was begun, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begun<'a> {
    chat_id: &'a str,
    task_id: &'a str,
    since: u64,
}

impl<'a> Begun<'a> {
    fn read(task: &'a str) -> Option<Self> {
        // No id of the service has a blank.
        // By words and not as JSON: a ticket is part of an id that clients keep.
        let mut words = task.split(' ');
        let (chat_id, task_id, since) = (words.next()?, words.next()?, words.next()?);
        Some(Self {
            chat_id,
            task_id,
            since: since.parse().ok()?,
        })
    }
}

impl Videos for QwenIntl {
    fn films(&self, model: &Model) -> Option<Films> {
        (model.makes == Makes::Video).then_some(FILMS)
    }

    fn submit<'a>(
        &'a self,
        ask: &'a Arc<VideoRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<Ticket, ProviderError>> {
        Box::pin(async move {
            // Fetched before the lease, and never passed on by link: see [`upload::files`].
            let picture = match &ask.input_reference {
                Some(input) => Some(upload::given(turn, "input_reference", input, true).await?),
                None => None,
            };
            let kind = match picture {
                Some(_) => Chat::VideoOfImage,
                None => Chat::Video,
            };
            let mut asked = Asked {
                model: turn.model.upstream.clone(),
                kind,
                prompt: ask.prompt.clone(),
                files: picture.into_iter().collect(),
                items: Vec::new(),
                thinking: false,
                thinking_budget: None,
                size: Some(models::ratio(ask.size, kind)),
                is_streamed: false,
                is_submitted: Cell::default(),
            };
            let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
            let begun = async |turn: &mut Turn, place: Place<'_>, asked: &Asked| {
                let task_id = self.submitted(turn, place, asked).await?;
                // In the ticket, as any worker may be asked how far it is.
                let since = turn.unix_ms() / 1000;
                Ok(format!("{} {task_id} {since}", place.chat_id))
            };
            Ok(Ticket {
                task: self.ask_again(turn, &account, &mut asked, begun).await?,
                account: account.fingerprint().as_str().to_owned(),
                model: turn.model.id.clone(),
            })
        })
    }

    fn look<'a>(
        &'a self,
        ticket: &'a Ticket,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<VideoState, ProviderError>> {
        Box::pin(async move {
            // Every ticket is sealed by us, but an older version may have written it differently.
            let begun = Begun::read(&ticket.task).ok_or_else(unknown)?;
            let account = turn.lease_known(&self.accounts, &ticket.account).await?;
            let (turn, now) = (&*turn, turn.unix_ms() / 1000);
            let progress = self.mended(turn, &account, async |access| {
                self.progress(turn, &account, access, begun).await
            });
            Ok(match progress.await? {
                Progress::Running(left) => {
                    let done = percent(now.saturating_sub(begun.since), left);
                    VideoState::running(VideoStatus::InProgress, done)
                }
                Progress::Done(url) => VideoState::completed(At::Link {
                    url,
                    // The key in its query is the permission (section 7.4).
                    is_public: true,
                }),
                Progress::Failed(error) => VideoState::failed(error),
            })
        })
    }

    fn delete<'a>(
        &'a self,
        ticket: &'a Ticket,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            let begun = Begun::read(&ticket.task).ok_or_else(unknown)?;
            let account = turn.lease_known(&self.accounts, &ticket.account).await?;
            let turn = &*turn;
            self.mended(turn, &account, async |access| {
                // Nothing stops a task, and its chat is deleted after it only (section 9).
                // A failed look says nothing of the task: then deleting is tried, and may be refused.
                let progress = self.progress(turn, &account, access, begun).await;
                if matches!(progress, Ok(Progress::Running(_))) {
                    // This worker sweeps it later, whoever asked.
                    self.abandoned.add(Place {
                        account: &account,
                        access,
                        chat_id: begun.chat_id,
                    });
                    return Ok(());
                }
                let caller = account.caller(&self.site, Some(access));
                let request = wire::delete(caller, begun.chat_id, moment());
                let deleted = call::call(turn, request, &account.variable, is_done);
                match deleted.await {
                    // It is gone already.
                    Err(refusal) if refusal.remedy == Remedy::NewChat => Ok(()),
                    Err(refusal) if refusal.error.kind == Kind::ModelNotFound => Ok(()),
                    deleted => deleted,
                }
            })
            .await
        })
    }

    fn open<'a>(
        &'a self,
        _ticket: &'a Ticket,
        url: &'a str,
        range: Option<&'a str>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<Answer, ProviderError>> {
        Box::pin(async move { turn.open(&self.site.fetched_from(url), range).await })
    }
}

impl QwenIntl {
    /// One look; its failure is the caller's to repeat.
    async fn progress(
        &self,
        turn: &Turn,
        account: &Account,
        access: &Arc<Access>,
        begun: Begun<'_>,
    ) -> Result<Progress, Refusal> {
        let place = Place {
            account,
            access,
            chat_id: begun.chat_id,
        };
        // New with every look: the failures in a row are the client's to count here.
        let mut watch = Watch::new(begun.task_id.to_owned());
        match self.look(turn, place, &mut watch).await {
            Ok(Some(progress)) => Ok(progress),
            Ok(None) => {
                let error = ProviderError::new(
                    Kind::Unavailable,
                    "the service did not say how far the video is",
                );
                Err(error.into())
            }
            // Of a task, not of a model or a chat: the kind is the same 404.
            Err(refusal)
                if refusal.error.kind == Kind::ModelNotFound
                    || refusal.remedy == Remedy::NewChat =>
            {
                Err(unknown().into())
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Makes a short call; once more with another token, where that can mend a refusal.
    async fn mended<T>(
        &self,
        turn: &Turn,
        account: &Lease<Account>,
        make: impl AsyncFn(&Arc<Access>) -> Result<T, Refusal>,
    ) -> Result<T, ProviderError> {
        let mut may_renew = true;
        // A login here too: the ticket's account may have no token on this worker.
        let mut access = login::token(&self.site, turn, account).await?;
        loop {
            let refusal = match make(&access).await {
                Ok(made) => {
                    account.tokens.served(&access);
                    return Ok(made);
                }
                Err(refusal) => refusal,
            };
            // By kind and not by remedy: a look wraps what the calls say.
            let is_expired = refusal.error.kind == Kind::AuthExpired;
            if !is_expired || !std::mem::take(&mut may_renew) {
                return Err(refusal.error);
            }
            let renewal = login::renewal(&self.site, account, turn.messenger());
            let replaced = account.tokens.replaced(&access, refusal.error, renewal);
            access = replaced.await?;
        }
    }
}

/// How much of it is done: by what is left of it, where the service says so.
fn percent(elapsed: u64, left: Option<u64>) -> u8 {
    // Without the service's word the usual time is the measure.
    let left = left.unwrap_or_else(|| USUAL_SECONDS.saturating_sub(elapsed));
    // Never by nothing.
    let whole = elapsed.saturating_add(left).max(1);
    u8::try_from(elapsed.saturating_mul(100) / whole).unwrap_or(99)
}

/// The middle of what was measured (section 7.5).
const USUAL_SECONDS: u64 = 200;

fn is_done(body: &[u8]) -> Option<()> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    (body.get("success") != Some(&serde_json::Value::Bool(false))).then_some(())
}

fn unknown() -> ProviderError {
    ProviderError::new(
        Kind::ModelNotFound,
        "the service does not know this video (any more)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_holds_all_that_a_look_needs() {
        let begun = Begun {
            chat_id: "c-1",
            task_id: "t_2",
            since: 17,
        };
        assert_eq!(Begun::read("c-1 t_2 17"), Some(begun));
        for odd in ["", "c", "c t", "c t x"] {
            assert_eq!(Begun::read(odd), None, "{odd}");
        }
    }

    #[test]
    fn progress_goes_by_what_is_left() {
        assert_eq!(percent(0, Some(60)), 0);
        assert_eq!(percent(60, Some(60)), 50);
        assert_eq!(percent(100, None), 50);
        assert_eq!(percent(1000, None), 100);
        assert_eq!(percent(0, Some(0)), 0);
    }
}
