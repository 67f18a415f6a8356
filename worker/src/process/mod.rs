//! The worker as a process: [`start`] reads what it starts with, [`serve`] is its life on a socket and [`drain`] the end of
//! that. Beside it run [`log`], the renewal of credentials ([`renew`]), what providers do apart from any turn ([`upkeep`]),
//! the deletion of conversations that nobody goes on with ([`idle`])
//! and what gives memory back after a peak ([`allocator`]). [`commands`] is what the program does instead of serving.

pub mod allocator;
pub mod commands;
pub mod drain;
mod health;
pub mod idle;
pub mod log;
pub mod renew;
pub mod serve;
pub mod start;
pub mod together;
pub mod upkeep;
