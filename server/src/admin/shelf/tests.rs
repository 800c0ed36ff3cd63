//! What is told while this node does not decide by a change yet, and while the store does not answer.

use std::path::PathBuf;

use alts_proto::altsd as api;
use alts_store::{Listing, MemoryStore, Watch, Write};
use bytes::Bytes;
use tonic::codegen::http::Extensions;

use super::*;
use crate::{
    policy::{Action, Key, Policy, Resources, Revocations, Sources},
    verifier::Counts,
};

/// Decides by what it has always decided by.
struct Behind {
    stored: Arc<Resources>,
}

#[tonic::async_trait]
impl Decisions for Behind {
    fn current(&self) -> Decided {
        let files = Arc::<Resources>::default();
        let revocations = Arc::<Revocations>::default();
        let sources =
            Sources { default: Action::Deny, files: &files, store: &self.stored, revocations: &revocations };
        Decided {
            policy: Arc::new(Policy::compile(sources, None)),
            files,
            stored: self.stored.clone(),
            revision: Revision(0),
            unknown: None,
            counts: Counts::default(),
            foreign_keys: 0,
            changed_at: 0,
        }
    }

    fn file_of(&self, _: &Key) -> Option<PathBuf> {
        None
    }

    async fn applied(&self, _: Revision, _: Duration) -> bool {
        false
    }
}

/// A store that does not answer.
struct Away;

fn away<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("no route".to_owned()))
}

#[tonic::async_trait]
impl Store for Away {
    async fn get(&self, _: &str) -> Result<Option<alts_store::Entry>, StoreError> {
        away()
    }

    async fn list(&self, _: &str) -> Result<Listing, StoreError> {
        away()
    }

    async fn transact(&self, _: Vec<Write>) -> Result<Revision, StoreError> {
        away()
    }

    async fn watch(&self, _: &str, _: Revision) -> Result<Watch, StoreError> {
        away()
    }

    async fn put(&self, _: &str, _: Bytes, _: Expected) -> Result<Revision, StoreError> {
        away()
    }
}

fn shelf(store: impl Store, stored: Resources) -> Shelf {
    Shelf::new(Some(Arc::new(store)), Arc::new(Behind { stored: Arc::new(stored) }))
}

fn nobody() -> Operator {
    Operator::of(&Extensions::new())
}

#[tokio::test]
async fn what_this_node_does_not_decide_by_yet_is_pending() {
    let shelf = shelf(MemoryStore::new(), Resources::default());
    let created = shelf.create::<PeerList>(&nobody(), "web", api::PeerList::default()).await;
    let created = created.expect("the store has it");
    assert_eq!(created.state(), ResourceState::Pending);
    let found = shelf.get::<PeerList>("peerLists/web").await.expect("the store has it");
    assert_eq!(found.state(), ResourceState::Pending);
    let deleted = shelf.delete::<PeerList>(&nobody(), "peerLists/web", created.revision, false).await;
    assert!(!deleted.expect("it is done").applied);
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_told_of_from_memory_and_not_written_to() {
    let list = PeerList::new(Name::parse("web").expect("it is a name"), "", Vec::new()).expect("it is good");
    let mut stored = Resources::default();
    stored.peer_lists.insert(list.name().clone(), Entry::Good(Arc::new(list)));
    let shelf = shelf(Away, stored);
    let found = shelf.get::<PeerList>("peerLists/web").await.expect("it is remembered");
    assert_eq!((found.state(), found.origin(), found.revision), (ResourceState::Active, Origin::Store, 0));
    let (all, _) = shelf.list::<PeerList>(0, "").await.expect("they are remembered");
    assert_eq!(all.len(), 1);
    let missing = shelf.get::<PeerList>("peerLists/none").await.expect_err("nobody has it");
    assert_eq!(missing.code(), Code::NotFound);

    let refused = [
        shelf.create::<PeerList>(&nobody(), "new", api::PeerList::default()).await.map(drop),
        shelf.update::<PeerList>(&nobody(), found, None, true).await.map(drop),
        shelf.delete::<PeerList>(&nobody(), "peerLists/web", 0, true).await.map(drop),
    ];
    for answer in refused {
        let status = answer.expect_err("it does not answer");
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(status.message().starts_with("store_unavailable: "), "{status}");
    }
}
