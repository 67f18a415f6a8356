//! The promises. Times are of today, as a server forgets by its own clock.

use crate::store::{
    Claim, Claimed, Engine, Expect, Opened, Put, Settlement, Space, Sweep, Usage, UsageBatch,
    UsageKey, UsageLine, engine::MS_AN_HOUR, now_ms,
};

const MINUTE: u64 = 60_000;

fn put(key: &str, value: &str) -> Put {
    Put {
        space: Space::Keys,
        key: key.to_owned(),
        value: value.into(),
        ends_ms: None,
        expect: Expect::Anything,
        under: None,
    }
}

async fn value(store: &Opened, key: &str, now: u64) -> Option<String> {
    let entry = store.get(Space::Keys, key, now).await.unwrap()?;
    Some(String::from_utf8(entry.value).unwrap())
}

pub(super) async fn an_entry_is_as_it_was_put(store: &Opened) {
    let now = now_ms();
    assert_eq!(value(store, "a", now).await, None);
    let bytes: Vec<u8> = (0..=255).collect();
    let odd = Put {
        value: bytes.clone(),
        ..put("ä:*\u{1F600} \n", "")
    };
    let version = store.put(&odd, now).await.unwrap().unwrap();
    let found = store
        .get(Space::Keys, &odd.key, now)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.value, found.version), (bytes, version));
    assert_eq!(
        store.get(Space::Accounts, &odd.key, now).await.unwrap(),
        None,
        "each space has keys of its own"
    );
    let again = store.put(&put("a", "1"), now).await.unwrap().unwrap();
    assert!(again > version, "versions rise over all entries");
    store.put(&put("a", "2"), now).await.unwrap().unwrap();
    assert_eq!(value(store, "a", now).await.as_deref(), Some("2"));
    let gone = store.remove(Space::Keys, "a", Expect::Anything, now).await;
    assert!(gone.unwrap());
    let gone = store.remove(Space::Keys, "a", Expect::Anything, now).await;
    assert!(!gone.unwrap(), "it is gone already");
    assert_eq!(value(store, "a", now).await, None);
}

pub(super) async fn what_has_ended_is_not_there(store: &Opened) {
    let now = now_ms();
    let brief = Put {
        ends_ms: Some(now + MINUTE),
        ..put("brief", "x")
    };
    store.put(&brief, now).await.unwrap().unwrap();
    assert!(value(store, "brief", now + MINUTE - 1).await.is_some());
    assert_eq!(value(store, "brief", now + MINUTE).await, None);
    let listed = store.list(Space::Keys, "", 9, now + MINUTE).await.unwrap();
    assert_eq!(listed, []);
    let first = Put {
        expect: Expect::Absent,
        ..put("brief", "y")
    };
    assert_eq!(store.put(&first, now).await.unwrap(), None);
    let later = store.put(&first, now + MINUTE).await.unwrap();
    assert!(later.is_some(), "what has ended is absent");
    let long_after = value(store, "brief", now + 1000 * MINUTE).await;
    assert_eq!(long_after.as_deref(), Some("y"), "without an end, no end");
}

pub(super) async fn only_the_first_of_two_changes_is_made(store: &Opened) {
    let now = now_ms();
    let version = store.put(&put("a", "0"), now).await.unwrap().unwrap();
    let change = |value: &str| Put {
        expect: Expect::Version(version),
        ..put("a", value)
    };
    assert!(store.put(&change("1"), now).await.unwrap().is_some());
    assert_eq!(store.put(&change("2"), now).await.unwrap(), None);
    assert_eq!(value(store, "a", now).await.as_deref(), Some("1"));
    let removal = Expect::Version(version);
    assert!(!store.remove(Space::Keys, "a", removal, now).await.unwrap());
    let absent = Put {
        expect: Expect::Version(version),
        ..put("nothing", "x")
    };
    assert_eq!(store.put(&absent, now).await.unwrap(), None);
}

pub(super) async fn a_late_change_is_void(store: &Opened) {
    let now = now_ms();
    let hold = |holder: &'static str, now: u64| async move {
        let ends = now + MINUTE;
        store.hold("sweep", holder, 1, ends, now).await.unwrap()
    };
    let slow = hold("slow", now).await.unwrap();
    let under = |fence| Put {
        under: Some(fence),
        ..put("a", "x")
    };
    assert!(
        store
            .put(&under(slow.clone()), now)
            .await
            .unwrap()
            .is_some()
    );
    // It sleeps beyond its end; another takes over.
    let quick = hold("quick", now + MINUTE).await.unwrap();
    assert!(quick.number > slow.number);
    assert_eq!(store.put(&under(slow), now + MINUTE).await.unwrap(), None);
    assert!(
        store
            .put(&under(quick), now + MINUTE)
            .await
            .unwrap()
            .is_some()
    );
}

