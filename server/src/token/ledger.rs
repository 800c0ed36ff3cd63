//! Tokens and subjects that count no more, and tokens that count once. All of it is in the store, so that it holds on
//! every node; what is revoked is followed, and read here without asking anybody.
//!
//! [`split()`] divides what the store says, [`start`] follows the part that is of tokens, and [`Ledger`] answers.

mod follower;
pub(crate) mod kinds;
mod revoked;
mod split;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alts_store::{Entry, Error as StoreError, Expected, Revision, Store, Update, Write};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

pub(crate) use self::split::{Sides, split};
use self::{
    follower::Follower,
    kinds::{LEEWAY, Named, REVOCATION, Record, Revoked, USE, Use, use_name},
    revoked::RevokedSet,
};
use super::{
    parts::{self, LedgerProblem, RevokedBy},
    subject::Proof,
};
use crate::{
    clock::{Clock, utc},
    verifier::{Away, Certainty, Contact},
};

/// A record is swept up so long after its end, in seconds: clocks of nodes differ.
pub(crate) const SLACK: u64 = 300;

/// Longest that a token is remembered whose issuer gave it no sensible end: ten years, in seconds.
const MAX_LIFETIME: u64 = 315_576_000;

/// With so many revocations and uses holders of tokens add none: who gets tokens as he likes, and revokes or uses them
/// all, leaves the store room for what operators write. It is about 100 MB of it.
const MAX_OF_HOLDERS: usize = 1 << 18;

/// How long the store may take for one write.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// How long a revocation may take to come back from the store.
const APPLIED_PATIENCE: Duration = Duration::from_secs(5);

/// Public keys of tokens as the store has them, by their name behind [`kinds::KEYS`].
pub(crate) type KeyRecords = Arc<BTreeMap<String, Entry>>;

/// What the ledger is made of.
pub(crate) struct Parts {
    /// Where revocations and uses are written, if there is a store.
    pub(crate) store: Option<Arc<dyn Store>>,
    /// What it says of tokens: one side of [`split()`].
    pub(crate) updates: Option<mpsc::Receiver<Update>>,
    /// How long its last word counts when it is not heard of; for ever, if nothing.
    pub(crate) max_offline: Option<Duration>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Starts to follow what the store says of tokens. The receiver has the public keys that it holds, always the newest;
/// none until it is heard of.
pub(crate) fn start(parts: Parts) -> (Arc<Ledger>, watch::Receiver<KeyRecords>) {
    let Parts { store, updates, max_offline, clock } = parts;
    let contact = match updates {
        Some(_) => Contact::Lost { since: None, problem: "nothing has come yet".to_owned() },
        None => Contact::None,
    };
    let (keys, key_records) = watch::channel(KeyRecords::default());
    let ledger = Arc::new(Ledger {
        store,
        state: ArcSwap::from_pointee(State {
            revoked: RevokedSet::default(),
            contact,
            away: None,
            foreign_keys: 0,
            uses: 0,
        }),
        applied: watch::Sender::new(Revision::default()),
        max_offline,
        clock,
    });
    if let Some(updates) = updates {
        tokio::spawn(Follower::new(ledger.clone(), keys).run(updates));
    }
    (ledger, key_records)
}

/// What is revoked now, and where more is put.
pub(crate) struct Ledger {
    store: Option<Arc<dyn Store>>,
    state: ArcSwap<State>,
    /// The last revision of the store that is part of it, for who waits for it.
    applied: watch::Sender<Revision>,
    max_offline: Option<Duration>,
    clock: Arc<dyn Clock>,
}

/// Everything that holds at one time.
#[derive(Clone)]
struct State {
    revoked: RevokedSet,
    contact: Contact,
    /// How long the store is away, if it is lost and was ever heard of.
    away: Option<Away>,
    /// Records under keys that name nothing.
    foreign_keys: usize,
    /// Tokens that counted once, and were used.
    uses: usize,
}

impl State {
    /// Whether only operators add to it.
    fn is_full(&self) -> bool {
        self.revoked.total() + self.uses >= MAX_OF_HOLDERS
    }
}

/// How much is revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Those that have ended and are not swept up yet among them, as below.
    pub(crate) tokens: usize,
    pub(crate) subjects: usize,
    /// Records under keys that name nothing.
    pub(crate) foreign_keys: usize,
}

impl Ledger {
    /// How much is revoked, as far as it is known here.
    pub(crate) fn counts(&self) -> Counts {
        let state = self.state.load();
        let (tokens, subjects) = state.revoked.len();
        Counts { tokens, subjects, foreign_keys: state.foreign_keys }
    }

    /// The last change of the store that counts here.
    pub(crate) fn revision(&self) -> Revision {
        *self.applied.borrow()
    }

    /// Waits until a change of the store counts here. False if that took too long.
    pub(crate) async fn applied(&self, revision: Revision, patience: Duration) -> bool {
        let mut applied = self.applied.subscribe();
        let applied = applied.wait_for(|applied| *applied >= revision);
        timeout(patience, applied).await.is_ok_and(|applied| applied.is_ok())
    }

    /// Writes, for a bounded time. After an error the write may have been done all the same, unless it is a conflict.
    async fn write(&self, write: Result<Write, StoreError>, until: u64) -> Result<Revision, WriteProblem> {
        let store = self.store.as_ref().ok_or(LedgerProblem::NoStore)?;
        let mut write = write.map_err(away)?;
        let now = self.clock.now().as_secs();
        write.lifetime = Some(lifetime(until, now));
        match timeout(STORE_PATIENCE, store.transact(vec![write])).await {
            Ok(Ok(revision)) => Ok(revision),
            Ok(Err(StoreError::Conflict { .. })) => Err(WriteProblem::Conflict),
            Ok(Err(problem)) => Err(away(problem).into()),
            Err(_) => Err(silent().into()),
        }
    }
}

