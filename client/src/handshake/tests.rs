//! A handshake against handshakers that answer by a script: for what altsd never does.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use alts_proto::gcp::{
    HandshakerReq, HandshakerResp, HandshakerResult, HandshakerStatus, Identity, RpcProtocolVersions,
    handshaker_req::ReqOneof,
    handshaker_service_server::{HandshakerService, HandshakerServiceServer},
    identity::IdentityOneof,
    rpc_protocol_versions::Version,
};
use tokio::{
    io::{AsyncReadExt as _, DuplexStream, duplex, empty, join, repeat, sink},
    net::TcpListener,
    sync::mpsc,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

use super::*;
use crate::{Side, handshaker::HandshakerBuilder};

const CLIENT: Start<'static> = Start::Client { target_name: "host:1", targets: &[] };

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// What a scripted handshaker does when a request has come.
#[derive(Clone)]
enum Reply {
    Say(Box<HandshakerResp>),
    /// Ends the RPC with this status.
    Fail(Code, &'static str),
    /// Ends the RPC with OK.
    End,
    Silence,
}

use Reply::{End, Fail, Say, Silence};

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Silent,
    Ended,
    /// The other end has waited for the end of the RPC.
    Awaited,
    /// It has not.
    Cancelled,
}

/// How long a scripted handshaker takes to end an RPC in which there are no more requests.
const LATE: Duration = Duration::from_millis(20);

/// A handshaker that answers every RPC by the same script.
#[derive(Clone)]
struct Scripted {
    replies: Vec<Reply>,
    /// The `in_bytes` of each request, of all RPCs.
    asked: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Has one item for each RPC that the other end has ended, and each request that gets no answer.
    events: mpsc::UnboundedSender<Event>,
}

#[tonic::async_trait]
impl HandshakerService for Scripted {
    type DoHandshakeStream = UnboundedReceiverStream<Result<HandshakerResp, Status>>;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakerReq>>,
    ) -> Result<Response<Self::DoHandshakeStream>, Status> {
        let (responses, receiver) = mpsc::unbounded_channel();
        tokio::spawn(self.clone().answer(request.into_inner(), responses));
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }
}

impl Scripted {
    async fn answer(
        self,
        mut requests: Streaming<HandshakerReq>,
        responses: mpsc::UnboundedSender<Result<HandshakerResp, Status>>,
    ) {
        let mut replies = self.replies.iter();
        while let Ok(Some(HandshakerReq { req_oneof })) = requests.message().await {
            let in_bytes = match req_oneof.expect("there is a request") {
                ReqOneof::ClientStart(_) => Vec::new(),
                ReqOneof::ServerStart(start) => start.in_bytes,
                ReqOneof::Next(next) => next.in_bytes,
            };
            self.asked.lock().expect("no test has panicked").push(in_bytes);
            let response = match replies.next().expect("the script goes on") {
                Say(response) => Ok((**response).clone()),
                Fail(code, details) => Err(Status::new(*code, *details)),
                End => return,
                Silence => {
                    let _ = self.events.send(Event::Silent);
                    continue;
                }
            };
            // A program that has given up listens no more.
            let _ = responses.send(response);
        }
        let _ = self.events.send(Event::Ended);
        tokio::time::sleep(LATE).await;
        let _ = self.events.send(if responses.is_closed() { Event::Cancelled } else { Event::Awaited });
    }
}

/// A scripted handshaker that runs, and what it hears.
struct Running {
    handshaker: Handshaker,
    asked: Arc<Mutex<Vec<Vec<u8>>>>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Running {
    fn asked(&self) -> Vec<Vec<u8>> {
        self.asked.lock().expect("no test has panicked").clone()
    }
}

async fn run(replies: &[Reply], limits: impl FnOnce(HandshakerBuilder) -> HandshakerBuilder) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let (events, receiver) = mpsc::unbounded_channel();
    let scripted = Scripted { replies: replies.to_vec(), asked: Arc::default(), events };
    let asked = scripted.asked.clone();
    let server = Server::builder().add_service(HandshakerServiceServer::new(scripted));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let handshaker = limits(Handshaker::builder(&address)).build().expect("it is an address");
    Running { handshaker, asked, events: receiver }
}

