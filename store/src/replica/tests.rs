use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use tokio::{
    sync::{mpsc::Receiver, watch},
    time::{sleep, timeout},
};

use super::{AGE_GRAIN, Contact, CopySettings, ReplicaSettings, Update, copy::Copy, follow};
use crate::{
    Change, Entry, Error, Expected, Listing, MAX_TRANSACTION, MAX_WRITES, MemoryStore, Revision, SledStore,
    Store, Watch, Write,
};

mod breaking;
mod keeping;

/// How long an event may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// When the tests begin.
const START: u64 = 1_800_000_000;

/// Who the source is.
const IDENTITY: &str = "etcd at nowhere, altsd/";

/// A store in memory that can be away, and can fail.
struct Troubled {
    store: MemoryStore,
    state: watch::Sender<State>,
    /// How many more transactions it does.
    writes: AtomicUsize,
    /// Whether the first that fails is done all the same.
    does_the_last: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Here,
    Away,
    Hanging,
}

impl Troubled {
    fn new(store: MemoryStore) -> Arc<Self> {
        Self::failing_after(usize::MAX, false, store)
    }

    fn failing_after(writes: usize, does_the_last: bool, store: MemoryStore) -> Arc<Self> {
        Arc::new(Self { store, state: watch::Sender::new(State::Here), writes: writes.into(), does_the_last })
    }

    fn is(&self, state: State) {
        self.state.send_replace(state);
    }

    async fn check(&self) -> Result<(), Error> {
        let state = *self.state.borrow();
        match state {
            State::Here => Ok(()),
            State::Away => Err(away()),
            State::Hanging => {
                let mut state = self.state.subscribe();
                let _ = state.wait_for(|state| *state != State::Hanging).await;
                Err(away())
            }
        }
    }
}

#[async_trait]
impl Store for Troubled {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.check().await?;
        self.store.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        self.check().await?;
        self.store.list(prefix).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, Error> {
        self.check().await?;
        if self.writes.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err() {
            if self.does_the_last {
                self.store.transact(writes).await?;
            }
            self.is(State::Away);
            return Err(away());
        }
        self.store.transact(writes).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.check().await?;
        let watch = self.store.watch(prefix, after).await?;
        let mut state = self.state.subscribe();
        let broken = Box::pin(async move { state.wait_for(|state| *state == State::Away).await.is_ok() });
        let end = stream::once(future::ready(Err(away())));
        Ok(Box::pin(watch.take_until(broken).chain(end)))
    }
}

fn away() -> Error {
    Error::Unavailable("it is away".to_owned())
}

/// A clock that tests move.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(START.into()))
    }

    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, SeqCst);
    }
}

fn settings(source: &Arc<impl Store>, copy: Option<&Arc<dyn Store>>, clock: &Clock) -> ReplicaSettings {
    let clock = clock.clone();
    ReplicaSettings {
        source: source.clone(),
        identity: IDENTITY.to_owned(),
        prefix: "p/".to_owned(),
        copy: copy.map(|store| CopySettings { store: store.clone(), at: "copy/".to_owned() }),
        now: Arc::new(move || clock.0.load(SeqCst)),
        seed: 7,
    }
}

async fn next(updates: &mut Receiver<Update>) -> Update {
    let update = timeout(PATIENCE, updates.recv()).await.expect("nothing is told");
    update.expect("a replica goes on as long as somebody listens")
}

async fn put(store: &impl Store, key: &str, value: &str) -> Entry {
    let value = Bytes::copy_from_slice(value.as_bytes());
    let revision = store.put(key, value.clone(), Expected::Anything).await.expect("memory takes it");
    Entry { key: key.to_owned(), value, revision }
}

fn all(entries: &[&Entry], revision: Revision) -> Update {
    Update::All { entries: entries.iter().map(|&entry| entry.clone()).collect(), revision }
}

fn one(entry: &Entry) -> Update {
    Update::Changes { changes: vec![Change::Put(entry.clone())], revision: entry.revision }
}

fn live() -> Update {
    Update::Contact(Contact::Live)
}

fn lost(since: Option<u64>) -> Update {
    Update::Contact(Contact::Lost { since, problem: away().to_string() })
}

