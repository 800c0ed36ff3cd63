//! The keeper of all identities of this node: one task, which asks their sources and publishes what they give.
//!
//! Files, and issued identities that are needed in any case, are obtained at the start. Others are made for the
//! first handshake that needs them, so that a workload that never runs here gets no key, and are kept from then on.

mod entry;
mod rotator;

use std::{fmt, sync::Arc, time::Duration};

use alts_handshake::{CertificateInfo, Credentials, Identity};
use arc_swap::ArcSwap;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use self::rotator::{Command, Rotator};
pub(crate) use super::watch::{Note, TrustSettings};
use super::{
    Origin, Random, Source,
    files::{self, FileSource},
    watch::{IdentityFolder, TrustFolder},
};
use crate::{
    clock::Clock,
    config::{self, IdentityFiles},
    snapshot::{Current, Snapshot},
};

/// How often files are looked at.
pub(crate) const POLL: Duration = Duration::from_secs(1);

/// How long a handshake waits for the certificate it needs.
const DEMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// Requests to the keeper that wait to be read.
const MAX_COMMANDS: usize = 1_024;

/// What a keeper is made of.
pub(crate) struct Parts {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
    pub(crate) observer: Arc<dyn Observe>,
    pub(crate) trust: TrustSettings,
    pub(crate) files: Vec<IdentityFiles>,
    pub(crate) issued: Vec<Issued>,
    /// How often files are looked at: [`POLL`].
    pub(crate) poll: Duration,
}

/// An identity whose certificates are made for us.
pub(crate) struct Issued {
    pub(crate) identity: Identity,
    pub(crate) source: Arc<dyn Source>,
    /// Whether to get it before anybody asks, as for the identity of a listener.
    pub(crate) at_start: bool,
}

/// Is told what happens, to count it. It must not block.
pub(crate) trait Observe: Send + Sync {
    /// A source has given a certificate that is now in use, or none that can be.
    fn rotated(&self, _origin: Origin, _ok: bool) {}
    /// How things are, after every change and at least every 15 s.
    fn state(&self, _state: &NodeState) {}
    /// A line for the operator; the keeper has logged it.
    fn noted(&self, _note: &Note) {}
}

/// How all identities together are. Identities that nobody has needed so far do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeState {
    /// Whether every identity has a certificate that is valid now.
    pub(crate) ready: bool,
    pub(crate) identities: usize,
    /// Identities whose source gave nothing good when it was last asked.
    pub(crate) failing: usize,
    /// Files of roots and CRLs whose new content is no good.
    pub(crate) trust_files_bad: usize,
    /// When the first certificate ends.
    pub(crate) earliest_not_after: Option<u64>,
    /// The shortest time, in seconds, that any identity can go on without its source.
    pub(crate) outage_budget_seconds: Option<u64>,
    /// When the first CRL should be replaced.
    pub(crate) next_crl_update: Option<u64>,
}

/// How one identity is.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) identity: Identity,
    pub(crate) origin: Origin,
    pub(crate) certificate: Option<CertificateInfo>,
    /// The last second of the whole chain.
    pub(crate) not_after: Option<u64>,
    /// When the next certificate is asked for, if nothing fails. Of files this is for others to say.
    pub(crate) renew_at: Option<u64>,
    pub(crate) failure: Option<Failure>,
}

/// Why there is no newer certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) problem: String,
    pub(crate) since: u64,
    pub(crate) attempts: u32,
    pub(crate) retry_at: u64,
}

/// Why an identity was not renewed. The old certificate is still in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RotateError {
    #[error("{account} is no identity of this node")]
    Unknown { account: String },
    #[error("{account} was not renewed: {problem}")]
    Failed { account: String, problem: String },
    #[error("too many requests are waiting; try again")]
    Busy,
    #[error("the daemon is stopping")]
    Stopping,
}

/// Why a handshake gets no credentials. Programs read it, so it has the reason code of a problem and not its text:
/// that has paths of files and what a command has printed, and is for operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DemandError {
    #[error("{account} is no identity of this node")]
    Unknown { account: String },
    #[error("there is no valid certificate for {account} ({code}); altsd certs list tells more")]
    Failed { account: String, code: &'static str },
    #[error("no certificate for {account} came within {} s", DEMAND_TIMEOUT.as_secs())]
    TimedOut { account: String },
    #[error("too many handshakes are waiting for certificates")]
    Busy,
    #[error("the daemon is stopping")]
    Stopping,
}

