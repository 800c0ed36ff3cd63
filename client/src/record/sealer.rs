//! What one end sends.

use std::io::IoSlice;

use super::{FrameLimit, RecordError, RecordKey, Side};

/// Makes the frames that one end sends.
pub struct Sealer {}

impl Sealer {
    /// For what `side` sends, in frames of at most `limit`.
    pub fn new(_key: &RecordKey, _side: Side, _limit: FrameLimit) -> Self {
        todo!("helper record")
    }

    /// Most bytes of payload that one frame takes.
    pub fn max_payload(&self) -> usize {
        todo!("helper record")
    }

    /// Has frames hold at most `bytes` of payload, at least 1; never more than before.
    pub fn limit_payload(&mut self, _bytes: usize) {
        todo!("helper record")
    }

    /// Appends one frame to `out`, of as much of the front of `payload` as fits; returns how many bytes that were.
    /// Of nothing, nothing is made.
    ///
    /// # Errors
    /// When the counter has come to its end. Nothing was appended then.
    pub fn seal(&mut self, _payload: &[IoSlice<'_>], _out: &mut Vec<u8>) -> Result<usize, RecordError> {
        todo!("helper record")
    }

    /// Frames made so far.
    pub fn frames(&self) -> u64 {
        todo!("helper record")
    }
}
