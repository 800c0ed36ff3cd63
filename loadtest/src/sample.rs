//! What was measured. Each worker keeps its own; they are put together at the end.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use crate::pace::Timing;

/// Longest time that is told apart from longer ones.
const LONGEST: Duration = Duration::from_secs(300);

/// Digits of a time that count.
const DIGITS: u8 = 3;

/// Most different reasons that are counted apart; those beyond are counted as `other`.
const MAX_REASONS: usize = 64;

/// Longest text of a reason that is kept, in characters.
const MAX_TEXT: usize = 300;

/// What an operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A handshake.
    Handshake,
    /// A token.
    Token,
    /// A write on a connection, or a write that was sent back.
    Record,
}

impl Kind {
    /// Its name in arguments and reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Token => "token",
            Self::Record => "record",
        }
    }
}

/// What an operation that succeeded has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Bytes: of a handshake and a token those on the wire, of a write its payload.
    pub(crate) bytes: u64,
    /// Frames of the record protocol.
    pub(crate) frames: u64,
}

/// Why an operation failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// The stable name of the reason.
    pub(crate) code: Cow<'static, str>,
    /// In words.
    pub(crate) text: String,
}

impl Failure {
    /// For this reason.
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        let text: String = text.into();
        Self { code: code.into(), text: text.chars().take(MAX_TEXT).collect() }
    }
}

/// How often there was a reason, and what it said the first time.
#[derive(Clone, Debug)]
pub(crate) struct Failures {
    pub(crate) count: u64,
    pub(crate) text: String,
}

/// Operations of one kind.
#[derive(Clone)]
pub(crate) struct OfKind {
    /// From when they were due, in nanoseconds, of those that succeeded.
    pub(crate) latency: Histogram<u64>,
    /// From when they began.
    pub(crate) service: Histogram<u64>,
    /// What they moved.
    pub(crate) moved: Moved,
    /// By reason.
    pub(crate) failures: BTreeMap<Cow<'static, str>, Failures>,
}

impl OfKind {
    fn new() -> Self {
        // They grow up to the longest time that there is; most never do.
        let empty = || Histogram::new(DIGITS).expect("0 to 5 digits can be had");
        Self { latency: empty(), service: empty(), moved: Moved::default(), failures: BTreeMap::new() }
    }

    /// Operations that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().map(|failures| failures.count).sum()
    }

    fn succeeded(&mut self, timing: Timing, moved: Moved) {
        let nanos = |time: Duration| time.min(LONGEST).as_nanos() as u64;
        self.latency.record(nanos(timing.latency())).expect("it resizes itself up to all that a u64 holds");
        self.service.record(nanos(timing.service())).expect("it resizes itself up to all that a u64 holds");
        self.moved.bytes += moved.bytes;
        self.moved.frames += moved.frames;
    }

    fn fail(&mut self, code: Cow<'static, str>, count: u64, text: String) {
        let is_new = !self.failures.contains_key(&code);
        let code = if is_new && self.failures.len() >= MAX_REASONS { Cow::Borrowed("other") } else { code };
        self.failures.entry(code).or_insert(Failures { count: 0, text }).count += count;
    }

    fn add(&mut self, other: Self) {
        // Both have the same digits and resize themselves, so that all of it fits.
        self.latency.add(&other.latency).expect("it resizes itself");
        self.service.add(&other.service).expect("it resizes itself");
        self.moved.bytes += other.moved.bytes;
        self.moved.frames += other.moved.frames;
        for (code, failures) in other.failures {
            self.fail(code, failures.count, failures.text);
        }
    }
}

/// All that was measured.
#[derive(Default)]
pub(crate) struct Samples {
    kinds: BTreeMap<Kind, Box<OfKind>>,
    /// How many operations succeeded in each second of what was measured.
    pub(crate) seconds: Vec<u64>,
}

