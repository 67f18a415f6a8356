//! A server that says bytes, and a client that asks it.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hive2api_worker::upstream::{Answer, Client, Request, Timeouts, TransportError};

/// What a server does.
#[derive(Clone, Debug)]
pub(crate) enum Do {
    Say(Vec<u8>),
    Wait(u64),
    Close,
    Reset,
    Hold,
    /// Reads so many bytes of the request's body. If it comes first, the body is not read otherwise.
    Read(usize),
}

pub(crate) fn say(text: &str) -> Do {
    Do::Say(text.as_bytes().to_vec())
}

pub(crate) fn whole(body: &str) -> Do {
    say(&format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// A question: on which connection, which of that connection, and its path.
pub(crate) struct Asked {
    pub(crate) connection: usize,
    pub(crate) number: usize,
    pub(crate) path: String,
    pub(crate) head: String,
}

/// A server whose answers are a function of the question; it counts connections and questions.
pub(crate) struct Server {
    pub(crate) url: String,
    connections: Arc<AtomicUsize>,
    questions: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Asked) -> Vec<Do> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            connections: Arc::default(),
            questions: Arc::default(),
        };
        let (connections, questions) = (server.connections.clone(), server.questions.clone());
        let answer = Arc::new(answer);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, questions) = (Arc::clone(&answer), questions.clone());
                let connection = connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    serve(stream.unwrap(), connection, &questions, &*answer)
                });
            }
        });
        server
    }

    pub(crate) fn seen(&self) -> (usize, usize) {
        (
            self.connections.load(Ordering::SeqCst),
            self.questions.load(Ordering::SeqCst),
        )
    }
}

/// Ends when the other side does.
fn serve(
    mut stream: TcpStream,
    connection: usize,
    questions: &AtomicUsize,
    answer: &dyn Fn(&Asked) -> Vec<Do>,
) -> Option<()> {
    for number in 0.. {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.extend(byte);
        }
        questions.fetch_add(1, Ordering::SeqCst);
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        let acts = answer(&Asked {
            connection,
            number,
            path,
            head,
        });
        let read = match acts.first() {
            Some(Do::Read(_)) => 0,
            _ => length,
        };
        stream.read_exact(&mut vec![0; read]).ok()?;
        for act in acts {
            match act {
                Do::Say(bytes) => stream.write_all(&bytes).ok()?,
                Do::Wait(ms) => std::thread::sleep(Duration::from_millis(ms)),
                Do::Close => {
                    stream.shutdown(Shutdown::Both).ok()?;
                    return None;
                }
                Do::Reset => {
                    socket2::SockRef::from(&stream)
                        .set_linger(Some(Duration::ZERO))
                        .unwrap();
                    return None;
                }
                Do::Hold => std::thread::sleep(Duration::from_secs(600)),
                Do::Read(length) => stream.read_exact(&mut vec![0; length]).ok()?,
            }
        }
    }
    None
}

pub(crate) fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(Timeouts {
        connect: Duration::from_secs(5),
        stall: Duration::from_secs(5),
    })
}

pub(crate) async fn ask(
    client: &Client,
    server: &Server,
    path: &str,
) -> Result<Answer, TransportError> {
    let request = Request::post("test", format!("{}{path}", server.url)).body("{}");
    client.send(request).await
}

/// Status and body.
pub(crate) async fn get(
    client: &Client,
    server: &Server,
    path: &str,
) -> Result<(u16, String), TransportError> {
    let mut answer = ask(client, server, path).await?;
    let body = answer.bytes(1 << 20).await?;
    Ok((
        answer.status.as_u16(),
        String::from_utf8(body.to_vec()).unwrap(),
    ))
}

pub(crate) fn ok(body: &str) -> Result<(u16, String), TransportError> {
    Ok((200, body.to_owned()))
}

/// What one answer is, whole; and that the next caller gets the answer to the next question.
pub(crate) async fn answers(
    acts: Vec<Do>,
) -> (Result<(u16, String), TransportError>, (usize, usize)) {
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/first" => acts.clone(),
        other => vec![whole(other)],
    });
    let client = client();
    let first = get(&client, &server, "/first").await;
    for other in ["/second", "/third"] {
        assert_eq!(get(&client, &server, other).await, ok(other));
    }
    (first, server.seen())
}
