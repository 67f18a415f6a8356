//! `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, as curl reads them. Both kinds of traffic go through a `CONNECT` tunnel.

use std::{fmt, io, net::IpAddr};

use actix_web::{http::Uri, rt::net::TcpStream};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::accounts::Secret;
use crate::impossible::OrImpossible as _;

/// Most bytes of a proxy's answer to `CONNECT`.
const MOST_HEAD_BYTES: usize = 8192;

/// One proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Proxy {
    host: String,
    port: u16,
    /// `user:password`, where the URL has them.
    login: Option<Secret>,
}

/// Which traffic goes through which proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exempt: Vec<Exempt>,
}

/// What is reached directly, by one member of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exempt {
    whom: Whom,
    /// Only on this port, where one is named.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Whom {
    Everybody,
    /// Addresses whose first bits are these; a single address has all of them.
    Network(IpAddr, u32),
    /// A name and what is below it.
    Name(String),
}

impl Exempt {
    /// `*`, `name`, `.name`, `*.name`, an address, a network (`10.0.0.0/8`), an IPv6 address with or without brackets;
    /// names and addresses perhaps with a port.
    fn read(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self {
                whom: Whom::Everybody,
                port: None,
            });
        }
        // Before a port is looked for: an IPv6 address is full of colons.
        if let Some(network) = network(text) {
            return Some(Self {
                whom: network,
                port: None,
            });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let whom = network(host).or_else(|| {
            let name = host
                .trim_start_matches("*.")
                .trim_matches('.')
                .to_ascii_lowercase();
            (!name.is_empty()).then_some(Whom::Name(name))
        })?;
        Some(Self { whom, port })
    }

    fn has(&self, host: &str, port: u16) -> bool {
        let is_whom = match &self.whom {
            Whom::Everybody => true,
            Whom::Network(network, bits) => host
                .parse()
                .is_ok_and(|address: IpAddr| shares(address.to_canonical(), *network, *bits)),
            Whom::Name(name) => host
                .strip_suffix(name.as_str())
                // Below it, not merely ending like it: `notexample.org` is no part of `example.org`.
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
        };
        is_whom && self.port.is_none_or(|only| only == port)
    }
}

/// An address or a network.
fn network(text: &str) -> Option<Whom> {
    let (address, bits) = text
        .split_once('/')
        .map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(most), |bits| {
        bits.parse().ok().filter(|&bits| bits <= most)
    })?;
    Some(Whom::Network(address, bits))
}

/// Whether the first `bits` of two addresses are the same.
fn shares(one: IpAddr, other: IpAddr, bits: u32) -> bool {
    let rest =
        // All bits of the width are other's business for `/0`: a shift by the whole width is none that the machine has,
        // and leaves nothing that differs.
        |width: u32, differing: u128| differing.checked_shr(width - bits).unwrap_or_default() == 0;
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            rest(32, u128::from(one.to_bits() ^ other.to_bits()))
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => rest(128, one.to_bits() ^ other.to_bits()),
        _ => false,
    }
}

/// Why a proxy URL cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be http://[user:password@]host[:port]; other kinds of proxies are not supported")]
pub struct BadProxy;

impl Proxies {
    /// From the values of the three variables; an absent one is empty. `exempt` is a list separated by commas or blanks;
    /// what is in it and no name, address or network exempts nothing.
    ///
    /// # Errors
    /// [`BadProxy`] for a URL that is no `http://` proxy.
    pub fn new(http: &str, https: &str, exempt: &str) -> Result<Self, BadProxy> {
        let exempt = exempt.split(|c: char| c == ',' || c.is_whitespace());
        Ok(Self {
            http: parse(http)?,
            https: parse(https)?,
            exempt: exempt.filter_map(Exempt::read).collect(),
        })
    }

    /// The proxy for a URL, if any. This machine is always reached directly.
    fn of(&self, url: &Uri) -> Option<&Proxy> {
        let host = url
            .host()?
            .trim_start_matches('[')
            .trim_end_matches(']')
            .trim_end_matches('.')
            .to_ascii_lowercase();
        // What listens here cannot be reached through somebody else's machine, and curl's users expect it.
        let is_local = host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: IpAddr| address.to_canonical().is_loopback());
        let port = super::socket::port(url);
        if is_local || self.exempt.iter().any(|exempt| exempt.has(&host, port)) {
            return None;
        }
        match url.scheme_str() {
            Some("https" | "wss") => self.https.as_ref(),
            // Plain `ws` goes with `http`, as both are tunnelled.
            _ => self.http.as_ref(),
        }
    }

    /// A tunnel to the URL's host, or `None` where no proxy is set for it.
    pub(super) async fn tunnel(&self, url: &Uri, port: u16) -> Option<io::Result<TcpStream>> {
        let proxy = self.of(url)?;
        Some(
            proxy
                .connect(
                    url.host().or_impossible("a proxy was chosen by the host"),
                    port,
                )
                .await,
        )
    }
}

fn parse(url: &str) -> Result<Option<Proxy>, BadProxy> {
    // `HTTP_PROXY=` in a .env is how people switch it off.
    if url.trim().is_empty() {
        return Ok(None);
    }
    let url = url.trim();
    // A bare host:port is an http proxy, as with curl.
    let rest = if url.contains("://") {
        url.strip_prefix("http://").ok_or(BadProxy)?
    } else {
        url
    };
    // The last one: a password may hold an `@` that nobody has encoded.
    let (login, address) = rest
        .rsplit_once('@')
        .map_or((None, rest), |(login, address)| {
            (Some(Secret::new(login)), address)
        });
    let address: Uri = format!("http://{}", address.trim_end_matches('/'))
        .parse()
        .map_err(|_| BadProxy)?;
    let host = address.host().ok_or(BadProxy)?.to_owned();
    Ok(Some(Proxy {
        host,
        port: address.port_u16().unwrap_or(80),
        login,
    }))
}

