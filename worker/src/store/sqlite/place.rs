//! Where an SQLite file may be: on a disk of this machine, in a folder that can be written to.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use super::super::engine::StoreError;

/// File systems of other machines, by the magic number of statfs(2). Their locks and their shared memory are not what WAL
/// needs: the file breaks, some day, in silence.
const NETWORKS: [(u64, &str); 9] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xfe53_4d42, "SMB2"),
    (0xff53_4d42, "CIFS"),
    (0x5346_414f, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0116_1970, "GFS2"),
];

/// Makes the folder where it is missing, and refuses one on a network.
///
/// # Errors
/// [`StoreError::Unfit`] with words for a person.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(|error| {
        StoreError::Unavailable(format!("its folder cannot be made: {}", error.kind()))
    })?;
    let found = rustix::fs::statfs(folder).map_err(|error| {
        let kind = io::Error::from(error).kind();
        StoreError::Unavailable(format!("its folder cannot be looked at: {kind}"))
    })?;
    // The field's width differs between machines; the number has 32 bits.
    // Nothing below 0 where the field has 64 bits; where it has 32, a sign would belong to the number, and such a file
    // system is let pass rather than refused.
    let magic = u64::try_from(found.f_type).unwrap_or_default() & 0xffff_ffff;
    match network(magic) {
        Some(name) => Err(StoreError::Unfit(format!(
            "the store's file would lie on a network's file system ({name}), where SQLite breaks: put DATA_DIR on a local disk, or use redis:// in STORE_URL"
        ))),
        None => Ok(()),
    }
}

fn network(magic: u64) -> Option<&'static str> {
    let found = NETWORKS.iter().find(|(number, _)| *number == magic);
    found.map(|(_, name)| *name)
}

/// Which file it is, whatever it is called.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// Makes an empty file that only its owner can read, where there is none. SQLite gives what it keeps beside it the same rights.
///
/// # Errors
/// [`StoreError::Unavailable`] where it cannot be made.
pub(super) fn make(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        // Made where it is missing, never emptied: `append` and no `truncate`.
        .open(path);
    made.map(drop).map_err(|error| {
        StoreError::Unavailable(format!("the file cannot be written to: {}", error.kind()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_known_by_their_numbers() {
        assert_eq!(network(0x6969), Some("NFS"));
        assert_eq!(network(0xef53), None, "ext4");
        assert_eq!(network(0x9123_683e), None, "btrfs");
        assert_eq!(network(0x794c_7630), None, "a container's overlay");
    }
}
