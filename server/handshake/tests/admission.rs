//! Whether an authenticated peer is acceptable is asked at both ends, after it has proved itself and before anything
//! is handed out.

mod support;

use std::sync::{Arc, Mutex};

use alts_handshake::{
    Admission, Alert, CertificateFacts, Error, Established, NotAdmitted, Outcome, Peer, Setup, SystemRandom,
};
use pki_types::UnixTime;
use support::authority::{self, CLIENT, Ca, NOW, SERVER, at, now, setup};

/// Answers always the same, and keeps what it was asked.
struct Judge {
    answer: Result<(), NotAdmitted>,
    asked: Mutex<Vec<(Peer, UnixTime)>>,
}

impl Judge {
    fn who_says(answer: Result<(), NotAdmitted>) -> Arc<Self> {
        Arc::new(Self { answer, asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<(Peer, UnixTime)> {
        self.asked.lock().expect("nobody panics").clone()
    }
}

impl Admission for Judge {
    fn admit(&self, peer: &Peer, now: UnixTime) -> Result<(), NotAdmitted> {
        self.asked.lock().expect("nobody panics").push((peer.clone(), now));
        self.answer.clone()
    }
}

fn judged(ca: &Ca, account: &str, judge: &Arc<Judge>, accept: &[&str]) -> Setup {
    Setup { admission: judge.clone(), ..setup(ca.credentials(account), ca.trust(), accept) }
}

/// What each end makes of the other.
struct Met {
    client: Outcome,
    /// What the client sent after the server's proof.
    last: Vec<u8>,
    /// None if there was nothing to take.
    server: Option<Outcome>,
    /// What the server sent last.
    reply: Vec<u8>,
}

fn meet(client: Setup, server: Setup) -> Met {
    let random = SystemRandom::new();
    let (mut client, init) = authority::client(client);
    let mut server = authority::server(server);
    let flight = server.step(&init, now(), &random).out_frames;
    let last = client.step(&flight, now(), &random);
    let end = server.step(&last.out_frames, now(), &random);
    Met { client: last.outcome, last: last.out_frames, server: Some(end.outcome), reply: end.out_frames }
}

fn established(outcome: &Outcome) -> &Established {
    match outcome {
        Outcome::Done(established) => established,
        Outcome::Failed(error) => panic!("{error}"),
        Outcome::NeedsInput => panic!("it wants more input"),
    }
}

fn error(outcome: Option<&Outcome>) -> &Error {
    match outcome {
        Some(Outcome::Failed(error)) => error,
        _ => panic!("it did not fail"),
    }
}

/// Length 6, type 5, code: specification sections 2 and 12.
fn frame_of(alert: Alert) -> Vec<u8> {
    [&6_u32.to_le_bytes()[..], &5_u32.to_le_bytes(), &alert.code().to_le_bytes()].concat()
}

#[test]
fn each_end_is_asked_once_about_the_other_with_all_that_its_chain_says() {
    let ca = Ca::new();
    let judges = [Judge::who_says(Ok(())), Judge::who_says(Ok(()))];
    let met = meet(judged(&ca, CLIENT, &judges[0], &[]), judged(&ca, SERVER, &judges[1], &[]));
    established(&met.client);
    established(met.server.as_ref().expect("it had something to take"));
    for (judge, account) in judges.iter().zip([SERVER, CLIENT]) {
        let asked = judge.asked();
        let [(peer, time)] = asked.as_slice() else { panic!("{account}: {} questions", asked.len()) };
        assert_eq!((peer.identity.account(), *time), (account, at(NOW)));
        let leaf = peer.certificates.first().expect("there is a leaf");
        assert!(!leaf.serial.is_empty() && !leaf.issuer.is_empty(), "{leaf:?}");
        assert_ne!(leaf.sha256, leaf.key_sha256);
    }
}

#[test]
fn the_root_that_vouches_is_among_what_a_peer_is_judged_by_once_whether_it_is_sent_or_not() {
    let ca = Ca::new();
    let mut with_root = ca.issue(&Ca::leaf(SERVER));
    let root = CertificateFacts::of_der(&ca.der()).expect("it is one");
    let without_root = with_root.credentials();
    with_root.chain.push(ca.der());
    for server in [without_root, with_root.credentials()] {
        let judge = Judge::who_says(Ok(()));
        let met = meet(judged(&ca, CLIENT, &judge, &[]), setup(server, ca.trust(), &[]));
        established(&met.client);
        let asked = judge.asked();
        let certificates = &asked[0].0.certificates;
        assert_eq!((certificates.len(), certificates.last()), (2, Some(&root)));
    }
}

#[test]
fn a_server_that_is_not_acceptable_gets_an_alert_and_no_proof_of_the_client() {
    let cases = [
        (NotAdmitted::Denied("x".to_owned()), Error::PeerDenied { why: "x".to_owned() }, Alert::AccessDenied),
        (
            NotAdmitted::Revoked("x".to_owned()),
            Error::PeerRevoked { why: "x".to_owned() },
            Alert::AccessDenied,
        ),
        (
            NotAdmitted::NotTarget("x".to_owned()),
            Error::PeerNotTarget { why: "x".to_owned() },
            Alert::AccessDenied,
        ),
        (
            NotAdmitted::Unknown("x".to_owned()),
            Error::AdmissionUnknown { why: "x".to_owned() },
            Alert::InternalError,
        ),
    ];
    let ca = Ca::new();
    for (answer, expected, alert) in cases {
        let judges = [Judge::who_says(Err(answer)), Judge::who_says(Ok(()))];
        let met = meet(judged(&ca, CLIENT, &judges[0], &[]), judged(&ca, SERVER, &judges[1], &[]));
        assert_eq!(error(Some(&met.client)), &expected);
        assert_eq!(met.last, frame_of(alert), "{expected}");
        assert!(matches!(error(met.server.as_ref()), Error::PeerAlert { .. }), "{expected}");
        assert!(judges[1].asked().is_empty(), "the client never proved itself");
    }
}

#[test]
fn a_client_that_is_not_acceptable_gets_an_alert_and_the_server_no_result() {
    let ca = Ca::new();
    let judges = [Judge::who_says(Ok(())), Judge::who_says(Err(NotAdmitted::Denied("by rule r".to_owned())))];
    let met = meet(judged(&ca, CLIENT, &judges[0], &[]), judged(&ca, SERVER, &judges[1], &[]));
    established(&met.client);
    assert_eq!(error(met.server.as_ref()), &Error::PeerDenied { why: "by rule r".to_owned() });
    assert_eq!(met.reply, frame_of(Alert::AccessDenied));
}

#[test]
fn nobody_is_asked_about_a_peer_that_has_not_proved_itself() {
    let (ca, other) = (Ca::new(), Ca::new());
    let judge = Judge::who_says(Ok(()));
    let stranger = setup(other.credentials(SERVER), other.trust(), &[]);
    let met = meet(judged(&ca, CLIENT, &judge, &[]), stranger);
    error(Some(&met.client));
    assert!(judge.asked().is_empty());
}

#[test]
fn an_acceptable_peer_must_be_one_that_the_request_names_as_well() {
    let ca = Ca::new();
    let judge = Judge::who_says(Ok(()));
    let met = meet(
        judged(&ca, CLIENT, &judge, &["other@prod.example"]),
        setup(ca.credentials(SERVER), ca.trust(), &[]),
    );
    assert!(matches!(error(Some(&met.client)), Error::PeerNotExpected { .. }));
    assert_eq!(judge.asked().len(), 1);
}
