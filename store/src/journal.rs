//! The latest changes of a store in this process: what watches start from, and what wakes them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::stream;
use tokio::sync::watch;

use crate::{Batch, Change, Error, Past, Revision, Watch};

/// Most transactions that are kept.
const MAX_TRANSACTIONS: usize = 4_096;

/// Most bytes that are kept: keys, values and [`CHANGE_COST`].
const MAX_BYTES: usize = 16 << 20;

/// What a change takes beside its key and value, in bytes, about.
const CHANGE_COST: usize = 128;

/// Most changes told at once, unless one transaction has more.
const MAX_BATCH: usize = 256;

/// The latest transactions, oldest first. Watchers read from here at their own pace and have no queue of their own: who
/// is too slow is told [`Error::Compacted`].
pub(crate) struct Journal {
    kept: Arc<Mutex<Kept>>,
    /// Dropped with the journal, which ends all watches.
    last: watch::Sender<Revision>,
}

struct Kept {
    /// Everything after this one is here.
    oldest: Revision,
    last: Revision,
    transactions: VecDeque<(Revision, Vec<Change>)>,
    bytes: usize,
    /// Why nothing more can be told.
    closed: Option<String>,
}

impl Journal {
    /// Begins after a transaction: what led there is not known.
    pub(crate) fn new(last: Revision) -> Self {
        let kept = Kept { oldest: last, last, transactions: VecDeque::new(), bytes: 0, closed: None };
        Self { kept: Arc::new(Mutex::new(kept)), last: watch::Sender::new(last) }
    }

    /// Tells a transaction that is kept for good. Transactions come here in the order of their revisions.
    pub(crate) fn append(&self, revision: Revision, changes: Vec<Change>) {
        lock(&self.kept).append(revision, changes);
        self.last.send_replace(revision);
    }

    /// The store can do nothing any more: all watches end with [`Error::Unavailable`], and none begins.
    pub(crate) fn close(&self, problem: String) {
        let last = {
            let mut kept = lock(&self.kept);
            kept.closed = Some(problem);
            kept.last
        };
        self.last.send_replace(last);
    }

    /// What happens after a revision. [`Error::Compacted`] if that is not known, and also if the store has not come so
    /// far: then it is not the store that the revision is from, but perhaps an older copy.
    pub(crate) fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        lock(&self.kept).check(after)?;
        let reader = Reader {
            kept: self.kept.clone(),
            last: self.last.subscribe(),
            prefix: prefix.to_owned(),
            at: after,
        };
        Ok(Box::pin(stream::try_unfold(reader, async |mut reader| {
            let batch = reader.next().await?;
            Ok(Some((batch, reader)))
        })))
    }
}

impl Kept {
    fn append(&mut self, revision: Revision, changes: Vec<Change>) {
        self.bytes += cost(&changes);
        self.last = revision;
        self.transactions.push_back((revision, changes));
        while self.transactions.len() > MAX_TRANSACTIONS || self.bytes > MAX_BYTES {
            let Some((revision, changes)) = self.transactions.pop_front() else { break };
            self.bytes -= cost(&changes);
            self.oldest = revision;
        }
    }

    fn check(&self, after: Revision) -> Result<(), Error> {
        if let Some(problem) = &self.closed {
            return Err(Error::Unavailable(problem.clone()));
        }
        if after < self.oldest || after > self.last {
            return Err(Error::Compacted { oldest: self.oldest });
        }
        Ok(())
    }

    /// The next changes after a revision; none if there are none yet.
    fn read(&self, prefix: &str, after: Revision) -> Result<Option<Batch>, Error> {
        self.check(after)?;
        let first = self.transactions.partition_point(|(revision, _)| *revision <= after);
        let mut batch = Batch { changes: Vec::new(), revision: after, past: Past::default() };
        for (revision, changes) in self.transactions.range(first..) {
            if batch.changes.len() >= MAX_BATCH {
                break;
            }
            batch.changes.extend(changes.iter().filter(|change| change.key().starts_with(prefix)).cloned());
            batch.revision = *revision;
        }
        Ok((batch.revision > after).then_some(batch))
    }
}

struct Reader {
    kept: Arc<Mutex<Kept>>,
    last: watch::Receiver<Revision>,
    prefix: String,
    at: Revision,
}

impl Reader {
    async fn next(&mut self) -> Result<Batch, Error> {
        loop {
            // Seen before it is read: what comes between wakes once too often, never not at all.
            self.last.borrow_and_update();
            let read = lock(&self.kept).read(&self.prefix, self.at)?;
            if let Some(batch) = read {
                self.at = batch.revision;
                return Ok(batch);
            }
            self.last.changed().await.map_err(|_| Error::Unavailable("it was closed".to_owned()))?;
        }
    }
}

fn cost(changes: &[Change]) -> usize {
    let value = |change: &Change| if let Change::Put(entry) = change { entry.value.len() } else { 0 };
    changes.iter().map(|change| change.key().len() + value(change) + CHANGE_COST).sum()
}

