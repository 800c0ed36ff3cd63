//! What the store has of a signing key: enough for every node to publish it, and nothing that signs.

use alts_request_auth::PublicKey;
use alts_store::Kind;
use serde::{Deserialize, Serialize};

use crate::token::keys::{self, State};

/// Where the records of all nodes are, each under the `kid` of its key.
pub(crate) const SIGNING_KEY: Kind<KeyRecord> = Kind::new("token-keys/", 1);

/// The longest that a record may ask to be kept, in seconds: no token lives so long.
const MAX_KEPT: u64 = 7 * 86_400;

/// A key in the store. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRecord {
    /// What its node calls itself; for people.
    pub(crate) node: String,
    /// As it is published. Its `kid` is the name of the record.
    pub(crate) key: PublicKey,
    pub(crate) created: u64,
    /// When this record was first written.
    pub(crate) published: u64,
    /// From when on it signs, or shall.
    pub(crate) signs_from: u64,
    /// Since when it is the one that its node signs with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) activated: Option<u64>,
    /// Its node does not sign with it later, unless it has written a later time here before.
    pub(crate) signs_until: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retired: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) withdrawn: Option<u64>,
    /// How long it is kept once it cannot sign any more, in seconds.
    pub(crate) kept: u64,
}

impl KeyRecord {
    /// Where the key is on its way, as far as its node has said.
    pub(crate) fn state(&self) -> State {
        match (self.withdrawn, self.retired, self.activated) {
            (Some(_), ..) => State::Withdrawn,
            (None, Some(_), _) => State::Retired,
            (None, None, Some(_)) => State::Active,
            (None, None, None) => State::Next,
        }
    }

    /// From when on no token and no node can need it. What is withdrawn is kept as long as its node could come back
    /// with it.
    pub(crate) fn gone_after(&self) -> u64 {
        let end = match (self.withdrawn, self.retired) {
            (Some(withdrawn), _) => withdrawn.max(self.signs_until),
            (None, Some(retired)) => retired,
            (None, None) => self.signs_until,
        };
        keys::collected_after(end, self.kept.min(MAX_KEPT))
    }
}
