//! The suite on the engine of one node.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use alts_store::{SledStore, Store, conformance::Engine};
use async_trait::async_trait;
use tempfile::TempDir;

struct Disk {
    directory: TempDir,
    count: AtomicU32,
}

impl Disk {
    fn new() -> Self {
        Self { directory: TempDir::new().expect("a temporary directory"), count: AtomicU32::new(0) }
    }
}

#[async_trait]
impl Engine for Disk {
    async fn fresh(&self) -> Arc<dyn Store> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let store = SledStore::open(&self.directory.path().join(number.to_string()), 64 << 20);
        Arc::new(store.expect("nothing is there"))
    }
}

mod suite {
    use super::Disk;

    alts_store::conformance!(Disk::new());
}
