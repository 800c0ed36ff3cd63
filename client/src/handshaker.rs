//! The handshaker of the node.

use std::{sync::Arc, time::Duration};

use crate::AddressError;

/// The handshaker of this node, shared by all that connects and accepts in this program. Cheap to clone.
#[derive(Clone)]
pub struct Handshaker(#[expect(dead_code, reason = "helper handshake")] Arc<()>);

impl Handshaker {
    /// The one at `address`, `HOST:PORT` or `unix:/path`, with the usual limits. Nothing is connected before the first
    /// handshake.
    ///
    /// # Errors
    /// When it is no such address.
    pub fn new(address: &str) -> Result<Self, AddressError> {
        Self::builder(address).build()
    }

    /// The same with other limits.
    pub fn builder(_address: &str) -> HandshakerBuilder {
        HandshakerBuilder {}
    }
}

/// Makes a [`Handshaker`].
pub struct HandshakerBuilder {}

impl HandshakerBuilder {
    /// How long one handshake may take, the peer's part and waiting for a place included. Default: 20 s, as gRPC's.
    pub fn timeout(self, _timeout: Duration) -> Self {
        self
    }

    /// How many handshakes may be under way at once, on each side of its own; others wait. Default: 100, as gRPC's.
    pub fn max_concurrent(self, _handshakes: usize) -> Self {
        self
    }

    /// The handshaker.
    ///
    /// # Errors
    /// When the address is none.
    pub fn build(self) -> Result<Handshaker, AddressError> {
        Ok(Handshaker(Arc::new(())))
    }
}
