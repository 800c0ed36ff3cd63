//! Where certificates come from and how they stay fresh.
//!
//! A [`Source`] makes or reads the certificate of one identity: PEM files, the signing service of this daemon, or
//! a command of the operator. The [`keeper`] owns all identities of the node, asks their sources when [`rotation`]
//! says so, and is the one writer of the snapshot that handshakes are done with.

pub(crate) mod dev;
pub(crate) mod external;
pub(crate) mod files;
mod install;
pub(crate) mod keeper;
mod rotation;
pub(crate) mod signing;
mod state;
mod watch;
mod x509;

use std::sync::Arc;

use alts_handshake::{Credentials, Identity, SecureRandom};
use async_trait::async_trait;
use pki_types::UnixTime;

use self::install::Refused;
pub(crate) use self::{
    state::{Directory as StateDirectory, Error as StateProblem},
    watch::{Fingerprint, Watch},
};
use crate::config;

/// Randomness that is handed on.
pub(crate) type Random = Arc<dyn SecureRandom + Send + Sync>;

/// What makes or reads certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// PEM files: somebody else renews them.
    Files,
    /// The signing service of this daemon.
    SigningService,
    /// A command of the operator.
    ExternalCa,
}

impl Origin {
    /// Whether the keeper asks for a new certificate at half life. Others are taken when they change.
    pub(crate) fn is_renewed_by_us(self) -> bool {
        self != Self::Files
    }
}

/// Gives the certificates of some identities.
///
/// Whatever it gives is checked before it is used; a source that gives the certificate of another identity does
/// no harm.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    fn origin(&self) -> Origin;

    /// Fresh credentials for exactly this identity, or why there are none: a text for an operator, which never
    /// holds key material. It ends within a bounded time.
    async fn obtain(&self, identity: &Identity, now: UnixTime) -> Result<Credentials, SourceError>;

    /// Says where the operator finds what was refused.
    fn locate(&self, refused: Refused) -> SourceError {
        SourceError::Refused(refused)
    }
}

/// Why a source gives no credentials that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// With file, line and key.
    #[error(transparent)]
    Files(#[from] config::Error),
    /// A file was being written while it was read. It is read again.
    #[error("the files of {account} are being changed")]
    Changing { account: String },
    #[error(transparent)]
    Signing(#[from] signing::Error),
    #[error(transparent)]
    Exec(#[from] external::Error),
    #[error("the certificate for {} is not used: {_0}", _0.account())]
    Refused(Refused),
    #[error("no certificate for {account} came within {seconds} s")]
    TimedOut { account: String, seconds: u64 },
    #[error("making the certificate of {account} has failed unexpectedly; this is a mistake in altsd")]
    Panicked { account: String },
}

impl SourceError {
    /// What kind of failure it is: two with the same code are one bad state, though their values differ, such as
    /// the time of day.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            // Documents are no business of identities.
            Self::Files(config::Error::Unreadable { .. } | config::Error::Document { .. }) => {
                "configuration_unreadable"
            }
            Self::Files(config::Error::Refused { problem, .. }) => files::code(problem),
            Self::Changing { .. } => "files_changing",
            Self::Signing(_) => "signing_failed",
            Self::Exec(error) => error.code(),
            Self::Refused(refused) => refused.code(),
            Self::TimedOut { .. } => "timed_out",
            Self::Panicked { .. } => "panicked",
        }
    }
}

#[cfg(test)]
#[path = "../../tests/support/pki.rs"]
mod pki;
