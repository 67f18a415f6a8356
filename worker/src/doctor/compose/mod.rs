//! Compose files: their services, who plays which part, and what is wrong with them. The checks: how a service is run
//! ([`service`]), and what its environment does to credentials ([`environment`]).

mod environment;
mod parts;
mod service;
mod yaml;

use std::{collections::BTreeSet, sync::Arc};

pub(super) use self::parts::{Entry, EnvFileEntry, Mount, Port};
use self::yaml::Node;
use super::{
    finding::{Finding, Location, Rule},
    setup::{self, Lookup, Setup},
};

use crate::impossible::OrImpossible as _;

const SYNTAX: Rule = Rule::error(
    "compose-syntax",
    "compose does not start with such a file.",
    "Ask compose itself: docker compose config.",
);

/// Which part a service plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It stands in front.
    Nginx,
    /// It answers questions.
    Worker,
    /// Something else: a store, a simulator, Prometheus.
    Other,
}

/// One compose file.
#[derive(Debug)]
pub(crate) struct ComposeFile {
    pub(crate) file: Arc<str>,
    pub(crate) services: Vec<Service>,
    /// The names of `${NAME}`.
    pub(crate) interpolated: BTreeSet<String>,
    /// The line of the obsolete `version`.
    version: Option<usize>,
    broken: Option<usize>,
}

/// One service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) place: Location,
    pub(crate) role: Role,
    pub(crate) image: Option<(String, Location)>,
    pub(crate) is_built: bool,
    pub(crate) container_name: Option<Location>,
    /// `deploy.replicas` or `scale`.
    pub(crate) replicas: Option<(u32, Location)>,
    /// Seconds.
    pub(crate) stop_grace: Option<(f64, Location)>,
    pub(crate) user: Option<(String, Location)>,
    pub(crate) privileged: Option<Location>,
    pub(crate) network_mode: Option<(String, Location)>,
    pub(crate) depends_on: Vec<String>,
    pub(crate) ports: Vec<Port>,
    pub(crate) environment: Vec<Entry>,
    pub(crate) env_files: Vec<EnvFileEntry>,
    pub(crate) mounts: Vec<Mount>,
}

impl ComposeFile {
    pub(crate) fn parse(file: &Arc<str>, text: &str, lookup: &Lookup<'_>) -> Self {
        let mut read = Self {
            file: Arc::clone(file),
            services: Vec::new(),
            interpolated: setup::asked(text),
            version: None,
            broken: None,
        };
        let root = match yaml::parse(text) {
            Ok(root) => root,
            Err(malformed) => {
                read.broken = Some(malformed.line);
                return read;
            }
        };
        let version = root.entries().iter().find(|(key, _, _)| key == "version");
        read.version = version.map(|(_, line, _)| *line);
        let services = root.get("services").map(Node::entries).unwrap_or_default();
        read.services = services
            .iter()
            .map(|(name, line, node)| {
                Service::read(name, &Location::new(file, *line), node, lookup)
            })
            .collect();
        read.give_roles();
        read
    }

    /// What nginx waits for is a worker, if it is built here or carries settings of a worker.
    fn give_roles(&mut self) {
        for service in &mut self.services {
            service.role = if service.is_nginx() {
                Role::Nginx
            } else if service.carries_settings() {
                Role::Worker
            } else {
                Role::Other
            };
        }
        let awaited: Vec<String> = self
            .services
            .iter()
            .filter(|service| service.role == Role::Nginx)
            .flat_map(|service| service.depends_on.clone())
            .collect();
        for service in &mut self.services {
            if service.role == Role::Other && service.is_built && awaited.contains(&service.name) {
                service.role = Role::Worker;
            }
        }
    }
}

impl Service {
    /// By its name or its image; not what only looks at nginx (`nginx-exporter`).
    fn is_nginx(&self) -> bool {
        let image = self.image.as_ref().map_or("", |(image, _)| image.as_str());
        let image = image
            .rsplit('/')
            .next()
            .or_impossible("a split has one part at least");
        let is_it = |text: &str| text.contains("nginx") && !text.contains("exporter");
        is_it(&self.name)
            || is_it(
                image
                    .split(':')
                    .next()
                    .or_impossible("a split has one part at least"),
            )
    }

    /// A piece that another compose file completes, so nothing is missing in it.
    fn is_piece(&self) -> bool {
        self.image.is_none() && !self.is_built
    }

    /// Variables of a worker, or the file that they stand in.
    fn carries_settings(&self) -> bool {
        let names = ["API_MASTER_KEY", "ACCOUNTS_FILE", "ALLOW_ANONYMOUS"];
        let is_env = |path: &str| path.ends_with(".env");
        self.environment
            .iter()
            .any(|entry| names.contains(&entry.name.as_str()))
            || self.env_files.iter().any(|file| is_env(&file.path))
            || self.mounts.iter().any(|mount| is_env(&mount.source))
    }
}

/// Everything about compose.
pub(super) fn check(setup: &Setup, found: &mut Vec<Finding>) {
    for file in &setup.compose {
        if let Some(line) = file.broken {
            let what = "this is no YAML, from here on";
            found.push(SYNTAX.at(&Location::new(&file.file, line), what));
        }
        service::version(
            file.version.map(|line| Location::new(&file.file, line)),
            found,
        );
        for service in &file.services {
            service::check(setup, file, service, found);
            environment::check(setup, service, found);
        }
    }
}

#[cfg(test)]
fn codes(env: &str, compose: &str, nginx: &str) -> Vec<String> {
    use super::{
        finding::Report,
        sources::{Kind, Source},
    };
    let source = |kind, path: &str, text: &str| Source {
        kind,
        path: path.into(),
        text: text.to_owned(),
        access: None,
    };
    let sources = [
        source(Kind::Env, ".env", env),
        source(Kind::Compose, "compose.yaml", compose),
        source(Kind::Nginx, "nginx.conf", nginx),
    ];
    let setup = Setup::new(&sources, &|_, _| Vec::new());
    let mut found = Vec::new();
    check(&setup, &mut found);
    let show = |one: &Finding| format!("{}:{} {:?}", one.code, one.line, one.severity);
    Report::new(3, found).findings.iter().map(show).collect()
}
