//! What is revoked, as a value that is cheap to change and to copy.

use std::{collections::HashMap, sync::Arc};

use super::kinds::Revoked;
use crate::token::parts::RevokedBy;

/// Parts of the whole: a change copies one of them, and with it so much less.
const PARTS: usize = 256;

/// Revoked tokens and subjects, each with the first second in which it does not count any more; never, if nothing.
#[derive(Clone)]
pub(super) struct RevokedSet(Arc<[Arc<Part>]>);

type Part = HashMap<Revoked, Option<u64>>;

impl Default for RevokedSet {
    fn default() -> Self {
        Self(vec![Arc::default(); PARTS].into())
    }
}

impl RevokedSet {
    /// Whether it is revoked at a time, in seconds since 1970.
    pub(super) fn counts(&self, revoked: &Revoked, now: u64) -> bool {
        self.0[place(revoked)].get(revoked).is_some_and(|until| until.is_none_or(|until| now < until))
    }

    pub(super) fn put(&mut self, revoked: Revoked, until: Option<u64>) {
        self.part(&revoked).insert(revoked, until);
    }

    pub(super) fn remove(&mut self, revoked: &Revoked) {
        self.part(revoked).remove(revoked);
    }

    /// How many there are, with those that have ended: counted in no time.
    pub(super) fn total(&self) -> usize {
        self.0.iter().map(|part| part.len()).sum()
    }

    /// How many tokens and how many subjects there are, with those that have ended.
    pub(super) fn len(&self) -> (usize, usize) {
        let all = self.total();
        let tokens =
            |part: &Arc<Part>| part.keys().filter(|revoked| revoked.what == RevokedBy::Token).count();
        let tokens = self.0.iter().map(tokens).sum::<usize>();
        (tokens, all - tokens)
    }

    fn part(&mut self, revoked: &Revoked) -> &mut Part {
        Arc::make_mut(&mut Arc::make_mut(&mut self.0)[place(revoked)])
    }
}

/// Hashes are spread evenly over their first byte.
fn place(revoked: &Revoked) -> usize {
    usize::from(revoked.hash[0]) % PARTS
}
