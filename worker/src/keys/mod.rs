//! Who may do how much. The keys of the settings may do everything; more are kept in the store, each with models, limits and
//! an end of its own, and all workers of the cluster heed them together. Source: design.md section 13, issue "What a cluster
//! must know together", items 5 and 6.
//!
//! ```text
//!   request ──► Keyring::find ──► Keyring::reserve ──► answer ──► Reservation dropped: settled
//!                (cached)          (one claim)                    (tokens really used)
//!                                                     └─► Ledger: usage, written in batches
//! ```

mod ledger;
mod record;
mod reserve;
mod ring;
mod windows;

pub use ledger::{EVERY, Ledger};
pub use record::{KeyPatch, KeyRecord, Limits, PREFIX, digest, new_secret};
pub use reserve::{Counts, Denied, Reservation, Room};
pub use ring::{Found, Keyring};
pub use windows::Counted;
