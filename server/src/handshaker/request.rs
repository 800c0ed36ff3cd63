//! From the start messages of a program to what the engine is set up with, or to what is wrong with them.

use alts_handshake::{ExpectedPeers, Identity, Preferences, Role, RpcVersions};
use alts_proto::gcp::{
    self, HandshakeProtocol, RpcProtocolVersions, StartClientHandshakeReq, StartServerHandshakeReq,
    TransportProtocolPreferences, identity::IdentityOneof, rpc_protocol_versions::Version,
};
use tonic::Code;

use super::refusal::Refusal;

/// Longest name of a target, in bytes: the longest host name is a quarter of it.
const MAX_TARGET_NAME: usize = 1_024;

/// A start message that can be acted on.
pub(crate) struct Start {
    /// Which end of its connection the program is.
    pub(crate) role: Role,
    pub(crate) preferences: Preferences,
    pub(crate) expected: ExpectedPeers,
    /// What the program has called, mostly `HOST:PORT`; empty if it did not say.
    pub(crate) target_name: String,
    /// The accounts that the program would like to be one of; any, if there is none.
    pub(crate) wished: Vec<String>,
    /// What the peer has sent already.
    pub(crate) in_bytes: Vec<u8>,
}

/// Reads a client's start.
pub(crate) fn client_start(request: &StartClientHandshakeReq) -> Result<Start, Refusal> {
    if request.handshake_security_protocol() != HandshakeProtocol::Alts {
        return Err(Refusal::of_request(
            Code::InvalidArgument,
            "handshake_protocol_unknown",
            format!(
                "handshake_security_protocol is {}; only ALTS (2) is served",
                request.handshake_security_protocol
            ),
        ));
    }
    let preferences = Preferences::new(
        &request.record_protocols,
        &request.application_protocols,
        transport_protocols(request.transport_protocol_preferences.as_ref()),
        rpc_versions(request.rpc_versions.as_ref()),
        request.max_frame_size,
    )?;
    Ok(Start {
        role: Role::Client,
        preferences: preferences.with_known_record_protocols()?,
        expected: ExpectedPeers::new(request.target_identities.iter().map(account_name)),
        target_name: target_name(&request.target_name)?,
        wished: account_names(request.local_identity.as_slice()),
        in_bytes: Vec::new(),
    })
}

/// Reads a server's start.
pub(crate) fn server_start(request: StartServerHandshakeReq) -> Result<Start, Refusal> {
    let alts = HandshakeProtocol::Alts as i32;
    let Some(parameters) = request.handshake_parameters.get(&alts) else {
        return Err(Refusal::of_request(
            Code::InvalidArgument,
            "handshake_parameters_missing",
            "handshake_parameters has no entry for ALTS (2), the only protocol that is served",
        ));
    };
    let preferences = Preferences::new(
        &parameters.record_protocols,
        &request.application_protocols,
        transport_protocols(request.transport_protocol_preferences.as_ref()),
        rpc_versions(request.rpc_versions.as_ref()),
        request.max_frame_size,
    )?;
    Ok(Start {
        role: Role::Server,
        preferences,
        // A server cannot tell its handshaker whom to accept.
        expected: ExpectedPeers::default(),
        target_name: String::new(),
        wished: account_names(&parameters.local_identities),
        in_bytes: request.in_bytes,
    })
}

/// A name that is too long for an entry is not passed over: whoever could make it so would choose which entry counts.
fn target_name(name: &str) -> Result<String, Refusal> {
    if name.len() <= MAX_TARGET_NAME {
        return Ok(name.to_owned());
    }
    let text = format!("target_name has {} bytes, the limit is {MAX_TARGET_NAME}", name.len());
    Err(Refusal::of_request(Code::InvalidArgument, "target_name_too_long", text))
}

/// Chooses the identity of a handshake. A wish selects among what the caller is entitled to, it is never a claim;
/// without a wish it is the first.
pub(crate) fn choose<'i>(entitled: &'i [Identity], wished: &[String]) -> Result<&'i Identity, Refusal> {
    let parsed = |name: &String| Identity::parse(name).ok();
    let owned = |wish: Identity| entitled.iter().find(|identity| identity.account() == wish.account());
    let chosen =
        if wished.is_empty() { entitled.first() } else { wished.iter().filter_map(parsed).find_map(owned) };
    chosen.ok_or_else(|| {
        let names = |names: &mut dyn Iterator<Item = &str>| names.take(4).collect::<Vec<_>>().join(", ");
        let owned = names(&mut entitled.iter().map(Identity::account));
        let wished = names(&mut wished.iter().map(String::as_str));
        let text = format!("the caller is {owned} and asks to be {wished}");
        Refusal::of_request(Code::PermissionDenied, "local_identity_not_owned", text)
    })
}

fn account_names(identities: &[gcp::Identity]) -> Vec<String> {
    identities.iter().map(|identity| account_name(identity).to_owned()).collect()
}

/// The service account of an identity. A host name is none: it equals no account, and so matches nothing.
fn account_name(identity: &gcp::Identity) -> &str {
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
