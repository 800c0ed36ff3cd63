//! When signing keys are made, published, used, retired and forgotten: decided from their records and the time.
//!
//! A verifier keeps a set of keys for a while. So a key is published before it signs, and stays published after it has
//! signed for the last time: next → active → retired → gone. What is taken back at once is withdrawn. [`plan`] says
//! what is to be done now, and [`wake`] when to ask again.

use serde::{Deserialize, Serialize};

/// What verifiers forgive in the times of a token, in seconds.
const LEEWAY: u64 = 60;

/// How far ahead a record in the store says that its key may sign, in seconds: the longest that a node signs without
/// its store, and that the keys of a node which is gone stay published.
pub(crate) const PROMISE: u64 = 7 * 86_400;

/// A next key is made at most so much earlier than it must be, in seconds: a store that is away for less delays nothing.
const MARGIN: u64 = 3_600;

/// A clock that is set back by no more, in seconds, is taken as it is. Behind that, dates of keys are thought wrong.
const SET_BACK: u64 = 3_600;

/// By how much two clocks of one machine may differ before one of them counts as set, in seconds.
const DRIFT: u64 = 2;

/// What others' records outlive their last use by, beside what is due, in seconds: clocks of nodes differ.
const FOREIGN_SLACK: u64 = 3_600;

/// Where the keys of a node come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    /// Made here, and replaced when they are old.
    Generated,
    /// From a file of the operator, and replaced when it holds another.
    Imported,
}

/// How keys come and go. All times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) origin: Origin,
    /// How long a generated key signs.
    pub(crate) rotate: u64,
    /// How long a key is published before it signs.
    pub(crate) publish_ahead: u64,
    /// The longest that a verifier keeps a set.
    pub(crate) verifier_cache: u64,
    /// The longest lifetime of a token.
    pub(crate) max_lifetime: u64,
    /// Whether the first key of a node signs at once, also where others of its fleet publish a set already.
    pub(crate) sign_at_once: bool,
}

impl Settings {
    /// How long the record of a key is kept once it cannot sign any more.
    pub(crate) fn kept(&self) -> u64 {
        self.max_lifetime.saturating_add(LEEWAY).saturating_add(self.verifier_cache)
    }

    /// What the operator should know before any key rotates.
    pub(crate) fn warning(&self) -> Option<String> {
        let Self { publish_ahead, verifier_cache, .. } = self;
        (publish_ahead < verifier_cache).then(|| {
            format!(
                "publish_ahead_seconds is {publish_ahead}, and verifiers keep a set of keys for up to {verifier_cache} s: \
                 after each rotation they may refuse good tokens for up to {} s; set publish_ahead_seconds to \
                 {verifier_cache} or more",
                verifier_cache - publish_ahead
            )
        })
    }

    /// How long before its date the next key is made.
    fn lead(&self) -> u64 {
        self.publish_ahead.saturating_add(MARGIN.min(self.rotate / 4))
    }
}

/// Where a key is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// It is published, or shall be, and does not sign yet.
    Next,
    /// Tokens are signed with it.
    Active,
    /// Tokens that it has signed may still be good.
    Retired,
    /// Nobody shall believe it any more.
    Withdrawn,
}

impl State {
    /// All, in the order of their words.
    pub(crate) const ALL: [Self; 4] = [Self::Next, Self::Active, Self::Retired, Self::Withdrawn];

    /// Its word, as operators read it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// A key of this node. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) kid: String,
    pub(crate) created: u64,
    /// When the store had acknowledged its record. Without a store: when this node began to serve it.
    pub(crate) published: Option<u64>,
    /// Until when its record says that it may sign; 0 before it is published, and `u64::MAX` without a store.
    pub(crate) promised: u64,
    pub(crate) activated: Option<u64>,
    pub(crate) retired: Option<u64>,
    pub(crate) withdrawn: Option<u64>,
    /// The latest time that it has signed at, as far as that is known.
    pub(crate) used: u64,
    /// How long its record is kept once it cannot sign any more: the most that [`Settings::kept`] was.
    pub(crate) kept: u64,
    /// Whether it signs as soon as it is published.
    pub(crate) at_once: bool,
    /// Whether it takes over as soon as it may, and not when the one before is old.
    pub(crate) soon: bool,
    /// Whether it is what the configuration wants: of its algorithm, and from the file that it names.
    pub(crate) fits: bool,
    /// Whether the store holds of it what it should.
    pub(crate) in_store: bool,
}

impl Key {
    /// Where it is on its way. It never goes back, whatever the clock says.
    pub(crate) fn state(&self) -> State {
        match (self.withdrawn, self.retired, self.activated) {
            (Some(_), ..) => State::Withdrawn,
            (None, Some(_), _) => State::Retired,
            (None, None, Some(_)) => State::Active,
            (None, None, None) => State::Next,
        }
    }

    /// From when on its record is not needed any more, if that is known.
    pub(crate) fn gone_after(&self) -> Option<u64> {
        Some(self.withdrawn.or(self.retired)?.max(self.used).saturating_add(self.kept))
    }

