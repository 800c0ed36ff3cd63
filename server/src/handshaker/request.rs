//! From the start messages of a program to what the engine is set up with, or to what is wrong with them.

use alts_handshake::{ExpectedPeers, Preferences, RpcVersions};
use alts_proto::gcp::{
    HandshakeProtocol, Identity, RpcProtocolVersions, StartClientHandshakeReq, StartServerHandshakeReq,
    TransportProtocolPreferences, identity::IdentityOneof, rpc_protocol_versions::Version,
};
use tonic::Code;

use super::refusal::Refusal;

/// A start message that can be acted on.
pub(crate) struct Start {
    pub(crate) preferences: Preferences,
    pub(crate) expected: ExpectedPeers,
}

/// Reads a client's start for a caller who owns `account`.
pub(crate) fn client_start(request: &StartClientHandshakeReq, account: &str) -> Result<Start, Refusal> {
    if request.handshake_security_protocol() != HandshakeProtocol::Alts {
        return Err(Refusal::of_request(
            Code::InvalidArgument,
            "handshake_protocol_unknown",
            format!("handshake_security_protocol is {}; only ALTS (2) is served", request.handshake_security_protocol),
        ));
    }
    check_ownership(request.local_identity.as_slice(), account)?;
    let preferences = Preferences::new(
        &request.record_protocols,
        &request.application_protocols,
        transport_protocols(request.transport_protocol_preferences.as_ref()),
        rpc_versions(request.rpc_versions.as_ref()),
        request.max_frame_size,
    )?;
    Ok(Start {
        preferences: preferences.with_known_record_protocols()?,
        expected: ExpectedPeers::new(request.target_identities.iter().map(account_name)),
    })
}

/// Reads a server's start for a caller who owns `account`.
pub(crate) fn server_start(request: &StartServerHandshakeReq, account: &str) -> Result<Start, Refusal> {
    let alts = HandshakeProtocol::Alts as i32;
    let Some(parameters) = request.handshake_parameters.get(&alts) else {
        return Err(Refusal::of_request(
            Code::InvalidArgument,
            "handshake_parameters_missing",
            "handshake_parameters has no entry for ALTS (2), the only protocol that is served",
        ));
    };
    check_ownership(&parameters.local_identities, account)?;
    let preferences = Preferences::new(
        &parameters.record_protocols,
        &request.application_protocols,
        transport_protocols(request.transport_protocol_preferences.as_ref()),
        rpc_versions(request.rpc_versions.as_ref()),
        request.max_frame_size,
    )?;
    // A server cannot tell its handshaker whom to accept.
    Ok(Start { preferences, expected: ExpectedPeers::default() })
}

/// A wished own identity selects among what the caller owns; it is never a claim.
fn check_ownership(wished: &[Identity], account: &str) -> Result<(), Refusal> {
    let owned = |identity: &Identity| {
        alts_handshake::Identity::parse(account_name(identity)).is_ok_and(|wish| wish.account() == account)
    };
    if wished.is_empty() || wished.iter().any(owned) {
        return Ok(());
    }
    let names: Vec<_> = wished.iter().take(4).map(account_name).collect();
    Err(Refusal::of_request(
        Code::PermissionDenied,
        "local_identity_not_owned",
        format!("the caller is {account:?} and asks to be {}", names.join(", ")),
    ))
}

/// The service account of an identity. A host name is none: it equals no account, and so matches nothing.
fn account_name(identity: &Identity) -> &str {
    match &identity.identity_oneof {
        Some(IdentityOneof::ServiceAccount(name)) => name,
        Some(IdentityOneof::Hostname(_)) | None => "",
    }
}

fn transport_protocols(preferences: Option<&TransportProtocolPreferences>) -> &[String] {
    preferences.map_or(&[], |preferences| &preferences.transport_protocol)
}

fn rpc_versions(versions: Option<&RpcProtocolVersions>) -> RpcVersions {
    let pair = |version: Option<Version>| version.map_or((0, 0), |version| (version.major, version.minor));
    let Some(versions) = versions else { return RpcVersions::default() };
    RpcVersions { max: pair(versions.max_rpc_version), min: pair(versions.min_rpc_version) }
}
