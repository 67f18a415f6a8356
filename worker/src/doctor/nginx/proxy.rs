//! The way from nginx to the worker: nothing may hold a stream back, cut it off, or ask twice.

use super::{NginxFile, Proxied, Said, units, upstream};
use crate::doctor::{
    finding::{Finding, Rule, Severity},
    setup::Setup,
};

const BUFFERING: Rule = Rule::warning(
    "proxy-buffering",
    "nginx collects the answer before it passes it on. This worker asks it not to (X-Accel-Buffering: no), older ones do not, and then a stream arrives in lumps.",
    "proxy_buffering off; in the location.",
);
const IGNORES_ACCEL: Rule = Rule::error(
    "accel-ignored",
    "The worker's word against buffering is not heard, so streams arrive in lumps.",
    "Delete X-Accel-Buffering from proxy_ignore_headers, and set proxy_buffering off.",
);
const CACHE: Rule = Rule::warning(
    "proxy-cache",
    "Answers of a chat belong to one user; a cache may hand them to another.",
    "proxy_cache off; in the location.",
);
const GZIP: Rule = Rule::error(
    "gzip-event-stream",
    "The compressor keeps pieces until it has enough, so streams arrive in lumps.",
    "Take text/event-stream (or *) out of gzip_types, or set gzip off; the worker compresses what is worth it.",
);
const HTTP_VERSION: Rule = Rule::warning(
    "proxy-http-version",
    "Without HTTP/1.1 each question opens a new connection, and chunks have no frames.",
    "proxy_http_version 1.1; in the location.",
);
const CONNECTION: Rule = Rule::warning(
    "connection-header",
    "nginx sends `Connection: close` by itself, so the upstream's `keepalive` has no effect.",
    "proxy_set_header Connection \"\"; beside the other proxy_set_header lines.",
);
const READ_TIMEOUT: Rule = Rule::error(
    "read-timeout",
    "nginx gives up on silence before the worker does: thinking models are cut off with a 504.",
    "proxy_read_timeout 3600s; the worker has its own, shorter limits and better errors.",
);
const KEEPALIVE_RACE: Rule = Rule::warning(
    "keepalive-race",
    "nginx may send a question on a connection that the worker is closing; a POST cannot be sent again, so the client gets a 502.",
    "keepalive_timeout 30s; in the upstream: shorter than the worker's KEEP_ALIVE_TIMEOUT.",
);
const DOUBLE_TURN: Rule = Rule::error(
    "double-turn",
    "A question that already reached a worker is asked again elsewhere: two turns of an account, and perhaps two answers in its history.",
    "Take non_idempotent out of proxy_next_upstream.",
);
const INTERCEPT: Rule = Rule::warning(
    "errors-replaced",
    "The worker's error bodies say what to do in the client's dialect; nginx's pages break SDKs.",
    "proxy_intercept_errors off;",
);
const NODELAY: Rule = Rule::warning(
    "tcp-nodelay",
    "The kernel holds small pieces of a stream back for up to 40 ms.",
    "Delete the line; on is the default.",
);

/// All of the above, for one location.
pub(super) fn check(
    setup: &Setup,
    file: &NginxFile,
    proxied: &Proxied<'_>,
    found: &mut Vec<Finding>,
) {
    found.extend(buffering(proxied));
    found.extend(switched_on(
        proxied,
        "proxy_intercept_errors",
        "on",
        &INTERCEPT,
    ));
    found.extend(switched_on(proxied, "tcp_nodelay", "off", &NODELAY));
    found.extend(cache(proxied));
    found.extend(gzip(proxied));
    found.extend(http_version(proxied));
    found.extend(read_timeout(setup, proxied));
    found.extend(double_turn(proxied));
    if let Some(upstream) = upstream::of(file, proxied) {
        found.extend(connection(upstream, proxied));
        found.extend(keepalive_race(setup, upstream));
    }
}

fn switched_on(proxied: &Proxied<'_>, name: &str, bad: &str, rule: &Rule) -> Option<Finding> {
    let Said::Here(line) = proxied.said(name) else {
        return None;
    };
    (line.value() == bad).then(|| rule.at(&line.place, format!("{name} is {bad}")))
}

