//! What a handshaker is asked.

use alts_proto::{
    gcp::{
        HandshakeProtocol, Identity, NextHandshakeMessageReq, RpcProtocolVersions, ServerHandshakeParameters,
        StartClientHandshakeReq, StartServerHandshakeReq, handshaker_req::ReqOneof, identity::IdentityOneof,
        rpc_protocol_versions::Version,
    },
    wire,
};

use crate::{
    Side,
    record::{FrameLimit, RecordProtocol},
};

/// The record protocols that this library speaks with everybody.
pub(super) const OFFERED: &[RecordProtocol] = &[RecordProtocol::GcmAes128Rekey];

/// How a side begins.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// The side that has connected.
    Client {
        /// What it has connected to.
        target_name: &'a str,
        /// Accounts of which the peer must be one; none: it may be any.
        targets: &'a [String],
    },
    /// The side that has accepted.
    Server,
}

impl Start<'_> {
    pub(super) fn side(self) -> Side {
        match self {
            Self::Client { .. } => Side::Client,
            Self::Server => Side::Server,
        }
    }

    /// Whether the peer must have sent something before the handshaker is asked.
    pub(super) fn needs_input(self) -> bool {
        matches!(self, Self::Server)
    }

    /// The first request, with what the peer has sent so far.
    pub(super) fn request(self, max_frame_size: FrameLimit, in_bytes: &[u8]) -> ReqOneof {
        let application_protocols = vec![wire::APPLICATION_PROTOCOL_GRPC.to_owned()];
        let record_protocols = OFFERED.iter().map(|protocol| protocol.name().to_owned()).collect();
        let max_frame_size = u32::try_from(max_frame_size.bytes()).expect("it is 1 MiB at most");
        match self {
            Self::Client { target_name, targets } => ReqOneof::ClientStart(StartClientHandshakeReq {
                handshake_security_protocol: HandshakeProtocol::Alts.into(),
                application_protocols,
                record_protocols,
                target_identities: targets.iter().map(|target| identity(target)).collect(),
                target_name: target_name.to_owned(),
                rpc_versions: Some(rpc_versions()),
                max_frame_size,
                ..Default::default()
            }),
            Self::Server => {
                let parameters = ServerHandshakeParameters { record_protocols, ..Default::default() };
                ReqOneof::ServerStart(StartServerHandshakeReq {
                    application_protocols,
                    handshake_parameters: [(HandshakeProtocol::Alts.into(), parameters)].into(),
                    in_bytes: in_bytes.to_vec(),
                    rpc_versions: Some(rpc_versions()),
                    max_frame_size,
                    ..Default::default()
                })
            }
        }
    }
}

/// A further request. The latency to the peer is not measured: no handshaker needs it, and only grpc-go sends it.
pub(super) fn next(in_bytes: &[u8]) -> ReqOneof {
    ReqOneof::Next(NextHandshakeMessageReq { in_bytes: in_bytes.to_vec(), network_latency_ms: 0 })
}

fn identity(account: &str) -> Identity {
    Identity { identity_oneof: Some(IdentityOneof::ServiceAccount(account.to_owned())), ..Default::default() }
}

fn rpc_versions() -> RpcProtocolVersions {
    let (major, minor) = wire::RPC_PROTOCOL_VERSION;
    let version = Some(Version { major, minor });
    RpcProtocolVersions { max_rpc_version: version, min_rpc_version: version }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_says_whom_it_wants_and_what_it_takes() {
        let targets = ["a@b".to_owned(), "c@d".to_owned()];
        let start = Start::Client { target_name: "host:1", targets: &targets };
        assert!(!start.needs_input());
        let ReqOneof::ClientStart(request) = start.request(FrameLimit::MAX, b"") else {
            panic!("wrong start")
        };
        let expected = StartClientHandshakeReq {
            handshake_security_protocol: 2,
            application_protocols: vec!["grpc".to_owned()],
            record_protocols: vec!["ALTSRP_GCM_AES128_REKEY".to_owned()],
            target_identities: vec![identity("a@b"), identity("c@d")],
            target_name: "host:1".to_owned(),
            rpc_versions: Some(rpc_versions()),
            max_frame_size: 1 << 20,
            ..Default::default()
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn a_server_passes_on_what_the_peer_has_sent_first() {
        assert!(Start::Server.needs_input());
        let request = Start::Server.request(FrameLimit::MIN, b"init");
        let ReqOneof::ServerStart(request) = request else { panic!("wrong start") };
        let parameters = ServerHandshakeParameters {
            record_protocols: vec!["ALTSRP_GCM_AES128_REKEY".to_owned()],
            ..Default::default()
        };
        let expected = StartServerHandshakeReq {
            application_protocols: vec!["grpc".to_owned()],
            handshake_parameters: [(2, parameters)].into(),
            in_bytes: b"init".to_vec(),
            rpc_versions: Some(rpc_versions()),
            max_frame_size: 16 << 10,
            ..Default::default()
        };
        assert_eq!(request, expected);
    }
}
