//! Two ends in one process: what they agree on, and what they make of input that comes in pieces, twice, late, or
//! from the wrong place.

mod support;

use alts_handshake::{
    ClientSetup, Error, Established, Handshake, Outcome, Preferences, Reason, RpcVersions, Step, SystemRandom,
};
use support::authority::{self, CLIENT, Ca, SERVER, now, setup};

fn step(end: &mut Handshake, input: &[u8]) -> Step {
    end.step(input, now(), &SystemRandom::new())
}

fn pair(ca: &Ca) -> (Handshake, Vec<u8>, Handshake) {
    let (client, client_init) = authority::client(setup(ca.credentials(CLIENT), ca.trust(), &[SERVER]));
    let server = authority::server(setup(ca.credentials(SERVER), ca.trust(), &[]));
    (client, client_init, server)
}

fn done(step: Step) -> Box<Established> {
    match step.outcome {
        Outcome::Done(established) => established,
        Outcome::NeedsInput => panic!("it needs more input"),
        Outcome::Failed(error) => panic!("{error}"),
    }
}

fn reason(step: Step) -> Reason {
    match step.outcome {
        Outcome::Failed(error) => error.reason(),
        Outcome::NeedsInput => panic!("it needs more input"),
        Outcome::Done(_) => panic!("it is done"),
    }
}

#[test]
fn both_ends_get_the_same_key_and_each_other() {
    let ca = Ca::new();
    let (mut client, client_init, mut server) = pair(&ca);
    let flight = step(&mut server, &client_init);
    let last = step(&mut client, &flight.out_frames);
    let client_finished = last.out_frames.clone();
    let (at_client, at_server) = (done(last), done(step(&mut server, &client_finished)));

    assert_eq!(at_client.key_data.expose(), at_server.key_data.expose());
    assert_eq!(at_client.key_data.expose().len(), 44);
    assert_eq!((at_client.local.account(), at_client.peer.account()), (CLIENT, SERVER));
    assert_eq!((at_server.local.account(), at_server.peer.account()), (SERVER, CLIENT));
    assert_eq!(at_client.peer_max_frame_size, 16_384);
    assert!(at_client.ticket.is_none() && at_server.ticket.is_none());
}

#[test]
fn two_handshakes_of_the_same_ends_share_no_key() {
    let ca = Ca::new();
    let keys = [(); 2].map(|()| {
        let (mut client, client_init, mut server) = pair(&ca);
        let flight = step(&mut server, &client_init);
        done(step(&mut client, &flight.out_frames)).key_data.expose().to_vec()
    });
    assert_ne!(keys[0], keys[1]);
}

/// Feeds `input` in pieces of `size` bytes; all but the last must be taken whole and give nothing final.
fn in_pieces(end: &mut Handshake, input: &[u8], size: usize) -> Step {
    let mut pieces = input.chunks(size).peekable();
    let mut out_frames = Vec::new();
    while let Some(piece) = pieces.next() {
        let mut step = step(end, piece);
        assert_eq!(step.consumed, piece.len());
        out_frames.append(&mut step.out_frames);
        if pieces.peek().is_none() {
            return Step { out_frames, ..step };
        }
        assert!(matches!(step.outcome, Outcome::NeedsInput), "it ended too early");
    }
    unreachable!("there is input")
}

#[test]
fn input_in_any_split_gives_the_same_handshake() {
    let ca = Ca::new();
    for size in [1, 2, 3, 7, 8, 9, 100, 607, 608, 10_000] {
        let (mut client, client_init, mut server) = pair(&ca);
        let flight = in_pieces(&mut server, &client_init, size).out_frames;
        let last = in_pieces(&mut client, &flight, size);
        let client_finished = last.out_frames.clone();
        let at_client = done(last);
        let at_server = done(in_pieces(&mut server, &client_finished, size));
        assert_eq!(at_client.key_data.expose(), at_server.key_data.expose(), "pieces of {size}");
    }
}

#[test]
fn an_empty_input_changes_nothing() {
    let ca = Ca::new();
    let (mut client, _, mut server) = pair(&ca);
    for end in [&mut client, &mut server] {
        let step = step(end, b"");
        assert!(
            matches!(step.outcome, Outcome::NeedsInput) && step.out_frames.is_empty() && step.consumed == 0
        );
    }
}

#[test]
fn bytes_behind_the_last_frame_stay_unread() {
    let ca = Ca::new();
    let (mut client, client_init, mut server) = pair(&ca);
    let flight = step(&mut server, &client_init).out_frames;
    let last = step(&mut client, &[flight.as_slice(), b"data"].concat());
    assert_eq!(last.consumed, flight.len());
    let client_finished = last.out_frames;
    let last = step(&mut server, &[client_finished.as_slice(), b"data"].concat());
    assert_eq!(last.consumed, client_finished.len());
    done(last);
}

