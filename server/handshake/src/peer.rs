//! The other end, once it has proved who it is, and the question whether it is acceptable (specification section 8).

use std::sync::Arc;

use pki_types::UnixTime;

use crate::{certificate_info::CertificateFacts, identity::Identity};

/// An authenticated peer: what there is to judge it by.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Whom its leaf names.
    pub identity: Identity,
    /// Its chain, leaf first and the root that vouches for it last, whether or not that was sent. Of a resumed handshake
    /// it is the chain that the first one had.
    pub certificates: Arc<[CertificateFacts]>,
}

/// Decides whether an authenticated peer is acceptable. It is asked in every handshake, resumed ones too, after the
/// peer has proved itself and before anything is handed out. To admit who should not be is a security bug.
pub trait Admission: Send + Sync {
    /// Whether the handshake may go on, and if not, why.
    fn admit(&self, peer: &Peer, now: UnixTime) -> Result<(), NotAdmitted>;
}

/// Why an authenticated peer is not acceptable. The texts are for the log and the program at this end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// By the rules of an operator.
    Denied(String),
    /// The peer, its key or one of its certificates is revoked by an operator.
    Revoked(String),
    /// It is not one of those that the name the program has called stands for.
    NotTarget(String),
    /// It cannot be known now.
    Unknown(String),
}

/// Everybody who is authenticated.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmitAll;

impl Admission for AdmitAll {
    fn admit(&self, _: &Peer, _: UnixTime) -> Result<(), NotAdmitted> {
        Ok(())
    }
}
