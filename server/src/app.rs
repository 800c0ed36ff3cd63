//! The composition root: the only file that names concrete back ends, the system's clock and its randomness.

mod certificates;
mod open_files;
mod signals;
mod store;
mod tokens;

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use alts_handshake::SystemRandom;
use tokio::{
    runtime::Runtime,
    sync::{Semaphore, oneshot, watch},
    task::JoinSet,
    time::timeout,
};
use tonic::service::Routes;
use tonic_health::{pb::health_server::HealthServer, server::HealthService};

use self::{
    signals::Signals,
    store::Deciding,
    tokens::{Beside, Tokens},
};
use crate::{
    admin::{self, Kept, ListenerFacts, Standing},
    attest::{Attestor, AttestorProblem},
    audit::{self, Output, Trail},
    clock::{Clock, SystemClock},
    config::{self, Ca, Callers, Launch, Limits, Source},
    handshaker::{Attestation, Entitlement, Handshaker, Shared, Timeouts, WhoAmI},
    health,
    identity::{
        Random, dev,
        external::{self, ExecSource},
        files,
        keeper::Keeper,
        signing::{self, SigningService, SigningSettings},
    },
    listen::{ListenError, Listener, ListenerLimits},
    metrics,
    readiness::readiness,
    shares::Shares,
    snapshot::Snapshot,
    token::{
        contexts::Contexts,
        issuers::{Issuers, IssuersProblem},
        keyring,
    },
    verifier::PolicyFiles,
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
    Store(store::Error),
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
    #[error(transparent)]
    TokenKeys(#[from] keyring::Error),
    #[error("the tokens of another issuer cannot be taken: {0}")]
    TokenIssuers(#[from] IssuersProblem),
    #[error("a listener has ended: {0}")]
    Ended(String),
    #[error("peer lists and revocations are not followed any more: this is a mistake in altsd")]
    DecidingEnded,
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Config(error) => Self::Config(error),
            error => Self::Store(error),
        }
    }
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
    store::check(launch.store.as_ref())?;
    launch.token.as_ref().map(tokens::trusted).transpose()?;
    launch.token.as_ref().map(tokens::check_keys).transpose()?;
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
    open_files::raise(&launch);
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
    let (keeper, current) = Keeper::start(certificates::keeping(launch, clock.clone(), random())?)?;
    let deciding = Deciding::start(launch, clock.clone()).await?;
    let verifier = deciding.verifier.clone();
    let handshakes = Arc::new(Semaphore::new(launch.limits.max_handshakes));
    let ready = readiness(keeper.ready(), verifier.clone());
    let (health, follow) = health::health(ready.clone()).await;
    let contexts = launch.token.as_ref().map(|_| Arc::new(Contexts::default()));
    let shared = Arc::new(Shared {
        current: current.clone(),
        keeper: keeper.clone(),
        verifier: verifier.clone(),
        clock: clock.clone(),
        trail: trail.clone(),
        random: random(),
        handshakes: handshakes.clone(),
        handshakes_of: places(launch),
        unknown_of: Shares::new(launch.limits.max_handshakes_per_caller),
        timeouts: Timeouts { handshake: launch.limits.handshake_timeout, idle: launch.limits.idle_timeout },
        contexts: contexts.clone(),
    });
    let attestation = Arc::new(Attestation { attestor, workloads: launch.workloads.clone() });
    let mut opened = open_handshakers(launch, &shared, &attestation, &health)?;
    let tokens = match (&launch.token, contexts) {
        (Some(settings), Some(contexts)) => Some(tokens::open(
            settings,
            &launch.limits,
            Beside {
                attestation,
                verifier: verifier.clone(),
                ledger: deciding.ledger.clone(),
                key_records: deciding.key_records,
                store: deciding.store.clone(),
                contexts,
                issuers: Arc::new(Issuers::start(tokens::trusted(settings)?, &clock)?),
                trail: trail.clone(),
                clock: clock.clone(),
                random: random(),
            },
        )?),
        _ => None,
    };
    let signing_keys = tokens.as_ref().map(|tokens| tokens.keyring.clone() as Arc<dyn admin::SigningKeys>);
    if let Some(settings) = &launch.admin {
        let standing = Arc::new(Standing {
            verifier,
            clock: clock.clone(),
            engine: deciding.engine,
            listeners: launch.listeners.iter().map(listener_facts).collect(),
            handshakes,
            max_handshakes: launch.limits.max_handshakes,
            trail: trail.clone(),
            signing_keys: signing_keys.clone(),
            started_at,
            started,
            ready,
        });
        let operators = admin::operators(settings);
        let limits = admin::limits(&operators);
        let services = admin::services(admin::Parts {
            certificates: Arc::new(Kept { keeper, current }),
            clock,
            operators,
            store: deciding.store,
            ledger: deciding.ledger,
            decisions: standing.clone(),
            node: standing,
            trail,
            signing_keys,
            stopped: stopped.clone(),
        });
        opened.push((admin::open(settings)?, services, limits));
    }
    tokio::spawn(follow);
    Ok((serve_all(opened, tokens, stopped), deciding.ended))
}

