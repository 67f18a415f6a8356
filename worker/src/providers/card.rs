//! What a provider states about itself: the one place for its names, its variables and its addresses. Settings, doctor,
//! the scripts (`hive2api-worker variables`), the docs page and the tests ask the cards of
//! [`super::registry::PROVIDERS`] instead of listing providers. Source: design.md sections 1 and 5.

use std::fmt::Write as _;

use super::Configure;
use crate::settings::{Problems, Vars};

/// A provider's card. What one account or one model needs to know stands in its folder; here stands what everybody else
/// needs to know of the provider.
#[derive(Debug)]
pub struct Card {
    /// The name in routes (`name/model`), metrics and logs. A provider that its owner names (an API lane) has others there.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Builds it.
    pub configure: Configure,
    /// Every variable that it reads beside those of the gateway, in the order of `.env.example`.
    pub variables: &'static [Variable],
}

/// A variable. A `#` in the name stands for any number; credentials also take a number at their end (`KIMI_TOKEN_2`).
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub role: Role,
}

/// What a variable is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Makes an account, alone or with its other parts.
    Credential {
        /// Where its value is found.
        found: &'static str,
        /// Without one of these, it has no effect.
        needs: &'static [&'static str],
    },
    /// Belongs to an account and makes none.
    Part {
        /// Without one of these, it has no effect.
        needs: &'static [&'static str],
    },
    /// The service's own address, with its default: what doctor tries to reach.
    Site(&'static str),
    /// Another address, with its default; empty where that depends on others.
    Address(&'static str),
    /// Anything else.
    Option {
        /// Without one of these, it has no effect.
        needs: &'static [&'static str],
    },
}

impl Variable {
    /// A credential that is enough for an account.
    pub const fn credential(name: &'static str, found: &'static str) -> Self {
        Self::credential_with(name, found, &[])
    }

    /// A credential that needs one of others.
    pub const fn credential_with(
        name: &'static str,
        found: &'static str,
        needs: &'static [&'static str],
    ) -> Self {
        let role = Role::Credential { found, needs };
        Self { name, role }
    }

    /// What belongs to a credential.
    pub const fn part(name: &'static str, needs: &'static [&'static str]) -> Self {
        let role = Role::Part { needs };
        Self { name, role }
    }

    /// The service's own address.
    pub const fn site(name: &'static str, default: &'static str) -> Self {
        let role = Role::Site(default);
        Self { name, role }
    }

    /// Another address.
    pub const fn address(name: &'static str, default: &'static str) -> Self {
        let role = Role::Address(default);
        Self { name, role }
    }

    /// A setting.
    pub const fn option(name: &'static str) -> Self {
        Self::option_with(name, &[])
    }

    /// A setting that says something only beside one of others.
    pub const fn option_with(name: &'static str, needs: &'static [&'static str]) -> Self {
        let role = Role::Option { needs };
        Self { name, role }
    }

    /// Its name where a number stands for itself: `CN_ACCOUNT_1_COOKIE`.
    pub fn first_name(&self) -> String {
        self.name.replace('#', "1")
    }

    /// One of these has to be there as well; empty where it stands alone.
    pub fn needs(&self) -> &'static [&'static str] {
        match self.role {
            Role::Credential { needs, .. } | Role::Part { needs } | Role::Option { needs } => needs,
            Role::Site(_) | Role::Address(_) => &[],
        }
    }
}

impl Card {
    /// The credentials, each with where it is found.
    pub fn credentials(&self) -> impl Iterator<Item = (&'static Variable, &'static str)> {
        self.variables
            .iter()
            .filter_map(|variable| match variable.role {
                Role::Credential { found, .. } => Some((variable, found)),
                _ => None,
            })
    }

    /// The variable of the service's own address, and its default.
    pub fn site(&self) -> Option<(&'static str, &'static str)> {
        self.variables
            .iter()
            .find_map(|variable| match variable.role {
                Role::Site(default) => Some((variable.name, default)),
                _ => None,
            })
    }

    /// Reads an address of the card.
    pub fn base_url(&self, name: &str, vars: &Vars, problems: &mut Problems) -> String {
        vars.base_url(name, self.default_of(name), problems)
    }

