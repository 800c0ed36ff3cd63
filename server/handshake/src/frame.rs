//! Frames (specification section 2): gathering them from input in any split, and writing them.

use strum::{EnumIter, FromRepr};

use crate::error::Error;

/// Bytes of a frame header: length and type, each a `u32`.
pub(crate) const HEADER_LEN: usize = 8;

/// The largest value of the length field: the type and the largest payload of any message.
const MAX_LENGTH: u32 = 4 + 32_768;

/// The kinds of frames of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, FromRepr)]
#[repr(u32)]
pub enum FrameType {
    /// The client's offers and key shares.
    ClientInit = 1,
    /// The server's choices and key share.
    ServerInit = 2,
    /// The server's proof.
    ServerFinished = 3,
    /// The client's proof.
    ClientFinished = 4,
    /// The sender gives up.
    Alert = 5,
}

impl FrameType {
    /// The largest payload, in bytes.
    pub const fn max_payload(self) -> usize {
        match self {
            Self::ClientInit | Self::ServerInit => 16_384,
            Self::ServerFinished | Self::ClientFinished => 32_768,
            Self::Alert => 2,
        }
    }

    /// The 8 bytes before a payload of `payload_len` bytes.
    pub(crate) fn header(self, payload_len: usize) -> [u8; HEADER_LEN] {
        // Every payload is bounded by max_payload, far below u32::MAX.
        let length = payload_len as u32 + 4;
        let mut header = [0; HEADER_LEN];
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4..].copy_from_slice(&(self as u32).to_le_bytes());
        header
    }

    /// A whole frame.
    pub(crate) fn frame(self, payload: &[u8]) -> Vec<u8> {
        debug_assert!(payload.len() <= self.max_payload());
        [&self.header(payload.len()), payload].concat()
    }
}

/// One whole frame as received, header included: the transcript hashes exactly these bytes.
pub(crate) struct Frame(Vec<u8>);

impl Frame {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn header(&self) -> &[u8] {
        &self.0[..HEADER_LEN]
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.0[HEADER_LEN..]
    }
}

/// Keeps incomplete input, at most one frame of it.
#[derive(Default)]
pub(crate) struct Gatherer(Vec<u8>);

impl Gatherer {
    /// Moves bytes from the front of `input` until they complete a frame of the type `expected`. `None` means
    /// that all input is taken and more is needed.
    ///
    /// Refuses as early as the bytes allow: a wrong length with 4 of them, a wrong type with 8.
    pub(crate) fn next(&mut self, input: &mut &[u8], expected: FrameType) -> Result<Option<Frame>, Error> {
        if !self.fill_to(4, input) {
            return Ok(None);
        }
        let length = self.u32_at(0);
        if !(4..=MAX_LENGTH).contains(&length) {
            return Err(Error::FrameLengthInvalid { length });
        }
        if !self.fill_to(HEADER_LEN, input) {
            return Ok(None);
        }
        let found = self.u32_at(4);
        let frame = match FrameType::from_repr(found) {
            Some(frame) if frame == expected || frame == FrameType::Alert => frame,
            _ => return Err(Error::FrameTypeUnexpected { expected, found }),
        };
        // At most MAX_LENGTH, which any usize holds.
        let payload_len = length as usize - 4;
        if payload_len > frame.max_payload() {
            return Err(Error::FrameTooLarge { frame, length: payload_len, limit: frame.max_payload() });
        }
        if !self.fill_to(HEADER_LEN + payload_len, input) {
            return Ok(None);
        }
        let whole = Frame(std::mem::take(&mut self.0));
        if frame == FrameType::Alert {
            let code = <[u8; 2]>::try_from(whole.payload()).ok().map(u16::from_le_bytes);
            return Err(Error::PeerAlert { code });
        }
        Ok(Some(whole))
    }

    /// Whether there are `target` bytes, after taking what is missing and there.
    fn fill_to(&mut self, target: usize, input: &mut &[u8]) -> bool {
        let missing = target.saturating_sub(self.0.len()).min(input.len());
        let (taken, rest) = input.split_at(missing);
        self.0.extend_from_slice(taken);
        *input = rest;
        self.0.len() >= target
    }

    fn u32_at(&self, offset: usize) -> u32 {
        // Called only after fill_to(offset + 4).
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[offset..offset + 4]);
        u32::from_le_bytes(bytes)
    }
}
