//! What the kernel says of processes: CPU time, memory, threads; and which process a target is.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use procfs::{
    CpuInfo, Current, WithCurrentSystemInfo,
    net::TcpState,
    process::{FDTarget, Process, all_processes},
};
use tokio::net::UnixStream;

use crate::{report::Machine, target::Target};

/// One process, which a later one with its id cannot be mistaken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId {
    pid: i32,
    /// In ticks since the boot.
    started: u64,
    /// What it calls itself.
    pub(crate) name: String,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Of all its threads, in itself and in the kernel for it.
    pub(crate) cpu: Duration,
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
    /// Threads that it has.
    pub(crate) threads: u64,
}

/// Why nothing is known of a process.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Unknown {
    #[error("its process cannot be read in /proc: {0}")]
    Unreadable(String),
    #[error("the process {pid} has ended, or is another one now")]
    Ended { pid: i32 },
    #[error("it is on another machine; run there, or name a process by --server-pid")]
    Elsewhere,
    #[error(
        "no process that may be looked at listens at {0}; run as its user or as root, or name it by --server-pid"
    )]
    Hidden(String),
    #[error("several processes listen there: {0}; name one by --server-pid")]
    Several(String),
    #[error("the kernel does not say whose socket it is ({0}); name the process by --server-pid")]
    Nameless(String),
}

impl ProcessId {
    /// The process with this id.
    pub(crate) fn of(pid: i32) -> Result<Self, Unknown> {
        let stat = Process::new(pid).and_then(|process| process.stat()).map_err(unreadable)?;
        Ok(Self { pid, started: stat.starttime, name: stat.comm })
    }

    /// This process.
    pub(crate) fn own() -> Result<Self, Unknown> {
        Self::of(i32::try_from(std::process::id()).map_err(|_| Unknown::Nameless("its id".to_owned()))?)
    }

    /// The process that serves a target.
    pub(crate) async fn serving(target: &Target) -> Result<Self, Unknown> {
        match target {
            Target::Unix(path) => {
                let nameless = |problem: &dyn fmt::Display| Unknown::Nameless(problem.to_string());
                let stream = UnixStream::connect(path).await.map_err(|problem| nameless(&problem))?;
                let peer = stream.peer_cred().map_err(|problem| nameless(&problem))?;
                // A process of another pid namespace has the id 0 here.
                let pid = peer.pid().filter(|pid| *pid > 0).ok_or_else(|| nameless(&"it has no id here"))?;
                Self::of(pid)
            }
            Target::Tcp(address) if address.ip().to_canonical().is_loopback() => {
                let address = *address;
                let found = tokio::task::spawn_blocking(move || listening_at(address)).await;
                found.unwrap_or_else(|problem| Err(Unknown::Nameless(problem.to_string())))
            }
            Target::Tcp(_) => Err(Unknown::Elsewhere),
        }
    }

    /// What it has used so far.
    pub(crate) fn read(&self) -> Result<Reading, Unknown> {
        let stat = Process::new(self.pid).and_then(|process| process.stat()).map_err(unreadable)?;
        if stat.starttime != self.started {
            return Err(Unknown::Ended { pid: self.pid });
        }
        let ticks = stat.utime + stat.stime;
        Ok(Reading {
            cpu: Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64),
            resident: stat.rss_bytes().get(),
            threads: stat.num_threads.unsigned_abs(),
        })
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pid, self.name)
    }
}

impl Machine {
    /// The one that this program runs on.
    pub(crate) fn read() -> Self {
        let info = CpuInfo::current().ok();
        let cpu = info.as_ref().and_then(|info| info.model_name(0)).unwrap_or("unknown").to_owned();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        Self { cpu, cores, kernel }
    }
}

fn unreadable(problem: procfs::ProcError) -> Unknown {
    Unknown::Unreadable(problem.to_string())
}

