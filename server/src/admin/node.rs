//! A running node as the admin API sees it: the verifier, and the rest of the daemon.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use alts_store::Revision;
use tokio::sync::{Semaphore, watch};

use super::{
    decisions::{Decided, Decisions},
    signing_keys::SigningKeys,
    status::{FileFacts, ListenerFacts, Node, NodeFacts, StoreFacts, Trouble},
};
use crate::{
    audit::Trail,
    clock::Clock,
    policy::Key,
    token::{
        keyring::{Failure, KeyStatus, Status as KeyringStatus},
        keys::State,
    },
    verifier::{Certainty, Contact, FileState, Verifier},
};

/// A running node.
pub(crate) struct Standing {
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The engine of the store, if there is one.
    pub(crate) engine: Option<&'static str>,
    pub(crate) listeners: Vec<ListenerFacts>,
    /// What is left of as many handshakes as are taken at once.
    pub(crate) handshakes: Arc<Semaphore>,
    pub(crate) max_handshakes: usize,
    pub(crate) trail: Trail,
    /// None where the token door is shut.
    pub(crate) signing_keys: Option<Arc<dyn SigningKeys>>,
    /// Seconds since 1970.
    pub(crate) started_at: u64,
    pub(crate) started: Instant,
    /// Whether handshakes are served.
    pub(crate) ready: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Decisions for Standing {
    fn current(&self) -> Decided {
        let state = self.verifier.state();
        let is_unknown = self.verifier.certainty() == Certainty::Unknown;
        Decided {
            policy: state.policy.clone(),
            files: state.files.clone(),
            stored: state.stored.clone(),
            revision: state.revision,
            unknown: is_unknown.then(|| state.contact.why_unknown()),
            counts: state.counts,
            foreign_keys: state.foreign_keys,
            changed_at: state.changed_at,
        }
    }

    fn file_of(&self, key: &Key) -> Option<PathBuf> {
        let state = self.verifier.state();
        state.file_states.iter().find(|file| file.keys.contains(key)).map(|file| file.path.clone())
    }

    async fn applied(&self, revision: Revision, patience: Duration) -> bool {
        self.verifier.applied(revision, patience).await
    }
}

impl Node for Standing {
    fn facts(&self) -> NodeFacts {
        let state = self.verifier.state();
        let now = self.clock.now().as_secs();
        let file = |file: &FileState| FileFacts { path: file.path.clone(), problem: file.problem.clone() };
        NodeFacts {
            started_at: self.started_at,
            ready: *self.ready.borrow(),
            uptime: self.clock.since(self.started),
            troubles: [
                troubles(&state.contact, state.copy_problem.as_deref()),
                self.signing_keys
                    .as_ref()
                    .map(|keys| troubles_of_keys(&keys.status(), now))
                    .unwrap_or_default(),
            ]
            .concat(),
            files: state.file_states.iter().map(file).collect(),
            store: self.engine.map(|engine| store(engine, &state.contact, now, self.verifier.max_offline())),
            listeners: self.listeners.clone(),
            handshakes_in_progress: self.max_handshakes.saturating_sub(self.handshakes.available_permits())
                as u64,
            audit_dropped: self.trail.dropped(),
        }
    }
}

/// That nobody can say what holds is told with the policy.
fn troubles(contact: &Contact, copy_problem: Option<&str>) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if let Contact::Lost { since: Some(_), problem } = contact {
        let text = format!("the store does not answer, and this node goes by its copy: {problem}");
        troubles.push(Trouble { code: "store_offline", text });
    }
    if let Some(problem) = copy_problem {
        let text = format!("the store is not copied to this node: {problem}");
        troubles.push(Trouble { code: "store_copy_failing", text });
    }
    troubles
}

/// What signs counts on where something fails; where nothing signs yet, callers are told when to come again.
fn troubles_of_keys(status: &KeyringStatus, now: u64) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if let Some(Failure { code, problem, .. }) = &status.failure {
        let text = format!("{code}: {problem}; it is tried again, and `altsd keys list` tells more");
        troubles.push(Trouble { code: "signing_keys_failing", text });
    }
    let own = |state| status.keys.iter().filter(move |key| key.own && key.state == state);
    // One that may sign already does so in a moment.
    let waits = |key: &&KeyStatus| key.published.is_some() && key.signs_from.is_some_and(|from| now < from);
    if let (None, Some(next)) = (own(State::Active).next(), own(State::Next).find(waits)) {
        let text =
            format!("no token is issued: the only key of this node {}; see `altsd keys list`", next.next);
        troubles.push(Trouble { code: "signing_key_too_new", text });
    }
    troubles
}

fn store(engine: &'static str, contact: &Contact, now: u64, offline_limit: Option<Duration>) -> StoreFacts {
    let (connected, last_contact, problem) = match contact {
        Contact::None | Contact::Live => (true, Some(now), None),
        Contact::Lost { since, problem } => (false, *since, Some(problem.clone())),
    };
    StoreFacts { engine, connected, last_contact, offline_limit, problem }
}
