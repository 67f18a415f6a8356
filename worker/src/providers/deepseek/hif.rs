//! The two side channels: opaque values that the site sends with its questions. Fetched in the background, so that no
//! answer waits for them; one that cannot be had is left out. Source: `wire/deepseek.md` section 4, "Side channel in
//! detail".

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    CARD, call,
    identity::Identity,
    refusal,
    wire::{self, Aside},
};
use crate::{
    chat::ProviderError,
    providers::Messenger,
    settings::{Problems, Vars},
};

/// How long a value is good for when its answer does not say.
const LIFE: Duration = Duration::from_secs(600);
/// The longest time that is believed: it is added to a clock.
const LONGEST_LIFE: Duration = Duration::from_secs(86_400);
/// The pauses after failures double between these two.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(600);
/// How long a question with pictures waits for a first value.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Both side channels.
#[derive(Debug)]
pub(super) struct SideChannels {
    leim: Option<Arc<Channel>>,
    dliq: Option<Arc<Channel>>,
}

impl SideChannels {
    /// Reads the hosts. `off` switches one off; so does another service in place of the real one, unless the host is
    /// named with it; the app has none.
    pub(super) fn read(vars: &Vars, identity: &Identity, problems: &mut Problems) -> Self {
        let mut channel = |name: &str| {
            // Another service in place of the real one has no side channel, and asking the real one would tell it of
            // us.
            let is_off = match vars.get(name) {
                Some(value) => value.eq_ignore_ascii_case("off"),
                None => !identity.is_real(),
            };
            // Section 4: the app sends neither.
            (!is_off && identity.is_site())
                .then(|| Arc::new(Channel::new(CARD.base_url(name, vars, problems))))
        };
        Self {
            leim: channel("DEEPSEEK_HIF_BASE_URL"),
            dliq: channel("DEEPSEEK_HIF_DLIQ_BASE_URL"),
        }
    }

    /// The values that are there, none older than its time; sees to their renewal. `must_wait`: for a question that
    /// is said to need them, the first ones are waited for a little.
    pub(super) async fn values(
        &self,
        identity: &Arc<Identity>,
        messenger: &Messenger,
        must_wait: bool,
    ) -> Aside {
        let channels = [&self.leim, &self.dliq];
        // Before anything is waited for: the fetch runs while the question is made ready.
        for channel in channels.into_iter().flatten() {
            channel.renew(identity, messenger);
        }
        if must_wait {
            let first = |channel: &Option<Arc<Channel>>| {
                let channel = channel.clone();
                async move {
                    if let Some(channel) = channel {
                        channel.first().await;
                    }
                }
            };
            // Both at the same time: the wait is of one length, however many there are.
            let both = futures_util::future::join(first(&self.leim), first(&self.dliq));
            // Without a value the question goes all the same (section 4).
            let _ = tokio::time::timeout(LONGEST_WAIT, both).await;
        }
        let value = |channel: &Option<Arc<Channel>>| channel.as_ref()?.value(Instant::now());
        Aside {
            leim: value(&self.leim),
            dliq: value(&self.dliq),
        }
    }
}

#[derive(Debug)]
struct Channel {
    base_url: String,
    state: Mutex<State>,
    fetched: Notify,
}

#[derive(Debug)]
struct State {
    value: Option<(String, Instant)>,
    is_fetching: bool,
    /// The first fetch has ended, one way or the other.
    is_known: bool,
    /// When the next one is due; `None`: now.
    next: Option<Instant>,
    pause: Duration,
}

