//! Resumption between two ends that keep their tickets: when a ticket is used, and when it is passed over.

mod support;

use std::sync::Arc;

use alts_handshake::{
    ClientSetup, Established, ExpectedPeers, Handshake, Outcome, Reason, Resumption, ServerSetup, Setup,
    SystemRandom, Ticket,
};
use support::{
    authority::{CLIENT, Ca, NOW, SERVER, at, setup},
    vectors::Tickets,
};

/// The lifetime of every ticket here, in seconds.
const LIFETIME: u64 = 600;

/// Two ends and what they remember.
struct Pair {
    ca: Ca,
    client: Arc<Ticket>,
    server: Arc<Ticket>,
}

/// What a handshake may change: the account under which each end keeps its ticket, and whom it accepts.
struct Change {
    client_time: u64,
    server_time: u64,
    server_holder: &'static str,
    client_accepts: &'static str,
    server_accepts: &'static str,
    /// Of a new ticket, in seconds.
    lifetime: u32,
}

const SAME: Change = Change {
    client_time: NOW,
    server_time: NOW,
    server_holder: SERVER,
    client_accepts: SERVER,
    server_accepts: CLIENT,
    lifetime: LIFETIME as u32,
};

impl Pair {
    /// Does a first handshake, which leaves a ticket at both ends.
    fn new() -> Self {
        let ca = Ca::new();
        let client = end(&ca, CLIENT, SERVER);
        let server = end(&ca, SERVER, CLIENT);
        let (client, server) =
            handshake(client, None, server, Tickets::default(), &SAME).expect("it is honest");
        assert!(!client.resumed && !server.resumed);
        let [client, server] = [client, server].map(|end| Arc::new(end.ticket.expect("a ticket is issued")));
        assert_eq!(client.secret.expose(), server.secret.expose());
        Self { ca, client, server }
    }

    /// A second handshake under changed circumstances.
    fn again(&self, change: &Change) -> Result<(Box<Established>, Box<Established>), Reason> {
        let mut tickets = Tickets::default();
        tickets.0.insert((change.server_holder.to_owned(), self.server.id.0), self.server.clone());
        let client = end(&self.ca, CLIENT, change.client_accepts);
        let server = end(&self.ca, SERVER, change.server_accepts);
        handshake(client, Some(self.client.clone()), server, tickets, change)
    }
}

fn end(ca: &Ca, account: &str, accepts: &str) -> Setup {
    Setup { expected: ExpectedPeers::new([accepts]), ..setup(ca.credentials(account), ca.trust(), &[]) }
}

fn handshake(
    client: Setup,
    ticket: Option<Arc<Ticket>>,
    server: Setup,
    tickets: Tickets,
    change: &Change,
) -> Result<(Box<Established>, Box<Established>), Reason> {
    let (client_now, server_now) = (at(change.client_time), at(change.server_time));
    let random = SystemRandom::new();
    let client = ClientSetup { common: client, ticket, grease: None };
    let resumption = Resumption { tickets: Arc::new(tickets), lifetime: change.lifetime };
    let mut server = Handshake::server(ServerSetup { common: server, resumption: Some(resumption) });
    let (mut client, init) =
        Handshake::client(client, client_now, &random).map_err(|error| error.reason())?;
    let flight = server.step(&init, server_now, &random).out_frames;
    let last = client.step(&flight, client_now, &random);
    let end = server.step(&last.out_frames, server_now, &random);
    let done = |outcome| match outcome {
        Outcome::Done(established) => Ok(established),
        Outcome::Failed(error) => Err(error.reason()),
        Outcome::NeedsInput => panic!("it wants more input"),
    };
    Ok((done(last.outcome)?, done(end.outcome)?))
}

#[test]
fn a_ticket_resumes_again_and_again_with_new_keys_and_leaves_none_behind() {
    let pair = Pair::new();
    let mut keys = Vec::new();
    for _ in 0..3 {
        let (client, server) = pair.again(&SAME).expect("it is honest");
        assert!(client.resumed && server.resumed);
        assert!(client.peer_clock_skew.is_zero() && server.peer_clock_skew.is_zero());
        assert_eq!((client.peer.account(), server.peer.account()), (SERVER, CLIENT));
        assert!(client.ticket.is_none() && server.ticket.is_none());
        assert_eq!(client.key_data.expose(), server.key_data.expose());
        keys.push(client.key_data.expose().to_vec());
    }
    keys.dedup();
    assert_eq!(keys.len(), 3);
}

#[test]
fn a_ticket_that_is_not_good_now_is_passed_over() {
    let pair = Pair::new();
    let cases = [
        ("the last second", both(NOW + LIFETIME - 1), true),
        ("its end", both(NOW + LIFETIME), false),
        ("its end for the server alone", Change { server_time: NOW + LIFETIME, ..SAME }, false),
        ("long after its end", both(NOW + 10 * LIFETIME), false),
        ("a ticket of another account", Change { server_holder: "other@prod.example", ..SAME }, false),
    ];
    for (name, change, resumed) in cases {
        let (client, server) = pair.again(&change).unwrap_or_else(|reason| panic!("{name}: {reason:?}"));
        assert_eq!((client.resumed, server.resumed), (resumed, resumed), "{name}");
        assert_eq!(client.ticket.is_some(), !resumed, "{name}: certificates bring a new ticket");
    }
}

fn both(time: u64) -> Change {
    Change { client_time: time, server_time: time, ..SAME }
}

#[test]
fn a_server_that_gives_tickets_no_time_gives_none() {
    let pair = Pair::new();
    let change = Change { server_holder: "other@prod.example", lifetime: 0, ..SAME };
    let (client, server) = pair.again(&change).expect("it is honest");
    assert!(client.ticket.is_none() && server.ticket.is_none() && !client.resumed);
}

#[test]
fn a_stored_peer_must_be_acceptable_under_the_rules_of_now() {
    let pair = Pair::new();
    for change in [
        Change { client_accepts: "other@prod.example", ..SAME },
        Change { server_accepts: "other@prod.example", ..SAME },
    ] {
        assert_eq!(pair.again(&change).err(), Some(Reason::PeerNotExpected));
    }
}

#[test]
fn a_client_offers_no_ticket_of_a_peer_that_it_would_not_accept() {
    let pair = Pair::new();
    let offer = |accepts: &str, time| {
        let common = end(&pair.ca, CLIENT, accepts);
        let setup = ClientSetup { common, ticket: Some(pair.client.clone()), grease: None };
        let (_, init) = Handshake::client(setup, at(time), &SystemRandom::new()).expect("it can begin");
        init.windows(16).any(|window| window == pair.client.id.0)
    };
    assert!(offer(SERVER, NOW));
    assert!(!offer("other@prod.example", NOW));
    assert!(!offer(SERVER, NOW + LIFETIME));
}
