//! The smallest HTTP/1.1 client that can read a chunked answer while it comes.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use hive2api_simulators::{self as simulate, Options, Running};
use serde_json::Value;

pub(crate) const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36";

/// A simulator with all its accounts and no pauses.
pub(crate) fn start(name: &str) -> Running {
    let options = Options {
        accounts: simulate::ACCOUNTS,
        ..Options::default()
    };
    simulate::start(name, options).unwrap()
}

pub(crate) fn setting(running: &Running, name: &str) -> String {
    running
        .env()
        .into_iter()
        .find(|(key, _)| key == name)
        .unwrap_or_else(|| panic!("no {name}"))
        .1
}

/// A request that can be changed before it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<&'static str, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &'static str, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            headers: BTreeMap::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name).unwrap();
        self
    }

    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.header("Content-Type", "application/json")
    }

    pub(crate) fn form(mut self, parts: &[(&str, &str)]) -> Self {
        let part = |(name, value): &(&str, &str)| {
            // `name` may bring more parameters and headers along.
            let (name, more) = name.split_once('|').unwrap_or((name, ""));
            format!(
                "--XyZ\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{value}\r\n"
            )
        };
        self.body = parts.iter().map(part).collect::<String>().into_bytes();
        self.body.extend(b"--XyZ--\r\n");
        self.header("Content-Type", "multipart/form-data; boundary=XyZ")
    }

    /// Sends the request and reads the status line and headers.
    pub(crate) fn send(&self, running: &Running) -> io::Result<Answer> {
        let host = running.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n",
            self.method,
            self.path,
            self.body.len()
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(&self.body)?;
        Answer::head(stream)
    }

    /// Sends the request and reads the whole answer.
    pub(crate) fn ask(&self, running: &Running) -> Answer {
        let mut answer = self.send(running).unwrap();
        answer.rest().unwrap();
        answer
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    reader: BufReader<TcpStream>,
}

impl Answer {
    fn head(stream: TcpStream) -> io::Result<Self> {
        let mut answer = Self {
            status: 0,
            headers: BTreeMap::new(),
            body: Vec::new(),
            reader: BufReader::new(stream),
        };
        let status = answer.line()?;
        answer.status = status
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        loop {
            let line = answer.line()?;
            let Some((name, value)) = line.split_once(": ") else {
                return Ok(answer);
            };
            answer.headers.insert(name.to_lowercase(), value.to_owned());
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        Ok(line.trim_end_matches("\r\n").to_owned())
    }

    /// Reads one chunk; `false` at the end of the body.
    pub(crate) fn chunk(&mut self) -> io::Result<bool> {
        let size = self.line()?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk)?;
        chunk.truncate(size);
        self.body.extend(chunk);
        Ok(size > 0)
    }

    /// Reads the rest; an error when the connection breaks before the end.
    pub(crate) fn rest(&mut self) -> io::Result<()> {
        if let Some(length) = self.headers.get("content-length") {
            self.body = vec![0; length.parse().unwrap()];
            return self.reader.read_exact(&mut self.body);
        }
        while self.chunk()? {}
        Ok(())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// What stands after `data:` in each event.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
        data.map(|data| data.strip_prefix(' ').unwrap_or(data).to_owned())
            .collect()
    }
}

/// Waits until the simulator has noticed something, and says how long that took.
pub(crate) fn until(noticed: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !noticed() {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "it was never noticed"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    start.elapsed()
}
