//! `Debug` for the messages that carry a key or a token: the secret shows only whether, or how long, it is.

use std::fmt;

use crate::gcp::{HandshakerResult, Identity, ServerHandshakeParameters, StartClientHandshakeReq};

/// Stands for a secret of so many bytes.
struct Redacted(usize);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes redacted>", self.0)
    }
}

impl fmt::Debug for StartClientHandshakeReq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartClientHandshakeReq")
            .field("handshake_security_protocol", &self.handshake_security_protocol)
            .field("application_protocols", &self.application_protocols)
            .field("record_protocols", &self.record_protocols)
            .field("target_identities", &self.target_identities)
            .field("local_identity", &self.local_identity)
            .field("local_endpoint", &self.local_endpoint)
            .field("remote_endpoint", &self.remote_endpoint)
            .field("target_name", &self.target_name)
            .field("rpc_versions", &self.rpc_versions)
            .field("max_frame_size", &self.max_frame_size)
            .field("access_token", &Redacted(self.access_token.len()))
            .field("transport_protocol_preferences", &self.transport_protocol_preferences)
            .finish()
    }
}

impl fmt::Debug for ServerHandshakeParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandshakeParameters")
            .field("record_protocols", &self.record_protocols)
            .field("local_identities", &self.local_identities)
            .field("token", &self.token.as_ref().map(|token| Redacted(token.len())))
            .finish()
    }
}

/// An identity with the names of its attributes only: one of the peer's stands for the whole handshake.
struct Named<'a>(&'a Identity);

impl fmt::Debug for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("attributes", &self.0.attributes.keys().collect::<Vec<_>>())
            .field("identity_oneof", &self.0.identity_oneof)
            .finish()
    }
}

impl fmt::Debug for HandshakerResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakerResult")
            .field("application_protocol", &self.application_protocol)
            .field("record_protocol", &self.record_protocol)
            .field("key_data", &Redacted(self.key_data.len()))
            .field("peer_identity", &self.peer_identity.as_ref().map(Named))
            .field("local_identity", &self.local_identity)
            .field("keep_channel_open", &self.keep_channel_open)
            .field("peer_rpc_versions", &self.peer_rpc_versions)
            .field("max_frame_size", &self.max_frame_size)
            .field("transport_protocol", &self.transport_protocol)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gcp::{HandshakerReq, HandshakerResp, StartServerHandshakeReq, handshaker_req::ReqOneof};

    const SECRET: &str = "4e0cr3tbyt3s";

    #[test]
    fn no_message_shows_its_secret() {
        let client = StartClientHandshakeReq { access_token: SECRET.into(), ..Default::default() };
        let parameters = ServerHandshakeParameters { token: Some(SECRET.into()), ..Default::default() };
        let server =
            StartServerHandshakeReq { handshake_parameters: [(2, parameters)].into(), ..Default::default() };
        let attributes = [("altsd.context".to_owned(), SECRET.to_owned())].into();
        let peer_identity = Some(Identity { attributes, ..Default::default() });
        let result = HandshakerResult { key_data: SECRET.into(), peer_identity, ..Default::default() };
        let shown = [
            format!("{:?}", HandshakerReq { req_oneof: Some(ReqOneof::ClientStart(client)) }),
            format!("{:?}", HandshakerReq { req_oneof: Some(ReqOneof::ServerStart(server)) }),
            format!("{:?}", HandshakerResp { result: Some(result), ..Default::default() }),
        ];
        let as_numbers = format!("{:?}", SECRET.as_bytes());
        for text in shown {
            assert!(text.contains("<12 bytes redacted>"), "{text}");
            assert!(!text.contains(SECRET) && !text.contains(&as_numbers[1..as_numbers.len() - 1]), "{text}");
        }
    }
}
