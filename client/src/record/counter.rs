//! The counter of the frames of one direction.

use super::{RecordError, RecordProtocol, Side};

/// Bytes of a counter, and of a nonce.
pub(super) const COUNTER_LEN: usize = 12;

/// Counts the frames that one side sends. It comes to an end, since no counter may be used twice with a key.
pub(super) struct Counter {
    protocol: RecordProtocol,
    side: Side,
    /// The number of the next frame; `None` when all have been taken.
    next: Option<u64>,
}

impl Counter {
    pub(super) fn new(protocol: RecordProtocol, side: Side) -> Self {
        Self { protocol, side, next: Some(0) }
    }

    /// What belongs to the next frame, each once.
    ///
    /// # Errors
    /// [`RecordError::CounterUsedUp`].
    pub(super) fn take(&mut self) -> Result<FrameNumber, RecordError> {
        let last = self.last();
        let number = self.next.ok_or(RecordError::CounterUsedUp { protocol: self.protocol.name(), last })?;
        self.next = number.checked_add(1).filter(|next| *next <= last);
        let mut bytes = [0; COUNTER_LEN];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        if self.side == Side::Server {
            bytes[COUNTER_LEN - 1] = 0x80;
        }
        Ok(FrameNumber(bytes))
    }

    /// How many have been taken. One less than it is after the last of 2^64.
    pub(super) fn taken(&self) -> u64 {
        self.next.unwrap_or_else(|| self.last().saturating_add(1))
    }

    /// The number of the last frame that there can be.
    fn last(&self) -> u64 {
        match self.protocol {
            RecordProtocol::GcmAes128Rekey => u64::MAX,
            RecordProtocol::Gmac128 => (1 << 40) - 1,
        }
    }

    #[cfg(test)]
    pub(super) fn start_at(&mut self, number: u64) {
        self.next = Some(number);
    }
}

/// The counter of one frame: its number, and which side sends it. Nothing but a [`Counter`] makes it, so that none
/// comes twice.
pub(super) struct FrameNumber([u8; COUNTER_LEN]);

impl FrameNumber {
    pub(super) fn bytes(&self) -> &[u8; COUNTER_LEN] {
        &self.0
    }

    /// Which of the keys it wants: they change every 2^16 frames.
    pub(super) fn epoch(&self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f, ..] = self.0;
        [a, b, c, d, e, f]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REKEY: RecordProtocol = RecordProtocol::GcmAes128Rekey;
    const GMAC: RecordProtocol = RecordProtocol::Gmac128;

    #[test]
    fn bytes_count_from_the_low_end_and_the_last_tells_the_side() {
        for (side, number, bytes, epoch) in [
            (Side::Client, 0, "000000000000000000000000", "000000000000"),
            (Side::Server, 0, "000000000000000000000080", "000000000000"),
            (Side::Client, 0xffff, "ffff00000000000000000000", "000000000000"),
            (Side::Server, 0x1_0000, "000001000000000000000080", "010000000000"),
            (Side::Client, 0xffff_ffff, "ffffffff0000000000000000", "ffff00000000"),
            (Side::Client, 0x1_0000_0000, "000000000100000000000000", "000001000000"),
            (Side::Server, u64::MAX, "ffffffffffffffff00000080", "ffffffffffff"),
        ] {
            let mut counter = Counter::new(REKEY, side);
            counter.start_at(number);
            let taken = counter.take().expect("there is one");
            assert_eq!(hex::encode(taken.bytes()), bytes);
            assert_eq!(hex::encode(taken.epoch()), epoch);
        }
    }

    #[test]
    fn the_last_number_is_given_once_and_none_after_it() {
        for (protocol, last, taken) in [(REKEY, u64::MAX, u64::MAX), (GMAC, (1 << 40) - 1, 1 << 40)] {
            let mut counter = Counter::new(protocol, Side::Client);
            counter.start_at(last - 1);
            assert!(counter.take().is_ok() && counter.take().is_ok());
            for _ in 0..3 {
                let error = counter.take().err();
                assert_eq!(error, Some(RecordError::CounterUsedUp { protocol: protocol.name(), last }));
            }
            assert_eq!(counter.taken(), taken);
        }
    }

    #[test]
    fn frames_are_counted() {
        let mut counter = Counter::new(GMAC, Side::Server);
        for taken in 0..5 {
            assert_eq!(counter.taken(), taken);
            assert!(counter.take().is_ok());
        }
    }
}
