//! Nodes of a fleet over one real etcd: what is decided on one holds on all, and all go on without it.
#![cfg(feature = "etcd")]

mod support;

use std::{env, fs, os::unix::net::UnixStream, process::Stdio, time::Duration};

use alts_proto::altsd::{
    CreateRevocationRequest, DeleteRevocationRequest, Revocation, revocation::Subject,
    revocations_client::RevocationsClient,
};
use nix::unistd::getuid;
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use self::{
    etcd::Etcd,
    support::{
        daemon::{eventually, wait_for},
        handshake::{Begun, Load, Refused, call},
        node::{Node, output},
        stream::{CORE, connect},
    },
};

#[path = "../../store/tests/support/etcd.rs"]
#[allow(dead_code, reason = "the store's own tests use the rest")]
mod etcd;

const WEB: &str = "web@x.example";
const ORDERS: &str = "orders@x.example";

/// How often a revocation is timed.
const TIMES: usize = 50;

/// How long etcd is away while handshakes go on, in seconds; `ALTSD_OUTAGE_SECONDS` says another time.
const OUTAGE: u64 = 10;

fn configuration(etcd: &Etcd, more: &str) -> String {
    let endpoints: Vec<_> = etcd.endpoints().iter().map(|endpoint| format!("\"{endpoint}\"")).collect();
    format!(
        "[signing_service]\nauthorities = [\"x.example\"]\n\
         [[workload]]\nservice_accounts = [\"{WEB}\", \"{ORDERS}\"]\nselectors = [\"uid:{}\"]\n\
         [policy]\ndefault = \"allow\"\n\
         [store]\nengine = \"etcd\"\n[store.etcd]\nendpoints = [{}]\nrequest_timeout_seconds = 1\n{more}",
        getuid(),
        endpoints.join(", ")
    )
}

fn node(etcd: &Etcd) -> Node {
    Node::start_with(&configuration(etcd, ""))
}

async fn connected(node: &Node) {
    eventually("the store to be heard of", async || {
        (node.metric("altsd_store_connected") == Some(1.0)).then_some(())
    })
    .await;
}

/// The reason why orders refuse web at a node; nothing, if they do not.
async fn reason(channel: &Channel) -> Option<String> {
    let outcome = async {
        Begun::between(channel, channel, [Some(WEB), Some(ORDERS)], "").await?.finish().await.map(drop)
    };
    outcome.await.err().map(|refused: Refused| refused.reason().to_owned())
}

async fn revocations(node: &Node) -> RevocationsClient<Channel> {
    RevocationsClient::new(connect(&node.at("admin.sock"), "a-test").await)
}

fn revoked() -> CreateRevocationRequest {
    let revocation = Revocation {
        subject: Some(Subject::Account(WEB.to_owned())),
        reason: "its machine was stolen".to_owned(),
        ..Default::default()
    };
    CreateRevocationRequest { revocation: Some(revocation), allow_existing: false }
}

fn taken_back() -> DeleteRevocationRequest {
    DeleteRevocationRequest { name: format!("revocations/accounts/{WEB}"), ..Default::default() }
}

/// What a probe of the operator's platform is told.
async fn serving(node: &Node) -> bool {
    let mut health = HealthClient::new(connect(&node.at("s.sock"), "a-test").await);
    let answer = health.check(HealthCheckRequest::default()).await.expect("it is served").into_inner();
    answer.status() == ServingStatus::Serving
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_on_one_node_refuses_on_all_and_how_fast_is_printed() {
    if !Etcd::is_there("a_revocation_on_one_node_refuses_on_all_and_how_fast_is_printed") {
        return;
    }
    let etcd = Etcd::start(1);
    let nodes = [node(&etcd), node(&etcd), node(&etcd)];
    let mut addresses: Vec<_> = nodes.iter().map(|node| node.address.ip()).collect();
    addresses.dedup();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    let mut channels = Vec::new();
    for node in &nodes {
        connected(node).await;
        channels.push(connect(&node.at("s.sock"), CORE).await);
        call(node, WEB, ORDERS, "").await.expect("nobody is revoked");
    }
    let mut operator = revocations(&nodes[0]).await;
    let (mut here, mut others) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let since = now();
        operator.create_revocation(revoked()).await.expect("it is taken");
        here.push(since.elapsed());
        for channel in &channels[1..] {
            eventually("the others to refuse", async || reason(channel).await).await;
        }
        others.push(since.elapsed());
        for channel in &channels {
            assert_eq!(reason(channel).await.as_deref(), Some("peer_revoked"));
        }
        operator.delete_revocation(taken_back()).await.expect("it is there");
        for channel in &channels {
            eventually("all to go on", async || reason(channel).await.is_none().then_some(())).await;
        }
    }
    print_times("a revocation is taken, and refused by, on the node that was told", &mut here);
    print_times("from then until two other nodes have refused", &mut others);
}

