//! Handshakes that one side refuses: which one, and what each program is told.

use alts_client::{AltsAcceptor, AltsConnector, Error, RefusedBy};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::pair::{
    CART, End, FRONTEND, connected, error, handshaker, handshaker_of, info, meet, node_of_orders, programs,
    tcp,
};
use crate::support::{daemon::Daemon, node::Node, pki::write};

/// Code, who has refused, and the beginning of the text of an end that has no connection.
fn refusal<IO>(end: End<IO>) -> (&'static str, RefusedBy, String) {
    let error = error(end);
    (error.code(), error.refused_by(), error.to_string())
}

/// An end that has a connection reads only its end.
async fn closed(end: End<TcpStream>) {
    assert_eq!(connected(end).read(&mut [0]).await.expect("it is closed in good order"), 0);
}

#[tokio::test]
async fn a_client_reaches_only_those_whom_it_names() {
    let daemon = Daemon::start("");
    let (connector, acceptor) = programs(&daemon);
    let cases: [(&[&str], bool); 6] = [
        (&[CART], true),
        (&["other@prod.example", CART], true),
        (&["cart@PROD.example"], true),
        (&["other@prod.example"], false),
        (&[FRONTEND], false),
        (&[""], false),
    ];
    for (targets, accepted) in cases {
        let connector = targets
            .iter()
            .fold(connector.clone(), |connector, target| connector.target_service_account(*target));
        let (client, server) = meet(&connector, &acceptor, tcp().await).await;
        if accepted {
            assert_eq!(info(&client).peer_service_account(), CART);
            assert_eq!(info(&server).peer_service_account(), FRONTEND);
            continue;
        }
        let (code, by, text) = refusal(client);
        assert_eq!((code, by), ("refused_by_handshaker", RefusedBy::OurHandshaker), "{targets:?}");
        assert!(text.starts_with("this side's handshaker refused: peer_not_expected: "), "{text}");
        assert!(text.ends_with("(PermissionDenied)"), "{text}");
        let (code, by, text) = refusal(server);
        assert_eq!((code, by), ("refused_by_peer", RefusedBy::Peer), "{targets:?}");
        assert_eq!(
            text,
            "the other side's handshaker refused: peer_alert: the peer gave up with alert access_denied (Aborted)"
        );
    }
}

#[tokio::test]
async fn a_peer_of_a_foreign_root_is_not_trusted() {
    let (ours, theirs) = (Daemon::start(""), Daemon::start(""));
    let connector = AltsConnector::new(handshaker_of(&ours, "frontend"));
    let acceptor = AltsAcceptor::new(handshaker_of(&theirs, "cart"));
    let (client, server) = meet(&connector, &acceptor, tcp().await).await;
    let (code, by, text) = refusal(client);
    assert_eq!((code, by), ("refused_by_handshaker", RefusedBy::OurHandshaker));
    assert!(text.contains(": peer_certificate_untrusted: "), "{text}");
    let (code, by, text) = refusal(server);
    assert_eq!((code, by), ("refused_by_peer", RefusedBy::Peer));
    assert!(text.contains("alert bad_certificate"), "{text}");
}

#[tokio::test]
async fn a_client_that_the_node_of_the_server_denies_sees_its_connection_close() {
    let directory = tempfile::tempdir().expect("there is room");
    let nobody_calls = "[[peer_list]]\nname = \"few\"\npeers = [\"few@x.example\"]\n\
                        [[rule]]\nname = \"callers\"\nlocal = \"orders@x.example\"\nside = \"server\"\n\
                        action = \"allow\"\npeer_lists = [\"few\"]\n";
    write(directory.path(), "peers.toml", nobody_calls);
    let node = Node::start_in(directory, &node_of_orders("files = [\"peers.toml\"]"));
    let handshaker = handshaker(&node.handshakers()[0]);
    let (connector, acceptor) = (AltsConnector::new(handshaker.clone()), AltsAcceptor::new(handshaker));
    let (client, server) = meet(&connector, &acceptor, tcp().await).await;
    let (code, by, text) = refusal(server);
    assert_eq!((code, by), ("refused_by_handshaker", RefusedBy::OurHandshaker));
    assert!(text.contains(": peer_denied: the peer is denied: callers says who may call"), "{text}");
    // The client's part is done by then.
    closed(client).await;
}

#[tokio::test]
async fn a_client_that_the_program_does_not_want_is_gone_before_it_is_spoken_to() {
    let daemon = Daemon::start("");
    let (connector, acceptor) = programs(&daemon);
    let acceptor = acceptor.authorize(|info| match info.peer_service_account() {
        "backend@prod.example" => Ok(()),
        _ => Err("it is no backend".to_owned()),
    });
    let (client, server) = meet(&connector, &acceptor, tcp().await).await;
    let (code, by, text) = refusal(server);
    assert_eq!((code, by), ("not_authorized", RefusedBy::Us));
    assert_eq!(text, "this program does not speak to frontend@prod.example: it is no backend");
    closed(client).await;
}

#[tokio::test]
async fn a_server_that_the_program_does_not_want_never_has_a_connection() {
    let daemon = Daemon::start("");
    let (connector, acceptor) = programs(&daemon);
    let connector = connector
        .authorize(|info| (info.local_service_account() == FRONTEND).then_some(()).ok_or_else(String::new))
        .authorize(|_| Err("not today".to_owned()));
    let (client, server) = meet(&connector, &acceptor, tcp().await).await;
    let (code, by, text) = refusal(client);
    assert_eq!((code, by), ("not_authorized", RefusedBy::Us));
    assert_eq!(text, "this program does not speak to cart@prod.example: not today");
    let error = error(server);
    assert!(matches!(error, Error::PeerClosed { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "the other side closed the connection during the handshake; its log or its handshaker's says why, if it speaks ALTS"
    );
}
