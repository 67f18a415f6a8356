//! The accounts that a provider may use: credentials that never show themselves ([`Secret`]), and the pool that
//! lends them out, healthiest and least busy first ([`Pool`]); for services that take anybody, guests that sign
//! themselves up ([`anonymous::Guests`]); and for those whose tokens end, the renewal of them ([`rotating::Rotating`]),
//! with what tokens say of themselves ([`jwt::Claims`]) and the shapes in which people paste them ([`pasted`]).
//! Source: design.md sections 2 and 4.

mod allowance;
pub mod anonymous;
pub mod copied;
mod fingerprint;
mod grant;
mod guest;
mod guestbook;
mod guestroom;
mod health;
pub mod jwt;
mod kept;
mod pace;
pub mod pasted;
mod places;
mod pool;
mod roll;
pub mod rotating;
mod rotation;
mod secret;
mod shared;

pub use fingerprint::{Fingerprint, Known};
pub use health::{Condition, Patience, Standing};
pub use kept::Kept;
pub use pace::Pace;
pub use places::Company;
pub use pool::{Choice, Lease, Pool};
pub use roll::{Accounts, Census, Listed, Quota};
pub use secret::{Secret, scrub};
