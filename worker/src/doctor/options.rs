//! The command line of `doctor`.

use std::path::PathBuf;

use super::sources::Kind;

/// What `doctor --help` says.
pub(super) const HELP: &str = "hive2api-worker doctor: says what is wrong with your files before your users do.

Usage: hive2api-worker doctor [OPTION]… [DIR]

Reads .env, compose.yaml (docker-compose.yml, …) and nginx.conf of DIR (default: this folder), or the files
that you name, and checks them together. Nothing is changed, and no credential is ever printed.

  --env FILE       a file of variables; may be repeated, later ones win
  --nginx FILE     an nginx configuration; may be repeated
  --compose FILE   a compose file; may be repeated
  --online         also look whether the providers, a store and the right time can be reached
  --strict         warnings fail as well
  --json           for machines
  --help           this text

Exit code: 0 nothing that fails, 1 errors (with --strict: or warnings), 64 wrong usage.
";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) files: Vec<(Kind, PathBuf)>,
    pub(super) folder: Option<PathBuf>,
    pub(super) is_online: bool,
    pub(super) is_strict: bool,
    pub(super) is_json: bool,
    pub(super) is_help: bool,
}

impl Options {
    /// Reads the arguments behind `doctor`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn read(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let (name, glued) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    (name.to_owned(), Some(value.to_owned()))
                }
                _ => (arg, None),
            };
            let kind = match name.as_str() {
                "--env" => Kind::Env,
                "--nginx" => Kind::Nginx,
                "--compose" => Kind::Compose,
                _ if glued.is_some() => return Err(format!("{name} takes no value")),
                _ => {
                    options.take(name)?;
                    continue;
                }
            };
            let path = glued
                .or_else(|| args.next())
                .filter(|path| !path.is_empty());
            let path = path.ok_or_else(|| format!("{name} needs a file"))?;
            options.files.push((kind, path.into()));
        }
        Ok(options)
    }

    fn take(&mut self, arg: String) -> Result<(), String> {
        match arg.as_str() {
            "--online" => self.is_online = true,
            "--strict" => self.is_strict = true,
            "--json" => self.is_json = true,
            "--help" | "-h" => self.is_help = true,
            "" => return Err("an empty argument".to_owned()),
            _ if arg.starts_with('-') => return Err(format!("unknown option {arg}")),
            _ if self.folder.is_some() => return Err("one folder at a time".to_owned()),
            _ => self.folder = Some(arg.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        Options::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn reads_files_folders_and_switches() {
        let options = read("--env a --env=b --nginx c --strict --json d").unwrap();
        let files = [
            (Kind::Env, "a".into()),
            (Kind::Env, "b".into()),
            (Kind::Nginx, "c".into()),
        ];
        assert_eq!(options.files, files);
        assert_eq!(options.folder, Some("d".into()));
        assert!(options.is_strict && options.is_json && !options.is_online);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for line in ["--env", "--what", "a b", "--json=1", "--env="] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
