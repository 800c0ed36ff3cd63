//! A damaged store is refused with the way out, or it has everything; never less, and never anything else.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use alts_store::{Entry, Error, Expected, Listing, Past, Revision, SledStore, Store};
use support::Seeded;
use tempfile::TempDir;

const LIMIT: u64 = 64 << 20;

/// How long a damaged store may take to open before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store that was closed, and what was acknowledged.
struct Closed {
    directory: TempDir,
    held: Listing,
}

impl Closed {
    /// Opened more than once, overwritten and deleted from, with small and large values.
    async fn with(rounds: u64, large: bool) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let path = directory.path().join("store");
        let mut held = Vec::new();
        let mut revision = Revision(0);
        for opened in 0..3 {
            let store = SledStore::open(&path, LIMIT).expect("it is whole");
            assert_eq!(store.newly_made(), opened == 0);
            for round in 0..rounds {
                let value = format!("value {opened} {round}").repeat(30);
                store
                    .put(&format!("key/{}", round % 40), value.into(), Expected::Anything)
                    .await
                    .expect("it is kept");
                if round % 7 == 6 {
                    let key = format!("key/{}", (round / 2) % 40);
                    store.delete(&key, Expected::Anything).await.expect("it is gone");
                }
            }
            if large {
                let value = vec![opened; 400 << 10];
                store.put("large", value.into(), Expected::Anything).await.expect("it is kept");
            }
            let listing = store.list("").await.expect("it can be read");
            (held, revision) = (listing.entries, listing.revision);
        }
        Self { directory, held: Listing { entries: held, revision, past: Past::default() } }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// All files of the store, by their paths within.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut directories = vec![self.path()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).expect("it can be read") {
                let path = entry.expect("it can be read").path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    files.push(path.strip_prefix(self.path()).expect("it is within").to_owned());
                }
            }
        }
        files.sort();
        files
    }

    /// What comes of damage, done to a copy: true if the store was refused. Everything else than a refusal in the right
    /// words and a store with everything is a failure of the test.
    fn refuses(&self, what: &str, damage: impl FnOnce(&Path)) -> bool {
        let copy = TempDir::new().expect("a temporary directory");
        let path = copy.path().join("store");
        copy_all(&self.path(), &path);
        damage(&path);
        match open_and_list(&path) {
            Ok(listing) => {
                assert_eq!(listing.revision, self.held.revision, "{what}: another revision");
                assert!(
                    same(&listing.entries, &self.held.entries),
                    "{what}: other entries than acknowledged"
                );
                false
            }
            Err(error) => {
                let text = error.to_string();
                assert!(matches!(error, Error::Corrupt(_)), "{what}: {error:?}");
                let way_out = format!("restore a copy of {0}, or move it away to begin anew", path.display());
                assert!(
                    text.starts_with(&*path.to_string_lossy()) && text.ends_with(&way_out),
                    "{what}: {text}"
                );
                // It is not by opening it again that it becomes good.
                let again = open_and_list(&path);
                assert!(
                    again.as_ref().map_or_else(
                        |error| matches!(error, Error::Corrupt(_)),
                        |listing| same(&listing.entries, &self.held.entries)
                    ),
                    "{what}: refused first, then {again:?}"
                );
                true
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_lost_a_file_is_refused_or_whole() {
    let closed = Closed::with(60, true).await;
    let mut refused = BTreeSet::new();
    for file in closed.files() {
        let what = file.display().to_string();
        if closed.refuses(&format!("{what} removed"), |path| {
            fs::remove_file(path.join(&file)).expect("it is there")
        }) {
            refused.insert(what.clone());
        }
        if closed
            .refuses(&format!("{what} emptied"), |path| fs::write(path.join(&file), "").expect("it is there"))
        {
            refused.insert(what);
        }
    }
    for file in ["data/sled/db", "data/witness", "made"] {
        assert!(refused.contains(file), "{file} is not missed: {refused:?}");
    }
    for directory in ["data", "data/sled"] {
        let gone =
            closed.refuses(directory, |path| fs::remove_dir_all(path.join(directory)).expect("it is there"));
        assert!(gone, "{directory} is not missed");
    }
}

#[tokio::test]
async fn a_store_with_a_file_cut_short_is_refused_or_whole() {
    let closed = Closed::with(60, true).await;
    let mut random = Seeded(4);
    let (mut refused, mut all) = (0, 0);
    for file in closed.files() {
        let length = fs::metadata(closed.path().join(&file)).expect("it is there").len();
        let mut lengths = BTreeSet::from([1, length / 2, length.saturating_sub(1), 512 << 10]);
        lengths.extend((0..if length > 600_000 { 40 } else { 6 }).map(|_| random.below(length.max(1))));
        for cut in lengths.into_iter().filter(|cut| *cut < length) {
            let damage = |path: &Path| {
                let file = fs::OpenOptions::new().write(true).open(path.join(&file)).expect("it is there");
                file.set_len(cut).expect("it can be cut");
            };
            refused +=
                u32::from(closed.refuses(&format!("{} cut to {cut} of {length}", file.display()), damage));
            all += 1;
        }
    }
    println!("{refused} of {all} cut stores were refused, all others were whole");
    assert!(refused > 10);
}

#[tokio::test]
async fn a_store_with_a_byte_changed_is_refused_or_whole() {
    for (rounds, large, seed) in [(60, true, 1), (400, false, 2), (3, false, 3)] {
        let closed = Closed::with(rounds, large).await;
        let mut random = Seeded(seed);
        let (mut refused, mut all) = (0, 0);
        for file in closed.files() {
            let bytes = fs::read(closed.path().join(&file)).expect("it is there");
            // Where something is written, rather than where the file is only long.
            let written: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
            for _ in 0..if bytes.len() > 500_000 { 50 } else { 8 } {
                let Some(place) = random.below(written.len().max(1) as u64).try_into().ok() else { continue };
                let Some(at) = written.get::<usize>(place).copied() else { continue };
                let flip = 1 << random.below(8);
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                let what = format!("seed {seed}: {} with {flip:#04x} flipped at {at}", file.display());
                refused += u32::from(
                    closed.refuses(&what, |path| fs::write(path.join(&file), &bytes).expect("it is there")),
                );
                all += 1;
            }
        }
        println!("{refused} of {all} changed stores were refused, all others were whole");
        assert!(refused > 0);
    }
}

fn open_and_list(path: &Path) -> Result<Listing, Error> {
    let path = path.to_owned();
    let (sender, receiver) = mpsc::channel();
    // On a thread of its own, so that a store that never opens fails the test.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listing = SledStore::open(&path, LIMIT).and_then(|store| runtime.block_on(store.list("")));
        drop(runtime);
        sender.send(listing).ok();
    });
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("the store does not open: {error}"))
}

/// Compares without printing megabytes.
fn same(one: &[Entry], other: &[Entry]) -> bool {
    one == other
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir(to).expect("it is new");
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("it is ours");
    for entry in fs::read_dir(from).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let to = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy_all(&path, &to);
        } else {
            fs::copy(&path, &to).expect("there is room");
        }
    }
}
