//! JSON Web Tokens, made and checked: strict where verifiers in the field are lax, and in the order and words that
//! Envoy's have. It does no I/O, reads no clock, fetches nothing, and follows no key that a token names.
//!
//! Read [`KeySet`] first: what tokens are verified with.

mod key_set;

pub use self::key_set::{KeySet, KeySetError};
