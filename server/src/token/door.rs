//! The token door with all that it needs, and who calls at it.

use std::{sync::Arc, time::Duration};

use alts_handshake::Identity;

use super::{
    error::TokenError,
    parts::{Contexts, Issuers, Keys, Ledger},
    rule::Rules,
};
use crate::{
    attest::{Attested, Caller},
    audit::Trail,
    clock::Clock,
    handshaker::Attestation,
    identity::Random,
    metrics::Metrics,
    verifier::Verifier,
};

/// How long a caller counts as who it was on its connection. Its tokens last for minutes: what it could get in this
/// second as somebody else's, it could have got before and handed on.
const LATELY: Duration = Duration::from_secs(1);

/// What all listeners of the door share.
pub(crate) struct Door {
    pub(crate) settings: Settings,
    pub(crate) rules: Rules,
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) issuers: Arc<dyn Issuers>,
    pub(crate) contexts: Arc<dyn Contexts>,
    pub(crate) attestation: Arc<Attestation>,
    /// Which accounts are revoked.
    pub(crate) verifier: Arc<Verifier>,
    /// Where it is written down which tokens were issued, refused and revoked.
    pub(crate) trail: Trail,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
}

/// What holds for every token.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `iss`, without a slash at its end.
    pub(crate) issuer: String,
    /// How long a token lasts where nothing makes it shorter, in seconds.
    pub(crate) lifetime: u64,
    /// How long any token lasts at most, in seconds.
    pub(crate) max_lifetime: u64,
    /// `alg` of the tokens, for the discovery documents.
    pub(crate) algorithms: Vec<&'static str>,
}

/// Who calls.
#[derive(Clone)]
pub(crate) enum Who {
    /// A workload. It has at least one identity; the first is the one it gets without asking.
    Workload { attested: Arc<Attested>, identities: Vec<Identity> },
    /// A program that the kernel tells of, and that is no workload.
    Program(Arc<Attested>),
    /// Nobody says who: why, by its code and in words.
    Unknown { reason: &'static str, text: String },
}

impl Who {
    /// The account of the caller, if it is a workload: the one it gets without asking.
    pub(crate) fn account(&self) -> Option<&str> {
        self.identities().first().map(Identity::account)
    }

    /// All that the caller may be.
    pub(crate) fn identities(&self) -> &[Identity] {
        match self {
            Self::Workload { identities, .. } => identities,
            Self::Program(_) | Self::Unknown { .. } => &[],
        }
    }

    /// What the kernel says of it.
    pub(crate) fn attested(&self) -> Option<&Arc<Attested>> {
        match self {
            Self::Workload { attested, .. } | Self::Program(attested) => Some(attested),
            Self::Unknown { .. } => None,
        }
    }

    /// Why the caller is no workload: a code and words.
    pub(crate) fn why_not(&self) -> (&'static str, String) {
        match self {
            Self::Unknown { reason, text } => (reason, text.clone()),
            Self::Program(_) | Self::Workload { .. } => {
                ("workload_unknown", "no workload is configured for this caller".to_owned())
            }
        }
    }
}

impl Door {
    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now().as_secs()
    }

    /// Finds out who calls, where the callers of a listener are attested. An error is of this node, and may pass.
    pub(crate) async fn identify(&self, caller: Option<&Caller>, attests: bool) -> Result<Who, TokenError> {
        if !attests {
            let text = "callers of this listener are not told apart; use the unix socket".to_owned();
            return Ok(Who::Unknown { reason: "caller_not_attested", text });
        }
        let found = self.attestation.of_lately(caller, LATELY).await;
        let outcome = match &found {
            Ok((_, Some(_))) => Ok(()),
            Ok((_, None)) => Err("workload_unknown"),
            Err(error) => Err(error.reason()),
        };
        Metrics.attested(caller.map(Caller::transport), outcome);
        match found {
            Ok((attested, Some(workload))) => {
                Ok(Who::Workload { attested, identities: workload.identities().to_vec() })
            }
            Ok((attested, None)) => Ok(Who::Program(attested)),
            Err(error) if error.is_own_fault() => Err(TokenError::unavailable(
                error.reason(),
                "who calls cannot be found out now; the log of the node says why",
                error.to_string(),
            )),
            Err(error) => Ok(Who::Unknown { reason: error.reason(), text: error.to_string() }),
        }
    }

    /// The identity of an account: with all its names if it is one of this node.
    pub(super) fn identity(&self, account: &str) -> Option<Identity> {
        let own = self.attestation.workloads.identities().find(|identity| identity.account() == account);
        own.cloned().or_else(|| Identity::parse(account).ok())
    }
}