pub(super) async fn entries_are_listed_in_pages(store: &Opened) {
    let now = now_ms();
    for number in 0..25 {
        let mut one = put(&format!("k{number:02}"), "x");
        if number % 5 == 0 {
            one.ends_ms = Some(now + MINUTE);
        }
        store.put(&one, now).await.unwrap().unwrap();
    }
    let elsewhere = Put {
        space: Space::Accounts,
        ..put("k05x", "x")
    };
    store.put(&elsewhere, now).await.unwrap().unwrap();
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = store
            .list(Space::Keys, &after, 7, now + MINUTE)
            .await
            .unwrap();
        assert!(page.len() <= 7);
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        all.extend(page.into_iter().map(|(key, _)| key));
    }
    let expected: Vec<String> = (0..25)
        .filter(|number| number % 5 != 0)
        .map(|number| format!("k{number:02}"))
        .collect();
    assert_eq!(all, expected);
}

pub(super) async fn what_has_ended_is_swept_and_what_has_not_stays(store: &Opened) {
    let now = now_ms();
    let video = |key: &str, ends_ms: Option<u64>| Put {
        space: Space::Videos,
        ends_ms,
        ..put(key, "x")
    };
    for (key, ends_ms) in [
        ("a", Some(now + MINUTE)),
        ("b", Some(now + 9 * MINUTE)),
        ("c", None),
        ("d", Some(now + MINUTE)),
    ] {
        store.put(&video(key, ends_ms), now).await.unwrap().unwrap();
    }
    // It lives on.
    let later = Some(now + 9 * MINUTE);
    store.put(&video("d", later), now).await.unwrap().unwrap();
    let sweep = Sweep {
        sums_before: 0,
        lines_before_ms: 0,
    };
    let after = now + 2 * MINUTE;
    while store.sweep(sweep, after).await.unwrap() {}
    let listed = async || {
        let found = store.list(Space::Videos, "", 9, after).await.unwrap();
        let keys = found.into_iter().map(|(key, _)| key);
        keys.collect::<String>()
    };
    assert_eq!(listed().await, "bcd");
    store.put(&video("a", later), after).await.unwrap().unwrap();
    assert_eq!(listed().await, "abcd", "what begins anew is found again");
}

pub(super) async fn what_is_collected_stays_until_it_is_taken(store: &Opened) {
    let now = now_ms();
    for (key, ends) in [
        ("b", now + 2 * MINUTE),
        ("a", now + MINUTE),
        ("c", now + 9 * MINUTE),
    ] {
        let one = Put {
            space: Space::Conversations,
            ends_ms: Some(ends),
            ..put(key, "x")
        };
        store.put(&one, now).await.unwrap().unwrap();
    }
    let later = now + 3 * MINUTE;
    let sweep = Sweep {
        sums_before: 0,
        lines_before_ms: 0,
    };
    store.sweep(sweep, later).await.unwrap();
    assert_eq!(
        store.get(Space::Conversations, "a", later).await.unwrap(),
        None
    );
    let ended = store.ended(Space::Conversations, 9, later).await.unwrap();
    let keys: Vec<&str> = ended.iter().map(|(key, _)| &**key).collect();
    assert_eq!(keys, ["a", "b"], "the oldest first");
    let first = store.ended(Space::Conversations, 1, later).await.unwrap();
    assert_eq!(first.len(), 1);
    let as_read = Expect::Version(ended[0].1.version);
    let taken = store
        .remove(Space::Conversations, "a", as_read, later)
        .await;
    assert!(taken.unwrap());
    assert_eq!(
        store
            .ended(Space::Conversations, 9, later)
            .await
            .unwrap()
            .len(),
        1
    );
    // Used again before it was taken: it has a new end.
    let again = Put {
        space: Space::Conversations,
        ends_ms: Some(later + MINUTE),
        ..put("b", "x")
    };
    store.put(&again, later).await.unwrap().unwrap();
    assert_eq!(
        store.ended(Space::Conversations, 9, later).await.unwrap(),
        []
    );
}

fn claim(counter: &str, amount: u64, most: u64, now: u64) -> Claim {
    Claim {
        counter: counter.to_owned(),
        ends_ms: now + MINUTE,
        amount,
        most,
    }
}

