//! A store in a real etcd keeps what every store promises.
#![cfg(feature = "etcd")]

use std::sync::Arc;

use alts_store::{EtcdSettings, EtcdStore, MemoryStore, Store, conformance::Engine};
use async_trait::async_trait;

#[expect(dead_code, reason = "other tests need the rest of it")]
#[path = "support/etcd.rs"]
mod etcd;

use etcd::Etcd;

/// A cluster of one member for each fact, or none where there is no etcd.
struct OneMember(Option<Etcd>);

/// What stands in where there is no etcd: the suite cannot skip a fact. That is said on a line of its own.
struct Memory;

#[async_trait]
impl Engine for Memory {
    async fn fresh(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new())
    }
}

impl OneMember {
    fn start() -> Self {
        Self(Etcd::is_there("the conformance of etcd").then(|| Etcd::start(1)))
    }
}

#[async_trait]
impl Engine for OneMember {
    async fn fresh(&self) -> Arc<dyn Store> {
        let Some(etcd) = &self.0 else { return Memory.fresh().await };
        let settings = EtcdSettings::new(etcd.endpoints(), "altsd/");
        Arc::new(EtcdStore::connect(settings).await.expect("the settings are good"))
    }

    async fn forget(&self, store: &Arc<dyn Store>) {
        let Some(etcd) = &self.0 else { return Memory.forget(store).await };
        let revision = store.list("").await.expect("etcd answers").revision;
        etcd.control(&["compact", &revision.to_string()]);
    }
}

alts_store::conformance!(OneMember::start());
