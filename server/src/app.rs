//! The composition root: the only file that names concrete back ends, the system's clock and its randomness.

use alts_handshake::SystemRandom;

use crate::{
    clock::{Clock, SystemClock},
    config::{self, Launch, Source},
    identity::{dev, files},
    snapshot::Snapshot,
};

/// Why the daemon does not start, or has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Dev(#[from] dev::Error),
}

/// Loads and checks identities and roots.
pub(crate) fn load(source: &Source) -> Result<Snapshot, Error> {
    let (now, random) = (SystemClock.now(), SystemRandom::new());
    Ok(match source {
        Source::Files(configured) => files::load(configured, now, &random)?,
        Source::Dev { user } => dev::load(user, now, &random)?,
    })
}

/// Serves until the process is told to end.
pub(crate) async fn serve(launch: Launch) -> Result<(), Error> {
    let _snapshot = load(&launch.source)?;
    Ok(())
}
