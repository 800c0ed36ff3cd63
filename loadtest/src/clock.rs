//! The only clock.
#![expect(clippy::disallowed_methods, reason = "this is the place they are allowed in")]

use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;

/// Tells how long something has been going on. It never goes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Since it was started.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The time of day, since 1970.
pub(crate) fn since_1970() -> Duration {
    // A clock before 1970 reads as 1970.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// A time of day as people read it, such as `2026-01-31T23:59:59Z`.
pub(crate) fn utc(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
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
