//! Callers of all kinds, by real sockets and real processes.

pub(super) mod program;
mod pure;
mod tcp;
mod unix;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use alts_handshake::Identity;
use pki_types::UnixTime;

use super::{
    Attested, Attestor, Caller, Selector,
    workload::{Workload, Workloads},
};
use crate::clock::{Clock, SystemClock};

/// A clock that is moved by hand.
#[derive(Default)]
pub(super) struct Hand(Mutex<Duration>);

impl Hand {
    pub(super) fn forward(&self, time: Duration) {
        *self.0.lock().expect("nobody panicked") += time;
    }
}

impl Clock for Hand {
    fn now(&self) -> UnixTime {
        SystemClock.now()
    }

    fn monotonic(&self) -> Instant {
        static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *BEGIN.get_or_init(|| SystemClock.monotonic()) + *self.0.lock().expect("nobody panicked")
    }
}

/// Selectors of these texts.
pub(super) fn selectors<const N: usize>(texts: [&str; N]) -> BTreeSet<Selector> {
    texts.iter().map(|text| Selector::parse(text).unwrap_or_else(|problem| panic!("{problem}"))).collect()
}

pub(super) fn workload<const N: usize>(account: &str, texts: [&str; N]) -> Workload {
    let identity = Identity::parse(account).expect("it is an account");
    Workload::new(vec![identity], selectors(texts)).expect("it is a workload")
}

/// An attestor that looks at everything but Kubernetes.
pub(super) fn attestor() -> Attestor {
    let hash = format!("sha256:{}", "0".repeat(64));
    let workloads = Workloads::new(vec![workload("a@example.com", ["path:/a", "user:a", &hash])]);
    Attestor::new(&workloads.expect("there is no tie"), None, Arc::new(SystemClock))
        .expect("it needs nothing")
}

/// The reason why this caller is refused.
pub(super) async fn refusal(caller: &Caller) -> &'static str {
    match caller.attest(&attestor()).await {
        Ok(attested) => panic!("attested: {:?} {:?}", attested.pids(), attested.selectors),
        Err(problem) => problem.reason(),
    }
}

/// What is found of this caller, who must be found.
pub(super) async fn attested(caller: &Caller) -> Arc<Attested> {
    caller.attest(&attestor()).await.unwrap_or_else(|problem| panic!("{problem}"))
}

impl Attested {
    fn says(&self, text: &str) -> bool {
        Selector::parse(text).unwrap_or_else(|problem| panic!("{problem}")).holds(&self.selectors)
    }

    fn of_kind(&self, prefix: &str) -> Vec<String> {
        self.selectors.iter().map(ToString::to_string).filter(|text| text.starts_with(prefix)).collect()
    }
}

/// Whether the test may do what only root may; says so if not.
pub(super) fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: {test} needs root");
    }
    is_root
}
