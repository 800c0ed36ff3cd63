//! One suite that every engine passes: what callers of [`Store`] rely on, as facts. Test code.
//!
//! `alts_store::conformance!(engine)` makes one test of each fact.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    Change, Entry, Error, Expected, Listing, MAX_KEY, MAX_LIFETIME, MAX_TRANSACTION, MAX_VALUE, MAX_WRITES,
    Revision, Store, Watch, Write,
};

pub mod watching;

/// How long an event may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the suite has its stores from.
#[async_trait]
pub trait Engine: Send + Sync {
    /// An empty store that nobody else writes to. Its revisions may be shared with other stores.
    async fn fresh(&self) -> Arc<dyn Store>;

    /// Makes the store forget what was before now. The default writes until it has.
    async fn forget(&self, store: &Arc<dyn Store>) {
        let before = list(store, "").await.revision;
        for _ in 0..64 {
            put(store, "filling", vec![0; MAX_VALUE]).await;
            if matches!(store.watch("", before).await, Err(Error::Compacted { .. })) {
                return;
            }
        }
        panic!("the store still knows everything since {before}");
    }
}

/// Makes a test of every fact, for an expression that is an [`Engine`].
#[macro_export]
macro_rules! conformance {
    ($engine:expr) => {
        $crate::conformance! { $engine =>
            what_was_put_is_there_byte_for_byte
            what_was_deleted_is_not_there
            an_expectation_holds_or_nothing_is_written
            a_transaction_is_done_whole_or_not_at_all
            a_transaction_sees_what_was_there_before_it
            a_conflict_names_the_first_key_and_what_is_there
            transactions_out_of_bounds_are_refused_and_change_nothing
            the_bounds_themselves_are_within_bounds
            reads_out_of_bounds_are_refused
            a_listing_is_ordered_and_holds_its_prefix_and_nothing_else
            every_change_is_a_later_revision
            an_entry_that_was_made_anew_is_not_the_old_one
            of_many_that_create_one_wins
            a_counter_that_many_raise_loses_nothing
            a_listing_shows_transactions_whole
            what_has_a_lifetime_goes_and_is_told
            the_last_write_decides_about_the_lifetime
        }
        $crate::conformance! { $engine => watching
            a_watch_tells_what_is_put_and_deleted_under_its_prefix
            a_watch_from_an_earlier_revision_tells_what_happened_since
            a_watch_from_the_last_revision_tells_only_what_comes
            a_transaction_is_told_in_one_batch
            what_changes_nothing_is_not_told
            what_was_refused_is_not_told
            a_listing_and_a_watch_leave_no_gap_and_tell_nothing_twice
            every_watch_is_told_everything
            a_watch_that_was_dropped_hinders_nobody
            a_watch_from_what_is_forgotten_is_refused
        }
    };
    ($engine:expr => watching $($fact:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                $crate::conformance::watching::$fact(&$engine).await;
            }
        )*
    };
    ($engine:expr => $($fact:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                $crate::conformance::$fact(&$engine).await;
            }
        )*
    };
}

pub async fn what_was_put_is_there_byte_for_byte(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let all: Vec<u8> = (0..=255).collect();
    let values: [&[u8]; 6] = [b"", b"\0", b"\xff\xfe\0\x80", b"{}", &all, &[b'\n'; 3]];
    for key in ["a", "with space/and\nline", "\u{0}", "\u{10ffff}", "ä/ö", "..", "/", "a\u{0}b"] {
        for value in values {
            let revision = put(&store, key, value.to_vec()).await;
            let entry = get(&store, key).await.expect("it was put");
            assert_eq!((&*entry.key, &*entry.value, entry.revision), (key, value, revision));
            let listed = list(&store, key).await.entries.into_iter().find(|entry| entry.key == key);
            assert_eq!(listed, Some(entry));
        }
    }
}

pub async fn what_was_deleted_is_not_there(engine: &dyn Engine) {
    let store = engine.fresh().await;
    assert_eq!(get(&store, "a").await, None);
    for expected in [Expected::Anything, Expected::Absent] {
        store.delete("a", expected).await.unwrap_or_else(|error| panic!("{expected:?}: {error}"));
    }
    for at in [false, true] {
        let revision = put(&store, "a", "1").await;
        let expected = if at { Expected::At(revision) } else { Expected::Anything };
        let deleted = store.delete("a", expected).await.expect("it is as expected");
        assert!(deleted > revision);
        assert_eq!((get(&store, "a").await, list(&store, "").await.entries), (None, vec![]));
    }
}

