//! Every reason for which the engine refuses is produced here by input that earns it: by the vectors, and by the
//! cases below where no vector has it.

mod support;

use std::collections::BTreeSet;

use alts_handshake::{
    Authority, Credentials, Error, ExpectedPeers, Handshake, Outcome, Preferences, Reason, RpcVersions,
    ServerSetup, Setup, SetupError, SetupReason, SystemRandom, Trust,
};
use pki_types::{CertificateDer, CertificateRevocationListDer, PrivatePkcs8KeyDer};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P384_SHA384, date_time_ymd,
};
use strum::IntoEnumIterator;
use support::{
    authority::{self, CLIENT, Ca, Issued, NOW, SERVER, at, now, san, setup},
    vectors::Vectors,
};

/// Reasons that no input gives: of a broken cryptographic library, for which `crypto.rs` has a test of its own, and
/// those of who decides on peers, for which `admission.rs` is the test.
const NOT_OF_INPUT: [Reason; 5] = [
    Reason::CryptoFailed,
    Reason::PeerDenied,
    Reason::PeerRevoked,
    Reason::PeerNotTarget,
    Reason::AdmissionUnknown,
];

#[test]
fn every_reason_is_produced_by_some_input() {
    let vectors = Vectors::load();
    let of_vectors = vectors.refused.iter().filter(|case| !case.is_hybrid()).map(|case| {
        match case.run(&vectors).expect("the case runs").0.outcome {
            Outcome::Failed(error) => error.reason(),
            _ => panic!("{} was taken", case.name),
        }
    });
    let own = [spoiled_leaves(), moved_clocks(), single_cases(), under_crls()].concat();
    let produced: BTreeSet<_> = of_vectors.chain(own.iter().map(Error::reason)).map(Reason::code).collect();
    let known: BTreeSet<_> =
        Reason::iter().filter(|reason| !NOT_OF_INPUT.contains(reason)).map(Reason::code).collect();
    assert_eq!(produced, known);
}

#[test]
fn a_reason_has_its_stable_code() {
    assert_eq!(Reason::PeerCertificateExpired.code(), "peer_certificate_expired");
    assert_eq!(Reason::HandshakeOver.code(), "handshake_over");
    assert_eq!(SetupError::OwnKeyUnusable.code(), "own_key_unusable");
}

#[test]
fn a_spoiled_leaf_is_refused_for_what_is_wrong_with_it() {
    spoiled_leaves();
}

#[test]
fn a_chain_outside_its_time_is_refused() {
    moved_clocks();
}

/// What a test does to a good leaf.
type Spoil = fn(&mut CertificateParams);

/// Runs every case, and returns the errors; each must have its reason.
fn spoiled_leaves() -> Vec<Error> {
    let cases: [(&str, Spoil, Reason); 12] = [
        ("no identity", |leaf| leaf.subject_alt_names.clear(), Reason::PeerCertificateWithoutIdentity),
        (
            "two mail names",
            |leaf| leaf.subject_alt_names.push(san("other@prod.example")),
            Reason::PeerCertificateAmbiguous,
        ),
        (
            "an authority without roots",
            |leaf| leaf.subject_alt_names = vec![san("cart@other.example")],
            Reason::PeerCertificateAuthorityUnknown,
        ),
        (
            "an authority without roots beside one with them",
            |leaf| leaf.subject_alt_names.push(san("spiffe://other.example/cart")),
            Reason::PeerCertificateAuthorityUnknown,
        ),
        (
            "a URI that is no SPIFFE ID",
            |leaf| leaf.subject_alt_names.push(san("spiffe://prod.example")),
            Reason::PeerCertificateNameInvalid,
        ),
        ("a CA", |leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), Reason::PeerCertificateIsCa),
        ("no keyUsage", |leaf| leaf.key_usages.clear(), Reason::PeerCertificateKeyUsageWrong),
        (
            "no digitalSignature",
            |leaf| leaf.key_usages = vec![KeyUsagePurpose::KeyAgreement],
            Reason::PeerCertificateKeyUsageWrong,
        ),
        (
            "cRLSign",
            |leaf| leaf.key_usages.push(KeyUsagePurpose::CrlSign),
            Reason::PeerCertificateKeyUsageWrong,
        ),
        (
            "clientAuth only",
            |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            Reason::PeerCertificatePurposeWrong,
        ),
        (
            "anyExtendedKeyUsage only",
            |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any],
            Reason::PeerCertificatePurposeWrong,
        ),
        (
            "an unknown critical extension",
            |leaf| {
                let mut extension = CustomExtension::from_oid_content(&[1, 3, 9999, 1], vec![5, 0]);
                extension.set_criticality(true);
                leaf.custom_extensions.push(extension);
            },
            Reason::PeerCertificateInvalid,
        ),
    ];
    let ca = Ca::new();
    let run = |(name, spoil, reason): (&str, Spoil, Reason)| {
        let mut leaf = Ca::leaf(SERVER);
        spoil(&mut leaf);
        let error = refused_by_client(&ca, ca.issue(&leaf), NOW);
        assert_eq!(error.reason(), reason, "{name}: {error}");
        error
    };
    cases.into_iter().map(run).collect()
}

