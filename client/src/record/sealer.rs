//! What one end sends.

use std::io::IoSlice;

use super::{
    FrameLimit, RecordError, RecordKey, Side,
    counter::Counter,
    crypter::Crypter,
    frame::{self, HEADER_LEN, TAG_LEN},
};

/// Makes the frames that one end sends.
pub struct Sealer {
    crypter: Crypter,
    counter: Counter,
    max_payload: usize,
}

impl Sealer {
    /// For what `side` sends, in frames of at most `limit`, all bytes of them counted.
    pub(super) fn new(key: &RecordKey, side: Side, limit: FrameLimit) -> Self {
        let counter = Counter::new(key.protocol, side);
        Self { crypter: Crypter::new(key), counter, max_payload: limit.max_payload() }
    }

    /// Most bytes of payload that one frame takes.
    pub fn max_payload(&self) -> usize {
        self.max_payload
    }

    /// Has frames hold at most `bytes` of payload, at least 1; never more than before.
    pub fn limit_payload(&mut self, bytes: usize) {
        self.max_payload = bytes.clamp(1, self.max_payload);
    }

    /// Appends one frame to `out`, of as much of the front of `payload` as fits; returns how many bytes that were.
    /// Of nothing, nothing is made. No memory is allocated if `out` has room for the frame.
    ///
    /// # Errors
    /// When the counter has come to its end. Nothing was appended then.
    pub fn seal(&mut self, payload: &[IoSlice<'_>], out: &mut Vec<u8>) -> Result<usize, RecordError> {
        let taken = length(payload, self.max_payload);
        if taken == 0 {
            return Ok(0);
        }
        let number = self.counter.take()?;
        out.reserve(HEADER_LEN + taken + TAG_LEN);
        out.extend_from_slice(&frame::header(taken));
        let begin = out.len();
        let mut missing = taken;
        for slice in payload {
            if missing == 0 {
                break;
            }
            let part = &slice[..slice.len().min(missing)];
            out.extend_from_slice(part);
            missing -= part.len();
        }
        let tag = self.crypter.seal(&number, &mut out[begin..]);
        out.extend_from_slice(&tag);
        Ok(taken)
    }

    /// Frames made so far.
    pub fn frames(&self) -> u64 {
        self.counter.taken()
    }

    #[cfg(test)]
    pub(crate) fn start_at(&mut self, number: u64) {
        self.counter.start_at(number);
    }

    /// Appends a frame without payload, as core's senders may.
    #[cfg(test)]
    pub(crate) fn seal_empty(&mut self, out: &mut Vec<u8>) {
        let number = self.counter.take().expect("the counter is not at its end");
        out.extend_from_slice(&frame::header(0));
        out.extend_from_slice(&self.crypter.seal(&number, &mut []));
    }
}

/// Bytes of `payload`, or `most` if they are more.
fn length(payload: &[IoSlice<'_>], most: usize) -> usize {
    let mut sum = 0;
    for slice in payload {
        sum += slice.len();
        if sum >= most {
            return most;
        }
    }
    sum
}
