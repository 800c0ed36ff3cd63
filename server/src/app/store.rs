//! What decides on peers: which store the configuration means, and who follows it. The only place that names the engines.

use std::{path::Path, sync::Arc, time::Duration};

use alts_store::{MemoryStore, ReplicaSettings, SledStore, Store, Update, follow};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::spawn_blocking,
};

use crate::{
    clock::Clock,
    config::{self, Database, Launch, StoreSettings},
    identity::{StateDirectory, StateProblem},
    metrics::Metrics,
    token::ledger::{self, KeyRecords, Ledger, Sides},
    verifier::{PolicyFiles, Verifier, writer},
};

/// Under the state directory: what operators decided on this node, and what a fleet did.
const OWN: &str = "store";
#[cfg(feature = "etcd")]
const COPY: &str = "etcd-copy";

/// Why there is no store. The daemon does not start then: it would not know whom an operator has revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Directory(#[from] StateProblem),
    #[error("the store cannot be opened: {0}")]
    Open(alts_store::Error),
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error("the store cannot be opened: its engine has panicked")]
    Panicked,
}

/// What decides on peers.
pub(super) struct Deciding {
    pub(super) verifier: Arc<Verifier>,
    /// Where operators put their decisions, if there is such a place.
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) engine: Option<&'static str>,
    /// What of tokens is revoked and used. It is followed also where no token is given: operators revoke on any node.
    pub(super) ledger: Arc<Ledger>,
    /// Public keys of tokens that the store has.
    pub(super) key_records: watch::Receiver<KeyRecords>,
    /// Resolves if nobody keeps the verifier current any more.
    pub(super) ended: oneshot::Receiver<()>,
}

impl Deciding {
    /// Opens the store and waits, for a bounded time, for its first word.
    pub(super) async fn start(launch: &Launch, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let files = PolicyFiles::load(launch.policy.files.clone())?;
        let opened = match &launch.store {
            Some(settings) => Some(open(settings, clock.clone()).await?),
            None => None,
        };
        let (store, engine, max_offline, updates) = match opened {
            Some(opened) => {
                (Some(opened.store), Some(opened.engine), opened.max_offline, Some(opened.updates))
            }
            None => (None, None, None, None),
        };
        let (updates, of_tokens) = match updates.map(ledger::split) {
            Some(Sides { policy, tokens }) => (Some(policy), Some(tokens)),
            None => (None, None),
        };
        let (ledger, key_records) = ledger::start(ledger::Parts {
            store: store.clone(),
            updates: of_tokens,
            max_offline,
            clock: clock.clone(),
        });
        let observer = Arc::new(Metrics);
        let default = launch.policy.default;
        let parts = writer::Parts { default, files, store: updates, max_offline, clock, observer };
        let (verifier, ended) = writer::start(parts).await;
        Ok(Self { verifier, store, engine, ledger, key_records, ended })
    }
}

/// Makes the checks of a start that leave the store alone: a running daemon has it.
pub(super) fn check(settings: Option<&StoreSettings>) -> Result<(), Error> {
    match settings {
        #[cfg(feature = "etcd")]
        Some(StoreSettings::Etcd(settings)) => etcd::connection(settings).map(drop),
        _ => Ok(()),
    }
}

/// A store, and what it says.
struct Opened {
    store: Arc<dyn Store>,
    updates: mpsc::Receiver<Update>,
    /// How long its last word counts.
    max_offline: Option<Duration>,
    engine: &'static str,
}

/// Opens the store and follows it. Of a store that is elsewhere nothing is waited for.
async fn open(settings: &StoreSettings, clock: Arc<dyn Clock>) -> Result<Opened, Error> {
    match settings {
        StoreSettings::Memory => Ok(of_node(Arc::new(MemoryStore::new()), "memory", clock)),
        StoreSettings::Sled(database) => Ok(of_node(open_database(database, OWN).await?, "sled", clock)),
        #[cfg(feature = "etcd")]
        StoreSettings::Etcd(settings) => etcd::open(settings, clock).await,
        #[cfg(not(feature = "etcd"))]
        StoreSettings::Etcd(_) => {
            Err(Error::Open(alts_store::Error::Invalid("this altsd is built without etcd".to_owned())))
        }
    }
}

