//! Certificates from a program of the operator's, here a script around openssl, as the guide has it.

mod support;

use std::{
    fs,
    process::{Command, Stdio},
};

use alts_proto::altsd::certificate::{Origin, State};
use nix::unistd::getuid;
use tempfile::TempDir;
use tonic::Code;

use self::support::{
    admin::Certificates,
    daemon::{eventually, install},
    handshake::{Load, handshake, within},
    node::Node,
    pki::{Pki, write},
    stream::{CORE, GO, connect},
};

const OURS: &str = "orders@prod.example";
const BOTH: &str = "cart@prod.example";
const SPIFFE_ID: &str = "spiffe://prod.example/cart";

/// What the script says, and does, while there is a file `closed`.
const CLOSED: &str = "the CA is closed until Monday";

/// Whether there is an openssl to be our CA, of a version that can copy what is asked for.
fn openssl() -> bool {
    let help = Command::new("openssl").args(["x509", "-help"]).stdin(Stdio::null()).output();
    let is_there = help.is_ok_and(|help| String::from_utf8_lossy(&help.stderr).contains("copy_extensions"));
    if !is_there {
        println!("skipped: there is no openssl 3");
    }
    is_there
}

/// A CA that `altsd` asks by a script of these lines, in front of the one that signs.
fn node(before: &str) -> Node {
    let pki = Pki::new();
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path();
    write(path, "root.pem", &pki.root());
    write(path, "ca.key", pki.root_key());
    let script = format!(
        "#!/bin/sh\n{before}\n\
         echo \"$ALTSD_SERVICE_ACCOUNT $ALTSD_SPIFFE_ID $ALTSD_LIFETIME_SECONDS $*\" >>'{0}/asked'\n\
         if [ -e '{0}/closed' ]; then echo '{CLOSED}' >&2; echo 'and so on' >&2; exit 3; fi\n\
         exec openssl x509 -req -CA '{0}/root.pem' -CAkey '{0}/ca.key' -days 1 -sha256 -copy_extensions copyall\n",
        path.display()
    );
    write(path, "sign.sh", &script);
    install(&path.join("sign.sh"), &path.join("sign"));
    serve(directory)
}

fn serve(directory: TempDir) -> Node {
    let config = format!(
        "[[workload]]\nservice_account = \"{OURS}\"\nselectors = [\"uid:{0}\"]\n\
         [[workload]]\nservice_account = \"{BOTH}\"\nspiffe_id = \"{SPIFFE_ID}\"\n\
         selectors = [\"uid:4000000123\"]\n\
         [external_ca]\ncommand = [\"{1}\", \"--profile\", \"a b\"]\ntimeout_seconds = 2\n\
         certificate_lifetime_seconds = 7200\n\
         [[trust]]\nauthority = \"prod.example\"\nroots = [\"root.pem\"]\n\
         [[trust]]\nauthority = \"spiffe://prod.example\"\nroots = [\"root.pem\"]\n",
        getuid(),
        directory.path().join("sign").display(),
    );
    Node::start_in(directory, &config)
}

fn close(node: &Node) {
    write(node.path(), "closed", "");
}

