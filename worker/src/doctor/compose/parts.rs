//! The parts of a service, whichever of compose's ways of writing them was chosen.

use super::{Role, Service, yaml::Node};
use crate::{
    doctor::{
        finding::Location,
        setup::{Lookup, interpolated},
    },
    impossible::OrImpossible as _,
};

/// One entry of `ports`.
#[derive(Debug)]
pub(crate) struct Port {
    /// On the host; `None`: any free one.
    pub(crate) published: Option<String>,
    /// In the container.
    pub(crate) target: String,
    /// Only this machine can reach it.
    pub(crate) is_loopback: bool,
    pub(crate) place: Location,
}

/// One entry of `environment`.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// `None`: taken from the environment of compose.
    pub(crate) value: Option<String>,
    /// `- NAME=value`: quotes in it stay.
    pub(crate) is_in_list: bool,
    pub(crate) place: Location,
}

/// One entry of `env_file`.
#[derive(Debug)]
pub(crate) struct EnvFileEntry {
    pub(crate) path: String,
    /// `format: raw`: no `$`, no quotes.
    pub(crate) is_raw: bool,
    pub(crate) place: Location,
}

/// One entry of `volumes`.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) source: String,
    pub(crate) place: Location,
}

impl Service {
    /// Reads one; its role is found out later.
    pub(super) fn read(name: &str, place: &Location, node: &Node, lookup: &Lookup<'_>) -> Self {
        let at = |line| Location::new(&place.file, line);
        let text = |key: &str| {
            let value = node.get(key)?;
            Some((value.text()?.to_owned(), at(value.line)))
        };
        let filled = |text: &str| interpolated(text, lookup);
        let replicas = node
            .get("scale")
            .or_else(|| node.get("deploy")?.get("replicas"));
        Self {
            name: name.to_owned(),
            place: place.clone(),
            role: Role::Other,
            image: text("image"),
            is_built: node.get("build").is_some(),
            container_name: text("container_name").map(|(_, place)| place),
            replicas: replicas
                .and_then(|count| Some((filled(count.text()?).parse().ok()?, at(count.line)))),
            stop_grace: text("stop_grace_period")
                .and_then(|(grace, place)| Some((seconds(&filled(&grace))?, place))),
            user: text("user"),
            privileged: text("privileged")
                .filter(|(is, _)| is == "true")
                .map(|(_, place)| place),
            network_mode: text("network_mode"),
            depends_on: names(node.get("depends_on")),
            ports: each(node.get("ports"))
                .map(|one| port(one, &filled, at(one.line)))
                .collect(),
            environment: environment(node.get("environment"), &at),
            env_files: env_files(node.get("env_file"), &at),
            mounts: each(node.get("volumes"))
                .filter_map(|one| {
                    Some(Mount {
                        source: source(one)?,
                        place: at(one.line),
                    })
                })
                .collect(),
        }
    }
}

fn each(node: Option<&Node>) -> impl Iterator<Item = &Node> {
    node.map(Node::items).unwrap_or_default().iter()
}

/// A list of names, or a map whose keys they are.
fn names(node: Option<&Node>) -> Vec<String> {
    let listed = each(node).filter_map(|one| one.text().map(str::to_owned));
    let keys = node.map(Node::entries).unwrap_or_default();
    listed
        .chain(keys.iter().map(|(key, _, _)| key.clone()))
        .collect()
}

/// `[[host ip:]published:]target[/protocol]`, or the long form.
fn port(node: &Node, filled: &dyn Fn(&str) -> String, place: Location) -> Port {
    let Some(text) = node.text() else {
        let text = |key| filled(node.text_of(key).unwrap_or_default());
        return Port {
            published: node.text_of("published").map(filled),
            target: text("target"),
            is_loopback: is_loopback(&text("host_ip")),
            place,
        };
    };
    let mut parts = split(&filled(text));
    let target = parts.pop().unwrap_or_default();
    let published = parts.pop().filter(|port| !port.is_empty());
    Port {
        published,
        target: target
            .split('/')
            .next()
            .or_impossible("a split has one part at least")
            .to_owned(),
        is_loopback: is_loopback(&parts.join(":")),
        place,
    }
}

fn is_loopback(address: &str) -> bool {
    address.starts_with("127.") || address == "localhost" || address.contains("::1")
}

/// At the colons outside of `${…}` and `[…]`.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0_i32);
    for c in text.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ':' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

