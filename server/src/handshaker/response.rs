//! From the engine's result to the one that a program gets. Every field that some client demands is set.

use alts_handshake::{Established, Identity, RpcVersions};
use alts_proto::gcp::{
    self, HandshakerResp, HandshakerResult, HandshakerStatus, NegotiatedTransportProtocol,
    RpcProtocolVersions, identity::IdentityOneof, rpc_protocol_versions::Version,
};

/// The attribute of the peer that holds a handle.
const CONTEXT: &str = "altsd.context";

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

/// Gives the program the handle of its finished handshake, among what is known of the peer: clients hand those attributes
/// to the application.
pub(crate) fn add_context(response: &mut HandshakerResp, handle: String) {
    let peer = response.result.as_mut().and_then(|result| result.peer_identity.as_mut());
    if let Some(peer) = peer {
        peer.attributes.insert(CONTEXT.to_owned(), handle);
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

    use super::*;

    #[test]
    fn a_handle_is_an_attribute_of_the_peer_of_a_result_and_of_nothing_else() {
        let mut response = HandshakerResp {
            result: Some(HandshakerResult {
                peer_identity: Some(gcp::Identity::default()),
                local_identity: Some(gcp::Identity::default()),
                ..HandshakerResult::default()
            }),
            ..HandshakerResp::default()
        };
        add_context(&mut response, "h".to_owned());
        let result = response.result.expect("it is kept");
        let attributes = |identity: Option<gcp::Identity>| identity.expect("it is there").attributes;
        assert_eq!(attributes(result.peer_identity), [("altsd.context".to_owned(), "h".to_owned())].into());
        assert!(attributes(result.local_identity).is_empty());
        let mut none = HandshakerResp::default();
        add_context(&mut none, "h".to_owned());
        assert_eq!(none, HandshakerResp::default());
    }

    #[test]
    fn the_engine_and_the_wire_mean_the_same_record_protocol() {
        let protocol = RecordProtocol::from_name(wire::RECORD_PROTOCOL_REKEY).expect("the engine knows it");
        assert_eq!(protocol.key_len(), wire::RECORD_PROTOCOL_REKEY_KEY_LEN);
    }
}
