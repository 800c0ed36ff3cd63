//! Peers that never finish a handshake, and those who come after them.

use std::time::Duration;

use alts_client::{AltsAcceptor, Handshaker};

use super::{
    served::{self, Served, address_of, connector, greeter, hello, idle},
    support::daemon::{Daemon, eventually},
};

/// The first bytes of peers that have something else in mind.
const OTHERS: [&[u8]; 6] = [
    b"",
    b"\0",
    b"GET / HTTP/1.1\r\nhost: greeter.example\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
];

#[tokio::test]
async fn peers_that_say_nothing_or_nonsense_keep_nobody_waiting() {
    let daemon = Daemon::start("");
    let served = Served::start(&daemon).await;
    let mut peers = Vec::new();
    for says in OTHERS.iter().cycle().take(60) {
        peers.push(idle(served.address, says).await);
    }
    let mut greeter = greeter(&connector(&daemon), served.address);
    greeter.say_hello(hello("world")).await.expect("it is answered");
    served.stop().await;
}

#[tokio::test]
async fn nonsense_ends_its_own_connection_and_is_told() {
    let daemon = Daemon::start("");
    let served = Served::start(&daemon).await;
    let mut peer = idle(served.address, OTHERS[5]).await;
    served::is_closed(&mut peer).await;
    let own = peer.local_addr().expect("it has one").to_string();
    let (name, reason) = eventually("the failure to be told", async || {
        served.failures.lock().expect("nobody panics").first().cloned()
    })
    .await;
    assert_eq!((name, reason), (own, "refused_by_handshaker"));
    served.stop().await;
}

#[tokio::test]
async fn more_idle_peers_than_fit_are_ended_by_time_and_others_come_in() {
    let daemon = Daemon::start("");
    let handshaker = Handshaker::builder(&address_of(&daemon, "cart"))
        .timeout(Duration::from_millis(500))
        .max_concurrent(1);
    let handshaker = handshaker.build().expect("it is an address");
    let served = Served::with(&daemon, |mut setup| {
        setup.acceptor = AltsAcceptor::new(handshaker);
        setup.max_unfinished = 2;
        setup
    })
    .await;
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(idle(served.address, b"").await);
    }
    let greeter = greeter(&connector(&daemon), served.address);
    // On a busy machine its own handshake may take longer than this server allows.
    eventually("an answer, once they have gone", async || {
        greeter.clone().say_hello(hello("world")).await.ok()
    })
    .await;
    for peer in &mut peers {
        served::is_closed(peer).await;
    }
    let failures = served.failures.lock().expect("nobody panics").clone();
    for peer in &peers {
        let own = (peer.local_addr().expect("it has one").to_string(), "timed_out");
        assert!(failures.contains(&own), "{own:?} in {failures:?}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_judge_that_panics_ends_one_connection_alone() {
    let daemon = Daemon::start("");
    let first = std::sync::atomic::AtomicBool::new(true);
    let served = Served::with(&daemon, |mut setup| {
        setup.acceptor = setup.acceptor.authorize(move |_| {
            assert!(!first.swap(false, std::sync::atomic::Ordering::Relaxed), "the first is too much");
            Ok(())
        });
        setup
    })
    .await;
    let mut greeter = greeter(&connector(&daemon), served.address);
    greeter.say_hello(hello("first")).await.expect_err("its connection is closed");
    greeter.say_hello(hello("second")).await.expect("it is answered");
    served.stop().await;
}
