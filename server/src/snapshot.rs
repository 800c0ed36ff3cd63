//! What handshakes are done with at one time. A stream takes one snapshot and keeps it to its end.

use std::{collections::HashMap, sync::Arc};

use alts_handshake::{Credentials, Trust};
use arc_swap::ArcSwap;

/// The identities of this node and the roots it trusts. It never changes; a change is a new one.
pub(crate) struct Snapshot {
    /// Under the account, in its one spelling.
    credentials: HashMap<String, Arc<Credentials>>,
    trust: Arc<Trust>,
}

impl Snapshot {
    /// Takes over credentials that were checked against `trust`.
    pub(crate) fn new(credentials: impl IntoIterator<Item = Credentials>, trust: Trust) -> Self {
        let by_account =
            |credentials: Credentials| (credentials.identity().account().to_owned(), Arc::new(credentials));
        Self { credentials: credentials.into_iter().map(by_account).collect(), trust: Arc::new(trust) }
    }

    /// The credentials of exactly this account. There is no default identity: who is not named gets none.
    pub(crate) fn credentials(&self, account: &str) -> Option<&Arc<Credentials>> {
        self.credentials.get(account)
    }

    /// The same roots with other credentials.
    pub(crate) fn with_credentials(&self, credentials: Arc<Credentials>) -> Self {
        let mut all = self.credentials.clone();
        all.insert(credentials.identity().account().to_owned(), credentials);
        Self { credentials: all, trust: self.trust.clone() }
    }

    /// The same credentials with other roots.
    pub(crate) fn with_trust(&self, trust: Trust) -> Self {
        Self { credentials: self.credentials.clone(), trust: Arc::new(trust) }
    }

    /// The roots.
    pub(crate) fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }
}

/// The snapshot of now. Readers take it without a lock and keep what they took; there is one writer.
pub(crate) struct Current(ArcSwap<Snapshot>);

impl Current {
    /// Begins with a snapshot that was checked.
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// What handshakes that begin now are done with.
    pub(crate) fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Puts a whole new snapshot in the place of the old one.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }
}
