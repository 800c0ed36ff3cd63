//! Who is at the other end.

use std::{collections::HashMap, sync::Arc};

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
#[derive(Clone, Debug)]
pub struct AltsAuthInfo(pub(crate) Arc<Facts>);

#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) peer_service_account: String,
    pub(crate) local_service_account: String,
    pub(crate) peer_attributes: HashMap<String, String>,
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

    /// The service account of this end.
    pub fn local_service_account(&self) -> &str {
        &self.0.local_service_account
    }

    /// What the handshaker says about the other end beside its account, such as its `spiffe_id`.
    pub fn peer_attributes(&self) -> &HashMap<String, String> {
        &self.0.peer_attributes
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
}
