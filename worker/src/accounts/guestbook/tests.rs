use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn book(least: usize, most: usize) -> Book<u32> {
    let allowance = Allowance {
        least,
        most,
        sign_ups_per_hour: 30,
    };
    let mut book = Book::new(allowance, Patience::default());
    book.open(true);
    book
}

fn issued(lifetime: Duration) -> Result<Issued<u32>, ProviderError> {
    Ok(Issued {
        credential: 0,
        lifetime,
    })
}

fn error(kind: Kind) -> ProviderError {
    ProviderError::new(kind, "x")
}

/// A book with `count` guests of an hour.
fn with_guests(count: usize, least: usize, most: usize, now: Instant) -> Book<u32> {
    let mut book = book(least, most);
    for _ in 0..count {
        book.signed_up(issued(HOUR), now);
    }
    book
}

fn lend(book: &mut Book<u32>, now: Instant) -> usize {
    match book.find(&[], Company::Alone, now) {
        Found::Guest(number, _) => number,
        other => panic!("{other:?}"),
    }
}

fn why(book: &mut Book<u32>, now: Instant) -> ProviderError {
    match book.find(&[], Company::Alone, now) {
        Found::None(error) => error,
        other => panic!("{other:?}"),
    }
}

/// (usable, resting, turns under way).
fn count(book: &Book<u32>, now: Instant) -> (usize, usize, usize) {
    let census = book.census(now, |_| true);
    (census.ready, census.cooling, census.in_flight)
}

fn sign_ups(book: &mut Book<u32>, now: Instant) -> usize {
    let due = book.due(now);
    due.iter().filter(|due| matches!(due, Due::SignUp)).count()
}

#[test]
fn a_closed_book_has_nobody() {
    let now = Instant::now();
    let mut book = with_guests(1, 1, 1, now);
    book.open(false);
    assert_eq!(why(&mut book, now).kind, Kind::NotConfigured);
    assert!(book.due(now).is_empty() && !book.has_other(&[], now));
}

#[test]
fn many_turns_need_few_guests() {
    let now = Instant::now();
    let mut book = book(3, 10);
    assert!(book.has_other(&[], now), "usable before the first guest");
    assert!(matches!(book.find(&[], Company::Alone, now), Found::Soon));
    book.waiting = 1;
    assert_eq!(sign_ups(&mut book, now), 1);
    assert_eq!(sign_ups(&mut book, now), 0, "one is on its way");
    book.signed_up(issued(HOUR), now);
    let mut total = 1;
    for _ in 0..20 {
        book.waiting = 0;
        let number = lend(&mut book, now);
        let new = sign_ups(&mut book, now);
        assert!(new <= 1, "one after the other");
        for _ in 0..new {
            book.signed_up(issued(HOUR), now);
            total += 1;
        }
        book.succeeded(number);
        book.returned(number);
    }
    assert_eq!(total, 3);
}

