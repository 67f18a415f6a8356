//! What nginx takes in and writes down: sizes, logs, and what is for the inside only.

use std::collections::BTreeSet;

use super::{Directive, NginxFile, Proxied, Said, units, upstream};
use crate::doctor::{
    finding::{Finding, Location, Rule, Severity},
    setup::Setup,
};

/// Cookies of a browser are of some kilobytes; nginx's own 8k is just too little.
const LEAST_HEADER_BYTES: u64 = 16 << 10;

const BODY_LIMIT: Rule = Rule::error(
    "body-limit",
    "Requests with pictures are refused by nginx with 413 before the worker, which would take them, sees them.",
    "client_max_body_size: the same as MAX_BODY_BYTES.",
);
const BODY_LIMIT_LOOSE: Rule = Rule::note(
    "body-limit-loose",
    "nginx takes bodies in that the worker refuses: they cost time and disk for nothing.",
    "client_max_body_size: the same as MAX_BODY_BYTES.",
);
const HEADER_BUFFERS: Rule = Rule::warning(
    "header-buffers",
    "A long Cookie or Authorization header is refused with 400 or 431 before the worker sees it.",
    "large_client_header_buffers 8 32k;",
);
const LOG_LEAKS: Rule = Rule::warning(
    "log-leaks",
    "Whoever reads the log can use the key.",
    "A log_format without headers and queries: log the path of $request_uri (see the map in nginx/nginx.conf), not $request.",
);
const METRICS: Rule = Rule::warning(
    "metrics-public",
    "Everybody can see your models, accounts' states and traffic.",
    "location ~* /metrics { return 404; } and let Prometheus ask the workers themselves.",
);

/// Variables that hold a credential of the caller.
const SECRETS: &[&str] = &[
    "http_authorization",
    "http_cookie",
    "http_x_api_key",
    "http_api_key",
    "http_x_goog_api_key",
    "request_body",
];
/// Variables that hold the query, where a key may stand (`?key=…`).
const QUERIES: &[&str] = &[
    "request",
    "request_uri",
    "args",
    "query_string",
    "http_referer",
];

/// What is wrong around one location that passes requests on.
pub(super) fn check(
    setup: &Setup,
    file: &NginxFile,
    proxied: &Proxied<'_>,
    found: &mut Vec<Finding>,
) {
    found.extend(body_limit(setup, proxied));
    found.extend(header_buffers(proxied));
    found.extend(log(file, proxied));
}

fn body_limit(setup: &Setup, proxied: &Proxied<'_>) -> Option<Finding> {
    let (place, bytes, how) = match proxied.said("client_max_body_size") {
        Said::Here(line) => (&line.place, units::bytes(line.value())?, ""),
        Said::Default => (proxied.server_place(), 1 << 20, " (it is not set)"),
        Said::Unknown => return None,
    };
    let worker = u64::try_from(setup.settings.http.most_body_bytes).unwrap_or(u64::MAX);
    let limits = |here: String| {
        format!(
            "nginx takes bodies of {here}{how}, the worker of {} (MAX_BODY_BYTES)",
            units::size(worker)
        )
    };
    match bytes {
        0 => Some(BODY_LIMIT_LOOSE.at(place, limits("any size".to_owned()))),
        bytes if bytes < worker => Some(BODY_LIMIT.at(place, limits(units::size(bytes)))),
        bytes if bytes > worker => Some(BODY_LIMIT_LOOSE.at(place, limits(units::size(bytes)))),
        _ => None,
    }
}

fn header_buffers(proxied: &Proxied<'_>) -> Option<Finding> {
    let (place, bytes, severity) = match proxied.said("large_client_header_buffers") {
        Said::Here(line) => (
            &line.place,
            units::bytes(line.args.get(1)?)?,
            Severity::Warning,
        ),
        Said::Default => (proxied.server_place(), 8 << 10, Severity::Note),
        Said::Unknown => return None,
    };
    (bytes < LEAST_HEADER_BYTES).then(|| {
        let what = format!("one header may have {} at most", units::size(bytes));
        HEADER_BUFFERS.at(place, what).as_severe_as(severity)
    })
}

fn log(file: &NginxFile, proxied: &Proxied<'_>) -> Option<Finding> {
    let (place, name) = match proxied.said("access_log") {
        Said::Here(line) if line.value() == "off" => return None,
        Said::Here(line) => (&line.place, format_name(line)),
        Said::Default => (proxied.server_place(), "combined"),
        Said::Unknown => {
            // A template's word names the file; where the format stands beside it, it is known.
            let mut levels = proxied.levels.iter().copied();
            let line =
                levels.find_map(|level| level.iter().rev().find(|one| one.name == "access_log"))?;
            line.args.get(1)?;
            (&line.place, format_name(line))
        }
    };
    let mut formats = file.http().iter().filter(|one| one.name == "log_format");
    match formats.find(|one| one.value() == name) {
        Some(format) => leaks(&format.args, &format.place),
        None if name == "combined" => {
            let what = "the log format `combined` writes $request down, with the query";
            Some(LOG_LEAKS.at(place, what))
        }
        None => None,
    }
}

/// `access_log path [format [buffer=…] …]`.
fn format_name(line: &Directive) -> &str {
    let format = line.args.get(1).map(String::as_str);
    format
        .filter(|format| !format.contains('='))
        .unwrap_or("combined")
}

