//! What the copy holds, whatever happens while it is written.

use super::*;
use crate::replica::copy::At;

fn entries(from: u64, many: u64) -> Vec<Entry> {
    let entry = |n| Entry {
        key: format!("p/{n:04}"),
        value: Bytes::from(format!("value of {from}, {n}")),
        revision: Revision(from + n),
    };
    (0..many).map(entry).collect()
}

fn copy(store: Arc<dyn Store>, identity: &str) -> Copy {
    Copy::new(CopySettings { store, at: "copy/".to_owned() }, identity.to_owned())
}

/// How far the source was, and when it said so.
fn told(revision: u64, heard: u64) -> At {
    At { revision: Revision(revision), past: crate::Past { store: 7, write: revision }, heard }
}

/// A copy in memory that holds these.
async fn holding(entries: &[Entry]) -> MemoryStore {
    let store = MemoryStore::new();
    copy(Arc::new(store.clone()), IDENTITY).replace(entries, told(1_000, START)).await.expect("it is there");
    store
}

async fn found(store: &MemoryStore) -> Option<Vec<Entry>> {
    let store: Arc<dyn Store> = Arc::new(store.clone());
    kept(&store).await.map(|(entries, _)| entries)
}

#[tokio::test]
async fn a_crash_at_any_write_leaves_the_old_copy_or_the_new() {
    for (old, new) in [
        (entries(0, 300), entries(5_000, 250)),
        (entries(0, 300), entries(0, 299)),
        (entries(0, 300), vec![]),
        (vec![], entries(0, 200)),
    ] {
        for does_the_last in [false, true] {
            let (mut olds, mut news) = (0, 0);
            for writes in 0.. {
                let store = holding(&old).await;
                let troubled = Troubled::failing_after(writes, does_the_last, store.clone());
                let mut copy = copy(troubled.clone(), IDENTITY);
                copy.open().await.expect("it can be read");
                let replaced = copy.replace(&new, told(2_000, START + 1)).await;
                let there = found(&store).await.expect("a copy is there at all times");
                match (there == old, there == new) {
                    (true, _) => olds += 1,
                    (_, true) => news += 1,
                    _ => panic!("after {writes} writes it holds {} entries of both", there.len()),
                }
                assert!(replaced.is_err() || there == new, "after {writes} writes it is said to be replaced");
                // What a crash left behind is no hindrance.
                troubled.is(State::Here);
                troubled.writes.store(usize::MAX, SeqCst);
                copy.replace(&new, told(2_000, START + 1)).await.expect("nothing is in the way");
                assert_eq!(found(&store).await.as_ref(), Some(&new));
                let left = store.list("copy/").await.expect("memory answers").entries.len();
                assert_eq!(left, new.len() + 1, "entries and head, after {writes} writes");
                if replaced.is_ok() {
                    break;
                }
            }
            assert!(olds + news > 1, "{olds} old, {news} new: no crash was tried");
        }
    }
}

#[tokio::test]
async fn a_crash_while_another_source_takes_the_place_leaves_nothing_half_to_believe() {
    let (old, new) = (entries(0, 200), entries(5_000, 200));
    for writes in 0.. {
        let store = holding(&old).await;
        let mut other = copy(Troubled::failing_after(writes, false, store.clone()), "another cluster");
        assert!(other.open().await.expect("it can be read").is_none());
        let done = other.replace(&new, told(9, START)).await.is_ok();
        let ours = found(&store).await;
        assert!(ours.is_none() || ours.as_ref() == Some(&old), "after {writes} writes");
        assert!(!done || ours.is_none());
        if done {
            break;
        }
    }
}

