//! What the store says of the keys of all nodes, and what was known before it said less.

use std::collections::{BTreeMap, BTreeSet};

use alts_request_auth::PublicKey;
use alts_store::{Entry, Expected, Revision};

use super::record::{KeyRecord, SIGNING_KEY};

/// The most keys of other nodes that are published. A set is read whole by each verifier.
const MAX_FOREIGN: usize = 4_096;

/// The records of all nodes.
#[derive(Default)]
pub(super) struct Fleet {
    seen: BTreeMap<String, Seen>,
    /// Under which names there is something that cannot be read, and why.
    unreadable: BTreeMap<String, String>,
    /// Whose records this node has deleted because their time was over.
    collected: BTreeSet<String>,
}

/// A record, and where it is.
struct Seen {
    record: KeyRecord,
    /// None once it is there no more.
    revision: Option<Revision>,
    /// Whether the store has forgotten that it is withdrawn.
    is_restored: bool,
}

impl Fleet {
    /// Takes over all that the store holds now. What it holds no more goes on counting until its time is over: a store
    /// that was begun anew, or set back, makes no key of a living node unknown, and none that is withdrawn good.
    pub(super) fn merge(&mut self, entries: &BTreeMap<String, Entry>) {
        for seen in self.seen.values_mut() {
            seen.revision = None;
        }
        self.unreadable.clear();
        for (kid, entry) in entries {
            self.take(kid, entry);
        }
    }

    /// Takes over one entry.
    pub(super) fn take(&mut self, kid: &str, entry: &Entry) {
        match read(kid, entry) {
            Ok(record) => self.put(record, entry.revision),
            Err(problem) => {
                if let Some(seen) = self.seen.get_mut(kid) {
                    seen.revision = Some(entry.revision);
                }
                self.unreadable.insert(kid.to_owned(), problem);
            }
        }
    }

    /// Takes over what was written there.
    pub(super) fn put(&mut self, mut record: KeyRecord, revision: Revision) {
        let kid = record.key.kid().to_owned();
        let known = self.seen.get(&kid).and_then(|seen| seen.record.withdrawn);
        let is_restored = known.is_some() && record.withdrawn.is_none();
        record.withdrawn = record.withdrawn.or(known);
        self.unreadable.remove(&kid);
        self.seen.insert(kid, Seen { record, revision: Some(revision), is_restored });
    }

    /// It is not in the store any more.
    pub(super) fn is_missing(&mut self, kid: &str) {
        self.unreadable.remove(kid);
        if let Some(seen) = self.seen.get_mut(kid) {
            seen.revision = None;
        }
    }

    /// It was deleted, by whoever knows that nobody needs it.
    pub(super) fn forget(&mut self, kid: &str) {
        self.seen.remove(kid);
    }

    /// Its record was deleted because its time was over. If it comes back, its node lives, by another clock: whoever
    /// deleted it each time would keep both of them and the store busy for as long as the clocks differ.
    pub(super) fn collected(&mut self, kid: &str) {
        if self.collected.len() >= MAX_FOREIGN {
            self.collected.clear();
        }
        self.collected.insert(kid.to_owned());
        self.forget(kid);
    }

    /// The record of a key.
    pub(super) fn get(&self, kid: &str) -> Option<&KeyRecord> {
        self.seen.get(kid).map(|seen| &seen.record)
    }

    /// The record of a key, if that is what the store holds.
    pub(super) fn stored(&self, kid: &str) -> Option<&KeyRecord> {
        let is_read = !self.unreadable.contains_key(kid);
        self.seen
            .get(kid)
            .filter(|seen| is_read && seen.revision.is_some() && !seen.is_restored)
            .map(|seen| &seen.record)
    }

    /// What a write must find there.
    pub(super) fn expected(&self, kid: &str) -> Expected {
        self.seen.get(kid).and_then(|seen| seen.revision).map_or(Expected::Absent, Expected::At)
    }

    /// Why what is there under a name cannot be read.
    pub(super) fn problem(&self, kid: &str) -> Option<&str> {
        self.unreadable.get(kid).map(String::as_str)
    }

    /// All that cannot be read.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = (&str, &str)> {
        self.unreadable.iter().map(|(kid, problem)| (&**kid, &**problem))
    }

    /// The records that are not ours, ordered by `kid`.
    pub(super) fn foreign(&self, is_own: impl Fn(&str) -> bool) -> impl Iterator<Item = &KeyRecord> {
        self.seen.iter().filter(move |(kid, _)| !is_own(kid)).map(|(_, seen)| &seen.record)
    }

    /// Those of them that tokens may be good by.
    pub(super) fn published(
        &self,
        now: u64,
        is_own: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = &PublicKey> {
        let counts = move |record: &&KeyRecord| record.withdrawn.is_none() && now <= record.gone_after();
        self.foreign(is_own).filter(counts).map(|record| &record.key).take(MAX_FOREIGN)
    }

    /// Whether some key of another node is left out, because there are too many.
    pub(super) fn is_too_large(&self, now: u64, is_own: impl Fn(&str) -> bool) -> bool {
        let counts = |record: &&KeyRecord| record.withdrawn.is_none() && now <= record.gone_after();
        self.foreign(is_own).filter(counts).count() > MAX_FOREIGN
    }

    /// Records of other nodes whose time is over, and which are in the store still.
    pub(super) fn collectable(&self, now: u64, is_own: impl Fn(&str) -> bool) -> Vec<String> {
        let over = |(kid, seen): &(&String, &Seen)| {
            !is_own(kid) && !self.collected.contains(*kid) && now > seen.record.gone_after()
        };
        self.seen.iter().filter(over).map(|(kid, _)| kid.clone()).collect()
    }

    /// What other nodes have withdrawn, and the store has forgotten.
    pub(super) fn forgotten(&self, now: u64, is_own: impl Fn(&str) -> bool) -> Vec<KeyRecord> {
        let lost = |(kid, seen): &(&String, &Seen)| {
            !is_own(kid)
                && !self.unreadable.contains_key(*kid)
                && seen.record.withdrawn.is_some()
                && now <= seen.record.gone_after()
                && (seen.is_restored || seen.revision.is_none())
        };
        self.seen.iter().filter(lost).map(|(_, seen)| seen.record.clone()).collect()
    }
}

/// The record under a name.
pub(super) fn read(kid: &str, entry: &Entry) -> Result<KeyRecord, String> {
    let record = SIGNING_KEY.decode(entry).map_err(|error| error.to_string())?.value;
    if record.key.kid() == kid {
        return Ok(record);
    }
    Err(format!("{} has the key {}", entry.key, record.key.kid()))
}
