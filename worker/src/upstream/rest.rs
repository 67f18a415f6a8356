//! The part of a request's body that has not come yet when the request is sent: it goes out as it comes in, so that a file of
//! any size takes the memory of a few pieces. What has gone out cannot be sent again.

use std::{
    cell::RefCell,
    fmt,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::LocalBoxStream};

/// The body broke off, or is not as long as was said; whose doing that is, its source knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn;

/// See the module. Cheap to clone: all clones are the same stream, as one request sends it at most.
#[derive(Clone)]
pub struct Rest(Rc<RefCell<Source>>);

struct Source {
    pieces: LocalBoxStream<'static, Result<Bytes, Torn>>,
    /// How much is still to come, where that was said.
    left: Option<u64>,
    has_begun: bool,
}

impl Rest {
    /// What `pieces` bring; `length` bytes of it, if that is known.
    pub fn new(pieces: LocalBoxStream<'static, Result<Bytes, Torn>>, length: Option<u64>) -> Self {
        Self(Rc::new(RefCell::new(Source {
            pieces,
            left: length,
            has_begun: false,
        })))
    }

    /// Whether any of it has been taken: then no other request can be sent with it.
    pub fn has_begun(&self) -> bool {
        self.0.borrow().has_begun
    }

    /// How much is still to come, where that was said.
    pub(super) fn left(&self) -> Option<u64> {
        self.0.borrow().left
    }

    /// As `poll`.
    ///
    /// # Errors
    /// As `poll`.
    pub async fn next(&self) -> Option<Result<Bytes, Torn>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// The next piece, never an empty one; `None` at the end.
    ///
    /// # Errors
    /// [`Torn`], also where it is longer or shorter than was said: the request's head says so already.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Torn>>> {
        // Borrowed for a look: the stream is ours alone, and never asks for itself.
        let mut source = self.0.borrow_mut();
        source.has_begun = true;
        loop {
            let piece = std::task::ready!(source.pieces.poll_next_unpin(cx));
            return Poll::Ready(match (piece, source.left) {
                (Some(Ok(piece)), _) if piece.is_empty() => continue,
                (Some(Ok(piece)), None) => Some(Ok(piece)),
                (Some(Ok(piece)), Some(left)) => {
                    match left.checked_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX)) {
                        Some(left) => {
                            source.left = Some(left);
                            Some(Ok(piece))
                        }
                        None => Some(Err(Torn)),
                    }
                }
                (Some(Err(torn)), _) => Some(Err(torn)),
                (None, None | Some(0)) => None,
                (None, Some(_)) => Some(Err(Torn)),
            });
        }
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rest")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, stream};

    use super::*;

    fn drained(pieces: &[&'static [u8]], length: Option<u64>) -> Result<usize, Torn> {
        let pieces: Vec<_> = pieces.iter().map(|it| Ok(Bytes::from_static(it))).collect();
        let rest = Rest::new(stream::iter(pieces).boxed_local(), length);
        assert!(!rest.has_begun());
        let mut sum = 0;
        loop {
            let next = std::future::poll_fn(|cx| rest.poll(cx)).now_or_never();
            assert!(rest.has_begun());
            match next.unwrap() {
                Some(Ok(piece)) => sum += piece.len(),
                Some(Err(torn)) => return Err(torn),
                None => return Ok(sum),
            }
        }
    }

    #[test]
    fn it_is_as_long_as_was_said_or_torn() {
        assert_eq!(drained(&[b"ab", b"", b"c"], None), Ok(3));
        assert_eq!(drained(&[b"ab", b"", b"c"], Some(3)), Ok(3));
        assert_eq!(drained(&[b"ab"], Some(3)), Err(Torn));
        assert_eq!(drained(&[b"ab", b"cd"], Some(3)), Err(Torn));
        assert_eq!(drained(&[], Some(0)), Ok(0));
    }
}
