//! The handshaker of the node.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alts_proto::gcp::handshaker_service_client::HandshakerServiceClient;
use tokio::{
    runtime::{self, Handle},
    sync::{Semaphore, SemaphorePermit},
};
use tonic::transport::Channel;
use tower_service::Service as _;

use crate::{AddressError, Side, address::Address};

/// How this library names itself to the handshaker.
const USER_AGENT: &str = concat!("alts-client/", env!("CARGO_PKG_VERSION"));

/// Longest response that is taken, in bytes: more than the longest flight of a handshake and its result.
const MAX_RESPONSE: usize = 1 << 20;

/// How long a handshake may take when the program does not say it. As gRPC's.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How many handshakes are under way at once on each side when the program does not say it. As gRPC's.
const MAX_CONCURRENT: usize = 100;

/// The handshaker of this node, shared by all that connects and accepts in this program. Cheap to clone.
///
/// All clones share one connection to it, which is made by the first handshake and made again when it has broken, or when
/// a handshake is done in another tokio runtime than the last one. A program that does handshakes in several runtimes at
/// once makes a handshaker for each.
///
/// # Where it may be
/// The handshaker proves to a program who is at the other end, and gives it the keys of its connections. Both travel in
/// plaintext and unauthenticated, so that whoever is between the two can read all connections, and be anybody on them.
/// Therefore the handshaker is asked over a unix socket, or at a loopback or link-local address, or at `localhost` or
/// `metadata.google.internal`, of which only loopback and link-local addresses are used; any other address is an error
/// unless the program calls [`allow_remote`](HandshakerBuilder::allow_remote). Proxies that the environment names are not used.
#[derive(Clone)]
pub struct Handshaker(Arc<Shared>);

struct Shared {
    address: Address,
    /// Made late, for it needs the runtime that handshakes are done in, and ends with that.
    channel: Mutex<Option<(runtime::Id, Channel)>>,
    timeout: Duration,
    /// One for each side: a program that connects to itself needs a place on both for one handshake.
    client_places: Semaphore,
    server_places: Semaphore,
}

impl Handshaker {
    /// The one at `address`, `HOST:PORT` or `unix:/path`, with the usual limits. Nothing is connected before the first
    /// handshake.
    ///
    /// # Errors
    /// When it is no such address, or may be on another machine.
    pub fn new(address: &str) -> Result<Self, AddressError> {
        Self::builder(address).build()
    }

    /// The same with other limits.
    pub fn builder(address: &str) -> HandshakerBuilder {
        HandshakerBuilder {
            address: address.to_owned(),
            allow_remote: false,
            timeout: TIMEOUT,
            max_concurrent: MAX_CONCURRENT,
        }
    }

    /// Where it is, as the program gave it.
    pub(crate) fn address(&self) -> &Address {
        &self.0.address
    }

    /// How long a handshake may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// Waits until one more handshake may be under way on this side.
    pub(crate) async fn place(&self, side: Side) -> SemaphorePermit<'_> {
        let places = match side {
            Side::Client => &self.0.client_places,
            Side::Server => &self.0.server_places,
        };
        places.acquire().await.expect("nothing closes it")
    }

    /// What opens one RPC. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When no connection can be made any more.
    pub(crate) async fn client(&self) -> Result<HandshakerServiceClient<Channel>, tonic::transport::Error> {
        let mut channel = self.channel();
        // The client of the RPC would make a status of it, which cannot be told from one that the handshaker sent.
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await?;
        Ok(HandshakerServiceClient::new(channel).max_decoding_message_size(MAX_RESPONSE))
    }

    /// The channel of this runtime.
    fn channel(&self) -> Channel {
        let current = Handle::current().id();
        let mut made = self.0.channel.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((runtime, channel)) = &*made
            && *runtime == current
        {
            return channel.clone();
        }
        let channel = self.0.address.channel(USER_AGENT, self.0.timeout);
        *made = Some((current, channel.clone()));
        channel
    }
}

