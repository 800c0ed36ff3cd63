//! Where altsd keeps what operators decide: bytes under names, with a revision for each change.
//!
//! One trait, [`Store`], over several engines: memory, a database of one node, and etcd, which a fleet shares. This
//! crate knows no domain type, reads no clock and logs nothing.
//!
//! Read [`Store`] first, then [`Records`], which puts types and a schema version over it.

use std::{fmt, pin::Pin, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use serde::{Deserialize, Serialize};

#[allow(missing_docs, reason = "the name of each fact says it")]
#[doc(hidden)]
pub mod conformance;
#[cfg(feature = "etcd")]
mod etcd;
mod journal;
mod lifetime;
mod memory;
mod plan;
mod replica;
mod sled;
mod typed;

#[cfg(feature = "etcd")]
pub use etcd::{
    DEFAULT_KEEPALIVE, DEFAULT_MAX_BYTES, DEFAULT_TIMEOUT, EtcdClientCertificate, EtcdSecret, EtcdSettings,
    EtcdStore, EtcdTls, EtcdUser,
};
pub use memory::MemoryStore;
pub use replica::{Contact, CopySettings, ReplicaSettings, Update, follow};
pub use sled::SledStore;
pub use typed::{Kind, Record, RecordError, RecordListing, Records};

/// Longest key, in bytes.
pub const MAX_KEY: usize = 4_096;

/// Largest value, in bytes. etcd takes requests of 1.5 MiB.
pub const MAX_VALUE: usize = 1 << 20;

/// Most writes of one transaction. etcd takes 128 operations.
pub const MAX_WRITES: usize = 64;

/// Most bytes of keys and values in one transaction. A key goes to etcd twice, with its condition and with its write.
pub const MAX_TRANSACTION: usize = 1_200 << 10;

/// Longest lifetime, in seconds: a hundred years.
pub const MAX_LIFETIME: u64 = 3_155_760_000;

/// The number of a change. It grows with every transaction that changes something, in one order for the whole store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What tells a store from another with the same revisions: one that was begun anew, or set back to a backup. All 0 where
/// a store cannot become another while it is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// Which store it is; etcd may keep this number when it is set back.
    pub store: u64,
    /// Which write was the last up to a revision: a number by chance, 0 before the first.
    pub write: u64,
}

/// A value and when it came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// What is kept there.
    pub value: Bytes,
    /// The transaction that wrote it last.
    pub revision: Revision,
}

/// All entries under a prefix, as they were at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Ordered by key.
    pub entries: Vec<Entry>,
    /// The last transaction that they hold. A watch goes on from here.
    pub revision: Revision,
    /// Of that revision.
    pub past: Past,
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever there is.
    Anything,
    /// Nothing under this key.
    Absent,
    /// The entry of exactly this revision.
    At(Revision),
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where: 1 to [`MAX_KEY`] bytes.
    pub key: String,
    /// What must be there now; if it is not, nothing of the transaction is done.
    pub expected: Expected,
    /// What shall be there: at most [`MAX_VALUE`] bytes; nothing deletes.
    pub value: Option<Bytes>,
    /// How long it shall be there, in whole seconds from 1 to [`MAX_LIFETIME`]; for ever if not given, and never with
    /// a deletion. It holds for this write only: whoever writes the key again decides anew. Then it is deleted by a
    /// transaction like any other, not before its time but perhaps seconds after. It begins anew when the store is
    /// opened again, as in etcd when its leader changes: the end of what must end at a time is kept in the value, and
    /// this only sweeps up.
    pub lifetime: Option<Duration>,
}

impl Write {
    /// Puts a value.
    pub fn put(key: impl Into<String>, value: impl Into<Bytes>, expected: Expected) -> Self {
        Self { key: key.into(), expected, value: Some(value.into()), lifetime: None }
    }

    /// Deletes what is there.
    pub fn delete(key: impl Into<String>, expected: Expected) -> Self {
        Self { key: key.into(), expected, value: None, lifetime: None }
    }
}

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has this value now.
    Put(Entry),
    /// It is gone.
    Deleted {
        /// Its name.
        key: String,
        /// The transaction that deleted it.
        revision: Revision,
    },
}

