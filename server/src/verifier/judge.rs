//! The question of one handshake, and what became of it.

use std::sync::{Arc, OnceLock};

use alts_handshake::{Admission, Identity, NotAdmitted, Peer, Role};
use pki_types::UnixTime;

use super::Verifier;
use crate::{
    metrics::Metrics,
    policy::{Decision, Question, Side},
};

/// Asks for one account of this node, and keeps the answer for the trail.
pub(crate) struct Judge {
    verifier: Arc<Verifier>,
    side: Side,
    local: Identity,
    target_name: String,
    judged: OnceLock<Judged>,
}

/// Who was judged, and how; no decision, if nobody could say.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) peer: Identity,
    pub(crate) decision: Option<Decision>,
}

impl Judge {
    /// For a handshake of `local` as this end of its connection. `target_name` is what the program has called, if it
    /// said so.
    pub(crate) fn new(verifier: Arc<Verifier>, role: Role, local: Identity, target_name: String) -> Self {
        let side = match role {
            Role::Client => Side::Client,
            Role::Server => Side::Server,
        };
        Self { verifier, side, local, target_name, judged: OnceLock::new() }
    }

    /// What became of it; nothing, if no peer has proved itself.
    pub(crate) fn judged(&self) -> Option<&Judged> {
        self.judged.get()
    }

    fn report_shadow(&self, peer: &Identity, decision: &Decision) {
        let allowed = decision.verdict.is_ok();
        let Some(shadow) = decision.shadow.as_ref().filter(|shadow| shadow.allowed != allowed) else { return };
        Metrics.shadow_differs(self.side, shadow.allowed);
        tracing::info!(
            side = self.side.as_str(),
            local = self.local.account(),
            peer = peer.account(),
            rule = shadow.rule.as_deref(),
            would = if shadow.allowed { "allow" } else { "refuse" },
            reason = shadow.reason.as_str(),
            "a shadow rule would decide otherwise"
        );
    }
}

impl Admission for Judge {
    fn admit(&self, peer: &Peer, now: UnixTime) -> Result<(), NotAdmitted> {
        let question = Question {
            side: self.side,
            local: &self.local,
            peer,
            target_name: &self.target_name,
            now: now.as_secs(),
        };
        let decided = self.verifier.decide(&question);
        let answer = match &decided {
            Ok(decision) => {
                Metrics.peer_decided(self.side, decision);
                self.report_shadow(&peer.identity, decision);
                decision.verdict.clone()
            }
            Err(problem) => Err(NotAdmitted::Unknown(problem.clone())),
        };
        // A handshake asks once.
        let _ = self.judged.set(Judged { peer: peer.identity.clone(), decision: decided.ok() });
        answer
    }
}
