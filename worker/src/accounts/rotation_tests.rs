//! The policy alone, with times that are made up.

use super::*;

const MARGIN: Duration = Duration::from_secs(60);

fn error(kind: Kind) -> ProviderError {
    ProviderError::new(kind, "x")
}

fn moment(start: Instant, seconds: u64) -> Moment {
    Moment {
        unix: 1000 + seconds,
        instant: start + Duration::from_secs(seconds),
    }
}

/// What a look says, in short.
fn said(look: &Look<u32>) -> String {
    match look {
        Look::Use(token) => format!("use {token}"),
        Look::Renew { seen, spare: None } => format!("renew {seen}"),
        Look::Renew {
            seen,
            spare: Some(spare),
        } => format!("renew {seen} or {spare}"),
        Look::Fail(error) => format!("fail {}", error.kind.label()),
    }
}

fn rotation() -> Rotation<u32, HalfOpen> {
    Rotation::new(MARGIN, HalfOpen::new(Patience::default()))
}

#[test]
fn a_token_is_used_up_to_the_margin_and_spared_up_to_its_end() {
    let (start, mut rotation) = (Instant::now(), rotation());
    let look = |rotation: &Rotation<u32, HalfOpen>, at| said(&rotation.look(moment(start, at)));
    assert_eq!(look(&rotation, 0), "renew 0");
    rotation.hold(1, Some(1100), start);
    assert_eq!(look(&rotation, 39), "use 1");
    assert_eq!(look(&rotation, 40), "renew 0 or 1");
    // A renewal ahead of the end that is refused costs nobody the token, and is not repeated.
    let refused = Failure::Refused(error(Kind::AuthExpired));
    let outcome = rotation.ended(Err(refused), start + MARGIN);
    assert_eq!(outcome.unwrap_err().kind, Kind::AuthExpired);
    assert_eq!(look(&rotation, 99), "use 1");
    assert_eq!(look(&rotation, 100), "fail auth_expired");
    // Half open: after ten minutes one more.
    assert_eq!(look(&rotation, 659), "fail auth_expired");
    assert_eq!(look(&rotation, 660), "renew 1");
    let renewed = rotation.ended(Ok((2, None)), start).unwrap();
    assert_eq!(*renewed, 2);
    assert_eq!(look(&rotation, 1_000_000), "use 2");
}

#[test]
fn a_refused_token_is_replaced_once_for_all_who_met_it() {
    let (start, mut rotation) = (Instant::now(), rotation());
    let first = rotation.hold(1, None, start);
    let refusal = error(Kind::AuthExpired);
    let now = moment(start, 1);
    assert_eq!(said(&rotation.refused(&first, &refusal, now)), "renew 0");
    // Told by a second turn while the renewal is under way: it waits for the same one.
    assert_eq!(said(&rotation.refused(&first, &refusal, now)), "renew 0");
    assert!(rotation.outcome(0).is_none());
    rotation.ended(Ok((2, None)), now.instant).unwrap();
    assert_eq!(rotation.outcome(0).unwrap().unwrap().as_ref(), &2);
    assert!(rotation.outcome(1).is_none());
    // And by a third one when all is over.
    assert_eq!(said(&rotation.refused(&first, &refusal, now)), "use 2");
}

#[test]
fn tokens_that_never_serve_are_not_renewed_for_ever() {
    let (start, mut rotation) = (Instant::now(), rotation());
    let refusal = error(Kind::AuthExpired);
    let mut refuse = |has_served: bool, at: u64| {
        let now = moment(start, at);
        let token = rotation.hold(1, None, now.instant);
        if has_served {
            rotation.served(&token);
        }
        said(&rotation.refused(&token, &refusal, now))
    };
    assert_eq!(refuse(false, 1), "renew 0");
    assert_eq!(refuse(false, 1), "fail auth_expired");
    // Half open after ten minutes; the next useless one closes again.
    assert_eq!(refuse(false, 601), "fail auth_expired");
    assert_eq!(refuse(true, 1201), "renew 0");
    assert_eq!(refuse(false, 1201), "renew 0");
    assert_eq!(refuse(true, 1201), "renew 0");
    // One that lasted was of use, though nobody said so.
    let token = rotation.hold(1, None, moment(start, 2000).instant);
    let later = moment(start, 2060);
    assert_eq!(said(&rotation.refused(&token, &refusal, later)), "renew 0");
}

/// A token that served and was followed by another at its end, refused by nobody, breaks the row as well.
#[test]
fn useless_tokens_count_only_in_a_row() {
    let (start, mut rotation) = (Instant::now(), rotation());
    let refusal = error(Kind::AuthExpired);
    let mut token_at = |at: u64, is_served: bool| {
        let now = moment(start, at);
        let token = rotation.hold(1, None, now.instant);
        if is_served {
            rotation.served(&token);
            return "served".to_owned();
        }
        said(&rotation.refused(&token, &refusal, now))
    };
    assert_eq!(token_at(1, false), "renew 0");
    assert_eq!(token_at(2, true), "served");
    assert_eq!(token_at(3600, false), "renew 0");
    assert_eq!(token_at(3601, false), "fail auth_expired");
}

#[test]
fn only_what_the_service_asks_for_paces_other_failures() {
    let start = Instant::now();
    let after = |failure: Failure| {
        let mut rotation = rotation();
        let _ = rotation.ended(Err(failure), start);
        said(&rotation.look(moment(start, 1)))
    };
    let named = |kind| error(kind).with_retry_after(Some(Duration::from_secs(30)));
    for kind in [Kind::Unavailable, Kind::Timeout] {
        assert_eq!(after(named(kind).into()), "renew 1");
    }
    assert_eq!(after(error(Kind::RateLimited).into()), "renew 1");
    assert_eq!(after(named(Kind::RateLimited).into()), "fail rate_limited");
    assert_eq!(
        after(named(Kind::Verification).into()),
        "fail verification_required"
    );
    // A finer code forbids something else than the credential.
    let forbidden = error(Kind::AuthExpired).with_code("account_blocked");
    assert_eq!(after(forbidden.into()), "renew 1");
    assert_eq!(after(error(Kind::AuthExpired).into()), "fail auth_expired");
}

#[test]
fn the_time_that_is_left_is_told_and_the_final_word_stays() {
    let start = Instant::now();
    let mut pace = HalfOpen::new(Patience::default());
    let limited = error(Kind::RateLimited).with_retry_after(Some(Duration::from_secs(30)));
    pace.failed(&limited.into(), start);
    let left = |pace: &HalfOpen, at| {
        let error = pace.closed(start + Duration::from_secs(at))?;
        error.retry_after.map(|left| left.as_secs())
    };
    assert_eq!((left(&pace, 0), left(&pace, 20)), (Some(30), Some(10)));
    assert!(pace.closed(start + Duration::from_secs(30)).is_none());
    pace.failed(&Failure::Final(error(Kind::AuthExpired)), start);
    let much_later = start + Duration::from_secs(1_000_000);
    assert!(pace.closed(much_later).is_some());
    assert_eq!(left(&pace, 0), None);
}
