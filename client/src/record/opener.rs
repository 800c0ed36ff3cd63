//! What one end receives.

use std::ops::Range;

use super::{
    FrameLimit, RecordError, RecordKey, Side,
    counter::Counter,
    crypter::Crypter,
    frame::{self, HEADER_LEN, TAG_LEN},
};

/// Opens the frames that the other end sends.
pub struct Opener {
    crypter: Crypter,
    counter: Counter,
    limit: FrameLimit,
    frames: u64,
    refused: bool,
}

impl Opener {
    /// For what `side`, the other end, sends. Frames over `limit`, their length field not counted, are refused.
    pub(super) fn new(key: &RecordKey, side: Side, limit: FrameLimit) -> Self {
        let counter = Counter::new(key.protocol, side);
        Self { crypter: Crypter::new(key), counter, limit, frames: 0, refused: false }
    }

    /// Bytes of the frame that `bytes` begins with, header and all; `None` while too little is there to tell.
    ///
    /// # Errors
    /// When what is there cannot be the front of a frame. Told as early as it can be: a wrong length at its fourth
    /// byte, a wrong type at the first wrong byte.
    pub fn frame_len(&self, bytes: &[u8]) -> Result<Option<usize>, RecordError> {
        frame::frame_len(bytes, self.limit)
    }

    /// Opens a whole frame, as long as [`Self::frame_len`] says, in place; returns where in `frame` the payload is. A
    /// peer may send frames without payload.
    ///
    /// # Errors
    /// When it is not the next frame that the other end made. Nothing can be opened after it, and what is in `frame` is not
    /// to be used: of GMAC_128 it is the payload that somebody may have altered.
    pub fn open(&mut self, frame: &mut [u8]) -> Result<Range<usize>, RecordError> {
        if self.refused {
            return Err(RecordError::RefusedBefore);
        }
        // Until the frame is known to be good.
        self.refused = true;
        let wanted = self.frame_len(frame)?.unwrap_or(0);
        if wanted != frame.len() || wanted == 0 {
            return Err(RecordError::FrameNotWhole { found: frame.len(), wanted });
        }
        let number = self.counter.take()?;
        self.crypter.open(&number, &mut frame[HEADER_LEN..])?;
        self.refused = false;
        self.frames = self.frames.saturating_add(1);
        Ok(HEADER_LEN..wanted - TAG_LEN)
    }

    /// Frames opened so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    #[cfg(test)]
    pub(super) fn start_at(&mut self, number: u64) {
        self.counter.start_at(number);
    }
}
