//! How frames are laid out, and how long they may be.

use super::RecordError;

/// Bytes in front of the payload of a frame: its length and its type.
pub(super) const HEADER_LEN: usize = 8;

/// Bytes behind the payload.
pub(super) const TAG_LEN: usize = 16;

/// Bytes of the length, which counts all that follows it.
const LENGTH_LEN: usize = 4;

/// The only type that there is.
const TYPE: u32 = 6;

/// What the length of a frame without payload says: its type and its tag.
const LENGTH_MIN: u32 = (HEADER_LEN - LENGTH_LEN + TAG_LEN) as u32;

/// The header of a frame with this many bytes of payload.
pub(super) fn header(payload: usize) -> [u8; HEADER_LEN] {
    let length = u32::try_from(payload).expect("a payload is shorter than 1 MiB") + LENGTH_MIN;
    let mut header = [0; HEADER_LEN];
    header[..LENGTH_LEN].copy_from_slice(&length.to_le_bytes());
    header[LENGTH_LEN..].copy_from_slice(&TYPE.to_le_bytes());
    header
}

/// Bytes of the frame that `bytes` begins with; `None` while its header is not whole. A wrong length is told at the
/// fourth byte, a wrong type at the first byte that is wrong.
///
/// # Errors
/// [`RecordError::FrameTooShort`], [`RecordError::FrameTooLong`], [`RecordError::FrameTypeUnknown`].
pub(super) fn frame_len(bytes: &[u8], limit: FrameLimit) -> Result<Option<usize>, RecordError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_LEN>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length);
    if length < LENGTH_MIN {
        return Err(RecordError::FrameTooShort { length, least: LENGTH_MIN });
    }
    if length > limit.0 {
        return Err(RecordError::FrameTooLong { length, limit: limit.0 });
    }
    // All four bytes count. grpc-go looks at the lowest alone, but nobody sends anything in the others.
    let mut kind = [0; 4];
    let known = rest.len().min(kind.len());
    kind[..known].copy_from_slice(&rest[..known]);
    if kind[..known] != TYPE.to_le_bytes()[..known] {
        return Err(RecordError::FrameTypeUnknown { found: u32::from_le_bytes(kind), known: TYPE });
    }
    // The length is at most 1 MiB here.
    Ok((known == kind.len()).then_some(LENGTH_LEN + length as usize))
}

/// How many bytes a frame may have that one side sends: a wish in the handshake, and what both agree on after it.
///
/// Programs count differently: all of a frame, or all but its length field. What is sent fits the limit by the first
/// count, what is received need fit it by the second only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameLimit(u32);

impl FrameLimit {
    /// What everybody takes: 16 KiB.
    pub const MIN: Self = Self(16 << 10);
    /// What nobody exceeds: 1 MiB.
    pub const MAX: Self = Self(1 << 20);

    /// The nearest limit to `bytes` that there is.
    pub const fn nearest(bytes: u32) -> Self {
        if bytes < Self::MIN.0 {
            Self::MIN
        } else if bytes > Self::MAX.0 {
            Self::MAX
        } else {
            Self(bytes)
        }
    }

    /// What a side may send that wishes `self`, to a peer whose wish is `peer` (0: it has none, which means
    /// [`Self::MIN`]).
    pub fn agreed(self, peer: u32) -> Self {
        Self::nearest(peer.min(self.0))
    }

    /// In bytes.
    pub const fn bytes(self) -> usize {
        self.0 as usize
    }

    /// Most bytes of payload of a frame that fits by everybody's count.
    pub(super) const fn max_payload(self) -> usize {
        self.bytes() - HEADER_LEN - TAG_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u32 = 1 << 10;

    #[test]
    fn both_agree_on_the_smaller_wish_within_the_range_of_all() {
        for (own, peer, agreed) in [
            (16 * KIB, 0, 16 * KIB),
            (1024 * KIB, 0, 16 * KIB),
            (1024 * KIB, 4 * KIB, 16 * KIB),
            (1024 * KIB, 16 * KIB - 1, 16 * KIB),
            (1024 * KIB, 16 * KIB + 1, 16 * KIB + 1),
            (128 * KIB, 1024 * KIB, 128 * KIB),
            (1024 * KIB, 128 * KIB, 128 * KIB),
            (u32::MAX, u32::MAX, 1024 * KIB),
            (0, u32::MAX, 16 * KIB),
        ] {
            assert_eq!(FrameLimit::nearest(own).agreed(peer), FrameLimit(agreed), "own {own}, peer {peer}");
        }
    }

    #[test]
    fn the_longest_frame_fits_the_limit_when_all_of_it_is_counted() {
        for limit in [FrameLimit::MIN, FrameLimit::nearest(65_537), FrameLimit::MAX] {
            let header = header(limit.max_payload());
            assert_eq!(frame_len(&header, limit), Ok(Some(limit.bytes())));
        }
    }

    /// With a limit of 16 KiB.
    #[test]
    fn a_header_is_refused_as_soon_as_it_can_be() {
        let limit = FrameLimit::MIN;
        let too_short = |length| Err(RecordError::FrameTooShort { length, least: 20 });
        let too_long = |length| Err(RecordError::FrameTooLong { length, limit: 16_384 });
        let unknown = |found| Err(RecordError::FrameTypeUnknown { found, known: 6 });
        let cases: [(&[u8], _); 19] = [
            (&[], Ok(None)),
            (&[20], Ok(None)),
            (&[0, 0, 0], Ok(None)),
            (&[0, 0, 0, 0], too_short(0)),
            (&[19, 0, 0, 0], too_short(19)),
            (&[20, 0, 0, 0], Ok(None)),
            (&[0, 0x40, 0, 0], Ok(None)),
            (&[1, 0x40, 0, 0], too_long(16_385)),
            (&[0xff, 0xff, 0xff, 0xff], too_long(u32::MAX)),
            (b"HTTP/1.1", too_long(0x5054_5448)),
            (&[20, 0, 0, 0, 6], Ok(None)),
            (&[20, 0, 0, 0, 5], unknown(5)),
            (&[20, 0, 0, 0, 6, 0, 0], Ok(None)),
            (&[20, 0, 0, 0, 6, 0, 1], unknown(0x1_0006)),
            (&[20, 0, 0, 0, 6, 1, 0, 0], unknown(0x106)),
            (&[20, 0, 0, 0, 6, 0, 0, 0x80], unknown(0x8000_0006)),
            (&[20, 0, 0, 0, 6, 0, 0, 0], Ok(Some(24))),
            (&[20, 0, 0, 0, 6, 0, 0, 0, 0xff], Ok(Some(24))),
            (&[0, 0x40, 0, 0, 6, 0, 0, 0], Ok(Some(16_388))),
        ];
        for (bytes, expected) in cases {
            assert_eq!(frame_len(bytes, limit), expected, "{bytes:?}");
        }
    }
}
