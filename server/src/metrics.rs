//! Every metric of the daemon. The only file that names the library behind it: the rest calls [`Metrics`].
//!
//! A label has few values, all of them known from the start: never an identity, an address or a selector.

mod scrape;

use std::{io, net::SocketAddr, time::Duration};

use alts_handshake::Role;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};
use tokio::{net::TcpListener, time::interval};

use crate::{
    attest::Transport,
    identity::{
        Origin,
        keeper::{NodeState, Observe},
    },
    policy::{Reason, Side},
    token::{keyring, keys::State as KeyState, ledger},
    verifier::{Contact, State, writer},
};

const BUILD_INFO: &str = "altsd_build_info";
const READY: &str = "altsd_ready";
const ATTESTATIONS: &str = "altsd_attestations_total";
const HANDSHAKES: &str = "altsd_handshakes_total";
const CLOCK_SKEW: &str = "altsd_peer_clock_skew_seconds";
const IDENTITIES: &str = "altsd_identities";
const IDENTITIES_FAILING: &str = "altsd_identities_failing";
const TRUST_FILES_BAD: &str = "altsd_trust_files_bad";
const ROTATIONS: &str = "altsd_certificate_rotations_total";
const CERTIFICATE_EXPIRY: &str = "altsd_certificate_expiry_timestamp_seconds";
const CA_OUTAGE_BUDGET: &str = "altsd_ca_outage_budget_seconds";
const AUDIT_RECORDS_DROPPED: &str = "altsd_audit_records_dropped_total";
const CRL_NEXT_UPDATE: &str = "altsd_crl_next_update_timestamp_seconds";
const PEER_DECISIONS: &str = "altsd_peer_decisions_total";
const SHADOW_DIFFERENCES: &str = "altsd_shadow_differences_total";
const POLICY_RULES: &str = "altsd_policy_rules";
const POLICY_PEERS: &str = "altsd_policy_peers";
const POLICY_REVOCATIONS: &str = "altsd_policy_revocations";
const POLICY_PROBLEMS: &str = "altsd_policy_problems";
const POLICY_FILES_BAD: &str = "altsd_policy_files_bad";
const POLICY_CHANGED: &str = "altsd_policy_change_timestamp_seconds";
const TOKEN_KEYS: &str = "altsd_token_signing_keys";
const TOKEN_KEY_SINCE: &str = "altsd_token_signing_key_since_timestamp_seconds";
const TOKEN_KEYS_FAILING: &str = "altsd_token_signing_keys_failing";
const STORE_CONNECTED: &str = "altsd_store_connected";
const STORE_LOST: &str = "altsd_store_lost_timestamp_seconds";
const TOKEN_REVOCATIONS: &str = "altsd_token_revocations";
const TOKEN_EXCHANGES: &str = "altsd_token_exchanges_total";

/// Upper bounds of the skew of a peer's clock: from what NTP leaves to what no certificate of an hour lives through.
const SKEW_BUCKETS: [f64; 10] = [0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0];

