//! What becomes of credentials on their way through compose.

use super::{Entry, Role, Service};
use crate::doctor::{
    finding::{Finding, Rule},
    names,
    setup::{self, Setup},
};

const ENV_FILE: Rule = Rule::warning(
    "env-file",
    "Compose cuts `$…` out of values, and what it has read once stays until the container is made anew: a renewed credential is not noticed.",
    "Mount the folder with the file and name it in ACCOUNTS_FILE, as compose/compose.yaml does.",
);
const SINGLE_FILE: Rule = Rule::warning(
    "single-file-mount",
    "Editors save by renaming: the container keeps the old file, and a renewed credential is not noticed.",
    "Mount the folder that holds the file, read-only, and name the file in ACCOUNTS_FILE.",
);
const IN_COMPOSE: Rule = Rule::warning(
    "secret-in-compose",
    "Compose files are committed and shown by `docker inspect`; and this value beats the one in the worker's own file.",
    "Move it to the worker's .env.",
);
const DOLLAR: Rule = Rule::error(
    "dollar-eaten",
    "Compose takes `$name` for a variable and cuts it out, so the service sees a broken credential.",
    "Write `$$` for each `$`, or better move the value to the worker's .env in single quotes.",
);
const QUOTES: Rule = Rule::note(
    "quotes-in-value",
    "In a list, the quotes behind `=` are part of the value; the worker takes them off, other programs do not.",
    "Quote the whole entry: - 'NAME=value'.",
);
const SHADOWED: Rule = Rule::warning(
    "shadowed",
    "The environment beats the file, so a change of the file has no effect.",
    "Keep the value in one place; an entry without a value (`NAME:`) leaves the file's in force.",
);

/// All of the above, for one service.
pub(super) fn check(setup: &Setup, service: &Service, found: &mut Vec<Finding>) {
    if service.role != Role::Worker {
        return;
    }
    for file in service.env_files.iter().filter(|file| !file.is_raw) {
        let what = format!(
            "service {} reads {} through env_file",
            service.name, file.path
        );
        found.push(ENV_FILE.at(&file.place, what));
    }
    for mount in &service.mounts {
        if mount
            .source
            .rsplit('/')
            .next()
            .is_some_and(|name| name.ends_with(".env"))
        {
            let what = format!(
                "service {} mounts {} as a single file",
                service.name, mount.source
            );
            found.push(SINGLE_FILE.at(&mount.place, what));
        }
    }
    for entry in &service.environment {
        found.extend(dollar(entry));
        found.extend(quotes(entry));
        found.extend(in_compose(entry));
        found.extend(shadowed(setup, entry));
    }
}

/// `${NAME}` is meant; what is left after those and `$$` is not.
fn dollar(entry: &Entry) -> Option<Finding> {
    let mut rest = entry.value.as_deref()?;
    let mut is_eaten = false;
    while let Some((_, after)) = rest.split_once('$') {
        rest = if let Some(after) = after.strip_prefix('$') {
            after
        } else if let Some((_, after)) = setup::braced(after) {
            after
        } else {
            is_eaten = true;
            after
        };
    }
    let is_literal = names::is_credential(&entry.name) || rest.contains([';', '=']);
    (is_eaten && is_literal).then(|| {
        let what = format!("a `$` in {} is taken for a variable", entry.name);
        DOLLAR.at(&entry.place, what)
    })
}

fn quotes(entry: &Entry) -> Option<Finding> {
    let value = entry.value.as_deref().filter(|_| entry.is_in_list)?.trim();
    let is_quoted = |quote| value.len() > 1 && value.starts_with(quote) && value.ends_with(quote);
    (is_quoted('"') || is_quoted('\'')).then(|| {
        let what = format!("the quotes around the value of {} stay in it", entry.name);
        QUOTES.at(&entry.place, what)
    })
}

fn in_compose(entry: &Entry) -> Option<Finding> {
    let value = entry.value.as_deref()?.trim();
    let is_filled_in = value.contains("${") || value.is_empty();
    (names::is_credential(&entry.name) && !is_filled_in).then(|| {
        IN_COMPOSE.at(
            &entry.place,
            format!("the value of {} stands in the compose file", entry.name),
        )
    })
}

/// Two files say something about one name, and differ.
fn shadowed(setup: &Setup, entry: &Entry) -> Option<Finding> {
    let value = setup.interpolated(entry.value.as_deref()?);
    let mut files = setup.env.iter();
    let own = files.find_map(|file| {
        file.get(&entry.name)
            .filter(|own| !own.value.trim().is_empty())
    })?;
    let is_container_only = ["HOST", "PORT", "ACCOUNTS_FILE"].contains(&entry.name.as_str());
    (own.value != value && !value.trim().is_empty() && !is_container_only).then(|| {
        let what = format!(
            "{} stands here and in {}:{} with another value",
            entry.name, own.place.file, own.place.line
        );
        SHADOWED.at(&entry.place, what)
    })
}

#[cfg(test)]
mod tests {
    use super::super::codes;

    fn environment(env: &str, lines: &str) -> Vec<String> {
        let text = format!(
            "services:\n  worker:\n    build: .\n    user: x\n    stop_grace_period: 140s\n{lines}"
        );
        codes(env, &text, "")
    }

    #[test]
    fn finds_what_compose_does_to_values() {
        for (lines, expected) in [
            ("    env_file: .env", "env-file:6 Warning"),
            ("    env_file: [{path: .env, format: raw}]", ""),
            (
                "    volumes: ['./.env:/app/.env']",
                "single-file-mount:6 Warning",
            ),
            (
                "    volumes: ['.:/config:ro']\n    environment: {ACCOUNTS_FILE: /config/.env}",
                "",
            ),
            (
                "    environment:\n      API_MASTER_KEY: sk-1",
                "secret-in-compose:7 Warning",
            ),
            (
                "    environment:\n      API_MASTER_KEY: ${API_MASTER_KEY}",
                "",
            ),
            (
                "    environment:\n      API_MASTER_KEY:\n      LOG_LEVEL: $LEVEL",
                "",
            ),
        ] {
            let expected: Vec<&str> = Some(expected)
                .into_iter()
                .filter(|e| !e.is_empty())
                .collect();
            assert_eq!(environment("", lines), expected, "{lines}");
        }
        let lines = "    environment:\n      - QWEN_TOKEN=a$b\n      - API_MASTER_KEY=\"x\"\n      - GT_TOKEN=a$$b";
        let found = environment("", lines);
        for code in ["dollar-eaten:7 Error", "quotes-in-value:8 Note"] {
            assert!(found.contains(&code.to_owned()), "{found:?}");
        }
        assert!(!found.contains(&"dollar-eaten:9 Error".to_owned()));
    }

    #[test]
    fn what_compose_sets_beats_the_file() {
        let lines = "    environment:\n      ALLOW_ANONYMOUS: 'false'\n      API_MASTER_KEY: ";
        assert_eq!(
            environment("ALLOW_ANONYMOUS=true\nAPI_MASTER_KEY=x", lines),
            ["shadowed:7 Warning"]
        );
        assert!(environment("ALLOW_ANONYMOUS=false", lines).is_empty());
    }
}
