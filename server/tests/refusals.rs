//! Bad input to a real altsd process: each gets its stable reason, in the way its client listens to, and then
//! nothing else happens.

mod support;

use std::{sync::Arc, time::Duration};

use alts_handshake::{
    AdmitAll, ClientSetup, ExpectedPeers, Handshake, Preferences, RpcVersions, Setup, SystemRandom,
};
use alts_proto::gcp::{
    HandshakerResp, StartClientHandshakeReq, StartServerHandshakeReq, handshaker_req::ReqOneof,
};
use pki_types::UnixTime;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType, date_time_ymd};
use support::{
    daemon::Daemon,
    pki::Pki,
    stream::{CORE, GO, Stream, account, client_start, connect, next, server_start},
};
use tonic::{Code, Status};

/// A conversation whose last request must be refused.
struct Case {
    name: &'static str,
    requests: Vec<Option<ReqOneof>>,
    code: Code,
    reason: &'static str,
    /// What grpc-go is told: the code itself only where the request is at fault.
    rpc_code: Code,
}

fn client(change: impl FnOnce(&mut StartClientHandshakeReq)) -> Option<ReqOneof> {
    let mut start = client_start();
    change(&mut start);
    Some(ReqOneof::ClientStart(start))
}

fn server(change: impl FnOnce(&mut StartServerHandshakeReq)) -> Option<ReqOneof> {
    let mut start = server_start(b"");
    change(&mut start);
    Some(ReqOneof::ServerStart(start))
}

/// Requests whose own content is at fault.
fn wrong_requests() -> Vec<Case> {
    let invalid = Code::InvalidArgument;
    let state = Code::FailedPrecondition;
    let case = |name, requests, code, reason| Case { name, requests, code, reason, rpc_code: code };
    let good = || client(|_| ());
    vec![
        case("nothing in the request", vec![None], invalid, "request_empty"),
        case("next before a start", vec![Some(next(b"x"))], state, "start_missing"),
        case("two client starts", vec![good(), good()], state, "start_repeated"),
        case("a server start after a client start", vec![good(), server(|_| ())], state, "start_repeated"),
        case("an empty request after a start", vec![good(), None], invalid, "request_empty"),
        case(
            "a handshake protocol that is not ALTS",
            vec![client(|start| start.handshake_security_protocol = 1)],
            invalid,
            "handshake_protocol_unknown",
        ),
        case(
            "no handshake protocol",
            vec![client(|start| start.handshake_security_protocol = 0)],
            invalid,
            "handshake_protocol_unknown",
        ),
        case(
            "a handshake protocol of the future",
            vec![client(|start| start.handshake_security_protocol = 99)],
            invalid,
            "handshake_protocol_unknown",
        ),
        case(
            "no record protocol",
            vec![client(|start| start.record_protocols.clear())],
            invalid,
            "protocols_missing",
        ),
        case(
            "no application protocol",
            vec![client(|start| start.application_protocols.clear())],
            invalid,
            "protocols_missing",
        ),
        case(
            "nine application protocols",
            vec![client(|start| start.application_protocols = vec!["grpc".to_owned(); 9])],
            invalid,
            "protocols_too_many",
        ),
        case(
            "a name with a space",
            vec![client(|start| start.application_protocols.push("g rpc".to_owned()))],
            invalid,
            "protocol_name_invalid",
        ),
        case(
            "only unknown record protocols",
            vec![client(|start| start.record_protocols = vec!["ALTSRP_GMAC_128".to_owned()])],
            invalid,
            "record_protocol_unknown",
        ),
        case(
            "an identity of somebody else",
            vec![client(|start| start.local_identity = Some(account("cart@prod.example")))],
            Code::PermissionDenied,
            "local_identity_not_owned",
        ),
        case(
            "identities of others for a server",
            vec![server(|start| {
                let others = ["cart@prod.example", "frontend@other.example"].map(account);
                start.handshake_parameters.values_mut().for_each(|p| p.local_identities = others.to_vec());
            })],
            Code::PermissionDenied,
            "local_identity_not_owned",
        ),
        case(
            "a server without parameters for ALTS",
            vec![server(|start| start.handshake_parameters.clear())],
            invalid,
            "handshake_parameters_missing",
        ),
        case(
            "a server with parameters for TLS only",
            vec![server(|start| {
                let parameters = start.handshake_parameters.remove(&2).expect("they are there");
                start.handshake_parameters.insert(1, parameters);
            })],
            invalid,
            "handshake_parameters_missing",
        ),
        case(
            "a server without record protocols",
            vec![server(|start| {
                start.handshake_parameters.values_mut().for_each(|p| p.record_protocols.clear())
            })],
            invalid,
            "protocols_missing",
        ),
        case(
            "a server without application protocols",
            vec![server(|start| start.application_protocols.clear())],
            invalid,
            "protocols_missing",
        ),
        case(
            "more input than a request may hold",
            vec![good(), Some(next(&vec![0; (1 << 20) + 1]))],
            Code::ResourceExhausted,
            "in_bytes_too_many",
        ),
        case(
            "a request larger than any",
            vec![good(), Some(next(&vec![0; 2 << 20]))],
            Code::ResourceExhausted,
            "request_too_large",
        ),
    ]
}

