//! Why a string is no address of a handshaker.

/// Why a string is no address of a handshaker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It has the form of no address.
    #[error("{address:?} is no address of a handshaker: {problem}; it is HOST:PORT or unix:/PATH")]
    Malformed {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It is on another machine, or may be.
    #[error(
        "the handshaker {address:?} may be on another machine, and the keys of all connections come from it in plaintext: \
         ask the handshaker of this machine, or call allow_remote(true) if nobody can listen between the two"
    )]
    Remote {
        /// As it was given.
        address: String,
    },
}

impl AddressError {
    /// A stable code of the kind of error, in snake case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "address_malformed",
            Self::Remote { .. } => "address_remote",
        }
    }
}