fn moved_clocks() -> Vec<Error> {
    let ca = Ca::new();
    let mut short = Ca::leaf(SERVER);
    short.not_before = date_time_ymd(2026, 5, 1);
    short.not_after = date_time_ymd(2026, 7, 1);
    let (begin, end) = (1_777_593_600, 1_782_864_000);
    let cases = [(begin - 1, Reason::PeerCertificateNotYetValid), (end + 1, Reason::PeerCertificateExpired)];
    let mut errors = Vec::new();
    for (time, reason) in cases {
        let error = refused_by_client(&ca, ca.issue(&short), time);
        assert_eq!(error.reason(), reason, "{error}");
        errors.push(error);
    }
    errors
}

fn single_cases() -> Vec<Error> {
    let ca = Ca::new();
    let mut own_expired = Ca::leaf(CLIENT);
    own_expired.not_after = date_time_ymd(2026, 2, 1);
    let expired = setup(ca.issue(&own_expired).credentials(), ca.trust(), &[]);
    let (mut over, client_init) = authority::client(setup(ca.credentials(CLIENT), ca.trust(), &[]));
    let _ = over.step(&client_init, now(), &SystemRandom::new());

    let mut p384 = ca.issue(&Ca::leaf(SERVER));
    let key = rcgen::KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key can be made");
    let foreign = Ca::leaf(SERVER).self_signed(&key).expect("a certificate can be made");
    p384.chain = vec![foreign.der().clone()];

    let mut two_leaves = ca.issue(&Ca::leaf(SERVER));
    two_leaves.chain.push(ca.issue(&Ca::leaf(CLIENT)).chain[0].clone());

    let cases = [
        (failure(&mut begin_server(expired), &client_init), Reason::OwnCertificateNotValid),
        (failure(&mut over, b"more"), Reason::HandshakeOver),
        (read_error(&p384), Reason::PeerCertificateKeyUnsupported),
        (read_error(&two_leaves), Reason::PeerCertificateChainBroken),
    ];
    for (error, reason) in &cases {
        assert_eq!(error.reason(), *reason, "{error}");
    }
    cases.into_iter().map(|(error, _)| error).collect()
}

/// Each reason that CRLs give once; `revocation.rs` has the cases.
fn under_crls() -> Vec<Error> {
    let (ca, foreign) = (Ca::new(), Ca::new());
    let issued = ca.issue(&Ca::leaf(SERVER));
    let cases = [
        (ca.crl(&[7]), Reason::PeerCertificateRevoked),
        (ca.intermediate("other").crl(&[]), Reason::PeerCertificateRevocationUnknown),
        (ca.crl_until(NOW, &[]), Reason::PeerCertificateCrlExpired),
        (ca.crl_signed_by(&foreign, &[], |_| ()), Reason::PeerCertificateCrlInvalid),
    ];
    let run = |(crl, reason)| {
        let outcome = authority::meet(&ca, &ca.trust_with(0, &[crl]), &issued, NOW);
        let error = outcome.map(|_| ()).expect_err("it must be refused");
        assert_eq!(error.reason(), reason, "{error}");
        error
    };
    cases.into_iter().map(run).collect()
}

