//! The service `altsd.v1.Node`: how this node stands, made of what its parts know.

use std::{path::PathBuf, sync::Arc, time::Duration};

use alts_proto::altsd::{
    GetStatusRequest, NodeStatus,
    node_server::{Node as NodeService, NodeServer},
    node_status::{self, Identities, Listener, PolicyFile, PolicySummary, Reason, State},
    rule,
};
use tonic::{Request, Response, Status};

use super::{
    certificates::Certificates,
    decisions::{Decided, Decisions},
    resource::timestamp,
    shelf::number,
};
use crate::{clock::Clock, identity::keeper::Status as CertificateStatus, policy::Action};

/// Largest request, in bytes. It asks nothing.
const MAX_MESSAGE: usize = 1 << 10;

/// Most problems of the policy that are told one by one.
const MAX_PROBLEMS: usize = 100;

/// Knows how the node stands, apart from its certificates and its policy.
pub(crate) trait Node: Send + Sync + 'static {
    /// How it stands now.
    fn facts(&self) -> NodeFacts;
}

/// How a node stands. Times are seconds since 1970.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeFacts {
    pub(crate) started_at: u64,
    pub(crate) uptime: Duration,
    /// Whether it serves, as its health says.
    pub(crate) ready: bool,
    /// Why it is not ready, or not wholly, beside what its certificates say.
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) files: Vec<FileFacts>,
    /// None if decisions of operators are kept nowhere.
    pub(crate) store: Option<StoreFacts>,
    pub(crate) listeners: Vec<ListenerFacts>,
    pub(crate) handshakes_in_progress: u64,
    pub(crate) audit_dropped: u64,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Stable, snake_case.
    pub(crate) code: &'static str,
    pub(crate) text: String,
}

/// A policy file.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileFacts {
    pub(crate) path: PathBuf,
    pub(crate) problem: Option<String>,
}

/// A store.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreFacts {
    pub(crate) engine: &'static str,
    pub(crate) connected: bool,
    pub(crate) last_contact: Option<u64>,
    pub(crate) offline_limit: Option<Duration>,
    pub(crate) problem: Option<String>,
}

/// A listener.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenerFacts {
    pub(crate) address: String,
    /// `attested` or `fixed`.
    pub(crate) callers: &'static str,
}

pub(super) struct Service {
    pub(super) node: Arc<dyn Node>,
    pub(super) certificates: Arc<dyn Certificates>,
    pub(super) decisions: Arc<dyn Decisions>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Service {
    pub(super) fn into_server(self) -> NodeServer<Self> {
        NodeServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl NodeService for Service {
    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<NodeStatus>, Status> {
        let now = self.clock.now().as_secs();
        let certificates = self.certificates.status();
        Ok(Response::new(status(self.node.facts(), &self.decisions.current(), &certificates, now)))
    }
}

/// The message, of what is known.
fn status(facts: NodeFacts, decided: &Decided, certificates: &[CertificateStatus], now: u64) -> NodeStatus {
    let mut troubles = facts.troubles;
    troubles.extend(troubles_of_policy(decided, &facts.files));
    let identities = identities(certificates, now);
    troubles.extend(troubles_of_identities(&identities));
    NodeStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        start_time: Some(timestamp(facts.started_at)),
        uptime: Some(duration(facts.uptime)),
        state: state(facts.ready, &troubles).into(),
        reasons: troubles
            .into_iter()
            .map(|trouble| Reason { code: trouble.code.to_owned(), message: trouble.text })
            .collect(),
        identities: Some(identities),
        policy: Some(policy(decided, facts.files)),
        store: facts.store.map(|store| self::store(store, decided)),
        listeners: facts
            .listeners
            .into_iter()
            .map(|listener| Listener { address: listener.address, callers: listener.callers.to_owned() })
            .collect(),
        handshakes_in_progress: signed(facts.handshakes_in_progress),
        audit_dropped_lines: signed(facts.audit_dropped),
    }
}

fn state(ready: bool, troubles: &[Trouble]) -> State {
    match (ready, troubles) {
        (false, _) => State::NotReady,
        (true, []) => State::Ready,
        (true, _) => State::Degraded,
    }
}

fn troubles_of_policy(decided: &Decided, files: &[FileFacts]) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if let Some(unknown) = &decided.unknown {
        troubles.push(Trouble { code: "policy_unknown", text: unknown.clone() });
    }
    for file in files {
        if let Some(problem) = &file.problem {
            let text = format!("{} is not taken over: {problem}", file.path.display());
            troubles.push(Trouble { code: "policy_file_bad", text });
        }
    }
    if decided.foreign_keys > 0 {
        let text = format!("{} records of the store are under keys that name nothing", decided.foreign_keys);
        troubles.push(Trouble { code: "policy_problem", text });
    }
    let problems = decided.policy.problems();
    if let Some(first) = problems.first() {
        let more = match problems.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        troubles.push(Trouble { code: "policy_problem", text: format!("{first}{more}") });
    }
    troubles
}

fn troubles_of_identities(identities: &Identities) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    let mut add = |code, count: i32, text: &str| {
        if count > 0 {
            let text = format!("{count} of {} identities {text}; see `altsd certs list`", identities.total);
            troubles.push(Trouble { code, text });
        }
    };
    add("certificates_expired", identities.expired, "have an expired certificate");
    add("renewals_failing", identities.failing, "fail to get a new certificate");
    troubles
}

fn identities(certificates: &[CertificateStatus], now: u64) -> Identities {
    let mut summary = Identities { total: count(certificates.len()), ..Identities::default() };
    for status in certificates {
        let counter = match (status.not_after, &status.failure) {
            (Some(end), _) if now > end => &mut summary.expired,
            (_, Some(_)) => &mut summary.failing,
            (Some(_), None) => &mut summary.valid,
            (None, None) => &mut summary.not_requested,
        };
        *counter += 1;
    }
    summary.first_not_after_time =
        certificates.iter().filter_map(|status| status.not_after).min().map(timestamp);
    summary
}

fn policy(decided: &Decided, files: Vec<FileFacts>) -> PolicySummary {
    let counts = &decided.counts;
    let problems = decided.policy.problems();
    PolicySummary {
        default_action: match decided.policy.default_action() {
            Action::Allow => rule::Action::Allow.into(),
            Action::Deny => rule::Action::Deny.into(),
        },
        peer_lists: count(counts.peer_lists),
        peers: i64::from(count(counts.peers)),
        rules: count(counts.rules),
        shadow_rules: count(counts.shadow_rules),
        target_names: count(counts.target_names),
        revocations: count(counts.revocations),
        files: files
            .into_iter()
            .map(|file| PolicyFile {
                path: file.path.display().to_string(),
                problem: file.problem.unwrap_or_default(),
            })
            .collect(),
        problems: problems.iter().take(MAX_PROBLEMS).map(ToString::to_string).collect(),
        problem_count: count(problems.len()),
        change_time: Some(timestamp(decided.changed_at)),
        revision: number(decided.revision),
    }
}

fn store(facts: StoreFacts, decided: &Decided) -> node_status::Store {
    node_status::Store {
        engine: facts.engine.to_owned(),
        connected: facts.connected,
        last_contact_time: facts.last_contact.map(timestamp),
        offline_limit: facts.offline_limit.map(duration),
        revision: number(decided.revision),
        problem: facts.problem.unwrap_or_default(),
    }
}

fn duration(duration: Duration) -> alts_proto::Duration {
    // Of less than a second 10^9 parts fit.
    alts_proto::Duration { seconds: signed(duration.as_secs()), nanos: duration.subsec_nanos() as i32 }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
