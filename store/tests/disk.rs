//! The suite on the engine of one node, and what holds for it alone.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use alts_store::{Change, Error, Expected, Revision, SledStore, Store, Write, conformance::Engine};
use async_trait::async_trait;
use futures_util::StreamExt;
use tempfile::TempDir;

struct Disk {
    directory: TempDir,
    count: AtomicU32,
}

impl Disk {
    fn new() -> Self {
        Self { directory: TempDir::new().expect("a temporary directory"), count: AtomicU32::new(0) }
    }
}

#[async_trait]
impl Engine for Disk {
    async fn fresh(&self) -> Arc<dyn Store> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let store = SledStore::open(&self.directory.path().join(number.to_string()), 64 << 20);
        Arc::new(store.expect("nothing is there"))
    }
}

mod suite {
    use super::Disk;

    alts_store::conformance!(Disk::new());
}

const LIMIT: u64 = 1 << 20;

fn temporary() -> TempDir {
    TempDir::new().expect("a temporary directory")
}

fn open(path: &Path) -> SledStore {
    SledStore::open(path, LIMIT).expect("it is whole")
}

async fn put(store: &SledStore, key: &str, value: &str) -> Revision {
    store.put(key, value.to_owned().into(), Expected::Anything).await.expect("it is kept")
}

#[tokio::test]
async fn what_was_kept_is_there_when_the_store_is_opened_again() {
    let directory = temporary();
    let store = open(directory.path());
    assert!(store.newly_made());
    let first = put(&store, "a", "1").await;
    put(&store, "b", "1").await;
    store.delete("b", Expected::Anything).await.expect("it is there");
    let last = put(&store, "c", "2").await;
    let held = store.list("").await.expect("it can be read");
    assert_eq!((held.entries.len(), held.revision), (2, last));
    drop(store);
    let store = open(directory.path());
    assert!(!store.newly_made());
    assert_eq!(store.list("").await, Ok(held));
    assert_eq!(store.watch("", first).await.err(), Some(Error::Compacted { oldest: last }));
    let next = store.put("a", "2".into(), Expected::At(first)).await;
    assert_eq!(next, Ok(Revision(last.0 + 1)));
}

#[tokio::test]
async fn a_directory_has_one_user_at_a_time() {
    let directory = temporary();
    let store = open(directory.path());
    let Err(Error::Unavailable(text)) = SledStore::open(directory.path(), LIMIT) else {
        panic!("opened twice")
    };
    assert_eq!(
        text,
        format!(
            "{} is in use by another process; a store on a disk has one user at a time",
            directory.path().display()
        )
    );
    put(&store, "a", "1").await;
    drop(store);
    assert_eq!(open(directory.path()).get("a").await.map(|entry| entry.is_some()), Ok(true));
}

#[tokio::test]
async fn a_store_holds_what_it_may_and_can_always_be_made_smaller() {
    let directory = temporary();
    let store = SledStore::open(directory.path(), 100).expect("nothing is there");
    put(&store, "a", &"x".repeat(59)).await;
    let put_b = |size| store.put("b", "x".repeat(size).into(), Expected::Anything);
    assert_eq!(put_b(40).await, Err(Error::Full { bytes: 101, limit: 100 }));
    put_b(39).await.expect("it fits");
    assert_eq!(put_b(40).await, Err(Error::Full { bytes: 101, limit: 100 }));
    drop(store);
    // What counts is what is there, also after it was opened again, and with a lower limit.
    let store = SledStore::open(directory.path(), 50).expect("it is whole");
    let result = store.put("c", "".into(), Expected::Anything).await;
    assert_eq!(result, Err(Error::Full { bytes: 101, limit: 50 }));
    store.put("b", "smaller".into(), Expected::Anything).await.expect("it becomes smaller");
    store.delete("a", Expected::Anything).await.expect("it is there");
    store.put("c", "x".repeat(41).into(), Expected::Anything).await.expect("it fits");
    let full = store.put("c", "x".repeat(42).into(), Expected::Anything).await;
    assert_eq!(full, Err(Error::Full { bytes: 51, limit: 50 }));
}

#[tokio::test]
async fn what_is_kept_is_for_its_owner_only() {
    let directory = temporary();
    let path = directory.path().join("deep/store");
    put(&open(&path), "a", "1").await;
    for (name, mode) in
        [("", 0o700), ("data", 0o700), ("data/witness", 0o600), ("made", 0o600), ("lock", 0o600)]
    {
        let found = fs::metadata(path.join(name)).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name:?} has {found:o}");
    }
}

