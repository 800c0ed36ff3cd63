//! A client's connection as hyper takes it.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::AltsStream;

/// Bytes of the first read, which goes through a buffer of its own: hyper's does not tell whether anything came.
const FIRST_READ: usize = 1_024;

/// A connection that a connector has made, as hyper takes it.
///
/// A server whose program refuses a client does so after the client's handshake was done, and the client only finds the
/// connection closed. When that comes before the server's first byte, the error says what it may be.
pub struct AltsIo<IO> {
    stream: TokioIo<AltsStream<IO>>,
    /// Whether anything has come.
    answered: bool,
}

/// What a connection that ends before the server has said anything comes from.
#[derive(Debug, thiserror::Error)]
#[error(
    "the server closed the connection after the handshake and before it said anything: it may not accept {own}, \
     its log says why"
)]
struct Unanswered {
    own: String,
}

impl<IO> AltsIo<IO> {
    pub(crate) fn new(stream: AltsStream<IO>) -> Self {
        Self { stream: TokioIo::new(stream), answered: false }
    }

    /// The connection.
    pub fn get_ref(&self) -> &AltsStream<IO> {
        self.stream.inner()
    }

    /// The connection, for use without hyper.
    pub fn into_inner(self) -> AltsStream<IO> {
        self.stream.into_inner()
    }

    /// What an end is told as.
    fn explained(&self, error: io::Error) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset if !self.answered => self.unanswered(),
            _ => error,
        }
    }

    fn unanswered(&self) -> io::Error {
        let own = match self.get_ref().auth_info().local_service_account() {
            "" => "this program".to_owned(),
            account => account.to_owned(),
        };
        io::Error::new(io::ErrorKind::ConnectionAborted, Unanswered { own })
    }
}

impl<IO: AsyncRead + Unpin> Read for AltsIo<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.answered {
            return Pin::new(&mut self.stream).poll_read(cx, out);
        }
        let mut first = [0; FIRST_READ];
        let room = out.remaining().min(FIRST_READ);
        let mut first = ReadBuf::new(&mut first[..room]);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, first.unfilled()));
        read.map_err(|error| self.explained(error))?;
        if first.filled().is_empty() && room > 0 {
            return Poll::Ready(Err(self.unanswered()));
        }
        out.put_slice(first.filled());
        self.answered = room > 0;
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> Write for AltsIo<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, payload).map_err(|error| self.explained(error))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        payload: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, payload).map_err(|error| self.explained(error))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(|error| self.explained(error))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Who the server is, a program of hyper finds in the extensions of its responses: an
/// [`AltsAuthInfo`](crate::AltsAuthInfo).
impl<IO: Connection> Connection for AltsIo<IO> {
    fn connected(&self) -> Connected {
        let stream = self.get_ref();
        stream.get_ref().connected().extra(stream.auth_info().clone())
    }
}

impl<IO> fmt::Debug for AltsIo<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AltsIo")
            .field("auth_info", self.get_ref().auth_info())
            .field("answered", &self.answered)
            .finish_non_exhaustive()
    }
}
