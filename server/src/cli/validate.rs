//! `altsd validate`: everything that `run` checks before it serves, and nothing else.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use super::output::utc;
use crate::{
    app,
    config::{self, Files, Launch, Source},
    snapshot::Snapshot,
};

/// Check a configuration and the files it names
///
/// Prints what it would serve. A mistake is reported as FILE:LINE: KEY: PROBLEM, with exit code 78.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  altsd validate --config /etc/altsd/altsd.toml")]
pub(crate) struct Args {
    /// The file to check
    #[arg(long, env = "ALTSD_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<(), super::Error> {
    let launch = config::read(&args.config)?;
    let snapshot = app::load(&launch.source)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} is valid", args.config.display())
        .and_then(|()| summarize(&launch, &snapshot, &mut out))
        .map_err(super::Error::Output)
}

fn summarize(launch: &Launch, snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    for listener in &launch.listeners {
        writeln!(out, "listener  {}: callers are {}", listener.address, listener.identity)?;
    }
    let Source::Files(Files { identities, trust }) = &launch.source else {
        return Ok(());
    };
    for identity in identities {
        let account = identity.account.value.account();
        if let Some(credentials) = snapshot.credentials(account) {
            let (_, not_after) = credentials.validity();
            writeln!(out, "identity  {account}: certificate expires {}", utc(not_after))?;
        }
    }
    for entry in trust {
        let files = entry.roots.len();
        let s = if files == 1 { "" } else { "s" };
        writeln!(out, "authority {}: {files} file{s} of roots", entry.authority.value)?;
    }
    Ok(())
}
