//! What a service has refused for good, remembered for a moment. Some callers ask again whatever they are told: Codex asks
//! after every 5xx up to thirty times a turn. The same question to the same model is answered from here meanwhile, without
//! asking the service, which would cost the account. Any other question is asked as ever: a model or a region that one
//! caller may not use is nothing to the others. What is the account's own is in its state instead ([`crate::accounts`]).
//! Source: design.md section 4, doors.md section 9.
//!
//! | what failed | remembered |
//! | --- | --- |
//! | [`Kind::Forbidden`], [`Kind::Protocol`] | from the second time on: the first may have been an accident |
//! | anything else that lasts | from the first time on |
//! | anything else, and what no account has failed at: what a model has made of its tools, it makes otherwise next time | not here |

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::registry::Candidate;
use crate::chat::{ChatRequest, Kind, ProviderError, digest::Digest};

/// For how long. Codex takes half a minute over its thirty tries; a person who has mended something waits no longer.
const MEMORY: Duration = Duration::from_secs(60);
/// Most refusals at a time; who brings more is asked for again.
const MOST: usize = 1024;

/// The refusals of the last minute.
#[derive(Debug, Default)]
pub struct Lasting {
    known: Mutex<HashMap<u64, Refused>>,
    /// Whether there are any: as a rule there are none, and then no question costs more than this look.
    has_any: AtomicBool,
}

#[derive(Debug)]
struct Refused {
    /// [`Subject::asker`] of the question.
    asker: u64,
    error: ProviderError,
    times: u32,
    until: Instant,
}

/// What is asked, and by whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    client: &'a str,
    request: &'a ChatRequest,
}

impl<'a> Subject<'a> {
    /// `client`: the name of the caller's key.
    pub(super) fn new(client: &'a str, request: &'a ChatRequest) -> Self {
        Self { client, request }
    }

    /// Who asks whom: told apart without reading the question, which may be long.
    fn asker(self, candidate: &Candidate) -> u64 {
        let mut hash = DefaultHasher::new();
        let asked = (candidate.provider.name(), &candidate.model.upstream);
        (self.client, asked).hash(&mut hash);
        hash.finish()
    }

    /// The same for a question that is asked again, also where it is streamed one time and whole the other.
    fn of(self, candidate: &Candidate) -> u64 {
        let (mut hash, provider) = (DefaultHasher::new(), &candidate.provider);
        let mut digest = Digest(|bytes: &[u8]| hash.write(bytes));
        digest.add(&(self.client, provider.name(), &candidate.model.upstream));
        let body = self.request.verbatim.as_ref();
        let has_lane = body.is_some_and(|body| provider.takes_body_in(body.dialect));
        digest.request(self.request, has_lane);
        hash.finish()
    }
}

impl Lasting {
    /// What this very question was refused with a moment ago.
    pub(super) fn again(
        &self,
        candidate: &Candidate,
        subject: Subject<'_>,
    ) -> Option<ProviderError> {
        if !self.has_any.load(Ordering::Relaxed) {
            return None;
        }
        let (now, asker) = (Instant::now(), subject.asker(candidate));
        let is_known = {
            let mut known = self.lock();
            known.retain(|_, refused| refused.until > now);
            self.has_any.store(!known.is_empty(), Ordering::Relaxed);
            known.values().any(|refused| refused.asker == asker)
        };
        if !is_known {
            return None;
        }
        let subject = subject.of(candidate);
        let known = self.lock();
        let refused = known.get(&subject)?;
        // Whoever heeds it asks no more.
        (refused.times >= tries(&refused.error)?).then(|| refused.error.clone().lasting())
    }

    /// A question has failed.
    pub(super) fn remember(
        &self,
        candidate: &Candidate,
        subject: Subject<'_>,
        error: &ProviderError,
    ) {
        if tries(error).is_none() {
            return;
        }
        let (asker, subject) = (subject.asker(candidate), subject.of(candidate));
        let mut known = self.lock();
        let has_room = known.len() < MOST;
        match known.get_mut(&subject) {
            // The time runs from when the service was asked, however often it is asked for meanwhile.
            Some(refused) if refused.times >= tries(&refused.error).unwrap_or(u32::MAX) => {}
            Some(refused) => {
                refused.times += 1;
                refused.error = error.clone();
            }
            None if has_room => {
                let refused = Refused {
                    asker,
                    error: error.clone(),
                    times: 1,
                    until: Instant::now() + MEMORY,
                };
                known.insert(subject, refused);
                self.has_any.store(true, Ordering::Relaxed);
            }
            None => {}
        }
    }