/// What reading a chain of one's own makes of it: the same rules as for a peer's.
fn read_error(issued: &Issued) -> Error {
    let key = PrivatePkcs8KeyDer::from(issued.key.clone());
    match Credentials::new(&issued.chain, &key, &SystemRandom::new()) {
        Err(SetupError::OwnCertificateUnusable(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the chain was taken"),
    }
}

/// A client's error about a server that proves itself with these credentials. Spoiled credentials that can't
/// even be loaded as one's own fail by the same rules.
fn refused_by_client(ca: &Ca, issued: Issued, time: u64) -> Error {
    let key = PrivatePkcs8KeyDer::from(issued.key.clone());
    let credentials = match Credentials::new(&issued.chain, &key, &SystemRandom::new()) {
        Ok(credentials) => credentials.into(),
        Err(SetupError::OwnCertificateUnusable(error)) => return error,
        Err(other) => panic!("{other}"),
    };
    let (mut client, client_init) = authority::client(setup(ca.credentials(CLIENT), ca.trust(), &[]));
    let mut server = begin_server(setup(credentials, ca.trust(), &[]));
    let flight = server.step(&client_init, now(), &SystemRandom::new()).out_frames;
    match client.step(&flight, at(time), &SystemRandom::new()).outcome {
        Outcome::Failed(error) => error,
        _ => panic!("the server was accepted"),
    }
}

fn begin_server(setup: Setup) -> Handshake {
    Handshake::server(ServerSetup { common: setup, resumption: None })
}

fn failure(handshake: &mut Handshake, input: &[u8]) -> Error {
    match handshake.step(input, now(), &SystemRandom::new()).outcome {
        Outcome::Failed(error) => error,
        _ => panic!("the input was taken"),
    }
}

#[test]
fn every_fault_of_a_setup_is_produced_by_some_input() {
    let ca = Ca::new();
    let good = ca.issue(&Ca::leaf(SERVER));
    let other = ca.issue(&Ca::leaf(SERVER));
    let large = chain_of_the_largest_certificates();
    let mut constrained = CertificateParams::default();
    constrained.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    constrained.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::Rfc822Name("prod.example".to_owned())],
        excluded_subtrees: vec![],
    });
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let constrained = constrained.self_signed(&key).expect("a root can be made").der().clone();

    let cases = [
        (preferences(&[], &["grpc"]), SetupReason::ProtocolsMissing),
        (preferences(&["R"], &[]), SetupReason::ProtocolsMissing),
        (preferences(&["R"; 9], &["grpc"]), SetupReason::ProtocolsTooMany),
        (preferences(&["R"], &["with space"]), SetupReason::ProtocolNameInvalid),
        (preferences(&[""], &["grpc"]), SetupReason::ProtocolNameInvalid),
        (preferences(&[&"x".repeat(65)], &["grpc"]), SetupReason::ProtocolNameInvalid),
        (preferences(&["ALTSRP_GMAC_128"], &["grpc"]), SetupReason::RecordProtocolUnknown),
        (credentials(&[], &good.key), SetupReason::OwnChainLength),
        (credentials(&vec![good.chain[0].clone(); 5], &good.key), SetupReason::OwnChainLength),
        (credentials(&large.chain, &large.key), SetupReason::OwnChainTooLarge),
        (credentials(&[CertificateDer::from(vec![0x30, 0])], &good.key), SetupReason::OwnCertificateUnusable),
        (credentials(&good.chain, b"no key"), SetupReason::OwnKeyUnusable),
        (credentials(&good.chain, &other.key), SetupReason::OwnKeyForeign),
        (Authority::parse("not a domain").err(), SetupReason::AuthorityInvalid),
        (Authority::parse("spiffe://prod.example/path").err(), SetupReason::AuthorityInvalid),
        (Authority::parse("").err(), SetupReason::AuthorityInvalid),
        (root(CertificateDer::from(b"no root".to_vec())), SetupReason::RootUnusable),
        (root(good.chain[0].clone()), SetupReason::RootUnusable),
        (root(constrained), SetupReason::RootUnusable),
        (crls(&[b"no CRL".to_vec().into()]), SetupReason::CrlUnusable),
        (crls(&vec![ca.crl(&[]); 257]), SetupReason::CrlsTooMany),
    ];
    let mut produced = BTreeSet::new();
    for (error, reason) in cases {
        let error = error.unwrap_or_else(|| panic!("the case for {reason:?} was taken"));
        assert_eq!(SetupReason::from(&error), reason, "{error}");
        produced.insert(error.code());
    }
    assert_eq!(produced, SetupReason::iter().map(<&str>::from).collect());
}

/// Four certificates, each just within its limit, that together do not fit into a message.
fn chain_of_the_largest_certificates() -> Issued {
    let filler = |length| CustomExtension::from_oid_content(&[1, 3, 9999, 1], vec![5; length]);
    let root = Ca::with(|root| root.custom_extensions.push(filler(7_860)));
    let mut leaf = Ca::leaf(SERVER);
    leaf.custom_extensions.push(filler(7_800));
    let mut issued = root.issue(&leaf);
    issued.chain.extend([(); 3].map(|()| root.der()));
    let lengths: Vec<_> = issued.chain.iter().map(|der| der.len()).collect();
    assert!(lengths.iter().all(|length| *length <= 8_192), "{lengths:?}");
    issued
}

