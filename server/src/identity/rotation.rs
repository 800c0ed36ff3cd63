//! When a certificate is renewed. Pure: the time, what is held and what has failed go in, a decision comes out.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use pki_types::UnixTime;

/// How far, in percent of half a life, the renewal of a certificate may lie from it. Without this, certificates
/// that were made together would be renewed together for ever.
const JITTER_PERCENT: u64 = 10;

/// The pause after the first failure. Each is twice the one before, and up to as much again by chance.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two tries.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The pause between two looks at files that are bad and do not change.
const STEADY_PAUSE: Duration = Duration::from_secs(60);

/// From this many failures on, pauses grow no more.
const MOST_STEPS: u32 = 16;

/// A certificate that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    /// At half of its life, more or less.
    pub(crate) renew_at: u64,
}

impl Held {
    /// A certificate of this validity. `draw` is any number; it moves the renewal and is drawn once.
    pub(crate) fn new((not_before, not_after): (u64, u64), draw: u64) -> Self {
        let half = not_after.saturating_sub(not_before) / 2;
        let jitter = half / 100 * JITTER_PERCENT + half % 100 * JITTER_PERCENT / 100;
        let renew_at = (not_before.saturating_add(half) - jitter).saturating_add(draw % (2 * jitter + 1));
        Self { not_before, not_after, renew_at: renew_at.min(not_after) }
    }

    pub(crate) fn is_valid(&self, now: UnixTime) -> bool {
        (self.not_before..=self.not_after).contains(&now.as_secs())
    }
}

/// What has been tried in vain since it last worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failing {
    /// When it first failed.
    pub(crate) since: u64,
    /// When it last failed.
    pub(crate) last: u64,
    pub(crate) attempts: u32,
    pause: Duration,
}

impl Failing {
    /// One more failure, now. `draw` is any number, which moves the next try.
    pub(crate) fn again(before: Option<Self>, held: Option<&Held>, now: UnixTime, draw: u64) -> Self {
        let attempts = before.map_or(0, |before| before.attempts).saturating_add(1);
        let now = now.as_secs();
        let left = held.map(|held| held.not_after.saturating_sub(now)).filter(|left| *left > 0);
        let pause = pause(attempts, draw);
        // While there is something to lose, a pause never takes more than half of what is left of it.
        let pause = left.map_or(pause, |left| pause.min(Duration::from_secs(left / 2)).max(FIRST_PAUSE));
        Self { since: before.map_or(now, |before| before.since), last: now, attempts, pause }
    }

    /// The same for files that were bad, which are looked at again before long: with time they may become good.
    pub(crate) fn steadily(before: Option<Self>, now: UnixTime) -> Self {
        let attempts = before.map_or(0, |before| before.attempts).saturating_add(1);
        let now = now.as_secs();
        Self { since: before.map_or(now, |before| before.since), last: now, attempts, pause: STEADY_PAUSE }
    }

    /// When the next try is due.
    pub(crate) fn retry_at(&self) -> u64 {
        self.last.saturating_add(self.pause.as_secs())
    }

    /// A clock that was set back says nothing about how long ago the last try was: then it is over.
    fn is_pausing(&self, now: UnixTime) -> bool {
        (self.last..self.retry_at()).contains(&now.as_secs())
    }
}

fn pause(attempts: u32, draw: u64) -> Duration {
    let mut pauses = ExponentialBuilder::new()
        .with_min_delay(FIRST_PAUSE)
        // The jitter adds up to as much again.
        .with_max_delay(LONGEST_PAUSE / 2)
        .without_max_times()
        .with_jitter()
        .with_jitter_seed(draw)
        .build();
    pauses.nth(attempts.clamp(1, MOST_STEPS) as usize - 1).unwrap_or(LONGEST_PAUSE)
}

/// What to do about a certificate now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing before this time.
    Keep { until: u64 },
    /// Get a new one. The old one stays in use until then.
    Renew { reason: Reason },
}

/// Why a certificate is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There is none.
    Missing,
    /// About half of its life is over.
    HalfLife,
    /// Its life is over.
    Expired,
    /// It begins in the future: the clock was set back.
    NotYetValid,
    /// Somebody wants another.
    Wanted,
}

/// Whether somebody wants a certificate though it is not its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    #[default]
    No,
    /// When no pause is on.
    InTurn,
    /// Also in a pause: an operator says so, or files have changed.
    AtOnce,
}

