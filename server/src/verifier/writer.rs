//! The one who changes the policy: what the store and files say → a whole new policy → published.

use std::{collections::BTreeSet, sync::Arc, thread, time::Duration};

use alts_store::{Change, Entry as StoredEntry, Kind, Revision, Update};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{interval, timeout},
};

mod contact;

use super::{Away, Contact, Counts, FileState, PolicyFiles, State, Verifier, kinds};
use crate::{
    clock::Clock,
    policy::{Action, Entry, Key, Policy, Refused, Resources, Revocation, Revocations, Sources},
};

/// How often files are looked at.
const POLL: Duration = Duration::from_secs(1);

/// How long the first word of the store is waited for. A store that says nothing so long is not there, and then there
/// is the copy.
const PATIENCE: Duration = Duration::from_secs(8);

/// Most updates that wait, and that are put into one policy.
const MAX_WAITING: usize = 256;

/// What a verifier is kept current by.
pub(crate) struct Parts {
    pub(crate) default: Action,
    pub(crate) files: PolicyFiles,
    /// What a store says, if there is one.
    pub(crate) store: Option<mpsc::Receiver<Update>>,
    pub(crate) max_offline: Option<Duration>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn Observe>,
}

/// Is told how the policy stands whenever that changes.
pub(crate) trait Observe: Send + Sync {
    /// A new state is published.
    fn published(&self, state: &State);
}

/// What has happened.
enum Event {
    Files(Arc<Resources>, Arc<[FileState]>),
    FilesBad(Arc<[FileState]>),
    Store(Update),
    /// Files or the store are not followed any more.
    Ended,
}

impl Event {
    /// Whether the policy may be another by it.
    fn is_of_policy(&self) -> bool {
        matches!(self, Self::Files(..) | Self::Store(Update::All { .. } | Update::Changes { .. }))
            && !self.is_of_others()
    }

    /// Whether it only says that others than the policy have changed up to some revision.
    fn is_of_others(&self) -> bool {
        matches!(self, Self::Store(Update::Changes { changes, .. }) if changes.is_empty())
    }
}

/// Starts with what files and store say, and keeps following them. The receiver resolves if that ends, which it does
/// not do by itself.
pub(crate) async fn start(parts: Parts) -> (Arc<Verifier>, oneshot::Receiver<()>) {
    let mut writer = Writer::new(&parts);
    let Parts { files, store, max_offline, clock, .. } = parts;
    let (events, received) = mpsc::channel(MAX_WAITING);
    if let Some(mut store) = store {
        writer.listen(&mut store).await;
        tokio::spawn(follow_store(store, events.clone()));
    }
    let state = writer.compiled();
    writer.observer.published(&state);
    let verifier = Arc::new(Verifier::new(state, max_offline, clock));
    tokio::spawn(follow_files(files, events));
    let (alive, ended) = oneshot::channel();
    let kept = verifier.clone();
    // A thread of its own: to make a policy of a hundred thousand peers takes longer than a task may.
    thread::spawn(move || {
        let _alive = alive;
        writer.run(received, &kept);
    });
    (verifier, ended)
}

async fn follow_store(mut store: mpsc::Receiver<Update>, events: mpsc::Sender<Event>) {
    while let Some(update) = store.recv().await {
        if events.send(Event::Store(update)).await.is_err() {
            return;
        }
    }
    let _ = events.send(Event::Ended).await;
}

