//! The handles of handshakes that this node has finished: who holds one, and is the program that ran the handshake,
//! proves by it whom it met. It may be shown as often as wanted until it ends.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use alts_handshake::{Identity, SecureRandom, sha256};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::parts::{self, Context};
use crate::attest::{Attested, SeenProcesses};

/// How long a handle counts, in seconds: what a handshake proved, it proved of that moment.
const LIFETIME: u64 = 300;

/// Most handles that are remembered, and most of one user: about 20 MB.
const MAX_HANDLES: usize = 65_536;
const MAX_OF_ONE_USER: usize = 8_192;

/// Bytes of a handle, and the characters that they are written in.
const BYTES: usize = 32;
const CHARACTERS: usize = 43;

/// All that has ended is forgotten each time so many have come.
const SWEEP: usize = 1_024;

/// Handshakes that have finished. Of each handle only a hash is kept, and looked up.
#[derive(Default)]
pub(crate) struct Contexts(Mutex<Table>);

/// A finished handshake.
pub(crate) struct Noted<'a> {
    /// The peer.
    pub(crate) peer: &'a Identity,
    /// The account that met it.
    pub(crate) local: &'a str,
    /// Whose share of what is remembered it takes.
    pub(crate) user: Option<u32>,
    /// The processes that ran it.
    pub(crate) processes: SeenProcesses,
}

#[derive(Default)]
struct Table {
    held: HashMap<Hash, Held>,
    /// The handles of each user, the oldest first; never none.
    of_users: HashMap<Option<u32>, VecDeque<Hash>>,
    since_sweep: usize,
}

type Hash = [u8; 32];

struct Held {
    context: Context,
    processes: SeenProcesses,
}

impl Contexts {
    /// Notes a finished handshake and answers its handle; nothing, if there is no randomness. `now` is in seconds since
    /// 1970.
    pub(crate) fn note(&self, noted: Noted<'_>, now: u64, random: &dyn SecureRandom) -> Option<String> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        if random.fill(&mut *bytes).is_err() {
            tracing::error!(reason = "no_randomness", "a handshake gets no handle: there is no randomness");
            return None;
        }
        let handle = BASE64_URL_SAFE_NO_PAD.encode(*bytes);
        let Noted { peer, local, user, processes } = noted;
        let (peer, local, expires) = (peer.clone(), local.to_owned(), now.saturating_add(LIFETIME));
        let held = Held { context: Context { peer, local, expires }, processes };
        // Each entry is put in whole, so that a panic elsewhere does not spoil it.
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.put(user, sha256(handle.as_bytes()), held, now);
        Some(handle)
    }
}

impl parts::Contexts for Contexts {
    fn find(&self, handle: &str, caller: &Attested, now: u64) -> Option<Context> {
        self.held(handle, now, |processes| processes.are_of(caller))
    }
}

impl Contexts {
    /// The handshake of a handle that counts still, if its processes are those that are wanted.
    fn held(&self, handle: &str, now: u64, wanted: impl FnOnce(&SeenProcesses) -> bool) -> Option<Context> {
        if handle.len() != CHARACTERS {
            return None;
        }
        let hash = sha256(handle.as_bytes());
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = table.held.get(&hash).filter(|held| now < held.context.expires)?;
        wanted(&held.processes).then(|| held.context.clone())
    }
}

impl Table {
    fn put(&mut self, user: Option<u32>, hash: Hash, held: Held, now: u64) {
        self.since_sweep += 1;
        if self.since_sweep >= SWEEP {
            self.sweep(now);
        }
        if self.of_users.get(&user).is_some_and(|own| own.len() >= MAX_OF_ONE_USER) {
            self.forget_oldest(user);
        }
        if self.held.len() >= MAX_HANDLES {
            let most = self.of_users.iter().max_by_key(|(_, handles)| handles.len());
            if let Some(user) = most.map(|(user, _)| *user) {
                self.forget_oldest(user);
            }
        }
        self.held.insert(hash, held);
        self.of_users.entry(user).or_default().push_back(hash);
    }

    /// Forgets all that has ended.
    fn sweep(&mut self, now: u64) {
        self.since_sweep = 0;
        self.held.retain(|_, held| now < held.context.expires);
        let held = &self.held;
        self.of_users.retain(|_, handles| {
            handles.retain(|hash| held.contains_key(hash));
            !handles.is_empty()
        });
    }

    fn forget_oldest(&mut self, user: Option<u32>) {
        let Some(handles) = self.of_users.get_mut(&user) else { return };
        if let Some(oldest) = handles.pop_front() {
            self.held.remove(&oldest);
        }
        if handles.is_empty() {
            self.of_users.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests;
