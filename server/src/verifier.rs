//! Whether the peers of this node's accounts are acceptable, at any moment of a running daemon.
//!
//! [`Verifier`] holds the policy of now and how sure it is; [`Judge`] asks it for one handshake; [`writer`] is the only
//! one who changes it, by what files and the store say.

mod files;
mod judge;
pub(crate) mod kinds;
pub(crate) mod writer;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alts_handshake::Identity;
use alts_store::{Contact as Told, Revision};
use arc_swap::ArcSwap;
use tokio::{sync::watch, time::timeout};

pub(crate) use self::{
    files::{FileState, PolicyFiles},
    judge::Judge,
};
use crate::{
    clock::{Clock, utc},
    policy::{Decision, Entry, Mode, Policy, Question, Resources, effective},
};

/// How far ahead of this node's clock the word of a store may be noted, in seconds. Whatever is further ahead was noted
/// by a clock that was wrong, and nobody knows when.
const MAX_AHEAD: u64 = 300;

/// The policy of now. Readers take it without a lock; there is one writer.
pub(crate) struct Verifier {
    state: ArcSwap<State>,
    /// The last revision of the store that is part of the policy, for who waits for it.
    applied: watch::Sender<Revision>,
    /// How long a policy counts whose store is not heard of; for ever, if it has none.
    max_offline: Option<Duration>,
    clock: Arc<dyn Clock>,
}

/// Everything that holds at one time.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) policy: Arc<Policy>,
    /// What the policy was made of.
    pub(crate) files: Arc<Resources>,
    pub(crate) stored: Arc<Resources>,
    pub(crate) revision: Revision,
    pub(crate) contact: Contact,
    /// How long the store is away, if it is lost and was ever heard of.
    pub(crate) away: Option<Away>,
    /// Why the store is not copied to this node, if it should be and is not.
    pub(crate) copy_problem: Option<String>,
    pub(crate) file_states: Arc<[FileState]>,
    /// Records of the store under keys that name nothing.
    pub(crate) foreign_keys: usize,
    pub(crate) counts: Counts,
    /// When the policy last changed, in seconds since 1970.
    pub(crate) changed_at: u64,
}

/// How much the policy in use holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) peer_lists: usize,
    pub(crate) rules: usize,
    /// Of the rules.
    pub(crate) shadow_rules: usize,
    /// In lists and rules.
    pub(crate) peers: usize,
    pub(crate) target_names: usize,
    /// Those that have ended among them.
    pub(crate) revocations: usize,
}

impl Counts {
    /// Of what counts of files and store.
    fn of(files: &Resources, stored: &Resources, revocations: usize) -> Self {
        let mut counts = Self { revocations, ..Self::default() };
        for (_, list) in effective(&files.peer_lists, &stored.peer_lists) {
            counts.peer_lists += 1;
            if let Entry::Good(list) = list {
                counts.peers += list.peers().len();
            }
        }
        for (_, rule) in effective(&files.rules, &stored.rules) {
            counts.rules += 1;
            if let Entry::Good(rule) = rule {
                counts.peers += rule.peers().len();
                counts.shadow_rules += usize::from(rule.mode() == Mode::Shadow);
            }
        }
        counts.target_names = effective(&files.target_names, &stored.target_names).count();
        counts
    }
}

/// How the store stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contact {
    /// There is none: files are all there is.
    None,
    /// It is heard of.
    Live,
    /// It is not heard of since so many seconds after 1970; `None` if it never was.
    Lost { since: Option<u64>, problem: String },
}

impl Contact {
    /// How a store stands, as far as that is of use: as long as nothing of it is here, nobody knows what holds, however
    /// new a copy may be.
    pub(crate) fn published(&self, has_told: bool) -> Self {
        match self {
            Self::Lost { problem, .. } if !has_told => Self::Lost { since: None, problem: problem.clone() },
            Self::Live if !has_told => {
                Self::Lost { since: None, problem: "it has not told what it holds yet".to_owned() }
            }
            contact => contact.clone(),
        }
    }

    /// How sure is what is known of a store that stands so. `away` is what was reckoned of it, `max_offline` how long
    /// its last word counts; for ever, if nothing.
    pub(crate) fn certainty(
        &self,
        away: Option<Away>,
        clock: &dyn Clock,
        max_offline: Option<Duration>,
    ) -> Certainty {
        match self {
            Self::None | Self::Live => Certainty::Current,
            Self::Lost { since: None, .. } => Certainty::Unknown,
            Self::Lost { since: Some(_), .. } => {
                let away = away.and_then(|away| away.for_so_long(clock));
                let is_remembered = away.is_some_and(|away| max_offline.is_none_or(|most| away < most));
                if is_remembered { Certainty::Remembered } else { Certainty::Unknown }
            }
        }
    }

