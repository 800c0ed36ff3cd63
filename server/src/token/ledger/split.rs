//! What the store says, in two streams: what the policy is made of, and what tokens are judged by.

use alts_store::{Change, Update};
use tokio::sync::mpsc;

use super::kinds::is_of_tokens;

/// Updates that wait for either side. After that the store waits, and so does the other side.
const WAITING: usize = 64;

/// The two sides of what a store says.
pub(crate) struct Sides {
    /// All but the records of tokens. Where a change was of these alone, it says so with no changes.
    pub(crate) policy: mpsc::Receiver<Update>,
    /// Nothing but the records of tokens, in the same way.
    pub(crate) tokens: mpsc::Receiver<Update>,
}

/// Divides what a store says. Both sides must be listened to; if either is dropped, the other ends.
pub(crate) fn split(mut updates: mpsc::Receiver<Update>) -> Sides {
    let (to_policy, policy) = mpsc::channel(WAITING);
    let (to_tokens, tokens) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        loop {
            let update = tokio::select! {
                update = updates.recv() => update,
                () = to_policy.closed() => None,
                () = to_tokens.closed() => None,
            };
            let Some(update) = update else { return };
            let (of_policy, of_tokens) = parts(update);
            // Tokens first: the daemon waits for the first word on the policy's side only, and then begins to serve.
            if let Some(update) = of_tokens
                && to_tokens.send(update).await.is_err()
            {
                return;
            }
            if let Some(update) = of_policy
                && to_policy.send(update).await.is_err()
            {
                return;
            }
        }
    });
    Sides { policy, tokens }
}

/// What an update is to either side.
fn parts(update: Update) -> (Option<Update>, Option<Update>) {
    match update {
        Update::All { entries, revision } => {
            let (tokens, policy) = entries.into_iter().partition(|entry| is_of_tokens(&entry.key));
            (Some(Update::All { entries: policy, revision }), Some(Update::All { entries: tokens, revision }))
        }
        Update::Changes { changes, revision } => {
            let (tokens, policy) =
                changes.into_iter().partition(|change: &Change| is_of_tokens(change.key()));
            (
                Some(Update::Changes { changes: policy, revision }),
                Some(Update::Changes { changes: tokens, revision }),
            )
        }
        Update::Contact(contact) => (Some(Update::Contact(contact.clone())), Some(Update::Contact(contact))),
        // The policy's side tells operators for both.
        update @ (Update::SetBack { .. } | Update::Copy(_)) => (Some(update), None),
    }
}

#[cfg(test)]
mod tests {
    use alts_store::{Contact, Entry, Revision};

    use super::*;

    const AT: Revision = Revision(7);

    fn entry(key: &str) -> Entry {
        Entry { key: key.to_owned(), value: "x".into(), revision: AT }
    }

    fn put(key: &str) -> Change {
        Change::Put(entry(key))
    }

    fn deleted(key: &str) -> Change {
        Change::Deleted { key: key.to_owned(), revision: AT }
    }

    /// What each side is told of one update.
    fn told(update: Update) -> [Option<Update>; 2] {
        let (policy, tokens) = parts(update);
        [policy, tokens]
    }

    #[test]
    fn each_side_is_told_its_own_keys_and_every_revision() {
        let (keys, uses, tokens) = ("token-keys/a", "token-uses/b", "token-revocations/tokens/c");
        let of = |keys: &[&str]| {
            Some(Update::All { entries: keys.iter().copied().map(entry).collect(), revision: AT })
        };
        let all = of(&["revocations/keys/d", "rules/e", keys, tokens, uses, "token-keysf"]);
        let policy = of(&["revocations/keys/d", "rules/e", "token-keysf"]);
        assert_eq!(told(all.expect("it is one")), [policy, of(&[keys, tokens, uses])]);

        let of = |changes: &[Change]| Some(Update::Changes { changes: changes.to_vec(), revision: AT });
        for (all, policy, tokens) in [
            (vec![put("rules/e"), deleted(uses)], vec![put("rules/e")], vec![deleted(uses)]),
            (vec![deleted("rules/e")], vec![deleted("rules/e")], vec![]),
            (vec![put(keys), deleted(tokens)], vec![], vec![put(keys), deleted(tokens)]),
        ] {
            assert_eq!(told(of(&all).expect("it is one")), [of(&policy), of(&tokens)]);
        }
    }

    #[test]
    fn both_sides_hear_of_contact_and_the_policy_alone_of_the_rest() {
        for contact in [Contact::Live, Contact::Lost { since: None, problem: "gone".to_owned() }] {
            let update = Update::Contact(contact);
            assert_eq!(told(update.clone()), [Some(update.clone()), Some(update)]);
        }
        let rest = [Update::Copy(None), Update::SetBack { known: AT, found: Revision(1) }];
        for update in rest {
            assert_eq!(told(update.clone()), [Some(update), None]);
        }
    }

    #[tokio::test]
    async fn a_side_that_is_slow_loses_nothing() {
        let (updates, source) = mpsc::channel(1);
        let Sides { mut policy, mut tokens } = split(source);
        let count = 3 * WAITING as u64;
        let saying = tokio::spawn(async move {
            for revision in 1..=count {
                let (changes, revision) = (vec![put("token-uses/a")], Revision(revision));
                updates.send(Update::Changes { changes, revision }).await.expect("it is listened to");
            }
        });
        let revision = |update: Option<Update>| match update {
            Some(Update::Changes { revision, .. }) => revision.0,
            other => panic!("{other:?}"),
        };
        let reading = tokio::spawn(async move {
            for expected in 1..=count {
                assert_eq!(revision(tokens.recv().await), expected);
            }
        });
        // The policy's side begins only when the rest can go no further.
        while policy.len() < WAITING {
            tokio::task::yield_now().await;
        }
        for expected in 1..=count {
            assert_eq!(revision(policy.recv().await), expected);
        }
        saying.await.expect("all is said");
        reading.await.expect("all is heard");
    }

    #[tokio::test]
    async fn when_one_side_is_gone_the_other_ends() {
        for of_tokens in [true, false] {
            let (_updates, source) = mpsc::channel(1);
            let Sides { mut policy, mut tokens } = split(source);
            let ended = if of_tokens {
                drop(tokens);
                policy.recv().await
            } else {
                drop(policy);
                tokens.recv().await
            };
            assert_eq!(ended, None);
        }
    }
}
