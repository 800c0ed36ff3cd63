//! Accepting: the server's side.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{AltsAuthInfo, AltsStream, Error, Handshaker};

/// Makes connections encrypted that this program has accepted.
#[derive(Clone)]
pub struct AltsAcceptor {}

impl AltsAcceptor {
    /// By this handshaker. Any authenticated peer is accepted until [`Self::authorize`] says otherwise.
    pub fn new(_handshaker: Handshaker) -> Self {
        todo!("helper handshake")
    }

    /// Asks `judge` about each peer after its handshake; a peer that it refuses is not spoken to.
    pub fn authorize(
        self,
        _judge: impl Fn(&AltsAuthInfo) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self
    }

    /// The largest frame that this end takes, in bytes, from 16 KiB to 1 MiB.
    pub fn max_frame_size(self, _bytes: u32) -> Self {
        self
    }

    /// Bounds the payload of the frames that this end sends, in bytes; they are never larger than the peer takes.
    pub fn max_sent_payload(self, _bytes: usize) -> Self {
        self
    }

    /// Does the handshake on `io`, which was accepted.
    ///
    /// # Errors
    /// See [`Error`]. `io` is closed.
    pub async fn accept<IO>(&self, _io: IO) -> Result<AltsStream<IO>, Error>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        todo!("helper handshake")
    }
}