fn open(node: &Node) {
    fs::remove_file(node.at("closed")).expect("it is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_around_openssl_is_a_ca() {
    if !openssl() {
        return;
    }
    let node = node("");
    let mut admin = Certificates::of(&node).await;
    assert_eq!(admin.get(OURS).await.state(), State::NotRequested);
    within(&node, None).await.expect("a certificate is made for it");
    let certificate = admin.get(OURS).await;
    assert_eq!((certificate.state(), certificate.origin()), (State::Valid, Origin::ExternalCa));
    assert_eq!(certificate.chain_length, 1);
    assert!(certificate.renew_time.is_some());
    // One with two names, too.
    let certificate = admin.rotate(BOTH).await.expect("it is made");
    assert_eq!(certificate.spiffe_id, SPIFFE_ID);

    let asked = fs::read_to_string(node.at("asked")).expect("it was asked");
    let expected = [format!("{OURS}  7200 --profile a b"), format!("{BOTH} {SPIFFE_ID} 7200 --profile a b")];
    assert_eq!(asked.lines().collect::<Vec<_>>(), expected, "once for each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_fails_leaves_the_old_certificate_and_says_why_until_it_is_mended() {
    if !openssl() {
        return;
    }
    let node = node("");
    let mut admin = Certificates::of(&node).await;
    within(&node, None).await.expect("a certificate is made for it");
    let first = admin.get(OURS).await.serial_number;
    let load = Load::start(&node, vec![OURS.to_owned(); 2]).await;

    close(&node);
    let (code, stdout, stderr) = node.ask(&["certs", "rotate", OURS]);
    assert_eq!((code, &*stdout), (Some(1), ""));
    assert!(stderr.contains(CLOSED) && !stderr.contains("and so on"), "{stderr}");
    let (code, stdout, _) = node.ask(&["certs", "list"]);
    let line = stdout.lines().find(|line| line.contains(OURS)).expect("it is listed");
    assert!(code == Some(0) && line.contains("renewal_failing") && line.contains(CLOSED), "{stdout}");
    let failing = admin.get(OURS).await;
    assert_eq!(failing.serial_number, first, "the old one is in use");
    assert_eq!(failing.last_failure.expect("it says why").reason, "exec_failed");
    within(&node, None).await.expect("the old one serves");
    assert!(admin.rotate(OURS).await.is_err());
    assert_eq!(node.lines(&[" WARN ", OURS, CLOSED]), 1, "{}", node.log());

    open(&node);
    let (code, _, stderr) = node.ask(&["certs", "rotate", OURS]);
    assert_eq!(code, Some(0), "{stderr}");
    let mended = admin.get(OURS).await;
    assert_eq!(mended.state(), State::Valid);
    assert_ne!(mended.serial_number, first);
    assert_eq!(node.lines(&[" INFO ", OURS, "good again"]), 1, "{}", node.log());
    let outcome = load.stop().await;
    println!("{} handshakes, {} failed", outcome.done, outcome.failed.len());
    assert_eq!(outcome.failed, []);
    assert!(outcome.done > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_certificate_that_cannot_be_had_refuses_with_the_reason() {
    if !openssl() {
        return;
    }
    let node = node("");
    close(&node);
    for agent in [CORE, GO] {
        let channel = connect(&node.at("s.sock"), agent).await;
        let refused = handshake(&channel, &channel, None).await.expect_err("there is no certificate");
        assert_eq!((refused.code, refused.reason()), (Code::Unavailable, "own_certificate_missing"));
        assert!(refused.details.contains("(exec_failed)") && refused.details.contains(OURS), "{refused:?}");
        // What the script said is for the operator.
        assert!(!refused.details.contains(CLOSED), "{refused:?}");
    }
    assert!(node.ask(&["certs", "list"]).1.contains(CLOSED));
    let unready = async || (node.metric("altsd_ready") == Some(0.0)).then_some(());
    eventually("the metric to say so", unready).await;
    open(&node);
    // It is tried again by itself.
    let served = async || within(&node, None).await.ok();
    eventually("a certificate", served).await;
    let ready = async || (node.metric("altsd_ready") == Some(1.0)).then_some(());
    eventually("the metric to say so", ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_script_does_wrong_is_named() {
    if !openssl() {
        return;
    }
    let foreign = Pki::new().leaf(OURS).certificate;
    let cases = [
        ("exec sleep 600", "exec_timed_out"),
        ("exit 0", "exec_without_certificate"),
        ("cat; exit 0", "exec_without_certificate"),
        (&*format!("echo '{foreign}'; exit 0"), "own_key_foreign"),
        ("exec /no/such/program", "exec_failed"),
    ];
    let nodes = cases.map(|(before, reason)| (node(before), reason));
    for (node, reason) in &nodes {
        let refused = within(node, None).await.expect_err(reason);
        assert_eq!((refused.code, refused.reason()), (Code::Unavailable, "own_certificate_missing"));
        let failure = Certificates::of(node).await.get(OURS).await.last_failure.expect("it says why");
        assert_eq!(failure.reason, *reason, "{}", failure.problem);
        assert!(refused.details.contains(reason), "{refused:?}");
        assert!(!refused.details.contains(&failure.problem), "{refused:?}");
    }
}
