//! Why it is not known who calls.

use std::net::SocketAddr;

/// Why a caller is not attested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AttestError {
    /// The process that connected is gone, whoever may have its socket now.
    #[error("the caller, process {pid}, has exited")]
    Exited { pid: i32 },
    /// Nobody has the socket of the caller.
    #[error(
        "no process that altsd can see has the socket of the caller at {peer}: it has closed it, or is in a pid \
         namespace that altsd is not in or above"
    )]
    Closed { peer: SocketAddr },
    /// The process is not what it was when it connected, or when it was attested.
    #[error("the {what} of the caller, process {pid}, was {was} and is {is}; it must connect again")]
    Changed { pid: i32, what: &'static str, was: String, is: String },
    /// A connection from elsewhere.
    #[error(
        "no socket of this network namespace is connected from {peer} to {local}: the caller is on another machine \
         or in another network namespace, or has gone; let it call on a unix socket"
    )]
    NotLocal { peer: SocketAddr, local: SocketAddr },
    /// More than can be told apart.
    #[error("more than {most} processes have the socket of the caller at {peer}")]
    Ambiguous { peer: SocketAddr, most: usize },
    /// The kernel has no number for it here.
    #[error(
        "the caller is in a pid namespace that altsd cannot see into; run altsd in the pid namespace of the host \
         (in Kubernetes `hostPID: true`)"
    )]
    Hidden,
    /// The kernel keeps from us what we must know.
    #[error("altsd may not look at {what}; run it as root or with CAP_SYS_PTRACE")]
    NotPermitted { what: String },
    /// Something else on our side.
    #[error("cannot {doing}: {problem}")]
    Failed { doing: String, problem: String },
}

impl AttestError {
    /// A name of the reason that does not change.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Exited { .. } | Self::Closed { .. } => "caller_exited",
            Self::Changed { .. } => "caller_changed",
            Self::NotLocal { .. } => "caller_not_local",
            Self::Ambiguous { .. } => "caller_ambiguous",
            Self::Hidden => "caller_hidden",
            Self::NotPermitted { .. } | Self::Failed { .. } => "attestation_failed",
        }
    }

    /// Whether the operator of this node has something to mend, and the caller nothing.
    pub(crate) fn is_own_fault(&self) -> bool {
        matches!(self, Self::NotPermitted { .. } | Self::Failed { .. })
    }

    pub(super) fn failed(doing: impl Into<String>, problem: impl ToString) -> Self {
        Self::Failed { doing: doing.into(), problem: problem.to_string() }
    }
}
