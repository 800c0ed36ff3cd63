use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use alts_handshake::SystemRandom;
use pki_types::UnixTime;
use rcgen::{BasicConstraints, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384, SanType, date_time_ymd};
use tempfile::TempDir;
use tokio::time::timeout;

use super::{FileSource, load};
use crate::{
    config::{self, Configured, Source},
    identity::{
        Source as _,
        pki::{self, Pki, write},
    },
    snapshot::Snapshot,
};

const CONFIG: &str = r#"[[handshaker.listener]]
address = "127.0.0.7:8080"
identity = "orders@prod.example.com"

[[identity]]
account = "orders@prod.example.com"
certificate_chain = "orders.pem"
private_key = "orders.key"

[[trust]]
authority = "prod.example.com"
roots = ["root.pem"]

[policy]
default = "allow"
"#;

const ACCOUNT: &str = "orders@prod.example.com";

/// 2026-01-01.
const NOW: u64 = 1_767_225_600;

/// A directory in which everything is good, and who issued it.
fn good() -> (TempDir, Pki) {
    let directory = tempfile::tempdir().expect("there is room");
    let pki = Pki::new();
    let leaf = pki.leaf(ACCOUNT);
    write(directory.path(), "altsd.toml", CONFIG);
    write(directory.path(), "root.pem", &pki.root());
    write(directory.path(), "orders.pem", &leaf.certificate);
    write(directory.path(), "orders.key", &leaf.key);
    (directory, pki)
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(NOW))
}

fn load_from(directory: &Path) -> Result<Snapshot, String> {
    let launch = config::read(&directory.join("altsd.toml")).map_err(|error| error.to_string())?;
    let Source::Configured(Configured { files, .. }) = launch.source else { panic!("a file is no dev mode") };
    load(&files, now(), &SystemRandom::new()).map_err(|error| error.to_string())
}

#[test]
fn good_files_give_the_credentials_of_exactly_the_account_they_name() {
    let (directory, _) = good();
    let snapshot = load_from(directory.path()).expect("all is good");
    let credentials = snapshot.credentials(ACCOUNT).expect("it is configured");
    assert_eq!(credentials.identity().account(), ACCOUNT);
    assert!(snapshot.trust().check_own(credentials, now()).is_ok());
    for other in ["", "orders", "Orders@prod.example.com", "orders@prod.example.com.", "*"] {
        assert!(snapshot.credentials(other).is_none(), "{other}");
    }
}

/// What spoils the good directory.
type Spoil = fn(&Path, &Pki);

fn issue(directory: &Path, issued: &pki::Issued) {
    write(directory, "orders.pem", &issued.certificate);
    write(directory, "orders.key", &issued.key);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is ours");
}

