//! The other end of a connection, and the processes that have it.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::socket::{
        getsockopt,
        sockopt::{PeerCredentials, PeerPidfd},
    },
};
use tokio::{
    net::{TcpStream, UnixStream},
    sync::OnceCell,
};

use super::{
    attestor::Attestor,
    error::AttestError,
    holders::Holders,
    process::{Facts, Process, open_pidfd},
    selector::Selector,
    sock_diag::{self, TcpAnswer, TcpEnds, TcpSocket},
};

/// Most processes that one socket is attested for.
const MAX_HOLDERS: usize = 16;

/// The other end of an accepted connection. What went wrong in finding out is told when it is asked who it is.
#[derive(Clone)]
pub(crate) struct Caller(Arc<Inner>);

/// How a caller is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Unix,
}

struct Inner {
    transport: Transport,
    end: Result<End, AttestError>,
    user: Option<u32>,
    attested: OnceCell<Arc<Attested>>,
    /// When it was last found to be who it is.
    seen: Mutex<Option<Instant>>,
}

/// What is known of it by the connection alone.
pub(super) enum End {
    Unix(UnixEnd),
    Tcp(TcpEnds),
}

/// The process that connected, as the kernel noted it then.
pub(super) struct UnixEnd {
    pid: i32,
    uid: u32,
    gid: u32,
    pidfd: Arc<OwnedFd>,
    proof: Proof,
}

/// Why the pidfd is of the process that connected.
enum Proof {
    /// The kernel made it from the connection.
    Pidfd,
    /// It was made from the number, which may have gone to another process before; but that one has the other end of
    /// the connection that this socket of ours is one end of.
    Holding { ours: u32 },
}

/// Who it is: true of every process that has the other end.
pub(crate) struct Attested {
    /// Shared with records of it, which may outlive the connection.
    pub(crate) selectors: Arc<BTreeSet<Selector>>,
    pub(super) processes: Processes,
}

/// The processes that have the other end of a connection.
pub(super) enum Processes {
    /// The one that connected to a unix socket.
    Unix(Process),
    /// All that have the TCP socket; never none.
    Tcp { peer: SocketAddr, inode: u32, holders: Vec<Process> },
}

impl Caller {
    /// To be called when the connection has been accepted, before anything else: on kernels older than 6.5 a caller
    /// is only safe from being mistaken while it lives.
    pub(crate) fn of_unix(socket: &UnixStream) -> Self {
        let pidfd = || match getsockopt(socket, PeerPidfd) {
            Ok(pidfd) => Ok(Some(pidfd)),
            Err(Errno::ENOPROTOOPT) => Ok(None),
            Err(problem) => Err(problem),
        };
        Self::of_unix_end(UnixEnd::of(socket, pidfd))
    }

    /// As [`Self::of_unix`] does on a kernel older than 6.5.
    #[cfg(test)]
    pub(super) fn of_unix_without_peer_pidfd(socket: &UnixStream) -> Self {
        Self::of_unix_end(UnixEnd::of(socket, || Ok(None)))
    }

    fn of_unix_end(end: Result<UnixEnd, AttestError>) -> Self {
        let user = end.as_ref().ok().map(|end| end.uid);
        Self::new(Transport::Unix, end.map(End::Unix), user)
    }

    /// Remembers between which addresses the connection is, and asks the kernel, which answers at once, whose it is.
    pub(crate) fn of_tcp(socket: &TcpStream) -> Self {
        let ends = || Ok(TcpEnds { caller: socket.peer_addr()?, ours: socket.local_addr()? });
        let failed =
            |problem: std::io::Error| AttestError::failed("read the addresses of the caller", problem);
        let ends = ends().map_err(failed);
        let user = match ends.as_ref().map(|ends| sock_diag::tcp(*ends)) {
            Ok(Ok(TcpAnswer::Open(socket))) => Some(socket.uid),
            // It may be gone already, or of another machine.
            _ => None,
        };
        Self::new(Transport::Tcp, ends.map(End::Tcp), user)
    }

    fn new(transport: Transport, end: Result<End, AttestError>, user: Option<u32>) -> Self {
        Self(Arc::new(Inner { transport, end, user, attested: OnceCell::new(), seen: Mutex::new(None) }))
    }

    /// How it is connected.
    pub(crate) fn transport(&self) -> Transport {
        self.0.transport
    }

    /// Who is calling. Found out once for a connection; after that it is checked that the processes are still the
    /// same. A failure is not kept: what could not be found out is tried again.
    pub(crate) async fn attest(&self, attestor: &Attestor) -> Result<Arc<Attested>, AttestError> {
        let mut is_fresh = false;
        let attested = self.0.attested.get_or_try_init(async || {
            is_fresh = true;
            attestor.attest(self.clone()).await
        });
        let attested = attested.await?.clone();
        if !is_fresh {
            attestor.check(attested.clone()).await?;
        }
        *self.seen() = Some(attestor.monotonic());
        Ok(attested)
    }

