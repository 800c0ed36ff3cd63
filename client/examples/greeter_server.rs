//! A tonic server over ALTS that greets its callers by their service accounts.
//!
//! `cargo run --example greeter_server -- --handshaker unix:/run/altsd/handshaker.sock --listen 127.0.0.1:50051`

use std::{error::Error, net::SocketAddr, pin::Pin};

use alts_client::{AltsAcceptor, AltsAuthInfo, AltsIncoming, Handshaker};
use clap::Parser;
use futures_util::{Stream, StreamExt as _};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use helloworld::{
    HelloReply, HelloRequest,
    greeter_server::{Greeter, GreeterServer},
};

#[allow(missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
pub(crate) mod helloworld {
    include!("greeter/helloworld.rs");
}

#[derive(Parser)]
struct Arguments {
    /// Where the handshaker of this node is: HOST:PORT or unix:/path
    #[arg(long)]
    handshaker: String,
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let acceptor = AltsAcceptor::new(Handshaker::new(&arguments.handshaker)?);
    let listener = TcpListener::bind(arguments.listen).await?;
    println!("listening on {}", listener.local_addr()?);
    Server::builder()
        .add_service(GreeterServer::new(Greetings))
        .serve_with_incoming(AltsIncoming::new(listener, acceptor))
        .await?;
    Ok(())
}

/// Greets everybody who is authenticated. To let in some alone: `GreeterServer::with_interceptor(Greetings,
/// AllowedPeers::new(["orders@prod.example.com"]))`.
pub(crate) struct Greetings;

#[tonic::async_trait]
impl Greeter for Greetings {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let account = account_of(&request)?;
        Ok(Response::new(greeting(&request.get_ref().name, &account)))
    }

    type SayHelloStreamStream = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

    async fn say_hello_stream(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Self::SayHelloStreamStream>, Status> {
        let account = account_of(&request)?;
        let greet = move |asked: Result<HelloRequest, Status>| Ok(greeting(&asked?.name, &account));
        Ok(Response::new(Box::pin(request.into_inner().map(greet))))
    }
}

/// Who calls.
fn account_of<T>(request: &Request<T>) -> Result<String, Status> {
    let peer = AltsAuthInfo::of(request.extensions());
    let peer = peer.ok_or_else(|| Status::unauthenticated("the request did not come over ALTS"))?;
    Ok(peer.peer_service_account().to_owned())
}

fn greeting(name: &str, account: &str) -> HelloReply {
    HelloReply { message: format!("Hello {name}, you are {account}") }
}
