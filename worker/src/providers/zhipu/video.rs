//! Videos: asked for, waited for, deleted. Source: `wire/zhipu.md` section 4.4.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use super::{
    Asked, Zhipu,
    account::{Access, Account, moment},
    refusal::{self, Refusal},
    wire::{self, Caller},
};
use crate::{
    chat::{ChatEvent, FinishReason, Kind, ProviderError},
    providers::{Errand, Turn},
    upstream::{Request, fetch::Attachment},
};

/// Between two looks; the page allows 1 to 10 s.
const EVERY: Duration = Duration::from_secs(2);
/// Seconds between two words to whoever waits.
const TOLD_EVERY: u64 = 20;
/// Longest wait for a video.
const MOST: Duration = Duration::from_secs(600);

#[derive(Deserialize)]
pub(super) struct Created {
    pub(super) chat_id: String,
}

#[derive(Deserialize)]
pub(super) struct Source {
    pub(super) source_id: String,
}

#[derive(Deserialize)]
pub(super) struct Progress {
    pub(super) status: Option<String>,
    pub(super) msg: Option<String>,
    video_url: Option<String>,
    video_duration: Option<Value>,
    pub(super) resolution: Option<String>,
}

impl Progress {
    /// Where it is.
    pub(super) fn url(&self) -> Option<String> {
        let is_web = |url: &&String| url.starts_with("https://") || url.starts_with("http://");
        self.video_url.as_ref().filter(is_web).cloned()
    }

    /// How long it is; the page does not say whether that is a number or a text.
    pub(super) fn seconds(&self) -> Option<u32> {
        let seconds = match self.video_duration.as_ref()? {
            Value::String(text) => text.trim().parse().ok(),
            number => number.as_f64(),
        };
        // Far from the ends of either type.
        let seconds = seconds.filter(|seconds| (0.5..1e6).contains(seconds))?;
        Some(seconds.round() as u32)
    }
}

/// Why there is none, in the service's words.
pub(super) fn failure(words: Option<&str>) -> ProviderError {
    let words = words.unwrap_or_default();
    let kind = if refusal::speaks_of_quota(words) {
        Kind::QuotaSpent
    } else if refusal::speaks_of_moderation(words) {
        Kind::Moderated
    } else {
        Kind::Unavailable
    };
    ProviderError::new(kind, "the service made no video").saying(words)
}

/// How far it is, in words: the service tells no more than that it is at work.
fn words(elapsed: u64) -> String {
    match elapsed {
        0 => "The video is being made.\n".to_owned(),
        seconds => format!("The video is being made: {seconds} s so far.\n"),
    }
}

impl Zhipu {
    /// Asks for a video of these words, and of a picture.
    ///
    /// # Errors
    /// What refusals mean. Where no word came the video may have been taken all the same, and a second one would cost points
    /// again: such a failure lasts.
    pub(super) async fn create(
        &self,
        turn: &Turn,
        account: &Account,
        prompt: &str,
        picture: Option<&Attachment>,
    ) -> Result<Created, ProviderError> {
        let variable = account.variable.as_str();
        let create = async |access: &Access| {
            let caller = self.caller(access);
            let mut sources = Vec::new();
            if let Some(picture) = picture {
                let boundary = turn.uuid().simple().to_string();
                let request = wire::video_source(caller, picture, boundary);
                let source: Source = call(turn, request, variable).await?;
                sources.push(source.source_id);
            }
            let request = wire::video(caller, prompt, &sources, moment());
            let created: Result<Created, Refusal> = call(turn, request, variable).await;
            created.map_err(|refusal| match refusal.error.kind {
                Kind::Timeout | Kind::Unavailable => refusal.lasting(),
                _ => refusal,
            })
        };
        self.mended(turn, account, create).await
    }