pub async fn an_expectation_holds_or_nothing_is_written(engine: &dyn Engine) {
    let store = engine.fresh().await;
    for (delete, there) in [(false, false), (false, true), (true, false), (true, true)] {
        for case in 0..7 {
            // A key of its own for each case, written twice where it shall be there.
            let key = format!("{delete}/{there}/{case}");
            let old = put(&store, "elsewhere", "0").await;
            let (mut older, mut held) = (old, None);
            if there {
                older = put(&store, &key, "0").await;
                held = Some(put(&store, &key, "1").await);
            }
            let at = held.unwrap_or(old);
            let (expected, holds) = [
                (Expected::Anything, true),
                (Expected::Absent, !there),
                (Expected::At(at), there),
                (Expected::At(older), false),
                (Expected::At(Revision(at.0 + 1)), false),
                (Expected::At(Revision(u64::MAX)), false),
                (Expected::At(Revision(0)), false),
            ][case];
            let write = match delete {
                true => Write::delete(&*key, expected),
                false => Write::put(&*key, "2", expected),
            };
            let before = get(&store, &key).await;
            let result = store.transact(vec![write]).await;
            let after = get(&store, &key).await;
            let what = format!("{key} {expected:?}: {result:?}, then {after:?}");
            match result {
                Ok(revision) => {
                    assert!(holds, "{what}");
                    let wanted = (!delete).then(|| (Bytes::from("2"), revision));
                    assert_eq!(after.map(|entry| (entry.value, entry.revision)), wanted, "{what}");
                }
                Err(error) => {
                    assert!(!holds && after == before, "{what}");
                    assert_eq!(error, Error::Conflict { key, found: held }, "{what}");
                }
            }
        }
    }
}

pub async fn a_transaction_is_done_whole_or_not_at_all(engine: &dyn Engine) {
    let store = engine.fresh().await;
    put(&store, "b", "old").await;
    put(&store, "c", "old").await;
    let before = list(&store, "").await.entries;
    let bad = |place: usize| {
        let mut writes = vec![
            Write::put("a", "new", Expected::Absent),
            Write::put("b", "new", Expected::Anything),
            Write::delete("c", Expected::Anything),
        ];
        writes.insert(place, Write::put("x", "new", Expected::At(Revision(1 << 40))));
        writes
    };
    for place in 0..4 {
        let result = store.transact(bad(place)).await;
        assert_eq!(result, Err(Error::Conflict { key: "x".to_owned(), found: None }), "at {place}");
        assert_eq!(list(&store, "").await.entries, before, "at {place}");
    }
    let mut good = bad(0);
    good.remove(0);
    let revision = store.transact(good).await.expect("all is as expected");
    let after = list(&store, "").await.entries;
    let after: Vec<_> = after.iter().map(|entry| (&*entry.key, &*entry.value, entry.revision)).collect();
    assert_eq!(after, [("a", &b"new"[..], revision), ("b", b"new", revision)]);
}

pub async fn a_transaction_sees_what_was_there_before_it(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let a = put(&store, "a", "1").await;
    // A name is moved: each half is allowed by what was there, not by what the other half does.
    let moved = vec![Write::delete("a", Expected::At(a)), Write::put("b", "1", Expected::Absent)];
    let revision = store.transact(moved).await.expect("all is as expected");
    let back = vec![Write::put("a", "1", Expected::Absent), Write::delete("b", Expected::At(revision))];
    store.transact(back).await.expect("all is as expected");
    let keys: Vec<_> = list(&store, "").await.entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, ["a"]);
}

pub async fn a_conflict_names_the_first_key_and_what_is_there(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let b = put(&store, "b", "1").await;
    let writes = vec![
        Write::put("z", "2", Expected::Absent),
        Write::put("b", "2", Expected::Absent),
        Write::put("a", "2", Expected::At(b)),
    ];
    assert_eq!(store.transact(writes).await, Err(Error::Conflict { key: "b".to_owned(), found: Some(b) }));
}

