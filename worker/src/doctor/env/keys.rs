//! The keys that clients present: not empty, not a placeholder, not short.

use crate::{
    doctor::{
        compose::Role,
        finding::{Finding, Location, Rule},
        setup::Setup,
    },
    settings,
};

/// Shorter keys can be tried out.
const LEAST_CHARACTERS: usize = 16;

/// What examples and tutorials put there. Compared without capitals and punctuation.
const PLACEHOLDERS: &[&str] = &[
    "1",
    "0",
    "12",
    "123",
    "1234",
    "12345",
    "123456",
    "12345678",
    "123456789",
    "1234567890",
    "a",
    "abc",
    "abc123",
    "admin",
    "apikey",
    "changeit",
    "changeme",
    "default",
    "example",
    "foo",
    "key",
    "masterkey",
    "none",
    "null",
    "password",
    "placeholder",
    "secret",
    "sk",
    "sk1",
    "sk12",
    "sk123",
    "sk1234",
    "sk12345",
    "sk123456",
    "skabc",
    "skchangeme",
    "skdefault",
    "skexample",
    "skkey",
    "sktest",
    "sksecret",
    "skxxx",
    "skxxxx",
    "test",
    "testkey",
    "token",
    "xxx",
    "xxxx",
    "xxxxxx",
];

/// Words that only a text about a key has in it.
const TELLTALES: &[&str] = &[
    "your",
    "changeme",
    "replacethis",
    "replaceme",
    "placeholder",
    "putyour",
    "secretkey",
    "masterkey",
    "apikeyhere",
    "xxxxxxxx",
];

const DEFAULT_KEY: Rule = Rule::error(
    "default-key",
    "It stands in a public example, so anybody who finds the port spends your accounts.",
    "Make one: echo \"sk-$(openssl rand -hex 24)\".",
);
const SHORT_KEY: Rule = Rule::warning(
    "short-key",
    "Short keys are found by trying.",
    "Take at least 16 characters, best random ones: echo \"sk-$(openssl rand -hex 24)\".",
);
const OPEN_TO_ALL: Rule = Rule::error(
    "open-to-all",
    "Everybody who can reach the port may use your accounts without a key.",
    "Set API_MASTER_KEY and delete ALLOW_ANONYMOUS, or publish the port on 127.0.0.1 only.",
);
const ANONYMOUS: Rule = Rule::warning(
    "anonymous",
    "Whoever can reach the port may use your accounts without a key.",
    "Set API_MASTER_KEY and delete ALLOW_ANONYMOUS, unless nobody else can reach it.",
);

/// All of the above. Each file and each compose environment is looked at by itself: a bad key that is overridden
/// today counts tomorrow.
pub(crate) fn check(setup: &Setup, found: &mut Vec<Finding>) {
    for (name, value, place) in setup.every_assignment() {
        match name {
            "API_MASTER_KEY" => found.extend(key(name, &value, place)),
            "API_KEYS" => {
                for (at, entry) in value.split(',').enumerate() {
                    // Not the name: who mixes the two up has the key there.
                    let secret = entry.split_once(':').map_or(entry, |(_, key)| key);
                    found.extend(key(&format!("API_KEYS: key {}", at + 1), secret, place));
                }
            }
            _ => {}
        }
    }
    found.extend(anonymous(setup));
}

fn key(name: &str, value: &str, place: &Location) -> Option<Finding> {
    let value = value.trim().trim_matches(['"', '\'', '“', '”']);
    if value.is_empty() {
        // The settings themselves complain about it, where it counts.
        return None;
    }
    if is_placeholder(value) {
        return Some(DEFAULT_KEY.at(place, format!("{name} is a well-known placeholder")));
    }
    (value.chars().count() < LEAST_CHARACTERS).then(|| {
        let what = format!("{name} has fewer than {LEAST_CHARACTERS} characters");
        SHORT_KEY.at(place, what)
    })
}

fn is_placeholder(value: &str) -> bool {
    let plain: String = value
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    let is_one_character = plain
        .chars()
        .next()
        .is_none_or(|first| plain.chars().all(|c| c == first));
    is_one_character
        || settings::is_placeholder("API_MASTER_KEY", value)
        || PLACEHOLDERS.contains(&plain.as_str())
        || TELLTALES.iter().any(|word| plain.contains(word))
        || value
            .chars()
            .any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

fn anonymous(setup: &Setup) -> Option<Finding> {
    if !setup.settings.http.allow_anonymous {
        return None;
    }
    let place = setup.place_of("ALLOW_ANONYMOUS")?;
    let what = "ALLOW_ANONYMOUS lets requests without a key in";
    let services = setup.compose.iter().flat_map(|file| &file.services);
    let published = services.filter(|service| service.role != Role::Other);
    let mut ports = published.flat_map(|service| &service.ports);
    let is_open = ports.any(|port| !port.is_loopback && port.published.is_some());
    let rule = if is_open { &OPEN_TO_ALL } else { &ANONYMOUS };
    Some(rule.at(place, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_placeholders_from_keys() {
        for value in [
            "1",
            "sk-123",
            "your-key",
            "changeme",
            "Change-Me",
            "sk-your-secret-key",
            "sk-xxxxxxxxxxxx",
            "aaaaaaaaaaaaaaaaaaaa",
            "your_api_master_key_here",
            "填写你的密钥",
            "----",
        ] {
            assert!(is_placeholder(value), "{value}");
        }
        for value in ["sk-2f7c1e0b9a8d4c55", "correct horse battery", "hunter2"] {
            assert!(!is_placeholder(value), "{value}");
        }
    }
}
