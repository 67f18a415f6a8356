//! What fuzz/ looks into: codecs that nobody else outside of this module needs.

use std::time::{Duration, SystemTime};

use bytes::BytesMut;

use super::http1::{Coding, Framing, Read, Unpacker, Unreadable, parse};

/// How reading an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The body is whole, or would be if the connection ended here.
    Whole,
    /// More must follow.
    Torn,
    /// What was read cannot be an answer.
    Bad,
    /// It unpacks to more than is taken, which depends on how much has come.
    TooLarge,
}

/// The status and the body of an HTTP answer that comes `at_once` bytes at a time, unpacked; `None` without a whole head.
pub fn answer(mut bytes: &[u8], is_head: bool, at_once: usize) -> Option<(u16, Vec<u8>, End)> {
    let (mut head, mut come) = (None, 0);
    while head.is_none() && come < bytes.len() {
        come = (come + at_once).min(bytes.len());
        while let Some(read) = parse(bytes.get(..come)?, is_head).ok()? {
            match read {
                Read::Interim(length) => {
                    bytes = bytes.get(length..)?;
                    come -= length;
                }
                Read::Final(length, found) => {
                    bytes = bytes.get(length..)?;
                    head = Some(found);
                    break;
                }
            }
        }
    }
    let head = head?;
    let (mut framing, mut body) = (head.framing.clone(), BytesMut::new());
    let mut unpacker = match Unpacker::new(&head.codings) {
        Ok(unpacker) => unpacker,
        Err(error) => return Some((head.status.as_u16(), Vec::new(), end(error))),
    };
    let mut is_bad = false;
    let mut fault = None;
    for piece in bytes.chunks(at_once) {
        let mut packed = BytesMut::new();
        is_bad = framing.decode(piece, &mut packed).is_err();
        match &mut unpacker {
            Some(unpacker) => fault = unpacker.push(&packed, &mut body).err(),
            None => body.unsplit(packed),
        }
        if is_bad || fault.is_some() || framing.is_over() {
            break;
        }
    }
    let is_torn = !framing.is_over() && framing != Framing::Close;
    if !is_bad && !is_torn && fault.is_none() {
        fault = unpacker.and_then(|mut it| it.finish(&mut body).err());
    }
    let end = match fault {
        Some(fault) => end(fault),
        None if is_bad => End::Bad,
        None if is_torn => End::Torn,
        None => End::Whole,
    };
    Some((head.status.as_u16(), body.to_vec(), end))
}

fn end(fault: Unreadable) -> End {
    match fault {
        Unreadable::Corrupt => End::Bad,
        Unreadable::Torn => End::Torn,
        Unreadable::TooLarge => End::TooLarge,
    }
}

/// A body unpacked as that of an answer with this `Content-Encoding`; `None` where it cannot be.
pub fn unpacked(coding: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut unpacker = Unpacker::new(&[Coding::named(coding)?]).ok()??;
    let mut unpacked = BytesMut::new();
    unpacker.push(body, &mut unpacked).ok()?;
    unpacker.finish(&mut unpacked).ok()?;
    Some(unpacked.to_vec())
}

/// When a refusal with these headers, a line each as a head has them, says to come back.
pub fn retry_after(lines: &str) -> Option<Duration> {
    let header = |name: &str| {
        let mut lines = lines.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    };
    super::retry_after::retry_after(header, SystemTime::UNIX_EPOCH)
}
