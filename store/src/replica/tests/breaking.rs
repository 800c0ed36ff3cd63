//! A source that is there, and tells something that cannot be.

use super::*;
use crate::Batch;

/// A store with one change that a watch cannot tell. A listing knows what is there.
struct Scarred {
    store: MemoryStore,
    scar: Revision,
    problem: Error,
}

impl Scarred {
    fn at(scar: u64, problem: Error) -> Arc<Self> {
        Arc::new(Self { store: MemoryStore::new(), scar: Revision(scar), problem })
    }
}

#[async_trait]
impl Store for Scarred {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.store.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        self.store.list(prefix).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, Error> {
        self.store.transact(writes).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        let watch = self.store.watch(prefix, after).await?;
        let begins = stream::once(future::ready(Ok(Batch {
            changes: Vec::new(),
            revision: after,
            past: crate::Past::default(),
        })));
        let (scar, problem) = (self.scar, self.problem.clone());
        Ok(Box::pin(begins.chain(watch.map(move |batch| match batch {
            Ok(batch) if after < scar && scar <= batch.revision => Err(problem.clone()),
            batch => batch,
        }))))
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_read_is_told_as_a_loss_and_passed_over_by_a_listing() {
    let source = Scarred::at(2, Error::Corrupt("the key is no text".to_owned()));
    let first = put(&*source, "p/a", "1").await;
    let mut updates = follow(settings(&source, None, &Clock::new()));
    assert_eq!(next(&mut updates).await, all(&[&first], first.revision));
    assert_eq!(next(&mut updates).await, live());
    let second = put(&*source, "p/b", "2").await;
    let problem = "the key is no text".to_owned();
    assert_eq!(next(&mut updates).await, Update::Contact(Contact::Lost { since: Some(START), problem }));
    assert_eq!(next(&mut updates).await, all(&[&first, &second], second.revision));
    assert_eq!(next(&mut updates).await, live());
    let third = put(&*source, "p/c", "3").await;
    assert_eq!(next(&mut updates).await, one(&third));
}

#[tokio::test]
async fn a_watch_that_begins_and_always_breaks_is_a_loss() {
    let source = Scarred::at(2, away());
    let first = put(&*source, "p/a", "1").await;
    let mut updates = follow(settings(&source, None, &Clock::new()));
    assert_eq!(next(&mut updates).await, all(&[&first], first.revision));
    assert_eq!(next(&mut updates).await, live());
    put(&*source, "p/b", "2").await;
    assert_eq!(next(&mut updates).await, lost(Some(START)));
}
