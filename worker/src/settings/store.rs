//! What the store reads: where it is, and with what the secrets in it are sealed.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{Problems, Vars};
use crate::{accounts::Secret, store::Place};

/// The file, where nothing else is said.
const FILE: &str = "hive2api.db";

/// Longest time for which answers are kept: a year.
const MOST_CACHE_SECONDS: u64 = 365 * 24 * 3600;

/// The texts among them.
#[derive(Default, Deserialize)]
struct Texts {
    store_url: Option<String>,
    data_dir: Option<PathBuf>,
    store_secret: Option<String>,
}

/// What [`crate::store`] reads.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// `STORE_URL`, where it is set.
    place: Option<Place>,
    /// `DATA_DIR`, where it is set.
    data_dir: Option<PathBuf>,
    /// `USAGE_DAYS`: how long sums of usage are kept.
    pub usage_days: u64,
    /// `CACHE_TTL`: how long an answer may be given again; `None`: never.
    pub cache_ttl: Option<Duration>,
    /// `CACHE_MEMORY_BYTES`: what a worker remembers of answers.
    pub cache_memory_bytes: usize,
    /// `STORE_SECRET`: seals what is secret in the store; without one, the master key does.
    pub secret: Option<Secret>,
}

impl Store {
    pub(super) fn read(vars: &Vars, problems: &mut Problems) -> Self {
        let texts: Texts = vars.texts(problems);
        Self {
            place: texts.store_url.and_then(|url| match place(&url) {
                Ok(place) => place,
                Err(why) => {
                    problems.push(format!("STORE_URL {why}"));
                    None
                }
            }),
            data_dir: texts.data_dir,
            usage_days: vars.number("USAGE_DAYS", 90, 1, 36_500, problems),
            cache_ttl: match vars.number("CACHE_TTL", 0, 0, MOST_CACHE_SECONDS, problems) {
                0 => None,
                seconds => Some(Duration::from_secs(seconds)),
            },
            cache_memory_bytes: vars.number("CACHE_MEMORY_BYTES", 32 << 20, 0, 1 << 40, problems),
            secret: texts.store_secret.map(Secret::new),
        }
    }

    /// Where the store is: what `STORE_URL` says, else a file in `DATA_DIR`, which by itself is the folder of the settings
    /// file.
    pub fn place(&self, settings_file: &Path) -> Place {
        // Only where it is needed: with `redis://` nobody asks for a folder.
        let folder = || {
            let beside = settings_file
                .parent()
                .unwrap_or_else(|| Path::new(""))
                .to_owned();
            self.data_dir.clone().unwrap_or(beside)
        };
        match &self.place {
            None => Place::Sqlite(folder().join(FILE)),
            // A relative path is one in that folder, wherever the worker was started.
            Some(Place::Sqlite(path)) => Place::Sqlite(folder().join(path)),
            Some(place) => place.clone(),
        }
    }
}

/// What a `STORE_URL` names; `None` for the usual file. The address is not quoted: it may hold a password.
fn place(url: &str) -> Result<Option<Place>, &'static str> {
    let (scheme, rest) = url
        .split_once(':')
        .ok_or("must begin with sqlite:, redis://, rediss:// or memory:")?;
    match scheme {
        "memory" => Ok(Some(Place::Memory)),
        "sqlite" => {
            // `sqlite:///path`, as other programs write it, means the same as `sqlite:/path`.
            let path = rest.strip_prefix("//").unwrap_or(rest);
            Ok((!path.is_empty()).then(|| Place::Sqlite(path.into())))
        }
        "redis" | "rediss" | "valkey" | "valkeys" => {
            // The client knows the older names only.
            let scheme = scheme.replace("valkey", "redis");
            let address = format!("{scheme}:{rest}");
            // Looked at now, so that a bad address is an error of the settings and not of the first request.
            if redis::Client::open(&*address).is_err() {
                return Err(
                    "is no address of a Valkey or Redis, such as redis://:password@valkey:6379",
                );
            }
            Ok(Some(Place::Valkey(Secret::new(address))))
        }
        _ => Err("must begin with sqlite:, redis://, rediss:// or memory:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> (Place, Problems) {
        let mut problems = Problems::default();
        let store = Store::read(&Vars::new(vars.iter().copied()), &mut problems);
        (store.place(Path::new("/etc/hive/.env")), problems)
    }

    #[test]
    fn a_file_beside_the_settings_unless_told_otherwise() {
        for (vars, expected) in [
            (&[][..], "/etc/hive/hive2api.db"),
            (&[("DATA_DIR", "/data")], "/data/hive2api.db"),
            (&[("STORE_URL", "sqlite:")], "/etc/hive/hive2api.db"),
            (&[("STORE_URL", "sqlite:a.db")], "/etc/hive/a.db"),
            (
                &[("STORE_URL", "sqlite:///var/a.db"), ("DATA_DIR", "/data")],
                "/var/a.db",
            ),
        ] {
            let (place, problems) = read(vars);
            assert_eq!(place, Place::Sqlite(expected.into()), "{vars:?}");
            assert_eq!(problems.errors, [""; 0]);
        }
    }

    #[test]
    fn servers_are_known_by_their_scheme() {
        for (url, address) in [
            ("redis://h:1/2", "redis://h:1/2"),
            ("rediss://:p@h", "rediss://:p@h"),
            ("valkey://:p@h", "redis://:p@h"),
        ] {
            let (place, _) = read(&[("STORE_URL", url)]);
            assert_eq!(place, Place::Valkey(Secret::new(address.to_owned())));
        }
        assert_eq!(read(&[("STORE_URL", "memory:")]).0, Place::Memory);
    }

    #[test]
    fn a_wrong_address_is_never_quoted() {
        for url in ["redis://:topsecret@[", "mysql://topsecret", "topsecret"] {
            let (_, problems) = read(&[("STORE_URL", url)]);
            let [problem] = problems.errors.as_slice() else {
                panic!("{url}: {problems:?}")
            };
            assert!(
                problem.contains("STORE_URL") && !problem.contains("topsecret"),
                "{problem}"
            );
        }
    }
}
