//! HTTP/1 over ALTS with hyper: a server that tells its callers who they are, and its client.
//!
//! `cargo run --example http1 -- --handshaker unix:/run/altsd/handshaker.sock listen 127.0.0.1:8000`, and
//! `cargo run --example http1 -- --handshaker unix:/run/altsd/handshaker.sock get https://localhost:8000/`

use std::{convert::Infallible, error::Error, io};

use alts_client::{AltsAcceptor, AltsAuthInfo, AltsConnector, AltsIncoming, Handshaker};
use clap::{Parser, Subcommand};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, Uri,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;

#[derive(Parser)]
struct Arguments {
    /// Where the handshaker of this node is: HOST:PORT or unix:/path
    #[arg(long)]
    handshaker: String,
    #[command(subcommand)]
    side: Side,
}

#[derive(Subcommand)]
enum Side {
    /// Serves
    Listen { address: String },
    /// Asks, and prints the answer
    Get { uri: Uri },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let Arguments { handshaker, side } = Arguments::parse();
    let handshaker = Handshaker::new(&handshaker)?;
    match side {
        Side::Listen { address } => {
            let listener = TcpListener::bind(address).await?;
            println!("listening on {}", listener.local_addr()?);
            listen(AltsIncoming::new(listener, AltsAcceptor::new(handshaker))).await?;
        }
        Side::Get { uri } => {
            let (server, text) = get(AltsConnector::new(handshaker), uri).await?;
            println!("server: {server}\n{text}");
        }
    }
    Ok(())
}

pub(crate) async fn listen(mut incoming: AltsIncoming<TcpListener>) -> io::Result<()> {
    while let Some(stream) = incoming.next().await {
        let stream = stream?;
        let peer = stream.auth_info().clone();
        // What tonic does by itself: each request of a connection has the connection's peer in its extensions, for
        // handlers and for axum's `Extension`.
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            answer(request)
        });
        let connection =
            http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
    Ok(())
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let peer = AltsAuthInfo::of(request.extensions()).map_or("nobody", AltsAuthInfo::peer_service_account);
    Ok(Response::new(format!("you are {peer}")))
}

/// The server's account, and what it says.
pub(crate) async fn get(
    connector: AltsConnector,
    uri: Uri,
) -> Result<(String, String), Box<dyn Error + Send + Sync>> {
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let response = client.get(uri).await?;
    let server = AltsAuthInfo::of(response.extensions()).ok_or("the answer did not come over ALTS")?;
    let server = server.peer_service_account().to_owned();
    let text = response.into_body().collect().await?.to_bytes();
    Ok((server, String::from_utf8(text.into())?))
}
