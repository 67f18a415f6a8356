//! Both ends by hand: a caller who writes bytes and reads bytes, and an API that keeps what it was sent.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{Hive, KEY};

/// Sends bytes on a connection of their own and gives what comes back until its end.
pub(crate) fn exchange(hive: &Hive, bytes: &[u8]) -> String {
    let mut connection = connect(hive);
    connection.write_all(bytes).unwrap();
    read(&mut connection)
}

pub(crate) fn connect(hive: &Hive) -> TcpStream {
    let connection = TcpStream::connect(hive.url.strip_prefix("http://").unwrap()).unwrap();
    connection
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    connection
}

/// All that comes until the connection ends.
pub(crate) fn read(connection: &mut TcpStream) -> String {
    let mut all = Vec::new();
    connection.read_to_end(&mut all).unwrap();
    String::from_utf8(all).unwrap()
}

/// The head of a chat completion, in the given version and with further lines.
pub(crate) fn head(version: &str, more: &str, length: usize) -> String {
    format!(
        "POST /v1/chat/completions {version}\r\nHost: gateway.example\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n{more}Content-Length: {length}\r\n\r\n"
    )
}

/// An API for a lane named `lab` that answers each request with the same bytes and then closes.
pub(crate) struct Api {
    url: String,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// "Hello", whole.
pub(crate) const WHOLE: &str = r#"{"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}"#;

impl Api {
    /// Answers with [`WHOLE`].
    pub(crate) fn whole() -> Self {
        Self::saying(
            "application/json",
            WHOLE.as_bytes().to_vec(),
            Duration::ZERO,
        )
    }

    /// Answers with `body`, after a wait.
    pub(crate) fn saying(content_type: &'static str, body: Vec<u8>, wait: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bodies = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let kept = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (kept, body) = (Arc::clone(&kept), body.clone());
                std::thread::spawn(move || {
                    let mut connection = connection.unwrap();
                    kept.lock().unwrap().push(asked(&mut connection));
                    std::thread::sleep(wait);
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
                        body.len()
                    );
                    let _ = connection.write_all(head.as_bytes());
                    let _ = connection.write_all(&body);
                });
            }
        });
        Self { url, bodies }
    }

    /// What makes a worker use it.
    pub(crate) fn settings(&self) -> [(&str, &str); 4] {
        [
            ("OPENAI_COMPAT_1_NAME", "lab"),
            ("OPENAI_COMPAT_1_BASE_URL", &self.url),
            ("OPENAI_COMPAT_1_API_KEY", "sk-upstream-0123456789"),
            ("OPENAI_COMPAT_1_MODELS", "m"),
        ]
    }

    /// The body that came last.
    pub(crate) fn last(&self) -> String {
        let bodies = self.bodies.lock().unwrap();
        String::from_utf8(bodies.last().unwrap().clone()).unwrap()
    }

    /// How many came.
    pub(crate) fn count(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }
}

/// Reads one request, whose length is declared.
fn asked(connection: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), [0; 1 << 16]);
    loop {
        let head = all.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = head {
            let head = String::from_utf8_lossy(&all[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .map_or(0, |length| length.trim().parse().unwrap());
            if all.len() >= end + 4 + length {
                return all.split_off(end + 4);
            }
        }
        match connection.read(&mut piece) {
            Ok(0) | Err(_) => return Vec::new(),
            Ok(read) => all.extend_from_slice(&piece[..read]),
        }
    }
}