    /// From when on it may sign.
    pub(crate) fn signs_from(&self, settings: &Settings) -> Option<u64> {
        if let Some(activated) = self.activated {
            return Some(activated);
        }
        let ahead = if self.at_once { 0 } else { settings.publish_ahead };
        Some(self.published?.saturating_add(ahead))
    }

    /// Corrects its dates by how long ago they were, in seconds, where a clock that nobody sets knows that: also if the
    /// clock was set since, no verifier has less time to hear of it, and no token less to end. Answers whether it has.
    pub(crate) fn correct(&mut self, now: u64, published_for: Option<u64>, ended_for: Option<u64>) -> bool {
        let before = (self.published, self.retired, self.withdrawn);
        if let (State::Next, Some(published), Some(ago)) = (self.state(), self.published, published_for) {
            let correct = now.saturating_sub(ago);
            self.published = Some(if published.abs_diff(correct) > DRIFT { correct } else { published });
        }
        if let Some(ago) = ended_for {
            // Never earlier: what was signed while the clock was ahead ends by that clock.
            let later =
                |end: u64| if now.saturating_sub(ago) > end.saturating_add(DRIFT) { now - ago } else { end };
            (self.retired, self.withdrawn) = (self.retired.map(later), self.withdrawn.map(later));
        }
        before != (self.published, self.retired, self.withdrawn)
    }

    /// Whether every verifier must know it by now.
    fn is_known(&self, now: u64, settings: &Settings) -> bool {
        self.signs_from(settings).is_some_and(|from| from <= now) && now <= self.promised
    }

    /// Whether others may have deleted its record, because its time was over.
    fn has_lapsed(&self, now: u64) -> bool {
        self.promised > 0 && now > self.promised.saturating_add(self.kept)
    }

    /// Whether it has signed for long enough; also if the clock was far ahead when it began.
    fn is_old(&self, now: u64, after: u64) -> bool {
        let begun = self.activated.unwrap_or(now);
        now >= begun.saturating_add(after) || begun > now.saturating_add(SET_BACK)
    }
}

/// What there is to decide about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// The keys of this node.
    pub(crate) keys: Vec<Key>,
    /// Whether the set has keys of other nodes; nothing as long as the store has not told.
    pub(crate) others: Option<bool>,
    /// The key in the file of the operator.
    pub(crate) offered: Option<String>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make a key, or take the one that is offered.
    Make { at_once: bool, reason: Reason },
    /// Write its record into the store, with a new promise.
    Publish { kid: String, reason: Reason },
    /// Sign with it from now on.
    Activate { kid: String, reason: Reason },
    /// Sign with it no more, and destroy its private half.
    Retire { kid: String, at: u64, reason: Reason },
    /// Delete its record.
    Forget { kid: String, reason: Reason },
}

/// Why it is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There is no key.
    First,
    /// The one before has been taken back.
    Replacement,
    /// The active key will be old soon, or is.
    Age,
    /// An operator asked for it.
    Asked,
    /// The configuration wants another.
    Configuration,
    /// The store does not hold what it should.
    NotInStore,
    /// The promise in the store ends.
    Promise,
    /// The clock was set back behind the date of its publication.
    ClockSetBack,
    /// Another key signs now.
    Succeeded,
    /// Its record was not renewed for so long that others may have deleted it.
    Lapsed,
    /// No token can need it any more.
    Unneeded,
}

impl Reason {
    /// As it stands in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::First => "there was none",
            Self::Replacement => "the one before was withdrawn",
            Self::Age => "the active key is old, or will be soon",
            Self::Asked => "an operator asked for it",
            Self::Configuration => "the configuration wants another key",
            Self::NotInStore => "the store does not hold its record as it should be",
            Self::Promise => "the end that its record promises comes near",
            Self::ClockSetBack => "the clock was set back behind its date",
            Self::Succeeded => "another key signs now",
            Self::Lapsed => "its record was not renewed in time, and verifiers may not know it any more",
            Self::Unneeded => "no token can need it any more",
        }
    }
}

/// What is to be done now, in this order. When it is done there may be more: ask until there is nothing.
pub(crate) fn plan(now: u64, own: &Own, settings: &Settings) -> Vec<Step> {
    let mut steps: Vec<_> = own.keys.iter().filter_map(|key| ending(now, key)).collect();
    let ends = |key: &Key| {
        steps.iter().any(
            |step| matches!(step, Step::Retire { kid, .. } | Step::Forget { kid, .. } if *kid == key.kid),
        )
    };
    let staying: Vec<&Key> = own.keys.iter().filter(|key| !ends(key)).collect();
    let publish = staying.iter().filter_map(|key| publication(now, key)).collect::<Vec<_>>();
    let succession = succession(now, own, &staying, settings);
    steps.extend(publish);
    steps.extend(succession);
    steps
}

