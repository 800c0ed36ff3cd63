//! The task behind a keeper: what has happened → what is due → jobs → the snapshot.

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use alts_handshake::{CertificateInfo, Credentials, Identity};
use pki_types::UnixTime;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{DemandError, Failure, Issued, NodeState, Observe, RotateError, Shared, Status};
use crate::identity::{
    Random, Source, SourceError, install,
    rotation::{Decision, Failing, Held, Wanted, decide, decide_for_files},
    watch::{Found, IdentityFolder, Note, TrustFolder},
};

/// The clock is looked at this often, as it can be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(15);

/// Jobs at once. A command of an operator has a lower limit of its own.
const MAX_JOBS: usize = 8;

/// After this long a job is given up. Sources have shorter limits of their own.
const JOB_TIMEOUT: Duration = Duration::from_secs(60);

/// Handshakes that wait for one identity.
const MAX_WAITING: usize = 4_096;

/// What a handle asks for.
pub(super) enum Command {
    Rotate { account: String, answer: oneshot::Sender<Result<Status, RotateError>> },
    Demand { account: String, answer: oneshot::Sender<Result<(), DemandError>> },
}

pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
    pub(super) random: Random,
    pub(super) observer: Arc<dyn Observe>,
    pub(super) identities: Vec<Issued>,
    pub(super) trust_folder: TrustFolder,
    pub(super) identity_folder: IdentityFolder,
    pub(super) is_ready: watch::Sender<bool>,
}

pub(super) struct Rotator {
    shared: Arc<Shared>,
    random: Random,
    observer: Arc<dyn Observe>,
    entries: BTreeMap<String, Entry>,
    jobs: JoinSet<Done>,
    /// Away while files are looked at.
    folders: Option<Folders>,
    looks: JoinSet<(Folders, Looked)>,
    trust_files_bad: usize,
    is_ready: watch::Sender<bool>,
}

/// One identity.
struct Entry {
    identity: Identity,
    source: Arc<dyn Source>,
    /// Whether it is kept fresh. Once it is, it stays so.
    is_warm: bool,
    is_in_work: bool,
    wanted: Wanted,
    held: Option<Held>,
    certificate: Option<CertificateInfo>,
    failing: Option<Failing>,
    problem: Option<(&'static str, String)>,
    /// Counts the changes of its files: the same problem with other files is another bad state.
    generation: u64,
    noted: Option<(u64, &'static str)>,
    waiting: Vec<Waiting>,
}

enum Waiting {
    Rotate(oneshot::Sender<Result<Status, RotateError>>),
    Demand(oneshot::Sender<Result<(), DemandError>>),
}

/// A job that has ended, well or not.
type Done = (String, Result<Credentials, SourceError>);

struct Folders {
    trust: TrustFolder,
    identities: IdentityFolder,
}

struct Looked {
    found: Found,
    changed: Vec<String>,
}

impl Rotator {
    pub(super) fn new(parts: Parts) -> Self {
        let mut rotator = Self {
            shared: parts.shared,
            random: parts.random,
            observer: parts.observer,
            entries: BTreeMap::new(),
            jobs: JoinSet::new(),
            folders: Some(Folders { trust: parts.trust_folder, identities: parts.identity_folder }),
            looks: JoinSet::new(),
            trust_files_bad: 0,
            is_ready: parts.is_ready,
        };
        let snapshot = rotator.shared.current.load();
        for identity in parts.identities {
            let mut entry = Entry::new(identity);
            if let Some(credentials) = snapshot.credentials(entry.identity.account()) {
                entry.hold(credentials, rotator.draw());
            }
            rotator.entries.insert(entry.identity.account().to_owned(), entry);
        }
        rotator.tell_state(rotator.shared.clock.now());
        rotator
    }

    /// Works until there is no handle any more.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, poll: Duration) {
        let mut poll = interval(poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let wait = self.turn();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                Some(done) = self.jobs.join_next() => self.finish(done),
                Some(looked) = self.looks.join_next() => self.looked(looked),
                _ = poll.tick() => self.look(),
                () = sleep(wait) => {}
            }
        }
    }

