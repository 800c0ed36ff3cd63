//! Opens the sockets that programs call on, and serves each until the daemon stops.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::{self, fs::FileTypeExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, stream};
use nix::sys::stat::{Mode, fchmod};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket, UnixStream},
    sync::Semaphore,
    time::sleep,
};
use tonic::{service::Routes, transport::Server};

use super::connection::Connection;
use crate::{attest::Caller, config::Address, shares::Shares};

/// Bytes that one stream may send ahead of being read. A handshake is smaller; larger requests wait for room.
const STREAM_WINDOW: u32 = 64 << 10;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// How often a connection is asked whether its other end is still there, and how long it may take to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long nothing is accepted after a failure to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("cannot listen on {address}: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("cannot listen on unix:{}: {source}", path.display())]
    BindUnix { path: PathBuf, source: io::Error },
    #[error("cannot listen on unix:{}: another process answers there", path.display())]
    InUse { path: PathBuf },
    #[error("cannot listen on unix:{}: a file that is no socket stands there; remove it", path.display())]
    NotASocket { path: PathBuf },
}

/// What one listener takes on at once.
#[derive(Clone, Debug)]
pub(crate) struct ListenerLimits {
    /// The users who may connect at all; everybody, if none are given. The connections of others are closed at once.
    pub(crate) users: Option<Arc<[u32]>>,
    pub(crate) connections: usize,
    /// Of these, for one user. Further ones are closed as well.
    pub(crate) connections_of_one_user: usize,
    pub(crate) streams_per_connection: u32,
}

impl ListenerLimits {
    /// Whether a user whom the kernel says to be this one may connect.
    fn admit(&self, uid: Option<u32>) -> bool {
        self.users.as_ref().is_none_or(|users| uid.is_some_and(|uid| users.contains(&uid)))
    }
}

/// An open socket.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Opens the socket of an address. A unix socket that nobody answers on any more is replaced.
    pub(crate) fn open(address: &Address) -> Result<Self, ListenError> {
        match address {
            Address::Tcp(address) => open_tcp(*address)
                .map(Self::Tcp)
                .map_err(|source| ListenError::Bind { address: *address, source }),
            Address::Unix { path, mode } => open_unix(path, *mode).map(Self::Unix),
        }
    }

    /// Serves gRPC until `stop` resolves and the streams in progress have ended.
    pub(crate) async fn serve(
        self,
        services: Routes,
        limits: ListenerLimits,
        stop: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let server = Server::builder()
            .max_concurrent_streams(limits.streams_per_connection)
            .initial_stream_window_size(STREAM_WINDOW)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .add_routes(services);
        match self {
            Self::Tcp(listener) => server.serve_with_incoming_shutdown(of_tcp(listener, limits), stop).await,
            Self::Unix(listener) => {
                server.serve_with_incoming_shutdown(of_unix(listener, limits), stop).await
            }
        }
    }
}

/// The connections of a TCP listener.
pub(super) fn of_tcp(
    listener: TcpListener,
    limits: ListenerLimits,
) -> impl Stream<Item = io::Result<Connection<TcpStream>>> {
    incoming(listener, limits, async |listener: &TcpListener| {
        let (socket, _) = listener.accept().await?;
        // It fails for a connection that is already gone, which then ends by itself.
        let _ = socket.set_nodelay(true);
        let caller = Caller::of_tcp(&socket);
        Ok((socket, caller))
    })
}

/// The connections of a unix socket.
pub(super) fn of_unix(
    listener: UnixListener,
    limits: ListenerLimits,
) -> impl Stream<Item = io::Result<Connection<UnixStream>>> {
    incoming(listener, limits, async |listener: &UnixListener| {
        let (socket, _) = listener.accept().await?;
        let caller = Caller::of_unix(&socket);
        Ok((socket, caller))
    })
}

/// The connections of a listener, at most so many at a time: further ones wait in the kernel until one has closed.
/// They would wait behind those of a user who closes none; so nobody has them all, where they are told apart.
///
/// When none can be accepted, for want of file descriptors above all, it says so and waits a moment: trying again at
/// once would take the time that the other connections need to end.
fn incoming<L, C>(
    listener: L,
    limits: ListenerLimits,
    accept: impl AsyncFn(&L) -> io::Result<(C, Caller)>,
) -> impl Stream<Item = io::Result<Connection<C>>> {
    let places = Arc::new(Semaphore::new(limits.connections));
    let shares = Shares::new(limits.connections_of_one_user);
    let limits = Arc::new(limits);
    let state = (listener, places, shares, accept, limits, 0_u64);
    stream::unfold(state, |(listener, places, shares, accept, limits, mut denied)| async move {
        // The semaphore is never closed.
        let place = places.clone().acquire_owned().await.ok()?;
        loop {
            match accept(&listener).await {
                Ok((_, caller)) if !limits.admit(caller.uid()) => {
                    denied += 1;
                    // Whoever likes to fill the log gets ever fewer lines for it.
                    if denied.is_power_of_two() {
                        tracing::warn!(
                            reason = "connection_denied",
                            uid = caller.uid(),
                            denied,
                            "a connection is closed: its user may not ask here"
                        );
                    }
                }
                Ok((socket, caller)) => match shares.of(caller.user()).try_acquire_owned() {
                    Ok(share) => {
                        let connection = Connection::new(socket, caller, [place, share]);
                        return Some((Ok(connection), (listener, places, shares, accept, limits, denied)));
                    }
                    Err(_) => tracing::warn!(
                        reason = "connections_too_many",
                        uid = caller.user(),
                        "a connection is closed: its user has {} open",
                        limits.connections_of_one_user
                    ),
                },
                Err(problem) if problem.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(problem) => {
                    tracing::error!(reason = "accept_failed", "a connection cannot be accepted: {problem}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

fn open_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart may listen again although connections of the last run are still known to the kernel.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn open_unix(path: &Path, mode: u32) -> Result<UnixListener, ListenError> {
    remove_stale(path)?;
    let bind = || {
        let socket = UnixSocket::new_stream()?;
        // The file comes into being with the mode that its socket has, less the umask: never wider than wished.
        fchmod(&socket, Mode::from_bits_truncate(mode))?;
        socket.bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|source| ListenError::BindUnix { path: path.to_owned(), source })
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket { path: path.to_owned() });
    }
    if unix::net::UnixStream::connect(path).is_ok() {
        return Err(ListenError::InUse { path: path.to_owned() });
    }
    fs::remove_file(path).map_err(|source| ListenError::BindUnix { path: path.to_owned(), source })
}
