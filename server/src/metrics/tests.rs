//! What Prometheus reads.

use std::{collections::BTreeSet, sync::Arc};

use alts_store::Revision;

use super::{keyring::Observe as _, writer::Observe as _, *};
use crate::{
    policy::{Action, Policy, Sources},
    verifier::{Counts, FileState},
};

/// What Prometheus would read after `tell`.
fn scraped(tell: impl FnOnce(Metrics)) -> String {
    let recorder = builder().expect("the buckets are no mistake").build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        describe();
        tell(Metrics);
    });
    handle.run_upkeep();
    handle.render()
}

fn everything(metrics: Metrics) {
    metrics.attested(Some(Transport::Tcp), Ok(()));
    metrics.attested(Some(Transport::Unix), Err("workload_unknown"));
    metrics.attested(Some(Transport::Unix), Err("workload_unknown"));
    metrics.handshake_ended(Some(Role::Client), Ok(()));
    metrics.handshake_ended(Some(Role::Server), Err("peer_certificate_expired"));
    metrics.handshake_ended(None, Err("start_timeout"));
    metrics.clock_skew_seen(Duration::from_millis(1_500));
    metrics.audit_record_dropped("queue_full");
    metrics.rotated(Origin::Files, true);
    metrics.rotated(Origin::SigningService, true);
    metrics.rotated(Origin::ExternalCa, false);
    metrics.state(&KNOWN);
    metrics.ready(true);
    metrics.peer_decided(Side::Client, Reason::AllowedByDefault);
    metrics.peer_decided(Side::Server, Reason::DeniedByRule);
    metrics.shadow_differs(Side::Server, false);
    metrics.token_exchanged("local_peer", Ok(()));
    metrics.token_exchanged("jwt", Err("token_expired"));
    metrics.published(&policy(Contact::Lost { since: Some(1_767_225_000), problem: "x".to_owned() }));
    metrics.keys(&signing_keys());
}

/// Two keys that have retired, and one that signs; and one of another node.
fn signing_keys() -> keyring::Status {
    let key = |state, at, own| keyring::KeyStatus {
        kid: "k".to_owned(),
        algorithm: "ES256",
        node: "a".to_owned(),
        own,
        state,
        created: 1,
        published: Some(2),
        signs_from: Some(at),
        signs_until: None,
        retired: Some(at),
        withdrawn: None,
        gone_after: None,
        next: String::new(),
    };
    keyring::Status {
        keys: vec![
            key(KeyState::Active, 1_767_225_600, true),
            key(KeyState::Retired, 1_767_225_500, true),
            key(KeyState::Retired, 1_767_225_400, true),
            key(KeyState::Retired, 1_767_225_300, false),
        ],
        unreadable: Vec::new(),
        failure: Some(keyring::Failure { code: "store_unavailable", problem: "x".to_owned(), since: 1 }),
    }
}

/// A policy of which nothing is 0.
fn policy(contact: Contact) -> State {
    let (files, stored, revocations) = (Arc::default(), Arc::default(), Arc::default());
    let sources = Sources { default: Action::Deny, files: &files, store: &stored, revocations: &revocations };
    let bad =
        FileState { path: "peers.toml".into(), problem: Some("it is half".to_owned()), keys: Arc::default() };
    let good = FileState { path: "names.toml".into(), problem: None, keys: Arc::default() };
    State {
        policy: Arc::new(Policy::compile(sources, None)),
        files,
        stored,
        revision: Revision(7),
        contact,
        away: None,
        copy_problem: None,
        file_states: [bad, good].into(),
        foreign_keys: 6,
        counts: Counts { rules: 5, peers: 9, revocations: 8, ..Counts::default() },
        changed_at: 1_767_224_000,
    }
}

const KNOWN: NodeState = NodeState {
    ready: true,
    identities: 3,
    failing: 2,
    trust_files_bad: 1,
    earliest_not_after: Some(1_767_225_600),
    outage_budget_seconds: Some(1_800),
    next_crl_update: Some(1_767_229_200),
};

