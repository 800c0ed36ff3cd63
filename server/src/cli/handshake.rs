//! `altsd handshake`: a self-test that drives both ends of one handshake through a running handshaker.

use std::time::Duration;

use alts_proto::{
    gcp::{
        HandshakeProtocol, HandshakerReq, HandshakerResp, HandshakerResult, Identity,
        NextHandshakeMessageReq, RpcProtocolVersions, ServerHandshakeParameters, StartClientHandshakeReq,
        StartServerHandshakeReq, handshaker_req::ReqOneof,
        handshaker_service_client::HandshakerServiceClient, identity::IdentityOneof,
        rpc_protocol_versions::Version,
    },
    wire,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use super::client;
use crate::clock::Clock;

/// Largest record frame that the self-test claims to take, in bytes; told apart from no size at all.
const MAX_FRAME_SIZE: u32 = 16 << 10;

/// Test a running handshaker by one handshake with itself
///
/// Drives both ends of a handshake through the service, as two programs would, and checks that both get the same
/// key and each other's account.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    /// Address of the handshaker: HOST:PORT, or unix:PATH
    #[arg(long, value_name = "ADDR", env = "ALTSD_HANDSHAKER", default_value = "127.0.0.1:8080")]
    handshaker: String,

    /// Account that the server end must have; without it, any authenticated peer is accepted
    #[arg(long, value_name = "ACCOUNT")]
    target: Option<String>,

    /// Seconds to wait for each answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout_seconds: u64,
}

const EXAMPLE: &str = "\
Examples:
  altsd handshake
  altsd handshake --handshaker unix:/run/altsd/orders.sock --target orders@prod.example.com";

