//! Chains of more than a leaf: what may stand behind it, and what a root allows below itself.

mod support;

use alts_handshake::{Authority, Credentials, Error, Reason, SetupError, SystemRandom, Trust};
use pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rcgen::{
    BasicConstraints, CustomExtension, DistinguishedName, IsCa, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SignatureAlgorithm, date_time_ymd,
};
use support::authority::{self, Ca, Issued, NOW, SERVER, now};

/// What a client makes of a server with this chain.
fn peer(root: &Ca, issued: &Issued) -> Result<(), Error> {
    authority::meet(root, &root.trust(), issued, NOW).map(|_| ())
}

/// A leaf of `issuer`, with further certificates behind it.
fn chain(issuer: &Ca, behind: &[CertificateDer<'static>]) -> Issued {
    let mut issued = issuer.issue(&Ca::leaf(SERVER));
    issued.chain.extend_from_slice(behind);
    issued
}

#[test]
fn every_certificate_is_on_the_path_and_only_the_root_may_stand_behind_it() {
    let (root, foreign) = (Ca::new(), Ca::new());
    let upper = root.intermediate("upper");
    let lower = upper.intermediate("lower");
    let cases: [(&str, Issued, Option<Reason>); 8] = [
        ("a leaf alone", chain(&root, &[]), None),
        ("with its root", chain(&root, &[root.der()]), None),
        ("with two intermediates", chain(&lower, &[lower.der(), upper.der()]), None),
        ("with two intermediates and the root", chain(&lower, &[lower.der(), upper.der(), root.der()]), None),
        ("without an intermediate", chain(&lower, &[lower.der()]), Some(Reason::PeerCertificateUntrusted)),
        (
            "with a root of the right name that did not sign it",
            chain(&root, &[foreign.der()]),
            Some(Reason::PeerCertificateChainBroken),
        ),
        (
            "with its root twice",
            chain(&root, &[root.der(), root.der()]),
            Some(Reason::PeerCertificateChainBroken),
        ),
        ("of a foreign root", chain(&foreign, &[foreign.der()]), Some(Reason::PeerCertificateUntrusted)),
    ];
    for (name, issued, expected) in cases {
        assert_eq!(peer(&root, &issued).map_err(|error| error.reason()).err(), expected, "{name}");
    }
}

#[test]
fn a_root_that_allows_no_intermediate_has_none() {
    let root = Ca::with(|root| root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let below = root.intermediate("below");
    assert_eq!(peer(&root, &chain(&root, &[])), Ok(()));
    for behind in [vec![below.der()], vec![below.der(), root.der()]] {
        let error = peer(&root, &chain(&below, &behind)).expect_err("the root allows no intermediate");
        assert_eq!(error.reason(), Reason::PeerCertificateIssuerInvalid, "{error}");
    }
}

#[test]
fn an_expired_copy_of_the_root_is_no_chain_to_serve_with() {
    let root = Ca::new();
    let expired = root.renewed(|root| root.not_after = date_time_ymd(2020, 1, 1));
    let issued = chain(&root, &[expired]);
    let error = root.trust().check_own(&issued.credentials(), now()).expect_err("it cannot be served with");
    assert!(
        matches!(error, SetupError::OwnCertificateUnusable(Error::OwnCertificateNotValid { .. })),
        "{error}"
    );
}

#[test]
fn a_root_must_say_that_it_may_sign_certificates() {
    let authority = || Authority::parse("prod.example").expect("it is an authority");
    let silent = Ca::with(|root| root.key_usages.clear());
    let error = Trust::default().add(authority(), &[silent.der()]).expect_err("it must be refused");
    assert!(error.to_string().ends_with("its keyUsage lacks keyCertSign"), "{error}");
}

/// Why a root cannot be configured.
fn unusable(root: &Ca) -> String {
    let authority = Authority::parse("prod.example").expect("it is an authority");
    match Trust::default().add(authority, &[root.der()]) {
        Err(SetupError::RootUnusable { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_root_has_a_name_and_no_critical_extension_that_is_not_evaluated() {
    let nameless = Ca::with(|root| root.distinguished_name = DistinguishedName::new());
    assert_eq!(unusable(&nameless), "it has no name");

    let cases: [(&str, &[u64], &[u8], bool); 4] = [
        ("one unknown to all", &[1, 3, 9999, 1], &[5, 0], false),
        ("authorityKeyIdentifier", &[2, 5, 29, 35], &[0x30, 3, 0x80, 1, 1], false),
        ("extendedKeyUsage", &[2, 5, 29, 37], &[0x30, 4, 6, 2, 0x2a, 3], false),
        ("subjectAltName", &[2, 5, 29, 17], &[0x30, 3, 0x82, 1, b'a'], true),
    ];
    for (name, oid, content, taken) in cases {
        for critical in [false, true] {
            let root = Ca::with(|root| {
                let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
                extension.set_criticality(critical);
                root.custom_extensions.push(extension);
            });
            if critical && !taken {
                assert!(unusable(&root).ends_with("not understood"), "{name}: {}", unusable(&root));
            } else {
                assert_eq!(peer(&root, &chain(&root, &[])), Ok(()), "{name}");
            }
        }
    }
}

#[test]
fn constraints_that_mean_nothing_or_are_not_evaluated_are_refused() {
    let root = Ca::new();
    let dns = [0x30, 9, 0xa0, 7, 0x30, 5, 0x82, 3, b'a', b'.', b'b'];
    let names = |content: &[u8]| CustomExtension::from_oid_content(&[2, 5, 29, 30], content.to_vec());
    let below = |extension: CustomExtension| {
        let lower = root.intermediate_with("lower", |ca| ca.custom_extensions.push(extension));
        let issued = chain(&lower, &[lower.der()]);
        loaded(&issued).and_then(|()| peer(&root, &issued)).map_err(|error| error.reason())
    };
    assert_eq!(below(names(&dns)), Ok(()), "DNS names are evaluated, and the leaf has none");
    for empty in [&[0x30, 0][..], &[0x30, 4, 0xa0, 0, 0xa1, 0]] {
        assert_eq!(below(names(empty)), Err(Reason::PeerCertificateMalformed));
    }
    let policies: [(&[u64], &[u8]); 2] =
        [(&[2, 5, 29, 36], &[0x30, 3, 0x80, 1, 0]), (&[2, 5, 29, 54], &[2, 1, 0])];
    for (oid, content) in policies {
        let extension = CustomExtension::from_oid_content(oid, content.to_vec());
        assert_eq!(below(extension), Err(Reason::PeerCertificateMalformed), "{oid:?}");
    }

    let mut leaf = Ca::leaf(SERVER);
    leaf.custom_extensions.push(names(&dns));
    let refused = loaded(&root.issue(&leaf));
    assert_eq!(refused, Err(Error::PeerCertificateNameConstrained { position: 0 }));
}

/// What loading a leaf as one's own makes of it, by the same rules as for a peer's.
fn loaded(issued: &Issued) -> Result<(), Error> {
    let key = PrivatePkcs8KeyDer::from(issued.key.clone());
    match Credentials::new(&issued.chain, &key, &SystemRandom::new()) {
        Ok(_) => Ok(()),
        Err(SetupError::OwnCertificateUnusable(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn an_extension_that_nobody_can_read_or_nobody_reads_is_refused() {
    let root = Ca::new();
    type Case = (&'static str, &'static [u64], &'static [u8], bool, bool);
    let cases: [Case; 5] = [
        ("cRLDistributionPoints", &[2, 5, 29, 31], &[0x30, 0], false, true),
        ("critical cRLDistributionPoints", &[2, 5, 29, 31], &[0x30, 0], true, false),
        ("a broken subjectKeyIdentifier", &[2, 5, 29, 14], &[0xff], false, false),
        ("a second keyUsage", &[2, 5, 29, 15], &[3, 2, 7, 0x80], false, false),
        ("one unknown to all", &[1, 3, 9999, 1], &[5, 0], false, true),
    ];
    for (name, oid, content, critical, taken) in cases {
        let mut leaf = Ca::leaf(SERVER);
        let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
        extension.set_criticality(critical);
        leaf.custom_extensions.push(extension);
        match loaded(&root.issue(&leaf)) {
            Ok(()) => assert!(taken, "{name}"),
            Err(Error::PeerCertificateMalformed { position: 0, .. }) => assert!(!taken, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn a_name_that_is_no_ascii_is_refused() {
    let root = Ca::new();
    let mut leaf = Ca::leaf(SERVER);
    leaf.subject_alt_names.clear();
    // rfc822Name with a byte that IA5String has not.
    let names = [&[0x30, 8, 0x81, 6][..], b"a@b.c\xff"].concat();
    leaf.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], names));
    let error = loaded(&root.issue(&leaf)).expect_err("it must be refused");
    assert_eq!(error.reason(), Reason::PeerCertificateMalformed, "{error}");
}

#[test]
fn an_issuer_is_named_by_its_place_in_the_chain() {
    let root = Ca::new();
    let upper = root.intermediate("upper");
    let cannot_sign = root.intermediate_with("lower", |ca| ca.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let error = loaded(&chain(&cannot_sign, &[cannot_sign.der()])).expect_err("it must be refused");
    assert!(matches!(error, Error::PeerCertificateIssuerInvalid { position: 1, .. }), "{error}");

    let lower = upper.intermediate_with("lower", |ca| ca.is_ca = IsCa::ExplicitNoCa);
    let behind = [lower.der(), upper.der()];
    let error = loaded(&chain(&lower, &behind)).expect_err("it must be refused");
    assert!(matches!(error, Error::PeerCertificateIssuerInvalid { position: 1, .. }), "{error}");

    let foreign = Ca::new();
    let error = peer(&root, &chain(&upper, &[upper.der(), foreign.der()])).expect_err("it must be refused");
    assert!(matches!(error, Error::PeerCertificateChainBroken { position: 1 }), "{error}");

    let strict = Ca::with(|root| root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let below = strict.intermediate("below");
    let error = peer(&strict, &chain(&below, &[below.der()])).expect_err("it must be refused");
    assert!(matches!(error, Error::PeerCertificateIssuerInvalid { position: 1, .. }), "{error}");
}

#[test]
fn a_certificate_may_have_its_largest_size_and_not_a_byte_more() {
    let root = Ca::new();
    let sized = |filler: usize| {
        let mut leaf = Ca::leaf(SERVER);
        leaf.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 9999, 1], vec![5; filler]));
        root.issue(&leaf)
    };
    let overhead = sized(7_000).chain[0].len() - 7_000;
    assert_eq!(loaded(&sized(8_192 - overhead)), Ok(()));
    let error = loaded(&sized(8_193 - overhead)).expect_err("it must be refused");
    assert_eq!(error, Error::PeerCertificateTooLarge { position: 0, length: 8_193 });
}

/// A public key of the test's making.
struct OddKey(Vec<u8>, &'static SignatureAlgorithm);

impl PublicKeyData for OddKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.1
    }
}

#[test]
fn a_key_of_another_kind_or_form_is_refused() {
    let root = Ca::new();
    let cases = [
        ("Ed25519, a byte short", OddKey(vec![1; 31], &PKCS_ED25519)),
        ("Ed25519, as long as a point", OddKey(vec![4; 65], &PKCS_ED25519)),
        ("P-256, compressed", OddKey(vec![2; 33], &PKCS_ECDSA_P256_SHA256)),
        ("P-256, as long as Ed25519", OddKey(vec![4; 32], &PKCS_ECDSA_P256_SHA256)),
        ("P-384, as long as P-256", OddKey(vec![4; 65], &PKCS_ECDSA_P384_SHA384)),
    ];
    for (name, key) in cases {
        let issued = Issued { chain: vec![root.issue_for(&Ca::leaf(SERVER), &key)], key: vec![] };
        assert_eq!(loaded(&issued), Err(Error::PeerCertificateKeyUnsupported), "{name}");
    }
}
