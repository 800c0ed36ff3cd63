//! The signing keys of this node, and the public keys of its fleet.
//!
//! [`keys`] decides; here it is done. One task keeps the keys, in files of this node alone, and tells the store what
//! others need to know of them. Whoever signs takes a snapshot and waits for nobody.

mod files;
mod fleet;
mod own;
pub(crate) mod record;
mod status;
mod task;

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use alts_request_auth::{Algorithm, SigningKey};
use alts_store::{Entry, Error as StoreError, Store};
use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use self::{
    files::Error,
    status::{Failure, KeyStatus, Status},
};
use self::{
    files::KeyFiles,
    task::{Command, Task},
};
use crate::{
    clock::Clock,
    identity::Random,
    token::{
        keys::{self, Origin},
        parts::{Keys, NoKey, Published},
    },
};

/// Requests that wait for the task.
const MAX_COMMANDS: usize = 16;

/// How the keys of this node come and go.
#[derive(Clone, Debug)]
pub(crate) struct KeySettings {
    pub(crate) algorithm: Algorithm,
    /// Where private keys are kept, in a directory of their own. Without it they end with the process.
    pub(crate) state_directory: Option<PathBuf>,
    /// A file with a private key, PKCS#8 in PEM, in place of keys that are made here.
    pub(crate) private_key: Option<PathBuf>,
    /// How long a key signs that was made here, in seconds.
    pub(crate) rotate: u64,
    /// How long a key is published before it signs, in seconds.
    pub(crate) publish_ahead: u64,
    /// The longest that a verifier keeps a set, in seconds.
    pub(crate) verifier_cache: u64,
    /// The longest lifetime of a token, in seconds.
    pub(crate) max_lifetime: u64,
    /// Whether the first key of this node signs at once, where other nodes publish a set already.
    pub(crate) sign_at_once: bool,
    /// What this node calls itself, for people.
    pub(crate) node: String,
}

impl KeySettings {
    fn rules(&self) -> keys::Settings {
        let origin = if self.private_key.is_some() { Origin::Imported } else { Origin::Generated };
        let Self { rotate, publish_ahead, verifier_cache, max_lifetime, sign_at_once, .. } = *self;
        keys::Settings { origin, rotate, publish_ahead, verifier_cache, max_lifetime, sign_at_once }
    }
}

/// What the store says now under `token-keys/`, by `kid`.
pub(crate) type Feed = watch::Receiver<Arc<BTreeMap<String, Entry>>>;

/// What a keyring is made of.
pub(crate) struct Parts {
    pub(crate) settings: KeySettings,
    /// Where other nodes learn of our keys. Without one this node is alone.
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) feed: Option<Feed>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
    pub(crate) observer: Arc<dyn Observe>,
}

/// Is told how the keys stand, to count them. It must not block.
pub(crate) trait Observe: Send + Sync {
    /// After every change, and at least every 15 s.
    fn keys(&self, _status: &Status) {}
}

/// Why an operator's wish was not done, or not wholly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error("no key of this fleet has the id {kid}; `altsd keys list` shows them")]
    Unknown { kid: String },
    #[error(
        "{path} holds no other key than before; put the next one there, and then rotate; if it is next already, and the one \
         that signs is stolen: altsd keys retire",
        path = path.display()
    )]
    SameFile { path: PathBuf },
    #[error("the key {kid} in {path} was used before and taken out of use; put another one there", path = path.display())]
    UsedUp { path: PathBuf, kid: String },
    #[error("no key was made: {problem}")]
    NotMade { code: &'static str, problem: String },
    #[error("nothing was done: {0}")]
    Store(StoreError),
    #[error(
        "this node has withdrawn {withdrawn} and publishes and believes it no more, but the store does not know it yet: \
         {problem}; it is told as soon as that is possible, and until then no other key signs here that it does not know"
    )]
    NotTold { withdrawn: String, problem: String },
    #[error("too many requests are waiting; try again")]
    Busy,
    #[error("the daemon is stopping")]
    Stopping,
}

/// What an operator's wish has done.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    /// The new key, where one was asked for or needed.
    pub(crate) key: Option<KeyStatus>,
    pub(crate) withdrawn: Vec<KeyStatus>,
}

/// The handle of the keys. When the last one is dropped, its task ends.
pub(crate) struct Keyring {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    verifier_cache: u64,
}

/// What the task and its handles look at.
struct Shared {
    clock: Arc<dyn Clock>,
    random: Random,
    snapshot: ArcSwap<Snapshot>,
    status: ArcSwap<Status>,
}

/// What tokens are signed with and verified by at one moment.
struct Snapshot {
    signer: Signer,
    published: Arc<Published>,
}

