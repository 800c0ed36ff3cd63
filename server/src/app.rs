//! The composition root: the only file that names the system's clock and randomness, and the only one that puts
//! the parts together.

use std::{sync::Arc, time::Duration};

use alts_handshake::SystemRandom;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{
    clock::{Clock, SystemClock},
    config::{ConfigError, Launch, Limits},
    handshaker::{
        listener::{ListenError, Listener},
        service::{Handshaker, Shared, Timeouts},
    },
};

/// How long streams in progress may take to end once the daemon is told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
    #[error("a listener has failed: {0}")]
    Listener(#[from] tonic::transport::Error),
}
