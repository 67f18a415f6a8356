//! The accounts that a provider may use: credentials that never show themselves ([`Secret`]), and the pool that
//! lends them out, healthiest and least busy first ([`Pool`]); and for services that take anybody, guests that sign
//! themselves up ([`anonymous::Guests`]). Source: design.md sections 2 and 4.

pub mod anonymous;
mod guest;
mod guestbook;
mod health;
mod kept;
mod pool;
mod secret;

pub use health::{Condition, Patience};
pub use kept::Kept;
pub use pool::{Accounts, Census, Choice, Lease, Pool};
pub use secret::{Secret, scrub};
