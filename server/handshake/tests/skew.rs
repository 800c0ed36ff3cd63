//! How far the clock of a peer may be from the own one.

mod support;

use std::time::Duration;

use alts_handshake::{Error, Handshake, MAX_SKEW_ALLOWANCE, Outcome, Reason, SetupError, SystemRandom};
use rcgen::date_time_ymd;
use support::authority::{self, CLIENT, Ca, Issued, NOW, SERVER, at, meet, setup};

/// 2026-05-01 and 2026-07-01.
const BEGIN: u64 = 1_777_593_600;
const END: u64 = 1_782_864_000;

/// A leaf that is valid from `BEGIN` to `END`.
fn short(ca: &Ca) -> Issued {
    let mut leaf = Ca::leaf(SERVER);
    leaf.not_before = date_time_ymd(2026, 5, 1);
    leaf.not_after = date_time_ymd(2026, 7, 1);
    ca.issue(&leaf)
}

/// What a client makes of it at this time: the skew that it found, or its reason.
fn skew(root: &Ca, allowance: u64, issued: &Issued, time: u64) -> Result<u64, Reason> {
    let established = meet(root, &root.trust_with(allowance, &[]), issued, time);
    established.map(|established| established.peer_clock_skew.as_secs()).map_err(|error| error.reason())
}

#[test]
fn a_chain_is_taken_within_the_allowance_on_both_sides_and_not_a_second_further() {
    let root = Ca::new();
    let issued = short(&root);
    let (early, late) = (Err(Reason::PeerCertificateNotYetValid), Err(Reason::PeerCertificateExpired));
    let cases = [
        (0, BEGIN - 1, early),
        (0, BEGIN, Ok(0)),
        (0, END, Ok(0)),
        (0, END + 1, late),
        (60, BEGIN - 61, early),
        (60, BEGIN - 60, Ok(60)),
        (60, BEGIN - 1, Ok(1)),
        (60, BEGIN, Ok(0)),
        (60, NOW, Ok(0)),
        (60, END, Ok(0)),
        (60, END + 1, Ok(1)),
        (60, END + 60, Ok(60)),
        (60, END + 61, late),
        (7, END + 7, Ok(7)),
        (7, END + 8, late),
        // More than the specification allows for counts as the most.
        (3_600, END + 60, Ok(60)),
        (3_600, END + 61, late),
        (u64::MAX, BEGIN - 61, early),
    ];
    for (allowance, time, expected) in cases {
        assert_eq!(skew(&root, allowance, &issued, time), expected, "{allowance} {time}");
    }
    assert_eq!(MAX_SKEW_ALLOWANCE, Duration::from_secs(60));
}

#[test]
fn a_refusal_tells_the_time_of_the_clock_and_not_another() {
    let root = Ca::new();
    let error = meet(&root, &root.trust_with(60, &[]), &short(&root), END + 61).map(|_| ());
    assert_eq!(error, Err(Error::PeerCertificateExpired { not_after: END, now: END + 61 }));
}

#[test]
fn a_remembered_chain_is_taken_as_long_and_tells_its_skew_each_time() {
    let root = Ca::new();
    let (trust, issued) = (root.trust_with(60, &[]), short(&root));
    let at =
        |time| meet(&root, &trust, &issued, time).map(|established| established.peer_clock_skew.as_secs());
    for (time, expected) in [(NOW, 0), (END + 10, 10), (END, 0), (END + 60, 60), (BEGIN - 60, 60), (NOW, 0)] {
        assert_eq!(at(time), Ok(expected), "{time}");
    }
    assert_eq!(at(END + 61).map_err(|error| error.reason()), Err(Reason::PeerCertificateExpired));
    assert_eq!(at(BEGIN - 61).map_err(|error| error.reason()), Err(Reason::PeerCertificateNotYetValid));
    // The same if its first time was already outside.
    let trust = root.trust_with(60, &[]);
    for (time, expected) in [(END + 60, 60), (END + 1, 1), (NOW, 0)] {
        let established = meet(&root, &trust, &issued, time).expect("it is within the allowance");
        assert_eq!(established.peer_clock_skew, Duration::from_secs(expected), "{time}");
    }
    assert!(meet(&root, &trust, &issued, END + 61).is_err());
}

#[test]
fn every_certificate_of_the_path_counts_but_not_the_root() {
    let root = Ca::new();
    let below = |lower: &Ca| {
        let mut issued = lower.issue(&Ca::leaf(SERVER));
        issued.chain.push(lower.der());
        issued
    };
    let lower = root.intermediate_with("lower", |ca| ca.not_after = date_time_ymd(2026, 7, 1));
    assert_eq!(skew(&root, 60, &below(&lower), END + 60), Ok(60));
    assert_eq!(skew(&root, 60, &below(&lower), END + 61), Err(Reason::PeerCertificateExpired));

    // A copy of the root that ends long before the leaf.
    let mut behind = short(&root);
    behind.chain.push(root.renewed(|root| root.not_after = date_time_ymd(2026, 6, 15)));
    assert_eq!(skew(&root, 60, &behind, END), Ok(0));
    assert_eq!(skew(&root, 60, &behind, END + 60), Ok(60));
}

#[test]
fn a_server_allows_its_client_as_much() {
    let root = Ca::new();
    let mut leaf = Ca::leaf(CLIENT);
    leaf.not_after = date_time_ymd(2026, 7, 1);
    let credentials = root.issue(&leaf).credentials();
    for (time, expected) in
        [(END, Ok(0)), (END + 60, Ok(60)), (END + 61, Err(Reason::PeerCertificateExpired))]
    {
        let client = setup(credentials.clone(), root.trust(), &[]);
        let (mut client, init) = authority::client(client);
        let mut server = authority::server(setup(root.credentials(SERVER), root.trust_with(60, &[]), &[]));
        let random = SystemRandom::new();
        let flight = server.step(&init, at(time), &random).out_frames;
        let last = client.step(&flight, at(END), &random).out_frames;
        let skew = match server.step(&last, at(time), &random).outcome {
            Outcome::Done(established) => Ok(established.peer_clock_skew.as_secs()),
            Outcome::Failed(error) => Err(error.reason()),
            Outcome::NeedsInput => panic!("it wants more input"),
        };
        assert_eq!(skew, expected, "{time}");
    }
}

#[test]
fn own_credentials_are_judged_without_an_allowance() {
    let root = Ca::new();
    let (trust, credentials) = (root.trust_with(60, &[]), short(&root).credentials());
    assert_eq!(trust.check_own(&credentials, at(END)), Ok(()));
    for time in [BEGIN - 1, END + 1] {
        let error = trust.check_own(&credentials, at(time)).expect_err("it is not valid");
        assert!(matches!(error, SetupError::OwnCertificateUnusable(_)), "{error}");
        let setup = setup(credentials.clone(), trust.clone(), &[]);
        let setup = alts_handshake::ClientSetup { common: setup, ticket: None, grease: None };
        let error =
            Handshake::client(setup, at(time), &SystemRandom::new()).map(|_| ()).expect_err("likewise");
        assert_eq!(error.reason(), Reason::OwnCertificateNotValid);
    }
}
