//! What one end receives.

use std::ops::Range;

use super::{FrameLimit, RecordError, RecordKey, Side};

/// Opens the frames that the other end sends.
pub struct Opener {}

impl Opener {
    /// For what `side`, the other end, sends. Frames over `limit` are refused.
    pub fn new(_key: &RecordKey, _side: Side, _limit: FrameLimit) -> Self {
        todo!("helper record")
    }

    /// Bytes of the frame that `bytes` begins with, header and all; `None` while too little is there to tell.
    ///
    /// # Errors
    /// When what is there cannot be the front of a frame. Told as early as it can be.
    pub fn frame_len(&self, _bytes: &[u8]) -> Result<Option<usize>, RecordError> {
        todo!("helper record")
    }

    /// Opens a whole frame, as long as [`Self::frame_len`] says, in place; returns where in `frame` the payload is.
    ///
    /// # Errors
    /// When it is not the next frame that the other end made. Nothing can be opened after it.
    pub fn open(&mut self, _frame: &mut [u8]) -> Result<Range<usize>, RecordError> {
        todo!("helper record")
    }

    /// Frames opened so far.
    pub fn frames(&self) -> u64 {
        todo!("helper record")
    }
}