pub async fn transactions_out_of_bounds_are_refused_and_change_nothing(engine: &dyn Engine) {
    let store = engine.fresh().await;
    put(&store, "a", "1").await;
    let before = list(&store, "").await.entries;
    let put = |key: &str, size: usize| Write::put(key, vec![0; size], Expected::Anything);
    let lasting = |write: Write, lifetime| Write { lifetime: Some(lifetime), ..write };
    let many =
        |count: usize, size: usize| (0..count).map(|n| put(&format!("k{n}"), size)).collect::<Vec<_>>();
    let table = [
        ("nothing", vec![]),
        ("an empty key", vec![put("", 1)]),
        ("an empty key to delete", vec![Write::delete("", Expected::Anything)]),
        ("a key too long", vec![put(&"k".repeat(MAX_KEY + 1), 1)]),
        ("a key too long in bytes", vec![put(&"ä".repeat(MAX_KEY / 2 + 1), 1)]),
        ("a value too large", vec![put("a", MAX_VALUE + 1)]),
        ("too many writes", many(MAX_WRITES + 1, 1)),
        ("too many bytes", many(2, MAX_TRANSACTION / 2)),
        ("a key twice", vec![put("a", 1), put("b", 1), put("a", 1)]),
        ("a key twice, once deleted", vec![put("a", 1), Write::delete("a", Expected::Anything)]),
        ("no lifetime", vec![lasting(put("a", 1), Duration::ZERO)]),
        ("less than a second", vec![lasting(put("a", 1), Duration::from_millis(999))]),
        ("a second and a half", vec![lasting(put("a", 1), Duration::from_millis(1_500))]),
        ("too long a lifetime", vec![lasting(put("a", 1), Duration::from_secs(MAX_LIFETIME + 1))]),
        ("the longest duration", vec![lasting(put("a", 1), Duration::MAX)]),
        (
            "a deletion for a time",
            vec![lasting(Write::delete("a", Expected::Anything), Duration::from_secs(1))],
        ),
        ("good and bad", vec![put("b", 1), put("", 1)]),
    ];
    for (what, writes) in table {
        let result = store.transact(writes).await;
        assert!(matches!(result, Err(Error::Invalid(_))), "{what}: {result:?}");
        assert_eq!(list(&store, "").await.entries, before, "{what}");
    }
}

pub async fn the_bounds_themselves_are_within_bounds(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let long = "k".repeat(MAX_KEY);
    put(&store, &long, vec![0xff; MAX_VALUE]).await;
    let entry = get(&store, &long).await.expect("it was put");
    assert_eq!((entry.key.len(), entry.value), (MAX_KEY, Bytes::from(vec![0xff; MAX_VALUE])));
    assert_eq!(list(&store, &long).await.entries.len(), 1);
    // As many writes with keys as long as there may be, and as many bytes.
    let size = MAX_TRANSACTION / MAX_WRITES - MAX_KEY;
    let key = |n: usize| format!("{n:0>width$}", width = MAX_KEY);
    let put = |n: usize| Write {
        lifetime: Some(Duration::from_secs(MAX_LIFETIME)),
        ..Write::put(key(n), vec![1; size], Expected::Absent)
    };
    let revision = store.transact((0..MAX_WRITES).map(put).collect()).await.expect("it is within bounds");
    let entries = list(&store, "0").await.entries;
    assert!(entries.iter().all(|entry| entry.revision == revision && entry.value.len() == size));
    assert_eq!(entries.len(), MAX_WRITES);
    let delete = |n: usize| Write::delete(key(n), Expected::At(revision));
    store.transact((0..MAX_WRITES).map(delete).collect()).await.expect("all are as they were put");
    assert_eq!(list(&store, "0").await.entries, []);
}

pub async fn reads_out_of_bounds_are_refused(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let long = "k".repeat(MAX_KEY + 1);
    for key in ["", &long] {
        let result = store.get(key).await;
        assert!(matches!(result, Err(Error::Invalid(_))), "get: {result:?}");
    }
    let result = store.list(&long).await;
    assert!(matches!(result, Err(Error::Invalid(_))), "list: {result:?}");
    let result = store.watch(&long, Revision(0)).await.err();
    assert!(matches!(result, Some(Error::Invalid(_))), "watch: {result:?}");
}

