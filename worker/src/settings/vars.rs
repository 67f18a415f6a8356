//! Variables of the environment and of the dotenv file below it, and the ways to read them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use actix_web::http::Uri;
use serde::de::DeserializeOwned;

use super::{Problems, file, placeholder, text};
use crate::accounts::pasted;

/// Ends of addresses that services' documentation names and people paste with the base URL.
const ENDPOINTS: &[&str] = &[
    "/chat/completions",
    "/completions",
    "/responses",
    "/embeddings",
    "/models",
];

/// The variables a worker starts with: the process environment over the accounts file. Each value is as its writer
/// meant it ([`text::clean`]), and credentials that are none ([`placeholder::is_placeholder`]) count as not set.
/// Debug shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Vars {
    pub(super) values: BTreeMap<String, String>,
    /// Names whose value was a placeholder.
    placeholders: BTreeSet<String>,
}

impl Vars {
    /// Variables from anywhere.
    pub fn new<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut vars = Self::default();
        for (name, value) in pairs {
            let (name, value) = (name.into(), text::clean(&value.into()));
            // The gateway's own keys: a weak one is still the one that clients send.
            let is_own = name.starts_with("API_");
            if !is_own
                && placeholder::is_credential(&name)
                && placeholder::is_placeholder(&name, &value)
            {
                vars.placeholders.insert(name);
            } else {
                vars.values.insert(name, value);
            }
        }
        vars
    }

    /// The process environment over the file named by `ACCOUNTS_FILE` (default `.env`, which may be missing).
    ///
    /// # Errors
    /// A sentence for the operator: a file that cannot be read, or a line that is no assignment.
    pub fn load() -> Result<(Self, PathBuf), String> {
        let own = Self::environment()?;
        let named = own.get("ACCOUNTS_FILE");
        let path = PathBuf::from(named.unwrap_or(".env"));
        if named.is_some() && !path.exists() {
            return Err(format!(
                "ACCOUNTS_FILE: there is no file {}",
                path.display()
            ));
        }
        Ok((own.over_file(&path)?, path))
    }

    /// The process environment alone.
    ///
    /// # Errors
    /// Names a variable whose value is no UTF-8.
    pub fn environment() -> Result<Self, String> {
        let mut own = BTreeMap::new();
        // A name that is no UTF-8 is none that anybody reads.
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            let value = value
                .into_string()
                .map_err(|_| format!("{name} holds bytes that are no UTF-8"))?;
            own.insert(name, value);
        }
        Ok(Self::new(own))
    }

    /// The variables of a dotenv file, given as its bytes.
    ///
    /// # Errors
    /// A file in another encoding, or a line that is no assignment: the message has the line's number, never its
    /// content.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        file::parse(bytes).map(Self::new)
    }

    /// These variables over those of a dotenv file, which may be missing.
    ///
    /// # Errors
    /// A file that cannot be read, and as [`Vars::parse`]; the message names the file.
    pub fn over_file(&self, path: &Path) -> Result<Self, String> {
        let named = |problem: String| format!("{}: {problem}", path.display());
        let below = match fs::read(path) {
            Ok(bytes) => Self::parse(&bytes).map_err(named)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(named(error.to_string())),
        };
        Ok(self.over(below))
    }

    /// These variables over others.
    pub fn over(&self, mut below: Self) -> Self {
        // An empty variable is what compose files and shells leave where nothing was set.
        let set = self.values.iter().filter(|(_, value)| !value.is_empty());
        let set = set.map(|(name, value)| (name.clone(), value.clone()));
        below.values.extend(set);
        below.placeholders.extend(self.placeholders.iter().cloned());
        below
            // A credential that is set somewhere hides the placeholder elsewhere.
            .placeholders
            .retain(|name| !below.values.contains_key(name));
        below
    }

    /// A value; `None` when it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        #[cfg(test)]
        tests::note(name);
        let value = self.values.get(name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// The variables that are texts as they stand, into a struct with a field for each: a group of settings can be read in
    /// one go. envy finds a field by its name in any capitals; of two spellings, the one in capitals counts.
    pub(super) fn texts<T: DeserializeOwned + Default>(&self, problems: &mut Problems) -> T {
        let is_first = |name: &str| {
            let capitals = name.to_ascii_uppercase();
            capitals == name || !self.values.contains_key(&capitals)
        };
        let filled = self.values.iter().filter_map(|(name, value)| {
            let value = value.trim();
            (!value.is_empty() && is_first(name)).then(|| (name.clone(), value.to_owned()))
        });
        // Only texts are read by it, so this is a fault of ours rather than of the owner; it is told all the same.
        envy::from_iter(filled).unwrap_or_else(|error| {
            problems.push(error.to_string());
            T::default()
        })
    }

    /// A credential as a web page or a request shows it and people paste it, in one line; see [`pasted::credential`].
    pub fn pasted(&self, name: &str) -> Option<String> {
        let value = pasted::credential(self.get(name)?);
        Some(value).filter(|value| !value.is_empty())
    }

    /// The names of credentials whose value is a placeholder; they count as not set.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.placeholders.iter().map(String::as_str)
    }

    /// The names whose values differ between two sets of variables.
    pub fn differing<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a str> {
        let names = self.values.keys().chain(other.values.keys());
        let differs = |name: &&String| self.get(name) != other.get(name);
        names.filter(differs).map(String::as_str).collect()
    }

    /// `NAME`, `NAME_2`, `NAME_3`, … as (number, value).
    pub fn numbered(&self, name: &str) -> Vec<(usize, String)> {
        let mut found: Vec<(usize, String)> = self
            .pasted(name)
            .map(|value| (1, value))
            .into_iter()
            .collect();
        let prefix = format!("{name}_");
        for key in self.values.keys() {
            let number = key
                .strip_prefix(&prefix)
                // `NAME_02` would be a second spelling of the second.
                .filter(|digits| !digits.starts_with('0'))
                .and_then(|digits| digits.parse().ok());
            // `NAME_1` is another name of the first, where that has no value of its own.
            let number = number.filter(|&number| number > 1 || found.is_empty());
            if let Some(number) = number
                && let Some(value) = self.pasted(key)
            {
                found.push((number, value));
            }
        }
        found.sort_by_key(|(number, _)| *number);
        found
    }

    /// The numbers n for which `PREFIXnSUFFIX` has a value, in order.
    pub fn numbers(&self, prefix: &str, suffix: &str) -> Vec<usize> {
        #[cfg(test)]
        tests::note(&format!("{prefix}1{suffix}"));
        let number = |key: &String| {
            key.strip_prefix(prefix)?
                .strip_suffix(suffix)?
                .parse()
                .ok()
                .filter(|&number| number > 0)
        };
        let mut numbers: Vec<usize> = self
            .values
            .keys()
            .filter_map(|key| Some((key, number(key)?)))
            .filter(|(key, _)| self.get(key).is_some())
            .map(|(_, number)| number)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// A base URL without trailing slashes and without the end of an endpoint, `default` when it is absent.
    pub fn base_url(&self, name: &str, default: &str, problems: &mut Problems) -> String {
        let given = self.get(name).unwrap_or(default);
        // Schemes are the same in capitals.
        let given = match given.split_once("://") {
            Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
            None => given.to_owned(),
        };
        let mut url = given.as_str();
        // Nothing comes behind an empty one.
        url = url.trim_end_matches(['/', '?', '#']);
        if url.contains(['?', '#']) {
            problems.push(format!(
                "{name} must end before the `?` or `#`: paths are put behind it"
            ));
        }
        // Repeatedly: `/v1/chat/completions/` ends in two of them.
        while let Some(shorter) = ENDPOINTS.iter().find_map(|end| url.strip_suffix(end)) {
            url = shorter.trim_end_matches('/');
        }
        let is_url = url.starts_with("http://") || url.starts_with("https://");
        let leads_somewhere = |url: &Uri| {
            let host = url.host().unwrap_or_default();
            // What is no port number counts as none.
            let has_port = url
                .authority()
                .is_some_and(|all| !all.as_str().ends_with(host));
            !host.is_empty() && (!has_port || url.port_u16().is_some())
        };
        if !is_url || !url.parse().is_ok_and(|url| leads_somewhere(&url)) {
            problems.push(format!("{name} must be an http(s) URL"));
        }
        url.to_owned()
    }

    /// `host:port` of every address that is set (`…_BASE_URL`): the owner trusts what is there. Each is checked by who
    /// reads it; what is no URL has no host.
    pub fn own_hosts(&self) -> Vec<String> {
        let addresses = self
            .values
            .iter()
            // By the name's part, as numbered lanes have theirs in the middle.
            .filter(|(name, _)| name.contains("BASE_URL"));
        let mut hosts: Vec<String> = addresses.filter_map(|(_, url)| host_of(url)).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// A number within bounds, `default` when it is absent.
    pub fn number<T: std::str::FromStr + PartialOrd + fmt::Display + Copy>(
        &self,
        name: &str,
        default: T,
        least: T,
        most: T,
        problems: &mut Problems,
    ) -> T {
        let Some(text) = self.get(name) else {
            return default;
        };
        match text.parse::<T>() {
            Ok(number) if number >= least && number <= most => number,
            _ => {
                problems.push(format!("{name} must be a number from {least} to {most}"));
                default
            }
        }
    }

    /// A time in seconds, at most a day; with or without a fraction.
    pub(super) fn seconds(&self, name: &str, default: f64, problems: &mut Problems) -> Duration {
        Duration::from_secs_f64(self.number(name, default, 0.0, 86_400.0, problems))
    }

    /// A switch: `true`/`false`, `1`/`0`, `yes`/`no`, `on`/`off`.
    pub fn switch(&self, name: &str, default: bool, problems: &mut Problems) -> bool {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None => default,
            Some("true" | "1" | "yes" | "on") => true,
            Some("false" | "0" | "no" | "off") => false,
            Some(_) => {
                problems.push(format!("{name} must be true or false"));
                default
            }
        }
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
        default: T,
        problems: &mut Problems,
    ) -> T {
        let Some(text) = self.get(name) else {
            return default;
        };
        if let Some((_, choice)) = choices
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text))
        {
            return *choice;
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        problems.push(format!("{name} must be one of: {}", words.join(", ")));
        default
    }
}

