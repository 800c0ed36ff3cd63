//! What the exchange asks of the rooms beside it: keys, the ledger of revoked and used tokens, other issuers, and
//! handshakes that have finished here.

use std::sync::Arc;

use alts_handshake::Identity;
use alts_request_auth::KeySet;
use async_trait::async_trait;
use bytes::Bytes;

use super::subject::{Proof, Subject};
use crate::attest::Attested;

/// The keys that tokens are signed with.
pub(crate) trait Keys: Send + Sync {
    /// Signs claims, a JSON object, as a compact JWT with the key that is active now. `typ` is that of its header.
    fn sign(&self, typ: &'static str, claims: &[u8]) -> Result<String, NoKey>;

    /// All keys that tokens of this node, or of its fleet, may be signed with.
    fn published(&self) -> Arc<Published>;
}

/// Why nothing can be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoKey {
    /// The first key of this node is published, and verifiers may not have seen it yet.
    #[error("the signing key is not in use yet: verifiers may not know it for another {seconds} s")]
    TooNew { seconds: u64 },
    #[error("there is no signing key: {0}")]
    Unusable(String),
}

/// A set of public keys as it is served.
pub(crate) struct Published {
    /// The JSON of the set.
    pub(crate) document: Bytes,
    /// Its entity tag, with the quotation marks.
    pub(crate) etag: String,
    /// What our own verification takes.
    pub(crate) keys: KeySet,
}

/// Tokens and subjects that count no more.
#[async_trait]
pub(crate) trait Ledger: Send + Sync {
    /// Why a token does not count although it is good: it is revoked, or its subject is. `id` is as in [`Proof`].
    /// `Err` if nobody can say.
    fn revoked(&self, iss: &str, id: Option<&str>, sub: &str) -> Result<Option<RevokedBy>, LedgerProblem>;

    /// Revokes a token until it ends. Done when this node acts on it.
    async fn revoke(&self, proof: &Proof) -> Result<(), LedgerProblem>;

    /// Notes the use of a token that counts once: [`LedgerProblem::Used`] if it was noted before, by any node.
    async fn use_once(&self, proof: &Proof) -> Result<(), LedgerProblem>;
}

/// What of a token is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RevokedBy {
    Token,
    Subject,
}

/// Why the ledger says nothing, or takes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LedgerProblem {
    #[error("the token was used before, and counts once")]
    Used,
    #[error("there are {most} revocations and uses of tokens, and holders of tokens add no more")]
    Full { most: usize },
    #[error("there is no store for it; configure [store]")]
    NoStore,
    #[error("the store is away: {0}")]
    Away(String),
}

/// Issuers whose tokens prove subjects.
#[async_trait]
pub(crate) trait Issuers: Send + Sync {
    /// Verifies a token of a configured issuer. `now` is in seconds since 1970.
    async fn verify(&self, token: &str, now: u64) -> Result<Subject, SubjectProblem>;
}

/// Why a token proves nobody. The text is for whoever presented it: it never holds any of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubjectProblem {
    /// The token is at fault: a stable reason code, and why.
    #[error("{text}")]
    Refused { reason: &'static str, text: String },
    /// The keys of its issuer are not there.
    #[error("{0}")]
    Unavailable(String),
}

/// Handshakes that this node has finished, by the handle that the program got with its result.
pub(crate) trait Contexts: Send + Sync {
    /// The handshake of this handle, if it counts still and this caller ran it.
    fn find(&self, handle: &str, caller: &Attested, now: u64) -> Option<Context>;
}

/// What a finished handshake proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// The peer, by all of its names.
    pub(crate) peer: Identity,
    /// The account that met it.
    pub(crate) local: String,
    /// When the handle ends, in seconds since 1970.
    pub(crate) expires: u64,
}
