//! Opens the sockets that programs call on, and serves each until the daemon stops.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::{fs::FileTypeExt, fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
};

use alts_proto::gcp::handshaker_service_server::HandshakerServiceServer;
use nix::sys::stat::{Mode, fchmod};
use tokio::net::{UnixListener, UnixSocket};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Server, server::TcpIncoming};

use super::service::{Handshaker, MAX_MESSAGE};
use crate::config::Address;

/// Bytes that one stream may send ahead of being read. A handshake is smaller; larger requests wait for room.
const STREAM_WINDOW: u32 = 64 << 10;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;

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

/// An open socket.
pub(crate) enum Listener {
    Tcp(TcpIncoming),
    Unix(UnixListenerStream),
}

impl Listener {
    /// Opens the socket of an address. A unix socket that nobody answers on any more is replaced.
    pub(crate) fn open(address: &Address) -> Result<Self, ListenError> {
        match address {
            Address::Tcp(address) => match TcpIncoming::bind(*address) {
                Ok(incoming) => Ok(Self::Tcp(incoming.with_nodelay(Some(true)))),
                Err(source) => Err(ListenError::Bind { address: *address, source }),
            },
            Address::Unix { path, mode } => open_unix(path, *mode).map(Self::Unix),
        }
    }

    /// Serves until `stop` resolves and the streams in progress have ended.
    pub(crate) async fn serve(
        self,
        handshaker: Handshaker,
        max_concurrent_streams: u32,
        stop: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let service = HandshakerServiceServer::new(handshaker).max_decoding_message_size(MAX_MESSAGE);
        let server = Server::builder()
            .max_concurrent_streams(max_concurrent_streams)
            .initial_stream_window_size(STREAM_WINDOW);
        match self {
            Self::Tcp(incoming) => server.serve_with_incoming_shutdown(service, incoming, stop).await,
            Self::Unix(incoming) => server.serve_with_incoming_shutdown(service, incoming, stop).await,
        }
    }
}

fn open_unix(path: &Path, mode: u32) -> Result<UnixListenerStream, ListenError> {
    remove_stale(path)?;
    let bind = || {
        let socket = UnixSocket::new_stream()?;
        // The file comes into being with the mode that its socket has, less the umask: never wider than wished.
        fchmod(&socket, Mode::from_bits_truncate(mode))?;
        socket.bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        socket.listen(BACKLOG)
    };
    let bound: io::Result<UnixListener> = bind();
    bound
        .map(UnixListenerStream::new)
        .map_err(|source| ListenError::BindUnix { path: path.to_owned(), source })
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket { path: path.to_owned() });
    }
    if UnixStream::connect(path).is_ok() {
        return Err(ListenError::InUse { path: path.to_owned() });
    }
    fs::remove_file(path).map_err(|source| ListenError::BindUnix { path: path.to_owned(), source })
}
