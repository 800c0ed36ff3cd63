//! The store of a fleet: a prefix of an etcd cluster, version 3.4 or later.
//!
//! Revisions are etcd's own. Reads are linearizable: they hold everything that was acknowledged before they began.
//!
//! An etcd that is begun anew or set back to a snapshot counts on from there, and keeps the id of its cluster unless it is
//! told another. So each transaction also writes a number by chance, under a key that is none of ours, and who knows
//! what it was at a revision finds out whether etcd still goes on from there.

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    hash::BuildHasher,
};

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{
    Client, Compare, CompareOp, GetOptions, GetResponse, KeyValue, LeaseGrantResponse, LeaseRevokeResponse,
    PutOptions, ResponseHeader, Txn, TxnOp, TxnOpResponse, TxnResponse,
};

use crate::{Entry, Error, Expected, Listing, Past, Revision, Store, Watch, Write, plan};

mod error;
mod list;
mod members;
mod settings;
mod watch;

use members::{Answer, Members, Repeat};
pub use settings::{
    DEFAULT_KEEPALIVE, DEFAULT_MAX_BYTES, DEFAULT_TIMEOUT, EtcdClientCertificate, EtcdSecret, EtcdSettings,
    EtcdTls, EtcdUser,
};

/// Most bytes of keys that are asked for within the transaction that expects something of them. Together with the bounds
/// of all stores, this stays below the 1.5 MiB that etcd takes.
const ROOM_FOR_KEYS: usize = 64 << 10;

/// A prefix of a cluster.
pub struct EtcdStore {
    members: Members,
    prefix: String,
    /// Most bytes in one listing.
    max_bytes: u64,
}

impl EtcdStore {
    /// A store that speaks to etcd when it is asked something; etcd need not be there yet. Connections that break are
    /// made again by the next request. [`Error::Invalid`] if the settings cannot work.
    pub async fn connect(settings: EtcdSettings) -> Result<Self, Error> {
        let (prefix, max_bytes) = (settings.prefix.clone(), settings.max_bytes);
        Ok(Self { members: Members::new(settings).await?, prefix, max_bytes })
    }

    /// What etcd calls a key of ours.
    fn full(&self, key: &str) -> String {
        [&self.prefix, key].concat()
    }

    /// One lease for each lifetime among the writes. Those that end up unused end by themselves.
    async fn grant(&self, writes: &[Write]) -> Result<BTreeMap<i64, i64>, Error> {
        let mut leases = BTreeMap::new();
        for seconds in writes.iter().filter_map(lifetime) {
            if leases.contains_key(&seconds) {
                continue;
            }
            let grant = |mut client: Client| async move { client.lease_grant(seconds, None).await };
            match self.members.ask(Repeat::Safe, grant).await {
                Ok(lease) => leases.insert(seconds, lease.id()),
                Err(problem) => {
                    self.revoke(leases).await;
                    return Err(problem);
                }
            };
        }
        Ok(leases)
    }

    /// Takes back leases that nothing uses. If that fails, they end by themselves.
    async fn revoke(&self, leases: BTreeMap<i64, i64>) {
        for lease in leases.into_values() {
            let revoke = |mut client: Client| async move { client.lease_revoke(lease).await };
            let _ = self.members.ask(Repeat::Safe, revoke).await;
        }
    }

    /// The transaction in etcd's terms. Where an expectation fails, it answers what is there instead, if there is room
    /// to ask for that.
    fn transaction(&self, writes: &[Write], leases: &BTreeMap<i64, i64>) -> Txn {
        let (mut compares, mut then) = (Vec::new(), Vec::new());
        for write in writes {
            let key = self.full(&write.key);
            compares.extend(compare(&key, write.expected));
            then.push(match &write.value {
                None => TxnOp::delete(key, None),
                Some(value) => {
                    let lease = lifetime(write).and_then(|seconds| leases.get(&seconds));
                    let options = lease.map(|lease| PutOptions::new().with_lease(*lease));
                    TxnOp::put(key, value.to_vec(), options)
                }
            });
        }
        then.push(self.mark(writes));
        let transaction = Txn::new().when(compares).and_then(then);
        match has_room(writes) {
            true => transaction.or_else(self.questions(writes)),
            false => transaction,
        }
    }

