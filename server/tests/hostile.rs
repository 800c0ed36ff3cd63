//! Callers that are slow, greedy, gone or malicious: what they hold is given back, and nobody else is hurt.

mod support;

use std::os::unix::net::UnixStream;

use alts_proto::gcp::{StartClientHandshakeReq, handshaker_req::ReqOneof};
use support::{
    daemon::Daemon,
    raw::RawStream,
    stream::{CORE, GO, Stream, account, client_start, connect, next},
};
use tonic::{Code, transport::Endpoint};

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_request_are_refused_with_a_reason() {
    let daemon = Daemon::start("");
    // No protocol buffer; a field 1 of field 8 that is no UTF-8.
    let not_utf8: &[u8] = &[0x0a, 4, 0x42, 2, 0xff, 0xfe];
    for garbage in [&[0xff, 0xff, 0xff], not_utf8] {
        let channel = connect(&daemon.socket("frontend"), CORE).await;
        let mut stream = RawStream::open(&channel, garbage).await;
        let response = stream.receive().await.expect("the RPC goes on").expect("there is a response");
        let status = response.status.expect("there is a status");
        assert_eq!(Code::from(status.code as i32), Code::InvalidArgument);
        assert!(status.details.starts_with("request_malformed: "), "{}", status.details);
        assert_eq!(stream.receive().await.expect("the RPC ends with OK"), None);

        let channel = connect(&daemon.socket("frontend"), GO).await;
        let status = RawStream::open(&channel, garbage).await.receive().await.expect_err("the RPC fails");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("request_malformed: "), "{}", status.message());
    }
    daemon.logged(&["request_malformed", "frontend@prod.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_the_callers_choice_writes_no_log_line_of_its_own_and_no_long_one() {
    let daemon = Daemon::start("");
    let channel = connect(&daemon.socket("frontend"), CORE).await;
    let forged = "x\n2026-01-01T00:00:00Z  INFO altsd: handshake established peer=root\x1b[2K";
    let long = "y".repeat(100_000);
    for name in [forged, &long] {
        let mut stream = Stream::open(&channel).await;
        let wish = StartClientHandshakeReq { local_identity: Some(account(name)), ..client_start() };
        stream.send(Some(ReqOneof::ClientStart(wish))).await;
        let response = stream.receive().await.expect("the RPC goes on").expect("there is a response");
        let details = response.status.expect("there is a status").details;
        assert!(details.len() < 1_100 && !details.contains(char::is_control), "{details}");
    }
    daemon.logged(&["local_identity_not_owned", r"x\n2026"]);
    daemon.logged(&["local_identity_not_owned", "yyyy"]);
    let log = daemon.log();
    assert!(log.lines().all(|line| line.len() < 2_000 && !line.starts_with("2026-01-01")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_takes_no_response_holds_its_place_no_longer_than_others() {
    let daemon = Daemon::start("handshake_timeout_seconds = 1\nmax_handshakes_per_caller = 1");
    let address = format!("unix:{}", daemon.socket("frontend").display());
    let endpoint = Endpoint::from_shared(address).expect("it is an address").initial_stream_window_size(0);
    let stuck = endpoint.connect().await.expect("altsd listens");
    let stream = Stream::open(&stuck).await;
    stream.send(Some(ReqOneof::ClientStart(client_start()))).await;
    daemon.logged(&["handshake_timeout", "frontend@prod.example"]);

    let channel = connect(&daemon.socket("frontend"), CORE).await;
    Stream::open(&channel).await.ask(ReqOneof::ClientStart(client_start())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_over_the_limit_waits_for_its_place_and_leaves_other_listeners_alone() {
    let daemon = Daemon::start("max_connections = 1");
    // A caller that says nothing has the only place.
    let silent = UnixStream::connect(daemon.socket("frontend")).expect("altsd listens");
    let address = format!("unix:{}", daemon.socket("frontend").display());
    let endpoint = Endpoint::from_shared(address).expect("it is an address");
    let handshake = async |channel| {
        Stream::open(&channel).await.ask(ReqOneof::ClientStart(client_start())).await;
    };
    let waiting = tokio::spawn(async move { handshake(endpoint.connect_lazy()).await });

    handshake(connect(&daemon.socket("cart"), CORE).await).await;
    assert!(!waiting.is_finished());
    drop(silent);
    waiting.await.expect("it gets its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_stops_half_way_and_a_caller_that_never_starts_are_ended() {
    let daemon = Daemon::start("handshake_timeout_seconds = 1\nidle_timeout_seconds = 2");
    for user_agent in [CORE, GO] {
        let channel = connect(&daemon.socket("frontend"), user_agent).await;
        let mut half_way = Stream::open(&channel).await;
        half_way.ask(ReqOneof::ClientStart(client_start())).await;
        let status = half_way.receive().await.expect_err("the stream is ended");
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().starts_with("handshake_timeout: "), "{}", status.message());

        let mut idle = Stream::open(&channel).await;
        let status = idle.receive().await.expect_err("the stream is ended");
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().starts_with("start_timeout: "), "{}", status.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_over_the_limit_are_refused_at_once_and_a_vanished_caller_gives_its_place_back() {
    let daemon = Daemon::start("max_handshakes_per_caller = 2");
    let channel = connect(&daemon.socket("frontend"), CORE).await;
    let mut running = Vec::new();
    for _ in 0..2 {
        let mut stream = Stream::open(&channel).await;
        stream.ask(ReqOneof::ClientStart(client_start())).await;
        running.push(stream);
    }
    let mut third = Stream::open(&channel).await;
    third.send(Some(ReqOneof::ClientStart(client_start()))).await;
    let status =
        third.receive().await.expect("the RPC goes on").expect("a response").status.expect("a status");
    assert_eq!(Code::from(status.code as i32), Code::ResourceExhausted);
    assert!(status.details.starts_with("handshakes_too_many: "), "{}", status.details);

    drop(running);
    daemon.logged(&["caller_gone", "side=\"client\"", "frontend@prod.example"]);
    Stream::open(&channel).await.ask(ReqOneof::ClientStart(client_start())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_all_callers_together_holds_across_listeners() {
    let daemon = Daemon::start("max_handshakes = 1");
    let mut running = Stream::open(&connect(&daemon.socket("frontend"), CORE).await).await;
    running.ask(ReqOneof::ClientStart(client_start())).await;
    let mut second = Stream::open(&connect(&daemon.socket("cart"), CORE).await).await;
    second.send(Some(ReqOneof::ClientStart(client_start()))).await;
    let status =
        second.receive().await.expect("the RPC goes on").expect("a response").status.expect("a status");
    assert!(status.details.starts_with("handshakes_too_many: "), "{}", status.details);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_so_many_requests_and_no_more() {
    let daemon = Daemon::start("handshake_timeout_seconds = 600");
    let mut stream = Stream::open(&connect(&daemon.socket("frontend"), CORE).await).await;
    stream.ask(ReqOneof::ClientStart(client_start())).await;
    for _ in 1..8_192 {
        stream.ask(next(b"")).await;
    }
    stream.send(Some(next(b""))).await;
    let status =
        stream.receive().await.expect("the RPC goes on").expect("a response").status.expect("a status");
    assert_eq!(Code::from(status.code as i32), Code::ResourceExhausted);
    assert!(status.details.starts_with("requests_too_many: "), "{}", status.details);
    stream.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_failed_and_abandoned_handshakes_is_given_back() {
    let daemon = Daemon::start("");
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
        let line =
            status.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel tells").to_owned();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB")
    };
    let mut after_round = Vec::new();
    for _ in 0..4 {
        let channel = connect(&daemon.socket("frontend"), CORE).await;
        for _ in 0..25 {
            let mut streams = Vec::new();
            for keep in 0..20 {
                let mut stream = Stream::open(&channel).await;
                stream.ask(ReqOneof::ClientStart(client_start())).await;
                // Nearly a whole ServerInit is kept by the engine, for those that are abandoned.
                let mut half_frame = [&16_388_u32.to_le_bytes()[..], &2_u32.to_le_bytes()].concat();
                half_frame.resize(16_000, 0);
                let in_bytes: &[u8] = if keep % 2 == 0 { &half_frame } else { b"garbage that is no frame" };
                stream.send(Some(next(in_bytes))).await;
                stream.receive().await.expect("the RPC goes on").expect("there is a response");
                streams.push(stream);
            }
        }
        after_round.push(resident());
    }
    // Kept, the 250 half frames of each round would be 4 MB a round.
    let growth = after_round[3].saturating_sub(after_round[1]);
    assert!(growth < 4_000, "{after_round:?} KiB");
}
