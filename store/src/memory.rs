//! A store that lasts as long as the process.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Change, Entry, Error, Expected, Listing, Past, Revision, Store, Watch, Write,
    journal::Journal,
    lifetime::{Expires, Lifetimes},
    plan::{self, Held, Standing},
};

/// Most bytes of keys and values in memory. A hundred thousand peers take a tenth.
const MAX_BYTES: u64 = 256 << 20;

/// A store in memory, for tests and for nodes that keep nothing. It holds at most 256 MiB.
#[derive(Clone)]
pub struct MemoryStore(Arc<Memory>);

struct Memory {
    state: Mutex<State>,
    journal: Journal,
    lifetimes: Lifetimes,
}

struct State {
    entries: BTreeMap<String, (Bytes, Revision)>,
    standing: Standing,
}

impl MemoryStore {
    /// Makes an empty one.
    #[must_use]
    pub fn new() -> Self {
        let standing = Standing { revision: Revision(0), bytes: 0, limit: MAX_BYTES };
        Self(Arc::new(Memory {
            state: Mutex::new(State { entries: BTreeMap::new(), standing }),
            journal: Journal::new(standing.revision),
            lifetimes: Lifetimes::default(),
        }))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        plan::check_key(key)?;
        Ok(self.0.lock().entries.get_key_value(key).map(entry))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        plan::check_prefix(prefix)?;
        let state = self.0.lock();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let under = state.entries.range::<str, _>(from).take_while(|(key, _)| key.starts_with(prefix));
        Ok(Listing {
            entries: under.map(entry).collect(),
            revision: state.standing.revision,
            past: Past::default(),
        })
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, Error> {
        plan::check(&writes)?;
        let revision = self.0.apply(&mut self.0.lock(), writes)?;
        Lifetimes::start(&self.0);
        Ok(revision)
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        plan::check_prefix(prefix)?;
        self.0.journal.watch(prefix, after)
    }
}

#[async_trait]
impl Expires for Memory {
    fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    async fn expire(self: Arc<Self>, mut due: Vec<(String, Revision)>) -> Result<(), Error> {
        let mut state = self.lock();
        due.retain(|(key, revision)| state.entries.get(key).is_some_and(|(_, at)| at == revision));
        let writes = due.into_iter().map(|(key, revision)| Write::delete(key, Expected::At(revision)));
        self.apply(&mut state, writes.collect()).map(drop)
    }
}

impl Memory {
    /// Does a transaction that was checked. Watchers are told under the lock, so in the order of revisions.
    fn apply(&self, state: &mut State, writes: Vec<Write>) -> Result<Revision, Error> {
        let held = |write: &Write| {
            let (value, revision) = state.entries.get(&write.key)?;
            Some(Held { revision: *revision, bytes: plan::size(&write.key, value) })
        };
        let held: Vec<_> = writes.iter().map(held).collect();
        let plan = plan::decide(writes, &held, state.standing)?;
        for planned in &plan.changes {
            match &planned.change {
                Change::Put(entry) => {
                    state.entries.insert(entry.key.clone(), (entry.value.clone(), entry.revision));
                }
                Change::Deleted { key, .. } => {
                    state.entries.remove(key);
                }
            }
            self.lifetimes.note(planned);
        }
        state.standing = Standing { revision: plan.revision, bytes: plan.bytes, ..state.standing };
        if !plan.changes.is_empty() {
            self.journal.append(plan.revision, plan.told());
        }
        Ok(plan.revision)
    }

    /// Nothing that is done under the lock can panic half way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry((key, (value, revision)): (&String, &(Bytes, Revision))) -> Entry {
    Entry { key: key.clone(), value: value.clone(), revision: *revision }
}
