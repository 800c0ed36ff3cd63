//! Peer lists are enforced at both ends of a handshake, by a real daemon.

mod support;

use std::fs;

use nix::unistd::getuid;
use tempfile::TempDir;
use tonic::Code;

use self::support::{
    daemon::eventually,
    handshake::{Refused, call},
    node::Node,
    pki::write,
};

const WEB: &str = "web@x.example";
const BATCH: &str = "batch@x.example";
const ORDERS: &str = "orders@x.example";

/// A node whose programs may be any of three accounts, with this policy.
fn node(default: &str, document: &str) -> Node {
    let directory = tempfile::tempdir().expect("there is room");
    write(directory.path(), "peers.toml", document);
    Node::start_in(directory, &configuration(default))
}

fn configuration(default: &str) -> String {
    format!(
        "[signing_service]\nauthorities = [\"x.example\"]\n\
         [[workload]]\nservice_accounts = [\"{WEB}\", \"{BATCH}\", \"{ORDERS}\"]\nselectors = [\"uid:{}\"]\n\
         [policy]\ndefault = \"{default}\"\nfiles = [\"peers.toml\"]\n",
        getuid()
    )
}

/// Who is refused, with which code, and the text.
async fn refused(node: &Node, client: &str, server: &str, target_name: &str) -> Refused {
    match call(node, client, server, target_name).await {
        Ok(_) => panic!("{client} may call {server}"),
        Err(refused) => refused,
    }
}

async fn denied(node: &Node, client: &str, server: &str, end: &str, text: &str) {
    let refused = refused(node, client, server, "").await;
    let expected = format!("peer_denied: the peer is denied: {text}");
    assert_eq!((refused.end, refused.code, &*refused.details), (end, Code::PermissionDenied, &*expected));
}

/// Replaces the document, and waits until what it says is in use.
async fn replace(node: &Node, document: &str) {
    let before = node.lines(&["the documents of peer lists have changed"]);
    write(node.path(), "peers.toml", document);
    eventually("the document to be read", async || {
        (node.lines(&["the documents of peer lists have changed"]) > before).then_some(())
    })
    .await;
}

