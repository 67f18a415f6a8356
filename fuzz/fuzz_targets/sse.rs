//! Bytes as an event stream: the events are those of a plain reader of lines, however the bytes are torn.
#![no_main]

use hive2api_worker::upstream::sse::Sse;

type Events = Vec<(Vec<u8>, Vec<u8>)>;

fn read(bytes: &[u8], at_once: usize) -> Events {
    let (mut sse, mut events) = (Sse::default(), Events::new());
    for piece in bytes.chunks(at_once) {
        let mut came = sse.read(piece).expect("these are few bytes");
        while let Some(event) = came.next() {
            events.push((event.name.to_vec(), event.data.to_vec()));
        }
    }
    events.extend(sse.finish().map(|event| (event.name.to_vec(), event.data.to_vec())));
    events
}

/// The HTML standard's own words, but for what the reader adds: an event that the end cuts off counts, and one nameless
/// empty `data` line is a heartbeat.
fn plainly(bytes: &[u8]) -> Events {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        let length = match &bytes[at..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => 0,
        };
        if length > 0 {
            lines.push(&bytes[start..at]);
            start = at + length;
        }
        at += length.max(1);
    }
    let last = &bytes[start..];
    let (mut events, mut name, mut data) = (Events::new(), Vec::new(), Vec::new());
    let count = lines.len();
    for (at, line) in lines.into_iter().chain([last]).enumerate() {
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => name = value.to_vec(),
            b"data" => data.push(value),
            _ => {}
        }
        if line.is_empty() || at == count {
            let is_heartbeat = data.as_slice() == [b""] && name.is_empty();
            let is_cut_off = at == count && !line.is_empty();
            if !data.is_empty() && (!is_heartbeat || is_cut_off) {
                events.push((name.clone(), data.join(&b'\n')));
            }
            name.clear();
            data.clear();
        }
    }
    events
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    assert_eq!(read(bytes, usize::from(first) + 1), plainly(bytes));
});
