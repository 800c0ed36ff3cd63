//! The one task that changes the keys: load → decide → write.

mod change;
mod store;

use std::{sync::Arc, time::Duration};

use alts_handshake::sha256;
use alts_request_auth::{KeySet, PublicKey, SigningKey};
use alts_store::{Error as StoreError, Store};
use serde::Serialize;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::sleep,
};

use super::{
    ChangeError, Changed, Failure, Feed, KeySettings, Observe, Shared, Signer, Snapshot, Status,
    files::{FileForm, KeyFiles},
    fleet::Fleet,
    own::{Held, Moment, Private},
    status,
};
use crate::token::{
    keys::{self, Origin, Own, Reason, State, Step},
    parts::Published,
};

/// The clock is looked at this often, as it can be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(15);

/// The pause after something could not be done.
const RETRY: Duration = Duration::from_secs(5);

/// Most times that what was done leads to more at once. A key on its whole way needs six.
const MAX_ROUNDS: usize = 16;

/// Most records of other nodes that are written or deleted in one turn.
const MAX_FOREIGN_WRITES: usize = 16;

/// What a handle asks for.
pub(super) enum Command {
    Rotate { emergency: bool, answer: oneshot::Sender<Result<Changed, ChangeError>> },
    Retire { kid: String, answer: oneshot::Sender<Result<Changed, ChangeError>> },
    Turn { answer: oneshot::Sender<()> },
}

pub(super) struct Parts {
    pub(super) settings: KeySettings,
    pub(super) shared: Arc<Shared>,
    pub(super) files: KeyFiles,
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) observer: Arc<dyn Observe>,
    pub(super) held: Vec<Held>,
    pub(super) offered: Option<Private>,
}

pub(super) struct Task {
    settings: KeySettings,
    rules: keys::Settings,
    shared: Arc<Shared>,
    files: Arc<KeyFiles>,
    store: Option<Arc<dyn Store>>,
    observer: Arc<dyn Observe>,
    own: Vec<Held>,
    /// The key in the file of the operator.
    offered: Option<Private>,
    fleet: Fleet,
    /// Whether the store has told what it holds, and whether it was asked at all.
    has_told: bool,
    was_asked: bool,
    failure: Option<Failure>,
    /// What has failed in this turn.
    failed: Vec<Step>,
    /// What the store said, once it has failed in this turn: it is not asked again.
    away: Option<StoreError>,
    /// The first thing of this turn that could not be done.
    problem: Option<Problem>,
}

/// Why something could not be done.
#[derive(Clone, Debug)]
struct Problem {
    code: &'static str,
    text: String,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self { code: error.reason(), text: error.to_string() }
    }
}

impl From<super::Error> for Problem {
    fn from(error: super::Error) -> Self {
        Self { code: error.code(), text: error.to_string() }
    }
}

