//! The peer of the interop suite that speaks ALTS with this crate: the suite's echo service and a client for it, with the
//! command line that the peers of all languages have. `server/tests/interop/README.md` tells what it is used for; for
//! how to use this crate look at the other examples first.

mod cases;
mod chat;
mod echo;
mod options;
mod server;
mod watched;

use std::process::ExitCode;

use clap::Parser as _;

use options::{Options, Role};

#[tokio::main]
async fn main() -> ExitCode {
    match Options::parse().role {
        Role::Server(options) => match server::serve(options).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("interop_peer: {error}");
                ExitCode::from(2)
            }
        },
        Role::Client(options) => {
            if cases::run(options).await {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
