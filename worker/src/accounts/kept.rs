//! Credentials that a service has rotated, kept over restarts: one small file beside the settings file, readable by its
//! owner only, and the cluster's store ([`super::shared`]). The file holds the newest token for the hash of each pasted one, so that a changed
//! setting is never answered with an old login. Source: `wire/kimi.md` section 2 (SHOULD), issue "The five built chats".
//!
//! Several workers of one machine may share the file: each change is made under a lock, by a rename.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sha3::{Digest as _, Sha3_256};

use super::{Secret, shared::Shared};
use crate::store::{Store, Vault};

/// A file larger than this is none of ours.
const MOST_BYTES: u64 = 1 << 20;
/// What belongs to pasted tokens that are gone is dropped when there is more than this.
const MOST_TOKENS: usize = 1000;

/// Where rotated credentials are kept; without a place, nowhere.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    path: Option<Arc<Path>>,
    has_complained: Arc<AtomicBool>,
    shared: Shared,
}

impl Kept {
    /// Keeps them in this file, made when there is something to keep.
    pub fn in_file(path: PathBuf) -> Self {
        Self {
            path: Some(path.into()),
            ..Self::default()
        }
    }

    /// Keeps them in the cluster's store as well, and heeds there what other workers renew: this value and all its clones, from
    /// now on. To be called once.
    pub fn share(&self, store: Store, vault: Vault) {
        self.shared.join(store, vault);
    }

    /// Puts back there what the store has lost of it, as far as this worker knows it.
    pub async fn put_back(&self) {
        if let Some(cluster) = self.shared.cluster() {
            cluster.put_back().await;
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// As it is, or in this file where no place is set.
    #[must_use]
    pub fn or_in_file(self, path: PathBuf) -> Self {
        if self.path.is_some() {
            self
        } else {
            Self::in_file(path)
        }
    }

    /// The newest token for a pasted one. A file that is missing or damaged knows none.
    pub fn newest(&self, provider: &str, pasted: &Secret) -> Option<Secret> {
        // Any reason is the same: the pasted one is tried.
        let tokens = read(self.path.as_deref()?).ok()?;
        let token = tokens.get(&key(provider, pasted))?;
        Some(Secret::new(token)).filter(|token| !token.is_empty())
    }

    /// Keeps the newest token for a pasted one; off the event loop, as a disk may be slow. A place that cannot be written
    /// to is said once in the log: the token then lives as long as the process.
    pub async fn keep(&self, provider: &'static str, pasted: Secret, newest: Secret) {
        let Some(path) = self.path.clone() else {
            return;
        };
        let file = Arc::clone(&path);
        let write = move || write(&file, key(provider, &pasted), newest.expose());
        let written = tokio::task::spawn_blocking(write).await;
        // A task that was cancelled is a process that ends.
        if let Ok(Err(error)) = written
            && !self.has_complained.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                file = %path.display(), %error, provider,
                "rotated tokens cannot be kept here: after a restart the pasted one is tried again (TOKENS_FILE names another place)"
            );
        }
    }
}

fn key(provider: &str, pasted: &Secret) -> String {
    let hash = Sha3_256::digest(pasted.expose().as_bytes());
    let mut key = format!("{provider}:");
    for byte in hash {
        // Writing to a String cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

fn read(path: &Path) -> io::Result<BTreeMap<String, String>> {
    if fs::metadata(path)?.len() > MOST_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn write(path: &Path, key: String, newest: &str) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // The folder's lock, as the file itself is replaced. Given back when closed.
    let lock = File::open(folder)?;
    lock.lock()?;
    let mut tokens = read(path).unwrap_or_default();
    // The first by its key, which is a hash: whichever it is, its pasted token may still be good.
    while tokens.len() >= MOST_TOKENS && !tokens.contains_key(&key) {
        tokens.pop_first();
    }
    tokens.insert(key, newest.to_owned());
    // Under the lock nobody else writes one; a process that died in between leaves one that is overwritten.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    let written = file
        .write_all(&serde_json::to_vec_pretty(&tokens)?)
        // On the disk before the name leads to it: a token that was lost is a login that is lost.
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("hive2api-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[actix_web::test]
    async fn survives_a_restart_and_shows_no_pasted_token() {
        let folder = Folder::new("kept");
        let path = folder.0.join(".env.tokens");
        let (pasted, other) = (Secret::new("pasted-1"), Secret::new("pasted-2"));
        let kept = Kept::in_file(path.clone());
        assert_eq!(kept.newest("kimi", &pasted), None);
        kept.keep("kimi", pasted.clone(), Secret::new("r1")).await;
        kept.keep("kimi", other.clone(), Secret::new("s1")).await;
        kept.keep("kimi", pasted.clone(), Secret::new("r2")).await;
        let again = Kept::in_file(path.clone());
        assert_eq!(again.newest("kimi", &pasted), Some(Secret::new("r2")));
        assert_eq!(again.newest("kimi", &other), Some(Secret::new("s1")));
        assert_eq!(again.newest("zhipu", &pasted), None);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(!fs::read_to_string(&path).unwrap().contains("pasted"));
        assert_eq!(
            fs::read_dir(&folder.0).unwrap().count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn writers_at_once_lose_nothing() {
        let folder = Folder::new("kept-at-once");
        let path = folder.0.join("tokens");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for at in 0..10 {
                        write(path, format!("{thread}:{at}"), "t").unwrap();
                    }
                });
            }
        });
        assert_eq!(read(&path).unwrap().len(), 40);
    }

    #[actix_web::test]
    async fn a_place_that_is_none_hurts_nobody() {
        let pasted = Secret::new("p");
        for kept in [
            Kept::default(),
            Kept::in_file("/nonexistent/folder/tokens".into()),
        ] {
            kept.keep("kimi", pasted.clone(), Secret::new("r")).await;
            assert_eq!(kept.newest("kimi", &pasted), None);
        }
        let folder = Folder::new("kept-damaged");
        let path = folder.0.join("tokens");
        fs::write(&path, "{\"half\":").unwrap();
        let kept = Kept::in_file(path);
        assert_eq!(kept.newest("kimi", &pasted), None);
        kept.keep("kimi", pasted.clone(), Secret::new("r")).await;
        assert_eq!(kept.newest("kimi", &pasted), Some(Secret::new("r")));
    }
}
