//! A connection after its handshake.

mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{AltsAuthInfo, established::Established, record::RecordError};
use incoming::Incoming;
use outgoing::Outgoing;

/// An encrypted connection over `IO`: what is written is sealed, what is read was sealed by the peer.
///
/// It is used like the connection below it. All that is under way is kept in the stream, so a future of `read`,
/// `write`, `flush` or `shutdown` may be dropped at any point, and nothing is lost or sent twice.
///
/// # Writing
/// A write takes what one frame holds, or a few short ones, and tries at once to send it; what the connection does not
/// take then goes with the next write, [`flush`](tokio::io::AsyncWriteExt::flush) or
/// [`shutdown`](tokio::io::AsyncWriteExt::shutdown). So flush before waiting for an answer. Each write makes a frame of
/// its own (24 bytes more than its payload): gather small pieces by `write_vectored` or a
/// [`BufWriter`](tokio::io::BufWriter). With a peer that does not read, writes wait when more than 16 KiB of sealed
/// bytes are unsent.
///
/// # Closing
/// `shutdown` sends what is sealed, then shuts down the sending direction of `IO`; reading goes on.
///
/// ALTS has no message that closes a connection. A connection that ends between two frames is a clean end (`read`
/// returns 0), also when somebody on the way has cut it there. Whoever must know that all has come needs a protocol above
/// that says how long its messages are; HTTP/2 does. A connection that ends inside a frame is an error of kind
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
///
/// # Errors
/// Errors of `IO` are passed on. A frame that is not the next one that the peer made is an error of kind
/// [`InvalidData`](io::ErrorKind::InvalidData), whose inner error is a [`RecordError`]. It stays: every later read and
/// write fails with it. What was read before it is genuine; nothing behind it is handed out.
///
/// # Memory
/// While a read waits, and nothing is unsent, it holds no buffer. Otherwise it has at most one each way: of 64 KiB, or a
/// frame where that is longer, for reading; of a frame and 64 KiB for writing, twice that while a backlog is unsent.
/// They are not wiped when they are freed: the program's own buffers hold the same plaintext. The key of the connection
/// is wiped; what the cipher has made of it for the frames under way, and the buffers in which it came from the
/// handshaker, are not.
pub struct AltsStream<IO> {
    io: IO,
    incoming: Incoming,
    outgoing: Outgoing,
    /// Why the records of this connection cannot be gone on with.
    broken: Option<RecordError>,
    info: AltsAuthInfo,
}

impl<IO> AltsStream<IO> {
    /// Goes on with `io` where the handshake left it.
    pub(crate) fn new(io: IO, established: Established) -> Self {
        let Established { side, key, send_limit, receive_limit, max_payload, rest, info } = established;
        let (mut sealer, opener) = key.ends(side, send_limit, receive_limit);
        if let Some(bytes) = max_payload {
            sealer.limit_payload(bytes);
        }
        let (incoming, outgoing) = (Incoming::new(opener, rest), Outgoing::new(sealer));
        Self { io, incoming, outgoing, broken: None, info }
    }

    /// Who is at the other end.
    pub fn auth_info(&self) -> &AltsAuthInfo {
        &self.info
    }

    /// The connection below, to ask it for its addresses or to set its options.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    /// The connection below. Whoever reads from it or writes to it tears frames apart, and with that ends the
    /// connection: one of the two ends will find a frame that is not the next one.
    pub fn get_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    /// Frames made so far, sent or waiting to be sent.
    pub fn frames_sent(&self) -> u64 {
        self.outgoing.frames()
    }

    /// Frames received and opened so far.
    pub fn frames_received(&self) -> u64 {
        self.incoming.frames()
    }

    /// # Errors
    /// What ended the records of this connection.
    fn check(&self) -> io::Result<()> {
        self.broken.as_ref().map_or(Ok(()), |error| Err(invalid(error)))
    }

    /// Makes a [`Failure`] what the program sees, and keeps it when it is to stay.
    fn fail(&mut self, failure: Failure) -> io::Error {
        match failure {
            Failure::Io(error) => error,
            Failure::Record(error) => invalid(self.broken.insert(error)),
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for AltsStream<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        let before = out.filled().len();
        let read = ready!(this.incoming.poll_read(&mut this.io, cx, out));
        let result = read.map_err(|failure| this.fail(failure));
        // What came before the failure is handed out first; the next call will say it.
        Poll::Ready(if out.filled().len() > before { Ok(()) } else { result })
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for AltsStream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(payload)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        payload: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        let written = ready!(this.outgoing.poll_write(&mut this.io, cx, payload));
        Poll::Ready(written.map_err(|failure| this.fail(failure)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        this.outgoing.poll_flush(&mut this.io, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.broken.is_some() {
            // The peer is told that this is the end, the program that it is a bad one.
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        }
        this.check()?;
        this.outgoing.poll_shutdown(&mut this.io, cx)
    }
}

/// Without what passes over it, and without its keys.
impl<IO: fmt::Debug> fmt::Debug for AltsStream<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AltsStream")
            .field("io", &self.io)
            .field("peer", &self.info.peer_service_account())
            .field("frames_sent", &self.frames_sent())
            .field("frames_received", &self.frames_received())
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

#[cfg(unix)]
mod descriptor {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

    use super::AltsStream;

    /// That of the connection below; see [`AltsStream::get_mut`] for what not to do with it.
    impl<IO: AsFd> AsFd for AltsStream<IO> {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.io.as_fd()
        }
    }

    /// That of the connection below; see [`AltsStream::get_mut`] for what not to do with it.
    impl<IO: AsRawFd> AsRawFd for AltsStream<IO> {
        fn as_raw_fd(&self) -> RawFd {
            self.io.as_raw_fd()
        }
    }
}

/// Why one direction cannot go on.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The connection below says so.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A frame cannot be made or read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

fn invalid(error: &RecordError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.clone())
}