/// The handle of the keeper. When the last one is dropped, it ends.
#[derive(Clone)]
pub(crate) struct Keeper {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    ready: watch::Receiver<bool>,
}

/// What the task and its handles look at.
struct Shared {
    current: Arc<Current>,
    clock: Arc<dyn Clock>,
    statuses: ArcSwap<Vec<Status>>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Keeper {
    /// Reads all files, where the first mistake is the error, and starts the task that keeps everything fresh.
    /// Certificates that are made for us come after that: [`ready`](Self::ready) tells when.
    ///
    /// It must be called on a runtime.
    pub(crate) fn start(parts: Parts) -> Result<(Self, Arc<Current>), config::Error> {
        let now = parts.clock.now();
        // Before the files are read: what changes in between is seen.
        let identity_folder = IdentityFolder::new(&parts.files);
        let (trust_folder, trust) = TrustFolder::load(parts.trust)?;
        let credentials = parts
            .files
            .iter()
            .map(|entry| files::checked(entry, &trust, now, &*parts.random))
            .collect::<Result<Vec<_>, _>>()?;
        let from_files = parts.files.into_iter().map(|entry| {
            let identity = entry.account.value.clone();
            let source: Arc<dyn Source> = Arc::new(FileSource::new(entry, parts.random.clone()));
            Issued { identity, source, at_start: true }
        });
        let identities: Vec<_> = from_files.chain(parts.issued).collect();
        let current = Arc::new(Current::new(Snapshot::new(credentials, trust)));
        let shared = Arc::new(Shared {
            current: current.clone(),
            clock: parts.clock,
            statuses: ArcSwap::from_pointee(Vec::new()),
        });
        let (commands, received) = mpsc::channel(MAX_COMMANDS);
        let (is_ready, ready) = watch::channel(false);
        let rotator = Rotator::new(rotator::Parts {
            shared: shared.clone(),
            random: parts.random,
            observer: parts.observer,
            identities,
            trust_folder,
            identity_folder,
            is_ready,
        });
        tokio::spawn(rotator.run(received, parts.poll));
        Ok((Self { commands, shared, ready }, current))
    }

    /// How every identity is, also those that nobody has needed so far.
    pub(crate) fn status(&self) -> Vec<Status> {
        self.shared.statuses.load().to_vec()
    }

    /// Gets a new certificate now, also in the pause after a failure. While one is being made, that one counts.
    pub(crate) async fn rotate(&self, account: &str) -> Result<Status, RotateError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Rotate { account: account.to_owned(), answer };
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RotateError::Busy,
            mpsc::error::TrySendError::Closed(_) => RotateError::Stopping,
        })?;
        answered.await.unwrap_or(Err(RotateError::Stopping))
    }

    /// Waits, not for long, until the snapshot has credentials of this account that are valid now. In the pause
    /// after a failure it fails at once.
    pub(crate) async fn demand(&self, account: &str) -> Result<(), DemandError> {
        let now = self.shared.clock.now().as_secs();
        let is_valid = |credentials: &Arc<Credentials>| {
            let (not_before, not_after) = credentials.validity();
            (not_before..=not_after).contains(&now)
        };
        if self.shared.current.load().credentials(account).is_some_and(is_valid) {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let command = Command::Demand { account: account.to_owned(), answer };
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => DemandError::Busy,
            mpsc::error::TrySendError::Closed(_) => DemandError::Stopping,
        })?;
        match timeout(DEMAND_TIMEOUT, answered).await {
            Ok(answer) => answer.unwrap_or(Err(DemandError::Stopping)),
            Err(_) => Err(DemandError::TimedOut { account: account.to_owned() }),
        }
    }

    /// Whether every identity that is in use has a certificate that is valid now.
    pub(crate) fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }
}

#[cfg(test)]
mod bench;
#[cfg(test)]
mod tests;