/// A socket, and what is served there.
type Opened = (Listener, Routes, ListenerLimits);

fn open_handshakers(
    launch: &Launch,
    shared: &Arc<Shared>,
    attestation: &Arc<Attestation>,
    health: &HealthServer<HealthService>,
) -> Result<Vec<Opened>, Error> {
    let open = |configured: &config::Listener| {
        let entitlement = match &configured.callers {
            Callers::Fixed(identity) => Entitlement::Fixed(identity.clone()),
            Callers::Attested => Entitlement::Attested(attestation.clone()),
        };
        let handshaker =
            Handshaker::new(shared.clone(), entitlement.clone(), &configured.address).into_server();
        let whoami = WhoAmI::new(entitlement).into_server();
        let services = Routes::new(handshaker).add_service(whoami).add_service(health.clone());
        let limits = listener_limits(&launch.limits, &configured.callers);
        Ok((Listener::open(&configured.address)?, services, limits))
    };
    launch.listeners.iter().map(open).collect()
}

fn serve_all(opened: Vec<Opened>, tokens: Option<Tokens>, stopped: &watch::Receiver<()>) -> Serving {
    let mut serving = JoinSet::new();
    for (listener, services, limits) in opened {
        serving.spawn(listener.serve(services, limits, stop(stopped)));
    }
    let Some(Tokens { keyring, ended, opened }) = tokens else { return serving };
    for (listener, router, limits) in opened {
        let served = listener.serve_http(router, limits, stop(stopped));
        let (keyring, stop) = (keyring.clone(), stop(stopped));
        serving.spawn(async move {
            // Whoever comes earlier waits in the socket: for a token, or for a set that is not empty.
            tokio::select! {
                () = keyring.turn() => {}
                () = stop => return Ok(()),
            }
            drop(keyring);
            served.await;
            Ok(())
        });
    }
    let stop = stop(stopped);
    serving.spawn(async move {
        let _keyring = keyring;
        tokio::select! {
            // Keys would not come and go any more.
            _ = ended => tracing::error!(reason = "token_keys_ended", "the keys of tokens are not kept any more"),
            () = stop => {}
        }
        Ok(())
    });
    serving
}

/// Resolves when listeners shall end: the channel carries nothing, its sender is dropped.
fn stop(stopped: &watch::Receiver<()>) -> impl Future<Output = ()> + use<> {
    let mut stopped = stopped.clone();
    async move { while stopped.changed().await.is_ok() {} }
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

fn announce(launch: &Launch) {
    for listener in &launch.listeners {
        tracing::info!(address = %listener.address, callers = %listener.callers, "serving handshakes");
    }
    if let Some(admin) = &launch.admin {
        tracing::info!(address = %admin.address, "serving operators");
    }
    for listener in launch.token.iter().flat_map(|token| &token.listeners) {
        tracing::info!(address = %listener.address, attested = listener.attested, "serving tokens");
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
