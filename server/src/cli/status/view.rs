//! The status of a node as it is printed.

use alts_proto::{
    Duration, Timestamp,
    altsd::{
        NodeStatus,
        node_status::{self, State},
        rule::Action,
    },
};
use serde::Serialize;

use crate::{cli::output::table, clock::utc};

/// A status as it is in JSON. What is not known is null.
#[derive(Debug, Serialize)]
pub(super) struct View {
    version: String,
    state: &'static str,
    reasons: Vec<Reason>,
    start_time: Option<String>,
    uptime_seconds: Option<i64>,
    identities: Identities,
    policy: Policy,
    store: Option<Store>,
    listeners: Vec<Listener>,
    handshakes_in_progress: i64,
    audit_dropped_lines: i64,
}

#[derive(Debug, Serialize)]
struct Reason {
    code: String,
    message: String,
}

#[derive(Debug, Default, Serialize)]
struct Identities {
    total: i32,
    valid: i32,
    failing: i32,
    expired: i32,
    not_requested: i32,
    first_not_after_time: Option<String>,
}

#[derive(Debug, Serialize)]
struct Policy {
    default_action: &'static str,
    peer_lists: i32,
    peers: i64,
    rules: i32,
    shadow_rules: i32,
    target_names: i32,
    revocations: i32,
    files: Vec<File>,
    problems: Vec<String>,
    problem_count: i32,
    change_time: Option<String>,
    revision: i64,
}

