//! A worker as a process of its own, and what is asked of it.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use hive2api_simulators::{self as simulate, Options, Running};
use serde_json::json;

pub(crate) const KEY: &str = "sk-process-0123456789";

pub(crate) fn command(settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hive2api-worker"));
    command
        .env_clear()
        .envs(settings.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .stdin(Stdio::null());
    command
}

/// A folder of this test's own, removed when dropped.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hive2api-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, lines: &[(String, String)]) -> String {
        let path = self.0.join("accounts.env");
        let text: String = lines
            .iter()
            .map(|(name, value)| format!("{name}='{value}'\n"))
            .collect();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A worker that is serving; killed when dropped.
pub(crate) struct Worker {
    pub(crate) child: Child,
    pub(crate) port: u16,
}

impl Worker {
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let port_text = port.to_string();
        let mut all = vec![
            ("API_MASTER_KEY", KEY),
            ("HOST", "127.0.0.1"),
            ("PORT", port_text.as_str()),
            ("WORKER_THREADS", "1"),
            ("DRAIN_GRACE", "1"),
        ];
        all.extend_from_slice(settings);
        let worker = Self {
            child: command(&all).spawn().unwrap(),
            port,
        };
        until(Duration::from_secs(10), || {
            worker.get("/health").is_ok_and(|reply| reply.0 == 200)
        });
        worker
    }

    pub(crate) fn send(&self, head: &str, body: &str) -> std::io::Result<TcpStream> {
        self.send_with(head, KEY, body)
    }

    pub(crate) fn send_with(
        &self,
        head: &str,
        key: &str,
        body: &str,
    ) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(
            stream,
            "{head} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        Ok(stream)
    }

    /// Sends a chat again and again on one connection, until that many have been answered.
    pub(crate) fn flood(&self, body: &str, times: usize) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut writing = stream.try_clone().unwrap();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let writer = std::thread::spawn(move || {
            for _ in 0..times {
                writing.write_all(request.as_bytes()).unwrap();
            }
        });
        let (mut answered, mut tail, mut piece) = (0, Vec::new(), [0; 1 << 16]);
        while answered < times {
            let length = stream.read(&mut piece).unwrap();
            assert!(length > 0, "closed after {answered} of {times} answers");
            tail.extend_from_slice(&piece[..length]);
            // Whatever an answer says, its head begins like this.
            let head = b"HTTP/1.1 ";
            let mut at = 0;
            while let Some(next) = tail[at..].windows(head.len()).position(|it| it == head) {
                answered += 1;
                at += next + head.len();
            }
            let keep = tail.len().saturating_sub(head.len() - 1).max(at);
            tail.drain(..keep);
        }
        writer.join().unwrap();
    }

    pub(crate) fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        read(self.send(&format!("GET {path}"), "")?)
    }

    pub(crate) fn ask(&self, text: &str) -> (u16, String) {
        read(
            self.send("POST /v1/chat/completions", &question(text, false))
                .unwrap(),
        )
        .unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(
            Command::new("kill")
                .args([name, &self.child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end: exit code.
    pub(crate) fn wait_code(&mut self, within: Duration) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < within, "the worker does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end: exit code and everything that was logged.
    pub(crate) fn wait(mut self, within: Duration) -> (Option<i32>, String) {
        let code = self.wait_code(within);
        let mut log = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        (code, log)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn read(mut stream: TcpStream) -> std::io::Result<(u16, String)> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    Ok((status, text))
}

pub(crate) fn question(text: &str, stream: bool) -> String {
    json!({"model": "qwen-plus", "stream": stream, "messages": [{"role": "user", "content": text}]})
        .to_string()
}

pub(crate) fn until(within: Duration, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < within, "not within {within:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn qwen() -> Running {
    simulate::start("qwen", Options::default()).unwrap()
}

/// The value of a metric, labels included in its name; only for a worker that listens.
pub(crate) fn metric(worker: &Worker, name: &str) -> Option<f64> {
    let (status, page) = worker.get("/metrics").unwrap();
    assert_eq!(status, 200);
    page.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

pub(crate) fn run(settings: &[(&str, &str)]) -> Output {
    command(settings).output().unwrap()
}
