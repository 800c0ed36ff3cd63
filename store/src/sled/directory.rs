//! The files of a store on a disk:
//!
//! ```text
//! made          says that a store was made here, and in which format
//! lock          held while a process uses it
//! data/sled/    the database
//! data/witness  what was acknowledged last
//! data.new/     a store that is being made; nothing in it was ever acknowledged
//! ```

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use super::envelope::{TOTALS_LEN, Totals};
use crate::Error;

/// What the marker begins with; a space, the format and a line feed follow.
const MARK: &str = "altsd-store";

/// Where the second of the two places in the witness begins: no write of one can touch the other.
const PLACE: u64 = 4_096;

/// A directory that this process uses alone, until it is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    pub(super) fn lock(path: &Path) -> Result<Self, Error> {
        let open = || {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            private().truncate(false).open(path.join("lock"))
        };
        let lock = open().map_err(|error| unusable(path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Unavailable(format!(
                "{} is in use by another process; a store on a disk has one user at a time",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(unusable(path, &error)),
        }
    }

    /// Whether no store was made here. Fails if one was and is gone, or is of another format.
    pub(super) fn is_new(&self) -> Result<bool, Error> {
        let there = self.data().try_exists().map_err(|error| self.unusable(&error))?;
        let mark = self.path.join("made");
        match fs::read(&mark) {
            Ok(text) if text == marking().as_bytes() => {}
            Ok(text) => return Err(self.damaged(&mark, misread(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(!there),
            Err(error) => return Err(self.unusable(&error)),
        }
        if there {
            Ok(false)
        } else {
            Err(self.damaged(&self.data(), "it is not there, but it was made once"))
        }
    }

    /// The database.
    pub(super) fn database(&self) -> PathBuf {
        self.data().join("sled")
    }

    /// Where a database can be made. What another attempt left there goes: it was never whole.
    pub(super) fn begin(&self) -> Result<PathBuf, Error> {
        let begin = || {
            match fs::remove_dir_all(self.beginning()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            DirBuilder::new().mode(0o700).create(self.beginning())
        };
        begin().map_err(|error| self.unusable(&error))?;
        Ok(self.beginning().join("sled"))
    }

    /// Puts the database that was made where it shall be.
    pub(super) fn publish(&self, totals: &Totals) -> Result<(), Error> {
        let publish = || {
            let file = private().create_new(true).open(self.beginning().join("witness"))?;
            file.set_len(2 * PLACE)?;
            let mut witness = Witness(file);
            witness.write(totals)?;
            for directory in ["sled/blobs", "sled", ""] {
                sync_directory(&self.beginning().join(directory))?;
            }
            for file in ["sled/db", "sled/conf"] {
                File::open(self.beginning().join(file))?.sync_all()?;
            }
            fs::rename(self.beginning(), self.data())?;
            sync_directory(&self.path)
        };
        publish().map_err(|error| self.unusable(&error))
    }

    /// Says that a store was made here. Before anything is acknowledged.
    pub(super) fn mark(&self) -> Result<(), Error> {
        let mark = self.path.join("made");
        let write = || {
            if mark.try_exists()? {
                return Ok(());
            }
            let new = self.path.join("made.new");
            let mut file = private().truncate(true).open(&new)?;
            file.write_all(marking().as_bytes())?;
            file.sync_all()?;
            fs::rename(new, &mark)?;
            sync_directory(&self.path)
        };
        write().map_err(|error| self.unusable(&error))
    }

    /// The witness, and what it says.
    pub(super) fn witness(&self) -> Result<(Witness, Totals), Error> {
        let path = self.data().join("witness");
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let witness = Witness(file.map_err(|error| self.damaged(&path, error))?);
        let totals = witness.read().map_err(|problem| self.damaged(&path, problem))?;
        Ok((witness, totals))
    }

    /// Waits until the database's own lock is free. Its library lets go of it some time after it was closed.
    pub(super) fn wait_for_release(&self, database: &Path) -> Result<(), Error> {
        let file = match File::open(database.join("db")) {
            Ok(file) => file,
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && database.starts_with(self.beginning()) =>
            {
                return Ok(());
            }
            Err(error) => return Err(self.damaged(&database.join("db"), error)),
        };
        for _ in 0..500 {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(10)),
                Err(TryLockError::Error(error)) => return Err(self.unusable(&error)),
            }
        }
        Err(Error::Unavailable(format!("{} is locked by another process", database.display())))
    }

    /// What is to be said about damage.
    pub(super) fn damaged(&self, path: &Path, problem: impl fmt::Display) -> Error {
        Error::Corrupt(format!(
            "{}: {problem}; the store is left as it is: restore a copy of {}, or move it away to begin anew",
            path.display(),
            self.path.display()
        ))
    }

    /// What is to be said if the system refuses.
    pub(super) fn unusable(&self, error: &io::Error) -> Error {
        unusable(&self.path, error)
    }

    fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    fn beginning(&self) -> PathBuf {
        self.path.join("data.new")
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// What was acknowledged last, in two places that are written in turn: while one is being written, the other stands.
#[derive(Debug)]
pub(super) struct Witness(File);

impl Witness {
    /// To the disk, not just to the system.
    pub(super) fn write(&mut self, totals: &Totals) -> io::Result<()> {
        self.0.write_all_at(&totals.encode(), totals.revision.0 % 2 * PLACE)?;
        self.0.sync_data()
    }

    /// The later of the two, or what is wrong with the one if both are damaged.
    fn read(&self) -> Result<Totals, String> {
        let place = |at| {
            let mut bytes = [0; TOTALS_LEN];
            self.0.read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
            Totals::decode(&bytes)
        };
        match (place(0), place(PLACE)) {
            (Ok(one), Ok(other)) => Ok(if one.revision > other.revision { one } else { other }),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
            (Err(problem), Err(_)) => Err(problem),
        }
    }
}

fn marking() -> String {
    format!("{MARK} {}\n", super::envelope::FORMAT)
}

fn misread(text: &[u8]) -> String {
    let text = std::str::from_utf8(text).ok();
    let format =
        text.and_then(|text| text.strip_prefix(MARK)).and_then(|rest| rest.trim().parse::<u32>().ok());
    match format {
        Some(format) => format!(
            "the store is of format {format}, and format {} is known here: start the altsd that wrote it",
            super::envelope::FORMAT
        ),
        None => "it does not say the format of the store".to_owned(),
    }
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    Error::Unavailable(format!("{}: {error}", path.display()))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
