//! How often an account may be asked: a pause between two turns, and turns an hour and a day, as its owner wants it.
//! Counted in the store for the whole cluster ([`super::places`]). Source: issue "What a cluster must know together" item 4.

use std::time::Duration;

use crate::{
    settings::{Problems, Vars},
    store::{Claim, now_ms},
};

const MS_AN_HOUR: u64 = 3_600_000;
const MS_A_DAY: u64 = 24 * MS_AN_HOUR;

/// What a provider's variables say of its accounts, each of them for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// `…_MIN_INTERVAL`: from the start of one turn to that of the next.
    pub interval: Duration,
    /// `…_TURNS_PER_HOUR`.
    pub hour: Option<u64>,
    /// `…_TURNS_PER_DAY`.
    pub day: Option<u64>,
}

impl Pace {
    /// Reads the variables that begin with `prefix` (`KIMI`).
    pub fn read(prefix: &str, vars: &Vars, problems: &mut Problems) -> Self {
        let name = |rest: &str| format!("{prefix}_{rest}");
        let seconds = vars.number(&name("MIN_INTERVAL"), 0.0, 0.0, 3600.0, problems);
        let mut turns = |rest: &str| {
            let turns = vars.number(&name(rest), 0, 0, 1_000_000_u64, problems);
            Some(turns).filter(|turns| *turns > 0)
        };
        Self {
            interval: Duration::from_secs_f64(seconds),
            hour: turns("TURNS_PER_HOUR"),
            day: turns("TURNS_PER_DAY"),
        }
    }

    /// Whether accounts may be asked as often as anybody likes.
    pub fn is_free(&self) -> bool {
        self.interval.is_zero() && self.hour.is_none() && self.day.is_none()
    }

    /// One turn of an account in the windows that are open now, by the clock in UTC.
    pub(super) fn claims(&self, account: &str) -> Vec<Claim> {
        let now = now_ms();
        let windows = [("h", self.hour, MS_AN_HOUR), ("d", self.day, MS_A_DAY)];
        windows
            .into_iter()
            .filter_map(|(short, most, length)| {
                let number = now / length;
                Some(Claim {
                    // A window's number is part of its counter's name, so that none is ever set back.
                    counter: format!("turns:{account}:{short}:{number}"),
                    ends_ms: (number + 1).saturating_mul(length),
                    amount: 1,
                    most: most?,
                })
            })
            .collect()
    }
}

/// One of so many things an hour.
pub(super) fn hourly(what: &str, most: u64) -> Claim {
    let hour = now_ms() / MS_AN_HOUR;
    Claim {
        counter: format!("{what}:{hour}"),
        ends_ms: (hour + 1).saturating_mul(MS_AN_HOUR),
        amount: 1,
        most,
    }
}

/// Until a window closes.
pub(super) fn left_of(claim: &Claim) -> Duration {
    Duration::from_millis(claim.ends_ms.saturating_sub(now_ms()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_the_clock_and_none_is_counted_that_nobody_wants() {
        let vars = Vars::new([
            ("X_MIN_INTERVAL", "1.5"),
            ("X_TURNS_PER_HOUR", "10"),
            ("Y_TURNS_PER_DAY", "0"),
        ]);
        let mut problems = Problems::default();
        let pace = Pace::read("X", &vars, &mut problems);
        assert_eq!(pace.interval, Duration::from_millis(1500));
        let claims = pace.claims("a");
        assert_eq!((claims.len(), claims[0].most), (1, 10));
        assert!(left_of(&claims[0]) <= Duration::from_secs(3600));
        assert!(!pace.is_free() && Pace::read("Y", &vars, &mut problems).is_free());
        assert!(problems.errors.is_empty());
        let wrong = Vars::new([("X_TURNS_PER_HOUR", "many"), ("X_MIN_INTERVAL", "-1")]);
        Pace::read("X", &wrong, &mut problems);
        assert_eq!(problems.errors.len(), 2);
    }
}
