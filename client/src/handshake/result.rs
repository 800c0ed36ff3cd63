//! What a handshaker says that both sides have agreed on, and whether it can be relied on.

use std::{collections::HashMap, mem, sync::Arc};

use alts_proto::{
    gcp::{HandshakerResult, Identity, RpcProtocolVersions, identity::IdentityOneof},
    wire,
};
use zeroize::Zeroizing;

use super::request::OFFERED;
use crate::{
    AltsAuthInfo, Error, SecurityLevel,
    auth_info::Facts,
    conversation::contract,
    error::{RpcVersions, bounded, is_hidden},
    record::{FrameLimit, RecordKey, RecordProtocol},
};

/// The attribute of the peer that altsd's token exchange knows the handshake by.
const TOKEN_EXCHANGE_HANDLE: &str = "altsd.context";

/// A result that holds all that a connection needs.
pub(super) struct Agreed {
    pub(super) key: RecordKey,
    /// What this end may send.
    pub(super) send_limit: FrameLimit,
    pub(super) info: AltsAuthInfo,
}

impl Agreed {
    /// Checks everything of a result of which `own` was said to be the largest frame that this end takes.
    ///
    /// # Errors
    /// A breach of the contract, by its field; or the two programs have no version in common.
    pub(super) fn of(mut result: HandshakerResult, own: FrameLimit) -> Result<Self, Error> {
        let mut key_data = Zeroizing::new(mem::take(&mut result.key_data));
        if result.application_protocol != wire::APPLICATION_PROTOCOL_GRPC {
            return Err(contract("result.application_protocol", not_offered(&result.application_protocol)));
        }
        let protocol = record_protocol(&result.record_protocol)?;
        if key_data.len() < protocol.key_len() {
            let (found, name, wanted) = (key_data.len(), protocol.name(), protocol.key_len());
            return Err(contract("result.key_data", format!("has {found} bytes, {name} wants {wanted}")));
        }
        let (peer_service_account, mut peer_attributes) = peer(result.peer_identity)?;
        let local = result.local_identity.ok_or_else(|| contract("result.local_identity", "is missing"))?;
        let peer_rpc_versions = rpc_versions(result.peer_rpc_versions)?;
        let facts = Facts {
            peer_service_account,
            local_service_account: account(local.identity_oneof).unwrap_or_default(),
            token_exchange_handle: peer_attributes.remove(TOKEN_EXCHANGE_HANDLE).map(Zeroizing::new),
            peer_attributes,
            application_protocol: result.application_protocol,
            record_protocol: protocol.name(),
            security_level: match protocol {
                RecordProtocol::GcmAes128Rekey => SecurityLevel::IntegrityAndPrivacy,
                RecordProtocol::Gmac128 => SecurityLevel::IntegrityOnly,
            },
            peer_rpc_versions: (peer_rpc_versions.max, peer_rpc_versions.min),
        };
        Ok(Self {
            key: RecordKey::new(protocol, mem::take(&mut *key_data))?,
            send_limit: own.agreed(result.max_frame_size),
            info: AltsAuthInfo(Arc::new(facts)),
        })
    }
}

/// The record protocol of this name, which must be one of those offered: a weaker one that nobody asked for is refused.
fn record_protocol(name: &str) -> Result<RecordProtocol, Error> {
    let offered = RecordProtocol::parse(name).ok().filter(|protocol| OFFERED.contains(protocol));
    offered.ok_or_else(|| contract("result.record_protocol", not_offered(name)))
}

fn not_offered(name: &str) -> String {
    if name.is_empty() {
        "is empty".to_owned()
    } else {
        format!("is {:?}, which was not offered", bounded(name))
    }
}

/// Account and attributes of the peer. Programs write the account into logs, so that it must be what it looks like.
fn peer(identity: Option<Identity>) -> Result<(String, HashMap<String, String>), Error> {
    let identity = identity.ok_or_else(|| contract("result.peer_identity", "is missing"))?;
    let problem = match &identity.identity_oneof {
        None => "is missing".to_owned(),
        Some(IdentityOneof::Hostname(name)) => {
            format!("is missing, there is the host name {:?}", bounded(name))
        }
        Some(IdentityOneof::ServiceAccount(_)) => "is empty".to_owned(),
    };
    let account = account(identity.identity_oneof).filter(|account| !account.is_empty());
    let account = account.ok_or_else(|| contract("result.peer_identity.service_account", problem))?;
    if account.contains(is_hidden) {
        let problem = format!("is {:?}, with characters that are not shown", bounded(&account));
        return Err(contract("result.peer_identity.service_account", problem));
    }
    Ok((account, identity.attributes))
}

fn account(identity: Option<IdentityOneof>) -> Option<String> {
    match identity? {
        IdentityOneof::ServiceAccount(account) => Some(account),
        IdentityOneof::Hostname(_) => None,
    }
}

/// The versions of the peer, of which one must be ours. A version that is not given is 0.0, as in every gRPC stack.
fn rpc_versions(versions: Option<RpcProtocolVersions>) -> Result<RpcVersions, Error> {
    let versions = versions.ok_or_else(|| contract("result.peer_rpc_versions", "is missing"))?;
    let [max, min] = [versions.max_rpc_version, versions.min_rpc_version]
        .map(|version| version.map_or((0, 0), |version| (version.major, version.minor)));
    let (peer, own) = (RpcVersions { max, min }, wire::RPC_PROTOCOL_VERSION);
    if peer.min <= own && own <= peer.max {
        Ok(peer)
    } else {
        Err(Error::RpcVersions { peer, own: RpcVersions { max: own, min: own } })
    }
}

#[cfg(test)]
mod tests;
