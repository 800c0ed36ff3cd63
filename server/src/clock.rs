//! The only clock.

use std::time::{Duration, Instant, SystemTime};

use pki_types::UnixTime;
use time::OffsetDateTime;

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

/// A time as an operator reads it, such as `2026-01-31T23:59:59Z`.
pub(crate) fn utc(seconds: u64) -> String {
    let date =
        i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    date.map_or_else(
        || format!("{seconds} s after 1970"),
        |date| {
            let (month, (hour, minute, second)) = (u8::from(date.month()), date.to_hms());
            format!("{:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", date.year(), date.day())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (253_402_300_800, "253402300800 s after 1970"),
            (u64::MAX, "18446744073709551615 s after 1970"),
        ];
        for (seconds, text) in cases {
            assert_eq!(utc(seconds), text);
        }
    }
}
