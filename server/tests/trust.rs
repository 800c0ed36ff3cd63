//! Whom altsd trusts while that changes: revocation lists, and domains that federate.

mod support;

use std::{fs, path::Path};

use alts_proto::altsd::certificate::State;
use nix::unistd::getuid;
use tempfile::TempDir;
use tonic::{Code, transport::Channel};

use self::support::{
    admin::Certificates,
    daemon::{altsd, eventually},
    files::{account_of, directory, put, serve},
    handshake::{Begun, Load, Refused, handshake, within},
    node::{Node, output},
    pki::{Pki, write},
    stream::{CORE, GO, account, connect},
};

/// Serial number of the certificate that is revoked.
const REVOKED: u64 = 0xbad;

/// A node that asks a list of revocations, and its peer, which asks none.
struct Listed {
    pki: Pki,
    node: Node,
    peer: Node,
}

impl Listed {
    fn start() -> Self {
        let pki = Pki::new();
        let ours = directory(&pki, &["frontend"]);
        write(ours.path(), "crl.pem", &pki.crl(&[]));
        let theirs = directory(&pki, &["cart"]);
        put(theirs.path(), "cart", &pki.numbered(&account_of("cart"), REVOKED));
        let node = serve(ours, &["frontend"], "crls = [\"crl.pem\"]\n");
        Self { pki, node, peer: serve(theirs, &["cart"], "") }
    }

    async fn channels(&self) -> [Channel; 2] {
        [connect(&self.node.at("s.sock"), CORE).await, connect(&self.peer.at("s.sock"), CORE).await]
    }

    /// What handshakes come to, as the client and as the server of the peer.
    async fn refusals(&self) -> [Option<Refused>; 2] {
        let [ours, theirs] = self.channels().await;
        [handshake(&ours, &theirs, None).await.err(), handshake(&theirs, &ours, None).await.err()]
    }

    /// Waits until both are refused for this reason.
    async fn refused_as(&self, reason: &str) -> [Refused; 2] {
        eventually(&format!("handshakes to be refused as {reason}"), async || {
            let [Some(one), Some(other)] = self.refusals().await else { return None };
            (one.reason() == reason && other.reason() == reason).then_some([one, other])
        })
        .await
    }