impl Channel {
    fn new(base_url: String) -> Self {
        let state = State {
            value: None,
            is_fetching: false,
            is_known: false,
            next: None,
            pause: FIRST_PAUSE,
        };
        Self {
            base_url,
            state: Mutex::new(state),
            fetched: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn value(&self, now: Instant) -> Option<String> {
        let state = self.state();
        // Section 4: a value older than its time is never sent.
        let (value, _) = state.value.as_ref().filter(|(_, until)| *until > now)?;
        Some(value.clone())
    }

    /// Fetches a value in the background where one is due and nobody does so already.
    fn renew(self: &Arc<Self>, identity: &Arc<Identity>, messenger: &Messenger) {
        // Under the lock, so that of many turns exactly one fetches.
        if !self.state().begin(Instant::now()) {
            return;
        }
        let (channel, identity) = (Arc::clone(self), Arc::clone(identity));
        let messenger = messenger.clone();
        // Of its own: the turn does not wait for it, and may end before it does.
        actix_web::rt::spawn(async move {
            let fetched = fetch(&channel.base_url, &identity, &messenger).await;
            channel.state().end(fetched, Instant::now());
            channel.fetched.notify_waiters();
        });
    }

    /// Waits for the end of the first fetch.
    async fn first(&self) {
        loop {
            // Registered before the look, so that an end in between is not missed.
            let mut fetched = std::pin::pin!(self.fetched.notified());
            fetched.as_mut().enable();
            if self.state().is_known {
                return;
            }
            fetched.await;
        }
    }
}

impl State {
    /// Whether a fetch begins now.
    fn begin(&mut self, now: Instant) -> bool {
        let begins = !self.is_fetching && self.next.is_none_or(|next| next <= now);
        self.is_fetching |= begins;
        begins
    }

    /// A fetch has ended with a value and its time, or without.
    fn end(&mut self, fetched: Option<(String, Duration)>, now: Instant) {
        // Also of a failure: whoever waits for the first value goes on without it.
        (self.is_fetching, self.is_known) = (false, true);
        match fetched {
            Some((value, life)) => {
                let life = life.min(LONGEST_LIFE);
                self.value = Some((value, now + life));
                // A little early, so that questions find a value that is still good.
                self.next = Some(now + life.mul_f64(0.9));
                self.pause = FIRST_PAUSE;
            }
            None => {
                self.next = Some(now + self.pause);
                // Section 4: the site doubles its pause up to 600 s.
                self.pause = (self.pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

async fn fetch(
    base_url: &str,
    identity: &Identity,
    messenger: &Messenger,
) -> Option<(String, Duration)> {
    let answered = async {
        let mut answer = messenger.send(wire::hif(base_url, identity)).await?;
        let life = answer
            .header("x-hif-ttl")
            .and_then(|ttl| ttl.trim().parse().ok())
            .map_or(LIFE, Duration::from_secs);
        // No clock is needed: of a side channel nothing is muted.
        Ok::<_, ProviderError>((call::head(0, &answer), answer.short().await?, life))
    };
    let (head, body, life) = answered.await.ok()?;
    let hif = refusal::data::<wire::Hif>(head, &body).ok()?;
    // It becomes a header, and is a stranger's.
    let is_header = !hif.value.is_empty() && hif.value.bytes().all(|b| b.is_ascii_graphic());
    is_header.then_some((hif.value, life))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn failures_are_followed_by_pauses_that_double() {
        let channel = Channel::new(String::new());
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let mut state = channel.state();
            assert!(state.begin(now));
            assert!(!state.begin(now), "one at a time");
            state.end(None, now);
            let next = state.next.unwrap();
            pauses.push((next - now).as_secs());
            assert!(!state.begin(next - seconds(1) / 2));
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    }

    #[test]
    fn a_value_is_never_older_than_its_time() {
        let (channel, now) = (Channel::new(String::new()), Instant::now());
        assert_eq!(channel.value(now), None);
        channel.state().begin(now);
        channel
            .state()
            .end(Some(("v".to_owned(), seconds(100))), now);
        assert_eq!(channel.value(now + seconds(99)).as_deref(), Some("v"));
        assert_eq!(channel.value(now + seconds(100)), None);
        // Its renewal fails: it stays good for its time, and not longer.
        assert!(!channel.state().begin(now + seconds(89)));
        assert!(channel.state().begin(now + seconds(91)));
        channel.state().end(None, now + seconds(92));
        assert_eq!(channel.value(now + seconds(95)).as_deref(), Some("v"));
        assert_eq!(channel.value(now + seconds(101)), None);
    }

    #[test]
    fn a_time_beyond_all_clocks_is_a_day() {
        let (channel, now) = (Channel::new(String::new()), Instant::now());
        channel.state().begin(now);
        channel
            .state()
            .end(Some(("v".to_owned(), Duration::MAX)), now);
        assert_eq!(channel.value(now + LONGEST_LIFE), None);
    }
}
