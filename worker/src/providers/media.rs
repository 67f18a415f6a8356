//! Pictures, videos and speech beside chat: the traits that a provider implements for what its service can make, and what
//! a door asks them through. Source: design.md section 12.
//!
//! ```text
//! door ── Registry::route_to_draw (…_film, …_speak) ──► Route ── media::run ──► the dispatcher's candidates, accounts, tries
//!                                                                  └── work: candidate.provider.images()?.draw(&ask, turn)
//! door, later ── Registry::route_back(provider, model) ──► Route ── media::run ──► videos()?.look(&ticket, turn)
//! ```
//!
//! A provider's flow is written as [`super::Provider::chat`] is: lease with [`Turn::lease`], call with [`Turn::send`],
//! register what has to be deleted with [`Turn::opened`] or [`Turn::afterwards`] *before* anything can fail. What is
//! returned as an error is judged by the dispatcher exactly as a chat's is: the account rests or is disabled, another one is
//! tried, passing faults are tried again, then the next candidate. Nothing has been said to the client before the work is
//! done, so everything may be tried again that may be tried at all. Therefore: where a try may have cost the account
//! something (a video was accepted, points are gone), return the error as [`ProviderError::lasting`], or it is done twice.
//!
//! No trait method keeps state in the worker: what a later call needs is in the [`Ticket`], and any worker may get it.

use std::{rc::Rc, sync::Arc};

use futures_util::future::LocalBoxFuture;

use super::{
    Job, Model, Route, Served, Turn, dispatch::dispatch, outbox::Outbox, registry::Candidate,
};
use crate::{
    chat::{
        Kind, ProviderError,
        media::{
            Draws, Films, ImageRequest, Picture, Sound, SpeechRequest, Ticket, VideoRequest,
            VideoState,
        },
    },
    upstream::Answer,
};

/// A provider that draws.
pub trait Images: Send + Sync {
    /// What a model does when asked for pictures; `None`: it draws none (and the door says 400).
    fn draws(&self, model: &Model) -> Option<Draws>;

    /// Draws the pictures of one turn: `ask.n` of them, at most [`Draws::per_turn`]; fewer where the service gives fewer,
    /// never none. The size is one of [`Draws::sizes`], and there are no more input pictures than [`Draws::inputs`], as the
    /// door sees to it. Input pictures become files by [`Turn::input`].
    ///
    /// # Errors
    /// As [`super::Provider::chat`]; a refusal of the content is [`Kind::Moderated`], a day's quota that is spent
    /// [`Kind::QuotaSpent`] with its time, an answer without a picture [`Kind::Unavailable`].
    fn draw<'a>(
        &'a self,
        ask: &'a Arc<ImageRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<Vec<Picture>, ProviderError>>;

    /// Opens a picture that [`Images::draw`] has returned as a link. To be written anew only where that takes another
    /// address than the client's (change it and call [`Turn::open`]), or a cookie or a header ([`Turn::send`], to the service's
    /// own addresses only: a credential must not follow a link).
    ///
    /// # Errors
    /// The guard's, and the transport's.
    fn open<'a>(
        &'a self,
        url: &'a str,
        turn: &'a Turn,
    ) -> LocalBoxFuture<'a, Result<Answer, ProviderError>> {
        Box::pin(turn.open(url, None))
    }
}

/// A provider that makes videos: asked once, looked at until it is there.
pub trait Videos: Send + Sync {
    /// What a model does when asked for a video; `None`: it makes none.
    fn films(&self, model: &Model) -> Option<Films>;

    /// Asks for a video and returns as soon as the service has accepted it. Lease with [`Turn::lease`], and put the account's
    /// [`crate::accounts::Known::fingerprint`] into the ticket. The conversation that it is made in must not be deleted
    /// with this turn: [`Videos::delete`] does that.
    ///
    /// # Errors
    /// As [`super::Provider::chat`]; once the service may have accepted it, lasting.
    fn submit<'a>(
        &'a self,
        ask: &'a Arc<VideoRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<Ticket, ProviderError>>;

    /// How far it is. Lease with [`Turn::lease_known`]. A video that failed is no error but a state
    /// ([`VideoState::failed`]); an error means that this look came to nothing.
    ///
    /// # Errors
    /// [`Kind::ModelNotFound`] (404) where the service does not know the video (any more); 503 where no account here is the
    /// ticket's.
    fn look<'a>(
        &'a self,
        ticket: &'a Ticket,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<VideoState, ProviderError>>;

    /// Stops it where the service can do that, and deletes what it has left at the service; done, too, where there is
    /// nothing (any more). Lease with [`Turn::lease_known`].
    ///
    /// # Errors
    /// As [`Videos::look`].
    fn delete<'a>(
        &'a self,
        ticket: &'a Ticket,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<(), ProviderError>>;

    /// Opens the file of a finished video, for the door to stream through; `range` is the value of the client's `Range`
    /// header. The answer's status, `content-range`, `content-length`, `etag` … are for the door to look at: 200, 206 and 416
    /// are answers. To be written anew as [`Images::open`].
    ///
    /// # Errors
    /// The guard's, and the transport's.
    fn open<'a>(
        &'a self,
        _ticket: &'a Ticket,
        url: &'a str,
        range: Option<&'a str>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<Answer, ProviderError>> {
        Box::pin(turn.open(url, range))
    }
}

/// A provider that speaks.
pub trait Speech: Send + Sync {
    /// Whether a model does.
    fn speaks(&self, model: &Model) -> bool;

