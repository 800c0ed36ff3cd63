//! What must be deleted when, for engines in this process: one task that counts seconds, however many keys there are.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{runtime::Handle, task::JoinHandle, time};

use crate::{Change, Error, MAX_WRITES, Revision, plan::Planned};

/// A store that can delete what has had its time.
#[async_trait]
pub(crate) trait Expires: Send + Sync + 'static {
    /// Where it notes what it writes.
    fn lifetimes(&self) -> &Lifetimes;

    /// Deletes, in one transaction, what is still as it was put. At most [`MAX_WRITES`].
    async fn expire(self: Arc<Self>, due: Vec<(String, Revision)>) -> Result<(), Error>;
}

/// The ends of lifetimes, at most one for each key.
#[derive(Default)]
pub(crate) struct Lifetimes(Mutex<Due>);

#[derive(Default)]
struct Due {
    /// Seconds counted while there was something to wait for.
    now: u64,
    by_end: BTreeSet<(u64, String)>,
    by_key: HashMap<String, (u64, Revision)>,
    sweeper: Option<JoinHandle<()>>,
}

impl Lifetimes {
    /// Notes a change. Must be called in the order of revisions.
    pub(crate) fn note(&self, planned: &Planned) {
        let mut due = self.lock();
        due.forget(planned.change.key());
        if let (Change::Put(entry), Some(lifetime)) = (&planned.change, planned.lifetime) {
            due.add(&entry.key, entry.revision, lifetime);
        }
    }

    /// Notes what was found when a store was opened.
    pub(crate) fn found(&self, key: &str, revision: Revision, lifetime: u64) {
        self.lock().add(key, revision, lifetime);
    }

    /// Sees that somebody counts, if there is anything to wait for and a runtime to do it in.
    pub(crate) fn start<S: Expires>(store: &Arc<S>) {
        let mut due = store.lifetimes().lock();
        let running = due.sweeper.as_ref().is_some_and(|sweeper| !sweeper.is_finished());
        if running || due.by_key.is_empty() {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            due.sweeper = Some(runtime.spawn(sweep(Arc::downgrade(store))));
        }
    }

    /// A second has passed: what is due now.
    fn second(&self) -> Vec<(String, Revision)> {
        let mut due = self.lock();
        due.now += 1;
        let mut ended = Vec::new();
        while let Some((end, key)) = due.by_end.pop_first() {
            if end > due.now {
                due.by_end.insert((end, key));
                break;
            }
            if let Some((_, revision)) = due.by_key.remove(&key) {
                ended.push((key, revision));
            }
        }
        ended
    }

    /// What could not be deleted now is tried again, unless it was written meanwhile.
    fn again(&self, ended: &[(String, Revision)]) {
        let mut due = self.lock();
        for (key, revision) in ended {
            if !due.by_key.contains_key(key) {
                due.add(key, *revision, 1);
            }
        }
    }

    /// Whether there is nothing to wait for; then the sweeper must end.
    fn rests(&self) -> bool {
        let mut due = self.lock();
        if due.by_key.is_empty() {
            // Under the same lock as the question, so that what is noted now starts another.
            due.sweeper = None;
        }
        due.by_key.is_empty()
    }

    /// Nothing that is done under the lock leaves it half done, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Due> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Due {
    fn forget(&mut self, key: &str) {
        if let Some((end, _)) = self.by_key.remove(key) {
            self.by_end.remove(&(end, key.to_owned()));
        }
    }

    fn add(&mut self, key: &str, revision: Revision, lifetime: u64) {
        // One more, because the second that is counted now has begun already.
        let end = self.now + lifetime + 1;
        self.by_end.insert((end, key.to_owned()));
        self.by_key.insert(key.to_owned(), (end, revision));
    }
}

async fn sweep<S: Expires>(store: Weak<S>) {
    let mut seconds = time::interval(Duration::from_secs(1));
    seconds.tick().await;
    loop {
        seconds.tick().await;
        let Some(store) = store.upgrade() else { return };
        let ended = store.lifetimes().second();
        for some in ended.chunks(MAX_WRITES) {
            if store.clone().expire(some.to_vec()).await.is_err() {
                store.lifetimes().again(some);
            }
        }
        if store.lifetimes().rests() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;

    fn put(key: &str, revision: u64, lifetime: Option<u64>) -> Planned {
        let entry = Entry { key: key.to_owned(), value: "x".into(), revision: Revision(revision) };
        Planned { change: Change::Put(entry), lifetime }
    }

    fn seconds(lifetimes: &Lifetimes, count: usize) -> Vec<Vec<(String, Revision)>> {
        (0..count).map(|_| lifetimes.second()).collect()
    }

    #[test]
    fn a_lifetime_ends_after_its_seconds_and_not_before() {
        let lifetimes = Lifetimes::default();
        lifetimes.note(&put("a", 5, Some(2)));
        assert_eq!(seconds(&lifetimes, 3), [vec![], vec![], vec![("a".to_owned(), Revision(5))]]);
        assert!(lifetimes.rests());
    }

    #[test]
    fn the_last_write_of_a_key_decides_alone() {
        let lifetimes = Lifetimes::default();
        for revision in 1..=1_000 {
            lifetimes.note(&put("a", revision, Some(1)));
            lifetimes.note(&put("b", revision, Some(1)));
            lifetimes.note(&put("c", revision, Some(1)));
        }
        assert_eq!(lifetimes.lock().by_end.len(), 3);
        lifetimes.note(&put("a", 1_001, None));
        lifetimes.note(&Planned {
            change: Change::Deleted { key: "b".to_owned(), revision: Revision(1_002) },
            lifetime: None,
        });
        assert_eq!(seconds(&lifetimes, 3), [vec![], vec![("c".to_owned(), Revision(1_000))], vec![]]);
    }

    #[test]
    fn what_could_not_be_deleted_is_due_again_unless_it_was_written() {
        let lifetimes = Lifetimes::default();
        lifetimes.note(&put("a", 1, Some(1)));
        lifetimes.note(&put("b", 2, Some(1)));
        let ended = seconds(&lifetimes, 2).pop().expect("two seconds have passed");
        lifetimes.note(&put("b", 3, Some(9)));
        lifetimes.again(&ended);
        assert_eq!(seconds(&lifetimes, 2), [vec![], vec![("a".to_owned(), Revision(1))]]);
    }
}