    /// One video: of the question's words, and of its first picture where it has one. Refused tokens are renewed within,
    /// as whoever asks again as a whole would make another video.
    ///
    /// # Errors
    /// Those of [`Zhipu::create`]; once there is a video under way, lasting ones.
    pub(super) async fn film(
        &self,
        turn: &mut Turn,
        account: &Account,
        access: &Arc<Access>,
        asked: &Asked<'_>,
    ) -> Result<(), ProviderError> {
        // The first one: a video begins with one picture.
        let picture = asked.files.iter().find(|file| file.is_image());
        let created = self.create(turn, account, &asked.prompt, picture).await?;
        let chat_id = created.chat_id;
        // Before anything else can fail: it stands in the account from here on.
        turn.opened(&chat_id, self.undoing(account, access, &chat_id));
        let since = turn.unix_ms();
        let mut said = 0;
        let look = async |turn: &mut Turn| {
            let found = {
                let turn = &*turn;
                let status = async |access: &Access| {
                    let request = wire::video_status(self.caller(access), &chat_id, moment());
                    call::<Progress>(turn, request, &account.variable).await
                };
                judged(self.mended(turn, account, status).await?)?
            };
            // A client that streams sees that it goes on.
            let elapsed = turn.unix_ms().saturating_sub(since) / 1000;
            if found.is_none() && asked.is_streamed && elapsed >= said {
                said = elapsed + TOLD_EVERY;
                turn.events.push(ChatEvent::Reasoning(words(elapsed)));
                turn.emit().await?;
            }
            Ok::<_, ProviderError>(found)
        };
        let looked = turn.until(EVERY, MOST, look).await;
        let Some(url) = looked.map_err(ProviderError::lasting)? else {
            let seconds = MOST.as_secs();
            let message = format!("the video {chat_id} was still being made after {seconds} s");
            return Err(ProviderError::new(Kind::Timeout, message).lasting());
        };
        turn.events.push(ChatEvent::Video { url });
        turn.events.push(ChatEvent::Finish(FinishReason::Stop));
        turn.emit().await
    }

    fn undoing(&self, account: &Account, access: &Arc<Access>, chat_id: &str) -> Option<Errand> {
        let (site, tokens) = (self.site.clone(), account.tokens.clone());
        let (used, chat_id) = (Arc::clone(access), chat_id.to_owned());
        let build = move || {
            let access = tokens.latest().unwrap_or_else(|| Arc::clone(&used));
            let caller = Caller {
                site: &site,
                token: &access.token,
                device: &access.device,
            };
            wire::delete_video(caller, &chat_id, moment())
        };
        self.deletes_conversations.then(|| Errand::new(build))
    }
}

/// The video's address, once there is one.
fn judged(progress: Progress) -> Result<Option<String>, ProviderError> {
    match progress.status.as_deref() {
        Some("init" | "processing") => Ok(None),
        Some("finished") => match progress.url() {
            Some(url) => Ok(Some(url)),
            None => Err(ProviderError::malformed("video")),
        },
        Some(_) | None => Err(failure(progress.msg.as_deref())),
    }
}

/// A short call: its result, or what its refusal means.
pub(super) async fn call<T: serde::de::DeserializeOwned>(
    turn: &Turn,
    request: Request,
    variable: &str,
) -> Result<T, Refusal> {
    let mut answer = turn.send(request).await?;
    let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
    let body = answer.short().await.map_err(ProviderError::from)?;
    if status == 200
        && let Some(result) = wire::result(&body)
    {
        return Ok(result);
    }
    let refusal = refusal::refusal(status, &body, variable);
    let is_unread = status == 200 && refusal.error.kind == Kind::ModelNotFound;
    if is_unread {
        return Err(ProviderError::malformed("answer").into());
    }
    Err(Refusal {
        error: refusal.error.with_retry_after(retry_after),
        ..refusal
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pages_words_mean_that_it_goes_on() {
        let judge = |json: &str| judged(serde_json::from_str(json).unwrap());
        for going in [
            r#"{"status":"init"}"#,
            r#"{"status":"processing","msg":"x"}"#,
        ] {
            assert!(matches!(judge(going), Ok(None)), "{going}");
        }
        let done = judge(r#"{"status":"finished","video_url":"https://e/v.mp4","cover_url":"c"}"#);
        assert_eq!(done.unwrap().as_deref(), Some("https://e/v.mp4"));
        for (failed, kind) in [
            (r#"{"status":"failed","msg":"积分不足"}"#, Kind::QuotaSpent),
            (r#"{"status":"failed"}"#, Kind::Unavailable),
            ("{}", Kind::Unavailable),
            (r#"{"status":"finished"}"#, Kind::Protocol),
        ] {
            assert_eq!(judge(failed).unwrap_err().kind, kind, "{failed}");
        }
    }
}