    /// Says it. Returns as soon as the sound begins; what must live as long as it comes is moved into its stream.
    ///
    /// # Errors
    /// As [`super::Provider::chat`].
    fn speak<'a>(
        &'a self,
        ask: &'a Arc<SpeechRequest>,
        turn: &'a mut Turn,
    ) -> LocalBoxFuture<'a, Result<Sound, ProviderError>>;
}

/// Does `work` with the first candidate that can, with the accounts, tries, time limit (`REQUEST_TIMEOUT`) and clean-up
/// that chats have; dropping the future stops it. What comes of it, and who did it (for log and metrics; also of a failure).
///
/// # Errors
/// As the dispatcher's; a time-out names what was still at work.
pub async fn run<T>(
    job: &Job,
    route: &Route,
    work: impl AsyncFn(&Candidate, &mut Turn) -> Result<T, ProviderError>,
) -> (Result<T, ProviderError>, Served) {
    let outbox = Rc::<Outbox>::default();
    let result = dispatch(job, route, &outbox, None, work).await;
    let served = outbox.served();
    (result.map_err(|error| timed_out(error, &served)), served)
}

/// The error of a run that was stopped from outside, with what it was busy with: the dispatcher's own time-out names nobody.
fn timed_out(mut error: ProviderError, served: &Served) -> ProviderError {
    // Only the dispatcher's own time-out: one of an attempt has its provider already.
    if error.kind == Kind::Timeout
        && error.provider.is_none()
        && let (Some(provider), Some(model)) = (&served.provider, &served.model)
    {
        let account = served.account.map(|account| format!(", account {account}"));
        let account = account.unwrap_or_default();
        error.message = format!(
            "{}; {provider}/{model}{account} was still at work on it",
            error.message
        );
    }
    error
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        accounts::{Accounts as _, Choice, Fingerprint, Known, Patience, Pool, Secret},
        providers::testing::{Fake, job, route},
    };

    #[derive(PartialEq)]
    struct Token(Secret);

    impl Known for Token {
        fn fingerprint(&self) -> Fingerprint {
            Fingerprint::of("fake", &self.0)
        }

        fn variable(&self) -> &str {
            "FAKE_TOKEN"
        }
    }

    fn tokens(secrets: &[&str]) -> Pool<Token> {
        let pool = Pool::new(Patience::default(), 1);
        let accounts = secrets.iter().enumerate();
        pool.replace(
            accounts
                .map(|(at, secret)| (at + 1, Token(Secret::new(*secret))))
                .collect(),
        );
        pool
    }

    /// A ticket's account is found whatever number it has here, even while it is busy or rests; and a look changes nothing
    /// of how it stands.
    #[actix_web::test]
    async fn a_look_goes_to_the_account_that_has_the_job() {
        let provider = Arc::new(Fake::new("a", 3));
        let pool = tokens(&["token-one", "token-two"]);
        let ticket = Fingerprint::of("fake", &Secret::new("token-two"));
        let busy = pool.lease(Choice::Only(2), &[]).await.unwrap();
        pool.failed(2, &ProviderError::new(Kind::QuotaSpent, "spent"));
        let look = async |_: &Candidate, turn: &mut Turn| {
            let lease = turn.lease_known(&pool, ticket.as_str()).await?;
            Ok(lease.number())
        };
        let (found, _) = run(&job(&[]), &route(&[&provider]), look).await;
        assert_eq!(found.unwrap(), 2);
        assert_eq!(pool.census().cooling, 1);
        drop(busy);
    }

    #[actix_web::test]
    async fn a_look_at_nobodys_job_is_a_503_and_tries_nobody() {
        let provider = Arc::new(Fake::new("a", 3));
        let pool = tokens(&["token-one"]);
        let strange = Fingerprint::of("fake", &Secret::new("token-two"));
        let tries = std::cell::Cell::new(0);
        let look = async |_: &Candidate, turn: &mut Turn| {
            tries.set(tries.get() + 1);
            let lease = turn.lease_known(&pool, strange.as_str()).await?;
            Ok(lease.number())
        };
        let (found, _) = run(&job(&[]), &route(&[&provider]), look).await;
        assert_eq!(found.unwrap_err().kind, Kind::AccountNotConfigured);
        assert_eq!(tries.get(), 1);
    }

    /// A failed look is not the account's fault, unless the credential is refused.
    #[actix_web::test]
    async fn only_a_refused_credential_is_laid_to_the_account_of_a_look() {
        let provider = Arc::new(Fake::new("a", 1));
        for (kind, ready) in [(Kind::RateLimited, 1), (Kind::AuthExpired, 0)] {
            let look = async |_: &Candidate, turn: &mut Turn| {
                let _lease = turn.lease(provider.pool(), Choice::Beside(1)).await?;
                Err::<(), _>(ProviderError::new(kind, "x"))
            };
            let (found, _) = run(&job(&[]), &route(&[&provider]), look).await;
            assert_eq!(found.unwrap_err().kind, kind);
            assert_eq!(provider.pool().census().ready, ready, "{kind:?}");
        }
    }

    #[actix_web::test]
    async fn a_time_out_names_what_was_still_at_work() {
        let provider = Arc::new(Fake::new("a", 1));
        let hang = async |_: &Candidate, turn: &mut Turn| {
            let _lease = turn.lease(provider.pool(), Choice::Any(0)).await?;
            tokio::time::sleep(Duration::from_secs(1 << 30)).await;
            Ok(())
        };
        let job = job(&[]);
        tokio::time::pause();
        let (result, served) = run(&job, &route(&[&provider]), hang).await;
        let error = result.unwrap_err();
        assert_eq!((error.kind, served.account), (Kind::Timeout, Some(1)));
        assert!(
            error.message.contains("a/a-1, account 1"),
            "{}",
            error.message
        );
    }
}
