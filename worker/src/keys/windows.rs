//! The windows in which a key's use is counted, by the clock in UTC. A window's number is part of its counter's name, so no
//! counter is ever set back and no worker has to be the one that does it. Pure.

use super::record::Limits;
use crate::store::Claim;

const MS_A_MINUTE: u64 = 60_000;
const MS_A_DAY: u64 = 24 * 60 * MS_A_MINUTE;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Requests.
    Requests,
    /// Tokens.
    Tokens,
}

/// One limit and the window that is open now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// What.
    pub counted: Counted,
    /// How it is called in an error: `minute`, `day`, `month`.
    pub name: &'static str,
    /// What the caller may have of it.
    pub most: u64,
    /// Its counter.
    pub counter: String,
    /// When it closes, in milliseconds since the Unix epoch.
    pub ends_ms: u64,
}

impl Window {
    /// A claim on it.
    pub(super) fn claim(&self, amount: u64) -> Claim {
        Claim {
            counter: self.counter.clone(),
            ends_ms: self.ends_ms,
            amount,
            most: self.most,
        }
    }
}

/// The windows of a key that are open now.
pub(super) fn open(key: &str, limits: &Limits, now_ms: u64) -> Vec<Window> {
    let minute = now_ms / MS_A_MINUTE;
    let day = now_ms / MS_A_DAY;
    let (month, month_ends_ms) = month(day);
    // Saturating, as a clock that is far off must not panic here.
    let ends = |number: u64, length: u64| number.saturating_add(1).saturating_mul(length);
    [
        (
            limits.requests_per_minute,
            Counted::Requests,
            "minute",
            "rpm",
            minute,
            ends(minute, MS_A_MINUTE),
        ),
        (
            limits.tokens_per_minute,
            Counted::Tokens,
            "minute",
            "tpm",
            minute,
            ends(minute, MS_A_MINUTE),
        ),
        (
            limits.tokens_per_day,
            Counted::Tokens,
            "day",
            "tpd",
            day,
            ends(day, MS_A_DAY),
        ),
        (
            limits.tokens_per_month,
            Counted::Tokens,
            "month",
            "tpmo",
            month,
            month_ends_ms,
        ),
    ]
    .into_iter()
    .filter_map(|(most, counted, name, short, number, ends_ms)| {
        Some(Window {
            counted,
            name,
            most: most?,
            // By the key's id, so that a key that is renamed keeps its counts.
            counter: format!("{key}:{short}:{number}"),
            ends_ms,
        })
    })
    .collect()
}

/// The month that a day since the epoch is in, as year and month in one number (202611), and when it ends. After Howard
/// Hinnant's `civil_from_days`, in which years begin in March, so that the leap day is their last.
fn month(day: u64) -> (u64, u64) {
    // Days from the first of March of the year 0 to the first of January 1970.
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    // January and February belong to the year before, in his years.
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (year * 100 + month, (day - day_of_month + length) * MS_A_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-29T03:14:15Z.
    const NOW: u64 = 1_795_922_055_000;

    #[test]
    fn windows_are_those_of_the_clock() {
        let limits = Limits {
            requests_per_minute: Some(1),
            tokens_per_minute: Some(2),
            streams: Some(9),
            tokens_per_day: Some(3),
            tokens_per_month: Some(4),
        };
        let windows = open("k", &limits, NOW);
        let ends: Vec<u64> = windows.iter().map(|window| window.ends_ms / 1000).collect();
        // 03:15, 03:15, the 30th, the 1st of December.
        assert_eq!(
            ends,
            [1_795_922_100, 1_795_922_100, 1_795_996_800, 1_796_083_200]
        );
        let most: Vec<u64> = windows.iter().map(|window| window.most).collect();
        assert_eq!(most, [1, 2, 3, 4]);
        let last = windows.last().map(|window| window.counter.as_str());
        assert_eq!(last, Some("k:tpmo:202611"));
        assert_eq!(open("k", &Limits::default(), NOW), []);
    }

    #[test]
    fn each_moment_has_one_window_and_the_next_begins_where_it_ends() {
        let limits = Limits {
            tokens_per_month: Some(1),
            ..Limits::default()
        };
        // Four years, a leap day among them.
        let mut now = NOW;
        let mut last: Option<Window> = None;
        for _ in 0..48 {
            let [window] = open("k", &limits, now).try_into().unwrap();
            if let Some(last) = last {
                assert_ne!(last.counter, window.counter);
                let [before] = open("k", &limits, now - 1).try_into().unwrap();
                assert_eq!(before, last);
            }
            let days = (window.ends_ms - now) / MS_A_DAY;
            assert!(days <= 31, "{window:?}");
            now = window.ends_ms;
            last = Some(window);
        }
        assert_eq!(last.map(|it| it.counter).as_deref(), Some("k:tpmo:203010"));
    }
}