    fn lists_in_log(&self, level: &str) -> usize {
        self.node.lines(&[level, "CRLs of prod.example in "])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_revocation_holds_from_the_next_handshake_on_and_not_for_one_under_way() {
    let listed = Listed::start();
    assert_eq!(listed.refusals().await, [None, None]);
    let [ours, theirs] = listed.channels().await;
    let as_client = Begun::new(&ours, &theirs, None).await.expect("nobody is revoked");
    let as_server = Begun::new(&theirs, &ours, None).await.expect("nobody is revoked");

    write(listed.node.path(), "crl.pem", &listed.pki.crl(&[0xbadd, REVOKED]));
    for (refused, end) in listed.refused_as("peer_certificate_revoked").await.iter().zip(["client", "server"])
    {
        assert_eq!((refused.code, refused.end), (Code::Unauthenticated, end));
        assert!(refused.details.to_lowercase().contains("bad"), "it has the serial number: {refused:?}");
    }
    as_client.finish().await.expect("it keeps the list that it began with");
    as_server.finish().await.expect("it keeps the list that it began with");
    assert_eq!((listed.lists_in_log(" INFO "), listed.lists_in_log(" WARN ")), (1, 0));

    // Another certificate of the same peer is as good as before.
    put(listed.peer.path(), "cart", &listed.pki.numbered(&account_of("cart"), 2));
    let good = async || (listed.refusals().await == [None, None]).then_some(());
    eventually("the peer to be let in again", good).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_list_leaves_the_old_one_in_force_and_a_good_one_mends_it() {
    let listed = Listed::start();
    write(listed.node.path(), "crl.pem", &listed.pki.crl(&[REVOKED]));
    listed.refused_as("peer_certificate_revoked").await;

    let bad = async |count: f64| {
        let said = async || (listed.node.metric("altsd_trust_files_bad") == Some(count)).then_some(());
        eventually("the metric of bad files", said).await;
    };
    let good = listed.pki.crl(&[]);
    // Good PEM of what ends too early.
    let lines: Vec<_> = good.lines().collect();
    let short = [&lines[..2], &lines[lines.len() - 1..]].concat().join("\n");
    for (warnings, broken) in [(1, &good[..good.len() / 2]), (2, ""), (3, &*listed.pki.root()), (4, &*short)]
    {
        write(listed.node.path(), "crl.pem", broken);
        let seen = async || (listed.lists_in_log(" WARN ") == warnings).then_some(());
        eventually("a line of the log", seen).await;
        bad(1.0).await;
        listed.refused_as("peer_certificate_revoked").await;
        assert_eq!(listed.lists_in_log(" WARN "), warnings, "{}", listed.node.log());
    }
    // Another file that changes meanwhile is taken, beside the old list.
    write(listed.node.path(), "root.pem", &(listed.pki.root() + &Pki::new().root()));
    let taken = async || {
        (listed.node.lines(&[" INFO ", "roots of prod.example in ", ": new, and in use"]) == 1).then_some(())
    };
    eventually("the roots to be taken", taken).await;
    listed.refused_as("peer_certificate_revoked").await;
    write(listed.node.path(), "crl.pem", &good);
    bad(0.0).await;
    assert_eq!(listed.refusals().await, [None, None]);
    assert_eq!(listed.node.lines(&[" INFO ", "CRLs of prod.example in ", "good again"]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outdated_list_and_one_of_another_issuer_refuse_everybody() {
    let listed = Listed::start();
    write(listed.node.path(), "crl.pem", &listed.pki.crl_until(2021, &[]));
    let refused = listed.refused_as("peer_certificate_crl_expired").await;
    assert!(refused.iter().all(|one| one.code == Code::Unauthenticated), "{refused:?}");

    // The names are the same, the key is not.
    write(listed.node.path(), "crl.pem", &Pki::new().crl(&[]));
    listed.refused_as("peer_certificate_crl_invalid").await;

    write(listed.node.path(), "crl.pem", &listed.pki.crl(&[]));
    let good = async || (listed.refusals().await == [None, None]).then_some(());
    eventually("the peer to be let in again", good).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_certificate_that_is_revoked_is_told_and_goes_on_until_there_is_another() {
    let pki = Pki::new();
    let directory = directory(&pki, &["cart"]);
    write(directory.path(), "crl.pem", &pki.crl(&[]));
    let node = serve(directory, &["cart"], "crls = [\"crl.pem\"]\n");
    let (mut admin, account) = (Certificates::of(&node).await, account_of("cart"));
    write(node.path(), "crl.pem", &pki.crl(&[1]));
    let revoked = admin.becomes(&account, State::RenewalFailing).await;
    assert_eq!(revoked.last_failure.expect("it says why").reason, "peer_certificate_revoked");
    // It is its own peer here, and is not taken for one.
    let refused = within(&node, None).await.expect_err("it is revoked");
    assert_eq!(refused.reason(), "peer_certificate_revoked");
    assert_eq!(node.lines(&[" WARN ", "certificate of cart@prod.example"]), 1, "{}", node.log());

    put(node.path(), "cart", &pki.numbered(&account, 2));
    admin.renewed(&account, 2).await;
    within(&node, None).await.expect("the new one is good");
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_are_changed_by_way_of_both_without_a_failed_handshake() {
    let (old, new) = (Pki::new(), Pki::new());
    let node = serve(directory(&old, &["cart"]), &["cart"], "");
    let (mut admin, account) = (Certificates::of(&node).await, account_of("cart"));
    let roots = |text: String| write(node.path(), "root.pem", &text);
    let taken = async |times: usize| {
        let taken = async || (node.lines(&[" INFO ", "roots of prod.example in "]) == times).then_some(());
        eventually("the roots to be taken", taken).await;
    };
    let load = Load::start(&node, vec![account.clone(); 2]).await;
    roots(old.root() + &new.root());
    taken(1).await;
    put(node.path(), "cart", &new.numbered(&account, 2));
    admin.renewed(&account, 2).await;
    let begun_under_both = load.stop().await;
    assert_eq!(begun_under_both.failed, []);
    assert!(begun_under_both.done > 0);
    let load = Load::start(&node, vec![account.clone(); 2]).await;
    roots(new.root());
    taken(2).await;
    let outcome = load.stop().await;
    assert_eq!(outcome.failed, []);
    assert!(outcome.done > 0);

    // The wrong way round nobody is trusted, and it is told before anything is lost.
    roots(old.root());
    let failing = admin.becomes(&account, State::RenewalFailing).await;
    assert_eq!(failing.last_failure.expect("it says why").reason, "peer_certificate_untrusted");
    let refused = within(&node, None).await.expect_err("its root is gone");
    assert_eq!(refused.reason(), "peer_certificate_untrusted");
    roots("no PEM".to_owned());
    let bad = async || (node.metric("altsd_trust_files_bad") == Some(1.0)).then_some(());
    eventually("the metric of bad files", bad).await;
    roots(new.root());
    admin.renewed(&account, 2).await;
    within(&node, None).await.expect("all is as before");
}

/// The directory of a node whose signing service vouches for one domain; its root is made, and told.
fn domain(authority: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path();
    let config = format!(
        "state_directory = \"{}\"\n[[handshaker.listener]]\naddress = \"unix:{}\"\n{}[policy]\ndefault = \"allow\"\n",
        path.join("state").display(),
        path.join("unused.sock").display(),
        issuing(authority),
    );
    write(path, "init.toml", &config);
    ca(path, "init");
    let root = ca(path, "export-root");
    assert!(root.starts_with("-----BEGIN CERTIFICATE-----"), "{root}");
    (directory, root)
}

fn ca(directory: &Path, command: &str) -> String {
    let mut altsd = altsd();
    altsd.args(["ca", command, "--config"]).arg(directory.join("init.toml"));
    let (code, stdout, stderr) = output(altsd);
    assert_eq!(code, Some(0), "{stderr}");
    stdout
}

fn issuing(authority: &str) -> String {
    format!(
        "[signing_service]\nauthorities = [\"{authority}\"]\n\
         [[workload]]\nservice_account = \"app@{authority}\"\nselectors = [\"uid:{}\"]\n",
        getuid()
    )
}

/// Serves a domain, which trusts each of these roots for the authority beside it.
fn serve_domain(directory: TempDir, authority: &str, trusted: &[(&str, &str)]) -> Node {
    let mut config = issuing(authority);
    for (number, (authority, root)) in trusted.iter().enumerate() {
        write(directory.path(), &format!("root{number}.pem"), root);
        config += &format!("[[trust]]\nauthority = \"{authority}\"\nroots = [\"root{number}.pem\"]\n");
    }
    Node::start_in(directory, &config)
}

async fn between(client: &Node, server: &Node, agent: &str) -> Result<(), Refused> {
    let (client, server) =
        (connect(&client.at("s.sock"), agent).await, connect(&server.at("s.sock"), agent).await);
    let [at_client, at_server] = handshake(&client, &server, None).await?;
    assert_eq!(at_client.peer_identity, at_server.local_identity);
    assert_eq!(at_server.peer_identity, at_client.local_identity);
    assert_ne!(at_client.peer_identity, at_client.local_identity);
    assert!(
        [account("app@a.example"), account("app@b.example")].contains(&at_client.peer_identity.expect("one"))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_domains_with_signing_services_of_their_own_federate_by_each_others_roots() {
    let ((a, root_of_a), (b, root_of_b)) = (domain("a.example"), domain("b.example"));
    let a = serve_domain(a, "a.example", &[("b.example", &root_of_b)]);
    let b = serve_domain(b, "b.example", &[("a.example", &root_of_a)]);
    for agent in [CORE, GO] {
        assert_eq!(between(&a, &b, agent).await, Ok(()));
        assert_eq!(between(&b, &a, agent).await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_without_an_entry_is_refused_by_either_end() {
    let ((a, _), (b, root_of_b)) = (domain("a.example"), domain("b.example"));
    let a = serve_domain(a, "a.example", &[("b.example", &root_of_b)]);
    let b = serve_domain(b, "b.example", &[]);
    for (client, server, end) in [(&a, &b, "server"), (&b, &a, "client")] {
        let refused = between(client, server, CORE).await.expect_err("one end knows nothing of the other");
        assert_eq!((refused.end, refused.code), (end, Code::Unauthenticated), "{refused:?}");
        assert_eq!(refused.reason(), "peer_certificate_authority_unknown");
        assert!(refused.details.contains("a.example"), "{refused:?}");
    }
    let log = fs::read_to_string(b.at("log")).expect("it can be read");
    assert!(log.contains("reason=\"peer_certificate_authority_unknown\""), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_of_a_partner_makes_nobody_ours_and_ours_nobody_theirs() {
    // The partner's service says that it is of our domain too, as whoever has it can make it say.
    let ((a, root_of_a), (liar, root_of_liar)) = (domain("a.example"), domain("a.example"));
    let a = serve_domain(a, "a.example", &[("b.example", &root_of_liar)]);
    let liar = serve_domain(liar, "a.example", &[("b.example", &root_of_a)]);
    for (client, server, end) in [(&a, &liar, "client"), (&liar, &a, "client")] {
        let (ours, theirs) =
            (connect(&client.at("s.sock"), CORE).await, connect(&server.at("s.sock"), CORE).await);
        let refused = handshake(&ours, &theirs, None).await.expect_err("it is of no domain but its own");
        assert_eq!((refused.end, refused.reason()), (end, "peer_certificate_untrusted"), "{refused:?}");
    }
}
