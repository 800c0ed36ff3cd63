//! Keeps the copy as new as what was told, beside the telling: a slow disk delays nobody who listens.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use backon::ExponentialBackoff;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::{sleep, timeout},
};

use super::{
    LONGEST_PAUSE, LONGEST_WAIT, Update,
    copy::{At, Copy},
    pauses, silent,
};
use crate::{Change, Entry, Error, Listing, Past, Revision, Store};

/// Batches that wait for the copy. With more it falls behind, and catches up with a listing.
const JOBS: usize = 256;

/// Most changes that are copied at once.
const TOGETHER: usize = 48;

/// What is to be copied. `heard` is when the source said it.
pub(super) enum Job {
    All { entries: Vec<Entry>, revision: Revision, past: Past, heard: u64 },
    Changes { changes: Vec<Change>, revision: Revision, past: Past, heard: u64 },
    Heard(u64),
}

/// What it takes to keep a copy.
pub(super) struct Parts {
    pub(super) copy: Copy,
    pub(super) source: Arc<dyn Store>,
    pub(super) prefix: String,
    pub(super) now: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(super) updates: mpsc::Sender<Update>,
    pub(super) seed: u64,
    /// What has been told of the copy.
    pub(super) problem: Option<String>,
}

/// The end that gives. When it is dropped, what was given is still copied.
pub(super) struct Copier {
    jobs: mpsc::Sender<Job>,
    behind: Arc<AtomicBool>,
}

impl Copier {
    pub(super) fn start(parts: Parts) -> Self {
        let (jobs, receiver) = mpsc::channel(JOBS);
        let behind = Arc::new(AtomicBool::new(false));
        let working = Working {
            pauses: pauses(parts.seed),
            parts,
            jobs: receiver,
            waiting: None,
            held: Revision(0),
            behind: behind.clone(),
        };
        tokio::spawn(working.run());
        Self { jobs, behind }
    }

    /// Never waits.
    pub(super) fn give(&self, job: Job) {
        let told = !matches!(job, Job::Heard(_));
        if let Err(TrySendError::Full(_)) = self.jobs.try_send(job) {
            self.behind.fetch_or(told, SeqCst);
        }
    }
}

struct Working {
    parts: Parts,
    pauses: ExponentialBackoff,
    jobs: mpsc::Receiver<Job>,
    /// Taken from the jobs, not done yet.
    waiting: Option<Job>,
    /// The revision that the copy holds.
    held: Revision,
    /// Something was not copied that should have been.
    behind: Arc<AtomicBool>,
}

impl Working {
    async fn run(mut self) {
        loop {
            if self.behind.load(SeqCst) {
                if let Err(problem) = self.catch_up().await {
                    self.behind.store(true, SeqCst);
                    self.report(Some(format!("the copy is behind: {problem}"))).await;
                    if self.jobs.is_closed() {
                        return;
                    }
                    sleep(self.pauses.next().unwrap_or(LONGEST_PAUSE)).await;
                    continue;
                }
                self.pauses = pauses(self.parts.seed);
                self.report(None).await;
            }
            let Some(job) = self.next().await else { return };
            let whole = matches!(job, Job::All { .. });
            match self.work(job).await {
                Ok(()) if whole => self.report(None).await,
                Ok(()) => {}
                Err(problem) => {
                    self.behind.store(true, SeqCst);
                    self.report(Some(format!("the copy cannot be written: {problem}"))).await;
                }
            }
        }
    }

    /// Copies everything anew. Jobs that come meanwhile are done afterwards, those before are part of it.
    async fn catch_up(&mut self) -> Result<(), Error> {
        self.behind.store(false, SeqCst);
        self.waiting = None;
        while self.jobs.try_recv().is_ok() {}
        let listing = timeout(LONGEST_WAIT, self.parts.source.list(&self.parts.prefix)).await;
        let Listing { entries, revision, past } = listing.unwrap_or_else(|_| Err(silent(LONGEST_WAIT)))?;
        self.parts.copy.replace(&entries, At { revision, past, heard: (self.parts.now)() }).await?;
        self.held = revision;
        Ok(())
    }

    async fn work(&mut self, job: Job) -> Result<(), Error> {
        match job {
            Job::All { entries, revision, past, heard } => {
                self.parts.copy.replace(&entries, At { revision, past, heard }).await?;
                self.held = revision;
            }
            Job::Changes { revision, heard, .. } if revision < self.held => {
                self.parts.copy.hear(heard).await?;
            }
            Job::Changes { mut changes, revision, past, heard } => {
                changes.retain(|change| change.revision() > self.held);
                self.parts.copy.apply(&changes, At { revision, past, heard }).await?;
                self.held = revision;
            }
            Job::Heard(heard) => self.parts.copy.hear(heard).await?,
        }
        Ok(())
    }

    /// The next job, with the changes of those after it as long as they are few.
    async fn next(&mut self) -> Option<Job> {
        let mut job = match self.waiting.take() {
            Some(job) => job,
            None => self.jobs.recv().await?,
        };
        while let Job::Changes { changes, revision, past, heard } = &mut job {
            match self.jobs.try_recv() {
                Ok(Job::Changes { changes: more, revision: later, past: last, heard: then })
                    if changes.len() + more.len() <= TOGETHER =>
                {
                    changes.extend(more);
                    (*revision, *past, *heard) = (later, last, then);
                }
                Ok(other) => {
                    self.waiting = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        Some(job)
    }

    async fn report(&mut self, problem: Option<String>) {
        let before = mem::replace(&mut self.parts.problem, problem);
        if before != self.parts.problem {
            // Nobody listens any more: then nobody need know.
            let _ = self.parts.updates.send(Update::Copy(self.parts.problem.clone())).await;
        }
    }
}
