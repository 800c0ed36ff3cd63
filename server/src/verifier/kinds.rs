//! How the resources of the policy are written in the store.

use alts_store::Kind;

use crate::policy::{
    PEER_LISTS, PeerListRecord, REVOCATIONS, RULES, RevocationRecord, RuleRecord, TARGET_NAMES,
    TargetNameRecord,
};

/// The version of all their schemas.
const SCHEMA: u64 = 1;

pub(crate) const PEER_LIST: Kind<PeerListRecord> = Kind::new(PEER_LISTS, SCHEMA);
pub(crate) const RULE: Kind<RuleRecord> = Kind::new(RULES, SCHEMA);
pub(crate) const TARGET_NAME: Kind<TargetNameRecord> = Kind::new(TARGET_NAMES, SCHEMA);
pub(crate) const REVOCATION: Kind<RevocationRecord> = Kind::new(REVOCATIONS, SCHEMA);
