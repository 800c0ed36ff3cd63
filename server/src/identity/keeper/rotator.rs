//! The task behind a keeper: what has happened → what is due → jobs → the snapshot.

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use alts_handshake::Credentials;
use pki_types::UnixTime;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    DemandError, Issued, MAX_COMMANDS, NodeState, Observe, RotateError, Shared, Status,
    entry::{Entry, Waiting},
};
use crate::identity::{
    Random, SourceError, install,
    rotation::{Decision, Wanted},
    watch::{Found, IdentityFolder, Note, TrustFolder},
};

/// The clock is looked at this often, as it can be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(15);

/// Jobs at once. A command of an operator has a lower limit of its own.
const MAX_JOBS: usize = 8;

/// After this long a job is given up. Sources have shorter limits of their own.
const JOB_TIMEOUT: Duration = Duration::from_secs(60);

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
        let mut received = Vec::new();
        loop {
            let wait = self.turn();
            tokio::select! {
                // All that wait, as each turn looks at all identities.
                count = commands.recv_many(&mut received, MAX_COMMANDS) => {
                    if count == 0 {
                        return;
                    }
                    received.drain(..).for_each(|command| self.obey(command));
                }
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
            Err(SourceError::Changing { .. }) => {
                entry.put_off(now);
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
                if !entry.has_room() {
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
            Note::Bad { what, code, problem, old_serves: true } => {
                tracing::warn!(code, "{what}: the old stays in use: {problem}");
            }
            Note::Bad { what, code, problem, old_serves: false } => {
                tracing::error!(code, "{what}: none is valid now: {problem}");
            }
            Note::Good { what } => tracing::info!("{what}: good again, and in use"),
            Note::Replaced { what } => tracing::info!("{what}: new, and in use"),
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

#[cfg(test)]
mod tests;