impl Task {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { settings, shared, files, store, observer, mut held, offered } = parts;
        held.iter_mut().for_each(|held| held.believe(&*shared.clock));
        Self {
            rules: settings.rules(),
            settings,
            shared,
            files: files.into(),
            has_told: store.is_none(),
            was_asked: store.is_none(),
            store,
            observer,
            own: held,
            offered,
            fleet: Fleet::default(),
            failure: None,
            failed: Vec::new(),
            away: None,
            problem: None,
        }
    }

    /// Works until there is no handle any more.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, mut feed: Option<Feed>) {
        if let Some(feed) = &mut feed {
            self.learn(feed);
        }
        loop {
            let wait = self.turn().await;
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => {
                        // What the store has said before counts before what an operator wants.
                        if let Some(feed) = feed.as_mut().filter(|feed| feed.has_changed().unwrap_or_default()) {
                            self.learn(feed);
                        }
                        self.obey(command).await;
                    }
                    None => return,
                },
                is_alive = changed(&mut feed) => match (&mut feed, is_alive) {
                    (Some(feed), true) => self.learn(feed),
                    _ => {
                        tracing::error!("the keys of other nodes are not followed any more; this is a mistake in altsd");
                        feed = None;
                    }
                },
                () = sleep(wait) => {}
            }
        }
    }

    /// Takes over what the store says now.
    fn learn(&mut self, feed: &mut Feed) {
        let entries = feed.borrow_and_update().clone();
        // A feed that was told nothing so far is empty too.
        if self.has_told || !entries.is_empty() {
            self.fleet.merge(&entries);
        }
    }

    /// Does what is due, and says how long nothing else will be.
    async fn turn(&mut self) -> Duration {
        self.failed.clear();
        (self.away, self.problem) = (None, None);
        // What is withdrawn loses its private half before the store is waited for.
        self.save().await;
        if !self.has_told {
            let listed = self.list().await;
            self.was_asked = true;
            if let Err(error) = listed {
                self.problem = Some(error.into());
            }
        }
        for _ in 0..MAX_ROUNDS {
            self.absorb();
            self.show();
            let steps = keys::plan(self.now(), &self.facts(), &self.rules);
            let steps: Vec<_> = steps.into_iter().filter(|step| !self.failed.contains(step)).collect();
            if steps.is_empty() {
                break;
            }
            for step in steps {
                if let Err(problem) = self.do_step(&step).await {
                    self.problem.get_or_insert(problem);
                    self.failed.push(step);
                }
            }
        }
        self.look_after_others().await;
        self.save().await;
        self.absorb();
        self.note_failure();
        self.show();
        self.wait()
    }

    fn wait(&self) -> Duration {
        if self.problem.is_some() {
            return RETRY;
        }
        let now = self.now();
        let next = keys::wake(now, &self.facts(), &self.rules).unwrap_or(u64::MAX);
        Duration::from_secs(next.saturating_sub(now)).min(LONGEST_SLEEP)
    }

    /// Seconds since 1970.
    fn now(&self) -> u64 {
        self.shared.clock.now().as_secs()
    }

    fn facts(&self) -> Own {
        let others = self.has_told.then(|| {
            let is_own = |kid: &str| self.is_own(kid);
            self.fleet.published(self.now(), is_own).next().is_some()
        });
        let offered = self.offered.as_ref().map(|offered| offered.key.kid().to_owned());
        Own {
            keys: self.own.iter().filter(|held| !held.is_forgotten).map(|held| held.facts.clone()).collect(),
            others,
            offered: offered.filter(|kid| !self.is_used_up(kid)),
        }
    }

    fn is_own(&self, kid: &str) -> bool {
        self.own.iter().any(|held| held.kid() == kid)
    }

    /// Whether a key that is offered was used before, and must not be again.
    fn is_used_up(&self, kid: &str) -> bool {
        self.own.iter().any(|held| held.kid() == kid && !held.is_live())
    }

    /// Brings what is known of each key up to now.
    fn absorb(&mut self) {
        let (now, clock) = (self.now(), self.shared.clock.clone());
        let offered = self.offered.as_ref().map(|offered| offered.key.kid().to_owned());
        let offered = offered.filter(|kid| !self.is_used_up(kid));
        let mut is_replaced = false;
        for held in &mut self.own {
            let known = self.fleet.get(&held.facts.kid);
            if let Some(at) = known.and_then(|record| record.withdrawn)
                && held.facts.withdrawn.is_none()
            {
                tracing::warn!(
                    kid = held.kid(),
                    "a key of this node was withdrawn by an operator of the fleet"
                );
                is_replaced |= held.facts.state() == State::Active;
                held.withdraw(at, Moment::now(clock.monotonic()));
            }
            held.note_use(now);
            let ago = |at: Option<Moment>| at.map(|at| at.ago(&*clock));
            held.is_dirty |= held.facts.correct(now, ago(held.published_at), ago(held.ended_at));
            held.facts.fits = held.origin == self.rules.origin
                && held.public.algorithm() == self.settings.algorithm
                && (held.origin == Origin::Generated || offered.as_ref().is_none_or(|kid| kid == held.kid()));
            if held.is_live() && held.facts.kept < self.rules.kept() {
                held.facts.kept = self.rules.kept();
                held.is_dirty = true;
            }
            let stored = self.fleet.stored(held.kid());
            held.facts.in_store = match self.store {
                Some(_) => stored.is_some_and(|record| held.is_told_by(record)),
                None => true,
            };
        }
        if is_replaced {
            self.hasten();
        }
    }

    /// The key that verifiers have known for longest signs at once, now that the active one may not.
    fn hasten(&mut self) {
        let waiting = self.own.iter_mut().filter(|held| held.facts.state() == State::Next && held.facts.fits);
        if let Some(next) = waiting.min_by_key(|held| held.facts.published.unwrap_or(u64::MAX)) {
            next.facts.at_once = true;
            next.is_dirty = true;
        }
    }

    async fn do_step(&mut self, step: &Step) -> Result<(), Problem> {
        match step {
            Step::Make { at_once, reason } => {
                self.make(*at_once, *reason == Reason::Asked, *reason).await?;
            }
            Step::Publish { kid, reason } => self.publish(kid, *reason).await?,
            Step::Activate { kid, reason } => {
                let now = self.now();
                let Some(held) = self.held(kid) else { return Ok(()) };
                held.facts.activated = Some(now);
                held.is_dirty = true;
                tracing::info!(kid, "tokens are signed with this key from now on: {}", reason.as_str());
            }
            Step::Retire { kid, at, reason } => {
                let (now, instant) = (self.now(), self.shared.clock.monotonic());
                let Some(held) = self.held(kid) else { return Ok(()) };
                held.retire(*at, Moment { instant, before: now.saturating_sub(*at) });
                tracing::info!(kid, "nothing is signed with this key any more: {}", reason.as_str());
            }
            Step::Forget { kid, reason } => {
                self.forget(kid).await?;
                tracing::info!(kid, "the record of this key is deleted: {}", reason.as_str());
            }
        }
        Ok(())
    }

    fn held(&mut self, kid: &str) -> Option<&mut Held> {
        self.own.iter_mut().find(|held| held.kid() == kid)
    }

    /// Makes a key, and answers its `kid`. It is on the disk before anybody hears of it.
    async fn make(&mut self, at_once: bool, soon: bool, reason: Reason) -> Result<String, Problem> {
        let failed =
            |error: alts_request_auth::KeyError| Problem { code: error.reason(), text: error.to_string() };
        let (origin, now) = (self.rules.origin, self.now());
        let private = match (&self.offered, origin) {
            (Some(offered), Origin::Imported) => offered.clone(),
            _ => {
                let generated = SigningKey::generate(self.settings.algorithm, &*self.shared.random);
                let (key, der) = generated.map_err(failed)?;
                Private { key: key.into(), der: der.into() }
            }
        };
        let mut held = Held::new(private, origin, now, self.rules.kept());
        (held.facts.at_once, held.facts.soon) = (at_once, soon);
        self.write(&held).await?;
        held.is_dirty = false;
        let kid = held.kid().to_owned();
        tracing::info!(kid, at_once, "there is a new signing key: {}", reason.as_str());
        self.own.push(held);
        Ok(kid)
    }

    /// Writes the record of a key into the store.
    async fn publish(&mut self, kid: &str, reason: Reason) -> Result<(), Problem> {
        let (now, ahead) = (self.now(), self.rules.publish_ahead);
        let node = self.settings.node.clone();
        let Some(held) = self.held(kid) else { return Ok(()) };
        if reason == Reason::ClockSetBack {
            held.facts.published = None;
        }
        if self.store.is_some() {
            if let Some(problem) = self.fleet.problem(kid) {
                let text = format!("{problem}; delete it, or rotate by `altsd keys rotate`");
                return Err(Problem { code: "record_unreadable", text });
            }
            let Some(held) = self.held(kid) else { return Ok(()) };
            let record = held.record(&node, now, ahead);
            let promised = record.signs_until;
            if !self.put(kid, record).await? {
                return Ok(());
            }
            tracing::debug!(kid, "the store has its record: {}", reason.as_str());
            self.acknowledged(kid, Some(promised));
        } else {
            self.acknowledged(kid, None);
        }
        Ok(())
    }

    /// The record of a key is where others find it.
    fn acknowledged(&mut self, kid: &str, promised: Option<u64>) {
        let (now, instant) = (self.now(), self.shared.clock.monotonic());
        let Some(held) = self.held(kid) else { return };
        if held.is_live() {
            held.facts.promised = promised.unwrap_or(u64::MAX);
        }
        if held.facts.published.is_none() {
            held.facts.published = Some(now);
            held.published_at = Some(Moment::now(instant));
        }
        held.is_dirty = true;
    }

    /// Deletes all that is kept of a key.
    async fn forget(&mut self, kid: &str) -> Result<(), Problem> {
        if self.store.is_some() && !self.delete(kid).await? {
            return Ok(());
        }
        let stays = self.held(kid).is_some_and(|held| {
            held.is_forgotten = held.origin == Origin::Imported && held.facts.withdrawn.is_some();
            held.is_forgotten
        });
        if !stays {
            let (files, name) = (self.files.clone(), kid.to_owned());
            blocking(move || files.remove(&name)).await?;
            self.own.retain(|held| held.kid() != kid);
        }
        self.fleet.forget(kid);
        Ok(())
    }

    /// Deletes records that nobody needs and whose nodes are gone, and withdraws again what a store has forgotten.
    async fn look_after_others(&mut self) {
        let now = self.now();
        let own: Vec<String> = self.own.iter().map(|held| held.kid().to_owned()).collect();
        let is_own = |kid: &str| own.iter().any(|own| own == kid);
        for kid in self.fleet.collectable(now, is_own).into_iter().take(MAX_FOREIGN_WRITES) {
            match self.delete(&kid).await {
                Ok(true) => {
                    tracing::info!(kid, "the key of another node is deleted: no token can need it any more");
                    self.fleet.collected(&kid);
                }
                Ok(false) => {}
                Err(problem) => drop(self.problem.get_or_insert(problem)),
            }
        }
        for record in self.fleet.forgotten(now, is_own).into_iter().take(MAX_FOREIGN_WRITES) {
            let kid = record.key.kid().to_owned();
            match self.put(&kid, record).await {
                Ok(true) => tracing::warn!(
                    kid,
                    "the store had forgotten that this key is withdrawn, and is told again"
                ),
                Ok(false) => {}
                Err(problem) => drop(self.problem.get_or_insert(problem)),
            }
        }
    }

    /// Writes the files of keys that have changed.
    async fn save(&mut self) {
        for at in 0..self.own.len() {
            if !self.own[at].is_dirty {
                continue;
            }
            match self.write(&self.own[at]).await {
                Ok(()) => self.own[at].is_dirty = false,
                Err(problem) => drop(self.problem.get_or_insert(problem)),
            }
        }
    }

    async fn write(&self, held: &Held) -> Result<(), Problem> {
        let (files, form) = (self.files.clone(), FileForm::of(held));
        blocking(move || files.write(&form)).await
    }

    fn note_failure(&mut self) {
        if self.problem.is_none()
            && let Some(offered) = &self.offered
            && self.is_used_up(offered.key.kid())
            && let Some(path) = &self.settings.private_key
        {
            let error = ChangeError::UsedUp { path: path.clone(), kid: offered.key.kid().to_owned() };
            self.problem = Some(Problem { code: "token_key_used_up", text: error.to_string() });
        }
        let before = self.failure.take();
        self.failure = self.problem.clone().map(|Problem { code, text }| {
            let since = before.as_ref().filter(|before| before.code == code).map(|before| before.since);
            Failure { code, problem: text, since: since.unwrap_or_else(|| self.now()) }
        });
        match (&before, &self.failure) {
            (before, Some(failure)) if before.as_ref().map(|before| before.code) != Some(failure.code) => {
                tracing::warn!(
                    reason = failure.code,
                    "the signing keys are not as they should be, and those in use stay in use: {}",
                    failure.problem
                );
            }
            (Some(_), None) => tracing::info!("the signing keys are as they should be again"),
            _ => {}
        }
    }

    /// Lets everybody see how things are.
    fn show(&self) {
        let now = self.now();
        let is_own = |kid: &str| self.is_own(kid);
        let own = self.own.iter().filter(|held| held.facts.withdrawn.is_none()).map(|held| &held.public);
        let mut all: Vec<_> = own.chain(self.fleet.published(now, is_own)).collect();
        all.sort_by(|one, other| one.kid().cmp(other.kid()));
        let published = published(all);
        let before = self.shared.snapshot.load().published.clone();
        let published = if before.document == published.document { before } else { published };
        self.shared.snapshot.store(Arc::new(Snapshot { signer: self.signer(), published }));
        let mut unreadable: Vec<_> =
            self.fleet.unreadable().map(|(kid, problem)| (kid.to_owned(), problem.to_owned())).collect();
        if self.fleet.is_too_large(now, is_own) {
            unreadable.push(("*".to_owned(), "there are more keys than are published".to_owned()));
        }
        let shown = Status {
            keys: status::keys(&self.own, &self.fleet, &self.settings.node, &self.rules),
            unreadable,
            failure: self.failure.clone(),
        };
        self.observer.keys(&shown);
        self.shared.status.store(Arc::new(shown));
    }

    fn signer(&self) -> Signer {
        if !self.was_asked {
            return Signer::None("the store was not asked yet".to_owned());
        }
        let of_state = |state| self.own.iter().filter(move |held| held.facts.state() == state);
        let active = of_state(State::Active).max_by_key(|held| held.facts.activated);
        if let Some(held) = active
            && let Some(private) = &held.private
        {
            let (key, used) = (private.key.clone(), held.used.clone());
            return Signer::Key { key, until: held.facts.promised, used };
        }
        match of_state(State::Next).filter_map(|held| held.facts.signs_from(&self.rules)).min() {
            Some(from) => Signer::From(from),
            None => Signer::None(match &self.problem {
                Some(problem) => problem.text.clone(),
                None => "none is made yet".to_owned(),
            }),
        }
    }
}

/// A set as it is served. The keys are in the order in which they come.
pub(super) fn published<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Arc<Published> {
    #[derive(Serialize)]
    struct Set<'a> {
        keys: Vec<&'a PublicKey>,
    }
    let set = Set { keys: keys.into_iter().collect() };
    let document = serde_json::to_vec(&set).expect("public keys are texts, and so JSON");
    let etag = format!("\"{}\"", hex::encode(sha256(&document)));
    Arc::new(Published { document: document.into(), etag, keys: KeySet::of(set.keys) })
}

/// Whether there is something new; `false` if there will never be.
async fn changed(feed: &mut Option<Feed>) -> bool {
    match feed {
        Some(feed) => feed.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

/// What touches the disk, beside the runtime.
async fn blocking(work: impl FnOnce() -> Result<(), super::Error> + Send + 'static) -> Result<(), Problem> {
    let panicked = |_| Problem { code: "panicked", text: "this is a mistake in altsd".to_owned() };
    Ok(spawn_blocking(work).await.map_err(panicked)??)
}
