//! What operators ask the daemon, on a unix socket that is theirs alone.
//!
//! `access` says who may ask at all. Seven services: `certificates` over the keeper of certificates (its messages are
//! made by `resource`), `policy`, `revocations` and
//! `token_revocations` over the store, `status` of the node, `audit` over the trail, `signing_keys` over the keys of the
//! token door. `shelf` is how all resources of
//! the policy are read and changed, `managed` what their kinds are; `refusal` is the table of refusals.

mod access;
mod apply;
mod audit;
mod certificates;
mod check;
mod decisions;
mod managed;
mod node;
mod page;
mod policy;
mod reflection;
mod refusal;
mod resource;
mod revocations;
mod shelf;
mod signing_keys;
mod status;
mod token_revocations;

use std::sync::Arc;

use alts_proto::altsd::{
    audit_server, certificates_server, node_server, policy_server, revocations_server, signing_keys_server,
    token_revocations_server,
};
use alts_store::Store;
use tokio::sync::watch;
use tonic::{
    Request, Status,
    service::{Routes, interceptor::InterceptedService},
};

use self::shelf::Shelf;
use crate::{
    audit::Trail,
    clock::Clock,
    config::{Address, Admin as Settings},
    listen::{ListenError, Listener, ListenerLimits},
    token::ledger::Ledger,
};

pub(crate) use self::{
    access::Operators,
    certificates::{Certificates, Kept},
    check::check_peer,
    decisions::Decisions,
    node::Standing,
    signing_keys::SigningKeys,
    status::{ListenerFacts, Node},
};

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
        // One operator's programs, whatever they do, leave root a way to revoke him.
        connections_of_one_user: CONNECTIONS / 2,
        streams_per_connection: CONNECTIONS as u32,
    }
}

/// What is asked about, and by whom.
pub(crate) struct Parts {
    pub(crate) certificates: Arc<dyn Certificates>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) operators: Operators,
    /// Where decisions of operators are kept, if they are.
    pub(crate) store: Option<Arc<dyn Store>>,
    /// What of tokens is revoked.
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) decisions: Arc<dyn Decisions>,
    pub(crate) node: Arc<dyn Node>,
    pub(crate) trail: Trail,
    /// The keys of the token door, if it is open.
    pub(crate) signing_keys: Option<Arc<dyn SigningKeys>>,
    /// Streams end when it has no sender any more.
    pub(crate) stopped: watch::Receiver<()>,
}

/// What is served there.
pub(crate) fn services(parts: Parts) -> Routes {
    let Parts {
        certificates,
        clock,
        operators,
        store,
        ledger,
        decisions,
        node,
        trail,
        signing_keys,
        stopped,
    } = parts;
    let token_revocations = token_revocations::Service { store: store.clone(), ledger, clock: clock.clone() };
    let shelf = Shelf::new(store, decisions.clone());
    let policy =
        policy::Service { shelf: shelf.clone(), certificates: certificates.clone(), clock: clock.clone() };
    let revocations = revocations::Service { shelf, clock: clock.clone() };
    let status =
        status::Service { node, certificates: certificates.clone(), decisions, clock: clock.clone() };
    let certificates = certificates::Service::new(certificates, clock);
    let audit = audit::Service::new(trail, stopped);
    let signing_keys = signing_keys::Service { keys: signing_keys };
    let access = move |request: Request<()>| -> Result<Request<()>, Status> {
        access::check(request.extensions(), &operators).map(|()| request)
    };
    let routes = Routes::new(InterceptedService::new(certificates.into_server(), access.clone()))
        .add_service(InterceptedService::new(policy.into_server(), access.clone()))
        .add_service(InterceptedService::new(revocations.into_server(), access.clone()))
        .add_service(InterceptedService::new(token_revocations.into_server(), access.clone()))
        .add_service(InterceptedService::new(status.into_server(), access.clone()))
        .add_service(InterceptedService::new(audit.into_server(), access.clone()))
        .add_service(InterceptedService::new(signing_keys.into_server(), access.clone()));
    reflection::add(routes, &SERVICES, access)
}
/// What reflection tells of.
const SERVICES: [&str; 7] = [
    audit_server::SERVICE_NAME,
    certificates_server::SERVICE_NAME,
    node_server::SERVICE_NAME,
    policy_server::SERVICE_NAME,
    revocations_server::SERVICE_NAME,
    signing_keys_server::SERVICE_NAME,
    token_revocations_server::SERVICE_NAME,
];

#[cfg(test)]
pub(crate) mod tests;
