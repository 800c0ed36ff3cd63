//! Accepted connections: handshakes side by side, and a stream of those that went well.

use std::{
    any::Any,
    fmt,
    io::{self, ErrorKind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::{JoinError, JoinSet},
    time::Sleep,
};
use tokio_stream::Stream;

use crate::{AltsAcceptor, AltsStream, Error};

/// How many connections may be accepted and not yet handed on. Each holds a file descriptor; most are idle peers.
const MAX_UNFINISHED: usize = 1_024;

/// How long accepting pauses after a first failure, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A connection, and a name of its other end for logs.
pub type Accepted<IO> = io::Result<(IO, String)>;

/// Where connections come from.
pub trait Listener: Unpin {
    /// A connection.
    type Io;

    /// The next connection; `None` when there will be none.
    ///
    /// # Errors
    /// When accepting failed; it is tried again after a pause, unless the error says that there is nothing to listen
    /// to ([`ErrorKind::InvalidInput`], [`ErrorKind::NotConnected`]).
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Accepted<Self::Io>>>;
}

/// A connection that was accepted and came to nothing.
#[derive(Debug)]
#[non_exhaustive]
pub struct FailedHandshake<'a> {
    /// The other end, as the [`Listener`] names it: for TCP its address.
    pub peer: &'a str,
    /// Which side refused, and why.
    pub error: &'a Error,
}

type Observer = Arc<dyn Fn(&FailedHandshake<'_>) + Send + Sync>;

/// The connections of a listener, after their handshakes: what `Server::serve_with_incoming` of tonic takes.
///
/// Handshakes are done side by side, in tasks of their own, so that a slow peer keeps nobody waiting; as many at once as
/// the [`Handshaker`](crate::Handshaker) allows, within its time. A failed one ends its connection alone, and is logged:
/// at level warn, but at debug when the peer has closed the connection without a word, as port scans and health checks do.
/// When 1,024 connections ([`Self::max_unfinished`]) are neither done nor handed on, no more are accepted.
///
/// When accepting fails, as it does without file descriptors, it goes on after a pause of at most 1 s. Dropped, it ends
/// all handshakes under way and closes the listener.
pub struct AltsIncoming<L: Listener> {
    /// `None` when it has ended.
    listener: Option<L>,
    acceptor: AltsAcceptor,
    handshakes: JoinSet<Option<AltsStream<L::Io>>>,
    max_unfinished: usize,
    observer: Option<Observer>,
    pause: Pause,
}

impl<L: Listener> AltsIncoming<L> {
    /// The connections of a [`TcpListener`], a [`UnixListener`], or a [`Listener`] of the program's own.
    pub fn new(listener: L, acceptor: AltsAcceptor) -> Self {
        Self {
            listener: Some(listener),
            acceptor,
            handshakes: JoinSet::new(),
            max_unfinished: MAX_UNFINISHED,
            observer: None,
            pause: Pause::default(),
        }
    }

    /// How many connections may be accepted and not yet handed on; at least one.
    #[must_use]
    pub fn max_unfinished(self, connections: usize) -> Self {
        Self { max_unfinished: connections.max(1), ..self }
    }

    /// Tells `observer` of each connection that came to nothing, to count them. It must not block.
    #[must_use]
    pub fn on_failure(self, observer: impl Fn(&FailedHandshake<'_>) + Send + Sync + 'static) -> Self {
        Self { observer: Some(Arc::new(observer)), ..self }
    }
}

impl<S, IO> AltsIncoming<StreamListener<S>>
where
    S: Stream<Item = io::Result<IO>> + Unpin,
{
    /// What comes out of a stream, such as tonic's `TcpIncoming`, whose connections have no name in logs.
    pub fn from_stream(stream: S, acceptor: AltsAcceptor) -> Self {
        Self::new(StreamListener(stream), acceptor)
    }
}

impl<L> Stream for AltsIncoming<L>
where
    L: Listener,
    L::Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Item = io::Result<AltsStream<L::Io>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            // Those that are done go first: new ones must not keep them waiting.
            while let Poll::Ready(Some(done)) = self.handshakes.poll_join_next(cx) {
                if let Some(stream) = done.unwrap_or_else(panicked) {
                    return Poll::Ready(Some(Ok(stream)));
                }
            }
            if self.handshakes.len() >= self.max_unfinished {
                return Poll::Pending;
            }
            let Some(accepted) = ready!(self.poll_accept(cx)) else {
                return if self.handshakes.is_empty() { Poll::Ready(None) } else { Poll::Pending };
            };
            match accepted {
                Ok((io, peer)) => self.begin(io, peer),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl<L> AltsIncoming<L>
where
    L: Listener,
    L::Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// The next connection. An error is one that does not go away; it is the last that comes.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Accepted<L::Io>>> {
        loop {
            ready!(self.pause.poll_over(cx));
            let Some(listener) = &mut self.listener else { return Poll::Ready(None) };
            match ready!(listener.poll_accept(cx)) {
                Some(Ok(accepted)) => {
                    self.pause = Pause::default();
                    return Poll::Ready(Some(Ok(accepted)));
                }
                Some(Err(error)) if is_final(&error) => {
                    self.listener = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "accepting a connection failed, trying again after a pause");
                    self.pause.begin();
                }
                None => self.listener = None,
            }
        }
    }

    fn begin(&mut self, io: L::Io, peer: String) {
        let (acceptor, observer) = (self.acceptor.clone(), self.observer.clone());
        self.handshakes.spawn(async move {
            match acceptor.accept(io).await {
                Ok(stream) => Some(stream),
                Err(error) => {
                    tell(&peer, &error, observer.as_deref());
                    None
                }
            }
        });
    }
}