impl Change {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Deleted { key, .. } => key,
        }
    }

    /// The transaction that made it.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(entry) => entry.revision,
            Self::Deleted { revision, .. } => *revision,
        }
    }
}

/// What a watch tells at once. Nothing between two batches is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// In the order of their revisions, a transaction never split over two batches; none if the store only says that
    /// it is there, and how far it is.
    pub changes: Vec<Change>,
    /// Everything up to here has been told.
    pub revision: Revision,
    /// Of that revision.
    pub past: Past,
}

/// The changes under a prefix. It ends with its first error.
pub type Watch = Pin<Box<dyn Stream<Item = Result<Batch, Error>> + Send>>;

/// Bytes under names. All methods may be called at once, and each is done whole or not at all. Nobody is shown a write
/// that could still be lost. Keys and prefixes out of bounds are [`Error::Invalid`].
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What is kept under a key.
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// All that is kept under keys that begin with `prefix`, at one moment.
    async fn list(&self, prefix: &str) -> Result<Listing, Error>;

    /// Does all writes, or none, and answers when they are kept for good. 1 to [`MAX_WRITES`] of them with at most
    /// [`MAX_TRANSACTION`] bytes, no key twice. All that changes gets one new revision, the one answered; to delete
    /// what is not there changes nothing, and if nothing else is written, the revision stays.
    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, Error>;

    /// The changes after a revision, under keys that begin with `prefix`. [`Error::Compacted`], at once or later, if
    /// the store does not know any more what happened since: then list, and watch from there.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error>;

    /// The same for who knows the past of that revision, and [`Error::Replaced`] if the store has another: then list, and
    /// forget what was known. A past of only 0 says nothing.
    async fn watch_on(&self, prefix: &str, after: Revision, past: Past) -> Result<Watch, Error> {
        let _ = past;
        self.watch(prefix, after).await
    }

    /// Puts a value where `expected` holds.
    async fn put(&self, key: &str, value: Bytes, expected: Expected) -> Result<Revision, Error> {
        self.transact(vec![Write::put(key, value, expected)]).await
    }

    /// Deletes what is there, where `expected` holds. To delete what is not there is no error unless it was expected.
    async fn delete(&self, key: &str, expected: Expected) -> Result<Revision, Error> {
        self.transact(vec![Write::delete(key, expected)]).await
    }
}

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Somebody else was first. Nothing was written.
    #[error("{key} is not as expected: {}", found.map_or("it is not there".to_owned(), |at| format!("it is at revision {at}")))]
    Conflict {
        /// The first key that was not as expected.
        key: String,
        /// What is there.
        found: Option<Revision>,
    },
    /// The request can never be done.
    #[error("{0}")]
    Invalid(String),
    /// There is no room for it.
    #[error(
        "the store is full: {bytes} bytes would be more than the limit of {limit}; delete what is not needed, or raise the limit"
    )]
    Full {
        /// What it would hold.
        bytes: u64,
        /// The most that it may.
        limit: u64,
    },
    /// What happened since the revision is not known any more.
    #[error("the changes up to revision {oldest} are not kept any more")]
    Compacted {
        /// The oldest revision to watch from.
        oldest: Revision,
    },
    /// The store does not go on from what it said before: it was begun anew, or set back to a backup.
    #[error(
        "the store is not the one that was known up to revision {known}: it was begun anew or set back, and is at revision {found}"
    )]
    Replaced {
        /// How far the one before was known.
        known: Revision,
        /// How far this one is.
        found: Revision,
    },
    /// The store is there and will not: it does not know us, does not let us, or has to be looked after first.
    /// Nothing was done.
    #[error("{0}")]
    Refused(String),
    /// The store does not answer; it may later. A write may have been done, or may still be.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// What the store holds cannot be right. It is left as it is.
    #[error("{0}")]
    Corrupt(String),
}

impl Error {
    /// The stable code of the failure.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "store_conflict",
            Self::Invalid(_) => "store_request_invalid",
            Self::Full { .. } => "store_full",
            Self::Compacted { .. } => "store_compacted",
            Self::Replaced { .. } => "store_replaced",
            Self::Refused(_) => "store_refused",
            Self::Unavailable(_) => "store_unavailable",
            Self::Corrupt(_) => "store_corrupt",
        }
    }
}
