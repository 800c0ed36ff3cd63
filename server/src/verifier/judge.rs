//! The question of one handshake, and what became of it.

use std::sync::{Arc, OnceLock};

use alts_handshake::{Admission, Identity, NotAdmitted, Peer, Role};
use pki_types::UnixTime;

use super::Verifier;
use crate::{
    audit::{self, Decided},
    metrics::Metrics,
    policy::{Decision, Question, Side},
};

/// Asks for one account of this node, and leaves the answer for the trail.
pub(crate) struct Judge {
    verifier: Arc<Verifier>,
    side: Side,
    local: Identity,
    target_name: String,
    decided: Arc<OnceLock<Decided>>,
}

impl Judge {
    /// For a handshake of `local` as this end of its connection. `target_name` is what the program has called, if it
    /// said so. What is decided goes into `decided`.
    pub(crate) fn new(
        verifier: Arc<Verifier>,
        role: Role,
        local: Identity,
        target_name: String,
        decided: Arc<OnceLock<Decided>>,
    ) -> Self {
        let side = match role {
            Role::Client => Side::Client,
            Role::Server => Side::Server,
        };
        Self { verifier, side, local, target_name, decided }
    }

    /// What a shadow rule would have done, where that is something else.
    fn shadow(&self, peer: &Identity, decision: &Decision) -> Option<audit::Shadow> {
        let allowed = decision.verdict.is_ok();
        let shadow = decision.shadow.as_ref().filter(|shadow| shadow.allowed != allowed)?;
        // Only a rule decides otherwise than the rules without it.
        let rule = shadow.rule.clone()?;
        Metrics.shadow_differs(self.side, shadow.allowed);
        tracing::info!(
            side = self.side.as_str(),
            local = self.local.account(),
            peer = peer.account(),
            rule = &*rule,
            would = if shadow.allowed { "allow" } else { "refuse" },
            reason = shadow.reason.as_str(),
            "a shadow rule would decide otherwise"
        );
        let verdict = if shadow.allowed { audit::Verdict::Allowed } else { audit::Verdict::Refused };
        Some(audit::Shadow { rule, verdict })
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
        let mut decided = Decided { peer: Some(peer.identity.clone()), ..Decided::default() };
        let verdict = match self.verifier.decide(&question) {
            Ok(decision) => {
                Metrics.peer_decided(self.side, decision.reason);
                decided.shadow = self.shadow(&peer.identity, &decision);
                decided.reason = Some(decision.reason.as_str());
                decided.rule = decision.rule;
                decision.verdict
            }
            Err(problem) => Err(NotAdmitted::Unknown(problem)),
        };
        // A handshake has one peer, and asks once.
        let _ = self.decided.set(decided);
        verdict
    }
}
