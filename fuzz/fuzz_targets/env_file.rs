//! Bytes as a `.env` file: what dotenvy reads is read the same, line by line as well, and a complaint names a line.
#![no_main]

use std::collections::BTreeMap;

use hive2api_worker::settings::file::{groups, parse, plain};

fn by_dotenvy(text: &str) -> Option<BTreeMap<String, String>> {
    dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().ok()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let ours = parse(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert_eq!(groups(text).iter().map(|(_, group)| &**group).collect::<String>(), text);
    if plain(text) != text {
        return;
    }
    let theirs = by_dotenvy(text);
    if let Err(problem) = &ours {
        let line = problem.strip_prefix("line ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        assert!(line.is_some_and(|line: usize| (1..=text.lines().count()).contains(&line)), "{problem}");
    }
    assert_eq!(ours.ok(), theirs);
    // Substitutions look at the lines before.
    if let Some(theirs) = theirs.filter(|_| !text.contains('$')) {
        let groups = groups(text);
        let apart: Option<Vec<_>> = groups.iter().map(|(_, group)| by_dotenvy(group)).collect();
        assert_eq!(apart.map(|all| all.into_iter().flatten().collect()), Some(theirs));
    }
});
