//! A thousand rotations under load, and verifiers that keep a set of keys for as long as real ones do.

use std::collections::{BTreeSet, VecDeque};

use super::*;

const ROTATIONS: usize = 1_000;

/// How long Istio's proxies, Envoy and istiod keep a set, in seconds.
const CACHES: [u64; 3] = [300, 600, 1_200];

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Who keeps a set for so long, and then fetches it from some node.
struct Verifier {
    cache: u64,
    fetched: u64,
    keys: KeySet,
}

impl Verifier {
    fn check(
        &mut self,
        token: &str,
        nodes: &[Node],
        dice: &mut Dice,
    ) -> Result<(), alts_request_auth::Error> {
        let now = nodes[0].clock.seconds();
        if now - self.fetched >= self.cache {
            let node = &nodes[dice.below(nodes.len() as u64) as usize];
            self.keys = KeySet::parse(&node.keyring().published().document).expect("it can be used");
            self.fetched = now;
        }
        verdict(token, &self.keys, now)
    }
}

/// Rotates on all nodes until each has done so often enough. Nothing that a node has signed may be refused.
async fn rotate(names: &[&str], rotations: usize) {
    let (clock, store) = (Moved::new(), Away::new());
    let mut nodes = Vec::new();
    for name in names {
        let mut node = Node::stopped(name, &clock, Some(&store));
        node.settings.rotate = 1_900;
        node.start().await.expect("it starts");
        nodes.push(node);
    }
    for node in &nodes {
        node.hear().await;
    }
    let mut dice = Dice(42);
    let verifiers = (0..6).map(|number| {
        let cache = CACHES[number % CACHES.len()];
        Verifier {
            cache,
            fetched: NOW - dice.below(cache),
            keys: nodes[0].keyring().published().keys.clone(),
        }
    });
    let mut verifiers: Vec<_> = verifiers.collect();
    let mut tokens: VecDeque<(u64, String)> = VecDeque::new();
    let (mut signed, mut checked) = (vec![BTreeSet::new(); nodes.len()], 0);
    let (mut heard, mut restarts) = (0, 0);
    while signed.iter().any(|kids| kids.len() <= rotations) {
        clock.pass(1 + dice.below(600));
        let now = clock.seconds();
        for at in 0..nodes.len() {
            match dice.below(40) {
                0 => {
                    nodes[at].start().await.expect("it starts again");
                    restarts += 1;
                }
                _ => nodes[at].turn().await,
            }
            // Verifiers keep a set for ten minutes less than keys are published ahead: a node hears in less.
            if dice.below(2) == 0 || now - heard > 250 {
                nodes[at].hear().await;
                heard = if at + 1 == nodes.len() { now } else { heard };
            }
            // A node that begins in a fleet waits until its first key is known.
            let Ok(token) = nodes[at].token() else {
                assert!(signed[at].is_empty(), "node {at} stopped to sign at {now}");
                continue;
            };
            signed[at].insert(kid_of(&token));
            tokens.push_back((now, token));
        }
        while tokens.front().is_some_and(|(at, _)| now > at + 900 + 60) {
            let (_, old) = tokens.pop_front().expect("it is there");
            assert!(verdict(&old, &nodes[0].keyring().published().keys, now).is_err(), "it has ended");
        }
        for verifier in &mut verifiers {
            let (at, token) = &tokens[dice.below(tokens.len() as u64) as usize];
            let verdict = verifier.check(token, &nodes, &mut dice);
            assert_eq!(
                verdict,
                Ok(()),
                "signed at {at}, refused at {now} by who has a set of {}",
                verifier.fetched
            );
            checked += 1;
        }
        let (_, oldest) = tokens.front().expect("there is one");
        for node in &nodes {
            assert_eq!(verdict(oldest, &node.keyring().published().keys, now), Ok(()), "by our own set");
        }
    }
    assert!(checked > rotations * 20 && restarts > rotations / 20, "{checked} tokens, {restarts} restarts");
    assert!(nodes.iter().all(|node| node.published().len() <= 5 * nodes.len()), "sets do not grow");
}

#[tokio::test]
async fn a_thousand_rotations_make_no_verifier_refuse_a_token() {
    rotate(&["a"], ROTATIONS).await;
}

#[tokio::test]
async fn two_nodes_on_one_store_rotate_and_no_verifier_refuses_a_token_whichever_it_asks() {
    rotate(&["a", "b"], ROTATIONS / 4).await;
}
