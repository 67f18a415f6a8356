//! The HTTP client against servers as they really are: a server that says bytes, and on which connections it was asked.

#![allow(
    clippy::unwrap_used,
    clippy::string_slice,
    reason = "in a test, and in what serves only tests, a panic is the report"
)]

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use hive2api_worker::upstream::{Answer, Client, Request, Timeouts, TransportError};

/// What a server does.
#[derive(Clone, Debug)]
enum Do {
    Say(Vec<u8>),
    Wait(u64),
    Close,
    Reset,
    Hold,
    /// Reads so many bytes of the request's body. If it comes first, the body is not read otherwise.
    Read(usize),
}

fn say(text: &str) -> Do {
    Do::Say(text.as_bytes().to_vec())
}

fn whole(body: &str) -> Do {
    say(&format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// A question: on which connection, which of that connection, and its path.
struct Asked {
    connection: usize,
    number: usize,
    path: String,
    head: String,
}

/// A server whose answers are a function of the question; it counts connections and questions.
struct Server {
    url: String,
    connections: Arc<AtomicUsize>,
    questions: Arc<AtomicUsize>,
}

impl Server {
    fn start(answer: impl Fn(&Asked) -> Vec<Do> + Send + Sync + 'static) -> Self {
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

    fn seen(&self) -> (usize, usize) {
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

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(Timeouts {
        connect: Duration::from_secs(5),
        stall: Duration::from_secs(5),
    })
}

async fn ask(client: &Client, server: &Server, path: &str) -> Result<Answer, TransportError> {
    let request = Request::post("test", format!("{}{path}", server.url)).body("{}");
    client.send(request).await
}

/// Status and body.
async fn get(
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

fn ok(body: &str) -> Result<(u16, String), TransportError> {
    Ok((200, body.to_owned()))
}

/// What one answer is, whole; and that the next caller gets the answer to the next question.
async fn answers(acts: Vec<Do>) -> (Result<(u16, String), TransportError>, (usize, usize)) {
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

#[actix_web::test]
async fn any_number_of_interim_heads_comes_before_the_answer() {
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n",
        "HTTP/1.1 199 Made up\r\nContent-Length: 5\r\n\r\n",
    ] {
        let (first, seen) =
            answers(vec![say(&interim.repeat(3)), Do::Wait(20), whole("ann")]).await;
        assert_eq!((first, seen), (ok("ann"), (1, 3)), "{interim}");
        // In one piece, and torn within a head.
        let (head, tail) = interim.split_at(20);
        let acts = vec![
            say(head),
            Do::Wait(20),
            say(&format!("{tail}{interim}")),
            whole("ann"),
        ];
        assert_eq!(answers(acts).await, (ok("ann"), (1, 3)), "{interim}");
    }
    let flood = say(&"HTTP/1.1 102 Processing\r\n\r\n".repeat(20_000));
    assert_eq!(answers(vec![flood, whole("ann")]).await.0, ok("ann"));
}

#[actix_web::test]
async fn what_nobody_asked_for_is_never_the_next_answer() {
    let unasked = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
    // With the answer, just behind it, and later while the connection waits.
    let Do::Say(mut both) = whole("ann") else {
        unreachable!()
    };
    both.extend_from_slice(unasked.as_bytes());
    let at_once = vec![Do::Say(both)];
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nann\r\n0\r\n\r\n";
    for acts in [
        at_once,
        vec![say(&format!("{chunked}{unasked}"))],
        vec![whole("ann"), Do::Wait(20), say(unasked)],
        vec![say("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nwrong")],
        vec![
            say("HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n"),
            say("wrong"),
        ],
    ] {
        let server = Server::start(move |asked| match asked.path.as_str() {
            "/first" => acts.clone(),
            other => vec![whole(other)],
        });
        let client = client();
        get(&client, &server, "/first").await.unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(get(&client, &server, "/second").await, ok("/second"));
        assert_eq!(server.seen(), (2, 2));
    }
    // The event loop has had no turn in which it could have heard of it.
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/first" => vec![whole("ann"), Do::Wait(50), say(unasked)],
        other => vec![whole(other)],
    });
    let client = client();
    get(&client, &server, "/first").await.unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(get(&client, &server, "/second").await, ok("/second"));
}

#[actix_web::test]
async fn an_answer_that_was_not_read_to_its_end_ends_its_connection() {
    for first in [
        vec![
            say("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nHello"),
            Do::Wait(50),
            say(&"x".repeat(45)),
        ],
        vec![
            say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n"),
            Do::Wait(50),
            say("0\r\n\r\n"),
        ],
        vec![
            say("HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\n"),
            Do::Wait(50),
            say("Hello"),
        ],
    ] {
        let server = Server::start(move |asked| match asked.path.as_str() {
            "/first" => first.clone(),
            other => vec![whole(other)],
        });
        let client = client();
        drop(ask(&client, &server, "/first").await.unwrap());
        assert_eq!(get(&client, &server, "/second").await, ok("/second"));
        // Nor one that was given up while it was waited for.
        let slow = ask(&client, &server, "/first");
        let _ = tokio::time::timeout(Duration::from_millis(1), slow).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(get(&client, &server, "/third").await, ok("/third"));
        assert!(server.seen().0 >= 2);
    }
}

#[actix_web::test]
async fn a_body_may_end_with_the_connection() {
    for head in [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n",
    ] {
        let acts = vec![
            say(&format!("{head}\r\nHel")),
            Do::Wait(20),
            say("lo"),
            Do::Close,
        ];
        assert_eq!(answers(acts).await, (ok("Hello"), (2, 3)), "{head}");
        assert_eq!(
            answers(vec![say(&format!("{head}\r\n")), Do::Close])
                .await
                .0,
            ok("")
        );
        // A reset is no end.
        let acts = vec![say(&format!("{head}\r\nHello")), Do::Wait(50), Do::Reset];
        assert_eq!(answers(acts).await.0, Err(TransportError::Broken), "{head}");
    }
    // With a length or chunks it may not.
    for head in ["Content-Length: 6", "Transfer-Encoding: chunked"] {
        let acts = vec![
            say(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nHel")),
            Do::Close,
        ];
        assert!(matches!(
            answers(acts).await.0,
            Err(TransportError::Broken) | Ok((200, _))
        ));
    }
    let acts = vec![
        say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n"),
        Do::Close,
    ];
    assert_eq!(answers(acts).await.0, Err(TransportError::Broken));
}

#[actix_web::test]
async fn chunks_have_extensions_and_trailers_and_the_connection_goes_on() {
    let body =
        "5;a=1\r\nHello\r\n1  ;b=\"x;y\"\r\n!\r\n0;end\r\nServer-Timing: x\r\nDigest: y\r\n\r\n";
    let acts = vec![say(&format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Digest\r\n\r\n{body}"
    ))];
    assert_eq!(answers(acts).await, (ok("Hello!"), (1, 3)));
    let many = "3;sig=0123456789abcdef\r\nabc\r\n".repeat(3000);
    let acts = vec![say(&format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{many}0\r\n\r\n"
    ))];
    assert_eq!(answers(acts).await, (ok(&"abc".repeat(3000)), (1, 3)));
}

/// A packed body whose pieces are sent one after the other.
fn pieces(coding: &str) -> Vec<Vec<u8>> {
    use flate2::{Compression, write};
    let texts = [&b"data: one\n\n"[..], b"data: two\n\n"];
    fn each<W: std::io::Write>(
        mut encoder: W,
        texts: [&[u8]; 2],
        taken: impl Fn(&mut W) -> Vec<u8>,
    ) -> Vec<Vec<u8>> {
        let packed = texts.map(|text| {
            encoder.write_all(text).unwrap();
            encoder.flush().unwrap();
            taken(&mut encoder)
        });
        packed.into()
    }
    let level = Compression::new(6);
    let mut packed = match coding {
        "gzip" | "x-gzip" => {
            return {
                let mut encoder = write::GzEncoder::new(Vec::new(), level);
                let mut packed = each(&mut encoder, texts, |encoder| {
                    std::mem::take(encoder.get_mut())
                });
                packed.push(encoder.finish().unwrap());
                packed
            };
        }
        "deflate" => {
            let mut encoder = write::ZlibEncoder::new(Vec::new(), level);
            let mut packed = each(&mut encoder, texts, |encoder| {
                std::mem::take(encoder.get_mut())
            });
            packed.push(encoder.finish().unwrap());
            packed
        }
        "raw" => {
            let mut encoder = write::DeflateEncoder::new(Vec::new(), level);
            let mut packed = each(&mut encoder, texts, |encoder| {
                std::mem::take(encoder.get_mut())
            });
            packed.push(encoder.finish().unwrap());
            packed
        }
        "zstd" => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            let mut packed = each(&mut encoder, texts, |encoder| {
                std::mem::take(encoder.get_mut())
            });
            packed.push(encoder.finish().unwrap());
            packed
        }
        _ => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            let mut packed = each(&mut encoder, texts, |encoder| {
                std::mem::take(encoder.get_mut())
            });
            packed.push(encoder.into_inner());
            packed
        }
    };
    packed.retain(|piece| !piece.is_empty());
    packed
}

