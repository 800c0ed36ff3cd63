//! What a watch tells, and what not.

use super::*;

/// The key that ends what a test waits for.
const END: &str = "p/end";

pub async fn a_watch_tells_what_is_put_and_deleted_under_its_prefix(engine: &dyn Engine) {
    let store = engine.fresh().await;
    for prefix in ["p", "p/", "p/a", ""] {
        let mut watch = store.watch(prefix, list(&store, "").await.revision).await.expect("it is the last");
        let mut wanted = Vec::new();
        for key in ["p", "p/", "p/a", "p/a0", "p0", "q", "o", "p/a/\u{0}", "p/\u{10ffff}", "P/a", "p/a"] {
            let put = put(&store, key, key).await;
            let deleted = store.delete(key, Expected::At(put)).await.expect("it is as it was put");
            if key.starts_with(prefix) {
                wanted.push(changed(key, key, put));
                wanted.push(Change::Deleted { key: key.to_owned(), revision: deleted });
            }
        }
        let end = format!("{prefix}end");
        let revision = put(&store, &end, "").await;
        wanted.push(changed(&end, "", revision));
        assert_eq!(told_until(&mut watch, |change| change.key() == end).await, wanted, "under {prefix:?}");
    }
}

pub async fn a_watch_from_an_earlier_revision_tells_what_happened_since(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let before = list(&store, "").await.revision;
    let mut all = Vec::new();
    for n in 0..10 {
        let value = n.to_string();
        all.push(changed("p/a", &value, put(&store, "p/a", value.clone()).await));
        put(&store, "q", value).await;
    }
    all.push(changed(END, "", put(&store, END, "").await));
    let starts = std::iter::once(before).chain(all[..10].iter().map(Change::revision));
    for (index, after) in starts.enumerate() {
        let mut watch =
            store.watch("p/", after).await.unwrap_or_else(|error| panic!("after {after}: {error}"));
        assert_eq!(told_until(&mut watch, is_end).await, all[index..], "after {after}");
    }
}

pub async fn a_watch_from_the_last_revision_tells_only_what_comes(engine: &dyn Engine) {
    let store = engine.fresh().await;
    put(&store, "p/a", "1").await;
    let mut watch = store.watch("p/", list(&store, "p/").await.revision).await.expect("it is the last");
    let waiting = tokio::spawn(async move { told_until(&mut watch, is_end).await });
    tokio::task::yield_now().await;
    let revision = put(&store, END, "2").await;
    assert_eq!(waiting.await.expect("the watcher has not panicked"), [changed(END, "2", revision)]);
}

pub async fn a_transaction_is_told_in_one_batch(engine: &dyn Engine) {
    let store = engine.fresh().await;
    put(&store, "p/gone", "").await;
    let mut watch = store.watch("p/", list(&store, "").await.revision).await.expect("it is the last");
    let mut writes: Vec<_> = (0..MAX_WRITES - 2)
        .map(|n| Write::put(format!("p/{n:02}"), vec![0; 16_000], Expected::Absent))
        .collect();
    writes.push(Write::delete("p/gone", Expected::Anything));
    writes.push(Write::put("q", "", Expected::Anything));
    let revision = store.transact(writes).await.expect("all is as expected");
    loop {
        let batch = timeout(PATIENCE, watch.next()).await.expect("the watch tells nothing");
        let batch = batch.expect("the watch has not ended").expect("it is kept");
        if batch.changes.is_empty() && batch.revision < revision {
            continue;
        }
        assert!(batch.changes.iter().all(|change| change.revision() == revision), "{:?}", batch.revision);
        assert_eq!(batch.changes.len(), MAX_WRITES - 1);
        return;
    }
}

pub async fn what_changes_nothing_is_not_told(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let before = put(&store, "p/a", "1").await;
    let mut watch = store.watch("p/", before).await.expect("it is the last");
    for expected in [Expected::Anything, Expected::Absent] {
        store.delete("p/nothing", expected).await.expect("nothing is there");
    }
    let writes = vec![Write::delete("p/nothing", Expected::Absent), Write::put("p/b", "1", Expected::Absent)];
    let b = store.transact(writes).await.expect("neither is there");
    let end = put(&store, END, "").await;
    let told = told_until(&mut watch, is_end).await;
    assert_eq!(told, [changed("p/b", "1", b), changed(END, "", end)]);
}

pub async fn what_was_refused_is_not_told(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let before = put(&store, "p/a", "1").await;
    let mut watch = store.watch("p/", before).await.expect("it is the last");
    for writes in [
        vec![Write::put("p/b", "1", Expected::Anything), Write::put("p/a", "2", Expected::Absent)],
        vec![Write::put("p/b", "1", Expected::Anything), Write::put("", "2", Expected::Anything)],
        vec![Write::delete("p/a", Expected::At(Revision(before.0 + 1)))],
    ] {
        store.transact(writes).await.expect_err("it is refused");
    }
    let end = put(&store, END, "").await;
    assert_eq!(told_until(&mut watch, is_end).await, [changed(END, "", end)]);
}