    /// Makes a transaction one that no other is, unless it changes nothing. Of several deletions where perhaps nothing is,
    /// those that find only some are not marked.
    fn mark(&self, writes: &[Write]) -> TxnOp {
        // The keys of a new state are random, and its hash of anything is.
        let number = RandomState::new().hash_one(0).max(1);
        let mark = TxnOp::put(last_write(&self.prefix), number.to_be_bytes(), None);
        let changes =
            |write: &Write| write.value.is_some() || matches!(write.expected, Expected::At(Revision(1..)));
        if writes.iter().any(changes) {
            return mark;
        }
        let is_there = |write: &Write| Compare::version(self.full(&write.key), CompareOp::Greater, 0);
        let all: Vec<_> = writes.iter().map(is_there).collect();
        TxnOp::txn(Txn::new().when(all).and_then(vec![mark]))
    }

    /// What is there under each key of which something is expected.
    fn questions(&self, writes: &[Write]) -> Vec<TxnOp> {
        let keys_only = GetOptions::new().with_keys_only();
        expectations(writes).map(|write| TxnOp::get(self.full(&write.key), Some(keys_only.clone()))).collect()
    }

    /// The revision of a transaction that was answered, or the first expectation that failed.
    async fn outcome(&self, writes: &[Write], answer: TxnResponse) -> Result<Revision, Error> {
        if answer.succeeded() {
            return Ok(header(answer.header())?.0);
        }
        if has_room(writes) {
            return Err(conflict(writes, &answer));
        }
        let questions = Txn::new().and_then(self.questions(writes));
        let ask = |mut client: Client| {
            let questions = questions.clone();
            async move { client.txn(questions).await }
        };
        Err(conflict(writes, &self.members.ask(Repeat::Safe, ask).await?))
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        plan::check_key(key)?;
        let full = self.full(key);
        let get = |mut client: Client| {
            let full = full.clone();
            async move { client.get(full, None).await }
        };
        let answer = self.members.ask(Repeat::Safe, get).await?;
        answer.kvs().first().map_or(Ok(None), |found| entry(found, &self.prefix))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        plan::check_prefix(prefix)?;
        list::list(&self.members, &self.prefix, &self.full(prefix), self.max_bytes).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, Error> {
        plan::check(&writes)?;
        let leases = self.grant(&writes).await?;
        let transaction = self.transaction(&writes, &leases);
        let send = |mut client: Client| {
            let transaction = transaction.clone();
            async move { client.txn(transaction).await }
        };
        let done = self.members.ask(Repeat::Unsafe, send).await;
        let done = match done {
            Ok(answer) => self.outcome(&writes, answer).await,
            Err(problem) => Err(problem),
        };
        // When nobody knows whether it was done, its entries may need the leases.
        if !matches!(done, Ok(_) | Err(Error::Unavailable(_))) {
            self.revoke(leases).await;
        }
        done
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.watch_on(prefix, after, Past::default()).await
    }

    async fn watch_on(&self, prefix: &str, after: Revision, past: Past) -> Result<Watch, Error> {
        plan::check_prefix(prefix)?;
        watch::watch(&self.members, &self.prefix, prefix, after, past).await
    }
}

/// What an expectation is to etcd.
fn compare(key: &str, expected: Expected) -> Option<Compare> {
    match expected {
        Expected::Anything => None,
        Expected::Absent => Some(Compare::version(key, CompareOp::Equal, 0)),
        Expected::At(revision) => Some(match i64::try_from(revision.0) {
            Ok(revision) if revision > 0 => Compare::mod_revision(key, CompareOp::Equal, revision),
            // No entry has this revision, and 0 is what etcd takes for absence.
            _ => Compare::version(key, CompareOp::Less, 0),
        }),
    }
}

fn expectations(writes: &[Write]) -> impl Iterator<Item = &Write> {
    writes.iter().filter(|write| write.expected != Expected::Anything)
}

/// Whether a transaction may hold each key once more, beside its condition and its write.
fn has_room(writes: &[Write]) -> bool {
    expectations(writes).map(|write| write.key.len()).sum::<usize>() <= ROOM_FOR_KEYS
}

/// The first expectation that failed, by answers to [`EtcdStore::questions`].
fn conflict(writes: &[Write], answer: &TxnResponse) -> Error {
    let answers = answer.op_responses().into_iter().map(|answer| match answer {
        TxnOpResponse::Get(found) => found.kvs().first().map(|found| revision(found.mod_revision())),
        _ => None,
    });
    let found: Vec<_> = expectations(writes).zip(answers).collect();
    let failed = found.iter().find(|(write, found)| match write.expected {
        Expected::Anything => false,
        Expected::Absent => found.is_some(),
        Expected::At(at) => *found != Some(at),
    });
    // If what was asked later is as expected again, the first key stands for the one that was not.
    match failed.or(found.first()) {
        Some((write, found)) => Error::Conflict { key: write.key.clone(), found: *found },
        None => Error::Corrupt("etcd refused a transaction that expects nothing".to_owned()),
    }
}

/// A lifetime in etcd's seconds.
fn lifetime(write: &Write) -> Option<i64> {
    // It is checked to be at most a hundred years.
    write.lifetime.map(|lifetime| i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX))
}