#[tokio::test]
async fn a_crash_while_changes_are_copied_leaves_no_transaction_half_done() {
    // Each transaction writes its number to all of its keys, more of them than fit together with a head.
    let many = MAX_WRITES as u64;
    let at = |revision: u64, size: usize| -> Vec<_> {
        let value = Bytes::from(vec![u8::try_from(revision).expect("few"); size]);
        let entry =
            |n| Entry { key: format!("p/{n:04}"), value: value.clone(), revision: Revision(revision) };
        (0..many).map(entry).collect()
    };
    for size in [10, MAX_TRANSACTION / MAX_WRITES - 6] {
        for writes in 0.. {
            let store = holding(&at(1, size)).await;
            let mut copy = copy(Troubled::failing_after(writes, false, store.clone()), IDENTITY);
            copy.open().await.expect("it can be read");
            let changes: Vec<_> = [at(2, size), at(3, size)].concat().into_iter().map(Change::Put).collect();
            let done = copy.apply(&changes, told(3, START)).await.is_ok();
            let found = found(&store).await.expect("a copy is there at all times");
            let revision = found[0].revision;
            assert_eq!(found, at(revision.0, size), "after {writes} writes of {size} bytes");
            assert!(!done || revision == Revision(3));
            if done {
                assert!(writes > 1);
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_or_is_of_another_form_is_not_believed() {
    for (head, readable) in [
        ("", false),
        ("{", false),
        (r#"{"schema":1}"#, false),
        (r#"{"schema":2,"identity":"I","generation":1,"revision":1,"heard":1}"#, true),
    ] {
        let store = holding(&entries(0, 3)).await;
        let head = head.replace('I', IDENTITY);
        store.put("copy/head", head.clone().into(), Expected::Anything).await.expect("memory takes it");
        let mut copy = copy(Arc::new(store.clone()), IDENTITY);
        let opened = copy.open().await.map(|kept| kept.is_some());
        assert_eq!(opened.as_ref().ok(), readable.then_some(&false), "{head}: {opened:?}");
        copy.replace(&entries(9, 2), told(1, START)).await.expect("it is overwritten");
        assert_eq!(found(&store).await, Some(entries(9, 2)));
    }
}

#[tokio::test]
async fn a_copy_that_cannot_be_written_is_reported_and_hinders_nobody() {
    let (store, clock) = (MemoryStore::new(), Clock::new());
    let a = put(&store, "p/a", "1").await;
    let source = Troubled::new(store.clone());
    let disk = Troubled::new(MemoryStore::new());
    disk.is(State::Away);
    let copy: Arc<dyn Store> = disk.clone();
    let mut updates = follow(settings(&source, Some(&copy), &clock));
    let mut told = Vec::new();
    while told.len() < 2 {
        match next(&mut updates).await {
            Update::Copy(problem) => assert!(problem.is_some_and(|problem| problem.contains("it is away"))),
            update => told.push(update),
        }
    }
    assert_eq!(told, [all(&[&a], a.revision), live()]);
    let b = put(&store, "p/b", "1").await;
    while next(&mut updates).await != one(&b) {}
    disk.is(State::Here);
    while next(&mut updates).await != Update::Copy(None) {}
    keeps(&copy, &[&a, &b], START).await;
}

#[tokio::test]
async fn a_copy_that_falls_behind_catches_up() {
    let (store, clock) = (MemoryStore::new(), Clock::new());
    let source = Troubled::new(store.clone());
    let disk = Troubled::new(MemoryStore::new());
    let copy: Arc<dyn Store> = disk.clone();
    let mut updates = follow(settings(&source, Some(&copy), &clock));
    keeps(&copy, &[], START).await;
    disk.is(State::Hanging);
    let mut entries = BTreeMap::new();
    for n in 0..2_000 {
        let entry = put(&store, &format!("p/{}", n % 150), &n.to_string()).await;
        entries.insert(entry.key.clone(), entry);
    }
    let last = Revision(2_000);
    let mut changed = 0;
    // All is told while nothing can be copied.
    while changed < 2_000 {
        if let Update::Changes { changes, revision } = next(&mut updates).await {
            changed += changes.len();
            assert!(revision <= last);
        }
    }
    disk.is(State::Here);
    let listening = tokio::spawn(async move { while updates.recv().await.is_some() {} });
    keeps(&copy, &entries.values().collect::<Vec<_>>(), START).await;
    let after = put(&store, "p/after", "1").await;
    entries.insert(after.key.clone(), after);
    keeps(&copy, &entries.values().collect::<Vec<_>>(), START).await;
    listening.abort();
}

#[tokio::test]
async fn the_copy_learns_how_long_the_source_was_heard() {
    /// A source with nothing new, that says so whenever it is asked to.
    struct Quiet(watch::Sender<u64>);

    #[async_trait]
    impl Store for Quiet {
        async fn get(&self, _: &str) -> Result<Option<Entry>, Error> {
            Ok(None)
        }

        async fn list(&self, _: &str) -> Result<Listing, Error> {
            Ok(Listing { entries: vec![], revision: Revision(1), past: crate::Past::default() })
        }

        async fn transact(&self, _: Vec<Write>) -> Result<Revision, Error> {
            Err(away())
        }

        async fn watch(&self, _: &str, after: Revision) -> Result<Watch, Error> {
            let said = stream::unfold(self.0.subscribe(), move |mut said| async move {
                said.changed().await.ok()?;
                Some((
                    Ok(crate::Batch { changes: vec![], revision: after, past: crate::Past::default() }),
                    said,
                ))
            });
            Ok(Box::pin(said))
        }
    }

    let source = Arc::new(Quiet(watch::Sender::new(0)));
    let (copy, clock) = (memory(), Clock::new());
    let mut updates = follow(settings(&source, Some(&copy), &clock));
    assert_eq!(next(&mut updates).await, all(&[], Revision(1)));
    assert_eq!(next(&mut updates).await, live());
    keeps(&copy, &[], START).await;
    while source.0.receiver_count() == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    clock.advance(AGE_GRAIN);
    source.0.send_replace(1);
    keeps(&copy, &[], START + AGE_GRAIN).await;
}
