//! `--online`: can the configured providers be reached, what time do they think it is, does a store answer. No
//! credential is sent anywhere.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_web::http::{Method, Uri, header::HttpDate};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    finding::{Finding, Location, Rule, Severity},
    names,
    setup::Setup,
};
use crate::{
    providers::{
        Card,
        registry::{self, PROVIDERS},
    },
    upstream::{Client, Request, Timeouts},
};

/// For a name, for a connection, for an answer: each.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Answers take time, and their dates are whole seconds.
const SMALL_SKEW: Duration = Duration::from_secs(30);
/// Beyond this, signed requests are refused.
const LARGE_SKEW: Duration = Duration::from_secs(300);

const UNREACHABLE: Rule = Rule::error(
    "provider-unreachable",
    "Every question to this provider fails or waits for its time-out.",
    "Check the name, the firewall, and HTTPS_PROXY; where a provider is not wanted, delete its credential.",
);
const SKEW: Rule = Rule::warning(
    "clock-skew",
    "Signatures, proofs and tokens carry the time; services refuse wrong ones.",
    "Switch on time synchronisation (timedatectl set-ntp true).",
);
const NO_ANSWER: Rule = Rule::warning(
    "store-unreachable",
    "This version has no store and does not need it; whoever set it expects it to be there.",
    "Start it, correct the address, or delete the line.",
);

/// An address that the worker would call.
struct Target {
    provider: String,
    url: String,
    place: Location,
}

/// Looks; takes a few seconds at most.
pub(super) fn check(setup: &Setup) -> Vec<Finding> {
    // Installed already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    actix_web::rt::System::new().block_on(look(setup))
}

async fn look(setup: &Setup) -> Vec<Finding> {
    let timeouts = Timeouts {
        connect: LONGEST_WAIT,
        stall: LONGEST_WAIT,
    };
    let client = Client::with_proxies(timeouts, Arc::clone(&setup.settings.upstream.proxies));
    let targets = targets(setup);
    let has_proxy = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"]
        .iter()
        .any(|name| setup.variables.contains_key(*name));
    let providers = targets
        .iter()
        .map(|target| provider(&client, target, has_proxy));
    let stores = ["STORE_URL"].iter().chain(names::OTHER_STORES);
    let stores = stores.filter_map(|name| {
        let (url, place) = setup.variables.get(*name)?;
        // A file, or none at all.
        let is_elsewhere = url.contains("://") && !url.starts_with("sqlite:");
        is_elsewhere.then(|| store(name, url, place))
    });
    let providers = join_all(providers).await.into_iter().flatten();
    let mut found: Vec<Finding> = providers.collect();
    found.extend(join_all(stores).await.into_iter().flatten());
    found
}

/// Of the providers that have an account.
fn targets(setup: &Setup) -> Vec<Target> {
    let Some(first) = setup.env.first() else {
        return Vec::new();
    };
    let is_configured = |card: &&&Card| setup.opinion.configured.iter().any(|one| one == card.name);
    let known = PROVIDERS.iter().filter(is_configured).filter_map(|card| {
        let (name, default) = card.site()?;
        let set = setup.variables.get(name);
        // A proxy stands for all of a service's hosts.
        let set = set.or_else(|| {
            setup
                .variables
                .get(&format!("{}_BASE_URL", card.name.to_ascii_uppercase()))
        });
        let (url, place) = set
            .cloned()
            .unwrap_or_else(|| (default.to_owned(), first.whole()));
        let provider = card.name.to_owned();
        Some(Target {
            provider,
            url,
            place,
        })
    });
    let lanes = setup.variables.keys().filter_map(|name| {
        let (number, address) = registry::lane_of(name)?;
        let (url, place) = setup.variables.get(&address)?.clone();
        let provider = format!("lane {number}");
        Some(Target {
            provider,
            url,
            place,
        })
    });
    known.chain(lanes).collect()
}