/// An entry as we call it. Nothing if its key is none that we could have written: not UTF-8.
fn entry(found: &KeyValue, ours: &str) -> Result<Option<Entry>, Error> {
    let entry = |key| Entry {
        key,
        value: Bytes::copy_from_slice(found.value()),
        revision: revision(found.mod_revision()),
    };
    Ok(key(found, ours)?.map(entry))
}

fn key(found: &KeyValue, ours: &str) -> Result<Option<String>, Error> {
    let Ok(key) = std::str::from_utf8(found.key()) else { return Ok(None) };
    let key = key.strip_prefix(ours).map(|key| Some(key.to_owned()));
    key.ok_or_else(|| Error::Corrupt(format!("etcd was asked for keys under {ours:?} and answers another")))
}

/// Where the number of the last write is: under our prefix, for the sake of permissions, and no key of ours, as it is
/// not UTF-8.
fn last_write(ours: &str) -> Vec<u8> {
    [ours.as_bytes(), b"\xfflast-write"].concat()
}

/// The number that stands there. 0 if somebody else has put something there, or deleted it.
fn written(found: &KeyValue) -> u64 {
    found.value().try_into().map_or(0, u64::from_be_bytes)
}

/// etcd's revisions begin with 1.
fn revision(etcd: i64) -> Revision {
    Revision(u64::try_from(etcd).unwrap_or(0))
}

/// How far etcd is, and which cluster it is.
fn header(header: Option<&ResponseHeader>) -> Result<(Revision, u64), Error> {
    let header = header.ok_or_else(|| Error::Corrupt("an answer of etcd has no header".to_owned()))?;
    Ok((revision(header.revision()), header.cluster_id()))
}

fn cluster(header: Option<&ResponseHeader>) -> Option<u64> {
    header.map(ResponseHeader::cluster_id)
}

impl Answer for GetResponse {
    fn cluster(&self) -> Option<u64> {
        cluster(self.header())
    }
}

impl Answer for TxnResponse {
    fn cluster(&self) -> Option<u64> {
        cluster(self.header())
    }
}

impl Answer for LeaseGrantResponse {
    fn cluster(&self) -> Option<u64> {
        cluster(self.header())
    }
}

impl Answer for LeaseRevokeResponse {
    fn cluster(&self) -> Option<u64> {
        cluster(self.header())
    }
}
