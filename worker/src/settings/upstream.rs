//! What every call to a provider's service reads.

use std::sync::Arc;

use super::{Problems, Vars};
use crate::upstream::{Proxies, Timeouts};

/// What [`crate::upstream`] reads.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// `CONNECT_TIMEOUT`, `STALL_TIMEOUT`.
    pub timeouts: Timeouts,
    /// `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, in capitals or not.
    pub proxies: Arc<Proxies>,
}

impl Upstream {
    pub(super) fn read(vars: &Vars, problems: &mut Problems) -> Self {
        Self {
            timeouts: Timeouts {
                connect: vars.seconds("CONNECT_TIMEOUT", 10.0, problems),
                stall: vars.seconds("STALL_TIMEOUT", 120.0, problems),
            },
            proxies: Arc::new(proxies(vars, problems)),
        }
    }
}

fn proxies(vars: &Vars, problems: &mut Problems) -> Proxies {
    // Tools differ in the capitals, so both are read.
    let value = |name: &str| {
        vars.get(name)
            .or_else(|| vars.get(&name.to_ascii_lowercase()))
            // The process's own spelling in capitals wins over the other one.
            .unwrap_or_default()
    };
    Proxies::new(value("HTTP_PROXY"), value("HTTPS_PROXY"), value("NO_PROXY")).unwrap_or_else(
        |problem| {
            problems.push(format!("HTTP_PROXY and HTTPS_PROXY {problem}"));
            Proxies::default()
        },
    )
}