impl Proxy {
    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect((
            self.host.trim_start_matches('[').trim_end_matches(']'),
            self.port,
        ))
        .await?;
        // Users percent-encode what would end the URL's user info; the header wants it as it was.
        let login = self.login.as_ref().map(|login| {
            let decoded = percent_encoding::percent_decode_str(login.expose()).decode_utf8_lossy();
            format!(
                "Proxy-Authorization: Basic {}\r\n",
                STANDARD.encode(decoded.as_bytes())
            )
        });
        let request = format!(
            "CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{}\r\n",
            login.unwrap_or_default()
        );
        stream.write_all(request.as_bytes()).await?;
        // Byte by byte: what follows the head belongs to the tunnel.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
            if head.len() > MOST_HEAD_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        let is_open = head
            // `HTTP/1.x 200 …`: the ninth byte is the blank before the status.
            .get(8..12)
            .is_some_and(|status| status.starts_with(b" 2"));
        if is_open {
            Ok(stream)
        } else {
            Err(io::Error::other("the proxy refused the tunnel"))
        }
    }
}

impl fmt::Display for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |proxy: &Option<Proxy>| {
            proxy.as_ref().map_or_else(
                || "none".to_owned(),
                |proxy| format!("{}:{}", proxy.host, proxy.port),
            )
        };
        write!(
            f,
            "http: {}, https: {}",
            name(&self.http),
            name(&self.https)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(proxies: &Proxies, url: &str) -> Option<String> {
        proxies
            .of(&url.parse().unwrap())
            .map(|proxy| proxy.host.clone())
    }

    #[test]
    fn chooses_as_curl_does() {
        let proxies =
            Proxies::new("http://a:1", "b:2", "internal.example, .corp, 10.0.0.5").unwrap();
        assert_eq!(via(&proxies, "http://x.com/").as_deref(), Some("a"));
        assert_eq!(via(&proxies, "https://x.com/").as_deref(), Some("b"));
        for direct in [
            "https://internal.example/",
            "https://a.internal.example/",
            "http://h.corp/",
            "http://10.0.0.5/",
            "http://127.0.0.1:9/",
            "http://localhost/",
            "http://[::1]/",
        ] {
            assert_eq!(via(&proxies, direct), None, "{direct}");
        }
        assert_eq!(
            via(&proxies, "https://notinternal.example/").as_deref(),
            Some("b")
        );
        assert!(Proxies::new("", "socks5://x:1", "").is_err());
        assert_eq!(Proxies::new("", "", "").unwrap(), Proxies::default());
    }

    #[test]
    fn exempts_networks_ports_and_both_kinds_of_addresses() {
        let list = "localhost,10.0.0.0/8 172.16.0.0/12\t192.168.7.9 , fd00::/8,[2001:db8::1],2001:db8:1::2, *.Wild.example ., .dot.example. , only.example:8080,[fe80::5]:90,9.9.9.9/40,0.0.0.0/x,1.2.3.4:5";
        let proxies = Proxies::new("http://a:1", "b:2", list).unwrap();
        for direct in [
            "http://10.255.0.1/",
            "http://172.31.255.255:9/",
            "http://192.168.7.9/",
            "http://[fd12::1]/",
            "http://[2001:db8::1]/",
            "http://[2001:db8:1::2]/",
            "http://[::ffff:10.1.2.3]/",
            "http://wild.example/",
            "http://a.WILD.example/",
            "http://dot.example./",
            "http://only.example:8080/",
            "http://[fe80::5]:90/",
            "http://1.2.3.4:5/",
            "http://127.9.9.9/",
        ] {
            assert_eq!(via(&proxies, direct), None, "{direct}");
        }
        for through in [
            "http://11.0.0.1/",
            "http://172.32.0.0/",
            "http://192.168.7.90/",
            "http://[fe00::1]/",
            "http://[2001:db8::2]/",
            "http://only.example/",
            "http://[fe80::5]/",
            "http://9.9.9.9/",
            "http://1.2.3.4/",
            "http://10.example/",
        ] {
            assert!(via(&proxies, through).is_some(), "{through}");
        }
        let everybody = Proxies::new("http://a:1", "b:2", " * ").unwrap();
        assert_eq!(via(&everybody, "https://x.com/"), None);
        let whole = Proxies::new("http://a:1", "", "0.0.0.0/0, ::/0").unwrap();
        assert_eq!(via(&whole, "http://8.8.8.8/"), None);
        assert_eq!(via(&whole, "http://[2606::1]/"), None);
        assert!(via(&whole, "http://x.com/").is_some());
    }

    #[actix_web::test]
    async fn opens_a_tunnel_and_keeps_the_login_to_itself() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = actix_web::rt::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 1024];
            let length = stream.read(&mut head).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\ntunnelled")
                .await
                .unwrap();
            String::from_utf8_lossy(head.get(..length).unwrap()).into_owned()
        });
        let proxies = Proxies::new(&format!("http://user:p%40ss@{address}"), "", "").unwrap();
        assert!(!format!("{proxies:?} {proxies}").contains("p%40ss"));
        let mut stream = proxies
            .tunnel(&"http://far.example/".parse().unwrap(), 80)
            .await
            .unwrap()
            .unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "tunnelled");
        let asked = served.await.unwrap();
        assert!(
            asked.starts_with("CONNECT far.example:80 HTTP/1.1\r\n"),
            "{asked}"
        );
        assert!(
            asked.contains(&format!("Basic {}", STANDARD.encode("user:p@ss"))),
            "{asked}"
        );
    }
}
