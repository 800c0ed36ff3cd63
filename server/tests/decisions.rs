//! Operators decide with `altsd policy` and `altsd revoke` while a real daemon runs, and the next handshake obeys.

mod support;

use std::{fs, process::Command};

use nix::unistd::getuid;
use serde_json::Value;
use tonic::Code;

use self::support::{
    handshake::{Refused, call},
    node::Node,
    pki::write,
};

const WEB: &str = "web@x.example";
const BATCH: &str = "batch@x.example";
const ORDERS: &str = "orders@x.example";

fn configuration(default: &str, more: &str) -> String {
    format!(
        "[signing_service]\nauthorities = [\"x.example\"]\n\
         [[workload]]\nservice_accounts = [\"{WEB}\", \"{BATCH}\", \"{ORDERS}\"]\nselectors = [\"uid:{}\"]\n\
         [policy]\ndefault = \"{default}\"\n{more}",
        getuid()
    )
}

/// Runs a command, which must succeed.
fn done(node: &Node, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = node.ask(arguments);
    assert_eq!(code, Some(0), "{arguments:?}\n{stdout}{stderr}");
    stdout
}

/// Runs a command, which must fail, and gives what it says.
fn failed(node: &Node, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = node.ask(arguments);
    assert_eq!((code, &*stdout), (Some(1), ""), "{arguments:?}\n{stderr}");
    stderr
}

