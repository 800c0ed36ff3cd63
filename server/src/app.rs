//! The composition root: the only file that names concrete back ends, the system's clock and its randomness.

mod node;
mod store;

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use alts_handshake::SystemRandom;
use alts_store::Store;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, oneshot, watch},
    task::JoinSet,
    time::timeout,
};
use tonic::service::Routes;

use self::node::Standing;
use crate::{
    admin::{self, Kept, ListenerFacts},
    attest::{Attestor, AttestorProblem},
    audit::{self, Output, Trail},
    clock::{Clock, SystemClock},
    config::{self, Ca, Callers, Configured, Launch, Limits, Source},
    handshaker::{
        Attestation, Entitlement, Handshaker, ListenError, Listener, ListenerLimits, Shared, Timeouts, WhoAmI,
    },
    health,
    identity::{
        Random, dev,
        external::{self, ExecSource},
        files,
        keeper::{self, Issued, Keeper, TrustSettings},
        signing::{self, SigningService, SigningSettings},
    },
    metrics::{self, Metrics},
    readiness::readiness,
    shares::Shares,
    snapshot::Snapshot,
    verifier::{PolicyFiles, Verifier, writer},
};

/// How long streams in progress may take to end once the daemon is told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// How long after that what waits for the audit trail may take to be written: a disk that hangs keeps nobody.
const AUDIT_DRAIN: Duration = Duration::from_secs(2);

