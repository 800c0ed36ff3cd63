//! A thousand rotations: what is under way goes on, and what begins uses what is new.

mod support;

use std::collections::HashSet;

use alts_proto::gcp::handshaker_req::ReqOneof;
use nix::unistd::getuid;

use self::support::{
    admin::Certificates,
    handshake::{Begun, Load, within},
    node::Node,
    stream::{CORE, GO, Stream, account, client_start, connect, next, server_start},
};

const ROTATIONS: usize = 1_000;
const OURS: &str = "ours@x.example";

fn node() -> Node {
    Node::start_with(&format!(
        "[handshaker]\nhandshake_timeout_seconds = 600\n\
         [signing_service]\nauthorities = [\"x.example\"]\n\
         [[workload]]\nservice_account = \"{OURS}\"\nselectors = [\"uid:{}\"]\n",
        getuid()
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_rotations_under_a_load_of_handshakes_fail_none_of_them() {
    let node = node();
    let mut admin = Certificates::of(&node).await;
    let load = Load::start(&node, vec![OURS.to_owned(); 4]).await;
    let mut serials = HashSet::new();
    for _ in 0..ROTATIONS {
        serials.insert(admin.rotate(OURS).await.expect("there is always a new one").serial_number);
    }
    let outcome = load.stop().await;
    println!("{} certificates, {} handshakes, {} failed", serials.len(), outcome.done, outcome.failed.len());
    assert_eq!(serials.len(), ROTATIONS, "all are different");
    assert_eq!(outcome.failed, []);
    assert!(outcome.done > 200, "it was no load: {}", outcome.done);
    assert_eq!(node.lines(&[" WARN "]) + node.lines(&["ERROR"]), 0, "{}", node.log());
    within(&node, None).await.expect("it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_was_begun_before_many_rotations_gets_its_result() {
    let node = node();
    let mut admin = Certificates::of(&node).await;
    let mut held = Vec::new();
    for agent in [CORE, GO] {
        let channel = connect(&node.at("s.sock"), agent).await;
        held.push(Begun::new(&channel, &channel, None).await.expect("it begins"));
    }
    // One that has said no more than who it is.
    let channel = connect(&node.at("s.sock"), CORE).await;
    let mut client = Stream::open(&channel).await;
    let init = client.ask(ReqOneof::ClientStart(client_start())).await.out_frames;

    let old = admin.get(OURS).await.serial_number;
    for _ in 0..100 {
        admin.rotate(OURS).await.expect("there is always a new one");
    }
    assert_ne!(admin.get(OURS).await.serial_number, old);

    for begun in held {
        let [at_client, at_server] = begun.finish().await.expect("it keeps what it began with");
        for result in [at_client, at_server] {
            assert_eq!(result.local_identity, Some(account(OURS)));
            assert_eq!(result.peer_identity, Some(account(OURS)));
        }
    }
    // The other end may begin with a newer one.
    let mut server = Stream::open(&channel).await;
    let flight = server.ask(ReqOneof::ServerStart(server_start(&init))).await.out_frames;
    let at_client = client.ask(next(&flight)).await;
    assert!(at_client.result.is_some());
    assert!(server.ask(next(&at_client.out_frames)).await.result.is_some());
}
