//! Whom a token is about, once that has been proved.

use serde::{Deserialize, Serialize};

/// What rules call the callers of this node that the kernel has identified.
pub(crate) const LOCAL: &str = "local";

/// What rules call the peers of finished handshakes of this node.
pub(crate) const ALTS: &str = "alts";

/// What rules call this node and its fleet, of whose tokens the subjects are.
pub(crate) const OWN: &str = "self";

/// Where the proof of a subject came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A JWT of this configured issuer.
    Issuer(String),
    /// An access token that this node, or another of its fleet, has issued.
    Own,
    /// The caller itself, by the kernel's word.
    Local,
    /// A finished handshake: the subject is the peer, and the account that met it acts for it.
    Alts,
}

/// A proven subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) origin: Origin,
    /// `iss` of what proved it; of callers and peers of this node, that is this node's own.
    pub(crate) issuer: String,
    /// `sub` as it was proved.
    pub(crate) sub: String,
    /// What it is called in a token of ours: `sub`, or what the issuer's template makes of the claims.
    pub(crate) name: String,
    /// What it was granted, if what proved it has scopes. A new token never has more.
    pub(crate) scopes: Option<Vec<String>>,
    /// `aud` of what proved it.
    pub(crate) audiences: Vec<String>,
    /// When what proved it ends, in seconds since 1970.
    pub(crate) expires: Option<u64>,
    /// Who acts for it already.
    pub(crate) actor: Option<Actor>,
    /// Who alone may act for it, if what proved it says so.
    pub(crate) may_act: Option<MayAct>,
    /// What the proof is known by, where it is a token: `jti`, or a hash of the token.
    pub(crate) proof: Option<Proof>,
}

/// Who acts for a subject (RFC 8693, section 4.1): the outermost one first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Actor {
    /// Issuer of the actor's own proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) iss: Option<String>,
    /// The actor.
    pub(crate) sub: String,
    /// Who acted before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) act: Option<Box<Self>>,
}

/// Who may act for a subject (RFC 8693, section 4.4).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct MayAct {
    /// The issuer of the token that says so, or this node, if it names none.
    #[serde(default)]
    pub(crate) iss: Option<String>,
    pub(crate) sub: String,
}

/// What a token is known by in the ledger of revoked and used ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    /// Its issuer.
    pub(crate) iss: String,
    /// Its `jti`, or where it has none `sha256:` and, in hexadecimal digits, the hash of all of the token
    /// before its last dot.
    pub(crate) id: String,
    /// When it ends, in seconds since 1970.
    pub(crate) expires: u64,
}
