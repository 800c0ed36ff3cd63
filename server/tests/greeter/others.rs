//! What is not tonic over TCP: unix sockets below, hyper and plain tokio above.

use std::{
    io,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};

use alts_client::{AltsAcceptor, AltsConnectInfo, AltsConnector, AltsIncoming};
use hyper::Uri;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tonic::{
    Request, Status,
    transport::{Server, server::UdsConnectInfo},
};
use tower_service::Service;

use super::{
    greeter_server::{
        Greetings,
        helloworld::{greeter_client::GreeterClient, greeter_server::GreeterServer},
    },
    served::{CART, FRONTEND, connector, handshaker, hello},
    support::daemon::Daemon,
};

#[allow(dead_code, reason = "its main is for cargo run")]
#[path = "../../../client/examples/echo.rs"]
mod echo;
#[allow(dead_code, reason = "its main is for cargo run")]
#[path = "../../../client/examples/http1.rs"]
mod http1;

/// Opens a unix socket, whatever is called.
#[derive(Clone)]
struct Unix(PathBuf);

impl Service<Uri> for Unix {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<UnixStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(UnixStream::connect(path).await?)) })
    }
}

#[tokio::test]
async fn a_service_need_not_know_that_it_is_served_on_a_unix_socket() {
    let daemon = Daemon::start("");
    let path = daemon.directory.path().join("greeter.sock");
    let listener = UnixListener::bind(&path).expect("there is room");
    let incoming = AltsIncoming::new(listener, AltsAcceptor::new(handshaker(&daemon, "cart")));
    let over_unix = |request: Request<()>| {
        let connection = request.extensions().get::<AltsConnectInfo>();
        match connection.and_then(|connection| connection.inner::<UdsConnectInfo>()) {
            Some(_) => Ok(request),
            None => Err(Status::internal("it did not come over a unix socket")),
        }
    };
    let greeter = GreeterServer::with_interceptor(Greetings, over_unix);
    let server = tokio::spawn(Server::builder().add_service(greeter).serve_with_incoming(incoming));

    let endpoint = AltsConnector::endpoint("greeter.example:50051").expect("it is a target");
    let channel = endpoint.connect_with_connector(connector(&daemon).over(Unix(path))).await;
    let mut greeter = GreeterClient::new(channel.expect("it connects"));
    let reply = greeter.say_hello(hello("world")).await.expect("it is answered");
    assert_eq!(reply.into_inner().message, format!("Hello world, you are {FRONTEND}"));
    server.abort();
}

#[tokio::test]
async fn a_transport_that_does_not_open_is_named() {
    let daemon = Daemon::start("");
    let endpoint = AltsConnector::endpoint("greeter.example:50051").expect("it is a target");
    let nowhere = Unix(daemon.directory.path().join("nobody.sock"));
    let channel = endpoint.connect_with_connector_lazy(connector(&daemon).over(nowhere));
    let status = GreeterClient::new(channel).say_hello(hello("world")).await.expect_err("nobody is there");
    let expected = "no connection to greeter.example:50051: No such file or directory (os error 2)";
    assert_eq!(status.message(), expected);
}

#[tokio::test]
async fn http_tells_both_ends_who_the_other_is() {
    let daemon = Daemon::start("");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is an address");
    let address = listener.local_addr().expect("it has one");
    let incoming = AltsIncoming::new(listener, AltsAcceptor::new(handshaker(&daemon, "cart")));
    let server = tokio::spawn(http1::listen(incoming));
    for scheme in ["http", "https"] {
        let uri = format!("{scheme}://{address}/").parse().expect("it is a URI");
        let answer = http1::get(connector(&daemon), uri).await.expect("it is answered");
        assert_eq!(answer, (CART.to_owned(), format!("you are {FRONTEND}")));
    }
    server.abort();
}

#[tokio::test]
async fn plain_tokio_gets_back_what_it_sends_and_both_ends_close() {
    let daemon = Daemon::start("");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is an address");
    let address = listener.local_addr().expect("it has one");
    let incoming = AltsIncoming::new(listener, AltsAcceptor::new(handshaker(&daemon, "cart")));
    let server = tokio::spawn(echo::listen(incoming));
    let io = TcpStream::connect(address).await.expect("it listens");
    let mut stream = connector(&daemon).connect(io, &address.to_string()).await.expect("it is let in");
    stream.write_all(b"hello").await.expect("it is taken");
    stream.shutdown().await.expect("it is open");
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.expect("it comes back whole");
    assert_eq!(back, b"hello");
    server.abort();
}
