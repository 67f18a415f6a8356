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
use percent_encoding::AsciiSet;

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
    let source = source.trim();
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

fn decode(
    data: &str,
    policy: &Policy,
    file_name: Option<&str>,
    stem: &str,
) -> Result<Attachment, FetchError> {
    let (head, payload) = data.split_once(',').ok_or(FetchError::BadData)?;
    let (content_type, coding) = head.rsplit_once(';').ok_or(FetchError::BadData)?;
    if !coding.trim().eq_ignore_ascii_case("base64") {
        return Err(FetchError::BadData);
    }
    let bytes = from_base64(payload).ok_or(FetchError::BadData)?;
    if bytes.len() > policy.most_bytes {
        return Err(FetchError::TooLarge);
    }
    Ok(named(
        file_name.map(str::to_owned),
        content_type,
        bytes.into(),
        stem,
    ))
}

/// Base64 as people write it: in lines, with blanks, in the alphabet for URLs, percent-encoded, padded or not.
fn from_base64(payload: &str) -> Option<Vec<u8>> {
    let decode = |text: &[u8]| BASE64.decode(text).ok();
    decode(payload.trim().as_bytes()).or_else(|| {
        let plain: Vec<u8> = percent_encoding::percent_decode_str(payload)
            .filter(|byte| !byte.is_ascii_whitespace())
            .map(|byte| match byte {
                b'-' => b'+',
                b'_' => b'/',
                other => other,
            })
            .collect();
        let padded = plain.iter().rev().take_while(|&&byte| byte == b'=').count();
        decode(plain.get(..plain.len() - padded)?)
    })
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
fn encoded(address: &str) -> String {
    let joined: String = address.trim().split(['\t', '\r', '\n']).collect();
    percent_encoding::utf8_percent_encode(&joined, UNSAFE).to_string()
}

async fn fetch(
    client: &Client,
    policy: &Policy,
    source: &str,
    file_name: Option<&str>,
    stem: &str,
    room: &dyn Fn(usize) -> bool,
) -> Result<Attachment, FetchError> {
    let mut url = encoded(source);
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
            let location = answer.header("location").ok_or(FetchError::Refused)?;
            url = target.follow(&encoded(location))?;
            continue;
        }
        if answer.status.as_u16() != 200 {
            return Err(FetchError::Refused);
        }
        let content_type = answer.content_type();
        let bytes = within(&mut answer, policy.most_bytes, room).await?;
        let name = file_name.map_or_else(|| target.file_name(), |name| Some(name.to_owned()));
        return Ok(named(name, &content_type, bytes, stem));
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
    // Some names of types are in use, but are none.
    let content_type = match content_type.as_str() {
        "image/jpg" | "image/pjpeg" | "image/x-jpeg" | "image/x-jpg" => "image/jpeg".to_owned(),
        "image/x-png" => "image/png".to_owned(),
        "image/x-ms-bmp" | "image/x-bmp" => "image/bmp".to_owned(),
        "application/x-pdf" => "application/pdf".to_owned(),
        _ => content_type,
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
    let is_vague = VAGUE.contains(&content_type.as_str());
    // Stores say what they were told, or nothing; the content does not err.
    let may_err =
        is_vague || content_type.starts_with("image/") || content_type.starts_with("text/");
    let content_type = match sniffed(&bytes) {
        Some(kind) if may_err => kind.to_owned(),
        _ if is_vague => guessed(),
        _ => content_type,
    };
    let name = match name {
        // Services go by the ending: a picture is to have a picture's.
        Some(name)
            if content_type.starts_with("image/") && !has_ending_of(&name, &content_type) =>
        {
            format!("{name}.{}", extension(&content_type))
        }
        Some(name) => name,
        None => format!("{stem}.{}", extension(&content_type)),
    };
    Attachment {
        name,
        content_type,
        bytes,
    }
}

/// Types that say nothing.
const VAGUE: [&str; 11] = [
    "",
    "application/octet-stream",
    "binary/octet-stream",
    "application/binary",
    "application/x-binary",
    "application/unknown",
    "application/x-unknown",
    "application/force-download",
    "application/download",
    "application/x-download",
    "unknown/unknown",
];

/// The type of what begins like this. Source: the WHATWG's MIME sniffing standard, sections 6.1 and 6.3 (AVIF and HEIC: ISO
/// 14496-12).
fn sniffed(bytes: &[u8]) -> Option<&'static str> {
    Some(match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => "image/gif",
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => "image/webp",
        // Two letters are a word as well: the reserved bytes of the header are not.
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => "image/bmp",
        [b'I', b'I', 0x2a, 0, ..] | [b'M', b'M', 0, 0x2a, ..] => "image/tiff",
        [0, 0, 1, 0, _, 0, ..] => "image/x-icon",
        [
            _,
            _,
            _,
            _,
            b'f',
            b't',
            b'y',
            b'p',
            b'a',
            b'v',
            b'i',
            b'f' | b's',
            ..,
        ] => "image/avif",
        [
            _,
            _,
            _,
            _,
            b'f',
            b't',
            b'y',
            b'p',
            b'h',
            b'e',
            b'i',
            b'c' | b'x',
            ..,
        ] => "image/heic",
        [b'%', b'P', b'D', b'F', b'-', ..] => "application/pdf",
        _ => return None,
    })
}