/// Decides from nothing but its arguments. Whoever asks again at `until`, or earlier, misses nothing; as a clock
/// can be set at any time, one asks again before long in any case.
pub(crate) fn decide(
    now: UnixTime,
    held: Option<&Held>,
    failing: Option<&Failing>,
    wanted: Wanted,
) -> Decision {
    let reason = match held {
        None => Reason::Missing,
        Some(held) if now.as_secs() > held.not_after => Reason::Expired,
        Some(held) if now.as_secs() < held.not_before => Reason::NotYetValid,
        Some(held) if now.as_secs() >= held.renew_at => Reason::HalfLife,
        Some(_) if wanted != Wanted::No => Reason::Wanted,
        Some(held) => return Decision::Keep { until: held.renew_at },
    };
    renew_unless_pausing(reason, now, failing, wanted)
}

/// The same for a certificate that somebody else renews: it is looked for when it changes, and while it is bad or
/// what is held is not valid, which says so to whoever has forgotten it.
pub(crate) fn decide_for_files(
    now: UnixTime,
    held: Option<&Held>,
    failing: Option<&Failing>,
    wanted: Wanted,
) -> Decision {
    let reason = match held {
        None => Reason::Missing,
        Some(held) if now.as_secs() > held.not_after => Reason::Expired,
        Some(held) if now.as_secs() < held.not_before => Reason::NotYetValid,
        Some(_) if wanted != Wanted::No || failing.is_some() => Reason::Wanted,
        Some(held) => return Decision::Keep { until: held.not_after.saturating_add(1) },
    };
    renew_unless_pausing(reason, now, failing, wanted)
}