#[test]
fn every_metric_is_scraped_with_its_labels() {
    let text = scraped(everything);
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        &*format!("altsd_build_info{{version=\"{version}\"}} 1"),
        "altsd_ready 1",
        "altsd_attestations_total{transport=\"tcp\",result=\"ok\",reason=\"none\"} 1",
        "altsd_attestations_total{transport=\"unix\",result=\"error\",reason=\"workload_unknown\"} 2",
        "altsd_handshakes_total{side=\"client\",result=\"ok\",reason=\"none\"} 1",
        "altsd_handshakes_total{side=\"server\",result=\"error\",reason=\"peer_certificate_expired\"} 1",
        "altsd_handshakes_total{side=\"unknown\",result=\"error\",reason=\"start_timeout\"} 1",
        "altsd_peer_clock_skew_seconds_bucket{le=\"1\"} 0",
        "altsd_peer_clock_skew_seconds_bucket{le=\"2\"} 1",
        "altsd_peer_clock_skew_seconds_bucket{le=\"+Inf\"} 1",
        "altsd_peer_clock_skew_seconds_sum 1.5",
        "altsd_peer_clock_skew_seconds_count 1",
        "altsd_audit_records_dropped_total{reason=\"queue_full\"} 1",
        "altsd_certificate_rotations_total{origin=\"files\",result=\"ok\"} 1",
        "altsd_certificate_rotations_total{origin=\"signing_service\",result=\"ok\"} 1",
        "altsd_certificate_rotations_total{origin=\"external_ca\",result=\"error\"} 1",
        "altsd_identities 3",
        "altsd_identities_failing 2",
        "altsd_trust_files_bad 1",
        "altsd_certificate_expiry_timestamp_seconds 1767225600",
        "altsd_ca_outage_budget_seconds 1800",
        "altsd_crl_next_update_timestamp_seconds 1767229200",
        "altsd_peer_decisions_total{side=\"client\",result=\"allowed\",reason=\"allowed_by_default\"} 1",
        "altsd_peer_decisions_total{side=\"server\",result=\"refused\",reason=\"denied_by_rule\"} 1",
        "altsd_shadow_differences_total{side=\"server\",would=\"refuse\"} 1",
        "altsd_token_exchanges_total{subject=\"local_peer\",result=\"ok\",reason=\"none\"} 1",
        "altsd_token_exchanges_total{subject=\"jwt\",result=\"error\",reason=\"token_expired\"} 1",
        "altsd_policy_rules 5",
        "altsd_policy_peers 9",
        "altsd_policy_revocations 8",
        "altsd_policy_problems 6",
        "altsd_policy_files_bad 1",
        "altsd_policy_change_timestamp_seconds 1767224000",
        "altsd_token_signing_keys{state=\"next\"} 0",
        "altsd_token_signing_keys{state=\"active\"} 1",
        "altsd_token_signing_keys{state=\"retired\"} 2",
        "altsd_token_signing_keys{state=\"withdrawn\"} 0",
        "altsd_token_signing_key_since_timestamp_seconds{state=\"active\"} 1767225600",
        "altsd_token_signing_key_since_timestamp_seconds{state=\"retired\"} 1767225400",
        "altsd_token_signing_key_since_timestamp_seconds{state=\"withdrawn\"} NaN",
        "altsd_token_signing_keys_failing 1",
        "altsd_store_connected 0",
        "altsd_store_lost_timestamp_seconds 1767225000",
    ];
    for line in expected {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn every_metric_has_a_help_line_and_the_type_of_its_name() {
    let text = scraped(everything);
    let word = |line: &str, number| line.split(' ').nth(number).unwrap_or_default().to_owned();
    let (mut typed, mut helped) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        if line.starts_with("# HELP ") {
            assert!(line.ends_with('.'), "{line}");
            helped.insert(word(line, 2));
        } else if line.starts_with("# TYPE ") {
            assert_eq!(word(line, 2).ends_with("_total"), word(line, 3) == "counter", "{line}");
            typed.insert(word(line, 2));
        }
    }
    let all: BTreeSet<_> = METRICS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!((&typed, &helped), (&all, &all));
}

#[test]
fn nothing_is_told_of_what_is_not_known() {
    let text = scraped(|_| {});
    let told: Vec<_> = text.lines().filter(|line| line.starts_with("altsd_")).collect();
    assert_eq!(told, [format!("altsd_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))]);
}

#[test]
fn what_is_no_more_keeps_no_value() {
    let text = scraped(|metrics| {
        metrics.state(&KNOWN);
        metrics.state(&NodeState::default());
        metrics.ready(false);
        metrics.published(&policy(Contact::Lost { since: Some(1), problem: String::new() }));
        metrics.published(&policy(Contact::Live));
    });
    for line in [
        "altsd_ready 0",
        "altsd_store_connected 1",
        "altsd_store_lost_timestamp_seconds NaN",
        "altsd_identities 0",
        "altsd_certificate_expiry_timestamp_seconds NaN",
        "altsd_ca_outage_budget_seconds NaN",
        "altsd_crl_next_update_timestamp_seconds NaN",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = taken.local_addr().expect("it is bound");
    let error = install(address).await.expect_err("it is taken").to_string();
    assert!(error.starts_with(&format!("metrics cannot be served on {address}: ")), "{error}");
}
