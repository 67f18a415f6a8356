//! The allocator, and giving memory back to the system when many streams have ended.
//!
//! mimalloc takes fewer instructions than glibc for the hundred small pieces of a request, and starts large blocks on
//! pages of their own, so that of a connection's 8 KiB buffers only what is used takes memory. Huge pages, which would
//! take it all, are off. It gives back what is free while others allocate; after a peak nobody may, so it is told to.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use mimalloc::MiMalloc;

use crate::http::App;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(5);
/// So many requests less than at the peak, and half of them at least, are worth the walk through the heaps.
const WORTH_IT: usize = 64;

/// Watches the number of running requests for as long as the process lives, on a thread of its own.
pub fn watch(app: Arc<App>) {
    std::thread::spawn(move || {
        let mut peak = 0;
        loop {
            std::thread::sleep(LOOK);
            let now = app.in_flight.load(Ordering::Relaxed);
            peak = now.max(peak);
            if peak - now >= WORTH_IT && now <= peak / 2 {
                give_back();
                peak = now;
            }
        }
    });
}

fn give_back() {
    // A thread that has never allocated is no user of the allocator, and what it asks for is ignored.
    std::hint::black_box(Box::new(0_u8));
    #[expect(unsafe_code, reason = "the allocator offers this in C alone")]
    // SAFETY: `mi_collect` may be called by any thread at any time, and only touches memory that is free.
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}
