//! What the policy of a large fleet costs: 100,000 peers in lists and 1,000 rules to load, to compile, to keep in
//! memory and to change; and one decision beside few and many rules of other accounts, which must cost the same.
//!
//! The daemon is no library: its pure room is taken in by its path.

#[path = "../src/policy/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a part of the room is measured")]
mod policy;

use std::{fmt::Write, fs, hint::black_box, sync::Arc};

use alts_handshake::{CertificateFacts, Identity, Peer};
use criterion::{BenchmarkId, Criterion};
use policy::{
    Action, Entry, Format, PeerList, PeerListRecord, Policy, Question, Resources, Rule, RuleRecord, Side,
    Sources, parse,
};

const LISTS: usize = 10;
const PEERS: usize = 10_000;
const RULES: usize = 1_000;

fn main() {
    memory();
    let mut criterion = Criterion::default().configure_from_args();
    load(&mut criterion);
    decide(&mut criterion);
    criterion.final_summary();
}

/// Printed once: what the process takes more for the resources, and for the policy beside them.
fn memory() {
    let text = toml();
    let before = resident();
    let resources = parse(&text, Format::Toml).expect("the document is good");
    let loaded = resident();
    let policy = compile(&resources, None);
    let compiled = resident();
    // What reading used for a while is counted with the resources, and used again by the policy.
    eprintln!(
        "memory: document of {} bytes; {} KiB when it was read, {} KiB with the compiled policy",
        text.len(),
        (loaded - before) / 1_024,
        (compiled - before) / 1_024
    );
    black_box((policy, resources));
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("the kernel tells");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second number is the resident pages") * 4_096
}

fn load(criterion: &mut Criterion) {
    let (toml, yaml) = (toml(), yaml());
    let resources = parse(&toml, Format::Toml).expect("the document is good");
    assert_eq!(parse(&yaml, Format::Yaml).as_ref(), Ok(&resources));
    let mut group = criterion.benchmark_group("policy/100000 peers, 1000 rules");
    group.sample_size(10);
    group.bench_function("parse TOML", |bencher| bencher.iter(|| parse(&toml, Format::Toml)));
    group.bench_function("parse YAML", |bencher| bencher.iter(|| parse(&yaml, Format::Yaml)));
    group.bench_function("compile", |bencher| bencher.iter(|| compile(&resources, None)));

    let previous = compile(&resources, None);
    group.bench_function("compile again, nothing changed", |bencher| {
        bencher.iter(|| compile(&resources, Some(&previous)));
    });
    let mut changed = resources.clone();
    let list = list(0, PEERS - 1);
    changed.peer_lists.insert(list.name().clone(), Entry::under(&list.name().clone(), Some(list)));
    group.bench_function("compile again, one list of 10000 changed", |bencher| {
        bencher.iter(|| compile(&changed, Some(&previous)));
    });
    let reread = parse(&toml, Format::Toml).expect("the document is good");
    group.bench_function("compile again, the same document read anew", |bencher| {
        bencher.iter(|| compile(&reread, Some(&previous)));
    });
    group.finish();
}

fn decide(criterion: &mut Criterion) {
    let local = Identity::parse("service0@prod.example.com").expect("it is an account");
    let lists: Vec<_> = (0..LISTS).map(|number| list(number, PEERS)).collect();
    let mut group = criterion.benchmark_group("policy/decide");
    for rules in [10, 1_000, 100_000] {
        let mut resources = Resources::default();
        for list in lists.iter().cloned() {
            resources.peer_lists.insert(list.name().clone(), Entry::under(&list.name().clone(), Some(list)));
        }
        for rule in (0..rules).map(rule) {
            resources.rules.insert(rule.name().clone(), Entry::under(&rule.name().clone(), Some(rule)));
        }
        let policy = compile(&resources, None);
        let cases = [
            ("allowed by mail account", "peer9999@list0.example.com", true),
            ("allowed by SPIFFE path", "spiffe://prod.example.com/team0/a/b/c", true),
            ("denied", "stranger@list0.example.com", false),
        ];
        for (name, account, allowed) in cases {
            let peer = peer(account);
            let question =
                Question { side: Side::Server, local: &local, peer: &peer, target_name: "", now: 1 };
            assert_eq!(policy.decide(&question).verdict.is_ok(), allowed, "{name}");
            group.bench_with_input(BenchmarkId::new(name, rules), &policy, |bencher, policy| {
                bencher.iter(|| policy.decide(black_box(&question)));
            });
        }
    }
    group.finish();
}

fn compile(resources: &Resources, previous: Option<&Policy>) -> Policy {
    let none = Resources::default();
    let revocations = Arc::default();
    let sources =
        Sources { default: Action::Deny, files: resources, store: &none, revocations: &revocations };
    Policy::compile(sources, previous)
}

fn peer(account: &str) -> Peer {
    let certificate = |number| CertificateFacts {
        serial: "0a01".to_owned(),
        subject: "CN=any".to_owned(),
        issuer: "CN=issuing".to_owned(),
        sha256: [number; 32],
        key_sha256: [number; 32],
    };
    let identity = Identity::parse(account).expect("it is an account");
    Peer { identity, certificates: Arc::new([certificate(1), certificate(2)]) }
}

fn peers_of(list: usize, count: usize) -> Vec<String> {
    let one = |number| match number {
        0 => format!("spiffe://prod.example.com/team{list}/*"),
        number => format!("peer{number}@list{list}.example.com"),
    };
    (0..count).map(one).collect()
}

fn list(number: usize, count: usize) -> PeerList {
    let record = PeerListRecord {
        name: format!("list{number}"),
        description: String::new(),
        peers: peers_of(number, count),
    };
    PeerList::try_from(record).expect("the list is good")
}

/// One for each local account, with the first list and another.
fn rule(number: usize) -> Rule {
    let list = |number: usize| format!("list{}", number % LISTS);
    let mut peer_lists = vec![list(0), list(number)];
    peer_lists.dedup();
    let record = RuleRecord {
        name: format!("rule{number}"),
        description: String::new(),
        local: format!("service{number}@prod.example.com"),
        side: "server".to_owned(),
        action: "allow".to_owned(),
        mode: "enforce".to_owned(),
        peer_lists,
        peers: Vec::new(),
    };
    Rule::try_from(record).expect("the rule is good")
}

fn toml() -> String {
    let mut text = String::new();
    for list in 0..LISTS {
        let peers = peers_of(list, PEERS);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "[[peer_list]]\nname = \"list{list}\"\npeers = {peers:?}");
    }
    for rule in (0..RULES).map(rule).map(|rule| RuleRecord::from(&rule)) {
        let RuleRecord { name, local, peer_lists, .. } = rule;
        let _ = writeln!(
            text,
            "[[rule]]\nname = {name:?}\nlocal = {local:?}\nside = \"server\"\naction = \"allow\"\n\
             peer_lists = {peer_lists:?}"
        );
    }
    text
}

fn yaml() -> String {
    let mut text = String::from("peer_list:\n");
    for list in 0..LISTS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- name: list{list}\n  peers:");
        for peer in peers_of(list, PEERS) {
            let _ = writeln!(text, "  - {peer}");
        }
    }
    text += "rule:\n";
    for rule in (0..RULES).map(rule).map(|rule| RuleRecord::from(&rule)) {
        let RuleRecord { name, local, peer_lists, .. } = rule;
        let _ = writeln!(
            text,
            "- name: {name}\n  local: {local}\n  side: server\n  action: allow\n  peer_lists: {peer_lists:?}"
        );
    }
    text
}