    /// For the screen of a program: operators have `altsd status`.
    pub(crate) fn why_unknown(&self) -> String {
        match self {
            Self::Lost { since: Some(since), .. } => {
                format!("the store of peer lists and revocations has not been heard of since {}", utc(*since))
            }
            _ => "the store of peer lists and revocations has not been heard of yet".to_owned(),
        }
    }
}

impl From<Told> for Contact {
    fn from(told: Told) -> Self {
        match told {
            Told::Live => Self::Live,
            Told::Lost { since, problem } => Self::Lost { since, problem },
        }
    }
}

/// How long a store has been away: by the time of day when that was first noted, and from then on by a clock that nobody
/// sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Away {
    /// When it was last heard of, in seconds since 1970.
    since: u64,
    /// How long ago that was at `at`; nothing if it was to come for long.
    age: Option<Duration>,
    at: Instant,
}

impl Away {
    /// Of a store that stands so, if it is lost and was ever heard of. `before` is what was reckoned last.
    pub(crate) fn of(contact: &Contact, before: Option<Self>, clock: &dyn Clock) -> Option<Self> {
        match contact {
            Contact::Lost { since: Some(since), .. } => Some(Self::reckoned(*since, before, clock)),
            _ => None,
        }
    }

    /// A store that is not heard of since then. What was reckoned of the same before goes on to count.
    fn reckoned(since: u64, before: Option<Self>, clock: &dyn Clock) -> Self {
        let now = clock.now().as_secs();
        let by_day =
            (since <= now.saturating_add(MAX_AHEAD)).then(|| Duration::from_secs(now.saturating_sub(since)));
        let age = match before.filter(|before| before.since == since) {
            Some(before) => before.for_so_long(clock).map(|age| age.max(by_day.unwrap_or_default())),
            None => by_day,
        };
        Self { since, age, at: clock.monotonic() }
    }

    /// How long it is by now, if anybody knows.
    fn for_so_long(&self, clock: &dyn Clock) -> Option<Duration> {
        self.age.map(|age| age.saturating_add(clock.since(self.at)))
    }
}

/// How sure a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// It is what holds.
    Current,
    /// It is what held when the store was last heard of, and that is not too long ago.
    Remembered,
    /// Nobody can say what holds.
    Unknown,
}

impl Verifier {
    /// Begins with a state. `max_offline` is how long a policy counts when its store is not heard of.
    pub(crate) fn new(state: State, max_offline: Option<Duration>, clock: Arc<dyn Clock>) -> Self {
        let applied = watch::Sender::new(state.revision);
        Self { state: ArcSwap::from_pointee(state), applied, max_offline, clock }
    }

    /// Decides, or says why nobody can.
    pub(crate) fn decide(&self, question: &Question<'_>) -> Result<Decision, String> {
        let state = self.state.load();
        match state.certainty(&*self.clock, self.max_offline) {
            Certainty::Current | Certainty::Remembered => Ok(state.policy.decide(question)),
            Certainty::Unknown => Err(state.contact.why_unknown()),
        }
    }

    /// Whether an account is revoked, or why nobody can say. `now` is in seconds since 1970.
    pub(crate) fn is_revoked(&self, account: &Identity, now: u64) -> Result<bool, String> {
        let state = self.state.load();
        match state.certainty(&*self.clock, self.max_offline) {
            Certainty::Current | Certainty::Remembered => Ok(state.policy.is_revoked(account, now)),
            Certainty::Unknown => Err(state.contact.why_unknown()),
        }
    }

    /// What holds now.
    pub(crate) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// How sure that is.
    pub(crate) fn certainty(&self) -> Certainty {
        self.state.load().certainty(&*self.clock, self.max_offline)
    }

    /// How long a policy counts whose store is not heard of.
    pub(crate) fn max_offline(&self) -> Option<Duration> {
        self.max_offline
    }

    /// Waits until a change of the store is part of the policy. False if that took too long.
    pub(crate) async fn applied(&self, revision: Revision, patience: Duration) -> bool {
        let mut applied = self.applied.subscribe();
        let applied = applied.wait_for(|applied| *applied >= revision);
        timeout(patience, applied).await.is_ok_and(|applied| applied.is_ok())
    }

    /// Notes that nothing of the policy has changed up to a revision of the store.
    fn advance(&self, revision: Revision) {
        self.publish(State { revision, ..State::clone(&self.state.load()) });
    }

    fn publish(&self, state: State) {
        let revision = state.revision;
        self.state.store(Arc::new(state));
        self.applied.send_replace(revision);
    }
}

impl State {
    fn certainty(&self, clock: &dyn Clock, max_offline: Option<Duration>) -> Certainty {
        self.contact.certainty(self.away, clock, max_offline)
    }
}
