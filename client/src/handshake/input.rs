//! What the peer has sent and the handshaker has not used up.

use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::Error;

/// Bytes that are read at once.
const READ: usize = 16 << 10;

/// Bytes that one request carries at most: as much as grpc-go's carry.
const PER_REQUEST: usize = 64 << 10;

/// Bytes that a handshake takes at most.
const PER_HANDSHAKE: usize = 1 << 20;

/// The bytes that go with the next request.
#[derive(Default)]
pub(super) struct Input {
    pending: BytesMut,
    /// Bytes that have come so far.
    total: usize,
}

impl Input {
    /// Reads some bytes more.
    ///
    /// # Errors
    /// When the connection has ended or fails, and when there have come more bytes than any handshake needs.
    pub(super) async fn read<IO: AsyncRead + Unpin>(&mut self, io: &mut IO) -> Result<(), Error> {
        let room = self.room()?;
        self.pending.reserve(room);
        let read = io.read_buf(&mut (&mut self.pending).limit(room)).await;
        let read = read.map_err(|error| self.failed(error))?;
        self.total += read;
        if read == 0 { Err(Error::PeerClosed { received: self.total }) } else { Ok(()) }
    }

    /// What a failure of the connection is, after what has come so far.
    pub(super) fn failed(&self, error: io::Error) -> Error {
        Error::of_connection(error, self.total)
    }

    /// What goes with the next request.
    pub(super) fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Takes away what was used up, which is no more than there is. Whether what is left can lead on without more bytes:
    /// after some progress it may hold a whole message, and a handshaker that keeps nothing wants it again.
    pub(super) fn consume(&mut self, consumed: usize) -> bool {
        self.pending.advance(consumed);
        consumed > 0 && !self.pending.is_empty()
    }

    /// What came behind the handshake.
    pub(super) fn rest(self) -> Bytes {
        // An empty one would keep its buffer.
        if self.pending.is_empty() { Bytes::new() } else { self.pending.freeze() }
    }

    /// How many bytes can be taken now; never 0.
    fn room(&self) -> Result<usize, Error> {
        if self.pending.len() >= PER_REQUEST {
            return Err(Error::TooMuchInput { bytes: self.pending.len(), limit: PER_REQUEST });
        }
        if self.total >= PER_HANDSHAKE {
            return Err(Error::TooMuchInput { bytes: self.total, limit: PER_HANDSHAKE });
        }
        Ok(READ.min(PER_REQUEST - self.pending.len()).min(PER_HANDSHAKE - self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_used_up_goes_with_the_next_request() {
        let mut input = Input::default();
        let mut peer: &[u8] = b"hello";
        input.read(&mut peer).await.expect("there are bytes");
        let cases: [(usize, bool, &[u8]); 4] =
            [(0, false, b"hello"), (2, true, b"llo"), (0, false, b"llo"), (3, false, b"")];
        for (consumed, leads_on, pending) in cases {
            assert_eq!(input.consume(consumed), leads_on);
            assert_eq!(input.pending(), pending);
        }
        let mut more: &[u8] = b"more";
        input.read(&mut more).await.expect("there are bytes");
        assert_eq!(input.rest(), "more");
    }

    #[tokio::test]
    async fn the_end_of_the_connection_is_an_error() {
        let mut input = Input::default();
        for (mut sent, expected) in [(&b""[..], 0), (b"hello", 5), (b"you", 8)] {
            while !sent.is_empty() {
                input.read(&mut sent).await.expect("there are bytes");
                input.consume(input.pending().len());
            }
            let error = input.read(&mut sent).await.expect_err("nothing comes");
            assert!(matches!(error, Error::PeerClosed { received } if received == expected), "{error:?}");
            let error = input.failed(io::ErrorKind::ConnectionReset.into());
            assert!(matches!(error, Error::PeerClosed { received } if received == expected), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_request_is_bounded_when_nothing_is_used_up() {
        let (mut input, mut peer) = (Input::default(), tokio::io::repeat(7));
        let error = loop {
            match input.read(&mut peer).await {
                Ok(()) => assert!(input.pending().len() <= PER_REQUEST),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::TooMuchInput { bytes: PER_REQUEST, limit: PER_REQUEST }), "{error}");
    }

    #[tokio::test]
    async fn a_handshake_is_bounded_when_all_is_used_up() {
        let (mut input, mut peer) = (Input::default(), tokio::io::repeat(7));
        let mut used = 0;
        let error = loop {
            match input.read(&mut peer).await {
                Ok(()) => {
                    used += input.pending().len();
                    input.consume(input.pending().len());
                }
                Err(error) => break error,
            }
        };
        assert_eq!(used, PER_HANDSHAKE);
        assert!(
            matches!(error, Error::TooMuchInput { bytes: PER_HANDSHAKE, limit: PER_HANDSHAKE }),
            "{error}"
        );
    }
}