impl fmt::Debug for Handshaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handshaker").field(&self.0.address.to_string()).finish()
    }
}

/// Makes a [`Handshaker`].
#[derive(Clone, Debug)]
pub struct HandshakerBuilder {
    address: String,
    allow_remote: bool,
    timeout: Duration,
    max_concurrent: usize,
}

impl HandshakerBuilder {
    /// How long one handshake may take, the peer's part and waiting for a place included. Default: 20 s, as gRPC's.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// How many handshakes may be under way at once, on each side of its own; others wait. At least 1. Default: 100, as
    /// gRPC's.
    pub fn max_concurrent(self, handshakes: usize) -> Self {
        Self { max_concurrent: handshakes.clamp(1, Semaphore::MAX_PERMITS), ..self }
    }

    /// Whether the handshaker may be on another machine. Only where nobody can listen, or answer in its place, on the way
    /// there: see [`Handshaker`]. Default: no.
    pub fn allow_remote(self, allow: bool) -> Self {
        Self { allow_remote: allow, ..self }
    }

    /// The handshaker.
    ///
    /// # Errors
    /// When the address is none, or may be on another machine.
    pub fn build(self) -> Result<Handshaker, AddressError> {
        let address = Address::parse(&self.address, self.allow_remote)?;
        Ok(Handshaker(Arc::new(Shared {
            address,
            channel: Mutex::new(None),
            timeout: self.timeout,
            client_places: Semaphore::new(self.max_concurrent),
            server_places: Semaphore::new(self.max_concurrent),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_can_be_made_outside_of_a_runtime() {
        let handshaker = Handshaker::new("unix:/run/altsd.sock").expect("it is an address");
        assert_eq!(format!("{handshaker:?}"), r#"Handshaker("unix:/run/altsd.sock")"#);
        assert_eq!(handshaker.timeout(), Duration::from_secs(20));
    }

    #[test]
    fn another_machine_is_refused_unless_it_is_allowed() {
        let builder = Handshaker::builder("192.0.2.1:8080");
        let error = builder.clone().build().expect_err("it is far away");
        assert_eq!(error.code(), "address_remote");
        assert!(error.to_string().contains("allow_remote(true)"), "{error}");
        builder.allow_remote(true).build().expect("it is allowed");
    }

    #[test]
    fn a_runtime_that_follows_another_one_has_a_connection_of_its_own() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there are ports");
        listener.set_nonblocking(true).expect("it can be");
        let address = listener.local_addr().expect("it is bound").to_string();
        let handshaker = Handshaker::new(&address).expect("it is an address");
        for _ in 0..3 {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("it can be made").block_on(async {
                let listener = listener.try_clone().and_then(tokio::net::TcpListener::from_std);
                let listener = listener.expect("it can be had twice");
                let failing = async {
                    let mut client = handshaker.client().await?;
                    Ok::<_, tonic::transport::Error>(client.do_handshake(tokio_stream::pending()).await)
                };
                tokio::select! {
                    connected = listener.accept() => { connected.expect("somebody connects"); }
                    failed = failing => panic!("{failed:?}"),
                }
            });
        }
    }

    #[tokio::test]
    async fn places_are_at_least_one_and_each_side_has_its_own() {
        let handshaker =
            Handshaker::builder("localhost:1").max_concurrent(0).build().expect("it is an address");
        let of_client = handshaker.place(Side::Client).await;
        let of_server = handshaker.place(Side::Server).await;
        assert!(handshaker.0.client_places.try_acquire().is_err());
        drop(of_client);
        assert!(handshaker.0.client_places.try_acquire().is_ok());
        assert!(handshaker.0.server_places.try_acquire().is_err());
        drop(of_server);
        Handshaker::builder("localhost:1").max_concurrent(usize::MAX).build().expect("it is no panic");
    }
}
