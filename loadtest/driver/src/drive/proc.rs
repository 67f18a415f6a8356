//! CPU time and memory of a process and its descendants, out of /proc. Source: proc(5).

use std::{collections::HashMap, fs, time::Duration};

use super::options::Watch;

/// What /proc/PID/stat says of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time in clock ticks.
    ticks: u64,
}

/// The cost of a process and its descendants so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cost {
    /// Living processes, the first one included.
    pub(super) processes: usize,
    /// User and system time.
    pub(super) cpu: Duration,
    /// Proportional set size: shared pages are divided among those who share them.
    pub(super) pss_kib: u64,
}

/// Reads the cost of a process tree as it is now. A process that is gone costs nothing more.
pub(super) fn cost(watch: &Watch) -> Cost {
    let table = table();
    let pids = tree(watch.pid, &table);
    let ticks: u64 = pids
        .iter()
        .filter_map(|pid| table.get(pid))
        .map(|stat| stat.ticks)
        .sum();
    Cost {
        processes: pids.len(),
        cpu: Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64),
        pss_kib: pids.iter().filter_map(|pid| pss(*pid)).sum(),
    }
}

fn table() -> HashMap<u32, Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashMap::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        Some((
            pid,
            stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?,
        ))
    })
    .collect()
}

/// The line of /proc/PID/stat. The name in it may hold blanks and brackets, so it is counted from the last bracket on.
fn stat(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    // proc(5) counts from 1, and the first field here is its third.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(field(4)?).ok()?,
        ticks: field(14)? + field(15)?,
    })
}

/// A process and all below it.
fn tree(root: u32, table: &HashMap<u32, Stat>) -> Vec<u32> {
    let mut pids = Vec::from_iter(table.contains_key(&root).then_some(root));
    let mut at = 0;
    while let Some(parent) = pids.get(at).copied() {
        pids.extend(
            table
                .iter()
                .filter(|(_, stat)| stat.parent == parent)
                .map(|(pid, _)| *pid),
        );
        at += 1;
    }
    pids
}

fn pss(pid: u32) -> Option<u64> {
    rollup(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

fn rollup(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_brackets_and_blanks() {
        let line = "71 (a) b (c) S 7 71 71 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 2 0 9 1 2";
        let expected = Stat {
            parent: 7,
            ticks: 200,
        };
        assert_eq!(stat(line), Some(expected));
        assert_eq!(stat("71 (cut off"), None);
        assert_eq!(stat(""), None);
    }

    #[test]
    fn the_proportional_size_is_the_line_of_that_name() {
        let text = "00400000-7ffc00000000 ---p 00000000 00:00 0  [rollup]\nRss:  9000 kB\nPss:            1234 kB\nPss_Anon:  1 kB\n";
        assert_eq!(rollup(text), Some(1234));
        assert_eq!(rollup("Pss_Anon: 1 kB\n"), None);
    }

    #[test]
    fn a_tree_has_grandchildren_and_no_strangers() {
        let table = [(1, 0), (10, 1), (11, 10), (12, 11), (20, 1)];
        let table = table
            .map(|(pid, parent)| (pid, Stat { parent, ticks: 1 }))
            .into();
        let mut pids = tree(10, &table);
        pids.sort_unstable();
        assert_eq!(pids, [10, 11, 12]);
        assert!(tree(99, &table).is_empty());
    }

    #[test]
    fn this_process_has_used_something() {
        let watch = Watch {
            name: "this".to_owned(),
            pid: std::process::id(),
        };
        let mut turns = 0_u64;
        while cost(&watch).cpu.is_zero() && turns < 1_000_000 {
            turns += 1;
        }
        let cost = cost(&watch);
        assert!(
            cost.processes >= 1 && cost.pss_kib > 100 && !cost.cpu.is_zero(),
            "{cost:?}"
        );
    }
}
