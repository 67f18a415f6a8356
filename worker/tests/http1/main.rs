//! The HTTP client against servers as they really are: a server that says bytes, and on which connections it was asked.

#![allow(
    clippy::unwrap_used,
    clippy::string_slice,
    reason = "in a test, and in what serves only tests, a panic is the report"
)]

mod bodies;
mod server;

use std::time::Duration;

use bytes::Bytes;
use hive2api_worker::upstream::{Request, TransportError};

use server::{Do, Server, answers, ask, client, get, ok, say, whole};

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
