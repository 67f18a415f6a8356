//! How much memory all requests together may take: each one has a share of `REQUEST_MEMORY_BYTES` for as long as it holds
//! what the share stands for. Counting requests alone would not do: one may be a thousand times as large as another.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    chat::{Message, Part, Tool, message::ToolCall},
    metrics::METRICS,
};

/// A semaphore counts in 32 bits; so it counts pages.
const PAGE: usize = 4 << 10;
/// What a body becomes, at most, besides its messages: itself, the prompt that is made of it, and the request to the
/// provider that is made of that.
const COPIES: usize = 3;
/// What a message, a part, a tool or a tool call takes besides its text.
const PIECE_BYTES: usize = 160;
const _: () = assert!(
    size_of::<Message>() <= PIECE_BYTES
        && size_of::<Part>() <= PIECE_BYTES
        && size_of::<ToolCall>() <= PIECE_BYTES
        && size_of::<Tool>() <= PIECE_BYTES
);

/// All requests together hold as much as they may; what was asked for may be had when some of them have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the requests that this worker answers already take all the memory that it has for them")]
pub struct Full;

/// The memory of all requests.
#[derive(Clone, Debug)]
pub struct Memory {
    free: Arc<Semaphore>,
    pages: usize,
}

impl Memory {
    /// So many bytes for all requests together.
    pub fn new(bytes: usize) -> Self {
        let pages = bytes.div_ceil(PAGE).min(u32::MAX as usize >> 1);
        Self {
            free: Arc::new(Semaphore::new(pages)),
            pages,
        }
    }

    /// An empty share.
    pub fn share(&self) -> Share {
        Share {
            free: Arc::clone(&self.free),
            most_pages: self.pages,
            held: None,
        }
    }

    /// What no request holds.
    pub fn free_bytes(&self) -> usize {
        self.free.available_permits() * PAGE
    }
}

/// One request's share; given back when dropped.
#[derive(Debug)]
pub struct Share {
    free: Arc<Semaphore>,
    most_pages: usize,
    /// Only grows, as a request's memory does; goes back as a whole.
    held: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// An empty share of the same memory.
    pub fn empty(&self) -> Self {
        Self {
            free: Arc::clone(&self.free),
            most_pages: self.most_pages,
            held: None,
        }
    }

    /// Makes the share so large at least. A request that is larger than everything together has it all to itself.
    ///
    /// # Errors
    /// [`Full`]: others hold too much.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Full> {
        let held = self
            .held
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes
            .div_ceil(PAGE)
            .min(self.most_pages)
            .saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let more = u32::try_from(missing)
            .ok()
            .and_then(|missing| Arc::clone(&self.free).try_acquire_many_owned(missing).ok());
        let Some(more) = more else {
            METRICS.refused_total.with_label_values(&["memory"]).inc();
            return Err(Full);
        };
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }

    /// What a request with a body of so many bytes takes until its answer is over.
    ///
    /// # Errors
    /// As [`Share::grow_to`].
    pub fn grow_for_body(&mut self, bytes: usize, most_pieces: usize) -> Result<(), Full> {
        // No piece of a conversation is shorter than `"",`.
        let pieces = (bytes / 3).min(most_pieces);
        self.grow_to(bytes * COPIES + pieces * PIECE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_grows_while_there_is_room_and_is_given_back() {
        let memory = Memory::new(10 * PAGE);
        let mut one = memory.share();
        one.grow_to(1).unwrap();
        one.grow_to(6 * PAGE).unwrap();
        one.grow_to(PAGE).unwrap();
        let mut other = memory.share();
        other.grow_to(4 * PAGE).unwrap();
        assert_eq!(other.grow_to(4 * PAGE + 1), Err(Full));
        assert_eq!(memory.free_bytes(), 0);
        drop(one);
        other.grow_to(5 * PAGE).unwrap();
        drop(other);
        assert_eq!(memory.free_bytes(), 10 * PAGE);
    }

    #[test]
    fn a_request_larger_than_everything_is_served_alone() {
        let memory = Memory::new(10 * PAGE);
        let mut one = memory.share();
        one.grow_for_body(100 * PAGE, 0).unwrap();
        assert!(memory.share().grow_to(1).is_err());
    }
}
