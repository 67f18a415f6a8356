//! Pictures and documents that a caller attaches: data URLs are decoded, https URLs are fetched behind a guard
//! against server-side request forgery. Only public addresses, looked up once and pinned; each redirect is
//! checked anew; size and time are limited.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use actix_web::http::Uri;
use bytes::{Bytes, BytesMut};
use percent_encoding::AsciiSet;

pub use super::attachment::Attachment;
use super::{
    answer::Answer,
    attachment::{decode, named},
    client::{Client, Request, TransportError},
};

use crate::impossible::OrImpossible as _;

/// A store may send on to a signed address or a region; each hop costs a look-up and a connection, and a circle must
/// end.
const MOST_REDIRECTS: usize = 3;
/// It goes into headers of multipart forms and into the lists of files that services show.
const MOST_NAME_BYTES: usize = 128;

/// What may be fetched.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Most bytes of one attachment (the wire pages say 100 MB).
    pub most_bytes: usize,
    /// Longest time for one attachment, redirects included.
    pub timeout: Duration,
    /// `host:port` pairs that may be private and may speak plain http: the operator's own stores.
    pub allowed_hosts: Vec<String>,
    /// `host:port` pairs of the services' addresses in the settings: what a service has made may lie there, too. No caller
    /// may point there.
    pub own_hosts: Vec<String>,
}

impl Policy {
    /// For what a service has made, at the address that it says.
    #[must_use]
    pub fn for_results(&self) -> Self {
        let allowed = self.allowed_hosts.iter().chain(&self.own_hosts);
        Self {
            allowed_hosts: allowed.cloned().collect(),
            ..self.clone()
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            // wire/qwen.md section 4.4 and wire/kimi.md section 4.4: 100 MB, and a minute for it.
            most_bytes: 100 << 20,
            timeout: Duration::from_secs(60),
            allowed_hosts: Vec::new(),
            own_hosts: Vec::new(),
        }
    }
}

/// Why an attachment could not be had; each is the caller's to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Neither a data URL nor an https URL.
    #[error("only data URLs and https URLs are accepted")]
    BadUrl,
    /// A data URL that does not hold base64.
    #[error("the data URL does not hold valid base64")]
    BadData,
    /// A name that leads to an address of a private network.
    #[error("the URL does not lead to a public address")]
    NotPublic,
    /// A name that leads nowhere.
    #[error("the URL's host could not be found")]
    NoSuchHost,
    /// Larger than the policy allows.
    #[error("the attachment is too large")]
    TooLarge,
    /// Too slow.
    #[error("the attachment could not be fetched in time")]
    Timeout,
    /// All requests together hold as much memory as they may.
    #[error("this worker has no memory left for it; try again shortly")]
    NoRoom,
    /// Anything but a 200, or a redirect too many.
    #[error("the attachment could not be fetched")]
    Refused,
}

/// Gets an attachment from where the caller points. `stem` names it when nothing else does; `room` says whether there is
/// memory for so many bytes of it that did not come with the request.
///
/// # Errors
/// [`FetchError`].
pub async fn attachment(
    client: &Client,
    policy: &Policy,
    source: &str,
    file_name: Option<&str>,
    stem: &str,
    room: &dyn Fn(usize) -> bool,
) -> Result<Attachment, FetchError> {
    let source = source.trim();
    // `get`, as an index could stand within a character.
    let scheme = source.get(..5).unwrap_or_default();
    if let (true, Some(data)) = (scheme.eq_ignore_ascii_case("data:"), source.get(5..)) {
        return decode(data, policy, file_name, stem);
    }
    if !source.contains("://") && file_name.is_some() {
        // `file_data` may be plain base64 beside its name.
        return decode(&format!(";base64,{source}"), policy, file_name, stem);
    }
    tokio::time::timeout(
        policy.timeout,
        fetch(client, policy, source, file_name, stem, room),
    )
    .await
    .map_err(|_| FetchError::Timeout)?
}

/// What may not stand in a URL, and does where one was copied from a browser's address bar. `%` may: it is there for
/// what has been encoded already.
const UNSAFE: &AsciiSet = &percent_encoding::CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// An address as people paste it, as a URL.
/// Browsers take line breaks and tabs out of an address (WHATWG URL, 4.4) and encode what is in [`UNSAFE`]; http's
/// parser refuses both.
fn encoded(address: &str) -> String {
    let joined: String = address.trim().split(['\t', '\r', '\n']).collect();
    percent_encoding::utf8_percent_encode(&joined, UNSAFE).to_string()
}

/// A file that came with a request, with the name and the type that it goes by. `stem` names it when nothing else does.
pub fn file(name: &str, content_type: &str, bytes: Bytes, stem: &str) -> Attachment {
    let is_name = !name.is_empty()
        && name.len() <= MOST_NAME_BYTES
        && !name.contains(|c: char| c.is_control() || "/\\\"".contains(c));
    let name = is_name.then(|| name.to_owned());
    named(name, content_type, bytes, stem)
}