/// Why the daemon does not start, or has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Dev(#[from] dev::Error),
    #[error("the signing service does not start: {0}")]
    Signing(#[from] signing::Error),
    #[error("the external CA cannot be used: {0}")]
    External(#[from] external::Error),
    #[error("callers cannot be told apart: {0}")]
    Attestor(#[from] AttestorProblem),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Admin(#[from] admin::Error),
    #[error(transparent)]
    Audit(#[from] audit::Error),
    #[error(transparent)]
    Metrics(#[from] metrics::Error),
    #[error("signals cannot be waited for: {0}")]
    Signals(io::Error),
    #[error("a listener has ended: {0}")]
    Ended(String),
    #[error("peer lists and revocations are not followed any more: this is a mistake in altsd")]
    DecidingEnded,
}

/// The clock of the machine.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// The randomness of the machine.
pub(crate) fn random() -> Random {
    Arc::new(SystemRandom::new())
}

/// What the checks of a start have read.
pub(crate) struct Checked {
    /// Credentials and roots from files.
    pub(crate) snapshot: Snapshot,
    /// The documents of peer lists.
    pub(crate) policy: PolicyFiles,
}

/// Makes the checks of a start that need no socket, and makes no root: a directory that has one gets its lock, and a
/// node issuer if that is missing. The store is not opened: a running daemon has it.
pub(crate) fn check(launch: &Launch) -> Result<Checked, Error> {
    let (clock, random) = (clock(), random());
    Attestor::new(&launch.workloads, launch.kubernetes.clone(), clock.clone())?;
    let policy = PolicyFiles::load(launch.policy.files.clone())?;
    let configured = match &launch.source {
        Source::Configured(configured) => configured,
        Source::Dev { user } => {
            let snapshot = dev::load(user, clock.now(), random)?;
            return Ok(Checked { snapshot, policy });
        }
    };
    match &configured.ca {
        // One that is not there is made at the start.
        Some(Ca::SigningService(settings)) => {
            match SigningService::open(settings, clock.now(), random.clone()) {
                Ok(_) | Err(signing::Error::Missing { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Some(Ca::External(settings)) => _ = ExecSource::new(settings.clone(), random.clone())?,
        None => {}
    }
    let snapshot = files::load(&configured.files, clock.now(), &*random)?;
    Ok(Checked { snapshot, policy })
}

/// Makes a signing service where there is none.
pub(crate) fn create_signing_service(settings: &SigningSettings) -> Result<SigningService, signing::Error> {
    SigningService::create(settings, clock().now(), random())
}

/// The signing service that is there.
pub(crate) fn open_signing_service(settings: &SigningSettings) -> Result<SigningService, signing::Error> {
    SigningService::open(settings, clock().now(), random())
}

/// Serves until the process is told to end, by SIGTERM or SIGINT. A second signal ends it at once.
pub(crate) fn serve(launch: Launch, runtime: Runtime) -> Result<(), Error> {
    raise_open_files(&launch);
    let (trail, writing) = audit::start(&launch.audit, clock())?;
    let served = runtime.block_on(serve_until_told(launch, trail));
    // Streams that are still open are dropped with it, and go into the trail as abandoned.
    drop(runtime);
    writing.close(AUDIT_DRAIN);
    served
}

async fn serve_until_told(launch: Launch, trail: Trail) -> Result<(), Error> {
    if let Some(address) = launch.metrics {
        metrics::install(address).await?;
    }
    let mut signals = Signals::new().map_err(Error::Signals)?;
    let (stop, stopped) = watch::channel(());
    let (mut serving, deciding_ended) = start(&launch, trail, &stopped).await?;
    announce(&launch);

    tokio::select! {
        () = signals.next() => {}
        ended = serving.join_next() => return Err(Error::Ended(describe(ended))),
        // Nobody would hear of a revocation any more.
        _ = deciding_ended => return Err(Error::DecidingEnded),
    }
    tracing::info!("stopping; handshakes in progress have {DRAIN:?} to end");
    drop(stop);
    tokio::select! {
        () = signals.next() => tracing::warn!("stopped by a second signal"),
        drained = timeout(DRAIN, async { while serving.join_next().await.is_some() {} }) => {
            if drained.is_err() {
                tracing::warn!("streams were still open after {DRAIN:?}");
            }
        }
    }
    Ok(())
}

type Serving = JoinSet<Result<(), tonic::transport::Error>>;

/// Opens all sockets before it serves on any: half a daemon is none.
async fn start(
    launch: &Launch,
    trail: Trail,
    stopped: &watch::Receiver<()>,
) -> Result<(Serving, oneshot::Receiver<()>), Error> {
    let clock = clock();
    let (started_at, started) = (clock.now().as_secs(), clock.monotonic());
    let attestor = Attestor::new(&launch.workloads, launch.kubernetes.clone(), clock.clone())?;
    let workloads = launch.workloads.clone();
    let attestation = Arc::new(Attestation { attestor, workloads });
    let (keeper, current) = Keeper::start(keeping(launch, clock.clone(), random())?)?;
    let deciding = Deciding::start(launch, clock.clone()).await?;
    let verifier = deciding.verifier.clone();
    let handshakes = Arc::new(Semaphore::new(launch.limits.max_handshakes));
    let standing = Arc::new(Standing {
        verifier: verifier.clone(),
        clock: clock.clone(),
        engine: deciding.engine,
        listeners: launch.listeners.iter().map(listener_facts).collect(),
        handshakes: handshakes.clone(),
        max_handshakes: launch.limits.max_handshakes,
        trail: trail.clone(),
        started_at,
        started,
    });
    let ready = readiness(keeper.ready(), verifier.clone(), clock.clone());
    let (health, follow) = health::health(ready).await;
    let admin = launch.admin.as_ref().map(admin::open).transpose()?;
    let shared = Arc::new(Shared {
        current: current.clone(),
        keeper: keeper.clone(),
        verifier,
        clock: clock.clone(),
        trail: trail.clone(),
        random: random(),
        handshakes,
        handshakes_of: places(launch),
        unknown_of: Shares::new(launch.limits.max_handshakes_per_caller),
        timeouts: Timeouts { handshake: launch.limits.handshake_timeout, idle: launch.limits.idle_timeout },
    });
    let mut opened = Vec::new();
    for configured in &launch.listeners {
        let entitlement = match &configured.callers {
            Callers::Fixed(identity) => Entitlement::Fixed(identity.clone()),
            Callers::Attested => Entitlement::Attested(attestation.clone()),
        };
        let handshaker =
            Handshaker::new(shared.clone(), entitlement.clone(), &configured.address).into_server();
        let whoami = WhoAmI::new(entitlement).into_server();
        let services = Routes::new(handshaker).add_service(whoami).add_service(health.clone());
        opened.push((
            Listener::open(&configured.address)?,
            services,
            listener_limits(&launch.limits, &configured.callers),
        ));
    }
    if let (Some(listener), Some(settings)) = (admin, &launch.admin) {
        let operators = admin::operators(settings);
        let limits = admin::limits(&operators);
        let services = admin::services(admin::Parts {
            certificates: Arc::new(Kept { keeper, current }),
            clock,
            operators,
            store: deciding.store,
            decisions: standing.clone(),
            node: standing,
            trail,
            stopped: stopped.clone(),
        });
        opened.push((listener, services, limits));
    }
    let mut serving = JoinSet::new();
    for (listener, services, limits) in opened {
        let mut stopped = stopped.clone();
        // The channel carries nothing: its sender is dropped to stop the listeners.
        let stop = async move { while stopped.changed().await.is_ok() {} };
        serving.spawn(listener.serve(services, limits, stop));
    }
    tokio::spawn(follow);
    Ok((serving, deciding.ended))
}

/// What decides on peers.
struct Deciding {
    verifier: Arc<Verifier>,
    /// Where operators put their decisions, if there is such a place.
    store: Option<Arc<dyn Store>>,
    engine: Option<&'static str>,
    /// Resolves if nobody keeps the verifier current any more.
    ended: oneshot::Receiver<()>,
}

impl Deciding {
    /// Opens the store and waits, for a bounded time, for its first word.
    async fn start(launch: &Launch, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let files = PolicyFiles::load(launch.policy.files.clone())?;
        let opened = match &launch.store {
            Some(settings) => Some(store::open(settings, clock.clone()).await?),
            None => None,
        };
        let (store, engine, max_offline, updates) = match opened {
            Some(opened) => {
                (Some(opened.store), Some(opened.engine), opened.max_offline, Some(opened.updates))
            }
            None => (None, None, None, None),
        };
        let observer = Arc::new(Metrics);
        let default = launch.policy.default;
        let parts = writer::Parts { default, files, store: updates, max_offline, clock, observer };
        let (verifier, ended) = writer::start(parts).await;
        Ok(Self { verifier, store, engine, ended })
    }
}

/// What the keeper of certificates is made of.
fn keeping(launch: &Launch, clock: Arc<dyn Clock>, random: Random) -> Result<keeper::Parts, Error> {
    let now = clock.now();
    let skew_allowance = launch.limits.clock_skew;
    let mut trust = TrustSettings { files: Vec::new(), fixed: Vec::new(), skew_allowance };
    let (files, issued) = match &launch.source {
        Source::Dev { user } => {
            let (service, identity) = dev::service(user, now, random.clone())?;
            trust.fixed = service.roots();
            (Vec::new(), vec![Issued { identity, source: Arc::new(service), at_start: true }])
        }
        Source::Configured(Configured { files, issued, ca }) => {
            trust.files.clone_from(&files.trust);
            let source: Option<Arc<dyn crate::identity::Source>> = match ca {
                Some(Ca::SigningService(settings)) => {
                    let service = SigningService::open_or_create(settings, now, random.clone())?;
                    trust.fixed = service.roots();
                    Some(Arc::new(service))
                }
                Some(Ca::External(settings)) => {
                    Some(Arc::new(ExecSource::new(settings.clone(), random.clone())?))
                }
                None => None,
            };
            // The reader of the configuration has seen to it that there is a source if anything is issued.
            let issued = issued.iter().zip(source.iter().cycle()).map(|(identity, source)| Issued {
                identity: identity.clone(),
                source: source.clone(),
                at_start: launch.listeners.iter().any(|one| one.callers == Callers::Fixed(identity.clone())),
            });
            (files.identities.clone(), issued.collect())
        }
    };
    let observer = Arc::new(Metrics);
    Ok(keeper::Parts { clock, random, observer, trust, files, issued, poll: keeper::POLL })
}

/// Places for handshakes in progress, for each account that a caller may have.
fn places(launch: &Launch) -> HashMap<String, Arc<Semaphore>> {
    let fixed = launch.listeners.iter().filter_map(|listener| match &listener.callers {
        Callers::Fixed(identity) => Some(identity),
        Callers::Attested => None,
    });
    let places = || Arc::new(Semaphore::new(launch.limits.max_handshakes_per_caller));
    let all = launch.workloads.identities().chain(fixed);
    all.map(|identity| (identity.account().to_owned(), places())).collect()
}

fn listener_facts(listener: &config::Listener) -> ListenerFacts {
    let callers = match listener.callers {
        Callers::Fixed(_) => "fixed",
        Callers::Attested => "attested",
    };
    ListenerFacts { address: listener.address.to_string(), callers }
}

fn listener_limits(limits: &Limits, callers: &Callers) -> ListenerLimits {
    ListenerLimits {
        users: None,
        connections: limits.max_connections,
        connections_of_one_user: match callers {
            Callers::Fixed(_) => limits.max_connections,
            Callers::Attested => limits.max_connections.div_ceil(2),
        },
        streams_per_connection: limits.max_concurrent_streams,
    }
}

/// Room for file descriptors beside those of connections.
const OTHER_FILES: u64 = 512;

/// File descriptors that one connection takes: its own, and three by which its caller is held fast, the process, its
/// directory and its executable. Only where several processes have a TCP connection, it takes three for each.
const FILES_OF_A_CONNECTION: usize = 4;

/// Raises the limit of open files to what the configured connections need, and says so if it cannot be. No higher:
/// the commands of an operator inherit it, and some close every descriptor that they might have.
fn raise_open_files(launch: &Launch) {
    let connections = launch.listeners.len() * launch.limits.max_connections;
    let needed = (connections * FILES_OF_A_CONNECTION) as u64 + OTHER_FILES;
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let raised = open_files(needed, soft, hard);
        if raised > soft {
            setrlimit(Resource::RLIMIT_NOFILE, raised, hard)?;
        }
        Ok(raised)
    });
    match allowed {
        Ok(allowed) if allowed >= needed => {}
        Ok(allowed) => tracing::warn!(
            "{needed} open files may be needed and {allowed} are allowed; raise the limit (LimitNOFILE=, ulimit -n) \
             or lower max_connections"
        ),
        Err(problem) => tracing::warn!("the limit of open files cannot be raised: {problem}"),
    }
}

/// The limit to have where `soft` is the one there is.
fn open_files(needed: u64, soft: u64, hard: u64) -> u64 {
    needed.min(hard).max(soft)
}

fn announce(launch: &Launch) {
    for listener in &launch.listeners {
        tracing::info!(address = %listener.address, callers = %listener.callers, "serving handshakes");
    }
    if let Some(admin) = &launch.admin {
        tracing::info!(address = %admin.address, "serving operators");
    }
    if let Some(address) = launch.metrics {
        tracing::info!(%address, "serving metrics");
    }
    if let Output::File(file) = &launch.audit.output {
        tracing::info!(file = %file.path.display(), "recording decisions");
    }
    if let (Source::Dev { .. }, Some(listener)) = (&launch.source, launch.listeners.first()) {
        tracing::warn!(
            "DEV MODE: every program that reaches this address is {}, trusted by this process only",
            listener.callers
        );
        eprintln!("\nNext, in another terminal:");
        eprintln!("  altsd handshake --handshaker {}", listener.address);
        eprintln!("  altsd exec --handshaker {} -- python app.py\n", listener.address);
    }
}

fn describe(ended: Option<Result<Result<(), tonic::transport::Error>, tokio::task::JoinError>>) -> String {
    match ended {
        Some(Ok(Err(error))) => error.to_string(),
        Some(Err(error)) => error.to_string(),
        Some(Ok(Ok(()))) | None => "it stopped without being told to".to_owned(),
    }
}

/// The signals that end the daemon.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_to_what_is_needed_and_never_lowered() {
        let table = [
            (5_000, 1_024, 1 << 30, 5_000),
            (5_000, 1_024, 4_096, 4_096),
            (5_000, 8_192, 1 << 30, 8_192),
            (5_000, u64::MAX, u64::MAX, u64::MAX),
            (5_000, 1_024, u64::MAX, 5_000),
        ];
        for (needed, soft, hard, expected) in table {
            assert_eq!(open_files(needed, soft, hard), expected, "{soft} {hard}");
        }
    }
}
