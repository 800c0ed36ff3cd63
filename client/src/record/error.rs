//! Why a frame cannot be made or read.

/// Why a frame cannot be made or read. The connection is of no use after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// No record protocol of this name is known here.
    #[error("the record protocol {0:?} is not known")]
    UnknownProtocol(String),
    /// The key is shorter than its protocol wants.
    #[error("{protocol} wants {wanted} bytes of key, there are {found}")]
    KeyTooShort {
        /// Name of the protocol.
        protocol: &'static str,
        /// Bytes that it wants.
        wanted: usize,
        /// Bytes that there are.
        found: usize,
    },
}
