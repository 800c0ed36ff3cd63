//! What handshakes are done with at one time. A stream takes one snapshot and keeps it to its end.

use std::{collections::HashMap, sync::Arc};

use alts_handshake::{Credentials, Trust};

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

    /// The roots.
    pub(crate) fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }
}