/// What a copy holds, as its next reader finds it.
async fn kept(store: &Arc<dyn Store>) -> Option<(Vec<Entry>, u64)> {
    let settings = CopySettings { store: store.clone(), at: "copy/".to_owned() };
    let kept = Copy::new(settings, IDENTITY.to_owned()).open().await.expect("the copy can be read");
    kept.map(|kept| (kept.entries, kept.heard))
}

/// Waits until a copy holds this.
async fn keeps(store: &Arc<dyn Store>, entries: &[&Entry], heard: u64) {
    let wanted = (entries.iter().map(|&entry| entry.clone()).collect::<Vec<_>>(), heard);
    let mut found = None;
    for _ in 0..6_000 {
        found = kept(store).await;
        if found.as_ref() == Some(&wanted) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the copy holds {found:?}, not {wanted:?}");
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

#[tokio::test]
async fn what_the_source_holds_is_told_and_then_each_change() {
    let store = MemoryStore::new();
    let a = put(&store, "p/a", "1").await;
    let other = put(&store, "q/a", "1").await;
    let source = Troubled::new(store.clone());
    let mut updates = follow(settings(&source, None, &Clock::new()));
    assert_eq!(next(&mut updates).await, all(&[&a], other.revision));
    assert_eq!(next(&mut updates).await, live());
    let b = put(&store, "p/b", "1").await;
    assert_eq!(next(&mut updates).await, one(&b));
    put(&store, "q/b", "1").await;
    let revision = store.delete("p/a", Expected::Anything).await.expect("it is there");
    let deleted = Change::Deleted { key: "p/a".to_owned(), revision };
    assert_eq!(next(&mut updates).await, Update::Changes { changes: vec![deleted], revision });
}

#[tokio::test]
async fn without_its_source_a_replica_tells_the_copy_and_its_age_then_what_it_missed() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let sled = SledStore::open(directory.path(), 1 << 30).expect("it is new");
    for copy in [memory(), Arc::new(sled)] {
        let store = MemoryStore::new();
        let clock = Clock::new();
        let a = put(&store, "p/a", "1").await;
        let source = Troubled::new(store.clone());
        let mut updates = follow(settings(&source, Some(&copy), &clock));
        assert_eq!(next(&mut updates).await, all(&[&a], a.revision));
        assert_eq!(next(&mut updates).await, live());
        clock.advance(5);
        let b = put(&store, "p/b", "1").await;
        assert_eq!(next(&mut updates).await, one(&b));
        keeps(&copy, &[&a, &b], START + 5).await;
        drop(updates);

        source.is(State::Away);
        clock.advance(3_600);
        let mut updates = follow(settings(&source, Some(&copy), &clock));
        assert_eq!(next(&mut updates).await, lost(Some(START + 5)));
        assert_eq!(next(&mut updates).await, all(&[&a, &b], b.revision));
        let c = put(&store, "p/c", "1").await;
        source.is(State::Here);
        assert_eq!(next(&mut updates).await, all(&[&a, &b, &c], c.revision));
        assert_eq!(next(&mut updates).await, live());
        keeps(&copy, &[&a, &b, &c], START + 3_605).await;
    }
}

#[tokio::test]
async fn a_source_that_says_nothing_is_as_good_as_away() {
    let (store, copy, clock) = (MemoryStore::new(), memory(), Clock::new());
    let a = put(&store, "p/a", "1").await;
    let source = Troubled::new(store.clone());
    let updates = follow(settings(&source, Some(&copy), &clock));
    keeps(&copy, &[&a], START).await;
    drop(updates);

    source.is(State::Hanging);
    let mut updates = follow(settings(&source, Some(&copy), &clock));
    let told = next(&mut updates).await;
    let Update::Contact(Contact::Lost { since: Some(START), problem }) = told else { panic!("{told:?}") };
    assert!(problem.contains("no answer within 3s"), "{problem}");
    assert_eq!(next(&mut updates).await, all(&[&a], a.revision));
}

#[tokio::test]
async fn a_source_that_comes_back_is_followed_from_where_it_was() {
    let (store, clock) = (MemoryStore::new(), Clock::new());
    let a = put(&store, "p/a", "1").await;
    let source = Troubled::new(store.clone());
    let mut updates = follow(settings(&source, None, &clock));
    assert_eq!(next(&mut updates).await, all(&[&a], a.revision));
    assert_eq!(next(&mut updates).await, live());
    for round in 0..3 {
        clock.advance(100);
        let heard = put(&store, "p/b", &round.to_string()).await;
        assert_eq!(next(&mut updates).await, one(&heard));
        let since = START + 100 * (round + 1);
        clock.advance(0);
        source.is(State::Away);
        assert_eq!(next(&mut updates).await, lost(Some(since)));
        let missed = put(&store, "p/c", &round.to_string()).await;
        source.is(State::Here);
        let mut told = vec![next(&mut updates).await, next(&mut updates).await];
        told.sort_by_key(|update| *update != live());
        assert_eq!(told, [live(), one(&missed)]);
    }
}

#[tokio::test]
async fn a_source_that_has_forgotten_tells_everything_again() {
    let (store, clock) = (MemoryStore::new(), Clock::new());
    let a = put(&store, "p/a", "1").await;
    let source = Troubled::new(store.clone());
    let mut updates = follow(settings(&source, None, &clock));
    assert_eq!(next(&mut updates).await, all(&[&a], a.revision));
    assert_eq!(next(&mut updates).await, live());
    source.is(State::Away);
    assert_eq!(next(&mut updates).await, lost(Some(START)));
    store.delete("p/a", Expected::Anything).await.expect("it is there");
    let filling = "x".repeat(1 << 20);
    while !matches!(store.watch("", a.revision).await, Err(Error::Compacted { .. })) {
        put(&store, "q/filling", &filling).await;
    }
    let b = put(&store, "p/b", "1").await;
    source.is(State::Here);
    assert_eq!(next(&mut updates).await, all(&[&b], b.revision));
    assert_eq!(next(&mut updates).await, live());
}

#[tokio::test]
async fn with_neither_source_nor_copy_nothing_is_claimed() {
    let (store, clock) = (MemoryStore::new(), Clock::new());
    let a = put(&store, "p/a", "1").await;
    let source = Troubled::new(store.clone());
    source.is(State::Away);
    let mut updates = follow(settings(&source, Some(&memory()), &clock));
    assert_eq!(next(&mut updates).await, lost(None));
    source.is(State::Here);
    assert_eq!(next(&mut updates).await, all(&[&a], a.revision));
    assert_eq!(next(&mut updates).await, live());
}

#[tokio::test]
async fn a_copy_of_something_else_is_not_believed() {
    let (store, copy, clock) = (MemoryStore::new(), memory(), Clock::new());
    let a = put(&store, "p/a", "1").await;
    let source = Troubled::new(store.clone());
    drop(follow(settings(&source, Some(&copy), &clock)));
    let updates = follow(settings(&source, Some(&copy), &clock));
    keeps(&copy, &[&a], START).await;
    drop(updates);
    source.is(State::Away);
    let mut other = settings(&source, Some(&copy), &clock);
    other.identity = "another cluster".to_owned();
    let mut updates = follow(other);
    assert_eq!(next(&mut updates).await, lost(None));
    source.is(State::Here);
    assert_eq!(next(&mut updates).await, all(&[&a], a.revision));
}

#[tokio::test]
async fn a_source_that_is_behind_its_copy_is_told_to_be_set_back() {
    let (store, copy, clock) = (MemoryStore::new(), memory(), Clock::new());
    put(&store, "p/a", "1").await;
    let a = put(&store, "p/a", "2").await;
    let updates = follow(settings(&Troubled::new(store), Some(&copy), &clock));
    keeps(&copy, &[&a], START).await;
    drop(updates);
    let store = MemoryStore::new();
    let b = put(&store, "p/b", "1").await;
    let mut updates = follow(settings(&Troubled::new(store), Some(&copy), &clock));
    assert_eq!(next(&mut updates).await, Update::SetBack { known: a.revision, found: b.revision });
    assert_eq!(next(&mut updates).await, all(&[&b], b.revision));
    assert_eq!(next(&mut updates).await, live());
}

#[tokio::test]
async fn who_no_longer_listens_is_no_longer_told() {
    let source = Troubled::new(MemoryStore::new());
    let mut updates = follow(settings(&source, Some(&memory()), &Clock::new()));
    next(&mut updates).await;
    drop(updates);
    for _ in 0..6_000 {
        if Arc::strong_count(&source) == 1 {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("a replica goes on without anybody who listens");
}
