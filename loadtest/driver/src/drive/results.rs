//! The figures of a run, as they are written to `--json`. Times are microseconds.

use std::{collections::BTreeMap, io};

use serde::Serialize;
use serde_json::Value;

use super::{
    load::{Measured, Watched},
    options::{Mode, Options},
    tally::{Group, Second, Times},
};

/// Everything that a run has brought.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    pub(super) title: String,
    pub(super) settings: Settings,
    pub(super) seconds: f64,
    pub(super) load: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) held: Option<Figures>,
    /// Held streams that were open at the end.
    pub(super) open_streams: u64,
    pub(super) watched: Vec<Usage>,
    /// The share of a core that the driver itself took: near 1 it is the driver that was measured.
    pub(super) driver_cores: f64,
    /// The p50 and p99 of `load`, less those of the baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) added: Option<BTreeMap<String, BTreeMap<String, f64>>>,
    pub(super) line: Vec<Moment>,
}

/// What was asked for, without the key.
#[derive(Debug, Serialize)]
pub(super) struct Settings {
    pub(super) url: String,
    pub(super) mode: &'static str,
    pub(super) connections: u32,
    pub(super) rate: Option<f64>,
    pub(super) hold: u32,
    pub(super) prompt: String,
}

/// One group of requests.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) requests: u64,
    pub(super) requests_per_second: f64,
    pub(super) pieces: u64,
    pub(super) pieces_per_second: f64,
    pub(super) errors: u64,
    pub(super) missing: u64,
    pub(super) doubled: u64,
    pub(super) out_of_order: u64,
    pub(super) failures: BTreeMap<String, u64>,
    /// `first`, `first_delay`, `piece`, `total`.
    pub(super) times: BTreeMap<&'static str, Spread>,
}

/// How a kind of time is spread.
#[derive(Debug, Serialize)]
pub(super) struct Spread {
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
    /// Quantile and time, for drawing.
    pub(super) curve: Vec<(f64, f64)>,
}

/// What a watched process cost while it was measured.
#[derive(Debug, Serialize)]
pub(super) struct Usage {
    pub(super) name: String,
    pub(super) processes: usize,
    pub(super) cpu_seconds: f64,
    pub(super) cores: f64,
    pub(super) cpu_us_per_request: Option<f64>,
    pub(super) cpu_us_per_piece: Option<f64>,
    pub(super) pss_kib_at_rest: u64,
    pub(super) pss_kib_at_end: u64,
    /// What an open stream adds, when streams were held.
    pub(super) pss_kib_per_stream: Option<f64>,
}

/// One second.
#[derive(Debug, Serialize)]
pub(super) struct Moment {
    pub(super) load: Second,
    pub(super) held: Second,
}

impl Results {
    pub(super) fn new(
        options: &Options,
        measured: &Measured,
        baseline: Option<&[u8]>,
    ) -> io::Result<Self> {
        let (load, held) = (measured.load.group.borrow(), measured.held.group.borrow());
        let load = Figures::new(&load, measured.seconds);
        let held = Figures::new(&held, measured.seconds);
        let watched = measured
            .watched
            .iter()
            .map(|watched| usage(watched, measured, &load, &held))
            .collect();
        let moment = |(load, held): &(Second, Second)| Moment {
            load: load.clone(),
            held: held.clone(),
        };
        Ok(Self {
            title: options.title.clone(),
            settings: Settings {
                url: options.url.clone(),
                mode: if options.mode == Mode::Sse {
                    "sse"
                } else {
                    "json"
                },
                connections: if options.hold_only {
                    0
                } else {
                    options.connections
                },
                rate: options.rate,
                hold: options.hold,
                prompt: options.prompt.clone(),
            },
            seconds: measured.seconds,
            added: baseline
                .map(|baseline| added(&load, baseline))
                .transpose()?,
            load,
            held: (options.hold > 0).then_some(held),
            open_streams: measured.open,
            watched,
            driver_cores: measured.own_cpu.as_secs_f64() / measured.seconds,
            line: measured.line.iter().map(moment).collect(),
        })
    }