pub async fn a_listing_and_a_watch_leave_no_gap_and_tell_nothing_twice(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let writers: Vec<_> = (0..4).map(|me| tokio::spawn(write_and_note(store.clone(), me, 40))).collect();
    let mut readers = Vec::new();
    loop {
        // Begins at some moment among the writes, and follows to the end.
        let store = store.clone();
        let Listing { entries, revision, .. } = list(&store, "p/").await;
        readers.push(tokio::spawn(async move {
            let mut watch = store.watch("p/", revision).await.expect("it was the last just now");
            (entries, revision, told_until(&mut watch, is_end).await)
        }));
        tokio::task::yield_now().await;
        if readers.len() > 100 || writers.iter().all(tokio::task::JoinHandle::is_finished) {
            break;
        }
    }
    let mut written: Vec<Change> = Vec::new();
    for writer in writers {
        written.extend(writer.await.expect("the writer has not panicked"));
    }
    written.sort_by_key(Change::revision);
    written.push(changed(END, "", put(&store, END, "").await));
    for reader in readers {
        let (entries, revision, told) = reader.await.expect("the reader has not panicked");
        let (before, after) =
            written.split_at(written.partition_point(|change| change.revision() <= revision));
        assert_eq!(told, after, "watched from {revision}");
        assert_eq!(entries, state(before), "listed at {revision}");
    }
}

pub async fn every_watch_is_told_everything(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let before = list(&store, "").await.revision;
    let mut watchers = Vec::new();
    for _ in 0..10 {
        let mut watch = store.watch("p/", before).await.expect("it is the last");
        watchers.push(tokio::spawn(async move { told_until(&mut watch, is_end).await }));
    }
    let mut written = write_and_note(store.clone(), 0, 20).await;
    written.push(changed(END, "", put(&store, END, "").await));
    for watcher in watchers {
        assert_eq!(watcher.await.expect("the watcher has not panicked"), written);
    }
}

pub async fn a_watch_that_was_dropped_hinders_nobody(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let before = list(&store, "").await.revision;
    let mut stays = store.watch("p/", before).await.expect("it is the last");
    for _ in 0..10 {
        let mut goes = store.watch("p/", before).await.expect("it is kept");
        put(&store, "p/a", "1").await;
        goes.next().await.expect("the watch has not ended").expect("it is kept");
        drop(goes);
    }
    put(&store, END, "").await;
    assert_eq!(told_until(&mut stays, is_end).await.len(), 11);
}

pub async fn a_watch_from_what_is_forgotten_is_refused(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let before = put(&store, "p/a", "1").await;
    put(&store, "p/a", "2").await;
    engine.forget(&store).await;
    let error = match store.watch("p/", before).await {
        Err(error) => error,
        Ok(mut watch) => loop {
            let batch = timeout(PATIENCE, watch.next()).await.expect("the watch tells nothing");
            match batch.expect("the watch ends with its error") {
                Ok(batch) => assert_eq!((batch.changes, batch.revision), (vec![], before)),
                Err(error) => break error,
            }
        },
    };
    let Error::Compacted { oldest } = error else { panic!("{error:?}") };
    assert!(oldest > before, "{oldest} after {before}");
    // The way on: list, and watch from there.
    let Listing { entries, revision, .. } = list(&store, "p/").await;
    assert!(revision >= oldest && entries.len() == 1, "{revision} {entries:?}");
    let mut watch = store.watch("p/", revision).await.expect("it is the last");
    let end = put(&store, END, "").await;
    assert_eq!(told_until(&mut watch, is_end).await, [changed(END, "", end)]);
}

/// Writes and deletes some keys, and says what it did.
async fn write_and_note(store: Arc<dyn Store>, me: usize, rounds: usize) -> Vec<Change> {
    let mut done = Vec::new();
    for round in 0..rounds {
        let key = format!("p/{me}/{}", round % 3);
        if round % 5 == 4 && get(&store, &key).await.is_some() {
            let revision = store.delete(&key, Expected::Anything).await.expect("anything is expected");
            done.push(Change::Deleted { key, revision });
        } else {
            let value = round.to_string();
            done.push(changed(&key, &value, put(&store, &key, value.clone()).await));
        }
    }
    done
}

/// What is there after some changes.
fn state(changes: &[Change]) -> Vec<Entry> {
    let mut entries = BTreeMap::new();
    for change in changes {
        match change {
            Change::Put(entry) => entries.insert(entry.key.clone(), entry.clone()),
            Change::Deleted { key, .. } => entries.remove(key),
        };
    }
    entries.into_values().collect()
}

fn changed(key: &str, value: &str, revision: Revision) -> Change {
    Change::Put(Entry { key: key.to_owned(), value: Bytes::copy_from_slice(value.as_bytes()), revision })
}

fn is_end(change: &Change) -> bool {
    change.key() == END
}
