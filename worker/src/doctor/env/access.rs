//! Who may read the file: not everybody, but the worker.

use crate::doctor::{
    finding::{Finding, Rule, Severity},
    setup::Setup,
};

/// The user of our images.
const WORKER_USER: u32 = 10_001;

const READABLE_BY_ALL: Rule = Rule::warning(
    "readable-by-all",
    "Every user and program of this machine can read your cookies and keys.",
    "chmod 600 FILE; for containers also give it to their user: chown 10001 FILE, or set HIVE_UID to the owner's number.",
);
const UNREADABLE: Rule = Rule::warning(
    "unreadable-in-container",
    "The worker's container runs as that user and cannot start without its settings.",
    "chown 10001 FILE, or start compose with HIVE_UID=$(id -u) HIVE_GID=$(id -g).",
);

/// Owner and permissions of a file.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The low nine bits count.
    pub mode: u32,
    /// The owner.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// Both rules.
pub(crate) fn check(setup: &Setup, found: &mut Vec<Finding>) {
    for file in setup.env.iter().filter(|file| !file.is_example) {
        let Some(access) = setup.access.get(&file.file) else {
            continue;
        };
        if access.mode & 0o004 != 0 {
            found.push(READABLE_BY_ALL.at(&file.whole(), "all users may read this file"));
        } else if let Some((container, severity)) = container(setup)
            && !access.lets_in(container)
        {
            let [user, group] = container;
            let what = format!("{user}:{group} of the worker's container may not read this file");
            found.push(UNREADABLE.at(&file.whole(), what).as_severe_as(severity));
        }
    }
}

impl Access {
    fn lets_in(&self, [user, group]: [u32; 2]) -> bool {
        user == 0
            || (self.user == user && self.mode & 0o400 != 0)
            || (self.group == group && self.mode & 0o040 != 0)
    }
}

/// Whom the worker's container runs as, where a compose file is there and mounts something. Where a variable of the
/// shell decides (scripts/up sets it to the file's owner), it is only worth a note.
fn container(setup: &Setup) -> Option<([u32; 2], Severity)> {
    let worker = setup.workers().find(|worker| !worker.mounts.is_empty())?;
    let written = worker.user.as_ref()?.0.as_str();
    let user = setup.interpolated(written);
    let (user, group) = user.split_once(':').unwrap_or((&user, &user));
    let number = |text: &str| text.parse().unwrap_or(WORKER_USER);
    let severity = if written.contains("${") {
        Severity::Note
    } else {
        UNREADABLE.severity
    };
    Some(([number(user), number(group)], severity))
}