#[test]
fn a_chain_that_is_not_good_is_refused_where_it_is_named() {
    let cases: &[(&str, Spoil)] = &[
        ("DIR/orders.pem cannot be read: No such file", |dir, _| {
            fs::remove_file(dir.join("orders.pem")).expect("it is there");
        }),
        ("DIR/orders.pem is no file", |dir, _| {
            fs::remove_file(dir.join("orders.pem")).expect("it is there");
            fs::create_dir(dir.join("orders.pem")).expect("there is room");
        }),
        ("DIR/orders.pem has 1048577 bytes; the limit is 1048576", |dir, _| {
            write(dir, "orders.pem", &"\n".repeat((1 << 20) + 1));
        }),
        ("DIR/orders.pem holds no certificate", |dir, _| write(dir, "orders.pem", "")),
        ("DIR/orders.pem holds no certificate", |dir, pki| {
            write(dir, "orders.pem", &pki.leaf(ACCOUNT).key);
        }),
        ("DIR/orders.pem is no PEM: a section is not base64", |dir, _| {
            write(dir, "orders.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
        }),
        ("DIR/orders.pem is no PEM: a section has no END line", |dir, _| {
            write(dir, "orders.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
        }),
        ("certificate 0 does not parse", |dir, _| {
            write(dir, "orders.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        }),
        ("the chain has 5 certificates; it must have 1 to 4", |dir, pki| {
            write(dir, "orders.pem", &pki.root().repeat(5));
        }),
        ("certificate 1 may not issue certificates: it is not a CA certificate", |dir, pki| {
            let leaf = pki.leaf(ACCOUNT);
            write(dir, "orders.pem", &leaf.certificate.repeat(2));
            write(dir, "orders.key", &leaf.key);
        }),
        ("the leaf certificate is a CA certificate", |dir, pki| write(dir, "orders.pem", &pki.root())),
        ("the leaf certificate names no identity", |dir, pki| {
            let name = SanType::DnsName("prod.example.com".try_into().expect("it is ASCII"));
            issue(dir, &pki.leaf_with(ACCOUNT, |leaf| leaf.subject_alt_names = vec![name]));
        }),
        ("the leaf certificate has the wrong keyUsage", |dir, pki| {
            issue(dir, &pki.leaf_with(ACCOUNT, |leaf| leaf.key_usages.clear()));
        }),
        ("the leaf certificate is a CA certificate", |dir, pki| {
            let ca = IsCa::Ca(BasicConstraints::Unconstrained);
            issue(dir, &pki.leaf_with(ACCOUNT, |leaf| leaf.is_ca = ca));
        }),
        ("the certificate chain has expired", |dir, pki| {
            issue(dir, &pki.leaf_with(ACCOUNT, |leaf| leaf.not_after = date_time_ymd(2025, 12, 31)));
        }),
        ("the certificate chain is not valid yet", |dir, pki| {
            issue(dir, &pki.leaf_with(ACCOUNT, |leaf| leaf.not_before = date_time_ymd(2026, 1, 2)));
        }),
        ("the certificate chain leads to no root that is configured for prod.example.com", |dir, _| {
            issue(dir, &Pki::new().leaf(ACCOUNT));
        }),
        ("no root is configured for prod.example.com", |dir, _| {
            let authority = "authority = \"prod.example.com\"";
            let other = CONFIG.replace(authority, "authority = \"spiffe://prod.example.com\"");
            write(dir, "altsd.toml", &other);
        }),
    ];
    refused("7: identity[0].certificate_chain", cases);
}

#[test]
fn a_key_that_is_not_good_is_refused_where_it_is_named() {
    let cases: &[(&str, Spoil)] = &[
        ("DIR/orders.key cannot be read: No such file", |dir, _| {
            fs::remove_file(dir.join("orders.key")).expect("it is there");
        }),
        (
            "private key is readable by others: DIR/orders.key has mode 0640; chmod 600 DIR/orders.key",
            |dir, _| set_mode(&dir.join("orders.key"), 0o640),
        ),
        ("private key is readable by others: DIR/orders.key has mode 0604", |dir, _| {
            set_mode(&dir.join("orders.key"), 0o604);
        }),
        ("private key is readable by others: DIR/orders.key has mode 0620", |dir, _| {
            set_mode(&dir.join("orders.key"), 0o620);
        }),
        ("DIR/orders.key holds no PKCS#8 key", |dir, pki| write(dir, "orders.key", &pki.root())),
        ("DIR/orders.key holds no PKCS#8 key", |dir, pki| {
            write(dir, "orders.key", &pki.leaf(ACCOUNT).key.replace("PRIVATE", "EC PRIVATE"));
        }),
        ("DIR/orders.key is no PEM: a section is not base64", |dir, pki| {
            write(dir, "orders.key", &pki.leaf(ACCOUNT).key.replacen("MI", "M!", 1));
        }),
        ("the private key is not a PKCS#8 key for P-256 or Ed25519", |dir, _| {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("there is randomness");
            write(dir, "orders.key", &key.serialize_pem());
        }),
        ("the private key does not belong to the leaf certificate of orders@prod.example.com", |dir, pki| {
            write(dir, "orders.key", &pki.leaf(ACCOUNT).key);
        }),
    ];
    refused("8: identity[0].private_key", cases);
}

#[test]
fn an_account_that_the_certificate_does_not_name_is_refused() {
    let cases: &[(&str, Spoil)] = &[
        ("the certificate is for cart@prod.example.com;", |dir, pki| {
            issue(dir, &pki.leaf("cart@prod.example.com"));
        }),
        ("the certificate is for Orders@prod.example.com;", |dir, pki| {
            issue(dir, &pki.leaf("Orders@prod.example.com"));
        }),
    ];
    refused("6: identity[0].account", cases);
}

#[test]
fn roots_that_are_not_good_are_refused_where_they_are_named() {
    let cases: &[(&str, Spoil)] = &[
        ("DIR/root.pem cannot be read: No such file", |dir, _| {
            fs::remove_file(dir.join("root.pem")).expect("it is there");
        }),
        ("DIR/root.pem holds no certificate", |dir, _| write(dir, "root.pem", "# none yet\n")),
        ("a root for prod.example.com is unusable: it is not a CA certificate", |dir, pki| {
            write(dir, "root.pem", &pki.leaf(ACCOUNT).certificate);
        }),
        ("a root for prod.example.com is unusable", |dir, pki| {
            write(dir, "root.pem", &(pki.root() + &pki.leaf(ACCOUNT).certificate));
        }),
    ];
    refused("12: trust[0].roots[0]", cases);
}

fn refused(place: &str, cases: &[(&str, Spoil)]) {
    let mut wrong = Vec::new();
    for (problem, spoil) in cases {
        let (directory, pki) = good();
        spoil(directory.path(), &pki);
        let path = directory.path().to_str().expect("it is UTF-8");
        let expected = format!("{path}/altsd.toml:{place}: {}", problem.replace("DIR", path));
        let found = load_from(directory.path()).map(drop);
        if !found.as_ref().is_err_and(|found| found.starts_with(&expected)) {
            wrong.push(format!("expected {expected}\n  found    {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn files_are_not_read_while_a_reading_of_them_hangs() {
    let (directory, _) = good();
    let launch = config::read(&directory.path().join("altsd.toml")).expect("it is good");
    let Source::Configured(Configured { mut files, .. }) = launch.source else {
        panic!("a file is no dev mode")
    };
    let entry = files.identities.remove(0);
    let identity = entry.account.value.clone();
    let source = FileSource::new(entry, Arc::new(SystemRandom::new()));
    let hanging = source.reading.clone().try_acquire_owned().expect("nobody reads");
    let an_hour = Duration::from_secs(3_600);
    assert!(timeout(an_hour, source.obtain(&identity, now())).await.is_err());
    drop(hanging);
    assert!(source.obtain(&identity, now()).await.is_ok());
}
