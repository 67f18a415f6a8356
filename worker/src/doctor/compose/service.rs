//! How services are run: ports, names, numbers, ends, and what they may do to the host.

use super::{ComposeFile, Role, Service};
use crate::doctor::{
    finding::{Finding, Location, Rule, Severity},
    setup::Setup,
};

/// What compose gives a service to stop in.
const DEFAULT_GRACE_SECONDS: f64 = 10.0;

const WORKER_PORT: Rule = Rule::warning(
    "worker-port",
    "Whoever uses this port goes past nginx (its limits, its choice of worker, its guard before /metrics), and a second worker cannot have the same port.",
    "Replace `ports:` by `expose:`; nginx reaches the worker inside the network.",
);
const CONTAINER_NAME: Rule = Rule::warning(
    "container-name",
    "Two containers cannot have one name, so the service cannot be scaled.",
    "Delete the line.",
);
const STOP_GRACE: Rule = Rule::warning(
    "stop-grace",
    "Docker kills it before running answers are complete: users see broken streams at every restart.",
    "stop_grace_period: longer than DRAIN_TIMEOUT and DRAIN_GRACE together (140s for the defaults).",
);
const DEPENDS_ON: Rule = Rule::note(
    "depends-on",
    "nginx refuses to start while the name of a worker is unknown, and `down` ends the workers under its open streams.",
    "depends_on: [worker] at the nginx service.",
);
const NOT_PUBLISHED: Rule = Rule::warning(
    "nginx-not-published",
    "Nobody outside can reach the gateway.",
    "ports: [\"8082:8082\"] at the nginx service.",
);
const PORT_MAPPING: Rule = Rule::error(
    "port-mapping",
    "Connections are refused: nothing listens behind the published port.",
    "The second number of the mapping is the port of nginx's `listen`.",
);
const LATEST: Rule = Rule::warning(
    "latest-tag",
    "The next pull may bring another version, and nobody can say which one runs.",
    "Name a version, best with its digest.",
);
const DOCKER_SOCKET: Rule = Rule::warning(
    "docker-socket",
    "Whoever breaks into this container is root on the host.",
    "Nothing here needs the socket: nginx's watcher follows the workers through DNS. Delete the line.",
);
const ROOT: Rule = Rule::note(
    "root",
    "A process that is broken into can do less as another user.",
    "user: \"10001:10001\", as in compose/compose.yaml.",
);
const PRIVILEGED: Rule = Rule::warning(
    "privileged",
    "The container may do everything on the host.",
    "Delete the line; cap_drop: [ALL] works as well.",
);
const HOST_NETWORK: Rule = Rule::warning(
    "host-network",
    "All replicas share the host's ports, so there can be one only, and its port is open to everybody.",
    "Delete network_mode; let nginx reach the worker inside compose's network.",
);
const VERSION: Rule = Rule::note(
    "obsolete-version",
    "Compose ignores the line and warns about it.",
    "Delete the line.",
);

/// The head of the file.
pub(super) fn version(place: Option<Location>, found: &mut Vec<Finding>) {
    found.extend(place.map(|place| VERSION.at(&place, "`version` is obsolete")));
}

/// Everything but the environment.
pub(super) fn check(
    setup: &Setup,
    file: &ComposeFile,
    service: &Service,
    found: &mut Vec<Finding>,
) {
    found.extend(latest(service));
    docker_socket(service, found);
    let name = &service.name;
    if let Some(place) = &service.privileged {
        found.push(PRIVILEGED.at(place, format!("service {name} is privileged")));
    }
    match service.role {
        Role::Worker => {
            worker_ports(file, service, found);
            found.extend(container_name(service));
            found.extend(stop_grace(setup, service));
            found.extend(root(service));
            if let Some((_, place)) = service
                .network_mode
                .as_ref()
                .filter(|(mode, _)| mode == "host")
            {
                found.push(
                    HOST_NETWORK.at(place, format!("service {name} uses the host's network")),
                );
            }
        }
        Role::Nginx => {
            found.extend(stop_grace(setup, service));
            found.extend(depends_on(file, service));
            nginx_ports(setup, service, found);
        }
        Role::Other => {}
    }
}

fn is_scaled(service: &Service) -> bool {
    service
        .replicas
        .as_ref()
        .is_some_and(|(count, _)| *count > 1)
}

