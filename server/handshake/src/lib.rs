//! The altsd handshake, version 1: a key exchange between two workloads, each authenticated by an X.509
//! certificate.
//!
//! This crate is the protocol and its decisions. It takes bytes, values and the time, and returns values; it does
//! no I/O, reads no clock, keeps no global state and logs nothing. `docs/PROTOCOL.md` describes the exchange.
//!
//! Read [`Handshake`] first, which a driver feeds with what the peer sent, then [`Established`], which it gets
//! at the end.

mod certificate;
mod certificate_info;
mod client_side;
mod codec;
mod credentials;
mod crypto;
mod engine;
mod error;
mod finished;
mod frame;
mod identity;
mod key_schedule;
mod message;
mod negotiate;
mod path;
mod peer;
mod revocation;
mod secret;
mod server_side;
mod ticket;
mod transcript;
mod trust;
mod validity;

pub use certificate_info::{CertificateFacts, CertificateInfo};
pub use client_side::ClientSetup;
pub use credentials::Credentials;
pub use crypto::{SecureRandom, Sha256, SystemRandom, sha256};
pub use engine::{Established, Handshake, Outcome, Setup, Step};
pub use error::{Alert, Error, Reason, SetupError, SetupReason};
pub use frame::FrameType;
pub use identity::{Authority, ExpectedPeers, Identity, MailAccount, SpiffeId};
pub use negotiate::{Preferences, ProtocolName, RecordProtocol, RpcVersions};
pub use peer::{Admission, AdmitAll, NotAdmitted, Peer};
pub use secret::{KeyData, Secret};
pub use server_side::{Resumption, ServerSetup};
pub use ticket::{Ticket, TicketId, TicketLookup};
pub use trust::{MAX_SKEW_ALLOWANCE, Trust};

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that opened it.
    Client,
    /// The end that accepted it.
    Server,
}