#[actix_web::test]
async fn what_is_packed_unasked_is_unpacked_as_it_comes() {
    for (coding, label) in [
        ("gzip", "gzip"),
        ("x-gzip", "X-Gzip"),
        ("deflate", "deflate"),
        ("raw", "deflate"),
        ("br", "br"),
        ("zstd", "zstd"),
    ] {
        let sent = pieces(coding);
        let chunked = |piece: &Vec<u8>| {
            let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
            chunk.extend_from_slice(piece);
            chunk.extend_from_slice(b"\r\n");
            Do::Say(chunk)
        };
        let mut acts = vec![say(&format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {label}\r\nTransfer-Encoding: chunked\r\n\r\n"
        ))];
        for piece in &sent {
            acts.extend([chunked(piece), Do::Wait(150)]);
        }
        acts.push(say("0\r\n\r\n"));
        let server = Server::start(move |_| acts.clone());
        let client = client();
        let mut answer = ask(&client, &server, "/").await.unwrap();
        let start = Instant::now();
        assert_eq!(
            answer.chunk().await,
            Ok(Some(Bytes::from_static(b"data: one\n\n"))),
            "{coding}"
        );
        assert!(
            start.elapsed() < Duration::from_millis(140),
            "{coding}: it waited for the end"
        );
        assert_eq!(
            answer.chunk().await,
            Ok(Some(Bytes::from_static(b"data: two\n\n"))),
            "{coding}"
        );
        assert_eq!(answer.chunk().await, Ok(None), "{coding}");
        // Whole, with a length, and as a transfer coding.
        let whole = sent.concat();
        for head in [
            format!(
                "Content-Encoding: {label}\r\nContent-Length: {}",
                whole.len()
            ),
            format!("Content-Encoding: {label}"),
            format!("Transfer-Encoding: {label}"),
        ] {
            let acts = vec![
                say(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n")),
                Do::Say(whole.clone()),
                Do::Close,
            ];
            assert_eq!(
                answers(acts).await.0,
                ok("data: one\n\ndata: two\n\n"),
                "{coding} {head}"
            );
        }
        let half = whole[..whole.len() - 3].to_vec();
        let acts = vec![
            say(&format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: {label}\r\n\r\n"
            )),
            Do::Say(half),
            Do::Close,
        ];
        let torn = answers(acts).await.0;
        assert!(
            torn == Err(TransportError::Broken) || coding == "br" && torn.is_err(),
            "{coding}: {torn:?}"
        );
    }
}

