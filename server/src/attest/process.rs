//! A process that cannot be mistaken for another.

use std::{fmt, fs::File, io, os::fd::OwnedFd, sync::Arc};

use procfs::ProcError;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{
    error::AttestError,
    executable::{Executable, FileId},
    holders,
};

/// A process, by a pidfd and its directory in `/proc`: both stand for this process only, also after its number has
/// gone to another one.
pub(super) struct Process {
    pid: i32,
    pidfd: Arc<OwnedFd>,
    directory: procfs::process::Process,
    facts: Facts,
    /// Kept open, so that no other file can get its inode number.
    executable: Option<Executable>,
}

/// What makes it another caller when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// In ticks since boot.
    pub(super) start_time: u64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether it has its group by itself, not by running a program that gives it (setgid).
    pub(super) is_gid_real: bool,
    pub(super) executable: Seen,
}

/// What we see of an executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    File(FileId),
    /// A process that has none: it belongs to the kernel, or its first thread has ended.
    None,
    /// It has one that we may not look at.
    Hidden,
}

impl Process {
    /// Pins the process that has this number now.
    pub(super) fn with_pid(pid: i32) -> Result<Self, AttestError> {
        Self::pin(pid, Arc::new(open_pidfd(pid)?))
    }

    /// Pins the process that the pidfd stands for, and that has or had this number.
    pub(super) fn pin(pid: i32, pidfd: Arc<OwnedFd>) -> Result<Self, AttestError> {
        let directory = procfs::process::Process::new(pid).map_err(|problem| unread(pid, problem))?;
        // A number is not given away while its process lives: if it lives after the directory was opened, that is
        // the directory of the process of the pidfd.
        let (facts, executable) = read_living(pid, &pidfd, &directory)?;
        Ok(Self { pid, pidfd, directory, facts, executable })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(super) fn executable(&self) -> Option<&Executable> {
        self.executable.as_ref()
    }

    /// Whether it has not ended.
    pub(super) fn is_alive(&self) -> Result<bool, AttestError> {
        is_alive(&self.pidfd)
    }

    /// Checks that it lives and is what it was. What was read of it before is true of it only after this.
    pub(super) fn still_the_same(&self) -> Result<(), AttestError> {
        let (facts, _) = read_living(self.pid, &self.pidfd, &self.directory)?;
        self.facts.compare(self.pid, &facts)
    }

    /// Whether one of its open files is this socket.
    pub(super) fn holds(&self, inode: u32) -> Result<bool, AttestError> {
        let files = self.open("fd", OFlags::RDONLY | OFlags::DIRECTORY)?;
        match holders::has(&files.into(), inode) {
            // Also when it may not be looked at any more.
            Err(_) if !is_alive(&self.pidfd)? => Err(AttestError::Exited { pid: self.pid }),
            held => held.map_err(|problem| unread(self.pid, io::Error::from(problem).into())),
        }
    }

    /// Opens something in its directory.
    pub(super) fn open(&self, name: &str, flags: OFlags) -> Result<File, AttestError> {
        self.directory
            .open_relative_flags(name, flags | OFlags::CLOEXEC)
            .map_err(|problem| unread(self.pid, problem))
    }
}

impl Facts {
    fn compare(&self, pid: i32, now: &Self) -> Result<(), AttestError> {
        let changed = |what, was: &dyn fmt::Debug, is: &dyn fmt::Debug| {
            Err(AttestError::Changed { pid, what, was: format!("{was:?}"), is: format!("{is:?}") })
        };
        match now {
            _ if now == self => Ok(()),
            _ if now.start_time != self.start_time => {
                changed("start time", &self.start_time, &now.start_time)
            }
            _ if now.uid != self.uid => changed("uid", &self.uid, &now.uid),
            _ if now.executable != self.executable => {
                changed("executable", &self.executable, &now.executable)
            }
            _ => changed("gid", &self.gid, &now.gid),
        }
    }
}

/// A pidfd of whatever process has this number now.
pub(super) fn open_pidfd(pid: i32) -> Result<OwnedFd, AttestError> {
    let Some(number) = Pid::from_raw(pid).filter(|_| pid > 0) else { return Err(AttestError::Hidden) };
    pidfd_open(number, PidfdFlags::empty()).map_err(|problem| match problem {
        Errno::SRCH => AttestError::Exited { pid },
        problem => AttestError::failed(format!("open process {pid}"), problem),
    })
}

/// Whether the process has not ended. A pidfd becomes readable when it does, and stays so.
fn is_alive(pidfd: &OwnedFd) -> Result<bool, AttestError> {
    let mut wanted = [PollFd::new(pidfd, PollFlags::IN)];
    loop {
        match poll(&mut wanted, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(_) => return Ok(wanted[0].revents().is_empty()),
            Err(Errno::INTR) => {}
            Err(problem) => return Err(AttestError::failed("ask whether the caller lives", problem)),
        }
    }
}

/// Reads what is true of a process that lives. One that ends loses its executable first, and refuses to be looked at.
fn read_living(
    pid: i32,
    pidfd: &OwnedFd,
    directory: &procfs::process::Process,
) -> Result<(Facts, Option<Executable>), AttestError> {
    let found = read(pid, directory);
    if is_alive(pidfd)? { found } else { Err(AttestError::Exited { pid }) }
}

fn read(pid: i32, directory: &procfs::process::Process) -> Result<(Facts, Option<Executable>), AttestError> {
    let stat = directory.stat().map_err(|problem| unread(pid, problem))?;
    let status = directory.status().map_err(|problem| unread(pid, problem))?;
    let (seen, executable) = match Executable::of(directory) {
        Ok(executable) => (Seen::File(executable.id()), Some(executable)),
        Err(ProcError::NotFound(_)) => (Seen::None, None),
        Err(ProcError::PermissionDenied(_)) => (Seen::Hidden, None),
        Err(problem) => return Err(unread(pid, problem)),
    };
    let facts = Facts {
        start_time: stat.starttime,
        uid: status.euid,
        gid: status.egid,
        is_gid_real: status.rgid == status.egid,
        executable: seen,
    };
    Ok((facts, executable))
}

/// Why something of a process cannot be read: most often it has gone.
fn unread(pid: i32, problem: ProcError) -> AttestError {
    match problem {
        ProcError::NotFound(_) => AttestError::Exited { pid },
        ProcError::Io(problem, _) if problem.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {
            AttestError::Exited { pid }
        }
        ProcError::PermissionDenied(_) => AttestError::NotPermitted { what: format!("process {pid}") },
        problem => AttestError::failed(format!("read /proc/{pid}"), problem),
    }
}
