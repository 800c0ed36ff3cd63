//! Certificates from files that somebody else renews while altsd runs.

mod support;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use alts_proto::altsd::certificate::State;
use rcgen::date_time_ymd;

use self::support::{
    admin::{Certificates, number},
    daemon::eventually,
    files::{account_of, directory, put, serve},
    handshake::{Load, within},
    node::Node,
    pki::{Issued, Pki, write},
};

/// Writes under another name, and moves that to the right one.
fn move_in(directory: &Path, name: &str, text: &str) {
    let (new, old) = (format!("new-{name}"), directory.join(name));
    // Its own ending keeps the mode of a key.
    write(directory, &new, text);
    fs::rename(directory.join(new), old).expect("it is ours");
}

/// Puts key and chain as Kubernetes does with the files of a volume: all names lead through one link, which is swapped.
fn put_as_volume(directory: &Path, name: &str, issued: &Issued, version: &str) {
    let of_version = format!("..{version}");
    fs::create_dir(directory.join(&of_version)).expect("there is room");
    put(&directory.join(&of_version), name, issued);
    symlink(&of_version, directory.join("..data_tmp")).expect("there is room");
    fs::rename(directory.join("..data_tmp"), directory.join("..data")).expect("it is ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_files_are_taken_however_they_come_and_no_handshake_fails_meanwhile() {
    const NAMES: [&str; 5] = ["quick", "keyfirst", "chainfirst", "moved", "volume"];
    let pki = Pki::new();
    let directory = directory(&pki, &NAMES);
    let path = directory.path().to_owned();
    for file in ["volume.pem", "volume.key"] {
        fs::remove_file(path.join(file)).expect("it is there");
        symlink(format!("..data/{file}"), path.join(file)).expect("there is room");
    }
    put_as_volume(&path, "volume", &pki.numbered(&account_of("volume"), 1), "2026_01");
    let node = serve(directory, &NAMES, "");
    let mut admin = Certificates::of(&node).await;
    let load = Load::start(&node, NAMES.map(account_of)).await;

    for serial in [0x51, 0x52] {
        let issued = |name: &str| pki.numbered(&account_of(name), serial);
        put(&path, "quick", &issued("quick"));
        let moved = issued("moved");
        move_in(&path, "moved.pem", &moved.certificate);
        move_in(&path, "moved.key", &moved.key);
        put_as_volume(&path, "volume", &issued("volume"), &format!("2026_{serial:x}"));
        // So far apart that a key without its chain is seen, and a chain without its key.
        let (keyfirst, chainfirst) = (issued("keyfirst"), issued("chainfirst"));
        write(&path, "keyfirst.key", &keyfirst.key);
        write(&path, "chainfirst.pem", &chainfirst.certificate);
        for name in ["keyfirst", "chainfirst"] {
            let half = admin.becomes(&account_of(name), State::RenewalFailing).await;
            assert_ne!(number(&half), serial, "the old one is in use");
        }
        write(&path, "keyfirst.pem", &keyfirst.certificate);
        write(&path, "chainfirst.key", &chainfirst.key);
        for name in NAMES {
            admin.renewed(&account_of(name), serial).await;
            let (code, stdout, _) = node.ask(&["certs", "show", &account_of(name)]);
            assert!(code == Some(0) && stdout.contains(&format!("{serial:x}")), "{stdout}");
        }
    }
    let outcome = load.stop().await;
    println!("{} handshakes, {} failed", outcome.done, outcome.failed.len());
    assert_eq!(outcome.failed, []);
    assert!(outcome.done > 100, "it was no load: {}", outcome.done);
    for (name, bad, good) in [("keyfirst", 2, 0), ("chainfirst", 2, 0), ("volume", 0, 2)] {
        let certificate = format!("certificate of {}:", account_of(name));
        assert_eq!(node.lines(&[" WARN ", &certificate]), bad, "{}", node.log());
        assert_eq!(node.lines(&[" INFO ", &certificate, "good again"]), bad, "{}", node.log());
        assert_eq!(node.lines(&[" INFO ", &certificate, ": new, and in use"]), good, "{}", node.log());
    }
}

/// What can be wrong with new files, and the code of it. Each is a name of its own.
const MISTAKES: [(&str, &str); 10] = [
    ("halfchain", "pem_invalid"),
    ("halfkey", "pem_invalid"),
    ("nochain", "certificate_missing"),
    ("nokey", "key_missing"),
    ("foreignkey", "own_key_foreign"),
    ("expired", "peer_certificate_expired"),
    ("exposed", "key_exposed"),
    ("other", "certificate_foreign"),
    ("foreignroot", "peer_certificate_untrusted"),
    ("gone", "file_unreadable"),
];

/// Replaces the files of one name by new ones with its mistake. Returns what must be in no log.
fn spoil(directory: &Path, pki: &Pki, name: &str) -> String {
    let account = account_of(name);
    let mut issued = pki.numbered(&account, 2);
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    match name {
        "halfchain" => issued.certificate = cut(&issued.certificate),
        "halfkey" => issued.key = cut(&issued.key),
        "nochain" => issued.certificate.clear(),
        "nokey" => issued.key.clear(),
        "foreignkey" => issued.key = pki.leaf(&account).key,
        "expired" => issued = pki.leaf_with(&account, |leaf| leaf.not_after = date_time_ymd(2021, 1, 1)),
        "other" => issued = pki.leaf(&account_of("somebody")),
        "foreignroot" => issued = Pki::new().leaf(&account),
        _ => {}
    }
    put(directory, name, &issued);
    let key = directory.join(format!("{name}.key"));
    match name {
        "exposed" => fs::set_permissions(key, fs::Permissions::from_mode(0o644)).expect("it is ours"),
        "gone" => fs::remove_file(key).expect("it is ours"),
        _ => {}
    }
    issued.key.lines().nth(1).unwrap_or("no secret").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_change_nothing_but_what_is_told_and_good_ones_mend_it() {
    let names = MISTAKES.map(|(name, _)| name);
    let pki = Pki::new();
    let node = serve(directory(&pki, &names), &names, "");
    let mut admin = Certificates::of(&node).await;
    let load = Load::start(&node, names.map(account_of)).await;
    let mut secrets = Vec::new();
    for name in names {
        secrets.push(spoil(node.path(), &pki, name));
    }
    for (name, reason) in MISTAKES {
        let bad = admin.becomes(&account_of(name), State::RenewalFailing).await;
        let failure = bad.last_failure.clone().expect("it says why");
        assert_eq!(failure.reason, reason, "{name}: {}", failure.problem);
        assert_eq!(number(&bad), 1, "the old one is in use");
        assert!(failure.problem.contains("altsd.toml"), "it says where: {}", failure.problem);
    }
    eventually("the metric of bad certificates", async || {
        (node.metric("altsd_identities_failing") == Some(names.len() as f64)).then_some(())
    })
    .await;
    assert_eq!(node.metric("altsd_ready"), Some(1.0), "all serve");
    let (code, stdout, _) = node.ask(&["certs", "list"]);
    assert_eq!((code, stdout.matches("renewal_failing").count()), (Some(0), names.len()), "{stdout}");
    for (name, reason) in MISTAKES {
        within(&node, Some(&account_of(name))).await.expect("the old one serves");
        let certificate = format!("certificate of {}:", account_of(name));
        assert_eq!(node.lines(&[" WARN ", &certificate]), 1, "{}", node.log());
        assert_eq!(node.lines(&[" WARN ", &certificate, &format!("code=\"{reason}\"")]), 1, "{}", node.log());
    }

    for name in names {
        put(node.path(), name, &pki.numbered(&account_of(name), 3));
    }
    for name in names {
        admin.renewed(&account_of(name), 3).await;
        within(&node, Some(&account_of(name))).await.expect("the new one serves");
        let certificate = format!("certificate of {}:", account_of(name));
        assert_eq!(node.lines(&[&certificate]), 2, "{}", node.log());
        assert_eq!(node.lines(&[" INFO ", &certificate, "good again"]), 1, "{}", node.log());
    }
    let outcome = load.stop().await;
    println!("{} handshakes, {} failed", outcome.done, outcome.failed.len());
    assert_eq!(outcome.failed, []);
    assert!(outcome.done > 100, "it was no load: {}", outcome.done);
    let log = node.log();
    assert_eq!(node.lines(&["ERROR"]), 0, "{log}");
    assert!(secrets.iter().all(|secret| !log.contains(secret)), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_an_operator_has_read_at_once_fail_before_him_and_serve_on() {
    let pki = Pki::new();
    let node: Node = serve(directory(&pki, &["cart"]), &["cart"], "");
    let mut admin = Certificates::of(&node).await;
    let account = account_of("cart");
    assert_eq!(number(&admin.rotate(&account).await.expect("it is read again")), 1);

    write(node.path(), "cart.pem", "no PEM");
    let refused = admin.rotate(&account).await.expect_err("there is none");
    assert!(refused.message().contains("cart.pem"), "{refused}");
    assert_eq!(number(&admin.get(&account).await), 1);
    within(&node, None).await.expect("the old one serves");

    put(node.path(), "cart", &pki.numbered(&account, 7));
    assert_eq!(number(&admin.rotate(&account).await.expect("it is good")), 7);
}
