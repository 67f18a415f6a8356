//! The accounts that a provider may use: credentials that never show themselves ([`Secret`]), and the pool that
//! lends them out, healthiest and least busy first ([`Pool`]); for services that take anybody, guests that sign
//! themselves up ([`anonymous::Guests`]); and for those whose tokens end, the renewal of them ([`rotating::Rotating`]),
//! with what tokens say of themselves ([`jwt::Claims`]) and the shapes in which people paste them ([`pasted`]).
//! Source: design.md sections 2 and 4.

pub mod anonymous;
mod fingerprint;
mod guest;
mod guestbook;
mod health;
pub mod jwt;
mod kept;
pub mod pasted;
mod pool;
pub mod rotating;
mod rotation;
mod secret;

pub use fingerprint::{Fingerprint, Known};
pub use health::{Condition, Patience};
pub use kept::Kept;
pub use pool::{Accounts, Census, Choice, Lease, Pool};
pub use secret::{Secret, scrub};
