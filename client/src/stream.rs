//! A connection after its handshake.

use crate::{AltsAuthInfo, established::Established};

/// An encrypted connection over `IO`: what is written is sealed, what is read was sealed by the peer.
pub struct AltsStream<IO> {
    #[expect(dead_code, reason = "helper stream")]
    io: IO,
    info: AltsAuthInfo,
}

impl<IO> AltsStream<IO> {
    pub(crate) fn new(io: IO, established: Established) -> Self {
        Self { io, info: established.info }
    }

    /// Who is at the other end.
    pub fn auth_info(&self) -> &AltsAuthInfo {
        &self.info
    }
}
