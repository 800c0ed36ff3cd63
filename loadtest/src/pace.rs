//! When operations begin, and what counts as the latency of one. Pure: times are arguments, since the beginning of the
//! run.

use std::time::Duration;

use crate::units::Rate;

/// Who says when an operation begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// Each worker begins the next one as soon as its last has ended.
    Closed,
    /// They are due at this rate, whether or not the ones before have ended.
    Open(Rate),
}

/// The part of a run that is measured: what is due from the end of the warm-up to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Goes before, and is not measured.
    pub(crate) warm_up: Duration,
    /// How long is measured.
    pub(crate) measured: Duration,
}

impl Window {
    /// When nothing more begins.
    pub(crate) fn end(self) -> Duration {
        self.warm_up + self.measured
    }
}

/// When the operations of an open loop are due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    rate: Rate,
    end: Duration,
}

impl Schedule {
    /// At this rate, for the whole of a run.
    pub(crate) fn new(rate: Rate, window: Window) -> Self {
        Self { rate, end: window.end() }
    }

    /// When the operation with this index, counted from 0, is due; `None` when that is not in the run any more.
    pub(crate) fn due(&self, index: u64) -> Option<Duration> {
        // Exact to far below a nanosecond for all that 24 hours at the highest rate hold.
        let due = Duration::try_from_secs_f64(index as f64 / self.rate.per_second()).ok()?;
        (due < self.end).then_some(due)
    }

    /// How many operations are due before `time`.
    pub(crate) fn due_before(&self, time: Duration) -> u64 {
        let is_due = |index: u64| self.due(index).is_some_and(|due| due < time);
        // Rounding may be off by one either way.
        let mut count = (time.min(self.end).as_secs_f64() * self.rate.per_second()) as u64;
        while is_due(count) {
            count += 1;
        }
        while count > 0 && !is_due(count - 1) {
            count -= 1;
        }
        count
    }
}

/// One operation, as the clock saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// When it was due; in a closed loop that is when it began.
    pub(crate) due: Duration,
    /// When it began: later, if no worker was free.
    pub(crate) begun: Duration,
    /// When it had ended.
    pub(crate) ended: Duration,
}

impl Timing {
    /// What its user waited, counted from when it was due. A tester that counted from the beginning would leave out the
    /// time in which a server that stands still keeps operations from beginning (coordinated omission).
    pub(crate) fn latency(self) -> Duration {
        self.ended.saturating_sub(self.due)
    }

    /// What it took from its beginning.
    pub(crate) fn service(self) -> Duration {
        self.ended.saturating_sub(self.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn schedule(rate: &str, warm_up: u64, measured: u64) -> Schedule {
        let window =
            Window { warm_up: Duration::from_secs(warm_up), measured: Duration::from_secs(measured) };
        Schedule::new(Rate::parse(rate).expect("it is a rate"), window)
    }

    #[test]
    fn operations_are_due_at_even_distances_until_the_end() {
        let cases = [
            ("100", 0, Some(0)),
            ("100", 1, Some(10_000)),
            ("100", 299, Some(2_990_000)),
            ("100", 300, None),
            ("100", u64::MAX, None),
            ("0.5", 1, Some(2_000_000)),
            ("0.5", 2, None),
            ("1000000", 2_999_999, Some(2_999_999)),
            ("1000000", 3_000_000, None),
        ];
        for (rate, index, micros) in cases {
            let due = schedule(rate, 1, 2).due(index).map(|due| due.as_nanos().div_ceil(1_000));
            assert_eq!(due, micros, "{rate} {index}");
        }
    }

    #[test]
    fn as_many_are_due_before_a_time_as_are_due_one_by_one() {
        for rate in ["100", "0.5", "3", "333.3", "7919"] {
            let schedule = schedule(rate, 0, 3);
            for millis in [0, 1, 10, 999, 1_000, 1_001, 2_000, 3_000, 9_000] {
                let time = Duration::from_millis(millis);
                let counted =
                    (0..).take_while(|index| schedule.due(*index).is_some_and(|due| due < time)).count();
                assert_eq!(schedule.due_before(time), counted as u64, "{rate} {millis}");
            }
        }
    }

    /// What one worker measures of a server that needs a millisecond, and at one operation a second.
    fn with_a_stall_at(stalled: u64, schedule: Schedule) -> Vec<Timing> {
        let mut free = Duration::ZERO;
        let due = (0..).map_while(|index| schedule.due(index).map(|due| (index, due)));
        due.map(|(index, due)| {
            let begun = free.max(due);
            free = begun + if index == stalled { Duration::from_secs(1) } else { MILLISECOND };
            Timing { due, begun, ended: free }
        })
        .collect()
    }

    #[test]
    fn a_stall_of_a_second_is_felt_by_all_that_were_due_in_it() {
        let timings = with_a_stall_at(50, schedule("100", 0, 5));
        assert_eq!(timings.len(), 500);
        let late = |by: fn(Timing) -> Duration| {
            timings.iter().filter(|timing| by(**timing) > 10 * MILLISECOND).count()
        };
        // A hundred were due while it stood still, and some while it caught up; one had a long time of service.
        assert!((100..=112).contains(&late(Timing::latency)), "{}", late(Timing::latency));
        assert_eq!(late(Timing::service), 1);
        // Those that were due early in the stall waited for nearly all of it.
        let waited = timings.iter().filter(|timing| timing.latency() > 500 * MILLISECOND).count();
        assert!((50..=60).contains(&waited), "{waited}");
    }

    #[test]
    fn without_a_stall_latency_and_service_are_the_same() {
        for timing in with_a_stall_at(u64::MAX, schedule("100", 0, 5)) {
            assert_eq!((timing.latency(), timing.service()), (MILLISECOND, MILLISECOND));
        }
    }
}