async fn scripted(replies: &[Reply]) -> Running {
    run(replies, |builder| builder.timeout(LONG)).await
}

/// A response that is no failure.
fn response(out_frames: &[u8], bytes_consumed: u32) -> HandshakerResp {
    let status = Some(HandshakerStatus::default());
    HandshakerResp { out_frames: out_frames.to_vec(), bytes_consumed, result: None, status }
}

fn say(out_frames: &[u8], bytes_consumed: u32) -> Reply {
    Say(Box::new(response(out_frames, bytes_consumed)))
}

fn done(out_frames: &[u8], bytes_consumed: u32) -> Reply {
    let version = Some(Version { major: 2, minor: 1 });
    let identity = Identity {
        identity_oneof: Some(IdentityOneof::ServiceAccount("peer@prod.example".to_owned())),
        ..Default::default()
    };
    let result = HandshakerResult {
        application_protocol: "grpc".to_owned(),
        record_protocol: "ALTSRP_GCM_AES128_REKEY".to_owned(),
        key_data: vec![7; 44],
        local_identity: Some(identity.clone()),
        peer_identity: Some(identity),
        peer_rpc_versions: Some(RpcProtocolVersions { max_rpc_version: version, min_rpc_version: version }),
        ..Default::default()
    };
    Say(Box::new(HandshakerResp { result: Some(result), ..response(out_frames, bytes_consumed) }))
}

fn failure(code: u32, details: &str, out_frames: &[u8]) -> Reply {
    let status = Some(HandshakerStatus { code, details: details.to_owned() });
    Say(Box::new(HandshakerResp { status, ..response(out_frames, 0) }))
}

/// A connection of which the peer has sent these bytes already.
async fn connection(sent: &[u8]) -> (DuplexStream, DuplexStream) {
    let (io, mut peer) = duplex(1 << 16);
    peer.write_all(sent).await.expect("there is room");
    (io, peer)
}

async fn failed(terms: &Terms, start: Start<'_>, io: DuplexStream) -> Error {
    terms.handshake(start, io).await.err().expect("there is no connection")
}

/// All that the peer gets until the connection is closed.
async fn heard(mut peer: DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).await.expect("it is closed");
    bytes
}

#[tokio::test]
async fn a_broken_contract_ends_the_handshake_and_the_connection() {
    let no_status = Say(Box::new(HandshakerResp { status: None, ..response(b"out", 0) }));
    let Say(mut no_peer) = done(b"out", 0) else { unreachable!("it is said") };
    no_peer.result.as_mut().expect("it is done").peer_identity = None;
    let cases = [
        (vec![no_status.clone()], "status is missing"),
        (vec![say(b"", 1)], "bytes_consumed is 1, the request had 0 bytes"),
        (vec![End], "response is missing: the RPC has ended without it"),
        (vec![Say(no_peer)], "result.peer_identity is missing"),
        (vec![say(b"", 0), no_status], "status is missing"),
        (vec![say(b"", 0), say(b"", 5)], "bytes_consumed is 5, the request had 4 bytes"),
        (vec![say(b"", 0), End], "response is missing: the RPC has ended without it"),
    ];
    for (script, expected) in cases {
        let running = scripted(&script).await;
        let (io, peer) = connection(b"init").await;
        let error = failed(&Terms::new(running.handshaker), CLIENT, io).await;
        assert_eq!(error.to_string(), format!("the handshaker broke its contract: {expected}"));
        assert!(heard(peer).await.is_empty(), "{expected}");
    }
}

