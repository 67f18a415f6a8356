//! The same over a WebSocket (§6.7), and clients that leave.

use std::time::Duration;

use super::*;
use crate::{
    client::until,
    socket::{BINARY, CLOSE, PING, PONG, Socket, TEXT},
};

fn open(running: &Running) -> Socket {
    Socket::open(&running.url, &call(running, "GET", CHAT)).unwrap()
}

/// What comes until the server closes, and the code that it closes with.
fn rest(socket: &mut Socket) -> std::io::Result<(Vec<u8>, u16)> {
    let mut bytes = Vec::new();
    loop {
        match socket.receive()? {
            (BINARY, more) => bytes.extend(more),
            (CLOSE, code) => return Ok((bytes, u16::from_be_bytes([code[0], code[1]]))),
            (opcode, _) => panic!("a frame of type {opcode}"),
        }
    }
}

fn send(socket: &mut Socket, prompt: &str) {
    socket.send(BINARY, &envelope(&question(prompt).to_string()));
}

#[test]
fn sample_a_comes_over_a_socket_too() {
    let kimi = start("kimi");
    let script = Script {
        pieces: Some(own(&["При", "вет 👋🏽"])),
        write_bytes: Some(50),
        ..Script::default()
    };
    kimi.control().script(script).unwrap();
    let mut socket = open(&kimi);
    socket.send(PING, b"p");
    assert_eq!(socket.receive().unwrap(), (PONG, b"p".to_vec()));
    // In two messages: their concatenation counts.
    let envelope = envelope(&question("hi").to_string());
    let (head, tail) = envelope.split_at(3);
    socket.send(BINARY, head);
    socket.send(BINARY, tail);
    assert_eq!(rest(&mut socket).unwrap(), (sample_a(), 1000));
    let steps: Vec<_> = kimi
        .control()
        .log()
        .iter()
        .map(|call| call.step.clone())
        .collect();
    assert_eq!(steps, ["handshake", "ask"]);
    until(|| !kimi.control().log()[1].aborted);
    no_violations(&kimi);
}

#[test]
fn sockets_are_refused_and_closed() {
    let kimi = start("kimi");
    let stranger = call(&kimi, "GET", CHAT).header("Authorization", "Bearer x");
    let refused = Socket::open(&kimi.url, &stranger).err().unwrap();
    assert!(refused.contains("401"), "{refused}");
    let mut socket = open(&kimi);
    socket.send(TEXT, b"{}");
    assert_eq!(rest(&mut socket).unwrap().1, 1003);
    let mut socket = open(&kimi);
    socket.send(BINARY, b"{\"scenario\":1}");
    let (bytes, code) = rest(&mut socket).unwrap();
    assert_eq!(code, 1000);
    assert_eq!(
        envelopes(&bytes).pop().unwrap().1["error"]["code"],
        "invalid_argument"
    );
    for fault in ["disconnect_before_headers", "disconnect_after_text"] {
        kimi.control().fault(fault, 1).unwrap();
        let mut socket = open(&kimi);
        send(&mut socket, "count:9");
        assert!(rest(&mut socket).is_err(), "{fault}");
    }
    kimi.control().fault("trailer_overloaded", 1).unwrap();
    let mut socket = open(&kimi);
    send(&mut socket, "count:9");
    let (bytes, _) = rest(&mut socket).unwrap();
    assert_eq!(
        envelopes(&bytes).pop().unwrap().1["error"]["code"],
        "resource_exhausted"
    );
}

#[test]
fn a_client_that_leaves_is_noticed() {
    let kimi = start("kimi");
    let control = kimi.control();
    for fault in [None, Some("hang_after_text"), Some("hang_before_headers")] {
        if let Some(fault) = fault {
            control.fault(fault, 1).unwrap();
        }
        let mut socket = open(&kimi);
        send(&mut socket, "pace:100 count:900");
        if fault != Some("hang_before_headers") {
            socket.receive().unwrap();
        }
        until(|| control.state().open_streams == 1);
        drop(socket);
        let time = until(|| control.state().open_streams == 0);
        assert!(time < Duration::from_millis(300), "{fault:?}: {time:?}");
        assert!(control.calls("ask").pop().unwrap().aborted);
    }
    let mut answer = asking(&kimi, &question("pace:60000 count:9"))
        .send(&kimi)
        .unwrap();
    assert!(answer.chunk().unwrap());
    drop(answer);
    let time = until(|| control.state().open_streams == 0);
    assert!(time < Duration::from_millis(300), "{time:?}");
}