#[actix_web::test]
async fn a_bomb_is_refused() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b' '; 64 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 70_000);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    );
    let server = Server::start(move |_| vec![say(&head), Do::Say(bomb.clone())]);
    let mut answer = ask(&client(), &server, "/").await.unwrap();
    let mut unpacked = 0;
    let end = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => unpacked += chunk.len(),
            end => break end,
        }
    };
    assert_eq!(end, Err(TransportError::TooLarge));
    assert!(unpacked < 32 << 20, "{unpacked}");
}

#[actix_web::test]
async fn an_early_answer_to_a_long_upload_is_read() {
    let refusal =
        "HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large";
    for end in [Do::Hold, Do::Close, Do::Reset] {
        let server =
            Server::start(move |_| vec![Do::Read(10), say(refusal), Do::Wait(200), end.clone()]);
        let request = Request::post("test", format!("{}/", server.url)).body(vec![b'x'; 64 << 20]);
        let mut answer = client().send(request).await.unwrap();
        assert_eq!(answer.status.as_u16(), 413);
        assert_eq!(answer.bytes(100).await.unwrap(), "too large");
    }
    // One that answers while it still listens gets the rest.
    let server = Server::start(|asked| {
        assert!(asked.head.contains("content-length: 8388608\r\n"));
        let begun = say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHe");
        vec![Do::Read(10), begun, Do::Read((8 << 20) - 10), say("llo")]
    });
    let request = Request::post("test", format!("{}/", server.url)).body(vec![b'x'; 8 << 20]);
    let mut answer = client().send(request).await.unwrap();
    assert_eq!(answer.bytes(100).await.unwrap(), "Hello");
}

#[actix_web::test]
async fn redirects_are_refused_with_words() {
    for status in [301, 302, 303, 307, 308] {
        let acts = vec![say(&format!(
            "HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
        ))];
        let (error, _) = answers(acts).await;
        assert!(
            error.unwrap_err().to_string().contains("redirect"),
            "{status}"
        );
    }
}