fn host_of(url: &str) -> Option<String> {
    let uri: Uri = url.trim().parse().ok()?;
    let default = match uri.scheme_str()? {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(default);
    Some(format!("{}:{port}", host.to_ascii_lowercase()))
}

impl fmt::Debug for Vars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.keys()).finish()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        static ASKED: RefCell<Option<BTreeSet<String>>> = const { RefCell::new(None) };
    }

    /// The names that `work` asks for on this thread.
    pub(crate) fn recorded(work: impl FnOnce()) -> BTreeSet<String> {
        ASKED.set(Some(BTreeSet::new()));
        work();
        ASKED.take().unwrap_or_default()
    }

    pub(super) fn note(name: &str) {
        ASKED.with_borrow_mut(|asked| asked.as_mut().map(|asked| asked.insert(name.to_owned())));
    }

    #[test]
    fn reads_numbered_and_pasted_values() {
        let vars = Vars::new([
            ("T_2", "'b'"),
            ("T", "\"a\r\n\""),
            ("T_10", "c"),
            ("T_X", "no"),
            ("T_02", "no"),
            ("T_3", " "),
        ]);
        assert_eq!(
            vars.numbered("T"),
            [
                (1, "a".to_owned()),
                (2, "b".to_owned()),
                (10, "c".to_owned())
            ]
        );
        assert_eq!(
            Vars::new([
                ("A_1_COOKIE", "x"),
                ("A_7_COOKIE", "y"),
                ("A_0_COOKIE", "z")
            ])
            .numbers("A_", "_COOKIE"),
            [1, 7]
        );
    }

    #[test]
    fn takes_the_end_of_an_endpoint_off_a_base_url() {
        let read = |url: &str| {
            let (vars, mut problems) = (Vars::new([("URL", url)]), Problems::default());
            let url = vars.base_url("URL", "", &mut problems);
            problems.errors.is_empty().then_some(url)
        };
        for url in [
            "http://a.example/v1",
            "http://a.example/v1/",
            "http://a.example/v1//",
            "\"http://a.example/v1\"",
            "http://a.example/v1/chat/completions",
            "http://a.example/v1/chat/completions/",
            "http://a.example/v1/models",
            "http://a.example/v1//models#",
            "http://a.example/v1/chat/completions?",
            "HTTP://a.example/v1",
            " http://a.example/v1\u{200b}",
        ] {
            assert_eq!(read(url).as_deref(), Some("http://a.example/v1"), "{url}");
        }
        // A part of a longer word, and what belongs to the base.
        for url in ["http://a.example/my-models", "http://a.example/models/v1"] {
            assert_eq!(read(url).as_deref(), Some(url));
        }
        for url in [
            "http://a.example:99999/v1",
            "http://a.example/v1?api-version=1",
            "http://a.example/v1/chat/completions?key=1",
            "http://a.example/#/v1",
            "a.example/v1",
            "http://",
            "http:///v1",
            "ws://a.example",
            "http://a.example/a b",
        ] {
            assert_eq!(read(url), None, "{url}");
        }
    }

    #[test]
    fn every_value_is_read_as_it_was_meant() {
        let vars = Vars::new([
            ("PORT", "\"81\""),
            ("LOG_FORMAT", "'TEXT'"),
            ("ALLOW_ANONYMOUS", "\u{feff}true\r\n"),
            ("T", "\"Authorization: Bearer a\u{200b}b\""),
        ]);
        let mut problems = Problems::default();
        assert_eq!(vars.number("PORT", 1, 0, 99, &mut problems), 81);
        assert!(vars.switch("ALLOW_ANONYMOUS", false, &mut problems));
        let choices = [("json", 1), ("text", 2)];
        assert_eq!(vars.choice("LOG_FORMAT", &choices, 1, &mut problems), 2);
        assert_eq!(vars.pasted("T").as_deref(), Some("ab"));
        assert!(problems.errors.is_empty(), "{problems:?}");
    }

    #[test]
    fn a_placeholder_is_not_set_and_hides_nothing() {
        let environment = Vars::new([("KIMI_TOKEN", "your-token-here"), ("QWEN_TOKEN", "xxx")]);
        let vars = environment.over(Vars::new([("KIMI_TOKEN", "real"), ("GT_TOKEN", "<it>")]));
        assert_eq!(vars.get("KIMI_TOKEN"), Some("real"));
        assert_eq!((vars.get("QWEN_TOKEN"), vars.get("GT_TOKEN")), (None, None));
        let names: Vec<&str> = vars.placeholders().collect();
        assert_eq!(names, ["GT_TOKEN", "QWEN_TOKEN"]);
        let own = Vars::new([("API_MASTER_KEY", "xxx")]);
        assert_eq!(own.get("API_MASTER_KEY"), Some("xxx"));
    }
}