/// Opens an https URL behind the guard, to be read as it comes. `range` is the value of a `Range` header.
///
/// # Errors
/// [`FetchError`]; an answer is 200, or 206 and 416 to a range.
pub async fn open(
    client: &Client,
    policy: &Policy,
    url: &str,
    range: Option<&str>,
) -> Result<Answer, FetchError> {
    let opening = follow(client, policy, url, range);
    let (answer, _) = tokio::time::timeout(policy.timeout, opening)
        .await
        .map_err(|_| FetchError::Timeout)??;
    Ok(answer)
}

/// The rest of what [`open`] has opened, as a file.
///
/// # Errors
/// [`FetchError`].
pub async fn whole(
    mut answer: Answer,
    policy: &Policy,
    stem: &str,
    room: &dyn Fn(usize) -> bool,
) -> Result<Attachment, FetchError> {
    let content_type = answer.content_type();
    let reading = within(&mut answer, policy.most_bytes, room);
    let bytes = tokio::time::timeout(policy.timeout, reading)
        .await
        .map_err(|_| FetchError::Timeout)??;
    Ok(named(None, &content_type, bytes, stem))
}

/// The `outcome` label of `hive_upstream_requests_total`.
pub fn outcome<T>(result: &Result<T, FetchError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(FetchError::Timeout) => "timeout",
        Err(FetchError::NoSuchHost | FetchError::BadUrl | FetchError::NotPublic) => "connect",
        Err(FetchError::Refused) => "http_4xx",
        Err(FetchError::BadData | FetchError::TooLarge | FetchError::NoRoom) => "broken",
    }
}

async fn fetch(
    client: &Client,
    policy: &Policy,
    source: &str,
    file_name: Option<&str>,
    stem: &str,
    room: &dyn Fn(usize) -> bool,
) -> Result<Attachment, FetchError> {
    let (mut answer, target) = follow(client, policy, source, None).await?;
    let content_type = answer.content_type();
    let bytes = within(&mut answer, policy.most_bytes, room).await?;
    let name = file_name.map_or_else(|| target.file_name(), |name| Some(name.to_owned()));
    Ok(named(name, &content_type, bytes, stem))
}

/// The answer at the end of all redirects, and where that is.
async fn follow(
    client: &Client,
    policy: &Policy,
    source: &str,
    range: Option<&str>,
) -> Result<(Answer, Target), FetchError> {
    let mut url = encoded(source);
    for _ in 0..=MOST_REDIRECTS {
        let target = Target::parse(&url, policy)?;
        let mut request = Request::get("fetch", url.clone())
            .header("accept", "*/*")
            .header("user-agent", "hive2api")
            // The whole is limited by the caller's time-out; this keeps the client's own, shorter one from ending a
            // large file's pause.
            .timeout(policy.timeout);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        // Looked up here and pinned: between a check and a second look-up by whoever connects, the answer of a hostile
        // name server could change (DNS rebinding).
        request.address = Some(target.resolve().await?);
        let answer = client
            .send_anywhere(request)
            .await
            .map_err(|error| match error {
                TransportError::Timeout => FetchError::Timeout,
                _ => FetchError::Refused,
            })?;
        if answer.status.is_redirection() {
            let location = answer.header("location").ok_or(FetchError::Refused)?;
            url = target.follow(&encoded(location))?;
            continue;
        }
        return match answer.status.as_u16() {
            200 => Ok((answer, target)),
            // 416 has no content, but is what a player wants to hear of a range that is none.
            206 | 416 if range.is_some() => Ok((answer, target)),
            _ => Err(FetchError::Refused),
        };
    }
    // A redirect too many.
    Err(FetchError::Refused)
}

/// The whole body; `room` is asked before there is more of it.
async fn within(
    answer: &mut Answer,
    most: usize,
    room: &dyn Fn(usize) -> bool,
) -> Result<Bytes, FetchError> {
    let mut bytes = BytesMut::new();
    loop {
        let chunk = answer.chunk().await.map_err(|error| match error {
            TransportError::Timeout => FetchError::Timeout,
            _ => FetchError::Refused,
        })?;
        let Some(chunk) = chunk else {
            return Ok(bytes.freeze());
        };
        let length = bytes.len() + chunk.len();
        if length > most {
            return Err(FetchError::TooLarge);
        }
        // Memory is asked for before it is taken and doubled as a vector would, so that there are few questions and
        // never more than twice the file.
        if length > bytes.capacity() {
            let wanted = (2 * bytes.capacity()).max(length).min(most);
            if !room(wanted) {
                return Err(FetchError::NoRoom);
            }
            bytes.reserve(wanted - bytes.len());
        }
        bytes.extend_from_slice(&chunk);
    }
}

