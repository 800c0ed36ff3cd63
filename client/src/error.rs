//! Why there is no connection.

/// Why a string is no address of a handshaker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {}

/// Why there is no connection: which side refused, and what it says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {}
