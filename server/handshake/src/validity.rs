//! When certificates are valid, and how far a clock may be from that.

use std::time::Duration;

use pki_types::UnixTime;

/// The time in which a certificate, or each of several, is valid: first and last second since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

impl Validity {
    pub(crate) const ALWAYS: Self = Self { not_before: 0, not_after: u64::MAX };

    pub(crate) fn contains(&self, now: UnixTime) -> bool {
        (self.not_before..=self.not_after).contains(&now.as_secs())
    }

    /// The time in which both are valid. Where there is none, it ends before it begins.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }

    /// How far `now` lies outside.
    pub(crate) fn distance(&self, now: UnixTime) -> Duration {
        let now = now.as_secs();
        let early = self.not_before.saturating_sub(now);
        Duration::from_secs(early.max(now.saturating_sub(self.not_after)))
    }

    /// With the allowance at both ends.
    pub(crate) fn widened(self, allowance: u64) -> Self {
        Self {
            not_before: self.not_before.saturating_sub(allowance),
            not_after: self.not_after.saturating_add(allowance),
        }
    }
}

/// The time now, and how many seconds a clock may be wrong.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) now: UnixTime,
    pub(crate) allowance: u64,
}

impl Clock {
    pub(crate) fn strict(now: UnixTime) -> Self {
        Self { now, allowance: 0 }
    }

    /// The time to validate certificates at: the nearest one at which all of them are valid if it is within the
    /// allowance, else now.
    pub(crate) fn time_for(&self, common: Validity) -> UnixTime {
        let Validity { not_before, not_after } = common;
        let now = self.now.as_secs();
        // Certificates that are never valid together have no such time.
        if not_before > not_after || !common.widened(self.allowance).contains(self.now) {
            return self.now;
        }
        UnixTime::since_unix_epoch(Duration::from_secs(now.clamp(not_before, not_after)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn time_moves_into_the_validity_by_at_most_the_allowance() {
        let common = Validity { not_before: 1_000, not_after: 2_000 };
        let cases = [
            (939, 939),
            (940, 1_000),
            (999, 1_000),
            (1_000, 1_000),
            (1_500, 1_500),
            (2_000, 2_000),
            (2_001, 2_000),
            (2_060, 2_000),
            (2_061, 2_061),
        ];
        for (now, expected) in cases {
            let clock = Clock { now: at(now), allowance: 60 };
            assert_eq!(clock.time_for(common), at(expected), "{now}");
            assert_eq!(Clock::strict(at(now)).time_for(common), at(now), "{now} without allowance");
        }
    }

    #[test]
    fn certificates_that_are_never_valid_together_are_judged_now() {
        let never = Validity { not_before: 1_010, not_after: 1_000 };
        for now in [990, 1_000, 1_005, 1_010, 1_020] {
            let clock = Clock { now: at(now), allowance: 60 };
            assert_eq!(clock.time_for(never), at(now));
        }
    }

    #[test]
    fn distance_is_counted_from_the_nearer_end_and_is_none_inside() {
        let validity = Validity { not_before: 1_000, not_after: 2_000 };
        for (now, expected) in [(0, 1_000), (999, 1), (1_000, 0), (2_000, 0), (2_001, 1), (3_000, 1_000)] {
            assert_eq!(validity.distance(at(now)), Duration::from_secs(expected), "{now}");
        }
    }

    #[test]
    fn an_allowance_does_not_leave_the_range_of_time() {
        assert_eq!(Validity::ALWAYS.widened(60), Validity::ALWAYS);
    }
}
