//! Who gets which request: the same user should meet the same worker.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Directive, NginxFile, Proxied, is_unknown, tokenizer::is_template};
use crate::doctor::{
    finding::{Finding, Rule},
    setup::Setup,
};

const NAME: Rule = Rule::error(
    "name-in-ring",
    "The ring is built from names: all addresses behind one name share its place, and requests go round robin among them (measured: 0 of 300 keys kept their worker).",
    "One `server IP:port;` line an address, kept in step by nginx/watcher: `include workers.conf;`.",
);
const NOT_CONSISTENT: Rule = Rule::warning(
    "hash-not-consistent",
    "When a worker comes or goes, nearly every user moves to another one; on the consistent ring it is one in N.",
    "hash KEY consistent;",
);
const NO_AFFINITY: Rule = Rule::warning(
    "no-affinity",
    "Workers that share no store know only their own cool-downs, guests and refreshed tokens; a user who moves between them meets each anew.",
    "hash $key consistent; with one `server IP:port;` line an address, as nginx/nginx.conf does.",
);
const HASH_KEY: Rule = Rule::warning(
    "hash-key",
    "The key does not say who asks: users behind one address share a worker, and a conversation may move.",
    "Choose by X-Session-Id, else the cookie, else the key, else the address; see the maps in nginx/nginx.conf.",
);
const ONE_KEY: Rule = Rule::note(
    "hash-key-shared",
    "Clients that share one key all land on one worker, and the others idle.",
    "Let $http_x_session_id and $http_cookie come first; see the maps in nginx/nginx.conf.",
);

/// The upstream block that a location passes to.
pub(super) fn of<'a>(file: &'a NginxFile, proxied: &Proxied<'_>) -> Option<&'a Directive> {
    let host = host(proxied.pass.value())?;
    let mut blocks = file.http().iter();
    blocks.find(|one| one.name == "upstream" && one.value() == host)
}

/// Every upstream that is passed to, and every name that is passed to directly.
pub(super) fn check(setup: &Setup, file: &NginxFile, found: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for proxied in file.proxied() {
        let Some(host) = host(proxied.pass.value()).filter(|host| seen.insert(*host)) else {
            continue;
        };
        match of(file, &proxied) {
            Some(upstream) => block(setup, file, upstream, found),
            None if is_name(host) => {
                let what = format!(
                    "proxy_pass goes to the name {host}{}",
                    replicas(setup, host)
                );
                found.push(NO_AFFINITY.at(proxied.place(), what));
            }
            None => {}
        }
    }
}

fn block(setup: &Setup, file: &NginxFile, upstream: &Directive, found: &mut Vec<Finding>) {
    let lines = upstream.inside();
    let line = |name: &str| lines.iter().find(|one| one.name == name);
    let servers: Vec<&Directive> = lines.iter().filter(|one| one.name == "server").collect();
    let names = servers.iter().filter(|one| is_name(one.value()));
    let may_be_several = servers.len() > 1
        || servers.iter().any(|one| is_name(one.value()))
        || lines.iter().any(is_unknown);
    if let Some(hash) = line("hash") {
        for server in names {
            let what = format!(
                "{} is a name{}, not an address",
                server.value(),
                replicas(setup, server.value())
            );
            found.push(NAME.at(&server.place, what));
        }
        if hash.args.get(1).map(String::as_str) != Some("consistent") {
            found.push(NOT_CONSISTENT.at(&hash.place, "`hash` without `consistent`"));
        }
        found.extend(key(file, hash));
    } else if let Some(ip_hash) = line("ip_hash") {
        let what = "ip_hash looks at the first three bytes of the address only";
        found.push(HASH_KEY.at(&ip_hash.place, what));
        for server in names {
            let what = format!("{} is a name, not an address", server.value());
            found.push(NO_AFFINITY.at(&server.place, what));
        }
    } else if may_be_several {
        let how = ["least_conn", "random", "least_time"]
            .iter()
            .find_map(|name| line(name));
        let what = match how {
            Some(how) => format!("upstream {} chooses by {}", upstream.value(), how.name),
            None => format!(
                "upstream {} has no `hash`: requests go round robin",
                upstream.value()
            ),
        };
        found.push(NO_AFFINITY.at(&how.unwrap_or(upstream).place, what));
    }
}

fn key(file: &NginxFile, hash: &Directive) -> Option<Finding> {
    if is_template(hash.value()) {
        return None;
    }
    let variables = variables(file, hash.value());
    let has = |name: &str| variables.contains(name);
    let keys = [
        "http_authorization",
        "http_x_api_key",
        "http_api_key",
        "http_x_goog_api_key",
    ];
    let has_session = has("http_x_session_id")
        || has("http_cookie")
        || variables.iter().any(|name| name.starts_with("cookie_"));
    let has_key = keys.iter().any(|name| has(name));
    if !has_session && !has_key {
        let what =
            "the hash key has neither X-Session-Id, nor the cookie, nor the client's key in it";
        return Some(HASH_KEY.at(&hash.place, what));
    }
    (!has_session).then(|| ONE_KEY.at(&hash.place, "the hash key is the client's key alone"))
}