/// A worker alone, without nginx, needs its port.
fn worker_ports(file: &ComposeFile, service: &Service, found: &mut Vec<Finding>) {
    let has_nginx = file.services.iter().any(|other| other.role == Role::Nginx);
    for port in service
        .ports
        .iter()
        .filter(|_| has_nginx || is_scaled(service))
    {
        let severity = match (
            is_scaled(service) && port.published.is_some(),
            port.is_loopback,
        ) {
            (true, _) => Severity::Error,
            (false, true) => Severity::Note,
            (false, false) => WORKER_PORT.severity,
        };
        let what = format!(
            "worker service {} publishes port {}",
            service.name, port.target
        );
        found.push(WORKER_PORT.at(&port.place, what).as_severe_as(severity));
    }
}

fn container_name(service: &Service) -> Option<Finding> {
    let place = service.container_name.as_ref()?;
    let severity = if is_scaled(service) {
        Severity::Error
    } else {
        CONTAINER_NAME.severity
    };
    let what = format!("worker service {} has a container_name", service.name);
    Some(CONTAINER_NAME.at(place, what).as_severe_as(severity))
}

fn stop_grace(setup: &Setup, service: &Service) -> Option<Finding> {
    let needed =
        (setup.settings.process.drain_timeout + setup.settings.process.drain_grace).as_secs_f64();
    let (place, seconds, how) = match &service.stop_grace {
        Some((seconds, place)) => (place, *seconds, ""),
        None if service.is_piece() => return None,
        None => (&service.place, DEFAULT_GRACE_SECONDS, " (Docker's default)"),
    };
    (seconds < needed).then(|| {
        let what = format!(
            "service {} gets {seconds} s{how} to stop, draining takes up to {needed} s (DRAIN_GRACE and DRAIN_TIMEOUT)",
            service.name
        );
        STOP_GRACE.at(place, what)
    })
}

fn root(service: &Service) -> Option<Finding> {
    let what = match &service.user {
        Some((user, place)) if user == "root" || user == "0" || user.starts_with("0:") => {
            return Some(ROOT.at(place, format!("service {} runs as root", service.name)));
        }
        Some(_) => return None,
        None if service.is_piece() => return None,
        None => format!(
            "service {} has no `user`, so it runs as root unless its image names one",
            service.name
        ),
    };
    Some(ROOT.at(&service.place, what))
}

fn depends_on(file: &ComposeFile, service: &Service) -> Option<Finding> {
    let mut workers = file
        .services
        .iter()
        .filter(|other| other.role == Role::Worker);
    let worker = workers.next()?;
    let is_there = std::iter::once(worker)
        .chain(workers)
        .any(|one| service.depends_on.contains(&one.name));
    (!is_there && !service.is_piece()).then(|| {
        DEPENDS_ON.at(
            &service.place,
            format!(
                "service {} does not depend on {}",
                service.name, worker.name
            ),
        )
    })
}

fn nginx_ports(setup: &Setup, service: &Service, found: &mut Vec<Finding>) {
    let on_host = service
        .network_mode
        .as_ref()
        .is_some_and(|(mode, _)| mode == "host");
    if service.ports.is_empty() && !on_host && !service.is_piece() {
        found.push(NOT_PUBLISHED.at(
            &service.place,
            format!("service {} publishes no port", service.name),
        ));
    }
    let listens: Vec<&str> = setup.nginx.iter().flat_map(|file| file.ports()).collect();
    let is_number = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if listens.is_empty() || !listens.iter().all(|port| is_number(port)) {
        return; // A template's word.
    }
    for port in &service.ports {
        let target = port.target.as_str();
        if is_number(target) && !listens.contains(&target) {
            let what = format!(
                "port {target} of service {} is published, but nginx listens on {}",
                service.name,
                listens.join(", ")
            );
            found.push(PORT_MAPPING.at(&port.place, what));
        }
    }
}

/// What is built here has the tag that the builder gave it.
fn latest(service: &Service) -> Option<Finding> {
    let (image, place) = service.image.as_ref().filter(|_| !service.is_built)?;
    let last = image.rsplit('/').next().unwrap_or(image);
    let has_version = last.contains('@')
        || last.contains("${")
        || last.split_once(':').is_some_and(|(_, tag)| tag != "latest");
    (!has_version).then(|| LATEST.at(place, format!("image {image} names no version")))
}