    /// Starts what is due, tells how things are, and says how long nothing else will be due.
    fn turn(&mut self) -> Duration {
        let now = self.shared.clock.now();
        let mut next = u64::MAX;
        let mut due = Vec::new();
        for (account, entry) in self.entries.iter().filter(|(_, entry)| entry.is_warm) {
            if let Some(held) = entry.held.filter(|held| held.is_valid(now)) {
                // Readiness changes behind its last second.
                next = next.min(held.not_after.saturating_add(1));
            }
            if entry.is_in_work {
                continue;
            }
            match entry.decide(now) {
                Decision::Keep { until } => next = next.min(until),
                Decision::Renew { reason } => due.push((account.clone(), reason)),
            }
        }
        // Those for which there is no room now are due when a job has ended.
        for (account, reason) in due.into_iter().take(MAX_JOBS.saturating_sub(self.jobs.len())) {
            tracing::debug!(account, ?reason, "a certificate is asked for");
            self.start(&account, now);
        }
        self.tell_state(now);
        Duration::from_secs(next.saturating_sub(now.as_secs())).min(LONGEST_SLEEP)
    }

    fn start(&mut self, account: &str, now: UnixTime) {
        let Some(entry) = self.entries.get_mut(account) else { return };
        entry.is_in_work = true;
        if entry.wanted == Wanted::AtOnce {
            entry.wanted = Wanted::InTurn;
        }
        let (source, identity) = (entry.source.clone(), entry.identity.clone());
        let account = account.to_owned();
        self.jobs.spawn(async move {
            let wanted = identity.account().to_owned();
            // A task of its own: what panics in a source ends one job.
            let mut job = JoinSet::new();
            job.spawn(async move { timeout(JOB_TIMEOUT, source.obtain(&identity, now)).await });
            let result = match job.join_next().await {
                Some(Ok(Ok(result))) => result,
                Some(Ok(Err(_))) => {
                    Err(SourceError::TimedOut { account: wanted, seconds: JOB_TIMEOUT.as_secs() })
                }
                Some(Err(_)) | None => Err(SourceError::Panicked { account: wanted }),
            };
            (account, result)
        });
    }

    fn finish(&mut self, done: Result<Done, JoinError>) {
        // A job only waits for another task; it does not panic.
        let Ok((account, result)) = done else { return };
        let now = self.shared.clock.now();
        let draw = self.draw();
        let Some(entry) = self.entries.get_mut(&account) else { return };
        entry.is_in_work = false;
        let snapshot = self.shared.current.load();
        let checked = result.and_then(|credentials| {
            let origin = entry.source.origin();
            install::check(&credentials, &entry.identity, origin, snapshot.trust(), now)
                .map_err(|refused| entry.source.locate(refused))?;
            Ok(Arc::new(credentials))
        });
        let note = match checked {
            Ok(credentials) => {
                let snapshot = snapshot.with_credentials(credentials.clone());
                self.shared.current.publish(snapshot);
                Some(entry.succeed(&credentials, draw))
            }
            // The watch sees the change, and then another job is started.
            Err(SourceError::Changing { .. }) => {
                entry.wanted = Wanted::No;
                entry.answer_failed("the files are being changed; try again");
                return;
            }
            Err(error) => entry.fail(&error, now, draw),
        };
        self.observer.rotated(entry.source.origin(), entry.failing.is_none());
        entry.answer();
        if let Some(note) = note {
            self.tell(&note);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Rotate { account, answer } => {
                let Some(entry) = self.entries.get_mut(&account) else {
                    let _ = answer.send(Err(RotateError::Unknown { account }));
                    return;
                };
                if entry.waiting.len() >= MAX_WAITING {
                    let _ = answer.send(Err(RotateError::Busy));
                    return;
                }
                entry.is_warm = true;
                if !entry.is_in_work {
                    entry.wanted = Wanted::AtOnce;
                }
                entry.waiting.push(Waiting::Rotate(answer));
            }
            Command::Demand { account, answer } => {
                let now = self.shared.clock.now();
                let Some(entry) = self.entries.get_mut(&account) else {
                    let _ = answer.send(Err(DemandError::Unknown { account }));
                    return;
                };
                match entry.demand(now) {
                    Some(result) => drop(answer.send(result)),
                    None => entry.waiting.push(Waiting::Demand(answer)),
                }
            }
        }
    }

