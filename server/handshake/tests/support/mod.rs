//! What the tests of the engine share.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod authority;
pub(crate) mod vectors;
