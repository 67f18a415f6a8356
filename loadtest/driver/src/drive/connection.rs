//! One connection: sends a request, reads the answer, and writes down when its pieces came.

use std::{cell::RefCell, future::poll_fn, io, pin::Pin, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    time::timeout,
};

use super::{
    answer::Answer,
    response::Response,
    socket::{Place, Stream},
    tally::Group,
};
use crate::marker;

/// Read at a time. All connections share the buffer: they take turns on one thread, and none keeps it while it waits.
const READ: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// What every connection of a kind has in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) place: Place,
    pub(super) is_cumulative: bool,
    pub(super) timeout: Duration,
    pub(super) group: RefCell<Group>,
}

/// A connection, open or not yet.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Rc<Shared>,
    request: Vec<u8>,
    socket: Option<Box<dyn Stream>>,
}

/// Why there was no whole answer.
enum Failure {
    /// The connection that was kept had been closed: another one is worth a try.
    Stale,
    Other(String),
}

/// An answer that is being read. Its faults are counted also when it is given up.
struct Reading<'a> {
    answer: Answer,
    group: &'a RefCell<Group>,
    is_cut: bool,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut group = self.group.borrow_mut();
        group.faults.add(self.answer.faults(self.is_cut));
        if self.answer.pieces > 0 {
            group.open -= 1;
        }
    }
}

impl Connection {
    pub(super) fn new(shared: Rc<Shared>, request: Vec<u8>) -> Self {
        Self {
            shared,
            request,
            socket: None,
        }
    }

    /// Asks once; `due`: from when on its time counts. Whether it went well.
    pub(super) async fn ask(&mut self, due: u64) -> bool {
        let shared = Rc::clone(&self.shared);
        let result = timeout(shared.timeout, self.attempts(due)).await;
        let why = match result {
            Ok(Ok(())) => return true,
            Ok(Err(why)) => why,
            Err(_) => "no end within the time limit".to_owned(),
        };
        self.socket = None;
        shared.group.borrow_mut().failed(why);
        false
    }

    async fn attempts(&mut self, due: u64) -> Result<(), String> {
        loop {
            match self.attempt(due).await {
                Err(Failure::Stale) => self.socket = None,
                Err(Failure::Other(why)) => return Err(why),
                Ok(()) => return Ok(()),
            }
        }
    }

    async fn attempt(&mut self, due: u64) -> Result<(), Failure> {
        let (mut socket, is_kept) = match self.socket.take() {
            Some(socket) => (socket, true),
            None => (
                self.shared
                    .place
                    .connect()
                    .await
                    .map_err(|error| other("connect", &error))?,
                false,
            ),
        };
        if let Err(error) = socket.write_all(&self.request).await {
            return Err(if is_kept {
                Failure::Stale
            } else {
                other("write", &error)
            });
        }
        let closes = self.read(&mut *socket, is_kept, due).await?;
        self.socket = (!closes).then_some(socket);
        Ok(())
    }

    async fn read(
        &self,
        socket: &mut dyn Stream,
        is_kept: bool,
        due: u64,
    ) -> Result<bool, Failure> {
        let group = &self.shared.group;
        let mut response = Response::default();
        let mut reading = Reading {
            answer: Answer::new(self.shared.is_cumulative),
            group,
            is_cut: true,
        };
        while !response.is_over() {
            let read = receive(socket, |bytes| {
                let (now, mut group) = (marker::now(), group.borrow_mut());
                let answer = &mut reading.answer;
                response
                    .feed(bytes, &mut |response, data| {
                        answer.feed(response, data, &mut |piece| {
                            group.open += u64::from(piece.is_first);
                            group.piece(due, now, piece.is_first, piece.written_ns);
                        });
                    })
                    .map(|()| bytes.len())
            });
            match read.await {
                Ok(Ok(0)) if response.may_close() => break,
                Ok(Ok(0)) | Err(_) if is_kept && !response.has_begun() => {
                    return Err(Failure::Stale);
                }
                Ok(Ok(0)) => {
                    reading.is_cut = false;
                    return Err(Failure::Other("closed before the end".to_owned()));
                }
                Ok(Ok(_)) => {}
                Ok(Err(malformed)) => return Err(Failure::Other(malformed.to_string())),
                Err(error) => return Err(other("read", &error)),
            }
        }
        reading.is_cut = false;
        end(&mut reading, &response, due)?;
        Ok(response.closes || response.may_close() && !response.is_over())
    }
}

/// The answer is there: was it one?
fn end(reading: &mut Reading<'_>, response: &Response, due: u64) -> Result<(), Failure> {
    let now = marker::now();
    if response.status != 200 {
        let body = String::from_utf8_lossy(&reading.answer.refusal).into_owned();
        return Err(Failure::Other(format!(
            "HTTP {} {}",
            response.status,
            body.replace(['\n', '\r'], " ")
        )));
    }
    let mut group = reading.group.borrow_mut();
    let finished = reading.answer.finish(response, &mut |piece| {
        group.open += u64::from(piece.is_first);
        group.piece(due, now, piece.is_first, piece.written_ns);
    });
    finished.map_err(|why| Failure::Other(why.to_owned()))?;
    group.answered(due, now);
    Ok(())
}

/// Reads once into the shared buffer and hands over what came.
async fn receive<T>(
    mut socket: &mut dyn Stream,
    mut read: impl FnMut(&[u8]) -> T,
) -> io::Result<T> {
    poll_fn(|context| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            Pin::new(&mut socket)
                .poll_read(context, &mut buffer)
                .map_ok(|()| read(buffer.filled()))
        })
    })
    .await
}

fn other(step: &str, error: &io::Error) -> Failure {
    Failure::Other(format!("{step}: {}", error.kind()))
}
