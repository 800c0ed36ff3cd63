//! How much the daemon takes on: the scalars of the section `handshaker`.

use std::time::Duration;

use toml::Spanned;

use super::{error::Error, raw, text::Text};

/// How much the daemon takes on at once, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of one listener. Further ones wait until one has closed.
    pub(crate) max_connections: usize,
    /// Of one HTTP/2 connection.
    pub(crate) max_concurrent_streams: u32,
    /// From the start message to the result.
    pub(crate) handshake_timeout: Duration,
    /// Of a stream on which no start message has come.
    pub(crate) idle_timeout: Duration,
    /// In progress, in total.
    pub(crate) max_handshakes: usize,
    /// In progress, of one account.
    pub(crate) max_handshakes_per_caller: usize,
    /// How far a peer's clock may be off: its certificate is taken so long before it begins and after it ends.
    pub(crate) clock_skew: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // gRPC core opens one for nearly every handshake, and it is short; the others keep a few for ever.
            max_connections: 1_024,
            // One grpc-go process may hold 100 client and 100 server streams on its one connection; lower limits
            // make its two ends wait for each other.
            max_concurrent_streams: 1_024,
            // Half of the 20 s after which clients give up: they still get to read the reason.
            handshake_timeout: Duration::from_secs(10),
            // A grpc-go server opens its stream before its peer has written, and waits 30 s for that.
            idle_timeout: Duration::from_secs(40),
            // A handshake keeps at most one incomplete frame, 32 KiB: this many stay within 128 MiB. What a
            // connection has sent of incomplete requests comes on top of that.
            max_handshakes: 4_096,
            // A quarter of the total: one caller cannot keep out the others.
            max_handshakes_per_caller: 1_024,
            // Certificates of an hour are new often; machines without a common clock would refuse each other.
            clock_skew: Duration::from_secs(MAX_CLOCK_SKEW_SECONDS),
        }
    }
}

/// The longest that a limit of time may be set to, in seconds. A longer one is a slip of the pen.
pub(crate) const MAX_SECONDS: u64 = 3_600;

/// What the specification of the handshake allows at most.
pub(crate) const MAX_CLOCK_SKEW_SECONDS: u64 = 60;

impl Text<'_> {
    pub(super) fn limits(&self, raw: &raw::Handshaker) -> Result<Limits, Error> {
        let default = Limits::default();
        let key = |name: &str| format!("handshaker.{name}");
        // All of them are at most u32::MAX, so that no conversion loses anything.
        let count = |name, value: &Option<Spanned<u64>>, default: usize| {
            let number = self.number(value, key(name), 1, u32::MAX.into());
            number.map(|value| value.map_or(default, |value| value as usize))
        };
        let seconds = |name, value: &Option<Spanned<u64>>, (least, most), default| {
            let number = self.number(value, key(name), least, most);
            number.map(|value| value.map_or(default, Duration::from_secs))
        };
        let streams = default.max_concurrent_streams as usize;
        let time = (1, MAX_SECONDS);
        let skew = (0, MAX_CLOCK_SKEW_SECONDS);
        Ok(Limits {
            max_connections: count("max_connections", &raw.max_connections, default.max_connections)?,
            max_concurrent_streams: count("max_concurrent_streams", &raw.max_concurrent_streams, streams)?
                as u32,
            handshake_timeout: seconds(
                "handshake_timeout_seconds",
                &raw.handshake_timeout_seconds,
                time,
                default.handshake_timeout,
            )?,
            idle_timeout: seconds(
                "idle_timeout_seconds",
                &raw.idle_timeout_seconds,
                time,
                default.idle_timeout,
            )?,
            max_handshakes: count("max_handshakes", &raw.max_handshakes, default.max_handshakes)?,
            max_handshakes_per_caller: count(
                "max_handshakes_per_caller",
                &raw.max_handshakes_per_caller,
                default.max_handshakes_per_caller,
            )?,
            clock_skew: seconds("clock_skew_seconds", &raw.clock_skew_seconds, skew, default.clock_skew)?,
        })
    }
}
