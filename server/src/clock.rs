//! The only clock. Everything else takes the time as an argument.

use std::time::SystemTime;

use pki_types::UnixTime;

/// Tells the time. A clock that is wrong lets expired certificates in.
pub(crate) trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> UnixTime;
}

/// The clock of the machine.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the only clock")]
    fn now(&self) -> UnixTime {
        // A clock that stands before 1970 reads as 1970, when no certificate is valid yet.
        UnixTime::since_unix_epoch(
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
        )
    }
}