#[tokio::test]
async fn a_refusal_is_understood_in_every_form_and_its_frames_go_to_the_peer() {
    let cases = [
        (vec![failure(7, "denied: a", b"alert")], Code::PermissionDenied, "denied: a", &b"alert"[..]),
        (vec![failure(14, "", b"")], Code::Unavailable, "", b""),
        (vec![Fail(Code::ResourceExhausted, "full: a")], Code::ResourceExhausted, "full: a", b""),
        (
            vec![say(b"init", 0), failure(16, "bad: a", b"alert")],
            Code::Unauthenticated,
            "bad: a",
            b"initalert",
        ),
        (vec![say(b"init", 0), Fail(Code::Unavailable, "bad: a")], Code::Unavailable, "bad: a", b"init"),
    ];
    for (script, expected_code, expected, sent) in cases {
        let running = scripted(&script).await;
        let (io, peer) = connection(b"flight").await;
        let error = failed(&Terms::new(running.handshaker), CLIENT, io).await;
        let Error::Refused { code, details, relayed: false } = &error else { panic!("{error}") };
        assert_eq!((*code, &**details), (expected_code, expected));
        assert_eq!(heard(peer).await, sent, "{expected}");
    }
}

#[tokio::test]
async fn a_client_that_may_be_done_does_not_get_the_frames_of_a_refusal() {
    let cases = [
        (vec![failure(7, "denied: a", b"alert")], &b"alert"[..]),
        (vec![say(b"", 0), failure(7, "denied: a", b"alert")], b"alert"),
        (vec![say(b"flight", 4), failure(7, "denied: a", b"alert")], b"flight"),
    ];
    for (script, sent) in cases {
        let running = scripted(&script).await;
        let (first, second): (&[u8], &[u8]) = (b"init", b"finished");
        let (output, peer) = duplex(1 << 10);
        let terms = Terms::new(running.handshaker);
        let ended = terms.handshake(Start::Server, join(first.chain(second), output)).await;
        assert!(matches!(ended.err(), Some(Error::Refused { .. })));
        assert_eq!(heard(peer).await, sent);
    }
}

#[tokio::test]
async fn a_handshaker_that_keeps_nothing_gets_the_rest_again_and_one_that_keeps_all_does_not() {
    struct Case {
        /// What the handshaker uses up of each request after the start.
        consumed: &'static [u32],
        asked: &'static [&'static [u8]],
        rest: &'static [u8],
    }
    let cases = [
        Case { consumed: &[2, 2, 1], asked: &[b"", b"ab", b"cd", b"ef"], rest: b"f" },
        Case { consumed: &[0, 0, 6], asked: &[b"", b"ab", b"abcd", b"abcdef"], rest: b"" },
        Case { consumed: &[1, 0, 3, 1], asked: &[b"", b"ab", b"b", b"bcd", b"ef"], rest: b"f" },
        Case { consumed: &[0, 3, 1], asked: &[b"", b"ab", b"abcd", b"d"], rest: b"" },
    ];
    for Case { consumed, asked, rest } in cases {
        let (last, before) = consumed.split_last().expect("it is not empty");
        let mut script = vec![say(b"", 0)];
        script.extend(before.iter().map(|consumed| say(b"", *consumed)));
        script.push(done(b"", *last));
        let running = scripted(&script).await;
        // Each read gives two bytes.
        let (one, two, three): (&[u8], &[u8], &[u8]) = (b"ab", b"cd", b"ef");
        let io = join(one.chain(two).chain(three), sink());
        let (_, established) =
            Terms::new(running.handshaker.clone()).handshake(CLIENT, io).await.expect("done");
        assert_eq!(running.asked(), asked, "{consumed:?}");
        assert_eq!(established.rest, rest, "{consumed:?}");
    }
}

#[tokio::test]
async fn a_server_asks_nothing_before_its_peer_has_spoken() {
    let mut running = scripted(&[done(b"", 3)]).await;
    let terms = Terms::new(running.handshaker.clone());
    let error = terms.handshake(Start::Server, join(empty(), sink())).await.err().expect("nothing was sent");
    assert!(matches!(error, Error::PeerClosed { received: 0 }), "{error}");
    assert!(running.asked().is_empty());
    let (io, _peer) = connection(b"abcdef").await;
    let (_, established) = terms.handshake(Start::Server, io).await.expect("it is done");
    assert_eq!(running.asked(), [b"abcdef"]);
    assert_eq!((established.side, &*established.rest), (Side::Server, &b"def"[..]));
    assert_eq!(running.events.recv().await, Some(Event::Ended), "no further request is announced");
}

