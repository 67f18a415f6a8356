//! Files of variables: how they are written ([`form`]), what the worker says of them ([`loader`]), the keys of the
//! clients ([`keys`]), the credentials of the providers ([`credentials`]), and who may read them ([`access`]).

pub(super) mod access;
pub(super) mod credentials;
pub(super) mod file;
mod form;
pub(super) mod keys;
pub(super) mod loader;

use super::{finding::Finding, setup::Setup};

/// Everything about variables; `now` in Unix seconds.
pub(super) fn check(setup: &Setup, now: f64, found: &mut Vec<Finding>) {
    for file in &setup.env {
        form::check(file, found);
    }
    loader::check(setup, found);
    keys::check(setup, found);
    credentials::check(setup, now, found);
    access::check(setup, found);
}
