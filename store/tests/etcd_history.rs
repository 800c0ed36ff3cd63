//! An etcd that is not what it was, or not one: nothing of it is taken for what was known.
#![cfg(feature = "etcd")]

use std::time::Duration;

use alts_store::{
    Batch, Change, Error, EtcdSettings, EtcdStore, Expected, Listing, Past, Revision, Store, Watch, Write,
};
use futures_util::StreamExt;
use tokio::time::timeout;

#[expect(dead_code, reason = "other tests need the rest of it")]
#[path = "support/etcd.rs"]
mod etcd;

use etcd::Etcd;

/// How long an event may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

async fn connect(endpoints: Vec<String>) -> EtcdStore {
    EtcdStore::connect(EtcdSettings::new(endpoints, "altsd/")).await.expect("the settings are good")
}

async fn put(store: &EtcdStore, key: &str, value: &str) -> Revision {
    store.put(key, value.to_owned().into(), Expected::Anything).await.expect("etcd is there")
}

async fn next(watch: &mut Watch) -> Result<Batch, Error> {
    timeout(PATIENCE, watch.next()).await.expect("a watch hangs").expect("a watch ends with an error")
}

/// What a watch from there on tells before anything changes.
async fn resumed(store: &EtcdStore, revision: Revision, past: Past) -> Result<Vec<Change>, Error> {
    let mut watch = store.watch_on("", revision, past).await?;
    let mut told = Vec::new();
    for _ in 0..2 {
        told.extend(next(&mut watch).await?.changes);
    }
    Ok(told)
}

#[tokio::test]
async fn an_etcd_that_was_begun_anew_or_set_back_is_not_gone_on_with_whatever_it_has_written_since() {
    if !Etcd::is_there("an etcd with another past") {
        return;
    }
    for is_restored in [false, true] {
        for more in [0, 3] {
            let mut etcd = Etcd::start(1);
            let store = connect(etcd.endpoints()).await;
            put(&store, "a", "1").await;
            let snapshot = etcd.snapshot();
            for _ in 0..4 {
                put(&store, "a", "1").await;
            }
            let Listing { revision, past, .. } = store.list("").await.expect("etcd is there");
            match is_restored {
                true => etcd.restore(&snapshot),
                false => etcd.restart_empty(0),
            }
            // What others write before we are back: the same but for its beginning.
            let other = connect(etcd.endpoints()).await;
            put(&other, "revocations/accounts/mallory@x.example", "1").await;
            let mut last = Revision(0);
            while last.0 < revision.0 + more {
                last = put(&other, "a", "1").await;
            }
            let known = store.list("").await.expect("etcd is back").past;
            assert_eq!(known.store, past.store, "etcd itself calls both the same");
            let told = resumed(&store, revision, past).await;
            assert_eq!(told, Err(Error::Replaced { known: revision, found: last }), "{is_restored}, {more}");
        }
    }
}

#[tokio::test]
async fn an_etcd_that_only_was_away_is_gone_on_with() {
    if !Etcd::is_there("an etcd with its past") {
        return;
    }
    let mut etcd = Etcd::start(1);
    let store = connect(etcd.endpoints()).await;
    etcd.control(&["put", "altsd/from-elsewhere", "1"]);
    let empty = store.list("").await.expect("etcd is there");
    assert_eq!(empty.past.write, 0);
    let mut known = vec![(empty.revision, empty.past)];
    let mut watch = store.watch_on("none/", empty.revision, empty.past).await.expect("it is the same");
    let last = put(&store, "a", "1").await;
    while known.last().is_none_or(|(revision, _)| *revision < last) {
        let Batch { changes, revision, past } = next(&mut watch).await.expect("etcd is there");
        assert_eq!(changes, []);
        known.push((revision, past));
    }
    store.transact(vec![Write::delete("a", Expected::Anything)]).await.expect("etcd is there");
    let listing = store.list("").await.expect("etcd is there");
    known.push((listing.revision, listing.past));
    assert_ne!(known[known.len() - 2].1, listing.past, "a deletion is a write");
    etcd.control(&["put", "elsewhere", "1"]);
    etcd.kill(0);
    etcd.restart(0);
    for (revision, past) in known {
        resumed(&store, revision, past).await.expect("it is the same");
        let wrong = Past { write: past.write ^ 1, ..past };
        let told = resumed(&store, revision, wrong).await;
        assert!(matches!(told, Err(Error::Replaced { .. })), "{told:?}");
        let wrong = Past { store: past.store ^ 1, ..past };
        let told = resumed(&store, revision, wrong).await;
        assert!(matches!(told, Err(Error::Replaced { .. })), "{told:?}");
    }
}

