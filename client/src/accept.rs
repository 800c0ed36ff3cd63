//! Accepting: the server's side.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    AltsAuthInfo, AltsStream, Error, Handshaker,
    handshake::{Start, Terms},
    record::FrameLimit,
};

/// Makes connections encrypted that this program has accepted. Cheap to clone.
#[derive(Clone)]
pub struct AltsAcceptor {
    terms: Terms,
}

impl AltsAcceptor {
    /// By this handshaker. Any authenticated peer is accepted until [`Self::authorize`] says otherwise.
    pub fn new(handshaker: Handshaker) -> Self {
        Self { terms: Terms::new(handshaker) }
    }

    /// Asks `judge` about each peer when its handshake is done; a peer that it refuses is not spoken to, and sees the
    /// connection close. May be called again: then all of them are asked, in turn.
    pub fn authorize(
        mut self,
        judge: impl Fn(&AltsAuthInfo) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.terms.judges.push(Arc::new(judge));
        self
    }

    /// The largest frame that this end takes, and makes, in bytes, from 16 KiB to 1 MiB; others count as the nearest.
    /// Default: 64 KiB, which has nearly all the throughput of larger ones, and a frame of HTTP/2 in one piece.
    pub fn max_frame_size(mut self, bytes: u32) -> Self {
        self.terms.max_frame_size = FrameLimit::nearest(bytes);
        self
    }

    /// Bounds the payload of the frames that this end sends, in bytes; they are never larger than the peer takes. At
    /// least 1.
    pub fn max_sent_payload(mut self, bytes: usize) -> Self {
        self.terms.max_payload = Some(bytes.max(1));
        self
    }

    /// Does the handshake on `io`, which was accepted. Needs a tokio runtime.
    ///
    /// The handshaker is asked, and a place among the handshakes under way taken, only when the peer has sent something.
    /// Dropping the future closes `io`, and gives its place to another handshake.
    ///
    /// # Errors
    /// See [`Error`]. `io` is closed.
    pub async fn accept<IO>(&self, io: IO) -> Result<AltsStream<IO>, Error>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let (io, established) = self.terms.handshake(Start::Server, io).await?;
        Ok(AltsStream::new(io, established))
    }
}