#[tokio::test]
async fn the_last_frames_are_sent_and_the_terms_are_those_of_the_program() {
    let running = scripted(&[say(b"init", 0), done(b"finished", 6)]).await;
    let mut terms = Terms::new(running.handshaker.clone());
    terms.max_frame_size = FrameLimit::nearest(20_000);
    terms.max_payload = Some(100);
    let (io, peer) = connection(b"flight").await;
    let (io, established) = terms.handshake(CLIENT, io).await.expect("it is done");
    assert_eq!((established.side, established.max_payload), (Side::Client, Some(100)));
    assert_eq!((established.send_limit.bytes(), established.receive_limit.bytes()), (16 << 10, 20_000));
    assert!(established.rest.is_empty());
    drop(io);
    assert_eq!(heard(peer).await, b"initfinished");
}

#[tokio::test]
async fn a_peer_that_the_program_does_not_want_gets_no_last_frames() {
    let running = scripted(&[say(b"init", 0), done(b"finished", 6)]).await;
    let mut terms = Terms::new(running.handshaker.clone());
    terms.judges.push(Arc::new(|_| Ok(())));
    terms.judges.push(Arc::new(|info| Err(format!("not {}", info.peer_service_account()))));
    terms.judges.push(Arc::new(|_| unreachable!("nobody is asked about who is refused already")));
    let (io, peer) = connection(b"flight").await;
    let error = failed(&terms, CLIENT, io).await;
    assert_eq!(error.to_string(), "this program does not speak to peer@prod.example: not peer@prod.example");
    assert_eq!(heard(peer).await, b"init");
}

