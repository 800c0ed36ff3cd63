//! Drives workers through a run, and measures what they do.

mod gate;

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use self::gate::Gate;
use crate::{
    clock::Stopwatch,
    cpu::{ProcessId, Reading, Unknown},
    pace::{Pace, Schedule, Timing, Window},
    progress::Progress,
    report::IdleReport,
    sample::{Failure, Kind, Samples},
    scenario::{Scenario, Worker},
};

/// How often progress is shown.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// How long a worker of a closed loop waits after an operation that failed, so that a server that is away does not keep
/// the machine busy.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// How long operations may go on that are under way when a user ends the run.
const AFTER_INTERRUPT: Duration = Duration::from_secs(2);

/// What is asked of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) pace: Pace,
    pub(crate) window: Window,
    /// Operations at once, at most.
    pub(crate) workers: usize,
    /// How long one operation may take.
    pub(crate) timeout: Duration,
}

/// Which process it is, and what it has used; or why that is not known.
pub(crate) type Use = Result<(String, Result<Reading, String>), String>;

/// What came of a run.
pub(crate) struct Measured {
    pub(crate) samples: Samples,
    /// From the end of the warm-up until the last operation had ended.
    pub(crate) elapsed: Duration,
    pub(crate) interrupted: bool,
    /// Operations that were due and never begun.
    pub(crate) unstarted: u64,
    pub(crate) server: Use,
    pub(crate) client: Use,
    /// Operations that succeeded, in each second.
    pub(crate) per_second: Vec<u64>,
    pub(crate) idle: Option<IdleReport>,
}

/// Tells those who hold it that the user wants a run to end.
pub(crate) type Interrupt = watch::Receiver<bool>;

/// What all workers share.
struct Shared {
    load: Load,
    watch: Stopwatch,
    gate: Gate,
    /// Operations that have succeeded and failed, warm-up included, for the progress.
    done: AtomicU64,
    failed: AtomicU64,
}

/// What a run stands at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Nothing more begins.
    Ending,
    /// What is under way is given up.
    GivingUp,
}

/// Does a whole run.
pub(crate) async fn run(
    load: Load,
    scenario: &Scenario,
    server: Result<ProcessId, Unknown>,
    mut progress: Progress,
    mut interrupt: Interrupt,
) -> Measured {
    let (phase, phases) = watch::channel(Phase::Running);
    let watch = Stopwatch::start();
    let gate = match load.pace {
        Pace::Closed => Gate::open(),
        Pace::Open(rate) => Gate::paced(Schedule::new(rate, load.window), watch),
    };
    let shared = Arc::new(Shared { load, watch, gate, done: AtomicU64::new(0), failed: AtomicU64::new(0) });
    let mut workers = JoinSet::new();
    for index in 0..load.workers {
        workers.spawn(work(shared.clone(), scenario.worker(index), phases.clone()));
    }
    let warm_up = until(load.window.warm_up, "warming up", &shared, &mut progress, &mut interrupt).await;
    let meter = Meter::begin(server);
    let begun = watch.elapsed();
    let interrupted =
        warm_up || until(load.window.end(), "measuring", &shared, &mut progress, &mut interrupt).await;
    phase.send_replace(Phase::Ending);
    let closed = watch.elapsed();
    shared.gate.close();
    let patience = if interrupted { AFTER_INTERRUPT } else { load.timeout + AFTER_INTERRUPT };
    let mut samples = Samples::default();
    let give_up = async {
        tokio::select! {
            () = sleep(patience) => {}
            () = again(&mut interrupt, interrupted) => sleep(AFTER_INTERRUPT).await,
        }
    };
    tokio::pin!(give_up);
    let mut given_up = false;
    loop {
        tokio::select! {
            joined = workers.join_next() => match joined {
                None => break,
                // A worker that panics has found a bug of this program.
                Some(joined) => samples.merge(joined.expect("a worker does not panic")),
            },
            () = &mut give_up, if !given_up => {
                given_up = true;
                phase.send_replace(Phase::GivingUp);
            }
        }
    }
    let elapsed = watch.elapsed().saturating_sub(begun);
    let (server, client) = meter.end();
    progress.finish();
    let per_second = mem::take(&mut samples.seconds);
    let unstarted = shared.gate.unstarted(closed);
    Measured { samples, elapsed, interrupted, unstarted, server, client, per_second, idle: None }
}

