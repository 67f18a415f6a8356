//! Whose credential it is that somebody has copied, and which parts of it are wanted: asked of the providers' cards. Pure.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    accounts::copied::{self, Copied},
    providers::Provider,
    settings::Vars,
};

/// What was copied, and for whom.
#[derive(Debug)]
pub struct Search<'a> {
    /// The providers.
    pub providers: &'a [Arc<dyn Provider>],
    /// The settings, for addresses that are others than usual.
    pub vars: &'a Vars,
    /// The one that is named.
    pub named: Option<&'a str>,
}

/// A provider, and the values of its card's variables.
pub type Found = (Arc<dyn Provider>, BTreeMap<String, String>);

/// Why nothing was found. Sentences for a person; none of what was copied is in them.
pub type Why = String;

impl Search<'_> {
    /// Those that accounts can be added to, and that are meant.
    fn meant(&self) -> Result<Vec<&Arc<dyn Provider>>, Why> {
        let can_add = |it: &&Arc<dyn Provider>| !it.card().copied.is_empty();
        let able: Vec<_> = self.providers.iter().filter(can_add).collect();
        let Some(named) = self.named else {
            return Ok(able);
        };
        let of_name = able.iter().copied().filter(|it| it.name() == named);
        let of_name: Vec<_> = of_name.collect();
        if of_name.is_empty() {
            let names: Vec<&str> = able.iter().map(|it| it.name()).collect();
            return Err(format!(
                "There is no provider of this name that accounts can be added to. There are: {}.",
                names.join(", ")
            ));
        }
        Ok(of_name)
    }

    /// In a text: a cURL command, a cookie, a header, or else a token, for which the provider has to be named.
    ///
    /// # Errors
    /// [`Why`].
    pub fn in_text(&self, text: &str) -> Result<Found, Why> {
        if let Some(copied) = copied::text(text) {
            return self.in_requests([copied]);
        }
        let meant = self.meant()?;
        let (Some(_), [provider]) = (self.named, meant.as_slice()) else {
            return Err(
                "This looks like a bare token, which does not say whose it is: name the `provider`."
                    .to_owned(),
            );
        };
        let variable = provider.card().bare();
        let variable = variable.ok_or("This provider has no credential.")?;
        let name = of_lane(provider, variable);
        let values = BTreeMap::from([(name, text.trim().to_owned())]);
        Ok((Arc::clone(provider), values))
    }

    /// In requests, the newest one first: what one of them lacks another one may have.
    ///
    /// # Errors
    /// [`Why`].
    pub fn in_requests(&self, requests: impl IntoIterator<Item = Copied>) -> Result<Found, Why> {
        let meant = self.meant()?;
        // By place in `meant`: what the requests to its hosts have, and what others with its cookies have.
        let mut by_host: BTreeMap<usize, BTreeMap<String, String>> = BTreeMap::new();
        let mut by_cookie = by_host.clone();
        for request in requests {
            for (at, provider) in meant.iter().enumerate() {
                let card = provider.card();
                let is_host = card.is_host(&request.host, self.vars);
                let found = match () {
                    () if is_host || self.named.is_some() => &mut by_host,
                    () if card.is_told_by_cookies(&request) => &mut by_cookie,
                    () => continue,
                };
                for (name, value) in card.found_in(&request) {
                    let values = found.entry(at).or_default();
                    values
                        .entry(of_lane(provider, name))
                        .or_insert_with(|| value.to_owned());
                }
            }
        }
        let mut found = if by_host.is_empty() {
            by_cookie
        } else {
            by_host
        };
        let of = |at: &usize| meant.get(*at).map(|it| it.name());
        match (found.len(), found.pop_first()) {
            (1, Some((at, values))) => {
                let provider = meant.get(at).copied().map(Arc::clone);
                Ok((provider.ok_or("There is no such provider.")?, values))
            }
            (_, None) => Err(
                "No credential of any provider is in it. Copy a request to the provider's own site, made while signed in, with its cookies and headers (browsers leave them out of a HAR file unless told otherwise)."
                    .to_owned(),
            ),
            (_, Some((first, _))) => {
                let names: Vec<&str> = of(&first).into_iter().chain(found.keys().filter_map(of)).collect();
                Err(format!(
                    "It may be of several providers: name one of them as `provider`: {}.",
                    names.join(", ")
                ))
            }
        }
    }

    /// In variables as the settings have them, with or without a number.
    ///
    /// # Errors
    /// [`Why`].
    pub fn in_values(&self, values: &BTreeMap<String, String>) -> Result<Found, Why> {
        for provider in self.meant()? {
            let card = provider.card();
            let own = |name: &str| {
                let known = card
                    .account_variables()
                    .map(|known| of_lane(provider, known));
                let is_it = |known: &str| known == name || known.replace('#', "1") == name;
                known.into_iter().find(|known| is_it(known))
            };
            let found: Option<BTreeMap<String, String>> = values
                .iter()
                .map(|(name, value)| Some((own(name)?, value.clone())))
                .collect();
            if let Some(found) = found.filter(|found| !found.is_empty()) {
                return Ok((Arc::clone(provider), found));
            }
        }
        Err("`values` names variables that no single provider has for its accounts.".to_owned())
    }
}

/// A variable's name as this provider has it.
fn of_lane(provider: &Arc<dyn Provider>, name: &str) -> String {
    let lane = provider.lane();
    lane.map_or_else(
        || name.to_owned(),
        |lane| name.replace('#', &lane.to_string()),
    )
}