/// The label of a success, where failures have a reason code.
const NO_REASON: &str = "none";

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Each metric with its unit and what it says.
const METRICS: [(&str, Kind, Unit, &str); 28] = [
    (BUILD_INFO, Kind::Gauge, Unit::Count, "Version of altsd; always 1."),
    (READY, Kind::Gauge, Unit::Count, "Whether handshakes are served: 1 if they are, 0 if not."),
    (ATTESTATIONS, Kind::Counter, Unit::Count, "Callers whose identity was asked of the kernel."),
    (HANDSHAKES, Kind::Counter, Unit::Count, "Handshakes that have come to an end."),
    (
        CLOCK_SKEW,
        Kind::Histogram,
        Unit::Seconds,
        "Least difference between our clock and the clocks of peers.",
    ),
    (IDENTITIES, Kind::Gauge, Unit::Count, "Identities that have been needed."),
    (
        IDENTITIES_FAILING,
        Kind::Gauge,
        Unit::Count,
        "Identities whose last attempt to get a certificate failed.",
    ),
    (
        TRUST_FILES_BAD,
        Kind::Gauge,
        Unit::Count,
        "Files of roots and revocation lists whose new content is not used.",
    ),
    (ROTATIONS, Kind::Counter, Unit::Count, "Attempts to get a new certificate."),
    (
        CERTIFICATE_EXPIRY,
        Kind::Gauge,
        Unit::Seconds,
        "When the first of the certificates in use expires, since 1970.",
    ),
    (CA_OUTAGE_BUDGET, Kind::Gauge, Unit::Seconds, "How long this node can go on without its CA."),
    (
        CRL_NEXT_UPDATE,
        Kind::Gauge,
        Unit::Seconds,
        "When the first of the revocation lists in use is outdated, since 1970.",
    ),
    (PEER_DECISIONS, Kind::Counter, Unit::Count, "Peers that rules and revocations have decided on."),
    (
        SHADOW_DIFFERENCES,
        Kind::Counter,
        Unit::Count,
        "Peers that shadow rules would have decided on otherwise.",
    ),
    (POLICY_RULES, Kind::Gauge, Unit::Count, "Rules in use, shadow rules among them."),
    (POLICY_PEERS, Kind::Gauge, Unit::Count, "Peers in the lists and rules in use."),
    (POLICY_REVOCATIONS, Kind::Gauge, Unit::Count, "Revocations in use, those that have ended among them."),
    (
        POLICY_PROBLEMS,
        Kind::Gauge,
        Unit::Count,
        "Problems of the policy in use, each of which closes something.",
    ),
    (POLICY_FILES_BAD, Kind::Gauge, Unit::Count, "Policy documents whose new content is not used."),
    (POLICY_CHANGED, Kind::Gauge, Unit::Seconds, "When the policy last changed, since 1970."),
    (TOKEN_KEYS, Kind::Gauge, Unit::Count, "Keys of this node that tokens are signed with, by their states."),
    (
        TOKEN_KEY_SINCE,
        Kind::Gauge,
        Unit::Seconds,
        "Since when the key that is longest in a state is in it, since 1970.",
    ),
    (
        TOKEN_KEYS_FAILING,
        Kind::Gauge,
        Unit::Count,
        "Whether something with the signing keys could not be done: 1 if so, 0 if not.",
    ),
    (STORE_CONNECTED, Kind::Gauge, Unit::Count, "Whether the store is heard of: 1 if it is, 0 if not."),
    (STORE_LOST, Kind::Gauge, Unit::Seconds, "Since when the store is not heard of, since 1970."),
    (TOKEN_REVOCATIONS, Kind::Gauge, Unit::Count, "Records of what of tokens is revoked, by what they name."),
    (TOKEN_EXCHANGES, Kind::Counter, Unit::Count, "Tokens that were asked for."),
    (
        AUDIT_RECORDS_DROPPED,
        Kind::Counter,
        Unit::Count,
        "Records of handshakes and tokens that are missing in the audit trail.",
    ),
];

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("metrics cannot be served on {address}: {problem}")]
    Listen { address: SocketAddr, problem: io::Error },
    #[error("metrics cannot be kept: {0}")]
    Recorder(#[from] BuildError),
}

/// How often what was recorded is summed up, also when nobody asks for it.
const UPKEEP: Duration = Duration::from_secs(5);

/// Serves metrics to Prometheus, over HTTP, for as long as the runtime lives. At most once in a process.
pub(crate) async fn install(address: SocketAddr) -> Result<(), Error> {
    let listener = TcpListener::bind(address).await.map_err(|problem| Error::Listen { address, problem })?;
    let handle = builder()?.install_recorder()?;
    describe();
    let kept = handle.clone();
    tokio::spawn(async move {
        let mut ticks = interval(UPKEEP);
        loop {
            ticks.tick().await;
            kept.run_upkeep();
        }
    });
    tokio::spawn(scrape::serve(listener, scrape::PATIENCE, move || handle.render()));
    Ok(())
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Full(CLOCK_SKEW.to_owned()), &SKEW_BUCKETS)
}