    /// Everything that went wrong.
    pub(super) fn errors(&self) -> u64 {
        self.load.errors + self.held.as_ref().map_or(0, |held| held.errors)
    }
}

impl Figures {
    fn new(group: &Group, seconds: f64) -> Self {
        let times = [
            ("first", &group.first),
            ("first_delay", &group.first_delay),
            ("piece", &group.piece),
            ("total", &group.total),
        ];
        let some = times
            .into_iter()
            .filter(|(_, times)| !times.histogram().is_empty());
        Self {
            requests: group.requests,
            requests_per_second: group.requests as f64 / seconds,
            pieces: group.pieces,
            pieces_per_second: group.pieces as f64 / seconds,
            errors: group.errors(),
            missing: group.faults.missing,
            doubled: group.faults.doubled,
            out_of_order: group.faults.out_of_order,
            failures: group.failures.clone(),
            times: some
                .map(|(name, times)| (name, Spread::new(times)))
                .collect(),
        }
    }
}

impl Spread {
    fn new(times: &Times) -> Self {
        let histogram = times.histogram();
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        // Equal steps on an axis of nines, as far as there are values for it.
        let nines = (histogram.len() as f64).log10().clamp(0.5, 5.0);
        let quantile = |step: u32| 1.0 - 10_f64.powf(-f64::from(step) * nines / 100.0);
        Self {
            count: histogram.len(),
            mean: histogram.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1000.0,
            curve: (0..=100)
                .map(quantile)
                .map(|quantile| (quantile, at(quantile)))
                .collect(),
        }
    }
}

fn usage(watched: &Watched, measured: &Measured, load: &Figures, held: &Figures) -> Usage {
    let Watched {
        name,
        at_rest,
        begin,
        end,
    } = watched;
    let cpu = end.cpu.saturating_sub(begin.cpu).as_secs_f64();
    let per = |count: u64| (count > 0).then(|| cpu * 1e6 / count as f64);
    let grown = end.pss_kib.saturating_sub(at_rest.pss_kib);
    Usage {
        name: name.clone(),
        processes: end.processes,
        cpu_seconds: cpu,
        cores: cpu / measured.seconds,
        cpu_us_per_request: per(load.requests),
        cpu_us_per_piece: per(load.pieces + held.pieces),
        pss_kib_at_rest: at_rest.pss_kib,
        pss_kib_at_end: end.pss_kib,
        pss_kib_per_stream: (measured.open > 0).then(|| grown as f64 / measured.open as f64),
    }
}

fn added(load: &Figures, baseline: &[u8]) -> io::Result<BTreeMap<String, BTreeMap<String, f64>>> {
    let baseline: Value = serde_json::from_slice(baseline)?;
    let less = |name: &str, spread: &Spread| {
        let times = baseline.get("load")?.get("times")?.get(name)?;
        let one = |key: &str, value: f64| Some((key.to_owned(), value - times.get(key)?.as_f64()?));
        Some((
            name.to_owned(),
            [one("p50", spread.p50)?, one("p99", spread.p99)?].into(),
        ))
    };
    Ok(load
        .times
        .iter()
        .filter_map(|(name, spread)| less(name, spread))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_baseline_is_subtracted() {
        let mut group = Group::new();
        group.is_measuring = true;
        group.answered(0, 900_000);
        let load = Figures::new(&group, 1.0);
        let baseline = br#"{"load":{"times":{"total":{"p50":300.0,"p99":300.0}}}}"#;
        let added = added(&load, baseline).unwrap();
        assert!((added["total"]["p50"] - 600.0).abs() < 1.0, "{added:?}");
    }

    #[test]
    fn a_curve_goes_no_further_than_there_are_values() {
        let mut times = Times::new();
        (1..=100).for_each(|time| times.record(time * 1000));
        let spread = Spread::new(&times);
        assert!((spread.curve.last().unwrap().0 - 0.99).abs() < 1e-9);
        assert!((spread.p90 - 90.0).abs() < 0.1 && spread.count == 100);
    }
}