    /// Nothing counts any more: the accounts have been renewed.
    pub fn forget(&self) {
        self.lock().clear();
        self.has_any.store(false, Ordering::Relaxed);
    }

    /// A panic of another thread leaves plain values in order, so poisoning is of no interest.
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Refused>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often a fault is met before it is believed; `None`: never.
fn tries(error: &ProviderError) -> Option<u32> {
    match error.kind {
        _ if error.account.is_none() => None,
        Kind::Forbidden | Kind::Protocol => Some(2),
        _ if error.is_lasting => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::providers::testing::{Fake, question, route};

    fn candidate(name: &'static str) -> Candidate {
        route(&[&Arc::new(Fake::new(name, 1))])
            .candidates
            .first()
            .unwrap()
            .clone()
    }

    /// As the dispatcher tells it: an account has failed.
    fn failed(error: ProviderError) -> ProviderError {
        ProviderError {
            account: Some(1),
            ..error
        }
    }

    #[test]
    fn a_question_is_refused_again_and_any_other_is_asked() {
        let (lasting, a) = (Lasting::default(), candidate("a"));
        let (asked, other) = (question(""), question(r#","max_tokens":7"#));
        let subject = |request| Subject::new("k", request);
        let error = failed(ProviderError::new(Kind::Forbidden, "not here"));
        for _ in 0..2 {
            assert!(lasting.again(&a, subject(&asked)).is_none());
            lasting.remember(&a, subject(&asked), &error);
        }
        let again = lasting.again(&a, subject(&asked)).unwrap();
        assert_eq!((again.kind, &*again.message), (Kind::Forbidden, "not here"));
        let streamed = question(r#","stream":true"#);
        assert!(lasting.again(&a, subject(&streamed)).is_some());
        let formed = question(r#","response_format":{"type":"json_object"}"#);
        for other in [&other, &formed] {
            assert!(lasting.again(&a, subject(other)).is_none());
        }
        assert!(lasting.again(&candidate("b"), subject(&asked)).is_none());
        assert!(lasting.again(&a, Subject::new("l", &asked)).is_none());
        lasting.forget();
        assert!(lasting.again(&a, subject(&asked)).is_none());
    }

    #[test]
    fn what_may_have_been_an_accident_is_believed_the_second_time() {
        let (lasting, a, asked) = (Lasting::default(), candidate("a"), question(""));
        let subject = Subject::new("k", &asked);
        let error = failed(ProviderError::malformed("stream"));
        lasting.remember(&a, subject, &error);
        assert!(lasting.again(&a, subject).is_none());
        lasting.remember(&a, subject, &error);
        assert!(lasting.again(&a, subject).is_some());
    }

    #[test]
    fn what_passes_and_what_is_the_accounts_is_not_remembered() {
        let (lasting, a, asked) = (Lasting::default(), candidate("a"), question(""));
        let subject = Subject::new("k", &asked);
        for kind in [
            Kind::Unavailable,
            Kind::Timeout,
            Kind::RateLimited,
            Kind::AuthExpired,
            Kind::BadRequest,
        ] {
            for _ in 0..3 {
                lasting.remember(&a, subject, &failed(ProviderError::new(kind, "x")));
            }
            assert!(lasting.again(&a, subject).is_none(), "{kind:?}");
        }
        // What the gateway itself could not make of an answer.
        for _ in 0..3 {
            lasting.remember(&a, subject, &ProviderError::new(Kind::Protocol, "x"));
        }
        assert!(lasting.again(&a, subject).is_none());
        let lasts = failed(ProviderError::new(Kind::Unavailable, "x").lasting());
        lasting.remember(&a, subject, &lasts);
        assert!(lasting.again(&a, subject).is_some());
    }
}
