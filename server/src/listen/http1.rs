//! Serves HTTP/1.1 on a listener, each connection within bounds of its own.

use std::{io, pin::pin, time::Duration};

use axum::Router;
use futures_util::{Stream, StreamExt};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    connection::Connection,
    listener::{Listener, ListenerLimits, of_tcp, of_unix},
};

/// How long a connection may take to send the head of a request, counted from the answer to the last: also how long it
/// may be idle.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// Largest head of a request, in bytes.
const MAX_HEAD: usize = 32 << 10;

/// How long a connection is used, after which no further request is read from it.
const MAX_AGE: Duration = Duration::from_secs(600);

/// How long the last answer of a connection may take.
const LAST_ANSWER: Duration = Duration::from_secs(30);

impl Listener {
    /// Serves HTTP until `stop` resolves and the requests in progress have been answered. Each request has its
    /// [`Caller`](crate::attest::Caller) among its extensions.
    pub(crate) async fn serve_http(
        self,
        router: Router,
        limits: ListenerLimits,
        stop: impl Future<Output = ()>,
    ) {
        match self {
            Self::Tcp(listener) => serve(of_tcp(listener, limits), router, stop).await,
            Self::Unix(listener) => serve(of_unix(listener, limits), router, stop).await,
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    connections: impl Stream<Item = io::Result<Connection<S>>>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let (mut connections, mut stop) = (pin!(connections), pin!(stop));
    let (running, stopped) = watch::channel(());
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(accepted) = connections.next() => {
                if let Ok(connection) = accepted {
                    open.spawn(serve_one(connection, router.clone(), stopped.clone()));
                }
            }
            Some(_) = open.join_next() => {}
        }
    }
    // The channel carries nothing: its sender is dropped to end the connections.
    drop(running);
    while open.join_next().await.is_some() {}
}

async fn serve_one<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    connection: Connection<S>,
    router: Router,
    mut stopped: watch::Receiver<()>,
) {
    let caller = connection.caller().clone();
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(caller.clone());
        router.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE).max_buf_size(MAX_HEAD);
    let mut served = pin!(http.serve_connection(TokioIo::new(connection), service));
    tokio::select! {
        // Who goes away, or breaks the rules of HTTP, gets no answer.
        _ = served.as_mut() => return,
        _ = stopped.changed() => {}
        () = sleep(MAX_AGE) => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = timeout(LAST_ANSWER, served).await;
}