fn buffering(proxied: &Proxied<'_>) -> Option<Finding> {
    let ignored = match proxied.said("proxy_ignore_headers") {
        Said::Here(line) => line
            .args
            .iter()
            .any(|arg| arg.eq_ignore_ascii_case("X-Accel-Buffering"))
            .then_some(line),
        Said::Default | Said::Unknown => None,
    };
    match (proxied.said("proxy_buffering"), ignored) {
        (Said::Here(line), _) if line.value() == "off" => None,
        (_, Some(line)) => Some(IGNORES_ACCEL.at(
            &line.place,
            "proxy_ignore_headers names X-Accel-Buffering, and buffering is on",
        )),
        (Said::Here(line), None) => Some(BUFFERING.at(&line.place, "proxy_buffering is on")),
        (Said::Default, None) => {
            let what = "proxy_buffering is not set, and on is the default";
            Some(BUFFERING.at(proxied.place(), what))
        }
        (Said::Unknown, None) => None,
    }
}

fn cache(proxied: &Proxied<'_>) -> Option<Finding> {
    match proxied.said("proxy_cache") {
        Said::Here(line) if line.value() != "off" => {
            Some(CACHE.at(&line.place, "proxy_cache is on"))
        }
        Said::Here(_) | Said::Default | Said::Unknown => None,
    }
}

fn gzip(proxied: &Proxied<'_>) -> Option<Finding> {
    let Said::Here(on) = proxied.said("gzip") else {
        return None;
    };
    let Said::Here(types) = proxied.said("gzip_types") else {
        return None; // text/html alone.
    };
    let takes_streams = types
        .args
        .iter()
        .any(|one| one == "*" || one == "text/event-stream");
    (on.value() == "on" && takes_streams)
        .then(|| GZIP.at(&types.place, "event streams are compressed"))
}

fn http_version(proxied: &Proxied<'_>) -> Option<Finding> {
    match proxied.said("proxy_http_version") {
        Said::Here(line) if line.value() == "1.0" => {
            Some(HTTP_VERSION.at(&line.place, "proxy_http_version is 1.0"))
        }
        Said::Default => {
            let what = "proxy_http_version is not set, and older versions of nginx then speak 1.0";
            Some(HTTP_VERSION.at(proxied.place(), what))
        }
        Said::Here(_) | Said::Unknown => None,
    }
}

/// A name of a variable there may be anything; another word is sent as it stands.
fn connection(upstream: &super::Directive, proxied: &Proxied<'_>) -> Option<Finding> {
    upstream
        .inside()
        .iter()
        .find(|one| one.name == "keepalive")?;
    match proxied.header("Connection") {
        Some("") => None,
        Some(value) if value.contains('$') => None,
        Some(_) => Some(CONNECTION.at(proxied.place(), "the Connection header is not emptied")),
        None => Some(CONNECTION.at(
            proxied.place(),
            "the upstream has `keepalive`, but the Connection header is not emptied",
        )),
    }
}

fn read_timeout(setup: &Setup, proxied: &Proxied<'_>) -> Option<Finding> {
    let (place, seconds, is_set) = match proxied.said("proxy_read_timeout") {
        Said::Here(line) => (&line.place, units::seconds(line.value())?, true),
        Said::Default => (proxied.place(), 60.0, false),
        Said::Unknown => return None,
    };
    let how = if is_set {
        ""
    } else {
        " (it is not set, and 60s is the default)"
    };
    let stall = setup.settings.upstream.timeouts.stall.as_secs_f64();
    let request = setup.settings.providers.request_timeout.as_secs_f64();
    let (name, limit, severity) = if seconds < stall {
        ("STALL_TIMEOUT", stall, Severity::Error)
    } else if seconds < request {
        // Streams are kept awake by the worker's comments; answers in one piece are silent until they are complete.
        ("REQUEST_TIMEOUT", request, Severity::Warning)
    } else {
        return None;
    };
    let what = format!(
        "proxy_read_timeout of {seconds} s{how} is shorter than the worker's {name} of {limit} s"
    );
    Some(READ_TIMEOUT.at(place, what).as_severe_as(severity))
}

fn keepalive_race(setup: &Setup, upstream: &super::Directive) -> Option<Finding> {
    let keepalive = upstream
        .inside()
        .iter()
        .find(|one| one.name == "keepalive")?;
    let timeout = upstream
        .inside()
        .iter()
        .find(|one| one.name == "keepalive_timeout");
    let (place, seconds) = match timeout {
        Some(line) => (&line.place, units::seconds(line.value())?),
        None => (&keepalive.place, 60.0),
    };
    let worker = setup.settings.process.keep_alive.as_secs_f64();
    (seconds >= worker).then(|| {
        let what = format!("idle connections are kept for {seconds} s here and for {worker} s by the worker (KEEP_ALIVE_TIMEOUT)");
        KEEPALIVE_RACE.at(place, what)
    })
}