pub(super) async fn claims_are_made_together_or_not_at_all(store: &Opened) {
    let now = now_ms();
    let both =
        |minute: u64, day: u64| [claim("minute", minute, 10, now), claim("day", day, 15, now)];
    let claimed = store.claim("1", &both(4, 4), now).await.unwrap();
    assert_eq!(claimed, Claimed::Granted(vec![4, 4]));
    let claimed = store.claim("2", &both(5, 12), now).await.unwrap();
    assert_eq!(claimed, Claimed::Full { at: 1, used: 4 });
    let claimed = store.claim("3", &both(6, 11), now).await.unwrap();
    assert_eq!(claimed, Claimed::Granted(vec![10, 15]), "to the brim");
    let claimed = store.claim("4", &both(0, 0), now).await.unwrap();
    assert_eq!(
        claimed,
        Claimed::Full { at: 0, used: 10 },
        "a full counter grants not even nothing"
    );
}

pub(super) async fn the_same_claim_counts_once(store: &Opened) {
    let now = now_ms();
    let one = [claim("c", 7, 10, now)];
    for _ in 0..3 {
        let claimed = store.claim("same", &one, now).await.unwrap();
        assert_eq!(claimed, Claimed::Granted(vec![7]));
    }
    let claimed = store.claim("other", &one, now).await.unwrap();
    assert_eq!(claimed, Claimed::Full { at: 0, used: 7 });
}

pub(super) async fn settlements_count_once_and_never_fall_below_nothing(store: &Opened) {
    let now = now_ms();
    store
        .claim("1", &[claim("c", 7, 10, now)], now)
        .await
        .unwrap();
    let settle = |change| {
        [Settlement {
            counter: "c".to_owned(),
            ends_ms: now + MINUTE,
            change,
        }]
    };
    for _ in 0..2 {
        store.settle("1", &settle(-4), now).await.unwrap();
    }
    let claimed = store
        .claim("2", &[claim("c", 1, 10, now)], now)
        .await
        .unwrap();
    assert_eq!(claimed, Claimed::Granted(vec![4]));
    store.settle("2", &settle(-100), now).await.unwrap();
    let claimed = store
        .claim("3", &[claim("c", 1, 10, now)], now)
        .await
        .unwrap();
    assert_eq!(claimed, Claimed::Granted(vec![1]));
    // More than was claimed may have been used; the next claim sees it.
    store.settle("3", &settle(50), now).await.unwrap();
    let claimed = store
        .claim("4", &[claim("c", 1, 10, now)], now)
        .await
        .unwrap();
    assert_eq!(claimed, Claimed::Full { at: 0, used: 51 });
}

pub(super) async fn places_are_as_many_as_they_are(store: &Opened) {
    let now = now_ms();
    let hold = |holder: &'static str| store.hold("room", holder, 2, now + MINUTE, now);
    let first = hold("a").await.unwrap().unwrap();
    let second = hold("b").await.unwrap().unwrap();
    assert!(second.number > first.number);
    assert_eq!(hold("c").await.unwrap(), None);
    assert_eq!(hold("a").await.unwrap(), Some(first), "its own is kept");
    store.release("room", "a").await.unwrap();
    store.release("room", "nobody").await.unwrap();
    let third = hold("c").await.unwrap().unwrap();
    assert!(third.number > second.number);
    let other = store
        .hold("other", "c", 1, now + MINUTE, now)
        .await
        .unwrap();
    assert!(other.is_some());
}

pub(super) async fn a_place_is_free_when_its_time_is_over(store: &Opened) {
    let now = now_ms();
    let dead = store
        .hold("room", "dead", 1, now + MINUTE, now)
        .await
        .unwrap()
        .unwrap();
    let early = store
        .hold("room", "next", 1, now + 9 * MINUTE, now + MINUTE - 1)
        .await;
    assert_eq!(early.unwrap(), None);
    let next = store
        .hold("room", "next", 1, now + 9 * MINUTE, now + MINUTE)
        .await;
    assert!(next.unwrap().unwrap().number > dead.number);
    let back = store
        .hold("room", "dead", 1, now + 9 * MINUTE, now + MINUTE)
        .await;
    assert_eq!(back.unwrap(), None, "it has lost its place");
}

fn sums(hour: u64, key: &str, requests: u64) -> (UsageKey, Usage) {
    let at = UsageKey {
        hour,
        key: key.to_owned(),
        provider: "qwen".to_owned(),
        model: "Qwen3:\"Max\"".to_owned(),
        outcome: "ok".to_owned(),
    };
    let usage = Usage {
        requests,
        prompt_tokens: 10 * requests,
        completion_tokens: 20 * requests,
        reasoning_tokens: 0,
        first_ms: 300 * requests,
        with_output: requests,
    };
    (at, usage)
}