/// Why the self-test failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Unreachable(#[from] client::Error),
    #[error("the {side} end was refused: {problem}")]
    Refused { side: &'static str, problem: String },
    #[error("the {side} end got no answer within {seconds} s")]
    Silent { side: &'static str, seconds: u64 },
    #[error("the {side} end got an answer that breaks the contract: {problem}")]
    Broken { side: &'static str, problem: &'static str },
    #[error("the two ends disagree: {problem}")]
    Disagreement { problem: String },
}

/// Runs the self-test and prints what was negotiated.
pub(super) async fn run(args: Args, clock: &dyn Clock) -> Result<(), Error> {
    let timeout = Duration::from_secs(args.timeout_seconds);
    let channel = client::handshaker(&args.handshaker, timeout).await?;
    let began = clock.monotonic();
    let (client, server) = both_ends(channel, args.target.as_deref(), timeout).await?;
    let took = clock.since(began);
    let agreed = compare(client, server, args.target.as_deref())?;
    println!("handshake through {} succeeded in {took:.1?}", args.handshaker);
    println!("  client account        {}", agreed.client);
    println!("  server account        {}", agreed.server);
    println!("  record protocol       {}", agreed.record_protocol);
    println!("  application protocol  {}", agreed.application_protocol);
    println!("  key                   {} bytes, the same at both ends", agreed.key_len);
    Ok(())
}

/// One end: its stream, and what it has got so far.
struct End {
    side: &'static str,
    timeout: Duration,
    requests: mpsc::Sender<HandshakerReq>,
    responses: Streaming<HandshakerResp>,
    result: Option<HandshakerResult>,
}

async fn both_ends(
    channel: Channel,
    target: Option<&str>,
    timeout: Duration,
) -> Result<(HandshakerResult, HandshakerResult), Error> {
    let mut client = End::open("client", channel.clone(), timeout).await?;
    let mut server = End::open("server", channel, timeout).await?;

    let client_init = client.ask(client_start(target)).await?;
    let server_flight = server.ask(server_start(client_init)).await?;
    let client_finished = client.ask(next(server_flight)).await?;
    server.ask(next(client_finished)).await?;

    let result = |end: End| {
        let missing = Error::Broken { side: end.side, problem: "no result after the last flight" };
        end.result.ok_or(missing)
    };
    Ok((result(client)?, result(server)?))
}

impl End {
    async fn open(side: &'static str, channel: Channel, timeout: Duration) -> Result<Self, Error> {
        let (requests, receiver) = mpsc::channel(1);
        let mut client = HandshakerServiceClient::new(channel);
        let opened = tokio::time::timeout(timeout, client.do_handshake(ReceiverStream::new(receiver))).await;
        let silent = Error::Silent { side, seconds: timeout.as_secs() };
        let responses = opened.map_err(|_| silent)?.map_err(|status| refused(side, &status))?.into_inner();
        Ok(Self { side, timeout, requests, responses, result: None })
    }

    /// Sends a request and returns the frames of its one response.
    async fn ask(&mut self, request: ReqOneof) -> Result<Vec<u8>, Error> {
        let side = self.side;
        let gone = |_| Error::Refused { side, problem: "the stream is closed".to_owned() };
        self.requests.send(HandshakerReq { req_oneof: Some(request) }).await.map_err(gone)?;
        let answer = tokio::time::timeout(self.timeout, self.responses.message()).await;
        let silent = Error::Silent { side, seconds: self.timeout.as_secs() };
        let broken = |problem| Error::Broken { side, problem };
        let response = answer
            .map_err(|_| silent)?
            .map_err(|status| refused(side, &status))?
            .ok_or_else(|| broken("the stream ended without a response"))?;
        let status = response.status.ok_or_else(|| broken("the response has no status"))?;
        if status.code != 0 {
            return Err(Error::Refused { side, problem: status.details });
        }
        self.result = response.result;
        Ok(response.out_frames)
    }
}

fn refused(side: &'static str, status: &Status) -> Error {
    Error::Refused { side, problem: format!("{:?}: {}", status.code(), status.message()) }
}

fn client_start(target: Option<&str>) -> ReqOneof {
    let identity = |account: &str| Identity {
        identity_oneof: Some(IdentityOneof::ServiceAccount(account.to_owned())),
        ..Default::default()
    };
    ReqOneof::ClientStart(StartClientHandshakeReq {
        handshake_security_protocol: HandshakeProtocol::Alts.into(),
        application_protocols: vec![wire::APPLICATION_PROTOCOL_GRPC.to_owned()],
        record_protocols: vec![wire::RECORD_PROTOCOL_REKEY.to_owned()],
        target_identities: target.map(identity).into_iter().collect(),
        rpc_versions: Some(rpc_versions()),
        max_frame_size: MAX_FRAME_SIZE,
        ..Default::default()
    })
}

fn server_start(in_bytes: Vec<u8>) -> ReqOneof {
    let parameters = ServerHandshakeParameters {
        record_protocols: vec![wire::RECORD_PROTOCOL_REKEY.to_owned()],
        ..Default::default()
    };
    ReqOneof::ServerStart(StartServerHandshakeReq {
        application_protocols: vec![wire::APPLICATION_PROTOCOL_GRPC.to_owned()],
        handshake_parameters: [(HandshakeProtocol::Alts.into(), parameters)].into(),
        in_bytes,
        rpc_versions: Some(rpc_versions()),
        max_frame_size: MAX_FRAME_SIZE,
        ..Default::default()
    })
}

fn next(in_bytes: Vec<u8>) -> ReqOneof {
    ReqOneof::Next(NextHandshakeMessageReq { in_bytes, network_latency_ms: 0 })
}

fn rpc_versions() -> RpcProtocolVersions {
    let (major, minor) = wire::RPC_PROTOCOL_VERSION;
    let version = Some(Version { major, minor });
    RpcProtocolVersions { max_rpc_version: version, min_rpc_version: version }
}

/// What both ends say.
struct Agreed {
    client: String,
    server: String,
    record_protocol: String,
    application_protocol: String,
    key_len: usize,
}

/// Checks that the two results are two views of one handshake.
fn compare(
    client: HandshakerResult,
    server: HandshakerResult,
    target: Option<&str>,
) -> Result<Agreed, Error> {
    let same = |what: &str, equal: bool| {
        if equal { Ok(()) } else { Err(Error::Disagreement { problem: what.to_owned() }) }
    };
    same("their keys differ", client.key_data == server.key_data)?;
    same("the key is too short", client.key_data.len() >= wire::RECORD_PROTOCOL_REKEY_KEY_LEN)?;
    same("the client's peer is not the server", client.peer_identity == server.local_identity)?;
    same("the server's peer is not the client", server.peer_identity == client.local_identity)?;
    same("their record protocols differ", client.record_protocol == server.record_protocol)?;
    same("their application protocols differ", client.application_protocol == server.application_protocol)?;
    same("a frame size was not passed on", client.max_frame_size == MAX_FRAME_SIZE)?;
    same("a frame size was not passed on", server.max_frame_size == MAX_FRAME_SIZE)?;
    same("rpc versions were not passed on", client.peer_rpc_versions == Some(rpc_versions()))?;
    same("rpc versions were not passed on", server.peer_rpc_versions == Some(rpc_versions()))?;
    let (client_account, server_account) = (account(&server.peer_identity), account(&client.peer_identity));
    same("a peer has no account", !client_account.is_empty() && !server_account.is_empty())?;
    if let Some(target) = target {
        same(
            "the server is not the target",
            names(&client.peer_identity).any(|name| is_target(name, target)),
        )?;
    }
    Ok(Agreed {
        client: client_account,
        server: server_account,
        record_protocol: client.record_protocol,
        application_protocol: client.application_protocol,
        key_len: client.key_data.len(),
    })
}

fn account(identity: &Option<Identity>) -> String {
    match identity.as_ref().and_then(|identity| identity.identity_oneof.clone()) {
        Some(IdentityOneof::ServiceAccount(account)) => account,
        _ => String::new(),
    }
}

/// The account of an identity, and the SPIFFE ID beside it.
fn names(identity: &Option<Identity>) -> impl Iterator<Item = String> {
    let spiffe_id = identity.as_ref().and_then(|identity| identity.attributes.get("spiffe_id").cloned());
    [account(identity)].into_iter().chain(spiffe_id)
}

fn is_target(name: String, target: &str) -> bool {
    alts_handshake::Identity::parse(target).is_ok_and(|target| target.account() == name)
}
