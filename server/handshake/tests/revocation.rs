//! CRLs: whom they refuse, whom they leave alone, and when they must be renewed.

mod support;

use std::sync::Arc;

use alts_handshake::{
    Authority, Error, Handshake, Reason, Resumption, ServerSetup, SetupError, SystemRandom, Trust,
};
use pki_types::CertificateRevocationListDer;
use rcgen::{
    CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, ExtendedKeyUsagePurpose, KeyUsagePurpose,
    SerialNumber, date_time_ymd,
};
use support::{
    authority::{self, AUTHORITIES, Ca, Issued, NOW, SERVER, meet, now, san, setup},
    vectors::Tickets,
};

/// The serial number of every leaf here.
const LEAF: u64 = 7;

/// The serial number of every intermediate here.
const LOWER: u64 = 9;

type Crl = CertificateRevocationListDer<'static>;

fn lower_of(root: &Ca) -> Ca {
    root.intermediate_with("lower", |ca| ca.serial_number = Some(SerialNumber::from(LOWER)))
}

fn leaf_of(ca: &Ca) -> Issued {
    let mut issued = ca.issue(&Ca::leaf(SERVER));
    issued.chain.push(ca.der());
    issued
}

/// What a client that has these CRLs makes of a server now.
fn judged(root: &Ca, crls: &[Crl], issued: &Issued) -> Result<(), Error> {
    meet(root, &root.trust_with(0, crls), issued, NOW).map(|_| ())
}

/// For some of the certificates of an issuer.
fn scoped(ca: &Ca, revoked: &[u64], next_update: u64, scope: CrlScope) -> Crl {
    let distribution_point = CrlDistributionPoint { uris: vec!["http://crl.example/".to_owned()] };
    ca.crl_with(revoked, |crl| {
        crl.next_update = date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(next_update);
        crl.issuing_distribution_point =
            Some(CrlIssuingDistributionPoint { distribution_point, scope: Some(scope) });
    })
}

#[test]
fn a_revoked_certificate_is_refused_and_named() {
    let root = Ca::new();
    let lower = lower_of(&root);
    let (direct, below) = (leaf_of(&root), leaf_of(&lower));
    let revoked =
        |position, serial: &str| Err(Error::PeerCertificateRevoked { position, serial: serial.into() });
    assert_eq!(judged(&root, &[root.crl(&[LEAF])], &direct), revoked(0, "07"));
    assert_eq!(judged(&root, &[root.crl(&[]), lower.crl(&[LEAF])], &below), revoked(0, "07"));
    assert_eq!(judged(&root, &[root.crl(&[LOWER]), lower.crl(&[])], &below), revoked(1, "09"));
    assert_eq!(judged(&root, &[root.crl(&[1, 8, 0x07_00])], &direct), Ok(()));
    // A number counts only in the list of who gave it.
    assert_eq!(judged(&root, &[root.crl(&[LEAF]), lower.crl(&[LOWER])], &below), Ok(()));
}

#[test]
fn a_leaf_must_be_covered_and_an_issuer_need_not() {
    let root = Ca::new();
    let lower = lower_of(&root);
    let other = root.intermediate("other");
    let below = leaf_of(&lower);
    let unknown = Err(Error::PeerCertificateRevocationUnknown { authority: "prod.example".to_owned() });
    let far = NOW + 1_000_000;
    let cases = [
        ("the list of the leaf's issuer alone", vec![lower.crl(&[])], true),
        ("one for users", vec![scoped(&lower, &[], far, CrlScope::UserCertsOnly)], true),
        (
            "one for users beside one for CAs",
            vec![
                scoped(&lower, &[LEAF], far, CrlScope::CaCertsOnly),
                scoped(&lower, &[], far, CrlScope::UserCertsOnly),
            ],
            true,
        ),
        ("the list of the issuer above", vec![root.crl(&[])], false),
        ("the list of another issuer", vec![other.crl(&[])], false),
        ("one for CAs", vec![scoped(&lower, &[], far, CrlScope::CaCertsOnly)], false),
    ];
    for (name, crls, taken) in cases {
        let expected = if taken { Ok(()) } else { unknown.clone() };
        assert_eq!(judged(&root, &crls, &below), expected, "{name}");
    }
}

