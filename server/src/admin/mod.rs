//! What operators ask the daemon, on a unix socket that is theirs alone.
//!
//! `access` says who may ask at all; `certificates` and `audit` are the services; `resource` turns what the keeper of
//! certificates knows into messages, and is pure.

mod access;
mod audit;
mod certificates;
mod resource;

use std::sync::Arc;

use tokio::sync::watch;
use tonic::{
    Request,
    service::{Interceptor, Routes, interceptor::InterceptedService},
};

use self::certificates::Certificates;
use crate::{
    audit::Trail,
    clock::Clock,
    config::{Address, Admin as Settings},
    handshaker::{ListenError, Listener, ListenerLimits},
};

pub(crate) use self::{access::Operators, certificates::Kept};

/// Only the owner opens the socket.
const MODE: u32 = 0o600;

/// Where operators are named by their uid, everybody opens it, and a connection of anybody else is closed at once.
const MODE_WITH_OPERATORS: u32 = 0o666;

/// A few operators and their programs. The handshaker's callers are on sockets of their own.
const CONNECTIONS: usize = 16;

/// Why the admin socket does not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0} cannot be the admin address: it must be a unix socket, such as unix:/run/altsd/admin.sock")]
    NotUnix(Address),
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// Opens the admin socket.
pub(crate) fn open(settings: &Settings) -> Result<Listener, Error> {
    let address = &settings.address;
    let Address::Unix { path, .. } = address else { return Err(Error::NotUnix(address.clone())) };
    let mode = if settings.uids.is_empty() { MODE } else { MODE_WITH_OPERATORS };
    Ok(Listener::open(&Address::Unix { path: path.clone(), mode })?)
}

/// Who may ask on it.
pub(crate) fn operators(settings: &Settings) -> Operators {
    Operators::new(nix::unistd::geteuid().as_raw(), &settings.uids)
}

/// What it takes on at once.
pub(crate) fn limits(operators: &Operators) -> ListenerLimits {
    ListenerLimits {
        users: Some(operators.uids()),
        connections: CONNECTIONS,
        connections_of_one_user: CONNECTIONS,
        streams_per_connection: CONNECTIONS as u32,
    }
}

/// What is served there, until `stopped` has no sender any more.
pub(crate) fn services(
    kept: Kept,
    clock: Arc<dyn Clock>,
    trail: Trail,
    stopped: watch::Receiver<()>,
    operators: Operators,
) -> Routes {
    let audit = guard(audit::Service::new(trail, stopped).into_server(), operators.clone());
    guarded(kept, clock, operators).add_service(audit)
}

fn guarded(certificates: impl Certificates, clock: Arc<dyn Clock>, operators: Operators) -> Routes {
    Routes::new(guard(certificates::Service::new(certificates, clock).into_server(), operators))
}

/// The service for those who may ask.
fn guard<S>(service: S, operators: Operators) -> InterceptedService<S, impl Interceptor + Clone> {
    InterceptedService::new(service, move |request: Request<()>| {
        access::check(request.extensions(), &operators).map(|()| request)
    })
}

#[cfg(test)]
pub(crate) mod tests;
