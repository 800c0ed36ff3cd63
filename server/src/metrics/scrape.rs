//! Answers Prometheus over HTTP, a few connections at a time: everybody on the network may be able to connect.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{Request, Response, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};

/// Connections at once. Further ones wait until one has ended.
const MAX_CONNECTIONS: usize = 16;

/// How long a connection lasts, whatever it does: one answer takes far less.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long nothing is accepted after a failure to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers every request with what `render` gives. A connection ends after `patience` at the latest.
pub(super) async fn serve(
    listener: TcpListener,
    patience: Duration,
    render: impl Fn() -> String + Clone + Send + Sync + 'static,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok((socket, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let render = render.clone();
        tokio::spawn(async move {
            let service = service_fn(async |_: Request<Incoming>| {
                let mut response = Response::new(render());
                let text = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, text);
                Ok::<_, Infallible>(response)
            });
            let connection =
                http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(socket), service);
            // Who does not ask, or does not listen, gets no answer.
            let _ = timeout(patience, connection).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    #[tokio::test]
    async fn who_connects_and_does_not_ask_keeps_nobody_from_it_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let address = listener.local_addr().expect("it is bound");
        let serving = tokio::spawn(serve(listener, Duration::from_millis(50), || "x 1\n".to_owned()));
        let mut silent = Vec::new();
        for _ in 0..2 * MAX_CONNECTIONS {
            silent.push(TcpStream::connect(address).await.expect("it listens"));
        }
        let mut asking = TcpStream::connect(address).await.expect("it listens");
        asking.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("it is taken");
        let mut answer = String::new();
        asking.read_to_string(&mut answer).await.expect("it is text");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nx 1\n"), "{answer}");
        for mut silent in silent {
            assert_eq!(silent.read(&mut [0]).await.expect("it is closed"), 0);
        }
        serving.abort();
    }
}
