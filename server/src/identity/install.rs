//! What a new certificate must be before it takes the place of an old one. Pure, and the same for all sources.

use alts_handshake::{Credentials, Error, Identity, SetupError, Trust};
use pki_types::UnixTime;

use super::{Origin, rotation::Held};

/// A certificate that is made for us must have at least so many seconds left.
const MIN_LEFT: u64 = 60;

/// Why a new certificate is not used. Whatever was in use before stays so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it is for {found}, not for {expected}")]
    Foreign { expected: Box<Identity>, found: Box<Identity> },
    #[error("{problem}")]
    Unusable { account: String, problem: SetupError },
    #[error("it ends in {left} s; it needs at least {MIN_LEFT}")]
    TooShort { account: String, left: u64 },
    #[error("more than half of its life is over; the issuer must make it anew")]
    Stale { account: String },
}

impl Refused {
    pub(crate) fn account(&self) -> &str {
        match self {
            Self::Foreign { expected, .. } => expected.account(),
            Self::Unusable { account, .. } | Self::TooShort { account, .. } | Self::Stale { account } => {
                account
            }
        }
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Foreign { .. } => "certificate_foreign",
            Self::Unusable { problem, .. } => code(problem),
            Self::TooShort { .. } => "certificate_too_short",
            Self::Stale { .. } => "certificate_stale",
        }
    }
}

/// The stable code of what is wrong with own credentials.
pub(crate) fn code(problem: &SetupError) -> &'static str {
    match problem {
        SetupError::OwnCertificateUnusable(error) => Error::reason(error).code(),
        other => other.code(),
    }
}

/// Checks new credentials of `expected` against the roots of now. That the key fits the leaf was checked when the
/// credentials were made.
pub(crate) fn check(
    credentials: &Credentials,
    expected: &Identity,
    origin: Origin,
    trust: &Trust,
    now: UnixTime,
) -> Result<(), Refused> {
    let found = credentials.identity();
    let same = match origin {
        // A configuration may name the account only, and the certificate a SPIFFE ID too.
        Origin::Files if expected.spiffe_id().is_none() => found.account() == expected.account(),
        _ => found == expected,
    };
    if !same {
        let (expected, found) = (Box::new(expected.clone()), Box::new(found.clone()));
        return Err(Refused::Foreign { expected, found });
    }
    let account = || expected.account().to_owned();
    trust.check_own(credentials, now).map_err(|problem| Refused::Unusable { account: account(), problem })?;
    if !origin.is_renewed_by_us() {
        return Ok(());
    }
    let (not_before, not_after) = credentials.validity();
    let left = not_after.saturating_sub(now.as_secs());
    if left < MIN_LEFT {
        return Err(Refused::TooShort { account: account(), left });
    }
    // Otherwise it would be renewed at once, and again, for ever. The earliest renewal is what counts.
    if now.as_secs() >= Held::new((not_before, not_after), 0).renew_at {
        return Err(Refused::Stale { account: account() });
    }
    Ok(())
}
