//! The direction that is read.

use std::{
    io,
    ops::Range,
    pin::pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::Failure;
use crate::record::{Opener, RecordError};

/// Bytes that are read at once, where no frame needs more: so many that the cost of the call is small beside that of
/// opening them.
pub(super) const READ_BUFFER: usize = 64 << 10;

/// Frames opened and calls of the connection below in one poll, at most: a peer that sends frames without payload, or
/// single bytes, must not keep the other tasks of a thread from running.
pub(super) const STEPS: usize = 128;

/// What has come and was not handed out yet.
///
/// Opened in place: `buffer[payload]` is plaintext, `buffer[opened..]` is as it came.
pub(super) struct Incoming {
    opener: Opener,
    buffer: Vec<u8>,
    /// What is left of the payload of the frame opened last.
    payload: Range<usize>,
    /// Where the first frame begins that is not opened.
    opened: usize,
    /// Bytes of that frame, as far as its front has told; 0 while it has not.
    wanted: usize,
    /// The connection has ended.
    ended: bool,
}

impl Incoming {
    /// Begins with `rest`, which came behind the handshake.
    pub(super) fn new(opener: Opener, rest: Bytes) -> Self {
        Self { opener, buffer: Vec::from(rest), payload: 0..0, opened: 0, wanted: 0, ended: false }
    }

    /// Frames opened so far.
    pub(super) fn frames(&self) -> u64 {
        self.opener.frames()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Puts payload into `out`: of all frames that are there, or else of the first that comes. Puts nothing when the
    /// connection has ended.
    ///
    /// # Errors
    /// When a frame is not the next of the peer's; what is in `out` came before it. When the connection fails, or has
    /// ended inside a frame.
    pub(super) fn poll_read<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Failure>> {
        let before = out.filled().len();
        for _ in 0..STEPS {
            self.hand_out(out);
            if out.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if self.open_next()? {
                continue;
            }
            if out.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                return Poll::Ready(self.end().map_err(Failure::from));
            }
            ready!(self.poll_fill(io, cx))?;
        }
        self.hand_out(out);
        if out.filled().len() > before {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn hand_out(&mut self, out: &mut ReadBuf<'_>) {
        let count = self.payload.len().min(out.remaining());
        let end = self.payload.start + count;
        out.put_slice(&self.buffer[self.payload.start..end]);
        self.payload.start = end;
    }

    /// Opens the next frame, if all of it is there. The payload of the one before is gone then.
    fn open_next(&mut self) -> Result<bool, RecordError> {
        let sealed = &mut self.buffer[self.opened..];
        self.wanted = self.opener.frame_len(sealed)?.unwrap_or(0);
        let Some(frame) = sealed.get_mut(..self.wanted).filter(|frame| !frame.is_empty()) else {
            return Ok(false);
        };
        let payload = self.opener.open(frame)?;
        self.payload = self.opened + payload.start..self.opened + payload.end;
        self.opened += self.wanted;
        Ok(true)
    }

    /// What the end of the connection means to the reader.
    fn end(&self) -> io::Result<()> {
        match self.buffer.len() - self.opened {
            0 => Ok(()),
            part => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the connection was cut in the middle of a frame, after {part} bytes of it"),
            )),
        }
    }

    /// Reads once, as much as there is room for. All payload must have been handed out.
    fn poll_fill<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.make_room();
        // The future holds nothing over a poll: it is this buffer that does.
        let read = pin!(io.read_buf(&mut self.buffer)).poll(cx);
        self.ended = matches!(read, Poll::Ready(Ok(0)));
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
        read.map_ok(|_| ())
    }

    /// Moves what is not opened to the front, and sees to it that there is space behind it. The space for a frame grows
    /// with what has come of it: the length in front of it is only a claim until it is opened.
    fn make_room(&mut self) {
        self.buffer.drain(..self.opened);
        (self.opened, self.payload) = (0, 0..0);
        let (len, capacity) = (self.buffer.len(), self.buffer.capacity());
        if capacity < READ_BUFFER {
            self.buffer.reserve_exact(READ_BUFFER - len);
        } else if len == capacity {
            self.buffer.reserve_exact(len.min(self.wanted - len));
        }
    }
}
