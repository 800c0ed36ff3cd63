//! Which processes have a socket.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{CWD, Dir, Mode, OFlags, openat, readlinkat_raw},
    io::Errno,
};

use super::error::AttestError;

/// Most open files of one user that are looked at to find his own socket. One with more has to be told, not waited
/// for.
const MAX_LINKS: usize = 1 << 20;

/// Most open files of one user that are looked at to find a socket of another user. Anybody may have millions, and
/// must not make the search of others long. What is not found so was given to him by its owner, who has it to give.
const MAX_LINKS_OF_OTHERS: usize = 64 << 10;

/// Open files of a process that are looked at before it is asked whose process it is.
const FEW_LINKS: usize = 64;

/// Processes that have a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holders {
    pub(super) pids: Vec<i32>,
    /// Whether there are processes of the uid of the socket that we were not allowed to look at.
    pub(super) some_unseen: bool,
}

/// Looks at every process for these sockets of one user: who else has a socket speaks on it as much as the one that
/// connected. Blocks.
pub(super) fn of(inodes: &HashSet<u32>, uid: u32) -> Result<HashMap<u32, Holders>, AttestError> {
    let failed = |problem: io::Error| AttestError::failed("look through /proc", problem);
    let mut budget = Budget { uid, left: HashMap::new() };
    let mut pids: HashMap<u32, Vec<i32>> = inodes.iter().map(|inode| (*inode, Vec::new())).collect();
    let mut some_unseen = false;
    for entry in fs::read_dir("/proc").map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let held = openat(CWD, format!("/proc/{pid}/fd"), flags, Mode::empty())
            .and_then(|files| sockets_of(&files, &mut budget.of(pid)));
        match held {
            Ok(held) => {
                for inode in held {
                    if let Some(pids) = pids.get_mut(&inode) {
                        pids.push(pid);
                    }
                }
            }
            // It has ended meanwhile.
            Err(Errno::NOENT | Errno::SRCH) => {}
            Err(Errno::ACCESS | Errno::PERM) => some_unseen |= may_be_of(pid, uid),
            // Whatever else keeps us from looking could keep us from seeing a holder.
            Err(problem) => return Err(failed(problem.into())),
        }
    }
    Ok(pids.into_iter().map(|(inode, pids)| (inode, Holders { pids, some_unseen })).collect())
}

/// How many files of each user are still looked at.
struct Budget {
    /// Whose socket it is.
    uid: u32,
    left: HashMap<u32, usize>,
}

impl Budget {
    /// Tells for each file of a process in turn whether to look at it.
    fn of(&mut self, pid: i32) -> impl FnMut() -> Result<bool, Errno> {
        let mut seen = 0;
        let mut owner = None;
        move || {
            seen += 1;
            if seen <= FEW_LINKS {
                return Ok(true);
            }
            // Who started it: a program that makes him another user (setuid) keeps the files he has opened. One that has
            // just gone has no more files either.
            let owner = *owner.get_or_insert_with(|| status(pid).map_or(self.uid, |status| status.ruid));
            let is_own = owner == self.uid;
            let most = if is_own { MAX_LINKS } else { MAX_LINKS_OF_OTHERS };
            let left = self.left.entry(owner).or_insert(most);
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None if is_own => return Err(Errno::TOOBIG),
                None => return Ok(false),
            }
            Ok(true)
        }
    }
}

/// Whether the process lives and has this uid. The kernel lets nobody look at one that is just gone either.
fn may_be_of(pid: i32, uid: u32) -> bool {
    status(pid).is_some_and(|status| status.euid == uid)
}

fn status(pid: i32) -> Option<procfs::process::Status> {
    procfs::process::Process::new(pid).and_then(|process| process.status()).ok()
}

/// Whether one of these open files, a `/proc/<pid>/fd`, is the socket.
pub(super) fn has(files: &OwnedFd, inode: u32) -> Result<bool, Errno> {
    let mut left = MAX_LINKS;
    let sockets = sockets_of(files, &mut || {
        left = left.checked_sub(1).ok_or(Errno::TOOBIG)?;
        Ok(true)
    });
    Ok(sockets?.contains(&inode))
}

/// The inodes of the sockets among these open files, as far as `look` says to look.
fn sockets_of(
    files: &OwnedFd,
    look: &mut impl FnMut() -> Result<bool, Errno>,
) -> Result<HashSet<u32>, Errno> {
    let mut sockets = HashSet::new();
    // Room for the longest text that names a socket, and one byte more, so that a longer one is not taken for it.
    let mut target = [0; "socket:[4294967295]".len() + 1];
    for file in Dir::read_from(files.as_fd())? {
        let file = file?;
        if !look()? {
            break;
        }
        match readlinkat_raw(files, file.file_name(), &mut target[..]) {
            Ok(length) => sockets.extend(socket(&target[..length])),
            // `.` and `..` are no links; a file may be closed while we look.
            Err(Errno::INVAL | Errno::NOENT) => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(sockets)
}

/// The inode in `socket:[1234]`.
fn socket(link: &[u8]) -> Option<u32> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many files of this process would be looked at, and how it ends then.
    fn looked(budget: &mut Budget) -> (usize, Result<bool, Errno>) {
        let mut look = budget.of(std::process::id().cast_signed());
        let mut number = 0;
        loop {
            match look() {
                Ok(true) => number += 1,
                end => return (number, end),
            }
        }
    }

    fn own() -> u32 {
        rustix::process::getuid().as_raw()
    }

    #[test]
    fn a_user_with_many_files_does_not_make_the_search_of_others_long() {
        let mut budget = Budget { uid: own() + 1, left: HashMap::new() };
        assert_eq!(looked(&mut budget), (FEW_LINKS + MAX_LINKS_OF_OTHERS, Ok(false)));
        // Not by many processes either.
        assert_eq!(looked(&mut budget), (FEW_LINKS, Ok(false)));
    }

    #[test]
    fn a_search_among_ones_own_files_ends_with_an_error_and_never_unseen() {
        let mut budget = Budget { uid: own(), left: HashMap::new() };
        assert_eq!(looked(&mut budget), (FEW_LINKS + MAX_LINKS, Err(Errno::TOOBIG)));
        assert_eq!(looked(&mut budget), (FEW_LINKS, Err(Errno::TOOBIG)));
    }

    #[test]
    fn a_link_is_a_socket_only_by_its_whole_text() {
        assert_eq!(socket(b"socket:[1234]"), Some(1_234));
        for other in [
            "socket:[]",
            "socket:[1234",
            "socket:[4294967296]",
            "socket:[-1]",
            "pipe:[1234]",
            "/socket:[1]",
            "",
        ] {
            assert_eq!(socket(other.as_bytes()), None, "{other}");
        }
    }
}
