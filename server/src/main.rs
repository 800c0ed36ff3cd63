//! altsd, a node-local ALTS handshaker: it serves `grpc.gcp.HandshakerService`, so that unmodified gRPC programs
//! speak ALTS on any machine.

mod admin;
mod app;
mod attest;
mod audit;
mod cli;
mod clock;
mod config;
mod handshaker;
mod health;
mod identity;
mod listen;
mod metrics;
mod policy;
mod readiness;
mod shares;
mod snapshot;
mod token;
mod verifier;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::Parser;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    log_to_stderr(cli.log_level);
    match cli.command.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("altsd: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn log_to_stderr(level: Targets) {
    let to_stderr = fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr);
    tracing_subscriber::registry().with(to_stderr).with(level).init();
}
