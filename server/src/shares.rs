//! What one user may have of what all callers share, so that no user keeps out the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::Semaphore;

/// Users that are remembered before those who have nothing any more are forgotten.
const MAX_IDLE: usize = 64;

/// Equal shares, one for each user. Those whose user is not known have one together.
pub(crate) struct Shares {
    each: usize,
    users: Mutex<HashMap<Option<u32>, Weak<Semaphore>>>,
}

impl Shares {
    /// Shares of so many places.
    pub(crate) fn new(each: usize) -> Self {
        Self { each, users: Mutex::default() }
    }

    /// The places of a user: the same ones for as long as any is taken or waited for.
    pub(crate) fn of(&self, user: Option<u32>) -> Arc<Semaphore> {
        // Each entry is put in whole.
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = users.get(&user).and_then(Weak::upgrade) {
            return places;
        }
        if users.len() >= MAX_IDLE {
            users.retain(|_, places| places.strong_count() > 0);
        }
        let places = Arc::new(Semaphore::new(self.each));
        users.insert(user, Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_one_share_and_takes_nothing_of_others() {
        let shares = Shares::new(2);
        let take = |user| shares.of(user).try_acquire_owned();
        let taken = [take(Some(7)).expect("one"), take(Some(7)).expect("two")];
        assert!(take(Some(7)).is_err());
        for other in [Some(0), Some(8), None] {
            assert!(take(other).is_ok(), "{other:?}");
        }
        drop(taken);
        assert!(take(Some(7)).is_ok());
    }

    #[test]
    fn users_who_have_nothing_are_forgotten_and_others_never() {
        let shares = Shares::new(1);
        let kept: Vec<_> = (0..100).map(|user| shares.of(Some(user)).try_acquire_owned()).collect();
        for user in 100..10_000 {
            assert!(shares.of(Some(user)).try_acquire_owned().is_ok());
        }
        assert!((0..100).all(|user| shares.of(Some(user)).try_acquire_owned().is_err()));
        drop(kept);
        shares.of(None);
        assert!(shares.users.lock().expect("nobody panicked").len() <= MAX_IDLE);
    }
}
