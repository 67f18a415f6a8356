//! Videos: asked for, waited for, deleted. Source: `wire/qwen_intl.md` sections 4.6 and 7.5.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    QwenIntl,
    account::{Access, Account, moment},
    call,
    flow::{Asked, Place},
    refusal::{self, Refusal, Remedy},
    site::Site,
    task::{self, Progress},
    wire::{self, Api},
};
use crate::{
    accounts::rotating::unix_ms,
    chat::{ChatEvent, FinishReason, Kind, ProviderError},
    providers::{Messenger, Turn},
    settings::Conversations,
};

/// Looks in a row that may fail (section 7.5).
const MOST_FAILURES: u32 = 5;
/// More abandoned videos are forgotten, the oldest first.
const MOST_ABANDONED: usize = 256;

/// A task, and how it is looked at.
#[derive(Debug)]
pub(super) struct Watch {
    task_id: String,
    /// The older call from the first 404 on.
    api: Api,
    has_answered: bool,
    /// In a row.
    failures: u32,
    /// What was said last.
    said: Option<Option<u64>>,
}

impl Watch {
    pub(super) fn new(task_id: String) -> Self {
        Self {
            task_id,
            api: Api::V2,
            has_answered: false,
            failures: 0,
            said: None,
        }
    }
}

impl QwenIntl {
    /// One video, shown as a link. While it is made, a client that streams sees how far it is.
    pub(super) async fn film(
        &self,
        turn: &mut Turn,
        place: Place<'_>,
        asked: &Asked,
    ) -> Result<(), Refusal> {
        let task_id = self.submitted(turn, place, asked).await?;
        // A conversation that is kept has nothing to be cleaned up.
        let deletes = turn.conversations == Conversations::Delete;
        if deletes {
            // Should nobody be there when it is over: it must not be deleted before.
            // Added before the wait, not after it: a client that leaves drops this future where it stands.
            self.abandoned.add(place);
        }
        let mut watch = Watch::new(task_id);
        let (every, most) = (self.site.poll_interval, self.site.poll_timeout);
        let found = turn
            .until(every, most, async |turn: &mut Turn| {
                let progress = self.look(turn, place, &mut watch).await?;
                if let Some(Progress::Running(left)) = progress {
                    // Said again only when the number moves: a look every 5 s would fill the thoughts.
                    if asked.is_streamed && watch.said != Some(left) {
                        watch.said = Some(left);
                        turn.events.push(ChatEvent::Reasoning(words(left)));
                        turn.emit().await?;
                    }
                    return Ok::<_, Refusal>(None);
                }
                Ok(progress)
            })
            .await;
        // Also a task that failed is over; only a wait that broke off leaves it running.
        let is_over = matches!(found, Ok(Some(_)));
        if is_over && deletes {
            self.abandoned.remove(place.chat_id);
            turn.afterwards(self.deletion(place.account, place.access, place.chat_id));
        }
        let url = match found? {
            Some(Progress::Done(url)) => url,
            Some(Progress::Failed(error)) => return Err(error.into()),
            Some(Progress::Running(_)) | None => {
                let message = format!(
                    "the video (task {}) was still being made when QWEN_INTL_POLL_TIMEOUT_S was over",
                    watch.task_id
                );
                // Not tried elsewhere: the first video is still being made, and a day has three.
                return Err(ProviderError::new(Kind::Timeout, message).lasting().into());
            }
        };
        // The address once more on a line of its own: clients without Markdown cut links out of lines (section 5).
        let link = format!("[Download Video]({url})\n{url}");
        turn.events.push(ChatEvent::Text(link));
        turn.events.push(ChatEvent::Finish(FinishReason::Stop));
        turn.emit().await?;
        Ok(())
    }

    /// Asks for the video: the id of its task.
    pub(super) async fn submitted(
        &self,
        turn: &Turn,
        place: Place<'_>,
        asked: &Asked,
    ) -> Result<String, Refusal> {
        let variable = &place.account.variable;
        let request = self.question(turn, place, asked);
        let sent = call::sent(turn, request).await;
        // Without an answer it may have been taken: a second one would cost one of the day's three.
        let (head, body) = sent.map_err(|error| match error.kind {
            Kind::Timeout => {
                // By whoever holds it: the failure passes through retries which must know.
                asked.is_submitted.set(true);
                error.lasting()
            }
            _ => error,
        })?;
        if head.status >= 300 {
            return Err(refusal::refusal(head, &body, variable));
        }
        // A refusal has status 200 as well (section 3): only what follows was taken.
        if let Some(refusal) = refusal::in_body(head, &body, variable) {
            return Err(refusal);
        }
        asked.is_submitted.set(true);
        if let Some(task_id) = task::submitted(&body) {
            return Ok(task_id);
        }
        let caller = place.account.caller(&self.site, Some(place.access));
        let request = wire::detail(caller, place.chat_id, moment());
        // Measured answers have it; the chat has it for pages that answer with words.
        let (_, detail) = call::sent(turn, request).await?;
        let missing = || ProviderError::malformed("video task").into();
        task::in_detail(&detail).ok_or_else(missing)
    }

