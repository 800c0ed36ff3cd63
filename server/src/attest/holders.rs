//! Which processes have a socket.

use std::{fs, io};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{CWD, Dir, Mode, OFlags, openat, readlinkat_raw},
    io::Errno,
};

use super::error::AttestError;

/// Most open files that are looked at to find one. A machine with more has to be told, not waited for.
const MAX_LINKS: usize = 4 << 20;

/// Processes that have a socket.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Holders {
    pub(super) pids: Vec<i32>,
    /// Whether there are processes of the uid of the socket that we were not allowed to look at.
    pub(super) some_unseen: bool,
}

/// Looks at every process: who else has the socket speaks on it as much as the one that connected.
pub(super) fn of(inode: u32, uid: u32) -> Result<Holders, AttestError> {
    let failed = |problem: io::Error| AttestError::failed("look through /proc", problem);
    let mut links = MAX_LINKS;
    let mut holders = Holders::default();
    for entry in fs::read_dir("/proc").map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let held = openat(CWD, format!("/proc/{pid}/fd"), flags, Mode::empty())
            .and_then(|files| holds(&files, inode, &mut links));
        match held {
            Ok(true) => holders.pids.push(pid),
            // It has ended meanwhile.
            Ok(false) | Err(Errno::NOENT | Errno::SRCH) => {}
            Err(Errno::ACCESS | Errno::PERM) => holders.some_unseen |= may_be_of(pid, uid),
            // Whatever else keeps us from looking could keep us from seeing a holder.
            Err(problem) => return Err(failed(problem.into())),
        }
    }
    Ok(holders)
}

/// Whether the process lives and has this uid. The kernel lets nobody look at one that is just gone either.
fn may_be_of(pid: i32, uid: u32) -> bool {
    let status = procfs::process::Process::new(pid).and_then(|process| process.status());
    status.is_ok_and(|status| status.euid == uid)
}

/// Whether one of these open files, a `/proc/<pid>/fd`, is the socket.
pub(super) fn has(files: &OwnedFd, inode: u32) -> Result<bool, Errno> {
    holds(files, inode, &mut MAX_LINKS.clone())
}

fn holds(files: &OwnedFd, inode: u32, links: &mut usize) -> Result<bool, Errno> {
    let wanted = format!("socket:[{inode}]");
    // One byte more than the text wanted, so that a longer one is not taken for it.
    let mut target = vec![0; wanted.len() + 1];
    for file in Dir::read_from(files.as_fd())? {
        let file = file?;
        *links = links.checked_sub(1).ok_or(Errno::TOOBIG)?;
        match readlinkat_raw(files, file.file_name(), &mut target[..]) {
            Ok(length) if target[..length] == *wanted.as_bytes() => return Ok(true),
            // `.` and `..` are no links; a file may be closed while we look.
            Ok(_) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(false)
}
