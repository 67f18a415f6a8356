//! Variables of the environment and of the dotenv file below it, and the ways to read them.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

/// The variables a worker starts with: the process environment over the accounts file. Debug shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Vars(pub(super) BTreeMap<String, String>);

impl Vars {
    /// Variables from anywhere, for tests.
    pub fn new<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
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
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            let value = value
                .into_string()
                .map_err(|_| format!("{name} holds bytes that are no UTF-8"))?;
            own.insert(name, value);
        }
        Ok(Self(own))
    }

    /// These variables over those of a dotenv file.
    ///
    /// # Errors
    /// As [`Vars::load`]. The message names the line's number, never its content.
    pub fn over_file(&self, path: &Path) -> Result<Self, String> {
        let mut vars = BTreeMap::new();
        if path.exists() {
            let text =
                fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            for entry in dotenvy::from_read_iter(text.as_bytes()) {
                let (name, value) = entry.map_err(|_| format!("{}: a line is no NAME=value (quote values with spaces; $ needs single quotes)", path.display()))?;
                vars.insert(name, value);
            }
        }
        // An empty variable is what compose files and shells leave where nothing was set.
        let set = self.0.iter().filter(|(_, value)| !value.trim().is_empty());
        vars.extend(set.map(|(name, value)| (name.clone(), value.clone())));
        Ok(Self(vars))
    }

    /// A value without surrounding space; `None` when it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// A value as a web page shows it and people paste it: without line ends and one pair of quotes.
    pub fn pasted(&self, name: &str) -> Option<String> {
        let value = self.get(name)?.replace(['\r', '\n'], "");
        let value = value.trim();
        let unquoted = ['"', '\'']
            .iter()
            .find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote));
        Some(unquoted.unwrap_or(value).trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// `NAME`, `NAME_2`, `NAME_3`, … as (number, value).
    pub fn numbered(&self, name: &str) -> Vec<(usize, String)> {
        let mut found: Vec<(usize, String)> = self
            .pasted(name)
            .map(|value| (1, value))
            .into_iter()
            .collect();
        let prefix = format!("{name}_");
        for key in self.0.keys() {
            let number = key
                .strip_prefix(&prefix)
                .filter(|digits| !digits.starts_with('0'))
                .and_then(|digits| digits.parse().ok());
            if let Some((number, value)) = number
                .filter(|&number| number > 1 || found.is_empty())
                .zip(self.pasted(key))
            {
                found.push((number, value));
            }
        }
        found.sort_by_key(|(number, _)| *number);
        found
    }

    /// The numbers n for which `PREFIXnSUFFIX` has a value, in order.
    pub fn numbers(&self, prefix: &str, suffix: &str) -> Vec<usize> {
        let number = |key: &String| {
            key.strip_prefix(prefix)?
                .strip_suffix(suffix)?
                .parse()
                .ok()
                .filter(|&number| number > 0)
        };
        let mut numbers: Vec<usize> = self
            .0
            .keys()
            .filter(|key| self.get(key).is_some())
            .filter_map(number)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// A base URL without its trailing slash, `default` when it is absent.
    pub fn base_url(&self, name: &str, default: &str, problems: &mut Vec<String>) -> String {
        let url = self.get(name).unwrap_or(default).trim_end_matches('/');
        if !(url.starts_with("http://") || url.starts_with("https://"))
            || url.parse::<actix_web::http::Uri>().is_err()
        {
            problems.push(format!("{name} must be an http(s) URL"));
        }
        url.to_owned()
    }

    /// A number within bounds, `default` when it is absent.
    pub fn number<T: std::str::FromStr + PartialOrd + fmt::Display + Copy>(
        &self,
        name: &str,
        default: T,
        least: T,
        most: T,
        problems: &mut Vec<String>,
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

    /// A switch: `true`/`false`, `1`/`0`, `yes`/`no`, `on`/`off`.
    pub fn switch(&self, name: &str, default: bool, problems: &mut Vec<String>) -> bool {
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
        problems: &mut Vec<String>,
    ) -> T {
        let Some(text) = self.get(name) else {
            return default;
        };
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return *choice;
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        problems.push(format!("{name} must be one of: {}", words.join(", ")));
        default
    }
}

impl fmt::Debug for Vars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
