//! Whatever happens to clock, store and process: no token is refused that a verifier should take.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What happens to a node.
#[derive(Clone, Debug)]
enum Event {
    /// So many seconds pass.
    Pass(u64),
    /// The clock is set by so many seconds, while the node runs.
    Set(i64),
    StoreAway(bool),
    Restart,
    Rotate,
    WithdrawActive,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1..4_000_u64).prop_map(Event::Pass),
        3 => (1..40_000_u64).prop_map(Event::Pass),
        2 => (-100_000..100_000_i64).prop_map(Event::Set),
        2 => any::<bool>().prop_map(Event::StoreAway),
        2 => Just(Event::Restart),
        2 => Just(Event::Rotate),
        1 => Just(Event::WithdrawActive),
    ]
}

/// A node, its store and its tokens. Times of the world are true; the node has a clock of its own.
struct World {
    settings: Settings,
    time: u64,
    clock: i64,
    keys: Vec<Key>,
    /// When each key was published and ended, by the clock that nobody sets, as this process knows it.
    since: BTreeMap<String, (Option<i64>, Option<i64>)>,
    is_away: bool,
    /// Since when the set has each key, truly.
    set: BTreeMap<String, u64>,
    /// Of each key, until when some token of it was meant to count, and until when it does for verifiers with the true
    /// time: later, if it was signed while the clock of the node was ahead.
    tokens: BTreeMap<String, (u64, u64)>,
    signed: u64,
    made: u64,
}

impl World {
    fn new(settings: Settings) -> Self {
        Self {
            settings,
            time: NOW,
            clock: 0,
            keys: Vec::new(),
            since: BTreeMap::new(),
            is_away: false,
            set: BTreeMap::new(),
            tokens: BTreeMap::new(),
            signed: 0,
            made: 0,
        }
    }

