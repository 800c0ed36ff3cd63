//! Connecting: the client's side.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    AltsAuthInfo, AltsStream, Error, Handshaker,
    handshake::{Start, Terms},
    record::FrameLimit,
};

/// Makes connections encrypted that this program has opened. Cheap to clone.
#[derive(Clone)]
pub struct AltsConnector {
    terms: Terms,
    targets: Arc<[String]>,
}

impl AltsConnector {
    /// By this handshaker. Any authenticated peer is accepted until [`Self::target_service_account`] says otherwise.
    pub fn new(handshaker: Handshaker) -> Self {
        Self { terms: Terms::new(handshaker), targets: Arc::default() }
    }

    /// The peer must be this account, or another one that was named so. The handshaker checks it, and knows all
    /// spellings of an account.
    pub fn target_service_account(mut self, account: impl Into<String>) -> Self {
        self.targets = self.targets.iter().cloned().chain([account.into()]).collect();
        self
    }

    /// Asks `judge` about each peer when its handshake is done; a peer that it refuses is not spoken to, and sees the
    /// connection close during the handshake. May be called again: then all of them are asked, in turn.
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

    /// Does the handshake on `io`, which was connected to `target_name` (`host:port`). Needs a tokio runtime.
    ///
    /// Dropping the future closes `io`, and gives its place to another handshake.
    ///
    /// # Errors
    /// See [`Error`]. `io` is closed.
    pub async fn connect<IO>(&self, io: IO, target_name: &str) -> Result<AltsStream<IO>, Error>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let start = Start::Client { target_name, targets: &self.targets };
        let (io, established) = self.terms.handshake(start, io).await?;
        Ok(AltsStream::new(io, established))
    }
}
