//! The file that a process runs: where it is, and what is in it.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Mutex, PoisonError},
};

use alts_handshake::Sha256;
use pki_types::UnixTime;
use procfs::{ProcError, ProcResult};
use rustix::fs::OFlags;

use super::{error::AttestError, process::Process};

/// Largest executable whose hash is taken.
const MAX_SIZE: u64 = 512 << 20;

/// Most hashes that are kept.
const MAX_HASHES: usize = 1_024;

/// How long a file must have been left alone before its hash is kept: the time of a change has the grain of a tick,
/// so that a second change in the same one would not show. More than any clock's grain.
const SETTLED_SECONDS: u64 = 2;

const BLOCK: usize = 64 << 10;

/// A file, wherever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

/// The file that a process runs, also when it has been deleted since. Opened as a place only: it cannot be read.
pub(super) struct Executable {
    _place: File,
    id: FileId,
    /// Where it was when the process opened it, as that process or we would call it.
    name: Option<String>,
}

/// Hashes of files that have not changed since.
#[derive(Default)]
pub(super) struct Hashes(Mutex<HashMap<Version, [u8; 32]>>);

/// One content of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Version {
    id: FileId,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Executable {
    /// The executable of a process.
    pub(super) fn of(directory: &procfs::process::Process) -> ProcResult<Self> {
        let place = directory.open_relative_flags("exe", OFlags::PATH | OFlags::CLOEXEC)?;
        let id = FileId::of(&place.metadata().map_err(ProcError::from)?);
        let name = directory.exe()?.into_os_string().into_string().ok();
        Ok(Self { _place: place, id, name })
    }

    /// Which file it is.
    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// Its path, if the same file is there for us. Whoever has a mount namespace or a root directory of his own can
    /// give any file any path, but not among our files.
    pub(super) fn path(&self) -> Option<&str> {
        let name = self.name.as_deref()?;
        let found = fs::metadata(Path::new(name)).ok()?;
        (FileId::of(&found) == self.id).then_some(name)
    }
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl Hashes {
    /// The SHA-256 of what a process runs, as it is at `now`. Nothing for a file that is too large, or that changes
    /// while it is read.
    pub(super) fn of(&self, process: &Process, now: UnixTime) -> Result<Option<[u8; 32]>, AttestError> {
        let Some(executable) = process.executable() else { return Ok(None) };
        let file = process.open("exe", OFlags::RDONLY)?;
        self.of_file(&file, executable.id(), now).map_err(|problem| {
            AttestError::failed(format!("hash the executable of process {}", process.pid()), problem)
        })
    }

    fn of_file(&self, file: &File, id: FileId, now: UnixTime) -> io::Result<Option<[u8; 32]>> {
        let version = Version::of(&file.metadata()?);
        if version.id != id || version.size > MAX_SIZE {
            return Ok(None);
        }
        if let Some(hash) = self.lock().get(&version) {
            return Ok(Some(*hash));
        }
        let hash = hash(file)?;
        if Version::of(&file.metadata()?) != version {
            return Ok(None);
        }
        if version.is_settled(now) {
            let mut kept = self.lock();
            if kept.len() >= MAX_HASHES {
                kept.clear();
            }
            kept.insert(version, hash);
        }
        Ok(Some(hash))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Version, [u8; 32]>> {
        // Each entry is put in whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            id: FileId::of(metadata),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_settled(&self, now: UnixTime) -> bool {
        u64::try_from(self.changed.0).is_ok_and(|changed| changed + SETTLED_SECONDS < now.as_secs())
    }
}

fn hash(file: &File) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    // One more than fits, so that a file that has grown is read no further; its size then tells.
    let mut file = file.take(MAX_SIZE + 1);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hash.finish()),
            length => hash.update(&block[..length]),
        }
    }
}

#[cfg(test)]
mod tests;
