//! The record protocol: what is sent on a connection after the handshake. Bytes in, bytes out; no I/O.
//!
//! Each end of a connection has a [`Sealer`] for what it sends and an [`Opener`] for what it receives, which
//! [`RecordKey::ends`] makes of its key. Both work in place, in buffers of the caller.

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

impl Side {
    /// The other one.
    fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl RecordKey {
    /// What `side`, this end, sends and receives with: in frames of at most `send`, all bytes of them counted, and of
    /// frames of at most `receive`, their length field not counted; longer ones are refused.
    ///
    /// The key is used up: two sealers of one key and side would seal different frames with the same nonces, and whoever
    /// sees both could read them and forge others.
    pub fn ends(self, side: Side, send: FrameLimit, receive: FrameLimit) -> (Sealer, Opener) {
        (Sealer::new(&self, side, send), Opener::new(&self, side.other(), receive))
    }
}

#[cfg(test)]
mod tests;