#[test]
fn no_list_hides_what_another_says() {
    let root = Ca::new();
    let issued = leaf_of(&root);
    let (clean, revoking) = (root.crl(&[]), root.crl(&[LEAF]));
    for crls in [[clean.clone(), revoking.clone()], [revoking.clone(), clean.clone()]] {
        assert_eq!(
            judged(&root, &crls, &issued).map_err(|error| error.reason()),
            Err(Reason::PeerCertificateRevoked)
        );
    }

    // The same for the lists of two authorities, where a leaf has names of both.
    let mut both = Ca::leaf(SERVER);
    both.subject_alt_names.push(san("spiffe://prod.example/cart"));
    let issued = root.issue(&both);
    let [mail, spiffe] = AUTHORITIES;
    let (clean, revoking, foreign) = ([clean], [revoking], [root.intermediate("other").crl(&[])]);
    type Case<'a> = (&'a [(&'a str, &'a [Crl])], Option<Reason>);
    let cases: [Case<'_>; 7] = [
        (&[(mail, &clean), (spiffe, &clean)], None),
        (&[(mail, &clean)], None),
        (&[(spiffe, &clean)], None),
        (&[(mail, &clean), (spiffe, &revoking)], Some(Reason::PeerCertificateRevoked)),
        (&[(mail, &revoking), (spiffe, &clean)], Some(Reason::PeerCertificateRevoked)),
        (&[(mail, &clean), (spiffe, &foreign)], Some(Reason::PeerCertificateRevocationUnknown)),
        (&[(mail, &foreign), (spiffe, &clean)], Some(Reason::PeerCertificateRevocationUnknown)),
    ];
    for (index, (crls, expected)) in cases.into_iter().enumerate() {
        let outcome = meet(&root, &root.trust_of(0, crls), &issued, NOW);
        assert_eq!(outcome.map_err(|error| error.reason()).err(), expected, "{index}");
    }
}

#[test]
fn an_authority_without_crls_is_not_asked_for_any() {
    let root = Ca::new();
    let revoking = [root.crl(&[LEAF])];
    let [mail, spiffe] = AUTHORITIES;
    let issued = leaf_of(&root);
    assert!(meet(&root, &root.trust_of(0, &[(spiffe, &revoking)]), &issued, NOW).is_ok());
    assert!(meet(&root, &root.trust_of(0, &[(mail, &[])]), &issued, NOW).is_ok());
    assert!(meet(&root, &root.trust_of(0, &[(mail, &revoking)]), &issued, NOW).is_err());
}

