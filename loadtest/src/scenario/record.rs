//! One operation is one write on a connection that was made by one handshake; both ends are in this process.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use alts_client::{AddressError, AltsAcceptor, AltsStream, Handshaker};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinHandle,
};

use super::{
    counted::Counted,
    handshake::{Service, failure},
};
use crate::sample::{Failure, Moved};

/// Bytes that a connection in memory holds each way.
const DUPLEX: usize = 256 * 1024;

/// Bytes that the other end reads at once.
const READ: usize = 256 * 1024;

/// What a frame has beside its payload: its length, its type and a tag.
const FRAME_OVERHEAD: u64 = 4 + 4 + 16;

/// Over what the frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Over {
    /// A connection in memory
    Duplex,
    /// TCP over loopback
    Tcp,
    /// A pair of unix sockets
    Unix,
}

/// Writes on connections, each of which is of one worker.
pub(crate) struct Records {
    settings: Arc<Settings>,
    channels: Vec<Handshaker>,
}

/// How connections are made and used.
pub(crate) struct Settings {
    pub(crate) service: Service,
    pub(crate) over: Over,
    /// Bytes of one write.
    pub(crate) write_size: usize,
    /// Whether what is written is sent back, and waited for.
    pub(crate) echo: bool,
    /// The largest frame that both ends take, in bytes; otherwise what the client crate thinks best.
    pub(crate) frame_size: Option<u32>,
}

/// Writes on one connection.
pub(crate) struct Worker {
    settings: Arc<Settings>,
    channel: Handshaker,
    written: Vec<u8>,
    read: Vec<u8>,
    open: Option<Open>,
}

/// A byte stream of any kind.
pub(crate) trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Pipe for IO {}

/// A connection, and what of it is counted.
struct Open {
    stream: AltsStream<Counted<Box<dyn Pipe>>>,
    /// Bytes on the wire, of all that this end wrote.
    wire: Arc<AtomicU64>,
    /// Payload that this end wrote.
    payload: u64,
    /// Reads what comes, and in the end says how many bytes that were.
    peer: JoinHandle<io::Result<u64>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.peer.abort();
    }
}

impl Records {
    /// Over connections made by so many connections to the service.
    pub(crate) fn new(settings: Settings, connections: usize) -> Result<Self, AddressError> {
        let channels = settings.service.channels(connections.max(1))?;
        Ok(Self { settings: Arc::new(settings), channels })
    }

    pub(crate) fn worker(&self, index: usize) -> Worker {
        Worker {
            settings: self.settings.clone(),
            channel: self.channels[index % self.channels.len()].clone(),
            // Its content does not matter to what is measured.
            written: vec![0x5a; self.settings.write_size],
            read: vec![0; if self.settings.echo { self.settings.write_size } else { 0 }],
            open: None,
        }
    }

    /// How connections are made.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.clone()
    }

    /// The connections to the service.
    pub(crate) fn channels(&self) -> &[Handshaker] {
        &self.channels
    }
}

impl Worker {
    pub(crate) fn reset(&mut self) {
        self.open = None;
    }

    /// Writes once; with the first write comes the handshake.
    pub(crate) async fn operate(&mut self) -> Result<Moved, Failure> {
        let open = match &mut self.open {
            Some(open) => open,
            place => place.insert(self.settings.open(&self.channel).await?),
        };
        let before = open.wire.load(Ordering::Relaxed);
        let written = async {
            open.stream.write_all(&self.written).await?;
            open.stream.flush().await?;
            open.stream.read_exact(&mut self.read).await
        };
        written.await.map_err(|problem| broken(&problem))?;
        let payload = self.written.len() as u64;
        open.payload += payload;
        let overhead = (open.wire.load(Ordering::Relaxed) - before).saturating_sub(payload);
        Ok(Moved { bytes: payload, frames: overhead / FRAME_OVERHEAD })
    }

    /// Closes the connection, and holds what has come against what was written.
    pub(crate) async fn finish(&mut self) -> Result<(), Failure> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.stream.shutdown().await.map_err(|problem| broken(&problem))?;
        let ended =
            (&mut open.peer).await.map_err(|problem| Failure::new("peer_ended", problem.to_string()))?;
        match ended.map_err(|problem| broken(&problem))? {
            arrived if arrived == open.payload => Ok(()),
            arrived => {
                let text = format!("of {} bytes that were written {arrived} have come", open.payload);
                Err(Failure::new("bytes_lost", text))
            }
        }
    }
}

impl Settings {
    async fn open(&self, channel: &Handshaker) -> Result<Open, Failure> {
        let (near, far) = pipe(self.over).await.map_err(|problem| broken(&problem))?;
        let wire = Arc::new(AtomicU64::new(0));
        let (stream, other) = self.handshake(channel, Counted::new(near, wire.clone()), far).await?;
        let size = self.write_size;
        let peer = if self.echo { tokio::spawn(send_back(other, size)) } else { tokio::spawn(take(other)) };
        Ok(Open { stream, wire, payload: 0, peer })
    }

    /// Makes a connection of both ends of a byte stream.
    pub(crate) async fn handshake<N: Pipe, F: Pipe>(
        &self,
        channel: &Handshaker,
        near: N,
        far: F,
    ) -> Result<(AltsStream<N>, AltsStream<F>), Failure> {
        let mut connector = self.service.connector(channel.clone());
        let mut acceptor = AltsAcceptor::new(channel.clone());
        if let Some(bytes) = self.frame_size {
            (connector, acceptor) = (connector.max_frame_size(bytes), acceptor.max_frame_size(bytes));
        }
        let name = &self.service.target_name;
        tokio::try_join!(connector.connect(near, name), acceptor.accept(far)).map_err(failure)
    }
}

/// Both ends of a byte stream.
pub(crate) async fn pipe(over: Over) -> io::Result<(Box<dyn Pipe>, Box<dyn Pipe>)> {
    Ok(match over {
        Over::Duplex => {
            let (near, far) = tokio::io::duplex(DUPLEX);
            (Box::new(near), Box::new(far))
        }
        Over::Unix => {
            let (near, far) = UnixStream::pair()?;
            (Box::new(near), Box::new(far))
        }
        Over::Tcp => {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let address = listener.local_addr()?;
            let (near, (far, _)) = tokio::try_join!(TcpStream::connect(address), listener.accept())?;
            near.set_nodelay(true)?;
            far.set_nodelay(true)?;
            (Box::new(near), Box::new(far))
        }
    })
}

/// Reads until the end.
async fn take(mut stream: impl AsyncRead + Unpin) -> io::Result<u64> {
    let (mut buffer, mut taken) = (vec![0; READ], 0);
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(taken),
            read => taken += read as u64,
        }
    }
}

/// Sends back what it reads, when so many bytes of it are there.
async fn send_back(mut stream: impl AsyncRead + AsyncWrite + Unpin, size: usize) -> io::Result<u64> {
    let (mut buffer, mut taken) = (vec![0; size], 0);
    loop {
        match stream.read_exact(&mut buffer).await {
            Ok(_) => taken += size as u64,
            Err(problem) if problem.kind() == io::ErrorKind::UnexpectedEof => return Ok(taken),
            Err(problem) => return Err(problem),
        }
        stream.write_all(&buffer).await?;
        stream.flush().await?;
    }
}

fn broken(problem: &io::Error) -> Failure {
    Failure::new("connection_broken", problem.to_string())
}
