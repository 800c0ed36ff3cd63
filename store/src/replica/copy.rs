//! A copy of a part of another store, which says of itself what it is.
//!
//! `head` says which generation of entries is the copy. New entries that do not fit into one transaction are written
//! beside the old as the next generation, and become the copy when all are there. So a crash leaves one or the other.

use std::{
    collections::{BTreeMap, HashSet},
    mem,
    sync::Arc,
};

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::CopySettings;
use crate::{Change, Entry, Error, Expected, MAX_TRANSACTION, MAX_WRITES, Past, Revision, Store, Write};

/// The form of a copy. Another form is not believed, and overwritten.
const SCHEMA: u32 = 1;

/// Bytes of the revision that stand before each value.
const REVISION: usize = 8;

/// Bytes that a head takes, with an identity of some kilobytes.
const ROOM_FOR_HEAD: usize = 16 << 10;

/// Where a copy is and whose it is.
pub(super) struct Copy {
    store: Arc<dyn Store>,
    at: String,
    identity: String,
    /// What the store holds, if it is ours and whole.
    head: Option<Head>,
}

/// What a copy held.
pub(super) struct Kept {
    pub(super) entries: Vec<Entry>,
    pub(super) revision: Revision,
    pub(super) past: Past,
    /// When the source was heard of, in seconds since 1970.
    pub(super) heard: u64,
}

/// How far the source was, and when it said so.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) revision: Revision,
    pub(super) past: Past,
    /// In seconds since 1970.
    pub(super) heard: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Head {
    schema: u32,
    /// Which source and prefix.
    identity: String,
    /// Which entries are the copy.
    generation: u64,
    /// At least this revision of the source.
    revision: u64,
    /// What the source was then; nothing, if an older altsd has written this.
    #[serde(default)]
    past: Past,
    heard: u64,
}

impl Copy {
    pub(super) fn new(CopySettings { store, at }: CopySettings, identity: String) -> Self {
        Self { store, at, identity, head: None }
    }

    /// What is kept, if it is whole and of our source.
    pub(super) async fn open(&mut self) -> Result<Option<Kept>, Error> {
        self.head = self.read_head().await?;
        let Some(head) = &self.head else { return Ok(None) };
        let entries = self.entries(head.generation).await?;
        Ok(Some(Kept { entries, revision: Revision(head.revision), past: head.past, heard: head.heard }))
    }

    /// Makes these entries the copy. On an error it is what it was.
    pub(super) async fn replace(&mut self, entries: &[Entry], at: At) -> Result<(), Error> {
        let At { revision, past, heard } = at;
        // What was answered with an error may have been done, and what is the copy must not be taken for a leftover.
        self.head = self.read_head().await.or_else(|problem| match problem {
            Error::Corrupt(_) => Ok(None),
            problem => Err(problem),
        })?;
        let generation = self.head.as_ref().map(|head| head.generation);
        let (mut held, mut leftovers, mut last) = (BTreeMap::new(), Vec::new(), generation.unwrap_or(0));
        for Entry { key, value, .. } in self.store.list(&self.at).await?.entries {
            let of = key.get(self.at.len()..).and_then(|rest| rest.split_once('/'));
            let of = of.and_then(|(of, _)| u64::from_str_radix(of, 16).ok());
            last = last.max(of.unwrap_or(0));
            if of.is_some() && of == generation {
                held.insert(key, value);
            } else if key != self.head_key() {
                leftovers.push(key);
            }
        }
        if self.head.is_none() {
            // Whoever believes this head must not find that its entries are being deleted.
            leftovers.insert(0, self.head_key());
        }
        self.delete(leftovers).await?;
        if let Some(head) = self.head.clone() {
            let writes = self.difference(head.generation, entries, &held);
            let head = Head { revision: revision.0, past, heard, ..head };
            if fits(&writes, MAX_WRITES - 1) {
                return self.finish(writes, head).await;
            }
        }
        let generation = last + 1;
        self.write_all(entries.iter().map(|entry| self.put(generation, entry))).await?;
        let identity = self.identity.clone();
        let head = Head { schema: SCHEMA, identity, generation, revision: revision.0, past, heard };
        self.finish(Vec::new(), head).await?;
        self.delete(held.into_keys().collect()).await
    }

    /// Changes the copy. Without a copy there is nothing to change.
    pub(super) async fn apply(&mut self, changes: &[Change], at: At) -> Result<(), Error> {
        let At { revision, past, heard } = at;
        let Some(head) = self.head.clone() else { return Ok(()) };
        let head = Head { revision: revision.0, past, heard, ..head };
        let together = self.writes(head.generation, changes);
        if fits(&together, MAX_WRITES - 1) {
            return self.finish(together, head).await;
        }
        // A crash between two transactions of the source leaves a copy that is newer than it says, but whole.
        let mut rest = changes;
        while let Some(first) = rest.first() {
            let many = rest.iter().take_while(|change| change.revision() == first.revision()).count();
            let writes = self.writes(head.generation, &rest[..many]);
            if !fits(&writes, MAX_WRITES) {
                return self.rewrite(head.generation, rest, at).await;
            }
            self.store.transact(writes).await?;
            rest = &rest[many..];
        }
        self.finish(Vec::new(), head).await
    }