    /// The default of an address of the card.
    pub fn default_of(&self, name: &str) -> &'static str {
        let of = self
            .variables
            .iter()
            .find(|variable| variable.name == name)
            .and_then(|variable| match variable.role {
                Role::Site(default) | Role::Address(default) => Some(default),
                _ => None,
            });
        debug_assert!(of.is_some(), "{name} is no address of {}'s card", self.name);
        of.unwrap_or_default()
    }

    /// "set KIMI_TOKEN (where it is found)": for the error that says that there is no account. `number` is the account's.
    pub fn how_to_configure(&self, number: usize) -> String {
        let mut words = String::new();
        for (variable, found) in self.credentials() {
            let name = variable.name.replace('#', &number.to_string());
            // Writing to a String cannot fail.
            let _ = write!(
                words,
                "{} {name}",
                if words.is_empty() { "set" } else { ", or" }
            );
            if let [need, ..] = variable.needs() {
                let _ = write!(words, " with {}", need.replace('#', &number.to_string()));
            }
            if !found.is_empty() {
                let _ = write!(words, " ({found})");
            }
        }
        words
    }
}

/// The cards for scripts (`hive2api-worker variables`): a line a variable with the provider's name, the role in one word, the
/// name, and where a credential is found or what an address is by default, between tabs.
pub fn listing(cards: &[&Card]) -> String {
    let mut lines = String::new();
    for card in cards {
        for variable in card.variables {
            let (role, more) = match variable.role {
                Role::Credential { found, .. } => ("credential", found),
                Role::Part { .. } => ("part", ""),
                Role::Site(default) => ("site", default),
                Role::Address(default) => ("address", default),
                Role::Option { .. } => ("option", ""),
            };
            let name = variable.first_name();
            let _ = writeln!(lines, "{}\t{role}\t{name}\t{more}", card.name);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{
        doctor::names,
        providers::registry::PROVIDERS,
        settings::{Settings, is_credential, recorded},
    };

    /// The variables of `.env.example` with their values, in order.
    fn example() -> Vec<(String, String)> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.env.example");
        let text = std::fs::read_to_string(path).unwrap();
        let pair = |line: &str| {
            let (name, value) = line.trim_start_matches('#').split_once('=')?;
            let is_name = name
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            is_name.then(|| (name.to_owned(), value.to_owned()))
        };
        text.lines().filter_map(pair).collect()
    }

    #[test]
    fn the_example_shows_what_the_cards_state() {
        let example: BTreeMap<String, String> = example().into_iter().collect();
        for card in PROVIDERS {
            for variable in card.variables {
                let name = variable.first_name();
                let Some(value) = example.get(&name) else {
                    panic!("{name} of {}'s card is missing in .env.example", card.name);
                };
                if let Role::Site(default) | Role::Address(default) = variable.role
                    && !default.is_empty()
                {
                    assert_eq!(value, default, "the default of {name}");
                }
                let is_secret =
                    matches!(variable.role, Role::Credential { .. } | Role::Part { .. });
                assert!(
                    !is_secret || is_credential(&name),
                    "{name} is no secret to the settings"
                );
            }
        }
    }

    #[test]
    fn every_card_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = PROVIDERS.iter().map(|card| card.name).collect();
        assert_eq!(names.len(), PROVIDERS.len());
        for card in PROVIDERS {
            assert!(card.credentials().next().is_some(), "{}", card.name);
        }
    }

    /// What a provider reads and does not state would be unknown to doctor and to the example.
    #[test]
    fn providers_read_what_their_cards_state_and_nothing_else() {
        let mut problems = Problems::default();
        let vars = Vars::new(PROVIDERS.iter().flat_map(|card| {
            let credentials = card
                .credentials()
                .map(|(variable, _)| variable.first_name());
            credentials.map(|name| (name, "eyJhbGciOiJub25lIn0.e30.x"))
        }));
        let settings = Settings::read(&vars, &mut problems);
        let general: BTreeSet<&str> = names::GENERAL.iter().copied().collect();
        for card in PROVIDERS {
            let stated: BTreeSet<&str> = card
                .variables
                .iter()
                .map(|variable| variable.name)
                .collect();
            let asked = recorded(|| {
                for provider in (card.configure)(&vars, &settings, &mut problems) {
                    drop(provider.renew(&vars, &mut problems));
                }
            });
            for name in asked {
                let plain = names::without_numbers(&name);
                let is = |stated: &str| {
                    let stated = names::without_numbers(stated);
                    plain == stated || plain.strip_suffix("_#") == Some(stated.as_str())
                };
                assert!(
                    stated.iter().any(|name| is(name)) || general.contains(name.as_str()),
                    "{} reads {name}, which its card does not state",
                    card.name
                );
            }
        }
    }

    #[test]
    fn says_how_to_get_an_account() {
        for card in PROVIDERS {
            let how = card.how_to_configure(1);
            let (first, _) = card.credentials().next().unwrap();
            assert!(
                how.starts_with(&format!("set {}", first.first_name())),
                "{how}"
            );
        }
    }
}
