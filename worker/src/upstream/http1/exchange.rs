//! One question and its answer on a connection. Everything happens in the task that asks, and only when it looks: no
//! task and no channel stands between the socket and the reader.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::{
    coding::{Unpacker, Unreadable},
    framing::Framing,
    head::{self, Head, MOST_HEAD_BYTES, Read},
    pool::{Connection, Permit, Pool},
    wire::Wire,
};
use crate::{
    impossible::OrImpossible as _,
    upstream::{Rest, TransportError},
};

/// What is read at once.
/// One TLS record at most.
const READ_BYTES: usize = 16 << 10;
/// Most pieces of a request in one system call.
/// A head, a body of a few pieces, and their frames fit; more would only be copied for the system call.
const MOST_SLICES: usize = 16;

thread_local! {
    /// Where everything is read to, so that a connection that says nothing keeps no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Reads what is there, and hands it on; nothing at the end of the connection. `take` must not read itself: the buffer is
/// lent to it.
fn read<T>(
    wire: &mut Wire,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    // Borrowed across `take`, which is why it must not read itself: a second borrow would panic.
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(wire).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(take(buffer.filled())))
    })
}

/// A request on its way out.
#[derive(Debug)]
pub(super) struct Upload {
    /// What is still to be sent; none of them is empty.
    pieces: VecDeque<Bytes>,
    /// What comes while it is sent; `None` again at its end.
    rest: Option<Rest>,
    /// Whether the pieces are chunks of their own (RFC 9112, section 7.1), as nobody knows how much is to come.
    is_chunked: bool,
    state: Sent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Partly,
    Wholly,
    /// The other side takes no more of it, or has answered without it.
    Never,
    /// It broke off on our side: the connection is of no use, and no answer is one to it.
    Torn,
}

impl Upload {
    pub(super) fn new(head: Bytes, body: &[Bytes], rest: Option<Rest>) -> Self {
        let is_chunked = rest.as_ref().is_some_and(|rest| rest.left().is_none());
        let mut upload = Self {
            pieces: VecDeque::from([head]),
            rest,
            is_chunked,
            state: Sent::Partly,
        };
        // An empty chunk would be the last one (RFC 9112, section 7.1).
        for piece in body.iter().filter(|piece| !piece.is_empty()) {
            // Pieces are `Bytes`: cloning one counts a reference, and a second try (`Pool::send`) sends the same memory
            // again.
            upload.add(piece.clone());
        }
        upload
    }

    fn add(&mut self, piece: Bytes) {
        if self.is_chunked {
            self.pieces
                .push_back(format!("{:x}\r\n", piece.len()).into());
            self.pieces.push_back(piece);
            self.pieces.push_back(Bytes::from_static(b"\r\n"));
        } else {
            self.pieces.push_back(piece);
        }
    }

    /// Sends as much as the connection takes. Errors are no news: what counts is what the other side says, and it may
    /// well have answered (413) before it closed.
    fn poll(&mut self, wire: &mut Wire, cx: &mut Context<'_>) {
        if self.state != Sent::Partly {
            return;
        }
        match self.poll_sent(wire, cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.state = Sent::Wholly,
            // The reason is in what is read next, or in that nothing comes.
            Poll::Ready(Err(_)) => self.give_up(),
        }
    }

