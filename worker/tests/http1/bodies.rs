//! Where a body ends, and what it is packed in.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hive2api_worker::upstream::{Request, TransportError};

use crate::server::{Do, Server, answers, ask, client, get, ok, say};

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