pub async fn a_listing_is_ordered_and_holds_its_prefix_and_nothing_else(engine: &dyn Engine) {
    let store = engine.fresh().await;
    assert_eq!(list(&store, "").await.entries, []);
    let keys =
        ["a0", "b", "a/2", "a", "a/", "A", "a/10", "a/\u{10ffff}", "a/\u{0}", "a.", "\u{10ffff}x", "ab", "ä"];
    for key in keys {
        put(&store, key, key).await;
    }
    let mut sorted = keys;
    sorted.sort_unstable();
    for prefix in ["", "a", "a/", "a/1", "a0", "b", "a/\u{10ffff}", "\u{10ffff}", "nothing", "a//", "\u{0}"] {
        let entries = list(&store, prefix).await.entries;
        let got: Vec<_> = entries.iter().map(|entry| (&*entry.key, &*entry.value)).collect();
        let under = sorted.iter().filter(|key| key.starts_with(prefix));
        let wanted: Vec<_> = under.map(|key| (*key, key.as_bytes())).collect();
        assert_eq!(got, wanted, "under {prefix:?}");
    }
}

pub async fn every_change_is_a_later_revision(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let mut last = list(&store, "").await.revision;
    for round in 0..20 {
        let revision = match round % 4 {
            3 => store.delete("a", Expected::Anything).await.expect("anything is expected"),
            // The same value again is a change, too.
            _ => put(&store, "a", "same").await,
        };
        assert!(revision > last, "round {round}: {revision} after {last}");
        assert!(list(&store, "").await.revision >= revision, "round {round}");
        last = revision;
    }
}

pub async fn an_entry_that_was_made_anew_is_not_the_old_one(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let old = put(&store, "a", "1").await;
    store.delete("a", Expected::At(old)).await.expect("it is as it was put");
    let new = put(&store, "a", "1").await;
    let result = store.put("a", "2".into(), Expected::At(old)).await;
    assert_eq!(result, Err(Error::Conflict { key: "a".to_owned(), found: Some(new) }));
}

pub async fn of_many_that_create_one_wins(engine: &dyn Engine) {
    let store = engine.fresh().await;
    for round in 0..10 {
        let key = format!("lock/{round}");
        let mut writers = JoinSet::new();
        for me in 0..8 {
            let (store, key) = (store.clone(), key.clone());
            writers.spawn(async move { (me, store.put(&key, vec![me].into(), Expected::Absent).await) });
        }
        let results = writers.join_all().await;
        let winners: Vec<u8> =
            results.iter().filter(|(_, result)| result.is_ok()).map(|(me, _)| *me).collect();
        let entry = get(&store, &key).await.expect("one of them was first");
        assert_eq!(entry.value, winners, "round {round}");
        for lost in results.into_iter().filter_map(|(_, result)| result.err()) {
            assert_eq!(lost, Error::Conflict { key: key.clone(), found: Some(entry.revision) });
        }
    }
}

