//! Socket.IO v5 over Engine.IO v4, as a client of one namespace speaks it: the protocol without sockets ([`codec`]), and
//! a connection that keeps itself alive ([`connection`]).

pub mod codec;
pub mod connection;