/// Nothing that is done under the lock leaves it half done, so a panic elsewhere does not spoil it.
fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{FutureExt, StreamExt};

    use super::*;
    use crate::Entry;

    fn put(key: &str, revision: u64, size: usize) -> Change {
        Change::Put(Entry {
            key: key.to_owned(),
            value: Bytes::from(vec![7; size]),
            revision: Revision(revision),
        })
    }

    fn journal(transactions: impl Iterator<Item = (u64, usize)>) -> Journal {
        let journal = Journal::new(Revision(10));
        for (revision, size) in transactions {
            journal.append(Revision(revision), vec![put("a/x", revision, size)]);
        }
        journal
    }

    fn oldest(journal: &Journal) -> Revision {
        lock(&journal.kept).oldest
    }

    #[test]
    fn a_journal_knows_nothing_before_its_beginning_and_nothing_after_its_end() {
        let journal = journal((11..=12).map(|revision| (revision, 1)));
        let compacted = Some(Error::Compacted { oldest: Revision(10) });
        for (after, expected) in
            [(0, &compacted), (9, &compacted), (10, &None), (12, &None), (13, &compacted)]
        {
            assert_eq!(journal.watch("", Revision(after)).err(), *expected, "after {after}");
        }
    }

    #[test]
    fn a_journal_keeps_so_many_transactions_and_no_more() {
        let count = MAX_TRANSACTIONS as u64;
        assert_eq!(oldest(&journal((11..=10 + count).map(|revision| (revision, 1)))), Revision(10));
        assert_eq!(oldest(&journal((11..=11 + count).map(|revision| (revision, 1)))), Revision(11));
    }

    #[test]
    fn a_journal_keeps_so_many_bytes_and_no_more() {
        let half = MAX_BYTES / 2 - CHANGE_COST - "a/x".len();
        assert_eq!(oldest(&journal([(11, half), (12, half)].into_iter())), Revision(10));
        let journal = journal([(11, half), (12, half + 1)].into_iter());
        assert_eq!((oldest(&journal), lock(&journal.kept).bytes), (Revision(11), MAX_BYTES / 2 + 1));
    }

    #[tokio::test]
    async fn a_watcher_that_is_too_slow_is_told_so_and_its_watch_ends() {
        let journal = journal([(11, 1)].into_iter());
        let mut watch = journal.watch("a/", Revision(10)).expect("10 is kept");
        assert_eq!(watch.next().await.map(|batch| batch.map(|batch| batch.revision)), Some(Ok(Revision(11))));
        for revision in 12..=13 + MAX_TRANSACTIONS as u64 {
            journal.append(Revision(revision), vec![]);
        }
        assert_eq!(watch.next().await, Some(Err(Error::Compacted { oldest: Revision(13) })));
        assert_eq!(watch.next().await, None);
    }

    #[tokio::test]
    async fn changes_elsewhere_are_told_as_progress_only() {
        let journal = journal([(11, 1), (12, 1)].into_iter());
        let mut watch = journal.watch("b/", Revision(10)).expect("10 is kept");
        let batch = Batch { changes: vec![], revision: Revision(12), past: Past::default() };
        assert_eq!(watch.next().await, Some(Ok(batch)));
        assert_eq!(watch.next().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_watch_far_behind_is_told_in_batches_without_a_gap() {
        let last = 10 + 2 * MAX_BATCH as u64 + 1;
        let journal = journal((11..=last).map(|revision| (revision, 1)));
        let mut watch = journal.watch("", Revision(10)).expect("10 is kept");
        let mut told = Vec::new();
        for size in [MAX_BATCH, MAX_BATCH, 1] {
            let batch = watch.next().await.expect("the journal is there").expect("all of it is kept");
            assert_eq!(
                (batch.changes.len(), batch.changes.last()),
                (size, Some(&put("a/x", batch.revision.0, 1)))
            );
            told.extend(batch.changes);
        }
        assert_eq!(told, (11..=last).map(|revision| put("a/x", revision, 1)).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_store_that_can_do_nothing_more_ends_its_watches_and_begins_none() {
        let journal = Journal::new(Revision(3));
        let mut waiting = journal.watch("", Revision(3)).expect("it is the last");
        let told = tokio::spawn(async move { waiting.next().await });
        journal.close("no room".to_owned());
        let problem = Error::Unavailable("no room".to_owned());
        assert_eq!(told.await.expect("it ends"), Some(Err(problem.clone())));
        assert_eq!(journal.watch("", Revision(3)).err(), Some(problem));
    }

    #[tokio::test]
    async fn a_closed_store_ends_its_watches() {
        let journal = Journal::new(Revision(1));
        let mut watch = journal.watch("", Revision(1)).expect("1 is kept");
        assert_eq!(watch.next().now_or_never(), None);
        drop(journal);
        assert_eq!(watch.next().await, Some(Err(Error::Unavailable("it was closed".to_owned()))));
        assert_eq!(watch.next().await, None);
    }
}