pub async fn a_counter_that_many_raise_loses_nothing(engine: &dyn Engine) {
    const WRITERS: usize = 6;
    const EACH: usize = 25;
    let store = engine.fresh().await;
    let raise = |store: Arc<dyn Store>| async move {
        for _ in 0..EACH {
            loop {
                let entry = get(&store, "counter").await;
                let (count, expected) = entry.map_or((0, Expected::Absent), |entry| {
                    (number(&entry.value), Expected::At(entry.revision))
                });
                match store.put("counter", (count + 1).to_string().into(), expected).await {
                    Ok(_) => break,
                    Err(Error::Conflict { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    let writers: JoinSet<_> = (0..WRITERS).map(|_| raise(store.clone())).collect();
    writers.join_all().await;
    let entry = get(&store, "counter").await.expect("it was raised");
    assert_eq!(number(&entry.value), WRITERS * EACH);
}

pub async fn a_listing_shows_transactions_whole(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for round in 0..60 {
                let put = |key| Write::put(key, round.to_string(), Expected::Anything);
                store.transact(vec![put("p/a"), put("p/b"), put("p/c")]).await.expect("anything is expected");
            }
        }
    });
    while !writer.is_finished() {
        let Listing { entries, revision, .. } = list(&store, "p/").await;
        let states: BTreeMap<_, _> = entries.iter().map(|entry| (&entry.value, entry.revision)).collect();
        assert!(states.len() <= 1 && matches!(entries.len(), 0 | 3), "half a transaction: {entries:?}");
        assert!(states.values().all(|at| *at <= revision), "newer than {revision}: {entries:?}");
        tokio::task::yield_now().await;
    }
    writer.await.expect("the writer has not panicked");
}

pub async fn what_has_a_lifetime_goes_and_is_told(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let before = list(&store, "").await.revision;
    let mut writes = vec![Write::put("a", "1", Expected::Absent), Write::put("b", "1", Expected::Absent)];
    writes[0].lifetime = Some(Duration::from_secs(1));
    let revision = store.transact(writes).await.expect("nothing is there");
    let mut watch = store.watch("", before).await.expect("it is kept");
    let gone = |change: &Change| matches!(change, Change::Deleted { key, .. } if key == "a");
    let told = told_until(&mut watch, gone).await;
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[2].revision() > revision, "{told:?}");
    let keys: Vec<_> = list(&store, "").await.entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!((get(&store, "a").await, keys), (None, vec!["b".to_owned()]));
}

pub async fn the_last_write_decides_about_the_lifetime(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let lasting = async |key: &str, seconds: u64| {
        let write = Write::put(key, "1", Expected::Anything);
        let write = Write { lifetime: Some(Duration::from_secs(seconds)), ..write };
        store.transact(vec![write]).await.expect("anything is expected")
    };
    for key in ["for-ever", "longer", "made-anew"] {
        lasting(key, 1).await;
    }
    put(&store, "for-ever", "2").await;
    lasting("longer", 3_600).await;
    store.delete("made-anew", Expected::Anything).await.expect("anything is expected");
    put(&store, "made-anew", "2").await;
    // Begun after all the others, so that they would have gone before.
    let last = lasting("witness", 3).await;
    let mut watch = store.watch("", last).await.expect("it is kept");
    let told = told_until(&mut watch, |change| matches!(change, Change::Deleted { .. })).await;
    assert_eq!(told.iter().map(Change::key).collect::<Vec<_>>(), ["witness"]);
    let keys: Vec<_> = list(&store, "").await.entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, ["for-ever", "longer", "made-anew"]);
}

async fn get(store: &Arc<dyn Store>, key: &str) -> Option<Entry> {
    store.get(key).await.unwrap_or_else(|error| panic!("get {key:?}: {error}"))
}

async fn put(store: &Arc<dyn Store>, key: &str, value: impl Into<Bytes>) -> Revision {
    let result = store.put(key, value.into(), Expected::Anything).await;
    result.unwrap_or_else(|error| panic!("put {key:?}: {error}"))
}

async fn list(store: &Arc<dyn Store>, prefix: &str) -> Listing {
    store.list(prefix).await.unwrap_or_else(|error| panic!("list {prefix:?}: {error}"))
}

/// The changes told from now on, with the first one that `last` accepts as the last. Holds that they are in order, that
/// no transaction is split, and that a batch has all up to its revision.
async fn told_until(watch: &mut Watch, last: impl Fn(&Change) -> bool) -> Vec<Change> {
    let mut told = Vec::new();
    let mut told_up_to = Revision(0);
    loop {
        let batch = timeout(PATIENCE, watch.next()).await.expect("the watch tells nothing");
        let batch = batch.expect("the watch has ended").unwrap_or_else(|error| panic!("watch: {error}"));
        assert!(batch.revision >= told_up_to, "back from {told_up_to} to {batch:?}");
        for change in batch.changes {
            assert!(change.revision() > told_up_to, "told before, up to {told_up_to}: {change:?}");
            assert!(change.revision() <= batch.revision, "newer than {}: {change:?}", batch.revision);
            assert!(
                told.last().is_none_or(|before: &Change| before.revision() <= change.revision()),
                "{change:?}"
            );
            told.push(change);
        }
        told_up_to = batch.revision;
        if let Some(end) = told.iter().position(&last) {
            assert_eq!(end + 1, told.len(), "more was told than there should be: {told:?}");
            return told;
        }
    }
}

fn number(value: &[u8]) -> usize {
    std::str::from_utf8(value).expect("it was text").parse().expect("it was a number")
}
