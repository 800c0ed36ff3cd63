//! The handshaker service of a real altsd process, called as programs call it.

mod support;

use std::{os::unix::fs::PermissionsExt, process::Stdio};

use alts_proto::gcp::{HandshakerResult, handshaker_req::ReqOneof};
use support::{
    daemon::{Daemon, altsd},
    stream::{CORE, GO, Stream, account, client_start, connect, next, rpc_versions, server_start},
};

/// The results at both ends of one handshake, the client being the frontend and the server the cart.
async fn handshake(daemon: &Daemon, user_agent: &str) -> (HandshakerResult, HandshakerResult) {
    let mut client = Stream::open(&connect(&daemon.socket("frontend"), user_agent).await).await;
    let mut server = Stream::open(&connect(&daemon.socket("cart"), user_agent).await).await;
    let init = client.ask(ReqOneof::ClientStart(client_start())).await.out_frames;
    let flight = server.ask(ReqOneof::ServerStart(server_start(&init))).await.out_frames;
    let at_client = client.ask(next(&flight)).await;
    let at_server = server.ask(next(&at_client.out_frames)).await;
    client.ended().await;
    server.ended().await;
    (at_client.result.expect("the client has a result"), at_server.result.expect("the server has a result"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_has_all_that_any_client_demands_and_the_rpc_ends_by_itself() {
    let daemon = Daemon::start("");
    for user_agent in [CORE, GO] {
        let (client, server) = handshake(&daemon, user_agent).await;
        assert_eq!(client.key_data, server.key_data);
        assert_eq!(client.key_data.len(), 44);
        let (frontend, cart) = (account("frontend@prod.example"), account("cart@prod.example"));
        assert_eq!(
            (client.local_identity, client.peer_identity),
            (Some(frontend.clone()), Some(cart.clone()))
        );
        assert_eq!((server.local_identity, server.peer_identity), (Some(cart), Some(frontend)));
        assert_eq!(client.max_frame_size, 0, "the server gave none");
        assert_eq!(server.max_frame_size, 1 << 20);
        for result in [
            (client.peer_rpc_versions, client.record_protocol),
            (server.peer_rpc_versions, server.record_protocol),
        ] {
            assert_eq!(result, (Some(rpc_versions()), "ALTSRP_GCM_AES128_REKEY".to_owned()));
        }
        assert_eq!((&*client.application_protocol, &*server.application_protocol), ("grpc", "grpc"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_byte_by_itself_gets_one_response_that_takes_it() {
    let daemon = Daemon::start("");
    let mut client = Stream::open(&connect(&daemon.socket("frontend"), CORE).await).await;
    let mut server = Stream::open(&connect(&daemon.socket("cart"), CORE).await).await;
    let init = client.ask(ReqOneof::ClientStart(client_start())).await.out_frames;

    let mut flight = server.ask(ReqOneof::ServerStart(server_start(&init[..1]))).await.out_frames;
    for byte in &init[1..] {
        assert!(flight.is_empty());
        let response = server.ask(next(&[*byte])).await;
        assert_eq!(response.bytes_consumed, 1);
        flight = response.out_frames;
    }
    let mut last = None;
    for byte in &flight {
        let response = client.ask(next(&[*byte])).await;
        assert_eq!(response.bytes_consumed, 1);
        last = Some(response);
    }
    let at_client = last.expect("there was a flight");
    let finished = [at_client.out_frames.as_slice(), b"application data"].concat();
    let at_server = server.ask(next(&finished)).await;
    assert_eq!(at_server.bytes_consumed as usize, at_client.out_frames.len());
    let keys = [at_client.result, at_server.result].map(|result| result.expect("a result").key_data);
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_named_target_is_accepted_whatever_the_case_of_its_domain() {
    let daemon = Daemon::start("");
    let cases = [
        (vec!["cart@prod.example"], true),
        (vec!["cart@PROD.Example"], true),
        (vec!["other@prod.example", "cart@prod.example"], true),
        (vec!["Cart@prod.example"], false),
        (vec!["other@prod.example"], false),
        (vec![""], false),
    ];
    for (targets, accepted) in cases {
        let mut client = Stream::open(&connect(&daemon.socket("frontend"), CORE).await).await;
        let mut server = Stream::open(&connect(&daemon.socket("cart"), CORE).await).await;
        let mut start = client_start();
        start.target_identities = targets.iter().map(|target| account(target)).collect();
        let init = client.ask(ReqOneof::ClientStart(start)).await.out_frames;
        let flight = server.ask(ReqOneof::ServerStart(server_start(&init))).await.out_frames;
        client.send(Some(next(&flight))).await;
        let response = client.receive().await.expect("the RPC goes on").expect("there is a response");
        assert_eq!(response.result.is_some(), accepted, "{targets:?}");
        let status = response.status.expect("there is a status");
        if !accepted {
            assert_eq!(status.code, 7);
            assert!(status.details.starts_with("peer_not_expected: "), "{}", status.details);
            assert_eq!(response.out_frames, [6, 0, 0, 0, 5, 0, 0, 0, 9, 0], "an alert, access_denied");
        }
        client.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_identity_can_be_chosen_but_not_claimed() {
    let daemon = Daemon::start("");
    let channel = connect(&daemon.socket("frontend"), CORE).await;
    for (wish, granted) in [("frontend@PROD.example", true), ("cart@prod.example", false), ("", false)] {
        let mut client = Stream::open(&channel).await;
        let start = alts_proto::gcp::StartClientHandshakeReq {
            local_identity: Some(account(wish)),
            ..client_start()
        };
        client.send(Some(ReqOneof::ClientStart(start))).await;
        let response = client.receive().await.expect("the RPC goes on").expect("there is a response");
        let status = response.status.expect("there is a status");
        assert_eq!(status.code == 0, granted, "{wish:?}: {}", status.details);
        assert!(granted || status.details.starts_with("local_identity_not_owned: "), "{}", status.details);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_idle_streams_leave_room_for_a_handshake_on_their_connection() {
    let daemon = Daemon::start("");
    let channel = connect(&daemon.socket("frontend"), GO).await;
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        idle.push(Stream::open(&channel).await);
    }
    let mut client = Stream::open(&channel).await;
    assert!(!client.ask(ReqOneof::ClientStart(client_start())).await.out_frames.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_self_test_succeeds_and_names_what_was_agreed() {
    let daemon = Daemon::start("");
    let address = format!("unix:{}", daemon.socket("cart").display());
    let run = |arguments: &[&str]| {
        let output = altsd().args(["handshake", "--handshaker", &address]).args(arguments).output();
        output.expect("altsd can be run")
    };
    let good = run(&["--target", "cart@prod.example"]);
    let text = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    for part in ["cart@prod.example", "ALTSRP_GCM_AES128_REKEY", "44 bytes"] {
        assert!(text.contains(part), "{text}");
    }
    let wrong = run(&["--target", "other@prod.example"]);
    assert_eq!(wrong.status.code(), Some(1));
    let text = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(text.contains("the client end was refused: peer_not_expected"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_has_its_mode_and_a_dead_one_is_replaced_but_a_live_one_is_not() {
    let daemon = Daemon::start("");
    let mode = std::fs::metadata(daemon.socket("cart")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = || {
        let config = daemon.directory.path().join("altsd.toml");
        altsd().args(["run", "--config"]).arg(config).stdin(Stdio::null()).output().expect("altsd can be run")
    };
    let second = again();
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("another process answers there"), "{text}");
    handshake(&daemon, CORE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_told_to_stop_ends_with_success() {
    let mut daemon = Daemon::start("");
    handshake(&daemon, CORE).await;
    assert!(daemon.stop().success());
    daemon.logged(&["stopping"]);
}
