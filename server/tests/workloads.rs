//! Who is calling decides who one is: programs of several users at one daemon.

mod support;

use std::{
    io::Read,
    net::TcpStream,
    os::unix::{net::UnixStream, process::CommandExt},
    time::Duration,
};

use alts_proto::gcp::{Identity, handshaker_req::ReqOneof};
use nix::unistd::{geteuid, getuid};
use serde_json::Value;
use tonic::Code;

use self::support::{
    node::{Node, output},
    pki::{Pki, write},
    stream::{CORE, GO, Stream, account, client_start, connect, server_start},
};

const ALICE: u32 = 61_001;
const BOB: u32 = 61_002;
const STRANGER: u32 = 61_003;

fn two_users() -> Node {
    Node::start_with(&format!(
        "[signing_service]\nauthorities = [\"x.example\"]\n\
         [[workload]]\nservice_account = \"alice@x.example\"\nselectors = [\"uid:{ALICE}\"]\n\
         [[workload]]\nservice_account = \"bob@x.example\"\nselectors = [\"uid:{BOB}\"]\n"
    ))
}

#[test]
fn each_user_is_a_workload_over_tcp_and_unix_and_a_third_is_nobody() {
    if !geteuid().is_root() {
        return println!("skipped: to run programs as other users is for root");
    }
    let node = two_users();
    for handshaker in node.handshakers() {
        let asked = |user: u32, arguments: &[&str]| {
            let mut command = node.command_of_anybody(&[arguments, &["--handshaker", &handshaker]].concat());
            output({
                command.uid(user).gid(user);
                command
            })
        };
        for (user, account) in [(ALICE, "alice@x.example"), (BOB, "bob@x.example")] {
            let (code, stdout, stderr) = asked(user, &["whoami", "--output", "json"]);
            assert_eq!(code, Some(0), "{handshaker}: {stderr}");
            let told: Value = serde_json::from_str(&stdout).expect("it is JSON");
            assert_eq!(told["accounts"], serde_json::json!([account]), "{handshaker}");
            let (code, stdout, stderr) = asked(user, &["handshake"]);
            assert_eq!(code, Some(0), "{handshaker}: {stderr}");
            assert!(stdout.contains(&format!("client account        {account}")), "{stdout}");
        }
        let (code, stdout, _) = asked(STRANGER, &["whoami"]);
        assert_eq!(code, Some(1), "{handshaker}");
        assert!(stdout.contains("workload_unknown") && !stdout.contains("alice"), "{stdout}");
        let (code, _, stderr) = asked(STRANGER, &["handshake"]);
        assert_eq!(code, Some(1), "{handshaker}");
        assert!(stderr.contains("workload_unknown") && stderr.contains("uid:61003"), "{stderr}");
    }
    assert!(node.log().contains("reason=\"workload_unknown\""), "{}", node.log());
}

#[test]
fn an_admin_socket_is_for_root_and_the_daemon_alone() {
    if !geteuid().is_root() {
        return println!("skipped: to run programs as other users is for root");
    }
    let node = two_users();
    let mut command = node.command_of_anybody(&["certs", "list"]);
    command.uid(ALICE).gid(ALICE);
    let (code, stdout, stderr) = output(command);
    assert_eq!((code, &*stdout), (Some(1), ""));
    assert!(stderr.contains("Permission denied"), "{stderr}");
}

