//! What a finished handshake leaves.

use bytes::Bytes;

use crate::{
    AltsAuthInfo, Side,
    record::{FrameLimit, RecordKey},
};

/// What a finished handshake leaves, for a stream to go on with.
pub(crate) struct Established {
    pub(crate) side: Side,
    pub(crate) key: RecordKey,
    /// What this end may send.
    pub(crate) send_limit: FrameLimit,
    /// What this end has said that it takes.
    pub(crate) receive_limit: FrameLimit,
    /// The program's own bound on the payload of a frame it sends, in bytes.
    pub(crate) max_payload: Option<usize>,
    /// What came behind the handshake's last byte: the front of the first frames.
    pub(crate) rest: Bytes,
    pub(crate) info: AltsAuthInfo,
}
