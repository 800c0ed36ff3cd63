//! One operation is one whole handshake over a connection in memory, the service doing both of its ends or one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alts_client::{AddressError, AltsAcceptor, AltsConnector, Handshaker};

use super::{counted::Counted, engine_peer::EnginePeer};
use crate::{
    sample::{Failure, Moved},
    target::Target,
};

/// Bytes that a connection in memory holds each way: more than a handshake has.
const DUPLEX: usize = 64 * 1024;

/// Where handshakes are done, and how.
#[derive(Clone)]
pub(crate) struct Service {
    /// The handshaker.
    pub(crate) target: Target,
    /// How long one handshake may take.
    pub(crate) timeout: Duration,
    /// How many may be under way at once.
    pub(crate) at_once: usize,
    /// Whether the user owns a target on another machine.
    pub(crate) owned: bool,
    /// The account that the accepting end must have.
    pub(crate) target_account: Option<String>,
    /// The name that the connecting end says it has connected to.
    pub(crate) target_name: String,
}

/// Which ends the service does. The other one is an engine in this process.
#[derive(Clone)]
pub(crate) enum Side {
    Both,
    Client(Arc<EnginePeer>),
    Server(Arc<EnginePeer>),
}

/// Handshakes over shared connections to the service, or over a new one each.
pub(crate) struct Handshakes {
    service: Service,
    side: Side,
    /// Empty: a new one for each handshake.
    channels: Vec<Handshaker>,
}

/// Does one handshake after another.
pub(crate) struct Worker {
    service: Service,
    side: Side,
    channel: Option<Handshaker>,
}

impl Service {
    /// A connection to the service, which is opened by the first handshake.
    pub(crate) fn channel(&self) -> Result<Handshaker, AddressError> {
        let builder = Handshaker::builder(&self.target.to_string());
        builder.timeout(self.timeout).max_concurrent(self.at_once).allow_remote(self.owned).build()
    }

    /// So many of them.
    pub(crate) fn channels(&self, count: usize) -> Result<Vec<Handshaker>, AddressError> {
        (0..count).map(|_| self.channel()).collect()
    }

    /// The connecting end.
    pub(crate) fn connector(&self, channel: Handshaker) -> AltsConnector {
        let connector = AltsConnector::new(channel);
        match &self.target_account {
            Some(account) => connector.target_service_account(account),
            None => connector,
        }
    }
}

impl Handshakes {
    /// Over `connections` connections; 0: a new one for each handshake and each of its ends.
    pub(crate) fn new(service: Service, side: Side, connections: usize) -> Result<Self, AddressError> {
        let channels = service.channels(connections)?;
        Ok(Self { service, side, channels })
    }

    pub(crate) fn worker(&self, index: usize) -> Worker {
        let channel = index.checked_rem(self.channels.len()).map(|channel| self.channels[channel].clone());
        Worker { service: self.service.clone(), side: self.side.clone(), channel }
    }
}

impl Worker {
    pub(crate) async fn operate(&mut self) -> Result<Moved, Failure> {
        let (near, far) = tokio::io::duplex(DUPLEX);
        let moved = Arc::new(AtomicU64::new(0));
        let (near, far) = (Counted::new(near, moved.clone()), Counted::new(far, moved.clone()));
        let name = &self.service.target_name;
        match &self.side {
            Side::Both => {
                let (connector, acceptor) = (self.connector()?, self.acceptor()?);
                tokio::try_join!(connector.connect(near, name), acceptor.accept(far)).map_err(failure)?;
            }
            Side::Client(peer) => {
                let connector = self.connector()?;
                let ours = async { connector.connect(near, name).await.map_err(failure) };
                tokio::try_join!(ours, peer.accept(far))?;
            }
            Side::Server(peer) => {
                let acceptor = self.acceptor()?;
                let ours = async { acceptor.accept(far).await.map_err(failure) };
                tokio::try_join!(peer.connect(near), ours)?;
            }
        }
        Ok(Moved { bytes: moved.load(Ordering::Relaxed), frames: 0 })
    }

    fn connector(&self) -> Result<AltsConnector, Failure> {
        Ok(self.service.connector(self.channel()?))
    }

    fn acceptor(&self) -> Result<AltsAcceptor, Failure> {
        Ok(AltsAcceptor::new(self.channel()?))
    }

    fn channel(&self) -> Result<Handshaker, Failure> {
        match &self.channel {
            Some(channel) => Ok(channel.clone()),
            None => {
                self.service.channel().map_err(|error| Failure::new("handshaker_address", error.to_string()))
            }
        }
    }
}

/// Why a handshake failed, under the stable name of the reason.
pub(crate) fn failure(error: alts_client::Error) -> Failure {
    Failure::new(error.code(), error.to_string())
}