async fn follow_files(mut files: PolicyFiles, events: mpsc::Sender<Event>) {
    if files.states().is_empty() {
        return events.closed().await;
    }
    let mut ticks = interval(POLL);
    loop {
        ticks.tick().await;
        let Ok((kept, looked)) = spawn_blocking(move || {
            let looked = files.poll();
            (files, looked)
        })
        .await
        else {
            let _ = events.send(Event::Ended).await;
            return;
        };
        files = kept;
        let event = match looked {
            None => continue,
            Some(Ok(resources)) => Event::Files(resources, files.states()),
            Some(Err(())) => Event::FilesBad(files.states()),
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// What is known, and what was published of it.
struct Writer {
    default: Action,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observe>,
    files: Arc<Resources>,
    file_states: Arc<[FileState]>,
    stored: Arc<Resources>,
    revocations: Arc<Revocations>,
    foreign_keys: BTreeSet<String>,
    revision: Revision,
    contact: Contact,
    away: Option<Away>,
    /// Whether the store, or its copy, has ever told what it holds.
    has_told: bool,
    copy_problem: Option<String>,
    policy: Arc<Policy>,
    changed_at: u64,
}

impl Writer {
    fn new(parts: &Parts) -> Self {
        let (files, stored, revocations) = (parts.files.resources(), Arc::default(), Arc::default());
        let sources =
            Sources { default: parts.default, files: &files, store: &stored, revocations: &revocations };
        let policy = Arc::new(Policy::compile(sources, None));
        let never = || Contact::Lost { since: None, problem: "nothing has come yet".to_owned() };
        Self {
            default: parts.default,
            clock: parts.clock.clone(),
            observer: parts.observer.clone(),
            files,
            file_states: parts.files.states(),
            stored,
            revocations,
            foreign_keys: BTreeSet::new(),
            revision: Revision::default(),
            contact: if parts.store.is_some() { never() } else { Contact::None },
            away: None,
            has_told: false,
            copy_problem: None,
            policy,
            changed_at: parts.clock.now().as_secs(),
        }
    }

    /// Takes in the first that a store says: everything it holds, or that it is not there.
    async fn listen(&mut self, store: &mut mpsc::Receiver<Update>) {
        let everything = async {
            while let Some(update) = store.recv().await {
                // The contact comes before what a copy holds, and after what the store itself holds.
                let is_last = match &update {
                    Update::All { .. } => matches!(self.contact, Contact::Lost { since: Some(_), .. }),
                    Update::Contact(contact) => {
                        !matches!(contact, alts_store::Contact::Lost { since: Some(_), .. })
                    }
                    Update::Changes { .. } | Update::SetBack { .. } | Update::Copy(_) => false,
                };
                self.take(Event::Store(update));
                if is_last {
                    return;
                }
            }
        };
        // Without it the policy is that of files alone, and nobody is admitted by it until the store is heard of.
        let _ = timeout(PATIENCE, everything).await;
    }

    /// Works until somebody has nothing to say any more.
    fn run(mut self, mut events: mpsc::Receiver<Event>, verifier: &Verifier) {
        let mut waiting = Vec::new();
        while events.blocking_recv_many(&mut waiting, MAX_WAITING) > 0 {
            // To compile a policy for each token that is used once would be a lot of work for nothing.
            let is_of_others = waiting.iter().all(Event::is_of_others);
            for event in waiting.drain(..) {
                if matches!(event, Event::Ended) {
                    return;
                }
                self.take(event);
            }
            if is_of_others {
                verifier.advance(self.revision);
            } else {
                self.publish(verifier);
            }
        }
    }

    fn take(&mut self, event: Event) {
        if event.is_of_policy() {
            self.changed_at = self.clock.now().as_secs();
        }
        match event {
            Event::Files(resources, states) => {
                self.files = resources;
                self.file_states = states;
                tracing::info!("the documents of peer lists have changed, and are in use");
            }
            Event::FilesBad(states) => {
                self.file_states = states;
                for problem in self.file_states.iter().filter_map(|state| state.problem.as_ref()) {
                    tracing::error!(
                        reason = "policy_file_bad",
                        "{problem}; what the documents said before goes on to hold"
                    );
                }
            }
            Event::Store(update) => self.take_update(update),
            Event::Ended => {}
        }
    }

    fn take_update(&mut self, update: Update) {
        match update {
            Update::All { entries, revision } => {
                self.stored = Arc::default();
                self.revocations = Arc::default();
                self.foreign_keys.clear();
                for entry in &entries {
                    self.put(entry);
                }
                self.revision = revision;
                self.has_told = true;
            }
            Update::Changes { changes, revision } => {
                for change in &changes {
                    match change {
                        Change::Put(entry) => self.put(entry),
                        Change::Deleted { key, .. } => self.remove(key),
                    }
                }
                self.revision = revision;
            }
            Update::Contact(contact) => {
                self.contact = contact::told(contact);
                self.away = Away::of(&self.contact, self.away, &*self.clock);
            }
            Update::SetBack { known, found } => contact::set_back(known, found),
            Update::Copy(problem) => {
                if let Some(problem) = &problem {
                    tracing::error!(
                        reason = "store_copy_failed",
                        "the store is not copied to this node: {problem}"
                    );
                }
                self.copy_problem = problem;
            }
        }
    }

    fn put(&mut self, entry: &StoredEntry) {
        let key = match Key::parse(&entry.key) {
            Ok(key) => key,
            Err(problem) => {
                tracing::warn!(
                    reason = "store_key_foreign",
                    key = entry.key,
                    "a key of the store names nothing: {problem}"
                );
                self.foreign_keys.insert(entry.key.clone());
                return;
            }
        };
        match key {
            Key::PeerList(name) => {
                let list = read(&kinds::PEER_LIST, entry);
                Arc::make_mut(&mut self.stored).peer_lists.insert(name.clone(), Entry::under(&name, list));
            }
            Key::Rule(name) => {
                let rule = read(&kinds::RULE, entry);
                Arc::make_mut(&mut self.stored).rules.insert(name.clone(), Entry::under(&name, rule));
            }
            Key::TargetName(name) => {
                let target = read(&kinds::TARGET_NAME, entry);
                Arc::make_mut(&mut self.stored)
                    .target_names
                    .insert(name.clone(), Entry::under(&name, target));
            }
            Key::Revocation(revoked) => {
                let record: Option<Revocation> = read(&kinds::REVOCATION, entry);
                Arc::make_mut(&mut self.revocations).put(&revoked, record.as_ref());
            }
        }
    }

    fn remove(&mut self, key: &str) {
        self.foreign_keys.remove(key);
        match Key::parse(key) {
            Ok(Key::PeerList(name)) => _ = Arc::make_mut(&mut self.stored).peer_lists.remove(&name),
            Ok(Key::Rule(name)) => _ = Arc::make_mut(&mut self.stored).rules.remove(&name),
            Ok(Key::TargetName(name)) => _ = Arc::make_mut(&mut self.stored).target_names.remove(&name),
            Ok(Key::Revocation(revoked)) => Arc::make_mut(&mut self.revocations).remove(&revoked),
            Err(_) => {}
        }
    }

    /// Makes a whole new policy, with what has not changed of the last one, and puts it in its place.
    fn publish(&mut self, verifier: &Verifier) {
        let state = self.compiled();
        self.observer.published(&state);
        verifier.publish(state);
    }

    fn compiled(&mut self) -> State {
        let sources = Sources {
            default: self.default,
            files: &self.files,
            store: &self.stored,
            revocations: &self.revocations,
        };
        let policy = Arc::new(Policy::compile(sources, Some(&self.policy)));
        for problem in policy.problems().iter().filter(|problem| !self.policy.problems().contains(problem)) {
            tracing::error!(reason = "policy_problem", "{problem}");
        }
        self.policy = policy.clone();
        State {
            policy,
            files: self.files.clone(),
            stored: self.stored.clone(),
            revision: self.revision,
            contact: self.contact.published(self.has_told),
            away: self.away,
            copy_problem: self.copy_problem.clone(),
            file_states: self.file_states.clone(),
            foreign_keys: self.foreign_keys.len(),
            counts: Counts::of(&self.files, &self.stored, self.revocations.len()),
            changed_at: self.changed_at,
        }
    }
}

/// The value of a record; nothing, if this altsd cannot read it.
fn read<R, T>(kind: &Kind<R>, entry: &StoredEntry) -> Option<T>
where
    R: Serialize + DeserializeOwned,
    T: TryFrom<R, Error = Refused>,
{
    let read = kind.decode(entry).map_err(|problem| problem.to_string());
    let value = read.and_then(|record| T::try_from(record.value).map_err(|problem| problem.to_string()));
    value
        .inspect_err(|problem| {
            tracing::error!(
                reason = "record_unreadable",
                key = entry.key,
                "a record of the store cannot be read: {problem}"
            );
        })
        .ok()
}

#[cfg(test)]
mod tests;
