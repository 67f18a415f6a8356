//! A request's body on its way to awc: piece by piece, and never much at once. awc copies what it is given into the
//! connection's buffer and keeps that as long as the answer lasts. A megabyte in one piece is a megabyte written to
//! memory that no cache holds, and a megabyte of each open stream.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;

/// Most bytes that are given at once: few enough for a processor's own cache, enough for few system calls.
const MOST_AT_ONCE: usize = 64 << 10;

/// The pieces that are still to be sent; none of them is empty.
#[derive(Debug)]
pub(super) struct Body(VecDeque<Bytes>);

impl From<Vec<Bytes>> for Body {
    fn from(pieces: Vec<Bytes>) -> Self {
        let mut pieces = VecDeque::from(pieces);
        pieces.retain(|piece| !piece.is_empty());
        Self(pieces)
    }
}

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.iter().map(|piece| piece.len() as u64).sum())
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let next = match self.0.front_mut() {
            Some(piece) if piece.len() > MOST_AT_ONCE => Some(piece.split_to(MOST_AT_ONCE)),
            Some(_) => self.0.pop_front(),
            None => None,
        };
        Poll::Ready(next.map(Ok))
    }

    /// Spares a short body the box that other bodies travel in.
    fn try_into_bytes(mut self) -> Result<Bytes, Self> {
        let is_long = |piece: &Bytes| piece.len() > MOST_AT_ONCE;
        if self.0.len() > 1 || self.0.front().is_some_and(is_long) {
            return Err(self);
        }
        Ok(self.0.pop_front().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn sent(pieces: &[usize]) -> Vec<usize> {
        let pieces = pieces.iter().map(|&length| vec![b'x'; length].into());
        let mut body = Body::from(pieces.collect::<Vec<Bytes>>());
        let mut sent = Vec::new();
        while let Some(Ok(piece)) = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
            sent.push(piece.len());
        }
        sent
    }

    #[actix_web::test]
    async fn no_piece_is_empty_or_long() {
        assert_eq!(sent(&[]).await, [0_usize; 0]);
        assert_eq!(sent(&[0, 3, 0, 0, 5]).await, [3, 5]);
        assert_eq!(
            sent(&[2 * MOST_AT_ONCE + 1, MOST_AT_ONCE]).await,
            [MOST_AT_ONCE, MOST_AT_ONCE, 1, MOST_AT_ONCE]
        );
    }

    #[test]
    fn short_bodies_are_given_at_once_and_all_with_their_length() {
        for (pieces, size, is_short) in [
            (vec![], 0, true),
            (vec!["ab"], 2, true),
            (vec!["ab", "", "c"], 3, false),
        ] {
            let body = Body::from(pieces.into_iter().map(Bytes::from).collect::<Vec<_>>());
            assert_eq!(body.size(), BodySize::Sized(size));
            assert_eq!(body.try_into_bytes().is_ok(), is_short);
        }
        let long = Body::from(vec![Bytes::from(vec![0; MOST_AT_ONCE + 1])]);
        assert!(long.try_into_bytes().is_err());
    }
}