impl Samples {
    /// Takes an operation whose measured part began at `from`.
    pub(crate) fn add(
        &mut self,
        kind: Kind,
        from: Duration,
        timing: Timing,
        outcome: Result<Moved, Failure>,
    ) {
        let of_kind = self.kinds.entry(kind).or_insert_with(|| Box::new(OfKind::new()));
        match outcome {
            Ok(moved) => {
                of_kind.succeeded(timing, moved);
                let second = timing.ended.saturating_sub(from).as_secs() as usize;
                if self.seconds.len() <= second {
                    self.seconds.resize(second + 1, 0);
                }
                self.seconds[second] += 1;
            }
            Err(Failure { code, text }) => of_kind.fail(code, 1, text),
        }
    }

    /// Takes those of another worker.
    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, of_kind) in other.kinds {
            self.kinds.entry(kind).or_insert_with(|| Box::new(OfKind::new())).add(*of_kind);
        }
        if self.seconds.len() < other.seconds.len() {
            self.seconds.resize(other.seconds.len(), 0);
        }
        for (all, more) in self.seconds.iter_mut().zip(other.seconds) {
            *all += more;
        }
    }

    /// Each kind that was met, by name, and before several `all` of them together.
    pub(crate) fn into_parts(self) -> Vec<(&'static str, OfKind)> {
        let together = (self.kinds.len() > 1).then(|| {
            let mut all = OfKind::new();
            self.kinds.values().for_each(|of_kind| all.add(OfKind::clone(of_kind)));
            ("all", all)
        });
        let kinds = self.kinds.into_iter().map(|(kind, of_kind)| (kind.name(), *of_kind));
        together.into_iter().chain(kinds).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn timing(due: u64, begun: u64, ended: u64) -> Timing {
        Timing { due: at(due), begun: at(begun), ended: at(ended) }
    }

    #[test]
    fn workers_are_put_together_kind_by_kind_and_all_in_one() {
        let (mut one, mut other) = (Samples::default(), Samples::default());
        let moved = Ok(Moved { bytes: 10, frames: 1 });
        one.add(Kind::Token, at(0), timing(0, 5, 10), moved.clone());
        one.add(Kind::Handshake, at(0), timing(0, 0, 20), moved.clone());
        other.add(Kind::Handshake, at(0), timing(1_000, 1_000, 2_500), moved);
        other.add(Kind::Handshake, at(0), timing(0, 0, 1), Err(Failure::new("refused", "no")));
        one.merge(other);
        assert_eq!(one.seconds, [2, 0, 1]);
        let parts = one.into_parts();
        let counts: Vec<_> = parts
            .iter()
            .map(|(name, part)| (*name, part.latency.len(), part.failed(), part.moved.bytes))
            .collect();
        assert_eq!(counts, [("all", 3, 1, 30), ("handshake", 2, 1, 20), ("token", 1, 0, 10)]);
    }

    #[test]
    fn latency_is_counted_from_when_it_was_due_and_service_from_its_beginning() {
        let mut samples = Samples::default();
        samples.add(Kind::Token, at(0), timing(0, 90, 100), Ok(Moved::default()));
        let parts = samples.into_parts();
        let (_, token) = parts.first().expect("there is one");
        let near =
            |histogram: &Histogram<u64>, millis: u64| histogram.max().abs_diff(millis * 1_000_000) < 100_000;
        assert!(near(&token.latency, 100) && near(&token.service, 10));
    }

    #[test]
    fn reasons_without_end_are_counted_in_one() {
        let mut samples = Samples::default();
        for number in 0..1_000 {
            let failure = Failure::new(format!("reason_{number}"), "x".repeat(1_000));
            samples.add(Kind::Token, at(0), timing(0, 0, 1), Err(failure));
        }
        let parts = samples.into_parts();
        let (_, token) = parts.first().expect("there is one");
        assert_eq!((token.failed(), token.failures.len()), (1_000, MAX_REASONS + 1));
        assert!(token.failures.values().all(|failures| failures.text.len() == MAX_TEXT));
    }

    #[test]
    fn what_takes_longer_than_the_longest_time_counts_as_that() {
        let mut samples = Samples::default();
        let timing = Timing { due: at(0), begun: at(0), ended: Duration::from_secs(86_400) };
        samples.add(Kind::Token, at(0), timing, Ok(Moved::default()));
        let parts = samples.into_parts();
        assert!(parts[0].1.latency.max() >= LONGEST.as_nanos() as u64);
    }
}