#[test]
fn a_list_that_its_issuer_may_not_or_did_not_sign_refuses_what_it_covers() {
    let (root, foreign) = (Ca::new(), Ca::new());
    let only_certificates =
        |name: &str| root.intermediate_with(name, |ca| ca.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    let (lower, silent) = (lower_of(&root), only_certificates("silent"));
    let silent_root = Ca::with(|root| root.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    let cases = [
        ("another key", &root, leaf_of(&root), vec![root.crl_signed_by(&foreign, &[], |_| ())]),
        (
            "another key, beside a good list",
            &root,
            leaf_of(&root),
            vec![root.crl(&[]), root.crl_signed_by(&foreign, &[], |_| ())],
        ),
        (
            "another key, for the issuer",
            &root,
            leaf_of(&lower),
            vec![lower.crl(&[]), root.crl_signed_by(&foreign, &[], |_| ())],
        ),
        ("no cRLSign", &root, leaf_of(&silent), vec![silent.crl(&[])]),
        ("no cRLSign in the root", &silent_root, leaf_of(&silent_root), vec![silent_root.crl(&[])]),
    ];
    for (name, root, issued, crls) in cases {
        let refused = judged(root, &crls, &issued).map_err(|error| error.reason());
        assert_eq!(refused, Err(Reason::PeerCertificateCrlInvalid), "{name}");
    }
    // One of an issuer that is not on the path does no harm.
    let crls = [root.crl(&[]), silent.crl(&[]), lower.crl_signed_by(&foreign, &[], |_| ())];
    assert_eq!(judged(&root, &crls, &leaf_of(&root)), Ok(()));
}

#[test]
fn a_root_that_was_renewed_with_crl_sign_signs_crls() {
    let root = Ca::with(|root| root.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    let (old, renewed, foreign) = (root.der(), root.renewed(|_| ()), Ca::new().der());
    let issued = leaf_of(&root);
    let cases = [
        (vec![old.clone(), renewed.clone()], true),
        (vec![renewed, old.clone()], true),
        // Of the same name, with another key.
        (vec![old, foreign], false),
    ];
    for (index, (roots, taken)) in cases.into_iter().enumerate() {
        let mut trust = Trust::default();
        let authority = || Authority::parse("prod.example").expect("it is an authority");
        trust.add(authority(), &roots).expect("the roots are usable");
        trust.add_crls(authority(), &[root.crl(&[])]).expect("the CRL is usable");
        let outcome = meet(&root, &Arc::new(trust), &issued, NOW).map_err(|error| error.reason());
        let expected = (!taken).then_some(Reason::PeerCertificateCrlInvalid);
        assert_eq!(outcome.err(), expected, "{index}");
    }
}

#[test]
fn a_list_counts_to_the_second_before_its_next_update_and_for_the_allowance() {
    let root = Ca::new();
    let lower = lower_of(&root);
    let end = NOW + 1_000;
    for (allowance, last) in [(0, end - 1), (60, end + 59)] {
        let cases = [
            ("of the leaf", leaf_of(&root), vec![root.crl_until(end, &[])]),
            ("of the issuer", leaf_of(&lower), vec![root.crl_until(end, &[]), lower.crl(&[])]),
            ("beside a newer one", leaf_of(&root), vec![root.crl_until(end, &[]), root.crl(&[])]),
        ];
        for (name, issued, crls) in cases {
            let at = |time| meet(&root, &root.trust_with(allowance, &crls), &issued, time).map(|_| ());
            assert_eq!(at(last), Ok(()), "{name}");
            let expired = Error::PeerCertificateCrlExpired { next_update: end, now: last + 1 };
            assert_eq!(at(last + 1), Err(expired), "{name}");
        }
    }
}

#[test]
fn a_list_that_covers_others_may_be_over() {
    let root = Ca::new();
    let crls = [
        scoped(&root, &[], NOW - 1_000, CrlScope::CaCertsOnly),
        scoped(&root, &[], NOW + 1_000, CrlScope::UserCertsOnly),
        root.intermediate("other").crl_until(NOW - 1_000, &[]),
    ];
    let (trust, issued) = (root.trust_with(0, &crls), leaf_of(&root));
    for _ in 0..2 {
        assert!(meet(&root, &trust, &issued, NOW).is_ok());
    }
}

#[test]
fn a_list_may_be_over_for_a_chain_that_the_allowance_has_saved() {
    let root = Ca::new();
    let mut leaf = Ca::leaf(SERVER);
    // 2026-07-01.
    let end = 1_782_864_000;
    leaf.not_after = date_time_ymd(2026, 7, 1);
    let issued = root.issue(&leaf);
    for (now, next_update, expected) in [
        (end + 50, end - 9, None),
        (end + 50, end - 10, Some(Reason::PeerCertificateCrlExpired)),
        (end + 60, end + 1, None),
        (end + 60, end, Some(Reason::PeerCertificateCrlExpired)),
        (end + 61, end + 1_000, Some(Reason::PeerCertificateExpired)),
    ] {
        let trust = root.trust_with(60, &[root.crl_until(next_update, &[])]);
        let outcome = meet(&root, &trust, &issued, now).map_err(|error| error.reason());
        assert_eq!(outcome.err(), expected, "{now} {next_update}");
    }
}

#[test]
fn a_remembered_chain_ends_with_its_lists() {
    let root = Ca::new();
    let lower = lower_of(&root);
    let end = NOW + 1_000;
    let crls = [root.crl_until(end, &[]), lower.crl(&[])];
    let (trust, issued) = (root.trust_with(0, &crls), leaf_of(&lower));
    for time in [NOW, NOW + 1, end - 1] {
        assert!(meet(&root, &trust, &issued, time).is_ok(), "{time}");
    }
    let error = meet(&root, &trust, &issued, end).map(|_| ()).expect_err("the list is over");
    assert_eq!(error, Error::PeerCertificateCrlExpired { next_update: end, now: end });
}

#[test]
fn a_ticket_ends_with_the_lists_that_its_peer_was_held_against() {
    let root = Ca::new();
    let issued = leaf_of(&root);
    // One that covers others, and is over, does not count.
    let crls = [scoped(&root, &[], NOW - 1, CrlScope::CaCertsOnly), root.crl_until(NOW + 100, &[])];
    let trust = root.trust_with(0, &crls);
    let common = setup(issued.credentials(), root.trust(), &[]);
    let resumption = Resumption { tickets: Arc::new(Tickets::default()), lifetime: 600 };
    let mut server = Handshake::server(ServerSetup { common, resumption: Some(resumption) });
    let (mut client, init) = authority::client(setup(root.credentials(SERVER), trust, &[]));
    let flight = server.step(&init, now(), &SystemRandom::new()).out_frames;
    let step = client.step(&flight, now(), &SystemRandom::new());
    let alts_handshake::Outcome::Done(established) = step.outcome else { panic!("it is honest") };
    let ticket = established.ticket.expect("a ticket came");
    assert_eq!(ticket.not_after.as_secs(), NOW + 99);
}

#[test]
fn own_credentials_that_are_revoked_are_told() {
    let root = Ca::new();
    let credentials = root.credentials(SERVER);
    let check = |crl: Crl| root.trust_with(60, &[crl]).check_own(&credentials, now());
    let unusable = |error| Err(SetupError::OwnCertificateUnusable(error));
    assert_eq!(check(root.crl(&[])), Ok(()));
    let serial = "07".to_owned();
    assert_eq!(check(root.crl(&[LEAF])), unusable(Error::PeerCertificateRevoked { position: 0, serial }));
}

#[test]
fn a_list_that_is_missing_or_outdated_does_not_keep_a_node_from_its_own_certificate() {
    let root = Ca::new();
    let credentials = root.credentials(SERVER);
    for crl in
        [root.crl_until(NOW, &[]), root.crl_until(NOW - 9_999, &[]), root.intermediate("another").crl(&[])]
    {
        assert_eq!(root.trust_with(60, &[crl]).check_own(&credentials, now()), Ok(()));
    }
}

#[test]
fn a_certificate_for_one_role_is_an_own_one_also_without_a_list_that_counts() {
    let root = Ca::new();
    for usage in [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth] {
        let mut leaf = Ca::leaf(SERVER);
        leaf.extended_key_usages = vec![usage.clone()];
        let credentials = root.issue(&leaf).credentials();
        for crl in [root.crl(&[]), root.crl_until(NOW, &[]), root.intermediate("another").crl(&[])] {
            assert_eq!(root.trust_with(0, &[crl]).check_own(&credentials, now()), Ok(()), "{usage:?}");
        }
    }
}

#[test]
fn what_a_list_has_revoked_stays_so_whatever_is_wrong_with_that_list_and_others() {
    let (root, foreign) = (Ca::new(), Ca::new());
    let credentials = root.credentials(SERVER);
    let revoked = Error::PeerCertificateRevoked { position: 0, serial: "07".to_owned() };
    let cases = [
        ("outdated", vec![root.crl_until(NOW - 1, &[LEAF])]),
        ("behind one that is outdated", vec![root.crl_until(NOW - 1, &[]), root.crl(&[LEAF])]),
        (
            "behind one that is signed by others",
            vec![root.crl_signed_by(&foreign, &[], |_| ()), root.crl(&[LEAF])],
        ),
    ];
    for (name, crls) in cases {
        assert_eq!(judged(&root, &crls, &leaf_of(&root)), Err(revoked.clone()), "{name}");
        let own = root.trust_with(0, &crls).check_own(&credentials, now());
        assert_eq!(own, Err(SetupError::OwnCertificateUnusable(revoked.clone())), "{name}");
    }
    // The same for the lists of two authorities.
    let mut both = Ca::leaf(SERVER);
    both.subject_alt_names.push(san("spiffe://prod.example/cart"));
    let issued = root.issue(&both);
    let [mail, spiffe] = AUTHORITIES;
    let (missing, revoking) = ([root.intermediate("other").crl(&[])], [root.crl(&[LEAF])]);
    for crls in [[(mail, &missing[..]), (spiffe, &revoking[..])], [(mail, &revoking), (spiffe, &missing)]] {
        let trust = root.trust_of(0, &crls);
        assert_eq!(meet(&root, &trust, &issued, NOW).map(drop), Err(revoked.clone()));
        assert!(trust.check_own(&issued.credentials(), now()).is_err());
    }
}

#[test]
fn the_next_update_is_the_earliest_of_all() {
    let root = Ca::new();
    assert_eq!(root.trust().next_crl_update(), None);
    let [mail, spiffe] = AUTHORITIES;
    let (late, early) = ([root.crl(&[])], [root.crl_until(NOW + 50, &[]), root.crl_until(NOW + 5, &[])]);
    let trust = root.trust_of(60, &[(mail, &late), (spiffe, &early)]);
    assert_eq!(trust.next_crl_update(), Some(NOW + 5));
}

/// A list with these bytes in place of those.
fn patched(crl: &Crl, from: &[u8], to: &[u8]) -> Crl {
    let mut der = crl.to_vec();
    let at = der.windows(from.len()).position(|window| window == from).expect("the bytes are there");
    der[at..at + from.len()].copy_from_slice(to);
    der.into()
}

#[test]
fn a_list_that_cannot_be_used_is_refused_when_it_is_configured() {
    let root = Ca::new();
    let (good, users) = (root.crl(&[LEAF]), scoped(&root, &[], NOW, CrlScope::UserCertsOnly));
    let number = [0x55, 0x1d, 20];
    let users_only = [0x81, 1, 0xff];
    let cases: [(&str, Crl); 9] = [
        ("it is a delta CRL", patched(&good, &number, &[0x55, 0x1d, 27])),
        ("it is an indirect CRL", patched(&users, &users_only, &[0x84, 1, 0xff])),
        ("it holds some reasons only", patched(&users, &users_only, &[0x83, 1, 0])),
        ("it has no cRLNumber", patched(&good, &number, &[0x55, 0x1d, 99])),
        ("it is no CRL", good[..good.len() - 1].to_vec().into()),
        ("it is no CRL", [&good[..], &[0]].concat().into()),
        ("it is no CRL", b"no CRL".to_vec().into()),
        ("it is no CRL", root.der().to_vec().into()),
        ("it is no CRL", Vec::new().into()),
    ];
    for (expected, crl) in cases {
        let mut trust = Trust::default();
        let authority = Authority::parse("prod.example").expect("it is an authority");
        match trust.add_crls(authority, &[good.clone(), crl]) {
            Err(SetupError::CrlUnusable { authority, problem }) => {
                assert_eq!(authority, "prod.example");
                assert!(problem.starts_with(expected), "{expected}: {problem}");
            }
            other => panic!("{expected}: {other:?}"),
        }
        assert_eq!(trust.next_crl_update(), None, "all are taken or none");
    }
}

#[test]
fn an_authority_has_at_most_256_lists() {
    let root = Ca::new();
    let mut trust = Trust::default();
    let authority = |name| Authority::parse(name).expect("it is an authority");
    let crls = vec![root.crl(&[]); 256];
    assert_eq!(trust.add_crls(authority("prod.example"), &crls), Ok(()));
    assert_eq!(trust.add_crls(authority("other.example"), &crls), Ok(()));
    let too_many = SetupError::CrlsTooMany { authority: "prod.example".to_owned(), count: 257 };
    assert_eq!(trust.add_crls(authority("prod.example"), &crls[..1]), Err(too_many));
}