    /// The same for requests that come fast one after the other: it is not looked again within `lately` of the last
    /// look. What a caller gets in this time it could have got just before, and kept.
    pub(crate) async fn attest_lately(
        &self,
        attestor: &Attestor,
        lately: Duration,
    ) -> Result<Arc<Attested>, AttestError> {
        let seen = *self.seen();
        let is_lately = |seen: Instant| attestor.monotonic().saturating_duration_since(seen) < lately;
        match self.found() {
            Some(attested) if seen.is_some_and(is_lately) => Ok(attested.clone()),
            _ => self.attest(attestor).await,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Option<Instant>> {
        // A time is put in whole.
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found out about it, if it was, when it was first asked who it is.
    pub(crate) fn found(&self) -> Option<&Arc<Attested>> {
        self.0.attested.get()
    }

    /// Whose share of what all callers share it takes. It proves nothing and grants nothing.
    pub(crate) fn user(&self) -> Option<u32> {
        self.0.user
    }

    /// The user that connected to a unix socket, as the kernel noted it then; of other connections it notes none.
    pub(crate) fn uid(&self) -> Option<u32> {
        match &self.0.end {
            Ok(End::Unix(end)) => Some(end.uid),
            Ok(End::Tcp(_)) | Err(_) => None,
        }
    }

    /// The TCP socket at the other end, whose holders have to be searched for. The kernel answers at once.
    pub(super) fn socket(&self) -> Result<Option<TcpSocket>, AttestError> {
        match self.end()? {
            End::Unix(_) => Ok(None),
            End::Tcp(ends) => tcp_socket(*ends).map(Some),
        }
    }

    /// The processes at the other end; of its TCP socket, those of the holders that still have it. Blocks.
    pub(super) fn processes(&self, held: Option<(TcpSocket, Holders)>) -> Result<Processes, AttestError> {
        match (self.end()?, held) {
            (End::Unix(end), _) => end.process().map(Processes::Unix),
            (End::Tcp(ends), Some((socket, holders))) => tcp_holders(*ends, socket, holders),
            (End::Tcp(ends), None) => Err(AttestError::Closed { peer: ends.caller }),
        }
    }

    fn end(&self) -> Result<&End, AttestError> {
        self.0.end.as_ref().map_err(Clone::clone)
    }
}

/// Which processes a caller was, with nothing of them kept open: for what outlives a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenProcesses(Box<[(i32, Facts)]>);

impl SeenProcesses {
    /// Whether each process of a caller that has just been attested is one of these, and is what it was: the same
    /// start, user, group and program. Of a caller with several processes all must be, as with all that is said of it.
    pub(crate) fn are_of(&self, caller: &Attested) -> bool {
        let now = caller.processes.all();
        let is_seen = |process: &Process| {
            self.0.iter().any(|(pid, facts)| *pid == process.pid() && facts == process.facts())
        };
        !now.is_empty() && now.iter().all(is_seen)
    }
}

impl Attested {
    /// The processes, to be known again.
    pub(crate) fn seen(&self) -> SeenProcesses {
        let seen = |process: &Process| (process.pid(), process.facts().clone());
        SeenProcesses(self.processes.all().iter().map(seen).collect())
    }

    /// The processes, for the log and for those who ask who they are.
    pub(crate) fn pids(&self) -> Vec<i32> {
        self.processes.all().iter().map(Process::pid).collect()
    }
}

impl Processes {
    pub(super) fn all(&self) -> &[Process] {
        match self {
            Self::Unix(process) => std::slice::from_ref(process),
            Self::Tcp { holders, .. } => holders,
        }
    }

    /// Whether its group is the kernel's word: over TCP only a group that the process has by itself.
    pub(super) fn is_gid_known(&self, process: &Process) -> bool {
        matches!(self, Self::Unix(_)) || process.facts().is_gid_real
    }

    /// Checks that they are what they were. Of several, some may have ended. Blocks.
    pub(super) fn still_the_same(&self) -> Result<(), AttestError> {
        match self {
            Self::Unix(process) => process.still_the_same(),
            Self::Tcp { peer, inode, holders } => {
                let mut left = 0;
                for holder in holders {
                    match holder.still_the_same() {
                        Ok(()) => left += 1,
                        Err(AttestError::Exited { .. }) => {}
                        // A process has the sockets of its parent until it runs a program of its own.
                        Err(AttestError::Changed { .. }) if !is_held(holder, *inode)? => {}
                        Err(problem) => return Err(problem),
                    }
                }
                if left == 0 { Err(AttestError::Closed { peer: *peer }) } else { Ok(()) }
            }
        }
    }
}

impl UnixEnd {
    fn of(
        socket: &UnixStream,
        pidfd: impl FnOnce() -> Result<Option<OwnedFd>, Errno>,
    ) -> Result<Self, AttestError> {
        let failed = |problem: Errno| AttestError::failed("ask the kernel who connected", problem);
        let credentials = getsockopt(socket, PeerCredentials).map_err(failed)?;
        let (pid, uid, gid) = (credentials.pid(), credentials.uid(), credentials.gid());
        if pid <= 0 {
            return Err(AttestError::Hidden);
        }
        let (pidfd, proof) = match pidfd() {
            Ok(Some(pidfd)) => (pidfd, Proof::Pidfd),
            Ok(None) => (open_pidfd(pid)?, Proof::Holding { ours: inode(socket)? }),
            // The process has been waited for: the kernel has nothing left to make a pidfd of.
            Err(Errno::ESRCH | Errno::EINVAL | Errno::ENODATA) => return Err(AttestError::Exited { pid }),
            Err(problem) => return Err(failed(problem)),
        };
        Ok(Self { pid, uid, gid, pidfd: Arc::new(pidfd), proof })
    }

    fn process(&self) -> Result<Process, AttestError> {
        let process = Process::pin(self.pid, self.pidfd.clone())?;
        if let Proof::Holding { ours } = self.proof {
            let peer = sock_diag::unix_peer(ours)
                .map_err(|problem| AttestError::failed("ask for the other end of a unix socket", problem))?;
            let holds = peer.map_or(Ok(false), |peer| process.holds(peer))?;
            if !holds {
                return Err(AttestError::Exited { pid: self.pid });
            }
        }
        let facts = process.facts();
        differs("uid", self.pid, self.uid, facts.uid)?;
        differs("gid", self.pid, self.gid, facts.gid)?;
        Ok(process)
    }
}

/// All processes that have the socket at the other end.
fn tcp_holders(ends: TcpEnds, socket: TcpSocket, found: Holders) -> Result<Processes, AttestError> {
    let peer = ends.caller;
    if found.pids.len() > MAX_HOLDERS {
        return Err(AttestError::Ambiguous { peer, most: MAX_HOLDERS });
    }
    let mut holders = Vec::new();
    for pid in found.pids {
        // The number may have gone to another process since, and the process may have closed the socket.
        match Process::with_pid(pid) {
            Ok(process) if is_held(&process, socket.inode)? => {
                differs("uid", pid, socket.uid, process.facts().uid)?;
                holders.push(process);
            }
            Ok(_) | Err(AttestError::Exited { .. }) => {}
            Err(problem) => return Err(problem),
        }
    }
    if holders.is_empty() && found.some_unseen {
        return Err(AttestError::NotPermitted { what: "the open files of other processes".to_owned() });
    }
    // The inode number was this socket's all the time, for it still is.
    if holders.is_empty() || tcp_socket(ends)? != socket {
        return Err(AttestError::Closed { peer });
    }
    Ok(Processes::Tcp { peer, inode: socket.inode, holders })
}

fn is_held(process: &Process, inode: u32) -> Result<bool, AttestError> {
    match process.holds(inode) {
        Err(AttestError::Exited { .. }) => Ok(false),
        held => held,
    }
}

fn tcp_socket(ends: TcpEnds) -> Result<TcpSocket, AttestError> {
    let answer = sock_diag::tcp(ends)
        .map_err(|problem| AttestError::failed("ask the kernel for the socket of the caller", problem))?;
    match answer {
        TcpAnswer::Open(socket) => Ok(socket),
        TcpAnswer::Closed => Err(AttestError::Closed { peer: ends.caller }),
        TcpAnswer::Unknown => Err(AttestError::NotLocal { peer: ends.caller, local: ends.ours }),
    }
}

fn differs(what: &'static str, pid: i32, was: u32, is: u32) -> Result<(), AttestError> {
    if was == is {
        return Ok(());
    }
    Err(AttestError::Changed { pid, what, was: was.to_string(), is: is.to_string() })
}

/// The number by which the kernel names a socket of ours.
fn inode(socket: &UnixStream) -> Result<u32, AttestError> {
    let failed = |problem: String| AttestError::failed("read the inode of a connection", problem);
    let status = rustix::fs::fstat(socket).map_err(|problem| failed(problem.to_string()))?;
    u32::try_from(status.st_ino).map_err(|_| failed(format!("{} is no number of a socket", status.st_ino)))
}
