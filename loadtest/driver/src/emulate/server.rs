//! One connection: reads a request, writes its answer, again and again.

use std::{
    io::{self, Write as _},
    mem,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::yield_now,
    time::{Instant, sleep, sleep_until},
};

use super::{
    answer::{self, Events, OpenAi, Qwen},
    script::{self, Script},
};
use crate::{
    framing::{Framing, Malformed},
    marker,
};

const MOST_HEADERS: usize = 100;
const LARGEST_HEAD: usize = 64 << 10;
const LARGEST_BODY: usize = 128 << 20;
/// A body that was larger than this does not stay allocated.
const KEPT: usize = 64 << 10;

const EVENT_STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=UTF-8\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// Room for the size line of a chunk: 8 hex digits and the line end.
const SIZE_LINE: usize = 10;

struct Request {
    path: String,
    body: Vec<u8>,
}

/// Answers requests until the client closes.
pub(super) async fn serve(mut socket: TcpStream, script: Script) -> io::Result<()> {
    let (mut input, mut body) = (Vec::new(), Vec::new());
    while let Some(request) = read(&mut socket, &mut input, mem::take(&mut body)).await? {
        let script = script.directed_by(&request.body);
        match request.path.as_str() {
            "/v1/chat/completions" if script::wants_stream(&request.body) => {
                stream(&mut socket, &script, &mut OpenAi).await?;
            }
            "/v1/chat/completions" => {
                if !script.wait.is_zero() {
                    sleep(script.wait).await;
                }
                json(&mut socket, "200 OK", &answer::whole(&script)).await?;
            }
            "/dialog/conversation" => stream(&mut socket, &script, &mut Qwen::new()).await?,
            path if path.starts_with("/dialog/") => {
                json(&mut socket, "200 OK", answer::QWEN_SUCCESS).await?
            }
            "/v1/models" | "/health" => json(&mut socket, "200 OK", answer::MODELS).await?,
            _ => {
                json(
                    &mut socket,
                    "404 Not Found",
                    br#"{"error":{"message":"no such path"}}"#,
                )
                .await?
            }
        }
        body = request.body;
        body.clear();
        body.shrink_to(KEPT);
    }
    Ok(())
}

/// The next request; `None` when the client has closed between two.
async fn read(
    socket: &mut TcpStream,
    input: &mut Vec<u8>,
    mut body: Vec<u8>,
) -> io::Result<Option<Request>> {
    let (path, mut framing, mut used, expects) = loop {
        if let Some(head) = head(input)? {
            break head;
        }
        if input.len() > LARGEST_HEAD {
            return Err(invalid(Malformed("the request's head is too large")));
        }
        if socket.read_buf(input).await? == 0 {
            return Ok(None);
        }
    };
    if expects {
        socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    loop {
        let fresh = input.get(used..).unwrap_or_default();
        used += framing
            .feed(fresh, &mut |data| body.extend_from_slice(data))
            .map_err(invalid)?;
        if framing.is_over() {
            input.drain(..used);
            return Ok(Some(Request { path, body }));
        }
        if body.len() > LARGEST_BODY {
            return Err(invalid(Malformed("the request's body is too large")));
        }
        used = 0;
        input.clear();
        if socket.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Path, framing of the body, length of the head, whether the client waits for a word before it sends the body.
fn head(input: &[u8]) -> io::Result<Option<(String, Framing, usize, bool)>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(invalid(Malformed("no HTTP request"))),
    };
    let framing = Framing::of(request.headers, Framing::Length(0)).map_err(invalid)?;
    let path = request.path.unwrap_or_default();
    let path = path
        .split_once('?')
        .map_or(path, |(path, _)| path)
        .to_owned();
    let expects = request
        .headers
        .iter()
        .any(|header| header.name.eq_ignore_ascii_case("expect"));
    Ok(Some((path, framing, length, expects)))
}

fn invalid(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

async fn json(socket: &mut TcpStream, status: &str, body: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut out = head.into_bytes();
    out.extend_from_slice(body);
    socket.write_all(&out).await
}

/// One write an event, as a service that flushes each does.
async fn stream(
    socket: &mut TcpStream,
    script: &Script,
    events: &mut impl Events,
) -> io::Result<()> {
    let mut out = EVENT_STREAM.to_vec();
    chunk(&mut out, |out| events.opening(out));
    socket.write_all(&out).await?;
    let start = Instant::now() + script.wait + alignment(script, marker::now());
    for number in 0..script.pieces {
        pause(start, script.every, number).await;
        out.clear();
        chunk(&mut out, |out| events.piece(number, script, out));
        socket.write_all(&out).await?;
    }
    out.clear();
    chunk(&mut out, |out| events.closing(out));
    out.extend_from_slice(LAST_CHUNK);
    socket.write_all(&out).await
}

/// How long it is until the clock shows a multiple of the time between two pieces.
fn alignment(script: &Script, now: u64) -> Duration {
    match u64::try_from(script.every.as_nanos()) {
        Ok(every) if script.aligned && every > 0 => Duration::from_nanos(every - now % every),
        _ => Duration::ZERO,
    }
}

/// Until piece `number` is due: counted from the start, so that nothing adds up.
async fn pause(start: Instant, every: Duration, number: u32) {
    let due = start + every * number;
    if due > Instant::now() {
        sleep_until(due).await;
    } else {
        // Nobody else would get a turn while this stream is ahead of its reader.
        yield_now().await;
    }
}

/// Appends one chunk: what `fill` appends, after its size.
fn chunk(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[b'0'; SIZE_LINE]);
    fill(out);
    let length = out.len() - start - SIZE_LINE;
    // Leading zeros are allowed, and nothing has to move.
    if let Some(mut line) = out.get_mut(start..start + SIZE_LINE) {
        // The line has room for it.
        let _ = write!(line, "{length:08x}\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_says_how_long_it_is() {
        let mut out = b"before".to_vec();
        chunk(&mut out, |out| out.extend_from_slice(&[b'x'; 300]));
        let expected = ["before0000012c\r\n", &"x".repeat(300), "\r\n"].concat();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_head_is_complete_or_not_or_none() {
        let whole = b"POST /v1/x?key=1 HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
        for end in 0..whole.len() {
            assert!(head(&whole[..end]).unwrap().is_none(), "{end}");
        }
        let (path, framing, length, expects) = head(whole).unwrap().unwrap();
        assert_eq!(
            (path.as_str(), length, expects),
            ("/v1/x", whole.len(), false)
        );
        assert!(matches!(framing, Framing::Length(3)));
        assert!(head(b"\x16\x03\x01\x02\x00\r\n").is_err());
    }
}
