//! A key of this node, with its private half as long as that is needed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use alts_request_auth::{PublicKey, SigningKey};
use zeroize::Zeroizing;

use super::record::KeyRecord;
use crate::{
    clock::Clock,
    token::keys::{Key, Origin, PROMISE, State},
};

/// A private key, and its PKCS#8 DER to write it again.
#[derive(Clone)]
pub(super) struct Private {
    pub(super) key: Arc<SigningKey>,
    pub(super) der: Arc<Zeroizing<Vec<u8>>>,
}

/// A time in the past by a clock that nobody sets: so many seconds before an instant.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) instant: Instant,
    pub(super) before: u64,
}

impl Moment {
    /// This moment.
    pub(super) fn now(instant: Instant) -> Self {
        Self { instant, before: 0 }
    }

    /// How many seconds ago it was.
    pub(super) fn ago(self, clock: &dyn Clock) -> u64 {
        self.before.saturating_add(clock.since(self.instant).as_secs())
    }
}

/// A key of this node.
pub(super) struct Held {
    pub(super) facts: Key,
    pub(super) origin: Origin,
    pub(super) public: PublicKey,
    /// None once it signs no more.
    pub(super) private: Option<Private>,
    /// When it was published, and when it was retired or withdrawn.
    pub(super) published_at: Option<Moment>,
    pub(super) ended_at: Option<Moment>,
    /// The latest time that it has signed at: written by whoever signs.
    pub(super) used: Arc<AtomicU64>,
    /// Whether its file is to be written again.
    pub(super) is_dirty: bool,
    /// Whether nothing is left of it but its file, so that the operator's file cannot bring it back.
    pub(super) is_forgotten: bool,
}

impl Held {
    /// A key that nobody knows yet.
    pub(super) fn new(private: Private, origin: Origin, now: u64, kept: u64) -> Self {
        let public = private.key.public().clone();
        let facts = Key {
            kid: public.kid().to_owned(),
            created: now,
            published: None,
            promised: 0,
            activated: None,
            retired: None,
            withdrawn: None,
            used: 0,
            kept,
            at_once: false,
            soon: false,
            fits: true,
            in_store: false,
        };
        Self {
            facts,
            origin,
            public,
            private: Some(private),
            published_at: None,
            ended_at: None,
            used: Arc::default(),
            is_dirty: true,
            is_forgotten: false,
        }
    }

    /// Believes the dates that it was read with, from now on by a clock that nobody sets.
    pub(super) fn believe(&mut self, clock: &dyn Clock) {
        let (now, instant) = (clock.now().as_secs(), clock.monotonic());
        let moment = |date: u64| Moment { instant, before: now.saturating_sub(date) };
        self.published_at = self.facts.published.map(moment);
        self.ended_at = self.facts.withdrawn.or(self.facts.retired).map(moment);
    }

    pub(super) fn kid(&self) -> &str {
        &self.facts.kid
    }

    /// Whether it can sign now or later.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.facts.state(), State::Next | State::Active)
    }

    /// Takes over what whoever signs has noted. What the clock would not tell again is written down.
    pub(super) fn note_use(&mut self, now: u64) {
        let used = self.used.load(Ordering::Relaxed);
        if used > self.facts.used && (used > now || self.facts.state() != State::Active) {
            self.is_dirty = true;
        }
        if used > now || self.facts.state() != State::Active {
            self.facts.used = self.facts.used.max(used);
        }
    }

    /// Signs no more, since a moment. Tokens that it has signed are good until they end.
    pub(super) fn retire(&mut self, at: u64, moment: Moment) {
        self.facts.used = self.facts.used.max(self.used.load(Ordering::Relaxed));
        self.facts.retired = Some(at);
        self.end(moment);
    }

    /// Nobody shall believe it any more.
    pub(super) fn withdraw(&mut self, at: u64, moment: Moment) {
        if self.facts.withdrawn.is_none() {
            self.facts.withdrawn = Some(at);
            self.end(moment);
        }
    }

    fn end(&mut self, moment: Moment) {
        self.ended_at = Some(moment);
        self.private = None;
        self.facts.in_store = false;
        self.is_dirty = true;
    }

    /// What the store should hold of it from `now` on. A key that may sign is promised for longer.
    pub(super) fn record(&self, node: &str, now: u64, publish_ahead: u64) -> KeyRecord {
        let Key { created, activated, retired, withdrawn, kept, .. } = self.facts;
        let published = self.facts.published.unwrap_or(now);
        let ahead = if self.facts.at_once { 0 } else { publish_ahead };
        let signs_until = match withdrawn.or(retired) {
            Some(end) => end.max(self.facts.used).min(self.facts.promised),
            None => now.saturating_add(PROMISE),
        };
        KeyRecord {
            node: node.to_owned(),
            key: self.public.clone(),
            created,
            published,
            signs_from: activated.unwrap_or(published.saturating_add(ahead)),
            activated,
            signs_until,
            retired: retired.map(|retired| retired.max(self.facts.used)),
            withdrawn,
            kept,
        }
    }

    /// Whether a record says of it what it should.
    pub(super) fn is_told_by(&self, record: &KeyRecord) -> bool {
        let Key { activated, retired, withdrawn, kept, .. } = self.facts;
        let promise_is_kept = withdrawn.or(retired).is_some() || record.signs_until == self.facts.promised;
        record.key == self.public
            && (record.activated, record.retired.is_some(), record.withdrawn, record.kept)
                == (activated, retired.is_some(), withdrawn, kept)
            && promise_is_kept
    }
}