#[async_trait]
impl parts::Ledger for Ledger {
    fn revoked(&self, iss: &str, id: Option<&str>, sub: &str) -> Result<Option<RevokedBy>, LedgerProblem> {
        let state = self.state.load();
        if state.contact.certainty(state.away, &*self.clock, self.max_offline) == Certainty::Unknown {
            return Err(LedgerProblem::Away(why_unknown(&state.contact)));
        }
        let now = self.clock.now().as_secs();
        let counts = |revoked: Revoked| state.revoked.counts(&revoked, now).then_some(revoked.what);
        let token = id.and_then(|id| counts(Revoked::token(iss, id)));
        Ok(token.or_else(|| counts(Revoked::subject(iss, sub))))
    }

    async fn revoke(&self, proof: &Proof) -> Result<(), LedgerProblem> {
        let Proof { iss, id, expires } = proof;
        self.has_room(&Revoked::token(iss, id))?;
        let record = Record {
            issuer: iss.clone(),
            revoked: Named::Token(id.clone()),
            reason: String::new(),
            by: None,
            create_time: self.clock.now().as_secs(),
            expire_time: Some(*expires),
        };
        match self.put(&record, Expected::Absent).await {
            Ok(revision) => self.comes_back(revision).await,
            Err(WriteProblem::Conflict) => self.extend(record).await,
            Err(WriteProblem::Other(problem)) => Err(problem),
        }
    }

    async fn use_once(&self, proof: &Proof) -> Result<(), LedgerProblem> {
        if self.state.load().is_full() {
            return Err(LedgerProblem::Full { most: MAX_OF_HOLDERS });
        }
        let Proof { iss, id, expires } = proof;
        let until = expires.saturating_add(LEEWAY);
        let write = USE.put(&use_name(iss, id), &Use { until }, Expected::Absent);
        match self.write(write, until).await {
            Ok(_) => Ok(()),
            Err(WriteProblem::Conflict) => Err(LedgerProblem::Used),
            Err(WriteProblem::Other(problem)) => Err(problem),
        }
    }
}

impl Ledger {
    /// Whether a holder may revoke this: it is revoked already, or there are few.
    fn has_room(&self, revoked: &Revoked) -> Result<(), LedgerProblem> {
        let state = self.state.load();
        if state.is_full() && !state.revoked.counts(revoked, self.clock.now().as_secs()) {
            return Err(LedgerProblem::Full { most: MAX_OF_HOLDERS });
        }
        Ok(())
    }

    async fn put(&self, record: &Record, expected: Expected) -> Result<Revision, WriteProblem> {
        let until = record.until().unwrap_or(u64::MAX);
        self.write(REVOCATION.put(&record.revoked().name(), record, expected), until).await
    }

    /// Sees that what is revoked already is so at least as long as `record` says.
    async fn extend(&self, record: Record) -> Result<(), LedgerProblem> {
        let (store, revoked) = (self.store.as_ref().ok_or(LedgerProblem::NoStore)?, record.revoked());
        let found = timeout(STORE_PATIENCE, store.get(&revoked.key())).await;
        let found = found.map_err(|_| silent())?.map_err(away)?;
        let Some(entry) = found else { return Err(away("others change the same revocation at this moment")) };
        // One that cannot be read has no end.
        let old = Record::read(&revoked, &entry).ok().filter(|old| {
            old.until().is_some_and(|until| record.until().is_none_or(|wanted| until < wanted))
        });
        let Some(old) = old else { return self.comes_back(entry.revision).await };
        let record = Record { expire_time: record.expire_time, ..old };
        match self.put(&record, Expected::At(entry.revision)).await {
            Ok(revision) => self.comes_back(revision).await,
            Err(WriteProblem::Conflict) => Err(away("others change the same revocation at this moment")),
            Err(WriteProblem::Other(problem)) => Err(problem),
        }
    }

    /// Waits until what is in the store counts here.
    async fn comes_back(&self, revision: Revision) -> Result<(), LedgerProblem> {
        if self.applied(revision, APPLIED_PATIENCE).await {
            return Ok(());
        }
        Err(away("it has the revocation, and has not told this node of it yet"))
    }
}

/// Why a write was not done.
enum WriteProblem {
    Conflict,
    Other(LedgerProblem),
}

impl From<LedgerProblem> for WriteProblem {
    fn from(problem: LedgerProblem) -> Self {
        Self::Other(problem)
    }
}

fn away(problem: impl ToString) -> LedgerProblem {
    LedgerProblem::Away(problem.to_string())
}

fn silent() -> LedgerProblem {
    away(format!("no answer within {} s", STORE_PATIENCE.as_secs()))
}

fn why_unknown(contact: &Contact) -> String {
    match contact {
        Contact::Lost { since: Some(since), .. } => {
            format!("what is revoked has not been heard of since {}", utc(*since))
        }
        _ => "what is revoked has not been heard of yet".to_owned(),
    }
}

/// How long a record is kept that ends at `until`.
pub(crate) fn lifetime(until: u64, now: u64) -> Duration {
    Duration::from_secs(until.saturating_sub(now).saturating_add(SLACK).clamp(1, MAX_LIFETIME))
}

#[cfg(test)]
mod tests;
