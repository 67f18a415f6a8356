//! Pictures and documents that a caller attaches: data URLs are decoded, https URLs are fetched behind a guard
//! against server-side request forgery. Only public addresses, looked up once and pinned; each redirect is
//! checked anew; size and time are limited.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use actix_web::http::Uri;
use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::{Bytes, BytesMut};

use super::{
    answer::Answer,
    client::{Client, Request, TransportError},
};

const MOST_REDIRECTS: usize = 3;
/// Clients differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What may be fetched.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Most bytes of one attachment (the wire pages say 100 MB).
    pub most_bytes: usize,
    /// Longest time for one attachment, redirects included.
    pub timeout: Duration,
    /// `host:port` pairs that may be private and may speak plain http: the operator's own stores.
    pub allowed_hosts: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            most_bytes: 100 << 20,
            timeout: Duration::from_secs(60),
            allowed_hosts: Vec::new(),
        }
    }
}

/// A picture or document, ready to be uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// File name with its ending.
    pub name: String,
    /// MIME type, without parameters, in lower case.
    pub content_type: String,
    /// The content.
    pub bytes: Bytes,
}

impl Attachment {
    /// Whether it is a picture by its type.
    pub fn is_image(&self) -> bool {
        self.content_type.starts_with("image/")
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
    if let Some(data) = source.strip_prefix("data:") {
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

fn decode(
    data: &str,
    policy: &Policy,
    file_name: Option<&str>,
    stem: &str,
) -> Result<Attachment, FetchError> {
    let (head, payload) = data.split_once(',').ok_or(FetchError::BadData)?;
    let content_type = head.strip_suffix(";base64").ok_or(FetchError::BadData)?;
    if payload.len() / 4 * 3 > policy.most_bytes {
        return Err(FetchError::TooLarge);
    }
    let bytes = BASE64
        .decode(payload.trim_end())
        .map_err(|_| FetchError::BadData)?;
    Ok(named(
        file_name.map(str::to_owned),
        content_type,
        bytes.into(),
        stem,
    ))
}

async fn fetch(
    client: &Client,
    policy: &Policy,
    source: &str,
    file_name: Option<&str>,
    stem: &str,
    room: &dyn Fn(usize) -> bool,
) -> Result<Attachment, FetchError> {
    let mut url = source.to_owned();
    for _ in 0..=MOST_REDIRECTS {
        let target = Target::parse(&url, policy)?;
        let mut request = Request::get("fetch", url.clone())
            .header("accept", "*/*")
            .header("user-agent", "hive2api")
            .timeout(policy.timeout);
        request.address = Some(target.resolve().await?);
        let mut answer = client
            .send_anywhere(request)
            .await
            .map_err(|error| match error {
                TransportError::Timeout => FetchError::Timeout,
                _ => FetchError::Refused,
            })?;
        if answer.status.is_redirection() {
            url = target.follow(answer.header("location").ok_or(FetchError::Refused)?)?;
            continue;
        }
        if answer.status.as_u16() != 200 {
            return Err(FetchError::Refused);
        }
        let content_type = answer.content_type();
        let bytes = within(&mut answer, policy.most_bytes, room).await?;
        let last_segment = target
            .path
            .rsplit('/')
            .next()
            .filter(|name| name.contains('.') && name.len() <= 128);
        return Ok(named(
            file_name.or(last_segment).map(str::to_owned),
            &content_type,
            bytes,
            stem,
        ));
    }
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

fn named(name: Option<String>, content_type: &str, bytes: Bytes, stem: &str) -> Attachment {
    let content_type = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    // The caller wrote it, and it becomes a header of an upload.
    let is_type = |c: char| c.is_ascii_alphanumeric() || "/+-._".contains(c);
    let content_type = if content_type.chars().all(is_type) {
        content_type
    } else {
        String::new()
    };
    let guessed = || {
        let kind = name
            .as_deref()
            .map(mime_guess::from_path)
            .and_then(|guess| guess.first());
        kind.map_or_else(
            || "application/octet-stream".to_owned(),
            |kind| kind.essence_str().to_owned(),
        )
    };
    let is_vague = content_type.is_empty() || content_type == "application/octet-stream";
    let content_type = if is_vague { guessed() } else { content_type };
    let name = name.unwrap_or_else(|| format!("{stem}.{}", extension(&content_type)));
    Attachment {
        name,
        content_type,
        bytes,
    }
}

/// The usual file ending of a type.
fn extension(content_type: &str) -> &'static str {
    match content_type {
        // The guess would be the alphabetically first ending, which nobody uses.
        "image/jpeg" => "jpg",
        "text/plain" => "txt",
        other => mime_guess::get_mime_extensions_str(other)
            .and_then(|endings| endings.first())
            .copied()
            .unwrap_or("bin"),
    }
}

struct Target {
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
            .any(|allowed| *allowed == format!("{host}:{port}"));
        if scheme != "https" && !(scheme == "http" && is_allowed) {
            return Err(FetchError::BadUrl);
        }
        Ok(Self {
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

    fn follow(&self, location: &str) -> Result<String, FetchError> {
        if location.contains("://") {
            Ok(location.to_owned())
        } else if location.starts_with('/') && !location.starts_with("//") {
            Ok(format!("{}{location}", self.origin))
        } else {
            Err(FetchError::Refused)
        }
    }
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
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => inner(high, low),
        [0x2002, high, low, ..] => inner(high, low),
        // Special-purpose blocks within 2000::/3: protocol assignments with Teredo, documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_private_addresses_in_all_their_dresses() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "ff02::1",
            "::7f00:1",
            "fec0::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    fn client() -> Client {
        // What main does at start.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::new(Default::default())
    }

    #[actix_web::test]
    async fn refuses_urls_that_are_no_public_https() {
        let client = client();
        for (url, expected) in [
            ("http://example.com/a.png", FetchError::BadUrl),
            ("file:///etc/passwd", FetchError::BadUrl),
            ("https://user@127.0.0.1/", FetchError::BadUrl),
            ("nonsense", FetchError::BadUrl),
            ("https://127.0.0.1/a.png", FetchError::NotPublic),
            ("https://localhost:8443/a.png", FetchError::NotPublic),
            ("https://[::1]/a.png", FetchError::NotPublic),
            ("https://[::ffff:10.0.0.1]/", FetchError::NotPublic),
            ("https://2130706433/", FetchError::NotPublic),
        ] {
            let error = attachment(&client, &Policy::default(), url, None, "x", &|_| true)
                .await
                .unwrap_err();
            assert!(
                error == expected
                    || (error == FetchError::NoSuchHost && url.contains("2130706433")),
                "{url}: {error:?}"
            );
        }
    }

    #[actix_web::test]
    async fn decodes_data_urls() {
        let client = client();
        let policy = Policy {
            most_bytes: 10,
            ..Policy::default()
        };
        let get = async |source: &str, name| {
            attachment(&client, &policy, source, name, "stem", &|_| true).await
        };
        let picture = get("data:image/jpeg;base64,/9g", None).await.unwrap();
        assert_eq!(
            (
                picture.name.as_str(),
                picture.content_type.as_str(),
                picture.bytes.as_ref()
            ),
            ("stem.jpg", "image/jpeg", &[0xff, 0xd8][..])
        );
        assert!(picture.is_image());
        let hostile = get("data:image/png\r\nX: y;base64,/9g", None)
            .await
            .unwrap();
        assert_eq!(hostile.content_type, "application/octet-stream");
        assert_eq!(
            get("data:text/plain,hello", None).await,
            Err(FetchError::BadData)
        );
        assert_eq!(
            get("data:image/png;base64,@@@", None).await,
            Err(FetchError::BadData)
        );
        assert_eq!(
            get("data:image/png;base64,AAAAAAAAAAAAAAAAAAAAAAAA", None).await,
            Err(FetchError::TooLarge)
        );
        assert_eq!(
            get("aGk=", Some("notes.pdf")).await.unwrap().content_type,
            "application/pdf"
        );
    }
}
