//! The record protocol: what is sent on a connection after the handshake. Bytes in, bytes out; no I/O.
//!
//! A connection has a [`Sealer`] for what it sends and an [`Opener`] for what it receives, both made of one
//! [`RecordKey`]. Both work in place, in buffers of the caller.

mod counter;
mod crypter;
mod error;
mod frame;
mod opener;
mod sealer;

pub use crypter::{RecordKey, RecordProtocol};
pub use error::RecordError;
pub use frame::FrameLimit;
pub use opener::Opener;
pub use sealer::Sealer;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The end that connects.
    Client,
    /// The end that accepts.
    Server,
}

#[cfg(test)]
mod tests;