#[test]
fn a_finished_handshake_refuses_more_bytes() {
    let ca = Ca::new();
    let (mut client, client_init, mut server) = pair(&ca);
    let flight = step(&mut server, &client_init).out_frames;
    let client_finished = step(&mut client, &flight).out_frames;
    done(step(&mut server, &client_finished));
    for (end, again) in [(&mut client, &flight), (&mut server, &client_finished)] {
        let step = step(end, again);
        assert!(step.out_frames.is_empty());
        assert_eq!(reason(step), Reason::HandshakeOver);
    }
}

#[test]
fn a_failed_handshake_refuses_even_the_right_bytes() {
    let ca = Ca::new();
    let (mut client, client_init, mut server) = pair(&ca);
    let flight = step(&mut server, &client_init).out_frames;
    assert_eq!(reason(step(&mut client, b"garbage!")), Reason::FrameLengthInvalid);
    assert_eq!(reason(step(&mut client, &flight)), Reason::HandshakeOver);
}

#[test]
fn a_frame_is_judged_by_its_length_and_then_by_its_type() {
    let ca = Ca::new();
    let header = |length: u32, kind: u32| [length.to_le_bytes(), kind.to_le_bytes()].concat();
    let cases = [
        (header(3, 1), Reason::FrameLengthInvalid),
        (header(32_773, 1), Reason::FrameLengthInvalid),
        (header(u32::MAX, 1), Reason::FrameLengthInvalid),
        (header(32_772, 1), Reason::FrameTooLarge),
        (header(16_389, 1), Reason::FrameTooLarge),
        (header(7, 5), Reason::FrameTooLarge),
        (header(32_772, 2), Reason::FrameTypeUnexpected),
        (header(4, 0), Reason::FrameTypeUnexpected),
        (header(4, 6), Reason::FrameTypeUnexpected),
        (header(4, 257), Reason::FrameTypeUnexpected),
        (header(4, 1), Reason::MessageMalformed),
        (header(4, 5), Reason::PeerAlert),
    ];
    for (input, expected) in cases {
        let mut server = authority::server(setup(ca.credentials(SERVER), ca.trust(), &[]));
        assert_eq!(reason(step(&mut server, &input)), expected, "{input:?}");
    }
    for largest in [header(16_388, 1), header(6, 5)] {
        let mut server = authority::server(setup(ca.credentials(SERVER), ca.trust(), &[]));
        assert!(matches!(step(&mut server, &largest).outcome, Outcome::NeedsInput), "{largest:?}");
    }
}

#[test]
fn a_reflected_message_is_refused() {
    let ca = Ca::new();
    let (mut client, client_init, mut server) = pair(&ca);
    let flight = step(&mut server, &client_init).out_frames;
    assert_eq!(reason(step(&mut client, &client_init)), Reason::FrameTypeUnexpected);
    assert_eq!(reason(step(&mut server, &flight)), Reason::FrameTypeUnexpected);
}

#[test]
fn the_flight_of_another_handshake_is_refused() {
    let ca = Ca::new();
    let (_, client_init, mut server) = pair(&ca);
    let replayed = step(&mut server, &client_init).out_frames;
    let (mut client, _, _) = pair(&ca);
    assert_eq!(reason(step(&mut client, &replayed)), Reason::MessageNotAuthentic);
}

#[test]
fn a_replayed_server_finished_behind_a_fresh_server_init_is_refused() {
    let ca = Ca::new();
    let (mut client, client_init, mut server) = pair(&ca);
    let mut other = authority::server(setup(ca.credentials(SERVER), ca.trust(), &[]));
    let fresh = step(&mut server, &client_init).out_frames;
    let replayed = step(&mut other, &client_init).out_frames;
    let init_len = 4 + u32::from_le_bytes(fresh[..4].try_into().expect("there is a length")) as usize;
    let mixed = [&fresh[..init_len], &replayed[init_len..]].concat();
    assert_eq!(reason(step(&mut client, &mixed)), Reason::MessageNotAuthentic);
}

#[test]
fn a_client_finished_of_another_handshake_is_refused() {
    let ca = Ca::new();
    let (_, client_init, mut server) = pair(&ca);
    let (mut other, other_init, mut other_server) = pair(&ca);
    step(&mut server, &client_init);
    let flight = step(&mut other_server, &other_init).out_frames;
    let replayed = step(&mut other, &flight).out_frames;
    assert_eq!(reason(step(&mut server, &replayed)), Reason::MessageNotAuthentic);
}