    fn poll_sent(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_pieces(wire, cx))?;
            // The next piece is taken only when the last one is out, so that one at a time is held.
            let Some(rest) = &self.rest else { break };
            match rest.poll(cx) {
                Poll::Ready(Some(Ok(piece))) => self.add(piece),
                Poll::Ready(Some(Err(_))) => {
                    // First, as it says `Never` and the state has to say why.
                    self.give_up();
                    self.state = Sent::Torn;
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    self.rest = None;
                    if self.is_chunked {
                        self.pieces.push_back(Bytes::from_static(b"0\r\n\r\n"));
                    }
                }
                Poll::Pending => {
                    // What has been written must not wait for what is to come.
                    // TLS and awc's kin buffer: without a flush the last piece would stay here while a slow caller
                    // thinks.
                    ready!(Pin::new(wire).poll_flush(cx))?;
                    return Poll::Pending;
                }
            }
        }
        Pin::new(wire).poll_flush(cx)
    }

    fn poll_pieces(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pieces.is_empty() {
            let mut slices = [io::IoSlice::new(&[]); MOST_SLICES];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = io::IoSlice::new(piece);
                count += 1;
            }
            let slices = slices
                .get(..count)
                .or_impossible("so many slices were made");
            let mut sent = ready!(Pin::new(&mut *wire).poll_write_vectored(cx, slices))?;
            if sent == 0 {
                // A socket that takes nothing and says nothing would be asked for ever.
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            while let Some(piece) = self.pieces.front_mut() {
                let from_this = sent.min(piece.len());
                piece.advance(from_this);
                sent -= from_this;
                if !piece.is_empty() {
                    break;
                }
                self.pieces.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn give_up(&mut self) {
        self.pieces.clear();
        self.rest = None;
        self.state = Sent::Never;
    }
}

/// A request that waits for its answer.
pub(super) struct Asked {
    connection: Option<Connection>,
    upload: Upload,
    is_head: bool,
    /// The beginning of a head that did not come at once. Empty for most answers, whose head is read where it arrived.
    torn: Vec<u8>,
    /// Whether the other side has said anything at all: then it has seen the request, which must not be sent again.
    pub(super) has_heard: bool,
}

impl Asked {
    pub(super) fn new(connection: Connection, upload: Upload, is_head: bool) -> Self {
        Self {
            connection: Some(connection),
            upload,
            is_head,
            torn: Vec::new(),
            has_heard: false,
        }
    }

    /// Sends the request, and reads heads until the answer's own: interim ones (1xx) are let pass, however many.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Head, Bytes), TransportError>> {
        // Asked again after its end, which no caller does.
        let connection = self.connection.as_mut().ok_or(TransportError::Broken)?;
        loop {
            // Before each read: a service may answer only when it has the rest, and nobody else sends it.
            self.upload.poll(&mut connection.wire, cx);
            if self.upload.state == Sent::Torn {
                return Poll::Ready(Err(TransportError::Torn));
            }
            // Fields by themselves: the closure cannot borrow all of `self`, of which the connection is lent already.
            let (torn, has_heard, is_head) = (&mut self.torn, &mut self.has_heard, self.is_head);
            let found = ready!(read(&mut connection.wire, cx, |bytes| {
                *has_heard |= !bytes.is_empty();
                if bytes.is_empty() {
                    Err(TransportError::Broken)
                } else {
                    final_head(torn, bytes, is_head)
                }
            }))
            .map_err(|_| TransportError::Broken)??;
            if let Some(found) = found {
                return Poll::Ready(Ok(found));
            }
        }
    }

    /// The body of the answer that has begun. A refusal ends the upload; a service that answers while it still listens
    /// is sent the rest.
    ///
    /// # Errors
    /// A beginning that is not of its framing or coding.
    pub(super) fn body(
        mut self,
        head: &Head,
        first: &[u8],
        home: (Rc<Pool>, Permit),
    ) -> Result<Body, TransportError> {
        // It does not want the rest; whether the connection then serves again is decided by `Sent`, which says no.
        if self.upload.state == Sent::Partly && !head.status.is_success() {
            self.upload.give_up();
        }
        let unpacker = Unpacker::new(&head.codings)?;
        let mut body = Body {
            connection: self.connection.take(),
            upload: self.upload,
            framing: head.framing.clone(),
            unpacker,
            keeps_alive: head.keeps_alive,
            early: BytesMut::new(),
            fault: None,
            home: Some(home),
        };
        let mut early = BytesMut::new();
        // A head is told of even where the body's beginning is at fault already.
        body.fault = body.take(first, &mut early).err();
        body.early = early;
        Ok(body)
    }
}

/// The answer's own head among what has been read, and what came behind it.
fn final_head(
    torn: &mut Vec<u8>,
    bytes: &[u8],
    is_head: bool,
) -> Result<Option<(Head, Bytes)>, TransportError> {
    let is_first = torn.is_empty();
    if !is_first {
        torn.extend_from_slice(bytes);
        // A head that comes byte by byte is not looked at for each of them, but where it may have ended.
        // Three bytes before the new ones: the empty line may be torn as well.
        let new = torn.len() - bytes.len();
        if !may_end(
            torn.get(new.saturating_sub(3)..)
                .or_impossible("what is new is a part of all"),
        ) && torn.len() < MOST_HEAD_BYTES
        {
            return Ok(None);
        }
    }
    // The common way: one read brings the whole head, which is read where it lies, without a copy.
    let mut rest = if is_first { bytes } else { torn.as_slice() };
    loop {
        // Blank lines may precede a head.
        // RFC 9112, section 2.2, says so of requests; some servers send one line end too many behind a body.
        while let Some((b'\r' | b'\n', behind)) = rest.split_first() {
            rest = behind;
        }
        match head::parse(rest, is_head).map_err(|_| TransportError::Malformed)? {
            Some(Read::Interim(length)) => {
                rest = rest
                    .get(length..)
                    .or_impossible("a head is a part of what it was read from")
            }
            Some(Read::Final(length, head)) => {
                // Copied, as it lies in the buffer that everybody reads to.
                let behind = Bytes::copy_from_slice(
                    rest.get(length..)
                        .or_impossible("a head is a part of what it was read from"),
                );
                return Ok(Some((head, behind)));
            }
            None => {
                // Interim heads that were read are not kept, so that any number of them takes no memory.
                *torn = rest.to_vec();
                return Ok(None);
            }
        }
    }
}

/// Whether these bytes hold an empty line.
fn may_end(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|at| {
        let behind = bytes
            .get(at + 1..)
            .or_impossible("behind a byte there is an end at least");
        behind.starts_with(b"\n") || behind.starts_with(b"\r\n")
    })
}

