//! Whatever comes in whatever pieces: no end has a result unless both have seen the honest transcript.

mod support;

use std::sync::{Arc, LazyLock};

use alts_handshake::{Credentials, Established, Handshake, Outcome, Setup, SystemRandom, Trust};
use proptest::{collection::vec, prelude::*, sample::Index};
use support::authority::{self, CLIENT, Ca, SERVER, now, setup};

struct World {
    client: Arc<Credentials>,
    server: Arc<Credentials>,
    trust: Arc<Trust>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let ca = Ca::new();
    World { client: ca.credentials(CLIENT), server: ca.credentials(SERVER), trust: ca.trust() }
});

impl World {
    fn setup(&self, credentials: &Arc<Credentials>) -> Setup {
        setup(credentials.clone(), self.trust.clone(), &[])
    }
}

/// What the network does to one flight.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Cut(Index),
    Drop(Index),
    Insert(Index, u8),
    Duplicate(Index, Index),
    Swap(Index, Index),
    Replace(Vec<u8>),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<Index>(), 1_u8..).prop_map(|(at, mask)| Mutation::Flip(at, mask)),
        1 => any::<Index>().prop_map(Mutation::Cut),
        1 => any::<Index>().prop_map(Mutation::Drop),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::Duplicate(from, to)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Mutation::Swap(one, other)),
        1 => vec(any::<u8>(), 0..200).prop_map(Mutation::Replace),
    ]
}

impl Mutation {
    fn apply(&self, flight: &mut Vec<u8>) {
        let length = flight.len();
        match self {
            Self::Replace(bytes) => flight.clone_from(bytes),
            _ if length == 0 => {}
            Self::Flip(at, mask) => flight[at.index(length)] ^= mask,
            Self::Cut(at) => flight.truncate(at.index(length)),
            Self::Drop(at) => {
                flight.remove(at.index(length));
            }
            Self::Insert(at, byte) => flight.insert(at.index(length), *byte),
            Self::Duplicate(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                flight.extend_from_within(from.min(to)..from.max(to));
            }
            Self::Swap(one, other) => flight.swap(one.index(length), other.index(length)),
        }
    }
}

/// Feeds a flight, cut at `cuts`, and returns what the end sends, with its result. It must never take more than
/// it was given, and after an end nothing.
fn feed(end: &mut Handshake, flight: &[u8], cuts: &[Index]) -> (Vec<u8>, Option<Box<Established>>) {
    let mut borders: Vec<_> = cuts.iter().map(|cut| cut.index(flight.len() + 1)).collect();
    borders.extend([0, flight.len()]);
    borders.sort_unstable();
    let mut out_frames = Vec::new();
    for border in borders.windows(2) {
        let piece = &flight[border[0]..border[1]];
        let step = end.step(piece, now(), &SystemRandom::new());
        assert!(step.consumed <= piece.len());
        out_frames.extend(step.out_frames);
        match step.outcome {
            Outcome::NeedsInput => assert_eq!(step.consumed, piece.len()),
            Outcome::Done(established) => return (out_frames, Some(established)),
            Outcome::Failed(_) => return (Vec::new(), None),
        }
    }
    (out_frames, None)
}

/// One handshake over a network that changes the flights as told. Returns what each end sent and received, and
/// the results.
struct Run {
    sent: [Vec<u8>; 3],
    received: [Vec<u8>; 3],
    client: Option<Box<Established>>,
    server: Option<Box<Established>>,
}

fn run(mutations: &[(usize, Mutation)], cuts: &[Vec<Index>; 3]) -> Run {
    let world = &*WORLD;
    let mut server = authority::server(world.setup(&world.server));
    let (mut client, client_init) = authority::client(world.setup(&world.client));
    let over_the_network = |which: usize, flight: &[u8]| {
        let mut flight = flight.to_vec();
        mutations.iter().filter(|(at, _)| *at == which).for_each(|(_, mutation)| mutation.apply(&mut flight));
        flight
    };
    let at_server = over_the_network(0, &client_init);
    let (server_flight, early) = feed(&mut server, &at_server, &cuts[0]);
    assert!(early.is_none(), "a server with one flight has no result");
    let at_client = over_the_network(1, &server_flight);
    let (client_finished, client_result) = feed(&mut client, &at_client, &cuts[1]);
    let at_end = over_the_network(2, &client_finished);
    let (_, server_result) = feed(&mut server, &at_end, &cuts[2]);
    Run {
        sent: [client_init, server_flight, client_finished],
        received: [at_server, at_client, at_end],
        client: client_result,
        server: server_result,
    }
}

fn cuts() -> impl Strategy<Value = [Vec<Index>; 3]> {
    let one = || vec(any::<Index>(), 0..6);
    (one(), one(), one()).prop_map(|(a, b, c)| [a, b, c])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_honest_transcript_in_any_pieces_gives_both_the_same_key(cuts in cuts()) {
        let run = run(&[], &cuts);
        let (client, server) = (run.client.expect("a result"), run.server.expect("a result"));
        prop_assert_eq!(client.key_data.expose(), server.key_data.expose());
    }

    #[test]
    fn a_changed_transcript_gives_no_result_to_who_received_it(
        mutations in vec((0_usize..3, mutation()), 1..4),
        cuts in cuts(),
    ) {
        let run = run(&mutations, &cuts);
        // Bytes behind a frame belong to the next one or to the application: what counts is how a flight begins.
        let honest = |flight: usize| run.received[flight].starts_with(&run.sent[flight]);
        if run.client.is_some() {
            prop_assert!(honest(0) && honest(1), "the client has a result");
        }
        if run.server.is_some() {
            let to_server = |flights: &[Vec<u8>; 3]| [flights[0].as_slice(), &flights[2]].concat();
            let honest_at_server = to_server(&run.received).starts_with(&to_server(&run.sent));
            prop_assert!(honest_at_server && honest(1), "the server has a result");
        }
        let exactly_honest = |flight: usize| run.received[flight] == run.sent[flight];
        if exactly_honest(0) && honest(1) {
            prop_assert!(run.client.is_some(), "the client has no result");
        }
    }

    #[test]
    fn garbage_ends_a_handshake_or_waits_for_more(garbage in vec(any::<u8>(), 0..40_000), cuts in vec(any::<Index>(), 0..6)) {
        let world = &*WORLD;
        let (client, _) = authority::client(world.setup(&world.client));
        for mut end in [client, authority::server(world.setup(&world.server))] {
            prop_assert!(feed(&mut end, &garbage, &cuts).1.is_none());
        }
    }
}
