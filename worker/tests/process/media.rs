//! Files of hundreds of megabytes go through a worker, and it grows by a few.

use std::io::{Read as _, Write as _};

use hive2api_simulators::{self as simulate, Options, Running};
use serde_json::{Value, json};

use crate::support::{KEY, Worker, read, until};

const SIZE: usize = 300 << 20;
/// Far more than a few pieces, far less than the file.
const MOST_GROWTH: usize = 32 << 20;

fn start(more: &[(&str, &str)]) -> (Running, Worker) {
    let upstream = simulate::start("openai", Options::default()).unwrap();
    let env = upstream.env();
    let own = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let settings: Vec<_> = own.chain(more.iter().copied()).collect();
    let worker = Worker::start(&settings);
    (upstream, worker)
}

fn resident(worker: &Worker) -> usize {
    let path = format!("/proc/{}/statm", worker.child.id());
    let status = std::fs::read_to_string(path).unwrap();
    let pages: usize = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn a_video_of_300_mb_takes_no_memory() {
    let (_upstream, worker) = start(&[]);
    let body = json!({"model": "sim-video", "prompt": format!("bytes:{SIZE}")}).to_string();
    let made = read(worker.send("POST /v1/videos", &body).unwrap()).unwrap();
    let (_, object) = made.1.split_once("\r\n\r\n").unwrap();
    let video: Value = serde_json::from_str(object).unwrap();
    let path = format!("/v1/videos/{}", video["id"].as_str().unwrap());
    until(std::time::Duration::from_secs(10), || {
        worker
            .get(&path)
            .unwrap()
            .1
            .contains(r#""status":"completed""#)
    });
    let mut stream = worker.send(&format!("GET {path}/content"), "").unwrap();
    let (before, mut most, mut all) = (resident(&worker), 0, 0);
    let mut piece = vec![0; 64 << 10];
    loop {
        let length = stream.read(&mut piece).unwrap();
        if length == 0 {
            break;
        }
        // Now and then: a look costs more than a read.
        if all >> 22 != (all + length) >> 22 {
            most = resident(&worker).max(most);
        }
        all += length;
    }
    assert!(all > SIZE && all < SIZE + 4096, "{all}");
    let grown = most.saturating_sub(before);
    assert!(grown < MOST_GROWTH, "it grew by {} MB", grown >> 20);
}

#[test]
fn a_recording_of_100_mb_takes_no_memory() {
    const SIZE: usize = 100 << 20;
    let (upstream, worker) = start(&[("MAX_BODY_BYTES", "200000000")]);
    let head = "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nsim-whisper\r\n--B\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n";
    let end = "\r\n--B--\r\n";
    let length = head.len() + SIZE + end.len();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", worker.port)).unwrap();
    let before = resident(&worker);
    write!(
        stream,
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\
        Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {length}\r\n\r\n{head}"
    )
    .unwrap();
    let (piece, mut most) = (vec![b'x'; 1 << 20], 0);
    for _ in 0..SIZE >> 20 {
        stream.write_all(&piece).unwrap();
        most = resident(&worker).max(most);
    }
    stream.write_all(end.as_bytes()).unwrap();
    let (status, text) = read(stream).unwrap();
    assert_eq!(status, 200, "{text}");
    assert!(text.contains(&format!("with {SIZE} bytes")), "{text}");
    let grown = most.saturating_sub(before);
    assert!(grown < MOST_GROWTH, "it grew by {} MB", grown >> 20);
    assert!(upstream.control().state().violations.is_empty());
}
