//! Says of each connection how many frames it had and how it ended, when it is over: as a line of JSON on stderr.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use alts_client::{AltsConnectInfo, AltsConnector, AltsIo, AltsStream, ConnectError};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::mpsc,
};
use tonic::{
    codegen::{BoxFuture, Service, http::Uri},
    transport::server::Connected,
};

/// A connection that is watched.
pub(crate) struct Watched<IO: Alts> {
    stream: IO,
    end: Option<End>,
    /// Somebody waits until all of these are gone.
    _open: Option<mpsc::Sender<()>>,
}

enum End {
    ByPeer,
    Here,
    Failed(ErrorKind, String),
}

/// What tonic is given of a connection at either end.
pub(crate) trait Alts: AsyncRead + AsyncWrite + Unpin {
    fn alts(&self) -> &AltsStream<TcpStream>;
}

impl Alts for AltsStream<TcpStream> {
    fn alts(&self) -> &Self {
        self
    }
}

impl Alts for TokioIo<AltsIo<TcpStream>> {
    fn alts(&self) -> &AltsStream<TcpStream> {
        self.inner().get_ref()
    }
}

impl<IO: Alts> Watched<IO> {
    pub(crate) fn new(stream: IO, open: Option<mpsc::Sender<()>>) -> Self {
        Self { stream, end: None, _open: open }
    }

    /// Keeps what has happened first. That a record was wrong is kept whenever it happens.
    fn note(&mut self, end: End) {
        let wrong = matches!(end, End::Failed(ErrorKind::InvalidData | ErrorKind::UnexpectedEof, _));
        if wrong || self.end.is_none() {
            self.end = Some(end);
        }
    }

    fn noted<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| self.note(End::Failed(error.kind(), error.to_string())))
    }
}

impl<IO: Alts> Drop for Watched<IO> {
    fn drop(&mut self) {
        let end = match &self.end {
            Some(End::ByPeer) => "closed by the peer".to_owned(),
            Some(End::Here) => "closed here".to_owned(),
            Some(End::Failed(kind, text)) => format!("{kind:?}: {text}"),
            None => "dropped".to_owned(),
        };
        let alts = self.stream.alts();
        let connection = alts.get_ref().local_addr().map(|address| address.to_string()).unwrap_or_default();
        let (sent, received) = (alts.frames_sent(), alts.frames_received());
        eprintln!("{}", json!({ "connection": connection, "end": end, "sent": sent, "received": received }));
    }
}

impl<IO: Alts> AsyncRead for Watched<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (out.filled().len(), out.remaining());
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, out));
        if read.is_ok() && out.filled().len() == before && room > 0 {
            self.note(End::ByPeer);
        }
        Poll::Ready(self.noted(read))
    }
}

impl<IO: Alts> AsyncWrite for Watched<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        Poll::Ready(self.noted(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bytes));
        Poll::Ready(self.noted(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(self.noted(flushed))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        if shut.is_ok() {
            self.note(End::Here);
        }
        Poll::Ready(self.noted(shut))
    }
}

impl Connected for Watched<AltsStream<TcpStream>> {
    type ConnectInfo = AltsConnectInfo;

    fn connect_info(&self) -> AltsConnectInfo {
        self.stream.connect_info()
    }
}

/// Opens connections that are watched.
#[derive(Clone)]
pub(crate) struct WatchedConnector {
    pub(crate) connector: AltsConnector,
    pub(crate) open: mpsc::Sender<()>,
}

impl Service<Uri> for WatchedConnector {
    type Response = TokioIo<Watched<TokioIo<AltsIo<TcpStream>>>>;
    type Error = ConnectError;
    type Future = BoxFuture<Self::Response, ConnectError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, open) = (self.connector.call(uri), self.open.clone());
        Box::pin(async move {
            let io = TokioIo::new(connecting.await?);
            Ok(TokioIo::new(Watched::new(io, Some(open))))
        })
    }
}
