//! The files on the disk: which ones there are, and what is in them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    env::access::Access,
    finding::{Finding, Location, Rule},
};
use crate::settings;

/// Bigger files are no settings.
const MOST_BYTES: u64 = 4 << 20;

const UNREADABLE: Rule = Rule::error(
    "unreadable",
    "What cannot be read can neither be checked nor used.",
    "Check the path, the owner and the permissions (containers: uid 10001).",
);

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Variables.
    Env,
    /// An nginx configuration.
    Nginx,
    /// A compose file.
    Compose,
}

/// A file that has been read.
#[derive(Debug)]
pub struct Source {
    /// What it is.
    pub kind: Kind,
    /// Its path as the user named it.
    pub path: Arc<str>,
    /// What is in it.
    pub text: String,
    /// Who may read it, where the system says so.
    pub access: Option<Access>,
}

/// How nginx's `include` finds files: the path of the file that includes, and the pattern. Empty: nothing is there.
pub type Includes<'a> = dyn Fn(&str, &str) -> Vec<(Arc<str>, String)> + 'a;

/// The usual names in a folder, in the order in which they are looked for.
const USUAL: &[(Kind, &[&str])] = &[
    (Kind::Env, &[".env", ".env.example"]),
    (
        Kind::Compose,
        &[
            "compose.yaml",
            "compose.yml",
            "docker-compose.yaml",
            "docker-compose.yml",
            "compose/compose.yaml",
            "compose/compose.yml",
        ],
    ),
    (
        Kind::Nginx,
        &[
            "nginx.conf",
            "nginx/nginx.conf",
            "nginx/default.conf",
            "nginx/conf.d/default.conf",
            "conf.d/default.conf",
        ],
    ),
];

/// The first file of the usual names of each kind.
pub fn discover(folder: &Path) -> Vec<(Kind, PathBuf)> {
    let plain = folder == Path::new(".");
    USUAL
        .iter()
        .filter_map(|(kind, names)| {
            let mut paths = names.iter().map(|name| match plain {
                true => PathBuf::from(name),
                false => folder.join(name),
            });
            Some((*kind, paths.find(|path| path.is_file())?))
        })
        .collect()
}

/// Reads a file; what cannot be read is a finding.
///
/// # Errors
/// The finding.
pub fn read(kind: Kind, path: &Path) -> Result<Source, Box<Finding>> {
    let name: Arc<str> = path.to_string_lossy().into();
    let refused = |why: String| Box::new(UNREADABLE.at(&Location::new(&name, 0), why));
    let metadata = fs::metadata(path).map_err(|error| refused(cause(&error)))?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES {
        return Err(refused("this is no file of settings".to_owned()));
    }
    let bytes = fs::read(path).map_err(|error| refused(cause(&error)))?;
    let text = settings::file::decode(&bytes).map_err(refused)?;
    Ok(Source {
        kind,
        path: Arc::clone(&name),
        text,
        access: access(&metadata),
    })
}

#[cfg(unix)]
fn access(metadata: &fs::Metadata) -> Option<Access> {
    use std::os::unix::fs::MetadataExt as _;
    Some(Access {
        mode: metadata.mode(),
        user: metadata.uid(),
        group: metadata.gid(),
    })
}

#[cfg(not(unix))]
fn access(_: &fs::Metadata) -> Option<Access> {
    None
}

fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "you may not read this file".to_owned(),
        _ => format!("this file cannot be read: {error}"),
    }
}

/// The files that an `include` means: relative to the file it stands in; a `*` in the last part only. An absolute
/// path in a file that is none itself speaks of a container, so it is not looked for here.
pub fn included(from: &str, pattern: &str) -> Vec<(Arc<str>, String)> {
    if Path::new(pattern).is_absolute() && !Path::new(from).is_absolute() {
        return Vec::new();
    }
    let folder = Path::new(from).parent().unwrap_or_else(|| Path::new(""));
    let path = folder.join(pattern);
    let wanted = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let Some((start, end)) = wanted.split_once('*') else {
        return read(Kind::Nginx, &path)
            .map_or_else(|_| Vec::new(), |one| vec![(one.path, one.text)]);
    };
    let here = path.parent().filter(|p| !p.as_os_str().is_empty());
    let mut paths: Vec<PathBuf> = fs::read_dir(here.unwrap_or_else(|| Path::new(".")))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        })
        .collect();
    paths.sort();
    let texts = paths.iter().filter_map(|path| read(Kind::Nginx, path).ok());
    texts.map(|one| (one.path, one.text)).collect()
}