fn double_turn(proxied: &Proxied<'_>) -> Option<Finding> {
    let Said::Here(line) = proxied.said("proxy_next_upstream") else {
        return None;
    };
    let has = |word: &str| line.args.iter().any(|arg| arg == word);
    // A worker's 503 says that it has sent nothing.
    let after_sending = line.args.iter().any(|arg| {
        arg == "error"
            || arg == "timeout"
            || arg == "invalid_header"
            || (arg.starts_with("http_5") && arg != "http_503")
    });
    (has("non_idempotent") && after_sending).then(|| {
        DOUBLE_TURN.at(
            &line.place,
            "proxy_next_upstream sends a POST again after an error or a time-out",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::codes;

    const GOOD: &str = "upstream w { hash $http_cookie$http_authorization$http_x_session_id consistent; server 10.0.0.1:1; server 10.0.0.2:1; keepalive 8; keepalive_timeout 30s; }
        server { access_log off; client_max_body_size 64m; large_client_header_buffers 4 32k;
          location /metrics { return 404; }
          location / { proxy_pass http://w; proxy_buffering off; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_read_timeout 1h; } }";

    #[test]
    fn a_good_file_has_no_findings() {
        assert_eq!(codes("", GOOD), [""; 0]);
    }

    #[test]
    fn each_fault_is_found() {
        for (good, bad, expected) in [
            ("proxy_buffering off;", "", "proxy-buffering:4 Warning"),
            (
                "proxy_buffering off;",
                "proxy_buffering on;",
                "proxy-buffering:4 Warning",
            ),
            (
                "proxy_buffering off;",
                "proxy_ignore_headers X-Accel-Buffering;",
                "accel-ignored:4 Error",
            ),
            (
                "access_log off;",
                "access_log off; gzip on; gzip_types text/plain text/event-stream;",
                "gzip-event-stream:2 Error",
            ),
            (
                "proxy_http_version 1.1;",
                "",
                "proxy-http-version:4 Warning",
            ),
            (
                "proxy_http_version 1.1;",
                "proxy_http_version 1.0;",
                "proxy-http-version:4 Warning",
            ),
            ("Connection ''", "Host x", "connection-header:4 Warning"),
            (
                "Connection ''",
                "Connection close",
                "connection-header:4 Warning",
            ),
            ("proxy_read_timeout 1h;", "", "read-timeout:4 Error"),
            (
                "proxy_read_timeout 1h;",
                "proxy_read_timeout 300s;",
                "read-timeout:4 Warning",
            ),
            ("keepalive_timeout 30s;", "", ""),
            (
                "keepalive_timeout 30s;",
                "keepalive_timeout 90s;",
                "keepalive-race:1 Warning",
            ),
            (
                "proxy_read_timeout 1h;",
                "proxy_read_timeout 1h; proxy_next_upstream error timeout non_idempotent;",
                "double-turn:4 Error",
            ),
            (
                "proxy_read_timeout 1h;",
                "proxy_read_timeout 1h; proxy_next_upstream error timeout;",
                "",
            ),
            (
                "proxy_read_timeout 1h;",
                "proxy_read_timeout 1h; proxy_next_upstream http_503 non_idempotent;",
                "",
            ),
            (
                "proxy_read_timeout 1h;",
                "proxy_read_timeout 1h; proxy_intercept_errors on;",
                "errors-replaced:4 Warning",
            ),
            (
                "access_log off;",
                "access_log off; tcp_nodelay off;",
                "tcp-nodelay:2 Warning",
            ),
            (
                "access_log off;",
                "access_log off; proxy_cache zone;",
                "proxy-cache:2 Warning",
            ),
            (
                "location / {",
                "location /question { proxy_pass http://w/key; proxy_pass_request_body off; proxy_read_timeout 2s; } location / {",
                "",
            ),
            ("proxy_read_timeout 1h;", "@MORE@\n", ""),
            ("proxy_read_timeout 1h;", "proxy_read_timeout @T@;", ""),
        ] {
            assert!(GOOD.contains(good), "{good}");
            let expected: Vec<&str> = Some(expected)
                .into_iter()
                .filter(|e| !e.is_empty())
                .collect();
            assert_eq!(codes("", &GOOD.replace(good, bad)), expected, "{bad}");
        }
    }

    #[test]
    fn the_limits_are_those_of_the_worker() {
        assert_eq!(
            codes("REQUEST_TIMEOUT=7200", GOOD),
            ["read-timeout:4 Warning"]
        );
        assert_eq!(
            codes("KEEP_ALIVE_TIMEOUT=20", GOOD),
            ["keepalive-race:1 Warning"]
        );
    }
}
