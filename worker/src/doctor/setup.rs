//! All files together, and the variables that come out of them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    compose::{ComposeFile, Role, Service},
    env::{
        access::Access,
        file::EnvFile,
        loader::{self, Opinion},
    },
    finding::Location,
    names::{self, Standing},
    nginx::NginxFile,
    sources::{Includes, Kind, Source},
};
use crate::settings::{Settings, Vars};

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) env: Vec<EnvFile>,
    pub(crate) compose: Vec<ComposeFile>,
    pub(crate) nginx: Vec<NginxFile>,
    pub(crate) access: BTreeMap<Arc<str>, Access>,
    /// The values that the worker gets: a later file beats an earlier one, compose's `environment:` beats them all.
    /// Empty ones are left out, as the worker leaves them out.
    pub(crate) variables: BTreeMap<String, (String, Location)>,
    /// What the worker says of them.
    pub(crate) opinion: Opinion,
    /// [`Opinion::settings`], for short.
    pub(crate) settings: Settings,
}

impl Setup {
    /// Parses everything.
    pub(crate) fn new(sources: &[Source], includes: &Includes<'_>) -> Self {
        let of = |kind| sources.iter().filter(move |source| source.kind == kind);
        let env: Vec<EnvFile> = of(Kind::Env)
            .map(|source| EnvFile::parse(&source.path, &source.text))
            .collect();
        let lookup = |name: &str| {
            let own = env.iter().rev().find_map(|file| file.get(name))?;
            Some(own.value.clone()).filter(|value| !value.is_empty())
        };
        let compose: Vec<ComposeFile> = of(Kind::Compose)
            .map(|source| ComposeFile::parse(&source.path, &source.text, &lookup))
            .collect();
        let nginx = of(Kind::Nginx)
            .map(|source| NginxFile::parse(&source.path, &source.text, includes))
            .collect();
        let access = sources
            .iter()
            .filter_map(|source| Some((Arc::clone(&source.path), source.access?)))
            .collect();
        let variables = variables(&env, &compose);
        let pairs = variables.iter().map(|(name, (value, _))| (name, value));
        let opinion = loader::opinion(&Vars::new(pairs));
        Self {
            settings: opinion.settings.clone(),
            env,
            compose,
            nginx,
            access,
            variables,
            opinion,
        }
    }

    /// Every assignment of every file, those that are overridden included; in compose files with the defaults of
    /// `${NAME:-default}`.
    pub(crate) fn every_assignment(&self) -> impl Iterator<Item = (&str, Cow<'_, str>, &Location)> {
        let files = self.env.iter().flat_map(|file| &file.assignments);
        let files = files.map(|one| {
            let value = Cow::Borrowed(one.literal.as_str());
            (one.name.as_str(), value, &one.place)
        });
        let entries = self.workers().flat_map(|worker| &worker.environment);
        files.chain(entries.filter_map(|entry| {
            let value = interpolated(entry.value.as_deref()?, &|_| None);
            Some((entry.name.as_str(), Cow::Owned(value), &entry.place))
        }))
    }

    /// The services that are workers.
    pub(crate) fn workers(&self) -> impl Iterator<Item = &Service> {
        let services = self.compose.iter().flat_map(|file| &file.services);
        services.filter(|service| service.role == Role::Worker)
    }

    /// Where a variable has its value from.
    pub(crate) fn place_of(&self, name: &str) -> Option<&Location> {
        self.variables.get(name).map(|(_, place)| place)
    }

    /// The place of the first variable that a sentence names; where none of them is set, that of the one next to it
    /// (`CN_ACCOUNT_3_COOKIE` for `CN_ACCOUNT_3_XSRF_TOKEN`).
    pub(crate) fn place_in(&self, text: &str) -> Option<Location> {
        let words = || text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let assigned = |word| self.env.iter().find_map(|file| file.get(word));
        let own = |word| {
            let set = self.place_of(word).cloned();
            set.or_else(|| assigned(word).map(|one| one.place.clone()))
        };
        words().find_map(own).or_else(|| {
            let is_name = |word: &&str| names::standing(word) == Standing::Known;
            words()
                .filter(is_name)
                .find_map(|word| self.neighbour(word))
        })
    }