/// Says what each metric is, and sets those that never change.
fn describe() {
    for (name, kind, unit, text) in METRICS {
        match kind {
            Kind::Counter => describe_counter!(name, unit, text),
            Kind::Gauge => describe_gauge!(name, unit, text),
            Kind::Histogram => describe_histogram!(name, unit, text),
        }
    }
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// What the daemon tells of itself. Where nothing was installed, nobody hears it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Metrics;

/// How something went: failures have a reason code, one of those that the program is built with.
pub(crate) type Outcome = Result<(), &'static str>;

impl Metrics {
    /// A caller was looked at, and matched a workload or was refused.
    pub(crate) fn attested(self, transport: Option<Transport>, outcome: Outcome) {
        let transport = match transport {
            Some(Transport::Tcp) => "tcp",
            Some(Transport::Unix) => "unix",
            None => "unknown",
        };
        let (result, reason) = labels(outcome);
        counter!(ATTESTATIONS, "transport" => transport, "result" => result, "reason" => reason).increment(1);
    }

    /// A handshake was established, refused, or abandoned by its caller.
    pub(crate) fn handshake_ended(self, side: Option<Role>, outcome: Outcome) {
        let side = match side {
            Some(Role::Client) => "client",
            Some(Role::Server) => "server",
            None => "unknown",
        };
        let (result, reason) = labels(outcome);
        counter!(HANDSHAKES, "side" => side, "result" => result, "reason" => reason).increment(1);
    }

    /// Rules or revocations have decided on a peer.
    pub(crate) fn peer_decided(self, side: Side, reason: Reason) {
        let result = if reason.allows() { "allowed" } else { "refused" };
        counter!(PEER_DECISIONS, "side" => side.as_str(), "result" => result, "reason" => reason.as_str())
            .increment(1);
    }

    /// A shadow rule would have decided otherwise.
    pub(crate) fn shadow_differs(self, side: Side, would_allow: bool) {
        let would = if would_allow { "allow" } else { "refuse" };
        counter!(SHADOW_DIFFERENCES, "side" => side.as_str(), "would" => would).increment(1);
    }

    /// Whether handshakes are served.
    pub(crate) fn ready(self, ready: bool) {
        gauge!(READY).set(if ready { 1.0 } else { 0.0 });
    }

    /// The clock of a peer, or of who issued its certificate, is at least this far from ours.
    pub(crate) fn clock_skew_seen(self, skew: Duration) {
        histogram!(CLOCK_SKEW).record(skew.as_secs_f64());
    }

    /// A token was asked for, with a subject of this kind, and issued or refused.
    pub(crate) fn token_exchanged(self, subject: &'static str, outcome: Outcome) {
        let (result, reason) = labels(outcome);
        counter!(TOKEN_EXCHANGES, "subject" => subject, "result" => result, "reason" => reason).increment(1);
    }

    /// How much of tokens is revoked, as the store says.
    pub(crate) fn token_revocations(self, counts: ledger::Counts) {
        let ledger::Counts { tokens, subjects, foreign_keys } = counts;
        for (kind, count) in [("token", tokens), ("subject", subjects), ("unknown", foreign_keys)] {
            gauge!(TOKEN_REVOCATIONS, "kind" => kind).set(count as f64);
        }
    }

    /// A record is missing in the audit trail.
    pub(crate) fn audit_record_dropped(self, reason: &'static str) {
        counter!(AUDIT_RECORDS_DROPPED, "reason" => reason).increment(1);
    }
}

/// What the keeper of identities tells.
impl Observe for Metrics {
    fn rotated(&self, origin: Origin, ok: bool) {
        let origin = match origin {
            Origin::Files => "files",
            Origin::SigningService => "signing_service",
            Origin::ExternalCa => "external_ca",
        };
        let result = if ok { "ok" } else { "error" };
        counter!(ROTATIONS, "origin" => origin, "result" => result).increment(1);
    }

    fn state(&self, state: &NodeState) {
        // What was there and is no more must not keep its last value.
        let or_none = |value: Option<u64>| value.map_or(f64::NAN, |value| value as f64);
        gauge!(IDENTITIES).set(state.identities as f64);
        gauge!(IDENTITIES_FAILING).set(state.failing as f64);
        gauge!(TRUST_FILES_BAD).set(state.trust_files_bad as f64);
        gauge!(CERTIFICATE_EXPIRY).set(or_none(state.earliest_not_after));
        gauge!(CA_OUTAGE_BUDGET).set(or_none(state.outage_budget_seconds));
        gauge!(CRL_NEXT_UPDATE).set(or_none(state.next_crl_update));
    }
}

/// What the writer of the policy tells.
impl writer::Observe for Metrics {
    fn published(&self, state: &State) {
        let counts = &state.counts;
        gauge!(POLICY_RULES).set(counts.rules as f64);
        gauge!(POLICY_PEERS).set(counts.peers as f64);
        gauge!(POLICY_REVOCATIONS).set(counts.revocations as f64);
        gauge!(POLICY_PROBLEMS).set((state.policy.problems().len() + state.foreign_keys) as f64);
        let bad = state.file_states.iter().filter(|file| file.problem.is_some()).count();
        gauge!(POLICY_FILES_BAD).set(bad as f64);
        gauge!(POLICY_CHANGED).set(state.changed_at as f64);
        let (connected, lost) = match &state.contact {
            Contact::None => return,
            Contact::Live => (1.0, f64::NAN),
            Contact::Lost { since, .. } => (0.0, since.unwrap_or_default() as f64),
        };
        gauge!(STORE_CONNECTED).set(connected);
        gauge!(STORE_LOST).set(lost);
    }
}

/// What the keyring of the token door tells.
impl keyring::Observe for Metrics {
    fn keys(&self, status: &keyring::Status) {
        for state in KeyState::ALL {
            let own = || status.keys.iter().filter(|key| key.own && key.state == state);
            let since = own().map(keyring::KeyStatus::since).min();
            gauge!(TOKEN_KEYS, "state" => state.as_str()).set(own().count() as f64);
            gauge!(TOKEN_KEY_SINCE, "state" => state.as_str())
                .set(since.map_or(f64::NAN, |since| since as f64));
        }
        gauge!(TOKEN_KEYS_FAILING).set(if status.failure.is_some() { 1.0 } else { 0.0 });
    }
}

fn labels(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Ok(()) => ("ok", NO_REASON),
        Err(reason) => ("error", reason),
    }
}

#[cfg(test)]
mod tests;
