//! What a provider states about itself: the one place for its names, its variables and its addresses. Settings, doctor,
//! the scripts (`hive2api-worker variables`), the docs page and the tests ask the cards of
//! [`super::registry::PROVIDERS`] instead of listing providers. Source: design.md sections 1 and 5.

use std::fmt::Write as _;

use super::Configure;
use crate::{
    accounts::copied::Copied,
    settings::{Problems, Vars},
};

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
    /// Where one request of its site, as a person copies it, has what an account is made of; of the credentials the first one
    /// that is there is enough.
    pub copied: &'static [(&'static str, Place)],
}

/// Where a request has the value of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The whole `Cookie` header, where it has all of these.
    Cookies(&'static [&'static str]),
    /// The whole `Cookie` header, where it has one of these.
    AnyCookie(&'static [&'static str]),
    /// A header, in lower case.
    Header(&'static str),
}

impl Place {
    /// What a request has there.
    pub fn of<'a>(&self, request: &'a Copied) -> Option<&'a str> {
        match self {
            Self::Cookies(names) => request.cookies(names, false),
            Self::AnyCookie(names) => request.cookies(names, true),
            Self::Header(name) => request.header(name),
        }
    }

    /// Whether cookies tell that the request is this provider's, wherever it went.
    fn is_telling(&self) -> bool {
        matches!(self, Self::Cookies(_) | Self::AnyCookie(_))
    }
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

    /// The number that a name of this variable has: the 12 of `CN_ACCOUNT_12_COOKIE`.
    pub fn number_in<'a>(&self, name: &'a str) -> Option<&'a str> {
        let (before, behind) = self.name.split_once('#')?;
        let number = name.strip_prefix(before)?.strip_suffix(behind)?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then_some(number)
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

    /// What a copied request has of an account: names of variables with their values; empty where no credential is in it.
    pub fn found_in<'a>(&self, request: &'a Copied) -> Vec<(&'static str, &'a str)> {
        let found: Vec<_> = self
            .copied
            .iter()
            .filter_map(|(name, place)| Some((*name, place.of(request)?)))
            .collect();
        let is_credential = |name: &str| {
            self.credentials()
                .any(|(variable, _)| variable.name == name)
        };
        if found.iter().any(|(name, _)| is_credential(name)) {
            found
        } else {
            Vec::new()
        }
    }

    /// Whether a copied request is one of this provider's by its cookies.
    pub fn is_told_by_cookies(&self, request: &Copied) -> bool {
        self.copied
            .iter()
            .any(|(_, place)| place.is_telling() && place.of(request).is_some())
    }

    /// Whether a host is one of this provider's: one of its addresses, or what lies below the same name.
    pub fn is_host(&self, host: &str, vars: &Vars) -> bool {
        let addresses = self
            .variables
            .iter()
            .filter_map(|variable| match variable.role {
                Role::Site(default) | Role::Address(default) => {
                    Some(vars.get(variable.name).unwrap_or(default))
                }
                _ => None,
            });
        let mut hosts = addresses.filter_map(|address| {
            let (_, rest) = address.split_once("://")?;
            let host = rest.split([':', '/']).next()?;
            Some(host.strip_prefix("www.").unwrap_or(host))
        });
        let host = host.strip_prefix("www.").unwrap_or(host);
        let is_below = |low: &str, high: &str| {
            low.strip_suffix(high)
                .is_some_and(|rest| rest.ends_with('.'))
        };
        !host.is_empty()
            && hosts.any(|own| own == host || is_below(own, host) || is_below(host, own))
    }

    /// The variable that a bare credential goes into: one that is no cookie, else the first.
    pub fn bare(&self) -> Option<&'static str> {
        let is_header = |name: &str| {
            let mut places = self.copied.iter();
            places.any(|(it, place)| *it == name && !place.is_telling())
        };
        let first = self.credentials().map(|(variable, _)| variable.name).next();
        let mut names = self.credentials().map(|(variable, _)| variable.name);
        names.find(|name| is_header(name)).or(first)
    }

    /// The names of what an account is made of.
    pub fn account_variables(&self) -> impl Iterator<Item = &'static str> {
        let is_part = |role: &Role| matches!(role, Role::Credential { .. } | Role::Part { .. });
        self.variables
            .iter()
            .filter(move |variable| is_part(&variable.role))
            .map(|variable| variable.name)
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
