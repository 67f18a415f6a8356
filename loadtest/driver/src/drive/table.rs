//! The figures of a run, for people.

use std::fmt::Write;

use super::results::{Figures, Results, Spread};

const NAMES: [(&str, &str); 4] = [
    ("first", "to the first piece"),
    ("first_delay", "delay of first pieces"),
    ("piece", "delay of a piece"),
    ("total", "whole answer"),
];

/// The results as a table.
pub(super) fn table(results: &Results) -> String {
    let mut out = String::new();
    // Writing to a `String` cannot fail.
    let _ = write_table(results, &mut out);
    out
}

fn write_table(results: &Results, out: &mut String) -> std::fmt::Result {
    let settings = &results.settings;
    let loop_ = settings.rate.map_or_else(
        || "closed loop".to_owned(),
        |rate| format!("{rate} requests/s due"),
    );
    writeln!(
        out,
        "{}   {}, {} connections, {loop_}, {:.1} s",
        settings.url, settings.mode, settings.connections, results.seconds
    )?;
    writeln!(
        out,
        "\n{:<24}{:>10}{:>12}{:>10}{:>12}{:>8}",
        "", "requests", "requests/s", "pieces", "pieces/s", "errors"
    )?;
    groups(results).try_for_each(|(name, group)| {
        let (requests, pieces) = (group.requests_per_second, group.pieces_per_second);
        writeln!(
            out,
            "{name:<24}{:>10}{requests:>12.1}{:>10}{pieces:>12.1}{:>8}",
            group.requests, group.pieces, group.errors
        )
    })?;
    writeln!(
        out,
        "\n{:<24}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "", "p50", "p90", "p99", "p99.9", "max"
    )?;
    for (name, group) in groups(results) {
        for (key, label) in NAMES {
            if let Some(spread) = group.times.get(key) {
                let label = if name == "load" {
                    label.to_owned()
                } else {
                    format!("{label} ({name})")
                };
                times(&label, spread, out)?;
            }
        }
    }
    if let Some(added) = &results.added {
        for (key, label) in NAMES {
            if let Some((p50, p99)) = added
                .get(key)
                .and_then(|times| Some((times.get("p50")?, times.get("p99")?)))
            {
                writeln!(
                    out,
                    "{:<24}{:>10}{:>10}{:>10}",
                    format!("added, {label}"),
                    time(*p50),
                    "",
                    time(*p99)
                )?;
            }
        }
    }
    usage(results, out)?;
    faults(results, out)
}

fn groups(results: &Results) -> impl Iterator<Item = (&'static str, &Figures)> {
    let load = (results.settings.connections > 0).then_some(("load", &results.load));
    load.into_iter()
        .chain(results.held.as_ref().map(|held| ("held", held)))
}

fn times(label: &str, spread: &Spread, out: &mut String) -> std::fmt::Result {
    write!(out, "{label:<24}")?;
    for value in [spread.p50, spread.p90, spread.p99, spread.p999, spread.max] {
        write!(out, "{:>10}", time(value))?;
    }
    writeln!(out)
}

/// Three digits, in the unit that suits.
fn time(microseconds: f64) -> String {
    let (value, unit) = match microseconds.abs() {
        0.0..1000.0 => (microseconds, "µs"),
        1000.0..1_000_000.0 => (microseconds / 1000.0, "ms"),
        _ => (microseconds / 1_000_000.0, "s"),
    };
    let digits = if value.abs() < 10.0 {
        2
    } else {
        usize::from(value.abs() < 100.0)
    };
    format!("{value:.digits$} {unit}")
}

fn usage(results: &Results, out: &mut String) -> std::fmt::Result {
    if !results.watched.is_empty() {
        writeln!(
            out,
            "\n{:<24}{:>10}{:>14}{:>12}{:>14}{:>14}",
            "", "cores", "µs/request", "µs/piece", "PSS at rest", "PSS at end"
        )?;
    }
    let number =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    for used in &results.watched {
        let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
        let name = format!("{} ({} processes)", used.name, used.processes);
        write!(
            out,
            "{name:<24}{:>10.3}{:>14}",
            used.cores,
            number(used.cpu_us_per_request)
        )?;
        write!(out, "{:>12}", number(used.cpu_us_per_piece))?;
        write!(
            out,
            "{:>14}{:>14}",
            mib(used.pss_kib_at_rest),
            mib(used.pss_kib_at_end)
        )?;
        match used.pss_kib_per_stream {
            Some(kib) => writeln!(out, "   {kib:.1} KiB a stream")?,
            None => writeln!(out)?,
        }
    }
    if results.driver_cores > 0.9 {
        writeln!(
            out,
            "\nThe driver took {:.2} of a core: these are its limits, not the gateway's.",
            results.driver_cores
        )?;
    }
    Ok(())
}

fn faults(results: &Results, out: &mut String) -> std::fmt::Result {
    for (name, group) in groups(results) {
        for (what, count) in [
            ("missing", group.missing),
            ("doubled", group.doubled),
            ("out of order", group.out_of_order),
        ] {
            if count > 0 {
                writeln!(out, "\n{name}: {count} pieces {what}")?;
            }
        }
        for (why, count) in &group.failures {
            writeln!(out, "\n{name}: {count} × {why}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let cases = [
            (0.5, "0.50 µs"),
            (61.25, "61.2 µs"),
            (999.0, "999 µs"),
            (1234.0, "1.23 ms"),
            (2.5e6, "2.50 s"),
            (-12.0, "-12.0 µs"),
        ];
        for (value, expected) in cases {
            assert_eq!(time(value), expected);
        }
    }
}