impl<L: Listener> fmt::Debug for AltsIncoming<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AltsIncoming")
            .field("unfinished", &self.handshakes.len())
            .field("max_unfinished", &self.max_unfinished)
            .finish_non_exhaustive()
    }
}

impl Listener for TcpListener {
    type Io = TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Accepted<TcpStream>>> {
        let accepted = ready!(Self::poll_accept(self, cx)).map(|(io, peer)| {
            // Without it small answers wait for the peer's acknowledgement; where it fails, the connection has gone.
            let _ = io.set_nodelay(true);
            (io, peer.to_string())
        });
        Poll::Ready(Some(accepted))
    }
}

impl Listener for UnixListener {
    type Io = UnixStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Accepted<UnixStream>>> {
        let accepted = ready!(Self::poll_accept(self, cx));
        Poll::Ready(Some(accepted.map(|(io, _)| (io, "unix".to_owned()))))
    }
}

/// A stream of connections as a [`Listener`].
#[derive(Debug)]
pub struct StreamListener<S>(S);

impl<S, IO> Listener for StreamListener<S>
where
    S: Stream<Item = io::Result<IO>> + Unpin,
{
    type Io = IO;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Accepted<IO>>> {
        let accepted = ready!(Pin::new(&mut self.0).poll_next(cx));
        Poll::Ready(accepted.map(|accepted| accepted.map(|io| (io, "unnamed".to_owned()))))
    }
}

/// Logs a failed handshake, and has it counted.
fn tell(peer: &str, error: &Error, observer: Option<&(dyn Fn(&FailedHandshake<'_>) + Send + Sync)>) {
    if let Error::PeerClosed { received: 0 } = error {
        // A port scan or a health check of TCP, which may come every second.
        tracing::debug!(peer, code = error.code(), "a connection came to nothing, its peer has sent nothing");
    } else {
        tracing::warn!(
            peer,
            refused_by = ?error.refused_by(),
            code = error.code(),
            %error,
            "a connection came to nothing, its handshake failed"
        );
    }
    if let Some(observer) = observer {
        observer(&FailedHandshake { peer, error });
    }
}

/// A judge or an observer of the program panicked: that ends one connection.
fn panicked<T>(error: JoinError) -> Option<T> {
    if error.is_cancelled() {
        return None;
    }
    let what = error.try_into_panic().ok().and_then(|panic| text_of(&*panic));
    tracing::error!(what, "a connection came to nothing, its handshake panicked");
    None
}

fn text_of(panic: &(dyn Any + Send)) -> Option<String> {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
}

/// Whether there is nothing to listen to. Everything else is a matter of the moment, or of one peer: on Linux also
/// [`ErrorKind::Unsupported`], which accepting passes on from a connection that is gone.
fn is_final(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotConnected)
}

/// The wait after a failure to accept, twice as long each time.
#[derive(Default)]
struct Pause {
    last: Option<Duration>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pause {
    fn begin(&mut self) {
        let length = longer(self.last);
        self.last = Some(length);
        self.sleep = Some(Box::pin(tokio::time::sleep(length)));
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        }
        Poll::Ready(())
    }
}

fn longer(last: Option<Duration>) -> Duration {
    last.map_or(FIRST_PAUSE, |last| (last * 2).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests;
