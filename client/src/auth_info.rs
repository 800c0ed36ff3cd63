//! Who is at the other end.

use std::{collections::HashMap, fmt, sync::Arc};

use zeroize::Zeroizing;

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecurityLevel {
    /// What is sent can be read by others, not changed.
    IntegrityOnly,
    /// What is sent can neither be read nor changed by others.
    IntegrityAndPrivacy,
}

/// What a handshake has shown about a connection. Cheap to clone.
///
/// Its `Debug` shows the names of the peer's attributes, and not their values.
#[derive(Clone, Debug)]
pub struct AltsAuthInfo(pub(crate) Arc<Facts>);

pub(crate) struct Facts {
    pub(crate) peer_service_account: String,
    pub(crate) local_service_account: String,
    pub(crate) peer_attributes: HashMap<String, String>,
    /// Stands for the whole handshake at altsd's token exchange: whoever has it is served as the peer.
    pub(crate) token_exchange_handle: Option<Zeroizing<String>>,
    pub(crate) application_protocol: String,
    pub(crate) record_protocol: &'static str,
    pub(crate) security_level: SecurityLevel,
    /// Highest and lowest version that the peer speaks, as major and minor.
    pub(crate) peer_rpc_versions: ((u32, u32), (u32, u32)),
}

impl AltsAuthInfo {
    /// The service account of the other end, as its handshaker proved it.
    pub fn peer_service_account(&self) -> &str {
        &self.0.peer_service_account
    }

    /// The service account of this end; empty if the handshaker does not say it.
    pub fn local_service_account(&self) -> &str {
        &self.0.local_service_account
    }

    /// What the handshaker says about the other end beside its account, such as its `spiffe_id`.
    pub fn peer_attributes(&self) -> &HashMap<String, String> {
        &self.0.peer_attributes
    }

    /// The handle by which altsd's token exchange gives this process a token for the other end, as
    /// `subject_token` of the type `urn:altsd:token-type:alts-context`. It counts for five minutes, and is to be
    /// treated as a secret: it is the attribute `altsd.context`, and not among [`Self::peer_attributes`].
    pub fn token_exchange_handle(&self) -> Option<&str> {
        self.0.token_exchange_handle.as_ref().map(|handle| handle.as_str())
    }

    /// The protocol spoken over the connection, `grpc`.
    pub fn application_protocol(&self) -> &str {
        &self.0.application_protocol
    }

    /// The name of the record protocol.
    pub fn record_protocol(&self) -> &str {
        self.0.record_protocol
    }

    /// How the connection is protected.
    pub fn security_level(&self) -> SecurityLevel {
        self.0.security_level
    }

    /// The highest and the lowest RPC version that the other end speaks, each as major and minor.
    pub fn peer_rpc_versions(&self) -> ((u32, u32), (u32, u32)) {
        self.0.peer_rpc_versions
    }

    /// One of a peer of this name, for tests.
    #[cfg(test)]
    pub(crate) fn of_peer(account: &str) -> Self {
        Self(Arc::new(Facts {
            peer_service_account: account.to_owned(),
            local_service_account: "local@prod.example".to_owned(),
            peer_attributes: HashMap::new(),
            token_exchange_handle: None,
            application_protocol: "grpc".to_owned(),
            record_protocol: "ALTSRP_GCM_AES128_REKEY",
            security_level: SecurityLevel::IntegrityAndPrivacy,
            peer_rpc_versions: ((2, 1), (2, 1)),
        }))
    }
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut attributes: Vec<_> = self.peer_attributes.keys().collect();
        attributes.sort_unstable();
        f.debug_struct("Facts")
            .field("peer_service_account", &self.peer_service_account)
            .field("local_service_account", &self.local_service_account)
            .field("peer_attributes", &attributes)
            .field("has_token_exchange_handle", &self.token_exchange_handle.is_some())
            .field("application_protocol", &self.application_protocol)
            .field("record_protocol", &self.record_protocol)
            .field("security_level", &self.security_level)
            .field("peer_rpc_versions", &self.peer_rpc_versions)
            .finish()
    }
}