fn has_ending_of(name: &str, content_type: &str) -> bool {
    mime_guess::from_path(name)
        .iter()
        .any(|kind| kind.essence_str() == content_type)
}

/// The usual file ending of a type.
fn extension(content_type: &str) -> &'static str {
    match content_type {
        // The guess would be the alphabetically first ending, which nobody uses.
        "image/jpeg" => "jpg",
        "text/plain" => "txt",
        "application/octet-stream" => "bin",
        "image/tiff" => "tiff",
        other => mime_guess::get_mime_extensions_str(other)
            .and_then(|endings| endings.first())
            .copied()
            .unwrap_or("bin"),
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
        let location = location.split('#').next().unwrap_or_default();
        let (path, query) = match location.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (location, String::new()),
        };
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
            && decoded.len() <= 128
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

    async fn get(source: &str, name: Option<&str>) -> Result<Attachment, FetchError> {
        attachment(&client(), &Policy::default(), source, name, "stem", &|_| {
            true
        })
        .await
    }

    const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

    #[actix_web::test]
    async fn base64_comes_in_lines_with_blanks_and_in_both_alphabets() {
        let plain = get(&format!("data:image/png;base64,{PNG}"), None)
            .await
            .unwrap();
        let lines = PNG
            .as_bytes()
            .chunks(20)
            .map(|line| std::str::from_utf8(line).unwrap());
        let lines: Vec<&str> = lines.collect();
        for written in [
            format!("data:image/png;base64, {PNG}"),
            format!("data:image/png;base64,{}", lines.join("\n")),
            format!(" DATA:image/png; Base64,{}\r\n", lines.join("\r\n ")),
            format!(
                "data:image/png;charset=utf-8;base64,{}",
                PNG.replace('+', "%2B").replace('/', "%2F")
            ),
            format!("data:;base64,{}", PNG.replace('+', "-").replace('/', "_")),
            format!("data:image/png;name=a.png;base64,{PNG}=="),
        ] {
            assert_eq!(get(&written, None).await.as_ref(), Ok(&plain), "{written}");
        }
        assert_eq!(
            get("data:image/png;base64,a b*c", None).await,
            Err(FetchError::BadData)
        );
        assert_eq!(
            get("data:image/png,abc", None).await,
            Err(FetchError::BadData)
        );
    }

    #[actix_web::test]
    async fn pictures_have_their_own_type_and_ending_whatever_is_said() {
        for (said, name, content_type, named) in [
            (
                "image/jpg;base64,/9j/4AAQSkZJRgABAQAAAQABAAD/2Q==",
                None,
                "image/jpeg",
                "stem.jpg",
            ),
            ("image/jpg;base64,AAAA", None, "image/jpeg", "stem.jpg"),
            (
                ";base64,R0lGODlhAQABAAAAACw=",
                None,
                "image/gif",
                "stem.gif",
            ),
            (
                "binary/octet-stream;base64,R0lGODdhAQABAAAAACw=",
                Some("x"),
                "image/gif",
                "x.gif",
            ),
            (
                "image/png;base64,/9j/4AAQSkZJRgABAQAAAQABAAD/2Q==",
                None,
                "image/jpeg",
                "stem.jpg",
            ),
            (
                "text/plain;base64,UklGRgAAAABXRUJQVlA4",
                None,
                "image/webp",
                "stem.webp",
            ),
            (
                "application/force-download;base64,Qk1GAAAAAAAAADYAAAA=",
                None,
                "image/bmp",
                "stem.bmp",
            ),
            (
                "binary/octet-stream;base64,JVBERi0xLjQK",
                None,
                "application/pdf",
                "stem.pdf",
            ),
            (
                "binary/octet-stream;base64,AAAA",
                Some("a.png"),
                "image/png",
                "a.png",
            ),
            (
                "application/octet-stream;base64,AAAA",
                None,
                "application/octet-stream",
                "stem.bin",
            ),
            (
                "text/plain;base64,Qk0gaXMgYSBjYXI=",
                None,
                "text/plain",
                "stem.txt",
            ),
            (
                "application/zip;base64,R0lGODlhAQABAAAAACw=",
                None,
                "application/zip",
                "stem.zip",
            ),
        ] {
            let found = get(&format!("data:{said}"), name).await.unwrap();
            assert_eq!(
                (found.content_type.as_str(), found.name.as_str()),
                (content_type, named),
                "{said}"
            );
        }
    }

    #[test]
    fn redirects_are_resolved_as_browsers_do() {
        let policy = Policy::default();
        let target = Target::parse("https://a.example:8443/b/c/d.png?e", &policy).unwrap();
        for (location, url) in [
            ("https://x.example/y", "https://x.example/y"),
            ("//x.example/y", "https://x.example/y"),
            ("/y?z=http://q", "https://a.example:8443/y?z=http://q"),
            ("y.png", "https://a.example:8443/b/c/y.png"),
            ("./y.png#f", "https://a.example:8443/b/c/y.png"),
            ("../y.png", "https://a.example:8443/b/y.png"),
            ("../../../../y/..", "https://a.example:8443/"),
            ("?y", "https://a.example:8443/b/c/d.png?y"),
            (
                "y/2020-01-01T00:00.png",
                "https://a.example:8443/b/c/y/2020-01-01T00:00.png",
            ),
        ] {
            assert_eq!(target.follow(location).as_deref(), Ok(url), "{location}");
        }
        assert_eq!(target.follow(""), Err(FetchError::Refused));
        assert!(Target::parse(&target.follow("file:///etc/passwd").unwrap(), &policy).is_err());
    }

    #[test]
    fn addresses_are_encoded_once() {
        for (pasted, url, name) in [
            (
                "https://a.example/图片.png",
                "https://a.example/%E5%9B%BE%E7%89%87.png",
                "图片.png",
            ),
            (
                " https://a.example/a b.png\n",
                "https://a.example/a%20b.png",
                "a b.png",
            ),
            (
                "https://a.example/a%20b.png?q=ü",
                "https://a.example/a%20b.png?q=%C3%BC",
                "a b.png",
            ),
        ] {
            assert_eq!(encoded(pasted), url);
            let target = Target::parse(&encoded(pasted), &Policy::default()).unwrap();
            assert_eq!(target.file_name().as_deref(), Some(name));
        }
    }
}