#[test]
fn an_offer_changed_on_the_way_gives_no_result() {
    let ca = Ca::new();
    let two = |protocols: &[&str]| {
        let versions = RpcVersions { max: (2, 1), min: (2, 1) };
        Preferences::new(&["ALTSRP_GCM_AES128_REKEY"], protocols, &[], versions, 0).expect("they are valid")
    };
    let mut wish = setup(ca.credentials(CLIENT), ca.trust(), &[]);
    wish.preferences = two(&["better", "grpc!!"]);
    let (mut client, client_init) = authority::client(wish);
    let mut allowed = setup(ca.credentials(SERVER), ca.trust(), &[]);
    allowed.preferences = two(&["better", "grpc!!", "grpc!?"]);
    let mut server = authority::server(allowed);

    // The better offer becomes one that the server does not know, so that it takes the second.
    let position = client_init.windows(6).position(|window| window == b"better").expect("it is offered");
    let mut downgraded = client_init;
    downgraded[position..position + 6].copy_from_slice(b"bitter");
    let flight = step(&mut server, &downgraded).out_frames;
    assert_eq!(reason(step(&mut client, &flight)), Reason::MessageNotAuthentic);
}

#[test]
fn a_client_refuses_an_end_of_another_trust() {
    let (ca, foreign) = (Ca::new(), Ca::new());
    let (mut client, client_init) = authority::client(setup(ca.credentials(CLIENT), ca.trust(), &[]));
    let mut server = authority::server(setup(foreign.credentials(SERVER), foreign.trust(), &[]));
    let flight = step(&mut server, &client_init).out_frames;
    let refused = step(&mut client, &flight);
    let alert = refused.out_frames.clone();
    assert_eq!(reason(refused), Reason::PeerCertificateUntrusted);
    let at_server = step(&mut server, &alert);
    assert!(at_server.out_frames.is_empty(), "an alert is not answered");
    match at_server.outcome {
        Outcome::Failed(error) => {
            assert_eq!(error, Error::PeerAlert { code: Some(8) });
            assert_eq!(error.to_string(), "the peer gave up with alert bad_certificate");
        }
        _ => panic!("an alert ends the handshake"),
    }
}

#[test]
fn a_server_gives_no_result_before_the_client_has_proved_itself() {
    let ca = Ca::new();
    let (mut client, client_init, mut server) = pair(&ca);
    let first = step(&mut server, &client_init);
    assert!(matches!(first.outcome, Outcome::NeedsInput));
    let client_finished = step(&mut client, &first.out_frames).out_frames;
    let (almost, last) = client_finished.split_at(client_finished.len() - 1);
    assert!(matches!(step(&mut server, almost).outcome, Outcome::NeedsInput));
    done(step(&mut server, last));
}

#[test]
fn a_grease_value_is_passed_over() {
    let ca = Ca::new();
    let common = setup(ca.credentials(CLIENT), ca.trust(), &[]);
    let greased = ClientSetup { common, ticket: None, grease: Some(0x7a7a) };
    let (mut client, client_init) =
        Handshake::client(greased, now(), &SystemRandom::new()).expect("a client can begin");
    let mut server = authority::server(setup(ca.credentials(SERVER), ca.trust(), &[]));
    let flight = step(&mut server, &client_init).out_frames;
    done(step(&mut client, &flight));
}

#[test]
fn a_chain_found_good_once_is_refused_once_it_has_ended() {
    let ca = Ca::new();
    let trust = ca.trust();
    let server_credentials = ca.credentials(SERVER);
    let handshake_at = |time| {
        let (mut client, client_init) = authority::client(setup(ca.credentials(CLIENT), trust.clone(), &[]));
        let mut server = authority::server(setup(server_credentials.clone(), trust.clone(), &[]));
        let flight = step(&mut server, &client_init).out_frames;
        client.step(&flight, time, &SystemRandom::new())
    };
    done(handshake_at(now()));
    done(handshake_at(now()));
    let a_year_later = authority::at(authority::NOW + 366 * 86_400);
    assert_eq!(reason(handshake_at(a_year_later)), Reason::PeerCertificateExpired);
}

#[test]
fn a_chain_found_good_in_one_role_is_not_good_in_the_other() {
    let ca = Ca::new();
    let trust = ca.trust();
    let mut client_only = Ca::leaf(CLIENT);
    client_only.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let client_only = ca.issue(&client_only).credentials();

    let (mut client, client_init) = authority::client(setup(client_only.clone(), trust.clone(), &[]));
    let mut server = authority::server(setup(ca.credentials(SERVER), trust.clone(), &[]));
    let flight = step(&mut server, &client_init).out_frames;
    let client_finished = step(&mut client, &flight).out_frames;
    done(step(&mut server, &client_finished));

    let (mut client, client_init) = authority::client(setup(ca.credentials(CLIENT), trust.clone(), &[]));
    let mut impostor = authority::server(setup(client_only, trust, &[]));
    let flight = step(&mut impostor, &client_init).out_frames;
    assert_eq!(reason(step(&mut client, &flight)), Reason::PeerCertificatePurposeWrong);
}
