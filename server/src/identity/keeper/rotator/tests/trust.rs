//! Files of roots and revocation lists that change.

use super::*;

#[tokio::test]
async fn new_roots_make_a_new_trust_and_leave_the_credentials() {
    let (directory, pki) = good();
    let mut bench = Bench::with_files(directory.path());
    let (orders, trust) = (bench.held(ORDERS), bench.current.load().trust().clone());
    let other = Pki::new();
    write(directory.path(), "more.pem", &other.root());
    assert_eq!(codes(&bench.polls().await), ["replaced"]);
    assert!(Arc::ptr_eq(&bench.held(ORDERS), &orders));
    assert!(!Arc::ptr_eq(bench.current.load().trust(), &trust));
    // Now its leaves are good, and the old root may go with the last of them.
    issue(directory.path(), ORDERS, &other.leaf(ORDERS));
    assert_eq!(codes(&bench.polls().await), ["replaced"]);
    drop(pki);
}

#[tokio::test]
async fn a_chain_that_came_before_its_root_is_taken_with_it() {
    let (directory, _) = good();
    let mut bench = Bench::with_files(directory.path());
    let other = Pki::new();
    issue(directory.path(), ORDERS, &other.leaf(ORDERS));
    assert_eq!(codes(&bench.polls().await), ["peer_certificate_untrusted"]);
    write(directory.path(), "more.pem", &other.root());
    assert_eq!(codes(&bench.polls().await), ["replaced", "good"]);
}

#[tokio::test]
async fn a_root_that_goes_away_is_told_of_and_the_identity_serves_on() {
    let (directory, _) = good();
    let mut bench = Bench::with_files(directory.path());
    let old = bench.held(ORDERS);
    write(directory.path(), "root.pem", &Pki::new().root());
    let notes = bench.polls().await;
    let untrusted = "peer_certificate_untrusted";
    assert_eq!(codes(&notes), ["replaced", untrusted, untrusted], "{notes:?}");
    assert!(Arc::ptr_eq(&bench.held(ORDERS), &old));
}

#[tokio::test]
async fn a_bad_bundle_leaves_the_old_one_and_the_identities_are_still_updated() {
    let cases: &[(&str, Spoil)] = &[
        ("certificate_missing", |dir, _| write(dir, "root.pem", "")),
        ("pem_invalid", |dir, pki| write(dir, "root.pem", &pki.root()[..200])),
        ("file_unreadable", |dir, _| fs::remove_file(dir.join("root.pem")).expect("it is there")),
        ("root_unusable", |dir, pki| write(dir, "root.pem", &pki.leaf(ORDERS).certificate)),
    ];
    for (code, spoil) in cases {
        let (directory, pki) = good();
        let mut bench = Bench::with_files(directory.path());
        let (old, trust) = (bench.held(CART), bench.current.load().trust().clone());
        spoil(directory.path(), &pki);
        issue(directory.path(), CART, &pki.leaf(CART));
        let mut found = codes(&bench.polls().await);
        found.sort_unstable();
        let mut expected = ["replaced", code];
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert!(!Arc::ptr_eq(&bench.held(CART), &old));
        assert!(Arc::ptr_eq(bench.current.load().trust(), &trust));
        assert_eq!(bench.memory.state().trust_files_bad, 1);
        write(directory.path(), "root.pem", &pki.root());
        assert_eq!(codes(&bench.polls().await), ["good"]);
        assert_eq!(bench.memory.state().trust_files_bad, 0);
    }
}

/// A CRL of an authority that nobody else knows, with one certificate on it.
fn revocation_list(next_update: i32) -> String {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("there is randomness");
    let mut issuer = rcgen::CertificateParams::default();
    issuer.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(7_u64),
        revocation_time: date_time_ymd(2025, 6, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 7, 1),
        next_update: date_time_ymd(next_update, 7, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&Issuer::new(issuer, key)).expect("it is valid").pem().expect("it has a PEM")
}

#[tokio::test]
async fn revocation_lists_are_read_again_when_they_change_and_bad_ones_are_told_of() {
    let (directory, _) = good();
    let dir = directory.path();
    // Of an authority that vouches for nobody here.
    let other =
        "\n[[trust]]\nauthority = \"other.example\"\nroots = [\"more.pem\"]\ncrls = [\"other.crl\"]\n";
    write(dir, "altsd.toml", &format!("{CONFIG}{other}"));
    write(dir, "other.crl", &revocation_list(2030));
    let mut bench = Bench::with_files(dir);
    bench.settle().await;
    let first = bench.memory.state().next_crl_update.expect("there is one");
    let (orders, trust) = (bench.held(ORDERS), bench.current.load().trust().clone());
    write(dir, "other.crl", &revocation_list(2040));
    assert_eq!(codes(&bench.polls().await), ["replaced"]);
    assert!(bench.memory.state().next_crl_update.is_some_and(|next| next > first));
    assert!(!Arc::ptr_eq(bench.current.load().trust(), &trust));
    assert!(Arc::ptr_eq(&bench.held(ORDERS), &orders));
    let good = bench.current.load().trust().clone();
    let (cut, text) = ("-----BEGIN X509 CRL-----\nAAAA\n", revocation_list(2050));
    for (text, code) in [
        ("", "crl_missing"),
        (cut, "pem_invalid"),
        (&text.replace("X509 CRL", "CERTIFICATE"), "crl_missing"),
        ("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "crl_unusable"),
    ] {
        write(dir, "other.crl", text);
        assert_eq!(codes(&bench.polls().await), [code], "{text}");
        assert!(Arc::ptr_eq(bench.current.load().trust(), &good));
    }
    write(dir, "other.crl", &text);
    assert_eq!(codes(&bench.polls().await), ["good"]);
}

#[tokio::test]
async fn a_bad_file_is_read_again_though_it_does_not_change() {
    let (directory, _) = good();
    let dir = directory.path();
    let other = "\n[[trust]]\nauthority = \"other.example\"\nroots = [\"more.pem\"]\n\
                 crls = [\"one.crl\", \"two.crl\"]\n";
    write(dir, "altsd.toml", &format!("{CONFIG}{other}"));
    let list = revocation_list(2030);
    write(dir, "one.crl", &list.repeat(200));
    write(dir, "two.crl", &list);
    let mut bench = Bench::with_files(dir);
    // Beside the other file it is too much.
    write(dir, "two.crl", &list.repeat(100));
    assert_eq!(codes(&bench.polls().await), ["crls_too_many"]);
    for _ in 0..130 {
        bench.poll().await;
    }
    assert_eq!(bench.memory.notes(), [], "it is the same bad state");
    write(dir, "one.crl", &list);
    let mut found = bench.polls().await;
    assert_eq!((codes(&found), bench.memory.state().trust_files_bad), (vec!["replaced"], 1));
    for _ in 0..60 {
        bench.poll().await;
    }
    found = bench.memory.notes();
    assert_eq!((codes(&found), bench.memory.state().trust_files_bad), (vec!["good"], 0));
}