    /// One look. `None`: it failed, and another one may not.
    pub(super) async fn look(
        &self,
        turn: &Turn,
        place: Place<'_>,
        watch: &mut Watch,
    ) -> Result<Option<Progress>, Refusal> {
        let variable = &place.account.variable;
        // A loop of two at most: the older call is tried once.
        loop {
            let caller = place.account.caller(&self.site, Some(place.access));
            let request = wire::task(caller, watch.api, &watch.task_id, moment());
            let sent = call::sent(turn, request).await.map_err(Refusal::from);
            let refusal = match sent {
                Ok((head, body)) => {
                    let refused = refusal::in_body(head, &body, variable);
                    if head.status < 300
                        && refused.is_none()
                        && let Some(progress) = task::progress(&body)
                    {
                        (watch.has_answered, watch.failures) = (true, 0);
                        return Ok(Some(progress));
                    }
                    let refusal =
                        refused.unwrap_or_else(|| refusal::refusal(head, &body, variable));
                    // `Not_Found` comes under status 200, and reads as a model's or a chat's there (section 7.5).
                    let is_gone = head.status == 404
                        || refusal.error.kind == Kind::ModelNotFound
                        || refusal.remedy == Remedy::NewChat;
                    // Once it has answered, 404 means that the task is gone.
                    if is_gone && !watch.has_answered && watch.api == Api::V2 {
                        watch.api = Api::V1;
                        continue;
                    }
                    refusal
                }
                Err(refusal) => refusal,
            };
            watch.failures += 1;
            // Passing faults are of the network; the task goes on without us.
            let passes = refusal.error.kind.is_passing();
            if !passes || watch.failures > MOST_FAILURES {
                // Nothing begins the video again: a day has three of them.
                return Err(refusal.error.lasting().into());
            }
            return Ok(None);
        }
    }
}

/// How far it is, in words.
fn words(left: Option<u64>) -> String {
    match left {
        Some(seconds) if seconds > 0 => {
            format!("The video is being made: about {seconds} s left.\n")
        }
        _ => "The video is being made.\n".to_owned(),
    }
}

/// Chats of videos whose task was not over when the turn was: nothing stops a task, and a chat is deleted after it only.
#[derive(Debug, Default)]
pub(super) struct Abandoned(Mutex<Vec<Chat>>);

#[derive(Clone, Debug)]
struct Chat {
    id: String,
    account: Account,
    access: Arc<Access>,
    since_ms: u64,
}

impl Abandoned {
    pub(super) fn add(&self, place: Place<'_>) {
        let mut chats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if chats.len() >= MOST_ABANDONED {
            chats.remove(0);
        }
        chats.push(Chat {
            id: place.chat_id.to_owned(),
            // The account itself, not its number: the pool may be replaced by then.
            account: place.account.clone(),
            access: Arc::clone(place.access),
            since_ms: unix_ms(),
        });
    }

    fn remove(&self, chat_id: &str) {
        let mut chats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        chats.retain(|chat| chat.id != chat_id);
    }

    /// Deletes those whose task must be over by now. One try each: a chat that is left is an annoyance, not a leak.
    pub(super) async fn sweep(&self, site: &Site, messenger: &Messenger) {
        // As long after it as a turn would have waited: no task takes longer (section 7.5).
        let before = unix_ms().saturating_sub(as_ms(site.poll_timeout));
        // In a block: the lock must not be held over the calls below.
        let due: Vec<Chat> = {
            let mut chats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (due, rest) = chats.drain(..).partition(|chat| chat.since_ms < before);
            *chats = rest;
            due
        };
        for chat in due {
            // The token of that day may have been replaced since.
            let latest = chat.account.tokens.latest();
            let access = latest.as_deref().unwrap_or(&chat.access);
            let caller = chat.account.caller(site, Some(access));
            let request = wire::delete(caller, &chat.id, moment());
            // Its failure changes nothing.
            let _ = messenger.send(request).await;
        }
    }
}

fn as_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
