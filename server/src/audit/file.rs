//! Where lines go: standard output, or a file that is rotated by size.
//!
//! The rotation is our own: tracing-appender 0.2 rotates by time only, which bounds no disk; file-rotate 0.8 makes
//! directories, panics where it cannot, cuts lines or exceeds the size, and does not see that others have moved the
//! file; logroller 0.1 does not either; and these two bring chrono and a compressor along.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Write},
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{fcntl::OFlag, unistd::geteuid};

/// Mode of a new file, less the umask: its group may read, for programs that collect it.
const MODE: u32 = 0o640;

/// How often at most it is looked whether the file is still where it was: another program may have moved it.
const LOOK: Duration = Duration::from_secs(1);

/// A file that is rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSettings {
    /// Its directory must exist. Older files have `.1`, `.2`, … behind this name, the newest of them `.1`.
    pub(crate) path: PathBuf,
    /// No file has more, in bytes, unless a single line does.
    pub(crate) max_bytes: u64,
    /// How many files there are at most, with the one that is written. At least 1.
    pub(crate) max_files: u32,
}

/// Where the writer puts lines.
pub(super) enum Sink {
    Stdout(Lines),
    File(RotatingFile),
}

impl Sink {
    /// The standard output of this process.
    pub(super) fn stdout() -> io::Result<Self> {
        // A descriptor of our own: no buffer of the library's stands between us and a failure.
        Ok(Self::Stdout(Lines::new(File::from(io::stdout().as_fd().try_clone_to_owned()?))))
    }

    /// Writes one line with its end. Blocks. After an error the line is lost, and the next one is whole again.
    pub(super) fn write(&mut self, line: &[u8], now: Instant) -> io::Result<()> {
        match self {
            Self::Stdout(lines) => lines.write(line).map_err(|torn| torn.problem),
            Self::File(file) => file.write(line, now),
        }
    }
}

/// Whole lines, one write each.
pub(super) struct Lines {
    file: File,
    /// Whether the last line was not written to its end.
    is_torn: bool,
}

/// Why a line was not written.
struct Torn {
    /// How many bytes were.
    written: usize,
    problem: io::Error,
}

impl Lines {
    fn new(file: File) -> Self {
        Self { file, is_torn: false }
    }

    fn write(&mut self, line: &[u8]) -> Result<(), Torn> {
        let line = if self.is_torn { &*[b"\n", line].concat() } else { line };
        let mut written = 0;
        // More than one turn only where a signal or the end of the room cuts a write short.
        while written < line.len() {
            match (&self.file).write(&line[written..]) {
                Ok(0) => return Err(self.torn(written, ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(problem) if problem.kind() == ErrorKind::Interrupted => {}
                Err(problem) => return Err(self.torn(written, problem)),
            }
        }
        self.is_torn = false;
        Ok(())
    }

    fn torn(&mut self, written: usize, problem: io::Error) -> Torn {
        self.is_torn |= written > 0;
        Torn { written, problem }
    }
}

/// A file of bounded size, and a bounded number of older ones. No directory is made.
pub(super) struct RotatingFile {
    settings: FileSettings,
    lines: Lines,
    len: u64,
    id: FileId,
    /// When it was last seen where it should be.
    looked: Instant,
}

/// What tells a file from another that has come to its name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl RotatingFile {
    /// Opens the file at its end, or makes it.
    pub(super) fn open(settings: FileSettings, now: Instant) -> io::Result<Self> {
        let (file, metadata) = append(&settings.path)?;
        let (len, id) = (metadata.len(), FileId::of(&metadata));
        Ok(Self { settings, lines: Lines::new(file), len, id, looked: now })
    }

    fn write(&mut self, line: &[u8], now: Instant) -> io::Result<()> {
        if now.saturating_duration_since(self.looked) >= LOOK {
            self.look()?;
            self.looked = now;
        }
        let new_len = self.len.saturating_add(line.len() as u64);
        if self.len > 0 && new_len > self.settings.max_bytes {
            self.rotate()?;
        }
        self.lines.write(line).map_err(|torn| self.mend(torn))?;
        self.len = self.len.saturating_add(line.len() as u64);
        Ok(())
    }

    /// Takes the beginning of a line away again that the disk had no room for the rest of.
    fn mend(&mut self, Torn { written, problem }: Torn) -> io::Error {
        let cut = |file: &File| file.set_len(file.metadata()?.len().saturating_sub(written as u64));
        if written > 0 && cut(&self.lines.file).is_ok() {
            self.lines.is_torn = false;
        }
        problem
    }

    /// Opens the name anew if another program has moved or deleted the file, and sees its size if one has emptied it.
    fn look(&mut self) -> io::Result<()> {
        match fs::metadata(&self.settings.path) {
            Ok(metadata) if FileId::of(&metadata) == self.id => {
                self.len = metadata.len();
                Ok(())
            }
            Err(problem) if problem.kind() != ErrorKind::NotFound => Err(problem),
            Ok(_) | Err(_) => self.reopen(),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        let (file, metadata) = append(&self.settings.path)?;
        (self.lines, self.len, self.id) = (Lines::new(file), metadata.len(), FileId::of(&metadata));
        Ok(())
    }

    /// Gives every file the next number, without those that are too many, and begins a new one. Where that fails,
    /// nothing is written: the bound of the disk holds.
    fn rotate(&mut self) -> io::Result<()> {
        let FileSettings { path, max_files, .. } = &self.settings;
        // A device is written for ever. A file that is not there needs no number, and the others keep theirs.
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => return Ok(()),
            Err(problem) if problem.kind() == ErrorKind::NotFound => return self.reopen(),
            _ => {}
        }
        let old_files = max_files.saturating_sub(1);
        // Further ones are there if fewer are to be kept than before.
        for number in old_files.max(1).. {
            if !if_there(fs::remove_file(numbered(path, number)))? {
                break;
            }
        }
        for number in (1..old_files).rev() {
            if_there(fs::rename(numbered(path, number), numbered(path, number + 1)))?;
        }
        if old_files == 0 {
            if_there(fs::remove_file(path))?;
        } else {
            if_there(fs::rename(path, numbered(path, 1)))?;
        }
        self.reopen()
    }
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A file of our own, or a device. Whoever may write to the directory cannot have us write elsewhere by a link, nor hand
/// us a file of his.
fn append(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlag::O_NOFOLLOW.bits();
    let file = OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    let (owner, us) = (metadata.uid(), geteuid().as_raw());
    if metadata.is_file() && owner != us {
        let text = format!("it belongs to user {owner}, and altsd runs as user {us}");
        return Err(io::Error::new(ErrorKind::PermissionDenied, text));
    }
    Ok((file, metadata))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Whether there was a file to do it with.
fn if_there(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(false),
        Err(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests;
