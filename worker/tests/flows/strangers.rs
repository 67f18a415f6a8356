//! The lane in front of upstreams that speak as real ones do: the bytes of public bug reports, and others of their kinds.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Hive, Reply};

/// What becomes of the connection behind the bytes.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum End {
    /// It is left open and says nothing more.
    Open,
    /// It is closed.
    Close,
    /// It is reset.
    Reset,
}

/// An upstream that answers each request with bytes: those of the first rule whose text stands in the request.
pub(crate) struct Stranger {
    port: u16,
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

type Rule = (&'static str, Vec<u8>, End);

impl Stranger {
    pub(crate) fn start(rules: Vec<Rule>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (heard, rules) = (Arc::clone(&asked), Arc::new(rules));
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (heard, rules) = (Arc::clone(&heard), Arc::clone(&rules));
                std::thread::spawn(move || serve(connection, &heard, &rules));
            }
        });
        Self { port, asked }
    }

    pub(crate) fn hive(&self, more: &[(&str, &str)]) -> Hive {
        let base_url = format!("http://127.0.0.1:{}/v1", self.port);
        let own = [
            ("OPENAI_COMPAT_1_NAME", "lab"),
            ("OPENAI_COMPAT_1_BASE_URL", base_url.as_str()),
            ("OPENAI_COMPAT_1_API_KEY", "sk-lab-0123456789abcdef"),
            ("OPENAI_COMPAT_1_MODELS", "m,deepseek/deepseek-chat-v3"),
            ("RETRY_DELAYS_MS", "none"),
            // Longer than any test may take: nothing waits for it.
            ("STALL_TIMEOUT", "20"),
        ];
        Hive::start(&[], &[own.as_slice(), more].concat())
    }
}

fn serve(mut connection: TcpStream, heard: &Mutex<Vec<String>>, rules: &[Rule]) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .map_or(0, |length| length.trim().parse().unwrap());
            let is_chunked = head.contains("transfer-encoding: chunked");
            if body.len() >= length && (!is_chunked || body.ends_with("0\r\n\r\n")) {
                let rule = rules.iter().find(|rule| text.contains(rule.0)).unwrap();
                heard.lock().unwrap().push(text);
                request.clear();
                if connection.write_all(&rule.1).is_err() {
                    return;
                }
                match rule.2 {
                    End::Open => {}
                    End::Close => return,
                    End::Reset => {
                        std::thread::sleep(Duration::from_millis(100));
                        let socket = socket2::SockRef::from(&connection);
                        socket.set_linger(Some(Duration::ZERO)).unwrap();
                        return;
                    }
                }
            }
        }
        match connection.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&piece[..read]),
        }
    }
}

