//! Sets of public keys (RFC 7517, section 5).

/// The keys of one issuer. A key that cannot be used is left out of it.
#[derive(Clone, Debug)]
pub struct KeySet {}

/// Why a document is no set of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is no JSON object with an array `keys`.
    #[error("it is no set of keys: {0}")]
    NotASet(String),
}