fn docker_socket(service: &Service, found: &mut Vec<Finding>) {
    for mount in service
        .mounts
        .iter()
        .filter(|mount| mount.source.ends_with("docker.sock"))
    {
        let what = format!("service {} mounts Docker's socket", service.name);
        found.push(DOCKER_SOCKET.at(&mount.place, what));
    }
}

#[cfg(test)]
mod tests {
    use super::super::codes;

    const GOOD: &str = "services:
  nginx:
    image: nginx:1.30
    ports: ['80:8082']
    stop_grace_period: 150s
    depends_on: [worker]
  worker:
    build: .
    user: '10001'
    stop_grace_period: 140s
    environment: {ACCOUNTS_FILE: /config/.env}
";
    const NGINX: &str = "server { listen 8082; }";

    #[test]
    fn a_good_file_has_no_findings() {
        assert_eq!(codes("", GOOD, NGINX), [""; 0]);
    }

    #[test]
    fn each_fault_is_found() {
        for (good, bad, expected) in [
            (
                "build: .",
                "build: .\n    ports: ['8000:8000']",
                "worker-port:9 Warning",
            ),
            (
                "build: .",
                "build: .\n    ports: ['127.0.0.1:8000:8000']",
                "worker-port:9 Note",
            ),
            (
                "build: .",
                "build: .\n    deploy: {replicas: 3}\n    ports: ['8000:8000']",
                "worker-port:10 Error",
            ),
            (
                "build: .",
                "build: .\n    container_name: w",
                "container-name:9 Warning",
            ),
            (
                "build: .",
                "build: .\n    scale: 2\n    container_name: w",
                "container-name:10 Error",
            ),
            (
                "stop_grace_period: 140s",
                "stop_grace_period: 1m",
                "stop-grace:10 Warning",
            ),
            ("    stop_grace_period: 140s\n", "", "stop-grace:7 Warning"),
            ("    user: '10001'\n", "", "root:7 Note"),
            ("'10001'", "root", "root:9 Note"),
            (
                "build: .",
                "build: .\n    privileged: true",
                "privileged:9 Warning",
            ),
            (
                "build: .",
                "build: .\n    network_mode: host",
                "host-network:9 Warning",
            ),
            ("    depends_on: [worker]\n", "", "depends-on:2 Note"),
            (
                "    ports: ['80:8082']\n",
                "",
                "nginx-not-published:2 Warning",
            ),
            ("80:8082", "80:80", "port-mapping:4 Error"),
            ("nginx:1.30", "nginx", "latest-tag:3 Warning"),
            ("nginx:1.30", "nginx:latest", "latest-tag:3 Warning"),
            (
                "build: .",
                "build: .\n    volumes: ['/var/run/docker.sock:/x']",
                "docker-socket:9 Warning",
            ),
            (
                "stop_grace_period: 150s",
                "stop_grace_period: ${GRACE:-5s}",
                "stop-grace:5 Warning",
            ),
            (
                "stop_grace_period: 150s",
                "stop_grace_period: ${GRACE:-5m}",
                "",
            ),
            (
                "services:",
                "version: '3'\nservices:",
                "obsolete-version:1 Note",
            ),
            ("build: .", "build: [", "compose-syntax:9 Error"),
        ] {
            assert!(GOOD.contains(good), "{good}");
            let found = codes("", &GOOD.replacen(good, bad, 1), NGINX);
            let expected: Vec<&str> = Some(expected)
                .into_iter()
                .filter(|one| !one.is_empty())
                .collect();
            assert_eq!(found, expected, "{bad}");
        }
    }

    #[test]
    fn a_piece_for_another_file_lacks_nothing() {
        let piece = "services:\n  nginx:\n    environment: {A: b}\n  worker:\n    environment: {ACCOUNTS_FILE: x}\n  exporter:\n    image: nginx/nginx-prometheus-exporter:1\n";
        assert_eq!(codes("", piece, NGINX), [""; 0]);
    }

    #[test]
    fn draining_takes_what_the_settings_say() {
        assert_eq!(codes("DRAIN_TIMEOUT=600", GOOD, NGINX).len(), 2);
    }
}
