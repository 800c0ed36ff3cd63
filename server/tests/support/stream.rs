//! DoHandshake streams as a program opens them.

use std::path::Path;

use alts_proto::gcp::{
    HandshakeProtocol, HandshakerReq, HandshakerResp, HandshakerStatus, Identity, NextHandshakeMessageReq,
    RpcProtocolVersions, ServerHandshakeParameters, StartClientHandshakeReq, StartServerHandshakeReq,
    handshaker_req::ReqOneof, handshaker_service_client::HandshakerServiceClient, identity::IdentityOneof,
    rpc_protocol_versions::Version,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};

/// How gRPC core names itself.
pub(crate) const CORE: &str = "grpc-c/58.0.0 (linux; chttp2)";
/// How grpc-go names itself.
pub(crate) const GO: &str = "grpc-go/1.85.0";

pub(crate) async fn connect(socket: &Path, user_agent: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).expect("it is an address");
    endpoint.user_agent(user_agent).expect("it is a user agent").connect().await.expect("altsd listens")
}

/// One stream.
pub(crate) struct Stream {
    requests: mpsc::Sender<HandshakerReq>,
    responses: Streaming<HandshakerResp>,
}

impl Stream {
    pub(crate) async fn open(channel: &Channel) -> Self {
        let (requests, receiver) = mpsc::channel(1);
        let mut client = HandshakerServiceClient::new(channel.clone());
        let responses = client.do_handshake(ReceiverStream::new(receiver)).await.expect("a stream opens");
        Self { requests, responses: responses.into_inner() }
    }

    pub(crate) async fn send(&self, request: Option<ReqOneof>) {
        self.requests.send(HandshakerReq { req_oneof: request }).await.expect("the stream is open");
    }

    /// The next response; `None` when the RPC has ended with OK.
    pub(crate) async fn receive(&mut self) -> Result<Option<HandshakerResp>, Status> {
        self.responses.message().await
    }

    /// Sends a request, and returns its response, which must be no failure.
    pub(crate) async fn ask(&mut self, request: ReqOneof) -> HandshakerResp {
        self.send(Some(request)).await;
        let response = self.receive().await.expect("the RPC goes on").expect("there is a response");
        assert_eq!(response.status, Some(Default::default()));
        response
    }

    /// The same where a failure is no surprise: its code and reason, in whichever way it was told.
    pub(crate) async fn try_ask(&mut self, request: ReqOneof) -> Result<HandshakerResp, (Code, String)> {
        self.send(Some(request)).await;
        let response = self.receive().await.map_err(|told| (told.code(), told.message().to_owned()))?;
        let response = response.expect("there is a response");
        match response.status.clone().expect("there is a status") {
            HandshakerStatus { code: 0, .. } => Ok(response),
            HandshakerStatus { code, details } => Err((i32::try_from(code).unwrap_or(-1).into(), details)),
        }
    }

    /// The RPC must end with OK, although this end has not said that it is done.
    pub(crate) async fn ended(mut self) {
        assert_eq!(self.receive().await.expect("the RPC ends with OK"), None);
    }
}

pub(crate) fn client_start() -> StartClientHandshakeReq {
    StartClientHandshakeReq {
        handshake_security_protocol: HandshakeProtocol::Alts.into(),
        application_protocols: vec!["grpc".to_owned()],
        record_protocols: vec!["ALTSRP_GCM_AES128_REKEY".to_owned()],
        rpc_versions: Some(rpc_versions()),
        max_frame_size: 1 << 20,
        target_name: "cart.example:443".to_owned(),
        ..Default::default()
    }
}

pub(crate) fn server_start(in_bytes: &[u8]) -> StartServerHandshakeReq {
    let parameters = ServerHandshakeParameters {
        record_protocols: vec!["ALTSRP_GCM_AES128_REKEY".to_owned()],
        ..Default::default()
    };
    StartServerHandshakeReq {
        application_protocols: vec!["grpc".to_owned()],
        handshake_parameters: [(2, parameters)].into(),
        in_bytes: in_bytes.to_vec(),
        rpc_versions: Some(rpc_versions()),
        ..Default::default()
    }
}

pub(crate) fn next(in_bytes: &[u8]) -> ReqOneof {
    ReqOneof::Next(NextHandshakeMessageReq { in_bytes: in_bytes.to_vec(), network_latency_ms: 1 })
}

pub(crate) fn account(name: &str) -> Identity {
    Identity {
        identity_oneof: Some(IdentityOneof::ServiceAccount(name.to_owned())),
        attributes: Default::default(),
    }
}

pub(crate) fn rpc_versions() -> RpcProtocolVersions {
    let version = Some(Version { major: 2, minor: 1 });
    RpcProtocolVersions { max_rpc_version: version, min_rpc_version: version }
}
