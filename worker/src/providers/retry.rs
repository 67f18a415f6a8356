//! When an attempt that failed is tried again, and on which account. Pure: what failed and what is left are handed in.
//!
//! | what failed | another account is left | none is left |
//! | --- | --- | --- |
//! | after output, or the caller's fault | told | told |
//! | the account's fault | at once, as often as there are accounts | told |
//! | passing, but said to last | told | told |
//! | passing | at once, as long as there are delays | after the next delay; a time-out is told |
//! | anything else | told | told |

use std::time::Duration;

use crate::chat::Kind;

/// An attempt that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    /// Why.
    pub(super) kind: Kind,
    /// Another try would hear the same, though the kind is one that passes.
    pub(super) is_lasting: bool,
    /// The client has (or is about to get) some of its output.
    pub(super) has_output: bool,
    /// An account that has not been tried could be leased now, and the request may use it.
    pub(super) is_account_left: bool,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing that this candidate could do helps.
    Tell,
    /// At once, on another account.
    OtherAccount,
    /// Once this time has passed, on whichever account is best then: mostly the same.
    Later(Duration),
}

/// The tries that one candidate still has.
#[derive(Clone, Debug)]
pub(super) struct Retries<'a> {
    /// Each try after a passing fault takes one, whether it is waited out or not.
    delays: std::slice::Iter<'a, Duration>,
}

impl<'a> Retries<'a> {
    /// As many tries after passing faults as there are `delays` (`RETRY_DELAYS_MS`).
    pub(super) fn new(delays: &'a [Duration]) -> Self {
        Self {
            delays: delays.iter(),
        }
    }

    /// What comes after a failure.
    pub(super) fn next(&mut self, failure: Failure) -> Next {
        let Failure {
            kind,
            is_lasting,
            has_output,
            is_account_left,
        } = failure;
        // Before everything else: no rule below may bring a second answer after the first one's words.
        if is_final(kind, has_output) {
            return Next::Tell;
        }
        // An account that was tried is never left, so this ends.
        if kind.blames_account() && is_account_left {
            return Next::OtherAccount;
        }
        // `is_lasting` does not stop the other accounts above: what one has spent another may have.
        if is_lasting || !kind.is_passing() {
            return Next::Tell;
        }
        match self.delays.next() {
            None => Next::Tell,
            // The delay is taken and not waited out: another account knows nothing of the fault.
            Some(_) if is_account_left => Next::OtherAccount,
            // To wait out a time-out twice helps nobody.
            Some(_) if kind == Kind::Timeout => Next::Tell,
            Some(&delay) => Next::Later(delay),
        }
    }
}

/// Whether neither another account nor another candidate can help: the client has seen some of the answer, or the
/// question is to blame.
pub(super) fn is_final(kind: Kind, has_output: bool) -> bool {
    has_output || kind.is_callers_fault()
}

/// A delay, a tenth shorter to a tenth longer, so that what failed together does not come back together. `random`: from
/// 0 to 1.
pub(super) fn jittered(delay: Duration, random: f64) -> Duration {
    delay.mul_f64(0.9 + 0.2 * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 16] = [
        Kind::BadRequest,
        Kind::ContextLength,
        Kind::FileRejected,
        Kind::ModelNotFound,
        Kind::NotConfigured,
        Kind::AccountNotConfigured,
        Kind::Overloaded,
        Kind::Moderated,
        Kind::AuthExpired,
        Kind::Forbidden,
        Kind::RateLimited,
        Kind::QuotaSpent,
        Kind::Verification,
        Kind::Unavailable,
        Kind::Timeout,
        Kind::Protocol,
    ];
    const DELAYS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(2)];

    fn failure(kind: Kind, is_account_left: bool) -> Failure {
        Failure {
            kind,
            is_lasting: false,
            has_output: false,
            is_account_left,
        }
    }

    /// Every verdict on the same failure again and again, until it is told.
    fn verdicts(failure: Failure, most: usize) -> Vec<Next> {
        let mut retries = Retries::new(&DELAYS);
        let mut verdicts = Vec::new();
        while verdicts.len() < most && verdicts.last() != Some(&Next::Tell) {
            verdicts.push(retries.next(failure));
        }
        verdicts
    }

    #[test]
    fn nothing_follows_output() {
        for kind in KINDS {
            for is_account_left in [true, false] {
                let failure = Failure {
                    has_output: true,
                    ..failure(kind, is_account_left)
                };
                assert_eq!(verdicts(failure, 9), [Next::Tell], "{failure:?}");
            }
        }
    }

    #[test]
    fn what_lasts_is_not_waited_for() {
        for is_account_left in [true, false] {
            let failure = Failure {
                is_lasting: true,
                ..failure(Kind::Unavailable, is_account_left)
            };
            assert_eq!(verdicts(failure, 9), [Next::Tell]);
        }
    }

    #[test]
    fn each_kind_has_its_tries() {
        let [first, second] = DELAYS.map(Next::Later);
        for kind in KINDS {
            let [with, without] = [true, false].map(|left| verdicts(failure(kind, left), 9));
            match kind {
                Kind::AuthExpired
                | Kind::Forbidden
                | Kind::RateLimited
                | Kind::QuotaSpent
                | Kind::Verification => {
                    assert_eq!(with, [Next::OtherAccount; 9], "{kind:?}");
                    assert_eq!(without, [Next::Tell], "{kind:?}");
                }
                Kind::Unavailable => {
                    assert_eq!(with, [Next::OtherAccount, Next::OtherAccount, Next::Tell]);
                    assert_eq!(without, [first, second, Next::Tell]);
                }
                Kind::Timeout => {
                    assert_eq!(with, [Next::OtherAccount, Next::OtherAccount, Next::Tell]);
                    assert_eq!(without, [Next::Tell]);
                }
                _ => assert_eq!((with, without), (vec![Next::Tell], vec![Next::Tell])),
            }
        }
    }

    /// What another account was tried for is not waited for again.
    #[test]
    fn tries_are_counted_across_kinds() {
        let mut retries = Retries::new(&DELAYS);
        let mut next = |kind, left| retries.next(failure(kind, left));
        assert_eq!(next(Kind::Unavailable, true), Next::OtherAccount);
        assert_eq!(next(Kind::RateLimited, true), Next::OtherAccount);
        assert_eq!(next(Kind::Unavailable, false), Next::Later(DELAYS[1]));
        assert_eq!(next(Kind::Unavailable, false), Next::Tell);
        assert_eq!(next(Kind::RateLimited, true), Next::OtherAccount);
    }

    #[test]
    fn a_delay_varies_by_a_tenth() {
        let delay = Duration::from_millis(1000);
        let ends = [0.0, 0.5, 1.0].map(|random| jittered(delay, random).as_millis());
        assert_eq!(ends, [900, 1000, 1100]);
    }
}
