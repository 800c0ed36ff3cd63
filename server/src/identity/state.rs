//! The state directory of the signing service: who may look into it, and how a file comes to be there whole.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag},
    unistd::geteuid,
};
use zeroize::Zeroizing;

/// Largest file that is read, in bytes. Ours have about one thousand.
const MAX_FILE: u64 = 64 << 10;

const LOCK: &str = "lock";

/// How often, and with which pause, a lock is asked for that another process has. Locks are held for milliseconds.
const LOCK_TRIES: usize = 250;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What is wrong with the state directory, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{} cannot be used: {problem}", path.display())]
    Io { path: PathBuf, problem: io::Error },
    #[error("{} is no directory", path.display())]
    NoDirectory { path: PathBuf },
    #[error(
        "{} belongs to user {owner}, and altsd runs as user {us}; run altsd as user {owner}, or run: chown -R {us} {}",
        path.display(),
        path.display()
    )]
    Owner { path: PathBuf, owner: u32, us: u32 },
    #[error(
        "{} has mode {mode:04o}, and others may not get at it; run: chmod {needed:o} {}",
        path.display(),
        path.display()
    )]
    Mode { path: PathBuf, mode: u32, needed: u32 },
    #[error("{} is no file", path.display())]
    NoFile { path: PathBuf },
    #[error("{} has {length} bytes; at most {MAX_FILE} are expected", path.display())]
    TooLarge { path: PathBuf, length: u64 },
    #[error("{} is held by another process for too long; see: fuser {}", path.display(), path.display())]
    Locked { path: PathBuf },
}

/// A directory that belongs to us alone.
pub(crate) struct Directory(PathBuf);

/// While it is there, no other process changes the directory.
pub(crate) struct Lock(#[expect(dead_code, reason = "it is let go when it is dropped")] Flock<File>);

impl Directory {
    /// Opens a directory. `create` makes the last part of its path if that is not there.
    pub(crate) fn open(path: &Path, create: bool) -> Result<Self, Error> {
        let io = |problem| Error::Io { path: path.to_owned(), problem };
        if create {
            match DirBuilder::new().mode(0o700).create(path) {
                Err(problem) if problem.kind() != io::ErrorKind::AlreadyExists => return Err(io(problem)),
                _ => {}
            }
        }
        let metadata = fs::metadata(path).map_err(io)?;
        if !metadata.is_dir() {
            return Err(Error::NoDirectory { path: path.to_owned() });
        }
        check_owner(path, metadata.uid())?;
        check_mode(path, metadata.mode(), 0o700)?;
        Ok(Self(path.to_owned()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Keeps other processes out, and waits a little while one is in.
    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        let path = self.path(LOCK);
        let io = |problem| Error::Io { path: path.clone(), problem };
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let mut file = options.open(&path).map_err(io)?;
        for _ in 0..LOCK_TRIES {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Lock(lock)),
                Err((again, Errno::EWOULDBLOCK | Errno::EINTR)) => file = again,
                Err((_, errno)) => return Err(io(errno.into())),
            }
            thread::sleep(LOCK_PAUSE);
        }
        Err(Error::Locked { path })
    }

    /// Reads a file that nobody else may read; `None` if it is not there.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let path = self.path(name);
        let io = |problem| Error::Io { path: path.clone(), problem };
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
            Ok(file) => file,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(problem) => return Err(io(problem)),
        };
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(Error::NoFile { path });
        }
        check_owner(&path, metadata.uid())?;
        check_mode(&path, metadata.mode(), 0o600)?;
        if metadata.len() > MAX_FILE {
            return Err(Error::TooLarge { path, length: metadata.len() });
        }
        // Room for the largest from the start, so that growing leaves no copies of a key behind.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize + 1));
        file.take(MAX_FILE).read_to_end(&mut text).map_err(io)?;
        Ok(Some(text))
    }

    /// Puts a file there, whole or not at all, also if the machine loses its power.
    pub(crate) fn write(&self, name: &str, text: &[u8], _lock: &Lock) -> Result<(), Error> {
        let (path, temporary) = (self.path(name), self.path(&format!(".{name}.new")));
        let io = |problem| Error::Io { path: path.clone(), problem };
        // Left by a process that was killed; no other is in here.
        match fs::remove_file(&temporary) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => return Err(io(problem)),
            _ => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(io)?;
        file.write_all(text).and_then(|()| file.sync_all()).map_err(io)?;
        fs::rename(&temporary, &path).map_err(io)?;
        File::open(&self.0).and_then(|directory| directory.sync_all()).map_err(io)
    }

    /// Deletes a file, for good also if the machine loses its power. One that is not there is no error.
    pub(crate) fn remove(&self, name: &str, _lock: &Lock) -> Result<(), Error> {
        let path = self.path(name);
        let io = |problem| Error::Io { path: path.clone(), problem };
        match fs::remove_file(&path) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => return Err(io(problem)),
            _ => {}
        }
        File::open(&self.0).and_then(|directory| directory.sync_all()).map_err(io)
    }

    /// The names of all files that are whole, in order.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        let mut names = self.other_files(&[])?;
        names.retain(|name| !(name.starts_with('.') && name.ends_with(".new")));
        names.sort();
        Ok(names)
    }

    /// What is in there that is not of our making, in part or whole.
    pub(super) fn other_files(&self, known: &[&str]) -> Result<Vec<String>, Error> {
        let io = |problem| Error::Io { path: self.0.clone(), problem };
        let mut others = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(io)? {
            let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
            let temporary = known.iter().any(|known| name == format!(".{known}.new"));
            if name != LOCK && !temporary && !known.contains(&&*name) {
                others.push(name);
            }
        }
        Ok(others)
    }
}

fn check_owner(path: &Path, owner: u32) -> Result<(), Error> {
    let us = geteuid().as_raw();
    if owner == us { Ok(()) } else { Err(Error::Owner { path: path.to_owned(), owner, us }) }
}

fn check_mode(path: &Path, mode: u32, needed: u32) -> Result<(), Error> {
    // A directory inherits setgid, which lets nobody in.
    let mode = mode & 0o777;
    // Less than needed shows when it is used; more is what others could use.
    if mode & !needed == 0 { Ok(()) } else { Err(Error::Mode { path: path.to_owned(), mode, needed }) }
}