/// What signs.
#[derive(Clone)]
enum Signer {
    /// Until the promise of its record ends, in seconds since 1970.
    Key { key: Arc<SigningKey>, until: u64, used: Arc<AtomicU64> },
    /// Not before this time, in seconds since 1970.
    From(u64),
    /// Nothing.
    None(String),
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

/// Reads the keys of this node as a start does, and makes nothing. Blocks.
pub(crate) fn check(settings: &KeySettings) -> Result<(), Error> {
    files::check(settings.state_directory.as_deref())?;
    if let Some(path) = &settings.private_key {
        files::import(path, settings.algorithm)?;
    }
    Ok(())
}

impl Keyring {
    /// Reads the keys of this node, where the first mistake is the error, and starts the task that keeps them. The
    /// receiver resolves if that ends, which it does not do by itself. Nothing signs before the store was asked once.
    ///
    /// It must be called on a runtime.
    pub(crate) fn start(parts: Parts) -> Result<(Arc<Self>, oneshot::Receiver<()>), Error> {
        let Parts { settings, store, feed, clock, random, observer } = parts;
        let files = KeyFiles::open(settings.state_directory.as_deref())?;
        let held = files.load()?;
        let offered = settings
            .private_key
            .as_deref()
            .map(|path| files::import(path, settings.algorithm))
            .transpose()?;
        if let Some(warning) = settings.rules().warning() {
            tracing::warn!(reason = "publish_ahead_short", "{warning}");
        }
        let verifier_cache = settings.verifier_cache;
        let shared = Arc::new(Shared {
            clock,
            random,
            snapshot: ArcSwap::from_pointee(Snapshot {
                signer: Signer::None("the store was not asked yet".to_owned()),
                published: task::published([]),
            }),
            status: ArcSwap::default(),
        });
        let task = Task::new(task::Parts {
            settings,
            shared: shared.clone(),
            files,
            store,
            observer,
            held,
            offered,
        });
        let (commands, received) = mpsc::channel(MAX_COMMANDS);
        let (alive, ended) = oneshot::channel();
        tokio::spawn(async move {
            let _alive = alive;
            task.run(received, feed).await;
        });
        Ok((Arc::new(Self { commands, shared, verifier_cache }), ended))
    }

    /// How all keys of the fleet stand.
    pub(crate) fn status(&self) -> Arc<Status> {
        self.shared.status.load_full()
    }

    /// The longest that a verifier keeps a set, in seconds, as the configuration says.
    pub(crate) fn verifier_cache(&self) -> u64 {
        self.verifier_cache
    }

    /// Makes the next key now, or takes the one that is in the file now. It signs when verifiers know it; in an
    /// emergency at once, and all other keys of this node are withdrawn.
    pub(crate) async fn rotate(&self, emergency: bool) -> Result<Changed, ChangeError> {
        self.ask(|answer| Command::Rotate { emergency, answer }).await
    }

    /// Withdraws a key, of this node or another. If this node signs with it, another one signs at once.
    pub(crate) async fn retire(&self, kid: &str) -> Result<Changed, ChangeError> {
        let kid = kid.to_owned();
        self.ask(|answer| Command::Retire { kid, answer }).await
    }

    /// Waits until what is due now is done: after the start, until there is a set to publish. That the store does not
    /// answer delays it for seconds.
    pub(crate) async fn turn(&self) {
        let (answer, done) = oneshot::channel();
        let _ = self.commands.send(Command::Turn { answer }).await;
        let _ = done.await;
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<Changed, ChangeError>>) -> Command,
    ) -> Result<Changed, ChangeError> {
        let (answer, answered) = oneshot::channel();
        self.commands.try_send(command(answer)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ChangeError::Busy,
            mpsc::error::TrySendError::Closed(_) => ChangeError::Stopping,
        })?;
        answered.await.map_err(|_| ChangeError::Stopping)?
    }
}

impl Keys for Keyring {
    fn sign(&self, typ: &'static str, claims: &[u8]) -> Result<String, NoKey> {
        let now = self.shared.clock.now().as_secs();
        match &self.shared.snapshot.load().signer {
            Signer::Key { until, .. } if now > *until => Err(NoKey::Unusable(
                "its record in the store could not be renewed, and others may not publish it any more"
                    .to_owned(),
            )),
            Signer::Key { key, used, .. } => {
                // Before it signs: what is retired in this moment was used at least until now.
                used.fetch_max(now, Ordering::Relaxed);
                key.sign(typ, claims, &*self.shared.random)
                    .map_err(|error| NoKey::Unusable(error.to_string()))
            }
            Signer::From(from) => Err(NoKey::TooNew { seconds: from.saturating_sub(now).max(1) }),
            Signer::None(problem) => Err(NoKey::Unusable(problem.clone())),
        }
    }

    fn published(&self) -> Arc<Published> {
        self.shared.snapshot.load().published.clone()
    }
}

#[cfg(test)]
mod tests;
