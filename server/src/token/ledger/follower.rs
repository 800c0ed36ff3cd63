//! The one who changes the ledger: what the store says of tokens → what is revoked, and which keys there are.

use std::{collections::BTreeSet, sync::Arc};

use alts_store::{Change, Entry, Revision, Update};
use tokio::sync::{mpsc, watch};

use super::{
    KeyRecords, Ledger, State,
    kinds::{KEYS, REVOCATIONS, Record, Revoked, USE},
    revoked::RevokedSet,
};
use crate::{
    metrics::Metrics,
    verifier::{Away, Contact},
};

/// Most updates that are put into one state.
const MAX_AT_ONCE: usize = 64;

/// What is known, and who is told.
pub(super) struct Follower {
    ledger: Arc<Ledger>,
    keys: watch::Sender<KeyRecords>,
    revoked: RevokedSet,
    key_records: KeyRecords,
    foreign_keys: BTreeSet<String>,
    uses: usize,
    revision: Revision,
    contact: Contact,
    away: Option<Away>,
    /// Whether the store, or its copy, has ever told what it holds.
    has_told: bool,
}

impl Follower {
    pub(super) fn new(ledger: Arc<Ledger>, keys: watch::Sender<KeyRecords>) -> Self {
        let contact = ledger.state.load().contact.clone();
        Self {
            ledger,
            keys,
            revoked: RevokedSet::default(),
            key_records: KeyRecords::default(),
            foreign_keys: BTreeSet::new(),
            uses: 0,
            revision: Revision::default(),
            contact,
            away: None,
            has_told: false,
        }
    }

    /// Works until the store is not followed any more. Then nobody hears of revocations, and the other side of the
    /// split ends, which ends the daemon.
    pub(super) async fn run(mut self, mut updates: mpsc::Receiver<Update>) {
        let mut waiting = Vec::new();
        while updates.recv_many(&mut waiting, MAX_AT_ONCE).await > 0 {
            waiting.drain(..).for_each(|update| self.take(update));
            self.publish();
        }
    }

    fn take(&mut self, update: Update) {
        match update {
            Update::All { entries, revision } => {
                self.revoked = RevokedSet::default();
                self.key_records = KeyRecords::default();
                self.foreign_keys.clear();
                self.uses = 0;
                entries.into_iter().for_each(|entry| self.put(entry));
                self.revision = revision;
                self.has_told = true;
            }
            Update::Changes { changes, revision } => {
                for change in changes {
                    match change {
                        Change::Put(entry) => self.put(entry),
                        Change::Deleted { key, .. } => self.remove(&key),
                    }
                }
                self.revision = revision;
            }
            Update::Contact(contact) => {
                self.contact = contact.into();
                self.away = Away::of(&self.contact, self.away, &*self.ledger.clock);
            }
            // The policy's side tells operators.
            Update::SetBack { .. } | Update::Copy(_) => {}
        }
    }

    fn put(&mut self, entry: Entry) {
        if let Some(name) = entry.key.strip_prefix(KEYS) {
            let name = name.to_owned();
            Arc::make_mut(&mut self.key_records).insert(name, entry);
        } else if let Some(revoked) = Revoked::of_key(&entry.key) {
            let read = Record::read(&revoked, &entry).inspect_err(|problem| {
                tracing::error!(
                    reason = "record_unreadable",
                    key = entry.key,
                    "a record of the store cannot be read, and revokes what its key names: {problem}"
                );
            });
            self.revoked.put(revoked, read.ok().and_then(|record| record.until()));
        } else if USE.name(&entry.key).is_some() {
            // Each is written once.
            self.uses += 1;
        } else if entry.key.starts_with(REVOCATIONS) {
            tracing::warn!(
                reason = "store_key_foreign",
                key = entry.key,
                "a key of the store names no token and no subject"
            );
            self.foreign_keys.insert(entry.key);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(name) = key.strip_prefix(KEYS) {
            Arc::make_mut(&mut self.key_records).remove(name);
        } else if let Some(revoked) = Revoked::of_key(key) {
            self.revoked.remove(&revoked);
        } else if USE.name(key).is_some() {
            self.uses = self.uses.saturating_sub(1);
        } else {
            self.foreign_keys.remove(key);
        }
    }

    fn publish(&self) {
        self.ledger.state.store(Arc::new(State {
            revoked: self.revoked.clone(),
            contact: self.contact.published(self.has_told),
            away: self.away,
            foreign_keys: self.foreign_keys.len(),
            uses: self.uses,
        }));
        self.keys.send_if_modified(|published| {
            let is_other = !Arc::ptr_eq(published, &self.key_records);
            if is_other {
                *published = self.key_records.clone();
            }
            is_other
        });
        Metrics.token_revocations(self.ledger.counts());
        // Last: who waits for a revision finds all of it.
        self.ledger.applied.send_replace(self.revision);
    }
}