    /// The set variable that has the most first parts (`A_1_…`) in common with a name.
    fn neighbour(&self, name: &str) -> Option<Location> {
        let shared = |other: &str| {
            let pairs = name.split('_').zip(other.split('_'));
            pairs.take_while(|(own, other)| own == other).count()
        };
        let set = self.variables.iter();
        let (other, (_, place)) = set.max_by_key(|(other, _)| shared(other))?;
        (shared(other) > 0).then(|| place.clone())
    }

    /// Whether a place is in a file that is there to be copied.
    pub(crate) fn is_example(&self, place: &Location) -> bool {
        let mut files = self.env.iter();
        files.any(|file| file.file == place.file && file.is_example)
    }

    /// Whether a compose file reads a variable by `${NAME}`.
    pub(crate) fn is_interpolated(&self, name: &str) -> bool {
        self.compose
            .iter()
            .any(|file| file.interpolated.contains(name))
    }

    /// A value of a compose file with its `${NAME:-default}` filled in.
    pub(crate) fn interpolated(&self, value: &str) -> String {
        interpolated(value, &|name| Some(self.variables.get(name)?.0.clone()))
    }
}

fn variables(env: &[EnvFile], compose: &[ComposeFile]) -> BTreeMap<String, (String, Location)> {
    let mut variables = BTreeMap::new();
    for one in env.iter().flat_map(|file| &file.assignments) {
        if one.value.trim().is_empty() {
            variables.remove(&one.name);
        } else {
            variables.insert(one.name.clone(), (one.value.clone(), one.place.clone()));
        }
    }
    let below = variables.clone();
    let lookup = |name: &str| {
        below
            .get(name)
            .map(|(value, _): &(String, Location)| value.clone())
    };
    let services = compose.iter().flat_map(|file| &file.services);
    for worker in services.filter(|service| service.role == Role::Worker) {
        for entry in &worker.environment {
            let value = entry.value.as_deref().unwrap_or_default();
            let value = interpolated(value, &lookup);
            let is_same = below.get(&entry.name).is_some_and(|(own, _)| *own == value);
            if !value.trim().is_empty() && !is_same {
                variables.insert(entry.name.clone(), (value, entry.place.clone()));
            }
        }
    }
    variables
}

/// Where the values for `${NAME}` come from.
pub(crate) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Fills `${NAME}`, `${NAME:-default}`, `${NAME-default}` in, defaults of defaults included; `$$` is a `$`.
pub(crate) fn interpolated(value: &str, lookup: &Lookup<'_>) -> String {
    let mut filled = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if let Some((inside, after)) = braced(after) {
            let (name, default) = inside
                .split_once(":-")
                .or_else(|| inside.split_once('-'))
                .unwrap_or((inside, ""));
            filled.push_str(&lookup(name).unwrap_or_else(|| interpolated(default, lookup)));
            rest = after;
        } else {
            filled.push('$');
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}

/// The inside of `{…}` at the beginning, inner braces included, and what follows.
pub(crate) fn braced(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('{')?;
    let mut depth = 1;
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((inside.get(..at)?, inside.get(at + 1..)?));
        }
    }
    None
}

/// The names that a text asks compose for: `${NAME…}`, inner ones included.
pub(crate) fn asked(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split("${")
        .skip(1)
        .map(|rest| {
            rest.split(|c| !is_name(c))
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_as_compose_does() {
        let lookup = |name: &str| (name == "A").then(|| "x".to_owned());
        for (value, filled) in [
            ("${A}", "x"),
            ("${B}", ""),
            ("${B:-d}", "d"),
            ("${B:-${A:-y}}:1", "x:1"),
            ("a$$b", "a$b"),
            ("${A", "${A"),
        ] {
            assert_eq!(interpolated(value, &lookup), filled, "{value}");
        }
        assert_eq!(asked("${A:-${B_1}} $${x}").len(), 3);
    }
}
