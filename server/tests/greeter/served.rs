//! A greeter that is served over ALTS, and its callers.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use alts_client::{AllowedPeers, AltsAcceptor, AltsConnector, AltsIncoming, Handshaker};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tonic::{
    Request,
    transport::{Channel, Error, Server},
};

use super::{
    greeter_server::{
        Greetings,
        helloworld::{HelloRequest, greeter_client::GreeterClient, greeter_server::GreeterServer},
    },
    support::daemon::Daemon,
};

/// The accounts of the clients and of the server.
pub(crate) const FRONTEND: &str = "frontend@prod.example";
pub(crate) const CART: &str = "cart@prod.example";

/// How a greeter is served.
pub(crate) struct Setup {
    pub(crate) server: Server,
    pub(crate) acceptor: AltsAcceptor,
    pub(crate) max_unfinished: usize,
    pub(crate) allowed: AllowedPeers,
}

/// A greeter with the account [`CART`].
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    /// The peer and the reason of each connection that came to nothing.
    pub(crate) failures: Arc<Mutex<Vec<(String, &'static str)>>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

impl Served {
    pub(crate) async fn start(daemon: &Daemon) -> Self {
        Self::with(daemon, |setup| setup).await
    }

    /// At an address that was in use a moment ago.
    pub(crate) async fn at(daemon: &Daemon, address: SocketAddr) -> Self {
        Self::listening(daemon, address, |setup| setup).await
    }

    pub(crate) async fn with(daemon: &Daemon, change: impl FnOnce(Setup) -> Setup) -> Self {
        Self::listening(daemon, (Ipv4Addr::LOCALHOST, 0).into(), change).await
    }

    async fn listening(daemon: &Daemon, address: SocketAddr, change: impl FnOnce(Setup) -> Setup) -> Self {
        let setup = change(Setup {
            server: Server::builder(),
            acceptor: AltsAcceptor::new(handshaker(daemon, "cart")),
            max_unfinished: 1_024,
            allowed: AllowedPeers::new([FRONTEND]),
        });
        let listener = TcpListener::bind(address).await.expect("there is an address");
        let address = listener.local_addr().expect("it has one");
        let failures = Arc::new(Mutex::new(Vec::new()));
        let seen = failures.clone();
        let incoming = AltsIncoming::new(listener, setup.acceptor)
            .max_unfinished(setup.max_unfinished)
            .on_failure(move |failed| {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.push((failed.peer.to_owned(), failed.error.code()));
            });
        let (stop, stopped) = oneshot::channel();
        let mut server = setup.server;
        let greeter = GreeterServer::with_interceptor(Greetings, setup.allowed);
        let task = tokio::spawn(server.add_service(greeter).serve_with_incoming_shutdown(incoming, async {
            // Dropped, it is told so too.
            let _ = stopped.await;
        }));
        Self { address, failures, stop, task }
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.task.await.expect("it does not panic").expect("it ends well");
    }
}

/// One of the two of a daemon, with the usual limits.
pub(crate) fn handshaker(daemon: &Daemon, name: &str) -> Handshaker {
    Handshaker::new(&address_of(daemon, name)).expect("it is an address")
}

pub(crate) fn address_of(daemon: &Daemon, name: &str) -> String {
    format!("unix:{}", daemon.socket(name).display())
}

/// A client with the account [`FRONTEND`].
pub(crate) fn connector(daemon: &Daemon) -> AltsConnector {
    AltsConnector::new(handshaker(daemon, "frontend"))
}

pub(crate) fn greeter(connector: &AltsConnector, server: SocketAddr) -> GreeterClient<Channel> {
    GreeterClient::new(connector.channel(&server.to_string()).expect("it is a target"))
}

pub(crate) fn hello(name: &str) -> Request<HelloRequest> {
    Request::new(HelloRequest { name: name.to_owned() })
}

/// A peer that says this, and nothing more.
pub(crate) async fn idle(server: SocketAddr, says: &[u8]) -> TcpStream {
    let mut peer = TcpStream::connect(server).await.expect("it listens");
    peer.write_all(says).await.expect("it takes it");
    peer
}

/// The server closes the connection.
pub(crate) async fn is_closed(peer: &mut TcpStream) {
    let mut said = Vec::new();
    // A reset is an end as well.
    let _ = peer.read_to_end(&mut said).await;
}
