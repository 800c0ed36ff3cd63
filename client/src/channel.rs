//! The connector as tonic's `Endpoint` and hyper's client take it: from an address to a connection.

use std::{
    error,
    fmt::{self, Display},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{Uri, http::uri::Scheme, rt};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{AltsConnector, AltsIo, Error};

/// How long a name may be looked up and its addresses be tried: as long as gRPC gives a connection.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

type BoxError = Box<dyn error::Error + Send + Sync>;

/// A connection on its way.
pub type Connecting<IO> = Pin<Box<dyn Future<Output = Result<AltsIo<IO>, ConnectError>> + Send>>;

/// Why a channel has no connection. Its text has the whole cause, since a `tonic::Status` shows the first text alone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address names no host and port.
    #[error("{0:?} is no target, write HOST:PORT")]
    Target(String),
    /// The transport below ALTS could not be opened.
    #[error("no connection to {target}: {}", Causes(&**source))]
    Transport {
        /// What was called, `host:port`.
        target: String,
        /// What the transport says.
        source: BoxError,
    },
    /// The transport below ALTS took too long.
    #[error("no connection to {target} within {} s", OPEN_TIMEOUT.as_secs())]
    Timeout {
        /// What was called, `host:port`.
        target: String,
    },
    /// There was a connection, and no ALTS over it.
    #[error("no ALTS with {target}: {source}")]
    Handshake {
        /// What was called, `host:port`.
        target: String,
        /// Which side refused, and why.
        source: Error,
    },
}

impl ConnectError {
    /// A stable code of the kind of error, in snake case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Target(_) => "target_invalid",
            Self::Transport { .. } => "transport_failed",
            Self::Timeout { .. } => "transport_timeout",
            Self::Handshake { source, .. } => source.code(),
        }
    }
}

/// Opens TCP, and does a handshake on it with the URI's `host:port` as the target name. All addresses of a name are
/// tried, within 20 s; the handshake has the time that the [`Handshaker`](crate::Handshaker) gives it.
impl Service<Uri> for AltsConnector {
    type Response = AltsIo<TcpStream>;
    type Error = ConnectError;
    type Future = Connecting<TcpStream>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let target = target_name(&uri)?;
            let io = open(tcp().call(uri), &target).await?;
            connector.protect(io.into_inner(), target).await
        })
    }
}

/// A connector over a transport of the program's own: a unix socket, a proxy, memory.
#[derive(Clone)]
pub struct AltsConnectorOver<C> {
    connector: AltsConnector,
    transport: C,
}

impl AltsConnector {
    /// The same over what `transport` opens, such as `tower::service_fn` of a function that connects a unix socket.
    /// The target name is still the `host:port` of the URI.
    pub fn over<C>(self, transport: C) -> AltsConnectorOver<C> {
        AltsConnectorOver { connector: self, transport }
    }

    async fn protect<IO>(self, io: IO, target: String) -> Result<AltsIo<IO>, ConnectError>
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        match self.connect(io, &target).await {
            Ok(stream) => Ok(AltsIo::new(stream)),
            Err(source) => Err(ConnectError::Handshake { target, source }),
        }
    }
}

impl<C> Service<Uri> for AltsConnectorOver<C>
where
    C: Service<Uri>,
    C::Response: rt::Read + rt::Write + Unpin + Send + 'static,
    C::Error: Into<BoxError> + 'static,
    C::Future: Send + 'static,
{
    type Response = AltsIo<TokioIo<C::Response>>;
    type Error = ConnectError;
    type Future = Connecting<TokioIo<C::Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        // Nobody is called yet whom the text could name.
        let failed = |error: C::Error| ConnectError::Transport {
            target: "any target".to_owned(),
            source: error.into(),
        };
        self.transport.poll_ready(cx).map_err(failed)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let target = match target_name(&uri) {
            Ok(target) => target,
            Err(error) => return Box::pin(async { Err(error) }),
        };
        let (connector, opening) = (self.connector.clone(), self.transport.call(uri));
        Box::pin(async move {
            let io = open(opening, &target).await?;
            connector.protect(TokioIo::new(io), target).await
        })
    }
}

/// The `host:port` of an address; the port may be left out where the scheme has one.
fn target_name(uri: &Uri) -> Result<String, ConnectError> {
    let port = match (uri.port_u16(), uri.scheme()) {
        (Some(port), _) => Some(port),
        (None, Some(scheme)) if *scheme == Scheme::HTTPS => Some(443),
        (None, Some(scheme)) if *scheme == Scheme::HTTP => Some(80),
        (None, _) => None,
    };
    match (uri.host(), port) {
        (Some(host), Some(port)) if !host.is_empty() => Ok(format!("{host}:{port}")),
        _ => Err(ConnectError::Target(uri.to_string())),
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Shared out among the addresses, so that one which does not answer leaves time for the next.
    tcp.set_connect_timeout(Some(OPEN_TIMEOUT));
    tcp
}

async fn open<IO, E: Into<BoxError>>(
    opening: impl Future<Output = Result<IO, E>>,
    target: &str,
) -> Result<IO, ConnectError> {
    match tokio::time::timeout(OPEN_TIMEOUT, opening).await {
        Ok(Ok(io)) => Ok(io),
        Ok(Err(error)) => Err(ConnectError::Transport { target: target.to_owned(), source: error.into() }),
        Err(_) => Err(ConnectError::Timeout { target: target.to_owned() }),
    }
}

/// An error with all that it comes from, in one line. Says nothing twice: some errors repeat their source.
struct Causes<'a>(&'a (dyn error::Error + 'static));

impl Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let text = error.to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said += &text;
            }
            next = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_target_name_is_host_and_port() {
        let cases = [
            ("http://greeter.example:50051", Some("greeter.example:50051")),
            ("https://greeter.example:50051/path?query", Some("greeter.example:50051")),
            ("greeter.example:50051", Some("greeter.example:50051")),
            ("http://[::1]:50051", Some("[::1]:50051")),
            ("https://greeter.example", Some("greeter.example:443")),
            ("http://greeter.example", Some("greeter.example:80")),
            ("http://user@greeter.example:1", Some("greeter.example:1")),
            ("ftp://greeter.example", None),
            ("greeter.example", None),
            ("/path", None),
        ];
        for (uri, expected) in cases {
            let found = target_name(&Uri::from_static(uri));
            assert_eq!(found.as_deref().ok(), expected, "{uri}");
            if let Err(error) = found {
                assert_eq!(error.code(), "target_invalid");
                let text = error.to_string();
                assert!(text.contains(uri) && text.ends_with("is no target, write HOST:PORT"), "{text}");
            }
        }
    }

    #[test]
    fn an_error_names_all_its_causes_once() {
        #[derive(Debug, thiserror::Error)]
        enum Repeats {
            #[error("outer: {0}")]
            Outer(#[source] io::Error),
            #[error("outer")]
            Silent(#[source] io::Error),
        }
        let inner = || io::Error::other("inner");
        for error in [Repeats::Outer(inner()), Repeats::Silent(inner())] {
            assert_eq!(Causes(&error).to_string(), "outer: inner");
        }
    }
}
