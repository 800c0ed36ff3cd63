//! Operations of several kinds, each in its share.

use super::{Scenario, Worker as Any};
use crate::sample::{Failure, Kind};

/// Largest share of one kind.
const MAX_SHARE: u32 = 1_000;

/// How often each kind comes: `handshake=8,token=1,record=1`. At least one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mix(Vec<(Kind, u32)>);

/// Scenarios and their shares.
pub(crate) struct Mixed {
    mix: Mix,
    scenarios: Vec<Scenario>,
}

/// A user who does something of everything.
pub(crate) struct Worker {
    turns: Turns,
    workers: Vec<Any>,
    chosen: usize,
}

impl Mix {
    /// Reads `handshake=8,token=1,record=1`; a kind that is not named, or has 0, does not come.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let problem = || {
            format!(
                "{text:?} is no mix: write kinds and their shares, 0 to {MAX_SHARE}, such as handshake=8,token=1,record=1"
            )
        };
        let mut mix: Vec<(Kind, u32)> = Vec::new();
        for part in text.split(',') {
            let (name, share) = part.trim().split_once('=').ok_or_else(problem)?;
            let kind =
                [Kind::Handshake, Kind::Token, Kind::Record].into_iter().find(|kind| kind.name() == name);
            let kind = kind.ok_or_else(problem)?;
            let share = share.parse().ok().filter(|share| *share <= MAX_SHARE).ok_or_else(problem)?;
            if mix.iter().any(|(known, _)| *known == kind) {
                return Err(problem());
            }
            mix.push((kind, share));
        }
        mix.retain(|(_, share)| *share > 0);
        if mix.is_empty() { Err(problem()) } else { Ok(Self(mix)) }
    }

    /// The kinds that come.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.0.iter().map(|(kind, _)| *kind)
    }
}

impl std::fmt::Display for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(kind, share)| format!("{}={share}", kind.name())).collect();
        f.write_str(&parts.join(","))
    }
}

impl Mixed {
    /// Of these scenarios, one for each kind of the mix, in its order.
    pub(crate) fn new(mix: Mix, scenarios: Vec<Scenario>) -> Self {
        Self { mix, scenarios }
    }

    pub(crate) fn worker(&self, index: usize) -> Worker {
        let workers = self.scenarios.iter().map(|scenario| scenario.worker(index)).collect();
        Worker { turns: Turns::new(&self.mix, index), workers, chosen: 0 }
    }
}

impl Worker {
    pub(crate) fn choose(&mut self) -> Kind {
        self.chosen = self.turns.next();
        self.workers[self.chosen].choose()
    }

    pub(crate) fn chosen(&mut self) -> &mut Any {
        &mut self.workers[self.chosen]
    }

    pub(crate) async fn finish(&mut self) -> Result<(), Failure> {
        for worker in &mut self.workers {
            worker.finish().await?;
        }
        Ok(())
    }
}

/// Whose turn it is. Each kind comes in exactly its share, and as evenly as can be: it gains its share each turn, and
/// the one with most has the turn and pays all shares for it.
struct Turns {
    shares: Vec<i64>,
    gained: Vec<i64>,
}

impl Turns {
    /// Workers begin at different places, so that not all of them do the same at once.
    fn new(mix: &Mix, index: usize) -> Self {
        let shares: Vec<i64> = mix.0.iter().map(|(_, share)| i64::from(*share)).collect();
        let mut turns = Self { gained: vec![0; shares.len()], shares };
        let round: i64 = turns.shares.iter().sum();
        for _ in 0..index % usize::try_from(round).unwrap_or(1) {
            turns.next();
        }
        turns
    }

    fn next(&mut self) -> usize {
        let mut most = 0;
        for index in 0..self.shares.len() {
            self.gained[index] += self.shares[index];
            if self.gained[index] > self.gained[most] {
                most = index;
            }
        }
        self.gained[most] -= self.shares.iter().sum::<i64>();
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_exactly_its_share_and_comes_evenly() {
        let mix = Mix::parse("handshake=8,token=1,record=1").expect("it is a mix");
        for index in 0..20 {
            let mut turns = Turns::new(&mix, index);
            let round: Vec<_> = (0..10).map(|_| turns.next()).collect();
            let count = |kind| round.iter().filter(|turn| **turn == kind).count();
            assert_eq!([count(0), count(1), count(2)], [8, 1, 1], "{round:?}");
        }
        let even = Mix::parse("token=1,record=1").expect("it is a mix");
        let mut turns = Turns::new(&even, 0);
        assert_eq!([turns.next(), turns.next(), turns.next(), turns.next()], [0, 1, 0, 1]);
    }

    #[test]
    fn what_is_no_mix_is_refused_with_what_would_be_one() {
        for text in [
            "",
            "handshake",
            "handshake=",
            "handshake=x",
            "handshake=-1",
            "handshake=1001",
            "other=1",
            "token=0",
            "token=1,token=1",
            "token=1,",
            "handshake=0,token=0,record=0",
        ] {
            assert!(Mix::parse(text).expect_err(text).contains("handshake=8"), "{text}");
        }
        let mix = Mix::parse("record=1, token=0").map(|mix| mix.to_string());
        assert_eq!(mix, Ok("record=1".to_owned()));
    }
}
