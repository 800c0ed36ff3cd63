//! What the admin API needs of those who decide about peers.

use std::{path::PathBuf, sync::Arc, time::Duration};

use alts_store::Revision;

use crate::{
    policy::{Key, Policy, Resources},
    verifier::Counts,
};

/// Who decides about peers. Implemented over the verifier.
#[tonic::async_trait]
pub(crate) trait Decisions: Send + Sync + 'static {
    /// What is decided by now.
    fn current(&self) -> Decided;

    /// The policy file that has a resource, if one does.
    fn file_of(&self, key: &Key) -> Option<PathBuf>;

    /// Waits until a change of the store is decided by. False if that took longer than `patience`.
    async fn applied(&self, revision: Revision, patience: Duration) -> bool;
}

/// What is decided by at one moment.
#[derive(Clone)]
pub(crate) struct Decided {
    pub(crate) policy: Arc<Policy>,
    /// What the policy was made of.
    pub(crate) files: Arc<Resources>,
    pub(crate) stored: Arc<Resources>,
    /// The last change of the store that is part of it; 0 without a store.
    pub(crate) revision: Revision,
    /// Why nobody can say what holds, so that every peer is refused.
    pub(crate) unknown: Option<String>,
    pub(crate) counts: Counts,
    /// Records of the store under keys that name nothing.
    pub(crate) foreign_keys: usize,
    /// When it last changed, in seconds since 1970.
    pub(crate) changed_at: u64,
}