/// Bytes of a peer that is none.
fn wrong_bytes() -> Vec<Case> {
    let case = |name, requests, reason| Case {
        name,
        requests,
        code: Code::InvalidArgument,
        reason,
        rpc_code: Code::Unavailable,
    };
    let bytes = |bytes: &[u8]| server(|start| start.in_bytes = bytes.to_vec());
    let large = [&16_389_u32.to_le_bytes()[..], &1_u32.to_le_bytes()].concat();
    vec![
        case("TLS", vec![bytes(b"\x16\x03\x01\x02\0\x01\0")], "frame_length_invalid"),
        case("HTTP/2", vec![bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")], "frame_length_invalid"),
        case("a frame over its limit", vec![bytes(&large)], "frame_too_large"),
        case("a record frame", vec![bytes(b"\x08\0\0\0\x06\0\0\0data")], "frame_type_unexpected"),
        case("an empty ClientInit", vec![bytes(b"\x04\0\0\0\x01\0\0\0")], "message_malformed"),
        case(
            "garbage after the start",
            vec![client(|_| ()), Some(next(b"garbage that is no frame"))],
            "frame_length_invalid",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_its_reason_in_the_status_of_the_response() {
    let daemon = Daemon::start("");
    let channel = connect(&daemon.socket("frontend"), CORE).await;
    for case in wrong_requests().into_iter().chain(wrong_bytes()) {
        let mut stream = Stream::open(&channel).await;
        let response = last_answer(&mut stream, &case).await.expect(case.name).expect(case.name);
        let status = response.status.expect(case.name);
        assert_eq!(Code::from(status.code as i32), case.code, "{}: {}", case.name, status.details);
        assert!(
            status.details.starts_with(&format!("{}: ", case.reason)),
            "{}: {}",
            case.name,
            status.details
        );
        assert!(response.result.is_none(), "{}", case.name);
        stream.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_of_grpc_go_gets_its_reason_in_the_status_of_the_rpc() {
    let daemon = Daemon::start("");
    let channel = connect(&daemon.socket("frontend"), GO).await;
    for case in wrong_requests().into_iter().chain(wrong_bytes()) {
        let mut stream = Stream::open(&channel).await;
        let status = last_answer(&mut stream, &case).await.expect_err(case.name);
        assert_eq!(status.code(), case.rpc_code, "{}: {}", case.name, status.message());
        let message = status.message();
        assert!(message.starts_with(&format!("{}: ", case.reason)), "{}: {message}", case.name);
    }
}

/// The answer to the last request of a case; those before must be taken.
async fn last_answer(stream: &mut Stream, case: &Case) -> Result<Option<HandshakerResp>, Status> {
    let (last, before) = case.requests.split_last().expect("a case has requests");
    for request in before {
        stream.ask(request.clone().expect("only the last may be empty")).await;
    }
    stream.send(last.clone()).await;
    stream.receive().await
}

fn mail(account: &str) -> SanType {
    SanType::Rfc822Name(account.try_into().expect("it is ASCII"))
}

/// What a test does to a good leaf.
type Spoil = fn(&mut CertificateParams);

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_a_bad_certificate_is_refused_for_what_is_wrong_with_it() {
    let daemon = Daemon::start("");
    let cases: [(&str, Spoil, bool, &str); 5] = [
        ("expired", |leaf| leaf.not_after = date_time_ymd(2021, 1, 1), false, "peer_certificate_expired"),
        (
            "for servers only",
            |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            false,
            "peer_certificate_purpose_wrong",
        ),
        ("of another root", |_| (), true, "peer_certificate_untrusted"),
        (
            "of an authority without roots",
            |leaf| leaf.subject_alt_names = vec![mail("frontend@other.example")],
            false,
            "peer_certificate_authority_unknown",
        ),
        (
            "not valid yet",
            |leaf| leaf.not_before = date_time_ymd(2090, 1, 1),
            false,
            "peer_certificate_not_yet_valid",
        ),
    ];
    for user_agent in [CORE, GO] {
        let channel = connect(&daemon.socket("cart"), user_agent).await;
        for (name, spoil, foreign, reason) in &cases {
            let foreign = foreign.then(Pki::new);
            let mut middle = 0;
            let peer = foreign.as_ref().unwrap_or(&daemon.pki).leaf_with("frontend@prod.example", |leaf| {
                spoil(leaf);
                middle = (leaf.not_before.unix_timestamp() + leaf.not_after.unix_timestamp()) / 2;
            });
            let setup = Setup {
                credentials: Arc::new(peer.credentials()),
                trust: Arc::new(daemon.pki.trust("prod.example")),
                expected: ExpectedPeers::default(),
                admission: Arc::new(AdmitAll),
                preferences: preferences(),
            };
            // The peer believes in its certificate: its clock stands in the middle of its validity.
            let then =
                UnixTime::since_unix_epoch(Duration::from_secs(middle.try_into().expect("after 1970")));
            let (mut stream, finished) = finished_for(&channel, setup, then).await;
            stream.send(Some(next(&finished))).await;
            match (user_agent, stream.receive().await) {
                (GO, Err(status)) => {
                    assert_eq!(status.code(), Code::Unavailable, "{name}");
                    assert!(status.message().starts_with(reason), "{name}: {}", status.message());
                }
                (_, Ok(Some(response))) => {
                    let status = response.status.expect("there is a status");
                    assert_eq!(Code::from(status.code as i32), Code::Unauthenticated, "{name}");
                    assert!(status.details.starts_with(reason), "{name}: {}", status.details);
                    assert!(response.result.is_none());
                    stream.ended().await;
                }
                (_, other) => panic!("{name}: {other:?}"),
            }
            daemon.logged(&[reason, "side=\"server\"", "cart@prod.example"]);
        }
    }
}

/// Brings a stream of the daemon to where it waits for this peer's ClientFinished, and makes that.
async fn finished_for(
    channel: &tonic::transport::Channel,
    setup: Setup,
    then: UnixTime,
) -> (Stream, Vec<u8>) {
    // The daemon's own chain holds from 2020 to 2100, and so at any of these times.
    let setup = ClientSetup { common: setup, ticket: None, grease: None };
    let (mut client, init) = Handshake::client(setup, then, &SystemRandom::new()).expect("a peer can begin");
    let mut stream = Stream::open(channel).await;
    let flight = stream.ask(ReqOneof::ServerStart(server_start(&init))).await.out_frames;
    let finished = client.step(&flight, then, &SystemRandom::new()).out_frames;
    assert_eq!(finished[4], 4, "it is a ClientFinished");
    (stream, finished)
}

fn preferences() -> Preferences {
    let versions = RpcVersions { max: (2, 1), min: (2, 1) };
    Preferences::new(&["ALTSRP_GCM_AES128_REKEY"], &["grpc"], &[], versions, 0).expect("they are valid")
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_from_the_wrong_place_are_refused() {
    let daemon = Daemon::start("");
    let frontend = connect(&daemon.socket("frontend"), CORE).await;
    let cart = connect(&daemon.socket("cart"), CORE).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut client = Stream::open(&frontend).await;
        let mut server = Stream::open(&cart).await;
        let init = client.ask(ReqOneof::ClientStart(client_start())).await.out_frames;
        let flight = server.ask(ReqOneof::ServerStart(server_start(&init))).await.out_frames;
        streams.push((client, server, init, flight));
    }
    let (mut reflected, _, init, first_flight) = streams.remove(0);
    refused(&mut reflected, &init, "frame_type_unexpected").await;
    let (mut replayed, mut server, _, flight) = streams.remove(0);
    refused(&mut replayed, &first_flight, "message_not_authentic").await;
    refused(&mut server, &flight, "frame_type_unexpected").await;
    let (mut downgraded, _, _, mut flight) = streams.remove(0);
    let name = flight.windows(4).position(|window| window == b"grpc").expect("it is chosen");
    flight[name..name + 4].copy_from_slice(b"none");
    refused(&mut downgraded, &flight, "choice_not_offered").await;
}

async fn refused(stream: &mut Stream, in_bytes: &[u8], reason: &str) {
    stream.send(Some(next(in_bytes))).await;
    let response = stream.receive().await.expect("the RPC goes on").expect("there is a response");
    let details = response.status.expect("there is a status").details;
    assert!(details.starts_with(&format!("{reason}: ")), "{details}");
}
