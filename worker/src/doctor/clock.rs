//! This machine's clock, against the only witness at hand without a network: a file cannot be from the future.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use super::finding::{Finding, Location, Rule};

/// Copies and builds may carry another machine's small error.
const LEEWAY: Duration = Duration::from_secs(3600);

const BEHIND: Rule = Rule::warning(
    "clock-behind",
    "Signatures, proofs and tokens carry the time; services refuse wrong ones.",
    "Compare `date -u` with a watch and switch on time synchronisation.",
);

/// The program was built before it runs.
pub(super) fn check(now: Duration) -> Option<Finding> {
    let program = std::env::current_exe().ok()?;
    let built = program.metadata().ok()?.modified().ok()?;
    is_behind(now, built.duration_since(UNIX_EPOCH).ok()?).then(|| {
        let place = Location::new(&Arc::from("the clock"), 0);
        BEHIND.at(
            &place,
            "this machine's clock is behind the day on which this program was built",
        )
    })
}

fn is_behind(now: Duration, built: Duration) -> bool {
    now + LEEWAY < built
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_from_tomorrow_means_a_slow_clock() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        assert!(is_behind(hours(100), hours(124)));
        assert!(!is_behind(hours(100), hours(100)) && !is_behind(hours(200), hours(100)));
    }
}
