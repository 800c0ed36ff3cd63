//! A node whose policy is made of documents and a store, as a real verifier keeps it.

use std::{fs, sync::Arc, time::Duration};

use alts_proto::altsd::{
    node_client::NodeClient, policy_client::PolicyClient, revocations_client::RevocationsClient,
    token_revocations_client::TokenRevocationsClient,
};
use alts_store::{ReplicaSettings, Store, Update, follow};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tonic::{Code, Status, transport::Channel};

use super::{Admin, Fake, NOW, Stopped, channel, nobody_else, unwatched};
use crate::{
    admin::{ListenerFacts, Parts, Standing, services},
    clock::Clock,
    metrics::Metrics,
    policy::Action,
    token::ledger::{self, Ledger},
    verifier::{PolicyFiles, Verifier, writer},
};

/// A served node. Its documents are in a directory of its own.
pub(crate) struct World {
    pub(crate) admin: Admin,
    pub(crate) channel: Channel,
    pub(crate) directory: TempDir,
    pub(crate) ledger: Arc<Ledger>,
    _following: oneshot::Receiver<()>,
}

impl World {
    /// Without documents.
    pub(crate) async fn of(store: Option<Arc<dyn Store>>) -> Self {
        Self::with(store, "").await
    }

    /// With one document, in TOML.
    pub(crate) async fn with(store: Option<Arc<dyn Store>>, document: &str) -> Self {
        let directory = tempfile::tempdir().expect("there is room");
        let (verifier, ledger, following) = verifier(store.clone(), documents(&directory, document)).await;
        let parts = Parts { ledger: ledger.clone(), ..parts(verifier, store, Fake::with([])) };
        let admin = Admin::of_services(services(parts));
        let channel = channel(&admin.socket()).await;
        Self { admin, channel, directory, ledger, _following: following }
    }

    pub(crate) fn policy(&self) -> PolicyClient<Channel> {
        PolicyClient::new(self.channel.clone())
    }

    pub(crate) fn revocations(&self) -> RevocationsClient<Channel> {
        RevocationsClient::new(self.channel.clone())
    }

    pub(crate) fn token_revocations(&self) -> TokenRevocationsClient<Channel> {
        TokenRevocationsClient::new(self.channel.clone())
    }

    pub(crate) fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel.clone())
    }
}

/// What is served of a node that hears nothing of tokens.
pub(super) fn parts(verifier: Arc<Verifier>, store: Option<Arc<dyn Store>>, fake: Fake) -> Parts {
    let (trail, stopped) = unwatched();
    let standing = Arc::new(Standing {
        verifier,
        clock: Arc::new(Stopped),
        engine: store.as_ref().map(|_| "memory"),
        listeners: vec![ListenerFacts { address: "unix:/h".to_owned(), callers: "fixed" }],
        handshakes: Arc::new(Semaphore::new(3)),
        max_handshakes: 5,
        trail: trail.clone(),
        signing_keys: None,
        started_at: NOW - 60,
        started: Stopped.monotonic(),
        ready: tokio::sync::watch::channel(true).1,
    });
    Parts {
        certificates: Arc::new(fake),
        clock: Arc::new(Stopped),
        operators: nobody_else(),
        store,
        ledger: following(None, None),
        decisions: standing.clone(),
        node: standing,
        trail,
        signing_keys: None,
        stopped,
    }
}

/// A ledger of what is told of a store.
fn following(store: Option<Arc<dyn Store>>, updates: Option<mpsc::Receiver<Update>>) -> Arc<Ledger> {
    ledger::start(ledger::Parts { store, updates, max_offline: None, clock: Arc::new(Stopped) }).0
}

/// A verifier and a ledger that follow a store.
pub(super) async fn verifier(
    store: Option<Arc<dyn Store>>,
    files: PolicyFiles,
) -> (Arc<Verifier>, Arc<Ledger>, oneshot::Receiver<()>) {
    let followed = |source| {
        follow(ReplicaSettings {
            source,
            identity: "test".to_owned(),
            prefix: String::new(),
            copy: None,
            now: Arc::new(|| NOW),
            seed: 0,
        })
    };
    let sides = store.clone().map(|store| ledger::split(followed(store)));
    let (policy, tokens) = sides.map(|sides| (sides.policy, sides.tokens)).unzip();
    let ledger = following(store, tokens);
    let parts = writer::Parts {
        default: Action::Deny,
        files,
        store: policy,
        max_offline: Some(Duration::from_secs(100)),
        clock: Arc::new(Stopped),
        observer: Arc::new(Metrics),
    };
    let (verifier, following) = writer::start(parts).await;
    (verifier, ledger, following)
}

/// What stands in a document, as the configuration names it. No document, if there is no text.
pub(super) fn documents(directory: &TempDir, text: &str) -> PolicyFiles {
    if text.is_empty() {
        return PolicyFiles::load(Vec::new()).expect("there are none");
    }
    fs::write(directory.path().join("peers.toml"), text).expect("there is room");
    let text = "[[handshaker.listener]]\naddress = '127.0.0.1:0'\nidentity = 'a@b'\n[[identity]]\naccount = 'a@b'\n\
                certificate_chain = 'c'\nprivate_key = 'k'\n[policy]\ndefault = 'deny'\nfiles = ['peers.toml']\n";
    let file = directory.path().join("altsd.toml");
    fs::write(&file, text).expect("there is room");
    let files = crate::config::read(&file).expect("it is good").policy.files;
    PolicyFiles::load(files).expect("the document is good")
}

/// That it is refused with this code and reason. Answers the text.
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, reason: &str) -> String {
    let status = answer.expect_err(reason);
    let text = status.message().to_owned();
    assert_eq!(status.code(), code, "{text}");
    assert!(text.starts_with(&format!("{reason}: ")), "{reason}: {text}");
    text
}