/// A store in this process: it is never away, and needs no copy.
fn of_node(store: Arc<dyn Store>, engine: &'static str, clock: Arc<dyn Clock>) -> Opened {
    let updates = follow(ReplicaSettings {
        source: store.clone(),
        identity: engine.to_owned(),
        prefix: String::new(),
        copy: None,
        now: seconds(clock),
        seed: 0,
    });
    Opened { store, updates, max_offline: None, engine }
}

async fn open_database(database: &Database, name: &'static str) -> Result<Arc<dyn Store>, Error> {
    let Database { state_directory, max_bytes } = database.clone();
    let opened = spawn_blocking(move || {
        let directory = StateDirectory::open(Path::new(&state_directory), true)?.path(name);
        SledStore::open(&directory, max_bytes).map_err(Error::Open)
    });
    Ok(Arc::new(opened.await.map_err(|_| Error::Panicked)??))
}

fn seconds(clock: Arc<dyn Clock>) -> Arc<dyn Fn() -> u64 + Send + Sync> {
    Arc::new(move || clock.now().as_secs())
}

#[cfg(feature = "etcd")]
mod etcd {
    use alts_store::{CopySettings, EtcdClientCertificate, EtcdSecret, EtcdStore, EtcdTls, EtcdUser};

    use super::*;
    use crate::{
        config::{EtcdSettings, Placed},
        identity::files,
    };

    /// Largest file of certificates, in bytes.
    const MAX_FILE: u64 = 1 << 20;

    /// What the keys of the copy begin with.
    const AT: &str = "copy/";

    /// What it takes to speak to etcd, with the files read.
    pub(super) fn connection(settings: &EtcdSettings) -> Result<alts_store::EtcdSettings, Error> {
        let mut connection =
            alts_store::EtcdSettings::new(settings.endpoints.clone(), settings.prefix.clone());
        connection.timeout = settings.request_timeout;
        connection.max_bytes = settings.copy.max_bytes;
        connection.tls = tls(settings)?;
        connection.user = settings.user.as_ref().map(user).transpose()?;
        Ok(connection)
    }

    pub(super) async fn open(settings: &EtcdSettings, clock: Arc<dyn Clock>) -> Result<Opened, Error> {
        let store: Arc<dyn Store> =
            Arc::new(EtcdStore::connect(connection(settings)?).await.map_err(Error::Open)?);
        let copy = open_database(&settings.copy, COPY).await?;
        let mut endpoints = settings.endpoints.clone();
        endpoints.sort_unstable();
        let updates = follow(ReplicaSettings {
            source: store.clone(),
            identity: format!("{} {}", settings.prefix, endpoints.join(" ")),
            prefix: String::new(),
            copy: Some(CopySettings { store: copy, at: AT.to_owned() }),
            now: seconds(clock),
            seed: u64::from(std::process::id()),
        });
        Ok(Opened { store, updates, max_offline: Some(settings.max_offline), engine: "etcd" })
    }

    fn tls(settings: &EtcdSettings) -> Result<Option<EtcdTls>, Error> {
        let Some(ca) = &settings.ca_certificates else { return Ok(None) };
        let client = settings.client.as_ref().map(|(chain, key)| {
            Ok::<_, Error>(EtcdClientCertificate { chain: content(chain)?, key: secret(key)? })
        });
        Ok(Some(EtcdTls { ca: content(ca)?, client: client.transpose()?, server_name: None }))
    }

    fn user((name, password): &(String, Placed<std::path::PathBuf>)) -> Result<EtcdUser, Error> {
        Ok(EtcdUser { name: name.clone(), password: secret(password)? })
    }

    fn content(file: &Placed<std::path::PathBuf>) -> Result<Vec<u8>, Error> {
        let content = files::content(&file.value, MAX_FILE).map_err(|problem| file.place.refuse(problem))?;
        Ok(content.to_vec())
    }

    /// Without the line end that an editor puts behind a password.
    fn secret(file: &Placed<std::path::PathBuf>) -> Result<EtcdSecret, Error> {
        let content = files::secret(&file.value).map_err(|problem| file.place.refuse(problem))?;
        let text = content.strip_suffix(b"\n").unwrap_or(&content);
        Ok(EtcdSecret::new(text.to_vec()))
    }
}