#[actix_web::test]
async fn head_has_no_body() {
    let server = Server::start(|asked| {
        assert!(asked.head.starts_with("HEAD ") || asked.number > 0 || asked.connection > 0);
        vec![
            say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            say(if asked.path == "/b" { "Hello" } else { "" }),
        ]
    });
    let client = client();
    let head = Request::new(
        "test",
        actix_web::http::Method::HEAD,
        format!("{}/a", server.url),
    );
    let mut answer = client.send(head).await.unwrap();
    assert_eq!(answer.bytes(10).await.unwrap(), "");
    assert_eq!(get(&client, &server, "/b").await, ok("Hello"));
    assert_eq!(server.seen(), (1, 2));
}

#[actix_web::test]
async fn a_used_connection_that_dies_before_the_answer_is_replaced_once() {
    for end in [Do::Close, Do::Reset] {
        // Every second question of a connection finds it closed.
        let server = Server::start(move |asked| match asked.number {
            0 => vec![whole(&asked.path)],
            _ => vec![end.clone()],
        });
        let client = client();
        for path in ["/a", "/b", "/c"] {
            assert_eq!(get(&client, &server, path).await, ok(path));
        }
        assert_eq!(server.seen(), (3, 5));
    }
    // Once, and not on a new connection.
    let server = Server::start(|asked| match asked.path.as_str() {
        "/ok" => vec![whole("ok")],
        _ => vec![Do::Close],
    });
    let client = client();
    assert_eq!(
        get(&client, &server, "/bad").await,
        Err(TransportError::Broken)
    );
    assert_eq!(server.seen(), (1, 1));
    assert_eq!(get(&client, &server, "/ok").await, ok("ok"));
    assert_eq!(
        get(&client, &server, "/bad").await,
        Err(TransportError::Broken)
    );
    assert_eq!(server.seen(), (3, 4));
    // What sending uses up is not sent twice.
    let used = Request::post("test", format!("{}/bad", server.url)).once();
    assert_eq!(get(&client, &server, "/ok").await, ok("ok"));
    let (_, before) = server.seen();
    assert!(client.send(used).await.is_err());
    assert_eq!(server.seen().1, before + 1);
    // Whoever has said anything has begun to work on it.
    let server = Server::start(|asked| match asked.path.as_str() {
        "/ok" => vec![whole("ok")],
        "/interim" => vec![say("HTTP/1.1 100 Continue\r\n\r\n"), Do::Close],
        _ => vec![say("HTTP/1"), Do::Close],
    });
    for path in ["/interim", "/part"] {
        let client = self::client();
        assert_eq!(get(&client, &server, "/ok").await, ok("ok"));
        let (_, before) = server.seen();
        assert_eq!(
            get(&client, &server, path).await,
            Err(TransportError::Broken)
        );
        assert_eq!(server.seen().1, before + 1);
    }
}

#[actix_web::test]
async fn heads_that_contradict_themselves_are_errors() {
    for head in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 4",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 200 OK\r\nContent-Length: -5",
        "SSH-2.0-OpenSSH_9",
    ] {
        let (error, _) = answers(vec![say(&format!("{head}\r\n\r\nHello"))]).await;
        let words = error.unwrap_err().to_string();
        assert!(words.contains("not proper HTTP"), "{head}: {words}");
    }
    let endless = say(&format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(1 << 20)));
    assert!(answers(vec![endless]).await.0.is_err());
}

#[actix_web::test]
async fn what_passes_is_said_in_words_that_agents_know() {
    let passing = [
        TransportError::Connect,
        TransportError::Timeout,
        TransportError::Broken,
    ];
    for error in passing {
        assert!(error.to_string().contains("server error"), "{error}");
    }
    for error in [
        TransportError::BadUrl,
        TransportError::TooLarge,
        TransportError::NotJson,
    ] {
        let words = error.to_string();
        for known in [
            "server error",
            "reset",
            "ECONN",
            "overloaded",
            "timeout",
            "unavailable",
        ] {
            assert!(!words.contains(known), "{error}");
        }
    }
}

#[actix_web::test]
async fn requests_are_written_as_they_were_made() {
    let server = Server::start(|asked| vec![whole(&asked.head)]);
    let request = Request::post("test", format!("{}/a/b?c=d%20e", server.url))
        .header("x-one", "1")
        .header("x-two", "zwei \u{fc}")
        .pieces(vec!["ab".into(), Bytes::new(), "c".into()]);
    let mut answer = client().send(request).await.unwrap();
    let host = server.url.strip_prefix("http://").unwrap();
    let head = format!(
        "POST /a/b?c=d%20e HTTP/1.1\r\nhost: {host}\r\ncontent-length: 3\r\nx-one: 1\r\nx-two: zwei \u{fc}\r\n\r\n"
    );
    assert_eq!(answer.bytes(1000).await.unwrap(), head);
    let mut answer = client()
        .send(Request::get("test", server.url.clone()))
        .await
        .unwrap();
    let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
    assert_eq!(answer.bytes(1000).await.unwrap(), head);
}
