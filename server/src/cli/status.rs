//! `altsd status`: how a running node stands.

use std::process::ExitCode;

use alts_proto::altsd::{GetStatusRequest, node_client::NodeClient, node_status::State};

use self::view::View;
use super::{
    client::{self, Asking, Daemon},
    output,
};

mod view;

/// What it exits with. 1 says that nobody answers, 2 are wrong arguments.
const DEGRADED: u8 = 4;
const NOT_READY: u8 = 5;

/// Say how a running altsd stands: whether it is ready, and what it decides by
///
/// Exit code 0: ready; 4: degraded, handshakes go on and something needs an operator; 5: not ready, handshakes are
/// refused; 1: there is no answer.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    asking: Asking,
}

const EXAMPLE: &str = "\
Examples:
  altsd status
  altsd status --output json | jq -r '.reasons[].message'";

/// Why it is not known how a node stands.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Asked(#[from] client::Error),
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

/// Asks and prints the answer. The exit code says the state.
pub(super) async fn run(args: Args) -> Result<ExitCode, Error> {
    let daemon = Daemon::of(&args.asking).await?;
    let mut client = NodeClient::new(daemon.channel.clone());
    let status = daemon.ask(client.get_status(GetStatusRequest {})).await?;
    let state = status.state();
    let view = View::from(status);
    output::print(args.asking.output, || view.text(), &view)?;
    Ok(match state {
        State::Ready => ExitCode::SUCCESS,
        State::Degraded => ExitCode::from(DEGRADED),
        State::NotReady | State::Unspecified => ExitCode::from(NOT_READY),
    })
}