fn line(request: &str, at_ms: u64) -> UsageLine {
    UsageLine {
        request: request.to_owned(),
        at_ms,
        key: "me".into(),
        provider: "qwen".into(),
        model: "m".into(),
        outcome: "ok".into(),
        prompt_tokens: 1,
        completion_tokens: 2,
        reasoning_tokens: 0,
        first_ms: None,
    }
}

pub(super) async fn usage_adds_up_and_a_batch_counts_once(store: &Opened) {
    let now = now_ms();
    let hour = now / MS_AN_HOUR;
    let batch = |id: &str, sums: Vec<(UsageKey, Usage)>| UsageBatch {
        id: id.to_owned(),
        sums,
        lines: Vec::new(),
    };
    let first = batch("1", vec![sums(hour, "me", 2), sums(hour + 1, "me", 1)]);
    for _ in 0..2 {
        store.add_usage(&first, now).await.unwrap();
    }
    let second = batch("2", vec![sums(hour, "me", 3), sums(hour, "you", 1)]);
    store.add_usage(&second, now).await.unwrap();
    let mut found = store.usage(hour, hour + 1).await.unwrap();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert_eq!(found, [sums(hour, "me", 5), sums(hour, "you", 1)]);
    let found = store.usage(hour + 1, hour + 9).await.unwrap();
    assert_eq!(found, [sums(hour + 1, "me", 1)]);
}

pub(super) async fn lines_come_in_the_order_of_time(store: &Opened) {
    let now = now_ms();
    let batch = |id: &str, lines: Vec<UsageLine>| UsageBatch {
        id: id.to_owned(),
        sums: Vec::new(),
        lines,
    };
    let first = batch("1", vec![line("b", now + 5), line("d", now + 9)]);
    let second = batch("2", vec![line("a", now), line("c", now + 7)]);
    for batch in [first.clone(), second, first] {
        store.add_usage(&batch, now).await.unwrap();
    }
    let found = store.lines(now, now + 9, 9).await.unwrap();
    assert_eq!(
        found,
        [line("a", now), line("b", now + 5), line("c", now + 7)]
    );
    let found = store.lines(now, now + 99, 2).await.unwrap();
    assert_eq!(found, [line("a", now), line("b", now + 5)]);
}

/// More of them than stand in one text, over some minutes, from two workers at once.
pub(super) async fn many_lines_are_found_from_any_time_on(store: &Opened) {
    let now = now_ms() / MINUTE * MINUTE;
    let of = |worker: &str, at: u64| line(&format!("{worker}{at}"), now + at * 250);
    for (worker, shift) in [("a", 0), ("b", 1)] {
        let batch = UsageBatch {
            id: worker.to_owned(),
            sums: Vec::new(),
            lines: (0..700).map(|n| of(worker, 2 * n + shift)).collect(),
        };
        store.add_usage(&batch, now).await.unwrap();
    }
    let at = |n: u64| of(if n.is_multiple_of(2) { "a" } else { "b" }, n);
    for from in [0, 1, 333, 1399] {
        let found = store
            .lines(now + from * 250, now + 9_000_000, 3)
            .await
            .unwrap();
        let expected: Vec<UsageLine> = (from..1400).take(3).map(at).collect();
        assert_eq!(found, expected, "from {from}");
    }
    let all = store.lines(now, now + 9_000_000, 9999).await.unwrap();
    assert_eq!(all, (0..1400).map(at).collect::<Vec<_>>());
}

pub(super) async fn what_is_old_is_swept_away(store: &Opened) {
    let now = now_ms();
    let hour = now / MS_AN_HOUR;
    let days_ago = now - 9 * 24 * MS_AN_HOUR;
    let batch = UsageBatch {
        id: "1".to_owned(),
        sums: (0..1200).map(|back| sums(hour - back, "me", 1)).collect(),
        lines: vec![line("old", days_ago), line("new", now)],
    };
    store.add_usage(&batch, now).await.unwrap();
    let sweep = Sweep {
        sums_before: hour - 100,
        lines_before_ms: now - 7 * 24 * MS_AN_HOUR,
    };
    let mut steps = 0;
    while store.sweep(sweep, now).await.unwrap() {
        steps += 1;
        assert!(steps < 1000, "it comes to an end");
    }
    assert_eq!(store.usage(0, hour + 1).await.unwrap().len(), 101);
    assert_eq!(
        store.lines(0, now + 1, 9).await.unwrap(),
        [line("new", now)]
    );
}
