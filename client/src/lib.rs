//! ALTS for Rust programs: connections that are encrypted, and whose two ends know each other's service account, byte for
//! byte as gRPC's C++, Go and Java stacks make them.
//!
//! The handshake is done by the handshaker of the node (altsd): this crate carries its bytes to the peer and back, and
//! encrypts what is sent afterwards. It holds no certificate, and decides nothing about identities by itself but what the
//! program asks it to ([`AltsConnector::authorize`], [`AltsAcceptor::authorize`]).
//!
//! Read [`AltsConnector`] and [`AltsStream`] first. Whole programs are in the crate's `examples/`.
//!
//! # A client of tonic
//! ```no_run
//! use alts_client::{AltsConnector, Handshaker};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let handshaker = Handshaker::new("unix:/run/altsd/handshaker.sock")?;
//! let connector = AltsConnector::new(handshaker).target_service_account("greeter@prod.example.com");
//! let channel: tonic::transport::Channel = connector.channel("greeter.example.com:50051")?;
//! // GreeterClient::new(channel).say_hello(…)
//! # Ok(())
//! # }
//! ```
//! The channel connects when it is first used. When it cannot, the `Status` of the call is `UNAVAILABLE`, its message says
//! which side refused and why, and its `source()` leads to the [`ConnectError`]. With an endpoint of the program's own
//! ([`AltsConnector::endpoint`]) and `connect_with_connector`, the error's own text is "transport error" and the reason is
//! in its `source()`; `tonic::Status::from_error` makes a `Status` of it as above.
//!
//! A server's handshaker or program ([`AltsAcceptor::authorize`]) that refuses this client most often does so when the
//! client's own handshake is done and its first call is on its way. Of a refusal by the server's side the first call of a
//! connection fails with `UNAVAILABLE`, `UNKNOWN` or `CANCELLED`, depending on a race: programs should treat the three
//! alike there. Unless it is `UNAVAILABLE` as above, the message is tonic's "transport error" or the like, and the innermost
//! `source()` most often says that the server may not accept this program. Servers that want their callers to know let
//! them in, and answer them by [`AllowedPeers`].
//!
//! # A server of tonic
//! ```no_run
//! use alts_client::{AllowedPeers, AltsAcceptor, AltsIncoming, Handshaker};
//! use tonic::{service::Routes, transport::Server};
//!
//! # async fn serve(services: Routes) -> Result<(), Box<dyn std::error::Error>> {
//! let acceptor = AltsAcceptor::new(Handshaker::new("unix:/run/altsd/handshaker.sock")?);
//! let listener = tokio::net::TcpListener::bind("[::]:50051").await?;
//! // One service alone: GreeterServer::with_interceptor(greeter, AllowedPeers::new([…]))
//! let allowed = tonic::service::InterceptorLayer::new(AllowedPeers::new(["orders@prod.example.com"]));
//! Server::builder()
//!     .layer(allowed)
//!     .add_routes(services)
//!     .serve_with_incoming(AltsIncoming::new(listener, acceptor))
//!     .await?;
//! # Ok(())
//! # }
//! ```
//! A service knows its caller by [`AltsAuthInfo::of`]`(request.extensions())`. `request.remote_addr()` knows nothing of
//! connections other than tonic's own: the address is in [`AltsConnectInfo`].
//!
//! # Plain tokio
//! ```no_run
//! use alts_client::{AltsAcceptor, AltsConnector, Handshaker};
//! use tokio::{io::{AsyncReadExt as _, AsyncWriteExt as _}, net::{TcpListener, TcpStream}};
//!
//! # async fn both() -> Result<(), Box<dyn std::error::Error>> {
//! let handshaker = Handshaker::new("unix:/run/altsd/handshaker.sock")?;
//!
//! // One end; a server of many peers takes an `AltsIncoming`.
//! let (io, _) = TcpListener::bind("[::]:7000").await?.accept().await?;
//! let mut stream = AltsAcceptor::new(handshaker.clone()).accept(io).await?;
//! stream.write_all(stream.auth_info().clone().peer_service_account().as_bytes()).await?;
//! stream.shutdown().await?;
//!
//! // The other.
//! let target = "echo.example.com:7000";
//! let io = TcpStream::connect(target).await?;
//! let mut stream = AltsConnector::new(handshaker).connect(io, target).await?;
//! let mut account = String::new();
//! stream.read_to_string(&mut account).await?;
//! # Ok(())
//! # }
//! ```
//! [`AltsConnector`] is also what hyper-util's client takes, and the server's account is in the extensions of its
//! responses.
//!
//! # Runtimes
//! A [`Handshaker`], a connector and an acceptor can be made anywhere; handshakes and channels need a tokio runtime with
//! I/O and timers (`enable_all`).
//!
//! # Features
//! `tonic` (default): [`AltsConnector::channel`], [`AllowedPeers`], and what puts the peer into the extensions of requests.

pub mod record;

mod accept;
mod address;
mod alts_io;
mod auth_info;
mod channel;
mod connect;
#[cfg(feature = "tonic")]
mod connect_info;
mod conversation;
#[cfg(feature = "tonic")]
mod endpoint;
mod error;
mod established;
mod handshake;
mod handshaker;
mod incoming;
#[cfg(feature = "tonic")]
mod interceptor;
mod request;
mod stream;

pub use accept::AltsAcceptor;
pub use alts_io::AltsIo;
pub use auth_info::{AltsAuthInfo, SecurityLevel};
pub use channel::{AltsConnectorOver, ConnectError, Connecting};
pub use connect::AltsConnector;
#[cfg(feature = "tonic")]
pub use connect_info::AltsConnectInfo;
pub use error::{AddressError, Error, RefusedBy, RpcVersions, WaitingFor};
pub use handshaker::{Handshaker, HandshakerBuilder};
pub use incoming::{Accepted, AltsIncoming, FailedHandshake, Listener, StreamListener};
#[cfg(feature = "tonic")]
pub use interceptor::AllowedPeers;
pub use record::Side;
pub use stream::AltsStream;
/// The code of [`Error::Refused`].
pub use tonic::Code;