const WEB_ALONE: &str = "[[peer_list]]\nname = \"frontends\"\npeers = [\"web@x.example\"]\n\
                         [[rule]]\nname = \"orders-callers\"\nlocal = \"orders@x.example\"\nside = \"server\"\n\
                         action = \"allow\"\npeer_lists = [\"frontends\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_those_whom_a_rule_lists_and_nobody_else() {
    let node = node("allow", WEB_ALONE);
    call(&node, WEB, ORDERS, "").await.expect("it is listed");
    let text = format!("orders-callers says who may call {ORDERS}, and {BATCH} is not among them");
    denied(&node, BATCH, ORDERS, "server", &text).await;
    // Rules for one account say nothing of others.
    call(&node, BATCH, WEB, "").await.expect("the default is allow");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_calls_those_whom_a_rule_lists_and_nobody_else() {
    let node = node(
        "allow",
        "[[rule]]\nname = \"web-calls\"\nlocal = \"web@x.example\"\nside = \"client\"\naction = \"allow\"\n\
         peers = [\"orders@x.example\"]\n",
    );
    call(&node, WEB, ORDERS, "").await.expect("it is listed");
    let text = format!("web-calls says whom {WEB} may call, and {BATCH} is not among them");
    denied(&node, WEB, BATCH, "client", &text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_wins_over_an_allowance_and_the_default_is_what_the_configuration_says() {
    let both = "[[rule]]\nname = \"all\"\nlocal = \"*\"\nside = \"server\"\naction = \"allow\"\npeers = [\"*@x.example\"]\n\
                [[rule]]\nname = \"but-batch\"\nlocal = \"orders@x.example\"\nside = \"server\"\naction = \"deny\"\n\
                peers = [\"batch@x.example\"]\n";
    let node = node("allow", both);
    call(&node, WEB, ORDERS, "").await.expect("it is allowed");
    denied(&node, BATCH, ORDERS, "server", &format!("but-batch denies {BATCH} to call {ORDERS}")).await;

    let closed = self::node("deny", "rule = []\n");
    let text = format!("no rule lets {WEB} call {ORDERS}, and the default of this node is deny");
    denied(&closed, WEB, ORDERS, "client", &text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_an_entry_is_answered_by_its_accounts_alone() {
    let node = node(
        "allow",
        "[[target_name]]\nname = \"orders.x.example:443\"\naccounts = [\"orders@x.example\"]\n",
    );
    for name in
        ["orders.x.example:443", "ORDERS.x.example:443", "", "other.x.example:443", "orders.x.example:80"]
    {
        call(&node, WEB, ORDERS, name).await.unwrap_or_else(|refused| panic!("{name}: {refused:?}"));
    }
    let refused = refused(&node, WEB, BATCH, "orders.x.example:443").await;
    assert_eq!(
        (refused.end, refused.code, refused.reason()),
        ("client", Code::PermissionDenied, "peer_not_target")
    );
    assert!(refused.details.contains("orders.x.example:443"), "{}", refused.details);
    call(&node, WEB, BATCH, "batch.x.example:443").await.expect("names without an entry are not checked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_in_shadow_refuses_nobody_and_is_counted() {
    let node = node("allow", &WEB_ALONE.replace("action = ", "mode = \"shadow\"\naction = "));
    call(&node, BATCH, ORDERS, "").await.expect("it is only tried out");
    assert_eq!(
        node.lines(&["a shadow rule would decide otherwise", "orders-callers", "would=\"refuse\""]),
        1
    );
    let counted = node.labelled("altsd_shadow_differences_total", &["side=\"server\"", "would=\"refuse\""]);
    assert_eq!(counted, Some(1.0));
    call(&node, WEB, ORDERS, "").await.expect("it is listed");
    assert_eq!(node.lines(&["a shadow rule would decide otherwise"]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_changes_holds_for_the_next_handshake_and_a_bad_one_changes_nothing() {
    let node = node("allow", WEB_ALONE);
    assert_eq!(refused(&node, BATCH, ORDERS, "").await.reason(), "peer_denied");
    replace(&node, &WEB_ALONE.replace("web@x.example", "batch@x.example")).await;
    call(&node, BATCH, ORDERS, "").await.expect("it is listed now");
    assert_eq!(refused(&node, WEB, ORDERS, "").await.reason(), "peer_denied");

    write(node.path(), "peers.toml", "[[rule]]\nname = \"half\"\n");
    eventually("the mistake to be told", async || {
        (node.lines(&["policy_file_bad", "peers.toml"]) == 1).then_some(())
    })
    .await;
    call(&node, BATCH, ORDERS, "").await.expect("what was good goes on to hold");
    assert_eq!(refused(&node, WEB, ORDERS, "").await.reason(), "peer_denied");
    assert_eq!(node.metric("altsd_policy_files_bad"), Some(1.0));

    replace(&node, "rule = []\n").await;
    call(&node, WEB, ORDERS, "").await.expect("there is no rule any more");
    assert_eq!(node.metric("altsd_policy_files_bad"), Some(0.0));
}

#[test]
fn a_document_with_a_mistake_stops_the_start_with_its_place() {
    let directory =
        directory_with("[[rule]]\nname = \"r\"\nlocal = \"nobody\"\nside = \"server\"\naction = \"allow\"\n");
    let config = format!(
        "state_directory = \"state\"\n[[handshaker.listener]]\naddress = \"unix:{}\"\n{}",
        directory.path().join("s.sock").display(),
        configuration("deny")
    );
    write(directory.path(), "altsd.toml", &config);
    for command in ["validate", "run"] {
        let file = directory.path().join("altsd.toml");
        let output =
            support::daemon::altsd().args([command, "--config"]).arg(&file).output().expect("it was built");
        let stderr = String::from_utf8(output.stderr).expect("it is UTF-8");
        assert_eq!(output.status.code(), Some(78), "{command}: {stderr}");
        let place = format!("{}:3: rule[0].local: ", directory.path().join("peers.toml").display());
        assert!(stderr.contains(&place), "{command}: {stderr}");
    }
    assert!(!directory.path().join("s.sock").exists());
    assert!(fs::read_dir(directory.path()).expect("it is there").count() <= 3);
}

fn directory_with(document: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("there is room");
    write(directory.path(), "peers.toml", document);
    directory
}