#[tokio::test]
async fn a_peer_that_closes_breaks_or_says_too_much_ends_the_handshake() {
    let script: Vec<_> = [say(b"", 0)].into_iter().chain((0..10).map(|_| say(b"", 0))).collect();
    let running = scripted(&script).await;
    let terms = Terms::new(running.handshaker.clone());
    for start in [CLIENT, Start::Server] {
        let error = terms.handshake(start, join(repeat(7), sink())).await.err().expect("it is too much");
        assert!(matches!(error, Error::TooMuchInput { .. }), "{error}");
        let (io, peer) = connection(b"a").await;
        drop(peer);
        let error = failed(&terms, start, io).await;
        assert!(matches!(error, Error::PeerClosed { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_is_waited_for_too_long_is_named() {
    for (script, start, expected) in [
        (vec![Silence], CLIENT, WaitingFor::Handshaker),
        (vec![Silence], Start::Server, WaitingFor::Handshaker),
        (vec![say(b"", 0), Silence], CLIENT, WaitingFor::Handshaker),
        (vec![say(b"", 0), say(b"init", 1)], CLIENT, WaitingFor::Peer),
        (vec![say(b"init", 1)], Start::Server, WaitingFor::Peer),
    ] {
        let mut running = scripted(&script).await;
        let (io, mut peer) = connection(b"a").await;
        let terms = Terms::new(running.handshaker.clone());
        // The clock runs ahead when nothing is left to be done but to wait.
        let stuck = async {
            if expected == WaitingFor::Peer {
                peer.read_exact(&mut [0; 4]).await.expect("it is sent");
            } else {
                running.events.recv().await.expect("the handshaker runs");
            }
            tokio::time::pause();
        };
        let (error, ()) = tokio::join!(failed(&terms, start, io), stuck);
        tokio::time::resume();
        let Error::TimedOut { seconds: 60.0, waiting_for } = error else { panic!("{error}") };
        assert_eq!(waiting_for, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_place_and_for_the_first_bytes_counts() {
    let builder = Handshaker::builder("unix:/nowhere").timeout(Duration::from_secs(20)).max_concurrent(1);
    let handshaker = builder.build().expect("it is an address");
    let terms = Terms::new(handshaker.clone());
    let _places = [handshaker.place(Side::Client).await, handshaker.place(Side::Server).await];
    for (start, sent, expected) in [
        (CLIENT, &b""[..], "other handshakes of this program to end"),
        (Start::Server, b"init", "other handshakes of this program to end"),
        (Start::Server, b"", "the other side"),
    ] {
        let (io, _peer) = connection(sent).await;
        let error = failed(&terms, start, io).await;
        assert_eq!(
            error.to_string(),
            format!("the handshake was not done within 20 s: it was waiting for {expected}")
        );
    }
}

#[tokio::test]
async fn a_dropped_handshake_closes_its_connection_ends_its_rpc_and_gives_its_place_back() {
    let mut running = run(&[say(b"init", 0)], |builder| builder.timeout(LONG).max_concurrent(1)).await;
    let terms = Terms::new(running.handshaker.clone());
    for _ in 0..3 {
        let (io, mut peer) = connection(b"").await;
        let mut begun = [0; 4];
        tokio::select! {
            ended = terms.handshake(CLIENT, io) => panic!("it ends by itself: {:?}", ended.err()),
            read = peer.read_exact(&mut begun) => assert_eq!(read.expect("it is sent"), 4),
        }
        assert!(heard(peer).await.is_empty());
        assert_eq!(running.events.recv().await, Some(Event::Ended));
        assert_eq!(running.events.recv().await, Some(Event::Awaited));
    }
    let _place =
        tokio::time::timeout(LONG, running.handshaker.place(Side::Client)).await.expect("it is free");
}

#[tokio::test]
async fn a_handshaker_that_is_not_there_is_named() {
    for address in ["unix:/nowhere/altsd.sock", "127.0.0.1:1", "localhost:1"] {
        let handshaker = Handshaker::new(address).expect("it is an address");
        let (io, peer) = connection(b"init").await;
        let error = failed(&Terms::new(handshaker), CLIENT, io).await;
        assert!(matches!(error, Error::HandshakerUnreachable { .. }), "{error}");
        assert!(
            error.to_string().starts_with(&format!("the handshaker {address} cannot be reached: ")),
            "{error}"
        );
        assert!(heard(peer).await.is_empty());
    }
}

#[tokio::test]
async fn an_rpc_is_left_to_the_handshaker_to_end() {
    for script in [vec![done(b"", 0)], vec![failure(7, "denied: a", b"")], vec![say(b"", 0), done(b"", 4)]] {
        let mut running = scripted(&script).await;
        let terms = Terms::new(running.handshaker);
        let peer = (&b"peer"[..]).chain(empty());
        // Whether it succeeds is not what is looked at.
        let _ = terms.handshake(CLIENT, join(peer, sink())).await;
        drop(terms);
        assert_eq!(running.events.recv().await, Some(Event::Ended));
        assert_eq!(running.events.recv().await, Some(Event::Awaited));
    }
}

#[tokio::test]
async fn a_handshaker_is_found_by_a_name_of_this_machine() {
    let running = scripted(&[done(b"", 0)]).await;
    let by_name = running.handshaker.address().to_string().replace("127.0.0.1", "localhost");
    let handshaker = Handshaker::new(&by_name).expect("it is an address");
    let (io, _peer) = connection(b"").await;
    let ended = Terms::new(handshaker).handshake(CLIENT, io).await;
    assert!(ended.is_ok(), "{:?}", ended.err());
}

#[test]
fn that_the_runtime_of_the_first_handshake_has_ended_is_no_refusal() {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there is room");
    let handshaker = Handshaker::new("127.0.0.1:1").expect("it is an address");
    for _ in 0..2 {
        let error = runtime().block_on(async {
            let (io, _peer) = connection(b"").await;
            failed(&Terms::new(handshaker.clone()), CLIENT, io).await
        });
        assert!(matches!(error, Error::HandshakerUnreachable { .. }), "{error}");
    }
}
