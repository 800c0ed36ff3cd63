//! A tonic client over ALTS that has itself greeted.
//!
//! `cargo run --example greeter_client -- --handshaker unix:/run/altsd/handshaker.sock --target localhost:50051`

use std::{error::Error, process::ExitCode};

use alts_client::{AltsConnector, Handshaker};
use clap::Parser;

use helloworld::{HelloRequest, greeter_client::GreeterClient};

#[allow(missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
mod helloworld {
    include!("greeter/helloworld.rs");
}

#[derive(Parser)]
struct Arguments {
    /// Where the handshaker of this node is: HOST:PORT or unix:/path
    #[arg(long)]
    handshaker: String,
    /// The server: HOST:PORT
    #[arg(long)]
    target: String,
    /// Who is to be greeted
    #[arg(long, default_value = "world")]
    name: String,
    /// The account that the server must have; any, if none is named
    #[arg(long)]
    target_service_account: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match greet(Arguments::parse()).await {
        Ok(message) => println!("{message}"),
        Err(error) => {
            eprintln!("greeter_client: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

async fn greet(arguments: Arguments) -> Result<String, Box<dyn Error>> {
    let mut connector = AltsConnector::new(Handshaker::new(&arguments.handshaker)?);
    for account in arguments.target_service_account {
        connector = connector.target_service_account(account);
    }
    // It is asked once for each connection: whom to speak to could be decided here too.
    connector = connector.authorize(|server| {
        println!("server: {}", server.peer_service_account());
        Ok(())
    });
    let mut greeter = GreeterClient::new(connector.channel(&arguments.target)?);
    let reply = greeter.say_hello(HelloRequest { name: arguments.name }).await;
    // The message of a status says why there is no connection, too.
    let reply = reply.map_err(|status| format!("{}: {}", status.code(), status.message()))?;
    Ok(reply.into_inner().message)
}