struct Target {
    scheme: String,
    origin: String,
    host: String,
    port: u16,
    path: String,
    is_allowed: bool,
}

impl Target {
    fn parse(url: &str, policy: &Policy) -> Result<Self, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::BadUrl)?;
        let (scheme, authority) = uri
            .scheme_str()
            .zip(uri.authority())
            .ok_or(FetchError::BadUrl)?;
        // User info in a URL serves only to mislead the eye.
        if authority.as_str().contains('@') {
            return Err(FetchError::BadUrl);
        }
        // `lookup_host` wants an IPv6 address without the brackets that a URL puts around it.
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase();
        let port = authority
            .port_u16()
            .unwrap_or(if scheme == "https" { 443 } else { 80 });
        let is_allowed = policy
            .allowed_hosts
            .iter()
            // With the port: a store on one port does not open the machine's other ones.
            .any(|allowed| *allowed == format!("{host}:{port}"));
        if scheme != "https" && !(scheme == "http" && is_allowed) {
            return Err(FetchError::BadUrl);
        }
        Ok(Self {
            scheme: scheme.to_owned(),
            origin: format!("{scheme}://{authority}"),
            host,
            port,
            path: uri.path().to_owned(),
            is_allowed,
        })
    }

    /// The one address to connect to. All addresses of the name must be public: a name with a public and a
    /// private address is an attempt to get in by chance.
    async fn resolve(&self) -> Result<SocketAddr, FetchError> {
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|_| FetchError::NoSuchHost)?
            .collect();
        let first = addresses.first().copied().ok_or(FetchError::NoSuchHost)?;
        if self.is_allowed || addresses.iter().all(|address| is_public(address.ip())) {
            Ok(first)
        } else {
            Err(FetchError::NotPublic)
        }
    }

    /// Where a redirect leads, resolved as RFC 3986 section 5.2 says; what it leads to is judged when it is parsed.
    fn follow(&self, location: &str) -> Result<String, FetchError> {
        let location = location
            .split('#')
            .next()
            .or_impossible("a split has one part at least");
        let (path, query) = match location.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (location, String::new()),
        };
        // Nothing before a colon but what a scheme may have: `a/b:c` is a relative path (RFC 3986 section 4.2).
        if let Some((scheme, _)) = path.split_once(':')
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        {
            return Ok(location.to_owned());
        }
        if location.starts_with("//") {
            return Ok(format!("{}:{location}", self.scheme));
        }
        let path = match path {
            // A redirect to where we are would go round until [`MOST_REDIRECTS`] ends it.
            "" if query.is_empty() => return Err(FetchError::Refused),
            "" => self.path.clone(),
            absolute if absolute.starts_with('/') => without_dots(absolute),
            relative => {
                let (folder, _) = self.path.rsplit_once('/').unwrap_or_default();
                without_dots(&format!("{folder}/{relative}"))
            }
        };
        Ok(format!("{}{path}{query}", self.origin))
    }

    /// The last part of the path, where it is a file's name.
    fn file_name(&self) -> Option<String> {
        let last = self.path.rsplit('/').next()?;
        let decoded = percent_encoding::percent_decode_str(last)
            .decode_utf8()
            .ok()?;
        let is_name = decoded.contains('.')
            && decoded.len() <= MOST_NAME_BYTES
            && !decoded.contains(|c: char| c.is_control() || "/\\\"".contains(c));
        is_name.then(|| decoded.into_owned())
    }
}

/// A path without `.` and `..`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// Whether an address belongs to the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_documentation() || v4.is_multicast())
        // `0.0.0.0/8` is this machine for many systems; 240 and above is reserved, and holds the broadcast address.
        && a != 0
        && a < 240
        && !(a == 100 && (64..128).contains(&b)) // shared address space of carriers
        && !(a == 192 && b == 0 && c == 0) // protocol assignments
        && !(a == 192 && b == 88 && c == 99) // 6to4 relays
        && !(a == 198 && (18..20).contains(&b)) // benchmarks
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let segments = v6.segments();
    let [_, _, _, _, _, _, high, low] = segments;
    let inner =
        |high: u16, low: u16| is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match segments {
        // IPv4 addresses in IPv6 clothes: mapped (::ffff:0:0/96), translated (NAT64), and 6to4, whose relay would reach
        // the one within.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => inner(high, low),
        [0x2002, high, low, ..] => inner(high, low),
        // Special-purpose blocks within 2000::/3: protocol assignments with Teredo, documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Everything else outside of 2000::/3 is not assigned to anybody on the internet: loopback, link-local, unique
        // local, multicast.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
