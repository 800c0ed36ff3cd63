//! The suite on the engine in memory, and what holds for it alone.

use std::sync::Arc;

use alts_store::{Expected, MemoryStore, Revision, Store, Write, conformance::Engine};
use async_trait::async_trait;

struct Memory;

#[async_trait]
impl Engine for Memory {
    async fn fresh(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new())
    }
}

mod suite {
    use super::Memory;

    alts_store::conformance!(Memory);
}

#[tokio::test]
async fn revisions_count_the_transactions_that_change_something() {
    let store = MemoryStore::new();
    let put = |key| Write::put(key, "1", Expected::Anything);
    let delete = |key| Write::delete(key, Expected::Anything);
    let table = [
        (vec![put("a"), put("b")], 1),
        (vec![put("a")], 2),
        (vec![delete("nothing")], 2),
        (vec![delete("nothing"), delete("a")], 3),
        (vec![delete("a"), delete("nothing")], 3),
    ];
    for (writes, revision) in table {
        let what = format!("{writes:?}");
        assert_eq!(store.transact(writes).await, Ok(Revision(revision)), "{what}");
    }
}
