//! The token door put together: its keys, whom it trusts, and its sockets.

use std::sync::Arc;

use alts_store::Store;
use axum::Router;
use tokio::sync::{oneshot, watch};

use super::Error;
use crate::{
    audit::Trail,
    clock::Clock,
    config::{Limits, TokenListener, TokenSettings},
    handshaker::Attestation,
    identity::Random,
    listen::{Listener, ListenerLimits},
    metrics::Metrics,
    token::{
        contexts::Contexts,
        door::{Door, Settings},
        http::{Entrance, Hosts, router},
        issuers::{IssuerSettings, IssuersProblem},
        keyring::{self, KeySettings, Keyring},
        ledger::{KeyRecords, Ledger},
        parts::Issuers,
    },
    verifier::Verifier,
};

/// What the door needs of the rest of the daemon.
pub(super) struct Beside {
    pub(super) attestation: Arc<Attestation>,
    pub(super) verifier: Arc<Verifier>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) key_records: watch::Receiver<KeyRecords>,
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) contexts: Arc<Contexts>,
    pub(super) issuers: Arc<dyn Issuers>,
    pub(super) trail: Trail,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Random,
}

/// The door, with all of its sockets open.
pub(super) struct Tokens {
    pub(super) keyring: Arc<Keyring>,
    /// Resolves if nobody keeps the keys any more.
    pub(super) ended: oneshot::Receiver<()>,
    pub(super) opened: Vec<(Listener, Router, ListenerLimits)>,
}

/// Opens the door. Nobody is let in yet.
pub(super) fn open(settings: &TokenSettings, limits: &Limits, beside: Beside) -> Result<Tokens, Error> {
    let (keyring, ended) = Keyring::start(keyring::Parts {
        settings: key_settings(settings),
        store: beside.store.clone(),
        feed: beside.store.is_some().then_some(beside.key_records),
        clock: beside.clock.clone(),
        random: beside.random.clone(),
        observer: Arc::new(Metrics),
    })?;
    let door = Arc::new(Door {
        settings: Settings {
            issuer: settings.issuer.clone(),
            lifetime: settings.lifetime,
            max_lifetime: settings.max_lifetime,
            algorithms: vec![settings.keys.algorithm.as_str()],
        },
        rules: settings.rules.clone(),
        keys: keyring.clone(),
        ledger: beside.ledger,
        issuers: beside.issuers,
        contexts: beside.contexts,
        attestation: beside.attestation,
        verifier: beside.verifier,
        trail: beside.trail,
        clock: beside.clock,
        random: beside.random,
    });
    let open = |listener: &TokenListener| {
        let TokenListener { address, hosts, attested } = listener;
        let entrance = Entrance {
            address: address.to_string().into(),
            attests: *attested,
            hosts: Hosts::of(address, hosts, *attested),
        };
        Ok((Listener::open(address)?, router(door.clone(), entrance), listener_limits(limits)))
    };
    let opened = settings.listeners.iter().map(open).collect::<Result<_, Error>>()?;
    Ok(Tokens { keyring, ended, opened })
}

/// The issuers that the configuration trusts, their templates and files read. Nothing is fetched. Blocks.
pub(super) fn trusted(settings: &TokenSettings) -> Result<Vec<IssuerSettings>, IssuersProblem> {
    settings.issuers.iter().map(IssuerSettings::of).collect()
}

/// Reads the signing keys that there are, and the file of one. Makes nothing. Blocks.
pub(super) fn check_keys(settings: &TokenSettings) -> Result<(), keyring::Error> {
    keyring::check(&key_settings(settings))
}

fn key_settings(settings: &TokenSettings) -> KeySettings {
    let keys = &settings.keys;
    KeySettings {
        algorithm: keys.algorithm,
        state_directory: Some(keys.state_directory.clone()),
        private_key: keys.private_key.as_ref().map(|file| file.value.clone()),
        rotate: keys.rotate,
        publish_ahead: keys.publish_ahead,
        verifier_cache: keys.verifier_cache,
        max_lifetime: settings.max_lifetime,
        sign_at_once: keys.sign_at_once,
        node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
    }
}

/// As where handshakes are served: no user has all of the connections.
fn listener_limits(limits: &Limits) -> ListenerLimits {
    ListenerLimits {
        users: None,
        connections: limits.max_connections,
        connections_of_one_user: limits.max_connections.div_ceil(2),
        // A connection of HTTP/1.1 has one request at a time.
        streams_per_connection: 1,
    }
}