fn preferences(record: &[&str], application: &[&str]) -> Option<SetupError> {
    Preferences::new(record, application, &[], RpcVersions::default(), 0)
        .and_then(Preferences::with_known_record_protocols)
        .err()
}

fn credentials(chain: &[CertificateDer<'static>], key: &[u8]) -> Option<SetupError> {
    Credentials::new(chain, &PrivatePkcs8KeyDer::from(key), &SystemRandom::new()).err()
}

fn crls(crls: &[CertificateRevocationListDer<'_>]) -> Option<SetupError> {
    let authority = Authority::parse("prod.example").expect("it is an authority");
    Trust::default().add_crls(authority, crls).err()
}

fn root(der: CertificateDer<'static>) -> Option<SetupError> {
    let authority = Authority::parse("prod.example").expect("it is an authority");
    Trust::default().add(authority, &[der]).err()
}

#[test]
fn credentials_tell_when_they_begin_and_end() {
    let ca = Ca::new();
    let mut leaf = Ca::leaf(SERVER);
    leaf.not_before = date_time_ymd(2026, 5, 1);
    leaf.not_after = date_time_ymd(2026, 7, 1);
    assert_eq!(ca.issue(&leaf).credentials().validity(), (1_777_593_600, 1_782_864_000));
}

#[test]
fn credentials_tell_an_operator_what_they_are() {
    let ca = Ca::new();
    let mut leaf = Ca::leaf(SERVER);
    leaf.distinguished_name.push(rcgen::DnType::CommonName, "cart\x1b[2J\n");
    leaf.serial_number = Some(rcgen::SerialNumber::from(0x80_00_ab_u64));
    let mut issued = ca.issue(&leaf);
    issued.chain.push(ca.der());
    let credentials = issued.credentials();
    let info = credentials.certificate();
    assert_eq!((info.facts.serial.as_str(), info.key, info.chain_len), ("8000ab", "Ed25519", 2));
    assert_eq!(
        (info.facts.subject.as_str(), info.facts.issuer.as_str()),
        ("CN=cart\\u{1b}[2J\\n", "CN=test root")
    );
    // 2026-01-01 and 2027-01-01; the root's validity is no part of it.
    assert_eq!((info.not_before, info.not_after), (1_767_225_600, 1_798_761_600));
    let hash = ring::digest::digest(&ring::digest::SHA256, &issued.chain[0]);
    assert_eq!(&info.facts.sha256[..], hash.as_ref());
    let sent: Vec<_> = issued.chain.iter().map(|der| der.to_vec()).collect();
    assert_eq!(credentials.chain_der(), sent);
}

#[test]
fn own_credentials_must_lead_to_a_configured_root_and_be_valid() {
    let (ca, other) = (Ca::new(), Ca::new());
    let credentials = ca.credentials(SERVER);
    assert_eq!(ca.trust().check_own(&credentials, now()), Ok(()));
    for (trust, time) in [(other.trust(), NOW), (ca.trust(), 0), (ca.trust(), u32::MAX.into())] {
        let error = trust.check_own(&credentials, at(time)).expect_err("it must be refused");
        assert!(matches!(error, SetupError::OwnCertificateUnusable(_)), "{error}");
    }
}

#[test]
fn the_peers_that_a_request_accepts_are_the_only_ones() {
    let ca = Ca::new();
    let cases: [(&[&str], bool); 5] = [
        (&[], true),
        (&["cart@PROD.example"], true),
        (&["other@prod.example", SERVER], true),
        (&["other@prod.example"], false),
        (&["CART@prod.example"], false),
    ];
    for (accept, taken) in cases {
        let (mut client, client_init) = authority::client(setup(ca.credentials(CLIENT), ca.trust(), accept));
        let mut server = begin_server(setup(ca.credentials(SERVER), ca.trust(), &[]));
        let flight = server.step(&client_init, now(), &SystemRandom::new()).out_frames;
        let step = client.step(&flight, now(), &SystemRandom::new());
        match step.outcome {
            Outcome::Done(_) => assert!(taken, "{accept:?}"),
            Outcome::Failed(Error::PeerNotExpected { .. }) => assert!(!taken, "{accept:?}"),
            Outcome::Failed(error) => panic!("{error}"),
            Outcome::NeedsInput => panic!("it wants more input"),
        }
    }
    assert_eq!(ExpectedPeers::new(["a@B", "c"]).to_string(), "a@b, c");
}
