//! What the tests of the keeper share: a clock that is moved by hand, a source that does as it is told, and an
//! observer that remembers.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use alts_handshake::{Authority, Credentials, Identity, SystemRandom};
use async_trait::async_trait;
use pki_types::UnixTime;
use tokio::sync::Semaphore;

use super::{NodeState, Note, Observe};
use crate::{
    clock::{Clock, SystemClock},
    identity::{
        Origin, Random, Source, SourceError,
        signing::{DEFAULT_LIFETIME, SigningService},
    },
};

/// 2026-01-01.
pub(super) const NOW: u64 = 1_767_225_600;

pub(super) fn random() -> Random {
    Arc::new(SystemRandom::new())
}

pub(super) fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

pub(super) fn identity(account: &str) -> Identity {
    Identity::parse(account).expect("it is an account")
}

pub(super) fn signing_service() -> SigningService {
    let authority = Authority::parse("prod.example.com").expect("it is an authority");
    SigningService::in_memory(vec![authority], DEFAULT_LIFETIME, at(NOW), random()).expect("it needs nothing")
}

pub(super) struct TestClock(pub(super) AtomicU64);

impl TestClock {
    pub(super) fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        at(self.get())
    }

    fn monotonic(&self) -> Instant {
        SystemClock.monotonic()
    }
}

/// How a [`Scripted`] source answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Issue,
    Fail,
    /// The certificate of another account.
    Foreign,
    Panic,
}

/// A signing service that fails on demand, counts, and answers only when it may.
pub(super) struct Scripted {
    pub(super) service: SigningService,
    pub(super) mode: Mutex<Mode>,
    pub(super) calls: AtomicUsize,
    /// One permit for each answer.
    pub(super) gate: Semaphore,
}

impl Scripted {
    pub(super) fn new(service: &SigningService) -> Arc<Self> {
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        let mode = Mutex::new(Mode::Issue);
        Arc::new(Self { service: service.clone(), mode, calls: AtomicUsize::new(0), gate })
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.mode.lock().expect("nobody panics with it") = mode;
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Source for Scripted {
    fn origin(&self) -> Origin {
        Origin::ExternalCa
    }

    async fn obtain(&self, identity: &Identity, now: UnixTime) -> Result<Credentials, SourceError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.expect("it is never closed").forget();
        let mode = *self.mode.lock().expect("nobody panics with it");
        match mode {
            Mode::Issue => Ok(self.service.issue(identity, now)?),
            Mode::Foreign => {
                Ok(self.service.issue(&super::bench::identity("admin@prod.example.com"), now)?)
            }
            Mode::Fail => Err(SourceError::TimedOut { account: identity.to_string(), seconds: 10 }),
            Mode::Panic => panic!("a source of the test panics"),
        }
    }
}

/// Remembers everything.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) notes: Mutex<Vec<Note>>,
    pub(super) rotations: Mutex<Vec<(Origin, bool)>>,
    pub(super) state: Mutex<NodeState>,
}

impl Memory {
    /// The notes since the last call.
    pub(super) fn notes(&self) -> Vec<Note> {
        std::mem::take(&mut self.notes.lock().expect("nobody panics with it"))
    }

    pub(super) fn rotations(&self) -> Vec<(Origin, bool)> {
        std::mem::take(&mut self.rotations.lock().expect("nobody panics with it"))
    }

    pub(super) fn state(&self) -> NodeState {
        *self.state.lock().expect("nobody panics with it")
    }
}

impl Observe for Memory {
    fn rotated(&self, origin: Origin, ok: bool) {
        self.rotations.lock().expect("nobody panics with it").push((origin, ok));
    }

    fn state(&self, state: &NodeState) {
        *self.state.lock().expect("nobody panics with it") = *state;
    }

    fn noted(&self, note: &Note) {
        self.notes.lock().expect("nobody panics with it").push(note.clone());
    }
}