#[derive(Debug, Serialize)]
struct File {
    path: String,
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Store {
    engine: String,
    connected: bool,
    last_contact_time: Option<String>,
    offline_limit_seconds: Option<i64>,
    revision: i64,
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Listener {
    address: String,
    callers: String,
}

impl From<NodeStatus> for View {
    fn from(status: NodeStatus) -> Self {
        let state = match status.state() {
            State::Ready => "ready",
            State::Degraded => "degraded",
            State::NotReady => "not_ready",
            State::Unspecified => "unknown",
        };
        let reason = |node_status::Reason { code, message }| Reason { code, message };
        let listener = |node_status::Listener { address, callers }| Listener { address, callers };
        Self {
            version: status.version,
            state,
            reasons: status.reasons.into_iter().map(reason).collect(),
            start_time: status.start_time.map(time),
            uptime_seconds: status.uptime.map(|uptime| uptime.seconds),
            identities: status.identities.unwrap_or_default().into(),
            policy: status.policy.unwrap_or_default().into(),
            store: status.store.map(Into::into),
            listeners: status.listeners.into_iter().map(listener).collect(),
            handshakes_in_progress: status.handshakes_in_progress,
            audit_dropped_lines: status.audit_dropped_lines,
        }
    }
}

impl From<node_status::Identities> for Identities {
    fn from(identities: node_status::Identities) -> Self {
        Self {
            total: identities.total,
            valid: identities.valid,
            failing: identities.failing,
            expired: identities.expired,
            not_requested: identities.not_requested,
            first_not_after_time: identities.first_not_after_time.map(time),
        }
    }
}

impl From<node_status::PolicySummary> for Policy {
    fn from(policy: node_status::PolicySummary) -> Self {
        let default_action = match policy.default_action() {
            Action::Allow => "allow",
            Action::Deny => "deny",
            Action::Unspecified => "unknown",
        };
        let file = |node_status::PolicyFile { path, problem }| File { path, problem: known(problem) };
        Self {
            default_action,
            peer_lists: policy.peer_lists,
            peers: policy.peers,
            rules: policy.rules,
            shadow_rules: policy.shadow_rules,
            target_names: policy.target_names,
            revocations: policy.revocations,
            files: policy.files.into_iter().map(file).collect(),
            problems: policy.problems,
            problem_count: policy.problem_count,
            change_time: policy.change_time.map(time),
            revision: policy.revision,
        }
    }
}

impl From<node_status::Store> for Store {
    fn from(store: node_status::Store) -> Self {
        Self {
            engine: store.engine,
            connected: store.connected,
            last_contact_time: store.last_contact_time.map(time),
            offline_limit_seconds: store.offline_limit.map(|Duration { seconds, .. }| seconds),
            revision: store.revision,
            problem: known(store.problem),
        }
    }
}

fn known(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn time(timestamp: Timestamp) -> String {
    utc(u64::try_from(timestamp.seconds).unwrap_or_default())
}

impl View {
    /// For people: the state first, then what is wrong, then the rest.
    pub(super) fn text(&self) -> String {
        let mut rows = vec![row("state", self.state.replace('_', " "))];
        rows.extend(
            self.reasons.iter().map(|reason| row("", format!("{}: {}", reason.code, reason.message))),
        );
        rows.push(row("version", self.version.clone()));
        if let Some(start) = &self.start_time {
            let up = self.uptime_seconds.map(|seconds| format!(" (up {})", span(seconds)));
            rows.push(row("started", format!("{start}{}", up.unwrap_or_default())));
        }
        rows.push(row("identities", self.identities.text()));
        rows.push(row("policy", self.policy.text()));
        rows.extend(self.policy.files.iter().map(|file| {
            let problem = file.problem.as_ref().map(|problem| format!(": {problem}"));
            row("file", format!("{}{}", file.path, problem.unwrap_or_default()))
        }));
        rows.extend(self.policy.problems.iter().map(|problem| row("problem", problem.clone())));
        let more = usize::try_from(self.policy.problem_count).unwrap_or_default();
        if let Some(more) = more.checked_sub(self.policy.problems.len()).filter(|more| *more > 0) {
            rows.push(row("", format!("and {more} more problems")));
        }
        rows.push(row("store", self.store.as_ref().map_or_else(|| "none".to_owned(), Store::text)));
        for listener in &self.listeners {
            rows.push(row("listener", format!("{}: callers are {}", listener.address, listener.callers)));
        }
        rows.push(row("handshakes", format!("{} in progress", self.handshakes_in_progress)));
        if self.audit_dropped_lines > 0 {
            rows.push(row("audit", format!("{} lines were dropped", self.audit_dropped_lines)));
        }
        table(&rows)
    }
}

impl Identities {
    fn text(&self) -> String {
        let counts = [
            (self.valid, "valid"),
            (self.failing, "failing to renew"),
            (self.expired, "expired"),
            (self.not_requested, "not requested yet"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let text: Vec<_> = counts.map(|(count, what)| format!("{count} {what}")).collect();
        let first = self.first_not_after_time.as_ref().map(|end| format!("; the first ends {end}"));
        format!("{} ({}){}", self.total, text.join(", "), first.unwrap_or_default())
    }
}

impl Policy {
    fn text(&self) -> String {
        let mut text = format!(
            "default {}; {} and {} with {}, {}, {}",
            self.default_action,
            counted(self.peer_lists, "list"),
            counted(self.rules, "rule"),
            counted(self.peers, "peer"),
            counted(self.target_names, "target name"),
            counted(self.revocations, "revocation"),
        );
        if self.shadow_rules > 0 {
            text += &format!("; {} in shadow mode", counted(self.shadow_rules, "rule"));
        }
        if let Some(change) = &self.change_time {
            text += &format!("; last changed {change}");
        }
        text
    }
}

/// `1 rule`, `2 rules`.
fn counted(count: impl Into<i64>, what: &str) -> String {
    let count = count.into();
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

impl Store {
    fn text(&self) -> String {
        let mut text = format!("{}, revision {}", self.engine, self.revision);
        if self.connected {
            return text;
        }
        let problem = self.problem.as_deref().unwrap_or("it does not answer");
        text += &format!("; not connected: {problem}");
        if let Some(last) = &self.last_contact_time {
            text += &format!("; last heard of {last}");
        }
        if let Some(limit) = self.offline_limit_seconds {
            text += &format!("; its last word counts for {}", span(limit));
        }
        text
    }
}

fn row(name: &str, value: String) -> Vec<String> {
    vec![name.to_owned(), value]
}

/// The two largest units of a span.
fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_767_225_600;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn status() -> NodeStatus {
        NodeStatus {
            version: "0.1.0".to_owned(),
            start_time: at(NOW),
            uptime: Some(Duration { seconds: 93_784, nanos: 0 }),
            state: State::Degraded.into(),
            reasons: vec![node_status::Reason {
                code: "store_offline".to_owned(),
                message: "no\nroute".to_owned(),
            }],
            identities: Some(node_status::Identities {
                total: 3,
                valid: 2,
                not_requested: 1,
                first_not_after_time: at(NOW + 60),
                ..Default::default()
            }),
            policy: Some(node_status::PolicySummary {
                default_action: Action::Deny.into(),
                peer_lists: 2,
                peers: 40,
                rules: 5,
                shadow_rules: 1,
                target_names: 3,
                revocations: 6,
                files: vec![node_status::PolicyFile {
                    path: "/p.toml".to_owned(),
                    problem: "half".to_owned(),
                }],
                problems: vec!["a".to_owned()],
                problem_count: 3,
                change_time: at(NOW),
                revision: 9,
            }),
            store: Some(node_status::Store {
                engine: "etcd".to_owned(),
                connected: false,
                last_contact_time: at(NOW),
                offline_limit: Some(Duration { seconds: 43_200, nanos: 0 }),
                revision: 9,
                problem: "refused".to_owned(),
            }),
            listeners: vec![node_status::Listener {
                address: "unix:/h".to_owned(),
                callers: "attested".to_owned(),
            }],
            handshakes_in_progress: 4,
            audit_dropped_lines: 2,
        }
    }

    #[test]
    fn the_state_and_its_reasons_come_first() {
        let expected = "\
state       degraded
            store_offline: no\\nroute
version     0.1.0
started     2026-01-01T00:00:00Z (up 1 d 2 h)
identities  3 (2 valid, 1 not requested yet); the first ends 2026-01-01T00:01:00Z
policy      default deny; 2 lists and 5 rules with 40 peers, 3 target names, 6 revocations; 1 rule in shadow mode; last changed 2026-01-01T00:00:00Z
file        /p.toml: half
problem     a
            and 2 more problems
store       etcd, revision 9; not connected: refused; last heard of 2026-01-01T00:00:00Z; its last word counts for 12 h 0 min
listener    unix:/h: callers are attested
handshakes  4 in progress
audit       2 lines were dropped
";
        assert_eq!(View::from(status()).text(), expected);
    }

    #[test]
    fn json_has_every_field_whatever_is_known() {
        let json = |status: NodeStatus| serde_json::to_value(View::from(status)).expect("it is JSON");
        let keys = |value: &serde_json::Value| {
            value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>())
        };
        let (full, empty) = (json(status()), json(NodeStatus::default()));
        assert_eq!(keys(&full), keys(&empty));
        assert_eq!(keys(&full["policy"]), keys(&empty["policy"]));
        assert_eq!((&full["state"], &empty["state"]), (&"degraded".into(), &"unknown".into()));
        assert_eq!(
            (&full["store"]["offline_limit_seconds"], &empty["store"]),
            (&43_200.into(), &serde_json::Value::Null)
        );
    }

    #[test]
    fn a_span_is_told_in_its_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (3_600, "1 h 0 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