/// The variables in a text, and those behind them in `map` and `set`.
fn variables(file: &NginxFile, text: &str) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut next = names(text);
    while let Some(name) = next.pop() {
        if !known.insert(name.clone()) {
            continue;
        }
        let maps = file.http().iter().filter(|one| one.name == "map");
        for map in maps.filter(|map| map.args.get(1).is_some_and(|to| *to == format!("${name}"))) {
            next.extend(names(map.value()));
            for case in map.inside() {
                next.extend(case.args.iter().flat_map(|arg| names(arg)));
            }
        }
        for set in file.servers().flat_map(Directive::inside) {
            if set.name == "set" && set.value() == format!("${name}") {
                next.extend(set.args.iter().skip(1).flat_map(|arg| names(arg)));
            }
        }
    }
    known
}

/// `$a${b}` is a and b.
pub(super) fn names(text: &str) -> Vec<String> {
    text.split('$')
        .skip(1)
        .map(|rest| {
            let rest = rest.strip_prefix('{').unwrap_or(rest);
            let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
            rest.chars().take_while(is_name).collect()
        })
        .collect()
}

/// The host and port of a `proxy_pass`; `None` where it is made of variables.
fn host(pass: &str) -> Option<&str> {
    let (_, rest) = pass.split_once("://")?;
    let host = rest.split('/').next()?;
    (!host.contains('$') && !is_template(host)).then_some(host)
}

/// Whether somebody has to look this up, and may find several addresses.
fn is_name(server: &str) -> bool {
    let host = match server.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => server.split(':').next().unwrap_or(server),
    };
    !is_template(server)
        && !server.starts_with("unix:")
        && host != "localhost"
        && host.parse::<IpAddr>().is_err()
}

/// What compose says of that many.
fn replicas(setup: &Setup, server: &str) -> String {
    let host = server.split(':').next().unwrap_or(server);
    let services = setup.compose.iter().flat_map(|file| &file.services);
    let mut named = services.filter(|service| service.name == host);
    match named.find_map(|service| service.replicas.as_ref()) {
        Some((count, _)) if *count > 1 => format!(" that compose gives {count} addresses"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::doctor::nginx::codes;

    fn ring(upstream: &str, maps: &str) -> Vec<String> {
        let text = format!(
            "{maps}\nupstream w {{ {upstream} }}\nserver {{ location / {{ proxy_pass http://w; }} }}"
        );
        let mut all = codes("", &text);
        all.retain(|one| {
            ["name-", "hash-", "no-aff"]
                .iter()
                .any(|code| one.starts_with(code))
        });
        all
    }

    #[test]
    fn finds_rings_that_do_not_hold() {
        for (upstream, expected) in [
            (
                "hash $http_cookie consistent; server app:8000;",
                "name-in-ring:2 Error",
            ),
            (
                "hash $http_cookie consistent; server app:8000 resolve;",
                "name-in-ring:2 Error",
            ),
            (
                "hash $http_cookie; server 10.0.0.1:1;",
                "hash-not-consistent:2 Warning",
            ),
            (
                "hash $remote_addr consistent; server 10.0.0.1:1;",
                "hash-key:2 Warning",
            ),
            (
                "hash $http_authorization consistent; server 10.0.0.1:1;",
                "hash-key-shared:2 Note",
            ),
            ("ip_hash; server 10.0.0.1:1;", "hash-key:2 Warning"),
            ("server app:8000;", "no-affinity:2 Warning"),
            (
                "least_conn; server 10.0.0.1:1; server 10.0.0.2:1;",
                "no-affinity:2 Warning",
            ),
            ("server 10.0.0.1:1;", ""),
            ("server [::1]:1;", ""),
            ("hash $http_cookie consistent; include workers.conf;", ""),
            ("hash $http_cookie consistent; server @ADDRESS@;", ""),
        ] {
            let expected: Vec<&str> = Some(expected)
                .into_iter()
                .filter(|e| !e.is_empty())
                .collect();
            assert_eq!(ring(upstream, ""), expected, "{upstream}");
        }
    }

    #[test]
    fn looks_through_maps() {
        let maps = "map $http_x_session_id $k { '' $j; default $http_x_session_id; }\nmap $http_authorization $j { default $http_authorization; }";
        let maps = maps.replace('\n', " ");
        assert_eq!(
            ring("hash $k consistent; server 10.0.0.1:1;", &maps),
            [""; 0]
        );
        assert_eq!(
            ring("hash $j consistent; server 10.0.0.1:1;", &maps),
            ["hash-key-shared:2 Note"]
        );
        let by_cookie = "map $http_cookie $k { '' a; default b; }";
        assert_eq!(
            ring("hash $k consistent; server 10.0.0.1:1;", by_cookie),
            [""; 0]
        );
    }

    #[test]
    fn a_name_without_an_upstream_is_round_robin() {
        let text = "server { location / { proxy_pass http://app:8000; } }";
        assert!(codes("", text).contains(&"no-affinity:1 Warning".to_owned()));
    }
}
