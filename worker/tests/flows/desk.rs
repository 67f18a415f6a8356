//! A service of a few words, for what a simulator has no order for: every request is told to a closure, which answers.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Asked {
    /// A header's value; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines();
        lines
            .find_map(|line| {
                let (known, value) = line.split_once(':')?;
                known.eq_ignore_ascii_case(name).then(|| value.trim())
            })
            .unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// What it is answered.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
    /// The connection breaks in mid-answer.
    pub(crate) is_cut: bool,
}

impl Told {
    pub(crate) fn json(body: &Value) -> Self {
        Self {
            status: 200,
            content_type: "application/json",
            body: body.to_string(),
            is_cut: false,
        }
    }

    pub(crate) fn stream(body: impl Into<String>) -> Self {
        Self {
            status: 200,
            content_type: "text/event-stream; charset=utf-8",
            body: body.into(),
            is_cut: false,
        }
    }

    pub(crate) fn status(status: u16, body: &str) -> Self {
        Self {
            status,
            content_type: "text/html",
            body: body.to_owned(),
            is_cut: false,
        }
    }

    pub(crate) fn cut(self) -> Self {
        Self {
            is_cut: true,
            ..self
        }
    }
}

/// DeepSeek's envelope of a success.
pub(crate) fn biz(data: &Value) -> Told {
    biz_code(0, "", data)
}

/// DeepSeek's envelope of a refusal.
pub(crate) fn biz_code(code: i64, message: &str, data: &Value) -> Told {
    let inner = json!({"biz_code": code, "biz_msg": message, "biz_data": data});
    Told::json(&json!({"code": 0, "msg": "", "data": inner}))
}

/// The service, and what it was asked.
pub(crate) struct Desk {
    pub(crate) url: String,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Desk {
    pub(crate) fn open(answer: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let log: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (kept, answer) = (Arc::clone(&log), Arc::new(answer));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (kept, answer, mut client) =
                    (Arc::clone(&kept), Arc::clone(&answer), client.unwrap());
                std::thread::spawn(move || {
                    let Some(asked) = read(&mut client) else {
                        return;
                    };
                    kept.lock().unwrap().push(asked.clone());
                    let told = answer(&asked);
                    // Longer than what comes: the client notices that it broke off.
                    let length = told.body.len() + usize::from(told.is_cut);
                    let head = format!(
                        "HTTP/1.1 {} X\r\ncontent-type: {}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n",
                        told.status, told.content_type
                    );
                    let _ = client.write_all((head + &told.body).as_bytes());
                });
            }
        });
        Self { url, log }
    }

    /// The requests to a path, in their order.
    pub(crate) fn calls(&self, path: &str) -> Vec<Asked> {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter(|asked| asked.path == path)
            .cloned()
            .collect()
    }
}

/// One request, to the end of its body.
fn read(client: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let mut more = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let path = head.split(' ').nth(1)?.to_owned();
            let mut asked = Asked {
                path,
                head,
                body: String::new(),
            };
            let length: usize = asked.header("content-length").parse().unwrap_or_default();
            while bytes.len() < end + 4 + length {
                let count = client.read(&mut more).ok().filter(|count| *count > 0)?;
                bytes.extend_from_slice(&more[..count]);
            }
            asked.body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
            return Some(asked);
        }
        let count = client.read(&mut more).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&more[..count]);
    }
}