/// The body of an answer. The connection goes back to the pool when the body has been read to its end and all was as it
/// should be; it is closed when the body is dropped before that.
pub(in crate::upstream) struct Body {
    connection: Option<Connection>,
    upload: Upload,
    framing: Framing,
    unpacker: Option<Box<Unpacker>>,
    /// Whether the connection may be used again. Never true again: bytes behind the body's end make it false.
    keeps_alive: bool,
    /// What came with the head.
    early: BytesMut,
    /// What will be said when that has been read.
    fault: Option<TransportError>,
    /// Where the connection goes back to. The permit lasts as long as the body is read, so that it counts open answers.
    home: Option<(Rc<Pool>, Permit)>,
}

impl Body {
    /// Adds what has arrived to `out`; `false` at the regular end of the body. May add nothing.
    pub(in crate::upstream) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Poll<Result<bool, TransportError>> {
        if !self.early.is_empty() {
            out.unsplit(std::mem::take(&mut self.early));
            return Poll::Ready(Ok(true));
        }
        if let Some(fault) = self.fault {
            return Poll::Ready(Err(fault));
        }
        // Taken, so that whatever fails here is not tried again on a connection in an unknown state.
        // Three ways leave it taken: an error, the end, and `settle`, which gave it back to the pool.
        let Some(mut connection) = self.connection.take() else {
            return Poll::Ready(Ok(false));
        };
        // A service may answer while it still listens, and whoever reads is the only one to send.
        self.upload.poll(&mut connection.wire, cx);
        if self.upload.state == Sent::Torn {
            self.fault = Some(TransportError::Torn);
            return Poll::Ready(Err(TransportError::Torn));
        }
        let wire = &mut connection.wire;
        let polled = read(wire, cx, |bytes| {
            if bytes.is_empty() {
                Err(io::ErrorKind::UnexpectedEof.into())
            } else {
                Ok(self.take_all(bytes, out))
            }
        });
        match polled.map(io::Result::flatten) {
            Poll::Pending => {
                self.connection = Some(connection);
                Poll::Pending
            }
            Poll::Ready(Ok(Err(fault))) => {
                self.fault = Some(fault);
                // What was good before it is passed on first.
                Poll::Ready(if out.is_empty() { Err(fault) } else { Ok(true) })
            }
            Poll::Ready(Ok(Ok(()))) => {
                self.connection = Some(connection);
                self.settle();
                Poll::Ready(Ok(true))
            }
            // Without a length or chunks the body ends where the connection does; under TLS many forget to say so first.
            Poll::Ready(Err(error))
                if self.framing == Framing::Close
                    && error.kind() == io::ErrorKind::UnexpectedEof =>
            {
                let before = out.len();
                // A packed body without length tells its own end; `unpacked_end` knows whether it was reached.
                self.unpacked_end(out)?;
                Poll::Ready(Ok(out.len() > before))
            }
            Poll::Ready(Err(_)) => {
                self.fault = Some(TransportError::Broken);
                Poll::Ready(Err(TransportError::Broken))
            }
        }
    }

    /// Takes what came behind the head.
    fn take(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<(), TransportError> {
        self.take_all(bytes, out)?;
        self.settle();
        Ok(())
    }

    /// Takes bytes of the body; what is behind its end spoils the connection.
    fn take_all(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<(), TransportError> {
        let taken = if let Some(unpacker) = &mut self.unpacker {
            let mut packed = BytesMut::new();
            let taken = self.framing.decode(bytes, &mut packed);
            // Before `taken` is judged: bytes in front of a fault are good, and go to the reader first.
            unpacker.push(&packed, out)?;
            taken
        } else {
            self.framing.decode(bytes, out)
        };
        let taken = taken.map_err(|_| TransportError::Malformed)?;
        // Somebody spoke out of turn: what else is to come could be taken for the next answer.
        self.keeps_alive &= taken == bytes.len();
        if self.framing.is_over() {
            self.unpacked_end(out)?;
        }
        Ok(())
    }

    fn unpacked_end(&mut self, out: &mut BytesMut) -> Result<(), TransportError> {
        if let Some(mut unpacker) = self.unpacker.take() {
            unpacker.finish(out)?;
        }
        Ok(())
    }

    /// Lets go of the connection as soon as the body is over.
    fn settle(&mut self) {
        if !self.framing.is_over() {
            return;
        }
        // Both taken even if the connection is closed: that lets the permit go now, and not when the reader drops its
        // end.
        let (connection, home) = (self.connection.take(), self.home.take());
        if self.keeps_alive
            && self.upload.state == Sent::Wholly
            && let (Some(connection), Some((pool, _permit))) = (connection, home)
        {
            pool.put(connection);
        }
    }
}

impl From<Unreadable> for TransportError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Corrupt => Self::Malformed,
            Unreadable::Torn => Self::Broken,
            Unreadable::TooLarge => Self::TooLarge,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}
