//! Chains of more than a leaf: what may stand behind it, and what a root allows below itself.

mod support;

use alts_handshake::{Authority, Error, Outcome, Reason, SetupError, SystemRandom, Trust};
use pki_types::CertificateDer;
use rcgen::{BasicConstraints, CustomExtension, IsCa, date_time_ymd};
use support::authority::{self, CLIENT, Ca, Issued, SERVER, now, setup};

/// What a client makes of a server with this chain.
fn peer(root: &Ca, issued: &Issued) -> Result<(), Error> {
    let (mut client, client_init) = authority::client(setup(root.credentials(CLIENT), root.trust(), &[]));
    let mut server = authority::server(setup(issued.credentials(), root.trust(), &[]));
    let flight = server.step(&client_init, now(), &SystemRandom::new()).out_frames;
    match client.step(&flight, now(), &SystemRandom::new()).outcome {
        Outcome::Done(_) => Ok(()),
        Outcome::Failed(error) => Err(error),
        Outcome::NeedsInput => panic!("it wants more input"),
    }
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

#[test]
fn a_critical_extension_that_nobody_reads_is_refused() {
    let root = Ca::new();
    let mut leaf = Ca::leaf(SERVER);
    // cRLDistributionPoints, empty.
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 31], vec![0x30, 0]);
    extension.set_criticality(true);
    leaf.custom_extensions.push(extension);
    let issued = root.issue(&leaf);
    let key = pki_types::PrivatePkcs8KeyDer::from(issued.key.clone());
    let error = alts_handshake::Credentials::new(&issued.chain, &key, &SystemRandom::new());
    let error = error.err().expect("it must be refused");
    assert!(error.to_string().contains("certificate 0 does not parse"), "{error}");
}
