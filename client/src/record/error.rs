//! Why a frame cannot be made or read.

/// Why a frame cannot be made or read. The connection is of no use after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// No record protocol of this name is known here.
    #[error("the record protocol {0:?} is not known")]
    UnknownProtocol(String),
    /// The key is shorter than its protocol wants.
    #[error("{protocol} wants {wanted} bytes of key, there are {found}")]
    KeyTooShort {
        /// Name of the protocol.
        protocol: &'static str,
        /// Bytes that it wants.
        wanted: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// No frame is as short as this one says that it is.
    #[error("a frame says that it has {length} bytes, the least is {least}; this is not the record protocol")]
    FrameTooShort {
        /// What its length field says.
        length: u32,
        /// What it says in the shortest frame.
        least: u32,
    },
    /// A frame is over what this end has said that it takes.
    #[error(
        "a frame says that it has {length} bytes, this end takes {limit}; the peer must keep to it, or it is not the \
         record protocol"
    )]
    FrameTooLong {
        /// What its length field says.
        length: u32,
        /// The limit, counted in the same way.
        limit: u32,
    },
    /// A frame is of a type that there is not.
    #[error("a frame is of type {found:#x}, the only type is {known}; this is not the record protocol")]
    FrameTypeUnknown {
        /// Its type; bytes that have not come yet are 0 in it.
        found: u32,
        /// The one that there is.
        known: u32,
    },
    /// What was to be opened is less or more than one frame.
    #[error("{found} bytes were given as a frame of {wanted}")]
    FrameNotWhole {
        /// Bytes that were given.
        found: usize,
        /// Bytes of the frame; 0 when its header was not whole.
        wanted: usize,
    },
    /// The tag of a frame does not fit it.
    #[error(
        "a frame is not what the peer sends next with this key: it was altered, or frames were lost, repeated or \
         reordered"
    )]
    NotAuthentic,
    /// There can be no more frames in this direction. The way out is a new connection.
    #[error("no frame comes after frame {last} of {protocol}; a new connection is needed")]
    CounterUsedUp {
        /// Name of the protocol.
        protocol: &'static str,
        /// Number of the last frame that there can be.
        last: u64,
    },
    /// An earlier frame of this connection was refused.
    #[error("nothing more is opened, since an earlier frame was refused; a new connection is needed")]
    RefusedBefore,
}

impl RecordError {
    /// Its stable code, for logs and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownProtocol(_) => "record_protocol_unknown",
            Self::KeyTooShort { .. } => "record_key_too_short",
            Self::FrameTooShort { .. } => "frame_too_short",
            Self::FrameTooLong { .. } => "frame_too_long",
            Self::FrameTypeUnknown { .. } => "frame_type_unknown",
            Self::FrameNotWhole { .. } => "frame_not_whole",
            Self::NotAuthentic => "frame_not_authentic",
            Self::CounterUsedUp { .. } => "frame_counter_used_up",
            Self::RefusedBefore => "frame_refused_before",
        }
    }
}