/// Measures a piece of work that has no pace.
pub(crate) async fn measure<T>(
    server: Result<ProcessId, Unknown>,
    work: impl Future<Output = T>,
) -> (T, Duration, Use, Use) {
    let (watch, meter) = (Stopwatch::start(), Meter::begin(server));
    let done = work.await;
    let (server, client) = meter.end();
    (done, watch.elapsed(), server, client)
}

/// Waits until that time of the run; `true` if the user has ended it before.
async fn until(
    time: Duration,
    phase: &str,
    shared: &Shared,
    progress: &mut Progress,
    interrupt: &mut Interrupt,
) -> bool {
    let mut looks = interval(BETWEEN_LOOKS);
    let end = sleep(time.saturating_sub(shared.watch.elapsed()));
    tokio::pin!(end);
    loop {
        tokio::select! {
            biased;
            () = &mut end => return false,
            () = interrupted(interrupt) => return true,
            _ = looks.tick() => {
                let (done, failed) = (&shared.done, &shared.failed);
                let (done, failed) = (done.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
                progress.show(phase, shared.watch.elapsed(), done, failed);
            }
        }
    }
}

/// Waits until the user wants the run to end, for ever if nobody can want it.
async fn interrupted(interrupt: &mut Interrupt) {
    if interrupt.wait_for(|wanted| *wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The same for a run that has come to its end; one that was ended already is not ended again.
async fn again(interrupt: &mut Interrupt, is_already: bool) {
    if is_already {
        std::future::pending::<()>().await;
    }
    interrupted(interrupt).await;
}

/// One worker, until the end.
async fn work(shared: Arc<Shared>, mut worker: Worker, mut phases: watch::Receiver<Phase>) -> Samples {
    let mut samples = Samples::default();
    let Window { warm_up, .. } = shared.load.window;
    while let Some(due) = shared.gate.next(shared.watch, shared.load.window).await {
        let kind = worker.choose();
        let begun = shared.watch.elapsed();
        let outcome = tokio::select! {
            biased;
            outcome = timeout(shared.load.timeout, worker.operate()) => outcome,
            _ = phases.wait_for(|phase| *phase == Phase::GivingUp) => return samples,
        };
        let ended = shared.watch.elapsed();
        let outcome = outcome.unwrap_or_else(|_| {
            Err(Failure::new(
                "timeout",
                format!("it took longer than {} s", shared.load.timeout.as_secs_f64()),
            ))
        });
        let has_failed = outcome.is_err();
        let counter = if has_failed { &shared.failed } else { &shared.done };
        counter.fetch_add(1, Ordering::Relaxed);
        if due >= warm_up {
            samples.add(kind, warm_up, Timing { due, begun, ended }, outcome);
        }
        if has_failed {
            worker.reset();
            if shared.load.pace == Pace::Closed {
                sleep(AFTER_FAILURE).await;
            }
        }
    }
    let finished = tokio::select! {
        finished = timeout(shared.load.timeout, worker.finish()) => finished,
        _ = phases.wait_for(|phase| *phase == Phase::GivingUp) => return samples,
    };
    let finished = finished.unwrap_or_else(|_| Err(Failure::new("timeout", "closing took too long")));
    if let Err(failure) = finished {
        let at = shared.watch.elapsed();
        // Of all that workers do, only connections are closed.
        samples.add(Kind::Record, warm_up, Timing { due: at, begun: at, ended: at }, Err(failure));
    }
    samples
}

/// Reads what the server and this process use, before and after.
struct Meter {
    server: Result<(ProcessId, Result<Reading, Unknown>), Unknown>,
    client: Result<(ProcessId, Result<Reading, Unknown>), Unknown>,
}

impl Meter {
    fn begin(server: Result<ProcessId, Unknown>) -> Self {
        let read = |process: ProcessId| {
            let reading = process.read();
            (process, reading)
        };
        Self { server: server.map(read), client: ProcessId::own().map(read) }
    }

    fn end(self) -> (Use, Use) {
        (used(self.server), used(self.client))
    }
}

fn used(begun: Result<(ProcessId, Result<Reading, Unknown>), Unknown>) -> Use {
    let (process, before) = begun.map_err(|unknown| unknown.to_string())?;
    let spent = before.and_then(|before| {
        let after = process.read()?;
        Ok(Reading { cpu: after.cpu.saturating_sub(before.cpu), ..after })
    });
    Ok((process.to_string(), spent.map_err(|unknown| unknown.to_string())))
}

#[cfg(test)]
mod tests;