/// The process that has the socket open which listens at this address of this machine.
fn listening_at(address: SocketAddr) -> Result<ProcessId, Unknown> {
    let sockets = match address {
        SocketAddr::V4(_) => procfs::net::tcp(),
        SocketAddr::V6(_) => procfs::net::tcp6(),
    };
    // A socket that listens on all addresses of IPv6 may serve IPv4 too.
    let others = procfs::net::tcp6().unwrap_or_default();
    let listens = |local: SocketAddr| {
        local.port() == address.port()
            && (local.ip().to_canonical() == address.ip().to_canonical() || is_any(local.ip()))
    };
    let inodes: BTreeSet<u64> = sockets
        .map_err(unreadable)?
        .into_iter()
        .chain(others)
        .filter(|socket| socket.state == TcpState::Listen && listens(socket.local_address))
        .map(|socket| socket.inode)
        .collect();
    let mut holders = all_processes()
        .map_err(unreadable)?
        .flatten()
        .filter(|process| holds(process, &inodes))
        .map(|process| ProcessId::of(process.pid));
    let Some(first) = holders.next() else { return Err(Unknown::Hidden(address.to_string())) };
    let (first, rest) = (first?, holders.flatten().collect::<Vec<_>>());
    if rest.is_empty() {
        return Ok(first);
    }
    let names: Vec<_> = std::iter::once(&first).chain(&rest).map(ToString::to_string).collect();
    Err(Unknown::Several(names.join(", ")))
}

fn is_any(address: IpAddr) -> bool {
    address.to_canonical().is_unspecified()
}

/// Whether a process has one of these sockets open. One that may not be looked at has none.
fn holds(process: &Process, inodes: &BTreeSet<u64>) -> bool {
    let Ok(descriptors) = process.fd() else { return false };
    let mut targets = descriptors.flatten().map(|descriptor| descriptor.target);
    targets.any(|target| matches!(target, FDTarget::Socket(inode) if inodes.contains(&inode)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_of_this_process_leads_to_this_process() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let listener = match TcpListener::bind(address) {
                Ok(listener) => listener,
                Err(problem) => {
                    // A machine without IPv6 cannot show its half.
                    assert!(address.starts_with('['), "{problem}");
                    continue;
                }
            };
            let port = listener.local_addr().expect("it is bound").port();
            let ip = if address.starts_with("[::1]") { "[::1]" } else { "127.0.0.1" };
            let asked = format!("{ip}:{port}").parse().expect("it is an address");
            assert_eq!(listening_at(asked).ok(), ProcessId::own().ok(), "{address}");
        }
    }

    #[test]
    fn where_nobody_listens_nobody_is_found() {
        let port =
            TcpListener::bind("127.0.0.1:0").expect("there are ports").local_addr().expect("bound").port();
        // It is closed now; of another address nothing was ever open.
        let found = listening_at(SocketAddr::from(([127, 200, 3, 4], port)));
        assert!(matches!(found, Err(Unknown::Hidden(_))), "{found:?}");
    }

    #[tokio::test]
    async fn the_socket_of_a_path_leads_to_who_listens_at_it() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("s.sock");
        let _listener = tokio::net::UnixListener::bind(&path).expect("it is free");
        let found = ProcessId::serving(&Target::Unix(path)).await;
        assert_eq!(found.ok(), ProcessId::own().ok());
    }

    #[tokio::test]
    async fn another_machine_has_no_process_here() {
        let foreign = Target::Tcp(SocketAddr::from(([10, 1, 2, 3], 80)));
        assert!(matches!(ProcessId::serving(&foreign).await, Err(Unknown::Elsewhere)));
    }

    #[test]
    fn a_process_that_was_replaced_is_not_read() {
        let own = ProcessId::own().expect("it runs");
        let reading = own.read().expect("it runs");
        assert!(reading.resident > 0 && reading.threads > 0);
        let other = ProcessId { started: own.started + 1, ..own };
        assert!(matches!(other.read(), Err(Unknown::Ended { .. })));
    }
}
