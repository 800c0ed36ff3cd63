//! The vectors that come with the specification: whole handshakes byte for byte, and frames that must be
//! refused with the right alert.

mod support;

use std::sync::Arc;

use alts_handshake::{
    Alert, Error, Established, Handshake, Identity, Outcome, Peer, RpcVersions, Secret, Step, SystemRandom,
    Ticket, TicketId,
};
use pki_types::UnixTime;
use support::vectors::{Exchange, ExpectedResult, HYBRID, Refused, StoredTicket, Tickets, Vectors};

/// A frame of the record protocol, which must stay unread behind the last frame of the handshake.
const APPLICATION_DATA: &[u8] = b"\x08\0\0\0\x06\0\0\0data";

#[test]
fn both_ends_make_and_accept_every_handshake_of_the_vectors_byte_for_byte() {
    let vectors = Vectors::load();
    let mut left_out = Vec::new();
    let mut failures = Vec::new();
    for case in &vectors.handshakes {
        type Replay = fn(&Vectors, &Exchange) -> Result<(), String>;
        let ends: [(_, _, Replay); 2] =
            [("client", &case.client, replay_client), ("server", &case.server, replay_server)];
        for (role, end, replay) in ends {
            if end.suites.contains(&HYBRID) {
                left_out.push((case.name.as_str(), role));
            } else if let Err(problem) = replay(&vectors, case) {
                failures.push(format!("{} ({role}): {problem}", case.name));
            }
        }
    }
    let hybrid = [
        ("hybrid", "client"),
        ("hybrid", "server"),
        ("hybrid offered but the server has x25519 only", "client"),
    ];
    assert_eq!(left_out, hybrid);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn replay_client(vectors: &Vectors, case: &Exchange) -> Result<(), String> {
    let frames = &case.frames;
    let ticket = tickets(case, "client").0.into_values().next();
    let ecdsa: &[&str] = if case.client.signs_with_ecdsa() { &["ecdsa"] } else { &[] };
    let random = case.client.random(&[&["random", "x25519"], ecdsa].concat());
    let setup = case.client.client_setup(&vectors.trust(), ticket);

    let (mut client, out) =
        Handshake::client(setup, vectors.now(), random.source()).map_err(|e| e.to_string())?;
    same("ClientInit", &out, &frames.client_init.0)?;
    let flight = [frames.server_init.0.as_slice(), &frames.server_finished.0].concat();
    let step = client.step(&flight, vectors.now(), random.source());
    if ecdsa.is_empty() {
        same("ClientFinished", &step.out_frames, &frames.client_finished.0)?;
    }
    let result = established(step)?;
    check_result(&result, &case.client_result, case, vectors.now())
}

fn replay_server(vectors: &Vectors, case: &Exchange) -> Result<(), String> {
    let frames = &case.frames;
    let mut draws = vec!["random", "x25519"];
    if case.server.ticket_lifetime.is_some() && !case.server_result.resumed {
        draws.push("ticket_id");
    }
    if case.server.signs_with_ecdsa() {
        draws.push("ecdsa");
    }
    let random = case.server.random(&draws);
    let setup = case.server.server_setup(&vectors.trust(), tickets(case, "server"));

    let mut server = Handshake::server(setup);
    let step = server.step(&frames.client_init.0, vectors.now(), random.source());
    let expected = [frames.server_init.0.as_slice(), &frames.server_finished.0].concat();
    // A randomised ECDSA signature, and the MAC beside it, are the only bytes that may differ.
    let fixed = if case.server.signs_with_ecdsa() { frames.server_init.0.len() } else { expected.len() };
    same("ServerInit, ServerFinished", &step.out_frames[..fixed], &expected[..fixed])?;

    let input = [frames.client_finished.0.as_slice(), APPLICATION_DATA].concat();
    let step = server.step(&input, vectors.now(), random.source());
    if step.consumed != frames.client_finished.0.len() || !step.out_frames.is_empty() {
        return Err(format!("consumed {} and sent {} bytes", step.consumed, step.out_frames.len()));
    }
    let result = established(step)?;
    check_result(&result, &case.server_result, case, vectors.now())
}

fn tickets(case: &Exchange, holder: &str) -> Tickets {
    let held = case.tickets_before.iter().filter(|ticket| ticket.holder == holder);
    Tickets(
        held.map(|held| ((held.local_identity.clone(), array(&held.ticket_id.0)), ticket(held))).collect(),
    )
}

fn ticket(stored: &StoredTicket) -> Arc<Ticket> {
    let identity = Identity::parse(&stored.peer.account).expect("the vectors name valid peers");
    Arc::new(Ticket {
        id: TicketId(array(&stored.ticket_id.0)),
        secret: Secret::new(array(&stored.psk.0)),
        peer: Peer { identity, certificates: Arc::new([]) },
        not_after: UnixTime::since_unix_epoch(std::time::Duration::from_secs(stored.not_after)),
    })
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the vectors have the right length")
}

fn established(step: Step) -> Result<Box<Established>, String> {
    match step.outcome {
        Outcome::Done(established) => Ok(established),
        Outcome::NeedsInput => Err("it wants more input".to_owned()),
        Outcome::Failed(error) => Err(error.to_string()),
    }
}

fn same(what: &str, actual: &[u8], expected: &[u8]) -> Result<(), String> {
    if actual == expected {
        return Ok(());
    }
    Err(format!("{what} differs\n  expected {}\n  actual   {}", hex::encode(expected), hex::encode(actual)))
}

fn check_result(
    actual: &Established,
    expected: &ExpectedResult,
    case: &Exchange,
    now: UnixTime,
) -> Result<(), String> {
    same("key_data", actual.key_data.expose(), &expected.key_data.0)?;
    let RpcVersions { max, min } = actual.peer_rpc_versions;
    let facts = (
        actual.peer.account().to_owned(),
        actual.peer.spiffe_id().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        actual.local.account().to_owned(),
        actual.record_protocol.name().to_owned(),
        actual.application_protocol.as_str().to_owned(),
        actual.transport_protocol.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default(),
        [max.0, max.1, min.0, min.1],
        actual.peer_max_frame_size,
        actual.resumed,
    );
    let wanted = (
        expected.peer.account.clone(),
        expected.peer.spiffe_id.clone(),
        expected.local_identity.clone(),
        expected.record_protocol.clone(),
        expected.application_protocol.clone(),
        expected.transport_protocol.clone(),
        expected.peer_rpc_versions,
        expected.peer_max_frame_size,
        expected.resumed,
    );
    if facts != wanted {
        return Err(format!("the result is {facts:?}, expected {wanted:?}"));
    }
    let issued = case.server.ticket_lifetime.filter(|_| !expected.resumed);
    match (&actual.ticket, issued) {
        (None, None) => Ok(()),
        (Some(ticket), Some(lifetime)) => {
            same("ticket id", &ticket.id.0, &case.server.random_inputs["ticket_id"].0)?;
            same("ticket secret", ticket.secret.expose(), &case.resumption_secret.0)?;
            let end = now.as_secs() + u64::from(lifetime);
            same("ticket end", &ticket.not_after.as_secs().to_le_bytes(), &end.to_le_bytes())
        }
        (actual, _) => Err(format!("a ticket came: {}", actual.is_some())),
    }
}

#[test]
fn every_frame_that_the_vectors_refuse_is_refused_with_its_alert() {
    let vectors = Vectors::load();
    let (hybrid, cases): (Vec<_>, Vec<_>) = vectors.refused.iter().partition(|case| case.is_hybrid());
    assert_eq!(
        hybrid.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(),
        ["better suite removed from ClientInit"]
    );
    assert_eq!(cases.len(), 202);
    let problem = |case: &&Refused| {
        let problem = check_refusal(&vectors, case).err()?;
        Some(format!("{} ({}): {problem}", case.name, case.role))
    };
    let failures: Vec<_> = cases.iter().filter_map(problem).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn check_refusal(vectors: &Vectors, case: &Refused) -> Result<(), String> {
    let (step, mut handshake) = case.run(vectors)?;
    let Outcome::Failed(error) = step.outcome else {
        return Err("it was taken".to_owned());
    };
    let given = error.alert().map(Alert::code);
    if given != case.alert {
        return Err(format!("alert {given:?} instead of {:?}: {error}", case.alert));
    }
    let frame = |code: u16| [&[6, 0, 0, 0, 5, 0, 0, 0], &code.to_le_bytes()[..]].concat();
    same("alert frame", &step.out_frames, &case.alert.map(frame).unwrap_or_default())?;
    let again = handshake.step(b"more", vectors.now(), &SystemRandom::new());
    match again.outcome {
        Outcome::Failed(Error::HandshakeOver) if again.out_frames.is_empty() => Ok(()),
        _ => Err("it took more bytes after its failure".to_owned()),
    }
}
