//! Two programs that connect, each with its own handshaker.

use std::time::Duration;

use alts_client::{AltsAcceptor, AltsAuthInfo, AltsConnector, AltsStream, Error, Handshaker, SecurityLevel};
use tokio::{
    io::{AsyncRead, AsyncWrite, duplex},
    net::{TcpListener, TcpStream},
};

use crate::support::{daemon::Daemon, node::Node};

/// What the client says that it connects to.
pub(crate) const TARGET: &str = "cart.example:443";

/// The accounts of [`Daemon`].
pub(crate) const FRONTEND: &str = "frontend@prod.example";
pub(crate) const CART: &str = "cart@prod.example";

/// Longer than any test takes.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// What came of one end.
pub(crate) type End<IO> = Result<AltsStream<IO>, Error>;

pub(crate) fn handshaker(address: &str) -> Handshaker {
    Handshaker::builder(address).timeout(TIMEOUT).build().expect("it is an address")
}

/// The handshaker of an account of a [`Daemon`].
pub(crate) fn handshaker_of(daemon: &Daemon, name: &str) -> Handshaker {
    handshaker(&format!("unix:{}", daemon.socket(name).display()))
}

/// A client of `frontend` and a server of `cart`.
pub(crate) fn programs(daemon: &Daemon) -> (AltsConnector, AltsAcceptor) {
    let (client, server) = (handshaker_of(daemon, "frontend"), handshaker_of(daemon, "cart"));
    (AltsConnector::new(client), AltsAcceptor::new(server))
}

/// Both ends of a TCP connection.
pub(crate) async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.expect("it is listening"), server.expect("it is connected").0)
}

/// One handshake over these two ends, of both sides at once.
pub(crate) async fn meet<IO: AsyncRead + AsyncWrite + Unpin>(
    connector: &AltsConnector,
    acceptor: &AltsAcceptor,
    (client, server): (IO, IO),
) -> (End<IO>, End<IO>) {
    tokio::join!(connector.connect(client, TARGET), acceptor.accept(server))
}

pub(crate) fn info<IO>(end: &End<IO>) -> &AltsAuthInfo {
    match end {
        Ok(stream) => stream.auth_info(),
        Err(error) => panic!("there is no connection: {error}"),
    }
}

pub(crate) fn connected<IO>(end: End<IO>) -> AltsStream<IO> {
    end.unwrap_or_else(|error| panic!("there is no connection: {error}"))
}

pub(crate) fn error<IO>(end: End<IO>) -> Error {
    match end {
        Ok(stream) => panic!("there is a connection to {}", stream.auth_info().peer_service_account()),
        Err(error) => error,
    }
}

/// The configuration of a [`Node`] whose programs are all `orders@x.example`, with more for the section `[policy]`.
pub(crate) fn node_of_orders(policy: &str) -> String {
    format!(
        "[signing_service]\nauthorities = [\"x.example\"]\n\
         [[workload]]\nservice_account = \"orders@x.example\"\nselectors = [\"uid:{}\"]\n\
         [policy]\ndefault = \"allow\"\n{policy}\n",
        nix::unistd::getuid()
    )
}

#[tokio::test]
async fn both_ends_know_each_other_and_what_protects_them() {
    let daemon = Daemon::start("");
    let (connector, acceptor) = programs(&daemon);
    let (client, server) = meet(&connector, &acceptor, tcp().await).await;
    for (end, local, peer) in [(&client, FRONTEND, CART), (&server, CART, FRONTEND)] {
        let info = info(end);
        assert_eq!((info.local_service_account(), info.peer_service_account()), (local, peer));
        assert_eq!(info.application_protocol(), "grpc");
        assert_eq!(info.record_protocol(), "ALTSRP_GCM_AES128_REKEY");
        assert_eq!(info.security_level(), SecurityLevel::IntegrityAndPrivacy);
        assert_eq!(info.peer_rpc_versions(), ((2, 1), (2, 1)));
    }
}

#[tokio::test]
async fn a_handshaker_is_asked_over_tcp_and_unix_for_connections_of_any_kind() {
    let node = Node::start_with(&node_of_orders(""));
    let [unix, tcp_address] = node.handshakers();
    for address in [tcp_address, unix.replacen("unix:", "unix://", 1), unix] {
        let handshaker = handshaker(&address);
        let (connector, acceptor) = (AltsConnector::new(handshaker.clone()), AltsAcceptor::new(handshaker));
        let ends = meet(&connector, &acceptor, duplex(1 << 16)).await;
        for end in [&ends.0, &ends.1] {
            assert_eq!(info(end).peer_service_account(), "orders@x.example", "{address}");
        }
        let ends = meet(&connector, &acceptor, tcp().await).await;
        assert_eq!(info(&ends.1).peer_service_account(), "orders@x.example", "{address}");
    }
}

#[tokio::test]
async fn the_handle_for_a_token_of_the_peer_is_given_and_not_shown() {
    let directory = tempfile::tempdir().expect("there is room");
    let tokens = format!(
        "[token]\nissuer = \"https://altsd.example\"\n[[token.listener]]\naddress = \"unix:{}\"\n",
        directory.path().join("token.sock").display()
    );
    let node = Node::start_in(directory, &node_of_orders(&tokens));
    let handshaker = handshaker(&node.handshakers()[0]);
    let (connector, acceptor) = (AltsConnector::new(handshaker.clone()), AltsAcceptor::new(handshaker));
    let (_, server) = meet(&connector, &acceptor, tcp().await).await;
    let info = info(&server);
    let handle = info.token_exchange_handle().expect("altsd exchanges tokens");
    assert!(!handle.is_empty() && !info.peer_attributes().values().any(|value| value == handle));
    assert!(!format!("{info:?}").contains(handle));
}

#[tokio::test]
async fn a_handshake_that_arrives_byte_by_byte_succeeds() {
    let daemon = Daemon::start("");
    let (connector, acceptor) = programs(&daemon);
    // A pipe that holds one byte gives one byte to each read.
    let (client, server) = meet(&connector, &acceptor, duplex(1)).await;
    assert_eq!(info(&client).peer_service_account(), CART);
    assert_eq!(info(&server).peer_service_account(), FRONTEND);
}
