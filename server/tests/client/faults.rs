//! Handshakers that are not there, or go; peers that say nothing, or nonsense.

use std::time::Duration;

use alts_client::{AltsAcceptor, AltsConnector, Error, Handshaker, RefusedBy, WaitingFor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::pair::{CART, TARGET, error, handshaker, info, meet, node_of_orders, programs, tcp};
use crate::support::{
    daemon::{Daemon, eventually},
    node::Node,
};

#[tokio::test]
async fn a_handshaker_that_is_not_there_is_named_with_the_way_out() {
    let directory = tempfile::tempdir().expect("there is room");
    let address = format!("unix:{}", directory.path().join("altsd.sock").display());
    let handshaker = handshaker(&address);
    let (connector, acceptor) = (AltsConnector::new(handshaker.clone()), AltsAcceptor::new(handshaker));
    let (io, mut peer) = duplex(1 << 10);
    peer.write_all(b"a").await.expect("there is room");
    let (client, server) = (error(connector.connect(peer, TARGET).await), error(acceptor.accept(io).await));
    assert!(matches!(server, Error::HandshakerUnreachable { .. }), "{server}");
    assert_eq!((client.code(), client.refused_by()), ("handshaker_unreachable", RefusedBy::Nobody));
    let expected = format!("the handshaker {address} cannot be reached: No such file or directory");
    let text = client.to_string();
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.ends_with("; is it running, and listening there?"), "{text}");
}

#[tokio::test]
async fn a_handshaker_that_comes_back_is_asked_again() {
    let config = node_of_orders("");
    let node = Node::start_with(&config);
    let handshakers = node.handshakers().map(|address| handshaker(&address));
    let mut waiting = Vec::new();
    for handshaker in &handshakers {
        let connector = AltsConnector::new(handshaker.clone());
        let (io, mut peer) = duplex(1 << 16);
        let mut connecting = Box::pin(async move { connector.connect(io, TARGET).await });
        tokio::select! {
            end = &mut connecting => panic!("it waits for its peer: {}", error(end)),
            read = peer.read_u8() => assert!(read.is_ok(), "the handshake has begun"),
        }
        waiting.push((connecting, peer));
    }
    let _node = node.again(&config);
    for (connecting, mut peer) in waiting {
        peer.write_all(&[0; 8]).await.expect("there is room");
        let lost = error(connecting.await);
        assert_eq!((lost.code(), lost.refused_by()), ("handshaker_lost", RefusedBy::Nobody), "{lost}");
    }
    // The other daemon has the same unix socket.
    let [handshaker, _] = handshakers;
    let (connector, acceptor) = (AltsConnector::new(handshaker.clone()), AltsAcceptor::new(handshaker));
    let (client, _server) = meet(&connector, &acceptor, tcp().await).await;
    assert_eq!(info(&client).peer_service_account(), "orders@x.example");
}

#[tokio::test]
async fn a_silent_peer_costs_its_time_and_no_handshake() {
    let node = Node::start_with(&node_of_orders(""));
    let [address, _] = node.handshakers();
    let builder = Handshaker::builder(&address).timeout(Duration::from_millis(50)).max_concurrent(1);
    let impatient = AltsAcceptor::new(builder.build().expect("it is an address"));
    for _ in 0..5 {
        let (_silent, io) = tcp().await;
        let error = error(impatient.accept(io).await);
        assert!(matches!(error, Error::TimedOut { waiting_for: WaitingFor::Peer, .. }), "{error}");
    }
    let handshaker = handshaker(&address);
    let (connector, acceptor) = (AltsConnector::new(handshaker.clone()), AltsAcceptor::new(handshaker));
    let (client, _server) = meet(&connector, &acceptor, tcp().await).await;
    assert_eq!(info(&client).peer_service_account(), "orders@x.example");
    // One of each side.
    let both = async || (node.labelled("altsd_handshakes_total", &[]) == Some(2.0)).then_some(());
    eventually("the two handshakes to be counted, and no others", both).await;
}

#[tokio::test]
async fn nonsense_of_a_peer_is_refused_by_the_handshaker_that_reads_it() {
    let daemon = Daemon::start("");
    let (connector, acceptor) = programs(&daemon);
    let nonsense: [&[u8]; 3] = [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\xf4\x01\x00", &[0xff; 70_000]];
    for bytes in nonsense {
        for is_client in [true, false] {
            let (io, mut peer) = duplex(1 << 20);
            peer.write_all(bytes).await.expect("there is room");
            let end = if is_client { connector.connect(io, TARGET).await } else { acceptor.accept(io).await };
            let error = error(end);
            assert_eq!(error.refused_by(), RefusedBy::OurHandshaker, "{error}");
            let text = error.to_string();
            assert!(text.contains("frame_length_invalid: ") && text.contains("InvalidArgument"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_peer_that_goes_in_the_middle_is_said_to_have_gone() {
    let daemon = Daemon::start("");
    let (connector, acceptor) = programs(&daemon);
    // The client goes after its first message; the server after that has come, and before it.
    let (client, server) = tcp().await;
    let abandoned = async {
        let mut first = [0; 1];
        let connecting = connector.connect(client, TARGET);
        tokio::select! {
            end = connecting => panic!("nobody has answered: {}", error(end)),
            ready = async { server.peek(&mut first).await } => assert_eq!(ready.expect("it is open"), 1),
        }
    };
    abandoned.await;
    let gone = error(acceptor.accept(server).await);
    assert!(matches!(gone, Error::PeerClosed { .. }), "{gone}");
    assert_eq!((gone.code(), gone.refused_by()), ("peer_closed", RefusedBy::Peer));

    let (client, mut server) = tcp().await;
    let (client, ()) = tokio::join!(connector.connect(client, TARGET), async move {
        server.read_u8().await.expect("the client begins");
        drop(server);
    });
    let gone = error(client);
    assert!(matches!(gone, Error::PeerClosed { .. }), "{gone}");

    let (client, server) = meet(&connector, &acceptor, tcp().await).await;
    assert_eq!(info(&client).peer_service_account(), CART, "its places are free again");
    drop(server);
}