/// When there may be something to do again, if nothing else happens. Never before `now`.
pub(crate) fn wake(now: u64, own: &Own, settings: &Settings) -> Option<u64> {
    let of_key = |key: &Key| {
        let dates = match key.state() {
            State::Next => [key.signs_from(settings), Some(key.promised.saturating_sub(PROMISE / 2)), None],
            State::Active => {
                let begun = key.activated.unwrap_or(now);
                let old = begun.saturating_add(settings.rotate);
                let renewed = key.promised.saturating_sub(PROMISE / 2);
                [Some(old), Some(old.saturating_sub(settings.lead())), Some(renewed)]
            }
            State::Retired | State::Withdrawn => {
                [key.gone_after().map(|gone| gone.saturating_add(1)), None, None]
            }
        };
        dates.into_iter().flatten()
    };
    own.keys.iter().flat_map(of_key).filter(|date| *date > now).min()
}

/// From when on nobody needs the record of another node's key, whatever became of that node. `end` is when the key was
/// retired, or until when its node may sign with it.
pub(crate) fn collected_after(end: u64, kept: u64) -> u64 {
    end.saturating_add(kept).saturating_add(FOREIGN_SLACK)
}

/// What ends the way of a key.
fn ending(now: u64, key: &Key) -> Option<Step> {
    let kid = key.kid.clone();
    if let Some(gone) = key.gone_after() {
        return (now > gone).then_some(Step::Forget { kid, reason: Reason::Unneeded });
    }
    if key.has_lapsed(now) {
        // It has not signed since.
        return Some(Step::Retire { kid, at: key.promised, reason: Reason::Lapsed });
    }
    if !key.fits && key.state() == State::Next {
        return Some(Step::Retire { kid, at: now, reason: Reason::Configuration });
    }
    None
}

/// Whether its record has to be written.
fn publication(now: u64, key: &Key) -> Option<Step> {
    let kid = key.kid.clone();
    let is_set_back = key.published.is_some_and(|published| published > now);
    let reason = if !key.in_store || key.published.is_none() {
        Reason::NotInStore
    } else if matches!(key.state(), State::Retired | State::Withdrawn) {
        return None;
    } else if key.state() == State::Next && !key.at_once && is_set_back {
        Reason::ClockSetBack
    } else if key.promised < now.saturating_add(PROMISE / 2) {
        Reason::Promise
    } else {
        return None;
    };
    Some(Step::Publish { kid, reason })
}

/// Which key signs, and which comes after it.
fn succession(now: u64, own: &Own, staying: &[&Key], settings: &Settings) -> Vec<Step> {
    let of_state = |state| staying.iter().copied().filter(move |key| key.state() == state);
    let active = of_state(State::Active).max_by_key(|key| key.activated);
    let retire =
        |reason| move |key: &Key| Step::Retire { kid: key.kid.clone(), at: now.max(key.used), reason };
    let ready =
        of_state(State::Next).filter(|key| key.is_known(now, settings)).min_by_key(|key| key.published);
    if let Some(next) = ready
        && let Some(reason) = takes_over(now, next, active, settings)
    {
        let activate = Step::Activate { kid: next.kid.clone(), reason };
        let rest = of_state(State::Active).map(retire(Reason::Succeeded));
        return [activate].into_iter().chain(rest).collect();
    }
    // As after a crash between two writes.
    let mut steps: Vec<_> = of_state(State::Active)
        .filter(|key| active.is_some_and(|active| active.kid != key.kid))
        .map(retire(Reason::Succeeded))
        .collect();
    if of_state(State::Next).next().is_none() {
        steps.extend(made(now, own, staying, active, settings));
    }
    steps
}

/// Whether a key that may sign does so from now on.
fn takes_over(now: u64, next: &Key, active: Option<&Key>, settings: &Settings) -> Option<Reason> {
    let Some(active) = active else { return Some(Reason::First) };
    if next.soon || next.at_once {
        Some(Reason::Asked)
    } else if settings.origin == Origin::Imported || !active.fits {
        Some(Reason::Configuration)
    } else {
        active.is_old(now, settings.rotate).then_some(Reason::Age)
    }
}

/// Whether another key is made now. There is none that waits.
fn made(now: u64, own: &Own, staying: &[&Key], active: Option<&Key>, settings: &Settings) -> Option<Step> {
    let is_new = |kid: &String| own.keys.iter().all(|key| key.kid != *kid);
    if settings.origin == Origin::Imported && !own.offered.as_ref().is_some_and(is_new) {
        return None;
    }
    if let Some(active) = active {
        let reason = if settings.origin == Origin::Imported || !active.fits {
            Reason::Configuration
        } else if active.is_old(now, settings.rotate.saturating_sub(settings.lead())) {
            Reason::Age
        } else {
            return None;
        };
        return Some(Step::Make { at_once: false, reason });
    }
    // Whoever has no key must know who else publishes a set: their verifiers keep it, without the new key.
    let others = own.others?;
    let is_replaced = staying.iter().any(|key| key.withdrawn.is_some());
    let at_once = settings.sign_at_once || is_replaced || (own.keys.is_empty() && !others);
    let reason = if is_replaced { Reason::Replacement } else { Reason::First };
    Some(Step::Make { at_once, reason })
}

#[cfg(test)]
mod tests;
