//! Who a caller is to the handshaker: the identities that it is entitled to, and the credentials of the one it
//! handshakes as.

use std::{sync::Arc, time::Duration};

use alts_handshake::Identity;
use tonic::Code;

use super::{ending::Decision, refusal::Refusal, request::Start, service::Shared, session::Grant};
use crate::{
    attest::{AttestError, Attested, Attestor, Caller, Selector, Workload, Workloads},
    metrics::Metrics,
    verifier::Judge,
};

/// How the callers of a listener are told apart.
#[derive(Clone)]
pub(crate) enum Entitlement {
    /// Not at all: all of them are this one workload, whom alone its socket is open to.
    Fixed(Identity),
    /// By what the kernel says of them.
    Attested(Arc<Attestation>),
}

/// What the kernel says, and what follows from it.
pub(crate) struct Attestation {
    pub(crate) attestor: Attestor,
    pub(crate) workloads: Workloads,
}

impl Entitlement {
    /// The account of every caller, where that is known before it calls.
    pub(super) fn account(&self) -> Option<&str> {
        match self {
            Self::Fixed(identity) => Some(identity.account()),
            Self::Attested(_) => None,
        }
    }

    /// The identities that a caller may handshake as, the one first that it gets without asking.
    pub(super) async fn of(&self, caller: Option<&Caller>) -> Result<Vec<Identity>, Refusal> {
        match self {
            Self::Fixed(identity) => Ok(vec![identity.clone()]),
            Self::Attested(attestation) => {
                let granted = attestation.granted(caller).await;
                let outcome = granted.as_ref().map(|_| ()).map_err(|refusal| refusal.reason);
                Metrics.attested(caller.map(Caller::transport), outcome);
                granted
            }
        }
    }
}

impl Attestation {
    async fn granted(&self, caller: Option<&Caller>) -> Result<Vec<Identity>, Refusal> {
        let (attested, workload) = self.of(caller).await?;
        let workload = workload.ok_or_else(|| unknown(&attested))?;
        Ok(workload.identities().to_vec())
    }

    /// Who the caller is, and the workload that this makes it, if any.
    pub(crate) async fn of(
        &self,
        caller: Option<&Caller>,
    ) -> Result<(Arc<Attested>, Option<&Workload>), AttestError> {
        // Every connection of a listener has one; without it nothing is known, and so nothing granted.
        let caller = caller.ok_or(AttestError::Hidden)?;
        let attested = caller.attest(&self.attestor).await?;
        let workload = self.workloads.of(&attested.selectors);
        Ok((attested, workload))
    }

    /// The same, where it counts what the caller was a moment ago.
    pub(crate) async fn of_lately(
        &self,
        caller: Option<&Caller>,
        lately: Duration,
    ) -> Result<(Arc<Attested>, Option<&Workload>), AttestError> {
        let caller = caller.ok_or(AttestError::Hidden)?;
        let attested = caller.attest_lately(&self.attestor, lately).await?;
        let workload = self.workloads.of(&attested.selectors);
        Ok((attested, workload))
    }
}

impl From<AttestError> for Refusal {
    fn from(error: AttestError) -> Self {
        if error.is_own_fault() {
            Self::of_limit(Code::Unavailable, error.reason(), error.to_string())
        } else {
            Self::of_request(Code::Unauthenticated, error.reason(), error.to_string())
        }
    }
}

/// The caller may know what it is; what it would have to be is for the operator.
pub(super) fn unknown(attested: &Attested) -> Refusal {
    let found: Vec<_> = attested.selectors.iter().map(Selector::to_string).collect();
    let text = format!("no workload is configured for this caller, which is {}", found.join(" "));
    Refusal::of_request(Code::Unauthenticated, "workload_unknown", text)
}

/// What a handshake as `identity` is begun with. Waits, for a bounded time, for a certificate that is not there yet.
pub(super) async fn grant(
    shared: &Shared,
    identity: &Identity,
    start: &Start,
    decision: Decision,
) -> Result<Grant, Refusal> {
    let account = identity.account();
    let demanded = shared.keeper.demand(account).await;
    let snapshot = shared.current.load();
    // Also the old one of an identity that cannot be renewed: the engine says what is wrong with it.
    let Some(credentials) = snapshot.credentials(account) else {
        let why = demanded.err().map(|error| format!(": {error}")).unwrap_or_default();
        let text = format!("there is no certificate for {account}{why}");
        return Err(Refusal::of_limit(Code::Unavailable, "own_certificate_missing", text));
    };
    let (verifier, local, target_name) =
        (shared.verifier.clone(), credentials.identity().clone(), start.target_name.clone());
    Ok(Grant {
        credentials: credentials.clone(),
        trust: snapshot.trust().clone(),
        admission: Arc::new(Judge::new(verifier, start.role, local, target_name, decision)),
    })
}
