//! The bytes that are sent, rendered once.

use std::{fs, io};

use serde_json::json;

use super::{
    options::{Mode, Options},
    socket::Place,
};

/// Where to connect, and what to send there.
pub(super) struct Target {
    /// Host and port.
    address: String,
    is_tls: bool,
    host: String,
    path: String,
    key: String,
    sessions: bool,
}

impl Target {
    /// Takes the URL apart.
    pub(super) fn new(options: &Options) -> io::Result<Self> {
        let wrong =
            |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("--url: {what}"));
        let (scheme, rest) = options.url.split_once("://").unwrap_or_default();
        let (is_tls, port) = match scheme {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return Err(wrong("wants http:// or https://")),
        };
        let (host, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if host.is_empty() || host.contains('@') {
            return Err(wrong("wants http://host:port/v1; a key belongs into --key"));
        }
        if options.key.chars().any(char::is_control) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the key holds a control character",
            ));
        }
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        Ok(Self {
            address: if has_port {
                host.to_owned()
            } else {
                format!("{host}:{port}")
            },
            is_tls,
            host: host.to_owned(),
            path: format!("{}{}", base.trim_end_matches('/'), options.path),
            key: options.key.clone(),
            sessions: options.sessions,
        })
    }

    /// Looks the address up.
    pub(super) async fn place(&self) -> io::Result<Place> {
        let address = tokio::net::lookup_host(&self.address)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.address)))?
            .next()
            .ok_or_else(|| io::Error::other("the name has no address"))?;
        let (name, _) = self.address.rsplit_once(':').unwrap_or_default();
        if self.is_tls {
            Place::tls(address, name)
        } else {
            Ok(Place::plain(address))
        }
    }

    /// The request of one connection.
    pub(super) fn request(&self, connection: usize, body: &[u8]) -> Vec<u8> {
        let mut head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: */*\r\nContent-Length: {}\r\n",
            self.path,
            self.host,
            body.len()
        );
        if !self.key.is_empty() {
            head.push_str(&format!("Authorization: Bearer {}\r\n", self.key));
        }
        if self.sessions {
            head.push_str(&format!("X-Session-Id: drive-{connection}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }
}

/// The body of the load.
pub(super) fn body(options: &Options) -> io::Result<Vec<u8>> {
    match &options.body {
        Some(file) => fs::read(file).map_err(|error| super::of(file, &error)),
        None => Ok(question(
            &options.model,
            &options.prompt,
            options.mode == Mode::Sse,
        )),
    }
}

/// A chat completion with one message.
pub(super) fn question(model: &str, prompt: &str, stream: bool) -> Vec<u8> {
    let messages = json!([{"role": "user", "content": prompt}]);
    json!({"model": model, "stream": stream, "messages": messages})
        .to_string()
        .into_bytes()
}
