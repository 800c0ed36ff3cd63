//! The direction that is written.

use std::{
    io,
    io::IoSlice,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use super::Failure;
use crate::record::{RecordError, Sealer};

/// Sealed bytes that may be unsent when another frame is made. Enough that the next call of the connection below is
/// worth it, when the one before took all but the end of a frame.
pub(super) const BACKLOG: usize = 16 << 10;

/// Sealed bytes that one write makes of several frames, about, unless one frame is longer. With frames of 16 KiB, as many
/// programs take them, a call of the connection below for each was measured to cost a tenth of the throughput.
pub(super) const GATHER: usize = 64 << 10;

/// What is sealed and was not sent yet: `buffer[sent..]`.
pub(super) struct Outgoing {
    sealer: Sealer,
    buffer: Vec<u8>,
    sent: usize,
    /// An error of the connection below that came after a write had been taken.
    late: Option<io::Error>,
    /// Nothing more is to be written.
    shut: bool,
}

impl Outgoing {
    pub(super) fn new(sealer: Sealer) -> Self {
        Self { sealer, buffer: Vec::new(), sent: 0, late: None, shut: false }
    }

    /// Frames made so far.
    pub(super) fn frames(&self) -> u64 {
        self.sealer.frames()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    #[cfg(test)]
    pub(super) fn start_at(&mut self, number: u64) {
        self.sealer.start_at(number);
    }

    /// Makes frames of the front of `payload`, and sends of them what the connection takes at once. Returns how much of
    /// `payload` is taken: with nothing unsent, as much as makes [`GATHER`] of sealed bytes; else one frame; and while
    /// more than [`BACKLOG`] is unsent it waits, and has taken nothing.
    ///
    /// # Errors
    /// Nothing of `payload` is taken then.
    pub(super) fn poll_write<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        payload: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Failure>> {
        if self.shut {
            let text = "nothing can be written after a shutdown";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, text).into()));
        }
        let blocked = self.poll_send(io, cx)?.is_pending();
        if self.buffer.len() - self.sent > BACKLOG {
            return Poll::Pending;
        }
        self.buffer.drain(..mem::take(&mut self.sent));
        let taken =
            if blocked { self.sealer.seal(payload, &mut self.buffer)? } else { self.gather(payload)? };
        // Tried at once, so that nothing waits for a flush which the connection could take now. An error comes too
        // late for this write, whose payload is in a frame already.
        if !blocked && let Poll::Ready(Err(error)) = self.poll_send(io, cx) {
            self.late = Some(error);
        }
        Poll::Ready(Ok(taken))
    }

    /// Makes as many frames of the front of `payload` as one call of the connection below is to take.
    fn gather(&mut self, payload: &[IoSlice<'_>]) -> Result<usize, RecordError> {
        let len: usize = payload.iter().map(|slice| slice.len()).sum();
        if len <= self.sealer.max_payload() {
            return self.sealer.seal(payload, &mut self.buffer);
        }
        let room = len.min(GATHER.max(self.sealer.max_payload()));
        // With the frames' own bytes, as long as they are not tiny.
        self.buffer.reserve(room + room / 32);
        let mut taken = self.sealer.seal(payload, &mut self.buffer)?;
        let mut parts = payload.to_vec();
        let mut left = parts.as_mut_slice();
        IoSlice::advance_slices(&mut left, taken);
        while !left.is_empty() && self.buffer.len() < GATHER {
            // An error will come again with the next write: this one has been taken in part.
            let Ok(more @ 1..) = self.sealer.seal(left, &mut self.buffer) else { break };
            IoSlice::advance_slices(&mut left, more);
            taken += more;
        }
        Ok(taken)
    }

    /// Sends all that is sealed, and has the connection below send it on.
    pub(super) fn poll_flush<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_send(io, cx))?;
        Pin::new(io).poll_flush(cx)
    }

    /// Sends all that is sealed, then shuts the connection below down.
    pub(super) fn poll_shutdown<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.shut = true;
        ready!(self.poll_send(io, cx))?;
        Pin::new(io).poll_shutdown(cx)
    }

    /// Sends all that is sealed; what is left stays for the next call. An empty buffer is freed.
    fn poll_send<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.late.take() {
            return Poll::Ready(Err(error));
        }
        while let Some(unsent @ [_, ..]) = self.buffer.get(self.sent..) {
            match ready!(Pin::new(&mut *io).poll_write(cx, unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        (self.buffer, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}