#[expect(clippy::disallowed_methods, reason = "a test that measures has no clock to be given")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn print_times(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    println!(
        "measured: {what}: median {:?}, worst of {} {:?}",
        times[times.len() / 2],
        times.len(),
        times[times.len() - 1]
    );
}

#[expect(clippy::disallowed_methods, reason = "a longer time is for who measures")]
fn outage() -> u64 {
    let given = env::var("ALTSD_OUTAGE_SECONDS").ok();
    given.map_or(OUTAGE, |text| text.parse().expect("ALTSD_OUTAGE_SECONDS is a number of seconds"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_without_etcd_goes_on_says_so_and_catches_up() {
    if !Etcd::is_there("a_fleet_without_etcd_goes_on_says_so_and_catches_up") {
        return;
    }
    let mut etcd = Etcd::start(1);
    let nodes = [node(&etcd), node(&etcd), node(&etcd)];
    let mut loads = Vec::new();
    for node in &nodes {
        connected(node).await;
        loads.push(Load::start(node, [WEB, ORDERS].map(str::to_owned)).await);
    }
    etcd.kill(0);
    for node in &nodes {
        eventually("the loss to be told", async || {
            (node.metric("altsd_store_connected") == Some(0.0)).then_some(())
        })
        .await;
        assert!(serving(node).await, "it goes by what it knows");
        let (code, stdout, stderr) = node.ask(&["status", "--output", "json"]);
        assert_eq!(code, Some(4), "{stdout}{stderr}");
        assert!(stdout.contains("degraded") && stdout.contains("store_offline"), "{stdout}");
    }
    let refused =
        revocations(&nodes[0]).await.create_revocation(revoked()).await.expect_err("nobody keeps it");
    assert!(refused.message().starts_with("store_unavailable: "), "{refused}");
    let seconds = outage();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    etcd.restart(0);
    for node in &nodes {
        connected(node).await;
        let (code, stdout, _) = node.ask(&["status"]);
        assert_eq!(code, Some(0), "{stdout}");
    }
    let mut done = 0;
    for load in loads {
        let outcome = load.stop().await;
        assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
        done += outcome.done;
    }
    println!("measured: etcd away for {seconds} s: {done} handshakes, 0 failed");
    revocations(&nodes[2]).await.create_revocation(revoked()).await.expect("it is kept again");
    for node in &nodes {
        let channel = connect(&node.at("s.sock"), CORE).await;
        let found = eventually("all to refuse", async || reason(&channel).await).await;
        assert_eq!(found, "peer_revoked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_without_etcd_goes_by_its_copy_until_that_is_too_old() {
    if !Etcd::is_there("a_node_that_starts_without_etcd_goes_by_its_copy_until_that_is_too_old") {
        return;
    }
    let mut etcd = Etcd::start(1);
    let first = Node::start_with(&configuration(&etcd, ""));
    connected(&first).await;
    revocations(&first).await.create_revocation(revoked()).await.expect("it is kept");
    assert_eq!(reason(&connect(&first.at("s.sock"), CORE).await).await.as_deref(), Some("peer_revoked"));
    etcd.kill(0);

    let second = first.again(&configuration(&etcd, ""));
    assert_eq!(second.metric("altsd_store_connected"), Some(0.0));
    let refused = call(&second, WEB, ORDERS, "").await.expect_err("what it was told stays");
    assert_eq!(refused.reason(), "peer_revoked");
    call(&second, ORDERS, ORDERS, "").await.expect("others go on");

    let third = second.again(&configuration(&etcd, "max_offline_seconds = 1\n"));
    eventually("the copy to be too old", async || (!serving(&third).await).then_some(())).await;
    let refused = call(&third, ORDERS, ORDERS, "").await.expect_err("it may have missed a revocation");
    assert_eq!(refused.reason(), "admission_unknown");
    assert_eq!(third.ask(&["status"]).0, Some(5));
    etcd.restart(0);
    eventually("etcd to be heard of", async || serving(&third).await.then_some(())).await;
    call(&third, ORDERS, ORDERS, "").await.expect("it knows again");
    assert_eq!(call(&third, WEB, ORDERS, "").await.expect_err("it is revoked").reason(), "peer_revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_never_heard_of_etcd_admits_nobody() {
    if !Etcd::is_there("a_node_that_never_heard_of_etcd_admits_nobody") {
        return;
    }
    let mut etcd = Etcd::start(1);
    etcd.kill(0);
    let node = node(&etcd);
    assert!(!serving(&node).await);
    let refused = call(&node, WEB, ORDERS, "").await.expect_err("nobody knows who is revoked");
    assert_eq!(refused.reason(), "admission_unknown");
    assert!(refused.details.contains("has not been heard of yet"), "{}", refused.details);
    etcd.restart(0);
    eventually("etcd to be heard of", async || serving(&node).await.then_some(())).await;
    call(&node, WEB, ORDERS, "").await.expect("nobody is revoked");
}

const CART: &str = "https://cart.x.example";

/// A node with a token door. `more` goes into the section of its keys.
async fn door(etcd: &Etcd, more: &str) -> Node {
    let directory = tempfile::tempdir().expect("there is room");
    let socket = directory.path().join("token.sock").display().to_string();
    let tokens = format!(
        "[token]\nissuer = \"https://tokens.x.example\"\n[[token.listener]]\naddress = \"unix:{socket}\"\n\
         [[token.rule]]\nissuers = [\"local\"]\nsubjects = [\"*\"]\naudiences = [\"{CART}\"]\n[token.keys]\n{more}"
    );
    let node = Node::start_in(directory, &configuration(etcd, &tokens));
    wait_for("the token door", || UnixStream::connect(node.at("token.sock")).ok());
    connected(&node).await;
    node
}

/// Exit code and output of `altsd token …` at a node, with this on its standard input.
fn token(node: &Node, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = node.command(&[&["token"], arguments].concat());
    command.args(["--socket", &format!("unix:{}", node.at("token.sock").display())]);
    let file = node.at("input.jwt");
    fs::write(&file, input).expect("there is room");
    command.stdin(Stdio::from(fs::File::open(file).expect("it was written")));
    output(command)
}

fn private_keys(node: &Node) -> usize {
    let files = fs::read_dir(node.at("state").join("token-keys")).expect("it is there").flatten();
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    texts.filter(|text| text.contains("\"private_key\"")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_publish_the_signing_keys_of_all_and_each_signs_with_its_own() {
    if !Etcd::is_there("nodes_publish_the_signing_keys_of_all_and_each_signs_with_its_own") {
        return;
    }
    let etcd = Etcd::start(1);
    let first = door(&etcd, "").await;
    let mint = ["mint", "--audience", CART];
    let (code, of_first, stderr) = token(&first, &mint, "");
    assert_eq!(code, Some(0), "{stderr}");

    // Verifiers may have asked the first node a moment ago: a second one that signed would not be believed.
    let waiting = door(&etcd, "").await;
    let (code, _, stderr) = token(&waiting, &mint, "");
    assert!(code == Some(1) && stderr.contains("signing_key_too_new"), "{stderr}");

    let second = door(&etcd, "sign_at_once = true\n").await;
    let (code, of_second, stderr) = token(&second, &mint, "");
    assert_eq!(code, Some(0), "{stderr}");
    let nodes = [&first, &waiting, &second];
    for node in nodes {
        assert_eq!(private_keys(node), 1);
        for minted in [&of_first, &of_second] {
            eventually("both tokens to be known", async || {
                (token(node, &["verify", "--audience", CART], minted).0 == Some(0)).then_some(())
            })
            .await;
        }
    }

    assert_eq!(token(&second, &["revoke"], &of_first).0, Some(0));
    for node in nodes {
        eventually("the revocation to be known", async || {
            (token(node, &["introspect"], &of_first).0 == Some(1)).then_some(())
        })
        .await;
        assert_eq!(token(node, &["introspect"], &of_second).0, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_withdrawn_on_one_node_is_refused_on_all_and_signs_no_more() {
    if !Etcd::is_there("a_key_that_is_withdrawn_on_one_node_is_refused_on_all_and_signs_no_more") {
        return;
    }
    let etcd = Etcd::start(1);
    let (first, second) = (door(&etcd, "").await, door(&etcd, "sign_at_once = true\n").await);
    let mint = ["mint", "--audience", CART];
    let (_, stolen, _) = token(&first, &mint, "");
    eventually("the key to be known", async || {
        (token(&second, &["introspect"], &stolen).0 == Some(0)).then_some(())
    })
    .await;
    let kid =
        alts_request_auth::Token::parse(stolen.trim()).expect("it is one").header().kid().map(str::to_owned);
    let (code, _, stderr) = second.ask(&["keys", "retire", "--", &kid.expect("it has one")]);
    assert_eq!(code, Some(0), "{stderr}");
    for node in [&first, &second] {
        eventually("the key to be refused", async || {
            (token(node, &["introspect"], &stolen).0 == Some(1)).then_some(())
        })
        .await;
    }
    eventually("another key to sign", async || {
        let (code, minted, _) = token(&first, &mint, "");
        (code == Some(0) && token(&first, &["introspect"], &minted).0 == Some(0)).then_some(())
    })
    .await;
}