async fn provider(client: &Client, target: &Target, has_proxy: bool) -> Option<Finding> {
    let uri: Uri = target.url.parse().ok()?; // What is no URL was complained about already.
    let (host, scheme) = (uri.host()?, uri.scheme_str()?);
    let refused = |why: &str| {
        let what = format!("{} ({host}) {why}", target.provider);
        Some(UNREACHABLE.at(&target.place, what))
    };
    if !has_proxy && !resolves(host).await {
        return refused("has no address: its name cannot be looked up");
    }
    let authority = uri.authority()?.as_str().rsplit('@').next()?;
    let request = Request::new("doctor", Method::HEAD, format!("{scheme}://{authority}/"));
    match client.send(request).await {
        Ok(answer) => {
            let theirs: HttpDate = answer.header("date")?.parse().ok()?;
            skew(host, theirs.into(), SystemTime::now(), &target.place)
        }
        Err(error) => refused(&format!("does not answer: {error}")),
    }
}

async fn resolves(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let looked_up = timeout(LONGEST_WAIT, tokio::net::lookup_host((host, 443))).await;
    looked_up.is_ok_and(|answer| answer.is_ok_and(|mut all| all.next().is_some()))
}

fn skew(host: &str, theirs: SystemTime, ours: SystemTime, place: &Location) -> Option<Finding> {
    let (apart, way) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    (apart > SMALL_SKEW).then(|| {
        let what = format!(
            "this machine's clock is {} s {way} that of {host}",
            apart.as_secs()
        );
        let severity = if apart > LARGE_SKEW {
            Severity::Error
        } else {
            SKEW.severity
        };
        SKEW.at(place, what).as_severe_as(severity)
    })
}

/// A refused PING is an answer: somebody is there.
async fn store(name: &str, url: &str, place: &Location) -> Option<Finding> {
    let refused = |why: &str| Some(NO_ANSWER.at(place, format!("the store of {name} {why}")));
    let Some((host, port, is_plain)) = address(url) else {
        return refused("has no address that can be read: redis://host:port");
    };
    let connecting = timeout(LONGEST_WAIT, TcpStream::connect((host.as_str(), port))).await;
    let Ok(Ok(mut stream)) = connecting else {
        return refused("cannot be connected to");
    };
    if !is_plain {
        return None;
    }
    let asking = async {
        stream.write_all(b"PING\r\n").await?;
        let mut first = [0];
        stream.read_exact(&mut first).await.map(|_| first[0])
    };
    match timeout(LONGEST_WAIT, asking).await {
        Ok(Ok(b'+' | b'-')) => None,
        _ => refused("does not answer PING"),
    }
}

/// Host, port, and whether it speaks without TLS.
fn address(url: &str) -> Option<(String, u16, bool)> {
    let uri: Uri = url.parse().ok()?;
    let is_plain = !matches!(uri.scheme_str(), Some("rediss" | "valkeys"));
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), uri.port_u16().unwrap_or(6379), is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_of_stores() {
        let own = |host: &str, port, plain| Some((host.to_owned(), port, plain));
        assert_eq!(
            address("redis://:secret@cache:7000/1"),
            own("cache", 7000, true)
        );
        assert_eq!(address("rediss://cache"), own("cache", 6379, false));
        assert_eq!(address("redis://[::1]:1"), own("::1", 1, true));
        assert_eq!(address("/just/a/path"), None);
    }

    #[test]
    fn a_few_seconds_are_no_skew() {
        let place = Location::new(&"f".into(), 0);
        let now = SystemTime::now();
        let of = |seconds: u64| skew("h", now - Duration::from_secs(seconds), now, &place);
        assert!(of(20).is_none());
        assert_eq!(of(60).unwrap().severity, Severity::Warning);
        assert_eq!(of(600).unwrap().severity, Severity::Error);
        let fast = skew("h", now + Duration::from_secs(600), now, &place).unwrap();
        assert!(fast.what.contains("behind"), "{}", fast.what);
    }

    #[actix_web::test]
    async fn a_silent_store_is_found_and_a_talking_one_is_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "redis://127.0.0.1:{}",
            listener.local_addr().unwrap().port()
        );
        let place = Location::new(&"f".into(), 1);
        let (answer, served) = tokio::join!(store("REDIS_URL", &url, &place), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 6];
            stream.read_exact(&mut asked).await.unwrap();
            stream.write_all(b"+PONG\r\n").await.unwrap();
            asked
        });
        assert_eq!((answer, &served), (None, b"PING\r\n"));
        drop(listener);
        let finding = store("REDIS_URL", &url, &place).await.unwrap();
        assert_eq!(finding.code, "store-unreachable");
    }
}