    /// Looks at the files, unless it does so already.
    fn look(&mut self) {
        let Some(mut folders) = self.folders.take() else { return };
        self.looks.spawn_blocking(move || {
            let looked = Looked { found: folders.trust.poll(), changed: folders.identities.poll() };
            (folders, looked)
        });
    }

    fn looked(&mut self, looked: Result<(Folders, Looked), JoinError>) {
        let (folders, Looked { found, changed }) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                // They are gone with it; everything goes on with what it has.
                tracing::error!("files are not watched any more; this is a mistake in altsd: {error}");
                return;
            }
        };
        self.trust_files_bad = folders.trust.bad();
        self.folders = Some(folders);
        for note in &found.notes {
            self.tell(note);
        }
        if let Some(trust) = found.trust {
            let snapshot = self.shared.current.load().with_trust(trust);
            self.shared.current.publish(snapshot);
            self.review();
        }
        for account in changed {
            if let Some(entry) = self.entries.get_mut(&account) {
                entry.wanted = Wanted::AtOnce;
                entry.generation += 1;
            }
        }
    }

    /// Under new roots, what was refused may be good, and what is in use may be so no more.
    fn review(&mut self) {
        let (now, snapshot) = (self.shared.clock.now(), self.shared.current.load());
        for (account, entry) in &mut self.entries {
            let held = snapshot.credentials(account);
            let is_bad = held.is_some_and(|held| snapshot.trust().check_own(held, now).is_err());
            if is_bad || entry.failing.is_some() {
                entry.wanted = Wanted::AtOnce;
            }
        }
    }

    fn tell_state(&self, now: UnixTime) {
        let statuses: Vec<_> = self.entries.values().map(Entry::status).collect();
        let warm = || self.entries.values().filter(|entry| entry.is_warm);
        let ends =
            || warm().map(|entry| entry.held.filter(|held| held.is_valid(now)).map(|held| held.not_after));
        let state = NodeState {
            ready: ends().all(|end| end.is_some()),
            identities: warm().count(),
            failing: warm().filter(|entry| entry.failing.is_some()).count(),
            trust_files_bad: self.trust_files_bad,
            earliest_not_after: warm().filter_map(|entry| entry.held).map(|held| held.not_after).min(),
            outage_budget_seconds: ends().map(|end| end.map_or(0, |end| end - now.as_secs())).min(),
            next_crl_update: self.shared.current.load().trust().next_crl_update(),
        };
        self.shared.statuses.store(Arc::new(statuses));
        self.is_ready.send_if_modified(|ready| mem::replace(ready, state.ready) != state.ready);
        self.observer.state(&state);
    }

    /// The one place that logs.
    fn tell(&self, note: &Note) {
        match note {
            Note::Bad { what, code, problem } => {
                tracing::warn!(code, "{what}: the old stays in use: {problem}");
            }
            Note::Good { what } => tracing::info!("{what}: good again, and in use"),
            Note::Replaced { what } => tracing::info!("{what}: replaced"),
        }
        self.observer.noted(note);
    }

    /// A number for jitter. Without randomness everything comes at one time, which is no reason to stop.
    fn draw(&self) -> u64 {
        let mut bytes = [0; 8];
        let _ = self.random.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

impl Entry {
    fn new(issued: Issued) -> Self {
        Self {
            identity: issued.identity,
            source: issued.source,
            is_warm: issued.at_start,
            is_in_work: false,
            wanted: Wanted::No,
            held: None,
            certificate: None,
            failing: None,
            problem: None,
            generation: 0,
            noted: None,
            waiting: Vec::new(),
        }
    }

    fn decide(&self, now: UnixTime) -> Decision {
        if self.source.origin().is_renewed_by_us() {
            decide(now, self.held.as_ref(), self.failing.as_ref(), self.wanted)
        } else {
            decide_for_files(now, self.failing.as_ref(), self.wanted)
        }
    }

    fn hold(&mut self, credentials: &Credentials, draw: u64) {
        self.held = Some(Held::new(credentials.validity(), draw));
        self.certificate = Some(credentials.certificate());
    }

    fn what(&self) -> String {
        format!("certificate of {}", self.identity)
    }

    fn succeed(&mut self, credentials: &Credentials, draw: u64) -> Note {
        self.hold(credentials, draw);
        self.wanted = Wanted::No;
        (self.failing, self.problem) = (None, None);
        match self.noted.take() {
            Some(_) => Note::Good { what: self.what() },
            None => Note::Replaced { what: self.what() },
        }
    }

    /// The note of a new bad state. Of one that goes on there is none.
    fn fail(&mut self, error: &SourceError, now: UnixTime, draw: u64) -> Option<Note> {
        self.failing = Some(if self.source.origin().is_renewed_by_us() {
            Failing::again(self.failing, self.held.as_ref(), now, draw)
        } else {
            // Either they change or time makes them good.
            self.wanted = Wanted::No;
            Failing::steadily(self.failing, now)
        });
        let (code, problem) = (error.code(), error.to_string());
        self.problem = Some((code, problem.clone()));
        let state = Some((self.generation, code));
        let is_new = mem::replace(&mut self.noted, state) != state;
        is_new.then(|| Note::Bad { what: self.what(), code, problem })
    }

    /// The answer to a demand, or nothing if it must wait.
    fn demand(&mut self, now: UnixTime) -> Option<Result<(), DemandError>> {
        // Somebody else's demand may have been met since this one was sent.
        if self.held.is_some_and(|held| held.is_valid(now)) {
            return Some(Ok(()));
        }
        self.is_warm = true;
        if self.waiting.len() >= MAX_WAITING {
            return Some(Err(DemandError::Busy));
        }
        let is_coming = self.is_in_work || matches!(self.decide(now), Decision::Renew { .. });
        (!is_coming).then(|| Err(self.not_served()))
    }

    fn not_served(&self) -> DemandError {
        let expired = "it is not valid now, and no newer one has come";
        let problem = self.problem.as_ref().map_or(expired, |(_, problem)| problem);
        DemandError::Failed { account: self.identity.account().to_owned(), problem: problem.to_owned() }
    }

    /// Answers all who wait, by how it is now.
    fn answer(&mut self) {
        match self.problem.as_ref().map(|(_, problem)| problem.clone()) {
            Some(problem) => self.answer_failed(&problem),
            None => {
                for waiting in mem::take(&mut self.waiting) {
                    // Who has gone away needs no answer.
                    match waiting {
                        Waiting::Rotate(answer) => drop(answer.send(Ok(self.status()))),
                        Waiting::Demand(answer) => drop(answer.send(Ok(()))),
                    }
                }
            }
        }
    }

    fn answer_failed(&mut self, problem: &str) {
        let (account, problem) = (self.identity.account().to_owned(), problem.to_owned());
        for waiting in mem::take(&mut self.waiting) {
            let (account, problem) = (account.clone(), problem.clone());
            match waiting {
                Waiting::Rotate(answer) => drop(answer.send(Err(RotateError::Failed { account, problem }))),
                Waiting::Demand(answer) => drop(answer.send(Err(DemandError::Failed { account, problem }))),
            }
        }
    }

    fn status(&self) -> Status {
        let failure =
            self.failing.as_ref().zip(self.problem.as_ref()).map(|(failing, (code, problem))| Failure {
                code,
                problem: problem.clone(),
                since: failing.since,
                attempts: failing.attempts,
                retry_at: failing.retry_at(),
            });
        let origin = self.source.origin();
        Status {
            identity: self.identity.clone(),
            origin,
            certificate: self.certificate.clone(),
            not_after: self.held.map(|held| held.not_after),
            renew_at: self.held.map(|held| held.renew_at).filter(|_| origin.is_renewed_by_us()),
            failure,
        }
    }
}

#[cfg(test)]
mod tests;
