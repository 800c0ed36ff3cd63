//! ALTS for Rust programs: connections that are encrypted, and whose two ends know each other's service account, byte for
//! byte as gRPC's C++, Go and Java stacks make them.
//!
//! The handshake is done by the handshaker of the node (altsd): this crate carries its bytes to the peer and back, and
//! encrypts what is sent afterwards. It holds no certificate, and decides nothing about identities by itself but what the
//! program asks it to ([`AltsConnector::authorize`], [`AltsAcceptor::authorize`]).
//!
//! Read [`AltsConnector`] and [`AltsStream`] first. With the feature `tonic` (default), [`AltsConnector`] is also what
//! `Endpoint::connect_with_connector` takes, and [`AltsIncoming`] what `Server::serve_with_incoming` takes.

pub mod record;

mod accept;
mod address;
mod auth_info;
mod connect;
mod conversation;
mod error;
mod established;
mod handshake;
mod handshaker;
mod stream;
#[cfg(feature = "tonic")]
mod tonic_client;
#[cfg(feature = "tonic")]
mod tonic_server;

pub use accept::AltsAcceptor;
pub use auth_info::{AltsAuthInfo, SecurityLevel};
pub use connect::AltsConnector;
pub use error::{AddressError, Error, RefusedBy, RpcVersions, WaitingFor};
pub use handshaker::{Handshaker, HandshakerBuilder};
pub use record::Side;
pub use stream::AltsStream;
/// The code of [`Error::Refused`].
pub use tonic::Code;
