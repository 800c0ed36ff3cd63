//! Connections for tests: one that does as it was told, and one that chops what passes.

use std::{
    collections::VecDeque,
    io,
    io::IoSlice,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// What the next call does.
pub(super) enum Step {
    /// Bytes to read; what does not fit stays for the call after.
    Bytes(Vec<u8>),
    /// How many bytes are taken, at most, of a write.
    Take(usize),
    /// Nothing now.
    Pending,
    Fail(io::ErrorKind),
}

/// Stands for a socket. When it has come to the end of what it was told, reads see the end of the connection and
/// writes take everything.
#[derive(Default)]
pub(super) struct Script {
    pub(super) reads: VecDeque<Step>,
    pub(super) writes: VecDeque<Step>,
    /// What was written.
    pub(super) written: Vec<u8>,
    pub(super) read_calls: usize,
    pub(super) flushes: usize,
    pub(super) shut: bool,
}

impl Script {
    pub(super) fn reads(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { reads: steps.into_iter().collect(), ..Self::default() }
    }

    pub(super) fn writes(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { writes: steps.into_iter().collect(), ..Self::default() }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.read_calls += 1;
        match self.reads.pop_front() {
            None => Poll::Ready(Ok(())),
            Some(Step::Bytes(mut bytes)) => {
                let rest = bytes.split_off(bytes.len().min(out.remaining()));
                out.put_slice(&bytes);
                if !rest.is_empty() {
                    self.reads.push_front(Step::Bytes(rest));
                }
                Poll::Ready(Ok(()))
            }
            Some(Step::Pending) => Poll::Pending,
            Some(Step::Fail(kind)) => Poll::Ready(Err(kind.into())),
            Some(Step::Take(_)) => panic!("a read does not take"),
        }
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        assert!(!self.shut, "written to after a shutdown");
        let count = match self.writes.pop_front() {
            None => bytes.len(),
            Some(Step::Take(most)) => most.min(bytes.len()),
            Some(Step::Pending) => return Poll::Pending,
            Some(Step::Fail(kind)) => return Poll::Ready(Err(kind.into())),
            Some(Step::Bytes(_)) => panic!("a write has no bytes"),
        };
        self.written.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut = true;
        Poll::Ready(Ok(()))
    }
}

/// A connection of which each call moves as many bytes as the next number of a row says, again and again; 0 says that
/// the call is to be repeated.
pub(super) struct Chopped<IO> {
    io: IO,
    row: Vec<u8>,
    at: usize,
}

impl<IO> Chopped<IO> {
    pub(super) fn new(io: IO, mut row: Vec<u8>) -> Self {
        // So that it comes to an end.
        row.push(200);
        Self { io, row, at: 0 }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        self.at = (self.at + 1) % self.row.len();
        match self.row[self.at] {
            0 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            count => Poll::Ready(count.into()),
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Chopped<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = std::task::ready!(self.poll_next(cx)).min(out.remaining());
        let mut space = [0; 255];
        let mut part = ReadBuf::new(&mut space[..count]);
        std::task::ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
        out.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Chopped<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = std::task::ready!(self.poll_next(cx)).min(bytes.len());
        Pin::new(&mut self.io).poll_write(cx, &bytes[..count])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Polls `future` once and drops it.
pub(super) fn once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// What `future` is ready with at its first poll.
pub(super) fn now<T>(future: impl Future<Output = T>) -> T {
    match once(future) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// Counts how often it is woken.
#[derive(Default)]
pub(super) struct Bell(pub(super) AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// One write of all of `parts` together.
pub(super) async fn write_vectored<IO: AsyncWrite + Unpin>(
    io: &mut IO,
    parts: &[&[u8]],
) -> io::Result<usize> {
    let parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    io.write_vectored(&parts).await
}
