//! From the engine's result to the one that a program gets. Every field that some client demands is set.

use alts_handshake::{Established, Identity, RpcVersions};
use alts_proto::gcp::{
    self, HandshakerResp, HandshakerResult, HandshakerStatus, NegotiatedTransportProtocol,
    RpcProtocolVersions, identity::IdentityOneof, rpc_protocol_versions::Version,
};

/// A response that is no failure. The status is always there: gRPC core hangs without it.
pub(crate) fn response(
    out_frames: Vec<u8>,
    bytes_consumed: u32,
    result: Option<&Established>,
) -> HandshakerResp {
    HandshakerResp {
        out_frames,
        bytes_consumed,
        result: result.map(self::result),
        status: Some(HandshakerStatus::default()),
    }
}

fn result(established: &Established) -> HandshakerResult {
    HandshakerResult {
        application_protocol: established.application_protocol.as_str().to_owned(),
        record_protocol: established.record_protocol.name().to_owned(),
        key_data: established.key_data.expose().to_vec(),
        peer_identity: Some(identity(&established.peer)),
        local_identity: Some(identity(&established.local)),
        keep_channel_open: false,
        peer_rpc_versions: rpc_versions(established.peer_rpc_versions),
        // What the peer sent, also if that is nothing: inventing a size is not safe.
        max_frame_size: established.peer_max_frame_size,
        transport_protocol: established
            .transport_protocol
            .as_ref()
            .map(|name| NegotiatedTransportProtocol { transport_protocol: name.as_str().to_owned() }),
    }
}

/// The account, in the one spelling that certificates are read to. A SPIFFE ID beside it is an attribute.
fn identity(identity: &Identity) -> gcp::Identity {
    let spiffe_id = identity.spiffe_id().map(|id| id.as_str()).filter(|id| *id != identity.account());
    gcp::Identity {
        identity_oneof: Some(IdentityOneof::ServiceAccount(identity.account().to_owned())),
        attributes: spiffe_id.map(|id| ("spiffe_id".to_owned(), id.to_owned())).into_iter().collect(),
    }
}

fn rpc_versions(versions: RpcVersions) -> Option<RpcProtocolVersions> {
    let version = |(major, minor)| Some(Version { major, minor });
    (!versions.is_absent()).then(|| RpcProtocolVersions {
        max_rpc_version: version(versions.max),
        min_rpc_version: version(versions.min),
    })
}

#[cfg(test)]
mod tests {
    use alts_handshake::RecordProtocol;
    use alts_proto::wire;

    #[test]
    fn the_engine_and_the_wire_mean_the_same_record_protocol() {
        let protocol = RecordProtocol::from_name(wire::RECORD_PROTOCOL_REKEY).expect("the engine knows it");
        assert_eq!(protocol.key_len(), wire::RECORD_PROTOCOL_REKEY_KEY_LEN);
    }
}
