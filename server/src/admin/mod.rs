//! What operators ask the daemon, on a unix socket that is theirs alone.
//!
//! `access` says who may ask at all; `certificates` is the service; `resource` turns what the keeper of certificates
//! knows into messages, and is pure.

mod access;
mod certificates;
mod resource;

use std::sync::Arc;

use tonic::{
    Request,
    service::{Routes, interceptor::InterceptedService},
};

use self::certificates::Certificates;
use crate::{
    clock::Clock,
    config::Address,
    handshaker::{ListenError, Listener, ListenerLimits},
};

pub(crate) use certificates::Kept;

/// Only the owner opens the socket, whatever else the configuration says.
const MODE: u32 = 0o600;

/// A few operators and their programs. The handshaker's callers are on sockets of their own.
pub(crate) const LIMITS: ListenerLimits =
    ListenerLimits { connections: 16, connections_of_one_user: 16, streams_per_connection: 16 };

/// Why the admin socket does not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0} cannot be the admin address: it must be a unix socket, such as unix:/run/altsd/admin.sock")]
    NotUnix(Address),
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// Opens the admin socket.
pub(crate) fn open(address: &Address) -> Result<Listener, Error> {
    let Address::Unix { path, .. } = address else { return Err(Error::NotUnix(address.clone())) };
    Ok(Listener::open(&Address::Unix { path: path.clone(), mode: MODE })?)
}

/// What is served there.
pub(crate) fn services(kept: Kept, clock: Arc<dyn Clock>) -> Routes {
    guarded(kept, clock)
}

fn guarded(certificates: impl Certificates, clock: Arc<dyn Clock>) -> Routes {
    let own = nix::unistd::geteuid().as_raw();
    let service = certificates::Service::new(certificates, clock).into_server();
    let guarded = InterceptedService::new(service, move |request: Request<()>| {
        access::check(request.extensions(), own).map(|()| request)
    });
    Routes::new(guarded)
}

#[cfg(test)]
pub(crate) mod tests;