#[test]
fn idle_guests_are_used_in_turn() {
    let now = Instant::now();
    let mut book = with_guests(3, 3, 3, now);
    let numbers: Vec<usize> = (0..6)
        .map(|_| {
            let number = lend(&mut book, now);
            book.returned(number);
            number
        })
        .collect();
    assert_eq!(numbers, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn waiting_turns_get_guests_of_their_own_up_to_the_maximum() {
    let now = Instant::now();
    let mut book = book(1, 4);
    book.waiting = 9;
    assert_eq!(sign_ups(&mut book, now), 3, "so many at a time");
    for left in [1, 0, 0, 0] {
        book.signed_up(issued(HOUR), now);
        book.waiting -= 1;
        lend(&mut book, now);
        assert_eq!(sign_ups(&mut book, now), left);
    }
    assert!(matches!(book.find(&[], Company::Alone, now), Found::Soon));
}

fn share(book: &mut Book<u32>, now: Instant) -> Option<usize> {
    match book.find(&[], Company::Shared, now) {
        Found::Guest(number, _) => Some(number),
        Found::Soon => None,
        Found::None(error) => panic!("{error}"),
    }
}

#[test]
fn nobody_shares_a_guest_until_answers_can_be_told_apart() {
    let now = Instant::now();
    let mut book = with_guests(1, 1, 1, now);
    let number = lend(&mut book, now);
    assert_eq!(share(&mut book, now), None);
    book.may_share = true;
    let alone = book.find(&[], Company::Alone, now);
    assert!(matches!(alone, Found::Soon), "whoever can wait, waits");
    assert_eq!(share(&mut book, now), Some(number));
    // Too late to have it alone.
    assert!(!book.claim(number));
    book.returned(number);
    book.returned(number);
    assert_eq!(lend(&mut book, now), number);
    assert!(book.claim(number));
    book.may_share = true;
    assert_eq!(share(&mut book, now), None, "somebody has it alone");
    book.returned(number);
    assert_eq!(share(&mut book, now), Some(number));
}

#[test]
fn the_budget_of_an_hour_is_kept() {
    let start = Instant::now();
    let mut book = Book::<u32>::new(
        Allowance {
            least: 0,
            most: 100,
            sign_ups_per_hour: 2,
        },
        Patience::default(),
    );
    book.open(true);
    book.waiting = 5;
    assert_eq!(sign_ups(&mut book, start), 2);
    for _ in 0..2 {
        book.signed_up(issued(HOUR * 3), start);
    }
    for number in 1..=2 {
        book.failed(number, &error(Kind::AuthExpired), start, 0.5);
    }
    book.open(true);
    let later = start + HOUR / 2;
    assert_eq!(sign_ups(&mut book, later), 0);
    let error = why(&mut book, later);
    assert_eq!(
        (error.kind, error.retry_after),
        (Kind::RateLimited, Some(HOUR / 2))
    );
    assert_eq!(sign_ups(&mut book, start + HOUR), 2);
}

#[test]
fn failed_sign_ups_rest_longer_each_time_and_hinder_nobody() {
    let mut now = Instant::now();
    let mut book = with_guests(1, 3, 3, now);
    for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
        assert_eq!(sign_ups(&mut book, now), 1);
        book.signed_up(Err(error(Kind::RateLimited)), now);
        // Another failure of the same moment does not double the rest.
        book.signed_up(Err(error(Kind::RateLimited)), now);
        assert_eq!(
            sign_ups(&mut book, now + Duration::from_millis(seconds * 1000 - 1)),
            0
        );
        let number = lend(&mut book, now);
        book.returned(number);
        now += Duration::from_secs(seconds);
    }
    book.signed_up(issued(HOUR), now);
    book.signed_up(Err(error(Kind::Unavailable)), now);
    assert_eq!(
        sign_ups(&mut book, now + FIRST_BACK_OFF),
        1,
        "a success starts afresh"
    );
}

#[test]
fn an_empty_pool_tells_why_and_when() {
    let now = Instant::now();
    let mut book = book(1, 1);
    book.waiting = 1;
    book.due(now);
    let refused = error(Kind::RateLimited).with_retry_after(Some(Duration::from_secs(60)));
    book.signed_up(Err(refused), now);
    let error = why(&mut book, now);
    assert_eq!(
        (error.kind, error.retry_after),
        (Kind::RateLimited, Some(Duration::from_secs(60)))
    );
    assert!(!book.has_other(&[], now));
    // A new key is a new chance.
    book.open(true);
    assert!(book.has_other(&[], now));
}

#[test]
fn a_guest_is_refreshed_before_it_ends() {
    let start = Instant::now();
    let mut book = with_guests(1, 1, 1, start);
    let late = start + HOUR - Duration::from_secs(120);
    assert_eq!(lend(&mut book, late - Duration::from_millis(1)), 1);
    book.returned(1);
    assert!(matches!(book.find(&[], Company::Alone, late), Found::Soon));
    book.waiting = 1;
    let due = book.due(late);
    assert!(matches!(due.as_slice(), [Due::Refresh(1, _)]), "{due:?}");
    assert!(book.due(late).is_empty(), "once");
    book.refreshed(1, Some(issued(HOUR)), late);
    assert_eq!(lend(&mut book, late), 1);
}

#[test]
fn a_lost_guest_is_replaced_and_a_busy_service_is_asked_again() {
    let start = Instant::now();
    let mut book = with_guests(1, 1, 1, start);
    let late = start + HOUR;
    book.due(late);
    book.refreshed(1, Some(Err(error(Kind::Unavailable))), late);
    assert!(book.due(late).is_empty());
    assert_eq!(why(&mut book, late).kind, Kind::Unavailable);
    let later = late + FIRST_BACK_OFF;
    assert_eq!(book.due(later).len(), 1);
    book.refreshed(1, Some(Err(error(Kind::AuthExpired))), later);
    assert_eq!(count(&book, later), (0, 0, 0));
    assert_eq!(sign_ups(&mut book, later), 1);
}

#[test]
fn short_lived_guests_are_used_right_after_they_come() {
    let now = Instant::now();
    let mut book = book(1, 1);
    book.signed_up(issued(Duration::from_secs(60)), now);
    assert_eq!(lend(&mut book, now + Duration::from_secs(1)), 1);
    book.returned(1);
    assert_eq!(book.due(now + Duration::from_secs(6)).len(), 1);
}

#[test]
fn a_refused_guest_is_dropped_and_another_one_tried_once() {
    let now = Instant::now();
    let mut book = with_guests(2, 2, 2, now);
    lend(&mut book, now);
    book.failed(1, &error(Kind::AuthExpired), now, 0.5);
    assert!(book.has_other(&[1], now));
    assert_eq!(lend(&mut book, now), 2);
    book.failed(2, &error(Kind::AuthExpired), now, 0.5);
    assert!(!book.has_other(&[1, 2], now));
    // Two newcomers in a row: the next ones would not be let in either.
    assert_eq!(sign_ups(&mut book, now), 0);
    assert_eq!(why(&mut book, now).kind, Kind::AuthExpired);
}

#[test]
fn a_spent_quota_rests_for_an_hour_and_is_replaced() {
    let now = Instant::now();
    let mut book = with_guests(1, 1, 2, now);
    book.failed(1, &error(Kind::QuotaSpent), now, 0.5);
    assert_eq!(count(&book, now), (0, 1, 0));
    assert!(book.has_other(&[1], now));
    assert_eq!(sign_ups(&mut book, now), 1);
    book.signed_up(issued(HOUR), now);
    book.failed(2, &error(Kind::QuotaSpent), now, 0.5);
    let error = why(&mut book, now);
    assert_eq!(
        (error.kind, error.retry_after),
        (Kind::QuotaSpent, Some(QUOTA_REST))
    );
    assert_eq!(sign_ups(&mut book, now), 0, "never more than the maximum");
    assert_eq!(count(&book, now + QUOTA_REST).1, 0);
}

#[test]
fn a_service_that_asks_to_slow_down_is_not_outwitted_with_new_guests() {
    let now = Instant::now();
    let mut book = with_guests(1, 3, 9, now);
    let slow = error(Kind::RateLimited).with_retry_after(Some(Duration::from_secs(60)));
    book.failed(1, &slow, now, 0.5);
    assert!(!book.has_other(&[1], now));
    book.waiting = 3;
    assert_eq!(sign_ups(&mut book, now), 0);
    assert_eq!(
        why(&mut book, now).retry_after,
        Some(Duration::from_secs(60))
    );
}

#[test]
fn passing_faults_leave_a_guest_as_it_is() {
    let now = Instant::now();
    let mut book = with_guests(2, 2, 2, now);
    book.failed(1, &error(Kind::Unavailable), now, 0.5);
    assert!(matches!(
        book.find(&[1], Company::Alone, now),
        Found::Guest(2, _)
    ));
    assert!(
        matches!(book.find(&[1, 2], Company::Alone, now), Found::Guest(1, _)),
        "the last resort"
    );
}

/// wire/langfast.md section 2, own session.
#[test]
fn an_own_credential_comes_first_and_nothing_replaces_it() {
    let now = Instant::now();
    let mut book = with_guests(2, 1, 9, now);
    book.admit(issued(HOUR).ok(), now);
    assert_eq!(lend(&mut book, now), 3, "first, whoever is next in turn");
    book.returned(3);
    assert_eq!(lend(&mut book, now), 3);
    book.returned(3);
    // Another pasted session takes its place, and none takes it away.
    book.admit(issued(HOUR).ok(), now);
    assert_eq!(lend(&mut book, now), 4);
    book.returned(4);
    book.admit(None, now);
    assert!(lend(&mut book, now) < 3);
}

#[test]
fn a_refused_own_credential_is_renewed_once_and_then_rests_until_the_probe() {
    let now = Instant::now();
    let allowance = Allowance {
        least: 3,
        most: 9,
        sign_ups_per_hour: 0,
    };
    let mut book = Book::new(allowance, Patience::default());
    book.open(true);
    book.admit(issued(HOUR).ok(), now);
    assert_eq!(sign_ups(&mut book, now), 0, "no guests beside it");
    assert_eq!(lend(&mut book, now), 1);
    book.failed(1, &error(Kind::AuthExpired), now, 0.5);
    book.returned(1);
    assert!(book.has_other(&[1], now), "itself, renewed");
    let later = now + Duration::from_secs(3);
    assert!(matches!(book.due(later).as_slice(), [Due::Refresh(1, _)]));
    book.refreshed(1, Some(issued(HOUR)), later);
    assert_eq!(lend(&mut book, later), 1);
    book.failed(1, &error(Kind::AuthExpired), later, 0.5);
    book.returned(1);
    assert!(!book.has_other(&[1], later));
    assert_eq!(why(&mut book, later).kind, Kind::AuthExpired);
    // It is kept, and tried again when the probe is due.
    assert_eq!(lend(&mut book, later + Duration::from_secs(601)), 1);
    book.succeeded(1);
    assert_eq!(count(&book, later), (1, 0, 1));
}

#[test]
fn an_own_credential_that_cannot_be_renewed_says_so() {
    let now = Instant::now();
    let allowance = Allowance {
        least: 1,
        most: 9,
        sign_ups_per_hour: 0,
    };
    let mut book = Book::new(allowance, Patience::default());
    book.open(true);
    book.admit(issued(Duration::ZERO).ok(), now);
    let later = now + Duration::from_secs(3);
    assert!(matches!(book.find(&[], Company::Alone, later), Found::Soon));
    assert_eq!(book.due(later).len(), 1);
    book.refreshed(1, Some(Err(error(Kind::AuthExpired))), later);
    assert_eq!(why(&mut book, later).kind, Kind::AuthExpired);
    assert!(book.due(later).is_empty());
}

#[test]
fn a_limit_of_the_day_rests_until_its_end() {
    let now = Instant::now();
    let mut book = with_guests(1, 1, 1, now);
    let rest = Duration::from_secs(11 * 3600);
    book.failed(
        1,
        &error(Kind::QuotaSpent).with_retry_after(Some(rest)),
        now,
        0.5,
    );
    assert_eq!(why(&mut book, now).retry_after, Some(rest));
}
