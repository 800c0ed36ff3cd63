//! What the tests against a real altsd process share.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod admin;
pub(crate) mod daemon;
pub(crate) mod files;
pub(crate) mod handshake;
pub(crate) mod http;
pub(crate) mod node;
pub(crate) mod pki;
pub(crate) mod raw;
pub(crate) mod stream;