/// The service account that a stream of this very process got, or why it got none.
async fn as_client(node: &Node, local_identity: Option<Identity>) -> Result<(), (u32, String)> {
    let mut stream = Stream::open(&connect(&node.at("s.sock"), CORE).await).await;
    let start = alts_proto::gcp::StartClientHandshakeReq { local_identity, ..client_start() };
    stream.send(Some(ReqOneof::ClientStart(start))).await;
    let response = stream.receive().await.expect("it is told in band").expect("there is a response");
    let status = response.status.expect("there is a status");
    if status.code == 0 { Ok(()) } else { Err((status.code, status.details)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_chooses_among_its_own_identities_and_no_other() {
    let node = Node::start();
    assert_eq!(as_client(&node, None).await, Ok(()));
    for own in ["ours@x.example", "other@x.example", "other@X.example"] {
        assert_eq!(as_client(&node, Some(account(own))).await, Ok(()), "{own}");
    }
    for foreign in ["theirs@x.example", "", "ours@y.example", "root@x.example"] {
        let (code, details) = as_client(&node, Some(account(foreign))).await.expect_err(foreign);
        assert_eq!(code, Code::PermissionDenied as u32, "{foreign}");
        assert!(details.starts_with("local_identity_not_owned: "), "{details}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_gets_the_first_of_its_wishes_that_is_its_own() {
    let node = Node::start();
    let channel = connect(&node.at("s.sock"), GO).await;
    let wishing = |names: &[&str]| {
        let mut start = server_start(b"");
        let parameters = start.handshake_parameters.get_mut(&2).expect("it has ALTS");
        parameters.local_identities = names.iter().map(|name| account(name)).collect();
        ReqOneof::ServerStart(start)
    };
    let mut stream = Stream::open(&channel).await;
    stream.ask(wishing(&["theirs@x.example", "other@x.example", "ours@x.example"])).await;

    let mut stream = Stream::open(&channel).await;
    stream.send(Some(wishing(&["theirs@x.example"]))).await;
    let status = stream.receive().await.expect_err("grpc-go is told by the status of the RPC");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().starts_with("local_identity_not_owned: "), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_is_no_workload_is_refused_in_the_way_each_client_listens_to() {
    let node = Node::start_with(
        "[signing_service]\nauthorities = [\"x.example\"]\n\
         [[workload]]\nservice_account = \"theirs@x.example\"\nselectors = [\"uid:4000000123\"]\n",
    );
    let (code, details) = as_client(&node, None).await.expect_err("it is nobody");
    assert_eq!(code, Code::Unauthenticated as u32);
    let me = format!("uid:{}", getuid());
    assert!(details.starts_with("workload_unknown: ") && details.contains(&me), "{details}");
    assert!(!details.contains("theirs") && !details.contains("4000000123"), "{details}");

    let mut stream = Stream::open(&connect(&node.at("s.sock"), GO).await).await;
    stream.send(Some(ReqOneof::ClientStart(client_start()))).await;
    let status = stream.receive().await.expect_err("it is nobody");
    assert_eq!(status.code(), Code::Unauthenticated);
    // Asking to be somebody is no way to be one.
    let (code, details) =
        as_client(&node, Some(account("theirs@x.example"))).await.expect_err("it is nobody");
    assert_eq!(code, Code::Unauthenticated as u32, "{details}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_nobody_takes_no_place_of_the_workloads() {
    let this = std::fs::read_link("/proc/self/exe").expect("it runs");
    let node = Node::start_with(&format!(
        "[handshaker]\nmax_handshakes = 1\n[signing_service]\nauthorities = [\"x.example\"]\n\
         [[workload]]\nservice_account = \"ours@x.example\"\nselectors = [\"path:{}\"]\n",
        this.display()
    ));
    let mut running = Stream::open(&connect(&node.at("s.sock"), CORE).await).await;
    running.ask(ReqOneof::ClientStart(client_start())).await;
    // All places are taken; a workload would be told so.
    let (code, details) = as_client(&node, None).await.expect_err("there is no place");
    assert_eq!(code, Code::ResourceExhausted as u32, "{details}");
    let (code, _, stderr) = node.ask(&["handshake"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("workload_unknown"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_waits_too_long_for_its_certificate_did_have_its_start() {
    let directory = tempfile::tempdir().expect("there is room");
    write(directory.path(), "root.pem", &Pki::new().root());
    let config = format!(
        "[handshaker]\nhandshake_timeout_seconds = 1\n[external_ca]\ncommand = [\"/bin/sleep\", \"20\"]\n\
         [[trust]]\nauthority = \"x.example\"\nroots = [\"root.pem\"]\n\
         [[workload]]\nservice_account = \"ours@x.example\"\nselectors = [\"uid:{}\"]\n",
        getuid()
    );
    let node = Node::start_in(directory, &config);
    let mut stream = Stream::open(&connect(&node.at("s.sock"), GO).await).await;
    stream.send(Some(ReqOneof::ClientStart(client_start()))).await;
    let status = stream.receive().await.expect_err("no certificate comes");
    assert!(status.message().starts_with("handshake_timeout: "), "{status}");
}

#[test]
fn a_user_who_closes_no_connection_leaves_half_of_them_to_others() {
    if !geteuid().is_root() {
        return println!("skipped: to run programs as other users is for root");
    }
    let node = Node::start_with(&format!(
        "[handshaker]\nmax_connections = 4\n[signing_service]\nauthorities = [\"x.example\"]\n\
         [[workload]]\nservice_account = \"alice@x.example\"\nselectors = [\"uid:{ALICE}\"]\n"
    ));
    // Two are taken, all others are closed at once.
    let mut unix: Vec<_> =
        (0..8).map(|_| UnixStream::connect(node.at("s.sock")).expect("it listens")).collect();
    let mut tcp: Vec<_> = (0..8).map(|_| TcpStream::connect(node.address).expect("it listens")).collect();
    // The server speaks first only on those that it has taken.
    let mut open = (0, 0);
    let patience = Some(Duration::from_secs(10));
    for socket in &mut unix {
        socket.set_read_timeout(patience).expect("it is open");
        open.0 += socket.read(&mut [0]).expect("it says something or is closed");
    }
    for socket in &mut tcp {
        socket.set_read_timeout(patience).expect("it is open");
        open.1 += socket.read(&mut [0]).expect("it says something or is closed");
    }
    // The one that has seen the daemon listen may just be ending.
    assert!((1..=2).contains(&open.0) && open.1 == 2, "{open:?}");
    assert!(node.log().contains("reason=\"connections_too_many\" uid=0"), "{}", node.log());
    for handshaker in node.handshakers() {
        let mut command = node.command_of_anybody(&["handshake", "--handshaker", &handshaker]);
        command.uid(ALICE).gid(ALICE);
        let (code, _, stderr) = output(command);
        assert_eq!(code, Some(0), "{handshaker}: {stderr}");
    }
}
