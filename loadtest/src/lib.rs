//! What hive2api is measured and tested against.
//!
//! [`simulate`] plays the providers: one strict server for each of them, on this machine, without an account. The
//! worker's integration tests start them in process, demos and the Python tests start the binary. Every simulator is
//! written from the provider's wire page alone and never looks at the worker's code, so that the two judge each other.

pub mod simulate;