#[test]
fn a_store_of_another_format_is_refused_by_name() {
    let directory = temporary();
    drop(open(directory.path()));
    for (mark, says) in [
        (
            "altsd-store 2\n",
            "the store is of format 2, and format 1 is known here: start the altsd that wrote it",
        ),
        ("altsd-store\n", "it does not say the format of the store"),
        ("something else", "it does not say the format of the store"),
        ("", "it does not say the format of the store"),
    ] {
        fs::write(directory.path().join("made"), mark).expect("it is there");
        let error = SledStore::open(directory.path(), LIMIT).expect_err("it is of another format");
        assert!(matches!(error, Error::Corrupt(_)) && error.to_string().contains(says), "{mark:?}: {error}");
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let directory = temporary();
    let path = directory.path().join("file");
    fs::write(&path, "").expect("it is new");
    let error = SledStore::open(&path, LIMIT).expect_err("it is no directory");
    assert!(
        matches!(error, Error::Unavailable(_)) && error.to_string().contains(&*path.to_string_lossy()),
        "{error}"
    );
}

#[tokio::test]
async fn what_was_never_made_whole_is_made_anew() {
    let directory = temporary();
    fs::create_dir_all(directory.path().join("data.new/sled/blobs")).expect("it is new");
    fs::write(directory.path().join("data.new/sled/db"), "half").expect("it is new");
    let store = open(directory.path());
    assert!(store.newly_made());
    put(&store, "a", "1").await;
    drop(store);
    // Killed between the making and the mark: it is whole.
    fs::remove_file(directory.path().join("made")).expect("it is there");
    let store = open(directory.path());
    assert!(!store.newly_made() && directory.path().join("made").exists());
    assert_eq!(store.list("").await.map(|listing| listing.entries.len()), Ok(1));
}

#[tokio::test]
async fn a_copy_from_before_the_last_acknowledgement_is_refused() {
    let directory = temporary();
    let database = directory.path().join("data/sled/db");
    let store = open(directory.path());
    put(&store, "a", "1").await;
    drop(store);
    let old = fs::read(&database).expect("it is there");
    let store = open(directory.path());
    let last = put(&store, "a", "2").await;
    drop(store);
    let snapshots = fs::read_dir(directory.path().join("data/sled")).expect("it is there");
    for snapshot in snapshots.map(|entry| entry.expect("it can be read").path()) {
        if snapshot.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap.")) {
            fs::remove_file(snapshot).expect("it is there");
        }
    }
    fs::write(&database, old).expect("it is there");
    let error = SledStore::open(directory.path(), LIMIT).expect_err("it is old");
    let says = format!("it ends at revision {}, but revision {last} was acknowledged", last.0 - 1);
    assert!(matches!(error, Error::Corrupt(_)) && error.to_string().contains(&says), "{error}");
}

#[tokio::test]
async fn a_lifetime_begins_anew_when_the_store_is_opened_again() {
    let directory = temporary();
    let store = open(directory.path());
    let lasting = Write { lifetime: Some(Duration::from_secs(1)), ..Write::put("a", "1", Expected::Absent) };
    let revision =
        store.transact(vec![lasting, Write::put("b", "1", Expected::Absent)]).await.expect("it is new");
    drop(store);
    let store = open(directory.path());
    let mut watch = store.watch("", revision).await.expect("it is the last");
    let batch = watch.next().await.expect("the watch has not ended").expect("it is kept");
    let gone = Change::Deleted { key: "a".to_owned(), revision: Revision(revision.0 + 1) };
    assert_eq!(batch.changes, [gone]);
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_is_done_whole_or_not_at_all() {
    let directory = temporary();
    let store = open(directory.path());
    for round in 0..20 {
        let put = |key| Write::put(key, round.to_string(), Expected::Anything);
        let writing = store.transact(vec![put("a"), put("b")]);
        tokio::select! {
            biased;
            done = writing => drop(done.expect("it is kept")),
            () = yields(round) => {}
        }
        let entries = store.list("").await.expect("it can be read").entries;
        assert!(matches!(entries.len(), 0 | 2), "{entries:?}");
        assert!(entries.windows(2).all(|two| two[0].value == two[1].value), "{entries:?}");
    }
    drop(store);
    open(directory.path());
}

#[tokio::test]
async fn a_large_value_that_changes_often_does_not_fill_the_disk() {
    let directory = temporary();
    let store = open(directory.path());
    for round in 0..150u8 {
        let key = format!("large/{}", round % 3);
        store.put(&key, vec![round; 200 << 10].into(), Expected::Anything).await.expect("it is kept");
    }
    // 30 MB were written, of which less than one is there.
    assert!(size(directory.path()) < 12 << 20, "{} bytes", size(directory.path()));
}

fn size(directory: &Path) -> u64 {
    let entries =
        fs::read_dir(directory).expect("it can be read").map(|entry| entry.expect("it can be read"));
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        // What is not needed any more is removed behind our back.
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// Lets others go on so many times.
async fn yields(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_store_whose_directory_has_gone_ends_its_watches_with_the_first_write_that_fails() {
    let directory = TempDir::new().expect("a temporary directory");
    let place = directory.path().join("store");
    let store = SledStore::open(&place, 1 << 20).expect("nothing is there");
    let mut watch = store.watch("", Revision(0)).await.expect("it begins here");
    fs::rename(&place, directory.path().join("elsewhere")).expect("it is ours");
    fs::remove_dir_all(directory.path().join("elsewhere").join("data")).expect("it is ours");
    let mut failed = None;
    // What it has open it may still write.
    for number in 0..64 {
        let value = vec![0; 200 << 10];
        if let Err(problem) = store.put(&format!("a{number}"), value.into(), Expected::Anything).await {
            failed = Some(problem);
            break;
        }
    }
    assert!(matches!(failed, Some(Error::Unavailable(_))), "{failed:?}");
    loop {
        match watch.next().await.expect("it says how it ends") {
            Ok(_) => {}
            Err(problem) => break assert!(matches!(problem, Error::Unavailable(_)), "{problem}"),
        }
    }
}