fn leaks(format: &[String], place: &Location) -> Option<Finding> {
    let names: BTreeSet<String> = format
        .iter()
        .skip(1)
        .flat_map(|part| upstream::names(part))
        .collect();
    let is_secret = |name: &&String| {
        SECRETS.contains(&name.as_str()) || name.starts_with("cookie_") || name.starts_with("arg_")
    };
    if let Some(name) = names.iter().find(is_secret) {
        let what = format!("the log format writes ${name} down");
        return Some(LOG_LEAKS.at(place, what).as_severe_as(Severity::Error));
    }
    let name = names.iter().find(|name| QUERIES.contains(&name.as_str()))?;
    let what = format!("the log format writes ${name} down, with the query");
    Some(LOG_LEAKS.at(place, what))
}

/// Servers that pass `/metrics` on like everything else.
pub(super) fn metrics(file: &NginxFile, found: &mut Vec<Finding>) {
    for server in file.servers() {
        let locations = server.inside().iter().filter(|one| one.name == "location");
        let (about, others): (Vec<&Directive>, Vec<&Directive>) =
            locations.partition(|one| one.args.iter().any(|arg| arg.contains("metrics")));
        let open = match about.as_slice() {
            [] => others.iter().find(|one| one.args == ["/"] && passes(one)),
            about => about.iter().find(|one| passes(one) && !is_guarded(one)),
        };
        if let Some(location) = open.filter(|_| !is_guarded(server)) {
            let what = "the workers' /metrics can be read through nginx";
            found.push(METRICS.at(&location.place, what));
        }
    }
}

fn passes(location: &Directive) -> bool {
    location.inside().iter().any(|one| one.name == "proxy_pass")
}

fn is_guarded(block: &Directive) -> bool {
    block.inside().iter().any(|one| match one.name.as_str() {
        "deny" => one.value() == "all",
        "auth_basic" => one.value() != "off",
        "internal" | "return" | "auth_request" => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use crate::doctor::nginx::codes;

    fn edge(env: &str, http: &str) -> Vec<String> {
        let text = format!("{http}\nserver {{ location / {{ proxy_pass http://10.0.0.1:1; }} }}");
        let mut all = codes(env, &text);
        all.retain(|one| {
            ["body", "header", "log", "metrics"]
                .iter()
                .any(|code| one.starts_with(code))
        });
        all
    }

    #[test]
    fn compares_with_the_workers_limits() {
        let has = |env: &str, http: &str, code: &str| edge(env, http).contains(&code.to_owned());
        assert!(has("", "", "body-limit:2 Error"));
        assert!(has("", "client_max_body_size 20m;", "body-limit:1 Error"));
        assert!(has(
            "",
            "client_max_body_size 0;",
            "body-limit-loose:1 Note"
        ));
        assert!(has(
            "MAX_BODY_BYTES=1048576",
            "client_max_body_size 2m;",
            "body-limit-loose:1 Note"
        ));
        assert!(
            !edge("MAX_BODY_BYTES=1048576", "")
                .iter()
                .any(|one| one.starts_with("body"))
        );
        assert!(
            !edge("", "client_max_body_size @SIZE@;")
                .iter()
                .any(|one| one.starts_with("body"))
        );
        assert!(has(
            "",
            "large_client_header_buffers 4 8k;",
            "header-buffers:1 Warning"
        ));
        assert!(has("", "", "header-buffers:2 Note"));
    }

    #[test]
    fn reads_log_formats() {
        for (http, expected) in [
            ("", "log-leaks:2 Warning"),
            ("access_log off;", ""),
            ("access_log @LOG@;", ""),
            ("access_log a.log;", "log-leaks:1 Warning"),
            (
                "log_format m '$remote_addr $uri $status'; access_log a.log m;",
                "",
            ),
            (
                "log_format m '$request'; access_log a.log m buffer=8k;",
                "log-leaks:1 Warning",
            ),
            (
                "log_format m '$uri \"$http_authorization\"'; access_log @LOG@ m;",
                "log-leaks:1 Error",
            ),
        ] {
            let logs: Vec<String> = edge("", http)
                .into_iter()
                .filter(|one| one.starts_with("log"))
                .collect();
            let expected: Vec<&str> = Some(expected)
                .into_iter()
                .filter(|e| !e.is_empty())
                .collect();
            assert_eq!(logs, expected, "{http}");
        }
    }

    #[test]
    fn metrics_are_for_the_inside() {
        let public = |locations: &str| {
            let text = format!("server {{ {locations} }}");
            codes("", &text)
                .iter()
                .any(|one| one.starts_with("metrics"))
        };
        assert!(public("location / { proxy_pass http://10.0.0.1:1; }"));
        assert!(public(
            "location /metrics { proxy_pass http://10.0.0.1:1; }"
        ));
        assert!(!public(
            "location / { proxy_pass http://10.0.0.1:1; } location = /metrics { return 404; }"
        ));
        assert!(!public(
            "location /metrics { allow 10.0.0.0/8; deny all; proxy_pass http://10.0.0.1:1; }"
        ));
        assert!(!public("location /v1/ { proxy_pass http://10.0.0.1:1; }"));
    }
}