pub(crate) fn http(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

pub(crate) fn refusal(status: &str, body: &str) -> Vec<u8> {
    http(status, "application/json", body.as_bytes())
}

pub(crate) fn stream(body: &str) -> Vec<u8> {
    http("200 OK", "text/event-stream", body.as_bytes())
}

/// A stream in chunks without the last one.
fn unended(body: &str) -> Vec<u8> {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    format!("{head}{:x}\r\n{body}\r\n", body.len()).into_bytes()
}

pub(crate) fn whole(body: &Value) -> Vec<u8> {
    refusal("200 OK", &body.to_string())
}

pub(crate) fn event(delta: &str, finish: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

pub(crate) fn hello() -> String {
    [
        event(r#"{"role":"assistant","content":"Hel"}"#, "null"),
        event(r#"{"content":"lo"}"#, "null"),
    ]
    .concat()
}

pub(crate) fn end() -> String {
    event("{}", r#""stop""#)
}

pub(crate) const DONE: &str = "data: [DONE]\n\n";

pub(crate) fn complete() -> String {
    [&*hello(), &end(), DONE].concat()
}

/// One streamed answer of such an upstream.
pub(crate) async fn streamed(bytes: Vec<u8>, end: End) -> Reply {
    let upstream = Stranger::start(vec![("", bytes, end)]);
    upstream.hive(&[]).stream("m", "hi").await
}

/// The same in one piece.
pub(crate) async fn asked(bytes: Vec<u8>) -> Reply {
    let upstream = Stranger::start(vec![("", bytes, End::Open)]);
    upstream.hive(&[]).ask("m", "hi").await
}

/// (text, finish reason) of a stream that ended well.
pub(crate) fn said(reply: &Reply, name: &str) -> (String, String) {
    assert!(
        reply.status == 200 && reply.is_done(),
        "{name}: {}",
        reply.text
    );
    assert!(reply.stream_error().is_none(), "{name}: {}", reply.text);
    let finish = reply.chunks().iter().find_map(|chunk| {
        let reason = chunk["choices"][0]["finish_reason"].as_str();
        reason.map(str::to_owned)
    });
    (reply.streamed("content"), finish.unwrap_or_default())
}

#[actix_web::test]
async fn event_streams_as_servers_write_them() {
    let all = complete();
    let beats = |beat: &str| all.replace("data: {", &format!("{beat}data: {{"));
    for (name, body) in [
        ("byte order mark", format!("\u{FEFF}{all}")),
        ("CR", all.replace('\n', "\r")),
        ("CRLF", all.replace('\n', "\r\n")),
        ("no blank", all.replace("data: ", "data:")),
        ("empty data", beats("data:\n\n")),
        ("empty data with a blank", beats("data: \n\n")),
        ("bare field", beats("data\n\n")),
        ("null", beats("data: null\n\n")),
        ("comments", beats(": OPENROUTER PROCESSING\n\n")),
        (
            "other events",
            beats("event: ping\ndata: {\"type\":\"ping\"}\n\n"),
        ),
        (
            "heartbeats by name",
            beats("event: heartbeat\ndata: 2026-11-28T21:00:00Z\n\n"),
        ),
        ("no blank lines", all.replace("\n\n", "\n")),
        (
            "all of it again at the end",
            all.replace(
                r#""delta":{},"#,
                r#""delta":null,"message":{"role":"assistant","content":"Hello"},"#,
            ),
        ),
        (
            "all of it again in a choice of its own",
            all.replace(
                &end(),
                &end().replace("delta\":{", "message\":{\"content\":\"Hello\""),
            ),
        ),
        ("quoted end", all.replace("[DONE]", "\"[DONE]\"")),
        ("blanks around the end", all.replace("[DONE]", "  [DONE] ")),
        (
            "behind the end",
            format!("{all}data: \n\ndata: {{\"error\":\"late\"}}\n\ndata: x\n\n"),
        ),
        (
            "an error behind the finish",
            [&*hello(), &end(), "data: {\"error\":\"late\"}\n\n"].concat(),
        ),
        ("empty finish reasons", all.replace("null", r#""""#)),
        (
            "finish reason null as text",
            all.replace("null", r#""null""#),
        ),
        ("index null", all.replace("\"index\":0", "\"index\":null")),
        (
            "index as text",
            all.replace("\"index\":0", "\"index\":\"0\""),
        ),
        (
            "members twice",
            all.replace("\"index\":0", "\"index\":1,\"index\":0"),
        ),
        (
            "an unknown finish reason",
            all.replace(r#""stop""#, r#""eos_token""#),
        ),
        (
            "one JSON event",
            format!(
                "data: {{\"choices\":[{{\"message\":{{\"content\":\"Hello\"}},\"finish_reason\":\"stop\"}}]}}\n\n{DONE}"
            ),
        ),
    ] {
        let reply = streamed(stream(&body), End::Open).await;
        assert_eq!(
            said(&reply, name),
            ("Hello".into(), "stop".into()),
            "{name}"
        );
        // The same stream to a caller who wants one piece.
        let reply = asked(stream(&body)).await;
        assert_eq!(
            (reply.content(), reply.finish()),
            ("Hello".into(), "stop".into()),
            "{name}"
        );
    }
}

#[actix_web::test]
async fn labels_lie() {
    let answer = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]});
    for kind in [
        "text/plain",
        "application/json",
        "application/octet-stream",
        "text/event-stream",
    ] {
        for body in [
            complete(),
            answer.to_string(),
            format!("\u{FEFF}\n{answer}\n"),
        ] {
            let bytes = http("200 OK", kind, body.as_bytes());
            let reply = streamed(bytes.clone(), End::Open).await;
            assert_eq!(said(&reply, kind), ("Hello".into(), "stop".into()));
            assert_eq!(asked(bytes).await.content(), "Hello", "{kind}");
        }
    }
    let page = asked(http("200 OK", "text/html", b"<html>Welcome</html>")).await;
    assert_eq!(page.error().0, 502);
    assert!(
        page.text.contains("OPENAI_COMPAT_1_BASE_URL"),
        "{}",
        page.text
    );
}

#[actix_web::test]
async fn a_complete_answer_is_complete_whatever_the_connection_does() {
    let finished = [hello(), end()].concat();
    for (name, body, behind, seconds) in [
        ("open behind the end", complete(), End::Open, 0..2),
        ("closed behind the end", complete(), End::Close, 0..2),
        ("reset behind the end", complete(), End::Reset, 0..2),
        ("open behind the finish", finished.clone(), End::Open, 2..8),
        (
            "closed behind the finish",
            finished.clone(),
            End::Close,
            0..2,
        ),
        ("reset behind the finish", finished, End::Reset, 0..2),
        (
            "no finish, an end",
            format!("{}{DONE}", hello()),
            End::Open,
            0..2,
        ),
        (
            "no blank line behind the end",
            complete().trim_end().to_owned(),
            End::Close,
            0..2,
        ),
    ] {
        let started = Instant::now();
        let reply = streamed(unended(&body), behind).await;
        assert_eq!(
            said(&reply, name),
            ("Hello".into(), "stop".into()),
            "{name}"
        );
        let took = started.elapsed().as_secs();
        // The tests share two cores, hence the slack.
        assert!(
            took >= seconds.start && took < seconds.end + 4,
            "{name}: {took} s"
        );
    }
    let answer = json!({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]});
    let upstream = Stranger::start(vec![("", unended(&answer.to_string()), End::Open)]);
    let started = Instant::now();
    assert_eq!(upstream.hive(&[]).ask("m", "hi").await.content(), "Hello");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[actix_web::test]
async fn half_an_answer_never_looks_like_a_whole_one() {
    for error in [
        r#"data: {"object":"error","message":"engine died","type":"InternalServerError","param":null,"code":500}"#,
        r#"data: {"error":{"message":"engine died","type":"server_error","code":null}}"#,
        r#"data: {"error":"engine died"}"#,
        r#"data: {"error":"engine died","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"data: {"detail":"engine died"}"#,
        r#"data: {"detail":[{"loc":["body"],"msg":"engine died"}]}"#,
        r#"data: {"errors":[{"message":"engine died"}]}"#,
        r#"data: {"message":"engine died","code":"overloaded"}"#,
        r#"data: {"choices":[{"index":0,"delta":{},"error":{"message":"engine died"},"finish_reason":"error"}]}"#,
        r#"data: [{"error":{"code":503,"message":"engine died","status":"UNAVAILABLE"}}]"#,
        r#"data: {"choices":null,"base_resp":{"status_code":1000,"status_msg":"engine died"}}"#,
        r#"data: {"success":false,"message":"engine died"}"#,
        "event: error\ndata: engine died",
        "event: error\ndata: {\"message\":\"engine died\"}",
    ] {
        let reply = streamed(stream(&format!("{}{error}\n\n{DONE}", hello())), End::Open).await;
        let told = reply
            .stream_error()
            .unwrap_or_else(|| panic!("{error}: {}", reply.text));
        assert!(
            told["message"].as_str().unwrap().contains("engine died"),
            "{told}"
        );
        assert!(
            !reply.is_done() && !reply.text.contains(r#""finish_reason":"stop""#),
            "{}",
            reply.text
        );
        assert_eq!(reply.streamed("content"), "Hello");
        // As the first event it is an answer of its own.
        for reply in [
            streamed(stream(&format!("{error}\n\n{DONE}")), End::Open).await,
            asked(stream(&format!("{error}\n\n{DONE}"))).await,
        ] {
            assert!(
                reply.status >= 500 && reply.text.contains("engine died"),
                "{error}: {}",
                reply.text
            );
        }
    }
    for (body, end) in [
        (hello(), End::Close),
        (hello(), End::Reset),
        (format!("{}data: {{\"cho", hello()), End::Close),
        (format!("{}data: no JSON\n\n{DONE}", hello()), End::Open),
        (
            format!("{}{}", hello(), event("{}", r#""abort""#)),
            End::Open,
        ),
    ] {
        let reply = streamed(unended(&body), end).await;
        let told = reply
            .stream_error()
            .unwrap_or_else(|| panic!("{body}: {}", reply.text));
        if end != End::Open {
            // Coding agents try again at these words.
            assert!(
                told["message"].as_str().unwrap().contains("server error"),
                "{told}"
            );
        }
        assert!(!reply.is_done(), "{}", reply.text);
    }
}

/// A body that begins as JSON is over with its first value, and that one may be a piece of the answer only.
#[actix_web::test]
async fn half_a_body_never_looks_like_a_whole_one() {
    const JSON: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
    let chunk = |text: &str| json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]});
    let answer = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]}).to_string();
    let aborted = answer.replace("stop", "aborted");
    let cut = &answer[..answer.len() - 20];
    for bytes in [
        format!("{JSON}{}", chunk("Hel")),
        format!("{JSON}{}\n{}\n", chunk("Hel"), chunk("lo")),
        format!("{JSON}[{},{}]", chunk("Hel"), chunk("lo")),
        format!("{JSON}{aborted}"),
        format!("{JSON}{cut}"),
        http("200 OK", "application/json", answer.as_bytes())
            .strip_suffix(b"}]}")
            .map(|half| String::from_utf8_lossy(half).into_owned())
            .unwrap(),
    ] {
        for is_stream in [false, true] {
            let upstream = Stranger::start(vec![("", bytes.clone().into_bytes(), End::Close)]);
            let hive = upstream.hive(&[]);
            let reply = if is_stream {
                hive.stream("m", "hi").await
            } else {
                hive.ask("m", "hi").await
            };
            assert_eq!(reply.status, 502, "{bytes}: {}", reply.text);
        }
    }
    // The same pieces as an answer that says that it is over.
    let over =
        json!({"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}]});
    let reply = asked(format!("{JSON}{over}").into_bytes()).await;
    assert_eq!(reply.content(), "Hello");
}