#[tokio::test]
async fn members_of_two_clusters_are_not_taken_for_one() {
    if !Etcd::is_there("two clusters") {
        return;
    }
    let (mut one, another) = (Etcd::start(1), Etcd::start(1));
    let store = connect(vec![one.endpoint(0), another.endpoint(0)]).await;
    put(&store, "a", "1").await;
    one.kill(0);
    for again in 0..3 {
        for result in [
            store.put("a", "2".into(), Expected::Anything).await.map(drop),
            store.list("").await.map(drop),
            store.get("a").await.map(drop),
            store.watch("", Revision(1)).await.map(drop),
        ] {
            match result {
                // The first write may go to a connection that nobody knows yet to be broken.
                Err(Error::Unavailable(_)) if again == 0 => {}
                Err(Error::Refused(problem)) => {
                    assert!(problem.contains("name endpoints of one cluster only"), "{problem}");
                    assert!(problem.contains(&one.endpoint(0)) && problem.contains(&another.endpoint(0)));
                }
                result => panic!("{again}: {result:?}"),
            }
        }
    }
    assert_eq!(another.control(&["get", "--prefix", ""]), "", "nothing is written where it may not belong");
}

#[tokio::test]
async fn keys_that_nobody_of_us_can_have_written_are_passed_over() {
    if !Etcd::is_there("foreign keys") {
        return;
    }
    let etcd = Etcd::start(1);
    let store = connect(etcd.endpoints()).await;
    let begin = put(&store, "a", "1").await;
    let mut watch = store.watch("", begin).await.expect("etcd is there");
    let foreign = std::process::Command::new("sh")
        .args(["-c", "etcdctl --endpoints \"$0\" put \"$(printf 'altsd/\\377\\376')\" 1", &etcd.endpoint(0)])
        .env("ETCDCTL_API", "3")
        .status();
    assert!(foreign.expect("there is a shell").success());
    let last = put(&store, "b", "1").await;
    let mut told = Vec::new();
    loop {
        let batch = next(&mut watch).await.expect("it goes on");
        told.extend(batch.changes.iter().map(|change| change.key().to_owned()));
        if batch.revision == last {
            break;
        }
    }
    assert_eq!(told, ["b"]);
    let keys: Vec<_> =
        store.list("").await.expect("it goes on").entries.into_iter().map(|one| one.key).collect();
    assert_eq!(keys, ["a", "b"]);
}

#[tokio::test]
async fn a_prefix_that_somebody_has_filled_is_not_listed() {
    if !Etcd::is_there("a prefix that is full") {
        return;
    }
    let etcd = Etcd::start(1);
    let mut settings = EtcdSettings::new(etcd.endpoints(), "altsd/");
    settings.max_bytes = 1_000;
    let store = EtcdStore::connect(settings).await.expect("the settings are good");
    put(&store, "a", &"x".repeat(900)).await;
    assert_eq!(store.list("").await.map(|listing| listing.entries.len()), Ok(1));
    put(&store, "b", &"x".repeat(200)).await;
    let full = store.list("").await;
    let Err(Error::Full { bytes: 1_100.., limit: 1_000 }) = full else { panic!("{full:?}") };
}
