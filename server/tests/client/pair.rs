//! Two programs that connect, each with its own handshaker.

use std::time::Duration;

use alts_client::{AltsAcceptor, AltsAuthInfo, AltsConnector, AltsStream, Error, Handshaker, SecurityLevel};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

use crate::support::daemon::Daemon;

/// What the client says that it connects to.
pub(crate) const TARGET: &str = "cart.example:443";

/// The accounts of [`Daemon`].
pub(crate) const FRONTEND: &str = "frontend@prod.example";
pub(crate) const CART: &str = "cart@prod.example";

/// Longer than any test takes.
const TIMEOUT: Duration = Duration::from_secs(60);

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