fn environment(node: Option<&Node>, at: &dyn Fn(usize) -> Location) -> Vec<Entry> {
    let listed = each(node).filter_map(|one| {
        let text = one.text()?;
        let (name, value) = text
            .split_once('=')
            .map_or((text, None), |(name, value)| (name, Some(value)));
        Some(Entry {
            name: name.trim().to_owned(),
            value: value.map(str::to_owned),
            is_in_list: true,
            place: at(one.line),
        })
    });
    let mapped = node.map(Node::entries).unwrap_or_default().iter();
    let mapped = mapped.map(|(name, line, value)| Entry {
        name: name.clone(),
        value: value.text().map(str::to_owned),
        is_in_list: false,
        place: at(*line),
    });
    listed.chain(mapped).collect()
}

fn env_files(node: Option<&Node>, at: &dyn Fn(usize) -> Location) -> Vec<EnvFileEntry> {
    let one = node.filter(|node| node.text().is_some()).into_iter();
    let entry = |node: &Node| {
        let path = node.text().or_else(|| node.text_of("path"))?;
        Some(EnvFileEntry {
            path: path.to_owned(),
            is_raw: node.text_of("format") == Some("raw"),
            place: at(node.line),
        })
    };
    one.chain(each(node)).filter_map(entry).collect()
}

/// What is mounted: `source:target[:mode]`, or the long form.
fn source(node: &Node) -> Option<String> {
    match node.text() {
        Some(text) => split(text).into_iter().next(),
        None => node.text_of("source").map(str::to_owned),
    }
}

/// Compose's times: `1m30s`, `500ms`.
fn seconds(text: &str) -> Option<f64> {
    let (mut total, mut number) = (0.0, String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let factor = match c {
            '0'..='9' | '.' => {
                number.push(c);
                continue;
            }
            'h' => 3_600.0,
            'm' if chars.next_if_eq(&'s').is_some() => 0.001,
            'm' => 60.0,
            's' => 1.0,
            _ => return None,
        };
        total += std::mem::take(&mut number).parse::<f64>().ok()? * factor;
    }
    number.is_empty().then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::compose::yaml;

    fn service(text: &str) -> Service {
        let node = yaml::parse(text).unwrap();
        Service::read("s", &Location::new(&"f".into(), 1), &node, &|_| None)
    }

    #[test]
    fn reads_ports_in_every_form() {
        let service = service(
            "ports:\n- \"${A:-${B:-1}}:2\"\n- 127.0.0.1:3:4/tcp\n- \"5\"\n- {target: 6, published: 7}\n- \"[::1]:8:9\"",
        );
        let seen: Vec<_> = service
            .ports
            .iter()
            .map(|p| (p.published.as_deref(), p.target.as_str(), p.is_loopback))
            .collect();
        assert_eq!(
            seen,
            [
                (Some("1"), "2", false),
                (Some("3"), "4", true),
                (None, "5", false),
                (Some("7"), "6", false),
                (Some("8"), "9", true),
            ]
        );
    }

    #[test]
    fn reads_environments_files_and_mounts_in_every_form() {
        let list = service(
            "environment:\n- A=1\n- B\nenv_file: .env\nvolumes: ['./.env:/app/.env:ro']\ndepends_on: [x]",
        );
        let map = service(
            "environment: {A: 1, B: }\nenv_file: [{path: .env, format: raw}]\nvolumes: [{type: bind, source: ./.env, target: /x}]\ndepends_on: {x: {condition: c}}",
        );
        for service in [&list, &map] {
            let seen: Vec<_> = service
                .environment
                .iter()
                .map(|e| (e.name.as_str(), e.value.as_deref()))
                .collect();
            assert_eq!(seen, [("A", Some("1")), ("B", None)]);
            assert_eq!(service.env_files[0].path, ".env");
            assert_eq!(service.mounts[0].source, "./.env");
            assert_eq!(service.depends_on, ["x"]);
        }
        assert!(map.env_files[0].is_raw && !list.env_files[0].is_raw);
    }

    #[test]
    fn reads_times() {
        for (text, value) in [
            ("1m30s", Some(90.0)),
            ("500ms", Some(0.5)),
            ("2h", Some(7200.0)),
            ("5", None),
            ("x", None),
        ] {
            assert_eq!(seconds(text), value, "{text}");
        }
    }
}