    fn now(&self) -> u64 {
        self.time.saturating_add_signed(self.clock)
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Pass(seconds) => {
                // The node looks every 15 s; here often enough.
                for _ in 0..seconds / 600 {
                    self.time += 600;
                    self.turn();
                }
                self.time += seconds % 600;
            }
            Event::Set(by) => self.clock = (self.clock + by).clamp(-200_000, 200_000),
            Event::StoreAway(is_away) => self.is_away = *is_away,
            Event::Restart => self.restart(),
            Event::Rotate => {
                for key in self.keys.iter_mut().filter(|key| key.state() == State::Next) {
                    key.soon = true;
                }
            }
            Event::WithdrawActive => self.withdraw(),
        }
        self.turn();
    }

    /// What the process knew is gone, and it believes the dates that it finds.
    fn restart(&mut self) {
        let (now, time) = (self.now(), self.time);
        let then = |date: Option<u64>| date.map(|date| time as i64 - now.saturating_sub(date) as i64);
        let known = |key: &Key| (key.kid.clone(), (then(key.published), then(key.withdrawn.or(key.retired))));
        self.since = self.keys.iter().map(known).collect();
    }

    fn withdraw(&mut self) {
        let (now, time) = (self.now(), self.time);
        for key in self.keys.iter_mut().filter(|key| key.state() == State::Active) {
            key.withdrawn = Some(now);
            key.in_store = false;
            self.since.entry(key.kid.clone()).or_default().1 = Some(time as i64);
            // Its tokens are refused from now on, as was asked for.
            self.tokens.remove(&key.kid);
        }
        if let Some(next) = self.keys.iter_mut().find(|key| key.state() == State::Next) {
            next.at_once = true;
        }
    }

    fn turn(&mut self) {
        for _ in 0..20 {
            self.correct();
            let own = Own { keys: self.keys.clone(), others: Some(false), offered: None };
            let mut steps = plan(self.now(), &own, &self.settings);
            if self.is_away {
                steps.retain(|step| !matches!(step, Step::Publish { .. } | Step::Forget { .. }));
            }
            if steps.is_empty() {
                return self.sign();
            }
            steps.iter().for_each(|step| self.take(step));
        }
        panic!("there is no end to what is planned: {:?}", self.keys);
    }

    fn correct(&mut self) {
        let (now, time) = (self.now(), self.time);
        for key in &mut self.keys {
            let (published, ended) = self.since.get(&key.kid).copied().unwrap_or_default();
            let ago = |at: Option<i64>| at.map(|at| time.saturating_sub_signed(at));
            key.correct(now, ago(published), ago(ended));
        }
    }

    fn take(&mut self, step: &Step) {
        let (now, time, kept) = (self.now(), self.time, self.settings.kept());
        let key =
            |keys: &mut Vec<Key>, kid: &str| keys.iter().position(|key| key.kid == kid).expect("it is there");
        match step {
            Step::Make { at_once, .. } => {
                self.made += 1;
                let kid = format!("key {}", self.made);
                let (published, promised) = (None, 0);
                let new = Key {
                    created: now,
                    published,
                    promised,
                    in_store: false,
                    at_once: *at_once,
                    kept,
                    ..next(&kid, 0)
                };
                self.keys.push(new);
            }
            Step::Publish { kid, reason } => {
                let at = key(&mut self.keys, kid);
                let key = &mut self.keys[at];
                key.in_store = true;
                if matches!(key.state(), State::Retired | State::Withdrawn) {
                    return;
                }
                key.promised = now + PROMISE;
                if key.published.is_none() || *reason == Reason::ClockSetBack {
                    key.published = Some(now);
                    self.since.entry(kid.clone()).or_default().0 = Some(time as i64);
                }
                self.set.entry(kid.clone()).or_insert(time);
            }
            Step::Activate { kid, .. } => {
                let at = key(&mut self.keys, kid);
                assert_eq!(self.keys[at].state(), State::Next, "{kid}");
                self.keys[at].activated = Some(now);
                self.keys[at].in_store = false;
            }
            Step::Retire { kid, at: end, .. } => {
                let at = key(&mut self.keys, kid);
                assert!(*end >= self.keys[at].used.min(now), "{kid}");
                self.keys[at].retired = Some(*end);
                self.keys[at].in_store = false;
                self.since.entry(kid.clone()).or_default().1 = Some(time as i64);
            }
            Step::Forget { kid, .. } => {
                let (meant, living) = self.tokens.get(kid).copied().unwrap_or_default();
                // Whose clock is ahead cannot know better.
                let living = if self.clock > 0 { meant } else { meant.max(living) };
                assert!(time > living, "{kid} is forgotten {} s too early", living - time);
                self.keys.retain(|key| key.kid != *kid);
                self.set.remove(kid);
            }
        }
    }

    /// Signs with what is active, as a token needs it, and looks whether verifiers know it.
    fn sign(&mut self) {
        let (now, time, settings) = (self.now(), self.time, self.settings);
        let mut active = self.keys.iter_mut().filter(|key| key.state() == State::Active);
        let (first, second) = (active.next(), active.next());
        assert!(second.is_none(), "one key signs");
        let Some(key) = first.filter(|key| now <= key.promised) else { return };
        self.signed += 1;
        key.used = key.used.max(now);
        let known = self.set.get(&key.kid).copied();
        let known = known.expect("what signs is in the set");
        assert!(
            key.at_once || time - known >= settings.verifier_cache,
            "{} signs, and a verifier may not know it since {} s",
            key.kid,
            time - known
        );
        let until = self.tokens.entry(key.kid.clone()).or_default();
        let counts = settings.max_lifetime + LEEWAY;
        *until = (until.0.max(time + counts), until.1.max(now + counts));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_verifier_refuses_a_good_token_whatever_happens(
        events in prop::collection::vec(event(), 1..80),
        rotate in 600..90_000_u64,
        ahead in 0..3_000_u64,
    ) {
        let settings = Settings { rotate, publish_ahead: 1_200 + ahead, ..SETTINGS };
        let mut world = World::new(settings);
        world.turn();
        for event in &events {
            world.happen(event);
        }
        prop_assert!(world.signed > 0);
    }

    #[test]
    fn a_store_that_is_away_for_less_than_a_promise_stops_no_signature(
        away in prop::collection::vec((1..PROMISE / 4, 1..20_000_u64), 1..8),
    ) {
        let mut world = World::new(SETTINGS);
        world.turn();
        for (seconds, pause) in away {
            for event in [Event::StoreAway(true), Event::Pass(seconds), Event::StoreAway(false), Event::Pass(pause)] {
                let signed = world.signed;
                world.happen(&event);
                prop_assert!(world.signed > signed, "{event:?}");
            }
        }
    }
}

#[test]
fn keys_take_turns_for_a_year() {
    let mut world = World::new(SETTINGS);
    world.turn();
    let mut keys = std::collections::BTreeSet::new();
    for _ in 0..365 {
        world.happen(&Event::Pass(86_400));
        keys.extend(world.keys.iter().filter(|key| key.state() == State::Active).map(|key| key.kid.clone()));
        assert!(world.keys.len() <= 3, "{:?}", world.keys);
    }
    assert!(keys.len() >= 360, "{}", keys.len());
}
