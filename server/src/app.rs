//! The composition root: the only file that names concrete back ends, the system's clock and its randomness.

use std::{io, sync::Arc, time::Duration};

use alts_handshake::SystemRandom;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    clock::{Clock, SystemClock},
    config::{self, Launch, Source},
    handshaker::{Handshaker, ListenError, Listener, ListenerLimits, Shared, Timeouts},
    identity::{
        dev, files,
        signing::{self, SigningService, SigningSettings},
    },
    services::Services,
    snapshot::Snapshot,
};

/// How long streams in progress may take to end once the daemon is told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Why the daemon does not start, or has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Dev(#[from] dev::Error),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("signals cannot be waited for: {0}")]
    Signals(io::Error),
    #[error("a listener has ended: {0}")]
    Ended(String),
}

/// Loads and checks identities and roots.
pub(crate) fn load(source: &Source) -> Result<Snapshot, Error> {
    let (now, random) = (SystemClock.now(), Arc::new(SystemRandom::new()));
    Ok(match source {
        Source::Files(configured) => files::load(configured, now, &*random)?,
        Source::Dev { user } => dev::load(user, now, random)?,
    })
}

/// The clock of the machine, for commands that measure.
pub(crate) fn clock() -> impl Clock {
    SystemClock
}

/// Makes a signing service where there is none.
pub(crate) fn create_signing_service(settings: &SigningSettings) -> Result<SigningService, signing::Error> {
    SigningService::create(settings, SystemClock.now(), Arc::new(SystemRandom::new()))
}

/// The signing service that is there.
pub(crate) fn open_signing_service(settings: &SigningSettings) -> Result<SigningService, signing::Error> {
    SigningService::open(settings, SystemClock.now(), Arc::new(SystemRandom::new()))
}

/// Serves until the process is told to end, by SIGTERM or SIGINT. A second signal ends it at once.
pub(crate) async fn serve(launch: Launch) -> Result<(), Error> {
    let shared = Arc::new(Shared {
        snapshot: Arc::new(load(&launch.source)?),
        clock: Box::new(SystemClock),
        random: Box::new(SystemRandom::new()),
        handshakes: Arc::new(Semaphore::new(launch.limits.max_handshakes)),
        timeouts: Timeouts { handshake: launch.limits.handshake_timeout, idle: launch.limits.idle_timeout },
    });
    raise_open_files(&launch);
    let mut signals = Signals::new().map_err(Error::Signals)?;
    let (stop, stopped) = watch::channel(());
    let mut serving = start(&launch, &shared, &stopped)?;
    announce(&launch);

    tokio::select! {
        () = signals.next() => {}
        ended = serving.join_next() => return Err(Error::Ended(describe(ended))),
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

/// Opens all sockets before it serves on any: half a daemon is none.
fn start(
    launch: &Launch,
    shared: &Arc<Shared>,
    stopped: &watch::Receiver<()>,
) -> Result<JoinSet<Result<(), tonic::transport::Error>>, Error> {
    let opened = launch.listeners.iter().map(|configured| {
        let handshaker =
            Handshaker::new(shared.clone(), &configured.identity, launch.limits.max_handshakes_per_caller);
        Listener::open(&configured.address).map(|listener| (listener, handshaker))
    });
    let opened = opened.collect::<Result<Vec<_>, _>>()?;
    let limits = ListenerLimits {
        connections: launch.limits.max_connections,
        streams_per_connection: launch.limits.max_concurrent_streams,
    };
    let mut serving = JoinSet::new();
    for (listener, handshaker) in opened {
        let mut stopped = stopped.clone();
        // The channel carries nothing: its sender is dropped to stop the listeners.
        let stop = async move { while stopped.changed().await.is_ok() {} };
        let services = Services::default().with(handshaker.into_server());
        serving.spawn(listener.serve(services, limits, stop));
    }
    Ok(serving)
}

/// Room for file descriptors beside those of connections.
const OTHER_FILES: u64 = 64;

/// Raises the limit of open files to what the kernel allows, and says so if that is less than the configured
/// connections need.
fn raise_open_files(launch: &Launch) {
    let needed = (launch.listeners.len() * launch.limits.max_connections) as u64 + OTHER_FILES;
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
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

fn announce(launch: &Launch) {
    for listener in &launch.listeners {
        tracing::info!(address = %listener.address, identity = listener.identity, "serving handshakes");
    }
    if let (Source::Dev { .. }, Some(listener)) = (&launch.source, launch.listeners.first()) {
        tracing::warn!(
            "DEV MODE: every program that reaches this address is {}, trusted by this process only",
            listener.identity
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
