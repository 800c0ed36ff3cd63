//! How a stream ended: told to the metrics, the log and the audit trail, together and once.

use std::{
    mem,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use alts_handshake::{Established, Role};
use tracing::field;

use super::{refusal::Refusal, service::Shared};
use crate::{
    attest::Caller,
    audit::{self, Decided, HandshakeRecord, Verdict, Who},
    metrics::Metrics,
};

/// Where the rules of operators leave what they have said about the peer of one handshake, for its record.
pub(super) type Decision = Arc<OnceLock<Decided>>;

/// The end of one stream, to come. Dropped untold after a start message, its caller has gone.
pub(super) struct Ending {
    shared: Arc<Shared>,
    /// The address of the listener.
    listener: Arc<str>,
    caller: Option<Caller>,
    /// The account that the listener is of, whoever calls.
    fixed: Option<String>,
    begun: Option<Begun>,
    is_told: bool,
}

/// A handshake in progress.
struct Begun {
    /// Which end of its connection the caller is.
    side: Role,
    since: Instant,
    /// `None` until it is known.
    account: Option<String>,
    decision: Decision,
}

impl Ending {
    pub(super) fn new(
        shared: Arc<Shared>,
        listener: Arc<str>,
        caller: Option<Caller>,
        fixed: Option<&str>,
    ) -> Self {
        Self { shared, listener, caller, fixed: fixed.map(str::to_owned), begun: None, is_told: false }
    }

    /// There was a start message.
    pub(super) fn begin(&mut self, side: Role) {
        let since = self.shared.clock.monotonic();
        self.begun = Some(Begun { side, since, account: None, decision: Decision::default() });
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// The caller handshakes as this account. What is said about its peer goes where this points to.
    pub(super) fn is_of(&mut self, account: &str) -> Decision {
        let Some(begun) = &mut self.begun else { return Decision::default() };
        begun.account = Some(account.to_owned());
        begun.decision.clone()
    }

    /// It has its result.
    pub(super) fn established(&mut self, established: &Established) {
        if mem::replace(&mut self.is_told, true) {
            return;
        }
        let (side, local, duration) = self.facts();
        Metrics.handshake_ended(side, Ok(()));
        if !established.peer_clock_skew.is_zero() {
            Metrics.clock_skew_seen(established.peer_clock_skew);
        }
        tracing::debug!(
            side = side.map(audit::side),
            local,
            peer = %established.peer,
            record_protocol = established.record_protocol.name(),
            duration = duration.map(field::debug),
            "handshake established"
        );
        let mut decided = self.decided();
        decided.peer.get_or_insert_with(|| established.peer.clone());
        self.record(decided, Verdict::Allowed, None, None);
    }

    /// It is refused. One line for each.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        // A refusal that nobody takes until the time is up would be a second end.
        if mem::replace(&mut self.is_told, true) {
            return;
        }
        let (side, local, duration) = self.facts();
        Metrics.handshake_ended(side, Err(refusal.reason));
        if let Some(skew) = refusal.clock_skew {
            Metrics.clock_skew_seen(skew);
        }
        tracing::warn!(
            reason = refusal.reason,
            side = side.map(audit::side),
            local,
            duration = duration.map(field::debug),
            "handshake refused: {}",
            refusal.text
        );
        let text = refusal.text.clone();
        self.record(self.decided(), Verdict::Refused, Some(refusal.reason), Some(text));
    }

    fn abandoned(&mut self) {
        let (side, local, duration) = self.facts();
        Metrics.handshake_ended(side, Err("caller_gone"));
        tracing::info!(
            reason = "caller_gone",
            side = side.map(audit::side),
            local,
            duration = duration.map(field::debug),
            "handshake abandoned by its caller"
        );
        self.record(self.decided(), Verdict::Abandoned, Some("caller_gone"), None);
    }

    /// The caller's side, its account, and how long it took.
    fn facts(&self) -> (Option<Role>, Option<&str>, Option<Duration>) {
        let begun = self.begun.as_ref();
        let account = begun.and_then(|begun| begun.account.as_deref()).or(self.fixed.as_deref());
        (begun.map(|begun| begun.side), account, begun.map(|begun| self.shared.clock.since(begun.since)))
    }

    fn decided(&self) -> Decided {
        self.begun.as_ref().and_then(|begun| begun.decision.get().cloned()).unwrap_or_default()
    }

    fn record(&self, decided: Decided, verdict: Verdict, reason: Option<&'static str>, text: Option<String>) {
        let (side, local, duration) = self.facts();
        self.shared.trail.record(HandshakeRecord {
            time: self.shared.clock.since_1970(),
            listener: self.listener.clone(),
            caller: Who::of(self.caller.as_ref()),
            side,
            local: local.map(str::to_owned),
            reason: reason.or(decided.reason),
            decided,
            verdict,
            text,
            duration,
        });
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.has_begun() && !self.is_told {
            self.abandoned();
        }
    }
}
