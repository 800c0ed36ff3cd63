//! How frames are laid out, and how long they may be.

/// Bytes in front of the payload of a frame: its length and its type.
pub(super) const HEADER_LEN: usize = 8;

/// How many bytes a frame may have that one side sends: a wish in the handshake, and what both agree on after it.
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

    /// What a side may send that wishes `self`, to a peer whose wish is `peer` (0: it has none).
    pub fn agreed(self, peer: u32) -> Self {
        Self::nearest(peer.min(self.0))
    }

    /// In bytes.
    pub const fn bytes(self) -> usize {
        self.0 as usize
    }
}
