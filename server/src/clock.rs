//! The only clock.

use std::time::{Duration, Instant, SystemTime};

use pki_types::UnixTime;

/// Tells the time.
pub(crate) trait Clock: Send + Sync {
    /// The time of day, which certificates are compared with.
    fn now(&self) -> UnixTime;

    /// The time of day since 1970, to less than the second that certificates are content with: for records.
    fn since_1970(&self) -> Duration {
        Duration::from_secs(self.now().as_secs())
    }

    /// A time that never goes back, for durations.
    fn monotonic(&self) -> Instant;

    /// How long ago `earlier` was.
    fn since(&self, earlier: Instant) -> Duration {
        self.monotonic().saturating_duration_since(earlier)
    }
}

/// The clock of the machine.
pub(crate) struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the place they are allowed in")]
impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(self.since_1970())
    }

    fn since_1970(&self) -> Duration {
        // A clock before 1970 reads as 1970: no certificate is valid then, so that every handshake is refused.
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}
