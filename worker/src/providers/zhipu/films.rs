//! Videos for `/v1/videos`: asked for, looked at and deleted in calls of their own, by whichever worker. Source:
//! `wire/zhipu.md` sections 3 and 4.4.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::{
    Zhipu,
    account::{Access, Account, moment},
    refusal::{Refusal, Remedy},
    video::{Progress, call, failure},
    wire,
};
use crate::{
    accounts::{Choice, Known},
    chat::{
        ProviderError,
        media::{Films, Makes, Place, Size, Sizes, Ticket, VideoRequest, VideoState, VideoStatus},
    },
    providers::{Model, Turn, Videos},
};

/// The service asks for neither length nor size.
const FILMS: Films = Films {
    seconds: &[],
    sizes: Sizes::Own,
    input: true,
};

impl Known for Account {
    fn fingerprint(&self) -> crate::accounts::Fingerprint {
        self.tokens.fingerprint()
    }

    fn variable(&self) -> &str {
        &self.variable
    }
}

impl Videos for Zhipu {
    fn films(&self, model: &Model) -> Option<Films> {
        (model.makes == Makes::Video).then_some(FILMS)
    }

    fn submit<'a>(
        &'a self,
        ask: &'a Arc<VideoRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<Ticket, ProviderError>> {
        Box::pin(async move {
            // Leased first, so that a picture is not fetched for an account that nobody has.
            let account = turn.lease(&self.accounts, Choice::Any(turn.caller)).await?;
            let picture = match &ask.input_reference {
                Some(input) => Some(turn.input("input_reference", input).await?),
                None => None,
            };
            if picture
                .as_ref()
                .is_some_and(|picture| !picture.is_picture())
            {
                return Err(ProviderError::bad_request(
                    "input_reference",
                    "A video begins with a picture.",
                ));
            }
            let created = self.create(turn, &account, &ask.prompt, picture.as_ref());
            let created = created.await?;
            let since = turn.unix_ms() / 1000;
            Ok(Ticket {
                task: format!("{} {since}", created.chat_id),
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
            let account = turn.lease_known(&self.accounts, &ticket.account).await?;
            let (turn, variable) = (&*turn, account.variable.as_str());
            let (chat_id, since) = begun(&ticket.task);
            let progress = self.mended(turn, &account, async |access| {
                let request = wire::video_status(self.caller(access), chat_id, moment());
                call::<Progress>(turn, request, variable).await
            });
            let progress = progress.await?;
            let now = turn.unix_ms() / 1000;
            Ok(state(
                progress,
                since.map_or(0, |since| now.saturating_sub(since)),
            ))
        })
    }

    fn delete<'a>(
        &'a self,
        ticket: &'a Ticket,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            let account = turn.lease_known(&self.accounts, &ticket.account).await?;
            let (turn, variable) = (&*turn, account.variable.as_str());
            let deleted = self.mended(turn, &account, async |access| {
                let (chat_id, _) = begun(&ticket.task);
                let request = wire::delete_video(self.caller(access), chat_id, moment());
                call::<serde_json::Value>(turn, request, variable).await
            });
            deleted.await.map(drop)
        })
    }
}

impl Zhipu {
    /// Makes a short call; once more with another token, and once with another signature, where that can mend a refusal
    /// (section 7).
    pub(super) async fn mended<T>(
        &self,
        turn: &Turn,
        account: &Account,
        make: impl AsyncFn(&Access) -> Result<T, Refusal>,
    ) -> Result<T, ProviderError> {
        let (mut may_renew, mut may_sign_anew) = (true, true);
        let renewal = || account.renewal(turn.messenger(), &self.site);
        let mut access = account.tokens.current(renewal()).await?;
        loop {
            let refusal = match make(&access).await {
                Ok(made) => {
                    account.tokens.served(&access);
                    return Ok(made);
                }
                Err(refusal) => refusal,
            };
            match refusal.remedy {
                Remedy::NewToken if std::mem::take(&mut may_renew) => {
                    let replaced = account.tokens.replaced(&access, refusal.error, renewal());
                    access = replaced.await?;
                }
                Remedy::NewSignature if std::mem::take(&mut may_sign_anew) => {}
                Remedy::None | Remedy::Wait | Remedy::NewToken | Remedy::NewSignature => {
                    return Err(refusal.error);
                }
            }
        }
    }
}

/// What a ticket holds: the video's chat, and when it was begun, in Unix seconds. Ids of earlier versions say no time.
fn begun(task: &str) -> (&str, Option<u64>) {
    let (chat_id, since) = task.split_once(' ').unwrap_or((task, ""));
    (chat_id, since.parse().ok())
}

/// What the service says about a video that was begun so many seconds ago. It tells no percentage.
fn state(progress: Progress, elapsed: u64) -> VideoState {
    match progress.status.as_deref() {
        Some("init") => VideoState::running(VideoStatus::Queued, 0),
        Some("processing") => VideoState::guessed(VideoStatus::InProgress, elapsed),
        Some("finished") => {
            let seconds = progress.seconds();
            let size = progress.resolution.as_deref().and_then(Size::read);
            match progress.url() {
                Some(url) => VideoState {
                    seconds,
                    size,
                    ..VideoState::completed(Place::Link {
                        url,
                        is_public: true,
                    })
                },
                // Finished without an address: no video, whatever the status says.
                None => VideoState::failed(ProviderError::malformed("video")),
            }
        }
        // Section 4.4: anything else is a failure.
        Some(_) | None => VideoState::failed(failure(progress.msg.as_deref())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Kind;

    fn of(json: &str) -> VideoState {
        state(serde_json::from_str(json).unwrap(), 120)
    }

    #[test]
    fn progress_is_guessed_by_the_time_since() {
        assert_eq!(of(r#"{"status":"init"}"#).progress, 0);
        assert_eq!(of(r#"{"status":"processing"}"#).progress, 50);
        assert_eq!(begun("c1 17"), ("c1", Some(17)));
        assert_eq!(begun("c1"), ("c1", None));
    }

    #[test]
    fn the_pages_words_become_openais() {
        for (json, status) in [
            (r#"{"status":"init"}"#, VideoStatus::Queued),
            (
                r#"{"status":"processing","msg":""}"#,
                VideoStatus::InProgress,
            ),
            (r#"{"status":"fail"}"#, VideoStatus::Failed),
            (r#"{"status":"finished"}"#, VideoStatus::Failed),
            ("{}", VideoStatus::Failed),
        ] {
            assert_eq!(of(json).status, status, "{json}");
        }
        let done = of(
            r#"{"status":"finished","video_url":"https://e/v","video_duration":6.2,"resolution":"1440x960"}"#,
        );
        assert_eq!((done.status, done.progress), (VideoStatus::Completed, 100));
        assert_eq!(
            (done.seconds, done.size),
            (Some(6), Some(Size::of(1440, 960)))
        );
        for (json, kind) in [
            (r#"{"status":"fail","msg":"积分不足"}"#, Kind::QuotaSpent),
            (r#"{"status":"fail","msg":"内容违规"}"#, Kind::Moderated),
            (r#"{"status":"fail"}"#, Kind::Unavailable),
        ] {
            assert_eq!(of(json).error.unwrap().kind, kind, "{json}");
        }
    }
}
