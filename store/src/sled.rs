//! A store on the disk of one node: a database, and beside it what tells whether the database has all that it should.
//!
//! Nothing is acknowledged, shown to a reader or told to a watcher before it is on the disk. A database that has less
//! than was acknowledged, or anything else, is refused when it is opened, with the path and the way out.

mod directory;
mod envelope;

use std::{
    collections::HashSet,
    ffi::OsString,
    fmt, fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use ::sled::{Batch, Config, Db};
use async_trait::async_trait;
use tokio::{sync::RwLock, task::spawn_blocking};

use self::{
    directory::{Directory, Witness},
    envelope::{Kept, Totals},
};
use crate::{
    Change, Entry, Error, Expected, Listing, Past, Revision, Store, Watch, Write,
    journal::Journal,
    lifetime::{Expires, Lifetimes},
    plan::{self, Held, Plan, Standing},
};

/// What the database may keep in memory, in bytes.
const CACHE: u64 = 64 << 20;

/// The key of the totals. No key of an entry begins so.
const TOTALS: &[u8] = b"t";

/// What the keys of entries begin with.
const ENTRY: u8 = b'e';

/// A store in a directory, for one process at a time.
#[derive(Clone)]
pub struct SledStore {
    shared: Arc<Shared>,
    newly_made: bool,
}

struct Shared {
    disk: Arc<RwLock<Disk>>,
    journal: Journal,
    lifetimes: Lifetimes,
}

/// Fields are dropped in this order: the lock goes last.
struct Disk {
    database: Db,
    file: fs::File,
    /// Large values lie in files of their own, which are never changed. These are on the disk.
    blobs: HashSet<OsString>,
    witness: Witness,
    totals: Totals,
    limit: u64,
    /// Why nothing can be said any more about what is on the disk.
    broken: Option<String>,
    directory: Directory,
}

impl SledStore {
    /// Opens the database in a directory, and makes both if there is neither. At most `max_bytes` of keys and values
    /// are taken. Blocks, and reads all that is there.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if what is there is damaged, not whole or of another format; [`Error::Unavailable`] if another
    /// process has it, or the directory cannot be used.
    pub fn open(directory: &Path, max_bytes: u64) -> Result<Self, Error> {
        let directory = Directory::lock(directory)?;
        let newly_made = directory.is_new()?;
        if newly_made {
            make(&directory)?;
        }
        let lifetimes = Lifetimes::default();
        let disk = Disk::open(directory, max_bytes, &lifetimes)?;
        let journal = Journal::new(disk.totals.revision);
        let shared = Arc::new(Shared { disk: Arc::new(RwLock::new(disk)), journal, lifetimes });
        Lifetimes::start(&shared);
        Ok(Self { shared, newly_made })
    }

    /// Whether there was no database before.
    #[must_use]
    pub fn newly_made(&self) -> bool {
        self.newly_made
    }

    /// Reads on a thread that may block, while nobody writes.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Disk) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        Lifetimes::start(&self.shared);
        let disk = self.shared.disk.clone().read_owned().await;
        blocking(move || disk.usable().and_then(|()| read(&disk))).await
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("newly_made", &self.newly_made).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for SledStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        plan::check_key(key)?;
        let key = key.to_owned();
        self.read(move |disk| Ok(disk.get(&key)?.map(|kept| kept.entry))).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        plan::check_prefix(prefix)?;
        let prefix = prefix.to_owned();
        self.read(move |disk| {
            let entries = disk.scan(&prefix).map(|kept| Ok(kept?.entry)).collect::<Result<_, _>>()?;
            Ok(Listing { entries, revision: disk.totals.revision, past: Past::default() })
        })
        .await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, Error> {
        plan::check(&writes)?;
        let revision = self.shared.write(|_| Ok(writes)).await?;
        Lifetimes::start(&self.shared);
        Ok(revision)
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        plan::check_prefix(prefix)?;
        self.shared.journal.watch(prefix, after)
    }
}

#[async_trait]
impl Expires for Shared {
    fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    async fn expire(self: Arc<Self>, due: Vec<(String, Revision)>) -> Result<(), Error> {
        let writes = move |disk: &Disk| {
            let mut writes = Vec::with_capacity(due.len());
            for (key, revision) in due {
                if disk.get(&key)?.is_some_and(|kept| kept.entry.revision == revision) {
                    writes.push(Write::delete(key, Expected::At(revision)));
                }
            }
            Ok(writes)
        };
        self.write(writes).await.map(drop)
    }
}

impl Shared {
    /// Writes on a thread that may block, one after another. Once begun it is done to its end, even if nobody waits.
    async fn write(
        self: &Arc<Self>,
        writes: impl FnOnce(&Disk) -> Result<Vec<Write>, Error> + Send + 'static,
    ) -> Result<Revision, Error> {
        let mut disk = self.disk.clone().write_owned().await;
        let shared = self.clone();
        blocking(move || {
            disk.usable()?;
            let writes = writes(&disk)?;
            let plan = disk.transact(writes).inspect_err(|_| {
                // Who watches would wait for ever, and take the silence for peace.
                if let Err(Error::Unavailable(problem)) = disk.usable() {
                    shared.journal.close(problem);
                }
            })?;
            if !plan.changes.is_empty() {
                plan.changes.iter().for_each(|planned| shared.lifetimes.note(planned));
                shared.journal.append(plan.revision, plan.told());
            }
            Ok(plan.revision)
        })
        .await
    }
}

impl Disk {
    /// Opens what must be there, and compares all of it with what was acknowledged.
    fn open(directory: Directory, limit: u64, lifetimes: &Lifetimes) -> Result<Self, Error> {
        let (witness, acknowledged) = directory.witness()?;
        let path = directory.database();
        let database = open_database(&path, &directory)?;
        let file =
            fs::File::open(path.join("db")).map_err(|error| directory.damaged(&path.join("db"), error))?;
        let totals = acknowledged.clone();
        let mut disk =
            Self { database, file, blobs: HashSet::new(), witness, totals, limit, broken: None, directory };
        // The library meets what it does not expect with a panic, also when it reads.
        let read = catch_unwind(AssertUnwindSafe(|| disk.read_all(lifetimes)));
        disk.totals = read.unwrap_or_else(|panic| Err(disk.damaged(said(&*panic))))?;
        if disk.totals.revision < acknowledged.revision {
            return Err(disk.damaged(format!(
                "it ends at revision {}, but revision {} was acknowledged",
                disk.totals.revision, acknowledged.revision
            )));
        }
        if disk.totals.revision == acknowledged.revision && disk.totals != acknowledged {
            return Err(
                disk.damaged(format!("it holds {:?}, but acknowledged was {acknowledged:?}", disk.totals))
            );
        }
        // What was written last may have been neither acknowledged nor brought to the disk. It is shown now.
        disk.settle().map_err(|error| disk.directory.unusable(&error))?;
        disk.directory.mark()?;
        Ok(disk)
    }

    /// Reads every entry. They must add up to the totals that were written with the last one.
    fn read_all(&self, lifetimes: &Lifetimes) -> Result<Totals, Error> {
        let wanted = self.database.get(TOTALS).map_err(|error| self.damaged(error))?;
        let wanted = wanted.ok_or_else(|| self.damaged("it does not say how much it holds"))?;
        let wanted = Totals::decode(&wanted).map_err(|problem| self.damaged(problem))?;
        let mut found = Totals::default().at(wanted.revision);
        for kept in self.scan("") {
            let kept = kept?;
            found.add(&kept);
            if let Some(lifetime) = kept.lifetime {
                lifetimes.found(&kept.entry.key, kept.entry.revision, lifetime);
            }
        }
        if found != wanted || self.database.len() as u64 != found.count + found.pieces + 1 {
            return Err(self.damaged(format!("it should hold {wanted:?} and holds {found:?}")));
        }
        Ok(found)
    }

    fn usable(&self) -> Result<(), Error> {
        self.broken.clone().map_or(Ok(()), |why| Err(Error::Unavailable(why)))
    }

    fn get(&self, key: &str) -> Result<Option<Kept>, Error> {
        let value = self.database.get(named(key)).map_err(|error| self.damaged(error))?;
        value.map(|value| self.decode(key, &value)).transpose()
    }

    fn scan(&self, prefix: &str) -> impl Iterator<Item = Result<Kept, Error>> {
        self.database.scan_prefix(named(prefix)).map(|item| {
            let (key, value) = item.map_err(|error| self.damaged(error))?;
            let key = std::str::from_utf8(&key[1..]).map_err(|error| self.damaged(error))?;
            self.decode(key, &value)
        })
    }

    fn decode(&self, key: &str, row: &[u8]) -> Result<Kept, Error> {
        let piece = |name: &[u8]| self.database.get(name).map_err(|error| error.to_string());
        Kept::decode(key, row, piece).map_err(|problem| self.damaged(problem))
    }

    /// Does a transaction that was checked, and brings it to the disk.
    fn transact(&mut self, writes: Vec<Write>) -> Result<Plan, Error> {
        let there = writes.iter().map(|write| self.get(&write.key)).collect::<Result<Vec<_>, _>>()?;
        let held = |kept: &Option<Kept>| {
            kept.as_ref().map(|Kept { entry, .. }| Held {
                revision: entry.revision,
                bytes: plan::size(&entry.key, &entry.value),
            })
        };
        let held: Vec<_> = there.iter().map(held).collect();
        let standing =
            Standing { revision: self.totals.revision, bytes: self.totals.bytes, limit: self.limit };
        let plan = plan::decide(writes, &held, standing)?;
        if plan.changes.is_empty() {
            return Ok(plan);
        }
        let (batch, totals) = self.rows(&plan, there.into_iter().flatten());
        // Said before, taken back after: a panic on the way leaves it standing, and so does an error. What the disk has
        // after a failed flush nobody can say but who opens it again.
        self.broken = Some(format!("{}: a write failed; it must be opened again", self.directory));
        self.totals = totals;
        let done = self.database.apply_batch(batch).map_err(io::Error::from).and_then(|()| self.settle());
        if let Err(error) = done {
            let why = format!("{}: a write failed: {error}; it must be opened again", self.directory);
            self.broken = Some(why.clone());
            return Err(Error::Unavailable(why));
        }
        self.broken = None;
        Ok(plan)
    }

    /// What a plan changes in the database, where `there` is in the way, and what it then adds up to.
    fn rows(&self, plan: &Plan, there: impl Iterator<Item = Kept>) -> (Batch, Totals) {
        let mut totals = self.totals.at(plan.revision);
        let mut batch = Batch::default();
        for kept in there {
            totals.remove(&kept);
            kept.pieces().for_each(|(name, _)| batch.remove(name));
        }
        for (planned, place) in plan.changes.iter().zip(0..) {
            match &planned.change {
                Change::Put(entry) => {
                    let kept = Kept { entry: entry.clone(), place, lifetime: planned.lifetime };
                    totals.add(&kept);
                    batch.insert(named(&entry.key), kept.encode());
                    kept.pieces().for_each(|(name, piece)| batch.insert(name, piece));
                }
                Change::Deleted { key, .. } => batch.remove(named(key)),
            }
        }
        batch.insert(TOTALS, &totals.encode()[..]);
        (batch, totals)
    }

    /// Brings all that was written to the disk, then says in the witness how much it is.
    fn settle(&mut self) -> io::Result<()> {
        self.database.flush()?;
        // The library's flush hands the pages to the disk, but does not wait for the file's length or for the disk's own
        // cache, and does nothing about files of large values.
        let blobs = self.directory.database().join("blobs");
        let mut there = HashSet::new();
        for blob in fs::read_dir(&blobs)? {
            let name = blob?.file_name();
            if !self.blobs.contains(&name) {
                match fs::File::open(blobs.join(&name)) {
                    Ok(file) => file.sync_all()?,
                    // What is not needed any more is removed behind our back.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            there.insert(name);
        }
        if there.iter().any(|name| !self.blobs.contains(name)) {
            fs::File::open(&blobs)?.sync_all()?;
        }
        self.blobs = there;
        self.file.sync_data()?;
        self.witness.write(&self.totals)
    }

    fn damaged(&self, problem: impl fmt::Display) -> Error {
        self.directory.damaged(&self.directory.database(), problem)
    }
}

/// Makes an empty database beside where it shall be, and puts it there when it is whole: what is found there later was
/// whole once.
fn make(directory: &Directory) -> Result<(), Error> {
    let path = directory.begin()?;
    let database = open_database(&path, directory)?;
    let made = database.insert(TOTALS, &Totals::default().encode()[..]).and_then(|_| database.flush());
    made.map_err(|error| directory.unusable(&error.into()))?;
    drop(database);
    directory.publish(&Totals::default())
}

fn open_database(path: &PathBuf, directory: &Directory) -> Result<Db, Error> {
    directory.wait_for_release(path)?;
    let config = Config::new().path(path).cache_capacity(CACHE).flush_every_ms(None);
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) => Err(directory.damaged(path, error)),
        Err(panic) => Err(directory.damaged(path, said(&*panic))),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    // A panic comes from the library, which has met in its files what cannot be.
    spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::Unavailable(error.to_string())))
}

fn named(key: &str) -> Vec<u8> {
    [&[ENTRY], key.as_bytes()].concat()
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it cannot be read").to_owned()
}
