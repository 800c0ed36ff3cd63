//! Plain tokio over ALTS: a server that sends back what it gets, and its client.
//!
//! `cargo run --example echo -- --handshaker unix:/run/altsd/handshaker.sock listen 127.0.0.1:7000`, and
//! `echo hello | cargo run --example echo -- --handshaker unix:/run/altsd/handshaker.sock connect localhost:7000`

use std::{error::Error, io};

use alts_client::{AltsAcceptor, AltsConnector, AltsIncoming, Handshaker};
use clap::{Parser, Subcommand};
use tokio::{
    io::{AsyncWriteExt as _, copy, split, stdin, stdout},
    net::{TcpListener, TcpStream},
};
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
    /// Sends back what it gets
    Listen { address: String },
    /// Sends its input, and prints what comes back
    Connect { target: String },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { handshaker, side } = Arguments::parse();
    let handshaker = Handshaker::new(&handshaker)?;
    match side {
        Side::Listen { address } => {
            let listener = TcpListener::bind(address).await?;
            println!("listening on {}", listener.local_addr()?);
            listen(AltsIncoming::new(listener, AltsAcceptor::new(handshaker))).await?;
        }
        Side::Connect { target } => {
            let io = TcpStream::connect(&target).await?;
            let stream = AltsConnector::new(handshaker).connect(io, &target).await?;
            eprintln!("server: {}", stream.auth_info().peer_service_account());
            // Both ways at once, until the server has sent back all and closed its side.
            let (mut received, mut sent) = split(stream);
            let sending = async {
                copy(&mut stdin(), &mut sent).await?;
                sent.shutdown().await
            };
            tokio::try_join!(sending, async { copy(&mut received, &mut stdout()).await })?;
        }
    }
    Ok(())
}

pub(crate) async fn listen(mut incoming: AltsIncoming<TcpListener>) -> io::Result<()> {
    while let Some(stream) = incoming.next().await {
        let (mut received, mut sent) = split(stream?);
        tokio::spawn(async move {
            copy(&mut received, &mut sent).await?;
            sent.shutdown().await
        });
    }
    Ok(())
}