    /// Notes when the source was heard of.
    pub(super) async fn hear(&mut self, heard: u64) -> Result<(), Error> {
        match self.head.clone() {
            Some(head) => self.finish(Vec::new(), Head { heard, ..head }).await,
            None => Ok(()),
        }
    }

    /// A transaction of the source that is too large for one of ours becomes part of a new generation.
    async fn rewrite(&mut self, generation: u64, changes: &[Change], at: At) -> Result<(), Error> {
        let entries = self.entries(generation).await?.into_iter();
        let mut entries: BTreeMap<_, _> = entries.map(|entry| (entry.key.clone(), entry)).collect();
        for change in changes {
            match change {
                Change::Put(entry) => entries.insert(entry.key.clone(), entry.clone()),
                Change::Deleted { key, .. } => entries.remove(key),
            };
        }
        let entries: Vec<_> = entries.into_values().collect();
        self.replace(&entries, at).await
    }

    /// The head, if it is of our source and in a form that we know.
    async fn read_head(&self) -> Result<Option<Head>, Error> {
        let Some(entry) = self.store.get(&self.head_key()).await? else { return Ok(None) };
        let head: Head = serde_json::from_slice(&entry.value)
            .map_err(|problem| Error::Corrupt(format!("{}: {problem}", entry.key)))?;
        Ok(Some(head).filter(|head| head.schema == SCHEMA && head.identity == self.identity))
    }

    /// The entries of a generation, as the source has them.
    async fn entries(&self, generation: u64) -> Result<Vec<Entry>, Error> {
        let under = self.key(generation, "");
        let entry = |Entry { key, value, .. }: Entry| match value.split_first_chunk::<REVISION>() {
            Some((revision, _)) => Ok(Entry {
                key: key[under.len()..].to_owned(),
                value: value.slice(REVISION..),
                revision: Revision(u64::from_be_bytes(*revision)),
            }),
            None => Err(Error::Corrupt(format!("{key} is no entry of a copy"))),
        };
        self.store.list(&under).await?.entries.into_iter().map(entry).collect()
    }

    /// What makes `held` these entries: all of it, or more of it than fits into a transaction.
    fn difference(&self, generation: u64, entries: &[Entry], held: &BTreeMap<String, Bytes>) -> Vec<Write> {
        let keys: HashSet<_> = entries.iter().map(|entry| self.key(generation, &entry.key)).collect();
        let gone = held.keys().filter(|key| !keys.contains(*key));
        let gone = gone.map(|key| Write::delete(key, Expected::Anything));
        let puts = entries.iter().map(|entry| self.put(generation, entry));
        let puts = puts.filter(|write| held.get(&write.key) != write.value.as_ref());
        gone.chain(puts).take(MAX_WRITES).collect()
    }

    /// What does these changes. Of several to one key only the last counts.
    fn writes(&self, generation: u64, changes: &[Change]) -> Vec<Write> {
        let last: BTreeMap<_, _> = changes.iter().map(|change| (change.key(), change)).collect();
        let write = |change: &Change| match change {
            Change::Put(entry) => self.put(generation, entry),
            Change::Deleted { key, .. } => Write::delete(self.key(generation, key), Expected::Anything),
        };
        last.into_values().map(write).collect()
    }

    /// Does the last writes together with the head that makes them count.
    async fn finish(&mut self, mut writes: Vec<Write>, head: Head) -> Result<(), Error> {
        let value = serde_json::to_vec(&head).map_err(|problem| Error::Invalid(problem.to_string()))?;
        writes.push(Write::put(self.head_key(), value, Expected::Anything));
        self.store.transact(writes).await?;
        self.head = Some(head);
        Ok(())
    }

    async fn delete(&self, keys: Vec<String>) -> Result<(), Error> {
        self.write_all(keys.into_iter().map(|key| Write::delete(key, Expected::Anything))).await
    }

    /// Does writes in as many transactions as it takes, in their order.
    async fn write_all(&self, writes: impl Iterator<Item = Write>) -> Result<(), Error> {
        let (mut pack, mut bytes) = (Vec::new(), 0);
        for write in writes {
            if pack.len() == MAX_WRITES || bytes + size(&write) > MAX_TRANSACTION {
                self.store.transact(mem::take(&mut pack)).await?;
                bytes = 0;
            }
            bytes += size(&write);
            pack.push(write);
        }
        match pack.is_empty() {
            true => Ok(()),
            false => self.store.transact(pack).await.map(drop),
        }
    }

    fn put(&self, generation: u64, entry: &Entry) -> Write {
        let mut value = BytesMut::with_capacity(REVISION + entry.value.len());
        value.put_u64(entry.revision.0);
        value.put(entry.value.clone());
        Write::put(self.key(generation, &entry.key), value, Expected::Anything)
    }

    fn key(&self, generation: u64, key: &str) -> String {
        format!("{}{generation:016x}/{key}", self.at)
    }

    fn head_key(&self) -> String {
        format!("{}head", self.at)
    }
}

/// Whether writes can be one transaction, together with a head if they may be one less.
fn fits(writes: &[Write], most: usize) -> bool {
    writes.len() <= most && writes.iter().map(size).sum::<usize>() + ROOM_FOR_HEAD <= MAX_TRANSACTION
}

fn size(write: &Write) -> usize {
    write.key.len() + write.value.as_ref().map_or(0, Bytes::len)
}