async fn refused(node: &Node, client: &str, server: &str) -> Refused {
    match call(node, client, server, "").await {
        Ok(_) => panic!("{client} may call {server}"),
        Err(refused) => refused,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_changed_by_command_holds_for_the_next_handshake() {
    let node = Node::start_with(&configuration("allow", ""));
    call(&node, BATCH, ORDERS, "").await.expect("there is no rule yet");
    done(&node, &["policy", "create-list", "frontends", WEB]);
    done(
        &node,
        &[
            "policy",
            "create-rule",
            "orders-callers",
            "--local",
            ORDERS,
            "--side",
            "server",
            "--list",
            "frontends",
        ],
    );
    call(&node, WEB, ORDERS, "").await.expect("it is listed");
    let found = refused(&node, BATCH, ORDERS).await;
    assert_eq!((found.end, found.code, found.reason()), ("server", Code::PermissionDenied, "peer_denied"));
    assert!(found.details.contains("orders-callers says who may call"), "{}", found.details);

    done(&node, &["policy", "peers", "add", "frontends", BATCH]);
    call(&node, BATCH, ORDERS, "").await.expect("it is listed now");
    done(&node, &["policy", "peers", "remove", "frontends", WEB]);
    assert_eq!(refused(&node, WEB, ORDERS).await.reason(), "peer_denied");
    done(&node, &["policy", "set-mode", "orders-callers", "shadow"]);
    call(&node, WEB, ORDERS, "").await.expect("it is only tried out");
    assert_eq!(node.labelled("altsd_shadow_differences_total", &["would=\"refuse\""]), Some(1.0));

    let told = failed(&node, &["policy", "delete", "list", "frontends"]);
    assert!(told.contains("list_in_use") && told.contains("orders-callers"), "{told}");
    done(&node, &["policy", "delete", "rule", "orders-callers"]);
    done(&node, &["policy", "delete", "list", "frontends"]);
    let listed = node.json(&["policy", "list"]);
    assert_eq!(listed["rules"], Value::Array(Vec::new()), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_decided_outlives_the_daemon() {
    let node = Node::start_with(&configuration("allow", ""));
    done(&node, &["revoke", "account", WEB, "--reason", "its machine was stolen"]);
    done(
        &node,
        &["policy", "create-rule", "no-batch", "--local", "*", "--side", "server", "--deny", "--peer", BATCH],
    );
    let node = node.again(&configuration("allow", ""));
    let found = refused(&node, WEB, ORDERS).await;
    assert_eq!(found.reason(), "peer_revoked");
    // Who is revoked is not served as itself either: its own end says so first, or the other one.
    assert!(found.details.contains("its machine was stolen"), "{}", found.details);
    assert_eq!(refused(&node, BATCH, ORDERS).await.reason(), "peer_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_by_the_key_of_a_ca_is_of_all_for_whom_it_vouches() {
    let node = Node::start_with(&configuration("allow", ""));
    call(&node, WEB, ORDERS, "").await.expect("there is no rule yet");
    let config = node.at("altsd.toml").display().to_string();
    let exported = Command::new(env!("CARGO_BIN_EXE_altsd"))
        .env_clear()
        .args(["ca", "export-root", "--config", &config])
        .output()
        .expect("it was built");
    write(node.path(), "root.pem", &String::from_utf8(exported.stdout).expect("it is PEM"));
    let pem = node.at("root.pem").display().to_string();
    let revoked = node.json(&["revoke", "key", "--pem", &pem, "--reason", "to see its hash"]);
    let name = revoked["name"].as_str().expect("it has a name");
    let key = name.strip_prefix("keys/").expect("it is of a key");
    assert_eq!(refused(&node, WEB, ORDERS).await.reason(), "peer_revoked");
    done(&node, &["revoke", "undo", name]);
    call(&node, WEB, ORDERS, "").await.expect("it is taken back");

    let leaf = node.json(&["certs", "show", WEB]);
    let leaf = leaf["sha256_key_fingerprint"].as_str().expect("it is known");
    let rule = |name, peer: &str| {
        let words = ["policy", "create-rule", name, "--local", "*", "--side", "server", "--deny", "--peer"];
        done(&node, &[&words[..], &[peer]].concat());
    };
    rule("the-leaf-is-no-ca", &format!("ca-key-sha256:{leaf}"));
    rule("the-root-is-no-leaf", &format!("key-sha256:{key}"));
    call(&node, WEB, ORDERS, "").await.expect("both are of nobody");
    rule("no-root", &format!("ca-key-sha256:{key}"));
    for client in [WEB, BATCH] {
        let found = refused(&node, client, ORDERS).await;
        assert_eq!(found.reason(), "peer_denied");
        assert!(found.details.contains("no-root"), "{}", found.details);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_replaced_while_it_holds() {
    let node = Node::start_with(&configuration("allow", ""));
    let revoke = ["revoke", "account", WEB, "--reason"];
    done(&node, &[&revoke[..], &["stolen"]].concat());
    let told = failed(&node, &[&revoke[..], &["found", "--for", "7d"]].concat());
    assert!(told.contains("revocation_exists") && told.contains("--replace"), "{told}");
    done(&node, &[&revoke[..], &["found", "--for", "7d", "--replace"]].concat());
    let found = refused(&node, WEB, ORDERS).await;
    assert!(found.reason() == "peer_revoked" && found.details.contains("found"), "{}", found.details);
    let listed = node.json(&["revoke", "list"]);
    assert!(listed["revocations"][0]["expire_time"].is_string(), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_a_key_and_a_certificate_are_revoked_and_taken_back() {
    let node = Node::start_with(&configuration("allow", ""));
    call(&node, WEB, ORDERS, "").await.expect("nobody is revoked");
    let shown = node.json(&["certs", "show", WEB]);
    let text = |field: &str| shown[field].as_str().expect("it is known").to_owned();
    let (issuer, serial, key) = (text("issuer"), text("serial_number"), text("sha256_key_fingerprint"));
    let reason = ["--reason", "lost"];
    let certificate = ["revoke", "certificate", "--issuer", &issuer, "--serial", &serial];
    write(node.path(), "web.pem", &text("chain_pem"));
    let pem = node.at("web.pem").display().to_string();
    // Whoever has the key of the root makes others of any name.
    let config = node.at("altsd.toml").display().to_string();
    write(node.path(), "root.pem", &done(&node, &["ca", "export-root", "--config", &config]));
    let root = node.at("root.pem").display().to_string();
    done(&node, &[&["revoke", "key", "--pem", &root], &reason[..]].concat());
    assert_eq!(refused(&node, BATCH, ORDERS).await.reason(), "peer_revoked");
    let listed = node.json(&["revoke", "list"]).to_string();
    let (_, name) = listed.split_once("keys/").expect("it is listed");
    done(&node, &["revoke", "undo", &format!("keys/{}", &name[..64])]);

    let cases: [(Vec<&str>, &str); 4] = [
        (vec!["revoke", "account", WEB], "web@x.example"),
        (certificate.to_vec(), &serial),
        (vec!["revoke", "key", &key], &key),
        (vec!["revoke", "certificate", "--pem", &pem], &serial),
    ];
    for (command, named) in cases {
        done(&node, &[&*command, &reason].concat());
        let found = refused(&node, WEB, ORDERS).await;
        assert_eq!((found.code, found.reason()), (Code::PermissionDenied, "peer_revoked"), "{command:?}");
        assert!(found.details.contains(named) && found.details.contains("lost"), "{}", found.details);
        call(&node, BATCH, ORDERS, "").await.expect("others go on");
        let listed = node.json(&["revoke", "list"]);
        let [one] = &**listed.as_array().or(listed["revocations"].as_array()).expect("it is a list") else {
            panic!("{listed}")
        };
        let name = one["name"].as_str().expect("it has a name");
        done(&node, &["revoke", "undo", name.trim_start_matches("revocations/")]);
        call(&node, WEB, ORDERS, "").await.expect("it is taken back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_counts_where_files_say_something_else_under_the_same_name() {
    let directory = tempfile::tempdir().expect("there is room");
    let rule =
        "[[rule]]\nname = \"callers\"\nlocal = \"orders@x.example\"\nside = \"server\"\naction = \"allow\"\n";
    write(directory.path(), "peers.toml", &format!("{rule}peers = [\"{WEB}\"]\n"));
    let node = Node::start_in(directory, &configuration("deny", "files = [\"peers.toml\"]\n"));
    let open =
        "[[rule]]\nname = \"calls\"\nlocal = \"*\"\nside = \"client\"\naction = \"allow\"\npeers = [\"*\"]\n";
    write(node.path(), "more.toml", open);
    done(&node, &["policy", "apply", &node.at("more.toml").display().to_string()]);
    call(&node, WEB, ORDERS, "").await.expect("the file allows it");
    let told = failed(&node, &["policy", "set-mode", "callers", "shadow"]);
    assert!(told.contains("defined_in_file") && told.contains("peers.toml"), "{told}");

    write(
        node.path(),
        "other.yaml",
        &format!(
            "rule:\n  - name: callers\n    local: {ORDERS}\n    side: server\n    action: allow\n    peers: [{BATCH}]\n"
        ),
    );
    let file = node.at("other.yaml").display().to_string();
    done(&node, &["policy", "apply", &file, "--dry-run"]);
    call(&node, WEB, ORDERS, "").await.expect("nothing was done");
    done(&node, &["policy", "apply", &file]);
    assert_eq!(refused(&node, WEB, ORDERS).await.reason(), "peer_denied");
    call(&node, BATCH, ORDERS, "").await.expect("the store allows it");
    let listed = done(&node, &["policy", "list", "--rules"]);
    assert!(listed.contains("overridden") && listed.contains("store"), "{listed}");
    done(&node, &["policy", "delete", "rule", "callers"]);
    call(&node, WEB, ORDERS, "").await.expect("the file counts again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_decided_is_said_by_the_daemon_and_without_it() {
    let node = Node::start_with(&configuration("deny", ""));
    let rule = "[[rule]]\nname = \"callers\"\nlocal = \"orders@x.example\"\nside = \"server\"\naction = \"allow\"\npeers = [\"*@x.example\"]\n\
                [[rule]]\nname = \"no-batch\"\nlocal = \"*@x.example\"\nside = \"server\"\naction = \"deny\"\npeers = [\"batch@x.example\"]\n";
    write(node.path(), "peers.toml", rule);
    let file = node.at("peers.toml").display().to_string();
    done(&node, &["policy", "apply", &file]);
    let offline = ["--file", &*file, "--default", "deny"];
    for place in [&[][..], &offline] {
        let check = |peer: &str, side: &str, command: &str| {
            let question = ["policy", command, "--local", ORDERS, "--peer", peer, "--side", side];
            let (code, stdout, stderr) = node.ask(&[&question, place].concat());
            (code, stdout + &stderr)
        };
        let (code, told) = check(WEB, "server", "check");
        assert_eq!(code, Some(0), "{told}");
        assert!(told.contains("callers"), "{told}");
        let (code, told) = check(BATCH, "server", "check");
        assert_eq!(code, Some(3), "{told}");
        assert!(told.contains("no-batch"), "{told}");
        let (code, told) = check(WEB, "client", "check");
        assert_eq!(code, Some(3), "{told}");
        let (_, told) = check(BATCH, "server", "explain");
        assert!(told.contains("callers") && told.contains("no-batch"), "{told}");
    }
    // What is foretold is what happens.
    assert_eq!(refused(&node, BATCH, ORDERS).await.end, "client");
    done(&node, &["policy", "create-rule", "calls", "--local", "*", "--side", "client", "--peer", "*"]);
    assert_eq!(refused(&node, BATCH, ORDERS).await.end, "server");
    call(&node, WEB, ORDERS, "").await.expect("it is allowed at both ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_of_an_operator_is_told_and_changes_nothing() {
    let node = Node::start_with(&configuration("allow", ""));
    done(&node, &["policy", "create-list", "frontends", WEB]);
    let before = done(&node, &["policy", "export"]);
    let cases: [(&[&str], &str); 7] = [
        (&["policy", "create-list", "frontends", BATCH], "frontends"),
        (&["policy", "create-list", "Front Ends", BATCH], "Front Ends"),
        (&["policy", "create-list", "others", "nobody"], "nobody"),
        (&["policy", "peers", "add", "unknown", BATCH], "unknown"),
        (
            &["policy", "create-rule", "r", "--local", ORDERS, "--side", "server", "--list", "unknown"],
            "unknown",
        ),
        (&["revoke", "account", "nobody", "--reason", "x"], "nobody"),
        (&["revoke", "key", "00ff", "--reason", "x"], "00ff"),
    ];
    for (arguments, named) in cases {
        let told = failed(&node, arguments);
        assert!(told.contains(named), "{arguments:?}: {told}");
    }
    assert_eq!(done(&node, &["policy", "export"]), before);
    call(&node, WEB, ORDERS, "").await.expect("nothing has changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_files_are_damaged_stops_the_start_and_is_left_as_it_is() {
    let node = Node::start_with(&configuration("allow", ""));
    done(&node, &["revoke", "account", WEB, "--reason", "stolen"]);
    let store = node.at("state").join("store");
    let mut node = node;
    assert!(node.stop().success());
    let data = store.join("data").join("sled");
    assert!(data.is_dir(), "{data:?}");
    fs::remove_dir_all(&data).expect("it is ours");
    let output = support::daemon::altsd()
        .args(["run", "--config"])
        .arg(node.at("altsd.toml"))
        .output()
        .expect("it was built");
    let stderr = String::from_utf8(output.stderr).expect("it is UTF-8");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("the store cannot be opened") && stderr.contains(store.to_str().expect("UTF-8")),
        "{stderr}"
    );
    assert!(!data.exists(), "nothing is made anew in silence");
}