fn renew_unless_pausing(
    reason: Reason,
    now: UnixTime,
    failing: Option<&Failing>,
    wanted: Wanted,
) -> Decision {
    match failing {
        Some(failing) if wanted != Wanted::AtOnce && failing.is_pausing(now) => {
            Decision::Keep { until: failing.retry_at() }
        }
        _ => Decision::Renew { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_767_225_600;
    const HOUR: u64 = 3_600;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn hour(draw: u64) -> Held {
        Held::new((START, START + HOUR), draw)
    }

    fn failing(times: u32, held: Option<&Held>, now: u64) -> Failing {
        let once = |before, draw| Some(Failing::again(before, held, at(now), u64::from(draw)));
        (0..times).fold(None, once).expect("it failed at least once")
    }

    #[test]
    fn each_state_has_its_decision() {
        let held = hour(0);
        let renew = |reason| Decision::Renew { reason };
        let keep = |until| Decision::Keep { until };
        let one = failing(1, None, START + 10);
        let retry = one.retry_at();
        let late =
            Failing { since: START, last: START + 2_000, attempts: 9, pause: Duration::from_secs(200) };
        let table = [
            ("there is none", START, None, None, renew(Reason::Missing)),
            ("there is none and it just failed", START + 10, None, Some(&one), keep(retry)),
            ("the pause is over", retry, None, Some(&one), renew(Reason::Missing)),
            ("a clock set back ends the pause", START + 9, None, Some(&one), renew(Reason::Missing)),
            ("it is new", START, Some(&held), None, keep(held.renew_at)),
            ("one second before", held.renew_at - 1, Some(&held), None, keep(held.renew_at)),
            ("at its time", held.renew_at, Some(&held), None, renew(Reason::HalfLife)),
            ("its last second", START + HOUR, Some(&held), None, renew(Reason::HalfLife)),
            ("behind its end", START + HOUR + 1, Some(&held), None, renew(Reason::Expired)),
            ("years behind", START + 99_999 * HOUR, Some(&held), None, renew(Reason::Expired)),
            ("before its begin", START - 1, Some(&held), None, renew(Reason::NotYetValid)),
            ("in 1970", 0, Some(&held), None, renew(Reason::NotYetValid)),
            ("due in a pause", START + 2_100, Some(&held), Some(&late), keep(START + 2_200)),
            ("due behind a pause", START + 2_200, Some(&held), Some(&late), renew(Reason::HalfLife)),
            // A failure of before says nothing while nothing is due.
            ("not due, with a pause", START + 5, Some(&held), Some(&one), keep(held.renew_at)),
        ];
        for (name, now, held, failing, expected) in table {
            assert_eq!(decide(at(now), held, failing, Wanted::No), expected, "{name}");
        }
    }

    #[test]
    fn what_is_wanted_is_renewed_early_and_at_once_also_in_a_pause() {
        let held = hour(0);
        let pausing = failing(5, Some(&held), START + 10);
        let renew = |reason| Decision::Renew { reason };
        let keep = Decision::Keep { until: pausing.retry_at() };
        let table = [
            (None, Wanted::InTurn, renew(Reason::Wanted)),
            (None, Wanted::AtOnce, renew(Reason::Wanted)),
            (Some(&pausing), Wanted::InTurn, keep),
            (Some(&pausing), Wanted::AtOnce, renew(Reason::Wanted)),
        ];
        for (failing, wanted, expected) in table {
            assert_eq!(decide(at(START + 11), Some(&held), failing, wanted), expected, "{wanted:?}");
            let for_files = decide_for_files(at(START + 11), Some(&held), failing, wanted);
            assert_eq!(for_files, expected, "{wanted:?}");
        }
    }

    #[test]
    fn files_are_looked_at_when_they_change_and_every_minute_while_they_are_bad() {
        let bad = Failing::steadily(Some(Failing::steadily(None, at(START))), at(START + 7));
        assert_eq!((bad.since, bad.attempts, bad.retry_at()), (START, 2, START + 67));
        let held = hour(0);
        let decide = |now, failing| decide_for_files(at(now), Some(&held), failing, Wanted::No);
        let renew = |reason| Decision::Renew { reason };
        let keep = |until| Decision::Keep { until };
        assert_eq!(decide(START, None), keep(START + HOUR + 1));
        assert_eq!(decide(START + 8, Some(&bad)), keep(START + 67));
        assert_eq!(decide(START + 67, Some(&bad)), renew(Reason::Wanted));
        assert_eq!(decide(START + 6, Some(&bad)), renew(Reason::Wanted));
        // What is not valid is looked at, and then in turn.
        assert_eq!(decide(START + HOUR, None), keep(START + HOUR + 1));
        assert_eq!(decide(START + HOUR + 1, None), renew(Reason::Expired));
        assert_eq!(decide(START - 1, None), renew(Reason::NotYetValid));
        let expired = Failing::steadily(None, at(START + HOUR + 1));
        assert_eq!(decide(START + HOUR + 2, Some(&expired)), keep(START + HOUR + 61));
    }

    #[test]
    fn the_renewal_lies_within_a_tenth_of_half_a_life_and_both_ends_are_reached() {
        let times: Vec<_> = (0..361).map(|draw| hour(draw).renew_at - START).collect();
        assert_eq!((times.iter().min(), times.iter().max()), (Some(&1_620), Some(&1_980)));
        assert_eq!(hour(u64::MAX), hour(u64::MAX), "it is drawn once");
    }

    #[test]
    fn no_validity_is_too_odd_to_decide_on() {
        let odd = [(0, 0), (5, 5), (5, 4), (u64::MAX, 0), (0, u64::MAX), (u64::MAX, u64::MAX), (7, 8)];
        for (not_before, not_after) in odd {
            for draw in [0, 1, u64::MAX / 2, u64::MAX] {
                let held = Held::new((not_before, not_after), draw);
                assert!(held.renew_at <= not_after, "{held:?}");
                for now in [0, 5, START, u64::MAX] {
                    // What counts is that there is a decision, and that an invalid certificate is never kept.
                    let kept =
                        matches!(decide(at(now), Some(&held), None, Wanted::No), Decision::Keep { .. });
                    assert!(!kept || held.is_valid(at(now)), "{held:?} at {now}");
                }
            }
        }
    }

    #[test]
    fn pauses_grow_from_one_second_to_five_minutes_and_no_further() {
        for draw in 0..200 {
            for attempts in [1, 2, 5, 8, 9, 16, 17, 1_000, u32::MAX] {
                let pause = pause(attempts, draw).as_secs_f64();
                let least = f64::from(attempts.min(9) - 1).exp2().min(150.0);
                assert!((least..=2.0 * least).contains(&pause), "{attempts}: {pause}");
            }
        }
    }

    #[test]
    fn a_pause_never_outlasts_what_is_left_of_a_certificate() {
        let held = hour(0);
        for left in [1, 2, 3, 10, 100, 599] {
            let now = START + HOUR - left;
            let failing = failing(20, Some(&held), now);
            let most = now + (left / 2).max(1);
            assert!(failing.retry_at() <= most, "{left}: {failing:?}");
        }
        // With nothing to lose it is a pause like others.
        assert!(failing(20, Some(&held), START + HOUR).retry_at() >= START + HOUR + 150);
    }

    #[test]
    fn the_begin_of_an_outage_is_remembered() {
        let first = Failing::again(None, None, at(START), 1);
        let second = Failing::again(Some(first), None, at(START + 9), 2);
        assert_eq!((second.since, second.last, second.attempts), (START, START + 9, 2));
    }

    /// Moves a clock through an outage, as the loop does: at every second that it is due, and no other.
    struct Simulation {
        now: u64,
        draw: u64,
        held: Option<Held>,
        failing: Option<Failing>,
        tries: Vec<u64>,
        unserved: u64,
    }

    impl Simulation {
        fn new(seed: u64) -> Self {
            Self { now: START, draw: seed, held: None, failing: None, tries: Vec::new(), unserved: 0 }
        }

        fn run(&mut self, seconds: u64, works: bool) {
            for _ in 0..seconds {
                if let Decision::Renew { .. } =
                    decide(at(self.now), self.held.as_ref(), self.failing.as_ref(), Wanted::No)
                {
                    self.try_now(works);
                }
                self.unserved += u64::from(!self.held.is_some_and(|held| held.is_valid(at(self.now))));
                self.now += 1;
            }
        }

        fn try_now(&mut self, works: bool) {
            // Any sequence that scatters will do.
            self.draw =
                self.draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.tries.push(self.now);
            if works {
                self.held = Some(Held::new((self.now - 60, self.now + HOUR), self.draw >> 20));
                self.failing = None;
            } else {
                self.failing =
                    Some(Failing::again(self.failing, self.held.as_ref(), at(self.now), self.draw));
            }
        }
    }

    #[test]
    fn over_days_there_is_always_a_certificate_and_no_more_tries_than_needed() {
        for seed in 0..5 {
            let mut one = Simulation::new(seed);
            one.run(3 * 24 * HOUR, true);
            assert_eq!(one.unserved, 0, "{seed}");
            // One for each half life of about half an hour.
            assert!((120..=170).contains(&one.tries.len()), "{}", one.tries.len());
        }
    }

    #[test]
    fn a_source_that_is_down_for_hours_is_asked_ever_less_and_the_old_certificate_serves_to_its_end() {
        for seed in 0..5 {
            let mut one = Simulation::new(seed);
            one.run(10, true);
            one.run(6 * HOUR, false);
            let made = 1;
            // About 3,600 s of 21,600 were served.
            assert!((17_900..=18_100).contains(&one.unserved), "{}", one.unserved);
            let failed = one.tries.len() - made;
            assert!((80..=220).contains(&failed), "{failed}");
            let unserved = one.unserved;
            one.run(LONGEST_PAUSE.as_secs() + 1, true);
            assert!(one.unserved - unserved <= LONGEST_PAUSE.as_secs(), "it is back within one pause");
            assert_eq!(one.failing, None);
        }
    }

    #[test]
    fn a_short_outage_is_not_noticed() {
        for seed in 0..5 {
            let mut one = Simulation::new(seed);
            one.run(10, true);
            one.run(HOUR / 2, false);
            one.run(HOUR, true);
            assert_eq!(one.unserved, 0, "{seed}");
        }
    }

    #[test]
    fn a_clock_that_jumps_leaves_nobody_without_a_certificate() {
        for (back, by) in [(true, 24 * HOUR), (true, 30), (false, 24 * HOUR), (false, 20 * 60)] {
            let mut one = Simulation::new(7);
            one.run(100, true);
            one.now = if back { one.now - by } else { one.now + by };
            one.run(HOUR, true);
            assert_eq!(one.unserved, 0, "{back} {by}");
            // Also in the pause after a failure.
            one.held = None;
            one.run(100, false);
            let tries = one.tries.len();
            one.now = if back { one.now - by } else { one.now + by };
            one.run(1, true);
            assert_eq!(one.tries.len(), tries + 1, "{back} {by}");
        }
    }

    #[test]
    fn many_certificates_made_together_are_not_renewed_together() {
        let mut per_second = std::collections::HashMap::<u64, usize>::new();
        let mut draw: u64 = 1;
        for _ in 0..1_000 {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *per_second.entry(hour(draw >> 20).renew_at).or_default() += 1;
        }
        let most = per_second.values().max().copied().unwrap_or_default();
        assert!(most <= 15 && per_second.len() > 250, "{most} in one second, {} seconds", per_second.len());
    }
}
