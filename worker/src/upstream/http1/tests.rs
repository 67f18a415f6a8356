//! Answers over memory: the same bytes through this client and through hyper's, torn in many ways.

use std::{future::poll_fn, rc::Rc, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::{
    exchange::{Asked, Body, Upload},
    head::Head,
    pool::{Connection, Pool},
    wire::Wire,
};
use crate::upstream::TransportError;

/// What a service says that says `first`, and then whatever is written to the other end.
pub(in crate::upstream) async fn answered(first: &[u8]) -> (DuplexStream, (Head, Body)) {
    let (mut far, near) = tokio::io::duplex(1 << 20);
    far.write_all(first).await.unwrap();
    let answer = ask(near).await.unwrap();
    (far, answer)
}

async fn ask(stream: DuplexStream) -> Result<(Head, Body), TransportError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pool = Pool::new(Arc::default(), Duration::from_secs(1));
    let connection = Connection::new(Wire::Memory(stream), None);
    let mut asked = Asked::new(connection, Upload::new("GET".into(), &[], None), false);
    let (head, first) = poll_fn(|cx| asked.poll(cx)).await?;
    let permit = Arc::new(tokio::sync::Semaphore::new(1))
        .acquire_owned()
        .await
        .unwrap();
    let body = asked.body(&head, &first, (Rc::clone(&pool), permit))?;
    Ok((head, body))
}

/// Status and body, as far as it went, and whether it is whole; `None` where not even a head was understood.
type Read = Option<(u16, Vec<u8>, bool)>;

async fn by_us(answer: &[u8], at_once: usize) -> Read {
    let (far, near) = tokio::io::duplex(at_once);
    let read = async {
        let (head, mut body) = ask(near).await.ok()?;
        let mut read = BytesMut::new();
        loop {
            match poll_fn(|cx| body.poll(cx, &mut read)).await {
                Ok(true) => {}
                end => return Some((head.status.as_u16(), read.to_vec(), end.is_ok())),
            }
        }
    };
    tokio::join!(played(far, answer), read).1
}

async fn by_hyper(answer: &[u8]) -> Read {
    let (far, near) = tokio::io::duplex(answer.len().max(1));
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(near))
        .await
        .unwrap();
    let read = async {
        let request = hyper::Request::get("/")
            .header("host", "x")
            .body(Empty::new())
            .unwrap();
        let answer = sender.send_request(request).await.ok()?;
        let (status, mut body, mut read) =
            (answer.status().as_u16(), answer.into_body(), Vec::new());
        drop(sender);
        while let Some(frame) = body.frame().await {
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => read.extend_from_slice(&data),
                Ok(Err(_trailers)) => {}
                Err(_) => return Some((status, read, false)),
            }
        }
        Some((status, read, true))
    };
    let connected = async {
        let _ = connection.await;
    };
    tokio::join!(played(far, answer), connected, read).2
}

async fn played(mut far: DuplexStream, answer: &[u8]) {
    // To say anything before one is asked is a fault of its own. The reader may hang up in the middle.
    let _ = far.read(&mut [0; 1024]).await;
    let _ = far.write_all(answer).await;
    let _ = far.shutdown().await;
    let _ = far.read_to_end(&mut Vec::new()).await;
}

/// A head and a body that fit together, most of the time.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let interim = prop::collection::vec(
        prop::sample::select(vec![
            "100 Continue\r\n",
            "102 \r\nA: b\r\n",
            "103 Early\r\nLink: x\r\n",
        ]),
        0..3,
    );
    let body = prop::collection::vec("[a-z\r\n0-9]{1,20}", 0..6);
    let framing = prop::sample::select(vec!["length", "chunked", "close", "wrong", "1.0"]);
    let extension = prop::sample::select(vec!["", ";x", ";a=\"b;c\"", " ", "\t;y"]);
    let trailers = prop::sample::select(vec!["", "A: b\r\n", "A: b\r\nC: d\r\n"]);
    let status = prop::sample::select(vec![200_u16, 204, 206, 304, 404, 500]);
    (interim, body, framing, extension, trailers, status).prop_map(
        |(interim, body, framing, extension, trailers, status)| {
            let mut answer: String = interim
                .iter()
                .map(|head| format!("HTTP/1.1 {head}\r\n"))
                .collect();
            let whole = body.concat();
            let version = if framing == "1.0" { "1.0" } else { "1.1" };
            answer += &format!("HTTP/{version} {status} X\r\nServer: y\r\n");
            match framing {
                "length" => answer += &format!("Content-Length: {}\r\n\r\n{whole}", whole.len()),
                "wrong" => answer += &format!("Content-Length: {}\r\n\r\n{whole}", whole.len() + 1),
                "chunked" => {
                    answer += "Transfer-Encoding: chunked\r\n\r\n";
                    for piece in &body {
                        answer += &format!("{:x}{extension}\r\n{piece}\r\n", piece.len());
                    }
                    answer += &format!("0{extension}\r\n{trailers}\r\n");
                }
                _ => answer += &format!("\r\n{whole}"),
            }
            answer.into_bytes()
        },
    )
}

fn run<T>(future: impl Future<Output = T>) -> T {
    actix_web::rt::System::new().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the framing, both read the same, however it is torn.
    #[test]
    fn reads_what_hyper_reads(answer in answers(), at_once in 1_usize..60) {
        let (ours, hypers) = run(async { (by_us(&answer, at_once).await, by_hyper(&answer).await) });
        prop_assert_eq!(ours, hypers);
    }

    /// With a few bytes changed or cut off: what hyper takes for whole is whole and the same for us, and what we take
    /// for whole is the same as far as hyper read.
    #[test]
    fn agrees_with_hyper_about_what_is_whole(
        answer in answers(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in any::<prop::sample::Index>(),
        at_once in 1_usize..60,
    ) {
        let mut answer = answer;
        for (at, byte) in changes {
            let at = at.index(answer.len());
            answer[at] = byte;
        }
        if cut.index(2) == 0 {
            answer.truncate(cut.index(answer.len()) + 1);
        }
        let (ours, hypers) = run(async { (by_us(&answer, at_once).await, by_hyper(&answer).await) });
        // What only one of them refuses at once, such as contradictory lengths, is said in `head`.
        if let (Some(ours), Some(hypers)) = (ours, hypers) {
            let common = ours.1.len().min(hypers.1.len());
            prop_assert_eq!((ours.0, &ours.1[..common]), (hypers.0, &hypers.1[..common]));
            if hypers.2 && ours.2 {
                prop_assert_eq!(ours.1, hypers.1);
            }
        }
    }
}
